//! Dialects: everything in which statements about sessions differ between databases. Whatever is written elsewhere in this
//! folder is understood by each of them. A session sets its connection up so that names stand in double quotes and a backslash
//! in a string is only a backslash, unless [`SqlDialect::quote_string`] says otherwise.

pub(crate) mod fix_statements;
mod postgres;
mod sqlite;

use std::{
    fmt::{Debug, Write as _},
    ops::Range,
};

use sessionwatch_core::{
    decoder::{Decoder, EPOCH_MILLIS_RANGE, EPOCH_SECONDS_RANGE},
    timestamp::UtcTimestamp,
};

use self::fix_statements::FixDialect;
use super::{
    RowKeyKind, RowVersion, quote_table,
    tables::{ColumnInfo, ColumnKind, Equality, TableInfo},
};
use crate::{
    mapping::{Mapping, TableName},
    side_effects::{CascadingTable, ReachedSideEffect},
    unsealed_rows::{ColumnDecl, DependentTable},
};

/// What roles of sessionwatch are granted, and to which.
#[derive(Clone, Copy)]
pub(crate) struct RoleGrants<'a> {
    /// The role that watches, and the one that acts, if that is to have its statements.
    pub(crate) watch_role: &'a str,
    pub(crate) write_role: Option<&'a str>,
    pub(crate) mapping: &'a Mapping,
    /// What happens besides when sessions are ended, and the tables whose rows are archived and restored with them.
    pub(crate) side_effects: &'a [ReachedSideEffect],
    pub(crate) dependents: &'a [CascadingTable],
    /// A column of the accounts, if those are there.
    pub(crate) account_column: Option<&'a str>,
    /// The tables of all these that have row-level security.
    pub(crate) row_security_tables: &'a [&'a TableName],
}

/// Rows of a dependent table that are to be deleted.
pub(crate) struct JoinedDelete<'a> {
    /// The table, and what it is called in the statement.
    pub(crate) table: &'a str,
    pub(crate) alias: &'a str,
    /// The tables that lead to it from the sessions, and the condition that joins all of them with it.
    pub(crate) joined: &'a str,
    pub(crate) condition: &'a str,
    /// A hash of the row, and those of the rows that were read.
    pub(crate) hash: &'a str,
    pub(crate) hashes: &'a str,
    /// The number of a row, where rows have one.
    pub(crate) row_number: Option<&'a str>,
}

/// The condition that a session is one of those that were read.
pub(crate) struct ReadCondition<'a> {
    pub(crate) rows: &'a [RowVersion],
    /// The condition that a session has the id or the mark of one of them; nothing where they are named by their places.
    pub(crate) key_condition: Option<String>,
    /// A hash of every column that is archived.
    pub(crate) full_row_hash: String,
    /// What names a session where rows have numbers: that, or else its mark.
    pub(crate) position_or_row_hash: String,
}

/// Archived rows that are inserted again.
pub(crate) struct RowInsertion<'a> {
    /// The sessions, and the table for these rows: the same, or one that inherits from it.
    pub(crate) sessions: &'a TableName,
    pub(crate) into_table: &'a TableName,
    pub(crate) columns: &'a [ColumnDecl],
    /// The conditions that something is in the way of a row, and what names the first that holds; NULL if none does.
    pub(crate) obstacles: Vec<String>,
    pub(crate) obstacle: String,
    /// The position of the token among the columns, and which tokens are equal.
    pub(crate) token: Option<usize>,
    pub(crate) token_equality: Equality,
    /// The mark of a row that is back.
    pub(crate) row_hash: String,
}

/// Sessions that were ended in place, and get the former value back of the column that ended them.
pub(crate) struct EndedRowsRestore<'a> {
    pub(crate) sessions: &'a TableName,
    pub(crate) columns: &'a [ColumnDecl],
    pub(crate) assignment: String,
    /// The condition that a row is otherwise as it was.
    pub(crate) condition: String,
    /// The mark of a row that is back.
    pub(crate) row_hash: String,
}

