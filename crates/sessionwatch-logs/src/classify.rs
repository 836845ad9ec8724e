//! Classification of messages into kinds of log events.

use crate::{
    key_values::find_line_end,
    log_event::LogEventKind,
    matchers::{LiteralKind, Matchers},
    preamble::{find_message_object, is_message_start, is_named_event},
    unkeyed_token,
};

/// Phrases that the application of the operator guide writes after its tags.
const ADAPTER_PHRASES: [(&str, LogEventKind); 6] = [
    ("Session created", LogEventKind::Created),
    ("Duplicate session token", LogEventKind::DuplicateToken),
    ("User not found", LogEventKind::UserNotFound),
    ("Invalid userId", LogEventKind::InvalidUser),
    ("Error creating", LogEventKind::AdapterError),
    ("Session deleted", LogEventKind::Destroyed),
];
const CALLBACK_PHRASES: [(&str, LogEventKind); 4] = [
    ("User ID mismatch", LogEventKind::UserMismatch),
    ("User not found", LogEventKind::UserNotFound),
    ("Session refreshed", LogEventKind::Refreshed),
    ("Error fetching", LogEventKind::AdapterError),
];
/// Parts of Auth.js error names and NextAuth.js 4 error codes, with their kinds.
const AUTH_ERROR_PARTS: [(&str, LogEventKind); 17] = [
    ("adapter_error", LogEventKind::AdapterError),
    ("adaptererror", LogEventKind::AdapterError),
    ("sessiontokenerror", LogEventKind::SessionError),
    ("session_error", LogEventKind::SessionError),
    ("jwtsessionerror", LogEventKind::SessionError),
    ("jwt_session", LogEventKind::SessionError),
    ("credentials", LogEventKind::SignInError),
    ("callback", LogEventKind::SignInError),
    ("oauth", LogEventKind::SignInError),
    ("signin", LogEventKind::SignInError),
    ("accessdenied", LogEventKind::SignInError),
    ("accountnotlinked", LogEventKind::SignInError),
    ("verification", LogEventKind::SignInError),
    ("missingcsrf", LogEventKind::SignInError),
    ("email", LogEventKind::SignInError),
    ("webauthn", LogEventKind::SignInError),
    ("passkey", LogEventKind::SignInError),
];

/// Parts of error names thrown by stores and their clients.
const STORE_ERROR_PARTS: [&str; 14] = [
    "prisma",
    "drizzle",
    "typeorm",
    "sequelize",
    "kysely",
    "mongo",
    "postgres",
    "mysql",
    "sqlite",
    "database",
    "neon",
    "redis",
    "query",
    "connection",
];

/// Classification of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Classification {
    /// Kind of event; `None` if the message may only contain a token.
    pub(crate) kind: Option<LogEventKind>,
    /// Offset of the fields.
    pub(crate) fields_from: usize,
    /// Range of the error code; empty without one.
    pub(crate) error_code: (usize, usize),
    /// The fields may continue on further lines.
    pub(crate) is_multiline: bool,
    /// The message is an adapter call, whose first argument may be a token.
    pub(crate) is_call: bool,
    /// Range of a token without a key; empty without one.
    pub(crate) bare_token: (usize, usize),
}

impl Classification {
    fn new(kind: Option<LogEventKind>, fields_from: usize) -> Self {
        Self { kind, fields_from, error_code: (0, 0), is_multiline: true, is_call: false, bare_token: (0, 0) }
    }
}

/// Classifies a message; `None` if nothing in it is known.
pub(crate) fn classify_message(
    matchers: &Matchers,
    message: &[u8],
    complete: bool,
) -> Option<Classification> {
    let (at, which) = matchers.prefilter.find_next(message, 0)?;
    classify_from_hit(matchers, message, at, which, complete)
}

/// Classifies a message whose first literal and its offset are known.
pub(crate) fn classify_from_hit(
    matchers: &Matchers,
    message: &[u8],
    at: usize,
    which: usize,
    complete: bool,
) -> Option<Classification> {
    let (mut next, mut fallback) = (Some((at, which)), None::<Classification>);
    let only_a_token = Classification { is_multiline: false, ..Classification::new(None, 0) };
    // A literal may occur several times; the first one that begins a known message wins.
    while let Some((at, which)) = next {
        let found = match Matchers::literal_kind(which) {
            LiteralKind::Adapter if is_message_start(&message[..at]) => {
                match_phrase(message, at + "[AUTH-ADAPTER]".len(), &ADAPTER_PHRASES)
            }
            LiteralKind::Callback if is_message_start(&message[..at]) => {
                match_phrase(message, at + "[SESSION-CALLBACK]".len(), &CALLBACK_PHRASES)
            }
            LiteralKind::AuthJs if is_tag_start(&message[..at]) => {
                match_authjs(message, at + "auth][".len(), complete)
            }
            LiteralKind::Event(kind) => match_event(message, at, kind, complete),
            LiteralKind::Token => {
                // A token alone is only a fallback, as a later literal may name the event.
                fallback.get_or_insert(only_a_token);
                None
            }
            LiteralKind::Call | LiteralKind::SessionId => {
                let bare_token = match Matchers::literal_kind(which) {
                    LiteralKind::Call => unkeyed_token::find_call_argument(message, at, complete),
                    _ => unkeyed_token::find_session_id(message, at + 1, complete),
                };
                if let Some(bare_token) = bare_token {
                    let from = bare_token.as_ptr().addr() - message.as_ptr().addr();
                    fallback.get_or_insert(only_a_token).bare_token = (from, from + bare_token.len());
                }
                None
            }
            LiteralKind::UniqueViolation
            | LiteralKind::Adapter
            | LiteralKind::Callback
            | LiteralKind::AuthJs
            | LiteralKind::Pattern
            | LiteralKind::NumericMessage => None,
        };
        match found {
            Some(Classification { kind: None, .. }) => {
                let bare_token = fallback.map_or((0, 0), |fallback| fallback.bare_token);
                fallback = found.map(|found| Classification { bare_token, ..found });
            }
            Some(_) => return found,
            None => {}
        }
        next = matchers.prefilter.find_next(message, at + 1);
    }
    fallback
}

