//! Cells of what a database answers, read strictly: what cannot be read is an error, and no number of its own.

use std::str::FromStr;

use sessionwatch_core::instant::Instant;

use super::error::TargetError;

/// A row as text.
pub(crate) type TextRow = Vec<Option<String>>;

/// Returns the number in a cell, or `None` for NULL. `what` names it in the error.
///
/// # Errors
///
/// If there is no such cell, or something else is in it.
pub(crate) fn number<T: FromStr>(
    row: &[Option<String>],
    at: usize,
    what: &'static str,
) -> Result<Option<T>, TargetError> {
    let undecodable = || TargetError::Undecodable(what);
    let Some(text) = row.get(at).ok_or_else(undecodable)? else { return Ok(None) };
    text.parse().map(Some).map_err(|_| undecodable())
}

/// Returns the number in a cell.
///
/// # Errors
///
/// If there is none.
pub(crate) fn required<T: FromStr>(
    row: &[Option<String>],
    at: usize,
    what: &'static str,
) -> Result<T, TargetError> {
    number(row, at, what)?.ok_or(TargetError::Undecodable(what))
}

/// Returns the number in the first cell of the only row.
///
/// # Errors
///
/// If there is none.
pub(crate) fn only<T: FromStr>(rows: &[Vec<Option<String>>], what: &'static str) -> Result<T, TargetError> {
    required(rows.first().ok_or(TargetError::Undecodable(what))?, 0, what)
}

/// Returns the instant of so many microseconds in a cell; `None` for NULL, and for one that is out of range.
///
/// # Errors
///
/// If something else is there.
pub(crate) fn instant(
    row: &[Option<String>],
    at: usize,
    what: &'static str,
) -> Result<Option<Instant>, TargetError> {
    Ok(number(row, at, what)?.and_then(Instant::from_micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_an_error_and_not_zero() {
        let row = [None, Some("7".to_owned()), Some("seven".to_owned())];
        assert_eq!(number::<u64>(&row, 0, "a count").unwrap(), None);
        assert_eq!(required::<u64>(&row, 1, "a count").unwrap(), 7);
        for at in [0, 2, 3] {
            let read = required::<u64>(&row, at, "a count");
            assert!(matches!(read, Err(TargetError::Undecodable("a count"))), "{at}");
        }
        assert!(only::<u64>(&[], "a count").is_err());
        assert_eq!(instant(&[Some(i64::MAX.to_string())], 0, "an end").unwrap(), None);
    }
}
