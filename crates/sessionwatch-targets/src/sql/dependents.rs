//! SQL for dependent rows (`ON DELETE CASCADE`): archiving them, deleting them before their sessions, and
//! restoring them afterwards.

use super::{
    QueryBuilder, ReadRows,
    dialect::{JoinedDelete, join_numbers},
    quote_identifier,
    referencing_rows::join_condition,
};
use crate::{
    decrypted_rows::DependentTable,
    side_effects::{CascadingTable, ForeignKeyEdge},
};

/// Alias of the dependent table in every statement.
const DEPENDENT_ALIAS: &str = "d";

impl QueryBuilder<'_> {
    /// Returns the query for rows of a dependent table that belong to sessions already read: locator and
    /// version of the session, row hash and every column. A row that belongs to several sessions is returned
    /// once. `limit` caps the number of rows.
    #[must_use]
    pub fn dependent_rows_query(
        &self,
        dependent: &CascadingTable,
        read: ReadRows<'_>,
        limit: Option<usize>,
    ) -> String {
        let [locator, version] = self.read_version_exprs(read.locate_by, read.columns);
        let hash = self.dependent_hash_expr(dependent);
        let columns: Vec<String> = dependent_columns(dependent).collect();
        let limit = limit.map_or(String::new(), |limit| format!("\nLIMIT {limit}"));
        let sources: Vec<String> =
            dependent.paths.iter().map(|path| self.path_from_where(path, read)).collect();
        if let [source] = sources.as_slice() {
            return format!("SELECT {locator}, {version}, {hash}, {}\n{source}{limit}", columns.join(", "));
        }
        let place = self.dialect().heap_and_position_exprs(
            DEPENDENT_ALIAS,
            self.dependent_rowid_column(dependent).as_deref(),
            &hash,
        );
        let inner: Vec<String> =
            columns.iter().enumerate().map(|(at, column)| format!("{column} AS x{at}")).collect();
        let outer: Vec<String> = (0..columns.len()).map(|at| format!("r.x{at}")).collect();
        let every: Vec<String> = sources
            .iter()
            .map(|source| {
                format!(
                    "SELECT {locator} AS locator, {version} AS version, {hash} AS hash, {place} AS place, {}\n{source}",
                    inner.join(", ")
                )
            })
            .collect();
        let [distinct, grouped] = self.dialect().distinct_position_clauses();
        format!(
            "SELECT {distinct}r.locator, r.version, r.hash, {}\nFROM ({}) AS r{grouped}{limit}",
            outer.join(", "),
            every.join("\nUNION ALL "),
        )
    }

    /// Returns statements that delete dependent rows which still match what was read and still belong to
    /// those sessions: one for each path to the table.
    #[must_use]
    pub fn delete_dependents_statements(
        &self,
        dependent: &CascadingTable,
        hashes: &[i64],
        read: ReadRows<'_>,
    ) -> Vec<String> {
        let (name, hash) = (&dependent.sql_name, self.dependent_hash_expr(dependent));
        let numbers = join_numbers(hashes.iter().copied());
        let row_number = self.dependent_rowid_column(dependent);
        let delete = |path: &Vec<ForeignKeyEdge>| {
            let (joined, condition) = self.join_sessions_path(path, read);
            self.dialect().delete_joined_statement(&JoinedDelete {
                table: name,
                alias: DEPENDENT_ALIAS,
                joined: &joined,
                condition: &condition,
                hash: &hash,
                hashes: &numbers,
                row_number: row_number.as_deref(),
            })
        };
        dependent.paths.iter().map(delete).collect()
    }

    /// Returns queries that count the dependent rows of those sessions: one for each path to the table.
    #[must_use]
    pub fn count_dependents_queries(&self, dependent: &CascadingTable, read: ReadRows<'_>) -> Vec<String> {
        dependent
            .paths
            .iter()
            .map(|path| format!("SELECT COUNT(*) {}", self.path_from_where(path, read)))
            .collect()
    }

    /// Returns `FROM` and `WHERE` for the rows at the end of a path that starts at those sessions.
    fn path_from_where(&self, path: &[ForeignKeyEdge], read: ReadRows<'_>) -> String {
        let (tables, condition) = self.join_sessions_path(path, read);
        let last = path.last().map_or("", |reference| reference.referencing.0.as_str());
        format!("FROM {tables}, {last} AS {DEPENDENT_ALIAS}\nWHERE {condition}")
    }

    /// Returns the sessions and the tables on a path except the last, and the condition that joins all of
    /// them.
    fn join_sessions_path(&self, path: &[ForeignKeyEdge], read: ReadRows<'_>) -> (String, String) {
        let mut tables = format!("{} AS s", self.heaps_source(read.locate_by));
        let mut conditions = vec![self.read_rows_condition(read)];
        let mut to = "s".to_owned();
        for (turn, reference) in path.iter().enumerate() {
            let from = if turn + 1 == path.len() { DEPENDENT_ALIAS.to_owned() } else { format!("c{turn}") };
            if turn + 1 < path.len() {
                tables.push_str(&format!(", {} AS {from}", reference.referencing.0));
            }
            conditions.push(join_condition(reference, &from, &to));
            to = from;
        }
        (tables, conditions.join(" AND "))
    }

    /// Returns a hash of every archived column of a dependent row.
    fn dependent_hash_expr(&self, dependent: &CascadingTable) -> String {
        let columns: Vec<String> = dependent_columns(dependent).collect();
        self.dialect().hash_columns_expr(&columns, self.fingerprint_key)
    }

    /// Returns the `rowid` of a dependent row in SQLite, unless the table has none, or columns of that name
    /// hide it.
    fn dependent_rowid_column(&self, dependent: &CascadingTable) -> Option<String> {
        let found = self.schema.table(&dependent.table)?;
        let hidden =
            |name: &&str| dependent.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
        let name = ["rowid", "_rowid_", "oid"].into_iter().find(|name| !hidden(name))?;
        (!found.without_rowid).then(|| format!("{DEPENDENT_ALIAS}.{name}"))
    }

    /// Returns the statement that restores dependent rows and skips rows that exist already. The dialect
    /// decides how many at once.
    #[must_use]
    pub fn restore_dependents_statement(&self, dependent: &DependentTable) -> String {
        self.dialect().insert_dependents_statement(dependent)
    }
}

/// Returns the archived columns of a dependent row.
fn dependent_columns(dependent: &CascadingTable) -> impl Iterator<Item = String> {
    dependent.columns.iter().map(|column| format!("{DEPENDENT_ALIAS}.{}", quote_identifier(&column.name)))
}
