//! The one place that reads the clock, and how instants are printed.

use std::{
    sync::{
        Arc, LazyLock, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant as Monotonic},
};

use jiff::SignedDuration;
use sessionwatch_core::{duration::saturating_micros, retention::ClockReading, timestamp::UtcTimestamp};
use tokio::sync::watch;

/// How long to wait at most before the clock is read again, which somebody may have set.
const CLOCK_RECHECK_INTERVAL: Duration = Duration::from_secs(10);
/// The same, where nothing passes by itself.
const MANUAL_CLOCK_RECHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How far apart a clock and a server's may seem, besides what the way to the server takes, before the clock follows.
const FOLLOW_TOLERANCE: SignedDuration = SignedDuration::from_millis(50);
/// How long the two readings of a pair may be apart.
const MAX_READING_DURATION: SignedDuration = SignedDuration::from_millis(100);

/// Where the watch takes the time from.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// This machine.
    #[default]
    System,
    /// A clock that stands still until it is set.
    Manual(ManualClock),
    /// A server, whose time all who use it share.
    Server(Arc<ServerClock>),
}

/// A clock that stands still until it is set.
#[derive(Clone, Debug)]
pub struct ManualClock {
    sender: Arc<watch::Sender<UtcTimestamp>>,
    /// By how much it was adjusted, in microseconds: no time passed meanwhile.
    adjusted_us: Arc<AtomicI64>,
}

/// The time of a server, from its last reading on.
#[derive(Debug)]
pub struct ServerClock {
    machine: Clock,
    last_reading: RwLock<ClockReading>,
}

/// A server's time, and the machine's count of time before and after it was asked for.
#[derive(Clone, Copy, Debug)]
pub struct ServerReading {
    /// The server's time.
    pub server_time: UtcTimestamp,
    /// The count of [`Clock::elapsed`], before.
    pub before: SignedDuration,
    /// The same, after.
    pub after: SignedDuration,
}

impl ServerReading {
    /// The middle, which is wrong by half of the way there and back at most.
    fn midpoint(self) -> ClockReading {
        ClockReading { wall: self.server_time, elapsed: self.before + (self.after - self.before) / 2 }
    }
}

impl Clock {
    /// A clock that stands still at that instant until it is set.
    #[must_use]
    pub fn manual(at: UtcTimestamp) -> (Self, Arc<watch::Sender<UtcTimestamp>>) {
        let hand = Arc::new(watch::Sender::new(at));
        (Self::Manual(ManualClock { sender: Arc::clone(&hand), adjusted_us: Arc::default() }), hand)
    }

    /// The clock of a server that was read then, by the count of time of that machine.
    #[must_use]
    pub fn from_server(machine: Self, read: ServerReading) -> Self {
        Self::Server(Arc::new(ServerClock { machine, last_reading: RwLock::new(read.midpoint()) }))
    }

    /// Sets a clock that a story holds forward or back, as somebody does by hand: no time passes
    /// by it. Other clocks stay as they are.
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

    /// Follows the server's time, if this is a server's clock.
    pub fn follow_server(&self, read: ServerReading) {
        let Self::Server(server) = self else { return };
        let apart = read.server_time.duration_since(server.time_at(read.midpoint().elapsed)).abs();
        if apart > (read.after - read.before) / 2 + FOLLOW_TOLERANCE {
            *server.last_reading.write().unwrap_or_else(PoisonError::into_inner) = read.midpoint();
        }
    }

    /// This machine's clock, where the time is a server's; otherwise the clock itself.
    #[must_use]
    pub fn machine_clock(&self) -> &Self {
        if let Self::Server(server) = self { &server.machine } else { self }
    }

    /// The time since some instant, which goes on evenly however the clock is set.
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

    /// The present instant, and the count of time with it.
    #[must_use]
    pub fn take_reading(&self) -> ClockReading {
        loop {
            let (before, wall, after) = (self.elapsed(), self.now(), self.elapsed());
            // This thread may have been kept from running in between.
            if after - before < MAX_READING_DURATION {
                return ClockReading { wall, elapsed: after };
            }
        }
    }

    /// The present instant.
    #[must_use]
    pub fn now(&self) -> UtcTimestamp {
        match self {
            Self::System => now(),
            Self::Manual(set) => *set.sender.borrow(),
            Self::Server(server) => server.time_at(server.machine.elapsed()),
        }
    }

    /// Waits until an instant, or until the clock should be read again.
    pub async fn sleep_until(&self, at: UtcTimestamp) {
        let left = Duration::try_from(at.duration_since(self.now())).unwrap_or_default();
        match self.machine_clock() {
            Self::Manual(set) => {
                let mut hand = set.sender.subscribe();
                hand.mark_unchanged();
                if self.now() < at {
                    // It may also have been set back since the instant was worked out.
                    let _ = tokio::time::timeout(MANUAL_CLOCK_RECHECK_INTERVAL, hand.changed()).await;
                }
            }
            Self::System | Self::Server(_) => sleep(left.min(CLOCK_RECHECK_INTERVAL)).await,
        }
    }
}

impl ServerClock {
    /// The server's time at a count of time.
    fn time_at(&self, elapsed: SignedDuration) -> UtcTimestamp {
        let read = *self.last_reading.read().unwrap_or_else(PoisonError::into_inner);
        read.wall + (elapsed - read.elapsed)
    }
}

/// A length of time as one that has a sign; the longest there is where it is longer.
#[must_use]
pub fn to_signed_duration(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// Waits for so long. Whoever calls this also watches what tells it to stop.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place: nothing tells when a retry may succeed, or a clock was set"
)]
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// The present instant by this machine's clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> UtcTimestamp {
    jiff::Timestamp::now().try_into().unwrap_or(UtcTimestamp::MIN)
}

/// `2026-01-31 12:00:00.123456`, in UTC, without a zone.
#[must_use]
pub fn format_timestamp(at: UtcTimestamp) -> String {
    to_civil(at).strftime("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

/// `2026-01-31T12:00:00.123456Z`.
#[must_use]
pub fn format_rfc3339(at: UtcTimestamp) -> String {
    to_civil(at).strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// Reads what [`format_rfc3339`] writes; `None` if the text is something else.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<UtcTimestamp> {
    text.parse::<jiff::Timestamp>().ok()?.try_into().ok()
}

/// `2026-01-31 12:00:00 UTC`, for people.
#[must_use]
pub fn format_utc(at: UtcTimestamp) -> String {
    to_civil(at).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn to_civil(at: UtcTimestamp) -> jiff::civil::DateTime {
    let epoch = jiff::civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    epoch.saturating_add(at.duration_since(UtcTimestamp::UNIX_EPOCH))
}

#[cfg(test)]
mod tests;
