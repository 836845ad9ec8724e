//! Unique constraint violations in PostgreSQL server logs, which span several lines, one CSV record or one JSON
//! object.

use memchr::memmem;
use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{
    byte_range::ByteRange,
    key_values::{KeyValues, unescape_text},
    line_envelope::Envelope,
    preamble::strip_source,
    sql_statement::{WriteStatement, parse_key_detail},
};

/// Start of the message of a violation.
pub(crate) const VIOLATION_MESSAGE: &str = "duplicate key value violates unique constraint";
/// Maximum length of the prefix before a level, in bytes.
const MAX_LINE_PREFIX_BYTES: usize = 256;
/// Maximum number of lines of one event.
const MAX_EVENT_LINES: usize = 200;
/// Maximum size of one event, in bytes.
const MAX_EVENT_BYTES: usize = 64 << 10;
/// Maximum number of lines of other processes within an event.
const MAX_INTERLEAVED_LINES: u32 = 32;
/// Keys of `key=value` pairs in `log_line_prefix`.
const PREFIX_KEYS: [&[u8]; 9] =
    [b"user", b"db", b"database", b"app", b"client", b"host", b"pid", b"line", b"xid"];

/// Level of a server log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServerLogLevel {
    Error,
    Detail,
    Statement,
    Other,
}

/// Server log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ServerLogLine<'a> {
    /// Process id of the writer, if the line has one.
    process_id: Option<&'a [u8]>,
    level: ServerLogLevel,
    message: &'a [u8],
}

/// Strips the prefix of a container runtime such as `db-1  | `.
fn strip_container_prefix(message: &[u8]) -> &[u8] {
    let near = &message[..message.len().min(MAX_LINE_PREFIX_BYTES)];
    let near = near.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let skipped = near.len() - strip_source(near).len();
    let rest = &message[skipped..];
    // One space belongs to the prefix; further ones are the server's.
    if skipped > 0 { rest.strip_prefix(b" ").unwrap_or(rest) } else { message }
}

impl<'a> ServerLogLine<'a> {
    fn parse(message: &'a [u8]) -> Option<Self> {
        let end = memmem::find(&message[..message.len().min(MAX_LINE_PREFIX_BYTES)], b":  ")?;
        let length = message[..end].iter().rev().take_while(|byte| byte.is_ascii_uppercase()).count();
        let before = &message[..end - length];
        let level = match &message[end - length..end] {
            b"ERROR" => ServerLogLevel::Error,
            b"DETAIL" => ServerLogLevel::Detail,
            b"STATEMENT" => ServerLogLevel::Statement,
            b"HINT" | b"CONTEXT" | b"QUERY" | b"LOCATION" | b"BACKTRACE" | b"LOG" | b"WARNING"
            | b"NOTICE" | b"INFO" | b"FATAL" | b"PANIC" => ServerLogLevel::Other,
            _ => return None,
        };
        is_server_prefix(before).then(|| Self {
            process_id: find_process_id(before),
            level,
            message: message[end + 3..].trim_ascii_start(),
        })
    }
}

/// Returns whether a text is a server's line prefix: times, numbers, `[process]`, `user@database`, `key=value`. Text
/// from a visitor contains other words.
fn is_server_prefix(text: &[u8]) -> bool {
    let is_letterless = |word: &[u8]| !word.iter().any(u8::is_ascii_alphabetic);
    let is_zone =
        |word: &[u8]| word.len() <= 5 && word.iter().all(|byte| !byte.is_ascii_lowercase() && *byte < 0x80);
    let in_brackets = |word: &[u8]| word.starts_with(b"[") && word.ends_with(b"]");
    let is_pairs = |word: &[u8]| {
        word.split(|byte| *byte == b',')
            .filter(|part| !part.is_empty())
            .all(|part| memchr::memchr(b'=', part).is_some_and(|end| PREFIX_KEYS.contains(&&part[..end])))
    };
    // Hosted servers write `time UTC:host(port):user@database:[process]:`.
    let is_one = |word: &[u8]| {
        is_letterless(word)
            || is_zone(word)
            || in_brackets(word)
            || word.contains(&b'@')
            || is_pairs(word)
            || word.ends_with(b")") && word.contains(&b'(')
    };
    // Quotes and other punctuation occur in messages of applications, but not in a prefix.
    let is_plain = |byte: &u8| {
        byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() || b"_.@:,()[]/+-=%".contains(byte)
    };
    text.iter().all(is_plain)
        && text.iter().any(u8::is_ascii_digit)
        && text.split(u8::is_ascii_whitespace).flat_map(|word| word.split(|byte| *byte == b':')).all(is_one)
}

