//! Storage setting of a target: where its sessions are stored, as far as the configuration says.

use crate::mapping::{Mapping, TableName};

/// Storage of the sessions, as far as the configuration describes it.
#[derive(Clone, Debug)]
pub enum ProfileSource {
    /// Detect table and columns.
    Detect,
    /// Use this profile.
    Profile(String),
    /// Use this table, and detect its columns.
    Table {
        /// Name of the table.
        table: TableName,
        /// Profile, if one is named too.
        profile: Option<String>,
    },
    /// Use these tables and columns.
    Explicit(Box<Mapping>),
}
