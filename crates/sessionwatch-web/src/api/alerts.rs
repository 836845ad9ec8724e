//! Alerts, silences, and what happened.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use sessionwatch_app::{
    api_types::{Alert, At, Event, Silence},
    app::{
        AppState,
        alerts::{self, AlertFilter, EventSearch},
        silences::{self, MAX_MINUTES, NewSilence},
    },
};
use sessionwatch_core::instant::Instant;
use utoipa::{IntoParams, ToSchema};

use super::{
    Answer, Caller,
    given::{Asked, Body, Count, Cursor, In, Page, Text},
    problem::Problem,
    targets::OfCheck,
};

/// Which alerts.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Also those that are in order
    #[serde(default)]
    all: bool,
}

/// Alerts that fire or are about to, the worst first
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts", params(Which), responses((status = 200, description = "The alerts", body = Page<Alert>)))]
pub(super) async fn list(
    State(app): State<Arc<AppState>>,
    Asked(which): Asked<Which>,
) -> Answer<Page<Alert>> {
    let kept =
        alerts::list_alerts(&app, if which.all { AlertFilter::All } else { AlertFilter::Active }).await?;
    Ok(Json(Page::all(kept.iter().map(Alert::of).collect())))
}

/// What is said along with something.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    note: Option<Text<500>>,
}

/// A comment.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Comment {
    note: Text<500>,
}

/// Look after an alert that fires
#[utoipa::path(post, path = "/api/v1/targets/{target}/checks/{check}/acknowledge", tag = "alerts", params(OfCheck), request_body = Said, responses((status = 204, description = "It is noted")))]
pub(super) async fn acknowledge(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    In(of): In<OfCheck>,
    Body(said): Body<Said>,
) -> Result<StatusCode, Problem> {
    let note = said.note.map(|note| note.to_string()).unwrap_or_default();
    alerts::acknowledge(&app, &caller.actor(), of.alert_ref(), note).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Say that an alert is over
#[utoipa::path(post, path = "/api/v1/targets/{target}/checks/{check}/resolve", tag = "alerts", params(OfCheck), request_body = Said, responses((status = 204, description = "It is noted")))]
pub(super) async fn resolve(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    In(of): In<OfCheck>,
    Body(said): Body<Said>,
) -> Result<StatusCode, Problem> {
    let note = said.note.map(|note| note.to_string()).unwrap_or_default();
    alerts::resolve(&app, &caller.actor(), of.alert_ref(), note).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Say something about a check
#[utoipa::path(post, path = "/api/v1/targets/{target}/checks/{check}/comments", tag = "alerts", params(OfCheck), request_body = Comment, responses((status = 204, description = "It is noted")))]
pub(super) async fn comment(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    In(of): In<OfCheck>,
    Body(said): Body<Comment>,
) -> Result<StatusCode, Problem> {
    alerts::add_comment(&app, &caller.actor(), of.alert_ref(), said.note.to_string()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What is kept quiet now
#[utoipa::path(get, path = "/api/v1/silences", tag = "alerts", responses((status = 200, description = "The silences", body = Page<Silence>)))]
pub(super) async fn silences(State(app): State<Arc<AppState>>, _caller: Caller) -> Answer<Page<Silence>> {
    let kept = silences::list_silences(&app).await?;
    Ok(Json(Page::all(kept.iter().map(Silence::of).collect())))
}

/// What is to be kept quiet.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Quiet {
    /// Only this target.
    target: Option<Text<200>>,
    /// Only this check.
    check: Option<Text<200>>,
    /// Only this user or token prefix.
    subject: Option<Text<200>>,
    /// For how many minutes.
    minutes: Count<{ MAX_MINUTES as u32 }>,
    /// Why.
    note: Text<500>,
}

/// Something that was made.
#[derive(Serialize, ToSchema)]
pub(super) struct Made {
    id: i64,
}

/// Keep something quiet for a while
#[utoipa::path(post, path = "/api/v1/silences", tag = "alerts", request_body = Quiet, responses((status = 201, description = "It is quiet", body = Made)))]
pub(super) async fn silence(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    Body(quiet): Body<Quiet>,
) -> Result<(StatusCode, Json<Made>), Problem> {
    let Count(minutes) = quiet.minutes;
    let text = |text: Option<Text<200>>| text.map(|text| text.to_string());
    let new = NewSilence {
        target: text(quiet.target),
        check: text(quiet.check),
        subject: text(quiet.subject),
        minutes: minutes.into(),
        note: quiet.note.to_string(),
    };
    let created = silences::create_silence(&app, &caller.actor(), new).await?;
    Ok((StatusCode::CREATED, Json(Made { id: created.id })))
}

/// A silence.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfSilence {
    /// Its number
    #[param(minimum = 1)]
    id: i64,
}

/// End a silence
#[utoipa::path(delete, path = "/api/v1/silences/{id}", tag = "alerts", params(OfSilence), responses((status = 204, description = "It has ended")))]
pub(super) async fn unsilence(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    In(of): In<OfSilence>,
) -> Result<StatusCode, Problem> {
    silences::expire_silence(&app, &caller.actor(), of.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What is looked for among what happened.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only from then on
    #[param(inline)]
    from: Option<At>,
    /// Only before then
    #[param(inline)]
    to: Option<At>,
    /// Only of this target
    #[param(inline)]
    target: Option<Text<200>>,
    /// Only of this check
    #[param(inline)]
    check: Option<Text<200>>,
    /// Only with these words, large or small
    #[param(inline)]
    text: Option<Text<200>>,
    /// Only alerts that fired, were repeated or resolved
    #[serde(default)]
    alerts_only: bool,
    /// The most on a page; 100, unless it is given
    #[param(inline)]
    limit: Option<Count<1_000>>,
    /// What `next` of the page before was
    #[param(inline)]
    cursor: Option<Cursor>,
}

/// What happened, the latest first
#[utoipa::path(get, path = "/api/v1/events", tag = "alerts", params(Wanted), responses((status = 200, description = "A page of events", body = Page<Event>)))]
pub(super) async fn events(
    State(app): State<Arc<AppState>>,
    Asked(wanted): Asked<Wanted>,
) -> Answer<Page<Event>> {
    let text = |text: Option<Text<200>>| text.map(|text| text.to_string());
    let limit = wanted.limit.map_or(100, |Count(limit)| limit);
    let search = EventSearch {
        from: wanted.from.map_or(Instant::MIN, |At(at)| at),
        to: wanted.to.map_or(Instant::MAX, |At(at)| at),
        target: text(wanted.target),
        check: text(wanted.check),
        text: text(wanted.text),
        alerts_only: wanted.alerts_only,
        before: wanted.cursor.map(|Cursor(before)| before),
        limit: limit + 1,
    };
    let mut found = alerts::search_events(&app, search).await?;
    found.reverse();
    Ok(Json(Page::try_of(found, limit as usize, Event::of, |event| event.id.to_string())?))
}
