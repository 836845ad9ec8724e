//! A store on a PostgreSQL server. A dedicated thread owns the connection and reconnects after a failure; callers block
//! until their request is done, as with a file.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use tokio::sync::{
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    watch,
};
use tokio_postgres::{
    error::SqlState,
    types::{ToSql, Type},
};

use crate::{
    StoreError,
    row::{Param, QueryOrigin, StoreRow, StoreValue},
};
use pg_link::{Dsn, NoRows, PgConnection};

/// Time limit for one request, as measured here.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// `statement_timeout`, in milliseconds.
const STATEMENT_TIMEOUT_MS: u32 = 10_000;
/// `lock_timeout`, in milliseconds. Shorter than the statement timeout, so that a lock is reported as the cause.
const LOCK_TIMEOUT_MS: u32 = 9_000;
/// `idle_in_transaction_session_timeout` and `tcp_user_timeout` of a write transaction, in milliseconds. A frozen or
/// unreachable daemon holds the writers' lock: it must be released before the leases expire (6 s), so that another
/// daemon can take them over.
const WRITER_IDLE_TIMEOUT_MS: u32 = 4_000;
/// The same timeouts for a read transaction, in milliseconds.
const READER_IDLE_TIMEOUT_MS: u32 = 20_000;
/// Advisory lock that serializes writers, as SQLite does with a file.
const WRITERS_LOCK_KEY: i64 = 0x7365_7373_7761_7463;

/// Number of rows changed, and the rows found.
type StatementResult = (u64, Vec<StoreRow>);

/// A connection to a store on a server.
#[derive(Debug)]
pub struct PgStore {
    requests: UnboundedSender<PgRequest>,
    /// Instant from which requests fail instead of waiting.
    deadline: watch::Sender<Option<Instant>>,
}

#[derive(Debug)]
struct PgRequest {
    kind: PgRequestKind,
    reply: mpsc::SyncSender<Result<StatementResult, StoreError>>,
}

#[derive(Debug)]
enum PgRequestKind {
    /// Begins a transaction; one that writes waits for the other writers.
    Begin {
        writes: bool,
    },
    Query {
        sql: String,
        values: Vec<OwnedParam>,
        rows: bool,
    },
    Batch(String),
}

/// A parameter that can be sent to the thread.
#[derive(Debug)]
enum OwnedParam {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Vec<u8>),
}

impl PgStore {
    /// Starts the thread, which connects on the first request.
    pub(super) fn start(dsn: Dsn) -> Result<Self, StoreError> {
        let (requests, received) = unbounded_channel();
        let (deadline, ending) = watch::channel(None);
        // A runtime of its own: the caller's may be shut down while the last writes are still to be made.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|_| StoreError::Server("this machine cannot start another thread"))?;
        std::thread::Builder::new()
            // Named, so that the thread can be found in a debugger or in `/proc`.
            .name("store".into())
            .spawn(move || runtime.block_on(process_requests(dsn, received, ending)))
            .map_err(|_| StoreError::Server("this machine cannot start another thread"))?;
        Ok(Self { requests, deadline })
    }

    /// Returns the sender of the deadline from which requests fail instead of waiting.
    pub(super) fn deadline_sender(&self) -> watch::Sender<Option<Instant>> {
        self.deadline.clone()
    }

