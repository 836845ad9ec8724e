//! Grants: SQL that makes a role which may only read what checks need, and one that may also end sessions.

use super::{dialect::RoleGrants, schema::Schema};
use crate::{
    mapping::{Mapping, TableName},
    side_effects::{Dependent, Reached},
};

/// The names of the roles.
#[derive(Clone, Copy, Debug)]
pub struct Roles<'a> {
    /// Watches.
    pub watch: &'a str,
    /// Acts; `None` for the statements of the watching role alone.
    pub act: Option<&'a str>,
}

/// What the roles are for.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The schema.
    pub schema: &'a Schema,
    /// The tables and columns.
    pub mapping: &'a Mapping,
    /// What happens besides when sessions are ended.
    pub reached: &'a [Reached],
    /// Tables whose rows are archived and restored with sessions.
    pub dependents: &'a [Dependent],
}

/// The statements for a target, with a comment on each.
#[must_use]
pub fn statements(subject: Subject<'_>, roles: Roles<'_>) -> String {
    let Subject { schema, mapping, reached, dependents } = subject;
    let accounts = mapping.accounts.as_ref().and_then(|accounts| schema.table(accounts));
    let users = mapping.users.as_ref().map(|users| &users.table);
    let tables =
        [&mapping.sessions].into_iter().chain(users).chain(dependents.iter().map(|found| &found.table));
    let is_secured = |name: &&TableName| schema.table(name).is_some_and(|found| found.row_security);
    let secured: Vec<&TableName> = tables.filter(is_secured).collect();
    schema.dialect.sql().grants(RoleGrants {
        watch: roles.watch,
        act: roles.act,
        mapping,
        reached,
        dependents,
        account_column: accounts.and_then(|found| found.columns.first()).map(|column| column.name.as_str()),
        secured: &secured,
    })
}
