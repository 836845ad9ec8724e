//! Near misses: tables to mention when no session table was found, and configuration lines for known stores.

use std::{collections::BTreeMap, sync::OnceLock};

use serde::Deserialize;
use sessionwatch_core::timestamp_decoder::Decoder;

use super::{
    detect::RuledOutTable,
    profile_catalog::Profile,
    table_classification::{self, TableNameMeaning},
};
use crate::sql::{
    Dialect,
    database_schema::DatabaseSchema,
    table_info::{ColumnInfo, ColumnKind, TableInfo},
};

pub use crate::error::DetectionFailure;

const OTHER_STORES_TOML: &str = include_str!("../../profiles/lists/other-stores.toml");
/// Maximum number of tables named.
const MAX_NAMED_TABLES: usize = 3;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KnownStores {
    store: Vec<KnownStore>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KnownStore {
    title: String,
    columns: Vec<String>,
    #[serde(default)]
    called_sessions: bool,
    id: Option<String>,
    token: Option<String>,
    token_prefix: Option<String>,
    user: Option<String>,
    expires: Option<String>,
    created: Option<String>,
    /// Decoder of the expiry by dialect, where the type of the column does not determine it.
    #[serde(default)]
    decoders: BTreeMap<String, String>,
}

/// Returns the tables that come close to a session table.
#[must_use]
pub fn find_near_misses(
    schema: &DatabaseSchema,
    catalogue: &[Profile],
    ruled_out: &[RuledOutTable],
) -> DetectionFailure {
    let mut missed = DetectionFailure::default();
    let stored = schema.tables.iter().find_map(|table| {
        let store = load_known_stores().iter().find(|store| store.matches_table(table))?;
        Some((table, store))
    });
    if let Some((table, store)) = stored {
        missed.near_misses.push(store.describe_match(table));
        missed.config_lines = store.config_lines(schema, table).unwrap_or_default();
    }
    missed.near_misses.extend(ruled_out.iter().map(|table| format!("`{}` {}", table.table, table.reason)));
    missed.near_misses.extend(find_framework_without_sessions(schema, catalogue));
    // Incomplete tables are vague evidence, so they are mentioned only if nothing better was found.
    if missed.near_misses.is_empty() {
        missed.near_misses = find_incomplete_tables(schema, catalogue);
    }
    if missed.near_misses.len() > MAX_NAMED_TABLES {
        let more = missed.near_misses.len() - MAX_NAMED_TABLES;
        missed.near_misses.truncate(MAX_NAMED_TABLES);
        missed.near_misses.push(format!("{more} more near misses"));
    }
    missed
}

fn load_known_stores() -> &'static [KnownStore] {
    static PARSED_STORES: OnceLock<KnownStores> = OnceLock::new();
    &PARSED_STORES
        .get_or_init(|| toml::from_str(OTHER_STORES_TOML).expect("the embedded list is tested"))
        .store
}

impl KnownStore {
    fn matches_table(&self, table: &TableInfo) -> bool {
        self.columns.iter().all(|column| table.column(column).is_some())
            && (!self.called_sessions
                || table_classification::classify_table_name(&table.name) == TableNameMeaning::Sessions)
    }

    fn describe_match(&self, table: &TableInfo) -> String {
        match self.expires {
            Some(_) => format!("`{}` has the columns of {}", qualified_name(table), self.title),
            None => format!(
                "`{}` has the columns of {}, which stores when a session was last used, not when it expires",
                qualified_name(table),
                self.title
            ),
        }
    }

    fn config_lines(&self, schema: &DatabaseSchema, table: &TableInfo) -> Option<Vec<String>> {
        let (token, expires) = (self.token.as_ref()?, table.column(self.expires.as_ref()?)?);
        let decoder = decoder_by_type(schema.dialect, expires)
            // SQLite columns have no types that would reveal the format.
            .or_else(|| self.decoders.get(schema.dialect.name()).map(String::as_str))?;
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let line = |key: &str, value: &str| format!("{key} = {}", quoted(value));
        let mut lines = vec![
            "[target.mapping]".to_owned(),
            line("sessions", &qualified_name(table)),
            line("token", token),
            line("expires", &expires.name),
            line("decoder", decoder),
        ];
        let there = |column: &&String| table.column(column).is_some();
        lines.extend(self.token_prefix.as_ref().map(|prefix| line("token_prefix", prefix)));
        lines.extend(self.id.as_ref().map(|id| line("id", id)));
        lines.extend(self.user.as_ref().map(|user| line("user", user)));
        lines.extend(self.created.as_ref().filter(there).map(|created| line("created", created)));
        let key = self.user.as_ref().and_then(|user| table.foreign_key_on(user));
        if let Some(key) = key {
            let users = schema.find_table(key.target_schema.as_deref(), &key.target_table)?;
            lines.push(line("users", &qualified_name(users)));
            lines.extend(key.target_columns.first().map(|column| line("users_key", column)));
        }
        Some(lines)
    }
}

