//! PostgreSQL: one connection, one read-only transaction, and the two ways to read in it.
//!
//! Limits are set inside the transaction, since transaction poolers strip what is set outside it, and only the simple
//! protocol and one COPY are used, since poolers do not carry named statements over.

pub mod dsn;
pub mod tls;

mod acting;
mod catalog;
mod scan;
pub mod search_path;
mod side_effects;
mod tap;
mod visibility;
mod wire;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use futures_util::TryStreamExt as _;
use sessionwatch_rules::{instant::Instant, ledger::Frame, ledger::Ledger};
use tokio_postgres::{SimpleQueryMessage, error::SqlState};

pub use self::acting::Actor;
pub(super) use self::side_effects::{HOOKS, INHERITS, references};
use self::{
    dsn::Dsn,
    search_path::RoleSettings,
    wire::{NoTlsOffered, Wire},
};
use super::{
    error::TargetError,
    sql::{Sql, string},
};
use crate::{
    checks::Counted,
    profile::schema::{Dialect, Schema},
};

/// How long a server may take to be told that a look is over.
const GOODBYE: Duration = Duration::from_secs(1);

/// A connection inside its read-only transaction.
#[derive(Debug)]
pub struct Session {
    wire: Wire,
    role: Box<RoleSettings>,
    /// The address names the schemas that are meant.
    path_named: bool,
    /// Questions that were sent, each a round trip.
    questions: AtomicU32,
}

/// The most memory that the rows of one query may take; a page of 5 000 sessions takes a few MiB.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A connection for something else than looking.
#[derive(Debug)]
pub struct Link(Wire);

impl Link {
    /// Connects.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached or refuses.
    pub async fn open(dsn: &Dsn) -> Result<Self, TargetError> {
        Ok(Self(wire::connect(dsn).await?))
    }

    /// What speaks to the server.
    #[must_use]
    pub fn client(&self) -> &tokio_postgres::Client {
        &self.0.client
    }

    /// Whether the connection is known to be gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.client.is_closed()
    }
}

/// A connection between two transactions.
#[derive(Debug)]
pub struct Idle(Wire);

/// Limits of a look.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The whole look, and each statement in it.
    pub timeout: Duration,
    /// Waiting for a lock.
    pub lock_timeout: Duration,
}

impl Session {
    /// Connects and opens the transaction.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached or refuses.
    pub async fn open(dsn: &Dsn, limits: Limits, deep: bool) -> Result<Self, TargetError> {
        let wire = wire::connect(dsn).await?;
        if !wire.encrypted {
            refuse_pglite(&wire).await?;
        }
        Self::begin(wire, dsn, limits, deep).await
    }

    /// Opens another transaction over a connection that is there already.
    ///
    /// # Errors
    ///
    /// If the connection is lost, or the server refuses.
    pub async fn resume(idle: Idle, dsn: &Dsn, limits: Limits) -> Result<Self, TargetError> {
        Self::begin(idle.0, dsn, limits, false).await
    }

