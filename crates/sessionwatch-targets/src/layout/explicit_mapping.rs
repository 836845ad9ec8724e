//! Explicit mappings, checked against the schema. All problems are reported at once.

use sessionwatch_core::{suggest::did_you_mean, timestamp_decoder::Decoder};

use super::detect::{LayoutCandidate, schema_notes};
use crate::{
    mapping::{Mapping, MappingError, RevokeMethod, TableName, TimestampColumn},
    sql::{
        Dialect,
        database_schema::{DatabaseSchema, missing_schema_message},
        table_info::{ColumnInfo, ColumnKind, TableInfo},
    },
};

/// Profile name of a mapping from the configuration.
pub const CUSTOM_PROFILE: &str = "custom";

/// Builds the candidate that a mapping describes.
///
/// # Errors
///
/// If a table or column is missing or unreadable, or a decoder does not fit its column.
pub fn check_mapping(schema: &DatabaseSchema, mapping: &Mapping) -> Result<LayoutCandidate, MappingError> {
    let mut problems = Vec::new();
    let sessions = find_or_report_table(schema, &mapping.sessions, &mut problems);
    if let Some(table) = sessions {
        let flag = if let RevokeMethod::Flag { column, .. } = &mapping.revoke { Some(column) } else { None };
        let named = [
            Some(&mapping.token),
            Some(&mapping.expires.column),
            mapping.id.as_ref(),
            mapping.user.as_ref(),
            mapping.created.as_ref().map(|created| &created.column),
            mapping.ip.as_ref(),
            mapping.agent.as_ref(),
            flag,
        ];
        for name in named.into_iter().flatten() {
            check_column(table, name, &mut problems);
        }
        let instants = [Some(&mapping.expires), mapping.created.as_ref()];
        problems.extend(
            instants
                .into_iter()
                .flatten()
                .filter_map(|instant| decoder_problem(schema.dialect, table, instant)),
        );
    }
    if let Some(users) = &mapping.users
        && let Some(table) = find_or_report_table(schema, &users.table, &mut problems)
    {
        for name in [&users.key].into_iter().chain(&users.display) {
            check_column(table, name, &mut problems);
        }
    }
    if let Some(accounts) = &mapping.accounts {
        find_or_report_table(schema, accounts, &mut problems);
    }
    match sessions {
        Some(table) if problems.is_empty() => Ok(build_candidate(schema, table, mapping)),
        _ => Err(MappingError::Misfit(problems.join("; "))),
    }
}

fn build_candidate(schema: &DatabaseSchema, table: &TableInfo, mapping: &Mapping) -> LayoutCandidate {
    let full = |name: &TableName| match resolve_table(schema, name) {
        Some(table) => TableName { schema: table.schema.clone(), name: table.name.clone() },
        None => name.clone(),
    };
    let mut mapping = mapping.clone();
    mapping.sessions = full(&mapping.sessions);
    mapping.accounts = mapping.accounts.as_ref().map(full);
    if let Some(users) = &mut mapping.users {
        users.table = full(&users.table);
    }
    LayoutCandidate {
        title: "the configured mapping".into(),
        score: 0,
        reasons: vec!["the configuration names its tables and columns".into()],
        notes: schema_notes(schema.dialect, table, &mapping),
        missing_evidence: vec![],
        other_login_hints: vec![],
        is_named_in_config: true,
        mapping,
    }
}

/// Returns the table that the configuration names.
///
/// # Errors
///
/// If the table does not exist, or is invisible to the role.
pub fn find_table<'a>(schema: &'a DatabaseSchema, name: &TableName) -> Result<&'a TableInfo, MappingError> {
    let mut problems = Vec::new();
    find_or_report_table(schema, name, &mut problems).ok_or_else(|| MappingError::Misfit(problems.join("; ")))
}

fn find_or_report_table<'a>(
    schema: &'a DatabaseSchema,
    name: &TableName,
    problems: &mut Vec<String>,
) -> Option<&'a TableInfo> {
    let found = resolve_table(schema, name);
    if found.is_none() {
        problems.push(missing_table_problem(schema, name));
    }
    found
}

