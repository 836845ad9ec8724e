//! Texts no longer, and no other, than a service takes.

use sha2::{Digest as _, Sha256};

/// The start of a text, where a channel takes no more than that. Services count in units of UTF-16.
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

/// A name that is no longer than that, and no other's: the start of a long one and a hash of all of it.
pub(crate) fn bounded_key(name: &str, most: usize) -> String {
    const HASH_SUFFIX_LEN: usize = 17;
    if name.encode_utf16().count() <= most {
        return name.to_owned();
    }
    let start = truncate_utf16(name, most.saturating_sub(HASH_SUFFIX_LEN) + 1);
    format!(
        "{}~{}",
        start.trim_end_matches('…'),
        &const_hex::encode(Sha256::digest(name))[..HASH_SUFFIX_LEN - 1]
    )
}

/// The body with as much of a text as fits into so many bytes.
pub(super) fn fit_to_bytes(text: &str, most: usize, body: impl Fn(&str) -> String) -> String {
    let mut length = text.encode_utf16().count().min(most);
    loop {
        let body = body(&truncate_utf16(text, length));
        if body.len() <= most || length == 0 {
            return body;
        }
        length = length * 3 / 4;
    }
}

/// The text with a backslash before each of these letters, which are marks of Markdown.
pub(super) fn escape_markdown(text: &str, marks: &str) -> String {
    let mark = |letter: char| marks.contains(letter).then_some('\\');
    text.chars().flat_map(|letter| mark(letter).into_iter().chain([letter])).collect()
}
