//! Errors of use cases, with messages and hints for users.

use crate::remediation::ActionError;

pub use sessionwatch_store::StoreError;
pub use sessionwatch_targets::error::TargetError;

/// Error of a use case.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// There is no valid login session.
    #[error("You are not logged in, or your login session has expired.")]
    NotLoggedIn,
    /// The role of the account does not permit the action.
    #[error("Your role does not permit this action.")]
    Forbidden,
    /// The requested object does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The input is invalid.
    #[error("{0}")]
    Invalid(String),
    /// The object has changed, or the action is already in progress.
    #[error("{0}")]
    Conflict(String),
    /// A rate limit was reached.
    #[error("Too many attempts.")]
    TooManyAttempts,
    /// The queue of the password workers is full.
    #[error("The server is busy checking other passwords, so yours was not checked.")]
    Busy,
    /// A database is unavailable.
    #[error("{0}")]
    Unavailable(String),
    /// The identity provider is unavailable. Holds the reason.
    #[error("Login through the identity provider is unavailable: {0}.")]
    ProviderUnavailable(&'static str),
    /// The state store is unavailable.
    #[error("The state store is unavailable: {0}.")]
    Store(#[from] StoreError),
    /// A task panicked, or the system denied a resource.
    #[error("Internal error: {0}.")]
    Internal(&'static str),
    /// An action on a target failed or was refused.
    #[error("{}", action_error_text(.0))]
    Action(ActionError),
}

/// Category of an [`AppError`], which determines the HTTP status and the hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is no valid login session.
    NotLoggedIn,
    /// The role of the account does not permit the action.
    Forbidden,
    /// The requested object does not exist.
    NotFound,
    /// The input is invalid.
    Invalid,
    /// The object has changed, or the action is already in progress.
    Conflict,
    /// A rate limit was reached.
    TooManyAttempts,
    /// Too many concurrent requests.
    Busy,
    /// A database is unavailable.
    Unavailable,
    /// The identity provider is unavailable.
    ProviderUnavailable,
    /// The state store is unavailable.
    Store,
}

impl From<ActionError> for AppError {
    fn from(error: ActionError) -> Self {
        match error {
            // A store failure is reported as such wherever it occurs: its hint differs from that of a target
            // failure.
            ActionError::Store(error) => Self::Store(error),
            error => Self::Action(error),
        }
    }
}

impl AppError {
    /// Returns the category of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotLoggedIn => ErrorKind::NotLoggedIn,
            Self::Forbidden => ErrorKind::Forbidden,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::Conflict(_) => ErrorKind::Conflict,
            Self::TooManyAttempts => ErrorKind::TooManyAttempts,
            Self::Busy => ErrorKind::Busy,
            Self::Unavailable(_) => ErrorKind::Unavailable,
            Self::ProviderUnavailable(_) => ErrorKind::ProviderUnavailable,
            Self::Store(_) | Self::Internal(_) => ErrorKind::Store,
            Self::Action(error) => action_error_kind(error),
        }
    }

    /// Returns a hint on how to resolve the error.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self.kind() {
            ErrorKind::NotLoggedIn => "Log in and try again. Nothing was changed.",
            ErrorKind::Forbidden => "An admin can change your role under Settings.",
            ErrorKind::NotFound => "The overview lists all targets and alerts.",
            ErrorKind::Invalid => "Correct the input and try again. Nothing was changed.",
            ErrorKind::Conflict => {
                "Go back and reload the page to see the current state. Nothing was changed."
            }
            // Matches the rate limit window of the login attempts.
            ErrorKind::TooManyAttempts => "Try again in 15 minutes.",
            ErrorKind::Busy => "Try again in a few seconds.",
            ErrorKind::Unavailable => {
                "The target page shows the results of the last check run. Reload this page in a moment."
            }
            ErrorKind::ProviderUnavailable => {
                "Log in again in a moment. An account with a password can log in now."
            }
            ErrorKind::Store => "Monitoring continues as far as possible. Reload this page in a moment.",
        }
    }
}

fn action_error_kind(error: &ActionError) -> ErrorKind {
    match error {
        ActionError::Store(_) => ErrorKind::Store,
        // The database may be back in a moment, so this is not a fault of the request.
        ActionError::Target(_) | ActionError::EvidenceIncomplete(_) => ErrorKind::Unavailable,
        ActionError::NoPlan(_)
        | ActionError::NoArchive(_)
        | ActionError::NoUser(..)
        | ActionError::NoSession
        | ActionError::SessionsMissing { .. } => ErrorKind::NotFound,
        // All others refuse a valid request because of the current state.
        _ => ErrorKind::Conflict,
    }
}

fn action_error_text(error: &ActionError) -> String {
    let text = action_error_with_hint(error);
    match error {
        ActionError::Target(_) => format!("Cannot query the database: {text}."),
        _ => text,
    }
}

/// Formats an action error with its hint in parentheses.
pub(crate) fn action_error_with_hint(error: &ActionError) -> String {
    let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{error}{hint}")
}

#[cfg(test)]
mod tests {
    use sessionwatch_targets::error::TargetError;

    use super::*;

    #[test]
    fn action_errors_are_categorized_as_not_found_unavailable_or_conflict() {
        for (error, kind) in [
            (ActionError::NoPlan("p1".into()), ErrorKind::NotFound),
            (ActionError::NoArchive("p1".into()), ErrorKind::NotFound),
            (ActionError::NoSession, ErrorKind::NotFound),
            (ActionError::Target(TargetError::StatementTimeout), ErrorKind::Unavailable),
            (ActionError::Done("p1".into()), ErrorKind::Conflict),
            (ActionError::Stale { id: "p1".into(), minutes: 15 }, ErrorKind::Conflict),
            (ActionError::NotConfirmed("shop".into()), ErrorKind::Conflict),
            (ActionError::DiskFull, ErrorKind::Conflict),
        ] {
            let message = format!("{error}");
            let error = AppError::from(error);
            assert_eq!(error.kind(), kind, "{message}");
            assert!(error.to_string().contains(&message), "{error}");
        }
    }

    #[test]
    fn store_errors_read_the_same_from_any_use_case() {
        let damaged = || StoreError::Undecodable { table: "plans".into(), column: "about".into() };
        let (direct, by_action) = (AppError::from(damaged()), AppError::from(ActionError::Store(damaged())));
        assert_eq!(direct.to_string(), by_action.to_string());
        assert!(direct.to_string().starts_with("The state store is unavailable: "), "{direct}");
        assert_eq!((direct.kind(), by_action.kind()), (ErrorKind::Store, ErrorKind::Store));
        assert_eq!(AppError::Internal("a read panicked").kind(), ErrorKind::Store);
    }

    #[test]
    fn an_unavailable_provider_is_not_explained_as_an_unavailable_target() {
        let error = AppError::ProviderUnavailable("cannot reach the identity provider");
        assert_eq!(error.kind(), ErrorKind::ProviderUnavailable);
        assert!(
            error.hint().contains("Log in again") && !error.hint().contains("target"),
            "{}",
            error.hint()
        );
    }

    #[test]
    fn action_errors_include_their_hint() {
        let error = AppError::from(ActionError::DiskFull).to_string();
        assert!(error.ends_with(" (free some space, then try again)"), "{error}");
        let target = AppError::from(ActionError::Target(TargetError::StatementTimeout)).to_string();
        assert!(target.starts_with("Cannot query the database: ") && target.ends_with('.'), "{target}");
    }
}
