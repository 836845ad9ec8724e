//! Errors of page handlers, and their HTTP status.

use axum::http::StatusCode;
use maud::Markup;
use sessionwatch_app::app::{AppError, error::ErrorKind};

/// An error, rendered as a page.
#[derive(Debug)]
pub(crate) struct WebError(pub(super) AppError);

impl<E: Into<AppError>> From<E> for WebError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// Returns the HTTP status for a kind of error.
pub(crate) fn status_code(error: &AppError) -> StatusCode {
    match error.kind() {
        ErrorKind::NotLoggedIn => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Busy | ErrorKind::Unavailable | ErrorKind::ProviderUnavailable | ErrorKind::Store => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

/// The result of a page handler.
pub(crate) type PageResult = Result<Markup, WebError>;
