//! The state store as a command finds it: opened, created, or copied.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use sessionwatch_store::{Place, Store, StoreError};
use sessionwatch_targets::error::TargetError;

use super::AppState;
use crate::{
    config::{Config, Target},
    target_layouts,
};

/// What a command needs of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreNeed {
    /// It reads or changes what is in there: without a store there is nothing for it to do.
    Existing,
    /// It keeps something for the first time, and may create the store.
    OrCreated,
    /// It compares with what is in there, if there is something, and keeps nothing.
    OrEmpty,
}

/// A store that was opened.
#[derive(Debug)]
pub struct OpenedStore {
    /// What use cases share.
    pub app: Arc<AppState>,
    /// What the store is called, if it was created now.
    pub created: Option<String>,
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
pub fn open(config: Config, need: StoreNeed) -> Result<OpenedStore, OpenStoreError> {
    if let Some(problem) = &config.serve.store_unresolved {
        return Err(OpenStoreError::Unresolved(problem.clone()));
    }
    let place = &config.serve.store;
    let found = Store::find(place).map_err(|error| match error {
        StoreError::Empty(path) => OpenStoreError::Empty(path),
        error => error.into(),
    })?;
    let (store, created) = match (found, need) {
        (Some(store), _) => (store, None),
        (None, StoreNeed::Existing) => return Err(OpenStoreError::Missing(name(place))),
        (None, StoreNeed::OrEmpty) => (Store::in_memory()?, None),
        (None, StoreNeed::OrCreated) => (Store::open(place)?, Some(name(place))),
    };
    Ok(OpenedStore { app: AppState::for_command(store, config)?, created })
}

/// Opens the store that a configuration names; `None` if there is none.
///
/// # Errors
///
/// If it cannot be opened.
pub fn find(config: &Config) -> Result<Option<Arc<AppState>>, StoreError> {
    let store = Store::find(&config.serve.store)?;
    store.map(|store| AppState::for_command(store, config.clone())).transpose()
}

/// Adds to configured targets where the store knows their sessions to be, so that a command reads the same table as the
/// daemon. Without a store nothing is known.
///
/// # Errors
///
/// If the store cannot be read.
pub fn locate_targets(config: &Config, targets: &mut [Target]) -> Result<(), TargetError> {
    if config.serve.store_unresolved.is_some() || targets.iter().all(|target| target.ad_hoc) {
        return Ok(());
    }
    let found = Store::find(&config.serve.store);
    let Some(store) = found.map_err(|error| TargetError::Unlocated(error.to_string()))? else {
        return Ok(());
    };
    let mut configured = targets.iter_mut().filter(|target| !target.ad_hoc);
    configured.try_for_each(|target| target_layouts::locate(&store, target))
}

/// Copies the store, as it stands at one instant, into a new file.
///
/// # Errors
///
/// If there is such a file, or it cannot be written.
pub fn back_up(app: &AppState, file: &Path) -> Result<(), StoreError> {
    app.store.backup(file)
}

fn name(place: &Place) -> String {
    match place {
        Place::File(path) => format!("store {}", path.display()),
        Place::Server(_) => "store in the database that serve.store names".to_owned(),
    }
}
