//! Counts as text for people, with thousands separators and plurals.

use std::fmt;

/// Formats a count with its noun: `1 row`, `3,156 rows`.
#[must_use]
pub fn format_count(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", format_number(count), if count == 1 { one } else { many })
}

/// Formats a number with thousands separators: `3,156`. Only for text that people read; JSON, CSV and metrics
/// print plain digits.
#[must_use]
pub fn format_number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Number of items that a list could show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListTotal {
    /// This many.
    Exactly(u64),
    /// More than this: counting stopped there.
    MoreThan(u64),
}

impl ListTotal {
    /// Describes how much of the list is shown: `10 of 1,180 shown`. Returns `None` if all of it is.
    #[must_use]
    pub fn describe_cut(self, shown: u64) -> Option<String> {
        let total = match self {
            Self::Exactly(total) if total <= shown => return None,
            Self::Exactly(total) => Self::Exactly(total),
            Self::MoreThan(counted) => Self::MoreThan(counted.max(shown)),
        };
        Some(format!("{} of {total} shown", format_number(shown)))
    }

    /// Returns the number that was counted.
    #[must_use]
    pub const fn counted(self) -> u64 {
        match self {
            Self::Exactly(count) | Self::MoreThan(count) => count,
        }
    }
}

/// Writes `1,180` or `more than 1,000`.
impl fmt::Display for ListTotal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if matches!(self, Self::MoreThan(_)) { "more than " } else { "" };
        write!(out, "{more}{}", format_number(self.counted()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_four_digits_and_more_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345, "12,345"),
            (123_456, "123,456"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(format_number(number), text);
        }
    }

    #[test]
    fn a_list_that_is_cut_says_of_how_many() {
        let cut = |total: ListTotal, shown| total.describe_cut(shown);
        assert_eq!(cut(ListTotal::Exactly(10), 10), None);
        assert_eq!(cut(ListTotal::Exactly(1_180), 10).as_deref(), Some("10 of 1,180 shown"));
        assert_eq!(cut(ListTotal::MoreThan(1_000), 10).as_deref(), Some("10 of more than 1,000 shown"));
        assert_eq!(cut(ListTotal::MoreThan(0), 10).as_deref(), Some("10 of more than 10 shown"));
    }

    #[test]
    fn only_one_is_singular() {
        assert_eq!(format_count(0, "row", "rows"), "0 rows");
        assert_eq!(format_count(1, "row", "rows"), "1 row");
        assert_eq!(format_count(3_156, "row", "rows"), "3,156 rows");
    }
}
