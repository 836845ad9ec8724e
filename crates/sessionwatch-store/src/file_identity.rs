//! Identity of the open store file, by device and inode, to notice when the file at its path is deleted or replaced.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::StoreError;

/// The identity of an open file.
#[derive(Clone, Debug)]
pub(super) struct FileIdentity {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl FileIdentity {
    pub(super) fn from_metadata(path: &Path, open: &Metadata) -> Self {
        Self { path: path.to_owned(), device: open.dev(), inode: open.ino() }
    }

    /// Verifies that the file is still the one at its path.
    pub(super) fn verify_unchanged(&self) -> Result<(), StoreError> {
        match std::fs::metadata(&self.path) {
            // Both numbers: inodes are unique only within a device.
            Ok(found) if (found.dev(), found.ino()) == (self.device, self.inode) => Ok(()),
            Ok(_) => Err(StoreError::FileReplaced(self.path.clone())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(StoreError::FileDeleted(self.path.clone()))
            }
            // An unreadable directory, perhaps only for a moment, is no proof that the file is gone.
            Err(_) => Ok(()),
        }
    }
}
