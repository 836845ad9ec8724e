//! What a message says: which kind of thing happened, and the facts beside it.

use std::borrow::Cow;

use sessionwatch_core::{instant::Instant, token as tokens};

use crate::{
    beginning::{is_beginning, is_event, object},
    call,
    grammar::{Grammar, What},
    pairs::{Pair, Pairs, line_end, unescaped},
    reason::reason,
    server_log::is_session_token,
    signal::{Kind, Signal},
    statement,
    time::{self, Clock},
};

/// Bytes of a fact that are kept.
const LONGEST: usize = 200;
/// Characters of an id of a request that are kept.
const LONGEST_REQUEST: usize = 128;
/// The fewest characters of something that can be a whole token.
const WHOLE: usize = 16;
/// Of what is not marked as a prefix and has fewer characters, it cannot be told whether it is a whole token.
const DOUBTFUL: usize = 12;

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
pub(crate) struct Recognised {
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

impl Recognised {
    fn of(kind: Option<Kind>, from: usize) -> Self {
        Self { kind, from, code: (0, 0), spreads: true, call: false, bare: (0, 0) }
    }
}

/// What a message is about, if it is about anything that is known.
pub(crate) fn recognise(grammar: &Grammar, message: &[u8], complete: bool) -> Option<Recognised> {
    recognise_at(grammar, message, (grammar.needles.find(message, 0)?, complete))
}

/// The same, where the first literal and its place are known.
pub(crate) fn recognise_at(
    grammar: &Grammar,
    message: &[u8],
    (first, complete): ((usize, usize), bool),
) -> Option<Recognised> {
    let (mut next, mut fallback) = (Some(first), None::<Recognised>);
    let only_a_token = Recognised { spreads: false, ..Recognised::of(None, 0) };
    while let Some((at, which)) = next {
        let found = match Grammar::what(which) {
            What::Adapter if is_beginning(&message[..at]) => {
                phrase(message, at + "[AUTH-ADAPTER]".len(), &ADAPTER)
            }
            What::Callback if is_beginning(&message[..at]) => {
                phrase(message, at + "[SESSION-CALLBACK]".len(), &CALLBACK)
            }
            What::AuthJs if is_tag_beginning(&message[..at]) => {
                authjs(message, at + "auth][".len(), complete)
            }
            What::Event(kind) => event(message, at, (kind, complete)),
            What::Token => {
                fallback.get_or_insert(only_a_token);
                None
            }
            What::Call | What::SessionId => {
                let bare = match Grammar::what(which) {
                    What::Call => call::argument(message, at, complete),
                    _ => call::session_id(message, at + 1, complete),
                };
                if let Some(bare) = bare {
                    let from = bare.as_ptr().addr() - message.as_ptr().addr();
                    fallback.get_or_insert(only_a_token).bare = (from, from + bare.len());
                }
                None
            }
            What::Violation
            | What::Adapter
            | What::Callback
            | What::AuthJs
            | What::Pattern
            | What::Numbers => None,
        };
        match found {
            Some(Recognised { kind: None, .. }) => {
                let bare = fallback.map_or((0, 0), |fallback| fallback.bare);
                fallback = found.map(|found| Recognised { bare, ..found });
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
fn phrase(message: &[u8], mut at: usize, phrases: &[(&str, Kind)]) -> Option<Recognised> {
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
    Some(Recognised::of(Some(*kind), at + words.len()))
}

/// An event by its name, where that is a value and not a key or a part of another word.
fn event(message: &[u8], at: usize, (kind, complete): (Kind, bool)) -> Option<Recognised> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/');
    let rest = &message[at..];
    let length = rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len());
    let names = [Kind::Created, Kind::DuplicateToken, Kind::UserMismatch, Kind::Destroyed];
    let name =
        ["session_created", "session_duplicate_detected", "session_user_mismatch", "session_destroyed"];
    let name = names.iter().zip(name).find(|(named, _)| **named == kind)?.1;
    // What follows the name in an object need not be known: it is complete with its quotes.
    if let Some(object) = object(message) {
        return is_event(object, name).then(|| Recognised::of(Some(kind), 0));
    }
    let begins = is_beginning(&message[..at]);
    let ends = match rest.get(length) {
        None => complete,
        Some(b'=' | b':') => false,
        Some(b'"' | b'\'') => rest.get(length + 1).map_or(complete, |after| *after != b':'),
        Some(_) => true,
    };
    (begins && ends && length == name.len()).then(|| Recognised::of(Some(kind), 0))
}

/// What Auth.js 5 (`[auth][error] Name: …`) or NextAuth.js 4 (`[next-auth][error][CODE]`) says.
fn authjs(message: &[u8], at: usize, complete: bool) -> Option<Recognised> {
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
            Some(Recognised {
                code: (begin, end),
                spreads: false,
                ..Recognised::of(Some(kind), line_end(&message[end..]) + end)
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
            Some(Recognised { call, ..Recognised::of(kind, end) })
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

/// A token as it stands in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token<'a> {
    prefix: Cow<'a, str>,
    whole: bool,
}

/// What a text says beside what happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts<'a> {
    token: Option<Token<'a>>,
    leaked: Option<Cow<'a, str>>,
    user: Option<Cow<'a, str>>,
    existing: Option<Cow<'a, str>>,
    new: Option<Cow<'a, str>>,
    session_user: Option<Cow<'a, str>>,
    db_user: Option<Cow<'a, str>>,
    expires: Option<Instant>,
    reason: Option<Cow<'static, str>>,
    request: Option<Cow<'a, str>>,
    at: Option<Instant>,
    cut: bool,
}

/// What a key is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Token,
    Signed,
    Prefix,
    User,
    Existing,
    New,
    SessionUser,
    DbUser,
    Expires,
    Reason,
    Request,
    At,
}

/// What a key is about, however its words are joined.
fn slot(pair: Pair<'_>) -> Option<Slot> {
    let mut buffer = [0; 32];
    let mut plain = |key: &[u8]| -> Option<usize> {
        let mut length = 0;
        for byte in key.iter().filter(|byte| byte.is_ascii_alphanumeric()) {
            *buffer.get_mut(length)? = byte.to_ascii_lowercase();
            length += 1;
        }
        Some(length)
    };
    if pair.key == b"id" {
        let length = plain(pair.parent)?;
        return match &buffer[..length] {
            b"user" => Some(Slot::User),
            b"dbuser" => Some(Slot::DbUser),
            b"sessionuser" => Some(Slot::SessionUser),
            b"existinguser" => Some(Slot::Existing),
            b"newuser" => Some(Slot::New),
            _ => None,
        };
    }
    let length = plain(pair.key)?;
    Some(match &buffer[..length] {
        b"userid" => Slot::User,
        b"existinguserid" => Slot::Existing,
        b"newuserid" => Slot::New,
        b"sessionuserid" | b"expecteduserid" => Slot::SessionUser,
        b"dbuserid" | b"actualuserid" => Slot::DbUser,
        b"expires" | b"expiresat" => Slot::Expires,
        b"reason" => Slot::Reason,
        b"requestid" | b"reqid" => Slot::Request,
        b"timestamp" | b"time" | b"ts" => Slot::At,
        b"tokenprefix" | b"sessiontokenprefix" => Slot::Prefix,
        b"token" => Slot::Token,
        b"connectsid" => Slot::Signed,
        key if key.ends_with(b"sessiontoken") => Slot::Token,
        _ => return None,
    })
}

impl<'a> Facts<'a> {
    /// Those of a text; what is known already stays. Whether an object of it has not ended.
    pub(crate) fn gather(&mut self, text: &'a [u8], (complete, call): (bool, bool), clock: Clock) -> bool {
        let mut pairs = Pairs::new(text, complete);
        for pair in &mut pairs {
            if pair.key.is_empty() {
                if call && pair.quoted && pair.parent == b"args" {
                    self.token(token(pair.value, Marked::No));
                }
                continue;
            }
            let Some(slot) = slot(pair) else { continue };
            let place = match slot {
                Slot::Token | Slot::Prefix => {
                    let marked = if slot == Slot::Prefix { Marked::AsPrefix } else { Marked::No };
                    self.token(token(pair.value, marked));
                    continue;
                }
                Slot::Signed => {
                    self.token(token(unsigned(pair.value), Marked::No));
                    continue;
                }
                Slot::Reason => {
                    if self.reason.is_none() {
                        self.reason = text_of(pair.value).as_deref().and_then(known);
                    }
                    continue;
                }
                Slot::Request => {
                    if self.request.is_none() {
                        self.request = text_of(pair.value).and_then(request_id);
                    }
                    continue;
                }
                Slot::Expires => {
                    self.expires = self.expires.or_else(|| time::value(pair.value, clock));
                    continue;
                }
                Slot::At => {
                    self.at = self.at.or_else(|| time::value(pair.value, clock));
                    continue;
                }
                Slot::User => &mut self.user,
                Slot::Existing => &mut self.existing,
                Slot::New => &mut self.new,
                Slot::SessionUser => &mut self.session_user,
                Slot::DbUser => &mut self.db_user,
            };
            if place.is_none() {
                *place = user_id(pair.value);
            }
        }
        self.cut |= pairs.is_cut();
        pairs.is_open()
    }

    /// Those of a text that nothing but a token may stand in: one without a key, or in a statement of SQL.
    pub(crate) fn gather_token(&mut self, message: &'a [u8], recognised: Recognised) {
        if self.leaked.is_none() {
            let (from, to) = recognised.bare;
            let bare = message.get(from..to).filter(|bare| !bare.is_empty());
            let value = bare.or_else(|| statement::value_of(message, is_session_token));
            self.token(value.and_then(|value| token(value, Marked::No)));
        }
    }

    fn token(&mut self, token: Option<Token<'a>>) {
        let Some(token) = token else { return };
        if token.whole && self.leaked.is_none() {
            self.leaked = Some(token.prefix.clone());
        }
        if self.token.is_none() {
            self.token = Some(token);
        }
    }

    /// The signal that they make with a kind.
    pub(crate) fn signal(&self, kind: Kind) -> Signal<'a> {
        let (user, other) = match kind {
            Kind::DuplicateToken => (self.existing.clone().or_else(|| self.user.clone()), self.new.clone()),
            Kind::UserMismatch => {
                (self.session_user.clone().or_else(|| self.user.clone()), self.db_user.clone())
            }
            _ => (self.user.clone(), None),
        };
        Signal {
            at: self.at,
            user,
            other,
            prefix: self.token.as_ref().map(|token| token.prefix.clone()),
            expires: self.expires,
            reason: self.reason.clone(),
            request: self.request.clone(),
            truncated: self.cut,
            ..Signal::of(kind)
        }
    }

    /// The first characters of a whole token that stands in the text.
    pub(crate) fn leaked(&self) -> Option<&Cow<'a, str>> {
        self.leaked.as_ref()
    }
}

/// A value as text that may be kept and shown.
pub(crate) fn text_of(value: &[u8]) -> Option<Cow<'_, str>> {
    if value.is_empty() || value.len() > LONGEST || matches!(value, b"undefined" | b"null" | b"None" | b"nil")
    {
        return None;
    }
    let text = match unescaped(value) {
        Cow::Borrowed(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(bytes),
        },
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    };
    if !text.bytes().all(|byte| (b' '..0x7f).contains(&byte)) && text.contains(char::is_control) {
        return Some(Cow::Owned(text.replace(char::is_control, "\u{fffd}")));
    }
    // A BigInt is printed with an `n`.
    match text {
        Cow::Borrowed(number) => match number.strip_suffix('n') {
            Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(Cow::Borrowed(digits))
            }
            _ => Some(Cow::Borrowed(number)),
        },
        owned @ Cow::Owned(_) => Some(owned),
    }
}

