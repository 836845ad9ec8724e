//! Log events, log sources, and their correlation with sessions.

use std::sync::Arc;

use sessionwatch_core::{source_activity::SourceStatus, timestamp::UtcTimestamp};
use sessionwatch_store::{
    StoreError,
    log_events::{self, LogEventSearch, LogEventWindow},
    transaction::Tx,
};

use super::{AppError, AppState, Period, cut_page, sessions::SessionRow};
use crate::{
    config::logs::LogSourceConfig,
    logs::{self, correlation_report},
};

pub use crate::logs::{LogSourceRecord, correlation_report::CorrelationReport, describe_log_event};
pub use sessionwatch_store::log_events::LogEventRecord;

/// Search for log events.
#[derive(Clone, Debug)]
pub struct LogEventQuery {
    /// Target names.
    pub targets: Vec<String>,
    /// Only this kind, or the name of a custom log check.
    pub kind: Option<String>,
    /// Only this token prefix.
    pub token_prefix: Option<String>,
    /// Only events that name this user.
    pub user: Option<String>,
    /// Only events of this log source.
    pub source: Option<String>,
    /// Only events with a severity.
    pub only_warnings: bool,
    /// Only events read in this period.
    pub period: Period,
    /// Only events before the one with this id.
    pub before: Option<i64>,
    /// Maximum number of events per target.
    pub limit: u32,
}

/// Searches log events, the latest first.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn search_log_events(
    app: &Arc<AppState>,
    query: LogEventQuery,
) -> Result<Vec<LogEventRecord>, AppError> {
    app.read_store(move |db| query.search(db)).await
}

/// A page of log events.
#[derive(Clone, Debug)]
pub struct LogEventPage {
    /// Log events, the latest first.
    pub events: Vec<LogEventRecord>,
    /// `true` if older log events match.
    pub has_more: bool,
    /// Number of log events that match the search, on all pages.
    pub matching: u64,
}

/// Searches log events, and counts those on all pages. `limit` applies to all targets together.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn load_log_event_page(
    app: &Arc<AppState>,
    query: LogEventQuery,
) -> Result<LogEventPage, AppError> {
    app.read_store(move |db| {
        // The extra event only shows that another page follows.
        let read = LogEventQuery { limit: query.limit.saturating_add(1), ..query.clone() };
        let mut events = read.search(db)?;
        let has_more = cut_page(&mut events, query.limit);
        Ok(LogEventPage { events, has_more, matching: query.count(db)? })
    })
    .await
}

/// Counts matching log events.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn count_log_events(app: &Arc<AppState>, query: LogEventQuery) -> Result<u64, AppError> {
    app.read_store(move |db| query.count(db)).await
}

impl LogEventQuery {
    fn to_search(&self) -> LogEventSearch<'_> {
        LogEventSearch {
            kind: self.kind.as_deref(),
            token_prefix: self.token_prefix.as_deref(),
            user: self.user.as_deref(),
            match_kind: None,
            source: self.source.as_deref(),
            only_with_severity: self.only_warnings,
            before_id: self.before,
            limit: self.limit,
        }
    }

    fn search(&self, db: Tx<'_>) -> Result<Vec<LogEventRecord>, StoreError> {
        let mut found = vec![];
        for target in &self.targets {
            found.extend(log_events::search_log_events(db, target, self.period, &self.to_search())?);
        }
        // Sorted here, because the events of several targets were read one after the other.
        found.sort_by_key(|event| std::cmp::Reverse(event.id));
        Ok(found)
    }

    fn count(&self, db: Tx<'_>) -> Result<u64, StoreError> {
        let of_target =
            |target| log_events::count_matching_log_events(db, target, self.period, &self.to_search());
        self.targets.iter().map(|target| of_target(target)).sum()
    }
}

/// Configured log source with its stored state.
#[derive(Clone, Debug)]
pub struct LogSourceStatus {
    /// Configuration.
    pub config: LogSourceConfig,
    /// Stored state; empty before the first line.
    pub record: LogSourceRecord,
}

impl LogSourceStatus {
    /// Returns whether lines arrive as usual.
    #[must_use]
    pub fn status_at(&self, now: UtcTimestamp) -> SourceStatus {
        self.record.activity.status_at(self.record.last_line_at, now, self.config.idle_after)
    }
}

/// Lists the configured log sources with their stored state.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn list_log_sources(app: &Arc<AppState>) -> Result<Vec<LogSourceStatus>, AppError> {
    let config = app.config();
    app.read_store(move |db| {
        let status = |source: &LogSourceConfig| {
            // A source that has read nothing yet is listed too, with an empty state.
            let record = logs::find_source(db, &source.name)?.unwrap_or_default();
            Ok(LogSourceStatus { config: source.clone(), record })
        };
        config.logs.sources.iter().map(status).collect()
    })
    .await
}

/// Correlates the log events of a period with sessions. `rows` is an error if the sessions could not be listed; the
/// report then contains this reason.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn build_correlation_report(
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

#[cfg(test)]
mod tests;
