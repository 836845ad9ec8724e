//! The log of a PostgreSQL server itself: violations of unique constraints, each of which it tells of in several lines, in one
//! of CSV, or in an object.

use memchr::memmem;
use sessionwatch_core::instant::Instant;

use crate::{
    beginning::without_source,
    byte_range::ByteRange,
    envelope::Envelope,
    key_values::{KeyValues, unescaped},
    statement::{Written, key},
};

/// What begins the message of a violation.
pub(crate) const VIOLATION: &str = "duplicate key value violates unique constraint";
/// Bytes of what stands before a level.
const LONGEST_PREFIX: usize = 256;
/// Lines and bytes of one event.
const LINES: usize = 200;
const MAX_EVENT_BYTES: usize = 64 << 10;
/// Lines of other processes that may stand within an event.
const BETWEEN: u32 = 32;
/// Keys of `key=value` that are put before a level.
const KEYS: [&[u8]; 9] = [b"user", b"db", b"database", b"app", b"client", b"host", b"pid", b"line", b"xid"];

/// What a line of a server's log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Error,
    Detail,
    Statement,
    Other,
}

/// A line of a server's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line<'a> {
    /// The number of the process that wrote it, where that is said.
    process: Option<&'a [u8]>,
    level: Level,
    said: &'a [u8],
}

/// A line without what runs containers puts before it: `db-1  | `.
fn bare(message: &[u8]) -> &[u8] {
    let near = &message[..message.len().min(LONGEST_PREFIX)];
    let near = near.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let skipped = near.len() - without_source(near).len();
    let rest = &message[skipped..];
    // One space stands behind the sign; what follows is the server's.
    if skipped > 0 { rest.strip_prefix(b" ").unwrap_or(rest) } else { message }
}

impl<'a> Line<'a> {
    fn of(message: &'a [u8]) -> Option<Self> {
        let end = memmem::find(&message[..message.len().min(LONGEST_PREFIX)], b":  ")?;
        let length = message[..end].iter().rev().take_while(|byte| byte.is_ascii_uppercase()).count();
        let before = &message[..end - length];
        let level = match &message[end - length..end] {
            b"ERROR" => Level::Error,
            b"DETAIL" => Level::Detail,
            b"STATEMENT" => Level::Statement,
            b"HINT" | b"CONTEXT" | b"QUERY" | b"LOCATION" | b"BACKTRACE" | b"LOG" | b"WARNING"
            | b"NOTICE" | b"INFO" | b"FATAL" | b"PANIC" => Level::Other,
            _ => return None,
        };
        is_server_prefix(before).then(|| Self {
            process: process(before),
            level,
            said: message[end + 3..].trim_ascii_start(),
        })
    }
}

/// Whether a text is what a server puts before a level: times, numbers, `[process]`, `user@database`, `key=value`. What a
/// visitor may have written has other words.
fn is_server_prefix(text: &[u8]) -> bool {
    let is_letterless = |word: &[u8]| !word.iter().any(u8::is_ascii_alphabetic);
    let is_zone =
        |word: &[u8]| word.len() <= 5 && word.iter().all(|byte| !byte.is_ascii_lowercase() && *byte < 0x80);
    let in_brackets = |word: &[u8]| word.starts_with(b"[") && word.ends_with(b"]");
    let is_pairs = |word: &[u8]| {
        word.split(|byte| *byte == b',')
            .filter(|part| !part.is_empty())
            .all(|part| memchr::memchr(b'=', part).is_some_and(|end| KEYS.contains(&&part[..end])))
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
    let is_plain = |byte: &u8| {
        byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() || b"_.@:,()[]/+-=%".contains(byte)
    };
    text.iter().all(is_plain)
        && text.iter().any(u8::is_ascii_digit)
        && text.split(u8::is_ascii_whitespace).flat_map(|word| word.split(|byte| *byte == b':')).all(is_one)
}

/// The number of a process in what stands before a level: `[123]`, but not the `[7-1]` of syslog.
fn process(text: &[u8]) -> Option<&[u8]> {
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

/// What a violation says, in a server's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    constraint: Vec<u8>,
    detail: Vec<u8>,
    statement: Vec<u8>,
}

/// One line of an event.
#[derive(Clone, Debug)]
pub(crate) struct EventLine {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) text: Vec<u8>,
}

/// A violation, over the lines that tell of it.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: Option<Instant>,
    pub(crate) lines: Vec<EventLine>,
    said: Said,
    process: Option<Vec<u8>>,
    level: Level,
    bytes: usize,
    between: u32,
    /// It goes on over lines.
    pub(crate) spreads: bool,
    /// How many of its lines are told of; nothing as long as none of it is.
    pub(crate) told: Option<usize>,
}

