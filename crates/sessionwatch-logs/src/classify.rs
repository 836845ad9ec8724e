//! What a message says: which kind of thing happened.

use crate::{
    beginning::{is_beginning, is_event, object},
    call,
    key_values::line_end,
    matchers::{LiteralKind, Matchers},
    signal::Kind,
};

/// What the guide's application writes after its tags.
const ADAPTER: [(&str, Kind); 6] = [
    ("Session created", Kind::Created),
    ("Duplicate session token", Kind::DuplicateToken),
    ("User not found", Kind::UserNotFound),
    ("Invalid userId", Kind::InvalidUser),
    ("Error creating", Kind::AdapterError),
    ("Session deleted", Kind::Destroyed),
];
const CALLBACK: [(&str, Kind); 4] = [
    ("User ID mismatch", Kind::UserMismatch),
    ("User not found", Kind::UserNotFound),
    ("Session refreshed", Kind::Refreshed),
    ("Error fetching", Kind::AdapterError),
];
/// Names of Auth.js errors, and parts of the codes of NextAuth.js 4, by what they are about.
const ERRORS: [(&str, Kind); 17] = [
    ("adapter_error", Kind::AdapterError),
    ("adaptererror", Kind::AdapterError),
    ("sessiontokenerror", Kind::SessionError),
    ("session_error", Kind::SessionError),
    ("jwtsessionerror", Kind::SessionError),
    ("jwt_session", Kind::SessionError),
    ("credentials", Kind::SignInError),
    ("callback", Kind::SignInError),
    ("oauth", Kind::SignInError),
    ("signin", Kind::SignInError),
    ("accessdenied", Kind::SignInError),
    ("accountnotlinked", Kind::SignInError),
    ("verification", Kind::SignInError),
    ("missingcsrf", Kind::SignInError),
    ("email", Kind::SignInError),
    ("webauthn", Kind::SignInError),
    ("passkey", Kind::SignInError),
];

