//! Watching one target: a look when its timetable says so, and what it changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc::sync_channel},
    time::Duration,
};

use jiff::SignedDuration;
use sessionwatch_clock::length_of;
use sessionwatch_core::{history::History, instant::Instant};
use sessionwatch_store::{Store, StoreError, censuses, ledgers};
use sessionwatch_targets::{
    capabilities::Capability, connect::fingerprint_key, engine::Engine, error::TargetError,
    layout::known_layout::KnownLayout,
};
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
};
use tokio_util::sync::CancellationToken;

use super::{
    DaemonState,
    metrics::Success,
    record_run::{self, RunRecord},
    tasks::wait_to_retry,
};
use crate::{
    app::{LiveEvent, failures::Part, leadership::lease},
    blocking,
    check_run::{self, Report, Request},
    config::{Config, Target},
    incident,
    memory::Memory,
    sanitize::printable,
    schedule::{self, Due, Timetable},
    target_layouts,
};

/// First looks are spread over so long, that many targets do not ask at once.
const SPLAY: SignedDuration = SignedDuration::from_secs(20);
/// How long to wait before a store that failed is asked again.
const RETRY_DELAY: Duration = Duration::from_secs(2);
/// How often it is asked whether sessions were ended lately.
const CONTAINMENT_CHECK_INTERVAL: SignedDuration = SignedDuration::from_secs(30);
/// Bytes of a ledger that may be written in a minute.
const WRITTEN: i64 = 1 << 20;

/// A target, and all that watching it needs.
#[derive(Debug)]
pub(super) struct Watching {
    pub(super) state: Arc<DaemonState>,
    pub(super) config: Arc<Config>,
    pub(super) target: Target,
    /// Which one it is, and of how many.
    pub(super) place: (usize, usize),
    /// Somebody says that the database is awake.
    pub(super) awake: Arc<Notify>,
    pub(super) stop: CancellationToken,
}

/// What is kept between looks while this daemon leads the target.
#[derive(Debug)]
struct Kept {
    term: i64,
    /// The store, for what is written under this term.
    store: Store,
    memory: Memory,
    /// How facts are obtained: it lives from run to run.
    engine: Engine,
    /// How far apart the looks are at which each check is made.
    intervals: BTreeMap<String, SignedDuration>,
    /// When the memory was last written, and how long to wait from then.
    saved: Option<(Instant, SignedDuration)>,
    /// Checks for which this process has read every row once, without trust in indexes and constraints.
    compared: BTreeSet<String>,
}

/// When a run takes place.
#[derive(Clone, Copy, Debug)]
struct Occasion {
    now: Instant,
    /// By how much it is late.
    lag: SignedDuration,
}

/// How a run went.
#[derive(Clone, Copy, Debug)]
struct Ran {
    took: SignedDuration,
    succeeded: bool,
}

impl Watching {
    /// Watches until it is asked to stop.
    pub(super) async fn run(self) {
        let this = Arc::new(self);
        let lease = lease(&this.target.name);
        while let Some(term) = this.stop.run_until_cancelled(this.state.app.leadership.lead(&lease)).await {
            let beginning = Arc::clone(&this);
            match blocking::run(move || beginning.begin(term)).await {
                Ok((kept, timetable)) => {
                    if this.state.failures_logged.end(Part::Begin, &this.target.name) {
                        tracing::info!(target = this.target.name, "the store can be read again: runs begin");
                    }
                    this.lead(kept, timetable).await;
                }
                Err(error) => {
                    let cause = error.to_string();
                    if this.state.failures_logged.begin(Part::Begin, &this.target.name, &cause) {
                        tracing::error!(target = this.target.name, "no check can run yet: {cause}");
                    }
                    wait_to_retry(RETRY_DELAY, &this.stop).await;
                }
            }
        }
    }

