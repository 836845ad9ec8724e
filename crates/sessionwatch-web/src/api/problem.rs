//! Error responses: problem details (RFC 9457).

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use sessionwatch_app::{
    app::{AppError, error::StoreError},
    remediation::ActionError,
};
use utoipa::ToSchema;

use super::super::web_error::status_code;

/// An error response.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct ProblemDetails {
    /// Always `about:blank`: the status identifies the kind of problem.
    r#type: &'static str,
    /// The reason phrase of the status.
    title: &'static str,
    status: u16,
    /// The cause of this error.
    detail: String,
    /// Advice on how to proceed.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'static str>,
}

/// The media type of error responses.
const PROBLEM_MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

impl ProblemDetails {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { r#type: "about:blank", title, status: status.as_u16(), detail: detail.into(), next: None }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }
}

impl From<AppError> for ProblemDetails {
    fn from(error: AppError) -> Self {
        Self { next: Some(error.hint()), ..Self::new(status_code(&error), error.to_string()) }
    }
}

impl From<ActionError> for ProblemDetails {
    fn from(error: ActionError) -> Self {
        AppError::from(error).into()
    }
}

impl From<StoreError> for ProblemDetails {
    fn from(error: StoreError) -> Self {
        AppError::from(error).into()
    }
}

impl IntoResponse for ProblemDetails {
    fn into_response(self) -> Response {
        // The status was built from a valid code, so the fallback is never used.
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        // `Json` has set `application/json`.
        response.headers_mut().insert(header::CONTENT_TYPE, PROBLEM_MEDIA_TYPE);
        response
    }
}
