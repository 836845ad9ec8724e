//! Known layouts: the table and columns that identify where a target stores sessions.

use serde::{Deserialize, Serialize};

use crate::mapping::Mapping;

/// Identity of a session table across runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownLayout {
    /// Table, with its schema.
    pub table: String,
    /// Token column.
    pub token: String,
    /// User column.
    pub user: Option<String>,
    /// Expiry column.
    pub expires: String,
}

impl KnownLayout {
    /// Returns the identity of a mapping. Optional columns are left out, since they come and go with the
    /// privileges of the role.
    #[must_use]
    pub fn from_mapping(mapping: &Mapping) -> Self {
        Self {
            table: mapping.sessions.to_string(),
            token: mapping.token.clone(),
            user: mapping.user.clone(),
            expires: mapping.expires.column.clone(),
        }
    }
}

impl std::fmt::Display for KnownLayout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` (`{}`", self.table, self.token)?;
        if let Some(user) = &self.user {
            write!(f, ", `{user}`")?;
        }
        write!(f, ", `{}`)", self.expires)
    }
}
