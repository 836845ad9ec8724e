//! Numbers with their nouns.

/// A number and its noun: `1 row`, `3 rows`.
#[must_use]
pub fn format_count(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
