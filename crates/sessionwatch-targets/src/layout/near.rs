//! Near misses: what is said where no table of sessions was recognised, and what to write for a store that is known.

use std::{collections::BTreeMap, fmt::Write as _, sync::OnceLock};

use serde::Deserialize;
use sessionwatch_core::decoder::Decoder;

use super::{
    catalogue::Profile,
    detect::RuledOut,
    names::{self, Says},
};
use crate::sql::{
    Dialect,
    schema::Schema,
    tables::{Column, ColumnKind, Table},
};

pub use crate::error::Missed;

const STORES: &str = include_str!("../../profiles/lists/other-stores.toml");
/// Tables that are named.
const NAMED: usize = 3;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stores {
    store: Vec<Store>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Store {
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
    /// How the expiry is read where the type of its column does not say it, by dialect.
    #[serde(default)]
    decoders: BTreeMap<String, String>,
}

/// Returns what was seen instead of a table of sessions.
#[must_use]
pub fn misses(schema: &Schema, catalogue: &[Profile], ruled_out: &[RuledOut]) -> Missed {
    let mut missed = Missed::default();
    let stored = schema.tables.iter().find_map(|table| {
        let store = stores().iter().find(|store| store.fits(table))?;
        Some((table, store))
    });
    if let Some((table, store)) = stored {
        missed.seen.push(store.says(table));
        missed.lines = store.lines(schema, table).unwrap_or_default();
    }
    missed.seen.extend(ruled_out.iter().map(|table| format!("`{}` {}", table.table, table.why)));
    missed.seen.extend(without_sessions(schema, catalogue));
    if missed.seen.is_empty() {
        missed.seen = incomplete(schema, catalogue);
    }
    if missed.seen.len() > NAMED {
        let more = missed.seen.len() - NAMED;
        missed.seen.truncate(NAMED);
        missed.seen.push(format!("{more} more tables are near misses"));
    }
    missed
}

fn stores() -> &'static [Store] {
    static READ: OnceLock<Stores> = OnceLock::new();
    &READ.get_or_init(|| toml::from_str(STORES).expect("the embedded list is tested")).store
}

impl Store {
    fn fits(&self, table: &Table) -> bool {
        self.columns.iter().all(|column| table.column(column).is_some())
            && (!self.called_sessions || names::says(&table.name) == Says::Sessions)
    }

    fn says(&self, table: &Table) -> String {
        match self.expires {
            Some(_) => format!("`{}` has the columns of {}", name(table), self.title),
            None => format!(
                "`{}` has the columns of {}, which stores when a session was last used and not when it ends",
                name(table),
                self.title
            ),
        }
    }

    fn lines(&self, schema: &Schema, table: &Table) -> Option<Vec<String>> {
        let (token, expires) = (self.token.as_ref()?, table.column(self.expires.as_ref()?)?);
        let decoder = decoder(schema.dialect, expires)
            .or_else(|| self.decoders.get(schema.dialect.name()).map(String::as_str))?;
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let line = |key: &str, value: &str| format!("{key} = {}", quoted(value));
        let mut lines = vec![
            "[target.mapping]".to_owned(),
            line("sessions", &name(table)),
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
            let users = schema.find(key.target_schema.as_deref(), &key.target_table)?;
            lines.push(line("users", &name(users)));
            lines.extend(key.target_columns.first().map(|column| line("users_key", column)));
        }
        Some(lines)
    }
}

/// How an expiry of that type is read, if the type says it.
fn decoder(dialect: Dialect, column: &Column) -> Option<&'static str> {
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

fn name(table: &Table) -> String {
    match &table.schema {
        Some(schema) => format!("{schema}.{}", table.name),
        None => table.name.clone(),
    }
}

/// A framework whose users and accounts are here, and whose sessions are not.
fn without_sessions(schema: &Schema, catalogue: &[Profile]) -> Option<String> {
    let (profile, users, accounts) = catalogue.iter().find_map(|profile| {
        let named = |names: &[String], table: &Table| names.contains(&table.name);
        let accounts = schema.tables.iter().find(|table| {
            let has = |column: &String| table.column(column).is_some();
            named(&profile.accounts, table)
                && !profile.account_columns.is_empty()
                && profile.account_columns.iter().all(has)
        })?;
        let beside = |table: &&Table| table.schema == accounts.schema && named(&profile.users, table);
        Some((profile, schema.tables.iter().find(beside)?, accounts))
    })?;
    let framework = profile.title.split(" with ").next().unwrap_or(&profile.title);
    Some(format!(
        "the tables `{}` and `{}` of {framework} are here without a table of sessions, as where secondaryStorage holds the sessions: there is nothing in this database to watch",
        name(users),
        name(accounts)
    ))
}

/// Tables that have a token and an expiry or a user, by the columns of some profile.
fn incomplete(schema: &Schema, catalogue: &[Profile]) -> Vec<String> {
    let called = |table: &&Table| names::says(&table.name) == Says::Sessions;
    let mut seen = Vec::new();
    for table in schema.tables.iter().filter(called) {
        let roles = |profile: &Profile| {
            let has = |names: &[String]| names.iter().any(|name| table.column(name).is_some());
            [("a token", &profile.token), ("a user", &profile.user), ("an expiry", &profile.expires)]
                .map(|(role, names)| (role, names.clone(), has(names)))
        };
        let nearest = catalogue.iter().map(|profile| (profile, roles(profile)));
        let nearest = nearest.max_by_key(|(_, roles)| roles.iter().filter(|(.., has)| *has).count());
        let Some((profile, roles)) = nearest else { continue };
        let mut text = format!("`{}` is called like sessions, but", name(table));
        let missing: Vec<String> = roles
            .iter()
            .filter(|(.., has)| !has)
            .map(|(role, names, _)| format!("{role} (`{}`)", names.join("` or `")))
            .collect();
        // Writing to a String cannot fail.
        let _ = write!(text, " has no column of {}, as {} would have", missing.join(" and "), profile.title);
        seen.push(text);
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::databases::DIALECTS;

    #[test]
    fn the_list_of_stores_reads_and_its_decoders_exist() {
        for store in stores() {
            let is_known = |dialect: &String| DIALECTS.iter().any(|known| known.name() == dialect);
            assert!(store.decoders.keys().all(is_known), "{}", store.title);
            assert!(store.decoders.values().all(|name| Decoder::parse(name).is_some()), "{}", store.title);
            assert_eq!(store.expires.is_some(), store.token.is_some(), "{}", store.title);
        }
    }
}
