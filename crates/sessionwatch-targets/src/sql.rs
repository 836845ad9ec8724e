//! The SQL of observation, for both dialects: every query reads, selects no token, and returns text or integers.
//!
//! The token column appears only inside a fingerprint, a token prefix, a length, a grouping or a NULL test.

mod check_query;
mod dependents;
pub(crate) mod dialect;
mod evidence;
mod filters;
pub mod grants;
mod list_query;
mod listing;
mod mutations;
mod orphans;
mod paging;
mod referencing_rows;
mod restore;
mod row_addresses;
mod row_changes;
#[cfg(test)]
pub(crate) mod sample_target;
pub mod schema;
mod selection;
mod stats;
pub mod tables;
mod timestamp_comparison;
mod timestamps;
mod users;

pub use list_query::{ListedStatus, SessionListCursor, SessionListQuery, SessionSort};
pub use restore::{EndedRows, RestoreObstacle};
pub use row_addresses::{OrphanSearch, RowAddressing, RowSubset};
pub use row_changes::{LocateBy, Mutation, ReadRows, RowChange, RowKeyKind, RowVersion};
pub use selection::{RowKeyColumns, RowSelection, SelectionFilter, SelectionQuery};
pub use timestamp_comparison::ComparedColumns;

use sessionwatch_core::{
    timestamp::{MICROS_PER_HOUR, UtcTimestamp},
    token,
};

use self::{dialect::SqlDialect, timestamps::TimestampExpr};
pub use dialect::Dialect;
pub use timestamps::encode_timestamp;

pub use crate::quoting::{quote_identifier, quote_table};

use crate::{
    mapping::{Mapping, TableName, TimestampColumn},
    sql::{
        schema::DatabaseSchema,
        tables::{ColumnInfo, ColumnKind, Equality},
    },
};

/// Characters of the longest token prefix.
pub const MAX_TOKEN_PREFIX_CHARS: usize = token::MAX_PREFIX_CHARS;
/// Characters of a name or a user agent that people are shown.
const MAX_DISPLAY_CHARS: usize = 200;
/// A query of an operator's own, for the reference of the configuration.
pub const EXAMPLE_CUSTOM_QUERY: &str =
    "SELECT 1 FROM sessions s JOIN users u ON u.id = s.\"userId\" WHERE u.suspended";

/// What the queries of one look refer to.
#[derive(Clone, Debug)]
pub struct QueryBuilder<'a> {
    /// How the target stores sessions.
    pub mapping: &'a Mapping,
    /// The schema as found.
    pub schema: &'a DatabaseSchema,
    /// The key of the fingerprints.
    pub fingerprint_key: i64,
    /// The instant of the look.
    pub now: UtcTimestamp,
    /// The longest lifetime the policy allows, in microseconds.
    pub max_lifetime_us: Option<i64>,
    /// Users with more sessions than that may stand out.
    pub notable_above: u64,
    /// Distrust indexes and constraints: read the rows.
    pub ignore_constraints: bool,
    /// For a person to paste elsewhere: by the clock of the database, and without functions of this program.
    pub standalone: bool,
}

/// What the rows of a list have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvidenceRowKind {
    /// Nothing: those that are named.
    Any,
    /// Their tokens occur more than once.
    Duplicates,
    /// Their users do not exist.
    Orphans,
    /// They have expired, oldest first.
    OldestExpired,
    /// They end too late or never: without an end first, then the latest.
    BeyondPolicy,
}

/// A list of rows to fetch.
#[derive(Clone, Copy, Debug)]
pub struct EvidenceQuery<'a> {
    /// What they have in common.
    pub kind: EvidenceRowKind,
    /// Of which rows.
    pub subset: RowSubset<'a>,
}

impl EvidenceQuery<'_> {
    /// Of all rows.
    #[must_use]
    pub const fn all_of_kind(kind: EvidenceRowKind) -> Self {
        Self { kind, subset: RowSubset::All }
    }
}

/// Quotes a string. No database has zero bytes in its text: one becomes the character for what cannot be read.
#[must_use]
pub fn quote_string(dialect: Dialect, text: &str) -> String {
    dialect.sql_dialect().quote_string(text)
}

/// The statement that removes a database from a server.
#[must_use]
pub fn drop_database_statement(name: &str) -> String {
    format!("DROP DATABASE {};", quote_identifier(name))
}

