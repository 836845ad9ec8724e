//! The only place that reads the time, and timestamp formats.

use std::{
    sync::{
        Arc, LazyLock, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant as Monotonic},
};

use jiff::SignedDuration;
use sessionwatch_core::{
    duration::saturating_micros, retention_clock::ClockReading, timestamp::UtcTimestamp,
};
use tokio::sync::watch;

/// Longest sleep before the clock is read again, because the clock may have been set.
const CLOCK_RECHECK_INTERVAL: Duration = Duration::from_secs(10);
/// Longest real time before a manual clock is read again.
const MANUAL_CLOCK_RECHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Difference from the server's time, beyond half the round trip, that is tolerated before the clock follows.
const FOLLOW_TOLERANCE: SignedDuration = SignedDuration::from_millis(50);
/// Longest time that a reading of both clocks may take.
const MAX_READING_DURATION: SignedDuration = SignedDuration::from_millis(100);

/// Source of the time.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// Clock of this machine.
    #[default]
    System,
    /// Clock that stands still until it is set.
    Manual(ManualClock),
    /// Time of a server, shared by all its clients.
    Server(Arc<ServerClock>),
}

/// Clock that stands still until it is set.
#[derive(Clone, Debug)]
pub struct ManualClock {
    sender: Arc<watch::Sender<UtcTimestamp>>,
    /// Sum of all adjustments in microseconds, which do not count as elapsed time.
    adjusted_us: Arc<AtomicI64>,
}

/// Time of a server, extrapolated from its last reading.
#[derive(Debug)]
pub struct ServerClock {
    machine: Clock,
    last_reading: RwLock<ClockReading>,
}

/// Server time, and the machine's monotonic time before and after the query.
#[derive(Clone, Copy, Debug)]
pub struct ServerReading {
    /// Time of the server.
    pub server_time: UtcTimestamp,
    /// [`Clock::elapsed`] before the query.
    pub before: SignedDuration,
    /// [`Clock::elapsed`] after the query.
    pub after: SignedDuration,
}

impl ServerReading {
    /// Assumes that the server read its clock halfway; the error is at most half the round trip.
    fn midpoint(self) -> ClockReading {
        ClockReading { wall: self.server_time, elapsed: self.before + (self.after - self.before) / 2 }
    }
}

impl Clock {
    /// Creates a clock that stands still at `at` until it is set through the returned sender.
    #[must_use]
    pub fn manual(at: UtcTimestamp) -> (Self, Arc<watch::Sender<UtcTimestamp>>) {
        let hand = Arc::new(watch::Sender::new(at));
        (Self::Manual(ManualClock { sender: Arc::clone(&hand), adjusted_us: Arc::default() }), hand)
    }

    /// Creates the clock of a server from a reading taken with the clock `machine`.
    #[must_use]
    pub fn from_server(machine: Self, read: ServerReading) -> Self {
        Self::Server(Arc::new(ServerClock { machine, last_reading: RwLock::new(read.midpoint()) }))
    }

    /// Sets a manual clock forward or back, as a person would: this does not count as elapsed time. Has no effect on
    /// other clocks.
    pub fn adjust(&self, by: SignedDuration) {
        match self {
            Self::Manual(set) => set.sender.send_modify(|at| {
                set.adjusted_us.fetch_add(saturating_micros(by), Ordering::Relaxed);
                *at += by;
            }),
            Self::Server(server) => server.machine.adjust(by),
            Self::System => {}
        }
    }

    /// Adopts a new reading if this is a server clock and has drifted.
    pub fn follow_server(&self, read: ServerReading) {
        let Self::Server(server) = self else { return };
        let apart = read.server_time.duration_since(server.time_at(read.midpoint().elapsed)).abs();
        // Small differences are measurement errors; following them would make the time jitter.
        if apart > (read.after - read.before) / 2 + FOLLOW_TOLERANCE {
            *server.last_reading.write().unwrap_or_else(PoisonError::into_inner) = read.midpoint();
        }
    }

    /// Returns the machine's clock behind a server clock, or the clock itself.
    #[must_use]
    pub fn machine_clock(&self) -> &Self {
        if let Self::Server(server) = self { &server.machine } else { self }
    }

    /// Returns the monotonic time since an arbitrary start, unaffected by setting the clock.
    #[must_use]
    pub fn elapsed(&self) -> SignedDuration {
        static PROCESS_START: LazyLock<Monotonic> = LazyLock::new(Monotonic::now);
        match self {
            Self::System => to_signed_duration(PROCESS_START.elapsed()),
            Self::Manual(set) => {
                let adjusted = SignedDuration::from_micros(set.adjusted_us.load(Ordering::Relaxed));
                set.sender.borrow().duration_since(UtcTimestamp::UNIX_EPOCH) - adjusted
            }
            Self::Server(server) => server.machine.elapsed(),
        }
    }