/// Parts of the names of errors that stores and their clients throw.
const STORES: [&str; 14] = [
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

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Classification {
    /// What happened; nothing if only a token may stand there.
    pub(crate) kind: Option<Kind>,
    /// Where the facts begin.
    pub(crate) from: usize,
    /// Where the code of an error stands.
    pub(crate) code: (usize, usize),
    /// The facts may go on over lines.
    pub(crate) spreads: bool,
    /// A call of an adapter, whose first argument may be a token.
    pub(crate) call: bool,
    /// Where a token stands that has no key; nothing stands at an empty place.
    pub(crate) bare: (usize, usize),
}

impl Classification {
    fn of(kind: Option<Kind>, from: usize) -> Self {
        Self { kind, from, code: (0, 0), spreads: true, call: false, bare: (0, 0) }
    }
}

/// What a message is about, if it is about anything that is known.
pub(crate) fn classify(grammar: &Matchers, message: &[u8], complete: bool) -> Option<Classification> {
    let (at, which) = grammar.needles.find(message, 0)?;
    classify_at(grammar, message, at, which, complete)
}

/// The same, where it is known which literal stands first, and where.
pub(crate) fn classify_at(
    grammar: &Matchers,
    message: &[u8],
    at: usize,
    which: usize,
    complete: bool,
) -> Option<Classification> {
    let (mut next, mut fallback) = (Some((at, which)), None::<Classification>);
    let only_a_token = Classification { spreads: false, ..Classification::of(None, 0) };
    while let Some((at, which)) = next {
        let found = match Matchers::what(which) {
            LiteralKind::Adapter if is_beginning(&message[..at]) => {
                phrase(message, at + "[AUTH-ADAPTER]".len(), &ADAPTER)
            }
            LiteralKind::Callback if is_beginning(&message[..at]) => {
                phrase(message, at + "[SESSION-CALLBACK]".len(), &CALLBACK)
            }
            LiteralKind::AuthJs if is_tag_beginning(&message[..at]) => {
                authjs(message, at + "auth][".len(), complete)
            }
            LiteralKind::Event(kind) => event(message, at, kind, complete),
            LiteralKind::Token => {
                fallback.get_or_insert(only_a_token);
                None
            }
            LiteralKind::Call | LiteralKind::SessionId => {
                let bare = match Matchers::what(which) {
                    LiteralKind::Call => call::argument(message, at, complete),
                    _ => call::session_id(message, at + 1, complete),
                };
                if let Some(bare) = bare {
                    let from = bare.as_ptr().addr() - message.as_ptr().addr();
                    fallback.get_or_insert(only_a_token).bare = (from, from + bare.len());
                }
                None
            }
            LiteralKind::Violation
            | LiteralKind::Adapter
            | LiteralKind::Callback
            | LiteralKind::AuthJs
            | LiteralKind::Pattern
            | LiteralKind::Numbers => None,
        };
        match found {
            Some(Classification { kind: None, .. }) => {
                let bare = fallback.map_or((0, 0), |fallback| fallback.bare);
                fallback = found.map(|found| Classification { bare, ..found });
            }
            Some(_) => return found,
            None => {}
        }
        next = grammar.needles.find(message, at + 1);
    }
    fallback
}

/// Whether the tag `[auth]` or `[next-auth]` begins a message, given what stands before its word.
fn is_tag_beginning(before: &[u8]) -> bool {
    let before = before.strip_suffix(b"next-").unwrap_or(before);
    before.strip_suffix(b"[").is_some_and(is_beginning)
}

/// What is said after a tag: signs, pictures and the word CRITICAL may stand before it.
fn phrase(message: &[u8], mut at: usize, phrases: &[(&str, Kind)]) -> Option<Classification> {
    loop {
        let rest = message.get(at..)?;
        at += rest.iter().position(u8::is_ascii_alphabetic)?;
        match message[at..].strip_prefix(b"CRITICAL") {
            Some(_) => at += "CRITICAL".len(),
            None => break,
        }
    }
    let said = &message[at..];
    let (words, kind) = phrases.iter().find(|(words, _)| said.starts_with(words.as_bytes()))?;
    Some(Classification::of(Some(*kind), at + words.len()))
}

/// An event by its name, where that is a value and not a key or a part of another word.
fn event(message: &[u8], at: usize, kind: Kind, complete: bool) -> Option<Classification> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/');
    let rest = &message[at..];
    let length = rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len());
    let names = [Kind::Created, Kind::DuplicateToken, Kind::UserMismatch, Kind::Destroyed];
    let name =
        ["session_created", "session_duplicate_detected", "session_user_mismatch", "session_destroyed"];
    let name = names.iter().zip(name).find(|(named, _)| **named == kind)?.1;
    // What follows the name in an object need not be known: it is complete with its quotes.
    if let Some(object) = object(message) {
        return is_event(object, name).then(|| Classification::of(Some(kind), 0));
    }
    let begins = is_beginning(&message[..at]);
    let ends = match rest.get(length) {
        None => complete,
        Some(b'=' | b':') => false,
        Some(b'"' | b'\'') => rest.get(length + 1).map_or(complete, |after| *after != b':'),
        Some(_) => true,
    };
    (begins && ends && length == name.len()).then(|| Classification::of(Some(kind), 0))
}

/// What Auth.js 5 (`[auth][error] Name: …`) or NextAuth.js 4 (`[next-auth][error][CODE]`) says.
fn authjs(message: &[u8], at: usize, complete: bool) -> Option<Classification> {
    let rest = &message[at..];
    let level = &rest[..memchr::memchr(b']', rest)?];
    let after = at + level.len() + 1;
    let word = |from: usize| {
        let begin = from + message[from..].iter().position(|byte| !matches!(byte, b' ' | b':' | b'['))?;
        let length = message[begin..].iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
        // A name that the text ends in may be half of one.
        let length = length.or(complete.then(|| message.len() - begin))?;
        Some((begin, begin + length))
    };
    let (begin, end) = word(after)?;
    let name = message[begin..end].to_ascii_lowercase();
    match level {
        b"error" => {
            let is = |part: &str| memchr::memmem::find(&name, part.as_bytes()).is_some();
            let kind = match ERRORS.iter().find(|(part, _)| is(part)) {
                Some((_, kind)) => *kind,
                None => thrown(&name)?,
            };
            Some(Classification {
                code: (begin, end),
                spreads: false,
                ..Classification::of(Some(kind), line_end(&message[end..]) + end)
            })
        }
        b"debug" => {
            let kind = match name.as_slice() {
                b"adapter_createsession" | b"createsession" => Some(Kind::Created),
                b"adapter_deletesession" | b"deletesession" => Some(Kind::Destroyed),
                b"adapter_updatesession" | b"updatesession" => Some(Kind::Refreshed),
                _ => None,
            };
            let call = [&b"deletesession"[..], b"getsessionanduser"].iter().any(|call| name.ends_with(call));
            Some(Classification { call, ..Classification::of(kind, end) })
        }
        _ => None,
    }
}

