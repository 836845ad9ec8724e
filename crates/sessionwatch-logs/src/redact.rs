//! Redaction of text before it is shown: anything that looks like a secret is cut to a prefix. Log events never store
//! text of a line; this is for lines that a person asks to see.
//!
//! First the text is normalized: invisible characters are removed, escapes and percent-encoding resolved. Then values
//! of secret keys, credentials of known forms, byte arrays and words that look random are cut.

use std::{borrow::Cow, fmt::Write as _, sync::LazyLock};

use regex::{Captures, Regex};
use sessionwatch_core::token_prefix;

use crate::key_values::{strip_ansi, unescape_text};

/// Shown instead of a text that cannot be redacted.
const WITHHELD_TEXT: &str = "(withheld)";
/// Credentials of known forms. Of the group `keep`, a token prefix is shown.
const CREDENTIAL_FORMS: [&str; 9] = [
    // User and password of an address, up to its last `@`.
    r"(?P<before>\b[A-Za-z][A-Za-z0-9+.-]*://)\S*(?P<after>@)",
    r"(?i)(?P<before>\b(?:authorization|cookies?)['\x22]?\s*[:=]\s*)[^\n]+",
    r"(?i)(?P<before>\b(?:bearer|basic|digest)\s+)(?P<keep>[A-Za-z0-9._~+/=:-]{6,})",
    r"(?i)(?P<before>\b(?:token|session|sid|key|jwt|nonce)\s+(?:is\s+|was\s+)?)(?P<keep>\S*\d\S{5,})",
    r"\b(?P<keep>eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)*)",
    // Text after a word for a secret in prose.
    r"(?im)(?P<before>(?:^|[\s'\x22(\[{])(?:pass(?:word|phrase|code|wd)|[\w-]*api[_-]?key|authorization|secret|pin|otp)\s+)[^\s:=][^\n]*",
    r"(?i)(?P<before><buffer)[^>]*",
    // Bytes as decimal or hexadecimal numbers.
    r"\b\d{1,3}(?:\s*,\s*\d{1,3}\b){5,}",
    r"\b0x[0-9a-fA-F]{1,2}(?:[\s,:]+0x[0-9a-fA-F]{1,2}\b){3,}",
];
/// All expressions; `None` if one of them does not compile.
static REDACTION_EXPRESSIONS: LazyLock<Option<Expressions>> = LazyLock::new(|| Expressions::compile().ok());

/// The expressions of redaction. They exist together or not at all, so that no text is redacted in part.
struct Expressions {
    /// Keys whose values are never shown, not even in part.
    secret_keys: Regex,
    /// Keys of whose values a token prefix is shown.
    token_keys: Regex,
    credential_forms: Vec<Regex>,
    /// HTML character references.
    html_entity: Regex,
    /// Consecutive short groups of hexadecimal digits.
    hex_groups: Regex,
    /// Dates, times and IP addresses, which have many digits but are no secrets.
    time_or_ip: Regex,
}

