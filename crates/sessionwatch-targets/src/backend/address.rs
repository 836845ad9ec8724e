//! What an address of a kind of database has to tell.

use std::{
    fmt::{self, Debug},
    path::{Path, PathBuf},
};

use super::{NamedDatabase, ScratchError, TransportSecurity};
use crate::capabilities::Capabilities;

/// Where a database is.
pub(crate) trait DatabaseAddress: Clone + Debug + Eq {
    /// What this kind of database can do.
    fn capabilities(&self) -> &'static Capabilities;

    /// Writes it without any password.
    ///
    /// # Errors
    ///
    /// If the text cannot be written to.
    fn fmt_redacted(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// The file, if it is one.
    fn file_path(&self) -> Option<&Path> {
        None
    }

    /// Takes a relative path as one in this folder. A server is where it is.
    fn resolve_in(&mut self, _folder: &Path) {}

    /// How what is sent is protected on its way; nothing where nothing is sent.
    fn transport_security(&self) -> Option<TransportSecurity> {
        None
    }

    /// Why no connection can be made whose certificate is checked as the address asks; nothing where it can.
    fn tls_problem(&self) -> Option<String> {
        None
    }

    /// The file that a scratch database for a target here is made in; nothing where it is made on a server.
    fn scratch_file_path(&self, _folder: &Path, _name: &str) -> Option<PathBuf> {
        None
    }

    /// Makes a scratch database here and fills it: on a server, one of that name. The comment on it is for those who find it.
    ///
    /// # Errors
    ///
    /// If it may not be made, or the statements fail.
    async fn create_scratch_database(
        &self,
        name: &str,
        statements: &str,
        comment: &str,
    ) -> Result<(), ScratchError>;

    /// Leads to the database of that name on the same server. A file is the only one.
    fn select_database(&mut self, _name: &str) {}

    /// Removes a scratch database of that name, whoever is connected to it. Returns `false` if it may still be there.
    async fn drop_scratch_database(&self, _name: &str) -> bool {
        true
    }

    /// The databases on this server whose names begin so; none where it does not answer, or is a file.
    async fn list_databases(&self, _prefix: &str) -> Vec<NamedDatabase> {
        vec![]
    }

    /// Removes a database of that name that nobody is connected to. Returns whether that was possible.
    async fn drop_unused_database(&self, _name: &str) -> bool {
        false
    }
}