/// Returns the decoder that follows from the type of an expiry column.
fn decoder_by_type(dialect: Dialect, column: &ColumnInfo) -> Option<&'static str> {
    if dialect.has_dynamic_types() {
        return None;
    }
    let decoder = match column.kind {
        ColumnKind::Timestamptz => Decoder::Timestamptz,
        ColumnKind::Timestamp => Decoder::TimestampUtc,
        ColumnKind::Integer => Decoder::EpochSeconds,
        ColumnKind::Text => Decoder::IsoText,
        ColumnKind::Uuid | ColumnKind::Bytes | ColumnKind::Json | ColumnKind::Other => return None,
    };
    Some(decoder.name())
}

fn qualified_name(table: &TableInfo) -> String {
    match &table.schema {
        Some(schema) => format!("{schema}.{}", table.name),
        None => table.name.clone(),
    }
}

/// Describes a framework whose user and account tables exist without a session table.
fn find_framework_without_sessions(schema: &DatabaseSchema, catalogue: &[Profile]) -> Option<String> {
    let (profile, users, accounts) = catalogue.iter().find_map(|profile| {
        let named = |names: &[String], table: &TableInfo| names.contains(&table.name);
        let accounts = schema.tables.iter().find(|table| {
            let has = |column: &String| table.column(column).is_some();
            named(&profile.accounts, table)
                && !profile.account_columns.is_empty()
                && profile.account_columns.iter().all(has)
        })?;
        let beside = |table: &&TableInfo| table.schema == accounts.schema && named(&profile.users, table);
        Some((profile, schema.tables.iter().find(beside)?, accounts))
    })?;
    let framework = profile.title.split(" with ").next().unwrap_or(&profile.title);
    Some(format!(
        "the tables `{}` and `{}` of {framework} exist without a session table, as with secondaryStorage: \
         this database holds no sessions to monitor",
        qualified_name(users),
        qualified_name(accounts)
    ))
}

/// Describes tables with the name of sessions that lack a token, a user or an expiry column.
fn find_incomplete_tables(schema: &DatabaseSchema, catalogue: &[Profile]) -> Vec<String> {
    let called = |table: &&TableInfo| {
        table_classification::classify_table_name(&table.name) == TableNameMeaning::Sessions
    };
    let mut seen = Vec::new();
    for table in schema.tables.iter().filter(called) {
        let roles = |profile: &Profile| {
            let has = |names: &[String]| names.iter().any(|name| table.column(name).is_some());
            [("token", &profile.token), ("user", &profile.user), ("expiry", &profile.expires)]
                .map(|(role, names)| (role, names.clone(), has(names)))
        };
        let nearest = catalogue.iter().map(|profile| (profile, roles(profile)));
        // The profile with the most matching roles explains best what is missing.
        let nearest = nearest.max_by_key(|(_, roles)| roles.iter().filter(|(.., has)| *has).count());
        let Some((profile, roles)) = nearest else { continue };
        let missing: Vec<String> = roles
            .iter()
            .filter(|(.., has)| !has)
            .map(|(role, names, _)| format!("the {role} column (`{}`)", names.join("` or `")))
            .collect();
        seen.push(format!(
            "`{}` looks like a session table, but lacks {} of the profile \"{}\"",
            qualified_name(table),
            missing.join(" and "),
            profile.title
        ));
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supported_databases::ALL_DIALECTS;

    #[test]
    fn the_list_of_stores_parses_and_its_decoders_exist() {
        for store in load_known_stores() {
            let is_known = |dialect: &String| ALL_DIALECTS.iter().any(|known| known.name() == dialect);
            assert!(store.decoders.keys().all(is_known), "{}", store.title);
            assert!(store.decoders.values().all(|name| Decoder::parse(name).is_some()), "{}", store.title);
            assert_eq!(store.expires.is_some(), store.token.is_some(), "{}", store.title);
        }
    }
}