/// Explains why a named table is not found.
fn missing_table_problem(schema: &DatabaseSchema, name: &TableName) -> String {
    let others = schema.resolve_unqualified(&name.name);
    match &name.schema {
        // A missing schema explains the missing table better than a similar table name.
        Some(wanted) if schema.dialect.has_schemas() && !schema.schema_names().contains(&wanted.as_str()) => {
            missing_schema_message(wanted, &schema.schema_names(), true)
        }
        None if others.len() > 1 => {
            let schemas = others.iter().filter_map(|table| table.schema.as_deref());
            let schemas: Vec<String> = schemas.map(|schema| format!("`{schema}`")).collect();
            format!(
                "several schemas off the search path have a table `{}`: qualify the name with one of {}",
                name.name,
                schemas.join(", ")
            )
        }
        wanted => {
            let here = |table: &&TableInfo| match wanted {
                Some(schema) => table.schema.as_ref() == Some(schema),
                None => !schema.has_named_search_path || table.search_path_index.is_some(),
            };
            let hint =
                did_you_mean(&name.name, schema.tables.iter().filter(here).map(|table| table.name.as_str()));
            let place = wanted.as_ref().map_or_else(String::new, |schema| format!(" in schema `{schema}`"));
            format!("table `{}`{place} does not exist, or the role cannot see it{hint}", name.name)
        }
    }
}

/// Finds the table with this name. A dot may be part of the name rather than follow a schema.
fn resolve_table<'a>(schema: &'a DatabaseSchema, name: &TableName) -> Option<&'a TableInfo> {
    let whole = || schema.find_table(None, &format!("{}.{}", name.schema.as_ref()?, name.name));
    schema.table(name).or_else(whole)
}

fn check_column(table: &TableInfo, name: &str, problems: &mut Vec<String>) {
    match table.column(name) {
        Some(column) if column.readable => {}
        Some(_) => problems.push(format!("the role cannot read `{}`.`{name}`", table.name)),
        None => {
            let hint = did_you_mean(name, table.columns.iter().map(|column| column.name.as_str()));
            problems.push(format!("table `{}` has no column `{name}`{hint}", table.name));
        }
    }
}

fn decoder_problem(dialect: Dialect, table: &TableInfo, instant: &TimestampColumn) -> Option<String> {
    let column = table.column(&instant.column)?;
    if decoder_fits(dialect, column, instant.decoder) {
        return None;
    }
    let mut fitting: Vec<&str> = Decoder::ALL
        .into_iter()
        .filter(|other| decoder_fits(dialect, column, *other))
        .map(Decoder::name)
        .collect();
    // Decoders with a zone are not in the list of all decoders, since the zone is a parameter.
    if fits_local_timestamp(dialect, column) {
        fitting.push("timestamp-local:ZONE");
    }
    let instead = if fitting.is_empty() {
        "no decoder fits this type".into()
    } else {
        format!("use {}", fitting.join(", "))
    };
    Some(format!(
        "decoder `{}` does not fit column `{}` of type {}; {instead}",
        instant.decoder.name(),
        column.name,
        column.declared_type
    ))
}

fn decoder_fits(dialect: Dialect, column: &ColumnInfo, decoder: Decoder) -> bool {
    if dialect.has_dynamic_types() {
        // SQLite has no column types for timestamps.
        return !matches!(decoder, Decoder::Timestamptz | Decoder::TimestampUtc);
    }
    match decoder {
        Decoder::Timestamptz => column.kind == ColumnKind::Timestamptz,
        Decoder::TimestampUtc => column.kind == ColumnKind::Timestamp,
        Decoder::TimestampLocal(_) => fits_local_timestamp(dialect, column),
        Decoder::IsoText => column.kind == ColumnKind::Text,
        Decoder::EpochSeconds | Decoder::EpochMillis => {
            [ColumnKind::Integer, ColumnKind::Text].contains(&column.kind)
        }
        Decoder::EpochMillisOrIso => false,
    }
}

