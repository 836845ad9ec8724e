//! UTC timestamps with microsecond precision, limited to the years 1 to 9999.
//!
//! Rows are decoded and compared as microseconds. All other arithmetic uses [`SignedDuration`].

use std::ops::{Add, AddAssign, Sub};

use jiff::{SignedDuration, Timestamp};

use crate::duration::saturating_micros;

/// Microseconds in a second.
pub const MICROS_PER_SECOND: i64 = 1_000_000;
/// Microseconds in an hour.
pub const MICROS_PER_HOUR: i64 = 3_600 * MICROS_PER_SECOND;
/// Microseconds in a day.
pub const MICROS_PER_DAY: i64 = 24 * MICROS_PER_HOUR;

/// Instant in UTC as microseconds since 1970-01-01, within the years 1 to 9999. The default is 1970-01-01.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcTimestamp(i64);

impl UtcTimestamp {
    /// 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800 * MICROS_PER_SECOND);
    /// 9999-12-31T23:59:59.999999Z.
    pub const MAX: Self = Self(253_402_300_800 * MICROS_PER_SECOND - 1);

    /// 1970-01-01T00:00:00Z.
    pub const UNIX_EPOCH: Self = Self(0);

    /// Returns the instant `micros` microseconds after 1970-01-01; `None` outside the years 1 to 9999.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Option<Self> {
        if micros < Self::MIN.0 || micros > Self::MAX.0 { None } else { Some(Self(micros)) }
    }

    /// Returns the microseconds since 1970-01-01.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Adds microseconds, saturating at the years 1 and 9999.
    #[must_use]
    pub const fn saturating_add_micros(self, micros: i64) -> Self {
        let moved = self.0.saturating_add(micros);
        if moved < Self::MIN.0 {
            Self::MIN
        } else if moved > Self::MAX.0 {
            Self::MAX
        } else {
            Self(moved)
        }
    }

    /// Returns the microseconds from `earlier` to this instant; negative if `earlier` is later.
    #[must_use]
    pub const fn micros_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// Returns the time from `earlier` to this instant; negative if `earlier` is later.
    #[must_use]
    pub const fn duration_since(self, earlier: Self) -> SignedDuration {
        SignedDuration::from_micros(self.0 - earlier.0)
    }
}

/// Saturates at the years 1 and 9999.
impl Add<SignedDuration> for UtcTimestamp {
    type Output = Self;

    fn add(self, length: SignedDuration) -> Self {
        self.saturating_add_micros(saturating_micros(length))
    }
}

impl AddAssign<SignedDuration> for UtcTimestamp {
    fn add_assign(&mut self, length: SignedDuration) {
        *self = *self + length;
    }
}

/// Saturates at the years 1 and 9999.
impl Sub<SignedDuration> for UtcTimestamp {
    type Output = Self;

    fn sub(self, length: SignedDuration) -> Self {
        // Negating the minimum would overflow.
        self.saturating_add_micros(saturating_micros(length).saturating_neg())
    }
}

/// Saturates at [`Timestamp::MAX`], which is almost two days before the end of the year 9999.
impl From<UtcTimestamp> for Timestamp {
    fn from(instant: UtcTimestamp) -> Self {
        Self::from_microsecond(instant.0).unwrap_or(Self::MAX)
    }
}

/// Truncates to microseconds.
impl TryFrom<Timestamp> for UtcTimestamp {
    type Error = TimestampRangeError;

    fn try_from(timestamp: Timestamp) -> Result<Self, TimestampRangeError> {
        Self::from_micros(timestamp.as_microsecond()).ok_or(TimestampRangeError)
    }
}

/// Time outside the years 1 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time is outside the years 1 to 9999")]
pub struct TimestampRangeError;

/// Serializes an instant as microseconds since 1970, for `#[serde(with = …)]`.
pub mod as_micros {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::{TimestampRangeError, UtcTimestamp};

    /// Serializes the instant as an integer of microseconds.
    ///
    /// # Errors
    ///
    /// If the serializer fails.
    pub fn serialize<S: Serializer>(at: &UtcTimestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(at.micros())
    }

    /// Deserializes an integer of microseconds.
    ///
    /// # Errors
    ///
    /// If the value is not an integer, or is outside the years 1 to 9999.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UtcTimestamp, D::Error> {
        UtcTimestamp::from_micros(i64::deserialize(deserializer)?)
            .ok_or_else(|| D::Error::custom(TimestampRangeError))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::duration::DAY;

    #[test]
    fn instants_saturate_and_convert_to_timestamps() {
        let noon = UtcTimestamp::UNIX_EPOCH + DAY / 2;
        assert_eq!((noon + DAY).duration_since(noon), DAY);
        assert_eq!(
            (noon - SignedDuration::MAX, noon + SignedDuration::MAX),
            (UtcTimestamp::MIN, UtcTimestamp::MAX)
        );
        assert_eq!(noon - SignedDuration::MIN, UtcTimestamp::MAX);
        assert_eq!(Timestamp::from(noon).as_second(), 12 * 3_600);
        assert_eq!(UtcTimestamp::try_from(Timestamp::from(noon)), Ok(noon));
        assert_eq!(Timestamp::from(UtcTimestamp::MAX), Timestamp::MAX);
        assert_eq!(UtcTimestamp::try_from(Timestamp::MIN), Err(TimestampRangeError));
    }
}