impl Expressions {
    fn compile() -> Result<Self, regex::Error> {
        let secrets =
            r"pass(?:word|wd|phrase|code)|pwd|secret|api[_-]?key|private[_-]?key|access[_-]?key|totp";
        let short = r"\b(?:pass|pin|otp|cvv|cvc|tan)|[_-](?:pin|otp)";
        let tokens =
            r"token|sess(?:ion)?[_-]?id|sid|\bcode|nonce|state|verifier|jwt|auth|session|signature|\bsig";
        let time = r"\d{2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?";
        Ok(Self {
            secret_keys: Regex::new(&format!(
                r#"(?i)(?:[\w.-]*(?:{secrets})[\w.-]*|{short})(?:\\*['"`])?\s*[:=]\s*"#
            ))?,
            token_keys: Regex::new(&format!(r#"(?i)[\w.-]*(?:{tokens})(?:\\*['"`])?\s*[:=]\s*"#))?,
            credential_forms: CREDENTIAL_FORMS.into_iter().map(Regex::new).collect::<Result<_, _>>()?,
            html_entity: Regex::new(
                r"&(?:#(?P<decimal>\d{1,7})|#[xX](?P<hex>[0-9a-fA-F]{1,6})|(?P<name>quot|apos|amp|lt|gt));",
            )?,
            hex_groups: Regex::new(r"(?i)\b[0-9a-f]{2,8}(?:[^0-9A-Za-z.-]{1,3}[0-9a-f]{2,8}\b){3,}")?,
            time_or_ip: Regex::new(&format!(
                r"^(?:\d{{4}}-\d{{2}}-\d{{2}}(?:[T ]{time})?|{time}|\d{{1,3}}(?:\.\d{{1,3}}){{3}}(?::\d{{1,5}})?)$"
            ))?,
        })
    }
}

/// Maximum number of decoding passes, against nested encodings.
const MAX_DECODE_PASSES: usize = 3;
/// Minimum length of hexadecimal digits, decimal digits and letters that look random.
const MIN_RANDOM_HEX_CHARS: usize = 16;
const MIN_RANDOM_DIGITS: usize = 14;
const MIN_RANDOM_LETTERS: usize = 25;
/// Minimum length of letters that look random, and the number of consecutive consonants they must have.
const CONSONANT_RUN_LIMITS: (usize, usize) = (16, 5);
/// Minimum length of a mixed word that looks random, and the number of changes between letters and digits it must
/// have.
const MIXED_WORD_LIMITS: (usize, usize) = (12, 4);
/// Minimum length of a word whose mix of upper and lower case looks random.
const MIN_MIXED_CASE_CHARS: usize = 16;

/// Redacts a text so that it is safe to show: one line of at most `max_chars` characters, without anything that looks
/// like a full token, cookie, JWT, password or key.
#[must_use]
pub fn redact_text(bytes: &[u8], max_chars: usize) -> String {
    redact_with(REDACTION_EXPRESSIONS.as_ref(), bytes, max_chars)
}

/// Redacts a text, or withholds all of it without the expressions.
fn redact_with(expressions: Option<&Expressions>, bytes: &[u8], max_chars: usize) -> String {
    let Some(expressions) = expressions else { return WITHHELD_TEXT.into() };
    let plain = strip_ansi(bytes);
    // The margin keeps the cut far from the shown part, so that it never leaves an unrecognizable part of a secret
    // there.
    let near = &plain[..plain.len().min(max_chars.saturating_mul(4).saturating_add(4_096))];
    let redacted = redact_keyed_values(expressions, &strip_invisible(&String::from_utf8_lossy(near)));
    // Keys that were escaped or encoded are only visible now.
    let mut redacted = redact_keyed_values(expressions, &normalize_text(expressions, &redacted));
    for form in &expressions.credential_forms {
        let cut = |found: &Captures<'_>| {
            let group = |name: &str| found.name(name).map_or("", |part| part.as_str());
            format!(
                "{}{}{}",
                group("before"),
                if group("keep").is_empty() { "…".into() } else { shorten_secret(group("keep")) },
                group("after")
            )
        };
        redacted = form.replace_all(&redacted, cut).into_owned();
    }
    let has_digit = |text: &str| text.contains(|letter: char| letter.is_ascii_digit());
    let cut =
        |found: &Captures<'_>| if has_digit(&found[0]) { "…".to_owned() } else { found[0].to_owned() };
    redacted = expressions.hex_groups.replace_all(&redacted, cut).into_owned();
    let mut short = String::with_capacity(redacted.len().min(max_chars));
    for word in redacted.split_inclusive(|letter: char| !is_token_char(letter)) {
        let bare = word.trim_end_matches(|letter: char| !is_token_char(letter));
        let end = &word[bare.len()..];
        // Writing to a String cannot fail.
        let _ = if is_likely_random(bare) {
            write!(short, "{}{end}", shorten_secret(bare))
        } else {
            write!(short, "{word}")
        };
    }
    // Control characters are removed last, so that they still separate words above.
    let one_line =
        short.split(|letter: char| letter.is_control()).map(str::trim).collect::<Vec<_>>().join(" ");
    match one_line.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", &one_line[..end]),
        None => one_line,
    }
}

