//! Log events: facts parsed from an application log.

use std::borrow::Cow;

use sessionwatch_core::{severity::Severity, timestamp::UtcTimestamp};

/// Kind of a log event.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::VariantArray,
)]
#[strum(serialize_all = "kebab-case")]
pub enum LogEventKind {
    /// A session was created.
    Created,
    /// A new session got a token that is already in use.
    DuplicateToken,
    /// A session was returned with a user other than its own.
    UserMismatch,
    /// The user of a session does not exist.
    UserNotFound,
    /// A session was requested for an invalid user id.
    InvalidUser,
    /// A session was used and its expiry extended.
    Refreshed,
    /// A session was ended.
    Destroyed,
    /// The session store failed.
    AdapterError,
    /// A login failed.
    SignInError,
    /// A session could not be read.
    SessionError,
    /// The log contains a full token.
    TokenInLog,
    /// A custom pattern matched.
    Pattern,
}

impl LogEventKind {
    /// Every kind.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// Returns the name used in output.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Returns the severity; `None` for harmless kinds and for custom patterns, whose severity is configured.
    #[must_use]
    pub const fn severity(self) -> Option<Severity> {
        match self {
            // Only these two prove that one user can act as another.
            Self::DuplicateToken | Self::UserMismatch => Some(Severity::Critical),
            Self::TokenInLog => Some(Severity::High),
            Self::AdapterError => Some(Severity::Medium),
            Self::UserNotFound | Self::InvalidUser | Self::SignInError | Self::SessionError => {
                Some(Severity::Low)
            }
            Self::Created | Self::Refreshed | Self::Destroyed | Self::Pattern => None,
        }
    }
}

/// Log event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent<'a> {
    /// Kind.
    pub kind: LogEventKind,
    /// Time of the log's clock; `None` if the line has none.
    pub at: Option<UtcTimestamp>,
    /// Owner of the session according to the log.
    pub user: Option<Cow<'a, str>>,
    /// Second user, for kinds that involve two.
    pub other_user: Option<Cow<'a, str>>,
    /// Token prefix.
    pub token_prefix: Option<Cow<'a, str>>,
    /// Expiry of the session.
    pub expires: Option<UtcTimestamp>,
    /// Reason in known words, or error code.
    pub reason: Option<Cow<'a, str>>,
    /// Id of the request.
    pub request_id: Option<Cow<'a, str>>,
    /// Index of the custom pattern.
    pub pattern_index: Option<usize>,
    /// The line is truncated.
    pub is_truncated: bool,
}

impl LogEvent<'_> {
    /// Creates an event of a kind without any facts.
    #[must_use]
    pub fn new(kind: LogEventKind) -> Self {
        Self {
            kind,
            at: None,
            user: None,
            other_user: None,
            token_prefix: None,
            expires: None,
            reason: None,
            request_id: None,
            pattern_index: None,
            is_truncated: false,
        }
    }

    /// Returns an owned copy.
    #[must_use]
    pub fn into_owned(self) -> LogEvent<'static> {
        let owned = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        LogEvent {
            kind: self.kind,
            at: self.at,
            user: owned(self.user),
            other_user: owned(self.other_user),
            token_prefix: owned(self.token_prefix),
            expires: self.expires,
            reason: owned(self.reason),
            request_id: owned(self.request_id),
            pattern_index: self.pattern_index,
            is_truncated: self.is_truncated,
        }
    }

    /// Returns the users named by the event.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        [&self.user, &self.other_user].into_iter().filter_map(|user| user.as_deref())
    }
}
