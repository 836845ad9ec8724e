//! What logs say, and whether their sources are heard.

use std::sync::Arc;

use sessionwatch_store::signals::{self, Search, Window};

use super::{AppError, AppState, Period, sessions::SessionRow};
use crate::{
    config::logs::Source,
    logs::{self, joined},
};

pub use crate::logs::{LogSource as LogSourceRecord, describe_kept as describe_log_event, joined::Fits};
pub use sessionwatch_store::signals::Kept as LogEventRecord;

/// Which log events are looked for.
#[derive(Clone, Debug)]
pub struct LogEventQuery {
    /// Of these targets.
    pub targets: Vec<String>,
    /// Only of this kind, or of the pattern of that name.
    pub kind: Option<String>,
    /// Only about the token with this prefix.
    pub prefix: Option<String>,
    /// Only those that name this user.
    pub user: Option<String>,
    /// Only those that are bad.
    pub only_bad: bool,
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
    app.read(move |db| {
        let search = Search {
            kind: query.kind.as_deref(),
            prefix: query.prefix.as_deref(),
            user: query.user.as_deref(),
            fit: None,
            bad: query.only_bad,
            before: query.before,
            limit: query.limit,
        };
        let mut found = vec![];
        for target in &query.targets {
            found.extend(signals::search(db, target, query.period, &search)?);
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
    pub source: Source,
    /// What is known of it; blank if it was never heard.
    pub record: LogSourceRecord,
}

/// The sources of log lines that are configured, and what is known of them.
///
/// # Errors
///
/// If the store does not answer.
pub async fn list_sources(app: &Arc<AppState>) -> Result<Vec<LogSourceStatus>, AppError> {
    let config = app.config();
    app.read(move |db| {
        let status = |source: &Source| {
            let record = logs::find_source(db, &source.name)?.unwrap_or_default();
            Ok(LogSourceStatus { source: source.clone(), record })
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
pub async fn compare_with_table(
    app: &Arc<AppState>,
    target: String,
    period: Period,
    rows: Result<Vec<SessionRow>, String>,
) -> Result<Fits, AppError> {
    let config = app.config();
    app.read(move |db| {
        let rows = rows.as_ref().map(Vec::as_slice).map_err(String::as_str);
        let window = Window { target: &target, from: period.from, to: period.to };
        joined::fits(db, &config, window, rows)
    })
    .await
}
