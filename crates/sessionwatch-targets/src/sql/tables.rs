//! Tables and views as found in a database, with their columns, indexes and foreign keys: what SQL about them depends on.

use crate::mapping::TableName;

/// What kind of relation it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TableKind {
    /// An ordinary table.
    #[default]
    Table,
    /// A partitioned table.
    Partitioned,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
    /// A foreign table.
    Foreign,
}

/// A table or view.
#[derive(Clone, Debug, Default)]
pub struct TableInfo {
    /// The schema; nothing on SQLite.
    pub schema: Option<String>,
    /// Its name.
    pub name: String,
    /// What kind of relation it is.
    pub kind: TableKind,
    /// Position of its schema on the search path; nothing when it is not on it.
    pub search_path_index: Option<usize>,
    /// The planner's estimate of its rows.
    pub estimated_rows: Option<u64>,
    /// Row-level security is enabled.
    pub row_security: bool,
    /// Row-level security hides rows from this role, or may.
    pub has_hidden_rows: bool,
    /// This role may read where rows stand on PostgreSQL: `ctid` and `tableoid`.
    pub has_readable_positions: bool,
    /// A SQLite table whose rows have no numbers.
    pub without_rowid: bool,
    /// Other tables inherit from it: its rows include theirs, which its indexes and foreign keys do not cover.
    pub has_children: bool,
    /// Rows arrive by logical replication, which does not check foreign keys.
    pub is_subscribed: bool,
    /// The tables that a view reads in the end, with their schemas.
    pub base_tables: Vec<String>,
    /// Why what can be read of it need not be every session: it drops or joins rows, or does not see them.
    pub visibility_caveat: Option<String>,
    /// A view with a condition, which leaves out rows.
    pub is_filtered: bool,
    /// What reading it would execute of the target, each as a sentence.
    pub executed_code: Vec<String>,
    /// The table whose partition or inheritance child it is: its rows are rows of that one too.
    pub parent_table: Option<TableName>,
    /// Columns in order.
    pub columns: Vec<ColumnInfo>,
    /// Indexes.
    pub indexes: Vec<IndexInfo>,
    /// Foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
}

/// A column.
#[derive(Clone, Debug, Default)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// The declared type as the database prints it, lower case, e.g. `timestamp(3) without time zone`.
    pub declared_type: String,
    /// What the type can hold.
    pub kind: ColumnKind,
    /// Whether it can be NULL.
    pub nullable: bool,
    /// Whether this role may read it.
    pub readable: bool,
    /// Which of its values are equal to the application.
    pub equality: Equality,
    /// Its values are padded with spaces, which do not count when they are compared (`character(n)`, or a domain over it).
    pub is_padded: bool,
    /// Equal values may have different texts, such as 1 and 1.00.
    pub has_many_text_forms: bool,
    /// The function of the target that makes text of it, where none that is built in does.
    pub cast_function: Option<String>,
}

impl ColumnInfo {
    /// Whether it is declared as true or false.
    #[must_use]
    pub fn is_boolean(&self) -> bool {
        self.declared_type.starts_with("bool")
    }
}

/// Which values of a column are equal in the application's own queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Equality {
    /// Those that are equal by the type's built-in operators.
    #[default]
    Exact,
    /// Those that differ only in upper and lower case, too: `citext` on PostgreSQL, `NOCASE` on SQLite.
    CaseInsensitive,
    /// Those that differ only in spaces at their ends, too: `RTRIM` on SQLite.
    TrailingSpaceInsensitive,
    /// Those that are equal under a nondeterministic collation of PostgreSQL.
    Collation,
    /// What the operators of a type say that is not built in; they are compared as text.
    Text,
}

/// What a column's type can hold. On SQLite the declared type is no evidence, so it is `Text`, `Integer` or `Other`
/// by affinity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColumnKind {
    /// A 2-, 4- or 8-byte integer.
    Integer,
    /// Text of any kind.
    Text,
    /// A UUID.
    Uuid,
    /// Bytes.
    Bytes,
    /// `timestamp with time zone`.
    Timestamptz,
    /// `timestamp without time zone`.
    Timestamp,
    /// `json` or `jsonb`.
    Json,
    /// Anything else.
    #[default]
    Other,
}

/// An index.
#[derive(Clone, Debug, Default)]
pub struct IndexInfo {
    /// Its name.
    pub name: String,
    /// Leading columns in order; empty for an index on expressions.
    pub columns: Vec<String>,
    /// Unique.
    pub unique: bool,
    /// The primary key.
    pub primary: bool,
    /// Covers every row (no `WHERE`), is valid and ready, and is checked at once: it can prove something.
    pub complete: bool,
    /// Tells values apart at most as finely as its columns do by themselves: what is unique in it is unique to the
    /// application.
    pub exact: bool,
}

/// A foreign key.
#[derive(Clone, Debug, Default)]
pub struct ForeignKey {
    /// Its name.
    pub name: String,
    /// Referring columns.
    pub columns: Vec<String>,
    /// Schema of the table referred to.
    pub target_schema: Option<String>,
    /// The table referred to.
    pub target_table: String,
    /// Columns referred to.
    pub target_columns: Vec<String>,
    /// Checked for every row (`NOT VALID` is not).
    pub validated: bool,
    /// The triggers that check it are enabled, on both tables and on all their partitions.
    pub enabled: bool,
    /// It may be checked as late as at the end of a transaction.
    pub deferrable: bool,
    /// What happens when the user goes, in SQL: `CASCADE`, `SET NULL`, `NO ACTION`, …
    pub on_delete: String,
}

impl TableInfo {
    /// The column of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ColumnInfo> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether all rows are in the table itself, and none in partitions, chunks or tables that inherit from it.
    #[must_use]
    pub fn is_one_heap(&self) -> bool {
        self.kind == TableKind::Table && !self.has_children
    }

    /// The name of a complete unique index on exactly that column: proof that no value occurs twice.
    #[must_use]
    pub fn unique_index_on(&self, column: &str) -> Option<&str> {
        let proves = |index: &&IndexInfo| {
            index.unique && index.complete && index.exact && index.columns == [column] && !self.has_children
        };
        self.indexes.iter().find(proves).map(|index| index.name.as_str())
    }

    /// A complete index that begins with that column.
    #[must_use]
    pub fn index_starting_with(&self, column: &str) -> Option<&IndexInfo> {
        let led =
            |index: &&IndexInfo| index.complete && index.columns.first().is_some_and(|first| first == column);
        self.indexes.iter().find(led)
    }

    /// Which values of a column are equal; those of a column that is not there are compared exactly.
    #[must_use]
    pub fn column_equality(&self, column: &str) -> Equality {
        self.column(column).map_or(Equality::Exact, |column| column.equality)
    }

    /// A foreign key from exactly that column; where there are several, one that proves that every value exists.
    #[must_use]
    pub fn foreign_key_on(&self, column: &str) -> Option<&ForeignKey> {
        let keys = || self.foreign_keys.iter().filter(|key| key.columns == [column]);
        keys().find(|key| self.is_proved_by(key)).or_else(|| keys().next())
    }

    /// Whether a foreign key of this table shows that every referring row has a row that it refers to.
    #[must_use]
    pub fn is_proved_by(&self, key: &ForeignKey) -> bool {
        key.validated && key.enabled && !key.deferrable && !self.has_children && !self.is_subscribed
    }
}

#[cfg(test)]
mod tests;
