//! Remedies: statements that mend what `doctor` finds, for their owner to run.

use super::{
    layout::Layout,
    sql::dialect::remedies::{MendedTable, NewIndex, RemedyDialect},
};
use crate::{
    mapping::{TableName, UsersMapping},
    sql::tables::{Equality, Table},
};

/// Writes statements about the tables of one target.
#[derive(Clone, Copy, Debug)]
pub struct Remedies<'a> {
    layout: &'a Layout,
}

impl<'a> Remedies<'a> {
    /// For this layout.
    #[must_use]
    pub const fn new(layout: &'a Layout) -> Self {
        Self { layout }
    }

    fn dialect(&self) -> &'static dyn RemedyDialect {
        self.layout.schema.dialect.sql()
    }

    fn sessions(&self) -> &'a TableName {
        &self.layout.candidate.mapping.sessions
    }

    fn found(&self) -> Option<&'a Table> {
        self.layout.schema.table(self.sessions())
    }

    fn mended(&self) -> MendedTable<'a> {
        MendedTable { name: self.sessions(), found: self.found() }
    }

    /// Grants a privilege, written as `PRIVILEGE ON what`, to a role.
    #[must_use]
    pub fn grant(&self, privilege: &str, role: &str) -> String {
        self.dialect().grant(privilege, role)
    }

    /// Lets a role see every row of a table, given as statements name it.
    #[must_use]
    pub fn show_rows(&self, table: &str, role: Option<&str>) -> String {
        self.dialect().show_rows(table, role)
    }

    /// Lets a role see and write every row of a table, given as statements name it.
    #[must_use]
    pub fn open_rows(&self, table: &str, role: &str) -> String {
        self.dialect().open_rows(table, role)
    }

    /// Takes from a role, or from everybody, the right to make objects in a schema.
    #[must_use]
    pub fn revoke_create(&self, schema: &str, role: Option<&str>) -> String {
        self.dialect().revoke_create(schema, role)
    }

    /// Makes an index on a column of the sessions.
    #[must_use]
    pub fn create_index(&self, is_unique: bool, column: &str) -> String {
        let index = NewIndex { table: self.sessions(), column, is_unique };
        self.dialect().create_index(&index, self.found())
    }

    /// Removes an index.
    #[must_use]
    pub fn drop_index(&self, name: &str) -> String {
        self.dialect().drop_index(name)
    }

    /// Lets the database compare tokens byte for byte.
    #[must_use]
    pub fn compare_tokens_exactly(&self) -> String {
        let token = &self.layout.candidate.mapping.token;
        let equality = self.found().map_or(Equality::Exact, |table| table.equality(token));
        self.dialect().compare_exactly(self.sessions(), token, equality)
    }

    /// What to do where foreign keys are checked only on connections that ask for it.
    #[must_use]
    pub fn enforce_foreign_keys(&self) -> &'static str {
        self.dialect().enforce_foreign_keys().unwrap_or_default()
    }

    /// Lets a foreign key remove the sessions of a user who is deleted.
    #[must_use]
    pub fn cascade(&self, key: &str, user: &str, users: &UsersMapping) -> String {
        self.dialect().cascade(self.sessions(), key, user, users)
    }

    /// Makes a foreign key to the users.
    #[must_use]
    pub fn add_foreign_key(&self, user: &str, users: &UsersMapping) -> String {
        self.dialect().add_foreign_key(self.mended(), user, users)
    }

    /// Lets the triggers of a foreign key run again.
    #[must_use]
    pub fn enable_triggers(&self, users: &UsersMapping) -> String {
        self.dialect().enable_triggers(self.sessions(), users)
    }

    /// Checks a foreign key for the rows that are there.
    #[must_use]
    pub fn validate(&self, key: &str) -> String {
        self.dialect().validate(self.sessions(), key)
    }

    /// Lets the planner know the size of the table; nothing where there is no such thing.
    #[must_use]
    pub fn analyze(&self) -> Option<String> {
        self.dialect().analyze(self.sessions())
    }

    /// Adds a column that says when a session was created.
    #[must_use]
    pub fn add_creation(&self, column: &str) -> String {
        self.dialect().add_creation(self.mended(), column)
    }

    /// Gives row ids more room.
    #[must_use]
    pub fn widen_row_ids(&self, sequence: &str) -> String {
        let id = self.layout.candidate.mapping.id.as_deref().unwrap_or_default();
        self.dialect().widen_row_ids(self.sessions(), id, sequence)
    }

    /// Lets a file be read while it is written.
    #[must_use]
    pub fn write_ahead_log(&self) -> &'static str {
        self.dialect().write_ahead_log().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
