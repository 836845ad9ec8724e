//! Mapping of a session table: the tables and columns that hold each fact.

use sessionwatch_core::timestamp_decoder::Decoder;

/// Name of a table or view, with or without a schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct TableName {
    /// Schema; `None` on SQLite, or to follow the search path.
    pub schema: Option<String>,
    /// Name without the schema.
    pub name: String,
}

/// Writes the form used in the configuration: `schema.table` or `table`.
impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A column that holds a timestamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimestampColumn {
    /// Name of the column.
    pub column: String,
    /// Decoder of its values.
    pub decoder: Decoder,
}

/// The table of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsersMapping {
    /// Name of the table.
    pub table: TableName,
    /// Column that the user column of the sessions refers to.
    pub key: String,
    /// Columns that help people recognize a user, most useful first.
    pub display: Vec<String>,
}

/// The way to end a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevokeMethod {
    /// Deletes the row.
    #[default]
    Delete,
    /// Sets the expiry to now.
    Expire,
    /// Sets a column to a value.
    Flag {
        /// Name of the column.
        column: String,
        /// Value as text.
        value: String,
    },
}

/// The tables and columns in which one target stores sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Id of the profile, or `custom`.
    pub profile: String,
    /// Session table.
    pub sessions: TableName,
    /// Column that identifies a row without being the token.
    pub id: Option<String>,
    /// Token column.
    pub token: String,
    /// Common prefix of all tokens, skipped when a token prefix is shown.
    pub token_prefix: Option<String>,
    /// User column.
    pub user: Option<String>,
    /// Expiry column.
    pub expires: TimestampColumn,
    /// Creation column.
    pub created: Option<TimestampColumn>,
    /// Soft-delete column: rows in which it is set do not count as sessions.
    pub deleted: Option<String>,
    /// Column with the administrator who impersonates the user; NULL in the user's own sessions.
    pub impersonator: Option<String>,
    /// Column with the IP address of the client.
    pub ip: Option<String>,
    /// Column with the user agent of the client.
    pub agent: Option<String>,
    /// User table.
    pub users: Option<UsersMapping>,
    /// Table of linked accounts. Rows in it while the session table is empty suggest stateless (JWT)
    /// sessions.
    pub accounts: Option<TableName>,
    /// The way to end a session.
    pub revoke: RevokeMethod,
    /// Longest lifetime that the framework gives a session by default, in seconds.
    pub max_lifetime_s: Option<u64>,
}

/// Reason why a table cannot be read by a mapping. No message contains a stored value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// The mapping does not match the schema; the text lists every problem.
    #[error("the mapping does not match the database: {0}")]
    Misfit(String),
    /// Reading would execute functions of the target; the text names them.
    #[error("reading the sessions would execute code in the database: {0}")]
    RunsCode(String),
}
