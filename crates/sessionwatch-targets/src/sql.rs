//! SQL for checks and plans, for all dialects. Queries select no token, and return text or integers.
//!
//! The token column appears only inside a fingerprint, a token prefix, a length, a grouping or a NULL test.

mod check_query;
pub mod database_schema;
mod dependents;
pub(crate) mod dialect;
mod evidence_rows;
mod filters;
pub mod grants;
mod list_parameters;
mod listing;
mod orphans;
mod paging;
mod referencing_rows;
mod remediation_statements;
mod restore;
mod row_addresses;
mod row_changes;
#[cfg(test)]
pub(crate) mod sample_target;
mod selection;
mod stats;
pub mod table_info;
mod timestamp_comparison;
mod timestamps;
mod users;

pub use list_parameters::{
    ListedStatus, ProblemSearch, SessionListCursor, SessionListQuery, SessionProblem, SessionSort,
};
pub use restore::{EndedRows, RestoreObstacle};
pub use row_addresses::{OrphanSearch, RowAddressing, RowSubset};
pub use row_changes::{LocateBy, Mutation, ReadRows, RowChange, RowKeyKind, RowVersion};
pub use selection::{RowKeyColumns, RowSelection, SelectionFilter, SelectionQuery};
pub use timestamp_comparison::ComparedColumns;

use sessionwatch_core::{
    timestamp::{MICROS_PER_HOUR, UtcTimestamp},
    token_prefix,
};

use self::{dialect::SqlDialect, timestamps::TimestampExpr};
pub use dialect::Dialect;
pub use timestamps::encode_timestamp;

pub use crate::quoting::{quote_identifier, quote_table};

use crate::{
    mapping::{Mapping, TableName, TimestampColumn},
    sql::{
        database_schema::DatabaseSchema,
        table_info::{ColumnInfo, ColumnKind, Equality},
    },
};

/// Length of the longest token prefix, in characters.
pub const MAX_TOKEN_PREFIX_CHARS: usize = token_prefix::MAX_PREFIX_CHARS;
/// Maximum number of characters shown of a name or a user agent.
const MAX_DISPLAY_CHARS: usize = 200;
/// Example of a custom query, for the configuration reference.
pub const EXAMPLE_CUSTOM_QUERY: &str =
    "SELECT 1 FROM sessions s JOIN users u ON u.id = s.\"userId\" WHERE u.suspended";

/// Builds the queries of one check run.
#[derive(Clone, Debug)]
pub struct QueryBuilder<'a> {
    /// Mapping of the session table.
    pub mapping: &'a Mapping,
    /// Schema of the database.
    pub schema: &'a DatabaseSchema,
    /// Key of the fingerprints.
    pub fingerprint_key: i64,
    /// Time of the check run.
    pub now: UtcTimestamp,
    /// Longest lifetime that the policy allows, in microseconds.
    pub max_lifetime_us: Option<i64>,
    /// Users with more sessions than this are reported one by one.
    pub notable_above: u64,
    /// Read every row instead of trusting unique indexes and foreign keys.
    pub ignore_constraints: bool,
    /// `true` for queries that people paste elsewhere: they use the clock of the database and no functions of
    /// this program.
    pub standalone: bool,
}

/// The property shared by the rows of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvidenceRowKind {
    /// None: only the subset counts.
    Any,
    /// Their token occurs more than once.
    Duplicates,
    /// Their user does not exist.
    Orphans,
    /// They are expired. Sorted by expiry, oldest first.
    OldestExpired,
    /// They expire later than allowed or never. Sorted by expiry, those without one first, then the latest.
    BeyondPolicy,
}

/// A query for rows of evidence.
#[derive(Clone, Copy, Debug)]
pub struct EvidenceQuery<'a> {
    /// Property of the rows.
    pub kind: EvidenceRowKind,
    /// Rows to search.
    pub subset: RowSubset<'a>,
}

impl EvidenceQuery<'_> {
    /// Creates a query over all rows.
    #[must_use]
    pub const fn all_of_kind(kind: EvidenceRowKind) -> Self {
        Self { kind, subset: RowSubset::All }
    }
}

/// Quotes a string. A zero byte, which no database allows in text, becomes the replacement character.
#[must_use]
pub fn quote_string(dialect: Dialect, text: &str) -> String {
    dialect.sql_dialect().quote_string(text)
}

