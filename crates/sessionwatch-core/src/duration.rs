//! Named durations, and conversions to microseconds.

use jiff::SignedDuration;

/// One second.
pub const SECOND: SignedDuration = SignedDuration::from_secs(1);
/// One minute.
pub const MINUTE: SignedDuration = SignedDuration::from_mins(1);
/// One hour.
pub const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// One day of 24 hours.
pub const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Returns a duration of `number` days of 24 hours.
#[must_use]
pub const fn from_days(number: i64) -> SignedDuration {
    SignedDuration::from_hours(number.saturating_mul(24))
}

/// Returns the duration in microseconds, the unit of rows and columns; saturates at the bounds of `i64`.
#[must_use]
pub const fn saturating_micros(length: SignedDuration) -> i64 {
    let micros = length.as_micros();
    if micros > i64::MAX as i128 {
        i64::MAX
    } else if micros < i64::MIN as i128 {
        i64::MIN
    } else {
        #[expect(clippy::cast_possible_truncation, reason = "within the bounds of i64")]
        let micros = micros as i64;
        micros
    }
}

/// Serializes a duration as microseconds, for `#[serde(with = …)]`.
pub mod as_micros {
    use jiff::SignedDuration;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::saturating_micros;

    /// Serializes the duration as an integer of microseconds.
    ///
    /// # Errors
    ///
    /// If the serializer fails.
    pub fn serialize<S: Serializer>(length: &SignedDuration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(saturating_micros(*length))
    }

    /// Deserializes an integer of microseconds.
    ///
    /// # Errors
    ///
    /// If the value is not an integer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SignedDuration, D::Error> {
        i64::deserialize(deserializer).map(SignedDuration::from_micros)
    }
}

#[cfg(test)]
mod tests;