/// The id of a user as it may be kept: neither an address nor a JWT, which would be a secret in the wrong place.
pub(crate) fn user_id(value: &[u8]) -> Option<Cow<'_, str>> {
    text_of(value).filter(|id| !(id.contains("://") || id.starts_with("eyJ") && id.contains('.')))
}

/// The id of a request as it may be kept.
pub(crate) fn request_id(id: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let is_part = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/' | b'=' | b'+')
    };
    let fits = id.len() <= LONGEST_REQUEST && id.bytes().all(is_part) && !id.contains("://");
    (fits && !id.starts_with("eyJ")).then_some(id)
}

/// A reason in words that are known, for as long as it is needed.
fn known(text: &str) -> Option<Cow<'static, str>> {
    reason(text).map(|reason| Cow::Owned(reason.into_owned()))
}

/// The code of an error: a name, without anything that could be a secret.
pub(crate) fn code(value: &[u8]) -> Option<Cow<'_, str>> {
    let is_name = value.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
    text_of(value).filter(|code| is_name && code.len() <= 64)
}

/// Whether something says that a text is a prefix of a token, and no whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marked {
    AsPrefix,
    No,
}

/// A token in what stands under its key: cut, as it should be, or whole.
fn token(value: &[u8], marked: Marked) -> Option<Token<'_>> {
    let bare = value.strip_suffix(b"...").or_else(|| value.strip_suffix("\u{2026}".as_bytes()));
    let (text, cut) = bare.map_or((value, marked == Marked::AsPrefix), |bare| (bare, true));
    let text = std::str::from_utf8(text).ok()?;
    if text.len() < tokens::LONGEST_PREFIX || !text.bytes().all(is_token_part) {
        return None;
    }
    if cut {
        let prefix = Cow::Borrowed(&text[..tokens::LONGEST_PREFIX]);
        return Some(Token { prefix, whole: false });
    }
    (text.len() >= DOUBTFUL)
        .then(|| Token { prefix: Cow::Borrowed(tokens::prefix(text)), whole: text.len() >= WHOLE })
}

