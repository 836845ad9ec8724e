//! `Retry-After`: how long a channel asks to wait.

use std::time::UNIX_EPOCH;

use sessionwatch_core::instant::{DAY, Instant, SECOND};

/// Microseconds to wait, a day at most; nothing if it says neither seconds nor a date.
pub(super) fn read(value: &str, now: Instant) -> Option<i64> {
    let value = value.trim();
    let asked = if value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty() {
        value.parse::<i64>().unwrap_or(i64::MAX).saturating_mul(SECOND)
    } else {
        date(value)?.since(now)
    };
    Some(asked.clamp(0, DAY))
}

fn date(value: &str) -> Option<Instant> {
    let since = httpdate::parse_http_date(value).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Instant::from_micros(i64::try_from(since.as_micros()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_of_every_form_are_read() {
        // Sunday, 6 November 1994, half a minute before the dates of RFC 9110.
        let now = Instant::from_micros((784_111_777 - 30) * SECOND).unwrap();
        for (value, expected) in [
            ("0", Some(0)),
            ("120", Some(120 * SECOND)),
            (" 7 ", Some(7 * SECOND)),
            ("99999999999999999999", Some(DAY)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30 * SECOND)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(30 * SECOND)),
            ("Sun Nov  6 08:49:37 1994", Some(30 * SECOND)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(DAY)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
            ("Mon, 06 Nov 1994 08:49:37 GMT", None),
        ] {
            assert_eq!(read(value, now), expected, "{value}");
        }
    }
}