/// What an error is about that is none of Auth.js: the store's own ones name it, and what else was thrown kept a session
/// from being read. `EventError` is about a handler of the application's.
fn thrown(name: &[u8]) -> Option<Kind> {
    if !name.ends_with(b"error") || name == b"eventerror" {
        return None;
    }
    let is_stores = STORES.iter().any(|part| memchr::memmem::find(name, part.as_bytes()).is_some());
    Some(if is_stores { Kind::AdapterError } else { Kind::SessionError })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Clock;

    fn kind(message: &str) -> Option<Kind> {
        let grammar = Matchers::new(vec![], Clock::default());
        classify(&grammar, message.as_bytes(), true).and_then(|found| found.kind)
    }

    #[test]
    fn every_phrase_of_the_guide_is_known_after_its_own_tag_alone() {
        for (tag, phrases, other) in [
            ("[AUTH-ADAPTER]", &ADAPTER[..], "[SESSION-CALLBACK]"),
            ("[SESSION-CALLBACK]", &CALLBACK[..], "[AUTH-ADAPTER]"),
        ] {
            for (words, expected) in phrases {
                assert_eq!(kind(&format!("{tag} {words} {{ userId: 7 }}")), Some(*expected), "{tag} {words}");
                assert_eq!(kind(&format!("{tag} 🚨 CRITICAL: {words}")), Some(*expected), "{tag} {words}");
                let known_there =
                    [&ADAPTER[..], &CALLBACK[..]].concat().iter().filter(|(known, _)| known == words).count()
                        > 1;
                if !known_there {
                    assert_eq!(kind(&format!("{other} {words}")), None, "{other} {words}");
                }
            }
        }
    }

    #[test]
    fn a_tag_that_somebody_quotes_begins_no_message() {
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
    fn errors_of_auth_js_are_told_apart_by_their_names() {
        for (message, expected) in [
            ("[auth][error] AdapterError: Read more", Some(Kind::AdapterError)),
            ("[auth][error] SessionTokenError: x", Some(Kind::SessionError)),
            ("[auth][error] CredentialsSignin: x", Some(Kind::SignInError)),
            ("[auth][error] OAuthCallbackError: x", Some(Kind::SignInError)),
            ("[auth][error] PrismaClientInitializationError: x", Some(Kind::AdapterError)),
            ("[auth][error] TypeError: x", Some(Kind::SessionError)),
            ("[auth][error] EventError: x", None),
            ("[auth][error] Something: x", None),
            ("[next-auth][error][adapter_error_getSessionAndUser]", Some(Kind::AdapterError)),
            ("[next-auth][error][JWT_SESSION_ERROR]", Some(Kind::SessionError)),
            ("[auth][warn] AdapterError: x", None),
            ("[auth][debug]: adapter_createSession", Some(Kind::Created)),
            ("[auth][debug]: adapter_deleteSession", Some(Kind::Destroyed)),
            ("[auth][debug]: adapter_updateSession", Some(Kind::Refreshed)),
            ("[auth][debug]: adapter_getUser", None),
        ] {
            assert_eq!(kind(message), expected, "{message}");
        }
    }

    #[test]
    fn the_name_of_an_error_that_the_text_ends_in_may_be_half_of_one() {
        let grammar = Matchers::new(vec![], Clock::default());
        let of = |complete| classify(&grammar, b"[auth][error] AdapterError", complete);
        assert!(of(false).is_none());
        let found = of(true).unwrap();
        assert_eq!((found.kind, found.code), (Some(Kind::AdapterError), (14, 26)));
    }

    #[test]
    fn events_are_values_and_neither_keys_nor_parts_of_words() {
        for (message, expected) in [
            ("event=session_created user_id=7", Some(Kind::Created)),
            ("{\"event\":\"session_destroyed\",\"user_id\":7}", Some(Kind::Destroyed)),
            ("event=session_duplicate_detected", Some(Kind::DuplicateToken)),
            ("event=session_user_mismatch", Some(Kind::UserMismatch)),
            ("event=session_created_total 7", None),
            ("session_created=7", None),
            ("{\"session_created\":\"now\"}", None),
        ] {
            assert_eq!(kind(message), expected, "{message}");
        }
    }
}
