//! Opens the state store for a command.

use std::sync::Arc;

use sessionwatch_app::{
    app::{
        AppState,
        state_store::{self, OpenStoreError, StoreRequirement},
    },
    config::Config,
    preflight,
};

use super::{Failure, target_args::ConfigArgs};

impl From<OpenStoreError> for Failure {
    fn from(error: OpenStoreError) -> Self {
        match error {
            OpenStoreError::Store(error) => error.into(),
            error => Self::Usage(error.to_string()),
        }
    }
}

/// Opens the state store of a configuration. Prints a note if it was created.
///
/// # Errors
///
/// Returns an error if there is none and none may be created, or it cannot be opened.
pub(super) fn open_app(config: Config, need: StoreRequirement) -> Result<Arc<AppState>, Failure> {
    let opened = state_store::open_store(config, need)?;
    if let Some(name) = opened.created_label {
        super::print_note(&format!("created {name}"));
    }
    if let Some(advice) = opened.ignore_advice {
        super::print_note(&advice);
    }
    Ok(opened.app)
}

/// Loads the configuration and opens its state store, which must exist.
///
/// # Errors
///
/// Returns an error if the configuration is invalid, or there is no store.
pub(super) fn open_existing_app(args: &ConfigArgs) -> Result<Arc<AppState>, Failure> {
    open_app(preflight::load_config(args.config.as_deref())?, StoreRequirement::Existing)
}