    pub(super) fn execute(&self, sql: &str, values: &[Param<'_>]) -> Result<u64, StoreError> {
        let values = values.iter().map(OwnedParam::from_param).collect();
        Ok(self.send_request(PgRequestKind::Query { sql: sql.to_owned(), values, rows: false })?.0)
    }

    pub(super) fn query_rows(&self, sql: &str, values: &[Param<'_>]) -> Result<Vec<StoreRow>, StoreError> {
        let values = values.iter().map(OwnedParam::from_param).collect();
        Ok(self.send_request(PgRequestKind::Query { sql: sql.to_owned(), values, rows: true })?.1)
    }

    pub(super) fn execute_batch(&self, sql: &str) -> Result<(), StoreError> {
        self.send_request(PgRequestKind::Batch(sql.to_owned())).map(drop)
    }

    pub(super) fn begin_transaction(&self, writes: bool) -> Result<(), StoreError> {
        self.send_request(PgRequestKind::Begin { writes }).map(drop)
    }

    fn send_request(&self, kind: PgRequestKind) -> Result<StatementResult, StoreError> {
        let (reply, answered) = mpsc::sync_channel(1);
        let gone = StoreError::Server("the thread of its connection has ended");
        // A closed channel means that the thread has panicked, and no later request can succeed.
        self.requests.send(PgRequest { kind, reply }).map_err(|_| gone)?;
        answered.recv().map_err(|_| StoreError::Server("the thread of its connection has ended"))?
    }
}

async fn process_requests(
    dsn: Dsn,
    mut jobs: UnboundedReceiver<PgRequest>,
    mut ending: watch::Receiver<Option<Instant>>,
) {
    // No connection yet: a command that never asks must not need the server.
    let mut link = None;
    while let Some(PgRequest { kind, reply }) = jobs.recv().await {
        // A timeout here as well, because the server's own does not work if the network is gone.
        let outcome = tokio::select! {
            outcome = perform_request(&dsn, &mut link, kind) => outcome,
            () = wait_until_timeout(&mut ending) => Err(StoreError::Server("request timed out")),
        };
        // The state of the transaction is unknown after an error: drop the connection, and begin the next transaction
        // on a new one.
        if outcome.is_err() {
            link = None;
        }
        // Fails only if the caller has panicked meanwhile.
        let _ = reply.send(outcome);
    }
}

/// Waits until the request timeout or the deadline, whichever is earlier.
async fn wait_until_timeout(ending: &mut watch::Receiver<Option<Instant>>) {
    let ended = async {
        // The sender outlives the caller that waits for the reply.
        let at = ending.wait_for(Option::is_some).await.ok().and_then(|at| *at);
        sessionwatch_clock::sleep(
            // `None` only if the sender is gone; the usual limit applies then.
            at.map_or(ANSWER_TIMEOUT, |at| at.saturating_duration_since(Instant::now())),
        )
        .await;
    };
    let _ = tokio::time::timeout(ANSWER_TIMEOUT, ended).await;
}

async fn perform_request(
    dsn: &Dsn,
    link: &mut Option<PgConnection<NoRows>>,
    work: PgRequestKind,
) -> Result<StatementResult, StoreError> {
    const CONNECTION_LOST: StoreError = StoreError::Server("the connection was lost");
    match work {
        PgRequestKind::Begin { writes } => {
            let begin = begin_statement(dsn.schema.as_deref().unwrap_or("sessionwatch"), writes);
            // A connection is only opened at the start of a transaction: within one, a new connection would
            // lack what was written before.
            if link.as_ref().is_none_or(PgConnection::is_closed) {
                *link = Some(PgConnection::open(dsn).await.map_err(StoreError::Connect)?);
            }
            let client = link.as_ref().map(PgConnection::client).ok_or(CONNECTION_LOST)?;
            client.batch_execute(&begin).await.map_err(|error| map_postgres_error(&error))?;
            Ok((0, vec![]))
        }
        PgRequestKind::Batch(sql) => {
            let client = link.as_ref().map(PgConnection::client).ok_or(CONNECTION_LOST)?;
            client.batch_execute(&sql).await.map_err(|error| map_postgres_error(&error))?;
            Ok((0, vec![]))
        }
        PgRequestKind::Query { sql, values, rows } => {
            let client = link.as_ref().map(PgConnection::client).ok_or(CONNECTION_LOST)?;
            // Types are sent along, which saves preparing each statement and works behind a connection
            // pooler.
            let values: Vec<(&(dyn ToSql + Sync), Type)> =
                values.iter().map(OwnedParam::as_typed_param).collect();
            if !rows {
                let changed =
                    client.execute_typed(&sql, &values).await.map_err(|error| map_postgres_error(&error))?;
                return Ok((changed, vec![]));
            }
            let found =
                client.query_typed(&sql, &values).await.map_err(|error| map_postgres_error(&error))?;
            // Without rows there are no columns, and none are needed: nothing can be undecodable.
            let columns = found.first().map(tokio_postgres::Row::columns).unwrap_or_default();
            let query =
                QueryOrigin::new(&sql, columns.iter().map(|column| column.name().to_owned()).collect());
            let row = |row: &tokio_postgres::Row| {
                StoreRow::new((0..row.len()).map(|at| value_from_postgres(row, at)).collect(), &query)
            };
            Ok((0, found.iter().map(row).collect()))
        }
    }
}

/// Returns the SQL that begins a transaction with its timeouts, and takes the writers' lock if it writes.
fn begin_statement(schema: &str, writes: bool) -> String {
    let (mode, idle, lock) = if writes {
        ("", WRITER_IDLE_TIMEOUT_MS, format!("SELECT pg_advisory_xact_lock({WRITERS_LOCK_KEY});"))
    } else {
        // Repeatable read, because several queries of one read must see the same snapshot.
        (" ISOLATION LEVEL REPEATABLE READ READ ONLY", READER_IDLE_TIMEOUT_MS, String::new())
    };
    // `SET LOCAL` also works behind a transaction-mode connection pooler. `tcp_user_timeout` exists since PostgreSQL
    // 12.
    format!(
        "BEGIN{mode}; SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_MS}; SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS};\
         SET LOCAL idle_in_transaction_session_timeout = {idle};\
         SELECT CASE WHEN current_setting('tcp_user_timeout', true) IS NOT NULL \
         THEN set_config('tcp_user_timeout', '{idle}', true) END;\
         SET LOCAL search_path = {}; {lock}",
        pg_link::quote_identifier(schema)
    )
}

fn value_from_postgres(row: &tokio_postgres::Row, at: usize) -> StoreValue {
    let kind = row.columns()[at].type_();
    let cell = if *kind == Type::INT8 {
        row.try_get::<_, Option<i64>>(at).map(|number| number.map(StoreValue::Int))
    } else if *kind == Type::INT4 {
        // `COUNT` is INT8, but literals such as `SELECT 1` are INT4.
        row.try_get::<_, Option<i32>>(at).map(|number| number.map(|number| StoreValue::Int(number.into())))
    } else if *kind == Type::BYTEA {
        row.try_get::<_, Option<Vec<u8>>>(at).map(|bytes| bytes.map(StoreValue::Bytes))
    } else {
        row.try_get::<_, Option<String>>(at).map(|text| text.map(StoreValue::Text))
    };
    // A type that no column of the store has is kept as such, and reported when it is read.
    cell.map_or(StoreValue::Other, |cell| cell.unwrap_or(StoreValue::Null))
}

/// Maps a server error by its SQLSTATE. The server's message is left out: it may quote stored values.
fn map_postgres_error(error: &tokio_postgres::Error) -> StoreError {
    // Errors without a SQLSTATE come from the connection and not from the server.
    let Some(state) = error.code() else { return StoreError::Server("the connection was lost") };
    if *state == SqlState::DISK_FULL {
        return StoreError::DiskFull;
    }
    if *state == SqlState::INSUFFICIENT_PRIVILEGE {
        return StoreError::InsufficientPrivilege;
    }
    let message = if *state == SqlState::LOCK_NOT_AVAILABLE {
        "another client held the write lock for more than 9 s; the daemon retries"
    } else if *state == SqlState::QUERY_CANCELED {
        "a statement was canceled, or ran for more than 10 s; the daemon retries"
    } else if *state == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT {
        "it ended a transaction that was idle for more than 4 s; the daemon retries"
    } else if *state == SqlState::READ_ONLY_SQL_TRANSACTION {
        "it is read-only, such as a replica: set `store` in [serve] to the primary server"
    } else if *state == SqlState::TOO_MANY_CONNECTIONS {
        "too many connections: raise `max_connections`, or close other connections"
    } else if state.code().starts_with("57P") {
        // Class 57P: operator intervention, such as a restart or a failover.
        "it is shutting down or starting up; the daemon retries"
    } else {
        return StoreError::StatementRefused(state.code().to_owned());
    };
    StoreError::Server(message)
}

impl OwnedParam {
    fn from_param(value: &Param<'_>) -> Self {
        match value {
            Param::Int(number) => Self::Int(*number),
            Param::Text(text) => Self::Text(text.map(str::to_owned)),
            Param::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
        }
    }

    fn as_typed_param(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Int(number) => (number, Type::INT8),
            Self::Text(text) => (text, Type::TEXT),
            Self::Bytes(bytes) => (bytes, Type::BYTEA),
        }
    }
}
