//! What a question to a target is about: its layout, the key of fingerprints, the instant, and the thresholds.

use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    layout::Layout,
    sql::{LocateBy, QueryBuilder, RowKeyKind, SessionSort},
};
use crate::mapping::TableName;

/// What the verbs of a session refer to.
#[derive(Clone, Copy, Debug)]
pub struct QueryScope<'a> {
    /// How the target stores sessions.
    pub layout: &'a Layout,
    /// The key of fingerprints and row hashes.
    pub fingerprint_key: i64,
    /// The instant that conditions refer to.
    pub now: UtcTimestamp,
    /// The longest lifetime the policy allows, in microseconds.
    pub max_lifetime_us: Option<i64>,
    /// Users with more sessions than that may stand out.
    pub notable_above: u64,
    /// Distrust indexes and constraints: read the rows.
    pub ignore_constraints: bool,
}

impl<'a> QueryScope<'a> {
    /// Of rows by their conditions alone: without thresholds.
    #[must_use]
    pub const fn without_thresholds(layout: &'a Layout, key: i64, now: UtcTimestamp) -> Self {
        Self {
            layout,
            fingerprint_key: key,
            now,
            max_lifetime_us: None,
            notable_above: 0,
            ignore_constraints: false,
        }
    }

    /// The statements about it, for tests of their text.
    #[doc(hidden)]
    #[must_use]
    pub fn query_builder(&self) -> QueryBuilder<'a> {
        QueryBuilder {
            mapping: &self.layout.candidate.mapping,
            schema: &self.layout.schema,
            fingerprint_key: self.fingerprint_key,
            now: self.now,
            max_lifetime_us: self.max_lifetime_us,
            notable_above: self.notable_above,
            ignore_constraints: self.ignore_constraints,
            standalone: false,
        }
    }

    /// The order of a list for whoever asks for none: by end, or by row id where a large table would have to be read for that.
    #[must_use]
    pub fn default_sort(&self) -> SessionSort {
        self.query_builder().default_sort()
    }

    /// The order of pages for whoever asks for this one.
    #[must_use]
    pub fn paged_sort(&self, requested: SessionSort) -> SessionSort {
        self.query_builder().paged_sort(requested)
    }

    /// The table of sessions, if rows of it are hidden from the role that read the schema.
    #[must_use]
    pub fn hidden_sessions_table(&self) -> Option<&'a TableName> {
        self.query_builder().hidden_sessions_table()
    }

    /// The table of users, if rows of it are hidden from the role that read the schema.
    #[must_use]
    pub fn hidden_users_table(&self) -> Option<&'a TableName> {
        self.query_builder().hidden_users_table()
    }

    /// Why users may be missing from what can be read of them, although they exist.
    #[must_use]
    pub fn users_visibility_caveat(&self) -> Option<String> {
        self.query_builder().users_visibility_caveat()
    }

    /// Whether tokens are compared in a way that only the application knows.
    #[must_use]
    pub fn has_unknown_token_collation(&self) -> bool {
        self.query_builder().has_unknown_token_collation()
    }

    /// Whether each row has something that is unique to it.
    #[must_use]
    pub fn has_row_key(&self, addressing: RowKeyKind) -> bool {
        self.query_builder().row_key(addressing).is_some()
    }

    /// Whether rows have ids, no two of them the same.
    #[must_use]
    pub fn has_unique_id(&self) -> bool {
        let queries = self.query_builder();
        queries.mapping.id.as_deref().is_some_and(|id| queries.is_unique_column(id))
    }

    /// Whether rows that are found so are known by their versions, rather than by their row hashes.
    #[must_use]
    pub fn is_known_by_version(&self, locate_by: LocateBy) -> bool {
        self.query_builder().is_known_by_version(locate_by)
    }
}
