//! Keys of the archive: the recipient that rows are encrypted to, and the identity file that decrypts them.

use std::path::PathBuf;

use sessionwatch_archive::{Identity, Recipient, SealError};
use sessionwatch_store::StoreLocation;

use crate::config::Config;

/// Default file name of the identity, beside the store.
pub const IDENTITY_FILE_NAME: &str = "sessionwatch-archive.key";

/// Returns the path of the identity file, which may have been moved away.
#[must_use]
pub fn identity_path(config: &Config) -> PathBuf {
    if let Some(path) = &config.actions.archive_identity {
        return path.clone();
    }
    match &config.serve.store {
        StoreLocation::File(store) => store.with_file_name(IDENTITY_FILE_NAME),
        StoreLocation::Server(_) => PathBuf::from(IDENTITY_FILE_NAME),
    }
}

/// Returns the configured recipient, else that of the identity file. Creates the file if it does not exist, and then
/// returns its path too.
///
/// # Errors
///
/// Fails if the configured recipient is invalid, or the identity file cannot be read or created.
pub fn load_or_create_recipient(config: &Config) -> Result<(Recipient, Option<PathBuf>), SealError> {
    if let Some(recipient) = &config.actions.archive_recipient {
        return Ok((Recipient::parse(recipient)?, None));
    }
    let path = identity_path(config);
    if path.exists() {
        return Ok((Identity::read_file(&path)?.recipient(), None));
    }
    Ok((Identity::create_file(&path)?.recipient(), Some(path)))
}

/// Returns the advice for a newly created identity file.
#[must_use]
pub fn new_identity_advice(recipient: &Recipient, path: &std::path::Path) -> String {
    format!(
        "created {}, the only key that opens the archives: move it to a safe place and set \
         archive_recipient = \"{recipient}\" in [actions]",
        path.display()
    )
}
