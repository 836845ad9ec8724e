//! A drill: the schema and a sample of the sessions in a database of its own, with a leak in it. No token is copied: the
//! sample gets new ones.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, RandomState},
    path::{Path, PathBuf},
};

use sessionwatch_rules::instant::DAY;

use crate::{
    actions::{ActError, Context, applying, view},
    config::{Storage, Target},
    open::{Access, open_at},
    profile::{
        mapping::{Mapping, TableName},
        schema::{ColumnKind, Dialect, Schema},
    },
    store::{Place, Store},
    target::{
        address::Address,
        error::TargetError,
        observe::{self, Line},
        postgres::Link,
        sql::{self, List, identifier, string},
    },
};

/// Sessions of the sample.
const SAMPLE: usize = 500;

/// A database for a drill.
pub struct Scratch {
    /// As a target.
    pub target: Target,
    /// Where its plans and archives are.
    pub store: Store,
    /// The users who share a token.
    pub affected: BTreeSet<String>,
    files: Vec<PathBuf>,
    server: Option<(Address, String)>,
}

/// What is taken from the target: how it stores sessions, and some of them without their tokens.
struct Sample {
    schema: Schema,
    mapping: Mapping,
    lines: Vec<Line>,
}

/// Makes a database for a drill, in that folder or on the server of the target.
///
/// # Errors
///
/// If the target cannot be looked at, has no sessions of two users, or its server lets no database be made.
pub async fn prepare(context: Context<'_>, folder: &Path) -> Result<Scratch, ActError> {
    let sample = sample(context).await?;
    let name = format!("sessionwatch_drill_{:08x}", RandomState::new().hash_one(SAMPLE) >> 32);
    let (script, affected) = sample.script(context.clock.now().micros())?;
    let state = folder.join(format!("{name}-state.db"));
    let mut files = vec![state.clone()];
    let (address, server) = match &context.target.address {
        Address::Sqlite(_) => {
            let path = folder.join(format!("{name}.db"));
            files.push(path.clone());
            let made = rusqlite::Connection::open(&path).and_then(|file| file.execute_batch(&script));
            if made.is_err() {
                remove(&files);
                return Err(ActError::Unwritable(path));
            }
            (Address::Sqlite(path), None)
        }
        Address::Postgres(_) => {
            let admin = view::address(context)?.clone();
            let address = create(&admin, &name).await?;
            let server = (admin, name.clone());
            if let Err(error) = fill(&address, &script).await {
                drop_database(&server).await;
                return Err(error);
            }
            (address, Some(server))
        }
    };
    let store = match Store::open(&Place::File(state)) {
        Ok(store) => store,
        Err(error) => {
            remove(&files);
            if let Some(server) = &server {
                drop_database(server).await;
            }
            return Err(error.into());
        }
    };
    let target = Target {
        name: "drill".into(),
        address,
        storage: Storage::Explicit(Box::new(Mapping { accounts: None, ..sample.mapping })),
        known: None,
        replica: None,
        act: None,
        act_missing: None,
        ad_hoc: true,
        cleanup: None,
        ..context.target.clone()
    };
    Ok(Scratch { target, store, affected, files, server })
}

impl Scratch {
    /// Removes everything that was made for the drill.
    pub async fn remove(self) {
        drop(self.store);
        remove(&self.files);
        if let Some(server) = &self.server {
            drop_database(server).await;
        }
    }
}

fn remove(files: &[PathBuf]) {
    for file in files {
        for end in ["", "-wal", "-shm", "-journal"] {
            let mut name = file.clone().into_os_string();
            name.push(end);
            // Not each of them was made.
            let _ = std::fs::remove_file(name);
        }
    }
}

async fn sample(context: Context<'_>) -> Result<Sample, ActError> {
    let target = context.target;
    let access = Access { address: &target.address, deep: false, key: None, placed: false };
    let opened = open_at(target, &context.config.catalogue, access).await?;
    let list = List { ascending: false, ..List::all(SAMPLE) };
    let lines =
        observe::list(&opened.session, &opened.sql(false, &context.config.rules.settings), list).await;
    let crate::open::Opened { session, schema, candidate, .. } = opened;
    session.close().await;
    Ok(Sample { schema, mapping: candidate.mapping, lines: lines? })
}