    /// Reads the wall time and the monotonic time together.
    #[must_use]
    pub fn take_reading(&self) -> ClockReading {
        loop {
            let (before, wall, elapsed) = (self.elapsed(), self.now(), self.elapsed());
            // The thread may have been suspended in between; then the two do not belong together.
            if elapsed - before < MAX_READING_DURATION {
                return ClockReading { wall, elapsed };
            }
        }
    }

    /// Returns the current time.
    #[must_use]
    pub fn now(&self) -> UtcTimestamp {
        match self {
            Self::System => now(),
            Self::Manual(set) => *set.sender.borrow(),
            Self::Server(server) => server.time_at(server.machine.elapsed()),
        }
    }

    /// Sleeps until an instant, or until the clock should be read again.
    pub async fn sleep_until(&self, at: UtcTimestamp) {
        let left = Duration::try_from(at.duration_since(self.now())).unwrap_or_default();
        // A server clock runs on the machine's clock, which determines how to wait.
        match self.machine_clock() {
            Self::Manual(set) => {
                let mut hand = set.sender.subscribe();
                hand.mark_unchanged();
                if self.now() < at {
                    // The clock may have been set back since the caller computed the instant, so the wait is limited.
                    let _ = tokio::time::timeout(MANUAL_CLOCK_RECHECK_INTERVAL, hand.changed()).await;
                }
            }
            Self::System | Self::Server(_) => sleep(left.min(CLOCK_RECHECK_INTERVAL)).await,
        }
    }
}

impl ServerClock {
    /// Returns the server's time at a monotonic time.
    fn time_at(&self, elapsed: SignedDuration) -> UtcTimestamp {
        let read = *self.last_reading.read().unwrap_or_else(PoisonError::into_inner);
        read.wall + (elapsed - read.elapsed)
    }
}

/// Converts a duration; saturates at [`SignedDuration::MAX`].
#[must_use]
pub fn to_signed_duration(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// Sleeps. The caller is responsible for stopping early on shutdown.
#[expect(
    clippy::disallowed_methods,
    reason = "the only place: retries and clock changes have no event to wait for"
)]
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Returns the current time of this machine.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the only place that reads the clock")]
pub fn now() -> UtcTimestamp {
    jiff::Timestamp::now().try_into().unwrap_or(UtcTimestamp::MIN)
}

/// 1970-01-01 00:00:00.
const UNIX_EPOCH_CIVIL: jiff::civil::DateTime = jiff::civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// Formats a timestamp in UTC without a zone: `2026-01-31 12:00:00.123456`.
#[must_use]
pub fn format_timestamp(at: UtcTimestamp) -> String {
    to_civil(at).strftime("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

/// Formats a timestamp by RFC 3339: `2026-01-31T12:00:00.123456Z`.
#[must_use]
pub fn format_rfc3339(at: UtcTimestamp) -> String {
    to_civil(at).strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// Parses an RFC 3339 timestamp; `None` if the text is malformed.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<UtcTimestamp> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return at.try_into().ok();
    }
    // jiff's range ends a day before the years do, and applications write 9999-12-31 for "never".
    let last_day =
        text.strip_suffix('Z').filter(|text| text.starts_with("9999-12-3") && text.contains('T'))?;
    let civil: jiff::civil::DateTime = last_day.parse().ok()?;
    let micros = civil.duration_since(UNIX_EPOCH_CIVIL).as_micros();
    UtcTimestamp::from_micros(i64::try_from(micros).ok()?)
}

/// Formats a timestamp for people: `2026-01-31 12:00:00 UTC`.
#[must_use]
pub fn format_utc(at: UtcTimestamp) -> String {
    to_civil(at).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Formats the day of a timestamp for people: `Jan 31`.
#[must_use]
pub fn format_day(at: UtcTimestamp) -> String {
    to_civil(at).strftime("%b %-d").to_string()
}

/// Formats the date of a timestamp in UTC: `2026-03-07`.
#[must_use]
pub fn format_date(at: UtcTimestamp) -> String {
    to_civil(at).strftime("%Y-%m-%d").to_string()
}

/// Formats the weekday of a timestamp: `Monday`.
#[must_use]
pub fn format_weekday(at: UtcTimestamp) -> String {
    to_civil(at).strftime("%A").to_string()
}

/// Formats the time of day of a timestamp: `12:00:00`.
#[must_use]
pub fn format_time_of_day(at: UtcTimestamp) -> String {
    to_civil(at).strftime("%H:%M:%S").to_string()
}

fn to_civil(at: UtcTimestamp) -> jiff::civil::DateTime {
    UNIX_EPOCH_CIVIL.saturating_add(at.duration_since(UtcTimestamp::UNIX_EPOCH))
}

#[cfg(test)]
mod tests;
