//! The one place that reads the clock, and how instants are printed.

use std::{
    sync::{
        Arc, LazyLock, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant as Monotonic},
};

use jiff::SignedDuration;
use sessionwatch_core::{duration::whole_micros, instant::Instant, retention::Reading};
use tokio::sync::watch;

/// How long to wait at most before the clock is read again, which somebody may have set.
const GLANCE: Duration = Duration::from_secs(10);
/// The same, where nothing passes by itself.
const GLIMPSE: Duration = Duration::from_secs(1);

/// How far apart a clock and a server's may seem, besides what the way to the server takes, before the clock follows.
const FOLLOW_TOLERANCE: SignedDuration = SignedDuration::from_millis(50);
/// How long the two readings of a pair may be apart.
const READING_LIMIT: SignedDuration = SignedDuration::from_millis(100);

/// Where the watch takes the time from.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// This machine.
    #[default]
    System,
    /// A clock that stands still until it is set.
    Set(SetClock),
    /// A server, whose time all who use it share.
    Server(Arc<ServerClock>),
}

/// A clock that stands still until it is set.
#[derive(Clone, Debug)]
pub struct SetClock {
    hand: Arc<watch::Sender<Instant>>,
    /// By how much it was adjusted, in microseconds: no time passed meanwhile.
    adjusted: Arc<AtomicI64>,
}

/// The time of a server, from its last reading on.
#[derive(Debug)]
pub struct ServerClock {
    machine: Clock,
    read: RwLock<Reading>,
}

/// A server's time, and the machine's count of time before and after it was asked for.
#[derive(Clone, Copy, Debug)]
pub struct ServerReading {
    /// The server's time.
    pub at: Instant,
    /// The count of [`Clock::elapsed`], before.
    pub before: SignedDuration,
    /// The same, after.
    pub after: SignedDuration,
}

impl ServerReading {
    /// The middle, which is wrong by half of the way there and back at most.
    fn reading(self) -> Reading {
        Reading { wall: self.at, elapsed: self.before + (self.after - self.before) / 2 }
    }
}

impl Clock {
    /// A clock that stands still at that instant until it is set.
    #[must_use]
    pub fn set(at: Instant) -> (Self, Arc<watch::Sender<Instant>>) {
        let hand = Arc::new(watch::Sender::new(at));
        (Self::Set(SetClock { hand: Arc::clone(&hand), adjusted: Arc::default() }), hand)
    }

    /// The clock of a server that was read then, by the count of time of that machine.
    #[must_use]
    pub fn of_server(machine: Self, read: ServerReading) -> Self {
        Self::Server(Arc::new(ServerClock { machine, read: RwLock::new(read.reading()) }))
    }

    /// Sets a clock that a story holds forward or back, as somebody does by hand: no time passes
    /// by it. Other clocks stay as they are.
    pub fn adjust(&self, by: SignedDuration) {
        match self {
            Self::Set(set) => set.hand.send_modify(|at| {
                set.adjusted.fetch_add(whole_micros(by), Ordering::Relaxed);
                *at += by;
            }),
            Self::Server(server) => server.machine.adjust(by),
            Self::System => {}
        }
    }

    /// Follows the server's time, if this is a server's clock.
    pub fn follow(&self, read: ServerReading) {
        let Self::Server(server) = self else { return };
        let apart = read.at.duration_since(server.at(read.reading().elapsed)).abs();
        if apart > (read.after - read.before) / 2 + FOLLOW_TOLERANCE {
            *server.read.write().unwrap_or_else(PoisonError::into_inner) = read.reading();
        }
    }

    /// This machine's clock, where the time is a server's; otherwise the clock itself.
    #[must_use]
    pub fn machine(&self) -> &Self {
        if let Self::Server(server) = self { &server.machine } else { self }
    }

    /// The time since some instant, which goes on evenly however the clock is set.
    #[must_use]
    pub fn elapsed(&self) -> SignedDuration {
        static START: LazyLock<Monotonic> = LazyLock::new(Monotonic::now);
        match self {
            Self::System => length_of(START.elapsed()),
            Self::Set(set) => {
                let adjusted = SignedDuration::from_micros(set.adjusted.load(Ordering::Relaxed));
                set.hand.borrow().duration_since(Instant::UNIX_EPOCH) - adjusted
            }
            Self::Server(server) => server.machine.elapsed(),
        }
    }

    /// The present instant, and the count of time with it.
    #[must_use]
    pub fn reading(&self) -> Reading {
        loop {
            let (before, wall, after) = (self.elapsed(), self.now(), self.elapsed());
            // This thread may have been kept from running in between.
            if after - before < READING_LIMIT {
                return Reading { wall, elapsed: after };
            }
        }
    }

    /// The present instant.
    #[must_use]
    pub fn now(&self) -> Instant {
        match self {
            Self::System => now(),
            Self::Set(set) => *set.hand.borrow(),
            Self::Server(server) => server.at(server.machine.elapsed()),
        }
    }

    /// Waits until an instant, or until the clock should be read again.
    pub async fn wait_until(&self, at: Instant) {
        let left = Duration::try_from(at.duration_since(self.now())).unwrap_or_default();
        match self.machine() {
            Self::Set(set) => {
                let mut hand = set.hand.subscribe();
                hand.mark_unchanged();
                if self.now() < at {
                    // It may also have been set back since the instant was worked out.
                    let _ = tokio::time::timeout(GLIMPSE, hand.changed()).await;
                }
            }
            Self::System | Self::Server(_) => sleep(left.min(GLANCE)).await,
        }
    }
}

impl ServerClock {
    /// The server's time at a count of time.
    fn at(&self, elapsed: SignedDuration) -> Instant {
        let read = *self.read.read().unwrap_or_else(PoisonError::into_inner);
        read.wall + (elapsed - read.elapsed)
    }
}

/// A length of time as one that has a sign; the longest there is where it is longer.
#[must_use]
pub fn length_of(duration: Duration) -> SignedDuration {
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
pub fn now() -> Instant {
    jiff::Timestamp::now().try_into().unwrap_or(Instant::MIN)
}

/// `2026-01-31 12:00:00.123456`, in UTC, without a zone.
#[must_use]
pub fn timestamp(at: Instant) -> String {
    civil(at).strftime("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

/// `2026-01-31T12:00:00.123456Z`.
#[must_use]
pub fn rfc3339(at: Instant) -> String {
    civil(at).strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// Reads what [`rfc3339`] writes; `None` if the text is something else.
#[must_use]
pub fn parsed(text: &str) -> Option<Instant> {
    text.parse::<jiff::Timestamp>().ok()?.try_into().ok()
}

/// `2026-01-31 12:00:00 UTC`, for people.
#[must_use]
pub fn readable(at: Instant) -> String {
    civil(at).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn civil(at: Instant) -> jiff::civil::DateTime {
    let epoch = jiff::civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    epoch.saturating_add(at.duration_since(Instant::UNIX_EPOCH))
}

#[cfg(test)]
mod tests;
