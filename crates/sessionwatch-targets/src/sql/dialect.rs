//! Dialects: everything in which statements about sessions differ between databases. Whatever is written elsewhere in this
//! folder is understood by each of them. A session sets its connection up so that names stand in double quotes and a backslash
//! in a string is only a backslash, unless [`SqlDialect::string`] says otherwise.

mod postgres;
pub(crate) mod remedies;
mod sqlite;

use std::{
    fmt::{Debug, Write as _},
    ops::Range,
};

use sessionwatch_core::{
    decoder::{Decoder, MILLIS, SECONDS},
    instant::Instant,
};

use self::remedies::RemedyDialect;
use super::{
    Addressing, RowVersion, table,
    tables::{Column, ColumnKind, Equality, Table},
};
use crate::{
    mapping::{Mapping, TableName},
    side_effects::{Dependent, Reached},
    unsealed_rows::{ColumnDecl, DependentTable},
};

/// What roles of sessionwatch are granted, and to which.
#[derive(Clone, Copy)]
pub(crate) struct RoleGrants<'a> {
    /// The role that watches, and the one that acts, if that is to have its statements.
    pub(crate) watch: &'a str,
    pub(crate) act: Option<&'a str>,
    pub(crate) mapping: &'a Mapping,
    /// What happens besides when sessions are ended, and the tables whose rows are archived and restored with them.
    pub(crate) reached: &'a [Reached],
    pub(crate) dependents: &'a [Dependent],
    /// A column of the accounts, if those are there.
    pub(crate) account_column: Option<&'a str>,
    /// The tables of all these that have row-level security.
    pub(crate) secured: &'a [&'a TableName],
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
    pub(crate) named: Option<String>,
    /// A hash of every column that is archived.
    pub(crate) row_hash: String,
    /// What names a session where rows have numbers: that, or else its mark.
    pub(crate) place_or_mark: String,
}

/// Archived rows that are inserted again.
pub(crate) struct RowInsertion<'a> {
    /// The sessions, and the table for these rows: the same, or one that inherits from it.
    pub(crate) sessions: &'a TableName,
    pub(crate) into: &'a TableName,
    pub(crate) columns: &'a [ColumnDecl],
    /// The conditions that something is in the way of a row, and what names the first that holds; NULL if none does.
    pub(crate) obstacles: Vec<String>,
    pub(crate) obstacle: String,
    /// The position of the token among the columns, and which tokens are equal.
    pub(crate) token: Option<usize>,
    pub(crate) token_equality: Equality,
    /// The mark of a row that is back.
    pub(crate) mark: String,
}

/// Sessions that were ended in place, and get the former value back of the column that ended them.
pub(crate) struct RowsSetBack<'a> {
    pub(crate) sessions: &'a TableName,
    pub(crate) columns: &'a [ColumnDecl],
    pub(crate) set: String,
    /// The condition that a row is otherwise as it was.
    pub(crate) condition: String,
    /// The mark of a row that is back.
    pub(crate) mark: String,
}

/// What a row hash is made of.
pub(crate) struct HashedColumns {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) user: String,
    pub(crate) expires: String,
    /// The expiry is an instant whose text depends on the time zone of the connection.
    pub(crate) expires_in_zone: bool,
}

/// A row without an end, where instants are integers.
pub(super) const NEVER: &str = "9223372036854775807";
/// A row whose end cannot be read, where instants are integers.
pub(super) const UNDECODABLE: &str = "-9223372036854775807";

/// A column of instants inside a statement.
pub(crate) struct DecodedColumn {
    /// An expression: a native timestamp, or an integer of microseconds with sentinels.
    pub(crate) value: String,
    /// How it is read, where it is a native timestamp.
    pub(crate) native: Option<Decoder>,
    /// An index on the column has its rows in the order of `value`.
    pub(crate) indexable: bool,
}

