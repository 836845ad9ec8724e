//! What logs say, and whether their sources are heard.

use std::sync::Arc;

use sessionwatch_store::log_events::{self, LogEventSearch, LogEventWindow};

use super::{AppError, AppState, Period, sessions::SessionRow};
use crate::{
    config::logs::LogSourceConfig,
    logs::{self, correlation_report},
};

pub use crate::logs::{LogSourceRecord, correlation_report::CorrelationReport, describe_log_event};
pub use sessionwatch_store::log_events::LogEventRecord;

/// Which log events are looked for.
#[derive(Clone, Debug)]
pub struct LogEventQuery {
    /// Of these targets.
    pub targets: Vec<String>,
    /// Only of this kind, or of the pattern of that name.
    pub kind: Option<String>,
    /// Only about the token with this prefix.
    pub token_prefix: Option<String>,
    /// Only those that name this user.
    pub user: Option<String>,
    /// Only those that are bad.
    pub only_warnings: bool,
    /// Only those that were read then.
    pub period: Period,
    /// Only those before this one.
    pub before: Option<i64>,
    /// The most of one target.
    pub limit: u32,
}

/// Log events, the latest first.
///
/// # Errors
///
/// If the store does not answer.
pub async fn search_log_events(
    app: &Arc<AppState>,
    query: LogEventQuery,
) -> Result<Vec<LogEventRecord>, AppError> {
    app.read_store(move |db| {
        let search = LogEventSearch {
            kind: query.kind.as_deref(),
            token_prefix: query.token_prefix.as_deref(),
            user: query.user.as_deref(),
            match_kind: None,
            only_with_severity: query.only_warnings,
            before_id: query.before,
            limit: query.limit,
        };
        let mut found = vec![];
        for target in &query.targets {
            found.extend(log_events::search_log_events(db, target, query.period, &search)?);
        }
        found.sort_by_key(|event| std::cmp::Reverse(event.id));
        Ok(found)
    })
    .await
}

/// A source of log lines that is configured, and what is known of it.
#[derive(Clone, Debug)]
pub struct LogSourceStatus {
    /// Its configuration.
    pub config: LogSourceConfig,
    /// What is known of it; blank if it was never heard.
    pub record: LogSourceRecord,
}

/// The sources of log lines that are configured, and what is known of them.
///
/// # Errors
///
/// If the store does not answer.
pub async fn list_log_sources(app: &Arc<AppState>) -> Result<Vec<LogSourceStatus>, AppError> {
    let config = app.config();
    app.read_store(move |db| {
        let status = |source: &LogSourceConfig| {
            let record = logs::find_source(db, &source.name)?.unwrap_or_default();
            Ok(LogSourceStatus { config: source.clone(), record })
        };
        config.logs.sources.iter().map(status).collect()
    })
    .await
}

/// How the log events of a period fit the rows of a table; without rows, why they could not be listed.
///
/// # Errors
///
/// If the store does not answer.
pub async fn correlate_with_table(
    app: &Arc<AppState>,
    target: String,
    period: Period,
    rows: Result<Vec<SessionRow>, String>,
) -> Result<CorrelationReport, AppError> {
    let config = app.config();
    app.read_store(move |db| {
        let rows = rows.as_ref().map(Vec::as_slice).map_err(String::as_str);
        let window = LogEventWindow { target: &target, from: period.from, to: period.to };
        correlation_report::correlate_period(db, &config, window, rows)
    })
    .await
}
