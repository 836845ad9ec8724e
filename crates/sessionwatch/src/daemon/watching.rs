//! Watching one target: a look when its timetable says so, and what it changes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use sessionwatch_rules::instant::{Instant, SECOND};
use tokio::sync::{Notify, watch};

use super::{Event, Shared, leadership::lease, round};
use crate::{
    config::{Config, Target},
    incident,
    look::{self, Report, Request},
    memory::Memory,
    open::fingerprint_key,
    schedule::{Due, Timetable},
    store::{StoreError, censuses, ledgers},
};

/// First looks are spread over so long, that many targets do not ask at once.
const SPLAY: i64 = 20 * SECOND;
/// How long to wait before a store that failed is asked again.
const AGAIN: Duration = Duration::from_secs(2);
/// How often it is asked whether sessions were ended lately, in microseconds.
const ASKED: i64 = 30 * SECOND;
/// Bytes of a ledger that may be written in a minute.
const WRITTEN: i64 = 1 << 20;

/// A target, and all that watching it needs.
#[derive(Debug)]
pub(super) struct Watching {
    pub(super) shared: Arc<Shared>,
    pub(super) config: Arc<Config>,
    pub(super) target: Target,
    /// Which one it is, and of how many.
    pub(super) place: (usize, usize),
    /// Somebody says that the database is awake.
    pub(super) awake: Arc<Notify>,
    pub(super) stopping: watch::Receiver<bool>,
}

/// What is kept between looks while this daemon leads the target.
#[derive(Debug)]
struct Kept {
    term: i64,
    memory: Memory,
    /// How far apart the looks are at which each check is made.
    distances: BTreeMap<String, i64>,
    /// When the memory was last written, and how long to wait from then.
    saved: Option<(Instant, i64)>,
}

impl Watching {
    /// Watches until it is asked to stop.
    pub(super) async fn run(self) {
        let mut stopping = self.stopping.clone();
        let this = Arc::new(self);
        let lease = lease(&this.target.name);
        while !*stopping.borrow() {
            let term = tokio::select! {
                term = this.shared.leadership.lead(&lease) => term,
                _ = stopping.changed() => continue,
            };
            match this.begin(term) {
                Ok((kept, timetable)) => this.lead(kept, timetable).await,
                Err(error) => {
                    tracing::error!(target = this.target.name, "it is not watched yet: {error}");
                    tokio::select! {
                        () = crate::clock::pause(AGAIN) => {}
                        _ = stopping.changed() => {}
                    }
                }
            }
        }
    }

    /// What an earlier process kept.
    fn begin(&self, term: i64) -> Result<(Kept, Timetable), StoreError> {
        let name = &self.target.name;
        let key = self.shared.store.write(|db| ledgers::key(db, fingerprint_key()))?;
        let (ledger, looked) =
            self.shared.store.read(|db| Ok((ledgers::get(db, name)?, censuses::last(db, name)?)))?;
        let memory = Memory::restored(key, ledger.as_ref().map(|(_, bytes)| bytes.as_slice()));
        let (number, of) = self.place;
        let share = i64::try_from(number * 1_000 / of.max(1)).unwrap_or(0);
        let first = self.shared.clock.now().plus(SPLAY / 1_000 * share);
        let timetable = Timetable::new(name, self.config.plan(&self.target), (looked, first));
        Ok((Kept { term, memory, distances: self.distances(), saved: None }, timetable))
    }

    /// Watches while this daemon leads the target.
    async fn lead(self: &Arc<Self>, mut kept: Kept, mut timetable: Timetable) {
        let (shared, mut stopping) = (&self.shared, self.stopping.clone());
        let lease = lease(&self.target.name);
        let mut asked = None;
        loop {
            let now = shared.clock.now();
            if timetable.is_ahead(now) {
                tracing::warn!(target = self.target.name, "the clock was set back");
                timetable.rebase(now);
            }
            if asked.is_none_or(|asked: Instant| now.since(asked).abs() >= ASKED) {
                asked = Some(now);
                let watched = shared.store.read(|db| incident::is_watched(db, &self.target.name, now));
                timetable.closely(watched.unwrap_or(false));
            }
            let next = timetable.next(now);
            shared.latest.awaits(&self.target.name, next);
            tokio::select! {
                () = shared.clock.wait_until(next) => {}
                () = self.awake.notified() => timetable.hurry(),
                _ = stopping.changed() => {}
            }
            shared.beat();
            if *stopping.borrow() || shared.leadership.term(&lease) != Some(kept.term) {
                break;
            }
            let now = shared.clock.now();
            let Some(due) = timetable.due(now) else { continue };
            let lag_us = now.since(next).max(0);
            let (this, when) = (Arc::clone(self), due.clone());
            // On a thread of its own: a look at a file blocks, and a large scan computes.
            let looking = tokio::task::spawn_blocking(move || this.look(&when, (now, lag_us), kept));
            let Ok((after, took)) = looking.await else { return shared.fail("a look ended in a panic") };
            kept = after;
            let Some((took_us, succeeded)) = took else { break };
            timetable.looked(&due, (now, took_us), succeeded);
        }
        self.save(&kept);
    }

