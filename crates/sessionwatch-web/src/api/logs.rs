//! Log events and log sources.

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

/// Search criteria for log events.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListLogEventsQuery {
    /// Only events of this target
    #[param(inline)]
    target: Option<BoundedText<200>>,
    /// Only events of this kind or custom log check
    #[param(inline)]
    kind: Option<BoundedText<100>>,
    /// Only events with this token prefix
    #[param(inline)]
    token: Option<BoundedText<8>>,
    /// Only events that name this user
    #[param(inline)]
    user: Option<BoundedText<200>>,
    /// Only events with a severity
    #[serde(default)]
    bad: bool,
    /// Start of the period in which lines were read, inclusive
    #[param(inline)]
    from: Option<Rfc3339>,
    /// End of the period, exclusive
    #[param(inline)]
    to: Option<Rfc3339>,
    /// Page size; 100 by default
    #[param(inline)]
    limit: Option<BoundedInt<1_000>>,
    /// `next` from the previous page
    #[param(inline)]
    cursor: Option<ListCursor>,
}

/// List log events, latest first
#[utoipa::path(
    get,
    path = "/api/v1/log-events",
    tag = "logs",
    params(ListLogEventsQuery),
    responses((status = 200, description = "A page of log events", body = ListPage<LogEventDto>))
)]
pub(super) async fn list_log_events(
    State(app): State<Arc<AppState>>,
    QueryParams(wanted): QueryParams<ListLogEventsQuery>,
) -> ApiResult<ListPage<LogEventDto>> {
    let names: Vec<String> = match &wanted.target {
        // An unknown target is an error, not an empty list.
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
        source: None,
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

/// List log sources and their activity
#[utoipa::path(
    get,
    path = "/api/v1/log-sources",
    tag = "logs",
    responses((status = 200, description = "The log sources", body = ListPage<LogSourceDto>))
)]
pub(super) async fn list_log_sources(
    State(app): State<Arc<AppState>>,
    _caller: ApiCaller,
) -> ApiResult<ListPage<LogSourceDto>> {
    let now = app.clock.now();
    let sources = logs::list_log_sources(&app).await?.into_iter();
    let of = |LogSourceStatus { config, record }| LogSourceDto::from_config(&config, record, now);
    Ok(Json(ListPage::from_all(sources.map(of).collect())))
}

#[cfg(test)]
mod tests;
