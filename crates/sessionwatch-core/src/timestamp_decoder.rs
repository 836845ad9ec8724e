//! Timestamp decoders: conversion of stored values to instants.
//!
//! The decoders are described in `docs/profiles.md`. Decoding never panics: a value that is no instant between the
//! years 1 and 9999 is [`DecodedTime::Undecodable`], and NULL or positive infinity is [`DecodedTime::Never`].

use crate::{
    time_zone::{LOCAL_DECODER_PREFIX, Zone},
    timestamp::{MICROS_PER_SECOND, UtcTimestamp},
};

/// Microseconds from 1970-01-01 to 2000-01-01, the epoch of PostgreSQL.
pub const POSTGRES_EPOCH_US: i64 = 946_684_800 * MICROS_PER_SECOND;

/// Numbers read as seconds even in a column of milliseconds: 2001-09-09 to 5138-11-16 as seconds, but 1970 to 1973 as
/// milliseconds.
pub const EPOCH_SECONDS_RANGE: std::ops::Range<i64> = 1_000_000_000..100_000_000_000;
/// Numbers read as milliseconds even in a column of seconds: 2001-09-09 to 9999-12-31 as milliseconds, but past the
/// year 9999 as seconds.
pub const EPOCH_MILLIS_RANGE: std::ops::Range<i64> = 1_000_000_000_000..253_402_300_800_000;

/// Format in which a column stores instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoder {
    /// PostgreSQL `timestamp with time zone`.
    Timestamptz,
    /// `timestamp without time zone` holding the UTC wall clock.
    TimestampUtc,
    /// Timestamp without a time zone, or ISO 8601 text without an offset, holding wall times of this zone.
    TimestampLocal(Zone),
    /// Seconds since 1970, as an integer or as decimal digits in text.
    EpochSeconds,
    /// Milliseconds since 1970, as an integer or as decimal digits in text.
    EpochMillis,
    /// ISO 8601 text: `2026-01-31T12:00:00.000Z`, a space for the `T`, an offset or none (then UTC).
    IsoText,
    /// Integers of epoch milliseconds mixed with ISO text (Prisma on SQLite).
    EpochMillisOrIso,
}

/// Value as returned by the database.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RawValue<'a> {
    /// NULL.
    Null,
    /// Native timestamp in microseconds since 2000; the extremes stand for the infinities.
    MicrosSince2000(i64),
    /// An integer.
    Integer(i64),
    /// A floating-point number (SQLite).
    Real(f64),
    /// Text, possibly not UTF-8.
    Text(&'a [u8]),
    /// Any other type, such as a SQLite blob.
    Other,
}

/// Decoded value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodedTime {
    /// An instant.
    At(UtcTimestamp),
    /// NULL or infinity: the session never expires.
    Never,
    /// Not decodable, or outside the years 1 to 9999.
    Undecodable,
}

impl Decoder {
    /// Every decoder without a zone, in the order of the documentation.
    pub const ALL: [Self; 6] = [
        Self::Timestamptz,
        Self::TimestampUtc,
        Self::EpochSeconds,
        Self::EpochMillis,
        Self::IsoText,
        Self::EpochMillisOrIso,
    ];

