//! Cells of what a database answers, read strictly: what cannot be read is an error, and no number of its own.

use std::str::FromStr;

use sessionwatch_core::timestamp::UtcTimestamp;

use super::error::TargetError;

/// A row as text.
pub(crate) type TextRow = Vec<Option<String>>;

/// Returns the number in a cell, or `None` for NULL. `what` names it in the error.
///
/// # Errors
///
/// If there is no such cell, or something else is in it.
pub(crate) fn parse_number<T: FromStr>(
    row: &[Option<String>],
    column: usize,
    what: &'static str,
) -> Result<Option<T>, TargetError> {
    let undecodable = || TargetError::Undecodable(what);
    let Some(text) = row.get(column).ok_or_else(undecodable)? else { return Ok(None) };
    text.parse().map(Some).map_err(|_| undecodable())
}

/// Returns the number in a cell.
///
/// # Errors
///
/// If there is none.
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
/// If there is none.
pub(crate) fn parse_only_number<T: FromStr>(
    rows: &[Vec<Option<String>>],
    what: &'static str,
) -> Result<T, TargetError> {
    parse_required_number(rows.first().ok_or(TargetError::Undecodable(what))?, 0, what)
}

/// Returns the instant of so many microseconds in a cell; `None` for NULL, and for one that is out of range.
///
/// # Errors
///
/// If something else is there.
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
    fn what_is_no_number_is_an_error_and_not_zero() {
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
