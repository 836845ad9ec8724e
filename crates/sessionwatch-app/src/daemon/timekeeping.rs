//! Timekeeping: detects jumps of the machine's clock, compares it with database clocks, and maintains the confirmed
//! time that retention relies on.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant as Monotonic},
};

use jiff::SignedDuration;
use sessionwatch_clock::Clock;
use sessionwatch_core::{
    retention_clock::{ClockReading, RetentionClock},
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{Store, StoreError, confirmed_time};
use tokio_util::sync::CancellationToken;

use super::DaemonState;
use crate::{
    app::failure_log::FailureKind,
    blocking,
    clock_difference::{ClockDifference, WARNING_THRESHOLD, format_duration},
};

const CLOCK_READ_INTERVAL: Duration = Duration::from_secs(1);
/// Interval at which the time of the store's server is read.
const SERVER_TIME_INTERVAL: Duration = Duration::from_secs(2);
const CONFIRMED_TIME_SAVE_INTERVAL: Duration = Duration::from_secs(60);
/// Consequence of an unconfirmed clock, for log lines.
const UNCONFIRMED_CLOCK_NOTE: &str = "retention ignores the new time until the clock has run steadily for 6 hours, or \
     for 1 hour if a database's clock agrees";
/// Difference between the confirmed time and the clock above which it is logged at the start.
const STARTUP_JUMP_THRESHOLD: SignedDuration = SignedDuration::from_hours(1);
/// The name of the store's clock in log lines.
const STORE_CLOCK_NAME: &str = "the store";

/// The machine's clock and the confirmed time derived from it.
#[derive(Debug)]
pub(super) struct Timekeeper {
    clock: Clock,
    retention_clock: Mutex<RetentionClock>,
}

impl Timekeeper {
    /// Starts from the time that an earlier process confirmed, and logs if the clock has jumped since.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub(super) fn start(store: &Store, clock: &Clock) -> Result<Self, StoreError> {
        // Wall and monotonic time together, to distinguish a jump from time that has passed.
        let now = clock.take_reading();
        let confirmed = store.read(|db| confirmed_time::find_confirmed_time(db, now.wall))?;
        let ahead = now.wall.duration_since(confirmed);
        if ahead > STARTUP_JUMP_THRESHOLD {
            tracing::info!(
                "the clock is {} ahead of the last confirmed time: {UNCONFIRMED_CLOCK_NOTE}",
                format_duration(ahead)
            );
        } else if ahead < -WARNING_THRESHOLD {
            tracing::warn!(
                "the clock is {} behind the last confirmed time: the clock was set back",
                format_duration(ahead)
            );
        }
        Ok(Self { clock: clock.clone(), retention_clock: Mutex::new(RetentionClock::new(confirmed, now)) })
    }

    /// Returns a confirmed past time. Records that are too old by it may be removed, even if the clock is wrong.
    pub(super) fn retention_now(&self) -> UtcTimestamp {
        self.with_reading(|retention, now| retention.confirmed_past(now))
    }

    /// Reads the clock, and logs a jump.
    fn with_reading<T>(&self, work: impl FnOnce(&mut RetentionClock, ClockReading) -> T) -> T {
        let mut retention = self.retention_clock.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock: readings must reach the retention clock in their order.
        let now = self.clock.take_reading();
        if let Some(set) = retention.observe_reading(now) {
            let (way, why) = if set.is_positive() {
                ("forward", "the clock was set, or the machine was suspended")
            } else {
                ("back", "the clock was set")
            };
            tracing::warn!(
                "the clock jumped {way} by {}: {why}; {UNCONFIRMED_CLOCK_NOTE}",
                format_duration(set)
            );
        }
        work(&mut retention, now)
    }

    /// Observes the clock of a database, which was read at `read`.
    fn observe_database_clock(&self, database: UtcTimestamp, read: Monotonic) {
        self.with_reading(|retention, now| {
            retention.observe_database_clock(
                ClockDifference::from_reading(database, read, now.wall).database_offset(),
            )
        });
    }

    /// Saves the confirmed time, and adopts a later one from another daemon that shares the store.
    fn save_confirmed_time(&self, store: &Store) -> Result<(), StoreError> {
        store.write(|db| {
            // The minimum as default, so that an empty store confirms nothing.
            let known = confirmed_time::find_confirmed_time(db, UtcTimestamp::MIN)?;
            let confirmed = self.with_reading(|retention, now| {
                // The later one of the two: each daemon confirms only what it has observed itself.
                retention.accept_confirmed(known);
                retention.confirmed_at(now.elapsed)
            });
            confirmed_time::upsert_confirmed_time(db, confirmed)
        })
    }
}

/// Maintains the confirmed time until stopped.
pub(super) async fn run(state: Arc<DaemonState>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(CLOCK_READ_INTERVAL);
    // After a suspended machine, one reading is enough to detect the jump.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut followed, mut saved_at) = (None, None);
    let is_due = |last: Option<Monotonic>, every| last.is_none_or(|last| last.elapsed() >= every);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if is_due(followed, SERVER_TIME_INTERVAL) {
            followed = Some(Monotonic::now());
            let state = Arc::clone(&state);
            blocking::run(move || follow_store_clock(&state)).await;
        }
        // Each reading advances the confirmed time and detects jumps.
        state.timekeeper.retention_now();
        if is_due(saved_at, CONFIRMED_TIME_SAVE_INTERVAL) {
            saved_at = Some(Monotonic::now());
            save_confirmed_time(&state).await;
        }
    }
    // Saved at the end, so that the next start does not wait again for what is confirmed already.
    save_confirmed_time(&state).await;
}

async fn save_confirmed_time(state: &Arc<DaemonState>) {
    let state = Arc::clone(state);
    if let Err(error) = blocking::run(move || state.timekeeper.save_confirmed_time(&state.app.store)).await {
        // Only a debug message: an older confirmed time is safe, and other tasks report a broken store.
        tracing::debug!("cannot save the confirmed time: {error}");
    }
}

/// Follows the clock of a PostgreSQL store, and compares it with this machine's.
fn follow_store_clock(state: &DaemonState) {
    // A file store has no clock of its own to follow.
    let Clock::Server(_) = &state.app.clock else { return };
    // Other tasks report a store that does not respond.
    let Ok(read) = state.app.store.read_server_time(&state.app.clock) else { return };
    state.app.clock.follow_server(read);
    let machine = state.app.clock.machine_clock().now();
    state
        .log_clock_difference(STORE_CLOCK_NAME, ClockDifference { machine, database: state.app.clock.now() });
}

impl DaemonState {
    /// Returns a confirmed past time. Records that are too old by it may be removed, even if the clock is wrong.
    pub(crate) fn retention_now(&self) -> UtcTimestamp {
        self.timekeeper.retention_now()
    }

    /// Compares the clock of a target's database, which showed `at` when read, with this machine's.
    pub(super) fn compare_clock(&self, target: &str, at: UtcTimestamp, read: Monotonic) {
        self.timekeeper.observe_database_clock(at, read);
        self.log_clock_difference(
            target,
            ClockDifference::from_reading(at, read, self.app.clock.machine_clock().now()),
        );
    }

    /// Logs when the clocks of a database and this machine start to differ, and when they agree again.
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
            // With hysteresis: a difference near the threshold would otherwise be logged again and again.
            tracing::info!("the clocks of {database} and this machine agree again");
        }
    }
}