    /// Returns the name used in profiles and configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timestamptz => "timestamptz",
            Self::TimestampUtc => "timestamp-utc",
            Self::TimestampLocal(zone) => zone.decoder_name(),
            Self::EpochSeconds => "epoch-s",
            Self::EpochMillis => "epoch-ms",
            Self::IsoText => "iso-text",
            Self::EpochMillisOrIso => "epoch-ms-or-iso",
        }
    }

    /// Returns the decoder with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name.strip_prefix(LOCAL_DECODER_PREFIX) {
            Some(zone) => Zone::parse(zone).map(Self::TimestampLocal),
            None => Self::ALL.into_iter().find(|decoder| decoder.name() == name),
        }
    }

    /// Decodes a value. A number that makes sense only in the other unit, seconds or milliseconds, is read in that
    /// unit.
    #[must_use]
    pub fn decode(self, raw: RawValue<'_>) -> DecodedTime {
        let number = match raw {
            RawValue::Integer(value) => Some(value),
            // Every number in a REAL column of SQLite.
            #[expect(clippy::cast_possible_truncation, reason = "saturates, and only the range matters")]
            RawValue::Real(value) => Some(value as i64),
            RawValue::Text(text) if self != Self::EpochMillisOrIso => parse_integer(text),
            _ => None,
        };
        // An application that changes its unit leaves old rows behind; a live session must not seem to have expired
        // in 1970.
        match (self, number) {
            (Self::EpochMillis | Self::EpochMillisOrIso, Some(value))
                if EPOCH_SECONDS_RANGE.contains(&value) =>
            {
                decode_number(raw, value, MICROS_PER_SECOND)
            }
            (Self::EpochSeconds, Some(value)) if EPOCH_MILLIS_RANGE.contains(&value) => {
                decode_number(raw, value, 1_000)
            }
            _ => self.decode_strict(raw),
        }
    }

    /// Decodes a value without switching units, for detecting the decoder of a column.
    #[must_use]
    pub fn decode_strict(self, raw: RawValue<'_>) -> DecodedTime {
        match (self, raw) {
            (_, RawValue::Null) => DecodedTime::Never,
            (Self::Timestamptz | Self::TimestampUtc, RawValue::MicrosSince2000(micros)) => {
                decode_since_2000(micros, None)
            }
            (Self::TimestampLocal(zone), RawValue::MicrosSince2000(micros)) => {
                decode_since_2000(micros, Some(zone))
            }
            (Self::EpochSeconds, RawValue::Integer(value)) => decode_integer(value, MICROS_PER_SECOND),
            (Self::EpochMillis | Self::EpochMillisOrIso, RawValue::Integer(value)) => {
                decode_integer(value, 1_000)
            }
            (Self::EpochSeconds, RawValue::Real(value)) => decode_real(value, 1e6),
            (Self::EpochMillis | Self::EpochMillisOrIso, RawValue::Real(value)) => decode_real(value, 1e3),
            (Self::EpochSeconds, RawValue::Text(text)) => {
                parse_integer(text).map_or(DecodedTime::Undecodable, |v| decode_integer(v, MICROS_PER_SECOND))
            }
            (Self::EpochMillis, RawValue::Text(text)) => {
                parse_integer(text).map_or(DecodedTime::Undecodable, |v| decode_integer(v, 1_000))
            }
            (Self::IsoText | Self::EpochMillisOrIso, RawValue::Text(text)) => {
                parse_iso8601(text, None).map_or(DecodedTime::Undecodable, DecodedTime::At)
            }
            (Self::TimestampLocal(zone), RawValue::Text(text)) => {
                parse_iso8601(text, Some(zone)).map_or(DecodedTime::Undecodable, DecodedTime::At)
            }
            _ => DecodedTime::Undecodable,
        }
    }
}

/// Returns whether text is an instant without an offset, so its meaning depends on a time zone.
#[must_use]
pub fn is_naive_timestamp(text: &[u8]) -> bool {
    let zone = text.get(19..).and_then(split_fraction).map(|(_, zone)| zone);
    zone.is_some_and(<[u8]>::is_empty) && parse_iso8601(text, None).is_some()
}

fn decode_since_2000(micros: i64, zone: Option<Zone>) -> DecodedTime {
    if micros == i64::MAX {
        return DecodedTime::Never;
    }
    micros
        .checked_add(POSTGRES_EPOCH_US)
        .map(|wall| zone.map_or(wall, |zone| zone.wall_to_utc_us(wall)))
        .and_then(UtcTimestamp::from_micros)
        .map_or(DecodedTime::Undecodable, DecodedTime::At)
}

