//! The layout of a target's sessions: the table and the columns by which another one is told from it.

use serde::{Deserialize, Serialize};

use crate::mapping::Mapping;

/// Where the sessions of a target are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownLayout {
    /// The table, with its schema.
    pub table: String,
    /// The column of the token.
    pub token: String,
    /// The column of the user.
    pub user: Option<String>,
    /// The column of the expiry.
    pub expires: String,
}

impl KnownLayout {
    /// Returns the layout of a mapping. Columns without which sessions can be read are no part of it: they may come and go
    /// with what the role may read.
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
