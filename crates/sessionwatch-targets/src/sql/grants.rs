//! SQL that creates the least-privilege roles: the watch role, and the write role.

use super::{database_schema::DatabaseSchema, dialect::RoleGrants};
use crate::{
    mapping::{Mapping, TableName},
    side_effects::{CascadingTable, ReachedSideEffect},
};

/// Names of the roles.
#[derive(Clone, Copy, Debug)]
pub struct GrantRoles<'a> {
    /// Watch role.
    pub watch: &'a str,
    /// Write role; `None` for the statements of the watch role alone.
    pub write: Option<&'a str>,
}

/// Objects that the roles need.
#[derive(Clone, Copy, Debug)]
pub struct GrantObjects<'a> {
    /// Schema of the database.
    pub schema: &'a DatabaseSchema,
    /// Tables and columns.
    pub mapping: &'a Mapping,
    /// Side effects of ending sessions.
    pub side_effects: &'a [ReachedSideEffect],
    /// Dependent tables that are archived and restored with sessions.
    pub dependents: &'a [CascadingTable],
}

/// Returns commented statements for a target.
#[must_use]
pub fn grant_statements(objects: GrantObjects<'_>, roles: GrantRoles<'_>) -> String {
    let GrantObjects { schema, mapping, side_effects, dependents } = objects;
    let accounts = mapping.accounts.as_ref().and_then(|accounts| schema.table(accounts));
    let users = mapping.users.as_ref().map(|users| &users.table);
    let tables =
        [&mapping.sessions].into_iter().chain(users).chain(dependents.iter().map(|found| &found.table));
    let is_secured = |name: &&TableName| schema.table(name).is_some_and(|found| found.row_security);
    let secured: Vec<&TableName> = tables.filter(is_secured).collect();
    schema.dialect.sql_dialect().grant_statements(RoleGrants {
        watch_role: roles.watch,
        write_role: roles.write,
        mapping,
        side_effects,
        dependents,
        // One readable column is enough to test whether the table has rows.
        account_column: accounts.and_then(|found| found.columns.first()).map(|column| column.name.as_str()),
        row_security_tables: &secured,
    })
}
