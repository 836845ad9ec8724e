//! Statements that mend what `doctor` finds. What is written here is understood by databases that follow the standard; a
//! dialect replaces what it writes otherwise.

use crate::{
    mapping::{TableName, UsersMapping},
    sql::{
        quote_identifier, quote_table as quoted,
        tables::{Equality, TableInfo, TableKind},
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
pub(crate) struct TableToFix<'a> {
    pub(crate) name: &'a TableName,
    /// As it was found; nothing if it was not.
    pub(crate) table: Option<&'a TableInfo>,
}

/// How one database writes what mends a finding.
pub(crate) trait FixDialect {
    /// Grants a privilege, written as `PRIVILEGE ON what`, to a role.
    fn grant_privilege(&self, privilege: &str, role: &str) -> String {
        format!("GRANT {privilege} TO {};", quote_identifier(role))
    }

    /// Lets a role see every row of a table, given as statements name it.
    fn allow_select_policy(&self, table: &str, role: Option<&str>) -> String {
        let role = role.map_or("ROLE".into(), quote_identifier);
        format!("CREATE POLICY sessionwatch ON {table} FOR SELECT TO {role} USING (true);")
    }

    /// Lets a role see and write every row of a table, given as statements name it.
    fn allow_all_policy(&self, table: &str, role: &str) -> String {
        format!(
            "CREATE POLICY sessionwatch ON {table} TO {} USING (true) WITH CHECK (true);",
            quote_identifier(role)
        )
    }

    /// Takes from a role, or from everybody, the right to make objects in a schema.
    fn revoke_create(&self, schema: &str, role: Option<&str>) -> String {
        format!(
            "REVOKE CREATE ON SCHEMA {} FROM {};",
            quote_identifier(schema),
            role.map_or("PUBLIC".into(), quote_identifier)
        )
    }

    /// Whether an index of a table can be made beside the application's work.
    fn supports_concurrent_index(&self, found: Option<&TableInfo>) -> bool;

    /// Makes an index.
    fn create_index(&self, index: &NewIndex<'_>, found: Option<&TableInfo>) -> String {
        let NewIndex { table, column, is_unique } = index;
        let concurrently = if self.supports_concurrent_index(found) { "CONCURRENTLY " } else { "" };
        let (unique, ending) = if *is_unique { ("UNIQUE ", "key") } else { ("", "idx") };
        let name = quote_identifier(&format!("{}_{column}_{ending}", table.name));
        format!(
            "CREATE {unique}INDEX {concurrently}{name} ON {} ({});",
            quoted(table),
            quote_identifier(column)
        )
    }

    /// Removes an index.
    fn drop_index(&self, name: &str) -> String {
        format!("DROP INDEX {};", quote_identifier(name))
    }

    /// Lets the database compare a column byte for byte.
    fn set_exact_comparison(&self, table: &TableName, column: &str, equality: Equality) -> String;

    /// What to do where foreign keys are checked only on connections that ask for it; nothing where they always are.
    fn enforce_foreign_keys(&self) -> Option<&'static str> {
        None
    }

    /// Lets a foreign key remove the sessions of a user who is deleted.
    fn set_cascade_delete(
        &self,
        sessions: &TableName,
        key: &str,
        user: &str,
        users: &UsersMapping,
    ) -> String {
        format!(
            "ALTER TABLE {} DROP CONSTRAINT {1}, ADD CONSTRAINT {1} FOREIGN KEY ({2}) REFERENCES {3} ({4}) ON DELETE CASCADE;",
            quoted(sessions),
            quote_identifier(key),
            quote_identifier(user),
            quoted(&users.table),
            quote_identifier(&users.key)
        )
    }

    /// Makes a foreign key to the users.
    fn add_foreign_key(&self, sessions: TableToFix<'_>, user: &str, users: &UsersMapping) -> String;

    /// Lets the triggers of a foreign key run again.
    fn enable_triggers(&self, sessions: &TableName, users: &UsersMapping) -> String {
        format!(
            "ALTER TABLE {} ENABLE TRIGGER ALL;\nALTER TABLE {} ENABLE TRIGGER ALL;\n-- then look for orphans: `check --deep`",
            quoted(sessions),
            quoted(&users.table)
        )
    }

    /// Checks a foreign key for the rows that are there.
    fn validate_foreign_key(&self, sessions: &TableName, key: &str) -> String {
        format!("ALTER TABLE {} VALIDATE CONSTRAINT {};", quoted(sessions), quote_identifier(key))
    }

    /// Lets the planner know the size of a table; nothing where there is no such thing.
    fn analyze_table(&self, table: &TableName) -> Option<String>;

    /// The statement that adds a column which says when a row was created; nothing where it cannot be given.
    fn creation_column_statement(&self, table: TableToFix<'_>, column: &str) -> Option<String>;

    /// Adds a column that says when a session was created.
    fn add_creation_column(&self, sessions: TableToFix<'_>, column: &str) -> String {
        if let Some(statement) = self.creation_column_statement(sessions, column) {
            return statement;
        }
        match sessions.table.map(|table| table.kind) {
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
            quote_identifier(id)
        )
    }

    /// Lets a file be read while it is written; nothing where readers never wait.
    fn enable_wal(&self) -> Option<&'static str> {
        None
    }
}
