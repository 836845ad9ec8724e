//! The SQL of observation, for both dialects: every query reads, selects no token, and returns text or integers.
//!
//! The token column appears only inside a fingerprint, a token prefix, a length, a grouping or a NULL test.

mod addresses;
mod besides;
mod check_query;
mod comparing;
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
mod restore;
mod row_changes;
#[cfg(test)]
pub(crate) mod sample;
pub mod schema;
mod selection;
mod stats;
pub mod tables;
mod timestamps;
mod users;

pub use addresses::{Among, OrphanSearch, RowAddressing};
pub use comparing::Compared;
pub use list_query::{After, List, Sort, Status};
pub use restore::{EndedRows, Obstacle};
pub use row_changes::{Addressing, Change, Mutation, Named, ReadRows, RowVersion};
pub use selection::{Chosen, Filter, RowName, Selected};

use sessionwatch_core::{
    instant::{Instant, MICROS_PER_HOUR},
    token,
};

use self::{dialect::SqlDialect, timestamps::InstantSql};
pub use dialect::Dialect;
pub use timestamps::stored_timestamp;

pub use crate::quoting::{identifier, table};

use crate::{
    mapping::{InstantColumn, Mapping, TableName},
    sql::{
        schema::Schema,
        tables::{Column, ColumnKind, Equality},
    },
};

/// Characters of the longest token prefix.
pub const PREFIX_LENGTH: usize = token::LONGEST_PREFIX;
/// Characters of a name or a user agent that people are shown.
const SHOWN_LENGTH: usize = 200;
/// A query of an operator's own, for the reference of the configuration.
pub const EXAMPLE_CUSTOM_QUERY: &str =
    "SELECT 1 FROM sessions s JOIN users u ON u.id = s.\"userId\" WHERE u.suspended";

/// What the queries of one look refer to.
#[derive(Clone, Debug)]
pub struct Sql<'a> {
    /// How the target stores sessions.
    pub mapping: &'a Mapping,
    /// The schema as found.
    pub schema: &'a Schema,
    /// The key of the fingerprints.
    pub key: i64,
    /// The instant of the look.
    pub now: Instant,
    /// The longest lifetime the policy allows, in microseconds.
    pub max_lifetime_us: Option<i64>,
    /// Users with more sessions than that may stand out.
    pub notable_above: u64,
    /// Distrust indexes and constraints: read the rows.
    pub deep: bool,
    /// For a person to paste elsewhere: by the clock of the database, and without functions of this program.
    pub pasted: bool,
}

/// What the rows of a list have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
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
pub struct Rows<'a> {
    /// What they have in common.
    pub kind: RowKind,
    /// Of which rows.
    pub among: Among<'a>,
}

impl Rows<'_> {
    /// Of all rows.
    #[must_use]
    pub const fn all(kind: RowKind) -> Self {
        Self { kind, among: Among::All }
    }
}

/// Quotes a string. No database has zero bytes in its text: one becomes the character for what cannot be read.
#[must_use]
pub fn string(dialect: Dialect, text: &str) -> String {
    dialect.sql().string(text)
}

/// The statement that removes a database from a server.
#[must_use]
pub fn drop_database(name: &str) -> String {
    format!("DROP DATABASE {};", identifier(name))
}

/// Whether a table has a row: 1 or 0.
pub(super) fn has_rows(name: &TableName) -> String {
    format!("SELECT COUNT(*) FROM (SELECT 1 FROM {} LIMIT 1) AS a", table(name))
}

/// How many tokens some rows have, and how many of those are JWTs: no token leaves the database for that.
#[must_use]
pub fn token_shapes(mapping: &Mapping, limit: usize) -> String {
    let text = format!("CAST({} AS text)", identifier(&mapping.token));
    format!(
        "SELECT COUNT(t), COUNT(CASE WHEN substr(t, 1, 3) = 'eyJ' AND replace(t, '.', '') <> t THEN 1 END)\n\
         FROM (SELECT {text} AS t FROM {} LIMIT {limit}) AS sample",
        table(&mapping.sessions)
    )
}

/// A query as it may be logged: without the values in quotes, which a person may have typed.
#[must_use]
pub fn without_values(query: &str) -> String {
    let (mut logged, mut rest) = (String::with_capacity(query.len()), query);
    while let Some(at) = rest.find(['\'', '"']) {
        let is_name = rest.as_bytes()[at] == b'"';
        // In `E'…'` a backslash keeps a quote from closing.
        let escapes = !is_name && rest[..at].ends_with(['E', 'e']);
        let inner = &rest[at + 1..];
        let end = closing(inner, if is_name { b'"' } else { b'\'' }, escapes);
        logged.push_str(&rest[..=at]);
        logged.push_str(if is_name { &inner[..end] } else { "…" });
        logged.extend(inner[end..].chars().next());
        rest = inner.get(end + 1..).unwrap_or_default();
    }
    logged + rest
}

