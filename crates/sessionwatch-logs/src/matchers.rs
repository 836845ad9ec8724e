//! LiteralKind is looked for, and what a time without a zone means.

use crate::{pattern::Pattern, prefilter::Prefilter, server_log::VIOLATION, signal::Kind, time::Clock};

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
    Event(Kind),
    /// A key under which a token may stand.
    Token,
    /// The name of a function that may be called with a token.
    Call,
    /// A session id under a short key.
    SessionId,
    /// A violation of a unique constraint, as a PostgreSQL server tells of it.
    Violation,
    /// A message that is written as numbers, so that nothing else can be found in it.
    Numbers,
    /// A pattern of the operator's.
    Pattern,
}

/// The literals of what is known without configuration. How fast they are looked for depends on how they begin: after a change,
/// the race has to be run.
pub(crate) const KNOWN: [(&str, LiteralKind); 22] = [
    ("[AUTH-ADAPTER]", LiteralKind::Adapter),
    ("[SESSION-CALLBACK]", LiteralKind::Callback),
    ("auth][", LiteralKind::AuthJs),
    ("session_created", LiteralKind::Event(Kind::Created)),
    ("session_duplicate_detected", LiteralKind::Event(Kind::DuplicateToken)),
    ("session_user_mismatch", LiteralKind::Event(Kind::UserMismatch)),
    ("session_destroyed", LiteralKind::Event(Kind::Destroyed)),
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
    (VIOLATION, LiteralKind::Violation),
    ("\"MESSAGE\":[", LiteralKind::Numbers),
];

/// LiteralKind is looked for in logs.
#[derive(Clone, Debug)]
pub struct Matchers {
    pub(crate) needles: Prefilter,
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) clock: Clock,
}

impl Matchers {
    /// LiteralKind is always looked for, and the operator's patterns.
    #[must_use]
    pub fn new(patterns: Vec<Pattern>, clock: Clock) -> Self {
        let known = KNOWN.iter().map(|(literal, _)| literal.as_bytes());
        let own = patterns.iter().flat_map(Pattern::literals);
        let literals: Vec<&[u8]> = known.chain(own).collect();
        Self { needles: Prefilter::new(&literals), patterns, clock }
    }

    /// The same, with another reading of times that lack something.
    #[must_use]
    pub fn at(&self, clock: Clock) -> Self {
        Self { clock, ..self.clone() }
    }

    /// The patterns, in the order in which signals name them.
    #[must_use]
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// The literals of what is always looked for.
    pub fn literals() -> impl Iterator<Item = &'static str> {
        KNOWN.iter().map(|(literal, _)| *literal)
    }

    /// LiteralKind the literal of that number announces.
    pub(crate) fn what(number: usize) -> LiteralKind {
        KNOWN.get(number).map_or(LiteralKind::Pattern, |(_, what)| *what)
    }
}
