//! Tests that generated secrets are never shown, wherever they stand in a line.

use proptest::prelude::*;

use super::*;

/// Places of a token in a line, as `#`.
const TOKEN_PLACES: [&str; 12] = [
    "got # back",
    "sessionToken: '#'",
    r##"{"sessionToken":"#","userId":7}"##,
    "Cookie: authjs.session-token=#; Path=/",
    "GET /callback?token=#&next=%2F HTTP/1.1",
    "Authorization: Bearer #",
    "Error: no session for #\n    at read (app.js:1:2)",
    r##"{"raw":"{\"token\":\"#\"}"}"##,
    "Key (session_token)=(#) already exists.",
    "<td>#</td>",
    "\u{1b}[31m#\u{1b}[0m",
    "a=1,sid=#;b=2",
];

/// Keys whose values are secrets.
const SECRET_KEYS: [&str; 7] =
    ["password", "userPassword", "passwd", "api_key", "client_secret", "accessKey", "passphrase"];

/// Returns the part of a token that must not be shown.
fn secret_part(token: &str) -> &str {
    &token[token_prefix::MAX_PREFIX_CHARS + 2..]
}

proptest! {
    #[test]
    fn a_token_of_any_usual_form_is_cut(
        hex in "[0-9][0-9a-f]{15}[0-9][0-9a-f]{15}",
        uuid in "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9][0-9a-f]{11}",
        place in prop::sample::select(TOKEN_PLACES.to_vec()),
    ) {
        for token in [hex.as_str(), &uuid, &hex.to_uppercase()] {
            let line = place.replace('#', token);
            let shown = redact_text(line.as_bytes(), 1_000);
            prop_assert!(!shown.contains(secret_part(token)), "{}: {}", line, shown);
        }
    }

    #[test]
    fn the_value_of_a_secret_key_is_removed_as_a_whole(
        secret in "[a-z]{6,12}",
        key in prop::sample::select(SECRET_KEYS.to_vec()),
    ) {
        for line in [
            format!("{key}={secret}"),
            format!("{key}: {secret} and more {secret}"),
            format!("{{ {key}: '{secret}' }}"),
            format!(r#"{{"{key}":"{secret}","n":1}}"#),
            format!(r#"{{"raw":"{{\"{key}\":\"{secret}\"}}"}}"#),
            format!("{key}%3D{secret}"),
        ] {
            let shown = redact_text(line.as_bytes(), 1_000);
            // A short word may be part of the key.
            prop_assert!(key.contains(&secret) || !shown.contains(&secret), "{}: {}", line, shown);
        }
    }

    #[test]
    fn any_text_becomes_one_line_of_limited_length(
        bytes in any::<Vec<u8>>(),
        text in any::<String>(),
        limit in 0_usize..300,
    ) {
        for input in [&bytes[..], text.as_bytes()] {
            let shown = redact_text(input, limit);
            prop_assert!(shown.chars().count() <= limit + 1, "{:?}", shown);
            prop_assert!(!shown.contains(|letter: char| letter.is_control()), "{:?}", shown);
        }
    }

    /// Redacting what is shown already shows nothing new and hides nothing more.
    #[test]
    fn a_secret_stays_hidden_after_another_pass(
        hex in "[0-9][0-9a-f]{31}",
        place in prop::sample::select(TOKEN_PLACES.to_vec()),
    ) {
        let once = redact_text(place.replace('#', &hex).as_bytes(), 1_000);
        let twice = redact_text(once.as_bytes(), 1_000);
        prop_assert!(!twice.contains(secret_part(&hex)), "{}", twice);
        prop_assert!(twice.chars().count() <= once.chars().count() + 1, "{}: {}", once, twice);
    }
}

#[test]
fn a_secret_is_hidden_at_every_position_of_a_cut() {
    let token = "f47ac10b58cc4372a5670e02b2c3d479";
    for length in 0..200 {
        let line = format!("{} {token} end", "word ".repeat(length / 5 + 1));
        for limit in [length, 200] {
            let shown = redact_text(line.as_bytes(), limit);
            assert!(!shown.contains(&token[9..]), "{length} {limit}: {shown}");
        }
    }
    // A token across the part that is examined at all.
    for before in 4_080..4_110 {
        let line = format!("{}{token}", " ".repeat(before));
        let shown = redact_text(line.as_bytes(), 10_000);
        assert!(!shown.contains(&token[9..]), "{before}: {shown}");
        let shown = redact_text(line.as_bytes(), 5);
        assert!(!shown.contains(&token[9..]), "{before}: {shown}");
    }
}
