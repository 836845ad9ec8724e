//! State store of a command: open, create and back up.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use sessionwatch_store::{Store, StoreError, StoreLocation};
use sessionwatch_targets::error::TargetError;

use super::AppState;
use crate::{
    config::{Config, Target},
    target_layouts, version_control,
};

/// Requirement of a command on the state store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreRequirement {
    /// The command needs an existing store.
    Existing,
    /// The command stores data, and creates a missing store.
    CreateIfMissing,
    /// The command only reads: a missing store is the same as an empty one, and is not created.
    EmptyIfMissing,
}

/// Opened state store.
#[derive(Debug)]
pub struct OpenedStore {
    /// Shared state with the store.
    pub app: Arc<AppState>,
    /// Name of the store for messages, if the store was newly created.
    pub created_label: Option<String>,
    /// Advice to keep the created file out of version control.
    pub ignore_advice: Option<String>,
}

/// Error of opening the state store.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// The location refers to a missing variable or file.
    #[error("serve.store: {0}")]
    Unresolved(String),
    /// The file is empty.
    #[error(
        "store {} is empty: restore a backup, or remove the file and run `sessionwatch serve` to create a new \
         store; or pass another configuration with --config",
        .0.display()
    )]
    Empty(PathBuf),
    /// The store does not exist.
    #[error(
        "{0} not found: pass the configuration of the daemon with --config, or run `sessionwatch serve` to \
         create the store"
    )]
    Missing(String),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opens the configured state store.
///
/// # Errors
///
/// If a required store does not exist, or the store cannot be opened.
pub fn open_store(config: Config, requirement: StoreRequirement) -> Result<OpenedStore, OpenStoreError> {
    // An unset variable must not silently open a store at another place.
    if let Some(problem) = &config.serve.store_unresolved {
        return Err(OpenStoreError::Unresolved(problem.message.clone()));
    }
    let place = &config.serve.store;
    let found = Store::open_existing(place).map_err(|error| match error {
        StoreError::Empty(path) => OpenStoreError::Empty(path),
        error => error.into(),
    })?;
    let (store, created_label) = match (found, requirement) {
        (Some(store), _) => (store, None),
        (None, StoreRequirement::Existing) => return Err(OpenStoreError::Missing(store_label(place))),
        // In memory: a command that only reads must not leave a file behind.
        (None, StoreRequirement::EmptyIfMissing) => (Store::open_in_memory()?, None),
        (None, StoreRequirement::CreateIfMissing) => (Store::open(place)?, Some(store_label(place))),
    };
    let ignore_advice = match &config.serve.store {
        StoreLocation::File(path) if created_label.is_some() => version_control::advise_to_ignore(path),
        _ => None,
    };
    Ok(OpenedStore { app: AppState::for_command(store, config)?, created_label, ignore_advice })
}

/// Opens the configured state store. Returns `None` if the store does not exist.
///
/// # Errors
///
/// If the store cannot be opened.
pub fn open_existing_app(config: &Config) -> Result<Option<Arc<AppState>>, StoreError> {
    let store = Store::open_existing(&config.serve.store)?;
    store.map(|store| AppState::for_command(store, config.clone())).transpose()
}

/// Sets the recorded layouts on configured targets, so that a command reads the same table as the daemon. Does
/// nothing if the state store does not exist.
///
/// # Errors
///
/// If the state store cannot be read.
pub fn set_known_layouts(config: &Config, targets: &mut [Target]) -> Result<(), TargetError> {
    // An address given on the command line has no recorded layout, so the store is not opened for it.
    if config.serve.store_unresolved.is_some() || targets.iter().all(|target| target.is_ad_hoc) {
        return Ok(());
    }
    // Failing to read is an error: the command could otherwise pick a different table than the daemon.
    let found = Store::open_existing(&config.serve.store);
    let Some(store) = found.map_err(|error| TargetError::KnownLayoutUnavailable(error.to_string()))? else {
        return Ok(());
    };
    let mut configured = targets.iter_mut().filter(|target| !target.is_ad_hoc);
    configured.try_for_each(|target| target_layouts::set_known_layout(&store, target))
}

/// Writes a consistent copy of the state store to a new file.
///
/// # Errors
///
/// If the file exists or cannot be written.
pub fn back_up_store(app: &AppState, file: &Path) -> Result<(), StoreError> {
    app.store.backup(file)
}

fn store_label(location: &StoreLocation) -> String {
    match location {
        StoreLocation::File(path) => format!("store {}", path.display()),
        // The address of a server may contain a password, so the label names only the setting.
        StoreLocation::Server(_) => "PostgreSQL store of serve.store".to_owned(),
    }
}
