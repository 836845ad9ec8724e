//! New store files: complete before they get their names, so that a crash never leaves a partial store.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use crate::{StoreError, migrations::migrate_to_latest, sqlite_connection::with_transaction};

/// A temporary file (mode 0600) beside its final path. Dropping the value removes it, unless it was published.
#[derive(Debug)]
pub(super) struct StagedFile {
    path: PathBuf,
}

impl StagedFile {
    /// Creates a temporary file in the directory of `path`.
    ///
    /// # Errors
    ///
    /// If the folder is not there, or may not be written.
    pub(super) fn create_for(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy().into_owned();
        // A random suffix, so that two processes which create the same file do not share a draft.
        let draft = Self { path: path.with_file_name(format!(".{name}.new-{:08x}", rand::random::<u32>())) };
        OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft.path)?;
        Ok(draft)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs the file and gives it its final name. Never replaces a file.
    ///
    /// # Errors
    ///
    /// If a file of that name exists, or the directory is not writable.
    pub(super) fn publish_as(self, path: &Path) -> io::Result<()> {
        // Before the name is given: a crash after it must not leave a file with missing pages.
        File::open(&self.path)?.sync_all()?;
        // A hard link fails if the name exists, whereas a rename would silently replace a file.
        match fs::hard_link(&self.path, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            // Some file systems have no hard links: fall back to a check and a rename, which is not atomic.
            Err(_) if fs::symlink_metadata(path).is_ok() => return Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(&self.path, path)?,
            Ok(()) => {}
        }
        // The directory entry is data too: without this, the new name can be lost in a power failure.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm", "-journal"] {
            let mut name = self.path.clone().into_os_string();
            name.push(end);
            // SQLite may not have created all of these, and a published file has another name by now.
            let _ = fs::remove_file(name);
        }
    }
}

/// Creates an empty store at a path that has none. Succeeds if another process creates one at the same time.
///
/// # Errors
///
/// If the folder is not there, or may not be written.
pub(super) fn create_store_file(path: &Path) -> Result<(), StoreError> {
    let refused = |_| StoreError::Open(path.to_owned());
    // The link itself must stay: it may be how the file is kept on another disk.
    let place = resolve_symlinks(path);
    let draft = StagedFile::create_for(&place).map_err(refused)?;
    let mut connection = Connection::open(draft.path())?;
    with_transaction(&mut connection, migrate_to_latest)?;
    // Closed before publishing, so that no write-ahead log with an old name is left behind.
    connection.close().map_err(|(_, error)| error)?;
    // Lost the race: the other process created a complete store, which can be opened as well.
    match draft.publish_as(&place) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(refused(error)),
        _ => Ok(()),
    }
}

/// Resolves symbolic links, including a link to a file that does not exist yet.
fn resolve_symlinks(path: &Path) -> PathBuf {
    /// Longest chain of links followed, as on Linux.
    const MAX_SYMLINKS: usize = 40;
    // Not `canonicalize`, which fails for a link to a file that does not exist yet.
    let mut place = path.to_owned();
    for _ in 0..MAX_SYMLINKS {
        let Ok(target) = fs::read_link(&place) else { break };
        // A relative target is relative to the directory of the link.
        place = place.parent().unwrap_or(Path::new("")).join(target);
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_staged_file_replaces_nothing_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        fs::write(&path, "mine").unwrap();
        let draft = StagedFile::create_for(&path).unwrap();
        assert_eq!(draft.publish_as(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        drop(StagedFile::create_for(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        // A dangling link: the store is created at its target.
        let (link, target) = (folder.path().join("link.db"), folder.path().join("elsewhere.db"));
        std::os::unix::fs::symlink("elsewhere.db", &link).unwrap();
        create_store_file(&link).unwrap();
        assert!(fs::metadata(&target).unwrap().len() > 0 && fs::read_link(&link).is_ok());
    }
}
