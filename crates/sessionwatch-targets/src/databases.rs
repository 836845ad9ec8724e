//! The databases that sessions can be in. A further one is a folder that implements [`crate::backend`], and a line in every
//! list of this file.

use std::{convert::Infallible, path::PathBuf};

use pg_link::Dsn;

use crate::{
    backend::{AddressError, ReadBackend as _, ReadOptions, WriteBackend as _},
    error::TargetError,
    limits::TimeLimits,
    postgres::{self, IdlePostgres, PostgresRead, PostgresWrite},
    sql::Dialect,
    sqlite::{self, SqliteRead, SqliteWrite},
};

/// The SQL of each.
pub const ALL_DIALECTS: [Dialect; 2] = [Dialect::POSTGRES, Dialect::SQLITE];

/// How addresses are written.
pub(crate) const ADDRESS_FORMS: [&str; 3] =
    ["postgres://USER:PASSWORD@HOST:PORT/DATABASE", "sqlite:PATH", "the path of a SQLite file"];

/// How addresses begin that people have of their applications, and why they cannot be used.
pub(crate) const UNSUPPORTED_SCHEMES: [(&str, &str); 10] = [
    ("mysql://", "MySQL and MariaDB are not supported yet"),
    ("mariadb://", "MySQL and MariaDB are not supported yet"),
    ("redis://", "sessions in Redis are not supported yet"),
    ("rediss://", "sessions in Redis are not supported yet"),
    ("valkey://", "sessions in Valkey are not supported yet"),
    ("mongodb://", "MongoDB is not supported"),
    ("mongodb+srv://", "MongoDB is not supported"),
    (
        "libsql://",
        "libsql:// leads to a server, which is not supported; a libSQL file is read as sqlite:PATH",
    ),
    ("sqlserver://", "SQL Server is not supported"),
    ("jdbc:", "that is an address for Java; write postgres://USER:PASSWORD@HOST:PORT/DATABASE"),
];

/// Where a target is.
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

/// A connection between two transactions.
#[derive(Debug)]
pub enum PooledConnection {
    /// To a PostgreSQL server.
    Postgres(IdlePostgres),
    /// A SQLite file needs none.
    Sqlite(Infallible),
}

/// A connection that changes rows, with credentials of its own.
#[derive(Debug)]
pub enum WriteSession {
    /// PostgreSQL.
    Postgres(PostgresWrite),
    /// SQLite.
    Sqlite(SqliteWrite),
}

/// Does the same with whichever database it is.
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
    /// Of a database that is a file.
    #[must_use]
    pub const fn from_file_path(path: PathBuf) -> Self {
        Self::Sqlite(path)
    }

    /// Reads an address of a database that is known; nothing if it is none. What has no scheme may be a file.
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

    /// Opens another transaction over a connection that is there already; nothing if that is lost, or leads elsewhere.
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
            (PooledConnection::Postgres(_), _) | (PooledConnection::Sqlite(_), _) => return None,
        };
        resumed.ok()
    }

    /// Ends the transaction, and gives the connection for another one, if there is one and it is not lost.
    pub async fn release(self) -> Option<PooledConnection> {
        match self {
            Self::Postgres(session) => session.release().await.map(PooledConnection::Postgres),
            Self::Sqlite(session) => session.release().await.map(PooledConnection::Sqlite),
        }
    }
}

impl WriteSession {
    /// Connects; `key` is that of row hashes.
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
