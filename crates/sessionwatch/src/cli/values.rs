//! Values that mean the same on every command: durations, dates, and points in time before now.

use std::sync::OnceLock;

use clap::builder::TypedValueParser;
use jiff::SignedDuration;
use sessionwatch_app::config_file::parse_seconds;
use sessionwatch_core::{duration::DAY, timestamp::UtcTimestamp};

/// Returns a parser of durations such as `30s`, `5m`, `24h` or `7d`, within these bounds.
pub(super) fn duration_between(
    least: SignedDuration,
    most: SignedDuration,
) -> impl TypedValueParser<Value = SignedDuration> {
    move |text: &str| {
        let length = parse_duration(text)?;
        if (least..=most).contains(&length) {
            return Ok(length);
        }
        Err(format!("must be between {} and {}", format_duration(least), format_duration(most)))
    }
}

/// Parses a duration: a number with its unit.
///
/// # Errors
///
/// Returns a hint if the unit is missing, or the text is no duration.
pub(super) fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    // "30" once meant seconds, hours or days, depending on the option.
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{text}` has no unit: write {text}s, {text}m, {text}h or {text}d"));
    }
    let seconds = parse_seconds(text).map_err(|_| "expected a duration such as 30s, 5m, 24h or 7d")?;
    Ok(SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)))
}

/// Writes a duration with its largest unit.
pub(super) fn format_duration(length: SignedDuration) -> String {
    let seconds = length.as_secs();
    let units = [('d', 86_400), ('h', 3_600), ('m', 60)];
    let unit = units.iter().find(|(_, size)| seconds >= *size && seconds % size == 0);
    unit.map_or_else(|| format!("{seconds}s"), |(unit, size)| format!("{}{unit}", seconds / size))
}

/// A date, or an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DateValue {
    /// The instant; midnight UTC of a date.
    pub(super) at: UtcTimestamp,
    /// Only the date was given.
    pub(super) is_whole_day: bool,
}

/// Parses a date such as `2026-01-31` (midnight UTC), or an instant as of RFC 3339.
///
/// # Errors
///
/// Returns a hint if the text is neither.
pub(super) fn parse_date(text: &str) -> Result<DateValue, String> {
    let instant = text.parse::<jiff::Timestamp>().ok();
    let day = || text.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    let (at, is_whole_day) = match instant {
        Some(at) => (Some(at), false),
        None => (day().map(|day| day.timestamp()), true),
    };
    let at = at.and_then(|at| UtcTimestamp::try_from(at).ok());
    at.map(|at| DateValue { at, is_whole_day })
        .ok_or_else(|| "expected a date such as 2026-01-31, or 2026-01-31T12:00:00Z".into())
}

/// Parses a date or an instant, of which only the instant counts.
///
/// # Errors
///
/// Same as [`parse_date`].
pub(super) fn parse_instant(text: &str) -> Result<UtcTimestamp, String> {
    parse_date(text).map(|date| date.at)
}

/// The start of a period: that long ago, or at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// That long before now.
    Ago(SignedDuration),
    /// At an instant.
    At(UtcTimestamp),
}

impl Since {
    /// Returns the instant, seen from `now`.
    pub(super) fn resolve(self, now: UtcTimestamp) -> UtcTimestamp {
        match self {
            Self::Ago(length) => now - length,
            Self::At(at) => at,
        }
    }
}

/// Parses a duration before now, or a date.
///
/// # Errors
///
/// Returns a hint if the text is neither.
pub(super) fn parse_since(text: &str) -> Result<Since, String> {
    /// Further back, nothing is stored.
    const MAX_HISTORY_AGE: SignedDuration = SignedDuration::from_hours(24 * 3_650);
    if text.bytes().filter(u8::is_ascii_digit).count() == text.len() {
        return parse_duration(text).map(Since::Ago);
    }
    match parse_duration(text) {
        Ok(length) => Ok(Since::Ago(length.min(MAX_HISTORY_AGE))),
        Err(_) => parse_instant(text)
            .map(Since::At)
            .map_err(|_| "expected a duration such as 24h or 7d, or a date such as 2026-01-31".into()),
    }
}

/// Returns the number of whole days in a duration; `None` if it is not a number of days.
pub(super) fn whole_days(length: SignedDuration) -> Option<u32> {
    let days = length.as_secs() / DAY.as_secs();
    u32::try_from(days).ok().filter(|_| length.as_secs() % DAY.as_secs() == 0)
}

/// The choice of `--color`, which the whole process shares.
static COLOR_CHOICE: OnceLock<ColorChoice> = OnceLock::new();

/// The choice of colored output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl ColorChoice {
    /// Makes this the choice of the process. A later one has no effect.
    pub(super) fn set(self) {
        let _ = COLOR_CHOICE.set(self);
    }

    /// Returns the choice of the process.
    pub(super) fn current() -> Self {
        COLOR_CHOICE.get().copied().unwrap_or(Self::Auto)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        for (text, seconds, shown) in
            [("30s", 30, "30s"), ("5m", 300, "5m"), ("24h", 86_400, "1d"), ("90m", 5_400, "90m")]
        {
            let length = parse_duration(text).unwrap();
            assert_eq!((length.as_secs(), format_duration(length).as_str()), (seconds, shown), "{text}");
        }
        assert!(parse_duration("30").unwrap_err().contains("30s, 30m, 30h or 30d"));
        for text in ["", "s", "5w", "-5s", "ten minutes"] {
            assert!(parse_duration(text).unwrap_err().contains("24h or 7d"), "{text}");
        }
    }

    #[test]
    fn dates_are_read_in_both_forms() {
        let day = parse_date("2026-01-31").unwrap();
        let instant = parse_date("2026-01-31T01:00:00+01:00").unwrap();
        assert!(day.is_whole_day && !instant.is_whole_day);
        assert_eq!(day.at, instant.at);
        assert!(parse_date("yesterday").unwrap_err().contains("2026-01-31"));
    }

    #[test]
    fn a_period_begins_a_while_ago_or_at_a_date() {
        let now = parse_instant("2026-01-31T12:00:00Z").unwrap();
        let at = |text: &str| parse_since(text).map(|since| since.resolve(now));
        assert_eq!(at("12h"), Ok(parse_instant("2026-01-31").unwrap()));
        assert_eq!(at("2026-01-30"), Ok(parse_instant("2026-01-30").unwrap()));
        assert!(at("24").unwrap_err().contains("24h"));
        assert!(at("last week").unwrap_err().contains("2026-01-31"));
    }

    #[test]
    fn days_are_counted_only_if_they_are_whole() {
        assert_eq!(whole_days(SignedDuration::from_hours(48)), Some(2));
        assert_eq!(whole_days(SignedDuration::from_hours(36)), None);
    }
}
