//! Parses the `Retry-After` header.

use std::time::UNIX_EPOCH;

use jiff::SignedDuration;
use sessionwatch_clock::to_signed_duration;
use sessionwatch_core::{duration::DAY, timestamp::UtcTimestamp};

/// Returns the delay, at most one day; `None` if the value is neither seconds nor an HTTP date.
pub(super) fn parse_retry_after(value: &str, now: UtcTimestamp) -> Option<SignedDuration> {
    let value = value.trim();
    let asked = if value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty() {
        // A number too large to parse is a long delay, and is limited below.
        SignedDuration::from_secs(value.parse().unwrap_or(i64::MAX))
    } else {
        // A date in the past becomes negative, and means no delay.
        parse_retry_date(value)?.duration_since(now)
    };
    // A day at most: a broken server must not silence a channel for good.
    Some(asked.clamp(SignedDuration::ZERO, DAY))
}

fn parse_retry_date(value: &str) -> Option<UtcTimestamp> {
    let since = httpdate::parse_http_date(value).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(UtcTimestamp::UNIX_EPOCH + to_signed_duration(since))
}

#[cfg(test)]
mod tests {
    use sessionwatch_core::duration::SECOND;

    use super::*;

    #[test]
    fn seconds_and_all_date_formats_are_parsed() {
        // 30 seconds before Sunday, 6 November 1994, 08:49:37, the example of RFC 9110.
        let now = UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(784_111_777 - 30);
        for (value, expected) in [
            ("0", Some(SignedDuration::ZERO)),
            ("120", Some(120 * SECOND)),
            (" 7 ", Some(7 * SECOND)),
            ("99999999999999999999", Some(DAY)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30 * SECOND)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(30 * SECOND)),
            ("Sun Nov  6 08:49:37 1994", Some(30 * SECOND)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(SignedDuration::ZERO)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(DAY)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
            ("Mon, 06 Nov 1994 08:49:37 GMT", None),
        ] {
            assert_eq!(parse_retry_after(value, now), expected, "{value}");
        }
    }
}
