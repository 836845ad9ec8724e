//! Tokens without a key: arguments of functions that take a session token, and values after `sid`.

use crate::redact::is_likely_random;

/// Functions of adapters and libraries whose first argument is a session token.
const TOKEN_FUNCTIONS: [&[u8]; 8] = [
    b"getsessionanduser",
    b"getsessionbytoken",
    b"deletesession",
    b"updatesession",
    b"findsession",
    b"validatesession",
    b"validatesessiontoken",
    b"invalidatesession",
];
/// Words that may appear between the function name and the token.
const FILLER_WORDS: [&[u8]; 11] = [
    b"args",
    b"arg",
    b"params",
    b"called",
    b"call",
    b"with",
    b"for",
    b"token",
    b"sessiontoken",
    b"session",
    b"sid",
];
/// Number of bytes after the name within which the token must begin.
const TOKEN_SEARCH_BYTES: usize = 64;

/// Returns the token argument of a call. `at` is any offset in the function name.
pub(crate) fn find_call_argument(message: &[u8], at: usize, complete: bool) -> Option<&[u8]> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let before = message[..at].iter().rev().take_while(|byte| is_name(**byte)).count();
    let end = at + message[at..].iter().position(|byte| !is_name(*byte)).unwrap_or(message.len() - at);
    let name = normalize_name(&message[at - before..end]);
    let name = name.strip_prefix(b"adapter").unwrap_or(&name);
    if !TOKEN_FUNCTIONS.contains(&name) {
        return None;
    }
    find_bare_token(message, end, complete)
}

/// Returns the session id after the `sid` at offset `at`, if the text mentions a session before it. Elsewhere, `sid`
/// may mean other things.
pub(crate) fn find_session_id(message: &[u8], at: usize, complete: bool) -> Option<&[u8]> {
    let before = &message[..at];
    let is_word = before.last().is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
    let mentions_session = before.windows("session".len()).any(|word| word.eq_ignore_ascii_case(b"session"));
    if !is_word || !mentions_session {
        return None;
    }
    find_bare_token(message, at + "sid".len(), complete)
}

/// Returns the next word after punctuation and filler words, if it looks like a full token.
fn find_bare_token(message: &[u8], from: usize, complete: bool) -> Option<&[u8]> {
    let mut at = from;
    while at - from < TOKEN_SEARCH_BYTES {
        let skipped = message.get(at..)?.iter().position(|byte| {
            let is_space = byte.is_ascii_whitespace() && *byte != b'\n';
            !is_space && !b":('\"`=[->,".contains(byte)
        });
        at += skipped?;
        let word = &message[at..];
        let length = word.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(word.len());
        let (word, after) = word.split_at(length);
        if FILLER_WORDS.contains(&normalize_name(word).as_slice()) && !word.is_empty() {
            at += length;
            continue;
        }
        // Base64 may have padding.
        let filled = after.iter().take_while(|byte| **byte == b'=').count();
        let ends = match after.get(filled) {
            None => complete,
            Some(byte) => byte.is_ascii_whitespace() || b"'\"`)],;}".contains(byte),
        };
        let text = std::str::from_utf8(word).ok()?;
        // Dots at the end mean that the token was cut.
        return (ends
            && !text.ends_with("..")
            && !after.starts_with("…".as_bytes())
            && is_likely_random(text))
        .then_some(word);
    }
    None
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-+/.~%|".contains(&byte)
}

/// Lowercases a name and keeps only letters and digits.
fn normalize_name(name: &[u8]) -> Vec<u8> {
    name.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0b8f2f6e-5a0c-4c69-9f0e-6f1a2f2f9d11";

    fn found(text: &str, needle: &str) -> bool {
        let text = text.replace('#', TOKEN);
        let at = text.find(needle).unwrap();
        let found = match needle {
            "sid" => find_session_id(text.as_bytes(), at, true),
            _ => find_call_argument(text.as_bytes(), at, true),
        };
        found == Some(TOKEN.as_bytes())
    }

    #[test]
    fn finds_tokens_after_function_names_and_sid() {
        for text in [
            "getSessionAndUser #",
            "adapter.getSessionAndUser('#')",
            "deleteSession: #",
            "deleteSession [ '#' ]",
            "DEBUG delete_session called with token=#",
            "updateSession # { expires: 1 }",
            "validateSessionToken(\"#\")",
            "adapter_deleteSession args: ['#']",
            r##"{"level":20,"msg":"getSessionAndUser","args":["#"]}"##,
            r##"{"fn":"deleteSession","token":"#"}"##,
        ] {
            let needle = if text.contains("_session") { "_session" } else { "Session" };
            assert!(found(text, needle), "{text}");
        }
        for text in ["Deleting session with sid: #", "session expired sid=#", "session { sid: '#' }"] {
            assert!(found(text, "sid"), "{text}");
        }
    }

    #[test]
    fn ignores_other_values() {
        for text in [
            "getSessionAndUser { sessionToken: '#' }",
            "deleteSession for user #",
            "deleteSession, request #",
            "deleteSession id #",
            "listSessions #",
            "deleteSession 0b8f2f6e...",
            "deleteSession completed-successfully-without-errors",
            "deleteSession 17",
            "deleteSession\n#",
        ] {
            assert!(!found(text, "Session"), "{text}");
        }
        for text in [
            "GET /socket.io/?EIO=4&sid=#",
            "call sid: #",
            "session token uses sid: short",
            "session inside: #",
        ] {
            assert!(!found(text, "sid"), "{text}");
        }
    }
}
