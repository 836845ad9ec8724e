//! What logs say, and whether they are heard.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Deserialize;
use sessionwatch_app::{
    api_types::{At, Signal, Source},
    app::{
        AppState, Period,
        logs::{self, LogEventQuery, LogSourceStatus},
    },
};
use sessionwatch_core::instant::Instant;
use utoipa::IntoParams;

use super::{
    Answer, Caller,
    given::{Asked, Count, Cursor, Page, Text},
};

/// What is looked for among signals.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only of this target
    #[param(inline)]
    target: Option<Text<200>>,
    /// Only of this kind, or of the pattern of that name
    #[param(inline)]
    kind: Option<Text<100>>,
    /// Only about the token with this prefix
    #[param(inline)]
    token: Option<Text<8>>,
    /// Only those that name this user
    #[param(inline)]
    user: Option<Text<200>>,
    /// Only those that are bad
    #[serde(default)]
    bad: bool,
    /// Only read from then on
    #[param(inline)]
    from: Option<At>,
    /// Only read before then
    #[param(inline)]
    to: Option<At>,
    /// The most on a page; 100, unless it is given
    #[param(inline)]
    limit: Option<Count<1_000>>,
    /// What `next` of the page before was
    #[param(inline)]
    cursor: Option<Cursor>,
}

/// Signals of logs, the latest first
#[utoipa::path(get, path = "/api/v1/signals", tag = "logs", params(Wanted), responses((status = 200, description = "A page of signals", body = Page<Signal>)))]
pub(super) async fn signals(
    State(app): State<Arc<AppState>>,
    Asked(wanted): Asked<Wanted>,
) -> Answer<Page<Signal>> {
    let names: Vec<String> = match &wanted.target {
        Some(name) => vec![app.target(name)?.name],
        None => app.config().targets.iter().map(|target| target.name.clone()).collect(),
    };
    let limit = wanted.limit.map_or(100, |Count(limit)| limit);
    let period = Period {
        from: wanted.from.map_or(Instant::MIN, |At(at)| at),
        to: wanted.to.map_or(Instant::MAX, |At(at)| at),
    };
    let query = LogEventQuery {
        targets: names,
        kind: wanted.kind.map(|kind| kind.to_string()),
        prefix: wanted.token.map(|token| token.to_string()),
        user: wanted.user.map(|user| user.to_string()),
        only_bad: wanted.bad,
        period,
        before: wanted.cursor.map(|Cursor(before)| before),
        limit: limit + 1,
    };
    let found = logs::search_log_events(&app, query).await?;
    Ok(Json(Page::of(found, limit as usize, Signal::of, |signal| signal.id.to_string())))
}

/// The sources of log lines, and whether they are heard
#[utoipa::path(get, path = "/api/v1/sources", tag = "logs", responses((status = 200, description = "The sources", body = Page<Source>)))]
pub(super) async fn sources(State(app): State<Arc<AppState>>, _caller: Caller) -> Answer<Page<Source>> {
    let now = app.clock.now();
    let sources = logs::list_sources(&app).await?.into_iter();
    let of = |LogSourceStatus { source, record }| Source::of(&source, record, now);
    Ok(Json(Page::all(sources.map(of).collect())))
}
