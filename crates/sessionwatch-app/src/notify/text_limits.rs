//! Truncates and escapes texts to what a service accepts.

use sha2::{Digest as _, Sha256};

/// Truncates a text to `most` UTF-16 units, the unit in which services count, and ends it with `…` if cut.
pub(super) fn truncate_utf16(text: &str, most: usize) -> String {
    let mut left = most.saturating_sub(1);
    if text.encode_utf16().count() <= most {
        return text.to_owned();
    }
    let fits = |letter: &char| {
        let rest = left.checked_sub(letter.len_utf16());
        left = rest.unwrap_or(0);
        rest.is_some()
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// Shortens a name to `most` UTF-16 units and keeps it unique: a long name becomes its start, `~` and a hash of the
/// whole name.
pub(crate) fn bounded_key(name: &str, most: usize) -> String {
    // `~` and 16 hex digits.
    const HASH_SUFFIX_LEN: usize = 17;
    if name.encode_utf16().count() <= most {
        return name.to_owned();
    }
    // The ellipsis that truncating adds is removed below, so its unit is free.
    let start = truncate_utf16(name, most.saturating_sub(HASH_SUFFIX_LEN) + 1);
    format!(
        "{}~{}",
        start.trim_end_matches('…'),
        &const_hex::encode(Sha256::digest(name))[..HASH_SUFFIX_LEN - 1]
    )
}

/// Returns the body with the longest start of `text` found that keeps it within `most` bytes.
pub(super) fn fit_to_bytes(text: &str, most: usize, body: impl Fn(&str) -> String) -> String {
    // Escapes and multi-byte characters make the size of the body unpredictable, so it is built until it fits.
    let mut length = text.encode_utf16().count().min(most);
    loop {
        let body = body(&truncate_utf16(text, length));
        if body.len() <= most || length == 0 {
            return body;
        }
        // By a quarter: few steps even for large texts, and little is lost.
        length = length * 3 / 4;
    }
}

/// Escapes each character in `marks` with a backslash.
pub(super) fn escape_markdown(text: &str, marks: &str) -> String {
    let mark = |letter: char| marks.contains(letter).then_some('\\');
    text.chars().flat_map(|letter| mark(letter).into_iter().chain([letter])).collect()
}

#[cfg(test)]
mod tests;
