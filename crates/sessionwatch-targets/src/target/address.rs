//! Addresses of targets: a PostgreSQL URL or connection string, or a SQLite file.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use credentials::mask;
use pg_link::{Dsn, DsnError};

use super::capabilities::{self, Capabilities};

/// Where a target is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A PostgreSQL server.
    Postgres(Box<Dsn>),
    /// A SQLite file.
    Sqlite(PathBuf),
}

/// Schemes of addresses that people have of their applications, and why they cannot be used.
const FOREIGN: [(&str, &str); 8] = [
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

/// Why an address cannot be used. No message repeats the address: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// MySQL and MariaDB.
    #[error("MySQL and MariaDB are not supported yet")]
    MySql,
    /// A service of Prisma that passes queries on.
    #[error(
        "prisma+postgres:// leads to a service that speaks another protocol than PostgreSQL; give the address of the database itself, which Prisma calls the direct one (postgres://…)"
    )]
    PrismaProxy,
    /// A product that is known and not supported.
    #[error("{0}")]
    Foreign(&'static str),
    /// Neither a known scheme nor a file.
    #[error(
        "not the address of a database; accepted are postgres://USER:PASSWORD@HOST:PORT/DATABASE, sqlite:PATH, or the path of a SQLite file"
    )]
    Unknown,
    /// A faulty PostgreSQL address.
    #[error("faulty PostgreSQL address: {0}")]
    Postgres(#[from] DsnError),
}

impl Address {
    /// What this kind of database can do.
    #[must_use]
    pub fn capabilities(&self) -> &'static Capabilities {
        match self {
            Self::Postgres(_) => &capabilities::POSTGRES,
            Self::Sqlite(_) => &capabilities::SQLITE,
        }
    }

    /// The file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }

    /// The server, if it is a PostgreSQL one.
    #[must_use]
    pub fn postgres(&self) -> Option<&Dsn> {
        match self {
            Self::Postgres(dsn) => Some(dsn),
            Self::Sqlite(_) => None,
        }
    }

    /// The same, with a file that is meant to be in a folder.
    #[must_use]
    pub fn in_folder(self, folder: &Path) -> Self {
        match self {
            Self::Sqlite(path) => Self::Sqlite(folder.join(path)),
            server @ Self::Postgres(_) => server,
        }
    }

    /// Reads an address.
    ///
    /// # Errors
    ///
    /// If the scheme is not known, or the rest is not an address of that scheme.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(Box::new(Dsn::parse(text)?)));
        }
        for scheme in ["sqlite://", "sqlite:", "file://", "file:"] {
            if let Some(path) = text.strip_prefix(scheme) {
                let path = path.split_once('?').map_or(path, |(path, _)| path);
                let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned();
                return if path.is_empty() {
                    Err(AddressError::Unknown)
                } else {
                    Ok(Self::Sqlite(beside_schema(scheme, path.into())))
                };
            }
        }
        if text.starts_with("prisma://") || text.starts_with("prisma+postgres://") {
            let direct = direct_address(text).ok_or(AddressError::PrismaProxy)?;
            return Ok(Self::Postgres(Box::new(Dsn::parse(&direct)?)));
        }
        if text.starts_with("mysql://") || text.starts_with("mariadb://") {
            return Err(AddressError::MySql);
        }
        if let Some((_, why)) = FOREIGN.iter().find(|(scheme, _)| text.starts_with(scheme)) {
            return Err(AddressError::Foreign(why));
        }
        let path = PathBuf::from(text);
        let named_like_one =
            path.extension().is_some_and(|end| ["db", "sqlite", "sqlite3"].iter().any(|known| end == *known));
        if !text.contains("://") && (named_like_one || path.is_file()) {
            Ok(Self::Sqlite(path))
        } else {
            Err(AddressError::Unknown)
        }
    }
}

/// The address of the database itself, which `prisma dev` writes into the key: base64 of JSON.
fn direct_address(text: &str) -> Option<String> {
    use base64::{Engine as _, engine::general_purpose};
    let (_, parameters) = text.split_once('?')?;
    let key = parameters.split('&').find_map(|parameter| parameter.strip_prefix("api_key="))?;
    let key = percent_encoding::percent_decode_str(key).decode_utf8().ok()?;
    let key = key.trim_end_matches('=');
    let decoded = general_purpose::STANDARD_NO_PAD.decode(key);
    let decoded = decoded.or_else(|_| general_purpose::URL_SAFE_NO_PAD.decode(key)).ok()?;
    let key: serde_json::Value = serde_json::from_slice(&decoded).ok()?;
    let direct = key["databaseUrl"].as_str()?;
    // It leads to a server, and to no other such address.
    ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| direct.starts_with(scheme))
        .then(|| direct.to_owned())
}

/// The file that Prisma means: it resolves `file:` from the folder of its schema, `prisma`, if the file is there and not here.
fn beside_schema(scheme: &str, path: PathBuf) -> PathBuf {
    let there = Path::new("prisma").join(&path);
    if scheme == "file:" && path.is_relative() && !path.exists() && there.is_file() { there } else { path }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(dsn) => dsn.fmt(f),
            Self::Sqlite(path) => f.write_str(&mask(&format!("sqlite:{}", path.display()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_products_apart_and_repeats_no_password() {
        assert!(
            matches!(Address::parse("sqlite:app%20one.db"), Ok(Address::Sqlite(path)) if path.to_str() == Some("app one.db"))
        );
        assert!(matches!(Address::parse("app.sqlite3"), Ok(Address::Sqlite(_))));
        assert!(matches!(Address::parse("mysql://u:hunter2@h/d"), Err(AddressError::MySql)));
        let proxied =
            Address::parse("prisma+postgres://localhost:51213/?api_key=hunter2").unwrap_err().to_string();
        assert!(proxied.contains("direct") && !proxied.contains("hunter2"), "{proxied}");
        // {"databaseUrl":"postgres://u:hunter2@h:51214/template1?sslmode=disable&connection_limit=1"}
        let local = "prisma+postgres://localhost:51213/?api_key=eyJkYXRhYmFzZVVybCI6InBvc3RncmVzOi8vdTpodW50ZXIyQGg6NTEyMTQvdGVtcGxhdGUxP3NzbG1vZGU9ZGlzYWJsZSZjb25uZWN0aW9uX2xpbWl0PTEifQ";
        for address in [local.to_owned(), format!("{local}==")] {
            let direct = Address::parse(&address).unwrap().to_string();
            assert_eq!(direct, "postgres://u:***@h:51214/template1", "{direct}");
        }
        for hostile in
            ["", "postgres://", "http://u:hunter2@h", "sqlite:", "postgres://u:hunter2@h:99999/d", "\0"]
        {
            let message =
                Address::parse(hostile).map_or_else(|error| error.to_string(), |address| address.to_string());
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
