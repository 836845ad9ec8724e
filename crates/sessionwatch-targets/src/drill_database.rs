//! Scratch databases for drills: created beside a target, filled with a sample of its sessions without their
//! tokens, and dropped afterwards.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, RandomState},
    path::{Path, PathBuf},
};

use sessionwatch_core::timestamp::{MICROS_PER_DAY, UtcTimestamp};

use super::{
    address::TargetAddress,
    backend::{DatabaseAddress as _, NamedDatabase},
    layout::Layout,
    listing::ListedSession,
    mapping::{Mapping, TableName},
    sql::{
        self, Dialect, drop_database_statement, encode_timestamp, quote_identifier, quote_string,
        table_info::ColumnKind,
    },
    supported_databases::each,
};
pub use super::{backend::ScratchError, sql::drop_database_statement as drop_statement};

/// A sample of the sessions of a target.
#[derive(Clone, Debug)]
pub struct SessionSample {
    /// Layout of the target.
    pub layout: Layout,
    /// The sessions, without their tokens.
    pub sessions: Vec<ListedSession>,
}

/// Script that fills a scratch database.
#[derive(Clone, Debug)]
pub struct SampleScript {
    statements: String,
    /// Users whose sessions share a token in the scratch database.
    pub affected_users: BTreeSet<String>,
}

/// Location of a scratch database to create.
#[derive(Clone, Debug)]
pub enum ScratchLocation {
    /// A new database on the server of an address.
    Server {
        /// Address of a database on that server, with a role that may create databases.
        admin: TargetAddress,
        /// Name of the new database.
        name: String,
    },
    /// A new file.
    File(PathBuf),
}

impl ScratchLocation {
    /// Returns the location for a target: on its server, or as a file in a folder.
    #[must_use]
    pub fn beside_target(target: &TargetAddress, admin: &TargetAddress, folder: &Path, name: &str) -> Self {
        match each!(target, TargetAddress, address => address.scratch_file_path(folder, name)) {
            Some(path) => Self::File(path),
            None => Self::Server { admin: admin.clone(), name: name.to_owned() },
        }
    }

    /// Creates the database and fills it. The comment explains the database to anyone who finds it.
    ///
    /// # Errors
    ///
    /// If the database cannot be created, or the statements fail.
    pub async fn create_database(
        &self,
        script: &SampleScript,
        comment: &str,
    ) -> Result<TargetAddress, ScratchError> {
        let (mut address, name) = match self {
            Self::File(path) => (TargetAddress::from_file_path(path.clone()), ""),
            Self::Server { admin, name } => (admin.clone(), name.as_str()),
        };
        each!(&address, TargetAddress, one => one.create_scratch_database(name, &script.statements, comment).await)?;
        // The statements ran in the new database; the caller connects there too.
        each!(&mut address, TargetAddress, one => one.select_database(name));
        Ok(address)
    }

    /// Drops the database from its server. Returns `false` if the database may still exist. A file is left to
    /// its creator.
    pub async fn drop_database(&self) -> bool {
        match self {
            Self::File(_) => true,
            Self::Server { admin, name } => {
                each!(admin, TargetAddress, address => address.drop_scratch_database(name).await)
            }
        }
    }

    /// Returns the statement that drops the database by hand, or `None` for a file.
    #[must_use]
    pub fn manual_removal(&self) -> Option<String> {
        match self {
            Self::File(_) => None,
            Self::Server { admin, name } => Some(format!("{} on {admin}", drop_database_statement(name))),
        }
    }
}

/// Returns the databases on the server of an address whose names start with the prefix; none if the server is
/// unreachable, or for a file.
pub async fn list_databases(admin: &TargetAddress, prefix: &str) -> Vec<NamedDatabase> {
    each!(admin, TargetAddress, address => address.list_databases(prefix).await)
}

/// Drops a database without connected clients. Returns `false` if the server refuses.
pub async fn drop_unused_database(admin: &TargetAddress, name: &str) -> bool {
    each!(admin, TargetAddress, address => address.drop_unused_database(name).await)
}

impl SessionSample {
    fn mapping(&self) -> &Mapping {
        &self.layout.candidate.mapping
    }

    fn dialect(&self) -> Dialect {
        self.layout.schema.dialect
    }