/// Removes invisible characters and resolves escapes and percent-encoding, any of which could hide a secret.
fn normalize_text(expressions: &Expressions, text: &str) -> String {
    let mut normalized = text.to_owned();
    for _ in 0..MAX_DECODE_PASSES {
        let named = decode_entities(&expressions.html_entity, &normalized);
        let decoded = percent_decode(named.as_bytes());
        let resolved = strip_invisible(&String::from_utf8_lossy(&unescape_text(&decoded)));
        if resolved == normalized {
            break;
        }
        normalized = resolved;
    }
    normalized
}

fn strip_invisible(text: &str) -> String {
    let is_hidden = |letter: char| {
        matches!(letter, '\0' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}')
            || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}')
            || matches!(letter, '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
    };
    let plain = |letter: char| match u32::from(letter) {
        // Full-width forms look like ASCII characters.
        wide @ 0xff01..=0xff5e => char::from_u32(wide - 0xfee0).unwrap_or(letter),
        _ => letter,
    };
    text.chars().filter(|letter| !is_hidden(*letter)).map(plain).collect()
}

fn decode_entities<'a>(entity: &Regex, text: &'a str) -> Cow<'a, str> {
    entity.replace_all(text, |found: &Captures<'_>| {
        let number = |name: &str, base| u32::from_str_radix(found.name(name)?.as_str(), base).ok();
        let letter = match found.name("name").map(|name| name.as_str()) {
            Some("quot") => Some('"'),
            Some("apos") => Some('\''),
            Some("lt") => Some('<'),
            Some("gt") => Some('>'),
            Some(_) => Some('&'),
            None => number("decimal", 10).or_else(|| number("hex", 16)).and_then(char::from_u32),
        };
        letter.unwrap_or(char::REPLACEMENT_CHARACTER).to_string()
    })
}

