//! Cutting what looks like a secret to its first characters, before a text is stored or shown.

use std::{fmt::Write as _, sync::LazyLock};

use regex::{Captures, Regex};

use crate::{pairs::uncoloured, signal::PREFIX};

/// What looks like a secret, each with the part that is kept in group `keep`.
static SECRETS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let expressions = [
        // A password in an address: nothing of it is kept.
        r"(?P<before>\b[A-Za-z][A-Za-z0-9+.-]*://[^\s:/@'\x22]*:)(?P<all>[^\s@'\x22]+)(?P<after>@)",
        // Whatever stands under a name that says it is secret.
        r"(?i)(?P<before>[\w.-]*(?:password|passwd|pwd|secret|api[_-]?key)[\w.-]*['\x22]?\s*[:=]\s*['\x22]?)(?P<all>[^\s'\x22,;}]+)(?P<after>)",
        r"(?i)(?P<before>\b(?:bearer|basic)\s+)(?P<keep>[A-Za-z0-9._~+/=-]{9,})(?P<after>)",
        r"(?i)(?P<before>(?:token|session[_-]?id|\bsid|\bcode|nonce|state|verifier|jwt|auth)['\x22]?\s*[:=]\s*['\x22]?)(?P<keep>[^\s'\x22,;}&]{9,})(?P<after>)",
        // Every value of a cookie.
        r"(?P<before>\b(?:__Secure-|__Host-)?[A-Za-z][\w.-]*(?:session|token|auth|sid)[\w.-]*=)(?P<keep>[^\s'\x22,;]{9,})(?P<after>)",
        r"(?P<before>\b)(?P<keep>eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)*)(?P<after>)",
        r"(?i)(?P<before>\b)(?P<keep>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(?P<after>)",
    ];
    expressions.iter().filter_map(|text| Regex::new(text).ok()).collect()
});
/// The shortest run of characters that looks drawn by chance.
const RANDOM: usize = 20;

/// A text that may be stored and shown: of at most so many characters, on one line, without anything that looks like a
/// whole token, cookie, JWT or password.
#[must_use]
pub fn text(bytes: &[u8], longest: usize) -> String {
    let plain = uncoloured(bytes);
    // What is cut off first cannot leave half of what is to be found.
    let near = &plain[..plain.len().min(longest.saturating_mul(4).saturating_add(4_096))];
    let mut said = String::from_utf8_lossy(near).into_owned();
    for secret in SECRETS.iter() {
        said = secret
            .replace_all(&said, |found: &Captures<'_>| {
                let group = |name: &str| found.name(name).map_or("", |part| part.as_str());
                format!("{}{}{}", group("before"), kept(group("keep")), group("after"))
            })
            .into_owned();
    }
    let mut short = String::with_capacity(said.len().min(longest));
    let words = said.split_inclusive(|letter: char| !is_part(letter));
    for word in words {
        let bare = word.trim_end_matches(|letter: char| !is_part(letter));
        let end = &word[bare.len()..];
        // Writing to a String cannot fail.
        let _ =
            if looks_random(bare) { write!(short, "{}{end}", kept(bare)) } else { write!(short, "{word}") };
    }
    let one_line =
        short.split(|letter: char| letter.is_control()).map(str::trim).collect::<Vec<_>>().join(" ");
    match one_line.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &one_line[..end]),
        None => one_line,
    }
}

fn is_part(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '+' | '/' | '=' | '%' | '~')
}

fn kept(secret: &str) -> String {
    let bare = secret.trim_end_matches(['.', '\u{2026}']);
    if bare.chars().count() <= PREFIX && !secret.is_empty() {
        return secret.to_owned();
    }
    let end = secret.char_indices().nth(PREFIX).map_or(secret.len(), |(end, _)| end);
    format!("{}…", &secret[..end])
}

/// Whether a word looks as if it was drawn by chance: long, of one piece, and with digits among its letters.
fn looks_random(word: &str) -> bool {
    let piece = word.split(['/', '=', '%']).max_by_key(|piece| piece.len()).unwrap_or_default();
    let digits = piece.bytes().filter(u8::is_ascii_digit).count();
    let letters = piece.bytes().filter(u8::is_ascii_alphabetic).count();
    let upper = piece.bytes().filter(u8::is_ascii_uppercase).count();
    let mixed = digits >= 2 && letters >= 2 || upper >= 4 && letters - upper >= 4 && digits >= 1;
    let long_mixed = piece.len() >= 32 && upper >= 4 && letters - upper >= 4;
    // A time is long and has digits too, but no letters besides these.
    let time = word.bytes().all(|byte| !byte.is_ascii_alphabetic() || matches!(byte, b'T' | b'Z'));
    piece.len() >= RANDOM && (mixed || long_mixed) && !time
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_cut_and_the_rest_stays() {
        for (line, expected) in [
            (
                "nothing to hide: user 7 at 2026-11-25T12:00:00.000Z",
                "nothing to hide: user 7 at 2026-11-25T12:00:00.000Z",
            ),
            ("sessionToken: 'f47ac10b-58cc-4372-a567-0e02b2c3d479'", "sessionToken: 'f47ac10b…'"),
            ("sessionToken: 'f47ac10b...'", "sessionToken: 'f47ac10b...'"),
            (
                "Cookie: __Secure-authjs.session-token=f47ac10b58cc4372a567; theme=dark",
                "Cookie: __Secure-authjs.session-token=f47ac10b…; theme=dark",
            ),
            ("Authorization: Bearer abcdefghijklmnop", "Authorization: Bearer abcdefgh…"),
            ("postgres://app:hunter2@db/x", "postgres://app:…@db/x"),
            ("password=hunter2 next", "password=… next"),
            ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln end", "jwt eyJhbGci… end"),
            ("got 9f86d081884c7d659a2feaa0c55ad015 back", "got 9f86d081… back"),
            ("at 1013-12-25b-58cc-4372-a567-0e02b2c3d479 end", "at 1013-12-… end"),
            ("got Zk3vQ9xLmP2rT8wYbN4c back", "got Zk3vQ9xL… back"),
            ("a\x1b[31mred\x1b[0m\nline\0", "ared line"),
            (
                "an internationalisation-of-everything path/to/some/very/long/file",
                "an internationalisation-of-everything path/to/some/very/long/file",
            ),
        ] {
            assert_eq!(text(line.as_bytes(), 200).trim(), expected, "{line}");
        }
        assert_eq!(text("aé".repeat(50).as_bytes(), 5), "aéaéa…");
    }

    #[test]
    fn every_expression_can_be_read() {
        assert_eq!(SECRETS.len(), 7);
    }
}
