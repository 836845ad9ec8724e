//! The one place that reads the clock, and how instants are printed.

use std::{sync::Arc, time::Duration};

use sessionwatch_rules::instant::Instant;
use tokio::sync::watch;

/// How long to wait at most before the clock is read again, which somebody may have set.
const GLANCE: Duration = Duration::from_secs(10);
/// The same, where nothing passes by itself.
const GLIMPSE: Duration = Duration::from_secs(1);

/// Where the watch takes the time from.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// This machine.
    #[default]
    System,
    /// A clock that stands still until it is set.
    Set(Arc<watch::Sender<Instant>>),
}

impl Clock {
    /// A clock that stands still at that instant until it is set.
    #[must_use]
    pub fn set(at: Instant) -> (Self, Arc<watch::Sender<Instant>>) {
        let hand = Arc::new(watch::Sender::new(at));
        (Self::Set(Arc::clone(&hand)), hand)
    }

    /// The present instant.
    #[must_use]
    pub fn now(&self) -> Instant {
        match self {
            Self::System => now(),
            Self::Set(hand) => *hand.borrow(),
        }
    }

    /// Waits until an instant, or until the clock should be read again.
    pub async fn wait_until(&self, at: Instant) {
        let left = u64::try_from(at.since(self.now())).unwrap_or(0);
        match self {
            Self::System => pause(Duration::from_micros(left).min(GLANCE)).await,
            Self::Set(hand) => {
                let mut hand = hand.subscribe();
                if *hand.borrow_and_update() < at {
                    // It may also have been set back since the instant was worked out.
                    let _ = tokio::time::timeout(GLIMPSE, hand.changed()).await;
                }
            }
        }
    }
}

/// Nothing, for so long.
pub async fn pause(duration: Duration) {
    let _ = tokio::time::timeout(duration, std::future::pending::<()>()).await;
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
