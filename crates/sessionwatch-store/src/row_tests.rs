//! Tests that rows decode strictly, and that errors name the table and column.

use std::sync::Arc;

use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{
    StoreError,
    row::{Param, QueryOrigin, StoreRow, StoreValue},
};

const SQL: &str = "SELECT number, text FROM things WHERE id = $1";

fn query(sql: &str) -> Arc<QueryOrigin> {
    QueryOrigin::new(sql, vec!["number".into(), "text".into()])
}

fn row(cells: &[StoreValue]) -> StoreRow {
    StoreRow::new(cells.to_vec(), &query(SQL))
}

fn text(text: &str) -> StoreRow {
    row(&[StoreValue::Null, StoreValue::Text(text.into())])
}

fn number(number: i64) -> StoreRow {
    row(&[StoreValue::Int(number), StoreValue::Null])
}

/// Asserts that a value was rejected, naming this column.
fn refused<T: std::fmt::Debug>(outcome: Result<T, StoreError>, expected: &str) {
    match outcome {
        Err(StoreError::Undecodable { table, column }) => {
            assert_eq!((table.as_str(), column.as_str()), ("things", expected));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn numbers_out_of_range_are_rejected() {
    assert_eq!(number(7).read_i64(0).unwrap(), 7);
    assert_eq!(number(-7).read_i64(0).unwrap(), -7);
    assert_eq!(number(7).read_u64(0).unwrap(), 7);
    assert_eq!(number(7).read_u32(0).unwrap(), 7);
    refused(number(-1).read_u64(0), "number");
    refused(number(-1).read_u32(0), "number");
    refused(number(1 << 40).read_u32(0), "number");
    refused(text("7").read_i64(1), "text");
    for other in [StoreValue::Text("7".into()), StoreValue::Bytes(vec![7]), StoreValue::Other] {
        refused(row(&[other, StoreValue::Null]).read_optional_i64(0), "number");
    }
}

#[test]
fn only_zero_and_one_are_flags() {
    assert!(!number(0).read_bool(0).unwrap());
    assert!(number(1).read_bool(0).unwrap());
    for other in [-1, 2, i64::MAX] {
        refused(number(other).read_bool(0), "number");
    }
    refused(row(&[StoreValue::Null, StoreValue::Null]).read_bool(0), "number");
}

#[test]
fn null_is_none_in_optional_columns_and_an_error_elsewhere() {
    let nothing = row(&[StoreValue::Null, StoreValue::Null]);
    assert_eq!(nothing.read_optional_i64(0).unwrap(), None);
    assert_eq!(nothing.read_optional_timestamp(0).unwrap(), None);
    assert_eq!(nothing.read_optional_text(1).unwrap(), None);
    assert_eq!(nothing.read_optional_json_text(1).unwrap(), None);
    assert_eq!(nothing.read_optional_json(1).unwrap(), None);
    assert_eq!(nothing.read_optional_known_text(1, |_| false).unwrap(), None);
    refused(nothing.read_i64(0), "number");
    refused(nothing.read_timestamp(0), "number");
    refused(nothing.read_text(1), "text");
    refused(nothing.read_json_text(1), "text");
    refused(nothing.read_known_text(1, |_| true), "text");
    refused(nothing.read_bytes(1), "text");
}

#[test]
fn an_instant_out_of_range_is_rejected() {
    let at = UtcTimestamp::from_micros(1_764_000_000_000_000).unwrap();
    assert_eq!(number(at.micros()).read_timestamp(0).unwrap(), at);
    for micros in [i64::MIN, i64::MAX] {
        refused(number(micros).read_timestamp(0), "number");
        refused(number(micros).read_optional_timestamp(0), "number");
    }
}

#[test]
fn json_is_validated_and_returned_unchanged() {
    for document in ["{}", "[1, 2]", "null", " {\"b\":1,  \"a\":2} ", "\"text\""] {
        assert_eq!(text(document).read_json_text(1).unwrap(), document);
        assert!(text(document).read_optional_json(1).unwrap().is_some());
    }
    for wrong in ["", "{", "{}x", "nonsense"] {
        refused(text(wrong).read_json_text(1), "text");
        refused(text(wrong).read_optional_json(1), "text");
    }
    assert_eq!(text("{\"a\":1}").read_json_object_text(1).unwrap(), "{\"a\":1}");
    for other in ["[]", "7", "null", "{"] {
        refused(text(other).read_json_object_text(1), "text");
    }
}

#[test]
fn unknown_names_are_rejected() {
    let is_known = |name: &str| ["open", "closed"].contains(&name);
    assert_eq!(text("open").read_known_text(1, is_known).unwrap(), "open");
    assert_eq!(text("open").decode_text(1, |name| is_known(name).then_some(7)).unwrap(), 7);
    for other in ["", "Open", "open ", "paused"] {
        refused(text(other).read_known_text(1, is_known), "text");
        refused(text(other).read_optional_known_text(1, is_known), "text");
        refused(text(other).decode_text(1, |name| is_known(name).then_some(7)), "text");
    }
}

#[test]
fn a_missing_column_is_an_error() {
    let row = row(&[StoreValue::Int(1)]);
    assert_eq!(row.column_count(), 1);
    refused(row.read_text(1), "text");
    refused(row.read_i64(9), "");
}

#[test]
fn the_table_is_found_in_every_kind_of_statement() {
    for (sql, table) in [
        ("SELECT a FROM one WHERE b = 1", "one"),
        ("SELECT a FROM (SELECT * FROM two) AS latest", "two"),
        ("INSERT INTO three (a) VALUES ($1) RETURNING a", "three"),
        ("UPDATE four SET a = 1 RETURNING a", "four"),
        ("SELECT MAX(at) FROM five, six", "five"),
        ("SELECT 1", "?"),
    ] {
        let row = StoreRow::new(vec![StoreValue::Other], &query(sql));
        let StoreError::Undecodable { table: found, .. } = row.undecodable_column(0) else { panic!("{sql}") };
        assert_eq!(found, table, "{sql}");
    }
}

#[test]
fn values_are_copied_to_another_store_unchanged() {
    let row = row(&[
        StoreValue::Int(7),
        StoreValue::Text("x".into()),
        StoreValue::Bytes(vec![0, 255]),
        StoreValue::Null,
        StoreValue::Other,
    ]);
    assert!(matches!(row.read_as_param(0).unwrap(), Param::Int(Some(7))));
    assert!(matches!(row.read_as_param(1).unwrap(), Param::Text(Some("x"))));
    assert!(matches!(row.read_as_param(2).unwrap(), Param::Bytes([0, 255])));
    assert!(matches!(row.read_as_param(3).unwrap(), Param::Text(None)));
    assert!(row.read_as_param(4).is_err() && row.read_as_param(5).is_err());
    assert_eq!(row.read_bytes(2).unwrap(), [0, 255]);
}
