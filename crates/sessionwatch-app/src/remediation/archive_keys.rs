//! To whom archives are sealed, and where the identity is that opens them.

use std::path::PathBuf;

use sessionwatch_archive::{Identity, Recipient, SealError};
use sessionwatch_store::StoreLocation;

use crate::config::Config;

/// Where an identity is made when none is configured: beside the store.
pub const IDENTITY_FILE_NAME: &str = "sessionwatch-archive.key";

/// Where the identity is, unless it was moved away.
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

/// The recipient that is configured, else that of the identity, which is made if there is none: then it is said where.
///
/// # Errors
///
/// If what is configured is not a recipient, or no identity can be read or made.
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

/// What the person is told of an identity that was made.
#[must_use]
pub fn new_identity_advice(recipient: &Recipient, path: &std::path::Path) -> String {
    format!(
        "made {}, which alone opens the archives: move it to a safe place, and write archive_recipient = \"{recipient}\" under [actions]",
        path.display()
    )
}