/// The session id in a signed cookie, as Express writes it: `s:ID.SIGNATURE`.
fn unsigned(value: &[u8]) -> &[u8] {
    let id = value.strip_prefix(b"s%3A").or_else(|| value.strip_prefix(b"s:")).unwrap_or(value);
    &id[..memchr::memchr(b'.', id).unwrap_or(id.len())]
}

/// The prefix of a whole token, and of what may be one.
pub(crate) fn whole_prefix(value: &[u8]) -> Option<(String, bool)> {
    token(value, Marked::No).map(|token| (token.prefix.into_owned(), token.whole))
}

/// The token prefix in what a pattern of the operator captured, and in what follows it.
pub(crate) fn captured_prefix<'a>(captured: &'a [u8], after: &[u8]) -> Option<Cow<'a, str>> {
    let goes_on = after.starts_with(b"...") || after.starts_with("\u{2026}".as_bytes());
    let goes_on = goes_on || after.first().is_some_and(|byte| byte.is_ascii_alphanumeric());
    token(captured, if goes_on { Marked::AsPrefix } else { Marked::No }).map(|token| token.prefix)
}

fn is_token_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'_' | b'-' | b'+' | b'/' | b'=' | b'.' | b'~' | b'%' | b'|')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_token_is_no_whole_one() {
        let read = |text: &str| {
            token(text.as_bytes(), Marked::No).map(|token| (token.prefix.into_owned(), token.whole))
        };
        let known = |whole| Some(("abcdefgh".to_owned(), whole));
        assert_eq!(read("abcdefgh..."), known(false));
        assert_eq!(read("abcdefgh…"), known(false));
        let marked = token(b"abcdefgh", Marked::AsPrefix).map(|token| token.prefix.into_owned());
        assert_eq!(marked.as_deref(), Some("abcdefgh"));
        // It may be a whole token.
        assert_eq!((read("abcdefgh"), read("12345678901")), (None, None));
        assert_eq!(read("123456789012"), Some(("1234".to_owned(), false)));
        assert_eq!(read("1234567890123456"), Some(("12345".to_owned(), true)));
        assert_eq!(read("abcdefgh-0123-4567-89ab-cdef01234567"), known(true));
        assert_eq!(read("abc..."), None);
        assert_eq!(read("[REDACTED]"), None);
        assert_eq!(read("********"), None);
    }

    #[test]
    fn what_is_no_value_is_nothing() {
        for nothing in ["undefined", "null", ""] {
            assert_eq!(text_of(nothing.as_bytes()), None);
        }
        assert_eq!(text_of(b"12n").as_deref(), Some("12"));
        assert_eq!(text_of(b"a\\nb").as_deref(), Some("a\u{fffd}b"));
    }
}
