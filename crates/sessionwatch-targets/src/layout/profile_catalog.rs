//! The catalogue of session stores: one text file a profile, embedded.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use sessionwatch_core::decoder::Decoder;

use crate::databases::ALL_DIALECTS;
use crate::sql::{
    Dialect,
    schema::DatabaseSchema,
    tables::{ColumnInfo, ColumnKind, TableInfo},
};

/// Every embedded profile; the order breaks ties.
const PROFILE_FILES: [(&str, &str); 15] = [
    ("authjs-prisma", include_str!("../../profiles/authjs-prisma.toml")),
    ("authjs-prisma-mapped", include_str!("../../profiles/authjs-prisma-mapped.toml")),
    ("authjs-pg", include_str!("../../profiles/authjs-pg.toml")),
    ("authjs-drizzle", include_str!("../../profiles/authjs-drizzle.toml")),
    ("authjs-kysely", include_str!("../../profiles/authjs-kysely.toml")),
    ("authjs-typeorm", include_str!("../../profiles/authjs-typeorm.toml")),
    ("authjs-supabase", include_str!("../../profiles/authjs-supabase.toml")),
    ("authjs-d1", include_str!("../../profiles/authjs-d1.toml")),
    ("better-auth-kysely", include_str!("../../profiles/better-auth-kysely.toml")),
    ("better-auth-drizzle", include_str!("../../profiles/better-auth-drizzle.toml")),
    ("better-auth-prisma", include_str!("../../profiles/better-auth-prisma.toml")),
    ("authjs", include_str!("../../profiles/authjs.toml")),
    ("authjs-snake-case", include_str!("../../profiles/authjs-snake-case.toml")),
    ("better-auth", include_str!("../../profiles/better-auth.toml")),
    ("better-auth-snake-case", include_str!("../../profiles/better-auth-snake-case.toml")),
];

/// How one framework stores sessions: candidates for each role, first match wins.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Its name, from the file name.
    #[serde(skip)]
    pub name: String,
    /// For people.
    pub title: String,
    /// The framework's default lifetime of a session, in days.
    pub max_lifetime_days: u64,
    /// Schemas it is usually in; empty for no preference.
    pub schemas: Vec<String>,
    /// Usual names of the table.
    pub tables: Vec<String>,
    /// Columns that name a row.
    pub id: Vec<String>,
    /// Columns that hold the token.
    pub token: Vec<String>,
    /// Columns that hold the user.
    pub user: Vec<String>,
    /// Columns that hold the end.
    pub expires: Vec<String>,
    /// Columns that hold the creation.
    pub created: Vec<String>,
    /// Columns that hold the address.
    #[serde(default)]
    pub ip: Vec<String>,
    /// Columns that hold the user agent.
    #[serde(default)]
    pub user_agent: Vec<String>,
    /// Usual names of the table of users.
    pub users: Vec<String>,
    /// Columns that help to recognise a user.
    pub display: Vec<String>,
    /// Usual names of the table of accounts.
    pub accounts: Vec<String>,
    /// Any library may have made the tables: what is taken where no profile is known by certain signs.
    #[serde(default)]
    pub general: bool,
    /// Declared types, by dialect and role, that speak for this profile; alternatives are separated by `|`. All of them
    /// together are a certain sign.
    #[serde(default)]
    pub declared: BTreeMap<String, BTreeMap<String, String>>,
    /// Other certain signs: one of them is enough.
    #[serde(default)]
    pub signs: ProfileSigns,
    /// How ISO text ends on SQLite, where this profile always writes it so.
    #[serde(default)]
    pub iso_ending: Option<String>,
    /// What has to speak for a table besides a token, a user and an expiry.
    #[serde(default)]
    pub corroboration: CorroborationRules,
    /// Tables that say that ending rows does not end every log-in.
    #[serde(default)]
    pub elsewhere: Vec<OtherLoginSign>,
    /// Columns of the table of accounts, by which it is known also without a table of sessions.
    #[serde(default)]
    pub account_columns: Vec<String>,
    /// What removing a row does to the framework.
    #[serde(default)]
    pub effects: String,
    /// What ends log-ins where removing rows does not.
    #[serde(default)]
    pub force_out: String,
    /// Decoder by kind of column; by dialect for all columns of one where that is not said by their kinds.
    pub decoders: BTreeMap<String, String>,
}

