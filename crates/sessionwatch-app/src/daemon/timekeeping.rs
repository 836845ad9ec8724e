//! What the daemon knows of clocks: by how much its own was set, how far others are apart from it, and which instant has
//! certainly passed.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant as Monotonic},
};

use jiff::SignedDuration;
use sessionwatch_clock::Clock;
use sessionwatch_core::{
    instant::Instant,
    retention::{Reading, RetentionClock},
};
use sessionwatch_store::{Store, StoreError, confirmed_time};
use tokio_util::sync::CancellationToken;

use super::DaemonState;
use crate::{
    app::failures::Part,
    blocking,
    clock_difference::{Difference, WARNING_THRESHOLD, length},
};

/// How often the clock is read.
const READ_EVERY: Duration = Duration::from_secs(1);
/// How often the time of the store's server is read.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);
/// How often the instant that has certainly passed is kept.
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// What follows from a clock that is not confirmed.
const UNTIL_CONFIRMED: &str = "nothing is removed for its age by the new time until the clock has run steadily for 6 \
     hours, or for 1 hour if a database's clock agrees";
/// Distance from the confirmed time above which a start is logged.
const NOTABLE_AT_START: SignedDuration = SignedDuration::from_hours(1);
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
        let ahead = now.wall.duration_since(confirmed);
        if ahead > NOTABLE_AT_START {
            tracing::info!(
                "the clock is {} ahead of the time that was confirmed last: {UNTIL_CONFIRMED}",
                length(ahead)
            );
        } else if ahead < -WARNING_THRESHOLD {
            tracing::warn!(
                "the clock is {} behind the time that was confirmed last: it was set back",
                length(ahead)
            );
        }
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
            let (way, why) = if set.is_positive() {
                ("forward", "was set, or the machine was suspended")
            } else {
                ("back", "was set")
            };
            tracing::warn!("the clock jumped {way} by {}: it {why}; {UNTIL_CONFIRMED}", length(set));
        }
        work(&mut retention, now)
    }

    /// Takes what a database's clock said, and when that was read.
    fn compare(&self, database: Instant, read: Monotonic) {
        self.with(|retention, now| retention.compare(Difference::of(database, read, now.wall).ahead()));
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
pub(super) async fn run(state: Arc<DaemonState>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(READ_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut followed, mut kept) = (None, None);
    let is_due = |last: Option<Monotonic>, every| last.is_none_or(|last| last.elapsed() >= every);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if is_due(followed, FOLLOW_EVERY) {
            followed = Some(Monotonic::now());
            let state = Arc::clone(&state);
            blocking::run(move || follow(&state)).await;
        }
        state.time.passed();
        if is_due(kept, KEEP_EVERY) {
            kept = Some(Monotonic::now());
            keep(&state).await;
        }
    }
    keep(&state).await;
}

/// Keeps what is confirmed. That the store cannot be written is said by those who have something to lose.
async fn keep(state: &Arc<DaemonState>) {
    let state = Arc::clone(state);
    if let Err(error) = blocking::run(move || state.time.keep(&state.app.store)).await {
        tracing::debug!("the confirmed time is not kept: {error}");
    }
}

/// Follows the time of the store's server, where there is one, and compares it with this machine's.
fn follow(state: &DaemonState) {
    let Clock::Server(_) = &state.app.clock else { return };
    // Whoever needs the store says that it does not answer.
    let Ok(read) = state.app.store.server_time(&state.app.clock) else { return };
    state.app.clock.follow(read);
    let machine = state.app.clock.machine().now();
    state.warn_of_difference(STORE, Difference { machine, database: state.app.clock.now() });
}

impl DaemonState {
    /// Returns an instant that has certainly passed: what is too old by it may be removed for good.
    pub(crate) fn passed(&self) -> Instant {
        self.time.passed()
    }

    /// Compares the clock of a target's database, which said `at` when it was read, with this machine's.
    pub(super) fn compare_clock(&self, target: &str, at: Instant, read: Monotonic) {
        self.time.compare(at, read);
        self.warn_of_difference(target, Difference::of(at, read, self.app.clock.machine().now()));
    }

    /// Logs when the clocks of a database and of this machine begin to differ, and when they agree again.
    fn warn_of_difference(&self, database: &str, difference: Difference) {
        let logged = &self.failures_logged;
        if difference.is_large() {
            if logged.begin(Part::Clock, database, "") {
                tracing::warn!(
                    "{}: {} there, {} here; keep both clocks in sync with NTP",
                    difference.said(database),
                    sessionwatch_clock::readable(difference.database),
                    sessionwatch_clock::readable(difference.machine)
                );
            }
        } else if difference.is_over() && logged.end(Part::Clock, database) {
            tracing::info!("the clocks of {database} and of this machine agree again");
        }
    }
}
