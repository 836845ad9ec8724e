//! Statements that change, delete or insert many rows at once. Triggers, rules and domains run under the
//! role's search path.

use std::fmt::Write as _;

use super::{PostgresDialect, ROLE_SEARCH_PATH_CONDITION};
use crate::{
    decrypted_rows::{ColumnDecl, DependentTable},
    sql::{
        LocateBy, Mutation, QueryBuilder, ReadRows, RowChange, RowVersion,
        dialect::{EndedRowsRestore, ReadCondition, RowInsertion, SqlDialect as _, join_numbers},
        quote_identifier, quote_table,
    },
};

impl QueryBuilder<'_> {
    /// Returns the statement that deletes or updates the rows that still match what was read. With
    /// `detailed`, it returns one row: the [`RowVersion::locator_text`] of each changed row.
    ///
    /// The statement checks the condition on the latest version of each row while locking it. Therefore rows
    /// need not be locked while they are archived, and no further privilege is required.
    #[must_use]
    pub fn change_rows_statement(
        &self,
        mutation: Mutation<'_>,
        read: ReadRows<'_>,
        detailed: bool,
    ) -> String {
        let change = mutation.change;
        let orphans =
            if mutation.orphans_only { format!(" AND {}", self.orphaned_condition()) } else { String::new() };
        let set = match change {
            RowChange::Delete => None,
            RowChange::Expire(now) => Some((self.mapping.expires.column.as_str(), now)),
            RowChange::Flag(column, value) => Some((column, value)),
        };
        let set = set.map(|(column, value)| {
            format!("{} = {}", quote_identifier(column), self.column_literal(column, value))
        });
        let sessions = self.heaps_source(read.locate_by);
        let still = format!("{ROLE_SEARCH_PATH_CONDITION} AND {}{orphans}", self.read_rows_condition(read));
        let locator = match read.locate_by {
            LocateBy::Position => "s.ctid::text".to_owned(),
            LocateBy::Id | LocateBy::RowHash => {
                format!("s.tableoid::text || ':' || {}::text", self.full_row_hash_expr(read.columns))
            }
        };
        let changed = match (set, detailed) {
            (None, false) => return format!("DELETE FROM {sessions} AS s WHERE {still}"),
            (Some(set), false) => return format!("UPDATE {sessions} AS s SET {set} WHERE {still}"),
            (None, true) => {
                format!("d AS (DELETE FROM {sessions} AS s WHERE {still} RETURNING {locator} AS locator)")
            }
            // RETURNING sees the new version of a row, so the old locator is saved first.
            (Some(set), true) => format!(
                "l AS (SELECT s.tableoid AS heap, s.ctid AS place, {locator} AS locator FROM {sessions} AS s \
                 WHERE {still} FOR UPDATE),\n\
                 d AS (UPDATE {sessions} AS s SET {set} FROM l WHERE s.tableoid = l.heap \
                 AND s.ctid = l.place RETURNING l.locator)"
            ),
        };
        format!("WITH {changed}\nSELECT string_agg(d.locator, ' ') FROM d")
    }
}

/// Returns the condition that a row is one of those that were read, in the same version.
pub(super) fn read_rows_condition(condition: &ReadCondition<'_>) -> String {
    let ReadCondition { rows, key_condition, full_row_hash, .. } = condition;
    let Some(key_condition) = key_condition else { return read_positions_condition(rows) };
    let heaps = join_numbers(rows.iter().map(|row| row.locator.cast_signed()));
    let versions = join_numbers(rows.iter().map(|row| row.version));
    format!(
        "{key_condition} AND (s.tableoid, {full_row_hash}) IN (SELECT * FROM ROWS \
         FROM (pg_catalog.unnest('{{{heaps}}}'::oid[]), pg_catalog.unnest('{{{versions}}}'::bigint[])))"
    )
}

/// Returns the same condition for rows located by position.
fn read_positions_condition(rows: &[RowVersion]) -> String {
    let places = tid_array(rows.iter().map(|row| row.locator));
    let first = rows.first().map(|row| row.version).unwrap_or_default();
    // Usual case: all rows were written by one transaction, and a simple comparison is faster.
    if rows.iter().all(|row| row.version == first) {
        return format!("s.ctid = ANY({places}) AND s.xmin = '{first}'::xid");
    }
    let versions = join_numbers(rows.iter().map(|row| row.version));
    format!(
        "s.ctid = ANY({places}) AND (s.ctid, s.xmin::text) IN (SELECT * FROM ROWS \
         FROM (pg_catalog.unnest({places}), pg_catalog.unnest('{{{versions}}}'::text[])))"
    )
}