/// What only one library makes, in one schema with the sessions.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileSigns {
    /// Tables, in any schema.
    pub tables: Vec<String>,
    /// Indexes of the table of sessions; `{table}` and `{token}` stand for the names.
    pub indexes: Vec<String>,
    /// The same in one dialect only, such as SQLite, where a constraint gives no index a name.
    pub indexes_of: BTreeMap<String, Vec<String>>,
}

/// What has to speak for a table besides a token, a user and an expiry. A profile that says nothing needs nothing.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CorroborationRules {
    /// Columns that every version of the framework has in the table.
    pub columns: Vec<String>,
    /// So many of those have to be there: not all, since some applications rename one.
    pub columns_needed: usize,
    /// How many signs the name of the token's column is worth.
    pub token: u32,
    /// How many signs are needed: the name of the token's column, all of the columns above, a name of sessions, the table of
    /// users, a foreign key to it, the table of accounts.
    pub signs_needed: u32,
}

/// Tables that say that ending rows does not end every log-in.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherLoginSign {
    /// There is one of each of these, by its exact name in the schema of the sessions; alternatives are separated by `|`.
    #[serde(default)]
    pub with: Vec<String>,
    /// There is none with one of these words in its name.
    #[serde(default)]
    pub without: Vec<String>,
    /// What that means.
    pub says: String,
}

/// Why a profile file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("profile `{id}`: {problem}")]
pub struct ProfileError {
    id: String,
    problem: String,
}

impl Profile {
    /// Reads a profile file.
    ///
    /// # Errors
    ///
    /// If it is not TOML, has an unknown or missing key, or names a decoder that does not exist.
    pub fn parse(id: &str, text: &str) -> Result<Self, ProfileError> {
        let fail = |problem: String| ProfileError { id: id.to_owned(), problem };
        let mut table: toml::Table =
            toml::from_str(text).map_err(|error| fail(error.message().to_owned()))?;
        migrate_legacy_keys(&mut table);
        let read = Self::deserialize(table);
        let mut profile = read.map_err(|error| fail(error.message().to_owned()))?;
        if let Some(name) = profile.decoders.values().find(|name| Decoder::parse(name).is_none()) {
            return Err(fail(format!("there is no decoder `{name}`")));
        }
        id.clone_into(&mut profile.name);
        Ok(profile)
    }

    /// The decoder for a column of that kind, if this profile stores instants so.
    #[must_use]
    pub fn decoder_for(&self, dialect: Dialect, column: &ColumnInfo) -> Option<Decoder> {
        let by_kind =
            || if dialect.has_dynamic_types() { None } else { self.decoders.get(decoder_key(column.kind)?) };
        Decoder::parse(self.decoders.get(dialect.name()).or_else(by_kind)?)
    }

    /// What to know before rows are ended, and what to do besides.
    #[must_use]
    pub fn revoke_advice(&self) -> Vec<String> {
        [&self.effects, &self.force_out].into_iter().filter(|text| !text.is_empty()).cloned().collect()
    }

    /// Whether a library is known by certain signs: the types of the columns, another table, an index, or the schema. A
    /// profile that names no sign needs none.
    #[must_use]
    pub fn has_certain_sign(&self, schema: &DatabaseSchema, table: &TableInfo, agreeing: bool) -> bool {
        let signs = &self.signs;
        let of_dialect = signs.indexes_of.get(schema.dialect.name());
        let token = self.token.iter().find(|token| table.column(token).is_some());
        let indexes = signs.indexes.iter().chain(of_dialect.into_iter().flatten());
        let mut indexes = indexes.map(|index| {
            index.replace("{table}", &table.name).replace("{token}", token.map_or("", String::as_str))
        });
        let none = self.declared.is_empty() && self.schemas.is_empty() && signs.tables.is_empty();
        none || agreeing
            || signs.tables.iter().any(|name| schema.tables.iter().any(|other| other.name == *name))
            || indexes.any(|name| table.indexes.iter().any(|index| index.name == name))
    }

