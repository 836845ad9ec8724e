//! Formats of times, numbers and foreign text on pages.

use jiff::SignedDuration;
use maud::{Markup, html};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    duration::{DAY, HOUR, SECOND},
    plural::format_number,
    timestamp::UtcTimestamp,
};

pub(crate) use sessionwatch_core::text::capitalize_first;

/// Distance in time from which a day is written with its year. A day and month alone would be taken for the closest.
const YEAR_SHOWN_FROM: SignedDuration = SignedDuration::from_hours(300 * 24);

/// Renders an instant as a relative time, with the exact time on hover.
pub(crate) fn render_relative_time(at: UtcTimestamp, now: UtcTimestamp) -> Markup {
    let relative = format_relative_time(at, now);
    html! { time datetime=(clock::format_rfc3339(at)) title=(clock::format_utc(at)) { (relative) } }
}

/// Formats a relative time, such as `90 s ago` or `in 3 days`.
pub(crate) fn format_relative_time(at: UtcTimestamp, now: UtcTimestamp) -> String {
    let passed = now.duration_since(at);
    let length = format_length(passed.abs());
    match passed {
        _ if passed.abs() < 2 * SECOND && passed.is_negative() => "now".into(),
        _ if passed.abs() < 2 * SECOND => "just now".into(),
        _ if passed.is_negative() => format!("in {length}"),
        _ => format!("{length} ago"),
    }
}

/// Formats a length of time in a natural unit, such as `90 s` or `3 days`.
pub(crate) fn format_length(length: SignedDuration) -> String {
    let (number, unit) = match length {
        _ if length < 120 * SECOND => (length.as_secs(), "s"),
        _ if length < 2 * HOUR => (length.as_mins(), "min"),
        _ if length < 2 * DAY => (length.as_hours(), "h"),
        _ => (length.as_hours() / 24, "days"),
    };
    format!("{number} {unit}")
}

/// Renders the time of day for an instant within a day, the day and time for one within most of a year, and otherwise
/// the date; with the exact time on hover.
pub(crate) fn render_moment(at: UtcTimestamp, now: UtcTimestamp) -> Markup {
    let time = clock::format_time_of_day(at);
    let text = match now.duration_since(at).abs() {
        distance if distance < DAY => time,
        distance if distance < YEAR_SHOWN_FROM => format!("{} {}", clock::format_day(at), &time[..5]),
        _ => clock::format_date(at),
    };
    html! { time datetime=(clock::format_rfc3339(at)) title=(clock::format_utc(at)) { (text) } }
}

/// Formats a measured number: whole numbers with thousands separators, others with two decimals, from a million on
/// abbreviated.
pub(crate) fn format_amount(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded, and not negative")]
    let whole = |value: f64| format_number(value.max(0.0).round() as u64);
    if value >= 1e6 {
        format!("{:.1}M", value / 1e6)
    } else if value >= 100.0 || value.fract().abs() < 0.005 {
        whole(value)
    } else {
        format!("{value:.2}")
    }
}

/// Percent-encodes a text for use as one segment of a URL.
pub(crate) fn percent_encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Removes misleading characters, such as bidirectional controls, from foreign text. The template escapes HTML.
pub(crate) fn sanitize_text(text: &str) -> String {
    sessionwatch_app::sanitize::sanitize_text(text)
}

/// Renders a sentence of the program, with the words between backticks as code.
pub(crate) fn render_sentence(text: &str) -> Markup {
    let clean = sanitize_text(text);
    let parts: Vec<&str> = clean.split('`').collect();
    // An odd number of backticks quotes nothing.
    let quotes = parts.len() % 2 == 1;
    html! {
        @for (index, part) in parts.iter().enumerate() {
            @if quotes && index % 2 == 1 { code { (part) } }
            @else { @if !quotes && index > 0 { "`" } (part) }
        }
    }
}

/// Sanitizes text line by line.
pub(crate) fn sanitize_lines(text: &str) -> String {
    text.lines().map(sanitize_text).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distant_moment_has_its_year() {
        let now = UtcTimestamp::UNIX_EPOCH + 10_000 * DAY;
        let shown = |distance: SignedDuration| {
            let html = render_moment(now + distance, now).into_string();
            html.split(['<', '>']).nth(2).unwrap().to_owned()
        };
        assert_eq!(shown(-2 * HOUR), "22:00:00");
        assert_eq!(shown(2 * DAY), "May 21 00:00");
        assert_eq!(shown(-364 * DAY), "1996-05-20");
        assert_eq!(shown(364 * DAY), "1998-05-18");
    }

    #[test]
    fn relative_times_use_a_natural_unit() {
        let now = UtcTimestamp::UNIX_EPOCH + 100 * DAY;
        for (passed, expected) in [
            (SignedDuration::ZERO, "just now"),
            (SECOND, "just now"),
            (-SECOND, "now"),
            (90 * SECOND, "90 s ago"),
            (HOUR, "60 min ago"),
            (30 * HOUR, "30 h ago"),
            (3 * DAY, "3 days ago"),
            (-30 * HOUR, "in 30 h"),
        ] {
            assert_eq!(format_relative_time(now - passed, now), expected);
        }
    }

    #[test]
    fn amounts_are_short_and_grouped() {
        let shown = [0.0, 12.0, 1.254, 99.5, 4_604.0, 4_604.7, 2_500_000.0].map(format_amount);
        assert_eq!(shown, ["0", "12", "1.25", "99.50", "4,604", "4,605", "2.5M"]);
    }

    #[test]
    fn words_between_backticks_are_code() {
        assert_eq!(render_sentence("4 `a` <b>").into_string(), "4 <code>a</code> &lt;b&gt;");
        assert_eq!(render_sentence("a ` b").into_string(), "a ` b");
    }

    #[test]
    fn foreign_text_is_encoded_and_sanitized() {
        assert_eq!(percent_encode("a b/c"), "a%20b%2Fc");
        assert_eq!(sanitize_lines("a\u{202e}\nb").lines().count(), 2);
    }
}
