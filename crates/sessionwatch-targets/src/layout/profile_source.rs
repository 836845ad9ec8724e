//! Where the profile of a target comes from: what the configuration says of how its sessions are stored.

use crate::mapping::{Mapping, TableName};

/// How the sessions of a target are stored, as far as the configuration says it.
#[derive(Clone, Debug)]
pub enum ProfileSource {
    /// To be recognized by the columns.
    Detect,
    /// As this profile says.
    Profile(String),
    /// In this table, whose columns are to be recognized.
    Table {
        /// The table.
        table: TableName,
        /// The profile, where it is named too.
        profile: Option<String>,
    },
    /// In these tables and columns.
    Explicit(Box<Mapping>),
}
