//! Tests of conversions to microseconds.

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::timestamp::UtcTimestamp;

/// A row that is stored with both kinds of fields.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct StoredRow {
    #[serde(with = "crate::duration::as_micros")]
    length: SignedDuration,
    #[serde(with = "crate::timestamp::as_micros")]
    at: UtcTimestamp,
}

#[test]
fn a_length_out_of_range_is_the_longest_one_and_never_a_short_one() {
    for (length, micros) in [
        (SignedDuration::ZERO, 0),
        (SignedDuration::MAX, i64::MAX),
        (SignedDuration::MIN, i64::MIN),
        (SignedDuration::from_micros(i64::MAX), i64::MAX),
        (SignedDuration::from_micros(i64::MIN), i64::MIN),
        (SignedDuration::from_micros(i64::MAX) + SignedDuration::from_micros(1), i64::MAX),
        (SignedDuration::from_micros(i64::MIN) - SignedDuration::from_micros(1), i64::MIN),
        (SignedDuration::from_nanos(1_999), 1),
        (SignedDuration::from_nanos(-1_999), -1),
    ] {
        assert_eq!(saturating_micros(length), micros, "{length:?}");
    }
    assert_eq!(from_days(-2), -2 * DAY);
    assert_eq!(from_days(36_500), 36_500 * DAY);
}

#[test]
fn an_instant_out_of_range_is_an_error_and_not_a_default() {
    let stored = |at: &str| serde_json::from_str::<StoredRow>(&format!(r#"{{"length":7,"at":{at}}}"#));
    for at in [UtcTimestamp::MIN, UtcTimestamp::UNIX_EPOCH, UtcTimestamp::MAX] {
        assert_eq!(stored(&at.micros().to_string()).unwrap().at, at);
    }
    let beyond = [UtcTimestamp::MIN.micros() - 1, UtcTimestamp::MAX.micros() + 1, i64::MIN, i64::MAX];
    let beyond = beyond.map(|micros| micros.to_string());
    for at in beyond.iter().map(String::as_str).chain(["null", "1.5", "\"1\"", "[]", "9223372036854775808"]) {
        assert!(stored(at).is_err(), "{at}");
    }
    for length in ["null", "0.5", "\"7\"", "9223372036854775808"] {
        let text = format!(r#"{{"length":{length},"at":0}}"#);
        assert!(serde_json::from_str::<StoredRow>(&text).is_err(), "{length}");
    }
}

proptest! {
    #[test]
    fn stored_rows_are_read_back_unchanged(
        length in any::<i64>(),
        at in UtcTimestamp::MIN.micros()..=UtcTimestamp::MAX.micros(),
    ) {
        let at = UtcTimestamp::from_micros(at).unwrap();
        let row = StoredRow { length: SignedDuration::from_micros(length), at };
        let text = serde_json::to_string(&row).unwrap();
        prop_assert_eq!(serde_json::from_str::<StoredRow>(&text).unwrap(), row);
    }

    /// Adding to an instant follows the calendar, and stops at its limits.
    #[test]
    fn instants_never_wrap_around(
        at in UtcTimestamp::MIN.micros()..=UtcTimestamp::MAX.micros(),
        length in any::<i64>(),
    ) {
        let at = UtcTimestamp::from_micros(at).unwrap();
        let length = SignedDuration::from_micros(length);
        let (later, earlier) = (at + length, at - length);
        prop_assert!((UtcTimestamp::MIN..=UtcTimestamp::MAX).contains(&later));
        prop_assert_eq!(later >= at, length >= SignedDuration::ZERO);
        prop_assert_eq!(earlier <= at, length >= SignedDuration::ZERO);
        if later > UtcTimestamp::MIN && later < UtcTimestamp::MAX {
            prop_assert_eq!(later.duration_since(at), length);
        }
    }
}
