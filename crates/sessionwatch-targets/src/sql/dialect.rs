//! SQL dialects. They cover every difference between databases; SQL elsewhere in this folder works in all of
//! them. Connections are set up so that names are delimited by double quotes, and a backslash in a string is
//! a literal one unless [`SqlDialect::quote_string`] says otherwise.

pub(crate) mod fix_statements;
mod postgres;
mod sqlite;

use std::{
    fmt::{Debug, Write as _},
    ops::Range,
};

use sessionwatch_core::{
    timestamp::UtcTimestamp,
    timestamp_decoder::{Decoder, EPOCH_MILLIS_RANGE, EPOCH_SECONDS_RANGE},
};

use self::fix_statements::FixDialect;
use super::{
    RowKeyKind, RowVersion, quote_table,
    table_info::{ColumnInfo, ColumnKind, Equality, TableInfo},
};
use crate::{
    decrypted_rows::{ColumnDecl, DependentTable},
    mapping::{Mapping, TableName},
    side_effects::{CascadingTable, ReachedSideEffect},
};

/// Roles of sessionwatch and the objects that they need.
#[derive(Clone, Copy)]
pub(crate) struct RoleGrants<'a> {
    /// Watch role, and the write role if its statements are requested.
    pub(crate) watch_role: &'a str,
    pub(crate) write_role: Option<&'a str>,
    pub(crate) mapping: &'a Mapping,
    /// Side effects of ending sessions, and the dependent tables that are archived and restored.
    pub(crate) side_effects: &'a [ReachedSideEffect],
    pub(crate) dependents: &'a [CascadingTable],
    /// A column of the account table, if there is one.
    pub(crate) account_column: Option<&'a str>,
    /// Tables among these with row-level security.
    pub(crate) row_security_tables: &'a [&'a TableName],
}

/// Dependent rows to delete.
pub(crate) struct JoinedDelete<'a> {
    /// Table, and its alias in the statement.
    pub(crate) table: &'a str,
    pub(crate) alias: &'a str,
    /// Tables on the path from the sessions, and the condition that joins them.
    pub(crate) joined: &'a str,
    pub(crate) condition: &'a str,
    /// Hash expression of a row, and the hashes of the rows that were read.
    pub(crate) hash: &'a str,
    pub(crate) hashes: &'a str,
    /// Row number, if the table has them.
    pub(crate) row_number: Option<&'a str>,
}

/// The condition that a session is one of those that were read.
pub(crate) struct ReadCondition<'a> {
    pub(crate) rows: &'a [RowVersion],
    /// Condition on ids or row hashes; `None` if rows are located by position.
    pub(crate) key_condition: Option<String>,
    /// Hash of every archived column.
    pub(crate) full_row_hash: String,
    /// Row number if the table has them, otherwise the row hash.
    pub(crate) position_or_row_hash: String,
}

/// Archived rows to insert again.
pub(crate) struct RowInsertion<'a> {
    /// Session table, and the target table: the same, or one that inherits from it.
    pub(crate) sessions: &'a TableName,
    pub(crate) into_table: &'a TableName,
    pub(crate) columns: &'a [ColumnDecl],
    /// Conditions under which a row cannot be inserted, and the expression that names the first that holds,
    /// or NULL.
    pub(crate) obstacles: Vec<String>,
    pub(crate) obstacle: String,
    /// Position of the token among the columns, and how tokens are compared.
    pub(crate) token: Option<usize>,
    pub(crate) token_equality: Equality,
    /// Row hash of a restored row.
    pub(crate) row_hash: String,
}

/// Sessions ended in place whose former value is to be restored.
pub(crate) struct EndedRowsRestore<'a> {
    pub(crate) sessions: &'a TableName,
    pub(crate) columns: &'a [ColumnDecl],
    pub(crate) assignment: String,
    /// Condition that a row is otherwise unchanged.
    pub(crate) condition: String,
    /// Row hash of a restored row.
    pub(crate) row_hash: String,
}

/// Columns covered by a row hash.
pub(crate) struct RowHashColumns {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) user: String,
    pub(crate) expires: String,
    /// `true` if the text of the expiry depends on the time zone of the connection.
    pub(crate) expires_in_zone: bool,
}

/// Expiry of a row that never expires, in integer timestamps.
pub(super) const NEVER_MICROS: &str = "9223372036854775807";
/// Expiry of a row that cannot be decoded, in integer timestamps.
pub(super) const UNDECODABLE_MICROS: &str = "-9223372036854775807";