/// How one database writes what they all can do.
pub(crate) trait SqlDialect: RemedyDialect + Debug + Sync {
    /// Its name in what is kept, and in profiles.
    fn name(&self) -> &'static str;
    /// Whether each value has a type of its own, whatever its column declares.
    fn has_dynamic_types(&self) -> bool;
    /// Whether a foreign key is checked whoever writes.
    fn enforces_foreign_keys(&self) -> bool;
    /// Whether tables are in schemas.
    fn has_schemas(&self) -> bool;
    /// How a column compares its values that has no regard to case, with the word that declares it.
    fn case_blind_comparison(&self) -> &'static str;
    /// The name under which a catalog of side effects knows a table.
    fn catalog_name(&self, name: &TableName) -> String {
        table(name)
    }
    /// Statements that make a role which may only read what checks need, and one that may also end sessions, with a comment
    /// on each.
    fn grants(&self, grants: RoleGrants<'_>) -> String;

    /// A string. No database has zero bytes in its text: one becomes the character for what cannot be read.
    fn string(&self, text: &str) -> String;

    /// The client that people paste queries into.
    fn client(&self) -> &'static str;
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
    fn one_of_equal_texts(&self, column: &str) -> String;
    /// Whether collations are code of the application, which other programs do not have.
    fn collations_are_of_application(&self) -> bool;
    /// Whether a scan reads columns as what they are, and users by their keys; otherwise as text.
    fn scans_typed_columns(&self) -> bool;
    /// Whether instants are worked out by a function of this program, and not by SQL.
    fn decodes_by_function(&self) -> bool;
    /// Whether narrow rows are sorted before they are grouped.
    fn sorts_before_grouping(&self) -> bool;
    /// Whether one statement changes many rows, each named by its locator and its version.
    fn changes_in_bulk(&self) -> bool;

    /// The condition that a session is one of those that were read.
    fn is_read(&self, condition: &ReadCondition<'_>) -> String;
    /// What stands for the value of a column, given by its position, of a row that is inserted again.
    fn inserted_value(&self, at: usize) -> String;
    /// The same for a row that is set back.
    fn set_back_value(&self, at: usize) -> String;
    /// Inserts archived rows into a table, where nothing is in their way.
    fn insert(&self, rows: &RowInsertion<'_>) -> String;
    /// Sets the column that ended sessions back, where their rows are still there and otherwise as they were.
    fn set_back(&self, rows: &RowsSetBack<'_>) -> String;
    /// Inserts archived rows of a dependent table, where it does not have them already.
    fn insert_dependents(&self, dependent: &DependentTable) -> String;

    /// Behind a table: read it without its indexes.
    fn ignoring_indexes(&self) -> &'static str;
    /// The rows that an aggregate is over.
    fn filtered(&self, aggregate: &str, argument: &str, condition: &str) -> String {
        format!("{aggregate}({argument}) FILTER (WHERE {condition})")
    }
    /// The condition that the application has not marked a row as deleted.
    fn not_deleted(&self, column: &str, declared: &Column) -> String;
    /// An expression that is equal for texts that are equal but for their case.
    fn fold_case(&self, expression: &str) -> String;
    /// An expression of values that are equal exactly if those of the column are equal to the application.
    fn folded(&self, expression: &str, equality: Equality) -> String {
        match equality {
            Equality::CaseBlind => self.fold_case(expression),
            Equality::SpaceBlind => format!("rtrim({expression}, ' ')"),
            Equality::Text => format!("CAST({expression} AS text)"),
            Equality::Exact | Equality::Collation => expression.to_owned(),
        }
    }
    /// A text by its bytes, to sort by.
    fn by_bytes(&self, expression: &str) -> String;
    /// Whether a text matches a regular expression; nothing where there are none.
    fn matches(&self, expression: &str, pattern: &str) -> Option<String>;
    /// The number of characters.
    fn length(&self, expression: &str) -> String;
    /// The type of each value, where that is not the type of its column.
    fn dynamic_type(&self, value: &str) -> Option<String>;
    /// An integer, from a column of numbers or of their texts.
    fn whole_number(&self, value: &str, kind: ColumnKind) -> String;
    /// A value of a column, given as text.
    fn literal(&self, kind: ColumnKind, value: &str) -> String;

    /// A token as text, for use inside a hash, a prefix or a length only.
    fn token_text(&self, column: &str, kind: ColumnKind) -> String;
    /// The keyed 64-bit hash of a token.
    fn fingerprint(&self, token: &str, key: i64) -> String;
    /// The token prefix; `pasted` where functions of this program are not there.
    fn prefix(&self, token: &str, pasted: bool) -> String;
    /// A keyed hash of whole rows.
    fn row_hash(&self, columns: &[String], key: i64) -> String;
    /// A keyed hash of what must not have changed since a plan was made.
    fn mark(&self, columns: HashedColumns, key: i64) -> String;

    /// An instant as a scan reads it.
    fn scanned_instant(&self, value: &str, kind: ColumnKind) -> String;
    /// A column of instants; `clock` is the instant of the run where the statement goes by the database's own clock.
    fn decode(
        &self,
        decoder: Decoder,
        value: &str,
        kind: ColumnKind,
        clock: Option<Instant>,
    ) -> DecodedColumn;
    /// The database's clock, as a native timestamp or in microseconds.
    fn clock(&self, native: Option<Decoder>) -> &'static str;
    /// An instant for people, from seconds since 1970.
    fn readable_seconds(&self, seconds: &str) -> String;
    /// The condition that a column holds text that names no time zone.
    fn is_naive(&self, value: &str, kind: ColumnKind) -> String;
    /// The end of the cookie in a session that is stored as JSON, as text, and its lifetime in milliseconds.
    fn cookie(&self, document: &str) -> [String; 2];

    /// Whether rows of a table stand at places by which they are found again.
    fn has_places(&self, table: &Table) -> bool;
    /// The columns of the place of a session: in one heap, or in several.
    fn place_columns(&self, several_heaps: bool) -> &'static [&'static str];
    /// The condition that a session stands at one of these places, each in its heap where those are given.
    fn at_places(&self, heaps: &[u32], places: &[u64]) -> String;
    /// Locator and version of a session in a plan.
    fn planned_version(&self, addressing: Addressing) -> [&'static str; 2];
    /// Locator and version of a session that is read to be changed; `place_or_mark` names it where rows have no places.
    fn read_version(&self, by_place: bool, place_or_mark: String, row_hash: String) -> [String; 2];
    /// What names the heap and the place of a dependent row, as `heap` and `place`.
    fn heap_and_place(&self, alias: &str, row_number: Option<&str>, hash: &str) -> String;
    /// Around the columns of a query: one row for each `r.heap` and `r.place`.
    fn distinct_places(&self) -> [&'static str; 2];
    /// The statement that deletes dependent rows.
    fn delete_joined(&self, delete: &JoinedDelete<'_>) -> String;

    /// The condition that a number is one of these, divided by commas.
    fn number_among(&self, expression: &str, numbers: &str) -> String;
    /// What stands in `IN (…)` for these numbers.
    fn number_list(&self, numbers: &str) -> String;
    /// The condition that an id is one of these quoted ones.
    fn id_among(&self, column: &str, declared: Option<&str>, ids: &str) -> String;
    /// The condition that columns are those of a row of a query.
    fn found_in(&self, columns: &[String], tuple: &str, query: &str) -> String;
    /// The query for those of these quoted texts, as `v.id`, to which a condition is added.
    fn texts_as_rows(&self, texts: &[String]) -> String;
    /// By what rows are sorted to have them in the order of the index on their ids.
    fn id_rank(&self, column: &str, kind: ColumnKind) -> String;
    /// The rank of the row with that id; NULL if no row can have it.
    fn rank_of_id(&self, id: &str, kind: ColumnKind) -> String;
    /// The order of the users of a table, in its column `u`.
    fn user_order(&self, table: &str, kind: Option<ColumnKind>) -> String;
}

/// The numbers that are of the other unit than that of a decoder, and the microseconds of one of them.
pub(super) fn other_unit(decoder: Decoder) -> (Range<i64>, i64) {
    if decoder == Decoder::EpochSeconds { (MILLIS, 1_000) } else { (SECONDS, 1_000_000) }
}

/// Numbers, divided by commas.
pub(super) fn numbers(numbers: impl Iterator<Item = i64>) -> String {
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
    pub fn comparison(self, equality: Equality) -> Option<&'static str> {
        match equality {
            Equality::Exact | Equality::Text => None,
            Equality::CaseBlind => Some(self.0.case_blind_comparison()),
            Equality::SpaceBlind => Some("without regard to spaces at the end (COLLATE RTRIM)"),
            Equality::Collation => Some("by a nondeterministic collation"),
        }
    }

    /// The name under which a catalog of side effects knows a table.
    #[must_use]
    pub fn catalog_name(self, table: &TableName) -> String {
        self.0.catalog_name(table)
    }

    /// What it writes differently from others.
    pub(crate) fn sql(self) -> &'static dyn SqlDialect {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_the_string_that_it_stands_in() {
        for dialect in crate::databases::DIALECTS.map(Dialect::sql) {
            for text in ["it's", "\\' OR 1 = 1 --", "''", "\\", "a\0b"] {
                let quoted = dialect.string(text);
                let inner =
                    quoted.trim_start_matches('E').strip_prefix('\'').unwrap().strip_suffix('\'').unwrap();
                assert_eq!(inner.replace("''", "").matches('\'').count(), 0, "{dialect:?} {quoted}");
                assert!(!quoted.contains('\0'), "{dialect:?} {quoted}");
            }
        }
        assert_eq!(Dialect::POSTGRES.sql().string(r"a\b"), r"E'a\\b'");
        assert_eq!(Dialect::SQLITE.sql().string(r"a\b"), r"'a\b'");
    }
}
