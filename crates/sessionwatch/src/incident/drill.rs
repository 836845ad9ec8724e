//! A drill: the schema and a sample of the sessions in a database of its own, with a leak in it. No token is copied: the
//! sample gets new ones. No name, address or device of a user is copied either.

pub mod leftovers;

use std::{
    collections::BTreeSet,
    fs::File,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    time::Duration,
};

use futures_util::FutureExt as _;
use sessionwatch_core::instant::{DAY, Instant};

use pg_link::{Connection, NoRows};
use uuid::Uuid;

use self::leftovers::Leftover;
use crate::{
    actions::{ActError, Context, applying, view},
    config::Target,
    profile::{
        mapping::{Mapping, TableName},
        schema::{ColumnKind, Dialect, Schema},
        source::ProfileSource,
    },
    store::{Place, Store},
    target::{
        address::Address,
        connect::ConnectedTarget,
        error::TargetError,
        observe::{self, Line},
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
    made: Made,
}

/// What was made for a drill, and is to be removed.
#[derive(Debug, Default)]
struct Made {
    files: Vec<PathBuf>,
    server: Option<(Address, String)>,
    /// Locked as long as the drill runs.
    lock: Option<File>,
}

/// What is taken from the target: how it stores sessions, and some of them without their tokens.
struct Sample {
    schema: Schema,
    mapping: Mapping,
    lines: Vec<Line>,
}

/// The folder in which the files of drills are: that of the store, or the present one where that is on a server.
#[must_use]
pub fn folder(store: &Place) -> PathBuf {
    match store {
        Place::File(path) => path.parent().map(Path::to_owned).unwrap_or_default(),
        Place::Server(_) => PathBuf::new(),
    }
}

/// Makes a database for a drill, in that folder or on the server of the target.
///
/// # Errors
///
/// If the target cannot be looked at, has no sessions of two users, or its server lets no database be made.
pub async fn prepare(context: Context<'_>, folder: &Path) -> Result<Scratch, ActError> {
    let sample = sample(context).await?;
    let name = leftovers::name(number());
    let (script, affected) = sample.script(context.clock.now().micros())?;
    let mut made = Made::default();
    match make(context, (folder, &name), &script, &mut made).await {
        Ok((address, store)) => {
            let target = Target {
                name: "drill".into(),
                address,
                storage: ProfileSource::Explicit(Box::new(Mapping { accounts: None, ..sample.mapping })),
                known: None,
                replica: None,
                act: None,
                act_missing: None,
                ad_hoc: true,
                cleanup: None,
                ..context.target.clone()
            };
            Ok(Scratch { target, store, affected, made })
        }
        Err(error) => match made.remove().await {
            None => Err(error),
            Some(left) => Err(ActError::DrillLeft(error.to_string(), left)),
        },
    }
}

/// Makes the database and the store of a drill, and notes what has to be removed before it is made.
async fn make(
    context: Context<'_>,
    (folder, name): (&Path, &str),
    script: &str,
    made: &mut Made,
) -> Result<(Address, Store), ActError> {
    let lock = leftovers::lock_path(folder, name);
    made.files.push(lock.clone());
    made.lock = Some(leftovers::lock(&lock).map_err(|_| ActError::Unwritable(lock))?);
    let address = match &context.target.address {
        Address::Sqlite(_) => {
            let path = folder.join(format!("{name}.db"));
            made.files.push(path.clone());
            let filled = rusqlite::Connection::open(&path).and_then(|file| file.execute_batch(script));
            filled.map_err(|_| ActError::Unwritable(path.clone()))?;
            Address::Sqlite(path)
        }
        Address::Postgres(_) => {
            let admin = view::address(context)?.clone();
            made.server = Some((admin.clone(), name.to_owned()));
            let address = create(&admin, name, context.clock.now()).await?;
            fill(&address, script).await?;
            address
        }
    };
    let state = folder.join(format!("{name}-state.db"));
    made.files.push(state.clone());
    Ok((address, Store::open(&Place::File(state))?))
}

/// A number for a drill that no other one has.
fn number() -> u32 {
    rand::random()
}

/// The demonstration on which a drill runs, in the present folder: removed with this value.
#[derive(Debug)]
pub struct Demonstration {
    path: PathBuf,
    lock: PathBuf,
    _locked: File,
}

impl Demonstration {
    /// Names one that nobody else uses.
    ///
    /// # Errors
    ///
    /// If the folder cannot be written.
    pub fn named() -> Result<Self, ActError> {
        let name = leftovers::name(number());
        let lock = leftovers::lock_path(Path::new(""), &name);
        let locked = leftovers::lock(&lock).map_err(|_| ActError::Unwritable(lock.clone()))?;
        Ok(Self { path: PathBuf::from(format!("{name}-demo.db")), lock, _locked: locked })
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Demonstration {
    fn drop(&mut self) {
        remove(&[self.path.clone(), self.lock.clone()]);
    }
}

impl Scratch {
    /// Works with the database, and removes everything that was made for the drill, however the work ends: also by a panic,
    /// which goes on after that. Returns what the work gave, and what could not be removed, in words.
    pub async fn used<T>(self, work: impl AsyncFnOnce(&Self) -> T) -> (T, Option<String>) {
        let worked = AssertUnwindSafe(work(&self)).catch_unwind().await;
        let left = self.remove().await;
        match worked {
            Ok(done) => (done, left),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Removes everything that was made for the drill. Returns what could not be removed, in words.
    pub async fn remove(self) -> Option<String> {
        drop(self.store);
        self.made.remove().await
    }

    /// What has to be removed by hand if this process does not come to it.
    #[must_use]
    pub fn by_hand(&self) -> String {
        self.made.by_hand()
    }
}

impl Made {
    async fn remove(self) -> Option<String> {
        let by_hand = self.by_hand();
        let dropped = match &self.server {
            Some(server) => drop_database(server).await,
            None => true,
        };
        remove(&self.files);
        (!dropped).then_some(by_hand)
    }

    fn by_hand(&self) -> String {
        match &self.server {
            Some((admin, name)) => format!("DROP DATABASE {}; on {admin}", identifier(name)),
            None => {
                let names: Vec<String> = self.files.iter().map(|file| file.display().to_string()).collect();
                format!("rm {}", names.join(" "))
            }
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

/// Removes what drills left whose process is gone. Returns that, and what may be left of others, in words.
pub async fn clear(context: Context<'_>, folder: &Path) -> Vec<String> {
    let mut said = Vec::new();
    for left in leftovers::files_of(folder) {
        let names = left.names();
        match left.state {
            leftovers::State::Running => {}
            leftovers::State::Abandoned => {
                remove(&left.files);
                said.push(format!("removed what a drill had left that was killed: {names}"));
            }
            leftovers::State::Unknown => said.push(format!(
                "files may be left of a drill that was killed; if no drill is running: rm {names}"
            )),
        }
    }
    if let (Address::Postgres(_), Ok(Address::Postgres(dsn))) =
        (&context.target.address, view::address(context))
        && let Ok(link) = Connection::<NoRows>::open(dsn).await
    {
        said.extend(clear_databases(&link, context.target.address.to_string()).await);
    }
    said
}

async fn clear_databases(link: &Connection<NoRows>, server: String) -> Vec<String> {
    let rows = link.client().simple_query(leftovers::DATABASES).await;
    let mut said = Vec::new();
    for message in rows.into_iter().flatten() {
        let tokio_postgres::SimpleQueryMessage::Row(row) = message else { continue };
        let left =
            row.try_get(0).ok().flatten().and_then(|name| Leftover::of(name, row.try_get(1).ok().flatten()));
        let Some(left) = left.filter(|left| left.state != leftovers::State::Running) else { continue };
        let (what, statement) = (left.said(), left.drop_statement());
        if left.state == leftovers::State::Abandoned
            && link.client().batch_execute(statement.trim_end_matches(';')).await.is_ok()
        {
            said.push(format!("removed {what}, which had left it when it was killed"));
        } else {
            said.push(format!(
                "{what} is on the server of {server}; if that drill is not running any more: {statement}"
            ));
        }
    }
    said
}

async fn sample(context: Context<'_>) -> Result<Sample, ActError> {
    let target = context.target;
    let mut opened = ConnectedTarget::open(target.connect_options(&context.config.catalogue)).await?;
    // Whoever rehearses needs nobody's name, address or device.
    let mapping = &mut opened.layout.candidate.mapping;
    if let Some(users) = &mut mapping.users {
        users.display.clear();
    }
    (mapping.ip, mapping.agent) = (None, None);
    let list = List { ascending: false, ..List::all(SAMPLE) };
    let lines =
        observe::list(&opened.session, &opened.sql(false, &context.config.rules.thresholds), list).await;
    let ConnectedTarget { session, layout, .. } = opened;
    session.close().await;
    Ok(Sample { schema: layout.schema, mapping: layout.candidate.mapping, lines: lines? })
}

/// A database of that name beside the one of the address. Its comment says which process made it, and when.
async fn create(admin: &Address, name: &str, now: Instant) -> Result<Address, ActError> {
    let Address::Postgres(dsn) = admin else { return Err(ActError::Unexpected("a server is meant")) };
    let link = Connection::<NoRows>::open(dsn).await.map_err(TargetError::from)?;
    let made = link.client().batch_execute(&format!("CREATE DATABASE {}", identifier(name))).await;
    made.map_err(|_| ActError::NoDrill)?;
    let comment = string(Dialect::Postgres, &leftovers::comment(now));
    let comment = format!("COMMENT ON DATABASE {} IS {comment}", identifier(name));
    link.client().batch_execute(&comment).await.map_err(|_| ActError::NoDrill)?;
    let mut dsn = dsn.as_ref().clone();
    dsn.config.dbname(name);
    Ok(Address::Postgres(Box::new(dsn)))
}

async fn fill(address: &Address, script: &str) -> Result<(), ActError> {
    let Address::Postgres(dsn) = address else { return Err(ActError::Unexpected("a server is meant")) };
    let link = Connection::<NoRows>::open(dsn).await.map_err(TargetError::from)?;
    let filled = link.client().batch_execute(script).await;
    filled.map_err(|error| {
        let code = error.code().map(|code| code.code().to_owned());
        TargetError::Query(code.unwrap_or_default()).into()
    })
}

/// Returns `false` if the database may still be there.
async fn drop_database(server: &(Address, String)) -> bool {
    /// How long a server is waited for.
    const REMOVAL_TIMEOUT: Duration = Duration::from_secs(30);
    tokio::time::timeout(REMOVAL_TIMEOUT, drop_now(server)).await.unwrap_or(false)
}

async fn drop_now((admin, name): &(Address, String)) -> bool {
    let Address::Postgres(dsn) = admin else { return true };
    let Ok(link) = Connection::<NoRows>::open(dsn).await else { return false };
    // A pooler may keep a connection to it for a while, and ends that by itself.
    let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(name));
    if link.client().batch_execute(&statement).await.is_ok() {
        return true;
    }
    // Servers before version 13 cannot end what is connected.
    link.client().batch_execute(&format!("DROP DATABASE IF EXISTS {}", identifier(name))).await.is_ok()
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
        let end = Instant::from_micros(now + DAY);
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
        let token = Uuid::new_v4();
        match self.kind(&self.mapping.token) {
            ColumnKind::Bytes => format!("\\x{}", token.simple()),
            _ => token.to_string(),
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
