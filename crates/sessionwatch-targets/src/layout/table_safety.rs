//! Safety of detected tables: prefers tables to views of them, and rejects those whose reading would execute code of
//! the target.

use super::detect::LayoutCandidate;
use crate::{
    mapping::{Mapping, MappingError, TableName},
    sql::{
        database_schema::DatabaseSchema,
        table_info::{TableInfo, TableKind},
    },
};

/// Moves a table before a view of it if both look like sessions, and removes views of the best table.
pub fn prefer_tables(schema: &DatabaseSchema, candidates: &mut Vec<LayoutCandidate>) {
    let table = |candidate: &LayoutCandidate| schema.table(&candidate.mapping.sessions);
    let Some(first) = candidates.first().and_then(table) else { return };
    if [TableKind::View, TableKind::MaterializedView].contains(&first.kind) {
        let behind =
            |other: &LayoutCandidate| table(other).is_some_and(|table| is_read_by_view(table, first));
        if let Some(at) = candidates.iter().position(behind) {
            // Keeps the order of the other candidates.
            candidates[..=at].rotate_right(1);
        }
    }
    let Some(first) = candidates.first().and_then(table) else { return };
    candidates.retain(|other| table(other).is_none_or(|view| !is_read_by_view(first, view)));
}

/// Returns `true` if a view reads a table, directly or through other views.
fn is_read_by_view(table: &TableInfo, view: &TableInfo) -> bool {
    let full = match &table.schema {
        Some(schema) => format!("{schema}.{}", table.name),
        // SQLite names are case-insensitive, and base tables are stored in lower case.
        None => table.name.to_lowercase(),
    };
    view.base_tables.contains(&full)
}

/// Rejects a candidate whose reading would execute code of the target. User and account tables with that
/// problem are only left out.
///
/// # Errors
///
/// If reading the sessions would execute code.
pub fn require_no_code(schema: &DatabaseSchema, candidate: &mut LayoutCandidate) -> Result<(), MappingError> {
    let mapping = &mut candidate.mapping;
    let mut code = executed_code(schema, &mapping.sessions);
    code.extend(
        text_columns(mapping).filter_map(|column| describe_cast_code(schema, &mapping.sessions, column)),
    );
    if !code.is_empty() {
        return Err(MappingError::RunsCode(code.join("; ")));
    }
    if let Some(users) = &mut mapping.users {
        let mut code = executed_code(schema, &users.table);
        code.extend(describe_cast_code(schema, &users.table, &users.key));
        // Display columns are optional, so only the offending ones are dropped.
        users.display.retain(|column| describe_cast_code(schema, &users.table, column).is_none());
        if !code.is_empty() {
            let why = code.join("; ");
            candidate
                .notes
                .push(format!("users are not read, since that would execute code in the database: {why}"));
            mapping.users = None;
        }
    }
    if mapping.accounts.as_ref().is_some_and(|accounts| !executed_code(schema, accounts).is_empty()) {
        mapping.accounts = None;
    }
    Ok(())
}

fn executed_code(schema: &DatabaseSchema, name: &TableName) -> Vec<String> {
    schema.table(name).map(|table| table.executed_code.clone()).unwrap_or_default()
}

/// Returns the columns of the sessions that are read as text.
fn text_columns(mapping: &Mapping) -> impl Iterator<Item = &str> {
    let optional = [&mapping.id, &mapping.user, &mapping.ip, &mapping.agent];
    let instants = [Some(&mapping.expires), mapping.created.as_ref()];
    let instants = instants.into_iter().flatten().map(|instant| instant.column.as_str());
    [mapping.token.as_str()]
        .into_iter()
        .chain(optional.into_iter().filter_map(Option::as_deref))
        .chain(instants)
}

/// Describes the cast of a column to text, if that is code of the target.
fn describe_cast_code(schema: &DatabaseSchema, table: &TableName, column: &str) -> Option<String> {
    let function = schema.table(table)?.column(column)?.cast_function.as_deref()?;
    Some(format!("the cast of `{column}` to text calls `{function}`"))
}
