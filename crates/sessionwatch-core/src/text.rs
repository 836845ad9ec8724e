//! Helpers for texts that people read.

/// Names users by their IDs: `user 7`, `users 2 and 9`. Returns `None` without users.
#[must_use]
pub fn name_users(ids: &[&str]) -> Option<String> {
    match ids {
        [] => None,
        [only] => Some(format!("user {only}")),
        several => Some(format!("users {}", several.join(" and "))),
    }
}

/// Returns the text with an upper-case first letter.
#[must_use]
pub fn capitalize_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