    async fn begin(wire: Wire, dsn: &Dsn, limits: Limits, deep: bool) -> Result<Self, TargetError> {
        // A server that waits for its client to take in an answer heeds no other limit than that of TCP.
        let mut opening = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\nSET LOCAL statement_timeout = {0};\nSET LOCAL lock_timeout = {lock};\n\
             SET LOCAL idle_in_transaction_session_timeout = {0};\nSET LOCAL standard_conforming_strings = on;\nSET LOCAL DateStyle = 'ISO';\n\
             {1};\nSET LOCAL constraint_exclusion = off;\n\
             SELECT CASE WHEN current_setting('server_version_num')::int >= 140000\n\
             THEN set_config('client_connection_check_interval', '1000', true) END,\n\
             CASE WHEN current_setting('tcp_user_timeout', true) IS NOT NULL\n\
             THEN set_config('tcp_user_timeout', '{0}', true) END",
            limits.timeout.as_millis(),
            search_path::opening(&dsn.search_path),
            lock = limits.lock_timeout.as_millis(),
        );
        if deep {
            opening.push_str(
                ";\nSET LOCAL enable_indexscan = off;\nSET LOCAL enable_indexonlyscan = off;\nSET LOCAL enable_bitmapscan = off",
            );
        }
        let rows = fetch(&wire.client, &opening).await?;
        let role = rows.first().and_then(|row| RoleSettings::read(row));
        let role = role.ok_or_else(|| TargetError::Query("role settings".into()))?;
        role.require(&dsn.search_path)?;
        Ok(Self {
            wire,
            role: Box::new(role),
            path_named: !dsn.search_path.is_empty(),
            questions: AtomicU32::new(0),
        })
    }

    /// How many questions were sent so far.
    #[must_use]
    pub fn questions(&self) -> u32 {
        self.questions.load(Ordering::Relaxed)
    }

    /// The role that checks run as, with its search path.
    #[must_use]
    pub fn role(&self) -> &RoleSettings {
        &self.role
    }

    /// The instant at which the transaction began, by the server's clock.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn now(&self) -> Result<Instant, TargetError> {
        let rows = self.fetch("SELECT (EXTRACT(EPOCH FROM now()) * 1000000)::bigint").await?;
        let micros = rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok());
        micros.and_then(Instant::from_micros).ok_or_else(|| TargetError::Query("clock".into()))
    }

    /// How far this server lags behind the one that it replicates, in microseconds; nothing if it is no replica, or does
    /// not say. One that receives, and has replayed all of it, does not lag, however long ago that was.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn lag(&self) -> Result<Option<i64>, TargetError> {
        let query = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN NULL\n\
             WHEN pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn() AND EXISTS (SELECT 1 FROM pg_stat_wal_receiver) THEN 0\n\
             ELSE EXTRACT(EPOCH FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000000 END";
        #[expect(clippy::cast_possible_truncation, reason = "microseconds, far below 2^53")]
        Ok(self.told(query).await?.map(|lag| lag as i64))
    }

    /// How far this server has come, in bytes of the write-ahead log; nothing if it does not say.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn position(&self) -> Result<Option<u64>, TargetError> {
        let query = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()\n\
             ELSE pg_current_wal_insert_lsn() END - '0/0'::pg_lsn";
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes, far below 2^53")]
        Ok(self.told(query).await?.map(|position| position as u64))
    }

    /// A number that not every server tells.
    async fn told(&self, query: &str) -> Result<Option<f64>, TargetError> {
        match self.guarded("", &first_number(query)).await {
            Err(TargetError::Lost) => Err(TargetError::Lost),
            told => Ok(told.ok().flatten()),
        }
    }

    /// The tables and views that the role can see.
    ///
    /// # Errors
    ///
    /// If a catalogue query fails.
    pub async fn schema(&self) -> Result<Schema, TargetError> {
        catalog::read(self).await
    }

    /// The rows of a query, as text.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn fetch(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, TargetError> {
        tracing::debug!("query: {}", super::sql::without_values(sql));
        self.questions.fetch_add(1, Ordering::Relaxed);
        fetch(&self.wire.client, sql).await.map_err(|error| self.wire.outlet.explained(error))
    }

    /// The number in the first row of a query; `None` if the query fails, which leaves the transaction usable.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn attempt(&self, sql: &str) -> Result<Option<u64>, TargetError> {
        self.fetch("SAVEPOINT attempt").await?;
        let rows = self.fetch(sql).await;
        self.fetch("ROLLBACK TO SAVEPOINT attempt").await?;
        match rows {
            Err(TargetError::Lost) => Err(TargetError::Lost),
            Err(_) => Ok(None),
            Ok(rows) => Ok(rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok())),
        }
    }

    /// The number that a query of the operator's gives; nothing if it gives none.
    ///
    /// It alone runs under the search path that the role came with.
    ///
    /// # Errors
    ///
    /// If the query fails, is more than one statement, or writes.
    pub async fn number(
        &self,
        sql: &str,
        counted: Counted,
        max_rows: u64,
    ) -> Result<Option<f64>, TargetError> {
        let whole = match counted {
            Counted::Rows => format!(
                "SELECT pg_catalog.count(*)::pg_catalog.float8 FROM (SELECT 1 FROM (\n{sql}\n) AS query LIMIT {max_rows}) AS counted"
            ),
            Counted::First => first_number(sql),
        };
        let path = string(Dialect::Postgres, &self.role.search_path);
        self.guarded(&format!("SELECT pg_catalog.set_config('search_path', {path}, true)"), &whole).await
    }

    /// The number that a query gives, after another statement.
    ///
    /// The extended protocol takes one statement only, so the query cannot leave the read-only transaction; a savepoint
    /// keeps that usable if the query fails, and undoes what the statements set.
    async fn guarded(&self, before: &str, query: &str) -> Result<Option<f64>, TargetError> {
        let client = &self.wire.client;
        tracing::debug!("query: {}", super::sql::without_values(query));
        let guarded = async {
            client.batch_execute(&format!("SAVEPOINT custom;\n{before}")).await?;
            let rows = client.query_typed(query, &[]).await;
            client.batch_execute("ROLLBACK TO SAVEPOINT custom").await?;
            let first = rows?.into_iter().next();
            first.map_or(Ok(None), |row| row.try_get::<_, Option<f64>>(0))
        };
        guarded.await.map_err(|error| self.wire.outlet.explained(query_error(&error)))
    }

    /// Pulls the sessions into a ledger.
    ///
    /// # Errors
    ///
    /// If the copy fails or breaks off.
    pub async fn scan(&self, sql: &Sql<'_>, frame: Frame) -> Result<Ledger, TargetError> {
        self.questions.fetch_add(1, Ordering::Relaxed);
        let source = scan::Source { client: &self.wire.client, outlet: &self.wire.outlet };
        scan::run(source, sql, frame).await
    }

    /// Ends the transaction, and gives the connection for another one; nothing if it is lost.
    pub async fn rest(self) -> Option<Idle> {
        let ended = tokio::time::timeout(GOODBYE, self.wire.client.batch_execute("ROLLBACK")).await;
        matches!(ended, Ok(Ok(()))).then_some(Idle(self.wire))
    }

    /// Ends the transaction and the connection.
    pub async fn close(self) {
        let ending = async {
            // Nothing was written: whether the rollback arrives changes nothing.
            let _ = self.wire.client.batch_execute("ROLLBACK").await;
            drop(self.wire.client);
            let _ = self.wire.driver.await;
        };
        let _ = tokio::time::timeout(GOODBYE, ending).await;
    }

    /// Asks the server to end what runs, and ends the connection.
    pub async fn abandon(mut self) {
        if let Some(connector) = self.wire.canceller.take() {
            let token = self.wire.client.cancel_token();
            let asked = token.cancel_query(connector);
            // A server that cannot be asked notices by itself that nobody listens any more.
            let _ = tokio::time::timeout(GOODBYE, asked).await;
        }
        // Closing waits for the query to end: a pooler that still passes a request to cancel on should find it there.
        self.close().await;
    }

    /// Whether the connection is more than a local socket.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.wire.canceller.is_some()
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn encrypted(&self) -> bool {
        self.wire.encrypted
    }
}