/// Decodes a number in units of `micros_each`: the fraction of a real number counts.
#[expect(clippy::cast_precision_loss, reason = "the units are small")]
fn decode_number(raw: RawValue<'_>, whole: i64, micros_each: i64) -> DecodedTime {
    match raw {
        RawValue::Real(value) => decode_real(value, micros_each as f64),
        _ => decode_integer(whole, micros_each),
    }
}

fn decode_integer(value: i64, micros_each: i64) -> DecodedTime {
    value
        .checked_mul(micros_each)
        .and_then(UtcTimestamp::from_micros)
        .map_or(DecodedTime::Undecodable, DecodedTime::At)
}

fn decode_real(value: f64, micros_each: f64) -> DecodedTime {
    // SQLite stores fractional epochs as REAL; rounding down never makes a session end later than stored.
    let micros = (value * micros_each).floor();
    // The bound keeps the cast exact and refuses NaN and the infinities.
    if micros.is_nan() || micros.abs() >= 9e18 {
        return DecodedTime::Undecodable;
    }
    #[expect(clippy::cast_possible_truncation, reason = "bounded just above")]
    UtcTimestamp::from_micros(micros as i64).map_or(DecodedTime::Undecodable, DecodedTime::At)
}

/// Parses an optional minus sign followed by 1 to 18 digits, which always fit in an `i64`.
fn parse_integer(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        all => (1, all),
    };
    if digits.len() > 18 { None } else { Some(sign * parse_digits(digits)?) }
}

/// Parses one or more decimal digits. The caller limits their number.
fn parse_digits(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
}

/// Parses `YYYY-MM-DD`, `T` or a space, `HH:MM:SS`, optionally `.f` (1 to 9 digits, truncated to microseconds), then
/// optionally a space and one of `Z`, `±HH`, `±HHMM`, `±HH:MM`. Without an offset, the time is in `local`, or in UTC.
fn parse_iso8601(text: &[u8], local: Option<Zone>) -> Option<UtcTimestamp> {
    // The format has a fixed width up to the seconds, so a byte pattern checks it faster than a general parser.
    let (head, rest) = text.split_at_checked(19)?;
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T' | b' ', h0, h1, b':', n0, n1, b':', s0, s1] = head
    else {
        return None;
    };
    let (year, month, day) =
        (parse_digits(&[*y0, *y1, *y2, *y3])?, parse_digits(&[*m0, *m1])?, parse_digits(&[*d0, *d1])?);
    let (hour, minute, second) =
        (parse_digits(&[*h0, *h1])?, parse_digits(&[*n0, *n1])?, parse_digits(&[*s0, *s1])?);
    if year < 1 || day < 1 || day > days_in_month(year, month)? || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, zone) = split_fraction(rest)?;
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second
        - parse_offset_seconds(zone)?;
    let micros = seconds * MICROS_PER_SECOND + fraction;
    let local = local.filter(|_| zone.is_empty());
    UtcTimestamp::from_micros(local.map_or(micros, |zone| zone.wall_to_utc_us(micros)))
}

/// Splits off a leading `.digits` as microseconds.
fn split_fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(rest) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&count) {
        return None;
    }
    let (digits, zone) = rest.split_at(count);
    let micros =
        (0..6).fold(0, |sum, place| sum * 10 + digits.get(place).map_or(0, |digit| i64::from(digit - b'0')));
    Some((micros, zone))
}

/// Parses an offset as seconds east of UTC; empty text is UTC.
fn parse_offset_seconds(zone: &[u8]) -> Option<i64> {
    let zone = match zone {
        [] => return Some(0),
        [b' ', rest @ ..] => rest,
        all => all,
    };
    let (sign, hours, minutes) = match zone {
        [b'Z'] => return Some(0),
        [sign, h0, h1] => (sign, parse_digits(&[*h0, *h1])?, 0),
        [sign, h0, h1, m0, m1] | [sign, h0, h1, b':', m0, m1] => {
            (sign, parse_digits(&[*h0, *h1])?, parse_digits(&[*m0, *m1])?)
        }
        _ => return None,
    };
    let sign = match sign {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    // PostgreSQL accepts offsets up to 15:59.
    if hours > 15 || minutes > 59 { None } else { Some(sign * (hours * 3_600 + minutes * 60)) }
}

fn days_in_month(year: i64, month: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(if leap { 29 } else { 28 }),
        _ => None,
    }
}

