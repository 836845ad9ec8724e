//! Servers of several versions of PostgreSQL, each shared by all tests of a binary.

use std::sync::OnceLock;

use crate::{POSTGRES_VERSIONS, PostgresServer};

/// The one server of that major version that all tests of a binary share. It starts when it is first asked for.
///
/// # Panics
///
/// If the version is none of [`SUPPORTED_VERSIONS`], or no server of it can be started.
#[must_use]
pub fn shared_server_of_version(major: u32) -> &'static PostgresServer {
    static SHARED_SERVERS: [OnceLock<PostgresServer>; POSTGRES_VERSIONS.len()] =
        [const { OnceLock::new() }; POSTGRES_VERSIONS.len()];
    let at =
        POSTGRES_VERSIONS.iter().position(|version| *version == major).expect("a version that is tested on");
    SHARED_SERVERS[at].get_or_init(|| {
        PostgresServer::start_version(major, &[]).expect("a private PostgreSQL server starts")
    })
}

/// The one server with TimescaleDB that all tests of a binary share. It starts when it is first asked for.
///
/// # Panics
///
/// If no such server can be started.
#[must_use]
pub fn shared_timescale_server() -> &'static PostgresServer {
    static SHARED_TIMESCALE_SERVER: OnceLock<PostgresServer> = OnceLock::new();
    SHARED_TIMESCALE_SERVER
        .get_or_init(|| PostgresServer::start_timescale().expect("a private server with TimescaleDB starts"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_what_it_says() {
        for major in POSTGRES_VERSIONS {
            let server = shared_server_of_version(major);
            let number = server.psql("postgres", "SHOW server_version_num").unwrap();
            assert_eq!(number.trim().parse::<u32>().unwrap() / 10_000, major);
        }
    }

    #[test]
    fn timescale_has_its_extension() {
        let server = shared_timescale_server();
        let database = server.create_database(None).unwrap();
        database.psql("CREATE EXTENSION timescaledb").unwrap();
        let version =
            database.psql("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'").unwrap();
        assert!(version.starts_with("2."), "{version}");
    }
}
