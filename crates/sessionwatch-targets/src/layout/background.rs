//! What is behind a table that was recognised: tables are preferred to views of them, and nothing is read that would
//! execute code of the target.

use super::detect::Candidate;
use crate::{
    mapping::{Mapping, MappingError, TableName},
    sql::{
        schema::Schema,
        tables::{Table, TableKind},
    },
};

/// Puts a table before a view of it, where both look like sessions, and leaves out views of what comes first.
pub fn prefer_tables(schema: &Schema, candidates: &mut Vec<Candidate>) {
    let table = |candidate: &Candidate| schema.table(&candidate.mapping.sessions);
    let Some(first) = candidates.first().and_then(table) else { return };
    if [TableKind::View, TableKind::MaterializedView].contains(&first.kind) {
        let behind = |other: &Candidate| table(other).is_some_and(|table| is_behind(table, first));
        if let Some(at) = candidates.iter().position(behind) {
            candidates[..=at].rotate_right(1);
        }
    }
    let Some(first) = candidates.first().and_then(table) else { return };
    candidates.retain(|other| table(other).is_none_or(|view| !is_behind(first, view)));
}

/// Whether a view reads a table in the end.
fn is_behind(table: &Table, view: &Table) -> bool {
    let full = match &table.schema {
        Some(schema) => format!("{schema}.{}", table.name),
        None => table.name.to_lowercase(),
    };
    view.bases.contains(&full)
}

/// Makes sure that reading a candidate executes no code of the target; users and accounts for which it would are left out.
///
/// # Errors
///
/// If reading the sessions would.
pub fn refuse_code(schema: &Schema, candidate: &mut Candidate) -> Result<(), MappingError> {
    let mapping = &mut candidate.mapping;
    let mut code = executed(schema, &mapping.sessions);
    code.extend(columns(mapping).filter_map(|column| cast(schema, &mapping.sessions, column)));
    if !code.is_empty() {
        return Err(MappingError::RunsCode(code.join("; ")));
    }
    if let Some(users) = &mut mapping.users {
        let mut code = executed(schema, &users.table);
        code.extend(cast(schema, &users.table, &users.key));
        users.display.retain(|column| cast(schema, &users.table, column).is_none());
        if !code.is_empty() {
            let why = code.join("; ");
            candidate
                .notes
                .push(format!("users are not read, for that would execute code of the database: {why}"));
            mapping.users = None;
        }
    }
    if mapping.accounts.as_ref().is_some_and(|accounts| !executed(schema, accounts).is_empty()) {
        mapping.accounts = None;
    }
    Ok(())
}

fn executed(schema: &Schema, name: &TableName) -> Vec<String> {
    schema.table(name).map(|table| table.code.clone()).unwrap_or_default()
}

/// The columns of the sessions that are read as text.
fn columns(mapping: &Mapping) -> impl Iterator<Item = &str> {
    let optional = [&mapping.id, &mapping.user, &mapping.ip, &mapping.agent];
    let instants = [Some(&mapping.expires), mapping.created.as_ref()];
    let instants = instants.into_iter().flatten().map(|instant| instant.column.as_str());
    [mapping.token.as_str()]
        .into_iter()
        .chain(optional.into_iter().filter_map(Option::as_deref))
        .chain(instants)
}

/// Says which function makes text of a column, if that is code of the target.
fn cast(schema: &Schema, table: &TableName, column: &str) -> Option<String> {
    let function = schema.table(table)?.column(column)?.cast.as_deref()?;
    Some(format!("the cast of `{column}` to text calls `{function}`"))
}
