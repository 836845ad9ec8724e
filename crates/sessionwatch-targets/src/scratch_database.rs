//! Scratch databases: made beside a target for a while, filled with a sample of its sessions without their tokens, and
//! removed.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, RandomState},
    path::{Path, PathBuf},
};

use sessionwatch_core::instant::{Instant, MICROS_PER_DAY};

use super::{
    address::Address,
    backend::{DatabaseAddress as _, NamedDatabase},
    databases::each,
    layout::Layout,
    listing::Line,
    mapping::{Mapping, TableName},
    sql::{self, Dialect, drop_database, identifier, stored_timestamp, string, tables::ColumnKind},
};
pub use super::{backend::ScratchError, sql::drop_database as drop_statement};

/// A sample of the sessions of a target.
#[derive(Clone, Debug)]
pub struct SessionSample {
    /// How they are stored.
    pub layout: Layout,
    /// The sessions, without their tokens.
    pub lines: Vec<Line>,
}

/// What fills a scratch database.
#[derive(Clone, Debug)]
pub struct SampleScript {
    /// The statements.
    statements: String,
    /// The users whose sessions share a token in it.
    pub affected: BTreeSet<String>,
}

/// A scratch database that is to be made.
#[derive(Clone, Debug)]
pub enum ScratchPlace {
    /// On the server of that address, under that name.
    Server {
        /// The address of a database on that server, with a role that may make others.
        admin: Address,
        /// The name.
        name: String,
    },
    /// A file.
    File(PathBuf),
}

impl ScratchPlace {
    /// Where a scratch database for that target is made: on its server, or as a file in a folder.
    #[must_use]
    pub fn beside(target: &Address, admin: &Address, folder: &Path, name: &str) -> Self {
        match each!(target, Address, address => address.scratch_file(folder, name)) {
            Some(path) => Self::File(path),
            None => Self::Server { admin: admin.clone(), name: name.to_owned() },
        }
    }

    /// Makes the database and fills it. The comment on it is for those who find it.
    ///
    /// # Errors
    ///
    /// If it may not be made, or the statements fail.
    pub async fn create(&self, script: &SampleScript, comment: &str) -> Result<Address, ScratchError> {
        let (mut address, name) = match self {
            Self::File(path) => (Address::of_file(path.clone()), ""),
            Self::Server { admin, name } => (admin.clone(), name.as_str()),
        };
        each!(&address, Address, one => one.create_scratch(name, &script.statements, comment).await)?;
        each!(&mut address, Address, one => one.select_database(name));
        Ok(address)
    }

    /// Removes a database from a server. Returns `false` if it may still be there. A file is removed by whoever made it.
    pub async fn drop_database(&self) -> bool {
        match self {
            Self::File(_) => true,
            Self::Server { admin, name } => {
                each!(admin, Address, address => address.drop_scratch(name).await)
            }
        }
    }

    /// What a person does to remove it from a server; `None` for a file.
    #[must_use]
    pub fn by_hand(&self) -> Option<String> {
        match self {
            Self::File(_) => None,
            Self::Server { admin, name } => Some(format!("{} on {admin}", drop_database(name))),
        }
    }
}

/// The databases on the server of an address whose names begin so; none where it is not a server, or does not answer.
pub async fn list(admin: &Address, prefix: &str) -> Vec<NamedDatabase> {
    each!(admin, Address, address => address.databases(prefix).await)
}

/// Removes a database that nobody is connected to: whether that was possible.
pub async fn drop_unused(admin: &Address, name: &str) -> bool {
    each!(admin, Address, address => address.drop_unused(name).await)
}

impl SessionSample {
    fn mapping(&self) -> &Mapping {
        &self.layout.candidate.mapping
    }

    fn dialect(&self) -> Dialect {
        self.layout.schema.dialect
    }

