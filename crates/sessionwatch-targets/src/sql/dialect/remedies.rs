//! Statements that mend what `doctor` finds. What is written here is understood by databases that follow the standard; a
//! dialect replaces what it writes otherwise.

use crate::{
    mapping::{TableName, UsersMapping},
    sql::{
        identifier, table as quoted,
        tables::{Equality, Table, TableKind},
    },
};

/// An index on one column.
pub(crate) struct NewIndex<'a> {
    pub(crate) table: &'a TableName,
    pub(crate) column: &'a str,
    pub(crate) is_unique: bool,
}

/// A table as its owner mends it.
#[derive(Clone, Copy)]
pub(crate) struct MendedTable<'a> {
    pub(crate) name: &'a TableName,
    /// As it was found; nothing if it was not.
    pub(crate) found: Option<&'a Table>,
}

/// How one database writes what mends a finding.
pub(crate) trait RemedyDialect {
    /// Grants a privilege, written as `PRIVILEGE ON what`, to a role.
    fn grant(&self, privilege: &str, role: &str) -> String {
        format!("GRANT {privilege} TO {};", identifier(role))
    }

    /// Lets a role see every row of a table, given as statements name it.
    fn show_rows(&self, table: &str, role: Option<&str>) -> String {
        let role = role.map_or("ROLE".into(), identifier);
        format!("CREATE POLICY sessionwatch ON {table} FOR SELECT TO {role} USING (true);")
    }

    /// Lets a role see and write every row of a table, given as statements name it.
    fn open_rows(&self, table: &str, role: &str) -> String {
        format!(
            "CREATE POLICY sessionwatch ON {table} TO {} USING (true) WITH CHECK (true);",
            identifier(role)
        )
    }

    /// Takes from a role, or from everybody, the right to make objects in a schema.
    fn revoke_create(&self, schema: &str, role: Option<&str>) -> String {
        format!(
            "REVOKE CREATE ON SCHEMA {} FROM {};",
            identifier(schema),
            role.map_or("PUBLIC".into(), identifier)
        )
    }

    /// Whether an index of a table can be made beside the application's work.
    fn builds_index_beside(&self, found: Option<&Table>) -> bool;

    /// Makes an index.
    fn create_index(&self, index: &NewIndex<'_>, found: Option<&Table>) -> String {
        let NewIndex { table, column, is_unique } = index;
        let concurrently = if self.builds_index_beside(found) { "CONCURRENTLY " } else { "" };
        let (unique, ending) = if *is_unique { ("UNIQUE ", "key") } else { ("", "idx") };
        let name = identifier(&format!("{}_{column}_{ending}", table.name));
        format!("CREATE {unique}INDEX {concurrently}{name} ON {} ({});", quoted(table), identifier(column))
    }

    /// Removes an index.
    fn drop_index(&self, name: &str) -> String {
        format!("DROP INDEX {};", identifier(name))
    }

    /// Lets the database compare a column byte for byte.
    fn compare_exactly(&self, table: &TableName, column: &str, equality: Equality) -> String;

    /// What to do where foreign keys are checked only on connections that ask for it; nothing where they always are.
    fn enforce_foreign_keys(&self) -> Option<&'static str> {
        None
    }

    /// Lets a foreign key remove the sessions of a user who is deleted.
    fn cascade(&self, sessions: &TableName, key: &str, user: &str, users: &UsersMapping) -> String {
        format!(
            "ALTER TABLE {} DROP CONSTRAINT {1}, ADD CONSTRAINT {1} FOREIGN KEY ({2}) REFERENCES {3} ({4}) ON DELETE CASCADE;",
            quoted(sessions),
            identifier(key),
            identifier(user),
            quoted(&users.table),
            identifier(&users.key)
        )
    }

    /// Makes a foreign key to the users.
    fn add_foreign_key(&self, sessions: MendedTable<'_>, user: &str, users: &UsersMapping) -> String;

    /// Lets the triggers of a foreign key run again.
    fn enable_triggers(&self, sessions: &TableName, users: &UsersMapping) -> String {
        format!(
            "ALTER TABLE {} ENABLE TRIGGER ALL;\nALTER TABLE {} ENABLE TRIGGER ALL;\n-- then look for orphans: `check --deep`",
            quoted(sessions),
            quoted(&users.table)
        )
    }

    /// Checks a foreign key for the rows that are there.
    fn validate(&self, sessions: &TableName, key: &str) -> String {
        format!("ALTER TABLE {} VALIDATE CONSTRAINT {};", quoted(sessions), identifier(key))
    }

    /// Lets the planner know the size of a table; nothing where there is no such thing.
    fn analyze(&self, table: &TableName) -> Option<String>;

    /// The statement that adds a column which says when a row was created; nothing where it cannot be given.
    fn creation_column(&self, table: MendedTable<'_>, column: &str) -> Option<String>;

    /// Adds a column that says when a session was created.
    fn add_creation(&self, sessions: MendedTable<'_>, column: &str) -> String {
        if let Some(statement) = self.creation_column(sessions, column) {
            return statement;
        }
        match sessions.found.map(|table| table.kind) {
            Some(TableKind::View | TableKind::MaterializedView | TableKind::Foreign) => format!(
                "add a column {column} to the table behind it, if the framework allows for it, and show it here"
            ),
            Some(TableKind::Table | TableKind::Partitioned) | None => {
                format!("add a column {column}, if the framework allows for it")
            }
        }
    }

    /// Gives the row ids of a table more room.
    fn widen_row_ids(&self, table: &TableName, id: &str, sequence: &str) -> String {
        format!(
            "ALTER TABLE {} ALTER COLUMN {} TYPE bigint; ALTER SEQUENCE {sequence} AS bigint;  -- rewrites the table, which nobody can use meanwhile",
            quoted(table),
            identifier(id)
        )
    }

    /// Lets a file be read while it is written; nothing where readers never wait.
    fn write_ahead_log(&self) -> Option<&'static str> {
        None
    }
}