fn percent_decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let (mut decoded, mut at) = (Vec::with_capacity(text.len()), 0);
    while let Some(byte) = text.get(at) {
        match (byte, digit(text.get(at + 1)), digit(text.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 3;
            }
            _ => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    Cow::Owned(decoded)
}

/// Removes the values of secret keys and cuts the values of token keys.
fn redact_keyed_values(expressions: &Expressions, text: &str) -> String {
    let redacted = replace_values(text, &expressions.secret_keys, |text| (find_secret_end(text), "…".into()));
    replace_values(&redacted, &expressions.token_keys, |text| {
        let end = find_token_end(text);
        (end, shorten_value(&text[..end]))
    })
}

/// Replaces the values of matching keys. A value ends at its closing quote or bracket, else at the end returned by
/// `show`.
fn replace_values(text: &str, keys: &Regex, show: impl Fn(&str) -> (usize, String)) -> String {
    let (mut redacted, mut done) = (String::with_capacity(text.len()), 0);
    while let Some(key) = keys.find_at(text, done) {
        let rest = &text[key.end()..];
        let (open, end, shown) = match split_enclosed(rest) {
            Some((open, inner)) => (open, open + inner.len(), show(inner).1),
            None => {
                let (end, shown) = show(rest);
                (0, end, shown)
            }
        };
        redacted.push_str(&text[done..key.end() + open]);
        if end > open {
            redacted.push_str(&shown);
        }
        // Also skips keys without a value.
        done = key.end() + end;
    }
    redacted.push_str(&text[done..]);
    redacted
}

/// Returns the offset after an opening quote or bracket, and the enclosed text.
fn split_enclosed(text: &str) -> Option<(usize, &str)> {
    let bare = text.trim_start_matches('\\');
    let (first, escapes) = (bare.chars().next()?, text.len() - bare.len());
    let inner = bare.get(1..).filter(|_| first.is_ascii())?;
    let end = match first {
        '"' | '\'' | '`' => find_closing_quote(inner, first, escapes),
        '[' => inner.find(']'),
        '{' => inner.find('}'),
        '<' => inner.find('>'),
        '(' => inner.find(')'),
        _ => return None,
    };
    Some((escapes + 1, &inner[..end.unwrap_or(inner.len())]))
}

/// Returns the offset of the closing quote. A quote with more backslashes than the opening one is nested.
fn find_closing_quote(text: &str, quote: char, escapes: usize) -> Option<usize> {
    let before = |end: usize| text[..end].bytes().rev().take_while(|byte| *byte == b'\\').count();
    text.match_indices(quote).map(|(end, _)| end).find(|end| before(*end) <= escapes)
}

/// Returns the end of an unquoted token value.
fn find_token_end(text: &str) -> usize {
    let ends = |letter: char| letter.is_whitespace() || matches!(letter, ',' | ';' | '}' | '&' | '"' | '\'');
    text.find(ends).unwrap_or(text.len())
}

/// Returns the end of an unquoted secret, which may contain spaces but ends before the next key.
fn find_secret_end(text: &str) -> usize {
    let end = text.find(['\n', ',', ';', '}', '&']).unwrap_or(text.len());
    let value = &text[..end];
    let next = value.match_indices('=').filter_map(|(at, _)| {
        let word = value[..at].rfind(char::is_whitespace)?;
        (word + 1 < at).then_some(word)
    });
    next.min().unwrap_or(end)
}

/// Returns the shown form of a token value: a prefix if it is one word, or the whole value if it is cut already.
fn shorten_value(value: &str) -> String {
    let cut = value.strip_suffix("...").or_else(|| value.strip_suffix('…'));
    if cut.is_some_and(|cut| cut.chars().count() <= token_prefix::MAX_PREFIX_CHARS) {
        return value.to_owned();
    }
    if value.chars().all(is_token_char) { shorten_secret(value) } else { "…".into() }
}

fn is_token_char(letter: char) -> bool {
    letter.is_ascii_alphanumeric()
        || matches!(letter, '_' | '-' | '+' | '/' | '=' | '%' | '~' | '.' | ':' | '|')
}

fn shorten_secret(secret: &str) -> String {
    format!("{}…", token_prefix::token_prefix(secret))
}

/// Returns whether a word looks random, regardless of separators between its parts.
pub(crate) fn is_likely_random(word: &str) -> bool {
    let word = word.trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
    if REDACTION_EXPRESSIONS.as_ref().is_some_and(|expressions| expressions.time_or_ip.is_match(word)) {
        return false;
    }
    let pieces = || word.split(|letter: char| !letter.is_ascii_alphanumeric());
    let letters: String = pieces().collect();
    let count = |is: fn(&u8) -> bool| letters.bytes().filter(is).count();
    let (all, digits) = (letters.len(), count(u8::is_ascii_digit));
    let hex = all >= MIN_RANDOM_HEX_CHARS && digits > 0 && count(u8::is_ascii_hexdigit) == all;
    let numeric = digits == all && all >= MIN_RANDOM_DIGITS;
    let mixed = all >= MIXED_WORD_LIMITS.0
        && pieces().map(|piece| count_kind_changes(piece, u8::is_ascii_digit)).sum::<usize>()
            >= MIXED_WORD_LIMITS.1;
    // Camel-case names change case too, but only once per word.
    let cases = pieces().map(|piece| count_kind_changes(piece, u8::is_ascii_uppercase)).sum::<usize>();
    let cased = all >= MIN_MIXED_CASE_CHARS && cases * 12 >= all * 5;
    let long = pieces().any(|piece| {
        let digits = piece.bytes().filter(u8::is_ascii_digit).count();
        let speakable =
            piece.len() < CONSONANT_RUN_LIMITS.0 || longest_consonant_run(piece) < CONSONANT_RUN_LIMITS.1;
        let one_kind = digits == 0 && (piece.len() >= MIN_RANDOM_LETTERS || !speakable);
        one_kind || piece.len() >= MIN_MIXED_CASE_CHARS && digits >= 2 && piece.len() - digits >= 2
    });
    hex || numeric || mixed || cased || long
}

/// Returns the length of the longest run of consonants.
fn longest_consonant_run(piece: &str) -> usize {
    let is_vowel = |letter: char| matches!(letter.to_ascii_lowercase(), 'a' | 'e' | 'i' | 'o' | 'u' | 'y');
    piece.split(is_vowel).map(str::len).max().unwrap_or(0)
}

/// Counts the changes between bytes of a kind and others.
fn count_kind_changes(piece: &str, is: fn(&u8) -> bool) -> usize {
    piece.as_bytes().windows(2).filter(|pair| is(&pair[0]) != is(&pair[1])).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_cut_and_other_text_is_kept() {
        for (line, expected) in [
            (
                "nothing to hide: user 7 at 2026-11-25T12:00:00.000Z",
                "nothing to hide: user 7 at 2026-11-25T12:00:00.000Z",
            ),
            ("sessionToken: 'f47ac10b-58cc-4372-a567-0e02b2c3d479'", "sessionToken: 'f47ac10b…'"),
            ("sessionToken: 'f47ac10b...'", "sessionToken: 'f47ac10b...'"),
            ("Cookie: __Secure-authjs.session-token=f47ac10b58cc4372a567; theme=dark", "Cookie: …"),
            ("Authorization: Bearer abcdefghijklmnop", "Authorization: …"),
            ("sent Bearer abcdefghijklmnop", "sent Bearer abcde…"),
            ("postgres://app:hunter2@db/x", "postgres://…@db/x"),
            ("password=hunter2 user=7", "password=… user=7"),
            ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln end", "jwt eyJhbGci… end"),
            ("got 9f86d081884c7d659a2feaa0c55ad015 back", "got 9f86d081… back"),
            ("at 1013-12-25b-58cc-4372-a567-0e02b2c3d479 end", "at 1013-12-… end"),
            ("got Zk3vQ9xLmP2rT8wYbN4c back", "got Zk3vQ9… back"),
            ("a\x1b[31mred\x1b[0m\nline\0", "ared line"),
            (
                "an internationalisation-of-everything path/to/some/very/long/file",
                "an internationalisation-of-everything path/to/some/very/long/file",
            ),
            (
                "[AUTH-ADAPTER] Session created { userId: 7, ip: '10.0.0.17:5432', at: 12:00:01.5 }",
                "[AUTH-ADAPTER] Session created { userId: 7, ip: '10.0.0.17:5432', at: 12:00:01.5 }",
            ),
            (
                "error in getSessionAndUser of /app/node_modules/@auth/core/index.js:12:34",
                "error in getSessionAndUser of /app/node_modules/@auth/core/index.js:12:34",
            ),
        ] {
            assert_eq!(redact_text(line.as_bytes(), 200).trim(), expected, "{line}");
        }
        assert_eq!(redact_text("aé".repeat(50).as_bytes(), 5), "aéaéa…");
    }

    #[test]
    fn secrets_are_found_in_any_form() {
        for (line, secret) in [
            ("got Ab1/Cd2/Ef3/Gh4/Ij5/Kl6/Mn7/Op8Qr9+St0Uv1Wx2/Yz= back", "Mn7/Op8"),
            ("got 918273645509182736455091827364 back", "5509182736"),
            ("got 1f2e3d4c5b6a7988 back", "5b6a7988"),
            ("got qwertyuiopasdfghjklzxcvbnmqwerty back", "zxcvbnmq"),
            ("got kJhGfDsApOiUyTrEwQlKjHgF back", "OiUyTrEwQ"),
            ("cookie=authjs.session-token%3Dzz99yy88xx77ww66vv55uu44%3B back", "vv55uu44"),
            (r#"{ "raw": "{\"sessionToken\":\"tt11ss22rr33qq44pp55oo66\"}" }"#, "pp55oo66"),
            (r#"{ "raw": "{\"password\":\"correct horse \\\"battery\\\" staple\"}" }"#, "staple"),
            (r#"{ "sessionToken": "\u0061b12cd34ef56gh78ij90kl12mn34" }"#, "ij90kl12"),
            ("token bytes: a1b2 c3d4 e5f6 a7b8 c9d0 e1f2", "c9d0"),
            ("token a1:b2:c3:d4:e5:f6:a7:b8:c9:d0:e1:f2", "c9:d0"),
            ("{ sessionToken: <Buffer de ad be ef 01 23 45 67 89 ab cd ef> }", "89 ab"),
            ("got <Buffer de ad be ef fa ce> back", "be ef"),
            (
                "{ bytes: Uint8Array(12) [ 222, 173, 190, 239, 1, 35, 69, 103, 137, 171, 205, 239 ] }",
                "137, 171",
            ),
            ("bytes 0xde, 0xad, 0xbe, 0xef, 0xfa", "0xbe"),
            ("{ userId: 'kk11ll22mm33nn44oo55pp66qq77' }", "oo55pp66"),
            ("session_destroyed reason=hh11jj22kk33ll44mm55nn66", "mm55nn66"),
            ("got abc.1a2b3c4d5e6f.7a8b9c0d1e2f.3a4b5c6d7e8f back", "7a8b9c0d"),
            (
                "u\0s\0e\0r\0T\0o\0k\0e\0n\0:\0 \0'\0u\x001\0t\x002\0f\x003\0a\x004\0b\x005\0c\x006\0'\0",
                "4b5c6",
            ),
            (r#"{ "userPassword": "correct horse battery staple" }"#, "battery"),
            ("{ userPassword: 'it\\'s a horse battery' }", "battery"),
            ("password: correct horse battery", "battery"),
            ("password for u1 is Tr0ub4dor&3 ok", "ub4dor"),
            ("passphrase=Tr0ub4dor-and-3 pin=482910 otp=991823", "ub4dor"),
            ("otp=991823 pin=482910", "482910"),
            (r#"{ "pin": 482910, "totpCode": "991823" }"#, "991823"),
            ("DATABASE_URL=postgres%3A%2F%2Fapp%3Ahunter2secret%40db", "hunter2secret"),
            ("postgres://app:p@ss@word9@db/x", "ss@word9"),
            ("https://ghp_secret@example.com/x", "ghp_secret"),
            ("X-Api-Key abcd-efgh-ijkl-mnop", "ijkl-mnop"),
            ("Set-Cookie: PHPSESSID=abcdefghijklmnop; Path=/", "ijklmnop"),
            ("PHPSESSID=abcdefghijklmnop", "ijklmnop"),
            ("{ cookie: 'theme=abcdefghijklmnop' }", "ijklmnop"),
            ("Authorization: Digest username=\"ada\", response=\"abcdefghijkl\"", "ghijkl"),
            ("the token is abcd1234efgh", "34efgh"),
            ("password=&quot;correct horse battery&quot;", "battery"),
            ("got &#57;&#97;&#x38;b7c6d5e4f3a2b back", "5e4f3a"),
            ("got ９ａ８ｂ７ｃ６ｄ５ｅ４ｆ３ａ２ｂ back", "5e4f3a"),
            ("got 9a8b·7c6d·5e4f·3a2b back", "5e4f"),
            ("got kJhGfDsApOiUyTrE back", "pOiUyTrE"),
            ("got qwrtypsdfghjklzx back", "hjklzx"),
            ("PASS: hunter two", "hunter"),
            ("got 9a8b\u{200b}7c6d\u{2060}5e4f\u{ad}3a2b\u{200b}1c0d\u{200b}9e8f back", "1c0d"),
            ("got %39%61%38%62%37%63%36%64%35%65%34%66%33%61%32%62 back", "5e4f3a"),
            ("got %2539%2561%2538%2562%2537%2563%2536%2564%2535%2565%2534%2566%2533%2561 back", "5e4f3a"),
        ] {
            let redacted = redact_text(line.as_bytes(), 1_000);
            assert!(!redacted.contains(secret), "{line}: {redacted}");
            let undecorated: String =
                strip_invisible(&redacted).chars().filter(char::is_ascii_alphanumeric).collect();
            let bare: String = secret.chars().filter(char::is_ascii_alphanumeric).collect();
            assert!(!undecorated.contains(&bare), "{line}: {redacted}");
        }
    }

    #[test]
    fn every_expression_compiles() {
        Expressions::compile().unwrap();
    }

    #[test]
    fn a_text_is_withheld_where_an_expression_is_missing() {
        for line in ["password=hunter2", "session 5e4f3a2b1c0d", "user 7"] {
            assert_eq!(redact_with(None, line.as_bytes(), 200), WITHHELD_TEXT);
        }
    }
}

#[cfg(test)]
mod property_tests;
