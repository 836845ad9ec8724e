//! Signals: what a log says happened.

use std::borrow::Cow;

use sessionwatch_core::{severity::Severity, timestamp::UtcTimestamp};

/// What happened.
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
    /// A new session got a token that another one has.
    DuplicateToken,
    /// A session was answered with another user than its own.
    UserMismatch,
    /// The user of a session does not exist.
    UserNotFound,
    /// A session was to be created for something that is no user.
    InvalidUser,
    /// A session was used, and its end moved.
    Refreshed,
    /// A session was ended.
    Destroyed,
    /// The store of the sessions failed.
    AdapterError,
    /// Somebody could not sign in.
    SignInError,
    /// A session could not be read.
    SessionError,
    /// A whole token stands in the log.
    TokenInLog,
    /// A pattern of the operator's.
    Pattern,
}

impl LogEventKind {
    /// Every kind.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// The name used in output.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// How bad it is; that of a pattern is the operator's to say.
    #[must_use]
    pub const fn severity(self) -> Option<Severity> {
        match self {
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

/// Something that a log says happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent<'a> {
    /// What.
    pub kind: LogEventKind,
    /// When, by the log's clock; nothing if the line does not say.
    pub at: Option<UtcTimestamp>,
    /// The user whose session it is, by the log.
    pub user: Option<Cow<'a, str>>,
    /// The other user, where there are two.
    pub other_user: Option<Cow<'a, str>>,
    /// The token prefix.
    pub token_prefix: Option<Cow<'a, str>>,
    /// The end of the session.
    pub expires: Option<UtcTimestamp>,
    /// Why, in known words, or the code of an error.
    pub reason: Option<Cow<'a, str>>,
    /// The request that it happened in.
    pub request_id: Option<Cow<'a, str>>,
    /// Which pattern, by its place among those configured.
    pub pattern_index: Option<usize>,
    /// The line ends before what it says does.
    pub is_truncated: bool,
}

impl LogEvent<'_> {
    /// One of that kind, of which nothing else is known.
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

    /// The same, with nothing borrowed.
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

    /// The users that it names.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        [&self.user, &self.other_user].into_iter().filter_map(|user| user.as_deref())
    }
}
