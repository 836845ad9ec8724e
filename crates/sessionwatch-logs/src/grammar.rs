//! What is looked for, and what a time without a zone means.

use crate::{needles::Needles, pattern::Pattern, server_log::VIOLATION, signal::Kind, time::Clock};

/// What a literal announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
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
pub(crate) const KNOWN: [(&str, What); 22] = [
    ("[AUTH-ADAPTER]", What::Adapter),
    ("[SESSION-CALLBACK]", What::Callback),
    ("auth][", What::AuthJs),
    ("session_created", What::Event(Kind::Created)),
    ("session_duplicate_detected", What::Event(Kind::DuplicateToken)),
    ("session_user_mismatch", What::Event(Kind::UserMismatch)),
    ("session_destroyed", What::Event(Kind::Destroyed)),
    ("ession-token", What::Token),
    ("essionToken", What::Token),
    ("ession_token", What::Token),
    ("SessionAndUser", What::Call),
    ("SessionByToken", What::Call),
    ("teSession", What::Call),
    ("ndSession", What::Call),
    ("session_and_user", What::Call),
    ("te_session", What::Call),
    (" sid: ", What::SessionId),
    (" sid=", What::SessionId),
    ("\"sid\":", What::SessionId),
    // `connect.sid`: the whole name would make the search three times slower.
    ("ect.sid", What::Token),
    (VIOLATION, What::Violation),
    ("\"MESSAGE\":[", What::Numbers),
];

/// What is looked for in logs.
#[derive(Clone, Debug)]
pub struct Grammar {
    pub(crate) needles: Needles,
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) clock: Clock,
}

impl Grammar {
    /// What is always looked for, and the operator's patterns.
    #[must_use]
    pub fn new(patterns: Vec<Pattern>, clock: Clock) -> Self {
        let known = KNOWN.iter().map(|(literal, _)| literal.as_bytes());
        let own = patterns.iter().flat_map(Pattern::literals);
        let literals: Vec<&[u8]> = known.chain(own).collect();
        Self { needles: Needles::new(&literals), patterns, clock }
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

    /// What the literal of that number announces.
    pub(crate) fn what(number: usize) -> What {
        KNOWN.get(number).map_or(What::Pattern, |(_, what)| *what)
    }
}