/// Returns whether `[auth]` or `[next-auth]` begins the message. `before` is the text before the word `auth`.
fn is_tag_start(before: &[u8]) -> bool {
    let before = before.strip_suffix(b"next-").unwrap_or(before);
    before.strip_suffix(b"[").is_some_and(is_message_start)
}

/// Matches the phrase after a tag, which may follow punctuation, emoji and the word CRITICAL.
fn match_phrase(message: &[u8], mut at: usize, phrases: &[(&str, LogEventKind)]) -> Option<Classification> {
    loop {
        let rest = message.get(at..)?;
        at += rest.iter().position(u8::is_ascii_alphabetic)?;
        match message[at..].strip_prefix(b"CRITICAL") {
            Some(_) => at += "CRITICAL".len(),
            None => break,
        }
    }
    let rest = &message[at..];
    let (words, kind) = phrases.iter().find(|(words, _)| rest.starts_with(words.as_bytes()))?;
    Some(Classification::new(Some(*kind), at + words.len()))
}

/// Matches an event name that is a value rather than a key or a part of another word.
fn match_event(message: &[u8], at: usize, kind: LogEventKind, complete: bool) -> Option<Classification> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/');
    let rest = &message[at..];
    let length = rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len());
    let names = [
        LogEventKind::Created,
        LogEventKind::DuplicateToken,
        LogEventKind::UserMismatch,
        LogEventKind::Destroyed,
    ];
    let name =
        ["session_created", "session_duplicate_detected", "session_user_mismatch", "session_destroyed"];
    let name = names.iter().zip(name).find(|(named, _)| **named == kind)?.1;
    // In an object the closing quote already ends the name.
    if let Some(object) = find_message_object(message) {
        return is_named_event(object, name).then(|| Classification::new(Some(kind), 0));
    }
    let begins = is_message_start(&message[..at]);
    let ends = match rest.get(length) {
        None => complete,
        Some(b'=' | b':') => false,
        Some(b'"' | b'\'') => rest.get(length + 1).map_or(complete, |after| *after != b':'),
        Some(_) => true,
    };
    (begins && ends && length == name.len()).then(|| Classification::new(Some(kind), 0))
}

/// Matches messages of Auth.js 5 (`[auth][error] Name: …`) and NextAuth.js 4 (`[next-auth][error][CODE]`).
fn match_authjs(message: &[u8], at: usize, complete: bool) -> Option<Classification> {
    let rest = &message[at..];
    let level = &rest[..memchr::memchr(b']', rest)?];
    let after = at + level.len() + 1;
    let word = |from: usize| {
        let begin = from + message[from..].iter().position(|byte| !matches!(byte, b' ' | b':' | b'['))?;
        let length = message[begin..].iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
        // A name at the end of a truncated text may be cut.
        let length = length.or(complete.then(|| message.len() - begin))?;
        Some((begin, begin + length))
    };
    let (begin, end) = word(after)?;
    let name = message[begin..end].to_ascii_lowercase();
    match level {
        b"error" => {
            let is = |part: &str| memchr::memmem::find(&name, part.as_bytes()).is_some();
            let kind = match AUTH_ERROR_PARTS.iter().find(|(part, _)| is(part)) {
                Some((_, kind)) => *kind,
                None => classify_thrown_error(&name)?,
            };
            Some(Classification {
                error_code: (begin, end),
                is_multiline: false,
                ..Classification::new(Some(kind), find_line_end(&message[end..]) + end)
            })
        }
        b"debug" => {
            let kind = match name.as_slice() {
                b"adapter_createsession" | b"createsession" => Some(LogEventKind::Created),
                b"adapter_deletesession" | b"deletesession" => Some(LogEventKind::Destroyed),
                b"adapter_updatesession" | b"updatesession" => Some(LogEventKind::Refreshed),
                _ => None,
            };
            let call = [&b"deletesession"[..], b"getsessionanduser"].iter().any(|call| name.ends_with(call));
            Some(Classification { is_call: call, ..Classification::new(kind, end) })
        }
        _ => None,
    }
}