/// Returns the statement that drops a database.
#[must_use]
pub fn drop_database_statement(name: &str) -> String {
    format!("DROP DATABASE {};", quote_identifier(name))
}

/// Returns the query for whether a table has rows: 1 or 0.
pub(super) fn has_rows_query(name: &TableName) -> String {
    format!("SELECT COUNT(*) FROM (SELECT 1 FROM {} LIMIT 1) AS a", quote_table(name))
}

/// Returns the query that counts tokens and JWTs among up to `limit` rows. Tokens are examined inside the
/// database.
#[must_use]
pub fn token_shapes_query(mapping: &Mapping, limit: usize) -> String {
    let text = format!("CAST({} AS text)", quote_identifier(&mapping.token));
    format!(
        "SELECT COUNT(t), COUNT(CASE WHEN substr(t, 1, 3) = 'eyJ' AND replace(t, '.', '') <> t THEN 1 END)\n\
         FROM (SELECT {text} AS t FROM {} LIMIT {limit}) AS sample",
        quote_table(&mapping.sessions)
    )
}

/// Removes quoted values from a query for logging, since people may have typed them.
#[must_use]
pub fn redact_literals(query: &str) -> String {
    let (mut logged, mut rest) = (String::with_capacity(query.len()), query);
    while let Some(at) = rest.find(['\'', '"']) {
        let is_name = rest.as_bytes()[at] == b'"';
        // In `E'…'`, a backslash escapes a quote.
        let escapes = !is_name && rest[..at].ends_with(['E', 'e']);
        let inner = &rest[at + 1..];
        let end = find_closing_quote(inner, if is_name { b'"' } else { b'\'' }, escapes);
        logged.push_str(&rest[..=at]);
        logged.push_str(if is_name { &inner[..end] } else { "…" });
        logged.extend(inner[end..].chars().next());
        rest = inner.get(end + 1..).unwrap_or_default();
    }
    logged + rest
}

/// Returns the position of the closing quote. A doubled quote is an escaped one.
fn find_closing_quote(text: &str, quote: u8, escapes: bool) -> usize {
    let (bytes, mut at) = (text.as_bytes(), 0);
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'\\' if escapes => 2,
            byte if *byte != quote => 1,
            _ if bytes.get(at + 1) == Some(&quote) => 2,
            _ => return at,
        };
    }
    bytes.len()
}

impl<'a> QueryBuilder<'a> {
    /// Returns the user table, if row-level security hides rows from the role that read the schema.
    #[must_use]
    pub fn hidden_users_table(&self) -> Option<&'a TableName> {
        let users = self.mapping.users.as_ref()?;
        self.schema.table(&users.table).is_some_and(|found| found.has_hidden_rows).then_some(&users.table)
    }

    /// Returns the session table, if row-level security hides rows from the role that read the schema.
    #[must_use]
    pub fn hidden_sessions_table(&self) -> Option<&'a TableName> {
        let sessions = &self.mapping.sessions;
        self.schema.table(sessions).is_some_and(|found| found.has_hidden_rows).then_some(sessions)
    }

    /// Creates a builder for sampling values, without fingerprints or thresholds.
    pub(super) fn for_sampling(mapping: &'a Mapping, schema: &'a DatabaseSchema, now: UtcTimestamp) -> Self {
        let (fingerprint_key, max_lifetime_us, notable_above) = (0, None, 0);
        Self {
            mapping,
            schema,
            fingerprint_key,
            now,
            max_lifetime_us,
            notable_above,
            ignore_constraints: false,
            standalone: false,
        }
    }
}

