//! Detection of the start of a message: only times, levels and text added by loggers may precede it. Text that a
//! visitor makes an application log follows other words, or is quoted or in a field of its own.

use crate::key_values::KeyValues;

/// Maximum length of a preamble, in bytes.
const MAX_PREAMBLE_BYTES: usize = 256;
/// Log levels.
const LEVEL_WORDS: [&str; 22] = [
    "trace", "debug", "dbg", "info", "inf", "notice", "log", "warn", "warning", "wrn", "error", "err",
    "fatal", "critical", "crit", "alert", "emerg", "panic", "verbose", "silly", "success", "wait",
];
/// Words in times and dates.
const TIME_WORDS: [&str; 29] = [
    "am", "pm", "utc", "gmt", "z", "t", "cet", "cest", "est", "pst", "jan", "feb", "mar", "apr", "may",
    "jun", "jul", "aug", "sep", "oct", "nov", "dec", "mon", "tue", "wed", "thu", "fri", "sat", "sun",
];
/// Keys of `key=value` pairs that loggers write before a message.
const PREAMBLE_KEYS: [&[u8]; 16] = [
    b"time",
    b"ts",
    b"t",
    b"timestamp",
    b"at",
    b"level",
    b"lvl",
    b"severity",
    b"pid",
    b"logger",
    b"caller",
    b"hostname",
    b"app",
    b"service",
    b"component",
    b"module",
];
/// Keys whose value is a message or an event name, in `key=value` text and in JSON.
const MESSAGE_KEYS: [&[u8]; 3] = [b"msg", b"message", b"event"];
const EVENT_KEYS: [&[u8]; 8] =
    [b"msg", b"message", b"event", b"event_name", b"eventName", b"event_type", b"eventType", b"eventname"];

/// Returns whether a text message begins after these bytes.
pub(crate) fn is_message_start(before: &[u8]) -> bool {
    // AWS Lambda delivers all lines of an invocation as one message.
    let line = match memchr::memrchr(b'\n', before) {
        None => before,
        Some(end) if before.starts_with(b"START RequestId: ") => &before[end + 1..],
        Some(_) => return false,
    };
    // Invalid UTF-8 becomes replacement characters, which no preamble contains.
    line.len() <= MAX_PREAMBLE_BYTES
        && (is_preamble(&String::from_utf8_lossy(line)) || is_key_value_preamble(line.trim_ascii_start()))
}

/// Returns the object that makes up the whole message after its preamble.
pub(crate) fn find_message_object(message: &[u8]) -> Option<&[u8]> {
    let at = memchr::memchr(b'{', &message[..message.len().min(MAX_PREAMBLE_BYTES)])?;
    is_preamble(&String::from_utf8_lossy(&message[..at])).then(|| &message[at..])
}

/// Returns whether an object is an event with this name.
pub(crate) fn is_named_event(object: &[u8], name: &str) -> bool {
    let (mut is_named, mut is_type, mut has_message) = (false, false, false);
    for pair in KeyValues::new(object, true).filter(|pair| pair.depth == 1 && pair.is_quoted) {
        let is_name = pair.value == name.as_bytes();
        is_named |= is_name && EVENT_KEYS.contains(&pair.key);
        is_type |= is_name && pair.key == b"type";
        has_message |= matches!(pair.key, b"msg" | b"message");
    }
    // In an object with a message, `type` may mean anything.
    is_named || is_type && !has_message
}

/// Returns whether a text consists of times, levels and punctuation, with an optional prefix of a supervisor and a
/// logger name after a level.
fn is_preamble(text: &str) -> bool {
    let mut rest = strip_source(text.trim_start());
    let mut has_level = false;
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_alphanumeric() {
            let length = rest.bytes().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len());
            let (word, after) = rest.split_at(length);
            if LEVEL_WORDS.iter().any(|level| word.eq_ignore_ascii_case(level)) {
                has_level = true;
                rest = strip_logger(after);
            } else if let Some(after) = strip_request_id(rest) {
                rest = after;
            } else if is_time_part(word) {
                rest = after;
            } else {
                return false;
            }
        } else if matches!(first, '"' | '\'' | '`' | '=' | '?' | '&' | '%' | '\\' | '{' | '}' | '$' | '@')
            || first.is_alphanumeric()
        {
            return false;
        } else if has_level && let Some(after) = strip_bracketed_name(rest) {
            // Only one name may follow a level.
            (rest, has_level) = (after, false);
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    true
}

/// Returns whether a word is a number or part of a time.
fn is_time_part(word: &str) -> bool {
    let is_named = |text: &str| TIME_WORDS.iter().any(|name| text.eq_ignore_ascii_case(name));
    is_named(word) || word.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'T' | b'Z'))
}

/// Strips the source prefix of Compose (`web-1  | `), PM2 (`0|app  | `), kubectl (`[pod/web-1/app] `), NestJS
/// (`[Nest] `) and Heroku (` app[web.1]: `).
pub(crate) fn strip_source(text: &str) -> &str {
    let is_name = |text: &str| !text.is_empty() && text.len() <= 64 && text.bytes().all(is_name_byte);
    if let Some(rest) = text.strip_prefix("[Nest] ") {
        return rest;
    }
    if let Some((name, rest)) = text.strip_prefix("[pod/").and_then(|rest| rest.split_once("] "))
        && is_name(name)
    {
        return rest;
    }
    if let Some((names, rest)) = text.split_once(" |")
        && names.trim_end().split('|').all(is_name)
    {
        return rest;
    }
    if let Some((name, rest)) = text.split_once("]: ")
        && let Some((app, process)) = name.split_once('[')
        && is_name(app)
        && is_name(process)
    {
        return rest;
    }
    text
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/')
}

