//! Helpers for texts that people read.

/// Returns the text with an upper-case first letter.
#[must_use]
pub fn capitalize_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
