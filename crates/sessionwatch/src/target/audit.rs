//! What can be asked about the server, the connection and the role, for `doctor`.

use super::{error::TargetError, session::Session, sql};
use crate::profile::mapping::TableName;

/// Facts about where and as whom a target is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
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
    /// May create tables beside the sessions.
    pub creates: bool,
}

impl Session {
    /// Asks about server, connection and role.
    ///
    /// # Errors
    ///
    /// If a query fails.
    pub async fn audit(&self, sessions: &TableName) -> Result<Audit, TargetError> {
        match self {
            Self::Postgres(session) => {
                let table = sql::string(crate::profile::schema::Dialect::Postgres, &sql::table(sessions));
                let query = format!(
                    "SELECT current_setting('server_version'), current_setting('TimeZone'), pg_is_in_recovery(), current_user,\n  \
                     (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user),\n  \
                     has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') OR has_any_column_privilege(c.oid, 'INSERT, UPDATE'),\n  \
                     has_schema_privilege(c.relnamespace, 'CREATE'), inet_server_addr() IS NULL\n\
                     FROM pg_catalog.pg_class AS c WHERE c.oid = {table}::regclass"
                );
                let rows = session.fetch(&query).await?;
                let row = rows.into_iter().next().ok_or(TargetError::Lost)?;
                let text = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
                let flag = |at: usize| text(at) == "t";
                Ok(Audit {
                    server: format!("PostgreSQL {}", text(0)),
                    time_zone: Some(text(1)),
                    replica: flag(2),
                    role: Some(Role { name: text(3), superuser: flag(4), writes: flag(5), creates: flag(6) }),
                    encrypted: session.is_remote().then(|| session.encrypted()),
                    journal: None,
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
                Ok(Audit { server: format!("SQLite {version}"), journal, ..Audit::default() })
            }
        }
    }
}