/// Whether a table has a row: 1 or 0.
pub(super) fn has_rows_query(name: &TableName) -> String {
    format!("SELECT COUNT(*) FROM (SELECT 1 FROM {} LIMIT 1) AS a", quote_table(name))
}

/// How many tokens some rows have, and how many of those are JWTs: no token leaves the database for that.
#[must_use]
pub fn token_shapes_query(mapping: &Mapping, limit: usize) -> String {
    let text = format!("CAST({} AS text)", quote_identifier(&mapping.token));
    format!(
        "SELECT COUNT(t), COUNT(CASE WHEN substr(t, 1, 3) = 'eyJ' AND replace(t, '.', '') <> t THEN 1 END)\n\
         FROM (SELECT {text} AS t FROM {} LIMIT {limit}) AS sample",
        quote_table(&mapping.sessions)
    )
}

/// A query as it may be logged: without the values in quotes, which a person may have typed.
#[must_use]
pub fn redact_literals(query: &str) -> String {
    let (mut logged, mut rest) = (String::with_capacity(query.len()), query);
    while let Some(at) = rest.find(['\'', '"']) {
        let is_name = rest.as_bytes()[at] == b'"';
        // In `E'…'` a backslash keeps a quote from closing.
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

/// Where a quote closes; two of them stand for one.
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
    /// The table of users, if row-level security hides rows of it from the role that read the schema.
    #[must_use]
    pub fn hidden_users_table(&self) -> Option<&'a TableName> {
        let users = self.mapping.users.as_ref()?;
        self.schema.table(&users.table).is_some_and(|found| found.has_hidden_rows).then_some(&users.table)
    }

    /// The table of sessions, if row-level security hides rows of it from the role that read the schema.
    #[must_use]
    pub fn hidden_sessions_table(&self) -> Option<&'a TableName> {
        let sessions = &self.mapping.sessions;
        self.schema.table(sessions).is_some_and(|found| found.has_hidden_rows).then_some(sessions)
    }

    /// For values of some rows, without fingerprints or thresholds.
    pub(super) fn for_sampling(mapping: &'a Mapping, schema: &'a DatabaseSchema, now: UtcTimestamp) -> Self {
        let (key, max_lifetime_us, notable_above) = (0, None, 0);
        Self {
            mapping,
            schema,
            fingerprint_key: key,
            now,
            max_lifetime_us,
            notable_above,
            ignore_constraints: false,
            standalone: false,
        }
    }
}

