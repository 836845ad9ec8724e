//! Scope of queries to a target: its layout, the key of fingerprints, the time and the thresholds.

use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    layout::Layout,
    sql::{LocateBy, QueryBuilder, RowKeyKind, SessionSort},
};
use crate::mapping::TableName;

/// Common parameters of queries.
#[derive(Clone, Copy, Debug)]
pub struct QueryScope<'a> {
    /// Layout of the target.
    pub layout: &'a Layout,
    /// Key of fingerprints and row hashes.
    pub fingerprint_key: i64,
    /// Time that conditions refer to.
    pub now: UtcTimestamp,
    /// Longest lifetime that the policy allows, in microseconds.
    pub max_lifetime_us: Option<i64>,
    /// Users with more sessions than this are reported one by one.
    pub notable_above: u64,
    /// Read every row instead of trusting unique indexes and foreign keys.
    pub ignore_constraints: bool,
}

impl<'a> QueryScope<'a> {
    /// Creates a scope without thresholds, for selecting rows by their conditions alone.
    #[must_use]
    pub const fn without_thresholds(layout: &'a Layout, fingerprint_key: i64, now: UtcTimestamp) -> Self {
        Self {
            layout,
            fingerprint_key,
            now,
            // Conditions of plans need no thresholds.
            max_lifetime_us: None,
            notable_above: 0,
            ignore_constraints: false,
        }
    }

    /// Returns the builder of statements. Public for tests of their text.
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

    /// Returns the default order of lists: by expiry, or by row id if sorting by expiry would read a large
    /// table.
    #[must_use]
    pub fn default_sort(&self) -> SessionSort {
        self.query_builder().default_sort()
    }

    /// Returns the order in which pages can be read, as close as possible to the requested one.
    #[must_use]
    pub fn paged_sort(&self, requested: SessionSort) -> SessionSort {
        self.query_builder().paged_sort(requested)
    }

    /// Returns the session table, if row-level security hides rows from the role that read the schema.
    #[must_use]
    pub fn hidden_sessions_table(&self) -> Option<&'a TableName> {
        self.query_builder().hidden_sessions_table()
    }

    /// Returns the user table, if row-level security hides rows from the role that read the schema.
    #[must_use]
    pub fn hidden_users_table(&self) -> Option<&'a TableName> {
        self.query_builder().hidden_users_table()
    }

    /// Returns why the user table may be incomplete for this role.
    #[must_use]
    pub fn users_visibility_caveat(&self) -> Option<String> {
        self.query_builder().users_visibility_caveat()
    }

    /// Returns `true` if a collation of the application compares tokens.
    #[must_use]
    pub fn has_unknown_token_collation(&self) -> bool {
        self.query_builder().has_unknown_token_collation()
    }

    /// Returns `true` if rows have this kind of unique key.
    #[must_use]
    pub fn has_row_key(&self, addressing: RowKeyKind) -> bool {
        self.query_builder().row_key(addressing).is_some()
    }

    /// Returns `true` if rows have unique ids.
    #[must_use]
    pub fn has_unique_id(&self) -> bool {
        let queries = self.query_builder();
        queries.mapping.id.as_deref().is_some_and(|id| queries.is_unique_column(id))
    }

    /// Returns `true` if rows located this way are verified by version rather than by row hash.
    #[must_use]
    pub fn is_known_by_version(&self, locate_by: LocateBy) -> bool {
        self.query_builder().is_known_by_version(locate_by)
    }
}