impl Idle {
    /// Ends the connection.
    pub async fn close(self) {
        drop(self.0.client);
        // A server that does not answer notices by itself that nobody is there any more.
        let _ = tokio::time::timeout(GOODBYE, self.0.driver).await;
    }
}

/// The query for the first column of the first row of another, as a number.
fn first_number(query: &str) -> String {
    format!("SELECT query.first::pg_catalog.float8 FROM (\n{query}\n) AS query(first) LIMIT 1")
}

/// The rows of a query, as text; an error if they are more than any query of ours has a use for.
async fn fetch(client: &tokio_postgres::Client, sql: &str) -> Result<Vec<Vec<Option<String>>>, TargetError> {
    let messages = client.simple_query_raw(sql).await.map_err(|error| query_error(&error))?;
    let mut messages = std::pin::pin!(messages);
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(message) = messages.try_next().await.map_err(|error| query_error(&error))? {
        let SimpleQueryMessage::Row(row) = message else { continue };
        let cells: Vec<Option<String>> = (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect();
        let text: usize = cells.iter().flatten().map(String::len).sum();
        bytes += text + size_of_val(cells.as_slice());
        if bytes > MAX_ANSWER_BYTES {
            return Err(TargetError::AnswerTooLarge(MAX_ANSWER_BYTES >> 20));
        }
        rows.push(cells);
    }
    Ok(rows)
}

fn connect_error(error: &tokio_postgres::Error) -> TargetError {
    note(error);
    if let Some(refused) = cause(error).and_then(TargetError::too_many_files) {
        return refused;
    }
    TargetError::Connect(match error.code() {
        Some(code) if *code == SqlState::INVALID_PASSWORD => "the password was refused",
        Some(code) if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => refusal(error),
        Some(code) if *code == SqlState::INVALID_CATALOG_NAME => "there is no database of that name",
        Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => "the server has no connection free",
        Some(code) if *code == SqlState::CANNOT_CONNECT_NOW => "the server is starting or stopping",
        // PgBouncer has this one code for whatever it refuses.
        Some(code) if *code == SqlState::PROTOCOL_VIOLATION && says(error, "authentication failed") => {
            "the password was refused"
        }
        Some(_) => "the server refused the connection",
        None => unreachable_because(error),
    })
}

/// Refuses PGlite, where all connections share one transaction: what an application writes while it is read here fails, and
/// `prisma dev` ends over that. It encrypts nothing, so only servers that are near have to be asked.
async fn refuse_pglite(wire: &Wire) -> Result<(), TargetError> {
    let messages = wire.client.simple_query("SELECT pg_catalog.version()").await;
    let messages = messages.map_err(|error| query_error(&error))?;
    let version = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    if version.is_some_and(is_pglite) { Err(TargetError::PgLite) } else { Ok(()) }
}

fn is_pglite(version: &str) -> bool {
    ["PGlite", "wasm32", "emscripten"].iter().any(|sign| version.contains(sign))
}

/// Why a server does not let a user in. It names the file in every language.
fn refusal(error: &tokio_postgres::Error) -> &'static str {
    if says(error, "pg_hba.conf") {
        "the server refuses this user from here, or without TLS: no line of its pg_hba.conf fits"
    } else {
        "the server refuses this user"
    }
}

