//! What a question to a target is about: its layout, the key of fingerprints, the instant, and the thresholds.

use sessionwatch_core::instant::Instant;

use super::{
    layout::Layout,
    sql::{Addressing, Named, Sort, Sql},
};
use crate::mapping::TableName;

/// What the verbs of a session refer to.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// How the target stores sessions.
    pub layout: &'a Layout,
    /// The key of fingerprints and row hashes.
    pub key: i64,
    /// The instant that conditions refer to.
    pub now: Instant,
    /// The longest lifetime the policy allows, in microseconds.
    pub max_lifetime_us: Option<i64>,
    /// Users with more sessions than that may stand out.
    pub notable_above: u64,
    /// Distrust indexes and constraints: read the rows.
    pub deep: bool,
}

impl<'a> Scope<'a> {
    /// Of rows by their conditions alone: without thresholds.
    #[must_use]
    pub const fn of_rows(layout: &'a Layout, key: i64, now: Instant) -> Self {
        Self { layout, key, now, max_lifetime_us: None, notable_above: 0, deep: false }
    }

    /// The statements about it, for tests of their text.
    #[doc(hidden)]
    #[must_use]
    pub fn queries(&self) -> Sql<'a> {
        Sql {
            mapping: &self.layout.candidate.mapping,
            schema: &self.layout.schema,
            key: self.key,
            now: self.now,
            max_lifetime_us: self.max_lifetime_us,
            notable_above: self.notable_above,
            deep: self.deep,
            pasted: false,
        }
    }

    /// The order of a list for whoever asks for none: by end, or by row id where a large table would have to be read for that.
    #[must_use]
    pub fn usual_sort(&self) -> Sort {
        self.queries().usual_sort()
    }

    /// The order of pages for whoever asks for this one.
    #[must_use]
    pub fn paged_sort(&self, wanted: Sort) -> Sort {
        self.queries().paged_sort(wanted)
    }

    /// The table of sessions, if rows of it are hidden from the role that read the schema.
    #[must_use]
    pub fn hidden_sessions(&self) -> Option<&'a TableName> {
        self.queries().hidden_sessions()
    }

    /// The table of users, if rows of it are hidden from the role that read the schema.
    #[must_use]
    pub fn hidden_users(&self) -> Option<&'a TableName> {
        self.queries().hidden_users()
    }

    /// Why users may be missing from what can be read of them, although they exist.
    #[must_use]
    pub fn users_doubt(&self) -> Option<String> {
        self.queries().users_doubt()
    }

    /// Whether tokens are compared in a way that only the application knows.
    #[must_use]
    pub fn compares_tokens_unknown(&self) -> bool {
        self.queries().compares_tokens_unknown()
    }

    /// Whether each row has something that is unique to it.
    #[must_use]
    pub fn can_name_rows(&self, addressing: Addressing) -> bool {
        self.queries().row_name(addressing).is_some()
    }

    /// Whether rows have ids, no two of them the same.
    #[must_use]
    pub fn has_unique_id(&self) -> bool {
        let queries = self.queries();
        queries.mapping.id.as_deref().is_some_and(|id| queries.is_unique(id))
    }

    /// Whether rows that are found so are known by their versions, rather than by their row hashes.
    #[must_use]
    pub fn by_version(&self, named: Named) -> bool {
        self.queries().by_version(named)
    }
}
