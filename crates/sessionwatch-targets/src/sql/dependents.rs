//! The SQL of rows that go with sessions (`ON DELETE CASCADE`): read whole for the archive, deleted before their sessions,
//! and put back after them.

use super::{
    ReadRows, Sql,
    besides::joined,
    dialect::{JoinedDelete, numbers},
    identifier,
};
use crate::{
    side_effects::{Dependent, Reference},
    unsealed_rows::DependentTable,
};

/// The alias of the dependent table in every statement.
const DEPENDENT: &str = "d";

impl Sql<'_> {
    /// The rows of a dependent table that go with sessions which were read: locator and version of the session, a hash of the
    /// row, and every column. A row that goes with several of them is read once. At most `limit` rows are read, if there is one.
    #[must_use]
    pub fn dependent_rows(&self, dependent: &Dependent, read: ReadRows<'_>, limit: Option<usize>) -> String {
        let [locator, version] = self.read_version(read.named, read.columns);
        let hash = self.dependent_hash(dependent);
        let columns: Vec<String> = columns(dependent).collect();
        let limit = limit.map_or(String::new(), |limit| format!("\nLIMIT {limit}"));
        let sources: Vec<String> = dependent.paths.iter().map(|path| self.followed(path, read)).collect();
        if let [source] = sources.as_slice() {
            return format!("SELECT {locator}, {version}, {hash}, {}\n{source}{limit}", columns.join(", "));
        }
        let place = self.dialect().heap_and_place(DEPENDENT, self.rowid(dependent).as_deref(), &hash);
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
        let [distinct, grouped] = self.dialect().distinct_places();
        format!(
            "SELECT {distinct}r.locator, r.version, r.hash, {}\nFROM ({}) AS r{grouped}{limit}",
            outer.join(", "),
            every.join("\nUNION ALL "),
        )
    }

    /// Deletes rows of a dependent table that are still what was read and still go with those sessions: a statement for each
    /// way that leads to the table.
    #[must_use]
    pub fn delete_dependents(
        &self,
        dependent: &Dependent,
        hashes: &[i64],
        read: ReadRows<'_>,
    ) -> Vec<String> {
        let (name, hash) = (&dependent.name, self.dependent_hash(dependent));
        let numbers = numbers(hashes.iter().copied());
        let row_number = self.rowid(dependent);
        let delete = |path: &Vec<Reference>| {
            let (joined, condition) = self.joined_sessions(path, read);
            self.dialect().delete_joined(&JoinedDelete {
                table: name,
                alias: DEPENDENT,
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
    pub fn count_dependents(&self, dependent: &Dependent, read: ReadRows<'_>) -> Vec<String> {
        dependent.paths.iter().map(|path| format!("SELECT COUNT(*) {}", self.followed(path, read))).collect()
    }

    /// `FROM` and `WHERE` of the rows at the end of a path that goes out from those sessions.
    fn followed(&self, path: &[Reference], read: ReadRows<'_>) -> String {
        let (tables, condition) = self.joined_sessions(path, read);
        let last = path.last().map_or("", |reference| reference.from.0.as_str());
        format!("FROM {tables}, {last} AS {DEPENDENT}\nWHERE {condition}")
    }

    /// The sessions with the tables between them and the last one of a path, and the condition that joins all of them.
    fn joined_sessions(&self, path: &[Reference], read: ReadRows<'_>) -> (String, String) {
        let mut tables = format!("{} AS s", self.heaps(read.named));
        let mut conditions = vec![self.is_read(read)];
        let mut to = "s".to_owned();
        for (turn, reference) in path.iter().enumerate() {
            let from = if turn + 1 == path.len() { DEPENDENT.to_owned() } else { format!("c{turn}") };
            if turn + 1 < path.len() {
                tables.push_str(&format!(", {} AS {from}", reference.from.0));
            }
            conditions.push(joined(reference, &from, &to));
            to = from;
        }
        (tables, conditions.join(" AND "))
    }

    /// A hash of every archived column of a dependent row.
    fn dependent_hash(&self, dependent: &Dependent) -> String {
        let columns: Vec<String> = columns(dependent).collect();
        self.dialect().row_hash(&columns, self.key)
    }

    /// The number of a dependent row of SQLite, unless its table has none, or columns that hide it.
    fn rowid(&self, dependent: &Dependent) -> Option<String> {
        let found = self.schema.table(&dependent.table)?;
        let hidden =
            |name: &&str| dependent.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
        let name = ["rowid", "_rowid_", "oid"].into_iter().find(|name| !hidden(name))?;
        (!found.without_rowid).then(|| format!("{DEPENDENT}.{name}"))
    }

    /// Restores rows of a dependent table, as many at once as the dialect does. What the table has already is left out.
    #[must_use]
    pub fn restore_dependents(&self, dependent: &DependentTable) -> String {
        self.dialect().insert_dependents(dependent)
    }
}

/// The archived columns of a dependent row.
fn columns(dependent: &Dependent) -> impl Iterator<Item = String> {
    dependent.columns.iter().map(|column| format!("{DEPENDENT}.{}", identifier(&column.name)))
}
