//! Known literals and custom patterns to search for, and defaults for incomplete times.

use crate::{
    log_event::LogEventKind, pattern::Pattern, prefilter::Prefilter, server_log::VIOLATION_MESSAGE,
    timestamps::TimestampDefaults,
};

/// Meaning of a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LiteralKind {
    /// Adapter tag of the operator guide.
    Adapter,
    /// Callback tag of the operator guide.
    Callback,
    /// Message of Auth.js.
    AuthJs,
    /// Name of an event.
    Event(LogEventKind),
    /// Key whose value may be a token.
    Token,
    /// Name of a function that may be called with a token.
    Call,
    /// Short key of a session id.
    SessionId,
    /// Unique constraint violation in a PostgreSQL server log.
    UniqueViolation,
    /// Message exported as an array of bytes, in which no other literal can be found.
    NumericMessage,
    /// Custom pattern.
    Pattern,
}

/// Built-in literals. The search speed depends on their first bytes, so run the benchmarks after a change.
pub(crate) const KNOWN_LITERALS: [(&str, LiteralKind); 22] = [
    ("[AUTH-ADAPTER]", LiteralKind::Adapter),
    ("[SESSION-CALLBACK]", LiteralKind::Callback),
    ("auth][", LiteralKind::AuthJs),
    ("session_created", LiteralKind::Event(LogEventKind::Created)),
    ("session_duplicate_detected", LiteralKind::Event(LogEventKind::DuplicateToken)),
    ("session_user_mismatch", LiteralKind::Event(LogEventKind::UserMismatch)),
    ("session_destroyed", LiteralKind::Event(LogEventKind::Destroyed)),
    ("ession-token", LiteralKind::Token),
    ("essionToken", LiteralKind::Token),
    ("ession_token", LiteralKind::Token),
    ("SessionAndUser", LiteralKind::Call),
    ("SessionByToken", LiteralKind::Call),
    ("teSession", LiteralKind::Call),
    ("ndSession", LiteralKind::Call),
    ("session_and_user", LiteralKind::Call),
    ("te_session", LiteralKind::Call),
    (" sid: ", LiteralKind::SessionId),
    (" sid=", LiteralKind::SessionId),
    ("\"sid\":", LiteralKind::SessionId),
    // `connect.sid`; the full name would make the search three times slower.
    ("ect.sid", LiteralKind::Token),
    (VIOLATION_MESSAGE, LiteralKind::UniqueViolation),
    ("\"MESSAGE\":[", LiteralKind::NumericMessage),
];

/// Literals and patterns to search for in logs.
#[derive(Clone, Debug)]
pub struct Matchers {
    pub(crate) prefilter: Prefilter,
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) time_defaults: TimestampDefaults,
}

impl Matchers {
    /// Creates matchers for the built-in literals and the custom patterns.
    #[must_use]
    pub fn new(patterns: Vec<Pattern>, time_defaults: TimestampDefaults) -> Self {
        let known = KNOWN_LITERALS.iter().map(|(literal, _)| literal.as_bytes());
        let own = patterns.iter().flat_map(Pattern::literals);
        let literals: Vec<&[u8]> = known.chain(own).collect();
        Self { prefilter: Prefilter::new(&literals), patterns, time_defaults }
    }

    /// Returns a copy with other defaults for incomplete times.
    #[must_use]
    pub fn with_time_defaults(&self, time_defaults: TimestampDefaults) -> Self {
        Self { time_defaults, ..self.clone() }
    }

    /// Returns the custom patterns, in the order of [`pattern_index`](crate::log_event::LogEvent::pattern_index).
    #[must_use]
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// Returns the built-in literals.
    pub fn literals() -> impl Iterator<Item = &'static str> {
        KNOWN_LITERALS.iter().map(|(literal, _)| *literal)
    }

    /// Returns the meaning of the literal with this number.
    pub(crate) fn literal_kind(number: usize) -> LiteralKind {
        // Numbers beyond the built-in literals belong to custom patterns.
        KNOWN_LITERALS.get(number).map_or(LiteralKind::Pattern, |(_, what)| *what)
    }
}
