//! Statements that fix problems found by `doctor`, to be run by the owner of the tables.

use super::{
    layout::Layout,
    sql::dialect::fix_statements::{FixDialect, NewIndex, TableToFix},
};
use crate::{
    mapping::{TableName, UsersMapping},
    sql::table_info::{Equality, TableInfo},
};

/// Builds statements for the tables of one target.
#[derive(Clone, Copy, Debug)]
pub struct DoctorFixes<'a> {
    layout: &'a Layout,
}

impl<'a> DoctorFixes<'a> {
    /// Creates the builder for a layout.
    #[must_use]
    pub const fn new(layout: &'a Layout) -> Self {
        Self { layout }
    }

    fn dialect(&self) -> &'static dyn FixDialect {
        self.layout.schema.dialect.sql_dialect()
    }

    fn sessions_name(&self) -> &'a TableName {
        &self.layout.candidate.mapping.sessions
    }

    fn sessions_table(&self) -> Option<&'a TableInfo> {
        self.layout.schema.table(self.sessions_name())
    }

    fn table_to_fix(&self) -> TableToFix<'a> {
        TableToFix { name: self.sessions_name(), table: self.sessions_table() }
    }

    /// Grants a privilege, written as `PRIVILEGE ON object`, to a role.
    #[must_use]
    pub fn grant_privilege(&self, privilege: &str, role: &str) -> String {
        self.dialect().grant_privilege(privilege, role)
    }

    /// Lets a role see every row of a table. `table` is quoted already.
    #[must_use]
    pub fn allow_select_policy(&self, table: &str, role: Option<&str>) -> String {
        self.dialect().allow_select_policy(table, role)
    }

    /// Lets a role see and write every row of a table. `table` is quoted already.
    #[must_use]
    pub fn allow_all_policy(&self, table: &str, role: &str) -> String {
        self.dialect().allow_all_policy(table, role)
    }

    /// Revokes the right to create objects in a schema from a role, or from everyone.
    #[must_use]
    pub fn revoke_create(&self, schema: &str, role: Option<&str>) -> String {
        self.dialect().revoke_create(schema, role)
    }

    /// Creates an index on a column of the session table.
    #[must_use]
    pub fn create_index(&self, is_unique: bool, column: &str) -> String {
        let index = NewIndex { table: self.sessions_name(), column, is_unique };
        self.dialect().create_index(&index, self.sessions_table())
    }

    /// Drops an index.
    #[must_use]
    pub fn drop_index(&self, name: &str) -> String {
        self.dialect().drop_index(name)
    }

    /// Makes the database compare tokens byte for byte.
    #[must_use]
    pub fn compare_tokens_exactly(&self) -> String {
        let token = &self.layout.candidate.mapping.token;
        let equality = self.sessions_table().map_or(Equality::Exact, |table| table.column_equality(token));
        self.dialect().set_exact_comparison(self.sessions_name(), token, equality)
    }

    /// Explains how to enforce foreign keys, where each connection decides that; empty elsewhere.
    #[must_use]
    pub fn enforce_foreign_keys(&self) -> &'static str {
        self.dialect().enforce_foreign_keys().unwrap_or_default()
    }

    /// Makes deleting a user delete the user's sessions.
    #[must_use]
    pub fn set_cascade_delete(&self, key: &str, user: &str, users: &UsersMapping) -> String {
        self.dialect().set_cascade_delete(self.sessions_name(), key, user, users)
    }

    /// Adds a foreign key to the users.
    #[must_use]
    pub fn add_foreign_key(&self, user: &str, users: &UsersMapping) -> String {
        self.dialect().add_foreign_key(self.table_to_fix(), user, users)
    }

    /// Enables the triggers of a foreign key.
    #[must_use]
    pub fn enable_triggers(&self, users: &UsersMapping) -> String {
        self.dialect().enable_triggers(self.sessions_name(), users)
    }

    /// Validates a foreign key for existing rows.
    #[must_use]
    pub fn validate_foreign_key(&self, key: &str) -> String {
        self.dialect().validate_foreign_key(self.sessions_name(), key)
    }

    /// Updates the planner's statistics of the table. Returns `None` if the database has none.
    #[must_use]
    pub fn analyze_table(&self) -> Option<String> {
        self.dialect().analyze_table(self.sessions_name())
    }

    /// Adds a column that stores when a session was created.
    #[must_use]
    pub fn add_creation_column(&self, column: &str) -> String {
        self.dialect().add_creation_column(self.table_to_fix(), column)
    }

    /// Widens the row id column and its sequence.
    #[must_use]
    pub fn widen_row_ids(&self, sequence: &str) -> String {
        let id = self.layout.candidate.mapping.id.as_deref().unwrap_or_default();
        self.dialect().widen_row_ids(self.sessions_name(), id, sequence)
    }

    /// Allows reading a file while another process writes it; empty elsewhere.
    #[must_use]
    pub fn enable_wal(&self) -> &'static str {
        self.dialect().enable_wal().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
