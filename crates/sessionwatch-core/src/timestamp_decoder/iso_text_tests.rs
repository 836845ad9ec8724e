//! Tests of ISO 8601 text against an independent parser, and at the limits of the range.

use jiff::{civil, tz::TimeZone};
use proptest::prelude::*;

use super::*;

/// Parts of a date and a time of day, in and slightly out of range.
type DateTimeParts = (i16, i8, i8, i8, i8, i8);

fn date_time_parts() -> impl Strategy<Value = DateTimeParts> {
    (0_i16..=9_998, 0_i8..=13, 0_i8..=32, 0_i8..=24, 0_i8..=60, 0_i8..=60)
}

/// Returns the text that stores an instant, and the instant by the calendar of another library.
fn text_and_instant(
    parts: DateTimeParts,
    separator: char,
    fraction: Option<u32>,
    offset_minutes: Option<i64>,
) -> (String, Option<UtcTimestamp>) {
    let (year, month, day, hour, minute, second) = parts;
    let mut text = format!("{year:04}-{month:02}-{day:02}{separator}{hour:02}:{minute:02}:{second:02}");
    if let Some(micros) = fraction {
        text.push_str(&format!(".{micros:06}"));
    }
    if let Some(minutes) = offset_minutes {
        let sign = if minutes < 0 { '-' } else { '+' };
        text.push_str(&format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60));
    }
    let civil = civil::DateTime::new(year, month, day, hour, minute, second, 0).ok();
    let utc = civil.filter(|_| year >= 1).and_then(|civil| TimeZone::UTC.to_timestamp(civil).ok());
    let shift = i64::from(fraction.unwrap_or(0)) - offset_minutes.unwrap_or(0) * 60 * MICROS_PER_SECOND;
    (text, utc.and_then(|at| UtcTimestamp::from_micros(at.as_microsecond() + shift)))
}

proptest! {
    #[test]
    fn a_date_is_read_exactly_if_the_calendar_has_it(
        parts in date_time_parts(),
        separator in prop::sample::select(vec!['T', ' ']),
        fraction in prop::option::of(0_u32..1_000_000),
        offset_minutes in prop::option::of(-959_i64..=959),
    ) {
        let (text, instant) = text_and_instant(parts, separator, fraction, offset_minutes);
        let expected = instant.map_or(DecodedTime::Undecodable, DecodedTime::At);
        for decoder in [Decoder::IsoText, Decoder::EpochMillisOrIso] {
            prop_assert_eq!(decoder.decode(RawValue::Text(text.as_bytes())), expected, "{}", text);
        }
    }

    /// A text that was cut or damaged must not become another instant.
    #[test]
    fn a_cut_text_is_undecodable_or_the_same_time_with_less_precision(
        parts in date_time_parts(),
        fraction in 0_u32..1_000_000,
        cut in 0_usize..26,
    ) {
        let (text, instant) = text_and_instant(parts, 'T', Some(fraction), None);
        if let DecodedTime::At(read) = Decoder::IsoText.decode(RawValue::Text(&text.as_bytes()[..cut])) {
            let whole = instant.unwrap();
            prop_assert!(read <= whole && whole.micros_since(read) < MICROS_PER_SECOND, "{} cut to {}", text, cut);
        }
    }

    /// A text is naive exactly if its instant depends on the zone.
    #[test]
    fn only_the_meaning_of_a_naive_text_depends_on_the_zone(
        parts in date_time_parts(),
        fraction in prop::option::of(0_u32..1_000_000),
        offset_minutes in prop::option::of(-959_i64..=959),
    ) {
        // Near the limits of the range, wall times are read as UTC.
        prop_assume!((2..9_998).contains(&parts.0));
        let (text, instant) = text_and_instant(parts, ' ', fraction, offset_minutes);
        let raw = RawValue::Text(text.as_bytes());
        let local = Decoder::TimestampLocal(Zone::parse("Asia/Kolkata").unwrap()).decode(raw);
        let depends = local != Decoder::IsoText.decode(raw);
        prop_assert_eq!(is_naive_timestamp(text.as_bytes()), depends, "{}", text);
        prop_assert_eq!(depends, instant.is_some() && offset_minutes.is_none(), "{}", text);
    }

    #[test]
    fn arbitrary_bytes_are_decoded_without_a_panic(
        bytes in any::<Vec<u8>>(),
        number in any::<i64>(),
        real in any::<f64>(),
    ) {
        let zone = Zone::parse("America/St_Johns").unwrap();
        for decoder in Decoder::ALL.into_iter().chain([Decoder::TimestampLocal(zone)]) {
            for raw in [
                RawValue::Text(&bytes),
                RawValue::Integer(number),
                RawValue::Real(real),
                RawValue::MicrosSince2000(number),
                RawValue::Other,
            ] {
                let _ = (decoder.decode(raw), decoder.decode_strict(raw));
            }
            prop_assert_eq!(decoder.decode(RawValue::Other), DecodedTime::Undecodable);
        }
    }
}

#[test]
fn the_first_and_last_instants_are_read_and_their_neighbors_are_not() {
    let read = |text: &str| Decoder::IsoText.decode(RawValue::Text(text.as_bytes()));
    for (text, instant) in [
        ("0001-01-01T00:00:00Z", UtcTimestamp::MIN),
        ("0001-01-01T01:00:00+01:00", UtcTimestamp::MIN),
        ("9999-12-31T23:59:59.999999Z", UtcTimestamp::MAX),
        ("9999-12-31T23:59:59.999999999Z", UtcTimestamp::MAX),
        ("9999-12-31T08:00:59.999999-15:59", UtcTimestamp::MAX),
    ] {
        assert_eq!(read(text), DecodedTime::At(instant), "{text}");
    }
    for text in [
        "0001-01-01T00:00:00+00:01",
        "0001-01-01T15:58:59+15:59",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:59.999999-15:59",
        "10000-01-01T00:00:00Z",
        "1-01-01T00:00:00Z",
    ] {
        assert_eq!(read(text), DecodedTime::Undecodable, "{text}");
    }
}

