//! Markers, such as deploys.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use sessionwatch_app::{
    api_types::Rfc3339,
    app::{
        AppState,
        markers::{self, MarkerKind, NewMarker},
    },
};
use utoipa::ToSchema;

use super::{
    ApiCaller,
    extractors::{BoundedText, JsonBody},
    problem::ProblemDetails,
};

/// A kind of marker.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum MarkerKindName {
    /// A new version of the application went live.
    Deploy,
}

/// A marker to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateMarkerRequest {
    /// What happened.
    kind: MarkerKindName,
    /// A description, such as the version.
    text: BoundedText<200>,
    /// The target that it concerns; all targets without it.
    target: Option<BoundedText<200>>,
    /// When it happened; now without it.
    at: Option<Rfc3339>,
}

/// The created marker.
#[derive(Serialize, ToSchema)]
pub(super) struct CreateMarkerResponse {
    at: Rfc3339,
}

/// Create a marker, which charts and activity show
#[utoipa::path(
    post,
    path = "/api/v1/markers",
    tag = "alerts",
    request_body = CreateMarkerRequest,
    responses((status = 201, description = "The marker was created", body = CreateMarkerResponse))
)]
pub(super) async fn create_marker(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    JsonBody(wanted): JsonBody<CreateMarkerRequest>,
) -> Result<(StatusCode, Json<CreateMarkerResponse>), ProblemDetails> {
    let MarkerKindName::Deploy = wanted.kind;
    let new = NewMarker {
        kind: MarkerKind::Deploy,
        text: wanted.text.to_string(),
        target: wanted.target.map(|target| target.to_string()),
        at: wanted.at.map(|Rfc3339(at)| at),
    };
    let at = markers::create_marker(&app, &caller.actor(), new).await?;
    Ok((StatusCode::CREATED, Json(CreateMarkerResponse { at: Rfc3339(at) })))
}

#[cfg(test)]
mod tests;