/// Classifies an error that is not one of Auth.js.
fn classify_thrown_error(name: &[u8]) -> Option<LogEventKind> {
    // `EventError` comes from an event handler of the application and concerns no session.
    if !name.ends_with(b"error") || name == b"eventerror" {
        return None;
    }
    let is_stores =
        STORE_ERROR_PARTS.iter().any(|part| memchr::memmem::find(name, part.as_bytes()).is_some());
    Some(if is_stores { LogEventKind::AdapterError } else { LogEventKind::SessionError })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamps::TimestampDefaults;

    fn kind(message: &str) -> Option<LogEventKind> {
        let grammar = Matchers::new(vec![], TimestampDefaults::default());
        classify_message(&grammar, message.as_bytes(), true).and_then(|found| found.kind)
    }

    #[test]
    fn phrases_of_the_operator_guide_match_after_their_own_tag_only() {
        for (tag, phrases, other) in [
            ("[AUTH-ADAPTER]", &ADAPTER_PHRASES[..], "[SESSION-CALLBACK]"),
            ("[SESSION-CALLBACK]", &CALLBACK_PHRASES[..], "[AUTH-ADAPTER]"),
        ] {
            for (words, expected) in phrases {
                assert_eq!(kind(&format!("{tag} {words} {{ userId: 7 }}")), Some(*expected), "{tag} {words}");
                assert_eq!(kind(&format!("{tag} 🚨 CRITICAL: {words}")), Some(*expected), "{tag} {words}");
                let known_there = [&ADAPTER_PHRASES[..], &CALLBACK_PHRASES[..]]
                    .concat()
                    .iter()
                    .filter(|(known, _)| known == words)
                    .count()
                    > 1;
                if !known_there {
                    assert_eq!(kind(&format!("{other} {words}")), None, "{other} {words}");
                }
            }
        }
    }

    #[test]
    fn a_quoted_tag_does_not_begin_a_message() {
        for message in [
            "user wrote: [AUTH-ADAPTER] Session created { userId: 7 }",
            "GET /?q=[SESSION-CALLBACK] User ID mismatch",
            "{\"comment\":\"[AUTH-ADAPTER] Session created\"}",
            "Session created",
            "[AUTH-ADAPTER]",
            "[AUTH-ADAPTER] something else",
            "",
        ] {
            assert_eq!(kind(message), None, "{message}");
        }
    }

    #[test]
    fn auth_js_errors_are_classified_by_name() {
        for (message, expected) in [
            ("[auth][error] AdapterError: Read more", Some(LogEventKind::AdapterError)),
            ("[auth][error] SessionTokenError: x", Some(LogEventKind::SessionError)),
            ("[auth][error] CredentialsSignin: x", Some(LogEventKind::SignInError)),
            ("[auth][error] OAuthCallbackError: x", Some(LogEventKind::SignInError)),
            ("[auth][error] PrismaClientInitializationError: x", Some(LogEventKind::AdapterError)),
            ("[auth][error] TypeError: x", Some(LogEventKind::SessionError)),
            ("[auth][error] EventError: x", None),
            ("[auth][error] Something: x", None),
            ("[next-auth][error][adapter_error_getSessionAndUser]", Some(LogEventKind::AdapterError)),
            ("[next-auth][error][JWT_SESSION_ERROR]", Some(LogEventKind::SessionError)),
            ("[auth][warn] AdapterError: x", None),
            ("[auth][debug]: adapter_createSession", Some(LogEventKind::Created)),
            ("[auth][debug]: adapter_deleteSession", Some(LogEventKind::Destroyed)),
            ("[auth][debug]: adapter_updateSession", Some(LogEventKind::Refreshed)),
            ("[auth][debug]: adapter_getUser", None),
        ] {
            assert_eq!(kind(message), expected, "{message}");
        }
    }

    #[test]
    fn an_error_name_at_the_end_of_a_truncated_text_is_ignored() {
        let grammar = Matchers::new(vec![], TimestampDefaults::default());
        let of = |complete| classify_message(&grammar, b"[auth][error] AdapterError", complete);
        assert!(of(false).is_none());
        let found = of(true).unwrap();
        assert_eq!((found.kind, found.error_code), (Some(LogEventKind::AdapterError), (14, 26)));
    }

    #[test]
    fn event_names_match_as_whole_values_only() {
        for (message, expected) in [
            ("event=session_created user_id=7", Some(LogEventKind::Created)),
            ("{\"event\":\"session_destroyed\",\"user_id\":7}", Some(LogEventKind::Destroyed)),
            ("event=session_duplicate_detected", Some(LogEventKind::DuplicateToken)),
            ("event=session_user_mismatch", Some(LogEventKind::UserMismatch)),
            ("event=session_created_total 7", None),
            ("session_created=7", None),
            ("{\"session_created\":\"now\"}", None),
        ] {
            assert_eq!(kind(message), expected, "{message}");
        }
    }
}
