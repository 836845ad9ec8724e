//! Tests that a time written to a target is read back as that time, rounded down.

use sessionwatch_core::{
    time_zone::Zone,
    timestamp_decoder::{DecodedTime, RawValue},
};

use super::*;

const YEAR_US: i64 = 365 * 86_400 * MICROS_PER_SECOND;

/// Returns the instant that an application finds in a column with this text.
fn read_back(decoder: Decoder, stored: &str) -> UtcTimestamp {
    let text = RawValue::Text(stored.as_bytes());
    let decoded = match decoder {
        // Native columns print their values like ISO text.
        Decoder::Timestamptz | Decoder::TimestampUtc => Decoder::IsoText.decode(text),
        Decoder::EpochMillisOrIso => decoder.decode(RawValue::Integer(stored.parse().unwrap())),
        _ => decoder.decode(text),
    };
    match decoded {
        DecodedTime::At(at) => at,
        other => panic!("{} {stored}: {other:?}", decoder.name()),
    }
}

/// Returns the largest unit that a column of this kind rounds down to, in microseconds.
fn unit_us(decoder: Decoder) -> i64 {
    match decoder {
        Decoder::EpochSeconds => MICROS_PER_SECOND,
        Decoder::EpochMillis | Decoder::EpochMillisOrIso => 1_000,
        _ => 1,
    }
}

/// Returns instants of many years, none of them on a whole second.
fn instants(first_year: i64, last_year: i64) -> impl Iterator<Item = UtcTimestamp> {
    let micros = (0..2_000_i64).map(move |number| {
        let years = first_year - 1_970 + number % (last_year - first_year);
        years * YEAR_US + number * 4_000_037_000_001 % YEAR_US
    });
    micros.map(|micros| UtcTimestamp::from_micros(micros).unwrap())
}

fn assert_is_rounded_down(decoder: Decoder, at: UtcTimestamp) {
    let stored = encode_timestamp(decoder, at);
    let lost = at.micros_since(read_back(decoder, &stored));
    assert!((0..unit_us(decoder)).contains(&lost), "{} {at:?} as {stored}: {lost}", decoder.name());
}

#[test]
fn every_format_is_rounded_down_to_its_unit() {
    for decoder in Decoder::ALL {
        // Small numbers may be meant in the other unit.
        instants(2_002, 9_990).for_each(|at| assert_is_rounded_down(decoder, at));
    }
    for decoder in [Decoder::Timestamptz, Decoder::TimestampUtc, Decoder::IsoText] {
        instants(2, 2_002).for_each(|at| assert_is_rounded_down(decoder, at));
        [UtcTimestamp::MIN, UtcTimestamp::UNIX_EPOCH, UtcTimestamp::MAX]
            .into_iter()
            .for_each(|at| assert_is_rounded_down(decoder, at));
    }
}

#[test]
fn a_negative_number_is_rounded_down_and_not_toward_zero() {
    let before_1970 = UtcTimestamp::from_micros(-1).unwrap();
    for (decoder, stored) in [
        (Decoder::EpochSeconds, "-1"),
        (Decoder::EpochMillis, "-1"),
        (Decoder::IsoText, "1969-12-31T23:59:59.999999Z"),
        (Decoder::Timestamptz, "1969-12-31 23:59:59.999999+00"),
        (Decoder::TimestampUtc, "1969-12-31 23:59:59.999999"),
    ] {
        assert_eq!(encode_timestamp(decoder, before_1970), stored);
    }
}

#[test]
fn a_wall_time_is_that_of_its_zone_except_while_clocks_are_set_back() {
    for name in [
        "America/New_York",
        "Europe/Berlin",
        "Asia/Kolkata",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Etc/UTC",
    ] {
        let zone = Zone::parse(name).unwrap();
        let decoder = Decoder::TimestampLocal(zone);
        let mut ambiguous = 0;
        for at in instants(1_990, 2_036) {
            let earlier = UtcTimestamp::from_micros(at.micros() - 3_600 * MICROS_PER_SECOND).unwrap();
            let later = UtcTimestamp::from_micros(at.micros() + 3_600 * MICROS_PER_SECOND).unwrap();
            if zone.offset_us_at(earlier) == zone.offset_us_at(later) {
                assert_is_rounded_down(decoder, at);
            } else {
                ambiguous += 1;
            }
        }
        assert!(ambiguous < 20, "{name}: {ambiguous}");
    }
    let berlin = Decoder::parse("timestamp-local:Europe/Berlin").unwrap();
    // In the hour that the clocks repeat, an earlier time is written: a session must not stay active for an hour more.
    let midnight = sessionwatch_clock::parse_rfc3339("2026-10-25T00:00:00Z").unwrap();
    for minutes in -5..125 {
        let at = UtcTimestamp::from_micros(midnight.micros() + minutes * 60 * MICROS_PER_SECOND).unwrap();
        let written = read_back(berlin, &encode_timestamp(berlin, at));
        let early = at.micros() - written.micros();
        assert!((0..=3_600 * MICROS_PER_SECOND).contains(&early), "{minutes} {early}");
    }
    let summer = UtcTimestamp::from_micros(1_795_953_600_000_001 - 150 * 86_400 * MICROS_PER_SECOND).unwrap();
    assert_eq!(encode_timestamp(berlin, summer), "2026-07-02 14:00:00.000001");
}

#[test]
fn the_limits_of_the_range_do_not_overflow() {
    for name in ["Pacific/Kiritimati", "Pacific/Pago_Pago", "Etc/UTC"] {
        let decoder = Decoder::TimestampLocal(Zone::parse(name).unwrap());
        for at in [UtcTimestamp::MIN, UtcTimestamp::MAX] {
            let stored = encode_timestamp(decoder, at);
            assert_eq!(stored.len(), "2026-11-29 12:00:00.000000".len(), "{name} {stored}");
            read_back(decoder, &stored);
        }
    }
}
