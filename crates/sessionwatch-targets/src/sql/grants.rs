//! Grants: SQL that makes a role which may only read what checks need, and one that may also end sessions.

use super::{dialect::RoleGrants, schema::DatabaseSchema};
use crate::{
    mapping::{Mapping, TableName},
    side_effects::{CascadingTable, ReachedSideEffect},
};

/// The names of the roles.
#[derive(Clone, Copy, Debug)]
pub struct GrantRoles<'a> {
    /// Watches.
    pub watch: &'a str,
    /// Acts; `None` for the statements of the watching role alone.
    pub write: Option<&'a str>,
}

/// What the roles are for.
#[derive(Clone, Copy, Debug)]
pub struct GrantSubject<'a> {
    /// The schema.
    pub schema: &'a DatabaseSchema,
    /// The tables and columns.
    pub mapping: &'a Mapping,
    /// What happens besides when sessions are ended.
    pub side_effects: &'a [ReachedSideEffect],
    /// Tables whose rows are archived and restored with sessions.
    pub dependents: &'a [CascadingTable],
}

/// The statements for a target, with a comment on each.
#[must_use]
pub fn grant_statements(subject: GrantSubject<'_>, roles: GrantRoles<'_>) -> String {
    let GrantSubject { schema, mapping, side_effects: reached, dependents } = subject;
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
        side_effects: reached,
        dependents,
        account_column: accounts.and_then(|found| found.columns.first()).map(|column| column.name.as_str()),
        row_security_tables: &secured,
    })
}