/// Returns `true` if the column can hold wall-clock times without a zone.
fn fits_local_timestamp(dialect: Dialect, column: &ColumnInfo) -> bool {
    dialect.has_dynamic_types() || [ColumnKind::Timestamp, ColumnKind::Text].contains(&column.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> DatabaseSchema {
        let column = |name: &str, kind| ColumnInfo {
            name: name.into(),
            declared_type: format!("{kind:?}").to_lowercase(),
            kind,
            readable: name != "secret",
            ..ColumnInfo::default()
        };
        let columns = vec![
            column("token", ColumnKind::Text),
            column("expires", ColumnKind::Timestamp),
            column("secret", ColumnKind::Text),
        ];
        let table =
            TableInfo { schema: Some("auth".into()), name: "login".into(), columns, ..TableInfo::default() };
        DatabaseSchema { dialect: Dialect::POSTGRES, has_named_search_path: false, tables: vec![table] }
    }

    fn mapping(table: &str, token: &str, decoder: Decoder) -> Mapping {
        Mapping {
            profile: "custom".into(),
            sessions: TableName { schema: None, name: table.into() },
            id: None,
            token: token.into(),
            user: None,
            expires: TimestampColumn { column: "expires".into(), decoder },
            created: None,
            ip: None,
            agent: None,
            users: None,
            accounts: None,
            revoke: RevokeMethod::Delete,
            deleted: None,
            token_prefix: None,
            impersonator: None,
            max_lifetime_s: None,
        }
    }

    #[test]
    fn a_valid_mapping_gets_the_schema_of_its_table() {
        let candidate = check_mapping(&schema(), &mapping("login", "token", Decoder::TimestampUtc)).unwrap();
        assert_eq!(candidate.mapping.sessions.schema.as_deref(), Some("auth"));
    }

    #[test]
    fn a_name_in_several_schemas_off_the_search_path_is_not_guessed() {
        let mut schema = schema();
        let mut other = schema.tables[0].clone();
        other.schema = Some("backup".into());
        schema.tables.push(other);
        let named = |schema: &DatabaseSchema, table: TableName| {
            let mapping = Mapping { sessions: table, ..mapping("login", "token", Decoder::TimestampUtc) };
            check_mapping(schema, &mapping).map(|candidate| candidate.mapping.sessions.schema)
        };
        let bare = TableName { schema: None, name: "login".into() };
        let error = named(&schema, bare.clone()).unwrap_err().to_string();
        assert!(error.contains("qualify the name with one of `auth`, `backup`"), "{error}");
        let missing = TableName { schema: Some("auht".into()), name: "login".into() };
        let error = named(&schema, missing).unwrap_err().to_string();
        assert!(
            error.contains("schema `auht` does not exist, or the role cannot see it (did you mean `auth`?)"),
            "{error}"
        );
        schema.tables[1].search_path_index = Some(0);
        assert_eq!(named(&schema, bare.clone()).unwrap().as_deref(), Some("backup"));
        schema.tables[1].search_path_index = None;
        schema.has_named_search_path = true;
        assert!(named(&schema, bare).is_err(), "tables outside the schemas named in the address are ignored");
    }

    #[test]
    fn each_problem_is_reported_with_a_suggestion() {
        for (table, token, decoder, part) in [
            (
                "logins",
                "token",
                Decoder::TimestampUtc,
                "table `logins` does not exist, or the role cannot see it (did you mean `login`?)",
            ),
            ("login", "tokn", Decoder::TimestampUtc, "no column `tokn` (did you mean `token`?)"),
            ("login", "secret", Decoder::TimestampUtc, "cannot read `login`.`secret`"),
            (
                "login",
                "token",
                Decoder::EpochSeconds,
                "does not fit column `expires` of type timestamp; use timestamp-utc",
            ),
        ] {
            let error = check_mapping(&schema(), &mapping(table, token, decoder)).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
