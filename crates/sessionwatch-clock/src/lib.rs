//! The one place that reads the clock, and how instants are printed.

use std::{
    sync::{
        Arc, LazyLock, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant as Monotonic},
};

use sessionwatch_core::{instant::Instant, retention::Reading};
use tokio::sync::watch;

/// How long to wait at most before the clock is read again, which somebody may have set.
const GLANCE: Duration = Duration::from_secs(10);
/// The same, where nothing passes by itself.
const GLIMPSE: Duration = Duration::from_secs(1);

/// How far apart a clock and a server's may seem, besides what the way to the server takes, before the clock follows: 50 ms
/// in microseconds.
const FOLLOW_TOLERANCE: i64 = 50_000;
/// How long the two readings of a pair may be apart, in microseconds.
const READING_LIMIT: i64 = 100_000;

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
    /// Microseconds by [`Clock::elapsed`], before.
    pub before: i64,
    /// The same, after.
    pub after: i64,
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

    /// Sets a clock that a story holds forward or back by so many microseconds, as somebody does by hand: no time passes
    /// by it. Other clocks stay as they are.
    pub fn adjust(&self, by: i64) {
        match self {
            Self::Set(set) => set.hand.send_modify(|at| {
                set.adjusted.fetch_add(by, Ordering::Relaxed);
                *at = at.plus(by);
            }),
            Self::Server(server) => server.machine.adjust(by),
            Self::System => {}
        }
    }

    /// Follows the server's time, if this is a server's clock.
    pub fn follow(&self, read: ServerReading) {
        let Self::Server(server) = self else { return };
        let apart = read.at.since(server.at(read.reading().elapsed)).abs();
        if apart > (read.after - read.before) / 2 + FOLLOW_TOLERANCE {
            *server.read.write().unwrap_or_else(PoisonError::into_inner) = read.reading();
        }
    }

    /// This machine's clock, where the time is a server's; otherwise the clock itself.
    #[must_use]
    pub fn machine(&self) -> &Self {
        if let Self::Server(server) = self { &server.machine } else { self }
    }

    /// Microseconds since some instant, which go on evenly however the clock is set.
    #[must_use]
    pub fn elapsed(&self) -> i64 {
        static START: LazyLock<Monotonic> = LazyLock::new(Monotonic::now);
        match self {
            Self::System => i64::try_from(START.elapsed().as_micros()).unwrap_or(i64::MAX),
            Self::Set(set) => set.hand.borrow().micros() - set.adjusted.load(Ordering::Relaxed),
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
        let left = u64::try_from(at.since(self.now())).unwrap_or(0);
        match self.machine() {
            Self::Set(set) => {
                let mut hand = set.hand.subscribe();
                hand.mark_unchanged();
                if self.now() < at {
                    // It may also have been set back since the instant was worked out.
                    let _ = tokio::time::timeout(GLIMPSE, hand.changed()).await;
                }
            }
            Self::System | Self::Server(_) => sleep(Duration::from_micros(left).min(GLANCE)).await,
        }
    }
}

impl ServerClock {
    /// The server's time at a count of time.
    fn at(&self, elapsed: i64) -> Instant {
        let read = *self.read.read().unwrap_or_else(PoisonError::into_inner);
        read.wall.plus(elapsed - read.elapsed)
    }
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
    Instant::from_micros(jiff::Timestamp::now().as_microsecond()).unwrap_or(Instant::MIN)
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
    Instant::from_micros(text.parse::<jiff::Timestamp>().ok()?.as_microsecond())
}

/// `2026-01-31 12:00:00 UTC`, for people.
#[must_use]
pub fn readable(at: Instant) -> String {
    civil(at).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn civil(at: Instant) -> jiff::civil::DateTime {
    let epoch = jiff::civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    epoch.saturating_add(jiff::SignedDuration::from_micros(at.micros()))
}
