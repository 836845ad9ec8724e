//! Which file is open, by device and inode: the file at the path may be another one by now, or none.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::StoreError;

/// A file that is open.
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

    /// Makes sure that the file is still the one at its path.
    pub(super) fn verify_unchanged(&self) -> Result<(), StoreError> {
        match std::fs::metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == (self.device, self.inode) => Ok(()),
            Ok(_) => Err(StoreError::FileReplaced(self.path.clone())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(StoreError::FileDeleted(self.path.clone()))
            }
            // A folder that may not be entered for a moment says nothing of the file.
            Err(_) => Ok(()),
        }
    }
}
