//! To whom archives are sealed, and where the identity is that opens them.

use std::path::PathBuf;

use sessionwatch_archive::{Identity, Recipient, SealError};
use sessionwatch_store::Place;

use crate::config::Config;

/// Where an identity is made when none is configured: beside the store.
pub const IDENTITY: &str = "sessionwatch-archive.key";

/// Where the identity is, unless it was moved away.
#[must_use]
pub fn path(config: &Config) -> PathBuf {
    if let Some(path) = &config.actions.identity {
        return path.clone();
    }
    match &config.serve.store {
        Place::File(store) => store.with_file_name(IDENTITY),
        Place::Server(_) => PathBuf::from(IDENTITY),
    }
}

/// The recipient that is configured, else that of the identity, which is made if there is none: then it is said where.
///
/// # Errors
///
/// If what is configured is not a recipient, or no identity can be read or made.
pub fn recipient(config: &Config) -> Result<(Recipient, Option<PathBuf>), SealError> {
    if let Some(recipient) = &config.actions.recipient {
        return Ok((Recipient::parse(recipient)?, None));
    }
    let path = path(config);
    if path.exists() {
        return Ok((Identity::read(&path)?.recipient(), None));
    }
    Ok((Identity::create(&path)?.recipient(), Some(path)))
}

/// What the person is told of an identity that was made.
#[must_use]
pub fn advice(recipient: &Recipient, path: &std::path::Path) -> String {
    format!(
        "made {}, which alone opens the archives: move it to a safe place, and write archive_recipient = \"{recipient}\" under [actions]",
        path.display()
    )
}
