//! Parameters of pages: parts of the path, and the query string. One that cannot be read leads to the error page.

use axum::{
    extract::{FromRequestParts, Path, Query},
    http::request::Parts,
};
use serde::de::DeserializeOwned;
use sessionwatch_app::app::AppError;

use super::web_error::WebError;

/// Parameters in the path of a page.
pub(super) struct PagePath<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PagePath<T> {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, WebError> {
        let why = "This address is misspelled or incomplete.";
        let read = Path::from_request_parts(parts, state).await;
        let Path(given) = read.map_err(|_| AppError::Invalid(why.into()))?;
        Ok(Self(given))
    }
}

/// Parameters in the query string of a page.
pub(super) struct PageQuery<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for PageQuery<T> {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, WebError> {
        let why = "A parameter in this address has an invalid value, or occurs twice.";
        let Query(given) = Query::try_from_uri(&parts.uri).map_err(|_| AppError::Invalid(why.into()))?;
        Ok(Self(given))
    }
}

#[cfg(test)]
mod tests;
