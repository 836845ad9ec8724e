//! Server, connection and role, for `doctor`.

use super::PostgresRead;
use crate::{
    backend::{Role, ServerInfo, Shadower},
    cells::TextRow,
    error::TargetError,
    mapping::TableName,
    sql::{self, Dialect},
};

/// A list of schemas in SQL, which no schema is in where it is empty.
fn schemas(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| sql::string(Dialect::POSTGRES, name)).collect();
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
    let read = |row: TextRow| {
        let mut cells = row.into_iter();
        Some(Shadower { role: cells.next()??, schema: cells.next()?? })
    };
    Ok(session.query(&query).await?.into_iter().filter_map(read).collect())
}

pub(super) async fn read(session: &PostgresRead, sessions: &TableName) -> Result<ServerInfo, TargetError> {
    let table = sql::string(Dialect::POSTGRES, &sql::table(sessions));
    let schemas = schemas(&session.role().schemas);
    let query = format!(
        "SELECT current_setting('server_version'), current_setting('TimeZone'), pg_is_in_recovery(), current_user,\n  \
         (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user),\n  \
         has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') OR has_any_column_privilege(c.oid, 'INSERT, UPDATE'),\n  \
         has_schema_privilege(c.relnamespace, 'CREATE') OR EXISTS (\n    \
         SELECT 1 FROM pg_catalog.pg_namespace AS n WHERE n.nspname IN ({schemas}) AND has_schema_privilege(n.oid, 'CREATE'))\n\
         FROM pg_catalog.pg_class AS c WHERE c.oid = {table}::regclass"
    );
    let rows = session.query(&query).await?;
    let row = rows.into_iter().next().ok_or(TargetError::Lost)?;
    let text = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
    let flag = |at: usize| text(at) == "t";
    Ok(ServerInfo {
        server: format!("PostgreSQL {}", text(0)),
        time_zone: Some(text(1)),
        replica: flag(2),
        role: Some(Role { name: text(3), superuser: flag(4), writes: flag(5), creates: flag(6) }),
        encrypted: session.is_remote().then(|| session.is_encrypted()),
        journal: None,
        shadowers: shadowers(session, &schemas, &table).await?,
    })
}
