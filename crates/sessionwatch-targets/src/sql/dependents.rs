//! The SQL of rows that go with sessions (`ON DELETE CASCADE`): read whole for the archive, deleted before their sessions,
//! and put back after them.

use super::{
    QueryBuilder, ReadRows,
    dialect::{JoinedDelete, join_numbers},
    quote_identifier,
    referencing_rows::join_condition,
};
use crate::{
    side_effects::{CascadingTable, ForeignKeyEdge},
    unsealed_rows::DependentTable,
};

/// The alias of the dependent table in every statement.
const DEPENDENT_ALIAS: &str = "d";

impl QueryBuilder<'_> {
    /// The rows of a dependent table that go with sessions which were read: locator and version of the session, a hash of the
    /// row, and every column. A row that goes with several of them is read once. At most `limit` rows are read, if there is one.
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

    /// Deletes rows of a dependent table that are still what was read and still go with those sessions: a statement for each
    /// way that leads to the table.
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

    /// How many rows of a dependent table go with those sessions now: a statement for each way that leads to it.
    #[must_use]
    pub fn count_dependents_queries(&self, dependent: &CascadingTable, read: ReadRows<'_>) -> Vec<String> {
        dependent
            .paths
            .iter()
            .map(|path| format!("SELECT COUNT(*) {}", self.path_from_where(path, read)))
            .collect()
    }

    /// `FROM` and `WHERE` of the rows at the end of a path that goes out from those sessions.
    fn path_from_where(&self, path: &[ForeignKeyEdge], read: ReadRows<'_>) -> String {
        let (tables, condition) = self.join_sessions_path(path, read);
        let last = path.last().map_or("", |reference| reference.referencing.0.as_str());
        format!("FROM {tables}, {last} AS {DEPENDENT_ALIAS}\nWHERE {condition}")
    }

    /// The sessions with the tables between them and the last one of a path, and the condition that joins all of them.
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

    /// A hash of every archived column of a dependent row.
    fn dependent_hash_expr(&self, dependent: &CascadingTable) -> String {
        let columns: Vec<String> = dependent_columns(dependent).collect();
        self.dialect().hash_columns_expr(&columns, self.fingerprint_key)
    }

    /// The number of a dependent row of SQLite, unless its table has none, or columns that hide it.
    fn dependent_rowid_column(&self, dependent: &CascadingTable) -> Option<String> {
        let found = self.schema.table(&dependent.table)?;
        let hidden =
            |name: &&str| dependent.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
        let name = ["rowid", "_rowid_", "oid"].into_iter().find(|name| !hidden(name))?;
        (!found.without_rowid).then(|| format!("{DEPENDENT_ALIAS}.{name}"))
    }

    /// Restores rows of a dependent table, as many at once as the dialect does. What the table has already is left out.
    #[must_use]
    pub fn restore_dependents_statement(&self, dependent: &DependentTable) -> String {
        self.dialect().insert_dependents_statement(dependent)
    }
}

/// The archived columns of a dependent row.
fn dependent_columns(dependent: &CascadingTable) -> impl Iterator<Item = String> {
    dependent.columns.iter().map(|column| format!("{DEPENDENT_ALIAS}.{}", quote_identifier(&column.name)))
}