impl QueryBuilder<'_> {
    fn dialect(&self) -> &'static dyn SqlDialect {
        self.schema.dialect.sql_dialect()
    }

    fn quote_string(&self, text: &str) -> String {
        self.dialect().quote_string(text)
    }

    /// The client that people paste queries into.
    pub(super) fn client_name(&self) -> &'static str {
        self.dialect().client_name()
    }

    /// Queries to paste, in which only built-in functions are called.
    pub(super) fn safe_script(&self, queries: &str) -> String {
        self.dialect().safe_script(queries)
    }

    /// How many rows fulfil a condition.
    fn count_where(&self, condition: &str) -> String {
        self.dialect().filtered_aggregate("COUNT", "*", condition)
    }

    fn column_kind(&self, table: &TableName, column: &str) -> ColumnKind {
        self.schema.column_kind(table, column)
    }

    fn session_column(&self, name: &str) -> String {
        format!("s.{}", quote_identifier(name))
    }

    /// `FROM` the sessions, under the alias `s`: without rows that the application has marked as deleted.
    pub(crate) fn sessions_source(&self) -> String {
        let hint = if self.ignore_constraints { self.dialect().ignore_indexes_clause() } else { "" };
        // A condition of a join with one row: it holds wherever the sessions are read, and the planner takes the join away.
        let live = self
            .not_deleted_condition()
            .map_or(String::new(), |live| format!(" JOIN (SELECT 1) AS live ON {live}"));
        format!("{} AS s{hint}{live}", quote_table(&self.mapping.sessions))
    }

    /// The column that names who acts for the user of a session.
    fn impersonator_column(&self) -> Option<String> {
        self.mapping.impersonator.as_deref().map(|column| self.session_column(column))
    }

    /// The condition that the user created a session in the last hour; nothing where creation is not stored.
    pub(crate) fn created_last_hour_condition(&self) -> Option<String> {
        let lately = self
            .timestamp_expr(self.mapping.created.as_ref()?)
            .after_condition(self.now.saturating_add_micros(-MICROS_PER_HOUR));
        Some(match self.impersonator_column() {
            Some(impersonator) => format!("{lately} AND {impersonator} IS NULL"),
            None => lately,
        })
    }

    /// The condition that the application has not marked a row as deleted; nothing where it removes rows.
    fn not_deleted_condition(&self) -> Option<String> {
        let deleted = self.mapping.deleted.as_deref()?;
        let declared = self.schema.table(&self.mapping.sessions)?.column(deleted)?;
        Some(self.dialect().not_deleted_condition(&self.session_column(deleted), declared))
    }

    fn column_equality(&self, table: &TableName, column: &str) -> Equality {
        self.schema.table(table).map_or(Equality::Exact, |table| table.column_equality(column))
    }

    /// An expression of values that are equal exactly if those of the column are equal to the application.
    fn fold_expr(&self, expression: &str, equality: Equality) -> String {
        self.dialect().fold_expr(expression, equality)
    }

    /// What stands for the token in a hash or a group: equal where tokens are equal to the application.
    fn token_key(&self) -> String {
        let equality = self.column_equality(&self.mapping.sessions, &self.mapping.token);
        if [Equality::CaseInsensitive, Equality::TrailingSpaceInsensitive].contains(&equality) {
            self.fold_expr(&self.session_column(&self.mapping.token), equality)
        } else {
            self.token_text()
        }
    }

    /// The token as text, for use inside a hash, a prefix or a length only.
    fn token_text(&self) -> String {
        let kind = self.column_kind(&self.mapping.sessions, &self.mapping.token);
        self.dialect().token_text_expr(&self.session_column(&self.mapping.token), kind)
    }

    /// The keyed 64-bit hash of the token.
    fn fingerprint_expr(&self) -> String {
        self.dialect().fingerprint_expr(&self.token_key(), self.fingerprint_key)
    }

    /// The token prefix: of a short token, no more than a third.
    fn token_prefix_expr(&self) -> String {
        self.dialect().token_prefix_expr(&self.distinct_token_text(), self.standalone)
    }

    fn cast_to_text(&self, expression: &str) -> String {
        format!("CAST({expression} AS text)")
    }

    /// What people are shown of a text that users write themselves: no more than [`MAX_DISPLAY_CHARS`] characters of it.
    fn display_text(&self, expression: &str) -> String {
        format!("substr({}, 1, {MAX_DISPLAY_CHARS})", self.cast_to_text(expression))
    }

    /// The user of a session, NULL where the schema has none.
    fn user_column(&self) -> String {
        self.mapping
            .user
            .as_deref()
            .map_or_else(|| "CAST(NULL AS text)".into(), |user| self.session_column(user))
    }

    /// Whether users are integers.
    #[must_use]
    pub fn has_integer_user(&self) -> bool {
        let user = self.mapping.user.as_deref();
        user.is_some_and(|user| self.column_kind(&self.mapping.sessions, user) == ColumnKind::Integer)
    }

    /// What stands for the user of a session where users are grouped or counted: equal where they are equal to the
    /// application.
    fn user_key(&self) -> String {
        match &self.mapping.user {
            Some(user) => {
                self.fold_expr(&self.session_column(user), self.column_equality(&self.mapping.sessions, user))
            }
            None => self.user_column(),
        }
    }

    /// Whether different texts may be one user on PostgreSQL: under a collation, or as values such as 1 and 1.00.
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

    /// What a scan selects: fingerprint, user, expiry, creation (where there is one), orphan (where a join looks for it), and
    /// the columns of the address. Instants come as stored.
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
            // Of texts that are equal, one stands for all.
            Some(user) if self.has_collated_user() => {
                self.dialect().canonical_text_expr(&self.session_column(user))
            }
            _ => self.cast_to_text(&self.user_key()),
        };
        let mut columns = vec![self.fingerprint_expr(), user, self.scanned_timestamp_expr(&mapping.expires)];
        columns.extend(mapping.created.as_ref().map(|created| match self.impersonator_column() {
            // Nobody but the user creates sessions of the user.
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

    /// The unique index that forbids duplicates.
    #[must_use]
    pub fn duplicate_proof_index(&self) -> Option<&str> {
        let sessions = self.schema.table(&self.mapping.sessions)?;
        if self.ignore_constraints { None } else { sessions.unique_index_on(&self.mapping.token) }
    }

    /// Whether tokens are compared in a way that is not known here: by a collation that the application makes.
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
    fn a_logged_query_has_no_values_in_quotes() {
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
