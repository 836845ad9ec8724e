//! Error of writing the history of the demo.

use sessionwatch_archive::SealError;
use sessionwatch_store::StoreError;

use super::milestones::SHOP_TARGET;
use crate::{config::ConfigError, daemon::DaemonError, demo::DemoError, remediation::ActionError};

/// Error of writing the history.
#[derive(Debug, thiserror::Error)]
pub enum DemoHistoryError {
    /// The database of the shop cannot be created.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// The configuration of the demo is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A step of the incident, or a plan, failed.
    #[error(transparent)]
    Action(#[from] ActionError),
    /// Evidence or rows cannot be encrypted.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The check run failed.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// A file cannot be written.
    #[error("cannot write the files of the demo")]
    Unwritable,
    /// The configuration has no shop.
    #[error("the configuration of the demo has no target `{SHOP_TARGET}`")]
    NoTarget,
    /// The incident is not in the store.
    #[error("the incident of the demo is missing in its store")]
    NoIncident,
}
