//! Statements for remediation: they read full rows for the archive, then delete or update those that still match.

use sessionwatch_core::row_ref::RowRef;

use super::{
    QueryBuilder,
    dialect::{ReadCondition, join_numbers},
    quote_identifier, quote_table,
    row_changes::{LocateBy, Mutation, ReadRows, RowChange},
};
use crate::{mapping::RevokeMethod, sql::table_info::TableInfo};

impl QueryBuilder<'_> {
    /// Returns the query for planned rows in full: locator, version, row hash, then every column.
    #[must_use]
    pub fn full_rows_query(&self, columns: &[String], locate_by: LocateBy, rows: &[&RowRef]) -> String {
        let all: Vec<String> = columns.iter().map(|column| self.session_column(column)).collect();
        let [locator, version] = self.read_version_exprs(locate_by, columns);
        // A row with the planned version is unchanged, so its hash is not needed.
        let row_hash = if self.is_known_by_version(locate_by) { "0".into() } else { self.row_hash_expr() };
        format!(
            "SELECT {locator}, {version}, {row_hash}, {}\nFROM {} AS s\nWHERE {}",
            all.join(", "),
            self.heaps_source(locate_by),
            self.located_rows_condition(locate_by, rows),
        )
    }

    /// Returns a hash of every archived column. Valid within one transaction only, since the text of some
    /// types depends on settings.
    pub(super) fn full_row_hash_expr(&self, columns: &[String]) -> String {
        let all: Vec<String> = columns.iter().map(|column| self.session_column(column)).collect();
        self.dialect().hash_columns_expr(&all, self.fingerprint_key)
    }

    /// Returns locator and version of a session.
    pub(super) fn read_version_exprs(&self, locate_by: LocateBy, columns: &[String]) -> [String; 2] {
        let by_position = locate_by == LocateBy::Position;
        self.dialect().read_version_exprs(
            by_position,
            self.position_or_row_hash_expr(),
            self.full_row_hash_expr(columns),
        )
    }

    /// Returns the table for a FROM clause: with its children, unless rows are located by position, which is
    /// unique in one heap only.
    pub(super) fn heaps_source(&self, locate_by: LocateBy) -> String {
        let only = if self.is_known_by_version(locate_by) { "ONLY " } else { "" };
        format!("{only}{}", quote_table(&self.mapping.sessions))
    }

    /// Returns `true` if rows located this way are verified by version rather than by row hash.
    #[must_use]
    pub fn is_known_by_version(&self, locate_by: LocateBy) -> bool {
        self.dialect().changes_in_bulk() && locate_by == LocateBy::Position
    }

    /// Returns the row number if the table has them, otherwise the row hash.
    pub(super) fn position_or_row_hash_expr(&self) -> String {
        if self.has_rowid() { "s.rowid".into() } else { self.row_hash_expr() }
    }

    /// Returns `true` unless this is a SQLite table without a usable `rowid`.
    #[must_use]
    pub fn has_rowid(&self) -> bool {
        self.schema.table(&self.mapping.sessions).is_none_or(TableInfo::has_rowid)
    }

    fn located_rows_condition(&self, locate_by: LocateBy, rows: &[&RowRef]) -> String {
        match (locate_by, &self.mapping.id) {
            (LocateBy::Position, _) => {
                let places: Vec<u64> = rows.iter().map(|row| row.locator).collect();
                self.dialect().at_positions_condition(&[], &places)
            }
            (LocateBy::Id, Some(id)) => {
                self.ids_or_row_hashes_condition(id, rows.iter().map(|row| (row.id.as_deref(), row.row_hash)))
            }
            _ => self.row_hashes_condition(rows.iter().map(|row| row.row_hash)),
        }
    }

    /// Returns the condition that a row has one of these IDs.
    pub(super) fn ids_condition<'i>(&self, id: &str, ids: impl Iterator<Item = &'i str>) -> String {
        let ids: Vec<String> = ids.map(|id| self.quote_string(id)).collect();
        self.dialect().id_in_condition(&self.session_column(id), self.declared_type(id), &ids.join(", "))
    }

    /// Returns the condition that a row has one of these IDs, or one of these row hashes if its ID is NULL,
    /// which even a unique column allows in many rows.
    pub(super) fn ids_or_row_hashes_condition<'i>(
        &self,
        id: &str,
        rows: impl Iterator<Item = (Option<&'i str>, i64)>,
    ) -> String {
        let (mut ids, mut row_hashes) = (vec![], vec![]);
        for (id, row_hash) in rows {
            match id {
                Some(id) => ids.push(id),
                None => row_hashes.push(row_hash),
            }
        }
        let by_id = self.ids_condition(id, ids.into_iter());
        if row_hashes.is_empty() {
            return by_id;
        }
        format!(
            "({by_id} OR ({} IS NULL AND {}))",
            self.session_column(id),
            self.row_hashes_condition(row_hashes.into_iter())
        )
    }

    /// Returns the condition that a row is one of those that were read.
    pub(super) fn read_rows_condition(&self, read: ReadRows<'_>) -> String {
        let rows = || read.rows.iter();
        let key_condition = match (read.locate_by, &self.mapping.id) {
            (LocateBy::Position, _) => None,
            (LocateBy::Id, Some(id)) => Some(
                self.ids_or_row_hashes_condition(id, rows().map(|row| (row.id.as_deref(), row.row_hash))),
            ),
            _ => Some(self.row_hashes_condition(rows().map(|row| row.row_hash))),
        };
        self.dialect().read_rows_condition(&ReadCondition {
            rows: read.rows,
            key_condition,
            full_row_hash: self.full_row_hash_expr(read.columns),
            position_or_row_hash: self.position_or_row_hash_expr(),
        })
    }

    /// Returns the condition that a row has one of these row hashes.
    pub(super) fn row_hashes_condition(&self, row_hashes: impl Iterator<Item = i64>) -> String {
        self.dialect().number_in_condition(&self.row_hash_expr(), &join_numbers(row_hashes))
    }

    fn declared_type(&self, column: &str) -> Option<&str> {
        let table = self.schema.table(&self.mapping.sessions)?;
        table.column(column).map(|column| column.declared_type.as_str())
    }

    /// Returns the query for those of the rows that exist, with their current row hashes. Located by ID,
    /// changed rows are found too.
    #[must_use]
    pub fn present_rows_query(&self, locate_by: LocateBy, rows: &[&RowRef]) -> String {
        let id = self
            .mapping
            .id
            .as_deref()
            .map_or("CAST(NULL AS text)".into(), |id| self.cast_to_text(&self.session_column(id)));
        format!(
            "SELECT {}, {id}\nFROM {} AS s\nWHERE {}",
            self.row_hash_expr(),
            quote_table(&self.mapping.sessions),
            self.located_rows_condition(locate_by, rows)
        )
    }

    /// Returns the same query without rows ended in place, since setting a flag does not change the row hash.
    #[must_use]
    pub fn rows_not_ended_query(
        &self,
        locate_by: LocateBy,
        rows: &[&RowRef],
        revoke: &RevokeMethod,
    ) -> String {
        let present = self.present_rows_query(locate_by, rows);
        match revoke {
            RevokeMethod::Flag { column, value } => {
                let (column, value) =
                    (self.cast_to_text(&self.session_column(column)), self.quote_string(value));
                format!("{present} AND ({column} IS NULL OR {column} <> {value})")
            }
            _ => present,
        }
    }

    /// Returns the statement that deletes or updates one row if it still matches what was read. Parameters
    /// are its row number, or row hash if there is none, and its version.
    #[must_use]
    pub fn change_one_statement(&self, mutation: Mutation<'_>, columns: &[String]) -> String {
        let sessions = quote_table(&self.mapping.sessions);
        let change = mutation.change;
        let orphans =
            if mutation.orphans_only { format!(" AND {}", self.orphaned_condition()) } else { String::new() };
        let (name, version) = (self.position_or_row_hash_expr(), self.full_row_hash_expr(columns));
        // The condition is checked by the statement itself, so a concurrent change cannot slip in between.
        let still = format!("{name} = ?1 AND {version} = ?2{orphans}");
        match change {
            RowChange::Delete => format!("DELETE FROM {sessions} AS s WHERE {still}"),
            RowChange::Expire(now) => {
                let column = &self.mapping.expires.column;
                format!(
                    "UPDATE {sessions} AS s SET {} = {} WHERE {still}",
                    quote_identifier(column),
                    self.column_literal(column, now)
                )
            }
            RowChange::Flag(column, value) => {
                format!(
                    "UPDATE {sessions} AS s SET {} = {} WHERE {still}",
                    quote_identifier(column),
                    self.column_literal(column, value)
                )
            }
        }
    }

    /// Returns a literal of a column's type, given as text.
    pub(super) fn column_literal(&self, column: &str, value: &str) -> String {
        self.dialect().typed_literal(self.column_kind(&self.mapping.sessions, column), value)
    }
}
