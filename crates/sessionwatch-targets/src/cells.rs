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

/// Returns the number in the first cell of the only row.
///
/// # Errors
///
/// If there is no such row, or the cell holds no number.
pub(crate) fn parse_only_number<T: FromStr>(
    rows: &[Vec<Option<String>>],
    what: &'static str,
) -> Result<T, TargetError> {
    parse_required_number(rows.first().ok_or(TargetError::Undecodable(what))?, 0, what)
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
        assert_eq!(parse_timestamp(&[Some(i64::MAX.to_string())], 0, "an end").unwrap(), None);
    }
}