impl QueryBuilder<'_> {
    pub(crate) fn dialect(&self) -> &'static dyn SqlDialect {
        self.schema.dialect.sql_dialect()
    }

    fn quote_string(&self, text: &str) -> String {
        self.dialect().quote_string(text)
    }

    /// Returns the name of the client program.
    pub(super) fn client_name(&self) -> &'static str {
        self.dialect().client_name()
    }

    /// Wraps queries into one script that resolves names to built-in functions only.
    pub(super) fn safe_script(&self, queries: &str) -> String {
        self.dialect().safe_script(queries)
    }

    /// Returns an aggregate that counts the rows with a condition.
    fn count_where(&self, condition: &str) -> String {
        self.dialect().filtered_aggregate("COUNT", "*", condition)
    }

    fn column_kind(&self, table: &TableName, column: &str) -> ColumnKind {
        self.schema.column_kind(table, column)
    }

    fn session_column(&self, name: &str) -> String {
        format!("s.{}", quote_identifier(name))
    }

    /// Returns the FROM item of the sessions under the alias `s`, without soft-deleted rows.
    pub(crate) fn sessions_source(&self) -> String {
        let hint = if self.ignore_constraints { self.dialect().ignore_indexes_clause() } else { "" };
        // As the condition of a join with a single row, the filter applies wherever the sessions are read,
        // and the planner removes the join.
        let live = self
            .not_deleted_condition("s")
            .map_or(String::new(), |live| format!(" JOIN (SELECT 1) AS live ON {live}"));
        format!("{} AS s{hint}{live}", quote_table(&self.mapping.sessions))
    }

    /// Returns the column with the impersonator of a session.
    fn impersonator_column(&self) -> Option<String> {
        self.mapping.impersonator.as_deref().map(|column| self.session_column(column))
    }

    /// Returns the condition that the user created a session in the last hour, or `None` without a creation
    /// column.
    pub(crate) fn created_last_hour_condition(&self) -> Option<String> {
        let lately = self
            .timestamp_expr(self.mapping.created.as_ref()?)
            .after_condition(self.now.saturating_add_micros(-MICROS_PER_HOUR));
        Some(match self.impersonator_column() {
            Some(impersonator) => format!("{lately} AND {impersonator} IS NULL"),
            None => lately,
        })
    }

    /// Returns the condition that a row of `alias` is not soft-deleted, or `None` without such a column.
    fn not_deleted_condition(&self, alias: &str) -> Option<String> {
        let deleted = self.mapping.deleted.as_deref()?;
        let declared = self.schema.table(&self.mapping.sessions)?.column(deleted)?;
        let column = format!("{alias}.{}", quote_identifier(deleted));
        Some(self.dialect().not_deleted_condition(&column, declared))
    }

    fn column_equality(&self, table: &TableName, column: &str) -> Equality {
        self.schema.table(table).map_or(Equality::Exact, |table| table.column_equality(column))
    }

    /// Returns an expression whose values are equal exactly if the column considers them equal.
    fn fold_expr(&self, expression: &str, equality: Equality) -> String {
        self.dialect().fold_expr(expression, equality)
    }

    /// Returns the expression that represents the token in a hash or a group.
    fn token_key(&self) -> String {
        let equality = self.column_equality(&self.mapping.sessions, &self.mapping.token);
        if [Equality::CaseInsensitive, Equality::TrailingSpaceInsensitive].contains(&equality) {
            self.fold_expr(&self.session_column(&self.mapping.token), equality)
        } else {
            self.token_text()
        }
    }

    /// Returns the token as text, for use inside a hash, a prefix or a length only.
    fn token_text(&self) -> String {
        let kind = self.column_kind(&self.mapping.sessions, &self.mapping.token);
        self.dialect().token_text_expr(&self.session_column(&self.mapping.token), kind)
    }

    /// Returns the keyed 64-bit hash of the token.
    fn fingerprint_expr(&self) -> String {
        self.dialect().fingerprint_expr(&self.token_key(), self.fingerprint_key)
    }

    /// Returns the token prefix: at most a third of a short token.
    fn token_prefix_expr(&self) -> String {
        self.dialect().token_prefix_expr(&self.distinct_token_text(), self.standalone)
    }

    fn cast_to_text(&self, expression: &str) -> String {
        format!("CAST({expression} AS text)")
    }

    /// Returns user-provided text for display, cut to [`MAX_DISPLAY_CHARS`] characters.
    fn display_text(&self, expression: &str) -> String {
        format!("substr({}, 1, {MAX_DISPLAY_CHARS})", self.cast_to_text(expression))
    }

    /// Returns the user of a session, or NULL without a user column.
    fn user_column(&self) -> String {
        self.mapping
            .user
            .as_deref()
            .map_or_else(|| "CAST(NULL AS text)".into(), |user| self.session_column(user))
    }

    /// Returns `true` if user IDs are integers.
    #[must_use]
    pub fn has_integer_user(&self) -> bool {
        let user = self.mapping.user.as_deref();
        user.is_some_and(|user| self.column_kind(&self.mapping.sessions, user) == ColumnKind::Integer)
    }

    /// Returns the expression that represents the user in groups and counts.
    fn user_key(&self) -> String {
        match &self.mapping.user {
            Some(user) => {
                self.fold_expr(&self.session_column(user), self.column_equality(&self.mapping.sessions, user))
            }
            None => self.user_column(),
        }
    }

    /// Returns `true` if users with different text can be equal in PostgreSQL: under a collation, or as
    /// values such as 1 and 1.00.
    fn has_collated_user(&self) -> bool {
        let table = self.schema.table(&self.mapping.sessions);
        let user = self.mapping.user.as_deref().and_then(|user| table?.column(user));
        let is_one =
            |column: &ColumnInfo| column.equality == Equality::Collation || column.has_many_text_forms;
        self.dialect().equal_values_differ_as_text() && user.is_some_and(is_one)
    }

    fn timestamp_expr(&self, column: &TimestampColumn) -> TimestampExpr {
        let kind = self.column_kind(&self.mapping.sessions, &column.column);
        let value = self.session_column(&column.column);
        let clock = self.standalone.then_some(self.now);
        TimestampExpr::new(self.dialect(), clock, column.decoder, &value, kind)
    }

    /// Returns the query of a scan: fingerprint, user, expiry, creation (if stored), orphan flag (if found by
    /// a join), and the address columns. Timestamps are returned as stored.
    #[must_use]
    pub fn scan_query(&self) -> String {
        let mapping = self.mapping;
        let user = match &mapping.user {
            Some(user)
                if self.dialect().scans_typed_columns()
                    && self.column_kind(&mapping.sessions, user) == ColumnKind::Integer =>
            {
                self.session_column(user)
            }
            // One of several equal texts represents all of them.
            Some(user) if self.has_collated_user() => {
                self.dialect().canonical_text_expr(&self.session_column(user))
            }
            _ => self.cast_to_text(&self.user_key()),
        };
        let mut columns = vec![self.fingerprint_expr(), user, self.scanned_timestamp_expr(&mapping.expires)];
        columns.extend(mapping.created.as_ref().map(|created| match self.impersonator_column() {
            // Sessions of an impersonator do not count as created by the user.
            Some(impersonator) => {
                format!("CASE WHEN {impersonator} IS NULL THEN {} END", self.scanned_timestamp_expr(created))
            }
            None => self.scanned_timestamp_expr(created),
        }));
        let (join, orphan) = self.orphan_join();
        columns.extend(orphan);
        columns.extend(self.address_columns());
        format!("SELECT {}\nFROM {}{join}", columns.join(", "), self.sessions_source())
    }

    fn scanned_timestamp_expr(&self, column: &TimestampColumn) -> String {
        let kind = self.column_kind(&self.mapping.sessions, &column.column);
        self.dialect().scanned_timestamp_expr(&self.session_column(&column.column), kind)
    }

    /// Returns the unique index that rules out duplicates.
    #[must_use]
    pub fn duplicate_proof_index(&self) -> Option<&str> {
        let sessions = self.schema.table(&self.mapping.sessions)?;
        if self.ignore_constraints { None } else { sessions.unique_index_on(&self.mapping.token) }
    }

    /// Returns `true` if a collation of the application compares tokens.
    #[must_use]
    pub fn has_unknown_token_collation(&self) -> bool {
        let equality = self.column_equality(&self.mapping.sessions, &self.mapping.token);
        self.dialect().has_application_collations() && equality == Equality::Collation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redacting_removes_quoted_values_and_keeps_names() {
        for (query, logged) in [
            ("SELECT 1", "SELECT 1"),
            (
                r#"SELECT "it's" FROM "a""b" WHERE x = 'it''s' AND y = 7"#,
                r#"SELECT "it's" FROM "a""b" WHERE x = '…' AND y = 7"#,
            ),
            (r"x = E'a\\'' b\' c' AND y = 'z\'", r"x = E'…' AND y = '…'"),
            ("x = 'é' OR y = 'open", "x = '…' OR y = '…"),
        ] {
            assert_eq!(redact_literals(query), logged);
        }
    }
}