/// Whether the server's message has these words.
fn says(error: &tokio_postgres::Error, words: &str) -> bool {
    error.as_db_error().is_some_and(|refusal| refusal.message().contains(words))
}

/// Tells whoever asked for it what failed. The server's words only where they are about names and resources: others may
/// quote values.
fn note(error: &tokio_postgres::Error) {
    match error.as_db_error() {
        Some(refusal) => {
            let code = refusal.code().code();
            let harmless = ["08", "28", "3D", "42", "53", "57"].iter().any(|class| code.starts_with(class));
            let message = if harmless { refusal.message() } else { "(not shown: it may quote a value)" };
            tracing::debug!("the server refused: SQLSTATE {code} {message}");
        }
        None => tracing::debug!("the connection failed: {error}"),
    }
}

/// Why no server answered, without the system's text.
fn unreachable_because(error: &tokio_postgres::Error) -> &'static str {
    use std::io::ErrorKind;
    if cause::<NoTlsOffered>(error).is_some() {
        return "the server offers no TLS, and sslmode asks for it";
    }
    match cause::<rustls::Error>(error) {
        Some(rustls::Error::InvalidCertificate(why)) => return tls::distrust(why),
        Some(_) => return "TLS could not be agreed on with the server",
        None => {}
    }
    match cause::<std::io::Error>(error).map(std::io::Error::kind) {
        Some(ErrorKind::ConnectionRefused) => "nothing listens at that host and port",
        Some(ErrorKind::TimedOut) => "the server did not answer in time",
        Some(ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => "the host cannot be reached",
        Some(ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe) => {
            "the server closed the connection at once"
        }
        Some(ErrorKind::InvalidData) => "what answers at that host and port is not PostgreSQL",
        Some(_) => "the host name is not known, or the host cannot be reached",
        None if error.is_closed() => "the server closed the connection at once",
        None if error.to_string().contains("authentication") => {
            "the server asks for a way to log in that is not possible here (channel binding needs TLS and a SCRAM password)"
        }
        // The driver gives its own objections no type and no code.
        None => match std::error::Error::source(error).map(ToString::to_string).as_deref() {
            Some("password missing") => "the server asks for a password, and the address has none",
            Some(_) if error.to_string().starts_with("invalid configuration") => {
                "the parameters of the address contradict each other"
            }
            _ => "the server could not be reached",
        },
    }
}

