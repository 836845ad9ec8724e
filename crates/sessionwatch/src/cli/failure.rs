//! The failures of commands: what is printed, and with which exit code.

use std::{io::Write as _, process::ExitCode, sync::atomic::Ordering};

use sessionwatch_app::{
    app::{
        AppError,
        error::{StoreError, TargetError},
    },
    config::{AddressError, ConfigError},
    output,
};

use super::{BUG_EXIT_CODE, JSON_LOG_ENABLED, is_colored, print_error, remediation};

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

impl Failure {
    /// Prints the failure, and returns the exit code.
    pub(super) fn report(&self) -> ExitCode {
        let hint = match self {
            Self::Target(error) => Some(error.hint()),
            Self::Store(error) | Self::Daemon(sessionwatch_app::daemon::DaemonError::Store(error)) => {
                error.hint().map(str::to_owned)
            }
            Self::Act(error) => error.hint(),
            Self::Logs(error) => error.hint().map(str::to_owned),
            Self::UsageWithHint { hint, .. } => Some(hint.clone()),
            _ => None,
        };
        let message = match self {
            // On a terminal the affected lines of the file are shown; elsewhere one line for each problem.
            // JSON lines must stay one object each, even on a terminal.
            Self::Config(error)
                if output::is_stderr_terminal() && !JSON_LOG_ENABLED.load(Ordering::Relaxed) =>
            {
                error.render(is_colored(true))
            }
            _ => self.to_string(),
        };
        print_error(&message, hint.as_deref());
        if let Self::Act(error) = self {
            // With stderr closed there is nowhere to report to.
            let _ = output::masked_stderr().write_all(remediation::render_choices(error).as_bytes());
        }
        match self {
            // A state of the incident, not an error of the command.
            Self::Act(
                sessionwatch_app::remediation::ActionError::NotClosable { .. }
                | sessionwatch_app::remediation::ActionError::EvidenceRequired { .. },
            ) => ExitCode::from(1),
            Self::Act(error) if error.is_usage_error() => ExitCode::from(2),
            Self::Target(error) if error.is_usage_error() => ExitCode::from(2),
            Self::Address(_) | Self::Config(_) | Self::Usage(_) | Self::UsageWithHint { .. } => {
                ExitCode::from(2)
            }
            Self::Bug(_) => ExitCode::from(BUG_EXIT_CODE),
            Self::Target(_)
            | Self::Store(_)
            | Self::Act(_)
            | Self::Delivery(_)
            | Self::Logs(_)
            | Self::Daemon(_)
            | Self::Demo(_)
            | Self::Output(_) => ExitCode::from(3),
        }
    }
}
