//! Grants: SQL that makes a role which may only read what checks need, and one that may also end sessions.

use super::schema::Schema;
use crate::{
    mapping::Mapping,
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
    subject.schema.dialect.sql().grants(subject, roles)
}
