//! The facts that a text says beside what happened: fields by their keys, tokens, ids and reasons.

use std::borrow::Cow;

use sessionwatch_core::{instant::Instant, token as tokens};

use crate::{
    classify::Classification,
    key_values::{KeyValues, Pair, unescaped},
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

/// A token as it stands in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token<'a> {
    prefix: Cow<'a, str>,
    whole: bool,
}

/// What a text says beside what happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExtractedFields<'a> {
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
enum FieldKind {
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
fn slot(pair: Pair<'_>) -> Option<FieldKind> {
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
            b"user" => Some(FieldKind::User),
            b"dbuser" => Some(FieldKind::DbUser),
            b"sessionuser" => Some(FieldKind::SessionUser),
            b"existinguser" => Some(FieldKind::Existing),
            b"newuser" => Some(FieldKind::New),
            _ => None,
        };
    }
    let length = plain(pair.key)?;
    Some(match &buffer[..length] {
        b"userid" => FieldKind::User,
        b"existinguserid" => FieldKind::Existing,
        b"newuserid" => FieldKind::New,
        b"sessionuserid" | b"expecteduserid" => FieldKind::SessionUser,
        b"dbuserid" | b"actualuserid" => FieldKind::DbUser,
        b"expires" | b"expiresat" => FieldKind::Expires,
        b"reason" => FieldKind::Reason,
        b"requestid" | b"reqid" => FieldKind::Request,
        b"timestamp" | b"time" | b"ts" => FieldKind::At,
        b"tokenprefix" | b"sessiontokenprefix" => FieldKind::Prefix,
        b"token" => FieldKind::Token,
        b"connectsid" => FieldKind::Signed,
        key if key.ends_with(b"sessiontoken") => FieldKind::Token,
        _ => return None,
    })
}

/// What a text is, whose fields are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextForm {
    /// A call of an adapter, whose first argument may be a token.
    Call,
    /// Anything else.
    Plain,
}

impl TextForm {
    pub(crate) fn of(is_call: bool) -> Self {
        if is_call { Self::Call } else { Self::Plain }
    }
}

impl<'a> ExtractedFields<'a> {
    /// Those of a text; what is known already stays. Whether an object of it has not ended.
    pub(crate) fn gather(&mut self, text: &'a [u8], complete: bool, form: TextForm, clock: Clock) -> bool {
        let mut pairs = KeyValues::new(text, complete);
        for pair in &mut pairs {
            if pair.key.is_empty() {
                if form == TextForm::Call && pair.quoted && pair.parent == b"args" {
                    self.token(token(pair.value, Marked::No));
                }
                continue;
            }
            let Some(slot) = slot(pair) else { continue };
            let place = match slot {
                FieldKind::Token | FieldKind::Prefix => {
                    let marked = if slot == FieldKind::Prefix { Marked::AsPrefix } else { Marked::No };
                    self.token(token(pair.value, marked));
                    continue;
                }
                FieldKind::Signed => {
                    self.token(token(unsigned(pair.value), Marked::No));
                    continue;
                }
                FieldKind::Reason => {
                    if self.reason.is_none() {
                        self.reason = text_of(pair.value).as_deref().and_then(known);
                    }
                    continue;
                }
                FieldKind::Request => {
                    if self.request.is_none() {
                        self.request = text_of(pair.value).and_then(request_id);
                    }
                    continue;
                }
                FieldKind::Expires => {
                    self.expires = self.expires.or_else(|| time::value(pair.value, clock));
                    continue;
                }
                FieldKind::At => {
                    self.at = self.at.or_else(|| time::value(pair.value, clock));
                    continue;
                }
                FieldKind::User => &mut self.user,
                FieldKind::Existing => &mut self.existing,
                FieldKind::New => &mut self.new,
                FieldKind::SessionUser => &mut self.session_user,
                FieldKind::DbUser => &mut self.db_user,
            };
            if place.is_none() {
                *place = user_id(pair.value);
            }
        }
        self.cut |= pairs.is_cut();
        pairs.is_open()
    }

    /// Those of a text that nothing but a token may stand in: one without a key, or in a statement of SQL.
    pub(crate) fn gather_token(&mut self, message: &'a [u8], recognised: Classification) {
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
