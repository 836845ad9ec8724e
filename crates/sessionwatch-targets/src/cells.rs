//! Strict decoding of result cells: an undecodable cell is an error, never a default.

use std::str::FromStr;

use sessionwatch_core::timestamp::UtcTimestamp;

use super::error::TargetError;

/// A row of text cells.
pub(crate) type TextRow = Vec<Option<String>>;

/// Returns the number in a cell, or `None` for NULL. `what` names the value in the error.
///
/// # Errors
///
/// If the cell is missing or holds no number.
pub(crate) fn parse_number<T: FromStr>(
    row: &[Option<String>],
    column: usize,
    what: &'static str,
) -> Result<Option<T>, TargetError> {
    let undecodable = || TargetError::Undecodable(what);
    // A missing cell is an error, unlike NULL: the query and its reader disagree.
    let Some(text) = row.get(column).ok_or_else(undecodable)? else { return Ok(None) };
    text.parse().map(Some).map_err(|_| undecodable())
}

/// Returns the number in a cell.
///
/// # Errors
///
/// If the cell is missing, NULL or no number.
pub(crate) fn parse_required_number<T: FromStr>(
    row: &[Option<String>],
    column: usize,
    what: &'static str,
) -> Result<T, TargetError> {
    parse_number(row, column, what)?.ok_or(TargetError::Undecodable(what))
}

/// Returns the row of a query that always yields one.
///
/// # Errors
///
/// If there is no row.
pub(crate) fn only_row<'a>(rows: &'a [TextRow], what: &'static str) -> Result<&'a TextRow, TargetError> {
    rows.first().ok_or(TargetError::Undecodable(what))
}

/// Returns the number in the first cell of the only row.
///
/// # Errors
///
/// If there is no such row, or the cell holds no number.
pub(crate) fn parse_only_number<T: FromStr>(rows: &[TextRow], what: &'static str) -> Result<T, TargetError> {
    parse_required_number(only_row(rows, what)?, 0, what)
}

/// Returns the number in the first cell of the first row, or `None` for NULL and without a row.
///
/// # Errors
///
/// If the cell holds no number.
pub(crate) fn parse_only_optional_number<T: FromStr>(
    rows: &[TextRow],
    what: &'static str,
) -> Result<Option<T>, TargetError> {
    rows.first().map_or(Ok(None), |row| parse_number(row, 0, what))
}

/// Returns the text in a cell.
///
/// # Errors
///
/// If the cell is missing or NULL.
pub(crate) fn required_text<'a>(
    row: &'a [Option<String>],
    column: usize,
    what: &'static str,
) -> Result<&'a str, TargetError> {
    row.get(column).and_then(Option::as_deref).ok_or(TargetError::Undecodable(what))
}

/// Returns the truth value in a cell, which PostgreSQL writes as `t` or `f`.
///
/// # Errors
///
/// If the cell is missing, NULL or something else.
pub(crate) fn parse_flag(
    row: &[Option<String>],
    column: usize,
    what: &'static str,
) -> Result<bool, TargetError> {
    match required_text(row, column, what)? {
        "t" => Ok(true),
        "f" => Ok(false),
        _ => Err(TargetError::Undecodable(what)),
    }
}

/// Returns the time given in a cell as microseconds since the epoch, or `None` for NULL and for a time out of
/// range.
///
/// # Errors
///
/// If the cell is missing or holds no number.
pub(crate) fn parse_timestamp(
    row: &[Option<String>],
    column: usize,
    what: &'static str,
) -> Result<Option<UtcTimestamp>, TargetError> {
    Ok(parse_number(row, column, what)?.and_then(UtcTimestamp::from_micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_without_a_number_is_an_error_and_not_zero() {
        let row = [None, Some("7".to_owned()), Some("seven".to_owned())];
        assert_eq!(parse_number::<u64>(&row, 0, "a count").unwrap(), None);
        assert_eq!(parse_required_number::<u64>(&row, 1, "a count").unwrap(), 7);
        for at in [0, 2, 3] {
            let read = parse_required_number::<u64>(&row, at, "a count");
            assert!(matches!(read, Err(TargetError::Undecodable("a count"))), "{at}");
        }
        assert!(parse_only_number::<u64>(&[], "a count").is_err());
        for at in [0, 1, 3] {
            assert!(parse_flag(&row, at, "a privilege").is_err(), "{at}");
        }
        assert!(parse_flag(&[Some("t".to_owned())], 0, "a privilege").unwrap());
        assert_eq!(parse_timestamp(&[Some(i64::MAX.to_string())], 0, "an end").unwrap(), None);
    }
}
