//! The failures of commands.

use sessionwatch_app::{
    app::{
        AppError,
        error::{StoreError, TargetError},
    },
    config::{AddressError, ConfigError},
};

/// The failure of a command.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The address is invalid.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The arguments are invalid.
    #[error("{0}")]
    Usage(String),
    /// The arguments are invalid, and the hint says what to do.
    #[error("{message}")]
    UsageWithHint {
        /// What failed.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// The target could not be read.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The state store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A plan could not be created or applied.
    #[error(transparent)]
    Act(#[from] sessionwatch_app::remediation::ActionError),
    /// A channel did not accept a message.
    #[error("{0}")]
    Delivery(String),
    /// A log cannot be read.
    #[error(transparent)]
    Logs(#[from] sessionwatch_app::logs::scan::ScanError),
    /// The daemon could not start, or had to stop.
    #[error(transparent)]
    Daemon(#[from] sessionwatch_app::daemon::DaemonError),
    /// The sample application could not be created.
    #[error(transparent)]
    Demo(#[from] sessionwatch_app::demo_history::DemoHistoryError),
    /// A task panicked; its location was printed.
    #[error("{0}")]
    Bug(&'static str),
    /// Output could not be written.
    #[error("cannot write the output")]
    Output(#[from] std::io::Error),
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Store(error) => Self::Store(error),
            AppError::Action(error) => Self::Act(error),
            AppError::Internal(why) => Self::Bug(why),
            error => Self::Usage(error.to_string()),
        }
    }
}
