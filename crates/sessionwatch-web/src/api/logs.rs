//! What logs say, and whether they are heard.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Deserialize;
use sessionwatch_app::{
    api_types::{LogEventDto, LogSourceDto, Rfc3339},
    app::{
        AppState, Period,
        logs::{self, LogEventQuery, LogSourceStatus},
    },
};
use sessionwatch_core::timestamp::UtcTimestamp;
use utoipa::IntoParams;

use super::{
    ApiCaller, ApiResult,
    extractors::{BoundedInt, BoundedText, ListCursor, ListPage, QueryParams},
};

/// What is looked for among signals.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListLogEventsQuery {
    /// Only of this target
    #[param(inline)]
    target: Option<BoundedText<200>>,
    /// Only of this kind, or of the pattern of that name
    #[param(inline)]
    kind: Option<BoundedText<100>>,
    /// Only about the token with this prefix
    #[param(inline)]
    token: Option<BoundedText<8>>,
    /// Only those that name this user
    #[param(inline)]
    user: Option<BoundedText<200>>,
    /// Only those that are bad
    #[serde(default)]
    bad: bool,
    /// Only read from then on
    #[param(inline)]
    from: Option<Rfc3339>,
    /// Only read before then
    #[param(inline)]
    to: Option<Rfc3339>,
    /// The most on a page; 100, unless it is given
    #[param(inline)]
    limit: Option<BoundedInt<1_000>>,
    /// What `next` of the page before was
    #[param(inline)]
    cursor: Option<ListCursor>,
}

/// Signals of logs, the latest first
#[utoipa::path(get, path = "/api/v1/log-events", tag = "logs", params(ListLogEventsQuery), responses((status = 200, description = "A page of signals", body = ListPage<LogEventDto>)))]
pub(super) async fn list_log_events(
    State(app): State<Arc<AppState>>,
    QueryParams(wanted): QueryParams<ListLogEventsQuery>,
) -> ApiResult<ListPage<LogEventDto>> {
    let names: Vec<String> = match &wanted.target {
        Some(name) => vec![app.target(name)?.name],
        None => app.config().targets.iter().map(|target| target.name.clone()).collect(),
    };
    let limit = wanted.limit.map_or(100, |BoundedInt(limit)| limit);
    let period = Period {
        from: wanted.from.map_or(UtcTimestamp::MIN, |Rfc3339(at)| at),
        to: wanted.to.map_or(UtcTimestamp::MAX, |Rfc3339(at)| at),
    };
    let query = LogEventQuery {
        targets: names,
        kind: wanted.kind.map(|kind| kind.to_string()),
        token_prefix: wanted.token.map(|token| token.to_string()),
        user: wanted.user.map(|user| user.to_string()),
        only_warnings: wanted.bad,
        period,
        before: wanted.cursor.map(|ListCursor(before)| before),
        limit: limit + 1,
    };
    let found = logs::search_log_events(&app, query).await?;
    Ok(Json(ListPage::from_rows(found, limit as usize, LogEventDto::from_record, |signal| {
        signal.id.to_string()
    })))
}

/// The sources of log lines, and whether they are heard
#[utoipa::path(get, path = "/api/v1/log-sources", tag = "logs", responses((status = 200, description = "The sources", body = ListPage<LogSourceDto>)))]
pub(super) async fn list_log_sources(
    State(app): State<Arc<AppState>>,
    _caller: ApiCaller,
) -> ApiResult<ListPage<LogSourceDto>> {
    let now = app.clock.now();
    let sources = logs::list_log_sources(&app).await?.into_iter();
    let of = |LogSourceStatus { config, record }| LogSourceDto::from_config(&config, record, now);
    Ok(Json(ListPage::from_all(sources.map(of).collect())))
}
