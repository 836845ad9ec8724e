//! The state store as a command finds it: opened, created, or copied.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use sessionwatch_store::{Store, StoreError, StoreLocation};
use sessionwatch_targets::error::TargetError;

use super::AppState;
use crate::{
    config::{Config, Target},
    target_layouts,
};

/// What a command needs of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreRequirement {
    /// It reads or changes what is in there: without a store there is nothing for it to do.
    Existing,
    /// It keeps something for the first time, and may create the store.
    CreateIfMissing,
    /// It compares with what is in there, if there is something, and keeps nothing.
    EmptyIfMissing,
}

/// A store that was opened.
#[derive(Debug)]
pub struct OpenedStore {
    /// What use cases share.
    pub app: Arc<AppState>,
    /// What the store is called, if it was created now.
    pub created_label: Option<String>,
}

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// Its address is not known.
    #[error("serve.store: {0}")]
    Unresolved(String),
    /// Its file is empty.
    #[error(
        "there is no store {}: nothing is in the file; if there was a store, restore its backup, otherwise remove the file, and `sessionwatch serve` creates it; for another one, name its configuration with --config",
        .0.display()
    )]
    Empty(PathBuf),
    /// There is none of that name.
    #[error(
        "there is no {0}: `sessionwatch serve` creates it; for another one, name its configuration with --config"
    )]
    Missing(String),
    /// It cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opens the store that a configuration names.
///
/// # Errors
///
/// If there is none and none may be created, or it cannot be opened.
pub fn open_store(config: Config, requirement: StoreRequirement) -> Result<OpenedStore, OpenStoreError> {
    if let Some(problem) = &config.serve.store_unresolved {
        return Err(OpenStoreError::Unresolved(problem.clone()));
    }
    let place = &config.serve.store;
    let found = Store::open_existing(place).map_err(|error| match error {
        StoreError::Empty(path) => OpenStoreError::Empty(path),
        error => error.into(),
    })?;
    let (store, created) = match (found, requirement) {
        (Some(store), _) => (store, None),
        (None, StoreRequirement::Existing) => return Err(OpenStoreError::Missing(store_label(place))),
        (None, StoreRequirement::EmptyIfMissing) => (Store::open_in_memory()?, None),
        (None, StoreRequirement::CreateIfMissing) => (Store::open(place)?, Some(store_label(place))),
    };
    Ok(OpenedStore { app: AppState::for_command(store, config)?, created_label: created })
}

/// Opens the store that a configuration names; `None` if there is none.
///
/// # Errors
///
/// If it cannot be opened.
pub fn find_store(config: &Config) -> Result<Option<Arc<AppState>>, StoreError> {
    let store = Store::open_existing(&config.serve.store)?;
    store.map(|store| AppState::for_command(store, config.clone())).transpose()
}

/// Adds to configured targets where the store knows their sessions to be, so that a command reads the same table as the
/// daemon. Without a store nothing is known.
///
/// # Errors
///
/// If the store cannot be read.
pub fn set_known_layouts(config: &Config, targets: &mut [Target]) -> Result<(), TargetError> {
    if config.serve.store_unresolved.is_some() || targets.iter().all(|target| target.is_ad_hoc) {
        return Ok(());
    }
    let found = Store::open_existing(&config.serve.store);
    let Some(store) = found.map_err(|error| TargetError::KnownLayoutUnavailable(error.to_string()))? else {
        return Ok(());
    };
    let mut configured = targets.iter_mut().filter(|target| !target.is_ad_hoc);
    configured.try_for_each(|target| target_layouts::set_known_layout(&store, target))
}

/// Copies the store, as it stands at one instant, into a new file.
///
/// # Errors
///
/// If there is such a file, or it cannot be written.
pub fn back_up_store(app: &AppState, file: &Path) -> Result<(), StoreError> {
    app.store.backup(file)
}

fn store_label(location: &StoreLocation) -> String {
    match location {
        StoreLocation::File(path) => format!("store {}", path.display()),
        StoreLocation::Server(_) => "store in the database that serve.store names".to_owned(),
    }
}