/// The first error of that type among the causes.
fn cause<T: std::error::Error + 'static>(error: &tokio_postgres::Error) -> Option<&T> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An I/O error hides the error that it was made from.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// Whether a function of the target, such as a trigger, failed to find something by name.
fn is_unresolved_in_a_function(error: &tokio_postgres::Error) -> bool {
    let unresolved =
        [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_FUNCTION, SqlState::UNDEFINED_OBJECT].iter();
    let inside = error.as_db_error().is_some_and(|refusal| refusal.where_().is_some());
    inside && unresolved.into_iter().any(|code| error.code() == Some(code))
}

/// What a failed query means, without the server's text.
fn query_error(error: &tokio_postgres::Error) -> TargetError {
    note(error);
    match error.code() {
        Some(code) if is_unresolved_in_a_function(error) => TargetError::Function(code.code().to_owned()),
        Some(code) if *code == SqlState::QUERY_CANCELED => TargetError::StatementTimeout,
        Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => TargetError::Locked,
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => TargetError::Permission,
        Some(code) if *code == SqlState::ADMIN_SHUTDOWN || *code == SqlState::CRASH_SHUTDOWN => {
            TargetError::Lost
        }
        // A connection exception: what PgBouncer says when its server is gone.
        Some(code) if code.code().starts_with("08") => TargetError::Lost,
        // The only limit of a configuration that a query can pass is that of temporary files.
        Some(code) if *code == SqlState::CONFIGURATION_LIMIT_EXCEEDED => TargetError::NoTemporarySpace,
        Some(code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => TargetError::ReadOnly,
        Some(code) if *code == SqlState::UNDEFINED_FUNCTION => TargetError::Unsupported,
        Some(code) => TargetError::Query(code.code().to_owned()),
        None => TargetError::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_pglite_from_a_server() {
        for version in [
            "PostgreSQL 18.7 (PGlite 0.5.17) on wasm32-unknown-emscripten, compiled by emcc (Emscripten gcc/clang-like replacement + linker emulating GNU ld) 6.0.13, 32-bit",
            "PostgreSQL 17.5 on wasm32-unknown-linux, compiled by clang, 32-bit",
        ] {
            assert!(is_pglite(version), "{version}");
        }
        assert!(!is_pglite(
            "PostgreSQL 18.4 on x86_64-pc-linux-gnu, compiled by gcc (Ubuntu 7.5.0) 7.5.0, 64-bit"
        ));
    }
}
