//! What a row says, and that whatever cannot be read is an error which names its table and column.

use std::sync::Arc;

use sessionwatch_core::instant::Instant;

use crate::{
    StoreError,
    row::{Cell, Query, Row, Value},
};

const SQL: &str = "SELECT number, text FROM things WHERE id = $1";

fn query(sql: &str) -> Arc<Query> {
    Query::new(sql, vec!["number".into(), "text".into()])
}

fn row(cells: &[Cell]) -> Row {
    Row::new(cells.to_vec(), &query(SQL))
}

fn text(text: &str) -> Row {
    row(&[Cell::Null, Cell::Text(text.into())])
}

fn number(number: i64) -> Row {
    row(&[Cell::Int(number), Cell::Null])
}

/// That something is refused, for that column.
fn refused<T: std::fmt::Debug>(outcome: Result<T, StoreError>, expected: &str) {
    match outcome {
        Err(StoreError::Undecodable { table, column }) => {
            assert_eq!((table.as_str(), column.as_str()), ("things", expected));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn numbers_are_read_within_what_they_stand_for() {
    assert_eq!(number(7).int(0).unwrap(), 7);
    assert_eq!(number(-7).int(0).unwrap(), -7);
    assert_eq!(number(7).count(0).unwrap(), 7);
    assert_eq!(number(7).small(0).unwrap(), 7);
    refused(number(-1).count(0), "number");
    refused(number(-1).small(0), "number");
    refused(number(1 << 40).small(0), "number");
    refused(text("7").int(1), "text");
    for other in [Cell::Text("7".into()), Cell::Bytes(vec![7]), Cell::Other] {
        refused(row(&[other, Cell::Null]).maybe_int(0), "number");
    }
}

#[test]
fn only_zero_and_one_are_flags() {
    assert!(!number(0).flag(0).unwrap());
    assert!(number(1).flag(0).unwrap());
    for other in [-1, 2, i64::MAX] {
        refused(number(other).flag(0), "number");
    }
    refused(row(&[Cell::Null, Cell::Null]).flag(0), "number");
}

#[test]
fn nothing_is_nothing_where_it_may_be_and_an_error_elsewhere() {
    let nothing = row(&[Cell::Null, Cell::Null]);
    assert_eq!(nothing.maybe_int(0).unwrap(), None);
    assert_eq!(nothing.maybe_instant(0).unwrap(), None);
    assert_eq!(nothing.maybe_text(1).unwrap(), None);
    assert_eq!(nothing.maybe_json(1).unwrap(), None);
    assert_eq!(nothing.maybe_document(1).unwrap(), None);
    assert_eq!(nothing.maybe_name(1, |_| false).unwrap(), None);
    refused(nothing.int(0), "number");
    refused(nothing.instant(0), "number");
    refused(nothing.text(1), "text");
    refused(nothing.json(1), "text");
    refused(nothing.name(1, |_| true), "text");
    refused(nothing.bytes(1), "text");
}

#[test]
fn an_instant_that_no_calendar_has_is_refused() {
    let at = Instant::from_micros(1_764_000_000_000_000).unwrap();
    assert_eq!(number(at.micros()).instant(0).unwrap(), at);
    for micros in [i64::MIN, i64::MAX] {
        refused(number(micros).instant(0), "number");
        refused(number(micros).maybe_instant(0), "number");
    }
}

#[test]
fn json_is_checked_and_given_as_it_was_written() {
    for document in ["{}", "[1, 2]", "null", " {\"b\":1,  \"a\":2} ", "\"text\""] {
        assert_eq!(text(document).json(1).unwrap(), document);
        assert!(text(document).maybe_document(1).unwrap().is_some());
    }
    for wrong in ["", "{", "{}x", "nonsense"] {
        refused(text(wrong).json(1), "text");
        refused(text(wrong).maybe_document(1), "text");
    }
    assert_eq!(text("{\"a\":1}").json_object(1).unwrap(), "{\"a\":1}");
    for other in ["[]", "7", "null", "{"] {
        refused(text(other).json_object(1), "text");
    }
}

#[test]
fn names_are_those_that_are_known() {
    let is_known = |name: &str| ["open", "closed"].contains(&name);
    assert_eq!(text("open").name(1, is_known).unwrap(), "open");
    assert_eq!(text("open").decoded(1, |name| is_known(name).then_some(7)).unwrap(), 7);
    for other in ["", "Open", "open ", "paused"] {
        refused(text(other).name(1, is_known), "text");
        refused(text(other).maybe_name(1, is_known), "text");
        refused(text(other).decoded(1, |name| is_known(name).then_some(7)), "text");
    }
}

#[test]
fn a_column_that_is_not_there_is_an_error() {
    let row = row(&[Cell::Int(1)]);
    assert_eq!(row.width(), 1);
    refused(row.text(1), "text");
    refused(row.int(9), "");
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
        let row = Row::new(vec![Cell::Other], &query(sql));
        let StoreError::Undecodable { table: found, .. } = row.unreadable(0) else { panic!("{sql}") };
        assert_eq!(found, table, "{sql}");
    }
}

#[test]
fn cells_go_into_another_store_as_they_came() {
    let row =
        row(&[Cell::Int(7), Cell::Text("x".into()), Cell::Bytes(vec![0, 255]), Cell::Null, Cell::Other]);
    assert!(matches!(row.value(0).unwrap(), Value::Int(Some(7))));
    assert!(matches!(row.value(1).unwrap(), Value::Text(Some("x"))));
    assert!(matches!(row.value(2).unwrap(), Value::Bytes([0, 255])));
    assert!(matches!(row.value(3).unwrap(), Value::Text(None)));
    assert!(row.value(4).is_err() && row.value(5).is_err());
    assert_eq!(row.bytes(2).unwrap(), [0, 255]);
}