/// A decoded timestamp column inside a statement.
pub(crate) struct DecodedColumn {
    /// Expression: a native timestamp, or an integer of microseconds with sentinels.
    pub(crate) value: String,
    /// Decoder, if the value is a native timestamp.
    pub(crate) native_decoder: Option<Decoder>,
    /// `true` if an index on the column has the order of `value`.
    pub(crate) is_indexable: bool,
}

/// The SQL of one database.
pub(crate) trait SqlDialect: FixDialect + Debug + Sync {
    /// Returns the name used in stored data and profiles.
    fn name(&self) -> &'static str;
    /// Returns `true` if each value has its own type, whatever its column declares.
    fn has_dynamic_types(&self) -> bool;
    /// Returns `true` if the database enforces foreign keys for every client.
    fn enforces_foreign_keys(&self) -> bool;
    /// Returns `true` if tables belong to schemas.
    fn has_schemas(&self) -> bool;
    /// Describes a case-insensitive comparison, with the keyword that declares it.
    fn case_insensitive_comparison(&self) -> &'static str;
    /// Returns the name of a table in a catalog of side effects.
    fn catalog_name(&self, name: &TableName) -> String {
        quote_table(name)
    }
    /// Returns commented statements that create the watch role, and the write role if requested.
    fn grant_statements(&self, grants: RoleGrants<'_>) -> String;

    /// Quotes a string. A zero byte, which no database allows in text, becomes the replacement character.
    fn quote_string(&self, text: &str) -> String;

    /// Returns the name of the client program that people paste queries into.
    fn client_name(&self) -> &'static str;
    /// Wraps queries into one script that resolves names to built-in functions only.
    fn safe_script(&self, queries: &str) -> String;

    /// Returns `true` if a quoted literal takes the type of the column that it is compared with, so that
    /// indexes apply. Otherwise columns are compared as text.
    fn casts_literals(&self) -> bool;
    /// Returns `true` if values of any two types can be compared.
    fn compares_any_types(&self) -> bool;
    /// Returns `true` if equal values can have different texts.
    fn equal_values_differ_as_text(&self) -> bool;
    /// Returns one text for all values equal to that of a row.
    fn canonical_text_expr(&self, column: &str) -> String;
    /// Returns `true` if collations are code of the application, unavailable to other programs.
    fn has_application_collations(&self) -> bool;
    /// Returns `true` if a scan reads columns in their own types and can fetch user keys; otherwise as text.
    fn scans_typed_columns(&self) -> bool;
    /// Returns `true` if a function of this program decodes timestamps, and `false` if SQL does.
    fn decodes_by_function(&self) -> bool;
    /// Returns `true` if sorting narrow rows before grouping is faster.
    fn sorts_before_grouping(&self) -> bool;
    /// Returns `true` if one statement changes many rows by locator and version.
    fn changes_in_bulk(&self) -> bool;

    /// Returns the condition that a session is one of those that were read.
    fn read_rows_condition(&self, condition: &ReadCondition<'_>) -> String;
    /// Returns the expression for the value of a column, by position, of a row to insert.
    fn inserted_value_expr(&self, at: usize) -> String;
    /// Returns the same for a row whose former value is restored.
    fn restored_value_expr(&self, at: usize) -> String;
    /// Returns the statement that inserts archived rows without an obstacle.
    fn insert_rows_statement(&self, rows: &RowInsertion<'_>) -> String;
    /// Returns the statement that restores the column that ended sessions, on rows that are otherwise
    /// unchanged.
    fn restore_ended_statement(&self, rows: &EndedRowsRestore<'_>) -> String;
    /// Returns the statement that inserts dependent rows, except those that exist already.
    fn insert_dependents_statement(&self, dependent: &DependentTable) -> String;

    /// Returns the clause after a table that disables its indexes.
    fn ignore_indexes_clause(&self) -> &'static str;
    /// Returns an aggregate over the rows with a condition.
    fn filtered_aggregate(&self, aggregate: &str, argument: &str, condition: &str) -> String {
        format!("{aggregate}({argument}) FILTER (WHERE {condition})")
    }
    /// Returns the condition that a row is not soft-deleted.
    fn not_deleted_condition(&self, column: &str, declared: &ColumnInfo) -> String;
    /// Returns an expression that is equal for texts that differ in case only.
    fn fold_case_expr(&self, expression: &str) -> String;
    /// Returns an expression whose values are equal exactly if the column considers them equal.
    fn fold_expr(&self, expression: &str, equality: Equality) -> String {
        match equality {
            Equality::CaseInsensitive => self.fold_case_expr(expression),
            Equality::TrailingSpaceInsensitive => format!("rtrim({expression}, ' ')"),
            Equality::Text => format!("CAST({expression} AS text)"),
            Equality::Exact | Equality::Collation => expression.to_owned(),
        }
    }
    /// Returns an expression that sorts text by bytes.
    fn byte_order_expr(&self, expression: &str) -> String;
    /// Returns the condition that text matches a regular expression, or `None` without support for those.
    fn regex_condition(&self, expression: &str, pattern: &str) -> Option<String>;
    /// Returns the number of characters.
    fn length_expr(&self, expression: &str) -> String;
    /// Returns the type of each value, if that can differ from the column's.
    fn type_of_expr(&self, value: &str) -> Option<String>;
    /// Returns an integer from a column of numbers or of their texts.
    fn integer_expr(&self, value: &str, kind: ColumnKind) -> String;
    /// Returns a literal of a column's type, given as text.
    fn typed_literal(&self, kind: ColumnKind, value: &str) -> String;

    /// Returns a token as text, for use inside a hash, a prefix or a length only.
    fn token_text_expr(&self, column: &str, kind: ColumnKind) -> String;
    /// Returns the keyed 64-bit hash of a token.
    fn fingerprint_expr(&self, token: &str, key: i64) -> String;
    /// Returns the token prefix. `standalone` avoids functions of this program.
    fn token_prefix_expr(&self, token: &str, standalone: bool) -> String;
    /// Returns a keyed hash of several columns.
    fn hash_columns_expr(&self, columns: &[String], key: i64) -> String;
    /// Returns a keyed hash of the columns that must not change between plan and apply.
    fn row_hash_expr(&self, columns: RowHashColumns, key: i64) -> String;

    /// Returns a timestamp as a scan reads it.
    fn scanned_timestamp_expr(&self, value: &str, kind: ColumnKind) -> String;
    /// Decodes a timestamp column. `clock` is the time of the run, for statements that use the database's own
    /// clock.
    fn decode_column(
        &self,
        decoder: Decoder,
        value: &str,
        kind: ColumnKind,
        clock: Option<UtcTimestamp>,
    ) -> DecodedColumn;
    /// Returns the database's clock, as a native timestamp or in microseconds.
    fn clock_expr(&self, native: Option<Decoder>) -> &'static str;
    /// Returns a readable time from seconds since 1970.
    fn readable_timestamp_expr(&self, seconds: &str) -> String;
    /// Returns the condition that a column holds text without a time zone.
    fn naive_text_condition(&self, value: &str, kind: ColumnKind) -> String;
    /// Returns, for a session stored as JSON, the expiry of its cookie as text, and the cookie's lifetime in
    /// milliseconds.
    fn cookie_exprs(&self, document: &str) -> [String; 2];

    /// Returns `true` if rows of a table can be found by position.
    fn has_row_positions(&self, table: &TableInfo) -> bool;
    /// Returns the columns of a session's position, in one heap or several.
    fn position_columns(&self, several_heaps: bool) -> &'static [&'static str];
    /// Returns the condition that a session is at one of these positions, each in its heap if given.
    fn at_positions_condition(&self, heaps: &[u32], positions: &[u64]) -> String;
    /// Returns locator and version of a session in a plan.
    fn planned_version_exprs(&self, addressing: RowKeyKind) -> [&'static str; 2];
    /// Returns locator and version of a session read for a change. `position_or_row_hash` locates rows
    /// without positions.
    fn read_version_exprs(
        &self,
        by_position: bool,
        position_or_row_hash: String,
        full_row_hash: String,
    ) -> [String; 2];
    /// Returns heap and position of a dependent row, as `heap` and `place`.
    fn heap_and_position_exprs(&self, alias: &str, row_number: Option<&str>, hash: &str) -> String;
    /// Returns the clauses around a query that keep one row for each `r.heap` and `r.place`.
    fn distinct_position_clauses(&self) -> [&'static str; 2];
    /// Returns the statement that deletes dependent rows.
    fn delete_joined_statement(&self, delete: &JoinedDelete<'_>) -> String;

    /// Returns the condition that a number is one of these, separated by commas.
    fn number_in_condition(&self, expression: &str, numbers: &str) -> String;
    /// Returns the content of `IN (…)` for these numbers.
    fn number_list_expr(&self, numbers: &str) -> String;
    /// Returns the condition that an id is one of these, given as quoted literals.
    fn id_in_condition(&self, column: &str, declared: Option<&str>, ids: &str) -> String;
    /// Returns the condition that columns match a row of a query.
    fn in_query_condition(&self, columns: &[String], tuple: &str, query: &str) -> String;
    /// Returns a query over quoted texts, as `v.id`, to which a condition can be appended.
    fn texts_as_rows_query(&self, texts: &[String]) -> String;
    /// Returns the sort expression that follows the index on ids.
    fn id_sort_expr(&self, column: &str, kind: ColumnKind) -> String;
    /// Returns the sort value of an id, or NULL if no row can have the id.
    fn id_sort_value(&self, id: &str, kind: ColumnKind) -> String;
    /// Returns the order of the users in column `u` of a table.
    fn user_order_expr(&self, table: &str, kind: Option<ColumnKind>) -> String;
}

/// Returns the range of numbers in the other epoch unit than the decoder's, and the microseconds per such
/// unit.
pub(super) fn other_epoch_unit(decoder: Decoder) -> (Range<i64>, i64) {
    if decoder == Decoder::EpochSeconds {
        (EPOCH_MILLIS_RANGE, 1_000)
    } else {
        (EPOCH_SECONDS_RANGE, 1_000_000)
    }
}

/// Joins numbers with commas.
pub(super) fn join_numbers(numbers: impl Iterator<Item = i64>) -> String {
    numbers.fold(String::new(), |mut list, number| {
        let comma = if list.is_empty() { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(list, "{comma}{number}");
        list
    })
}

/// The SQL dialect of one database. Each dialect's file defines its constant.
#[derive(Clone, Copy, Debug)]
pub struct Dialect(&'static dyn SqlDialect);

impl Dialect {
    /// Returns the name used in stored data and profiles.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Returns `true` if each value has its own type, whatever its column declares.
    #[must_use]
    pub fn has_dynamic_types(self) -> bool {
        self.0.has_dynamic_types()
    }

    /// Returns `true` if the database enforces foreign keys for every client.
    #[must_use]
    pub fn enforces_foreign_keys(self) -> bool {
        self.0.enforces_foreign_keys()
    }

    /// Returns `true` if tables belong to schemas.
    #[must_use]
    pub fn has_schemas(self) -> bool {
        self.0.has_schemas()
    }

    /// Describes how a column compares its values, or returns `None` if byte for byte.
    #[must_use]
    pub fn describe_comparison(self, equality: Equality) -> Option<&'static str> {
        match equality {
            Equality::Exact | Equality::Text => None,
            Equality::CaseInsensitive => Some(self.0.case_insensitive_comparison()),
            Equality::TrailingSpaceInsensitive => Some("ignoring trailing spaces (COLLATE RTRIM)"),
            Equality::Collation => Some("by a nondeterministic collation"),
        }
    }

    /// Returns the name of a table in a catalog of side effects.
    #[must_use]
    pub fn catalog_name(self, table: &TableName) -> String {
        self.0.catalog_name(table)
    }

    /// Returns the implementation.
    pub(crate) fn sql_dialect(self) -> &'static dyn SqlDialect {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_terminate_its_literal() {
        for dialect in crate::supported_databases::ALL_DIALECTS.map(Dialect::sql_dialect) {
            for text in ["it's", "\\' OR 1 = 1 --", "''", "\\", "a\0b"] {
                let quoted = dialect.quote_string(text);
                let inner =
                    quoted.trim_start_matches('E').strip_prefix('\'').unwrap().strip_suffix('\'').unwrap();
                assert_eq!(inner.replace("''", "").matches('\'').count(), 0, "{dialect:?} {quoted}");
                assert!(!quoted.contains('\0'), "{dialect:?} {quoted}");
            }
        }
        assert_eq!(Dialect::POSTGRES.sql_dialect().quote_string(r"a\b"), r"E'a\\b'");
        assert_eq!(Dialect::SQLITE.sql_dialect().quote_string(r"a\b"), r"'a\b'");
    }
}
