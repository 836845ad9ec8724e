//! Addresses of SQLite files.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use credentials::mask_credentials;

use super::SQLITE_CAPABILITIES;
use crate::{
    backend::{AddressError, DatabaseAddress, ScratchError},
    capabilities::Capabilities,
};

/// Parses the address of a file: a scheme and a path, a path with the extension of a database, or the path of
/// an existing file. Returns `None` for anything else.
pub(crate) fn parse_address(text: &str) -> Option<Result<PathBuf, AddressError>> {
    for scheme in ["sqlite://", "sqlite:", "file://", "file:"] {
        if let Some(path) = text.strip_prefix(scheme) {
            // Parameters such as `?mode=ro` belong to drivers.
            let path = path.split_once('?').map_or(path, |(path, _)| path);
            let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned();
            return (!path.is_empty()).then(|| Ok(resolve_prisma_path(scheme, path.into())));
        }
    }
    let path = PathBuf::from(text);
    let named_like_one =
        path.extension().is_some_and(|end| ["db", "sqlite", "sqlite3"].iter().any(|known| end == *known));
    // A path that does not exist yet is accepted only with the extension of a database.
    (!text.contains("://") && (named_like_one || path.is_file())).then_some(Ok(path))
}

/// Resolves a path as Prisma does: `file:` is relative to the folder of its schema, `prisma`, if the file
/// exists only there.
fn resolve_prisma_path(scheme: &str, path: PathBuf) -> PathBuf {
    let there = Path::new("prisma").join(&path);
    if scheme == "file:" && path.is_relative() && !path.exists() && there.is_file() { there } else { path }
}

impl DatabaseAddress for PathBuf {
    fn capabilities(&self) -> &'static Capabilities {
        &SQLITE_CAPABILITIES
    }

    fn fmt_redacted(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask_credentials(&format!("sqlite:{}", self.display())))
    }

    fn file_path(&self) -> Option<&Path> {
        Some(self)
    }

    fn resolve_in(&mut self, folder: &Path) {
        *self = folder.join(&self);
    }

    fn scratch_file_path(&self, folder: &Path, name: &str) -> Option<PathBuf> {
        Some(folder.join(format!("{name}.db")))
    }

    async fn create_scratch_database(&self, _: &str, statements: &str, _: &str) -> Result<(), ScratchError> {
        let made = rusqlite::Connection::open(self);
        let filled = made.and_then(|file| file.execute_batch(statements));
        filled.map_err(|_| ScratchError::Unwritable(self.clone()))
    }
}
