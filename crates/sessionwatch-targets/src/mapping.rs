//! The mapping: which table and columns hold what.

use sessionwatch_core::decoder::Decoder;

/// A possibly schema-qualified table or view.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct TableName {
    /// The schema; nothing on SQLite, or to follow the search path.
    pub schema: Option<String>,
    /// The table.
    pub name: String,
}

/// As the configuration writes it: `schema.table`, or `table`.
impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A column that holds an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimestampColumn {
    /// The column.
    pub column: String,
    /// How to read it.
    pub decoder: Decoder,
}

/// Where the users of the sessions are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsersMapping {
    /// The table of users.
    pub table: TableName,
    /// The column that the session's user column refers to.
    pub key: String,
    /// Columns that help a person to recognise a user, in order.
    pub display: Vec<String>,
}

/// How a session is ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevokeMethod {
    /// Its row is removed.
    #[default]
    Delete,
    /// Its expiry is set to now.
    Expire,
    /// A column is set to a value.
    Flag {
        /// The column.
        column: String,
        /// The value, as text.
        value: String,
    },
}

/// How one target stores sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Id of the profile it came from, or `custom`.
    pub profile: String,
    /// The table of sessions.
    pub sessions: TableName,
    /// A column that names a row and is not the token.
    pub id: Option<String>,
    /// The token.
    pub token: String,
    /// What every token begins with, which is no part of what is shown of it.
    pub token_prefix: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// The end of the session.
    pub expires: TimestampColumn,
    /// When the session was created.
    pub created: Option<TimestampColumn>,
    /// A column by which the application marks rows as deleted instead of removing them: those are no sessions any more.
    pub deleted: Option<String>,
    /// A column that names the administrator who acts for the user in this session; nothing stands there in a session of the
    /// user's own.
    pub impersonator: Option<String>,
    /// The client's address.
    pub ip: Option<String>,
    /// The client's user agent.
    pub agent: Option<String>,
    /// The users.
    pub users: Option<UsersMapping>,
    /// A table that fills while sessions stay empty when the application uses stateless (JWT) sessions.
    pub accounts: Option<TableName>,
    /// How a session is ended.
    pub revoke: RevokeMethod,
    /// The longest lifetime that the framework gives a session by default, in seconds.
    pub max_lifetime_s: Option<u64>,
}

/// Why a table cannot be read by a mapping. Messages hold no value of the database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// It does not fit the schema: all that is wrong.
    #[error("the mapping does not fit: {0}")]
    Misfit(String),
    /// Reading would execute functions of the target: which ones.
    #[error("reading the sessions would execute code of the database: {0}")]
    RunsCode(String),
}
