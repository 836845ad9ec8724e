//! LiteralKind is looked for, and what a time without a zone means.

use crate::{
    log_event::LogEventKind, pattern::Pattern, prefilter::Prefilter, server_log::VIOLATION_MESSAGE,
    timestamps::TimestampDefaults,
};

/// LiteralKind a literal announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LiteralKind {
    /// The guide's tag of an adapter.
    Adapter,
    /// The guide's tag of a callback.
    Callback,
    /// Auth.js itself.
    AuthJs,
    /// An event by its name.
    Event(LogEventKind),
    /// A key under which a token may stand.
    Token,
    /// The name of a function that may be called with a token.
    Call,
    /// A session id under a short key.
    SessionId,
    /// A violation of a unique constraint, as a PostgreSQL server tells of it.
    UniqueViolation,
    /// A message that is written as numbers, so that nothing else can be found in it.
    NumericMessage,
    /// A pattern of the operator's.
    Pattern,
}

/// The literals of what is known without configuration. How fast they are looked for depends on how they begin: after a change,
/// the race has to be run.
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
    // `connect.sid`: the whole name would make the search three times slower.
    ("ect.sid", LiteralKind::Token),
    (VIOLATION_MESSAGE, LiteralKind::UniqueViolation),
    ("\"MESSAGE\":[", LiteralKind::NumericMessage),
];

/// LiteralKind is looked for in logs.
#[derive(Clone, Debug)]
pub struct Matchers {
    pub(crate) prefilter: Prefilter,
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) time_defaults: TimestampDefaults,
}

impl Matchers {
    /// LiteralKind is always looked for, and the operator's patterns.
    #[must_use]
    pub fn new(patterns: Vec<Pattern>, time_defaults: TimestampDefaults) -> Self {
        let known = KNOWN_LITERALS.iter().map(|(literal, _)| literal.as_bytes());
        let own = patterns.iter().flat_map(Pattern::literals);
        let literals: Vec<&[u8]> = known.chain(own).collect();
        Self { prefilter: Prefilter::new(&literals), patterns, time_defaults }
    }

    /// The same, with another reading of times that lack something.
    #[must_use]
    pub fn with_time_defaults(&self, defaults: TimestampDefaults) -> Self {
        Self { time_defaults: defaults, ..self.clone() }
    }

    /// The patterns, in the order in which signals name them.
    #[must_use]
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// The literals of what is always looked for.
    pub fn literals() -> impl Iterator<Item = &'static str> {
        KNOWN_LITERALS.iter().map(|(literal, _)| *literal)
    }

    /// LiteralKind the literal of that number announces.
    pub(crate) fn literal_kind(number: usize) -> LiteralKind {
        KNOWN_LITERALS.get(number).map_or(LiteralKind::Pattern, |(_, what)| *what)
    }
}
