//! Catalog of profiles: one embedded text file per profile.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use sessionwatch_core::timestamp_decoder::Decoder;

use crate::sql::{
    Dialect,
    database_schema::DatabaseSchema,
    table_info::{ColumnInfo, ColumnKind, TableInfo},
};
use crate::supported_databases::ALL_DIALECTS;

/// Embedded profiles. Their order breaks ties.
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

/// The storage of sessions by one framework. Each role lists candidate columns; the first match wins.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Name, taken from the file name.
    #[serde(skip)]
    pub name: String,
    /// Title for display.
    pub title: String,
    /// Default lifetime of a session, in days.
    pub max_lifetime_days: u64,
    /// Usual schemas; empty for no preference.
    pub schemas: Vec<String>,
    /// Usual names of the session table.
    pub tables: Vec<String>,
    /// Columns that identify a row.
    pub id: Vec<String>,
    /// Token columns.
    pub token: Vec<String>,
    /// User columns.
    pub user: Vec<String>,
    /// Expiry columns.
    pub expires: Vec<String>,
    /// Creation columns.
    pub created: Vec<String>,
    /// IP address columns.
    #[serde(default)]
    pub ip: Vec<String>,
    /// User agent columns.
    #[serde(default)]
    pub user_agent: Vec<String>,
    /// Usual names of the user table.
    pub users: Vec<String>,
    /// Columns that help people recognize a user.
    pub display: Vec<String>,
    /// Usual names of the account table.
    pub accounts: Vec<String>,
    /// `true` for a fallback profile, used if no profile with certain signs matches.
    #[serde(default)]
    pub general: bool,
    /// Declared types by dialect and role; `|` separates alternatives. A table that matches all of them shows
    /// a certain sign.
    #[serde(default)]
    pub declared: BTreeMap<String, BTreeMap<String, String>>,
    /// Further certain signs; one of them is enough.
    #[serde(default)]
    pub signs: ProfileSigns,
    /// Suffix of ISO text on SQLite, if this profile always writes the same.
    #[serde(default)]
    pub iso_ending: Option<String>,
    /// Evidence required in addition to a token, a user and an expiry.
    #[serde(default)]
    pub corroboration: CorroborationRules,
    /// Signs of logins that outlive their rows.
    #[serde(default)]
    pub elsewhere: Vec<OtherLoginSign>,
    /// Columns of the account table, which identify the framework even without a session table.
    #[serde(default)]
    pub account_columns: Vec<String>,
    /// Effect of deleting a row on the framework, for display.
    #[serde(default)]
    pub effects: String,
    /// Advice on ending logins where deleting rows is not enough.
    #[serde(default)]
    pub force_out: String,
    /// Decoder by kind of column, or by dialect for all columns of a database without column types.
    pub decoders: BTreeMap<String, String>,
}

/// Objects that only one library creates.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileSigns {
    /// Table names, in any schema.
    pub tables: Vec<String>,
    /// Indexes of the session table; `{table}` and `{token}` stand for the names.
    pub indexes: Vec<String>,
    /// Further indexes by dialect: on SQLite, for example, a constraint does not name its index.
    pub indexes_of: BTreeMap<String, Vec<String>>,
}

/// Evidence required in addition to a token, a user and an expiry. By default none.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CorroborationRules {
    /// Columns that every version of the framework has in the session table.
    pub columns: Vec<String>,
    /// Number of those columns that must exist; less than all, since some applications rename one.
    pub columns_needed: usize,
    /// Number of signs that the name of the token column is worth.
    pub token: u32,
    /// Number of signs required. Signs are: the name of the token column, all of the columns above, a name
    /// that suggests sessions, a user table, a foreign key to it, an account table.
    pub signs_needed: u32,
}

/// A sign of logins that outlive their rows.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherLoginSign {
    /// Tables that must exist in the schema of the sessions, by exact name; `|` separates alternatives.
    #[serde(default)]
    pub with: Vec<String>,
    /// Words that no table name in the schema may contain.
    #[serde(default)]
    pub without: Vec<String>,
    /// Conclusion, for display.
    pub says: String,
}

/// Reason why a profile file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("profile `{id}`: {problem}")]
pub struct ProfileError {
    id: String,
    problem: String,
}

impl Profile {
    /// Parses a profile file.
    ///
    /// # Errors
    ///
    /// If the text is not TOML, has an unknown or missing key, or names an unknown decoder.
    pub fn parse(id: &str, text: &str) -> Result<Self, ProfileError> {
        let fail = |problem: String| ProfileError { id: id.to_owned(), problem };
        let mut table: toml::Table =
            toml::from_str(text).map_err(|error| fail(error.message().to_owned()))?;
        // Before deserializing, which rejects unknown keys.
        migrate_legacy_keys(&mut table);
        let read = Self::deserialize(table);
        let mut profile = read.map_err(|error| fail(error.message().to_owned()))?;
        if let Some(name) = profile.decoders.values().find(|name| Decoder::parse(name).is_none()) {
            return Err(fail(format!("unknown decoder `{name}`")));
        }
        id.clone_into(&mut profile.name);
        Ok(profile)
    }

    /// Returns the decoder for a column, or `None` if this profile stores no timestamps in columns of that
    /// type.
    #[must_use]
    pub fn decoder_for(&self, dialect: Dialect, column: &ColumnInfo) -> Option<Decoder> {
        let by_kind =
            || if dialect.has_dynamic_types() { None } else { self.decoders.get(decoder_key(column.kind)?) };
        Decoder::parse(self.decoders.get(dialect.name()).or_else(by_kind)?)
    }

    /// Returns advice to read before ending sessions.
    #[must_use]
    pub fn revoke_advice(&self) -> Vec<String> {
        [&self.effects, &self.force_out].into_iter().filter(|text| !text.is_empty()).cloned().collect()
    }

    /// Returns `true` if a certain sign identifies the library: column types, another table, an index, or the
    /// schema. A profile without signs needs none.
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

    /// Returns the declared types that this profile expects.
    #[must_use]
    pub fn declared_types(&self, dialect: Dialect) -> &BTreeMap<String, String> {
        static NO_DECLARED_TYPES: BTreeMap<String, String> = BTreeMap::new();
        self.declared.get(dialect.name()).unwrap_or(&NO_DECLARED_TYPES)
    }
}

/// Converts keys of older profile files: `declared_<dialect>` and `indexes_<dialect>` become tables by
/// dialect, and types without a dialect become PostgreSQL's.
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

/// Returns the key of the decoder for a kind of column, or `None` if such columns hold no timestamps.
fn decoder_key(kind: ColumnKind) -> Option<&'static str> {
    match kind {
        ColumnKind::Timestamptz => Some("timestamptz"),
        ColumnKind::Timestamp => Some("timestamp"),
        ColumnKind::Integer => Some("integer"),
        ColumnKind::Text => Some("text"),
        ColumnKind::Uuid | ColumnKind::Bytes | ColumnKind::Json | ColumnKind::Other => None,
    }
}

/// Returns the embedded profiles.
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
    fn every_embedded_profile_parses() {
        assert_eq!(embedded_profiles().len(), PROFILE_FILES.len());
    }

    #[test]
    fn older_profile_files_still_parse() {
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
    fn an_invalid_profile_is_rejected_with_the_reason() {
        let (_, text) = PROFILE_FILES[0];
        assert!(
            Profile::parse("mine", &text.replace("timestamp-utc", "lunar"))
                .unwrap_err()
                .to_string()
                .contains("`lunar`")
        );
        assert!(
            Profile::parse("mine", &format!("color = 1\n{text}")).unwrap_err().to_string().contains("color")
        );
    }
}
