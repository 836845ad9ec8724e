//! What a message says: which kind of thing happened, and the facts beside it.

use std::borrow::Cow;

use sessionwatch_rules::instant::Instant;

use crate::{
    grammar::{Grammar, What},
    pairs::{Pair, Pairs, line_end, unescaped},
    signal::{Kind, PREFIX, Signal},
    time::{self, Clock},
};

/// Bytes of a fact that are kept.
const LONGEST: usize = 200;
/// The fewest characters of something that can be a whole token.
const WHOLE: usize = 16;

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
}

impl Recognised {
    fn of(kind: Option<Kind>, from: usize) -> Self {
        Self { kind, from, code: (0, 0), spreads: true, call: false }
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
    let (mut next, mut fallback) = (Some(first), None);
    while let Some((at, which)) = next {
        let found = match Grammar::what(which) {
            What::Adapter => phrase(message, at + "[AUTH-ADAPTER]".len(), &ADAPTER),
            What::Callback => phrase(message, at + "[SESSION-CALLBACK]".len(), &CALLBACK),
            What::AuthJs => authjs(message, at + "auth][".len(), complete),
            What::Event(kind) => event(message, at, (kind, complete)),
            What::Token => {
                fallback.get_or_insert(Recognised { spreads: false, ..Recognised::of(None, 0) });
                None
            }
            What::Pattern | What::Numbers => None,
        };
        match found {
            Some(Recognised { kind: None, .. }) => fallback = found,
            Some(_) => return found,
            None => {}
        }
        next = grammar.needles.find(message, at + 1);
    }
    fallback
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
    let begins = at.checked_sub(1).is_none_or(|before| !is_word(message[before]));
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
            let kind = ERRORS.iter().find(|(part, _)| is(part))?.1;
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
    reason: Option<Cow<'a, str>>,
    request: Option<Cow<'a, str>>,
    at: Option<Instant>,
    cut: bool,
}

/// What a key is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Token,
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
        b"token" | b"tokenprefix" | b"sessiontokenprefix" => Slot::Token,
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
                    self.token(pair);
                }
                continue;
            }
            let Some(slot) = slot(pair) else { continue };
            let place = match slot {
                Slot::Token => {
                    self.token(pair);
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
                Slot::Reason => &mut self.reason,
                Slot::Request => &mut self.request,
            };
            if place.is_none() {
                *place = text_of(pair.value);
            }
        }
        self.cut |= pairs.is_cut();
        pairs.is_open()
    }

    fn token(&mut self, pair: Pair<'a>) {
        let Some(token) = token(pair.value) else { return };
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

/// A token in what stands under its key: cut, as it should be, or whole.
fn token(value: &[u8]) -> Option<Token<'_>> {
    let bare = value.strip_suffix(b"...").or_else(|| value.strip_suffix("\u{2026}".as_bytes()));
    let (text, whole) = bare.map_or((value, true), |bare| (bare, false));
    let text = std::str::from_utf8(text).ok()?;
    let plain = |letter: char| {
        letter.is_ascii_alphanumeric()
            || matches!(letter, '_' | '-' | '+' | '/' | '=' | '.' | '~' | '%' | '|')
    };
    let length = text.chars().count();
    if length < PREFIX || !text.chars().all(plain) {
        return None;
    }
    let prefix = Cow::Borrowed(&text[..PREFIX]);
    Some(Token { prefix, whole: whole && length >= WHOLE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_token_is_no_whole_one() {
        let read = |text: &str| token(text.as_bytes()).map(|token| (token.prefix.into_owned(), token.whole));
        let known = |whole| Some(("abcdefgh".to_owned(), whole));
        assert_eq!(read("abcdefgh..."), known(false));
        assert_eq!(read("abcdefgh…"), known(false));
        assert_eq!(read("abcdefgh"), known(false));
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
