//! Alerts, silences and events.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use sessionwatch_app::{
    api_types::{AlertDto, EventDto, Rfc3339, SilenceDto},
    app::{
        AppState,
        alerts::{self, AlertFilter, EventSearch},
        silences::{self, MAX_SILENCE_MINUTES, NewSilence},
    },
};
use sessionwatch_core::timestamp::UtcTimestamp;
use utoipa::{IntoParams, ToSchema};

use super::{
    ApiCaller, ApiResult,
    extractors::{BoundedInt, BoundedText, JsonBody, ListCursor, ListPage, PathParams, QueryParams},
    problem::ProblemDetails,
    targets::CheckPath,
};

/// The alerts to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListAlertsQuery {
    /// Include alerts of passing checks
    #[serde(default)]
    all: bool,
}

/// List firing and pending alerts, worst first
#[utoipa::path(
    get,
    path = "/api/v1/alerts",
    tag = "alerts",
    params(ListAlertsQuery),
    responses((status = 200, description = "The alerts", body = ListPage<AlertDto>))
)]
pub(super) async fn list_alerts(
    State(app): State<Arc<AppState>>,
    QueryParams(which): QueryParams<ListAlertsQuery>,
) -> ApiResult<ListPage<AlertDto>> {
    let alerts =
        alerts::list_alerts(&app, if which.all { AlertFilter::All } else { AlertFilter::Active }).await?;
    Ok(Json(ListPage::from_all(alerts.iter().map(AlertDto::from_record).collect())))
}

/// An optional note.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AlertNoteRequest {
    note: Option<BoundedText<500>>,
}

/// A comment.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddCommentRequest {
    note: BoundedText<500>,
}

/// Acknowledge a firing alert
#[utoipa::path(
    post,
    path = "/api/v1/targets/{target}/checks/{check}/acknowledge",
    tag = "alerts",
    params(CheckPath),
    request_body = AlertNoteRequest,
    responses((status = 204, description = "The alert was acknowledged"))
)]
pub(super) async fn acknowledge_alert(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<CheckPath>,
    JsonBody(body): JsonBody<AlertNoteRequest>,
) -> Result<StatusCode, ProblemDetails> {
    let note = body.note.map(|note| note.to_string()).unwrap_or_default();
    alerts::acknowledge_alert(&app, &caller.actor(), of.alert_ref(), note).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Resolve an alert
#[utoipa::path(
    post,
    path = "/api/v1/targets/{target}/checks/{check}/resolve",
    tag = "alerts",
    params(CheckPath),
    request_body = AlertNoteRequest,
    responses((status = 204, description = "The alert was resolved"))
)]
pub(super) async fn resolve_alert(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<CheckPath>,
    JsonBody(body): JsonBody<AlertNoteRequest>,
) -> Result<StatusCode, ProblemDetails> {
    let note = body.note.map(|note| note.to_string()).unwrap_or_default();
    alerts::resolve_firing_alert(&app, &caller.actor(), of.alert_ref(), note).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Add a comment to a check
#[utoipa::path(
    post,
    path = "/api/v1/targets/{target}/checks/{check}/comments",
    tag = "alerts",
    params(CheckPath),
    request_body = AddCommentRequest,
    responses((status = 204, description = "The comment was added"))
)]
pub(super) async fn add_comment(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<CheckPath>,
    JsonBody(body): JsonBody<AddCommentRequest>,
) -> Result<StatusCode, ProblemDetails> {
    alerts::add_comment(&app, &caller.actor(), of.alert_ref(), body.note.to_string()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List active silences
#[utoipa::path(
    get,
    path = "/api/v1/silences",
    tag = "alerts",
    responses((status = 200, description = "The silences", body = ListPage<SilenceDto>))
)]
pub(super) async fn list_silences(
    State(app): State<Arc<AppState>>,
    _caller: ApiCaller,
) -> ApiResult<ListPage<SilenceDto>> {
    let silences = silences::list_silences(&app).await?;
    Ok(Json(ListPage::from_all(silences.iter().map(SilenceDto::from_record).collect())))
}