/// Returns the process id in a line prefix: `[123]`, but not `[7-1]` of syslog.
fn find_process_id(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    while let Some(begin) = memchr::memchr(b'[', rest) {
        rest = &rest[begin + 1..];
        let end = memchr::memchr(b']', rest)?;
        if end > 0 && rest[..end].iter().all(u8::is_ascii_digit) {
            return Some(&rest[..end]);
        }
    }
    None
}

/// Texts of a violation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ViolationDetails {
    constraint: Vec<u8>,
    detail: Vec<u8>,
    statement: Vec<u8>,
}

/// Line of an event.
#[derive(Clone, Debug)]
pub(crate) struct ViolationLine {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) text: Vec<u8>,
}

/// Violation and its lines.
#[derive(Clone, Debug)]
pub(crate) struct ViolationEvent {
    pub(crate) timestamp: Option<UtcTimestamp>,
    pub(crate) lines: Vec<ViolationLine>,
    details: ViolationDetails,
    process_id: Option<Vec<u8>>,
    level: ServerLogLevel,
    bytes: usize,
    interleaved_lines: u32,
    /// The event may continue on further lines.
    pub(crate) is_multiline: bool,
    /// Number of lines whose events were emitted; `None` before the first event.
    pub(crate) emitted_lines: Option<usize>,
}

/// Relation of a line to the open event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineRelation {
    /// The line belongs to the event.
    Continues,
    /// The line is from another process.
    Interleaved,
    /// The event has ended.
    Ends,
}

impl ViolationEvent {
    /// Creates an event if the line is the first of a violation.
    pub(crate) fn from_first_line(envelope: &Envelope<'_>, byte_range: ByteRange) -> Option<Self> {
        let message = envelope.message.as_ref();
        let event = |details, process: Option<&[u8]>, text: &[u8], is_multiline| Self {
            timestamp: envelope.timestamp,
            lines: vec![ViolationLine { from: byte_range.from, to: byte_range.to, text: text.to_vec() }],
            details,
            process_id: process.map(<[u8]>::to_vec),
            level: ServerLogLevel::Error,
            bytes: text.len(),
            interleaved_lines: 0,
            is_multiline,
            emitted_lines: None,
        };
        if let Some(outer) = &envelope.outer_object
            && let Some(details) = parse_json_violation(message, outer)
        {
            return Some(event(details, None, outer, false));
        }
        if let Some(details) = parse_csv_violation(message) {
            return Some(event(details, None, message, false));
        }
        // PostgreSQL indents continuation lines with a tab, so an indented line never begins an event.
        let bare = strip_container_prefix(message);
        let is_own = envelope.starts_line
            || !envelope.is_indented && !bare.first().is_some_and(u8::is_ascii_whitespace);
        let line = ServerLogLine::parse(bare).filter(|line| is_own && line.level == ServerLogLevel::Error)?;
        let constraint = parse_quoted(line.message.strip_prefix(VIOLATION_MESSAGE.as_bytes())?)?;
        let details = ViolationDetails { constraint: constraint.to_vec(), ..ViolationDetails::default() };
        Some(event(details, line.process_id, message, true))
    }

