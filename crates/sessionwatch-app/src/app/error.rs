//! Why a use case did nothing, in words for a person.

use crate::remediation::ActionError;

pub use sessionwatch_store::StoreError;
pub use sessionwatch_targets::error::TargetError;

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Somebody has to log in first.
    #[error("You are not logged in, or were away for too long.")]
    NotLoggedIn,
    /// The role is not enough.
    #[error("Your role may not do that.")]
    Forbidden,
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// It is not so any more, or is being done already.
    #[error("{0}")]
    Conflict(String),
    /// Too often.
    #[error("That was tried too often.")]
    TooManyAttempts,
    /// Too much at once.
    #[error("Too many passwords are being checked at the moment: yours was not.")]
    Busy,
    /// A database, or a provider of identities, does not answer.
    #[error("{0}")]
    Unavailable(String),
    /// The store does not answer.
    #[error("The watch's memory does not answer: {0}.")]
    Store(#[from] StoreError),
    /// A task ended in a panic, or the system refuses what it needs.
    #[error("The watch's memory does not answer: {0}.")]
    Internal(&'static str),
    /// An action on a target failed, or something speaks against it.
    #[error("{}", action_error_text(.0))]
    Action(ActionError),
}

/// What kind of error it is, for whoever answers by a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Somebody has to log in first.
    NotLoggedIn,
    /// The role is not enough.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// What was asked for makes no sense.
    Invalid,
    /// It is not so any more, or is being done already.
    Conflict,
    /// Too often.
    TooManyAttempts,
    /// Too much at once.
    Busy,
    /// A database, or a provider of identities, does not answer.
    Unavailable,
    /// The store does not answer.
    Store,
}

impl From<ActionError> for AppError {
    fn from(error: ActionError) -> Self {
        match error {
            ActionError::Store(error) => Self::Store(error),
            error => Self::Action(error),
        }
    }
}

impl AppError {
    /// What kind of error it is.
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
            Self::Store(_) | Self::Internal(_) => ErrorKind::Store,
            Self::Action(error) => action_error_kind(error),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self.kind() {
            ErrorKind::NotLoggedIn => "Log in, and do it again: nothing was changed.",
            ErrorKind::Forbidden => "Somebody with the role admin can change it under Settings.",
            ErrorKind::NotFound => "The overview lists what there is.",
            ErrorKind::Invalid => "Go back, and try again: nothing was changed.",
            ErrorKind::Conflict => "Go back, and look at how it stands now: nothing was changed.",
            ErrorKind::TooManyAttempts => "Wait for a quarter of an hour.",
            ErrorKind::Busy => "Try again in a few seconds.",
            ErrorKind::Unavailable => {
                "What the watch saw last is on the page of the target; load this page again in a moment."
            }
            ErrorKind::Store => "Watching goes on as far as it can; load the page again in a moment.",
        }
    }
}

fn action_error_kind(error: &ActionError) -> ErrorKind {
    match error {
        ActionError::Store(_) => ErrorKind::Store,
        ActionError::Target(_) | ActionError::EvidenceIncomplete(_) => ErrorKind::Unavailable,
        ActionError::NoPlan(_)
        | ActionError::NoArchive(_)
        | ActionError::NoUser(..)
        | ActionError::NoSession => ErrorKind::NotFound,
        // What was asked for makes sense: something here speaks against it.
        _ => ErrorKind::Conflict,
    }
}

fn action_error_text(error: &ActionError) -> String {
    let text = action_error_with_hint(error);
    match error {
        ActionError::Target(_) => format!("The database cannot be asked: {text}."),
        _ => text,
    }
}

/// An error of an action, with its hint.
pub(crate) fn action_error_with_hint(error: &ActionError) -> String {
    let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{error}{hint}")
}

#[cfg(test)]
mod tests {
    use sessionwatch_targets::error::TargetError;

    use super::*;

    #[test]
    fn what_speaks_against_an_action_is_told_from_what_is_missing_or_does_not_answer() {
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
            let said = format!("{error}");
            let error = AppError::from(error);
            assert_eq!(error.kind(), kind, "{said}");
            assert!(error.to_string().contains(&said), "{error}");
        }
    }

    #[test]
    fn a_store_that_does_not_answer_is_said_to_be_the_memory_of_the_watch_whatever_was_asked() {
        let damaged = || StoreError::Undecodable { table: "plans".into(), column: "about".into() };
        let (direct, by_action) = (AppError::from(damaged()), AppError::from(ActionError::Store(damaged())));
        assert_eq!(direct.to_string(), by_action.to_string());
        assert!(direct.to_string().starts_with("The watch's memory does not answer: "), "{direct}");
        assert_eq!((direct.kind(), by_action.kind()), (ErrorKind::Store, ErrorKind::Store));
        assert_eq!(AppError::Internal("a read ended in a panic").kind(), ErrorKind::Store);
    }

    #[test]
    fn an_action_says_what_to_do_beside_what_is_wrong() {
        let error = AppError::from(ActionError::DiskFull).to_string();
        assert!(error.ends_with(" (free some space, then try again)"), "{error}");
        let target = AppError::from(ActionError::Target(TargetError::StatementTimeout)).to_string();
        assert!(target.starts_with("The database cannot be asked: ") && target.ends_with('.'), "{target}");
    }
}