    /// The statements that make a database with the sample and with two sessions that share a token; `None` if it does not have
    /// sessions of two users.
    #[must_use]
    pub fn script(&self, now: i64) -> Option<SampleScript> {
        let mapping = self.mapping();
        let mut users: Vec<&Line> = Vec::new();
        for line in &self.lines {
            if line.user.is_some() && users.iter().all(|other| other.user != line.user) {
                users.push(line);
            }
        }
        let (first, second) = (*users.first()?, *users.get(1)?);
        let mut script = String::new();
        let tables = [Some(&mapping.sessions), mapping.users.as_ref().map(|users| &users.table)];
        let schemas: BTreeSet<&str> =
            tables.into_iter().flatten().filter_map(|table| table.schema.as_deref()).collect();
        for schema in schemas.into_iter().filter(|schema| *schema != "public") {
            script.push_str(&format!("CREATE SCHEMA {};\n", identifier(schema)));
        }
        if let Some(known) = &mapping.users {
            let columns: Vec<&str> =
                [&known.key].into_iter().chain(&known.display).map(String::as_str).collect();
            script.push_str(&self.table(&known.table, &columns, &known.key));
            for line in &users {
                let values =
                    [&line.user].into_iter().chain(&line.display).map(|value| self.literal(value.as_deref()));
                let values: Vec<String> = values.collect();
                script.push_str(&format!(
                    "INSERT INTO {} VALUES ({});\n",
                    sql::table(&known.table),
                    values.join(", ")
                ));
            }
        }
        let columns = self.columns();
        script.push_str(&self.table(&mapping.sessions, &columns, mapping.id.as_deref().unwrap_or_default()));
        for line in &self.lines {
            script.push_str(&self.insert(line, &self.token()));
        }
        let end = Instant::from_micros(now + MICROS_PER_DAY);
        let leaked = self.token();
        for (number, line) in [(1, first), (2, second)] {
            let line = Line { id: Some(self.new_id(number)), expires_at: end, ..line.clone() };
            script.push_str(&self.insert(&line, &leaked));
        }
        let affected = [first, second].into_iter().filter_map(|line| line.user.clone()).collect();
        Some(SampleScript { statements: script, affected })
    }

    fn columns(&self) -> Vec<&str> {
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

    fn table(&self, name: &TableName, columns: &[&str], key: &str) -> String {
        let declared = |column: &&str| {
            let found = self.layout.schema.table(name).and_then(|table| table.column(column));
            let kind = found.map_or("text", |column| column.declared.as_str());
            let key = if *column == key { " PRIMARY KEY" } else { "" };
            format!("{} {kind}{key}", identifier(column))
        };
        let columns: Vec<String> = columns.iter().map(declared).collect();
        format!("CREATE TABLE {} ({});\n", sql::table(name), columns.join(", "))
    }

    fn insert(&self, line: &Line, token: &str) -> String {
        let mapping = self.mapping();
        let mut values: Vec<String> = mapping.id.iter().map(|_| self.literal(line.id.as_deref())).collect();
        values.push(self.literal(Some(token)));
        values.extend(mapping.user.iter().map(|_| self.literal(line.user.as_deref())));
        let stored = |at: Option<_>, decoder| at.map(|at| stored_timestamp(decoder, at));
        let instant = |value: Option<String>| match value {
            // SQLite keeps what it is given, and numbers are numbers.
            Some(text) if self.dialect().has_dynamic_types() && text.parse::<i64>().is_ok() => text,
            value => self.literal(value.as_deref()),
        };
        values.push(instant(stored(line.expires_at, mapping.expires.decoder)));
        values.extend(
            mapping.created.as_ref().map(|created| instant(stored(line.created_at, created.decoder))),
        );
        values.extend(mapping.ip.iter().map(|_| self.literal(line.ip.as_deref())));
        values.extend(mapping.agent.iter().map(|_| self.literal(line.agent.as_deref())));
        format!("INSERT INTO {} VALUES ({});\n", sql::table(&mapping.sessions), values.join(", "))
    }

    fn literal(&self, value: Option<&str>) -> String {
        value.map_or_else(|| "NULL".into(), |value| string(self.dialect(), value))
    }

    fn kind(&self, column: &str) -> ColumnKind {
        self.layout.schema.kind(&self.mapping().sessions, column)
    }

    /// A token that nobody was ever given.
    fn token(&self) -> String {
        let [high, low] = [1, 2].map(|turn| RandomState::new().hash_one(turn));
        let hex = format!("{high:016x}{low:016x}");
        match self.kind(&self.mapping().token) {
            ColumnKind::Bytes => format!("\\x{hex}"),
            _ => {
                format!("{}-{}-4{}-9{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
            }
        }
    }

    fn new_id(&self, number: u64) -> String {
        match self.mapping().id.as_deref().map(|id| self.kind(id)) {
            Some(ColumnKind::Integer) => (2_000_000_000 + number).to_string(),
            Some(ColumnKind::Uuid) => format!("00000000-0000-4000-8000-{number:012}"),
            _ => format!("drill-{number}"),
        }
    }
}