    /// A look, and what comes of it: how long it took and whether it saw anything; nothing if it was broken off.
    fn look(&self, due: &Due, (now, lag_us): (Instant, i64), kept: Kept) -> (Kept, Option<(i64, bool)>) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(target = self.target.name, "the system refuses what a look needs: {error}");
                return (kept, Some((0, false)));
            }
        };
        let only: Vec<String> = due.checks.iter().cloned().collect();
        let request = Request {
            target: &self.target,
            catalogue: &self.config.catalogue,
            rules: &self.config.rules,
            deep: due.deep,
            only: &only,
            watched: Some((&kept.memory, now)),
        };
        let mut stopping = self.stopping.clone();
        let report = runtime.block_on(async {
            tokio::select! {
                report = look::look(request) => Some(report),
                // A look that is under way is dropped: nothing of it is kept, and the database ends its query.
                _ = stopping.wait_for(|stop| *stop) => None,
            }
        });
        // A name that is still being looked up is not waited for.
        runtime.shutdown_background();
        let Some(report) = report else { return (kept, None) };
        let took = i64::try_from(report.duration.as_micros()).unwrap_or(i64::MAX);
        let seen = report.seen.is_ok();
        (self.keep(report, (now, lag_us), kept), Some((took, seen)))
    }

    fn keep(&self, mut report: Report, (now, lag_us): (Instant, i64), mut kept: Kept) -> Kept {
        let (shared, name) = (&self.shared, self.target.name.as_str());
        let point = round::point(&report, now);
        shared.latest.put(&report, (&point, lag_us));
        let news = report.mirror.as_ref().and_then(|mirror| mirror.changes.as_ref());
        let news = news.is_some_and(|changes| !changes.rebound.is_empty() || !changes.revived.is_empty());
        let next = report.mirror.take().map(|mirror| kept.memory.after(mirror, now));
        let bytes = next.as_ref().filter(|_| news || kept.is_due(now)).and_then(Memory::to_bytes);
        let term = kept.term;
        let emergency = incident::emergency(&report);
        let outcome = shared.store.write(|db| {
            shared.leadership.guard(db, &lease(name), term)?;
            if let Some(bytes) = &bytes {
                ledgers::put(db, name, bytes, now)?;
            }
            if let Some(why) = &emergency {
                incident::reopen(db, name, why, now)?;
            }
            round::keep(db, &report, (&self.config.serve, &self.config.rules, &kept.distances), (&point, now))
        });
        match outcome {
            Ok(told) => {
                if let Some(bytes) = bytes {
                    let minutes = i64::try_from(bytes.len()).unwrap_or(i64::MAX) / WRITTEN;
                    kept.saved = Some((now, minutes * 60 * SECOND));
                }
                kept.memory = next.unwrap_or(kept.memory);
                tracing::debug!(target = name, told, "looked");
                if told > 0 {
                    shared.nudge();
                }
                shared.happened(Event::Looked { target: name.to_owned(), at: now });
            }
            // What was found was found for the new leader too.
            Err(StoreError::Fenced) => tracing::warn!(target = name, "somebody else leads it now"),
            // Watching goes on: the next look finds the same, and tells it then.
            Err(error) => tracing::error!(target = name, "what was seen could not be kept: {error}"),
        }
        kept
    }

    /// How far apart the looks are at which each check is made.
    fn distances(&self) -> BTreeMap<String, i64> {
        let now = self.shared.clock.now();
        let mut distances = BTreeMap::new();
        for entry in self.config.plan(&self.target) {
            let distance = entry.schedule.distance(now);
            for check in &entry.checks {
                let least = distances.entry(check.clone()).or_insert(distance);
                *least = distance.min(*least);
            }
        }
        distances
    }

    /// Writes what a later process needs to go on.
    fn save(&self, kept: &Kept) {
        let Some(bytes) = kept.memory.to_bytes() else { return };
        let (name, now) = (self.target.name.as_str(), self.shared.clock.now());
        let saved = self.shared.store.write(|db| {
            self.shared.leadership.guard(db, &lease(name), kept.term)?;
            ledgers::put(db, name, &bytes, now)
        });
        if let Err(error) = saved {
            tracing::warn!(target = name, "the next start compares with an older look: {error}");
        }
    }
}

impl Kept {
    fn is_due(&self, now: Instant) -> bool {
        self.saved.is_none_or(|(at, wait)| now.since(at) >= wait || at > now)
    }
}