/// What a line is to an event that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follows {
    /// It belongs to it.
    Within,
    /// It is one of another process.
    Between,
    /// The event has ended.
    After,
}

impl Event {
    /// One that begins with a line, if that tells of a violation.
    pub(crate) fn begin(frame: &Envelope<'_>, place: ByteRange) -> Option<Self> {
        let message = frame.message.as_ref();
        let event = |said, (process, text): (Option<&[u8]>, &[u8]), spreads| Self {
            at: frame.at,
            lines: vec![EventLine { from: place.from, to: place.to, text: text.to_vec() }],
            said,
            process: process.map(<[u8]>::to_vec),
            level: Level::Error,
            bytes: text.len(),
            between: 0,
            spreads,
            told: None,
        };
        if let Some(outer) = &frame.outer
            && let Some(said) = in_object(message, outer)
        {
            return Some(event(said, (None, outer), false));
        }
        if let Some(said) = in_csv(message) {
            return Some(event(said, (None, message), false));
        }
        // What goes on with a line before it begins with a tab, whatever it looks like.
        let bare = bare(message);
        let is_own = frame.begins || !frame.is_indented && !bare.first().is_some_and(u8::is_ascii_whitespace);
        let line = Line::of(bare).filter(|line| is_own && line.level == Level::Error)?;
        let constraint = quoted(line.said.strip_prefix(VIOLATION.as_bytes())?)?;
        let said = Said { constraint: constraint.to_vec(), ..Said::default() };
        Some(event(said, (line.process, message), true))
    }

    /// What a line is to it; one that belongs to it is taken in.
    pub(crate) fn take(&mut self, frame: &Envelope<'_>, place: ByteRange) -> Follows {
        let message = bare(frame.message.as_ref());
        let fits = self.lines.len() < LINES && self.bytes + message.len() < MAX_EVENT_BYTES;
        let indented = frame.is_indented || message.starts_with(b"\t") && !frame.begins;
        // Syslog writes a tab as a number.
        let continued = memmem::find(&message[..message.len().min(LONGEST_PREFIX)], b"] #011").is_some();
        let said = if indented || continued {
            message
        } else {
            match Line::of(message) {
                Some(line)
                    if line.process != self.process.as_deref()
                        && line.level != Level::Error
                        && self.between < BETWEEN =>
                {
                    self.between += 1;
                    return Follows::Between;
                }
                Some(line) if matches!(line.level, Level::Detail | Level::Statement | Level::Other) => {
                    self.level = line.level;
                    line.said
                }
                _ => return Follows::After,
            }
        };
        if !fits || !indented && !continued && is_new(message) {
            return Follows::After;
        }
        match self.level {
            Level::Detail => extend(&mut self.said.detail, said),
            Level::Statement => extend(&mut self.said.statement, said),
            Level::Error | Level::Other => {}
        }
        self.bytes += message.len();
        self.lines.push(EventLine { from: place.from, to: place.to, text: message.to_vec() });
        Follows::Within
    }

    /// Whether its statement is known, behind which nothing follows that says more.
    pub(crate) fn has_statement(&self) -> bool {
        !self.said.statement.is_empty()
    }

    /// The token that two sessions were to have, where the violation is about log-ins; nothing inside if it is not said.
    pub(crate) fn token(&self) -> Option<Option<&[u8]>> {
        self.said.token()
    }
}

/// Whether a line is the first of another event of the same process.
fn is_new(message: &[u8]) -> bool {
    let levels: [&[u8]; 7] =
        [b"LOG:  ", b"WARNING:  ", b"NOTICE:  ", b"INFO:  ", b"FATAL:  ", b"PANIC:  ", b"ERROR:  "];
    let near = &message[..message.len().min(LONGEST_PREFIX)];
    let first = memmem::find(near, b":  ").map_or(0, |end| end + 3);
    levels.iter().any(|level| near[..first].ends_with(level))
}

fn extend(text: &mut Vec<u8>, more: &[u8]) {
    if !text.is_empty() {
        text.push(b' ');
    }
    text.extend_from_slice(more.trim_ascii());
}

/// What stands between quotes, right behind spaces.
fn quoted(text: &[u8]) -> Option<&[u8]> {
    let inner = text.trim_ascii_start().strip_prefix(b"\"")?;
    Some(&inner[..memchr::memchr(b'"', inner)?])
}