/// Strips the logger name after a level in Python's format: `ERROR:auth.session:`.
fn strip_logger(text: &str) -> &str {
    let named = text.strip_prefix(':').and_then(|rest| rest.split_once(':'));
    named
        .filter(|(name, _)| !name.is_empty() && name.bytes().all(is_name_byte))
        .map_or(text, |(_, rest)| rest)
}

/// Strips the name of a logger or process in brackets.
fn strip_bracketed_name(text: &str) -> Option<&str> {
    let (inner, rest) = match text.as_bytes().first()? {
        b'[' => text[1..].split_once(']')?,
        b'(' => text[1..].split_once(')')?,
        _ => return None,
    };
    let is_name =
        inner.len() <= 64 && inner.bytes().all(|byte| is_name_byte(byte) || matches!(byte, b' ' | b':'));
    is_name.then_some(rest)
}

/// Strips a UUID request id, which AWS Lambda writes between time and level.
fn strip_request_id(text: &str) -> Option<&str> {
    let (id, rest) = text.split_at_checked(36)?;
    let is_part =
        |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts: Vec<&str> = id.split('-').collect();
    let is_id =
        parts.len() == 5 && parts.iter().zip([8, 4, 4, 4, 12]).all(|(part, length)| is_part(part, length));
    is_id.then_some(rest)
}

/// Returns whether a text consists of `key=value` pairs of a logger, followed by the key of the message.
fn is_key_value_preamble(mut text: &[u8]) -> bool {
    loop {
        let Some(end) = memchr::memchr(b'=', text) else { return false };
        let (key, value) = (&text[..end], &text[end + 1..]);
        if MESSAGE_KEYS.contains(&key) {
            return matches!(value, b"" | b"\"" | b"'");
        }
        if !PREAMBLE_KEYS.contains(&key) {
            return false;
        }
        let length = match value.strip_prefix(b"\"") {
            Some(quoted) => match quoted.iter().position(|byte| matches!(byte, b'"' | b'\\')) {
                Some(end) if quoted[end] == b'"' => end + 2,
                _ => return false,
            },
            None => value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len()),
        };
        text = value[length..].trim_ascii_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_begin_after_times_levels_and_logger_names() {
        for before in [
            "",
            "  ",
            "🔐 ",
            "] ",
            "ERROR ",
            "error: ",
            "[ERROR] ",
            "[20:30:00.123] ERROR (1234): ",
            "[20:30:00.123] INFO (app/17 on web-1): ",
            " | WARN | ",
            " - error ",
            "web-1  | ",
            "0|app  | ",
            "[pod/web-5c/app] ",
            "\t8c8b1c0e-6f3a-4b52-9d2c-1f0f6a6f2b11\tERROR\t",
            "[Nest] 1234  - 11/29/2026, 4:20:00 PM     LOG [AuthService] ",
            " app[web.1]: ",
            "ERROR:auth.session:",
            "2026-11-29 04:20:00,123 - ERROR - ",
            "Sun Nov 29 2026 04:20:00 GMT+0000 ",
            "level=error msg=\"",
            "time=\"2026-11-29T04:20:00Z\" level=error msg=\"",
            "ts=1 level=info event=",
            "START RequestId: 8c8b1c0e Version: 1\n\
             2026-11-29T04:20:00.1Z\t8c8b1c0e-6f3a-4b52-9d2c-1f0f6a6f2b11\tINFO\t",
            "⨯ ",
        ] {
            assert!(is_message_start(before.as_bytes()), "{before:?}");
        }
    }

    #[test]
    fn text_of_a_visitor_does_not_begin_a_message() {
        for before in [
            "203.0.113.9 - - [28/Nov/2026:20:30:00 +0000] \"GET / HTTP/1.1\" 200 12 \"-\" \"",
            "search for ",
            "ERROR search for ",
            "\"",
            "'",
            "q=",
            "GET /?q=",
            "ua=\"",
            "level=info ua=\"",
            "level=info msg=\"search for ",
            "level=info msg=\"x\" ua=\"",
            "level=\"a\\\" msg=\"",
            "поиск ",
            "search: ",
            "INFO [Search] [x] found ",
            "user agent is\n",
            "search for x\n2026-11-29T04:20:00Z ERROR ",
            "{\"ua\":\"",
            "INFO {\"ua\":\"",
            "Mozilla/5.0 ",
            "2026-11-29T04:20:00Z GET / ",
            "dead beef ",
            "%20",
            "x | y ",
        ] {
            assert!(!is_message_start(before.as_bytes()), "{before:?}");
        }
    }

    #[test]
    fn event_names_count_only_in_event_fields() {
        let name = "session_user_mismatch";
        for own in [
            r#"{"event":"NAME","userId":7}"#,
            r#"{"ts":1,"type":"NAME"}"#,
            r#"{"message":"NAME"}"#,
            "{ event: 'NAME' }",
        ] {
            assert!(is_named_event(own.replace("NAME", name).as_bytes(), name), "{own}");
        }
        for other in [
            r#"{"msg":"request","ua":"NAME"}"#,
            r#"{"msg":"request","type":"NAME"}"#,
            r#"{"msg":"request","query":{"event":"NAME"}}"#,
            r#"{"msg":"request","ua":"x \"event\":\"NAME\""}"#,
            r#"{"event":"about NAME"}"#,
        ] {
            assert!(!is_named_event(other.replace("NAME", name).as_bytes(), name), "{other}");
        }
    }
}
