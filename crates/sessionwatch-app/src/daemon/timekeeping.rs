//! What the daemon knows of clocks: by how much its own was set, how far others are apart from it, and which instant has
//! certainly passed.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant as Monotonic},
};

use jiff::SignedDuration;
use sessionwatch_clock::Clock;
use sessionwatch_core::{
    retention::{ClockReading, RetentionClock},
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{Store, StoreError, confirmed_time};
use tokio_util::sync::CancellationToken;

use super::DaemonState;
use crate::{
    app::failures::FailureKind,
    blocking,
    clock_difference::{ClockDifference, WARNING_THRESHOLD, format_duration},
};

/// How often the clock is read.
const CLOCK_READ_INTERVAL: Duration = Duration::from_secs(1);
/// How often the time of the store's server is read.
const SERVER_TIME_INTERVAL: Duration = Duration::from_secs(2);
/// How often the instant that has certainly passed is kept.
const CONFIRMED_TIME_SAVE_INTERVAL: Duration = Duration::from_secs(60);
/// What follows from a clock that is not confirmed.
const UNCONFIRMED_CLOCK_NOTE: &str = "nothing is removed for its age by the new time until the clock has run steadily for 6 \
     hours, or for 1 hour if a database's clock agrees";
/// Distance from the confirmed time above which a start is logged.
const STARTUP_JUMP_THRESHOLD: SignedDuration = SignedDuration::from_hours(1);
/// How the clock of the store's server is named.
const STORE_CLOCK_NAME: &str = "the store";

/// What the daemon knows of clocks.
#[derive(Debug)]
pub(super) struct Timekeeper {
    clock: Clock,
    retention_clock: Mutex<RetentionClock>,
}

impl Timekeeper {
    /// Of a clock, and what an earlier process confirmed.
    ///
    /// # Errors
    ///
    /// If that cannot be read.
    pub(super) fn start(store: &Store, clock: &Clock) -> Result<Self, StoreError> {
        let now = clock.take_reading();
        let confirmed = store.read(|db| confirmed_time::find_confirmed_time(db, now.wall))?;
        let ahead = now.wall.duration_since(confirmed);
        if ahead > STARTUP_JUMP_THRESHOLD {
            tracing::info!(
                "the clock is {} ahead of the time that was confirmed last: {UNCONFIRMED_CLOCK_NOTE}",
                format_duration(ahead)
            );
        } else if ahead < -WARNING_THRESHOLD {
            tracing::warn!(
                "the clock is {} behind the time that was confirmed last: it was set back",
                format_duration(ahead)
            );
        }
        Ok(Self { clock: clock.clone(), retention_clock: Mutex::new(RetentionClock::new(confirmed, now)) })
    }

    /// Returns an instant that has certainly passed: what is too old by it may be removed for good.
    pub(super) fn retention_now(&self) -> UtcTimestamp {
        self.with_reading(|retention, now| retention.confirmed_past(now))
    }

    /// Reads the clock, and says if it was set.
    fn with_reading<T>(&self, work: impl FnOnce(&mut RetentionClock, ClockReading) -> T) -> T {
        let mut retention = self.retention_clock.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.take_reading();
        if let Some(set) = retention.observe_reading(now) {
            let (way, why) = if set.is_positive() {
                ("forward", "was set, or the machine was suspended")
            } else {
                ("back", "was set")
            };
            tracing::warn!(
                "the clock jumped {way} by {}: it {why}; {UNCONFIRMED_CLOCK_NOTE}",
                format_duration(set)
            );
        }
        work(&mut retention, now)
    }

    /// Takes what a database's clock said, and when that was read.
    fn observe_database_clock(&self, database: UtcTimestamp, read: Monotonic) {
        self.with_reading(|retention, now| {
            retention.observe_database_clock(
                ClockDifference::from_reading(database, read, now.wall).database_offset(),
            )
        });
    }

    /// Keeps what is confirmed, and takes over what another daemon has.
    fn save_confirmed_time(&self, store: &Store) -> Result<(), StoreError> {
        store.write(|db| {
            let known = confirmed_time::find_confirmed_time(db, UtcTimestamp::MIN)?;
            let confirmed = self.with_reading(|retention, now| {
                retention.accept_confirmed(known);
                retention.confirmed_at(now.elapsed)
            });
            confirmed_time::upsert_confirmed_time(db, confirmed)
        })
    }
}

/// Keeps time until it is asked to stop.
pub(super) async fn run(state: Arc<DaemonState>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(CLOCK_READ_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut followed, mut kept) = (None, None);
    let is_due = |last: Option<Monotonic>, every| last.is_none_or(|last| last.elapsed() >= every);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if is_due(followed, SERVER_TIME_INTERVAL) {
            followed = Some(Monotonic::now());
            let state = Arc::clone(&state);
            blocking::run(move || follow_store_clock(&state)).await;
        }
        state.timekeeper.retention_now();
        if is_due(kept, CONFIRMED_TIME_SAVE_INTERVAL) {
            kept = Some(Monotonic::now());
            save_confirmed_time(&state).await;
        }
    }
    save_confirmed_time(&state).await;
}

/// Keeps what is confirmed. That the store cannot be written is said by those who have something to lose.
async fn save_confirmed_time(state: &Arc<DaemonState>) {
    let state = Arc::clone(state);
    if let Err(error) = blocking::run(move || state.timekeeper.save_confirmed_time(&state.app.store)).await {
        tracing::debug!("the confirmed time is not kept: {error}");
    }
}

/// Follows the time of the store's server, where there is one, and compares it with this machine's.
fn follow_store_clock(state: &DaemonState) {
    let Clock::Server(_) = &state.app.clock else { return };
    // Whoever needs the store says that it does not answer.
    let Ok(read) = state.app.store.read_server_time(&state.app.clock) else { return };
    state.app.clock.follow_server(read);
    let machine = state.app.clock.machine_clock().now();
    state
        .log_clock_difference(STORE_CLOCK_NAME, ClockDifference { machine, database: state.app.clock.now() });
}

impl DaemonState {
    /// Returns an instant that has certainly passed: what is too old by it may be removed for good.
    pub(crate) fn retention_now(&self) -> UtcTimestamp {
        self.timekeeper.retention_now()
    }

    /// Compares the clock of a target's database, which said `at` when it was read, with this machine's.
    pub(super) fn compare_clock(&self, target: &str, at: UtcTimestamp, read: Monotonic) {
        self.timekeeper.observe_database_clock(at, read);
        self.log_clock_difference(
            target,
            ClockDifference::from_reading(at, read, self.app.clock.machine_clock().now()),
        );
    }

    /// Logs when the clocks of a database and of this machine begin to differ, and when they agree again.
    fn log_clock_difference(&self, database: &str, difference: ClockDifference) {
        let logged = &self.failures_logged;
        if difference.exceeds_threshold() {
            if logged.record_failure(FailureKind::ClockDifference, database, "") {
                tracing::warn!(
                    "{}: {} there, {} here; keep both clocks in sync with NTP",
                    difference.describe(database),
                    sessionwatch_clock::format_utc(difference.database),
                    sessionwatch_clock::format_utc(difference.machine)
                );
            }
        } else if difference.has_recovered() && logged.record_success(FailureKind::ClockDifference, database)
        {
            tracing::info!("the clocks of {database} and of this machine agree again");
        }
    }
}