/// A database of that name beside the one of the address.
async fn create(admin: &Address, name: &str) -> Result<Address, ActError> {
    let Address::Postgres(dsn) = admin else { return Err(ActError::Unexpected("a server is meant")) };
    let link = Link::open(dsn).await?;
    let made = link.client().batch_execute(&format!("CREATE DATABASE {}", identifier(name))).await;
    made.map_err(|_| ActError::NoDrill)?;
    let mut dsn = dsn.as_ref().clone();
    dsn.config.dbname(name);
    Ok(Address::Postgres(Box::new(dsn)))
}

async fn fill(address: &Address, script: &str) -> Result<(), ActError> {
    let Address::Postgres(dsn) = address else { return Err(ActError::Unexpected("a server is meant")) };
    let link = Link::open(dsn).await?;
    let filled = link.client().batch_execute(script).await;
    filled.map_err(|error| {
        let code = error.code().map(|code| code.code().to_owned());
        TargetError::Query(code.unwrap_or_default()).into()
    })
}

async fn drop_database((admin, name): &(Address, String)) {
    let Address::Postgres(dsn) = admin else { return };
    let Ok(link) = Link::open(dsn).await else { return };
    // A pooler may keep a connection to it for a while, and ends that by itself.
    let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(name));
    if link.client().batch_execute(&statement).await.is_err() {
        // Servers before version 13 cannot end what is connected.
        let _ = link.client().batch_execute(&format!("DROP DATABASE IF EXISTS {}", identifier(name))).await;
    }
}

impl Sample {
    /// The statements that make the database, and the users whose sessions share a token in it.
    fn script(&self, now: i64) -> Result<(String, BTreeSet<String>), ActError> {
        let mapping = &self.mapping;
        let mut users: Vec<&Line> = Vec::new();
        for line in &self.lines {
            if line.user.is_some() && users.iter().all(|other| other.user != line.user) {
                users.push(line);
            }
        }
        let (Some(first), Some(second)) = (users.first(), users.get(1)) else {
            return Err(ActError::Unexpected(
                "a drill needs sessions of at least two users to take a sample of",
            ));
        };
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
        let end = sessionwatch_rules::instant::Instant::from_micros(now + DAY);
        let leaked = self.token();
        for (number, line) in [(1, first), (2, second)] {
            let line = Line { id: Some(self.new_id(number)), expires_at: end, ..(*line).clone() };
            script.push_str(&self.insert(&line, &leaked));
        }
        let affected = [first, second].into_iter().filter_map(|line| line.user.clone()).collect();
        Ok((script, affected))
    }

    fn columns(&self) -> Vec<&str> {
        let mapping = &self.mapping;
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
            let found = self.schema.table(name).and_then(|table| table.column(column));
            let kind = found.map_or("text", |column| column.declared.as_str());
            let key = if *column == key { " PRIMARY KEY" } else { "" };
            format!("{} {kind}{key}", identifier(column))
        };
        let columns: Vec<String> = columns.iter().map(declared).collect();
        format!("CREATE TABLE {} ({});\n", sql::table(name), columns.join(", "))
    }

    fn insert(&self, line: &Line, token: &str) -> String {
        let mapping = &self.mapping;
        let mut values: Vec<String> = mapping.id.iter().map(|_| self.literal(line.id.as_deref())).collect();
        values.push(self.literal(Some(token)));
        values.extend(mapping.user.iter().map(|_| self.literal(line.user.as_deref())));
        let stored = |at: Option<_>, decoder| at.map(|at| applying::stored(decoder, at));
        let instant = |value: Option<String>| match value {
            // SQLite keeps what it is given, and numbers are numbers.
            Some(text) if self.schema.dialect == Dialect::Sqlite && text.parse::<i64>().is_ok() => text,
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
        value.map_or_else(|| "NULL".into(), |value| string(self.schema.dialect, value))
    }

    fn kind(&self, column: &str) -> ColumnKind {
        self.schema.kind(&self.mapping.sessions, column)
    }

    /// A token that nobody was ever given.
    fn token(&self) -> String {
        let [high, low] = [1, 2].map(|turn| RandomState::new().hash_one(turn));
        let hex = format!("{high:016x}{low:016x}");
        match self.kind(&self.mapping.token) {
            ColumnKind::Bytes => format!("\\x{hex}"),
            _ => {
                format!("{}-{}-4{}-9{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
            }
        }
    }

    fn new_id(&self, number: u64) -> String {
        match self.mapping.id.as_deref().map(|id| self.kind(id)) {
            Some(ColumnKind::Integer) => (2_000_000_000 + number).to_string(),
            Some(ColumnKind::Uuid) => format!("00000000-0000-4000-8000-{number:012}"),
            _ => format!("drill-{number}"),
        }
    }
}
