//! Servers of several versions of PostgreSQL, each shared by all tests of a binary.

use std::sync::OnceLock;

use crate::{POSTGRES_VERSIONS, PostgresServer};

/// Returns the server of a major version that all tests of a binary share. The first call starts it.
///
/// # Panics
///
/// Panics if the version is not in [`POSTGRES_VERSIONS`], or its server cannot be started.
#[must_use]
pub fn shared_server_of_version(major: u32) -> &'static PostgresServer {
    static SHARED_SERVERS: [OnceLock<PostgresServer>; POSTGRES_VERSIONS.len()] =
        [const { OnceLock::new() }; POSTGRES_VERSIONS.len()];
    let at = POSTGRES_VERSIONS
        .iter()
        .position(|version| *version == major)
        .expect("a version of POSTGRES_VERSIONS");
    SHARED_SERVERS[at].get_or_init(|| {
        PostgresServer::start_version(major, &[]).expect("a private PostgreSQL server starts")
    })
}

/// Returns the server with TimescaleDB that all tests of a binary share. The first call starts it.
///
/// # Panics
///
/// Panics if the server cannot be started.
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
    fn every_server_has_the_requested_version() {
        for major in POSTGRES_VERSIONS {
            let server = shared_server_of_version(major);
            let number = server.psql("postgres", "SHOW server_version_num").unwrap();
            assert_eq!(number.trim().parse::<u32>().unwrap() / 10_000, major);
        }
    }

    #[test]
    fn the_timescale_extension_can_be_created() {
        let server = shared_timescale_server();
        let database = server.create_database(None).unwrap();
        database.psql("CREATE EXTENSION timescaledb").unwrap();
        let version =
            database.psql("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'").unwrap();
        assert!(version.starts_with("2."), "{version}");
    }
}
