//! What the daemon knows of clocks: by how much its own was set, how far others are apart from it, and which instant has
//! certainly passed.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant as Monotonic},
};

use sessionwatch_rules::{
    instant::Instant,
    retention::{Reading, RetentionClock},
};
use tokio::sync::watch;

use super::Shared;
use crate::{
    clock::Clock,
    clock_difference::{Difference, length},
    store::{Store, StoreError, confirmed_time},
};

/// How often the clock is read.
const READ_EVERY: Duration = Duration::from_secs(1);
/// How often the time of the store's server is read.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);
/// How often the instant that has certainly passed is kept.
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// How the clock of the store's server is named.
const STORE: &str = "the store";

/// What the daemon knows of clocks.
#[derive(Debug)]
pub(super) struct Timekeeper {
    clock: Clock,
    retention: Mutex<RetentionClock>,
}

impl Timekeeper {
    /// Of a clock, and what an earlier process confirmed.
    ///
    /// # Errors
    ///
    /// If that cannot be read.
    pub(super) fn start(store: &Store, clock: &Clock) -> Result<Self, StoreError> {
        let now = clock.reading();
        let confirmed = store.read(|db| confirmed_time::get(db, now.wall))?;
        Ok(Self { clock: clock.clone(), retention: Mutex::new(RetentionClock::new(confirmed, now)) })
    }

    /// Returns an instant that has certainly passed: what is too old by it may be removed for good.
    pub(super) fn passed(&self) -> Instant {
        self.with(|retention, now| retention.passed(now))
    }

    /// Reads the clock, and says if it was set.
    fn with<T>(&self, work: impl FnOnce(&mut RetentionClock, Reading) -> T) -> T {
        let mut retention = self.retention.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.reading();
        if let Some(set) = retention.read(now) {
            let way = if set > 0 { "forward" } else { "back" };
            tracing::warn!(
                "the clock was set {way} by {}, or the machine was suspended; what is too old is removed by it once it has \
                 gone on evenly for 6 hours, or for 1 hour and a database's clock agrees",
                length(set)
            );
        }
        work(&mut retention, now)
    }

    /// Takes how far the clock of a database is apart.
    fn compare(&self, difference: Difference) {
        self.with(|retention, _| retention.compare(difference.ahead()));
    }

    /// Keeps what is confirmed, and takes over what another daemon has.
    fn keep(&self, store: &Store) -> Result<(), StoreError> {
        store.write(|db| {
            let known = confirmed_time::get(db, Instant::MIN)?;
            let confirmed = self.with(|retention, now| {
                retention.learn(known);
                retention.confirmed_at(now.elapsed)
            });
            confirmed_time::put(db, confirmed)
        })
    }
}

/// Keeps time until it is asked to stop.
pub(super) async fn run(shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(READ_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut followed, mut kept) = (None, None);
    let is_due = |last: Option<Monotonic>, every| last.is_none_or(|last| last.elapsed() >= every);
    while !*stopping.borrow() {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopping.changed() => continue,
        }
        if is_due(followed, FOLLOW_EVERY) {
            followed = Some(Monotonic::now());
            follow(&shared);
        }
        shared.time.passed();
        if is_due(kept, KEEP_EVERY) {
            kept = Some(Monotonic::now());
            // That the store cannot be written is said by those who have something to lose.
            if let Err(error) = shared.time.keep(&shared.store) {
                tracing::debug!("the confirmed time is not kept: {error}");
            }
        }
    }
    if let Err(error) = shared.time.keep(&shared.store) {
        tracing::debug!("the confirmed time is not kept: {error}");
    }
}

/// Follows the time of the store's server, where there is one, and compares it with this machine's.
fn follow(shared: &Shared) {
    let Clock::Server(_) = &shared.clock else { return };
    // Whoever needs the store says that it does not answer.
    let Ok(read) = shared.store.server_time(&shared.clock) else { return };
    shared.clock.follow(read);
    let machine = shared.clock.machine().now();
    shared.compare_clocks(STORE, Difference { machine, database: shared.clock.now() });
}

impl Shared {
    /// Returns an instant that has certainly passed: what is too old by it may be removed for good.
    pub(crate) fn passed(&self) -> Instant {
        self.time.passed()
    }

    /// Compares a database's clock with this machine's, and says when they begin and end to be apart.
    pub(super) fn compare_clocks(&self, database: &str, difference: Difference) {
        if database != STORE {
            self.time.compare(difference);
        }
        let logged = &self.failures_logged;
        if difference.is_large() {
            if logged.begin(super::failures::Part::Clock, database, "") {
                tracing::warn!(
                    "{}; it is {} here and {} there: keep both machines' clocks by NTP",
                    difference.said(database),
                    crate::clock::readable(difference.machine),
                    crate::clock::readable(difference.database)
                );
            }
        } else if difference.is_over() && logged.end(super::failures::Part::Clock, database) {
            tracing::info!("the clocks of {database} and of this machine agree again");
        }
    }
}
