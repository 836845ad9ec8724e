//! The one place that reads the clock, and how instants are printed.

use sessionwatch_rules::instant::Instant;

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

/// `2026-01-31 12:00:00 UTC`, for people.
#[must_use]
pub fn readable(at: Instant) -> String {
    civil(at).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn civil(at: Instant) -> jiff::civil::DateTime {
    let epoch = jiff::civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    epoch.saturating_add(jiff::SignedDuration::from_micros(at.micros()))
}
