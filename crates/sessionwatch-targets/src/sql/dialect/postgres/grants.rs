//! Least-privilege roles for PostgreSQL: the watch role, and the write role.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{super::SqlDialect as _, PostgresDialect};
use crate::{
    mapping::{Mapping, RevokeMethod, TableName},
    side_effects::CascadingTable,
    sql::{dialect::RoleGrants, quote_identifier, quote_table},
};

/// Returns the statements, with comments.
pub(super) fn role_statements(grants: RoleGrants<'_>) -> String {
    let mut sql = String::from(
        "-- Run as the owner of the tables. Safe to repeat: existing roles and their passwords are kept.\n\
         -- Give each role its own password, or configure another login method.\n\n",
    );
    sql.push_str(&watch_role_statements(grants));
    if let Some(act) = grants.write_role {
        sql.push_str(&write_role_statements(grants, act));
    }
    sql.push_str("\n-- Then, in psql:");
    for (number, role) in [grants.watch_role].into_iter().chain(grants.write_role).enumerate() {
        let and = if number == 0 { "" } else { " and" };
        // Writing to a String cannot fail, here and below.
        let _ = write!(sql, "{and} \\password {role}");
    }
    sql.push('\n');
    sql
}

/// Returns the statement that creates a role unless it exists.
fn create_role_statement(name: &str, connections: u8) -> String {
    let mut quote = String::from("$role$");
    // The role's name must not contain the dollar quote around it.
    while name.contains(&quote) {
        quote.insert_str(1, "a_");
    }
    format!(
        "DO {quote} BEGIN\n  CREATE ROLE {name} LOGIN NOINHERIT CONNECTION LIMIT {connections} PASSWORD NULL;\n\
         EXCEPTION WHEN duplicate_object THEN NULL;\nEND {quote};\n"
    )
}

fn watch_role_statements(grants: RoleGrants<'_>) -> String {
    let RoleGrants { watch_role, mapping, .. } = grants;
    let watch = quote_identifier(watch_role);
    let sessions = quote_table(&mapping.sessions);
    let mut sql = format!(
        "-- Watch role: may read these columns and nothing else.\n\
         {role}\
         ALTER ROLE {watch} SET default_transaction_read_only = on;\n\
         ALTER ROLE {watch} SET statement_timeout = '60s';\n",
        role = create_role_statement(&watch, 5),
    );
    sql.push_str(&grant_schema_usage(grants, &watch));
    let _ = writeln!(
        sql,
        "GRANT SELECT ({}) ON {sessions} TO {watch};",
        quote_columns(&session_columns(mapping))
    );
    let _ = writeln!(
        sql,
        "GRANT SELECT (ctid, xmin, tableoid) ON {sessions} TO {watch};  -- plans identify rows by position"
    );
    if let Some(users) = &mapping.users {
        let shown: Vec<&str> = [&users.key].into_iter().chain(&users.display).map(String::as_str).collect();
        let _ = writeln!(
            sql,
            "GRANT SELECT ({}) ON {} TO {watch};",
            quote_columns(&shown),
            quote_table(&users.table)
        );
    }
    if let (Some(accounts), Some(column)) = (&mapping.accounts, grants.account_column) {
        let _ = writeln!(
            sql,
            "GRANT SELECT ({}) ON {} TO {watch};  -- shows whether an empty session table means JWT sessions",
            quote_identifier(column),
            quote_table(accounts)
        );
    }
    sql.push_str(&grant_reference_columns(grants, &watch));
    sql.push_str(&row_security_policies(grants, watch_role, &[]));
    sql
}

fn write_role_statements(grants: RoleGrants<'_>, name: &str) -> String {
    let RoleGrants { mapping, dependents, .. } = grants;
    let act = quote_identifier(name);
    let sessions = quote_table(&mapping.sessions);
    let mut sql = format!(
        "\n-- Write role (cleanup, revoke): may also delete and restore sessions. Used for nothing else.\n\
         {role}\
         ALTER ROLE {act} SET statement_timeout = '60s';\n\
         {usage}GRANT SELECT, INSERT, DELETE ON {sessions} TO {act};\n{update}",
        role = create_role_statement(&act, 3),
        usage = grant_schema_usage(grants, &act),
        update = match &mapping.revoke {
            RevokeMethod::Delete => String::new(),
            RevokeMethod::Expire => grant_update_statement(&mapping.expires.column, &sessions, &act),
            RevokeMethod::Flag { column, .. } => grant_update_statement(column, &sessions, &act),
        },
    );
    if let Some(users) = &mapping.users {
        let _ = writeln!(
            sql,
            "GRANT SELECT ({}) ON {} TO {act};",
            quote_identifier(&users.key),
            quote_table(&users.table)
        );
    }
    for CascadingTable { sql_name: name, .. } in dependents {
        let _ = writeln!(
            sql,
            "GRANT SELECT, INSERT, DELETE ON {name} TO {act};  -- rows are archived, deleted and restored with sessions"
        );
    }
    sql.push_str(&row_security_policies(grants, name, dependents));
    sql
}

