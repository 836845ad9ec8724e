//! A store on a PostgreSQL server. A thread of its own holds the connection and opens it anew when it breaks; who asks
//! waits for the answer, as with a file.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use tokio::sync::{
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    watch,
};
use tokio_postgres::types::{ToSql, Type};

use super::{
    StoreError,
    row::{Cell, Query, Row, Value},
};
use crate::target::postgres::{Link, dsn::Dsn};

/// How long the server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The lock that writers of the store take, so that they follow each other as they do with a file.
const WRITERS: i64 = 0x7365_7373_7761_7463;

/// Rows changed, and rows found.
type Answer = (u64, Vec<Row>);

/// A store on a server.
#[derive(Debug)]
pub struct Remote {
    jobs: UnboundedSender<Job>,
    /// From when on nothing is waited for.
    end: watch::Sender<Option<Instant>>,
}

#[derive(Debug)]
struct Job {
    work: Work,
    answer: mpsc::SyncSender<Result<Answer, StoreError>>,
}

#[derive(Debug)]
enum Work {
    /// Begins a transaction, after the other writers where it writes.
    Begin {
        writes: bool,
    },
    Query {
        sql: String,
        values: Vec<Owned>,
        rows: bool,
    },
    Script(String),
}

/// A parameter on its way to the thread.
#[derive(Debug)]
enum Owned {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Vec<u8>),
}

impl Remote {
    /// Starts the thread; it connects when it is first asked.
    pub(super) fn start(dsn: Dsn) -> Result<Self, StoreError> {
        let (jobs, received) = unbounded_channel();
        let (end, ending) = watch::channel(None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|_| StoreError::Server("the system refuses a thread for it"))?;
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || runtime.block_on(serve(dsn, received, ending)))
            .map_err(|_| StoreError::Server("the system refuses a thread for it"))?;
        Ok(Self { jobs, end })
    }

    /// Says from when on nothing is to be waited for.
    pub(super) fn end(&self) -> watch::Sender<Option<Instant>> {
        self.end.clone()
    }

    pub(super) fn run(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        let values = values.iter().map(Owned::of).collect();
        Ok(self.ask(Work::Query { sql: sql.to_owned(), values, rows: false })?.0)
    }

    pub(super) fn rows(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        let values = values.iter().map(Owned::of).collect();
        Ok(self.ask(Work::Query { sql: sql.to_owned(), values, rows: true })?.1)
    }

    pub(super) fn script(&self, sql: &str) -> Result<(), StoreError> {
        self.ask(Work::Script(sql.to_owned())).map(drop)
    }

    pub(super) fn begin(&self, writes: bool) -> Result<(), StoreError> {
        self.ask(Work::Begin { writes }).map(drop)
    }

    fn ask(&self, work: Work) -> Result<Answer, StoreError> {
        let (answer, answered) = mpsc::sync_channel(1);
        let gone = StoreError::Server("its thread has ended");
        self.jobs.send(Job { work, answer }).map_err(|_| gone)?;
        answered.recv().map_err(|_| StoreError::Server("its thread has ended"))?
    }
}

async fn serve(dsn: Dsn, mut jobs: UnboundedReceiver<Job>, mut ending: watch::Receiver<Option<Instant>>) {
    let mut link = None;
    while let Some(Job { work, answer }) = jobs.recv().await {
        let outcome = tokio::select! {
            outcome = perform(&dsn, &mut link, work) => outcome,
            () = patience(&mut ending) => Err(StoreError::Server("it does not answer")),
        };
        // Whatever went wrong, the transaction is over: the next one begins on a connection of its own.
        if outcome.is_err() {
            link = None;
        }
        // Nobody waits where the asker has died.
        let _ = answer.send(outcome);
    }
}

/// Waits for as long as an answer may take.
async fn patience(ending: &mut watch::Receiver<Option<Instant>>) {
    let ended = async {
        // The sender lives as long as whoever waits for the answer.
        let at = ending.wait_for(Option::is_some).await.ok().and_then(|at| *at);
        crate::clock::pause(at.map_or(PATIENCE, |at| at.saturating_duration_since(Instant::now()))).await;
    };
    let _ = tokio::time::timeout(PATIENCE, ended).await;
}