    /// Builds the statements that create the sample and add two sessions with a shared token. Returns `None`
    /// if the sample has sessions of fewer than two users.
    #[must_use]
    pub fn build_script(&self, now: i64) -> Option<SampleScript> {
        let mapping = self.mapping();
        let mut users: Vec<&ListedSession> = Vec::new();
        for line in &self.sessions {
            if line.user.is_some() && users.iter().all(|other| other.user != line.user) {
                users.push(line);
            }
        }
        let (first, second) = (*users.first()?, *users.get(1)?);
        let mut statements = String::new();
        let tables = [Some(&mapping.sessions), mapping.users.as_ref().map(|users| &users.table)];
        let schemas: BTreeSet<&str> =
            tables.into_iter().flatten().filter_map(|table| table.schema.as_deref()).collect();
        // Every new database has the schema `public` already.
        for schema in schemas.into_iter().filter(|schema| *schema != "public") {
            statements.push_str(&format!("CREATE SCHEMA {};\n", quote_identifier(schema)));
        }
        if let Some(known) = &mapping.users {
            let columns: Vec<&str> =
                [&known.key].into_iter().chain(&known.display).map(String::as_str).collect();
            statements.push_str(&self.create_table_statement(&known.table, &columns, &known.key));
            for line in &users {
                let values = [&line.user]
                    .into_iter()
                    .chain(&line.display)
                    .map(|value| self.quote_value(value.as_deref()));
                let values: Vec<String> = values.collect();
                statements.push_str(&format!(
                    "INSERT INTO {} VALUES ({});\n",
                    sql::quote_table(&known.table),
                    values.join(", ")
                ));
            }
        }
        let columns = self.session_columns();
        statements.push_str(&self.create_table_statement(
            &mapping.sessions,
            &columns,
            mapping.id.as_deref().unwrap_or_default(),
        ));
        for line in &self.sessions {
            statements.push_str(&self.insert_statement(line, &self.random_token()));
        }
        let end = UtcTimestamp::from_micros(now + MICROS_PER_DAY);
        // The simulated leak: one token on sessions of two users.
        let leaked = self.random_token();
        for (number, line) in [(1, first), (2, second)] {
            let line = ListedSession { id: Some(self.session_id(number)), expires_at: end, ..line.clone() };
            statements.push_str(&self.insert_statement(&line, &leaked));
        }
        let affected_users = [first, second].into_iter().filter_map(|line| line.user.clone()).collect();
        Some(SampleScript { statements, affected_users })
    }

    fn session_columns(&self) -> Vec<&str> {
        let mapping = self.mapping();
        let mut columns: Vec<&str> = mapping.id.iter().map(String::as_str).collect();
        columns.push(&mapping.token);
        columns.extend(mapping.user.as_deref());
        columns.push(&mapping.expires.column);
        columns.extend(mapping.created.as_ref().map(|created| created.column.as_str()));
        columns.extend(mapping.ip.as_deref());
        columns.extend(mapping.agent.as_deref());
        columns
    }

    fn create_table_statement(&self, name: &TableName, columns: &[&str], key: &str) -> String {
        let declared = |column: &&str| {
            let found = self.layout.schema.table(name).and_then(|table| table.column(column));
            let kind = found.map_or("text", |column| column.declared_type.as_str());
            let key = if *column == key { " PRIMARY KEY" } else { "" };
            format!("{} {kind}{key}", quote_identifier(column))
        };
        let columns: Vec<String> = columns.iter().map(declared).collect();
        format!("CREATE TABLE {} ({});\n", sql::quote_table(name), columns.join(", "))
    }

    fn insert_statement(&self, line: &ListedSession, token: &str) -> String {
        let mapping = self.mapping();
        let mut values: Vec<String> =
            mapping.id.iter().map(|_| self.quote_value(line.id.as_deref())).collect();
        values.push(self.quote_value(Some(token)));
        values.extend(mapping.user.iter().map(|_| self.quote_value(line.user.as_deref())));
        let stored = |at: Option<_>, decoder| at.map(|at| encode_timestamp(decoder, at));
        let instant = |value: Option<String>| match value {
            // SQLite stores values as given, so a number must be written without quotes.
            Some(text) if self.dialect().has_dynamic_types() && text.parse::<i64>().is_ok() => text,
            value => self.quote_value(value.as_deref()),
        };
        values.push(instant(stored(line.expires_at, mapping.expires.decoder)));
        values.extend(
            mapping.created.as_ref().map(|created| instant(stored(line.created_at, created.decoder))),
        );
        values.extend(mapping.ip.iter().map(|_| self.quote_value(line.ip.as_deref())));
        values.extend(mapping.agent.iter().map(|_| self.quote_value(line.agent.as_deref())));
        format!("INSERT INTO {} VALUES ({});\n", sql::quote_table(&mapping.sessions), values.join(", "))
    }

    fn quote_value(&self, value: Option<&str>) -> String {
        value.map_or_else(|| "NULL".into(), |value| quote_string(self.dialect(), value))
    }

    fn column_kind(&self, column: &str) -> ColumnKind {
        self.layout.schema.column_kind(&self.mapping().sessions, column)
    }

    /// Returns a token that no user was ever given.
    fn random_token(&self) -> String {
        let [high, low] = [1, 2].map(|turn| RandomState::new().hash_one(turn));
        let hex = format!("{high:016x}{low:016x}");
        match self.column_kind(&self.mapping().token) {
            // PostgreSQL's hex format for bytea.
            ColumnKind::Bytes => format!("\\x{hex}"),
            _ => {
                format!("{}-{}-4{}-9{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
            }
        }
    }

    fn session_id(&self, number: u64) -> String {
        match self.mapping().id.as_deref().map(|id| self.column_kind(id)) {
            // Near the maximum of a 4-byte integer, so that sampled ids do not collide.
            Some(ColumnKind::Integer) => (2_000_000_000 + number).to_string(),
            Some(ColumnKind::Uuid) => format!("00000000-0000-4000-8000-{number:012}"),
            _ => format!("drill-{number}"),
        }
    }
}
