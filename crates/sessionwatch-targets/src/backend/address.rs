//! Trait for the address of one kind of database.

use std::{
    fmt::{self, Debug},
    path::{Path, PathBuf},
};

use super::{NamedDatabase, ScratchError, TransportSecurity};
use crate::capabilities::Capabilities;

/// Address of a database.
pub(crate) trait DatabaseAddress: Clone + Debug + Eq {
    /// Returns the capabilities of this kind of database.
    fn capabilities(&self) -> &'static Capabilities;

    /// Writes the address without its password.
    ///
    /// # Errors
    ///
    /// If the formatter fails.
    fn fmt_redacted(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// Returns the path, if the database is a file.
    fn file_path(&self) -> Option<&Path> {
        None
    }

    /// Resolves a relative path against this folder. Does nothing for a server.
    fn resolve_in(&mut self, _folder: &Path) {}

    /// Returns how the address asks connections to be protected, or `None` for a file.
    fn transport_security(&self) -> Option<TransportSecurity> {
        None
    }

    /// Returns why TLS cannot be set up as the address asks, or `None` if it can.
    fn tls_problem(&self) -> Option<String> {
        None
    }

    /// Returns the file to create a scratch database in, or `None` where a server holds scratch databases.
    fn scratch_file_path(&self, _folder: &Path, _name: &str) -> Option<PathBuf> {
        None
    }

    /// Creates a scratch database and fills it: on a server, one of that name. The comment explains the
    /// database to anyone who finds it.
    ///
    /// # Errors
    ///
    /// If the database cannot be created, or the statements fail.
    async fn create_scratch_database(
        &self,
        name: &str,
        statements: &str,
        comment: &str,
    ) -> Result<(), ScratchError>;

    /// Selects the database of that name on the same server. Does nothing for a file.
    fn select_database(&mut self, _name: &str) {}

    /// Drops a scratch database, even while clients are connected. Returns `false` if the database may still
    /// exist.
    async fn drop_scratch_database(&self, _name: &str) -> bool {
        true
    }

    /// Returns the databases on this server whose names start with the prefix; none if the server is
    /// unreachable, or for a file.
    async fn list_databases(&self, _prefix: &str) -> Vec<NamedDatabase> {
        vec![]
    }

    /// Drops a database without connected clients. Returns `false` if the server refuses.
    async fn drop_unused_database(&self, _name: &str) -> bool {
        false
    }
}