async fn perform(dsn: &Dsn, link: &mut Option<Link>, work: Work) -> Result<Answer, StoreError> {
    const LOST: StoreError = StoreError::Server("the connection was lost");
    match work {
        Work::Begin { writes } => {
            let schema = dsn.schema.as_deref().unwrap_or("sessionwatch");
            let lock =
                if writes { format!("SELECT pg_advisory_xact_lock({WRITERS});") } else { String::new() };
            let begin = format!(
                "BEGIN; SET LOCAL statement_timeout = 10000; SET LOCAL lock_timeout = 9000;\
                 SET LOCAL idle_in_transaction_session_timeout = 20000; SET LOCAL search_path = {}; {lock}",
                crate::target::sql::identifier(schema)
            );
            if link.as_ref().is_none_or(Link::is_closed) {
                *link = Some(Link::open(dsn).await.map_err(StoreError::Connect)?);
            }
            let client = link.as_ref().map(Link::client).ok_or(LOST)?;
            client.batch_execute(&begin).await.map_err(|error| refused(&error))?;
            Ok((0, vec![]))
        }
        Work::Script(sql) => {
            let client = link.as_ref().map(Link::client).ok_or(LOST)?;
            client.batch_execute(&sql).await.map_err(|error| refused(&error))?;
            Ok((0, vec![]))
        }
        Work::Query { sql, values, rows } => {
            let client = link.as_ref().map(Link::client).ok_or(LOST)?;
            let values: Vec<(&(dyn ToSql + Sync), Type)> = values.iter().map(Owned::typed).collect();
            if !rows {
                let changed = client.execute_typed(&sql, &values).await.map_err(|error| refused(&error))?;
                return Ok((changed, vec![]));
            }
            let found = client.query_typed(&sql, &values).await.map_err(|error| refused(&error))?;
            let columns = found.first().map(tokio_postgres::Row::columns).unwrap_or_default();
            let query = Query::new(&sql, columns.iter().map(|column| column.name().to_owned()).collect());
            let row = |row: &tokio_postgres::Row| {
                Row::new((0..row.len()).map(|at| cell(row, at)).collect(), &query)
            };
            Ok((0, found.iter().map(row).collect()))
        }
    }
}

fn cell(row: &tokio_postgres::Row, at: usize) -> Cell {
    let kind = row.columns()[at].type_();
    let cell = if *kind == Type::INT8 {
        row.try_get::<_, Option<i64>>(at).map(|number| number.map(Cell::Int))
    } else if *kind == Type::INT4 {
        row.try_get::<_, Option<i32>>(at).map(|number| number.map(|number| Cell::Int(number.into())))
    } else if *kind == Type::BYTEA {
        row.try_get::<_, Option<Vec<u8>>>(at).map(|bytes| bytes.map(Cell::Bytes))
    } else {
        row.try_get::<_, Option<String>>(at).map(|text| text.map(Cell::Text))
    };
    cell.map_or(Cell::Other, |cell| cell.unwrap_or(Cell::Null))
}

/// What the server says, without its text.
fn refused(error: &tokio_postgres::Error) -> StoreError {
    match error.code() {
        Some(code) if code.code() == "53100" => StoreError::Full,
        Some(code) => StoreError::Refused(code.code().to_owned()),
        None => StoreError::Server("the connection was lost"),
    }
}

impl Owned {
    fn of(value: &Value<'_>) -> Self {
        match value {
            Value::Int(number) => Self::Int(*number),
            Value::Text(text) => Self::Text(text.map(str::to_owned)),
            Value::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
        }
    }

    fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Int(number) => (number, Type::INT8),
            Self::Text(text) => (text, Type::TEXT),
            Self::Bytes(bytes) => (bytes, Type::BYTEA),
        }
    }
}
