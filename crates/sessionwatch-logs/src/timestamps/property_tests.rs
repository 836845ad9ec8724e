//! Tests of timestamps against the decoder of stored values, which is another implementation, and of malformed text.

use proptest::prelude::*;
use sessionwatch_core::timestamp_decoder::{DecodedTime, Decoder, RawValue};

use super::*;

fn utc() -> TimestampDefaults {
    TimestampDefaults { offset_us: 0, reference: UtcTimestamp::UNIX_EPOCH }
}

proptest! {
    #[test]
    fn iso_text_is_read_like_a_stored_value(
        date in (1_i64..=9_999, 0_i64..=13, 0_i64..=32),
        time in (0_i64..=24, 0_i64..=60, 0_i64..=59),
        fraction in prop::option::of("[0-9]{1,9}"),
        zone in prop::sample::select(vec!["", "Z", "+00:00", "-05:30", "+1559", "-15", " +02:00"]),
        separator in prop::sample::select(vec!['T', ' ']),
    ) {
        let ((year, month, day), (hour, minute, second)) = (date, time);
        let fraction = fraction.map_or(String::new(), |digits| format!(".{digits}"));
        let text = format!("{year:04}-{month:02}-{day:02}{separator}{hour:02}:{minute:02}:{second:02}{fraction}{zone}");
        let stored = match Decoder::IsoText.decode(RawValue::Text(text.as_bytes())) {
            DecodedTime::At(at) => Some(at),
            _ => None,
        };
        prop_assert_eq!(parse_timestamp(text.as_bytes(), utc()), stored, "{}", text);
        let line = format!("{text} message");
        let leading = parse_leading_timestamp(line.as_bytes(), utc());
        prop_assert_eq!(leading, stored.map(|at| (at, text.len())), "{}", line);
    }

    #[test]
    fn only_a_time_without_a_zone_is_shifted_by_the_configured_offset(minutes in -720_i64..=840) {
        let defaults = TimestampDefaults { offset_us: minutes * 60 * MICROS_PER_SECOND, ..utc() };
        let noon = 1_795_608_000_000_000;
        for (text, micros) in [
            ("2026-11-25 12:00:00", noon - defaults.offset_us),
            ("2026-11-25 12:00:00,000", noon - defaults.offset_us),
            ("25/Nov/2026:12:00:00", noon - defaults.offset_us),
            ("2026-11-25T12:00:00Z", noon),
            ("25/Nov/2026:12:00:00 +0000", noon),
            ("1795608000", noon),
        ] {
            prop_assert_eq!(parse_timestamp(text.as_bytes(), defaults), UtcTimestamp::from_micros(micros), "{}", text);
        }
    }

    #[test]
    fn a_time_without_a_year_is_at_most_half_a_year_away(
        reference in 0_i64..4_000_000_000_000_000,
        month in 0_usize..12,
        day in 1_i64..=28,
        hour in 0_i64..24,
    ) {
        let reference = UtcTimestamp::from_micros(reference).unwrap();
        let defaults = TimestampDefaults { offset_us: 0, reference };
        let name = String::from_utf8_lossy(MONTH_NAMES[month]).into_owned();
        let line = format!("{name} {day:>2} {hour:02}:00:00 host app: message");
        let (at, length) = parse_bsd_timestamp(line.as_bytes(), defaults).unwrap();
        prop_assert_eq!(length, 15);
        prop_assert!(at.micros_since(reference).abs() <= 184 * MICROS_PER_DAY, "{} {:?}", line, at);
    }

    #[test]
    fn arbitrary_bytes_are_read_without_a_panic(bytes in any::<Vec<u8>>(), text in "[0-9TZ:. +/JanNov-]{0,40}") {
        for input in [&bytes[..], text.as_bytes()] {
            let whole = parse_timestamp(input, utc());
            let parts = [parse_leading_timestamp(input, utc()), parse_bsd_timestamp(input, utc())];
            for (_, length) in parts.into_iter().flatten() {
                prop_assert!(length <= input.len());
            }
            prop_assert!(whole.is_none() || !input.is_empty());
        }
    }
}

#[test]
fn numbers_are_read_in_the_unit_that_their_length_shows() {
    let at = |micros| UtcTimestamp::from_micros(micros);
    for (text, expected) in [
        ("100000000", at(100_000_000_000_000)),
        ("9999999999", at(9_999_999_999_000_000)),
        ("1795608000.1234567", at(1_795_608_000_123_456)),
        ("1795608000.", at(1_795_608_000_000_000)),
        ("100000000000", at(100_000_000_000_000)),
        ("1795608000123.9", at(1_795_608_000_123_000)),
        ("12345678", None),
        ("12345678901", None),
        ("12345678901234", None),
        ("12345678901234567", None),
        ("12345678901234567890", None),
        ("-1795608000", None),
        ("+1795608000", None),
        ("1795608000.x", None),
        ("1795608000 ", None),
        ("1_795_608_000", None),
        ("١٧٩٥٦٠٨٠٠٠", None),
        (".5", None),
    ] {
        assert_eq!(parse_timestamp(text.as_bytes(), utc()), expected, "{text}");
    }
}