    /// What an earlier process kept.
    fn begin(&self, term: i64) -> Result<(Kept, Timetable), StoreError> {
        let name = &self.target.name;
        let store = self.state.app.leadership.fenced(&self.state.app.store, &lease(name), term);
        let key = store.write(|db| ledgers::key(db, fingerprint_key()))?;
        let now = self.state.app.clock.now();
        let (ledger, looked, growth) = self.state.app.store.read(|db| {
            Ok((ledgers::get(db, name)?, censuses::last(db, name)?, censuses::growth(db, name, now)?))
        })?;
        self.state.latest.begin_term(name, term);
        self.state.app.forget_next_run(name);
        self.state.recall(&self.config, &self.target)?;
        let history = ledger.as_ref().map(|(_, bytes)| History::from_bytes(bytes)).transpose();
        let history = history.unwrap_or_else(|error| {
            // The checks that compare are unknown then, and say so.
            tracing::warn!(
                target = name,
                "what was kept of earlier runs cannot be read, so the next run has nothing to compare with: {error}"
            );
            None
        });
        let memory = Memory::restored(key, history).recalling(ledger.as_ref().and(looked), growth);
        let (number, of) = self.place;
        let share = i32::try_from(number * 1_000 / of.max(1)).unwrap_or(0);
        let first = self.state.app.clock.now() + SPLAY / 1_000 * share;
        let timetable = Timetable::new(name, self.config.plan(&self.target), looked, first);
        Ok((
            Kept {
                term,
                store,
                memory,
                engine: Engine::new(self.target.engine),
                intervals: self.intervals(),
                saved: None,
                compared: BTreeSet::new(),
            },
            timetable,
        ))
    }

    /// Watches while this daemon leads the target.
    async fn lead(self: &Arc<Self>, mut kept: Kept, mut timetable: Timetable) {
        let state = &self.state;
        let lease = lease(&self.target.name);
        let mut asked = None;
        loop {
            let now = state.app.clock.now();
            if timetable.is_ahead(now) {
                timetable.rebase(now);
            }
            if asked
                .is_none_or(|asked: Instant| now.duration_since(asked).abs() >= CONTAINMENT_CHECK_INTERVAL)
            {
                asked = Some(now);
                let name = self.target.name.clone();
                let watched =
                    blocking::read(&state.app.store, move |db| incident::is_watched(db, &name, now)).await;
                timetable.closely(watched.unwrap_or(false));
            }
            let next = timetable.next(now);
            state.app.set_next_run(&self.target.name, next);
            tokio::select! {
                () = state.app.clock.wait_until(next) => {}
                () = self.awake.notified() => timetable.hurry(),
                () = self.stop.cancelled() => {}
            }
            state.beat();
            if self.stop.is_cancelled() || state.app.leadership.term(&lease) != Some(kept.term) {
                break;
            }
            let now = state.app.clock.now();
            let Some(due) = timetable.due(now) else { continue };
            let occasion = Occasion { now, lag: now.duration_since(next).max(SignedDuration::ZERO) };
            let Some((after, ran)) = self.run_checks(&due, occasion, kept).await else {
                return state.fail("keeping what a run found ended in a panic");
            };
            kept = after;
            let Some(ran) = ran else { break };
            timetable.looked(&due, now, ran.took, ran.succeeded);
        }
        let this = Arc::clone(self);
        blocking::run(move || this.save(&kept)).await;
    }

    /// Runs the checks that are due and keeps what they find, on a thread of their own: reading a file blocks, and a large
    /// scan computes. A run that cannot begin is a failed one. Returns `None` if keeping the results ended in a panic.
    async fn run_checks(
        self: &Arc<Self>,
        due: &Due,
        occasion: Occasion,
        kept: Kept,
    ) -> Option<(Kept, Option<Ran>)> {
        let (hand_over, handed) = sync_channel(1);
        let (answer, answered) = oneshot::channel();
        let (this, when, runtime) = (Arc::clone(self), due.clone(), Handle::current());
        let spawned = std::thread::Builder::new().name("run".into()).spawn(move || {
            // Nothing comes if the other side has ended, and then nobody waits for an answer.
            if let Ok(kept) = handed.recv() {
                let _ = answer.send(this.run_and_keep(&when, occasion, kept, &runtime));
            }
        });
        match spawned {
            Ok(_) => {
                let _ = hand_over.send(kept);
                answered.await.ok()
            }
            Err(error) => {
                let only: Vec<String> = due.checks.iter().cloned().collect();
                let report = check_run::failed(
                    self.request(due, &only, occasion.now, &kept.memory),
                    TargetError::of_system(&error),
                );
                let this = Arc::clone(self);
                Some(blocking::run(move || this.conclude(report, occasion, kept)).await)
            }
        }
    }

