//! Token prefixes: the only part of a token that may be shown, logged or stored.

/// Maximum length of a token prefix, in characters.
pub const MAX_PREFIX_CHARS: usize = 8;
/// A token prefix is at most the token's length divided by this number.
pub const PREFIX_DIVISOR: usize = 3;

/// Returns the length of the prefix of a token with `length` characters.
#[must_use]
pub const fn prefix_length(length: usize) -> usize {
    if length / PREFIX_DIVISOR < MAX_PREFIX_CHARS { length / PREFIX_DIVISOR } else { MAX_PREFIX_CHARS }
}

/// Returns the prefix of a token.
#[must_use]
pub fn token_prefix(token: &str) -> &str {
    let length = prefix_length(token.chars().count());
    token.char_indices().nth(length).map_or(token, |(end, _)| &token[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_prefix_is_no_more_than_a_third_of_its_token() {
        for (token, expected) in [
            ("", ""),
            ("42", ""),
            ("PIN42", "P"),
            ("1234567890", "123"),
            ("äöüäöüä", "äö"),
            ("f47ac10b58cc4372a567abc", "f47ac10"),
            ("f47ac10b-58cc-4372-a567-0e02b2c3d479", "f47ac10b"),
        ] {
            assert_eq!(token_prefix(token), expected, "{token}");
        }
    }

    proptest! {
        /// Two thirds of a token stay secret, whatever its characters.
        #[test]
        fn a_prefix_begins_the_token_and_reveals_at_most_a_third(token in any::<String>()) {
            let prefix = token_prefix(&token);
            let (shown, all) = (prefix.chars().count(), token.chars().count());
            prop_assert!(token.starts_with(prefix));
            prop_assert!(shown * PREFIX_DIVISOR <= all && shown <= MAX_PREFIX_CHARS);
            prop_assert_eq!(shown, prefix_length(all));
        }
    }
}
