//! Tables and views of a database, with their columns, indexes and foreign keys.

use crate::mapping::TableName;

/// The kind of a relation.
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
    /// Schema; `None` on SQLite.
    pub schema: Option<String>,
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: TableKind,
    /// Position of its schema on the search path, or `None` if the schema is not on it.
    pub search_path_index: Option<usize>,
    /// Planner's estimate of the number of rows.
    pub estimated_rows: Option<u64>,
    /// `true` if row-level security is enabled.
    pub row_security: bool,
    /// `true` if row-level security hides rows from this role, or may.
    pub has_hidden_rows: bool,
    /// `true` if this role may read `ctid` and `tableoid` in PostgreSQL.
    pub has_readable_positions: bool,
    /// `true` for a SQLite table WITHOUT ROWID.
    pub without_rowid: bool,
    /// `true` if other tables inherit from it. Its rows include theirs, which its indexes and foreign keys do
    /// not cover.
    pub has_children: bool,
    /// `true` if rows arrive by logical replication, which does not check foreign keys.
    pub is_subscribed: bool,
    /// Tables that a view reads, directly or through other views, with their schemas.
    pub base_tables: Vec<String>,
    /// Reason why not every session may be visible in a view: it drops, joins or cannot see rows.
    pub visibility_caveat: Option<String>,
    /// `true` for a view with a condition, which leaves out rows.
    pub is_filtered: bool,
    /// Code of the target that reading executes, each as a clause for display.
    pub executed_code: Vec<String>,
    /// Parent of a partition or an inheriting table. Rows count for the parent too.
    pub parent_table: Option<TableName>,
    /// Columns, in order.
    pub columns: Vec<ColumnInfo>,
    /// Indexes.
    pub indexes: Vec<IndexInfo>,
    /// Foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
}

/// A column.
#[derive(Clone, Debug, Default)]
pub struct ColumnInfo {
    /// Name.
    pub name: String,
    /// Declared type as the database prints it, in lower case, such as `timestamp(3) without time zone`.
    pub declared_type: String,
    /// Kind of values.
    pub kind: ColumnKind,
    /// `true` if the column can be NULL.
    pub nullable: bool,
    /// `true` if this role may read the column.
    pub readable: bool,
    /// Equality of the values.
    pub equality: Equality,
    /// `true` if values are padded with spaces that comparisons ignore (`character(n)`, or a domain over it).
    pub is_padded: bool,
    /// `true` if equal values may have different texts, such as 1 and 1.00.
    pub has_many_text_forms: bool,
    /// Function of the target that casts the column to text, if that cast is not built in.
    pub cast_function: Option<String>,
}

impl ColumnInfo {
    /// Returns `true` if the column is declared as a boolean.
    #[must_use]
    pub fn is_boolean(&self) -> bool {
        self.declared_type.starts_with("bool")
    }
}

/// The equality of values in the application's own queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Equality {
    /// Built-in equality of the type.
    #[default]
    Exact,
    /// Ignoring case: `citext` in PostgreSQL, `NOCASE` in SQLite.
    CaseInsensitive,
    /// Ignoring trailing spaces: `RTRIM` in SQLite.
    TrailingSpaceInsensitive,
    /// By a nondeterministic collation in PostgreSQL, or a collation of the application in SQLite.
    Collation,
    /// By the operators of a type that is not built in; such values are compared as text.
    Text,
}

/// The kind of values in a column. SQLite types are no guarantee, so there the kind is `Text`, `Integer` or
/// `Other`, by affinity.
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
    /// Name.
    pub name: String,
    /// Leading columns, in order; empty for an index on expressions.
    pub columns: Vec<String>,
    /// `true` for a unique index.
    pub unique: bool,
    /// `true` for the primary key.
    pub primary: bool,
    /// `true` if the index covers every row (no `WHERE`), is valid and ready, and is checked immediately.
    /// Only then can it serve as a proof.
    pub complete: bool,
    /// `true` if values that differ to the index also differ to its columns, so that uniqueness in the index
    /// means uniqueness to the application.
    pub exact: bool,
}

/// A foreign key.
#[derive(Clone, Debug, Default)]
pub struct ForeignKey {
    /// Name.
    pub name: String,
    /// Referencing columns.
    pub columns: Vec<String>,
    /// Schema of the referenced table.
    pub target_schema: Option<String>,
    /// Referenced table.
    pub target_table: String,
    /// Referenced columns.
    pub target_columns: Vec<String>,
    /// `true` if every row was checked (not `NOT VALID`).
    pub validated: bool,
    /// `true` if the triggers that enforce it are enabled, on both tables and on all their partitions.
    pub enabled: bool,
    /// `true` if the check can be deferred to the end of a transaction.
    pub deferrable: bool,
    /// Action when the referenced row is deleted, in SQL: `CASCADE`, `SET NULL`, `NO ACTION`, …
    pub on_delete: String,
}

impl TableInfo {
    /// Finds a column by name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ColumnInfo> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Returns `true` for a SQLite table in which `rowid` names the position of a row: one that is not WITHOUT
    /// ROWID, and has no column of its own with that name.
    #[must_use]
    pub fn has_rowid(&self) -> bool {
        // A column declared INTEGER PRIMARY KEY is the position itself.
        let is_position = |column: &ColumnInfo| {
            column.declared_type == "integer"
                && self.indexes.iter().any(|index| index.primary && index.columns == [column.name.as_str()])
        };
        let is_hidden = self
            .columns
            .iter()
            .any(|column| column.name.eq_ignore_ascii_case("rowid") && !is_position(column));
        !self.without_rowid && !is_hidden
    }

    /// Returns `true` if all rows are in the table itself, and none in partitions, chunks or inheriting
    /// tables.
    #[must_use]
    pub fn is_one_heap(&self) -> bool {
        self.kind == TableKind::Table && !self.has_children
    }

    /// Returns the name of a complete unique index on exactly this column, which proves that no value occurs
    /// twice.
    #[must_use]
    pub fn unique_index_on(&self, column: &str) -> Option<&str> {
        let proves = |index: &&IndexInfo| {
            index.unique && index.complete && index.exact && index.columns == [column] && !self.has_children
        };
        self.indexes.iter().find(proves).map(|index| index.name.as_str())
    }

    /// Returns a complete index that starts with this column.
    #[must_use]
    pub fn index_starting_with(&self, column: &str) -> Option<&IndexInfo> {
        let led =
            |index: &&IndexInfo| index.complete && index.columns.first().is_some_and(|first| first == column);
        self.indexes.iter().find(led)
    }

    /// Returns how a column compares its values; `Exact` for a column that does not exist.
    #[must_use]
    pub fn column_equality(&self, column: &str) -> Equality {
        self.column(column).map_or(Equality::Exact, |column| column.equality)
    }

    /// Returns a foreign key on exactly this column, preferably one that proves that every value exists.
    #[must_use]
    pub fn foreign_key_on(&self, column: &str) -> Option<&ForeignKey> {
        let keys = || self.foreign_keys.iter().filter(|key| key.columns == [column]);
        // A column may have several keys, for example one that is being replaced.
        keys().find(|key| self.is_proved_by(key)).or_else(|| keys().next())
    }

    /// Returns `true` if a foreign key of this table proves that every referenced row exists.
    #[must_use]
    pub fn is_proved_by(&self, key: &ForeignKey) -> bool {
        key.validated && key.enabled && !key.deferrable && !self.has_children && !self.is_subscribed
    }
}

#[cfg(test)]
mod tests;