/// Returns the parameters as rows `v`, with each column cast to its type.
fn parameter_rows_query(columns: &[ColumnDecl]) -> String {
    let names = |prefix: &str| (1..=columns.len()).map(|at| format!("{prefix}{at}")).collect::<Vec<_>>();
    let typed =
        columns.iter().zip(names("c")).map(|(column, name)| format!("{name}::{} AS {name}", column.kind));
    let typed: Vec<String> = typed.collect();
    format!(
        "SELECT {}, t.i FROM unnest({}) WITH ORDINALITY AS t({}, i)",
        typed.join(", "),
        names("$").join(", "),
        names("c").join(", ")
    )
}

/// Returns the statement that inserts all rows in the parameters, given as one text array per column. Result
/// rows are `back` and the row hash of a restored row, or the name of an obstacle and the position of a row,
/// counted from 1.
pub(super) fn insert_rows_statement(rows: &RowInsertion<'_>) -> String {
    let RowInsertion { into_table, columns, obstacle, token, token_equality, row_hash, .. } = rows;
    let names: Vec<String> = columns.iter().map(|column| quote_identifier(&column.name)).collect();
    let values: Vec<String> = (1..=columns.len()).map(|at| format!("v.c{at}")).collect();
    // Of rows that share a token, the first without an obstacle is restored.
    let (turn, shared) = match token.map(|at| at + 1) {
        Some(token) => {
            let key = PostgresDialect.fold_expr(&format!("o.c{token}"), *token_equality);
            (
                format!("ROW_NUMBER() OVER (PARTITION BY o.obstacle IS NULL, {key} ORDER BY o.i)"),
                format!("v.turn > 1 AND v.c{token} IS NOT NULL"),
            )
        }
        None => ("1".into(), "1 = 0".into()),
    };
    format!(
        "WITH o AS (SELECT g.*, {obstacle} AS obstacle FROM ({given}) AS g),\n\
         v AS (SELECT o.*, {turn} AS turn FROM o),\n\
         d AS (INSERT INTO {sessions} AS s ({names}) OVERRIDING SYSTEM VALUE\nSELECT {values} FROM v\n\
         WHERE {ROLE_SEARCH_PATH_CONDITION} AND v.obstacle IS NULL AND NOT ({shared})\n\
         ON CONFLICT DO NOTHING RETURNING {row_hash} AS mark)\n\
         SELECT 'back', d.mark::text FROM d\n\
         UNION ALL SELECT COALESCE(v.obstacle, 'token'), v.i::text FROM v WHERE v.obstacle IS NOT NULL OR ({shared})",
        given = parameter_rows_query(columns),
        sessions = quote_table(into_table),
        names = names.join(", "),
        values = values.join(", "),
    )
}

/// Returns the statement that restores the column that ended sessions, for all rows in the parameters. Its
/// result has the same form.
pub(super) fn restore_ended_statement(rows: &EndedRowsRestore<'_>) -> String {
    let EndedRowsRestore { sessions, columns, assignment, condition, row_hash } = rows;
    format!(
        "WITH v AS ({given}),\nd AS (UPDATE {sessions} AS s SET {assignment} FROM v \
         WHERE {ROLE_SEARCH_PATH_CONDITION} AND {condition} RETURNING {row_hash} AS mark)\n\
         SELECT 'back', mark::text FROM d",
        sessions = quote_table(sessions),
        given = parameter_rows_query(columns),
    )
}

/// Returns the statement that inserts all dependent rows in the parameters.
pub(super) fn insert_dependents_statement(dependent: &DependentTable) -> String {
    let names: Vec<String> = dependent.columns.iter().map(|column| quote_identifier(&column.name)).collect();
    let values: Vec<String> = (1..=dependent.columns.len()).map(|at| format!("v.c{at}")).collect();
    format!(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE\nSELECT {} FROM ({}) AS v\n\
         WHERE {ROLE_SEARCH_PATH_CONDITION}\nON CONFLICT DO NOTHING",
        quote_table(&dependent.table),
        names.join(", "),
        values.join(", "),
        parameter_rows_query(&dependent.columns),
    )
}

/// Returns positions as an array literal.
pub(super) fn tid_array(positions: impl Iterator<Item = u64>) -> String {
    let mut list = String::from("'{");
    for (number, place) in positions.enumerate() {
        let comma = if number == 0 { "" } else { "," };
        let _ = write!(list, "{comma}\"({},{})\"", place >> 16, place & 0xffff);
    }
    list.push_str("}'::tid[]");
    list
}
