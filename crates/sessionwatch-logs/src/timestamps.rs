//! Parser for timestamps in logs.

use sessionwatch_core::timestamp::{MICROS_PER_DAY, MICROS_PER_SECOND, UtcTimestamp};

/// Defaults for times without a zone or a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampDefaults {
    /// UTC offset in microseconds, positive east of UTC.
    pub offset_us: i64,
    /// Instant close to times without a year.
    pub reference: UtcTimestamp,
}

impl Default for TimestampDefaults {
    fn default() -> Self {
        Self { offset_us: 0, reference: UtcTimestamp::MAX }
    }
}

const MONTH_NAMES: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// Parses exactly `count` digits.
fn parse_digits(text: &[u8], at: usize, count: usize) -> Option<i64> {
    let digits = text.get(at..at + count)?;
    // Two digits are by far the most frequent case.
    if let [tens, ones] = digits {
        let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
        return (tens < 10 && ones < 10).then(|| i64::from(tens * 10 + ones));
    }
    digits.iter().try_fold(0_i64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// Returns the days since 1970-01-01 in the proleptic Gregorian calendar; `None` for an invalid date.
fn days_since_epoch(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day < 1 || day > length {
        return None;
    }
    // Years start in March here, so that the leap day is the last day of a year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Parses `HH:MM:SS` with an optional fraction after a point or comma. Returns microseconds and the end offset.
fn parse_time_of_day(text: &[u8], at: usize) -> Option<(i64, usize)> {
    let (hour, minute, second) =
        (parse_digits(text, at, 2)?, parse_digits(text, at + 3, 2)?, parse_digits(text, at + 6, 2)?);
    // A leap second is accepted and counts as the first second of the next minute.
    if text[at + 2] != b':' || text[at + 5] != b':' || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut micros = ((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND;
    let mut end = at + 8;
    if let (Some(b'.' | b','), Some(first)) = (text.get(end), text.get(end + 1))
        && first.is_ascii_digit()
    {
        end += 1;
        let mut worth = MICROS_PER_SECOND / 10;
        while let Some(digit) = text.get(end).filter(|byte| byte.is_ascii_digit()) {
            micros += i64::from(digit - b'0') * worth;
            // Digits beyond microseconds add nothing, because `worth` has reached zero.
            worth /= 10;
            end += 1;
        }
    }
    Some((micros, end))
}

/// Parses `Z`, `+HH:MM`, `+HHMM` or `+HH`, optionally after a space. Returns microseconds ahead of UTC and the end
/// offset.
fn parse_offset(text: &[u8], at: usize) -> Option<(i64, usize)> {
    let at = at + usize::from(text.get(at) == Some(&b' ') && matches!(text.get(at + 1), Some(b'+' | b'-')));
    let sign = match text.get(at)? {
        b'Z' | b'z' => return Some((0, at + 1)),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours = parse_digits(text, at + 1, 2)?;
    let colon = usize::from(text.get(at + 3) == Some(&b':'));
    let (minutes, end) = match parse_digits(text, at + 3 + colon, 2) {
        Some(minutes) => (minutes, at + 5 + colon),
        None => (0, at + 3),
    };
    (hours < 24 && minutes < 60).then_some((sign * (hours * 60 + minutes) * 60 * MICROS_PER_SECOND, end))
}

/// Parses a timestamp at the start of a text and returns it with its length in bytes. Accepts ISO 8601 with a `T` or
/// a space, and the format of web servers (`25/Nov/2026:10:00:00 +0000`).
#[must_use]
pub fn parse_leading_timestamp(text: &[u8], defaults: TimestampDefaults) -> Option<(UtcTimestamp, usize)> {
    let (day, at) = if text.get(4) == Some(&b'-') && text.get(7) == Some(&b'-') {
        if !matches!(text.get(10), Some(b'T' | b't' | b' ')) {
            return None;
        }
        (
            days_since_epoch(
                parse_digits(text, 0, 4)?,
                parse_digits(text, 5, 2)?,
                parse_digits(text, 8, 2)?,
            )?,
            11,
        )
    } else if text.get(2) == Some(&b'/') && text.get(6) == Some(&b'/') && text.get(11) == Some(&b':') {
        (
            days_since_epoch(
                parse_digits(text, 7, 4)?,
                parse_month(text.get(3..6)?)?,
                parse_digits(text, 0, 2)?,
            )?,
            12,
        )
    } else {
        return None;
    };
    let (time, end) = parse_time_of_day(text, at)?;
    let (offset, end) = parse_offset(text, end).unwrap_or((defaults.offset_us, end));
    Some((UtcTimestamp::from_micros(day * MICROS_PER_DAY + time - offset)?, end))
}

fn parse_month(name: &[u8]) -> Option<i64> {
    MONTH_NAMES.iter().zip(1..).find(|(month, _)| month.eq_ignore_ascii_case(name)).map(|(_, number)| number)
}

/// Parses an RFC 3164 timestamp (`Nov 25 10:00:00`, `Nov  5 10:00:00`) at the start of a text and returns it with its
/// length in bytes. The year is chosen so that the time is closest to the reference.
#[must_use]
pub fn parse_bsd_timestamp(text: &[u8], defaults: TimestampDefaults) -> Option<(UtcTimestamp, usize)> {
    let month = parse_month(text.get(..3)?)?;
    let padded = text.get(4) == Some(&b' ');
    let day = if padded { parse_digits(text, 5, 1)? } else { parse_digits(text, 4, 2)? };
    if text[3] != b' ' || text.get(6) != Some(&b' ') {
        return None;
    }
    let (time, end) = parse_time_of_day(text, 7)?;
    let about = 1970 + defaults.reference.micros().div_euclid(MICROS_PER_DAY * 1461 / 4);
    let at = |year| {
        days_since_epoch(year, month, day)
            .and_then(|day| UtcTimestamp::from_micros(day * MICROS_PER_DAY + time - defaults.offset_us))
    };
    let nearest =
        (about - 1..=about + 1).filter_map(at).min_by_key(|at| at.micros_since(defaults.reference).abs())?;
    Some((nearest, end))
}

/// Parses the digits of a fraction as microseconds.
fn parse_fraction(text: &[u8]) -> Option<i64> {
    let kept = text.len().min(6);
    let worth = [MICROS_PER_SECOND, 100_000, 10_000, 1_000, 100, 10, 1];
    Some(parse_digits(text, 0, kept)? * worth[kept])
}

/// Parses a whole text as a timestamp, or as seconds, milliseconds, microseconds or nanoseconds since 1970.
#[must_use]
pub fn parse_timestamp(text: &[u8], defaults: TimestampDefaults) -> Option<UtcTimestamp> {
    if let Some((at, end)) = parse_leading_timestamp(text, defaults) {
        return (end == text.len()).then_some(at);
    }
    let (whole, fraction) = match memchr::memchr(b'.', text) {
        Some(point) => (&text[..point], parse_fraction(&text[point + 1..])?),
        None => (text, 0),
    };
    let number = parse_digits(whole, 0, whole.len()).filter(|_| whole.len() < 20)?;
    // The number of digits determines the unit for all times from 1973 to 2286.
    let micros = match whole.len() {
        9 | 10 => number.checked_mul(MICROS_PER_SECOND)?.checked_add(fraction)?,
        12 | 13 => number.checked_mul(1_000)?,
        15 | 16 => number,
        18 | 19 => number / 1_000,
        _ => return None,
    };
    UtcTimestamp::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_every_timestamp_format() {
        let noon = 1_795_608_000_000_000; // 2026-11-25T12:00:00Z
        let reference = UtcTimestamp::from_micros(noon).unwrap();
        let clock = TimestampDefaults { offset_us: 3_600 * MICROS_PER_SECOND, reference };
        for (text, micros) in [
            ("2026-11-25T12:00:00Z", noon),
            ("2026-11-25T12:00:00.123456789Z", noon + 123_456),
            ("2026-11-25 12:00:00,5+00:00", noon + 500_000),
            ("2026-11-25T14:00:00+0200", noon),
            ("2026-11-25T06:30:00-05:30", noon),
            ("2026-11-25 14:00:00 +0200", noon),
            ("2026-11-25 13:00:00", noon),
            ("25/Nov/2026:12:00:00 +0000", noon),
            ("1795608000", noon),
            ("1795608000.25", noon + 250_000),
            ("1795608000123", noon + 123_000),
            ("1795608000123456", noon + 123_456),
            ("1795608000123456789", noon + 123_456),
        ] {
            assert_eq!(parse_timestamp(text.as_bytes(), clock), UtcTimestamp::from_micros(micros), "{text}");
        }
        for text in [
            "",
            "2026-11-25",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-25T24:00:00Z",
            "12",
            "9999999999999999999",
        ] {
            assert_eq!(parse_timestamp(text.as_bytes(), clock), None, "{text}");
        }
    }

    #[test]
    fn a_time_without_a_year_gets_the_closest_one() {
        let at = |near: i64, text: &str| {
            let clock = TimestampDefaults {
                offset_us: 0,
                reference: UtcTimestamp::from_micros(near * MICROS_PER_SECOND).unwrap(),
            };
            parse_bsd_timestamp(text.as_bytes(), clock)
                .map(|(at, end)| (at.micros() / MICROS_PER_SECOND, end))
        };
        assert_eq!(at(1_795_608_000, "Nov 25 12:00:00 host"), Some((1_795_608_000, 15)));
        // The reference is 2027-01-01T00:00:01Z, and the line is from the year before.
        assert_eq!(at(1_798_761_601, "Dec 31 23:59:59 host"), Some((1_798_761_599, 15)));
        assert_eq!(at(1_798_761_599, "Jan  1 00:00:01 host"), Some((1_798_761_601, 15)));
        assert_eq!(at(1_795_608_000, "Foo 25 12:00:00"), None);
    }

    #[test]
    fn days_match_the_calendar() {
        assert_eq!(days_since_epoch(1970, 1, 1), Some(0));
        assert_eq!(days_since_epoch(2000, 3, 1), Some(11_017));
        assert_eq!(days_since_epoch(2024, 2, 29), Some(19_782));
        assert_eq!(days_since_epoch(1, 1, 1), Some(-719_162));
    }
}

#[cfg(test)]
mod property_tests;
