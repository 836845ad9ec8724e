//! What logs say, and whether their sources are heard.

use std::sync::Arc;

use super::{AppError, AppState, Period};
use crate::{
    logs,
    store::signals::{self, Search},
};
pub use crate::{
    logs::{LogSource as LogSourceRecord, describe_kept as describe_log_event},
    store::signals::Kept as LogEventRecord,
};

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
        let period = (query.period.from, query.period.to);
        let mut found = vec![];
        for target in &query.targets {
            found.extend(signals::search(db, target, period, &search)?);
        }
        found.sort_by_key(|event| std::cmp::Reverse(event.id));
        Ok(found)
    })
    .await
}

/// What is known of the sources of log lines.
///
/// # Errors
///
/// If the store does not answer.
pub async fn list_sources(app: &Arc<AppState>) -> Result<Vec<LogSourceRecord>, AppError> {
    app.read(logs::list_sources).await
}
