//! Fields of a log event: users, tokens, ids, times and reasons.

use std::borrow::Cow;

use sessionwatch_core::{timestamp::UtcTimestamp, token_prefix as tokens};

use crate::{
    classify::Classification,
    key_values::{KeyValue, KeyValues, unescape_text},
    log_event::{LogEvent, LogEventKind},
    reason::sanitize_reason,
    server_log::is_session_token_column,
    sql_statement,
    timestamps::{self, TimestampDefaults},
};

/// Maximum length of a field value, in bytes.
const MAX_FIELD_BYTES: usize = 200;
/// Maximum length of a request id, in characters.
const MAX_REQUEST_ID_CHARS: usize = 128;
/// Minimum length of a full token, in characters.
const MIN_FULL_TOKEN_CHARS: usize = 16;
/// Minimum length, in characters, of a value without a prefix mark. A shorter one may be a full token or a prefix.
const MIN_TOKEN_CHARS: usize = 12;

/// Token found in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LoggedToken<'a> {
    prefix: Cow<'a, str>,
    is_full: bool,
}

/// Fields of a text.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExtractedFields<'a> {
    token: Option<LoggedToken<'a>>,
    leaked_prefix: Option<Cow<'a, str>>,
    user: Option<Cow<'a, str>>,
    existing_user: Option<Cow<'a, str>>,
    new_user: Option<Cow<'a, str>>,
    session_user: Option<Cow<'a, str>>,
    db_user: Option<Cow<'a, str>>,
    expires: Option<UtcTimestamp>,
    reason: Option<Cow<'static, str>>,
    request_id: Option<Cow<'a, str>>,
    timestamp: Option<UtcTimestamp>,
    is_truncated: bool,
}

/// Meaning of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FieldKind {
    Token,
    SignedCookie,
    TokenPrefix,
    User,
    ExistingUser,
    NewUser,
    SessionUser,
    DbUser,
    Expires,
    Reason,
    RequestId,
    Timestamp,
}

/// Classifies a key, ignoring case and separators between its words.
fn classify_key(pair: KeyValue<'_>) -> Option<FieldKind> {
    let mut buffer = [0; 32];
    let mut plain = |key: &[u8]| -> Option<usize> {
        let mut length = 0;
        for byte in key.iter().filter(|byte| byte.is_ascii_alphanumeric()) {
            // Longer keys cannot be known ones.
            *buffer.get_mut(length)? = byte.to_ascii_lowercase();
            length += 1;
        }
        Some(length)
    };
    // `id` alone says nothing; its parent object determines whose id it is.
    if pair.key == b"id" {
        let length = plain(pair.parent)?;
        return match &buffer[..length] {
            b"user" => Some(FieldKind::User),
            b"dbuser" => Some(FieldKind::DbUser),
            b"sessionuser" => Some(FieldKind::SessionUser),
            b"existinguser" => Some(FieldKind::ExistingUser),
            b"newuser" => Some(FieldKind::NewUser),
            _ => None,
        };
    }
    let length = plain(pair.key)?;
    Some(match &buffer[..length] {
        b"userid" => FieldKind::User,
        b"existinguserid" => FieldKind::ExistingUser,
        b"newuserid" => FieldKind::NewUser,
        b"sessionuserid" | b"expecteduserid" => FieldKind::SessionUser,
        b"dbuserid" | b"actualuserid" => FieldKind::DbUser,
        b"expires" | b"expiresat" => FieldKind::Expires,
        b"reason" => FieldKind::Reason,
        b"requestid" | b"reqid" => FieldKind::RequestId,
        b"timestamp" | b"time" | b"ts" => FieldKind::Timestamp,
        b"tokenprefix" | b"sessiontokenprefix" => FieldKind::TokenPrefix,
        b"token" => FieldKind::Token,
        b"connectsid" => FieldKind::SignedCookie,
        key if key.ends_with(b"sessiontoken") => FieldKind::Token,
        _ => return None,
    })
}

/// Form of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextForm {
    /// Adapter call, whose first argument may be a token.
    Call,
    /// Any other text.
    Plain,
}

impl TextForm {
    pub(crate) fn from_is_call(is_call: bool) -> Self {
        if is_call { Self::Call } else { Self::Plain }
    }
}