/// What a row hash is made of.
pub(crate) struct RowHashColumns {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) user: String,
    pub(crate) expires: String,
    /// The expiry is an instant whose text depends on the time zone of the connection.
    pub(crate) expires_in_zone: bool,
}

/// A row without an end, where instants are integers.
pub(super) const NEVER_MICROS: &str = "9223372036854775807";
/// A row whose end cannot be read, where instants are integers.
pub(super) const UNDECODABLE_MICROS: &str = "-9223372036854775807";

/// A column of instants inside a statement.
pub(crate) struct DecodedColumn {
    /// An expression: a native timestamp, or an integer of microseconds with sentinels.
    pub(crate) value: String,
    /// How it is read, where it is a native timestamp.
    pub(crate) native_decoder: Option<Decoder>,
    /// An index on the column has its rows in the order of `value`.
    pub(crate) is_indexable: bool,
}

/// How one database writes what they all can do.
pub(crate) trait SqlDialect: FixDialect + Debug + Sync {
    /// Its name in what is kept, and in profiles.
    fn name(&self) -> &'static str;
    /// Whether each value has a type of its own, whatever its column declares.
    fn has_dynamic_types(&self) -> bool;
    /// Whether a foreign key is checked whoever writes.
    fn enforces_foreign_keys(&self) -> bool;
    /// Whether tables are in schemas.
    fn has_schemas(&self) -> bool;
    /// How a column compares its values that has no regard to case, with the word that declares it.
    fn case_insensitive_comparison(&self) -> &'static str;
    /// The name under which a catalog of side effects knows a table.
    fn catalog_name(&self, name: &TableName) -> String {
        quote_table(name)
    }
    /// Statements that make a role which may only read what checks need, and one that may also end sessions, with a comment
    /// on each.
    fn grant_statements(&self, grants: RoleGrants<'_>) -> String;

    /// A string. No database has zero bytes in its text: one becomes the character for what cannot be read.
    fn quote_string(&self, text: &str) -> String;

    /// The client that people paste queries into.
    fn client_name(&self) -> &'static str;
    /// Queries to paste, in which only built-in functions are called.
    fn safe_script(&self, queries: &str) -> String;

    /// Whether quoted literals are taken for what the column is that they are compared with, so that its index serves. Otherwise
    /// columns are compared as text.
    fn casts_literals(&self) -> bool;
    /// Whether values of any two types can be compared.
    fn compares_any_types(&self) -> bool;
    /// Whether values that are equal can have different texts.
    fn equal_values_differ_as_text(&self) -> bool;
    /// One text for all that are equal to that of a row, where those can differ.
    fn canonical_text_expr(&self, column: &str) -> String;
    /// Whether collations are code of the application, which other programs do not have.
    fn has_application_collations(&self) -> bool;
    /// Whether a scan reads columns as what they are, and users by their keys; otherwise as text.
    fn scans_typed_columns(&self) -> bool;
    /// Whether instants are worked out by a function of this program, and not by SQL.
    fn decodes_by_function(&self) -> bool;
    /// Whether narrow rows are sorted before they are grouped.
    fn sorts_before_grouping(&self) -> bool;
    /// Whether one statement changes many rows, each named by its locator and its version.
    fn changes_in_bulk(&self) -> bool;

    /// The condition that a session is one of those that were read.
    fn read_rows_condition(&self, condition: &ReadCondition<'_>) -> String;
    /// What stands for the value of a column, given by its position, of a row that is inserted again.
    fn inserted_value_expr(&self, at: usize) -> String;
    /// The same for a row that is set back.
    fn restored_value_expr(&self, at: usize) -> String;
    /// Inserts archived rows into a table, where nothing is in their way.
    fn insert_rows_statement(&self, rows: &RowInsertion<'_>) -> String;
    /// Sets the column that ended sessions back, where their rows are still there and otherwise as they were.
    fn restore_ended_statement(&self, rows: &EndedRowsRestore<'_>) -> String;
    /// Inserts archived rows of a dependent table, where it does not have them already.
    fn insert_dependents_statement(&self, dependent: &DependentTable) -> String;

    /// Behind a table: read it without its indexes.
    fn ignore_indexes_clause(&self) -> &'static str;
    /// The rows that an aggregate is over.
    fn filtered_aggregate(&self, aggregate: &str, argument: &str, condition: &str) -> String {
        format!("{aggregate}({argument}) FILTER (WHERE {condition})")
    }
    /// The condition that the application has not marked a row as deleted.
    fn not_deleted_condition(&self, column: &str, declared: &ColumnInfo) -> String;
    /// An expression that is equal for texts that are equal but for their case.
    fn fold_case_expr(&self, expression: &str) -> String;
    /// An expression of values that are equal exactly if those of the column are equal to the application.
    fn fold_expr(&self, expression: &str, equality: Equality) -> String {
        match equality {
            Equality::CaseInsensitive => self.fold_case_expr(expression),
            Equality::TrailingSpaceInsensitive => format!("rtrim({expression}, ' ')"),
            Equality::Text => format!("CAST({expression} AS text)"),
            Equality::Exact | Equality::Collation => expression.to_owned(),
        }
    }
    /// A text by its bytes, to sort by.
    fn byte_order_expr(&self, expression: &str) -> String;
    /// Whether a text matches a regular expression; nothing where there are none.
    fn regex_condition(&self, expression: &str, pattern: &str) -> Option<String>;
    /// The number of characters.
    fn length_expr(&self, expression: &str) -> String;
    /// The type of each value, where that is not the type of its column.
    fn type_of_expr(&self, value: &str) -> Option<String>;
    /// An integer, from a column of numbers or of their texts.
    fn integer_expr(&self, value: &str, kind: ColumnKind) -> String;
    /// A value of a column, given as text.
    fn typed_literal(&self, kind: ColumnKind, value: &str) -> String;

    /// A token as text, for use inside a hash, a prefix or a length only.
    fn token_text_expr(&self, column: &str, kind: ColumnKind) -> String;
    /// The keyed 64-bit hash of a token.
    fn fingerprint_expr(&self, token: &str, key: i64) -> String;
    /// The token prefix; `pasted` where functions of this program are not there.
    fn token_prefix_expr(&self, token: &str, standalone: bool) -> String;
    /// A keyed hash of whole rows.
    fn hash_columns_expr(&self, columns: &[String], key: i64) -> String;
    /// A keyed hash of what must not have changed since a plan was made.
    fn row_hash_expr(&self, columns: RowHashColumns, key: i64) -> String;

    /// An instant as a scan reads it.
    fn scanned_timestamp_expr(&self, value: &str, kind: ColumnKind) -> String;
    /// A column of instants; `clock` is the instant of the run where the statement goes by the database's own clock.
    fn decode_column(
        &self,
        decoder: Decoder,
        value: &str,
        kind: ColumnKind,
        clock: Option<UtcTimestamp>,
    ) -> DecodedColumn;
    /// The database's clock, as a native timestamp or in microseconds.
    fn clock_expr(&self, native: Option<Decoder>) -> &'static str;
    /// An instant for people, from seconds since 1970.
    fn readable_timestamp_expr(&self, seconds: &str) -> String;
    /// The condition that a column holds text that names no time zone.
    fn naive_text_condition(&self, value: &str, kind: ColumnKind) -> String;
    /// The end of the cookie in a session that is stored as JSON, as text, and its lifetime in milliseconds.
    fn cookie_exprs(&self, document: &str) -> [String; 2];

    /// Whether rows of a table stand at places by which they are found again.
    fn has_row_positions(&self, table: &TableInfo) -> bool;
    /// The columns of the place of a session: in one heap, or in several.
    fn position_columns(&self, several_heaps: bool) -> &'static [&'static str];
    /// The condition that a session stands at one of these places, each in its heap where those are given.
    fn at_positions_condition(&self, heaps: &[u32], positions: &[u64]) -> String;
    /// Locator and version of a session in a plan.
    fn planned_version_exprs(&self, addressing: RowKeyKind) -> [&'static str; 2];
    /// Locator and version of a session that is read to be changed; `place_or_mark` names it where rows have no places.
    fn read_version_exprs(
        &self,
        by_position: bool,
        position_or_row_hash: String,
        full_row_hash: String,
    ) -> [String; 2];
    /// What names the heap and the place of a dependent row, as `heap` and `place`.
    fn heap_and_position_exprs(&self, alias: &str, row_number: Option<&str>, hash: &str) -> String;
    /// Around the columns of a query: one row for each `r.heap` and `r.place`.
    fn distinct_position_clauses(&self) -> [&'static str; 2];
    /// The statement that deletes dependent rows.
    fn delete_joined_statement(&self, delete: &JoinedDelete<'_>) -> String;

    /// The condition that a number is one of these, divided by commas.
    fn number_in_condition(&self, expression: &str, numbers: &str) -> String;
    /// What stands in `IN (…)` for these numbers.
    fn number_list_expr(&self, numbers: &str) -> String;
    /// The condition that an id is one of these quoted ones.
    fn id_in_condition(&self, column: &str, declared: Option<&str>, ids: &str) -> String;
    /// The condition that columns are those of a row of a query.
    fn in_query_condition(&self, columns: &[String], tuple: &str, query: &str) -> String;
    /// The query for those of these quoted texts, as `v.id`, to which a condition is added.
    fn texts_as_rows_query(&self, texts: &[String]) -> String;
    /// By what rows are sorted to have them in the order of the index on their ids.
    fn id_sort_expr(&self, column: &str, kind: ColumnKind) -> String;
    /// The rank of the row with that id; NULL if no row can have it.
    fn id_sort_value(&self, id: &str, kind: ColumnKind) -> String;
    /// The order of the users of a table, in its column `u`.
    fn user_order_expr(&self, table: &str, kind: Option<ColumnKind>) -> String;
}

/// The numbers that are of the other unit than that of a decoder, and the microseconds of one of them.
pub(super) fn other_epoch_unit(decoder: Decoder) -> (Range<i64>, i64) {
    if decoder == Decoder::EpochSeconds {
        (EPOCH_MILLIS_RANGE, 1_000)
    } else {
        (EPOCH_SECONDS_RANGE, 1_000_000)
    }
}

/// Numbers, divided by commas.
pub(super) fn join_numbers(numbers: impl Iterator<Item = i64>) -> String {
    numbers.fold(String::new(), |mut list, number| {
        let comma = if list.is_empty() { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(list, "{comma}{number}");
        list
    })
}

/// The SQL of one kind of database, with what has to be known of its tables. Each dialect's file makes its own.
#[derive(Clone, Copy, Debug)]
pub struct Dialect(&'static dyn SqlDialect);

impl Dialect {
    /// Its name in what is kept, and in profiles.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Whether each value has a type of its own, whatever its column declares.
    #[must_use]
    pub fn has_dynamic_types(self) -> bool {
        self.0.has_dynamic_types()
    }

    /// Whether a foreign key is checked whoever writes.
    #[must_use]
    pub fn enforces_foreign_keys(self) -> bool {
        self.0.enforces_foreign_keys()
    }

    /// Whether tables are in schemas.
    #[must_use]
    pub fn has_schemas(self) -> bool {
        self.0.has_schemas()
    }

    /// How a column compares its values, where not byte for byte.
    #[must_use]
    pub fn describe_comparison(self, equality: Equality) -> Option<&'static str> {
        match equality {
            Equality::Exact | Equality::Text => None,
            Equality::CaseInsensitive => Some(self.0.case_insensitive_comparison()),
            Equality::TrailingSpaceInsensitive => Some("without regard to spaces at the end (COLLATE RTRIM)"),
            Equality::Collation => Some("by a nondeterministic collation"),
        }
    }

    /// The name under which a catalog of side effects knows a table.
    #[must_use]
    pub fn catalog_name(self, table: &TableName) -> String {
        self.0.catalog_name(table)
    }

    /// What it writes differently from others.
    pub(crate) fn sql_dialect(self) -> &'static dyn SqlDialect {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_the_string_that_it_stands_in() {
        for dialect in crate::databases::ALL_DIALECTS.map(Dialect::sql_dialect) {
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