/// Grants the update of the one column that ends sessions in place.
fn grant_update_statement(column: &str, sessions: &str, write_role: &str) -> String {
    format!("GRANT UPDATE ({}) ON {sessions} TO {write_role};\n", quote_identifier(column))
}

/// Grants the columns by which rows refer to sessions and to each other, so that plans can count the affected
/// rows.
fn grant_reference_columns(grants: RoleGrants<'_>, watch_role: &str) -> String {
    let sessions = PostgresDialect.catalog_name(&grants.mapping.sessions);
    let mut tables: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for reference in grants.side_effects.iter().flat_map(|reached| &reached.path) {
        for (table, columns) in [reference.referencing_columns(), reference.referenced_columns()] {
            tables.entry(table).or_default().extend(columns.iter().map(String::as_str));
        }
    }
    if let Some(columns) = tables.get_mut(sessions.as_str()) {
        let granted = session_columns(grants.mapping);
        // Those are granted already.
        columns.retain(|column| !granted.contains(column));
    }
    let mut sql = String::new();
    for (table, names) in tables.into_iter().filter(|(_, names)| !names.is_empty()) {
        let names: Vec<&str> = names.into_iter().collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            sql,
            "GRANT SELECT ({}) ON {table} TO {watch_role};  -- plans count the rows that change with a session",
            quote_columns(&names),
        );
    }
    sql
}

/// Returns a policy for each table with row-level security.
fn row_security_policies(grants: RoleGrants<'_>, role: &str, dependents: &[CascadingTable]) -> String {
    let RoleGrants { mapping, row_security_tables, .. } = grants;
    let policy = quote_identifier(&format!("{role}_sees_all"));
    let mut sql = String::new();
    // Writing to a String cannot fail, here and below.
    let changed = [&mapping.sessions].into_iter().chain(dependents.iter().map(|dependent| &dependent.table));
    for name in changed.filter(|name| row_security_tables.contains(name)) {
        let _ = writeln!(
            sql,
            "DROP POLICY IF EXISTS {policy} ON {0};\n\
             CREATE POLICY {policy} ON {0} TO {1} USING (true) WITH CHECK (true);",
            quote_table(name),
            quote_identifier(role)
        );
    }
    if let Some(users) = mapping.users.as_ref().filter(|users| row_security_tables.contains(&&users.table)) {
        let _ = writeln!(
            sql,
            "DROP POLICY IF EXISTS {policy} ON {0};\nCREATE POLICY {policy} ON {0} FOR SELECT TO {1} USING \
             (true);  -- a hidden user would look like a deleted one",
            quote_table(&users.table),
            quote_identifier(role)
        );
    }
    sql
}

fn grant_schema_usage(grants: RoleGrants<'_>, role: &str) -> String {
    let grant = |schema: &str| format!("GRANT USAGE ON SCHEMA {} TO {role};\n", quote_identifier(schema));
    schema_names(grants).into_iter().map(grant).collect()
}

fn schema_names(grants: RoleGrants<'_>) -> Vec<&str> {
    let mapping = grants.mapping;
    let tables: [Option<&TableName>; 3] = [
        Some(&mapping.sessions),
        mapping.users.as_ref().map(|users| &users.table),
        mapping.accounts.as_ref(),
    ];
    let mut schemas: Vec<&str> =
        tables.into_iter().flatten().filter_map(|name| name.schema.as_deref()).collect();
    let referring = grants.side_effects.iter().flat_map(|reached| &reached.path);
    schemas.extend(referring.filter_map(|reference| reference.child_table().schema.as_deref()));
    schemas.sort_unstable();
    schemas.dedup();
    schemas
}

/// Returns the columns of the sessions that checks read.
fn session_columns(mapping: &Mapping) -> Vec<&str> {
    let mut columns = vec![mapping.token.as_str(), mapping.expires.column.as_str()];
    columns.extend(
        [&mapping.id, &mapping.user, &mapping.ip, &mapping.agent].into_iter().flatten().map(String::as_str),
    );
    columns.extend(mapping.deleted.as_deref());
    columns.extend(mapping.impersonator.as_deref());
    columns.extend(mapping.created.as_ref().map(|created| created.column.as_str()));
    columns
}

fn quote_columns(names: &[&str]) -> String {
    names.iter().map(|name| quote_identifier(name)).collect::<Vec<_>>().join(", ")
}