    /// Adds a line if it belongs to the event, and returns its relation.
    pub(crate) fn take_line(&mut self, envelope: &Envelope<'_>, byte_range: ByteRange) -> LineRelation {
        let message = strip_container_prefix(envelope.message.as_ref());
        // The limits keep a server that logs endless statements from filling the memory.
        let fits = self.lines.len() < MAX_EVENT_LINES && self.bytes + message.len() < MAX_EVENT_BYTES;
        let indented = envelope.is_indented || message.starts_with(b"\t") && !envelope.starts_line;
        // Syslog escapes the tab of a continuation line as `#011`.
        let continued =
            memmem::find(&message[..message.len().min(MAX_LINE_PREFIX_BYTES)], b"] #011").is_some();
        let text = if indented || continued {
            message
        } else {
            match ServerLogLine::parse(message) {
                Some(line)
                    if line.process_id != self.process_id.as_deref()
                        && line.level != ServerLogLevel::Error
                        && self.interleaved_lines < MAX_INTERLEAVED_LINES =>
                {
                    self.interleaved_lines += 1;
                    return LineRelation::Interleaved;
                }
                Some(line)
                    if matches!(
                        line.level,
                        ServerLogLevel::Detail | ServerLogLevel::Statement | ServerLogLevel::Other
                    ) =>
                {
                    self.level = line.level;
                    line.message
                }
                _ => return LineRelation::Ends,
            }
        };
        if !fits || !indented && !continued && starts_other_event(message) {
            return LineRelation::Ends;
        }
        match self.level {
            ServerLogLevel::Detail => append_text(&mut self.details.detail, text),
            ServerLogLevel::Statement => append_text(&mut self.details.statement, text),
            ServerLogLevel::Error | ServerLogLevel::Other => {}
        }
        self.bytes += message.len();
        self.lines.push(ViolationLine { from: byte_range.from, to: byte_range.to, text: message.to_vec() });
        LineRelation::Continues
    }

    /// Returns whether the statement is known. It is the last line that matters.
    pub(crate) fn has_statement(&self) -> bool {
        !self.details.statement.is_empty()
    }

    /// Returns the duplicate token if the violation concerns sessions. The inner `None` means that the log does not
    /// show the token.
    pub(crate) fn duplicate_token(&self) -> Option<Option<&[u8]>> {
        self.details.duplicate_token()
    }
}

/// Returns whether a line begins another event of the same process.
fn starts_other_event(message: &[u8]) -> bool {
    let levels: [&[u8]; 7] =
        [b"LOG:  ", b"WARNING:  ", b"NOTICE:  ", b"INFO:  ", b"FATAL:  ", b"PANIC:  ", b"ERROR:  "];
    let near = &message[..message.len().min(MAX_LINE_PREFIX_BYTES)];
    let first = memmem::find(near, b":  ").map_or(0, |end| end + 3);
    levels.iter().any(|level| near[..first].ends_with(level))
}

fn append_text(text: &mut Vec<u8>, more: &[u8]) {
    if !text.is_empty() {
        text.push(b' ');
    }
    text.extend_from_slice(more.trim_ascii());
}

/// Parses a quoted text after optional spaces.
fn parse_quoted(text: &[u8]) -> Option<&[u8]> {
    let inner = text.trim_ascii_start().strip_prefix(b"\"")?;
    Some(&inner[..memchr::memchr(b'"', inner)?])
}

/// Parses a violation in `jsonlog` format.
fn parse_json_violation(message: &[u8], outer: &[u8]) -> Option<ViolationDetails> {
    let constraint = parse_quoted(message.strip_prefix(VIOLATION_MESSAGE.as_bytes())?)?.to_vec();
    let mut details = ViolationDetails { constraint, ..ViolationDetails::default() };
    let mut is_server = false;
    for pair in KeyValues::new(outer, true).filter(|pair| pair.depth == 1 && pair.is_quoted) {
        match pair.key {
            // Only the server itself writes this field; applications may log the same message.
            b"error_severity" => is_server = pair.value == b"ERROR",
            b"detail" => details.detail = unescape_text(pair.value).into_owned(),
            b"statement" => details.statement = unescape_text(pair.value).into_owned(),
            _ => {}
        }
    }
    is_server.then_some(details)
}