/// Returns the days since 1970-01-01 in the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years start in March here, so that the leap day is the last day of a year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> DecodedTime {
        DecodedTime::At(UtcTimestamp::from_micros(micros).unwrap())
    }

    #[test]
    fn decodes_every_iso_format() {
        let noon = 1_769_860_800 * MICROS_PER_SECOND; // 2026-01-31T12:00:00Z
        for (text, micros) in [
            ("2026-01-31T12:00:00Z", noon),
            ("2026-01-31 12:00:00", noon),
            ("2026-01-31T12:00:00.123Z", noon + 123_000),
            ("2026-01-31T12:00:00.123456789Z", noon + 123_456),
            ("2026-01-31 12:00:00.000 +00:00", noon),
            ("2026-01-31T14:30:00+02:30", noon),
            ("2026-01-31T07:00:00-05", noon),
            ("2026-01-31T07:00:00-0500", noon),
        ] {
            assert_eq!(Decoder::IsoText.decode(RawValue::Text(text.as_bytes())), at(micros), "{text}");
        }
    }

    #[test]
    fn rejects_text_that_is_no_instant() {
        for text in [
            "",
            "now",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "2026-01-31",
            "2026-01-31T24:00:00Z",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00.1234567890Z",
            "2026-01-31T12:00:00+16",
            "2026-01-31T12:00:00Zjunk",
            "-2026-01-31T12:00:00Z",
            "1769860800000",
            "é026-01-31T12:00:00",
        ] {
            assert_eq!(
                Decoder::IsoText.decode(RawValue::Text(text.as_bytes())),
                DecodedTime::Undecodable,
                "{text}"
            );
        }
    }

    #[test]
    fn null_and_infinity_never_expire_and_extremes_do_not_panic() {
        for decoder in Decoder::ALL {
            assert_eq!(decoder.decode(RawValue::Null), DecodedTime::Never);
            for value in [i64::MIN, i64::MAX, i64::MIN + 1, i64::MAX - 1] {
                assert_eq!(decoder.decode(RawValue::Integer(value)), DecodedTime::Undecodable);
            }
            for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300] {
                assert_eq!(decoder.decode(RawValue::Real(value)), DecodedTime::Undecodable);
            }
        }
        assert_eq!(Decoder::Timestamptz.decode(RawValue::MicrosSince2000(i64::MAX)), DecodedTime::Never);
        assert_eq!(
            Decoder::Timestamptz.decode(RawValue::MicrosSince2000(i64::MIN)),
            DecodedTime::Undecodable
        );
        assert_eq!(
            Decoder::TimestampUtc.decode(RawValue::MicrosSince2000(i64::MAX - 1)),
            DecodedTime::Undecodable
        );
    }

    #[test]
    fn decodes_epochs_as_integer_and_as_text() {
        assert_eq!(Decoder::EpochSeconds.decode(RawValue::Integer(1)), at(MICROS_PER_SECOND));
        assert_eq!(Decoder::EpochMillis.decode(RawValue::Text(b"-1500")), at(-1_500_000));
        assert_eq!(
            Decoder::EpochMillis.decode(RawValue::Text(b"1234567890123456789")),
            DecodedTime::Undecodable
        );
        assert_eq!(Decoder::EpochSeconds.decode(RawValue::Text(b"-")), DecodedTime::Undecodable);
        assert_eq!(
            Decoder::EpochMillisOrIso.decode(RawValue::Text(b"1970-01-01T00:00:01.000+00:00")),
            at(MICROS_PER_SECOND)
        );
    }

    #[test]
    fn a_number_in_the_other_unit_is_read_in_that_unit() {
        let noon = at(1_769_860_800 * MICROS_PER_SECOND); // 2026-01-31T12:00:00Z
        for raw in [
            RawValue::Integer(1_769_860_800),
            RawValue::Text(b"1769860800"),
            RawValue::Integer(1_769_860_800_000),
            // A column of type REAL turns every number into one.
            RawValue::Real(1_769_860_800.0),
            RawValue::Real(1_769_860_800_000.0),
        ] {
            for decoder in [Decoder::EpochSeconds, Decoder::EpochMillis] {
                assert_eq!(decoder.decode(raw), noon, "{decoder:?} {raw:?}");
            }
        }
        assert_eq!(Decoder::EpochMillisOrIso.decode(RawValue::Integer(1_769_860_800)), noon);
        assert_eq!(
            Decoder::EpochMillis.decode(RawValue::Real(1_769_860_800.25)),
            at(1_769_860_800 * MICROS_PER_SECOND + 250_000)
        );
        for extreme in [f64::NAN, f64::INFINITY, f64::MAX, f64::MIN] {
            assert_eq!(Decoder::EpochMillis.decode(RawValue::Real(extreme)), DecodedTime::Undecodable);
        }
        // A number that makes sense in neither unit keeps the unit of the decoder.
        assert_eq!(Decoder::EpochMillis.decode(RawValue::Integer(0)), at(0));
        assert_eq!(Decoder::EpochMillis.decode(RawValue::Integer(999_999_999)), at(999_999_999_000));
        assert_eq!(
            Decoder::EpochSeconds.decode(RawValue::Integer(999_999_999_999)),
            DecodedTime::Undecodable
        );
        // Strict decoding never switches the unit.
        assert_ne!(Decoder::EpochMillis.decode_strict(RawValue::Integer(1_769_860_800)), noon);
    }

    #[test]
    fn local_time_is_read_in_its_zone_unless_the_text_has_an_offset() {
        let noon = 1_769_860_800 * MICROS_PER_SECOND; // 2026-01-31T12:00:00Z
        let decoder = Decoder::parse("timestamp-local:America/New_York").unwrap();
        for (text, micros) in [
            ("2026-01-31T07:00:00", noon),
            ("2026-01-31 07:00:00.123456", noon + 123_456),
            ("2026-01-31T12:00:00Z", noon),
            ("2026-01-31T14:30:00+02:30", noon),
        ] {
            assert_eq!(decoder.decode(RawValue::Text(text.as_bytes())), at(micros), "{text}");
        }
        let wall = noon - 5 * 3_600 * MICROS_PER_SECOND - POSTGRES_EPOCH_US;
        assert_eq!(decoder.decode(RawValue::MicrosSince2000(wall)), at(noon));
        assert_eq!(decoder.decode(RawValue::MicrosSince2000(i64::MAX)), DecodedTime::Never);
        for value in [i64::MIN, i64::MAX - 1] {
            assert_eq!(decoder.decode(RawValue::MicrosSince2000(value)), DecodedTime::Undecodable);
        }
        assert_eq!(decoder.decode(RawValue::Integer(1)), DecodedTime::Undecodable);
        assert_eq!(Decoder::parse("timestamp-local:Mars/Olympus"), None);
    }

    #[test]
    fn detects_text_without_an_offset() {
        for text in ["2026-01-31 07:00:00", "2026-01-31T07:00:00.123456"] {
            assert!(is_naive_timestamp(text.as_bytes()), "{text}");
        }
        for text in ["2026-01-31T07:00:00Z", "2026-01-31 07:00:00.1 +00:00", "1769860800", "", "soon"] {
            assert!(!is_naive_timestamp(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn names_round_trip() {
        let local = Decoder::parse("timestamp-local:Asia/Tokyo").unwrap();
        for decoder in Decoder::ALL.into_iter().chain([local]) {
            assert_eq!(Decoder::parse(decoder.name()), Some(decoder));
        }
    }
}

#[cfg(test)]
mod iso_text_tests;
