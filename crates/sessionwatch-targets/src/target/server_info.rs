//! What can be asked about the server, the connection and the role, for `doctor`.

use super::{error::TargetError, postgres::PostgresRead, read_session::ReadSession, sql};
use crate::profile::{mapping::TableName, schema::Dialect};

/// Facts about where and as whom a target is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// Product and version.
    pub server: String,
    /// As whom; nothing where there are no roles.
    pub role: Option<Role>,
    /// The time zone of the server's sessions; nothing where there is none.
    pub time_zone: Option<String>,
    /// A read-only replica.
    pub replica: bool,
    /// Whether the connection is encrypted; nothing for a file or a local socket.
    pub encrypted: Option<bool>,
    /// How a SQLite file keeps its journal.
    pub journal: Option<String>,
    /// Who may create functions that a search path finds, without owning the schema or the sessions.
    pub shadowers: Vec<Shadower>,
}

/// A role that may create objects in a schema on the search path of the role that checks run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadower {
    /// The role, or `PUBLIC`.
    pub role: String,
    /// The schema.
    pub schema: String,
}

/// A role, and what it may do besides reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// May do everything.
    pub superuser: bool,
    /// May change or remove sessions.
    pub writes: bool,
    /// May create objects beside the sessions, or in a schema on its search path.
    pub creates: bool,
}

/// A list of schemas in SQL, which no schema is in where it is empty.
fn schemas(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| sql::string(Dialect::Postgres, name)).collect();
    if quoted.is_empty() { "NULL".into() } else { quoted.join(", ") }
}

/// Who may create objects in these schemas, and owns neither schema nor table, nor is a superuser.
async fn shadowers(session: &PostgresRead, schemas: &str, table: &str) -> Result<Vec<Shadower>, TargetError> {
    let query = format!(
        "SELECT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE r.rolname END, n.nspname\n\
         FROM pg_catalog.pg_namespace AS n CROSS JOIN LATERAL aclexplode(n.nspacl) AS a\n\
         LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee\n\
         JOIN pg_catalog.pg_class AS c ON c.oid = {table}::regclass\n\
         WHERE n.nspname IN ({schemas}) AND a.privilege_type = 'CREATE' AND a.grantee NOT IN (n.nspowner, c.relowner)\n  \
         AND (a.grantee = 0 OR NOT r.rolsuper)\nORDER BY 2, 1"
    );
    let read = |row: Vec<Option<String>>| {
        let mut cells = row.into_iter();
        Some(Shadower { role: cells.next()??, schema: cells.next()?? })
    };
    Ok(session.fetch(&query).await?.into_iter().filter_map(read).collect())
}

impl ReadSession {
    /// Asks about server, connection and role.
    ///
    /// # Errors
    ///
    /// If a query fails.
    pub async fn server_info(&self, sessions: &TableName) -> Result<ServerInfo, TargetError> {
        match self {
            Self::Postgres(session) => {
                let table = sql::string(Dialect::Postgres, &sql::table(sessions));
                let schemas = schemas(&session.role().schemas);
                let query = format!(
                    "SELECT current_setting('server_version'), current_setting('TimeZone'), pg_is_in_recovery(), current_user,\n  \
                     (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user),\n  \
                     has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') OR has_any_column_privilege(c.oid, 'INSERT, UPDATE'),\n  \
                     has_schema_privilege(c.relnamespace, 'CREATE') OR EXISTS (\n    \
                     SELECT 1 FROM pg_catalog.pg_namespace AS n WHERE n.nspname IN ({schemas}) AND has_schema_privilege(n.oid, 'CREATE'))\n\
                     FROM pg_catalog.pg_class AS c WHERE c.oid = {table}::regclass"
                );
                let rows = session.fetch(&query).await?;
                let row = rows.into_iter().next().ok_or(TargetError::Lost)?;
                let text = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
                let flag = |at: usize| text(at) == "t";
                Ok(ServerInfo {
                    server: format!("PostgreSQL {}", text(0)),
                    time_zone: Some(text(1)),
                    replica: flag(2),
                    role: Some(Role { name: text(3), superuser: flag(4), writes: flag(5), creates: flag(6) }),
                    encrypted: session.is_remote().then(|| session.encrypted()),
                    journal: None,
                    shadowers: shadowers(session, &schemas, &table).await?,
                })
            }
            Self::Sqlite(session) => {
                let first = |sql: &str| {
                    let rows = session.fetch(sql)?;
                    Ok::<_, TargetError>(
                        rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()),
                    )
                };
                let version = first("SELECT sqlite_version()")?.unwrap_or_default();
                let journal = first("PRAGMA journal_mode")?;
                Ok(ServerInfo { server: format!("SQLite {version}"), journal, ..ServerInfo::default() })
            }
        }
    }
}