#[test]
fn leap_days_follow_the_gregorian_calendar() {
    for (date, exists) in [
        ("2024-02-29", true),
        ("2000-02-29", true),
        ("2026-02-29", false),
        ("1900-02-29", false),
        ("2100-02-29", false),
        ("2400-02-29", true),
        ("2024-02-30", false),
        ("2026-04-31", false),
        ("2026-06-31", false),
        ("2026-09-31", false),
        ("2026-11-31", false),
        ("2026-12-31", true),
    ] {
        let read = Decoder::IsoText.decode(RawValue::Text(format!("{date}T00:00:00Z").as_bytes()));
        assert_eq!(read != DecodedTime::Undecodable, exists, "{date}");
    }
}

#[test]
fn characters_that_only_look_like_digits_or_separators_are_refused() {
    for text in [
        "２０２６-01-31T12:00:00Z",
        "2026\u{2010}01\u{2010}31T12:00:00Z",
        "2026-01-31T12:00:00\u{ff3a}",
        "2026-01-31T12:00:00Z\0",
        "2026-01-31T12:00:00Z\n",
        " 2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00z",
        "2026-01-31t12:00:00Z",
        "2026-01-31T12:00:00+٠١:00",
        "2026-01-31T12:00:00 ",
        "2026-01-31T12:00:00  Z",
        "2026-01-31T12:00:00+1:00",
        "2026-01-31T12:00:00+01:60",
        "2026-01-31T12:00:00−01:00",
        "+2026-01-31T12:00:0",
        "2026-1-31T012:00:00",
    ] {
        let read = Decoder::IsoText.decode(RawValue::Text(text.as_bytes()));
        assert_eq!(read, DecodedTime::Undecodable, "{text:?}");
    }
}

#[test]
fn a_fractional_number_never_ends_a_session_later_than_stored() {
    for (decoder, value, micros) in [
        (Decoder::EpochSeconds, 1.999_999_9, 1_999_999),
        (Decoder::EpochSeconds, -0.000_000_5, -1),
        (Decoder::EpochSeconds, 1_769_860_800.25, 1_769_860_800_250_000),
        (Decoder::EpochMillis, 1_769_860_800_000.75, 1_769_860_800_000_750),
        (Decoder::EpochMillisOrIso, -1.5, -1_500),
        (Decoder::EpochMillis, 0.0, 0),
    ] {
        let expected = DecodedTime::At(UtcTimestamp::from_micros(micros).unwrap());
        assert_eq!(decoder.decode(RawValue::Real(value)), expected, "{decoder:?} {value}");
    }
    for decoder in [Decoder::Timestamptz, Decoder::TimestampUtc, Decoder::IsoText] {
        assert_eq!(decoder.decode(RawValue::Real(1.0)), DecodedTime::Undecodable, "{decoder:?}");
    }
}

#[test]
fn the_unit_changes_exactly_at_the_limits_of_the_ranges() {
    let seconds = |value: i64| UtcTimestamp::from_micros(value * MICROS_PER_SECOND).unwrap();
    let millis = |value: i64| UtcTimestamp::from_micros(value * 1_000).unwrap();
    for (decoder, value, instant) in [
        (Decoder::EpochMillis, 999_999_999, millis(999_999_999)),
        (Decoder::EpochMillis, 1_000_000_000, seconds(1_000_000_000)),
        (Decoder::EpochMillis, 99_999_999_999, seconds(99_999_999_999)),
        (Decoder::EpochMillis, 100_000_000_000, millis(100_000_000_000)),
        (Decoder::EpochMillis, -1_000_000_000, millis(-1_000_000_000)),
        (Decoder::EpochMillisOrIso, 1_000_000_000, seconds(1_000_000_000)),
        (Decoder::EpochSeconds, 253_402_300_799, seconds(253_402_300_799)),
        (Decoder::EpochSeconds, 1_000_000_000_000, millis(1_000_000_000_000)),
        (Decoder::EpochSeconds, 253_402_300_799_999, millis(253_402_300_799_999)),
    ] {
        let expected = DecodedTime::At(instant);
        assert_eq!(decoder.decode(RawValue::Integer(value)), expected, "{decoder:?} {value}");
    }
    for value in [253_402_300_800, 999_999_999_999, 253_402_300_800_000, -62_135_596_801] {
        let read = Decoder::EpochSeconds.decode(RawValue::Integer(value));
        assert_eq!(read, DecodedTime::Undecodable, "{value}");
    }
}

#[test]
fn numbers_in_text_are_plain_decimal_digits() {
    for text in ["+1", " 1", "1 ", "1.5", "1e9", "0x10", "--1", "1_000", "", "-", "１", "1\0"] {
        for decoder in [Decoder::EpochSeconds, Decoder::EpochMillis] {
            let read = decoder.decode(RawValue::Text(text.as_bytes()));
            assert_eq!(read, DecodedTime::Undecodable, "{decoder:?} {text:?}");
        }
    }
    let zeros = Decoder::EpochSeconds.decode(RawValue::Text(b"000000001769860800"));
    assert_eq!(zeros, Decoder::EpochSeconds.decode(RawValue::Integer(1_769_860_800)));
    // A mixed column holds numbers as integers only; digits in text are something else.
    let digits = Decoder::EpochMillisOrIso.decode(RawValue::Text(b"1769860800000"));
    assert_eq!(digits, DecodedTime::Undecodable);
}