/// A silence to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateSilenceRequest {
    /// Only this target.
    target: Option<BoundedText<200>>,
    /// Only this check.
    check: Option<BoundedText<200>>,
    /// Only this user or token prefix.
    subject: Option<BoundedText<200>>,
    /// Duration in minutes.
    minutes: BoundedInt<{ MAX_SILENCE_MINUTES as u32 }>,
    /// The reason.
    note: BoundedText<500>,
}

/// The created silence.
#[derive(Serialize, ToSchema)]
pub(super) struct CreateSilenceResponse {
    id: i64,
}

/// Create a silence
#[utoipa::path(
    post,
    path = "/api/v1/silences",
    tag = "alerts",
    request_body = CreateSilenceRequest,
    responses((status = 201, description = "The silence was created", body = CreateSilenceResponse))
)]
pub(super) async fn create_silence(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    JsonBody(quiet): JsonBody<CreateSilenceRequest>,
) -> Result<(StatusCode, Json<CreateSilenceResponse>), ProblemDetails> {
    let BoundedInt(minutes) = quiet.minutes;
    let text = |text: Option<BoundedText<200>>| text.map(|text| text.to_string());
    let new = NewSilence {
        target: text(quiet.target),
        check: text(quiet.check),
        subject: text(quiet.subject),
        minutes: minutes.into(),
        note: quiet.note.to_string(),
    };
    let created = silences::create_silence(&app, &caller.actor(), new).await?;
    Ok((StatusCode::CREATED, Json(CreateSilenceResponse { id: created.id })))
}

/// A silence.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct SilencePath {
    /// ID of the silence
    #[param(minimum = 1)]
    id: i64,
}

/// Expire a silence
#[utoipa::path(
    delete,
    path = "/api/v1/silences/{id}",
    tag = "alerts",
    params(SilencePath),
    responses((status = 204, description = "The silence was expired"))
)]
pub(super) async fn expire_silence(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<SilencePath>,
) -> Result<StatusCode, ProblemDetails> {
    silences::expire_silence(&app, &caller.actor(), of.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Search criteria for events.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListEventsQuery {
    /// Start of the period, inclusive
    #[param(inline)]
    from: Option<Rfc3339>,
    /// End of the period, exclusive
    #[param(inline)]
    to: Option<Rfc3339>,
    /// Only events of this target
    #[param(inline)]
    target: Option<BoundedText<200>>,
    /// Only events of this check
    #[param(inline)]
    check: Option<BoundedText<200>>,
    /// Only events whose summary contains this text, ignoring case
    #[param(inline)]
    text: Option<BoundedText<200>>,
    /// Only notifications of alerts that fired, were resolved, or were due for a reminder
    #[serde(default)]
    alerts_only: bool,
    /// Page size; 100 by default
    #[param(inline)]
    limit: Option<BoundedInt<1_000>>,
    /// `next` from the previous page
    #[param(inline)]
    cursor: Option<ListCursor>,
}

/// List events, latest first
#[utoipa::path(
    get,
    path = "/api/v1/events",
    tag = "alerts",
    params(ListEventsQuery),
    responses((status = 200, description = "A page of events", body = ListPage<EventDto>))
)]
pub(super) async fn list_events(
    State(app): State<Arc<AppState>>,
    QueryParams(wanted): QueryParams<ListEventsQuery>,
) -> ApiResult<ListPage<EventDto>> {
    let text = |text: Option<BoundedText<200>>| text.map(|text| text.to_string());
    let limit = wanted.limit.map_or(100, |BoundedInt(limit)| limit);
    let search = EventSearch {
        // Without a start, the whole history is searched, limited by the page size.
        from: wanted.from.map_or(UtcTimestamp::MIN, |Rfc3339(at)| at),
        to: wanted.to.map_or(UtcTimestamp::MAX, |Rfc3339(at)| at),
        target: text(wanted.target),
        check: text(wanted.check),
        text: text(wanted.text),
        alerts_only: wanted.alerts_only,
        before_id: wanted.cursor.map(|ListCursor(before)| before),
        // One more than shown, to learn whether there is a next page.
        limit: limit + 1,
    };
    let mut found = alerts::search_events(&app, search).await?;
    // The search returns the oldest first; pages list the latest first.
    found.reverse();
    Ok(Json(ListPage::try_from_rows(found, limit as usize, EventDto::from_record, |event| {
        event.id.to_string()
    })?))
}

#[cfg(test)]
mod tests;