/// Parses a violation in `csvlog` format.
fn parse_csv_violation(message: &[u8]) -> Option<ViolationDetails> {
    let begin = memmem::find(message, b",ERROR,23505,\"")?;
    // CSV doubles quotes inside a field, so tripled quotes show that the match is text within a field.
    if message[..begin].windows(3).any(|part| part == b"\"\"\"") {
        return None;
    }
    let mut rest = &message[begin + ",ERROR,23505,".len()..];
    let mut fields = vec![];
    while fields.len() < 7 {
        let (field, after) = read_csv_field(rest)?;
        fields.push(field);
        match after.strip_prefix(b",") {
            Some(next) => rest = next,
            None => break,
        }
    }
    let [text, detail, others @ ..] = fields.as_slice() else { return None };
    let constraint = parse_quoted(text.strip_prefix(VIOLATION_MESSAGE.as_bytes())?)?.to_vec();
    let statement =
        others.iter().find(|field| WriteStatement::parse(field).is_some()).cloned().unwrap_or_default();
    Some(ViolationDetails { constraint, detail: detail.clone(), statement })
}

/// Reads a CSV field without its quotes, and returns the rest.
fn read_csv_field(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(mut rest) = text.strip_prefix(b"\"") else {
        let end = memchr::memchr(b',', text).unwrap_or(text.len());
        return Some((text[..end].to_vec(), &text[end..]));
    };
    let mut field = vec![];
    loop {
        let end = memchr::memchr(b'"', rest)?;
        field.extend_from_slice(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix(b"\"") {
            Some(after) => {
                field.push(b'"');
                rest = after;
            }
            None => return Some((field, rest)),
        }
    }
}

/// Lowercases a name and keeps only letters and digits.
fn normalize_name(name: &[u8]) -> Vec<u8> {
    name.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect()
}

fn contains_any(name: &[u8], parts: &[&str]) -> bool {
    parts.iter().any(|part| memmem::find(name, part.as_bytes()).is_some())
}

/// Returns whether a column certainly holds session tokens.
pub(crate) fn is_session_token_column(column: &[u8]) -> bool {
    normalize_name(column).ends_with(b"sessiontoken")
}

/// Returns whether a column may hold session tokens, if the table holds login sessions.
fn is_possible_token_column(column: &[u8]) -> bool {
    let column = normalize_name(column);
    let names: [&[u8]; 8] = [
        b"token",
        b"tokenhash",
        b"hashedtoken",
        b"sid",
        b"sessid",
        b"sessionid",
        b"sessionkey",
        b"sessionuuid",
    ];
    column.ends_with(b"sessiontoken") || names.contains(&column.as_slice())
}

/// Returns whether a statement writes login sessions: rows with a user, an expiry, or the payload of a session store.
fn is_session_write(written: &WriteStatement<'_>) -> bool {
    let belongs = ["user", "account", "identity", "member", "customer"];
    let ends = ["expir", "validuntil", "notafter", "maxage"];
    let kept: [&[u8]; 5] = [b"data", b"sess", b"payload", b"sessiondata", b"lastactivity"];
    contains_any(&normalize_name(written.table), &["sess", "login", "logon"])
        && written.column_values.columns.iter().any(|column| {
            let column = normalize_name(column);
            // `user_agent` is no user.
            let is_user = contains_any(&column, &belongs) && !contains_any(&column, &["agent"]);
            is_user || contains_any(&column, &ends) || kept.contains(&column.as_slice())
        })
}

impl ViolationDetails {
    fn duplicate_token(&self) -> Option<Option<&[u8]>> {
        let constraint = normalize_name(&self.constraint);
        let written = WriteStatement::parse(&self.statement);
        let logins = written.as_ref().is_some_and(is_session_write);
        let Some(key) = parse_key_detail(&self.detail) else {
            // Without the detail, only the name of the constraint shows what must be unique.
            let named = contains_any(&constraint, &["sess"]) && contains_any(&constraint, &["token"]);
            let value = || written.as_ref()?.column_values.find_column(is_possible_token_column)?.1;
            return (named && (written.is_none() || logins)).then(value);
        };
        if let Some((column, value)) = key.find_column(is_possible_token_column) {
            let column = normalize_name(column);
            // A session id may also be that of an analytics visit.
            let is_plain = !contains_any(&column, &["sessionid", "uuid"]);
            let certain = column.ends_with(b"sessiontoken")
                || logins
                || self.statement.is_empty() && is_plain && contains_any(&constraint, &["sess"]);
            return certain.then_some(value);
        }
        // Without a token column, the id is the token.
        let (_, value) = key.find_column(|column| normalize_name(column) == b"id")?;
        let written = written.filter(|_| logins)?;
        let columns = &written.column_values.columns;
        let has_end = columns.iter().any(|column| contains_any(&normalize_name(column), &["expir"]));
        (has_end && !columns.iter().any(|column| contains_any(&normalize_name(column), &["token"])))
            .then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_line_prefixes_of_servers() {
        for before in [
            "2026-08-05 16:15:11.843 UTC [231] ",
            " UTC [231] ",
            "[7-1] 2026-03-06 23:43:46.762 UTC [647043] umami@umami ",
            "2026-08-05 16:15:11 UTC:10.0.0.1(4321):app@app:[231]:",
            "2026-08-05 16:15:11 CEST [231]: [3-1] user=app,db=app,app=psql,client=10.0.0.1 ",
            "1795897577.185 [231] [unknown]@app ",
        ] {
            assert!(is_server_prefix(before.as_bytes()), "{before}");
        }
        for before in [
            "",
            "search for ",
            "2026-08-05 16:15:11 INFO search for ",
            "2026-08-05 16:15:11 \"",
            "203.0.113.9 - - [28/Nov/2026:20:30:00 +0000] \"GET / HTTP/1.1\" 200 12 \"-\" \"",
            "GET /?q=1 ",
            "[12] user said ",
        ] {
            assert!(!is_server_prefix(before.as_bytes()), "{before}");
        }
    }

    #[test]
    fn only_violations_of_login_sessions_are_duplicate_tokens() {
        let of = |constraint: &str, detail: &str, statement: &str| {
            let [constraint, detail, statement] =
                [constraint, detail, statement].map(|text| text.as_bytes().to_vec());
            let details = ViolationDetails { constraint, detail, statement };
            details
                .duplicate_token()
                .map(|token| token.map(|token| String::from_utf8_lossy(token).into_owned()))
        };
        let token = Some(Some("abc".to_owned()));
        let exists = |column: &str| format!("Key ({column})=(abc) already exists.");
        for (constraint, column, statement) in [
            ("sessions_session_token_key", "session_token", ""),
            ("Session_sessionToken_key", "\"sessionToken\"", ""),
            ("session_token_unique", "token", ""),
            ("session_pkey", "sid", "INSERT INTO \"session\" (sess, expire, sid) VALUES ($1, $2, $3)"),
            ("unique_session_id", "session_id", "INSERT INTO sessions (session_id, data) VALUES ('abc', '')"),
            ("session_pkey", "id", "INSERT INTO session (id, user_id, expires_at) VALUES ($1, $2, $3)"),
            ("x", "token", "UPDATE session SET token = 'abc', \"userId\" = 7 WHERE id = 1"),
        ] {
            assert_eq!(of(constraint, &exists(column), statement), token, "{constraint}");
        }
        assert_eq!(of("session_token_unique", "", ""), Some(None));
        for (constraint, column, statement) in [
            (
                "session_pkey",
                "session_id",
                "INSERT INTO session (session_id, website_id, browser) VALUES ($1, $2)",
            ),
            ("session_pkey", "session_id", ""),
            (
                "session_session_uuid_key",
                "session_uuid",
                "INSERT INTO session (session_uuid, user_agent) VALUES (1, 2)",
            ),
            (
                "Session_userId_key",
                "\"userId\"",
                "INSERT INTO \"Session\" (\"sessionToken\", \"userId\") VALUES (1, 2)",
            ),
            (
                "password_reset_tokens_token_key",
                "token",
                "INSERT INTO password_reset_tokens (token, user_id) VALUES (1, 2)",
            ),
            (
                "session_pkey",
                "id",
                "INSERT INTO session (id, token, user_id, expires_at) VALUES (1, 2, 3, 4)",
            ),
            ("users_email_key", "email", ""),
        ] {
            assert_eq!(of(constraint, &exists(column), statement), None, "{constraint}");
        }
    }
}
