//! Lengths of time that have a name.

use jiff::SignedDuration;

/// One second.
pub const SECOND: SignedDuration = SignedDuration::from_secs(1);
/// One minute.
pub const MINUTE: SignedDuration = SignedDuration::from_mins(1);
/// One hour.
pub const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// One day of 24 hours.
pub const DAY: SignedDuration = SignedDuration::from_hours(24);

/// That many days of 24 hours.
#[must_use]
pub const fn from_days(number: i64) -> SignedDuration {
    SignedDuration::from_hours(number.saturating_mul(24))
}

/// The microseconds of a length of time, as rows and columns hold them; the furthest number where it has more.
#[must_use]
pub const fn saturating_micros(length: SignedDuration) -> i64 {
    let micros = length.as_micros();
    if micros > i64::MAX as i128 {
        i64::MAX
    } else if micros < i64::MIN as i128 {
        i64::MIN
    } else {
        #[expect(clippy::cast_possible_truncation, reason = "it is between the bounds of i64")]
        let micros = micros as i64;
        micros
    }
}

/// A length of time as microseconds, for `#[serde(with = …)]`.
pub mod as_micros {
    use jiff::SignedDuration;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::saturating_micros;

    /// Writes the microseconds.
    ///
    /// # Errors
    ///
    /// If the serializer fails.
    pub fn serialize<S: Serializer>(length: &SignedDuration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(saturating_micros(*length))
    }

    /// Reads the microseconds.
    ///
    /// # Errors
    ///
    /// If there are none.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SignedDuration, D::Error> {
        i64::deserialize(deserializer).map(SignedDuration::from_micros)
    }
}