    fn request<'a>(&'a self, due: &Due, only: &'a [String], now: Instant, memory: &'a Memory) -> Request<'a> {
        Request {
            target: &self.target,
            catalogue: &self.config.catalogue,
            rules: &self.config.rules,
            deep: due.deep,
            only,
            watched: Some((memory, now)),
        }
    }

    /// A run, and what comes of it: how it went, or `None` if it was broken off.
    fn run_and_keep(
        &self,
        due: &Due,
        occasion: Occasion,
        mut kept: Kept,
        runtime: &Handle,
    ) -> (Kept, Option<Ran>) {
        let only: Vec<String> = due.checks.iter().cloned().collect();
        kept.memory.has_passed(self.state.passed());
        // What a constraint says is believed after the rows agreed with it once.
        let due = &Due { deep: due.deep || !due.checks.is_subset(&kept.compared), ..due.clone() };
        let mut target = self.target.clone();
        let located = target_layouts::locate(&self.state.app.store, &mut target);
        let request = Request { target: &target, ..self.request(due, &only, occasion.now, &kept.memory) };
        if let Err(error) = located {
            return self.conclude(check_run::failed(request, error), occasion, kept);
        }
        let engine = &mut kept.engine;
        let report = caught(|| self.observe(request, &mut *engine, runtime));
        let report = report.unwrap_or_else(|bug| {
            // What it keeps may be half of what it was to be.
            *engine = Engine::new(self.target.engine);
            Some(check_run::failed(request, bug))
        });
        let Some(report) = report else { return (kept, None) };
        // A table that is too large to be read so within the time limit is read at night, or never.
        if matches!(report.seen, Ok(_) | Err(TargetError::TimedOut(_) | TargetError::StatementTimeout)) {
            kept.compared.extend(only);
        }
        self.conclude(report, occasion, kept)
    }

    /// Observes the target. Returns `None` if the daemon stops meanwhile.
    fn observe(&self, request: Request<'_>, engine: &mut Engine, runtime: &Handle) -> Option<Report> {
        // A look that is under way is dropped: nothing of it is kept, and the database ends its query.
        runtime.block_on(self.stop.run_until_cancelled(check_run::run_checks(request, engine)))
    }

    /// Logs how a run went, and keeps what it found.
    fn conclude(&self, report: Report, occasion: Occasion, kept: Kept) -> (Kept, Option<Ran>) {
        let (name, logged) = (self.target.name.as_str(), &self.state.failures_logged);
        match &report.seen {
            Err(error) => {
                let cause = printable(&error.to_string());
                if logged.begin(Part::Run, name, &cause) {
                    tracing::error!(
                        target = name,
                        hint = error.hint(),
                        "check run on {name} failed: {cause}"
                    );
                }
            }
            Ok(_) if logged.end(Part::Run, name) => {
                tracing::info!(target = name, "check runs on {name} succeed again");
            }
            Ok(_) => {}
        }
        let has_clock = self.target.address.capabilities().supports(Capability::ServerClock);
        if let (Ok(seen), true) = (&report.seen, has_clock) {
            self.state.compare_clock(name, seen.census.taken_at, seen.clock_read);
        }
        let ran = Ran { took: length_of(report.duration), succeeded: report.seen.is_ok() };
        (self.keep(report, occasion, ran, kept), Some(ran))
    }

    fn keep(&self, mut report: Report, occasion: Occasion, ran: Ran, mut kept: Kept) -> Kept {
        let (state, name) = (&self.state, self.target.name.as_str());
        let Occasion { now, lag } = occasion;
        let sample = record_run::to_sample(&report, now);
        let news = report.mirror.as_ref().and_then(|mirror| mirror.changes.as_ref());
        let news = news.is_some_and(|changes| !changes.rebound.is_empty() || !changes.revived.is_empty());
        let next = report.mirror.take().map(|mirror| kept.memory.after(mirror, now));
        let bytes = next.as_ref().filter(|_| news || kept.is_due(now)).and_then(Memory::to_bytes);
        let reopen_reasons = incident::reopen_reasons(&report);
        // A table in doubt is not the one that a later look is held against.
        let certain = report.seen.as_ref().ok().filter(|seen| seen.certain);
        let layout = certain.map(|seen| KnownLayout::of(&seen.candidate.mapping));
        let run = RunRecord {
            report: &report,
            sample: &sample,
            serve: &self.config.serve,
            rules: &self.config.rules,
            intervals: &kept.intervals,
            now,
            passed: state.passed(),
        };
        let outcome = kept.store.write(|db| {
            if let Some(bytes) = &bytes {
                ledgers::put(db, name, bytes, now)?;
            }
            incident::reopen_by_run(db, name, &reopen_reasons, now)?;
            if let Some(layout) = &layout {
                target_layouts::keep(db, &self.target, layout, now)?;
            }
            record_run::record_run(db, run)
        });
        // Whoever sees that there was a run finds what it changed.
        state.latest.record_run(&report, &sample, lag);
        match outcome {
            Ok(told) => {
                if let Some(bytes) = bytes {
                    let minutes = i64::try_from(bytes.len()).unwrap_or(i64::MAX) / WRITTEN;
                    kept.saved = Some((now, SignedDuration::from_mins(minutes)));
                }
                kept.memory = next.unwrap_or(kept.memory);
                if ran.succeeded {
                    let until = schedule::current_until(&self.config.plan(&self.target), now, ran.took);
                    state.latest.record_success(name, Success { at: now, until });
                }
                if state.failures_logged.end(Part::Keep, name) {
                    tracing::info!(target = name, "the results of check runs are kept again");
                }
                tracing::debug!(target = name, told, "looked");
                if told > 0 {
                    state.nudge();
                }
                state.app.publish(LiveEvent::Looked { target: name.to_owned(), at: now });
            }
            // What was found was found for the new leader too.
            Err(StoreError::Fenced) => tracing::warn!(target = name, "somebody else leads it now"),
            Err(error @ (StoreError::Deleted(_) | StoreError::Replaced(_))) => state.store_is_gone(&error),
            // Watching goes on: the next run finds the same, and tells it then.
            Err(error) => {
                let cause = error.to_string();
                if state.failures_logged.begin(Part::Keep, name, &cause) {
                    tracing::error!(target = name, "the results of a check run could not be kept: {cause}");
                }
            }
        }
        kept
    }

    /// How far apart the looks are at which each check is made.
    fn intervals(&self) -> BTreeMap<String, SignedDuration> {
        let now = self.state.app.clock.now();
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
        let (name, now) = (self.target.name.as_str(), self.state.app.clock.now());
        if let Err(error) = kept.store.write(|db| ledgers::put(db, name, &bytes, now)) {
            tracing::warn!(target = name, "the next start compares with an older look: {error}");
        }
    }
}

/// What the work returns, unless it panics.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, TargetError> {
    // What the work shares with others is behind locks that outlive a panic.
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| TargetError::Bug)
}

impl Kept {
    fn is_due(&self, now: Instant) -> bool {
        self.saved.is_none_or(|(at, wait)| now.duration_since(at) >= wait || at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_failed_run() {
        assert_eq!(caught(|| 1).ok(), Some(1));
        assert!(matches!(caught(|| panic!("a bug")), Err(TargetError::Bug)));
    }
}
