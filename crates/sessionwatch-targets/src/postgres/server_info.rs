//! Facts about the server, the connection and the role, for `doctor`.

use super::PostgresRead;
use crate::{
    backend::{DatabaseRole, SchemaCreator, ServerInfo},
    cells::{self, TextRow},
    error::TargetError,
    mapping::TableName,
    sql::{self, Dialect},
};

/// Quotes schema names as an SQL list. An empty list becomes NULL, which matches no schema.
fn quote_schema_list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| sql::quote_string(Dialect::POSTGRES, name)).collect();
    // `IN ()` is a syntax error.
    if quoted.is_empty() { "NULL".into() } else { quoted.join(", ") }
}

/// Finds the roles that may create objects in these schemas, except superusers and the owners of schema or
/// table.
async fn find_schema_creators(
    session: &PostgresRead,
    schemas: &str,
    table: &str,
) -> Result<Vec<SchemaCreator>, TargetError> {
    let query = format!(
        "SELECT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE r.rolname END, n.nspname\n\
         FROM pg_catalog.pg_namespace AS n CROSS JOIN LATERAL aclexplode(n.nspacl) AS a\n\
         LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee\n\
         JOIN pg_catalog.pg_class AS c ON c.oid = {table}::regclass\n\
         WHERE n.nspname IN ({schemas}) AND a.privilege_type = 'CREATE' AND a.grantee NOT IN (n.nspowner, \
         c.relowner)\n  \
         AND (a.grantee = 0 OR NOT r.rolsuper)\nORDER BY 2, 1"
    );
    let read = |row: TextRow| {
        let name = |at: usize| cells::required_text(&row, at, "the privileges on a schema");
        Ok(SchemaCreator { role: name(0)?.to_owned(), schema: name(1)?.to_owned() })
    };
    session.query_rows(&query).await?.into_iter().map(read).collect()
}

pub(super) async fn read_server_info(
    session: &PostgresRead,
    sessions: &TableName,
) -> Result<ServerInfo, TargetError> {
    let table = sql::quote_string(Dialect::POSTGRES, &sql::quote_table(sessions));
    let schemas = quote_schema_list(&session.role().schemas);
    let query = format!(
        "SELECT current_setting('server_version'), current_setting('TimeZone'), pg_is_in_recovery(), current_user,\n  \
         (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user),\n  \
         has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') OR has_any_column_privilege(c.oid, \
         'INSERT, UPDATE'),\n  \
         has_schema_privilege(c.relnamespace, 'CREATE') OR EXISTS (\n    \
         SELECT 1 FROM pg_catalog.pg_namespace AS n WHERE n.nspname IN ({schemas}) \
         AND has_schema_privilege(n.oid, 'CREATE'))\n\
         FROM pg_catalog.pg_class AS c WHERE c.oid = {table}::regclass"
    );
    let rows = session.query_rows(&query).await?;
    let row = cells::only_row(&rows, "the server information")?;
    let text = |at: usize| cells::required_text(row, at, "the server information");
    let flag = |at: usize| cells::parse_flag(row, at, "the server information");
    Ok(ServerInfo {
        server: format!("PostgreSQL {}", text(0)?),
        time_zone: Some(text(1)?.to_owned()),
        is_replica: flag(2)?,
        role: Some(DatabaseRole {
            name: text(3)?.to_owned(),
            is_superuser: flag(4)?,
            can_write: flag(5)?,
            can_create: flag(6)?,
        }),
        is_encrypted: session.is_remote().then(|| session.is_encrypted()),
        journal_mode: None,
        schema_creators: find_schema_creators(session, &schemas, &table).await?,
    })
}
