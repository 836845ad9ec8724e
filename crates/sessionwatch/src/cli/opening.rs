//! Opening the store of a command; what was created is told.

use std::sync::Arc;

use sessionwatch_app::{
    app::{
        AppState,
        state_store::{self, OpenStoreError, StoreRequirement},
    },
    config::Config,
    preflight,
};

use super::{Failure, target::ConfigArgs};

impl From<OpenStoreError> for Failure {
    fn from(error: OpenStoreError) -> Self {
        match error {
            OpenStoreError::Store(error) => error.into(),
            error => Self::Usage(error.to_string()),
        }
    }
}

/// Opens the store that a configuration names.
///
/// # Errors
///
/// If there is none and none may be created, or it cannot be opened.
pub(super) fn open_app(config: Config, need: StoreRequirement) -> Result<Arc<AppState>, Failure> {
    let opened = state_store::open_store(config, need)?;
    if let Some(name) = opened.created_label {
        super::print_note(&format!("created {name}"));
    }
    Ok(opened.app)
}

/// Reads the configuration, and opens the store that it names, which has to be there.
///
/// # Errors
///
/// If the configuration is faulty, or there is no store.
pub(super) fn open_existing_app(args: &ConfigArgs) -> Result<Arc<AppState>, Failure> {
    open_app(preflight::load_config(args.config.as_deref())?, StoreRequirement::Existing)
}