impl<'a> ExtractedFields<'a> {
    /// Collects the fields of a text; known fields are kept. Returns whether an object in the text is still open.
    pub(crate) fn collect_fields(
        &mut self,
        text: &'a [u8],
        complete: bool,
        form: TextForm,
        defaults: TimestampDefaults,
    ) -> bool {
        let mut pairs = KeyValues::new(text, complete);
        for pair in &mut pairs {
            if pair.key.is_empty() {
                if form == TextForm::Call && pair.is_quoted && pair.parent == b"args" {
                    self.record_token(parse_token(pair.value, TokenMark::Unmarked));
                }
                continue;
            }
            let Some(kind) = classify_key(pair) else { continue };
            let field = match kind {
                FieldKind::Token | FieldKind::TokenPrefix => {
                    let marked =
                        if kind == FieldKind::TokenPrefix { TokenMark::Prefix } else { TokenMark::Unmarked };
                    self.record_token(parse_token(pair.value, marked));
                    continue;
                }
                FieldKind::SignedCookie => {
                    // Express signs the cookie; only the part before the signature is the session id.
                    self.record_token(parse_token(strip_cookie_signature(pair.value), TokenMark::Unmarked));
                    continue;
                }
                FieldKind::Reason => {
                    if self.reason.is_none() {
                        self.reason = parse_text(pair.value).as_deref().and_then(known_reason);
                    }
                    continue;
                }
                FieldKind::RequestId => {
                    if self.request_id.is_none() {
                        self.request_id = parse_text(pair.value).and_then(validate_request_id);
                    }
                    continue;
                }
                FieldKind::Expires => {
                    self.expires = self.expires.or_else(|| timestamps::parse_timestamp(pair.value, defaults));
                    continue;
                }
                FieldKind::Timestamp => {
                    self.timestamp =
                        self.timestamp.or_else(|| timestamps::parse_timestamp(pair.value, defaults));
                    continue;
                }
                FieldKind::User => &mut self.user,
                FieldKind::ExistingUser => &mut self.existing_user,
                FieldKind::NewUser => &mut self.new_user,
                FieldKind::SessionUser => &mut self.session_user,
                FieldKind::DbUser => &mut self.db_user,
            };
            if field.is_none() {
                *field = parse_user_id(pair.value);
            }
        }
        self.is_truncated |= pairs.is_truncated();
        pairs.is_open()
    }

    /// Collects a token that has no key, or that is in an SQL statement.
    pub(crate) fn collect_bare_token(&mut self, message: &'a [u8], classification: Classification) {
        if self.leaked_prefix.is_none() {
            let (from, to) = classification.bare_token;
            let bare = message.get(from..to).filter(|bare| !bare.is_empty());
            let value = bare.or_else(|| sql_statement::find_column_value(message, is_session_token_column));
            self.record_token(value.and_then(|value| parse_token(value, TokenMark::Unmarked)));
        }
    }

    fn record_token(&mut self, token: Option<LoggedToken<'a>>) {
        let Some(token) = token else { return };
        // The first full token is reported, but a prefix seen earlier still identifies the session.
        if token.is_full && self.leaked_prefix.is_none() {
            self.leaked_prefix = Some(token.prefix.clone());
        }
        if self.token.is_none() {
            self.token = Some(token);
        }
    }

    /// Builds the log event of a kind.
    pub(crate) fn to_event(&self, kind: LogEventKind) -> LogEvent<'a> {
        let (user, other_user) = match kind {
            LogEventKind::DuplicateToken => {
                (self.existing_user.clone().or_else(|| self.user.clone()), self.new_user.clone())
            }
            LogEventKind::UserMismatch => {
                (self.session_user.clone().or_else(|| self.user.clone()), self.db_user.clone())
            }
            _ => (self.user.clone(), None),
        };
        LogEvent {
            at: self.timestamp,
            user,
            other_user,
            token_prefix: self.token.as_ref().map(|token| token.prefix.clone()),
            expires: self.expires,
            reason: self.reason.clone(),
            request_id: self.request_id.clone(),
            is_truncated: self.is_truncated,
            ..LogEvent::new(kind)
        }
    }

    /// Returns the prefix of a full token in the text.
    pub(crate) fn leaked_prefix(&self) -> Option<&Cow<'a, str>> {
        self.leaked_prefix.as_ref()
    }
}

/// Parses a value into text that is safe to store and show.
pub(crate) fn parse_text(value: &[u8]) -> Option<Cow<'_, str>> {
    // Long values are no ids, and would only cost memory.
    if value.is_empty()
        || value.len() > MAX_FIELD_BYTES
        || matches!(value, b"undefined" | b"null" | b"None" | b"nil")
    {
        return None;
    }
    let text = match unescape_text(value) {
        Cow::Borrowed(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(bytes),
        },
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    };
    // Control characters could forge lines or colors on a terminal.
    if !text.bytes().all(|byte| (b' '..0x7f).contains(&byte)) && text.contains(char::is_control) {
        return Some(Cow::Owned(text.replace(char::is_control, "\u{fffd}")));
    }
    // JavaScript prints a BigInt with a trailing `n`.
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

/// Parses a user id. Addresses and JWTs are rejected, because they could be secrets in the wrong field.
pub(crate) fn parse_user_id(value: &[u8]) -> Option<Cow<'_, str>> {
    parse_text(value).filter(|id| !(id.contains("://") || id.starts_with("eyJ") && id.contains('.')))
}

