//! Tests that a planned row is decoded strictly: a wrong one could end another session.

use super::*;

/// Cells of a planned row as the server returns them.
const CELLS: [Option<&str>; 9] = [
    Some("(3,7)"),
    Some("731"),
    Some("id'1"),
    Some("-9223372036854775808"),
    Some("abcd"),
    Some("ada"),
    Some("1795953600000000"),
    Some("1"),
    Some("-7"),
];

fn row(cells: &[Option<&str>]) -> TextRow {
    cells.iter().map(|cell| cell.map(str::to_owned)).collect()
}

fn row_with(at: usize, cell: Option<&str>) -> TextRow {
    let mut cells = CELLS;
    cells[at] = cell;
    row(&cells)
}

#[test]
fn every_cell_of_a_planned_row_is_read() {
    let expected = RowRef {
        locator: 3 << 16 | 7,
        version: 731,
        row_hash: i64::MIN,
        id: Some("id'1".into()),
        token_fingerprint: Some(-7),
        token_prefix: Some("abcd".into()),
        user: Some("ada".into()),
        expires_us: Some(1_795_953_600_000_000),
        active: true,
    };
    assert_eq!(parse_planned_row(&row(&CELLS)).unwrap(), expected);
    let bare = [None, Some("0"), None, Some("5"), None, None, None, Some("0"), None];
    let expected = RowRef { row_hash: 5, ..RowRef::default() };
    assert_eq!(parse_planned_row(&row(&bare)).unwrap(), expected);
    let negative = parse_planned_row(&row_with(0, Some("-3"))).unwrap();
    assert_eq!(negative.locator, (-3_i64).cast_unsigned(), "row numbers of SQLite are signed");
}

#[test]
fn a_damaged_or_missing_cell_is_an_error_and_never_zero() {
    for (at, damaged) in [
        (0, vec!["", "(3)", "(3,7", "(x,7)", "(3,-7)", "9223372036854775808", " 3"]),
        (1, vec!["", "x", "1.0", "9223372036854775808"]),
        (3, vec!["", "x", "0x10", "-9223372036854775809"]),
        (6, vec!["", "never", "1e9", "infinity"]),
        (8, vec!["", "x", "18446744073709551615"]),
    ] {
        for cell in damaged {
            let read = parse_planned_row(&row_with(at, Some(cell)));
            assert!(matches!(read, Err(TargetError::Undecodable(_))), "{at} {cell:?}: {read:?}");
        }
    }
    for at in [1, 3] {
        assert!(parse_planned_row(&row_with(at, None)).is_err(), "NULL in column {at}");
    }
    for width in 0..CELLS.len() {
        assert!(parse_planned_row(&row(&CELLS[..width])).is_err(), "{width} columns");
    }
}

#[test]
fn only_a_one_means_that_a_session_is_active() {
    for (cell, expected) in [(Some("1"), true), (Some("0"), false), (None, false)] {
        assert_eq!(parse_planned_row(&row_with(7, cell)).unwrap().active, expected, "{cell:?}");
    }
}

#[test]
fn a_present_row_needs_its_hash() {
    let read = |cells: &[Option<&str>]| PresentRow::from_row(&row(cells));
    let present = read(&[Some("-5"), Some("a")]).unwrap();
    assert_eq!(present, PresentRow { row_hash: -5, id: Some("a".into()) });
    assert_eq!(read(&[Some("5"), None]).unwrap().id, None);
    for cells in [&[][..], &[None, Some("a")], &[Some(""), Some("a")], &[Some("a"), Some("5")]] {
        assert!(matches!(read(cells), Err(TargetError::Undecodable(_))), "{cells:?}");
    }
}
