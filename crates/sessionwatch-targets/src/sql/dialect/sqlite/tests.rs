//! Tests that standalone queries decode values like the functions of this program.

use rusqlite::Connection;
use sessionwatch_core::timestamp_decoder::{self, DecodedTime, RawValue};

use super::*;

/// A Sunday in November 2026.
fn now() -> UtcTimestamp {
    UtcTimestamp::from_micros(1_795_953_600_000_000).unwrap()
}

/// Evaluates an expression over a column `v` with this value.
fn evaluated<T: rusqlite::types::FromSql>(expression: &str, literal: &str) -> T {
    let connection = Connection::open_in_memory().unwrap();
    let query = format!("SELECT {expression} FROM (SELECT {literal} AS v)");
    connection.query_row(&query, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// Returns the decoded value to the second, as standalone queries do.
fn expected(decoder: Decoder, raw: RawValue<'_>) -> i64 {
    match decoder.decode(raw) {
        DecodedTime::At(at) => at.micros().div_euclid(1_000_000) * 1_000_000,
        DecodedTime::Never => NEVER_MICROS.parse().unwrap(),
        DecodedTime::Undecodable => UNDECODABLE_MICROS.parse().unwrap(),
    }
}

fn assert_text_is_read_alike(decoder: Decoder, text: &str) {
    let read: i64 = evaluated(&micros_expr(decoder, "v", now()), &format!("'{text}'"));
    assert_eq!(read, expected(decoder, RawValue::Text(text.as_bytes())), "{} {text}", decoder.name());
}

#[test]
fn text_is_decoded_like_the_decoder_does() {
    for decoder in [Decoder::IsoText, Decoder::EpochMillisOrIso] {
        for text in [
            "2026-11-29 12:00:00",
            "2026-11-29T12:00:00Z",
            "2026-11-29T12:00:00.250Z",
            "2024-02-29 23:59:59",
            "1999-12-31 00:00:00",
            "soon",
            "",
        ] {
            assert_text_is_read_alike(decoder, text);
        }
    }
}

#[test]
fn an_offset_in_text_is_applied() {
    for text in ["2026-11-29T12:00:00+02:00", "2026-11-29T12:00:00-05:30"] {
        for decoder in [Decoder::IsoText, Decoder::EpochMillisOrIso] {
            assert_text_is_read_alike(decoder, text);
        }
    }
}

#[test]
fn numbers_are_decoded_in_either_unit() {
    for number in [0, 1, -1, 1_795_953_600, 1_795_953_600_000, 4_102_444_800, 4_102_444_800_000] {
        for decoder in [Decoder::EpochSeconds, Decoder::EpochMillis, Decoder::EpochMillisOrIso] {
            let expression = micros_expr(decoder, "v", now());
            let read: i64 = evaluated(&expression, &number.to_string());
            let read = read.div_euclid(1_000_000) * 1_000_000;
            assert_eq!(read, expected(decoder, RawValue::Integer(number)), "{} {number}", decoder.name());
        }
    }
}

#[test]
fn null_means_that_a_session_never_expires() {
    for decoder in [Decoder::TimestampUtc, Decoder::IsoText, Decoder::EpochSeconds, Decoder::EpochMillis] {
        let read: i64 = evaluated(&micros_expr(decoder, "v", now()), "NULL");
        assert_eq!(read.to_string(), NEVER_MICROS, "{}", decoder.name());
    }
}

#[test]
fn wall_clock_times_are_decoded_around_offset_shifts() {
    for zone in ["America/New_York", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "Etc/UTC"] {
        let decoder = Decoder::TimestampLocal(Zone::parse(zone).unwrap());
        for text in [
            "2025-01-15 12:00:00",
            "2026-03-08 01:59:59",
            "2026-03-08 03:00:00",
            "2026-03-29 01:59:59",
            "2026-03-29 03:00:00",
            "2026-07-01 00:00:00",
            "2026-10-25 00:59:59",
            "2026-10-25 03:00:00",
            "2026-11-01 00:59:59",
            "2026-11-01 02:00:00",
            "2027-06-30 23:59:59",
        ] {
            assert_text_is_read_alike(decoder, text);
        }
    }
}

#[test]
fn a_standalone_prefix_equals_that_of_the_program() {
    for token in ["", "a", "abcd", "0123456789ab", "0123456789abcdefghijklmnop", "äöüßéèêëîïôœ-äöüßéèêëîïôœ"]
    {
        let shown: String = evaluated(&SqliteDialect.token_prefix_expr("v", true), &format!("'{token}'"));
        assert_eq!(shown, token_prefix::token_prefix(token), "{token}");
    }
}

#[test]
fn text_without_a_zone_is_detected() {
    for text in [
        "2026-11-29 12:00:00",
        "2026-11-29T12:00:00.123",
        "2026-11-29T12:00:00Z",
        "2026-11-29T12:00:00+02:00",
        "2026-11-29T12:00:00.123-0500",
    ] {
        let naive: bool =
            evaluated(&SqliteDialect.naive_text_condition("v", ColumnKind::Text), &format!("'{text}'"));
        assert_eq!(naive, timestamp_decoder::is_naive_timestamp(text.as_bytes()), "{text}");
    }
    for other in ["1795953600", "NULL", "x'00'"] {
        let naive: bool = evaluated(&SqliteDialect.naive_text_condition("v", ColumnKind::Text), other);
        assert!(!naive, "{other}");
    }
}

#[test]
fn literals_round_trip() {
    for text in ["it's", "\"quoted\"", "a\\b", "line\nbreak", "ünï", "'; DROP TABLE x; --"] {
        let back: String = evaluated("v", &SqliteDialect.quote_string(text));
        assert_eq!(back, text);
    }
    let kind: String = evaluated("typeof(v)", &SqliteDialect.typed_literal(ColumnKind::Integer, "42"));
    assert_eq!(kind, "integer");
    for (kind, value) in [(ColumnKind::Text, "42"), (ColumnKind::Integer, "4x"), (ColumnKind::Integer, "")] {
        let stored: String = evaluated("typeof(v)", &SqliteDialect.typed_literal(kind, value));
        assert_eq!(stored, "text", "{value}");
    }
}

#[test]
fn zero_null_and_empty_text_mean_not_deleted() {
    let column = ColumnInfo::default();
    for (value, is_left) in
        [("NULL", true), ("0", true), ("''", true), ("1", false), ("'2026-11-29'", false), ("'0x'", false)]
    {
        let left: bool = evaluated(&SqliteDialect.not_deleted_condition("v", &column), value);
        assert_eq!(left, is_left, "{value}");
    }
}

#[test]
fn the_cookie_of_a_json_session_is_read() {
    let [end, lifetime] = SqliteDialect.cookie_exprs("v");
    let document =
        r#"'{"cookie":{"expires":"2026-11-29T12:00:00.000Z","originalMaxAge":86400000},"user":7}'"#;
    assert_eq!(evaluated::<String>(&end, document), "2026-11-29T12:00:00.000Z");
    assert_eq!(evaluated::<i64>(&lifetime, document), 86_400_000);
    for other in ["'not json'", "'{}'", "NULL", r#"'{"cookie":7}'"#] {
        assert_eq!(evaluated::<Option<String>>(&end, other), None, "{other}");
        assert_eq!(evaluated::<Option<i64>>(&lifetime, other), None, "{other}");
    }
    let long = format!(r#"'{{"cookie":{{"expires":"{}"}}}}'"#, "x".repeat(100));
    assert_eq!(evaluated::<String>(&end, &long).len(), MAX_TIMESTAMP_CHARS);
}