/// Returns a request id if it is safe to store.
pub(crate) fn validate_request_id(id: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let is_part = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/' | b'=' | b'+')
    };
    let fits = id.len() <= MAX_REQUEST_ID_CHARS && id.bytes().all(is_part) && !id.contains("://");
    (fits && !id.starts_with("eyJ")).then_some(id)
}

fn known_reason(text: &str) -> Option<Cow<'static, str>> {
    sanitize_reason(text).map(|reason| Cow::Owned(reason.into_owned()))
}

/// Parses an error code: a name, which cannot contain a secret.
pub(crate) fn parse_error_code(value: &[u8]) -> Option<Cow<'_, str>> {
    let is_name = value.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
    parse_text(value).filter(|code| is_name && code.len() <= 64)
}

/// Mark that distinguishes a token prefix from a full token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenMark {
    Prefix,
    Unmarked,
}

/// Parses the value of a token key: a truncated token, as it should be, or a full one.
fn parse_token(value: &[u8], marked: TokenMark) -> Option<LoggedToken<'_>> {
    let bare = value.strip_suffix(b"...").or_else(|| value.strip_suffix("\u{2026}".as_bytes()));
    let (text, cut) = bare.map_or((value, marked == TokenMark::Prefix), |bare| (bare, true));
    let text = std::str::from_utf8(text).ok()?;
    // Too short to be cut safely: a prefix might reveal most of the token.
    if text.len() < tokens::MAX_PREFIX_CHARS || !text.bytes().all(is_token_byte) {
        return None;
    }
    if cut {
        let prefix = Cow::Borrowed(&text[..tokens::MAX_PREFIX_CHARS]);
        return Some(LoggedToken { prefix, is_full: false });
    }
    (text.len() >= MIN_TOKEN_CHARS).then(|| LoggedToken {
        prefix: Cow::Borrowed(tokens::token_prefix(text)),
        is_full: text.len() >= MIN_FULL_TOKEN_CHARS,
    })
}

/// Returns the session id in a signed Express cookie: `s:ID.SIGNATURE`.
fn strip_cookie_signature(value: &[u8]) -> &[u8] {
    let id = value.strip_prefix(b"s%3A").or_else(|| value.strip_prefix(b"s:")).unwrap_or(value);
    &id[..memchr::memchr(b'.', id).unwrap_or(id.len())]
}

/// Returns the prefix of a token, and whether it is certainly a full token.
pub(crate) fn full_token_prefix(value: &[u8]) -> Option<(String, bool)> {
    parse_token(value, TokenMark::Unmarked).map(|token| (token.prefix.into_owned(), token.is_full))
}

/// Returns the prefix of a token captured by a custom pattern. `after` is the text behind the capture.
pub(crate) fn captured_prefix<'a>(captured: &'a [u8], after: &[u8]) -> Option<Cow<'a, str>> {
    let is_cut = after.starts_with(b"...") || after.starts_with("\u{2026}".as_bytes());
    let is_cut = is_cut || after.first().is_some_and(|byte| byte.is_ascii_alphanumeric());
    parse_token(captured, if is_cut { TokenMark::Prefix } else { TokenMark::Unmarked })
        .map(|token| token.prefix)
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'_' | b'-' | b'+' | b'/' | b'=' | b'.' | b'~' | b'%' | b'|')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_tokens_are_distinguished_from_full_ones() {
        let read = |text: &str| {
            parse_token(text.as_bytes(), TokenMark::Unmarked)
                .map(|token| (token.prefix.into_owned(), token.is_full))
        };
        let known = |whole| Some(("abcdefgh".to_owned(), whole));
        assert_eq!(read("abcdefgh..."), known(false));
        assert_eq!(read("abcdefgh…"), known(false));
        let marked = parse_token(b"abcdefgh", TokenMark::Prefix).map(|token| token.prefix.into_owned());
        assert_eq!(marked.as_deref(), Some("abcdefgh"));
        // Could be a full token or a prefix.
        assert_eq!((read("abcdefgh"), read("12345678901")), (None, None));
        assert_eq!(read("123456789012"), Some(("1234".to_owned(), false)));
        assert_eq!(read("1234567890123456"), Some(("12345".to_owned(), true)));
        assert_eq!(read("abcdefgh-0123-4567-89ab-cdef01234567"), known(true));
        assert_eq!(read("abc..."), None);
        assert_eq!(read("[REDACTED]"), None);
        assert_eq!(read("********"), None);
    }

    #[test]
    fn missing_values_are_ignored() {
        for nothing in ["undefined", "null", ""] {
            assert_eq!(parse_text(nothing.as_bytes()), None);
        }
        assert_eq!(parse_text(b"12n").as_deref(), Some("12"));
        assert_eq!(parse_text(b"a\\nb").as_deref(), Some("a\u{fffd}b"));
    }
}
