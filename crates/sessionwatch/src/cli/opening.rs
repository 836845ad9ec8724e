//! Opening the store of a command: one that has to be there, or one that is created. Every command goes through here.

use std::{path::Path, sync::Arc};

use sessionwatch_app::{
    app::AppState,
    config::{Config, Target},
    target_layouts,
};
use sessionwatch_store::{Place, Store, StoreError};
use sessionwatch_targets::error::TargetError;

use super::{Failure, target::ConfigArgs};

/// What a command needs of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// It reads or changes what is in there: without a store there is nothing for it to do.
    Existing,
    /// It keeps something for the first time, and may create the store.
    OrCreated,
    /// It compares with what is in there, if there is something, and keeps nothing.
    OrEmpty,
}

/// Opens the store that a configuration names.
///
/// # Errors
///
/// If there is none and none may be created, or it cannot be opened.
pub(super) fn open(config: &Config, opening: Opening) -> Result<Store, Failure> {
    if let Some(problem) = &config.serve.store_unresolved {
        return Err(Failure::Usage(format!("serve.store: {problem}")));
    }
    let place = &config.serve.store;
    let found = match Store::find(place) {
        Err(StoreError::Empty(path)) => return Err(Failure::Usage(empty(&path))),
        found => found?,
    };
    match (found, opening) {
        (Some(store), _) => Ok(store),
        (None, Opening::Existing) => Err(Failure::Usage(missing(place))),
        (None, Opening::OrEmpty) => Ok(Store::in_memory()?),
        (None, Opening::OrCreated) => {
            let store = Store::open(place)?;
            super::complain_of(&format!("created {}", name(place)));
            Ok(store)
        }
    }
}

/// Reads the configuration, and opens the store that it names, which has to be there.
///
/// # Errors
///
/// If the configuration is faulty, or there is no store.
pub(super) fn existing(args: &ConfigArgs) -> Result<(Config, Store), Failure> {
    let config = super::preflight::load(args.config.as_deref())?;
    let store = open(&config, Opening::Existing)?;
    Ok((config, store))
}

/// The same, as use cases take it.
///
/// # Errors
///
/// If the configuration is faulty, or there is no store.
pub(super) fn existing_app(args: &ConfigArgs) -> Result<Arc<AppState>, Failure> {
    let (config, store) = existing(args)?;
    Ok(AppState::for_command(store, config)?)
}

/// Adds to configured targets where the store knows their sessions to be, so that a command looks at the same table as
/// `serve`. Without a store nothing is known. One that cannot be read is complained of.
pub(super) fn locate(config: &Config, targets: &mut [Target]) {
    if config.serve.store_unresolved.is_some() || targets.iter().all(|target| target.ad_hoc) {
        return;
    }
    let located = Store::find(&config.serve.store)
        .map_err(|error| TargetError::Unlocated(error.to_string()))
        .and_then(|store| {
            let Some(store) = store else { return Ok(()) };
            let mut configured = targets.iter_mut().filter(|target| !target.ad_hoc);
            configured.try_for_each(|target| target_layouts::locate(&store, target))
        });
    if let Err(error) = located {
        super::complain(&format!("warning: {error}"), Some("see to the store that `serve.store` names"));
    }
}

fn empty(path: &Path) -> String {
    format!(
        "there is no store {}: nothing is in the file; if there was a store, restore its backup, otherwise remove the file, and `sessionwatch serve` creates it; for another one, name its configuration with --config",
        path.display()
    )
}

fn missing(place: &Place) -> String {
    format!(
        "there is no {}: `sessionwatch serve` creates it; for another one, name its configuration with --config",
        name(place)
    )
}

fn name(place: &Place) -> String {
    match place {
        Place::File(path) => format!("store {}", path.display()),
        Place::Server(_) => "store in the database that serve.store names".to_owned(),
    }
}
