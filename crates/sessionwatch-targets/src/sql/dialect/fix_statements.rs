//! Statements that fix problems found by `doctor`. Default implementations are standard SQL; dialects
//! override them where they differ.

use crate::{
    mapping::{TableName, UsersMapping},
    sql::{
        quote_identifier, quote_table as quoted,
        table_info::{Equality, TableInfo, TableKind},
    },
};

/// An index to create on one column.
pub(crate) struct NewIndex<'a> {
    pub(crate) table: &'a TableName,
    pub(crate) column: &'a str,
    pub(crate) is_unique: bool,
}

/// A table to fix.
#[derive(Clone, Copy)]
pub(crate) struct TableToFix<'a> {
    pub(crate) name: &'a TableName,
    /// Table as read from the schema, or `None` if it was not found.
    pub(crate) table: Option<&'a TableInfo>,
}

/// The fix statements of one database.
pub(crate) trait FixDialect {
    /// Grants a privilege, written as `PRIVILEGE ON object`, to a role.
    fn grant_privilege(&self, privilege: &str, role: &str) -> String {
        format!("GRANT {privilege} TO {};", quote_identifier(role))
    }

    /// Lets a role see every row of a table. `table` is quoted already.
    fn allow_select_policy(&self, table: &str, role: Option<&str>) -> String {
        let role = role.map_or("ROLE".into(), quote_identifier);
        format!("CREATE POLICY sessionwatch ON {table} FOR SELECT TO {role} USING (true);")
    }

    /// Lets a role see and write every row of a table. `table` is quoted already.
    fn allow_all_policy(&self, table: &str, role: &str) -> String {
        format!(
            "CREATE POLICY sessionwatch ON {table} TO {} USING (true) WITH CHECK (true);",
            quote_identifier(role)
        )
    }

    /// Revokes the right to create objects in a schema from a role, or from everyone.
    fn revoke_create(&self, schema: &str, role: Option<&str>) -> String {
        format!(
            "REVOKE CREATE ON SCHEMA {} FROM {};",
            quote_identifier(schema),
            role.map_or("PUBLIC".into(), quote_identifier)
        )
    }

    /// Returns `true` if an index can be created without blocking writes of the application.
    fn supports_concurrent_index(&self, found: Option<&TableInfo>) -> bool;

    /// Creates an index.
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

    /// Drops an index.
    fn drop_index(&self, name: &str) -> String {
        format!("DROP INDEX {};", quote_identifier(name))
    }

    /// Makes the database compare a column byte for byte.
    fn set_exact_comparison(&self, table: &TableName, column: &str, equality: Equality) -> String;

    /// Explains how to enforce foreign keys, where each connection decides that; `None` elsewhere.
    fn enforce_foreign_keys(&self) -> Option<&'static str> {
        None
    }

    /// Makes deleting a user delete the user's sessions.
    fn set_cascade_delete(
        &self,
        sessions: &TableName,
        key: &str,
        user: &str,
        users: &UsersMapping,
    ) -> String {
        format!(
            "ALTER TABLE {} DROP CONSTRAINT {1}, ADD CONSTRAINT {1} FOREIGN KEY ({2}) REFERENCES {3} ({4}) \
             ON DELETE CASCADE;",
            quoted(sessions),
            quote_identifier(key),
            quote_identifier(user),
            quoted(&users.table),
            quote_identifier(&users.key)
        )
    }

    /// Adds a foreign key to the users.
    fn add_foreign_key(&self, sessions: TableToFix<'_>, user: &str, users: &UsersMapping) -> String;

    /// Enables the triggers of a foreign key.
    fn enable_triggers(&self, sessions: &TableName, users: &UsersMapping) -> String {
        format!(
            "ALTER TABLE {} ENABLE TRIGGER ALL;\nALTER TABLE {} ENABLE TRIGGER ALL;\n\
             -- then look for orphans: sessionwatch check --no-trust-constraints",
            quoted(sessions),
            quoted(&users.table)
        )
    }

    /// Validates a foreign key for existing rows.
    fn validate_foreign_key(&self, sessions: &TableName, key: &str) -> String {
        format!("ALTER TABLE {} VALIDATE CONSTRAINT {};", quoted(sessions), quote_identifier(key))
    }

    /// Updates the planner's statistics of a table. `None` if the database has none.
    fn analyze_table(&self, table: &TableName) -> Option<String>;

    /// Returns the statement that adds a column for the creation time, or `None` if there is no general one.
    fn creation_column_statement(&self, table: TableToFix<'_>, column: &str) -> Option<String>;

    /// Adds a column that stores when a session was created.
    fn add_creation_column(&self, sessions: TableToFix<'_>, column: &str) -> String {
        if let Some(statement) = self.creation_column_statement(sessions, column) {
            return statement;
        }
        match sessions.table.map(|table| table.kind) {
            Some(TableKind::View | TableKind::MaterializedView | TableKind::Foreign) => format!(
                "add a column {column} to the underlying table, if the framework allows that, \
                 and include it in the view"
            ),
            Some(TableKind::Table | TableKind::Partitioned) | None => {
                format!("add a column {column}, if the framework allows that")
            }
        }
    }

    /// Widens the row id column and its sequence.
    fn widen_row_ids(&self, table: &TableName, id: &str, sequence: &str) -> String {
        format!(
            "ALTER TABLE {} ALTER COLUMN {} TYPE bigint; ALTER SEQUENCE {sequence} AS bigint;  -- rewrites \
             the table under an exclusive lock",
            quoted(table),
            quote_identifier(id)
        )
    }

    /// Allows reading a file while another process writes it; `None` if readers never wait.
    fn enable_wal(&self) -> Option<&'static str> {
        None
    }
}
