//! The supported databases. To add one, implement [`crate::backend`] in a folder and extend every list in
//! this file.

use std::{convert::Infallible, path::PathBuf};

use pg_link::Dsn;

use crate::{
    backend::{AddressError, ReadBackend as _, ReadOptions, WriteBackend as _},
    error::TargetError,
    postgres::{self, IdlePostgres, PostgresRead, PostgresWrite},
    sql::Dialect,
    sqlite::{self, SqliteRead, SqliteWrite},
    time_limits::TimeLimits,
};

/// The SQL dialect of each database.
pub const ALL_DIALECTS: [Dialect; 2] = [Dialect::POSTGRES, Dialect::SQLITE];

/// The accepted forms of an address.
pub(crate) const ADDRESS_FORMS: [&str; 3] =
    ["postgres://USER:PASSWORD@HOST:PORT/DATABASE", "sqlite:PATH", "the path of a SQLite file"];

/// Advice for sessions that are in none of the supported databases.
const UNSUPPORTED_DATABASE_ADVICE: &str = "sessionwatch reads session tables in PostgreSQL and SQLite; keep the \
    sessions in one of these, or check the application's logs with `sessionwatch logs scan`";

/// A scheme that people copy from their applications, although it does not work here.
pub(crate) struct UnsupportedScheme {
    scheme: &'static str,
    problem: &'static str,
    advice: &'static str,
}

impl UnsupportedScheme {
    const ALL: [Self; 10] = [
        Self::database("mysql://", "MySQL and MariaDB are not supported yet"),
        Self::database("mariadb://", "MySQL and MariaDB are not supported yet"),
        Self::database("redis://", "sessions in Redis are not supported yet"),
        Self::database("rediss://", "sessions in Redis are not supported yet"),
        Self::database("valkey://", "sessions in Valkey are not supported yet"),
        Self::database("mongodb://", "MongoDB is not supported"),
        Self::database("mongodb+srv://", "MongoDB is not supported"),
        Self::database("sqlserver://", "SQL Server is not supported"),
        Self {
            scheme: "libsql://",
            problem: "libsql:// servers are not supported",
            advice: "for a libSQL file, use sqlite:PATH",
        },
        Self {
            scheme: "jdbc:",
            problem: "JDBC URLs are not supported",
            advice: "use postgres://USER:PASSWORD@HOST:PORT/DATABASE",
        },
    ];

    const fn database(scheme: &'static str, problem: &'static str) -> Self {
        Self { scheme, problem, advice: UNSUPPORTED_DATABASE_ADVICE }
    }

    /// Returns the error for an address with one of these schemes; `None` for any other address.
    pub(crate) fn find_error(address: &str) -> Option<AddressError> {
        let Self { problem, advice, .. } =
            Self::ALL.iter().find(|unsupported| address.starts_with(unsupported.scheme))?;
        Some(AddressError::NotSupported { problem, advice })
    }
}

/// Address of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetAddress {
    /// A PostgreSQL server.
    Postgres(Box<Dsn>),
    /// A SQLite file.
    Sqlite(PathBuf),
}

/// A target inside its read-only transaction.
#[derive(Debug)]
pub enum ReadSession {
    /// PostgreSQL.
    Postgres(PostgresRead),
    /// SQLite.
    Sqlite(SqliteRead),
}

/// An open connection without a transaction.
#[derive(Debug)]
pub enum PooledConnection {
    /// To a PostgreSQL server.
    Postgres(IdlePostgres),
    /// None: a SQLite file is reopened for each transaction.
    Sqlite(Infallible),
}

/// A connection with write credentials.
#[derive(Debug)]
pub enum WriteSession {
    /// PostgreSQL.
    Postgres(PostgresWrite),
    /// SQLite.
    Sqlite(SqliteWrite),
}

/// Runs the same expression on either variant.
macro_rules! each {
    ($of:expr, $kind:ident, $one:ident => $what:expr) => {
        match $of {
            $kind::Postgres($one) => $what,
            $kind::Sqlite($one) => $what,
        }
    };
}
pub(crate) use each;

impl TargetAddress {
    /// Creates the address of a SQLite file.
    #[must_use]
    pub const fn from_file_path(path: PathBuf) -> Self {
        Self::Sqlite(path)
    }

    /// Returns the connection parameters of a server; `None` for a file.
    #[must_use]
    pub const fn server_dsn_mut(&mut self) -> Option<&mut Dsn> {
        match self {
            Self::Postgres(dsn) => Some(dsn),
            Self::Sqlite(_) => None,
        }
    }

    /// Parses an address with a supported scheme, or the path of a file. Returns `None` for anything else.
    pub(crate) fn parse_known_scheme(text: &str) -> Option<Result<Self, AddressError>> {
        let server = postgres::parse_address(text).map(|dsn| Ok(Self::Postgres(Box::new(dsn?))));
        server.or_else(|| sqlite::parse_address(text).map(|path| path.map(Self::Sqlite)))
    }
}

impl ReadSession {
    pub(crate) async fn connect(address: &TargetAddress, options: ReadOptions) -> Result<Self, TargetError> {
        Ok(match address {
            TargetAddress::Postgres(dsn) => Self::Postgres(PostgresRead::open(dsn, options).await?),
            TargetAddress::Sqlite(path) => Self::Sqlite(SqliteRead::open(path, options).await?),
        })
    }

    /// Begins another transaction over an existing connection. Returns `None` if the connection is lost, or
    /// leads to another address.
    pub async fn resume_connection(
        idle: PooledConnection,
        address: &TargetAddress,
        limits: TimeLimits,
    ) -> Option<Self> {
        let resumed = match (idle, address) {
            (PooledConnection::Postgres(idle), TargetAddress::Postgres(dsn)) => {
                PostgresRead::resume_connection(idle, dsn, limits).await.map(Self::Postgres)
            }
            (PooledConnection::Sqlite(idle), TargetAddress::Sqlite(path)) => {
                SqliteRead::resume_connection(idle, path, limits).await.map(Self::Sqlite)
            }
            // The configuration was reloaded and the target now has another kind of database.
            (PooledConnection::Postgres(_), _) | (PooledConnection::Sqlite(_), _) => return None,
        };
        resumed.ok()
    }

    /// Ends the transaction and returns the connection for the next one, if it is still usable.
    pub async fn release(self) -> Option<PooledConnection> {
        match self {
            Self::Postgres(session) => session.release().await.map(PooledConnection::Postgres),
            Self::Sqlite(session) => session.release().await.map(PooledConnection::Sqlite),
        }
    }
}

impl WriteSession {
    /// Connects. `key` is the key of row hashes.
    ///
    /// # Errors
    ///
    /// If the database cannot be reached or refuses.
    pub async fn open(address: &TargetAddress, limits: TimeLimits, key: i64) -> Result<Self, TargetError> {
        Ok(match address {
            TargetAddress::Postgres(dsn) => Self::Postgres(PostgresWrite::open(dsn, limits, key).await?),
            TargetAddress::Sqlite(path) => Self::Sqlite(SqliteWrite::open(path, limits, key).await?),
        })
    }
}