    /// Declared types that speak for this profile.
    #[must_use]
    pub fn declared_types(&self, dialect: Dialect) -> &BTreeMap<String, String> {
        static NO_DECLARED_TYPES: BTreeMap<String, String> = BTreeMap::new();
        self.declared.get(dialect.name()).unwrap_or(&NO_DECLARED_TYPES)
    }
}

/// Takes `declared_<dialect>` and `indexes_<dialect>` for the same by dialect, and types without a dialect for PostgreSQL's, as
/// files were written before.
fn migrate_legacy_keys(profile: &mut toml::Table) {
    use toml::{Table, Value};
    if let Some(Value::Table(declared)) = profile.get_mut("declared")
        && declared.values().any(Value::is_str)
    {
        let of_postgres = std::mem::take(declared);
        declared.insert(Dialect::POSTGRES.name().into(), Value::Table(of_postgres));
    }
    let take = |table: &mut Table, key: &str, into: &str| {
        for dialect in ALL_DIALECTS {
            let Some(former) = table.remove(&format!("{key}_{}", dialect.name())) else { continue };
            let by_dialect = table.entry(into).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(by_dialect) = by_dialect {
                by_dialect.insert(dialect.name().into(), former);
            }
        }
    };
    take(profile, "declared", "declared");
    if let Some(Value::Table(signs)) = profile.get_mut("signs") {
        take(signs, "indexes", "indexes_of");
    }
}

/// The key of a decoder for columns of that kind; nothing for those that hold no instant.
fn decoder_key(kind: ColumnKind) -> Option<&'static str> {
    match kind {
        ColumnKind::Timestamptz => Some("timestamptz"),
        ColumnKind::Timestamp => Some("timestamp"),
        ColumnKind::Integer => Some("integer"),
        ColumnKind::Text => Some("text"),
        ColumnKind::Uuid | ColumnKind::Bytes | ColumnKind::Json | ColumnKind::Other => None,
    }
}

/// The embedded profiles.
#[must_use]
pub fn embedded_profiles() -> Vec<Profile> {
    PROFILE_FILES
        .iter()
        .map(|(id, text)| Profile::parse(id, text).expect("embedded profiles are tested"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_profile_reads() {
        assert_eq!(embedded_profiles().len(), PROFILE_FILES.len());
    }

    #[test]
    fn a_profile_is_read_as_it_was_written_before() {
        let (_, text) = PROFILE_FILES[0];
        let former = text
            .replace("declared.postgres = ", "declared = ")
            .replace("declared.sqlite = ", "declared_sqlite = ")
            .replace(
                "indexes_of = { sqlite = [\"{table}_{token}_key\"] }",
                "indexes_sqlite = [\"{table}_{token}_key\"]",
            );
        assert!(
            ["declared = ", "declared_sqlite = ", "indexes_sqlite = "].iter().all(|key| former.contains(key))
        );
        let [now, former] = [text, &former].map(|text| Profile::parse("mine", text).unwrap());
        assert_eq!((now.declared, now.signs.indexes_of), (former.declared, former.signs.indexes_of));
    }

    #[test]
    fn a_faulty_profile_says_what_is_wrong() {
        let (_, text) = PROFILE_FILES[0];
        assert!(
            Profile::parse("mine", &text.replace("timestamp-utc", "lunar"))
                .unwrap_err()
                .to_string()
                .contains("`lunar`")
        );
        assert!(
            Profile::parse("mine", &format!("colour = 1\n{text}"))
                .unwrap_err()
                .to_string()
                .contains("colour")
        );
    }
}