/// A violation in an object, as `jsonlog` writes it.
fn in_object(message: &[u8], outer: &[u8]) -> Option<Said> {
    let constraint = quoted(message.strip_prefix(VIOLATION.as_bytes())?)?.to_vec();
    let mut said = Said { constraint, ..Said::default() };
    let mut is_server = false;
    for pair in KeyValues::new(outer, true).filter(|pair| pair.depth == 1 && pair.quoted) {
        match pair.key {
            b"error_severity" => is_server = pair.value == b"ERROR",
            b"detail" => said.detail = unescaped(pair.value).into_owned(),
            b"statement" => said.statement = unescaped(pair.value).into_owned(),
            _ => {}
        }
    }
    is_server.then_some(said)
}

/// A violation in a line of CSV, as `csvlog` writes it.
fn in_csv(message: &[u8]) -> Option<Said> {
    let begin = memmem::find(message, b",ERROR,23505,\"")?;
    // A visitor's text before it would stand in quotes of its own.
    if message[..begin].windows(3).any(|part| part == b"\"\"\"") {
        return None;
    }
    let mut rest = &message[begin + ",ERROR,23505,".len()..];
    let mut fields = vec![];
    while fields.len() < 7 {
        let (field, after) = csv_field(rest)?;
        fields.push(field);
        match after.strip_prefix(b",") {
            Some(next) => rest = next,
            None => break,
        }
    }
    let [said, detail, others @ ..] = fields.as_slice() else { return None };
    let constraint = quoted(said.strip_prefix(VIOLATION.as_bytes())?)?.to_vec();
    let statement = others.iter().find(|field| Written::of(field).is_some()).cloned().unwrap_or_default();
    Some(Said { constraint, detail: detail.clone(), statement })
}

/// A field of CSV without its quotes, and what comes after it.
fn csv_field(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
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

/// A name in small letters and digits.
fn plain(name: &[u8]) -> Vec<u8> {
    name.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect()
}

fn has(name: &[u8], parts: &[&str]) -> bool {
    parts.iter().any(|part| memmem::find(name, part.as_bytes()).is_some())
}

/// Whether a column is one that only session tokens stand in.
pub(crate) fn is_session_token(column: &[u8]) -> bool {
    plain(column).ends_with(b"sessiontoken")
}

/// Whether a column may be one of session tokens, if the table is one of log-ins.
fn may_be_token(column: &[u8]) -> bool {
    let column = plain(column);
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

/// Whether a statement writes log-ins: sessions with a user, an end, or what a session store keeps.
fn is_about_logins(written: &Written<'_>) -> bool {
    let belongs = ["user", "account", "identity", "member", "customer"];
    let ends = ["expir", "validuntil", "notafter", "maxage"];
    let kept: [&[u8]; 5] = [b"data", b"sess", b"payload", b"sessiondata", b"lastactivity"];
    has(&plain(written.table), &["sess", "login", "logon"])
        && written.assigned.columns.iter().any(|column| {
            let column = plain(column);
            // The agent of a visit is no user.
            let is_user = has(&column, &belongs) && !has(&column, &["agent"]);
            is_user || has(&column, &ends) || kept.contains(&column.as_slice())
        })
}

impl Said {
    fn token(&self) -> Option<Option<&[u8]>> {
        let constraint = plain(&self.constraint);
        let written = Written::of(&self.statement);
        let logins = written.as_ref().is_some_and(is_about_logins);
        let Some(key) = key(&self.detail) else {
            // Without its detail, the name of the constraint has to say what is unique.
            let named = has(&constraint, &["sess"]) && has(&constraint, &["token"]);
            let value = || written.as_ref()?.assigned.find(may_be_token)?.1;
            return (named && (written.is_none() || logins)).then(value);
        };
        if let Some((column, value)) = key.find(may_be_token) {
            let column = plain(column);
            // An id of a session may be one of a visit.
            let is_plain = !has(&column, &["sessionid", "uuid"]);
            let certain = column.ends_with(b"sessiontoken")
                || logins
                || self.statement.is_empty() && is_plain && has(&constraint, &["sess"]);
            return certain.then_some(value);
        }
        // The id is the token where there is no other.
        let (_, value) = key.find(|column| plain(column) == b"id")?;
        let written = written.filter(|_| logins)?;
        let columns = &written.assigned.columns;
        let has_end = columns.iter().any(|column| has(&plain(column), &["expir"]));
        (has_end && !columns.iter().any(|column| has(&plain(column), &["token"]))).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_put_times_processes_and_users_before_a_level() {
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
    fn only_tokens_of_log_ins_are_shared_tokens() {
        let of = |constraint: &str, detail: &str, statement: &str| {
            let [constraint, detail, statement] =
                [constraint, detail, statement].map(|text| text.as_bytes().to_vec());
            let said = Said { constraint, detail, statement };
            said.token().map(|token| token.map(|token| String::from_utf8_lossy(token).into_owned()))
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