/// Where a quote closes; two of them stand for one.
fn closing(text: &str, quote: u8, escapes: bool) -> usize {
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

impl<'a> Sql<'a> {
    /// The table of users, if row-level security hides rows of it from the role that read the schema.
    #[must_use]
    pub fn hidden_users(&self) -> Option<&'a TableName> {
        let users = self.mapping.users.as_ref()?;
        self.schema.table(&users.table).is_some_and(|found| found.rows_hidden).then_some(&users.table)
    }

    /// The table of sessions, if row-level security hides rows of it from the role that read the schema.
    #[must_use]
    pub fn hidden_sessions(&self) -> Option<&'a TableName> {
        let sessions = &self.mapping.sessions;
        self.schema.table(sessions).is_some_and(|found| found.rows_hidden).then_some(sessions)
    }

    /// For values of some rows, without fingerprints or thresholds.
    pub(super) fn sampling(mapping: &'a Mapping, schema: &'a Schema, now: Instant) -> Self {
        let (key, max_lifetime_us, notable_above) = (0, None, 0);
        Self { mapping, schema, key, now, max_lifetime_us, notable_above, deep: false, pasted: false }
    }
}

impl Sql<'_> {
    fn dialect(&self) -> &'static dyn SqlDialect {
        self.schema.dialect.sql()
    }

    fn string(&self, text: &str) -> String {
        self.dialect().string(text)
    }

    /// The client that people paste queries into.
    pub(super) fn client(&self) -> &'static str {
        self.dialect().client()
    }

    /// Queries to paste, in which only built-in functions are called.
    pub(super) fn safe_script(&self, queries: &str) -> String {
        self.dialect().safe_script(queries)
    }

    /// How many rows fulfil a condition.
    fn count_where(&self, condition: &str) -> String {
        self.dialect().filtered("COUNT", "*", condition)
    }

    fn kind(&self, table: &TableName, column: &str) -> ColumnKind {
        self.schema.kind(table, column)
    }

    fn column(&self, name: &str) -> String {
        format!("s.{}", identifier(name))
    }

    /// `FROM` the sessions, under the alias `s`: without rows that the application has marked as deleted.
    pub(crate) fn sessions(&self) -> String {
        let hint = if self.deep { self.dialect().ignoring_indexes() } else { "" };
        // A condition of a join with one row: it holds wherever the sessions are read, and the planner takes the join away.
        let live = self.live().map_or(String::new(), |live| format!(" JOIN (SELECT 1) AS live ON {live}"));
        format!("{} AS s{hint}{live}", table(&self.mapping.sessions))
    }

    /// The column that names who acts for the user of a session.
    fn impersonator(&self) -> Option<String> {
        self.mapping.impersonator.as_deref().map(|column| self.column(column))
    }

    /// The condition that the user created a session in the last hour; nothing where creation is not stored.
    pub(crate) fn created_lately(&self) -> Option<String> {
        let lately =
            self.instant(self.mapping.created.as_ref()?).after(self.now.plus_micros(-MICROS_PER_HOUR));
        Some(match self.impersonator() {
            Some(impersonator) => format!("{lately} AND {impersonator} IS NULL"),
            None => lately,
        })
    }

    /// The condition that the application has not marked a row as deleted; nothing where it removes rows.
    fn live(&self) -> Option<String> {
        let deleted = self.mapping.deleted.as_deref()?;
        let declared = self.schema.table(&self.mapping.sessions)?.column(deleted)?;
        Some(self.dialect().not_deleted(&self.column(deleted), declared))
    }

    fn equality(&self, table: &TableName, column: &str) -> Equality {
        self.schema.table(table).map_or(Equality::Exact, |table| table.equality(column))
    }

    /// An expression of values that are equal exactly if those of the column are equal to the application.
    fn folded(&self, expression: &str, equality: Equality) -> String {
        self.dialect().folded(expression, equality)
    }

    /// What stands for the token in a hash or a group: equal where tokens are equal to the application.
    fn token(&self) -> String {
        let equality = self.equality(&self.mapping.sessions, &self.mapping.token);
        if [Equality::CaseBlind, Equality::SpaceBlind].contains(&equality) {
            self.folded(&self.column(&self.mapping.token), equality)
        } else {
            self.token_text()
        }
    }

    /// The token as text, for use inside a hash, a prefix or a length only.
    fn token_text(&self) -> String {
        let kind = self.kind(&self.mapping.sessions, &self.mapping.token);
        self.dialect().token_text(&self.column(&self.mapping.token), kind)
    }

    /// The keyed 64-bit hash of the token.
    fn fingerprint(&self) -> String {
        self.dialect().fingerprint(&self.token(), self.key)
    }

    /// The token prefix: of a short token, no more than a third.
    fn prefix(&self) -> String {
        self.dialect().prefix(&self.distinct_token_text(), self.pasted)
    }

    fn text(&self, expression: &str) -> String {
        format!("CAST({expression} AS text)")
    }

    /// What people are shown of a text that users write themselves: no more than [`SHOWN_LENGTH`] characters of it.
    fn shown(&self, expression: &str) -> String {
        format!("substr({}, 1, {SHOWN_LENGTH})", self.text(expression))
    }

    /// The user of a session, NULL where the schema has none.
    fn user(&self) -> String {
        self.mapping.user.as_deref().map_or_else(|| "CAST(NULL AS text)".into(), |user| self.column(user))
    }

    /// Whether users are integers.
    #[must_use]
    pub fn has_integer_user(&self) -> bool {
        let user = self.mapping.user.as_deref();
        user.is_some_and(|user| self.kind(&self.mapping.sessions, user) == ColumnKind::Integer)
    }

    /// What stands for the user of a session where users are grouped or counted: equal where they are equal to the
    /// application.
    fn user_key(&self) -> String {
        match &self.mapping.user {
            Some(user) => self.folded(&self.column(user), self.equality(&self.mapping.sessions, user)),
            None => self.user(),
        }
    }

    /// Whether different texts may be one user on PostgreSQL: under a collation, or as values such as 1 and 1.00.
    fn collated_user(&self) -> bool {
        let table = self.schema.table(&self.mapping.sessions);
        let user = self.mapping.user.as_deref().and_then(|user| table?.column(user));
        let is_one = |column: &Column| column.equality == Equality::Collation || column.has_many_texts;
        self.dialect().equal_values_differ_as_text() && user.is_some_and(is_one)
    }

    fn instant(&self, column: &InstantColumn) -> InstantSql {
        let kind = self.kind(&self.mapping.sessions, &column.column);
        let value = self.column(&column.column);
        let clock = self.pasted.then_some(self.now);
        InstantSql::new(self.dialect(), clock, column.decoder, &value, kind)
    }

    /// What a scan selects: fingerprint, user, expiry, creation (where there is one), orphan (where a join looks for it), and
    /// the columns of the address. Instants come as stored.
    #[must_use]
    pub fn scan(&self) -> String {
        let mapping = self.mapping;
        let user = match &mapping.user {
            Some(user)
                if self.dialect().scans_typed_columns()
                    && self.kind(&mapping.sessions, user) == ColumnKind::Integer =>
            {
                self.column(user)
            }
            // Of texts that are equal, one stands for all.
            Some(user) if self.collated_user() => self.dialect().one_of_equal_texts(&self.column(user)),
            _ => self.text(&self.user_key()),
        };
        let mut columns = vec![self.fingerprint(), user, self.stored(&mapping.expires)];
        columns.extend(mapping.created.as_ref().map(|created| match self.impersonator() {
            // Nobody but the user creates sessions of the user.
            Some(impersonator) => {
                format!("CASE WHEN {impersonator} IS NULL THEN {} END", self.stored(created))
            }
            None => self.stored(created),
        }));
        let (join, orphan) = self.orphan_join();
        columns.extend(orphan);
        columns.extend(self.address_columns());
        format!("SELECT {}\nFROM {}{join}", columns.join(", "), self.sessions())
    }

    fn stored(&self, column: &InstantColumn) -> String {
        let kind = self.kind(&self.mapping.sessions, &column.column);
        self.dialect().scanned_instant(&self.column(&column.column), kind)
    }

    /// The unique index that forbids duplicates.
    #[must_use]
    pub fn duplicate_proof(&self) -> Option<&str> {
        let sessions = self.schema.table(&self.mapping.sessions)?;
        if self.deep { None } else { sessions.unique_on(&self.mapping.token) }
    }

    /// Whether tokens are compared in a way that is not known here: by a collation that the application makes.
    #[must_use]
    pub fn compares_tokens_unknown(&self) -> bool {
        let equality = self.equality(&self.mapping.sessions, &self.mapping.token);
        self.dialect().collations_are_of_application() && equality == Equality::Collation
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
            assert_eq!(without_values(query), logged);
        }
    }
}
