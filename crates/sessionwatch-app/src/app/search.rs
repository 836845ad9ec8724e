//! Search over everything: checks, incidents, plans, and the users and sessions of every target.

use std::{sync::Arc, time::Duration};

use futures_util::future;
use sessionwatch_store::{alerts, incidents, plans};
use sessionwatch_targets::{connect::ConnectedTarget, error::TargetError};

use super::{
    AppError, AppState,
    alerts::AlertRecord,
    incidents::IncidentRecord,
    plans::PlanRecord,
    sessions::{self, SessionQuery, SessionRow},
    users::{self, UserList, UserSearch},
    with_pooled_connection,
};
use crate::{
    checks::describe_check,
    config::{Config, Target},
};

/// Fewest characters for which databases are searched. Shorter texts match almost everything.
pub const MIN_SEARCH_CHARS: usize = 2;
/// Fewest characters of a token prefix or row ID.
const MIN_PREFIX_CHARS: usize = 4;
/// Most results of each kind, per target for users and sessions.
const MAX_RESULTS: usize = 6;
/// Most rows of a session table that is searched for a token prefix, which no index serves.
const MAX_SEARCHED_ROWS: u64 = 2_000_000;
/// Longest wait for a database.
const TARGET_TIMEOUT: Duration = Duration::from_secs(3);

/// Results of a search.
#[derive(Clone, Debug, Default)]
pub struct SearchResults {
    /// Checks whose title or ID contains the text, on each target.
    pub checks: Vec<AlertRecord>,
    /// Incidents, the latest first.
    pub incidents: Vec<IncidentRecord>,
    /// Plans, the latest first.
    pub plans: Vec<PlanRecord>,
    /// Results of each target, in the order of the configuration.
    pub targets: Vec<TargetResults>,
}

/// Results of a target.
#[derive(Clone, Debug, Default)]
pub struct TargetResults {
    /// Target name.
    pub target: String,
    /// Users whose ID, name, handle or email address contains the text.
    pub users: UserList,
    /// Sessions whose row ID or token prefix is the text.
    pub sessions: Vec<SessionRow>,
    /// Why the results may be incomplete; empty if they are complete.
    pub gap: String,
}

/// Searches. A database that does not answer in time is reported in its results.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn search_everything(app: &Arc<AppState>, text: &str) -> Result<SearchResults, AppError> {
    if text.chars().count() < MIN_SEARCH_CHARS {
        return Ok(SearchResults::default());
    }
    let config = app.config();
    let searches = config.targets.iter().map(|target| search_target(app, target, text.to_owned()));
    let (stored, targets) =
        future::join(search_store(app, text.to_lowercase()), future::join_all(searches)).await;
    Ok(SearchResults { targets, ..stored? })
}

async fn search_store(app: &Arc<AppState>, text: String) -> Result<SearchResults, AppError> {
    app.read_store(move |db| {
        let contains = |field: &str| field.to_lowercase().contains(&text);
        let checks = alerts::list_alerts(db, true)?.into_iter();
        let checks =
            checks.filter(|alert| contains(&alert.check) || contains(&describe_check(&alert.check).title));
        let incidents = incidents::list_incidents(db)?.into_iter();
        let incidents = incidents.filter(|incident| {
            let summary = incident.report_field("summary").unwrap_or_default();
            contains(&incident.id) || contains(&summary)
        });
        let plans = plans::list_plans(db)?.into_iter().filter(|plan| contains(&plan.id));
        Ok(SearchResults {
            checks: checks.take(MAX_RESULTS).collect(),
            incidents: incidents.take(MAX_RESULTS).collect(),
            plans: plans.take(MAX_RESULTS).collect(),
            targets: vec![],
        })
    })
    .await
}

async fn search_target(app: &Arc<AppState>, target: &Target, text: String) -> TargetResults {
    let query =
        async move |opened: &ConnectedTarget, config: &Config| query_target(opened, config, text).await;
    let search = with_pooled_connection(app, target, query);
    let named = TargetResults { target: target.name.clone(), ..TargetResults::default() };
    let gap = match tokio::time::timeout(TARGET_TIMEOUT, search).await {
        Ok(Ok(found)) => return TargetResults { target: named.target, ..found },
        Ok(Err(error)) => error.to_string(),
        Err(_) => {
            format!("The database of {} did not answer within {} s.", target.name, TARGET_TIMEOUT.as_secs())
        }
    };
    TargetResults { gap, ..named }
}

async fn query_target(
    opened: &ConnectedTarget,
    config: &Config,
    part: String,
) -> Result<TargetResults, TargetError> {
    let table = opened.layout.schema.table(&opened.layout.candidate.mapping.sessions);
    let rows = table.and_then(|table| table.estimated_rows).unwrap_or_default();
    let is_name = part.chars().all(|letter| letter.is_alphanumeric() || "-_.:".contains(letter));
    let may_be_session = is_name && part.chars().count() >= MIN_PREFIX_CHARS;
    let is_searched = may_be_session && rows <= MAX_SEARCHED_ROWS;
    let gap = if may_be_session && !is_searched {
        "Token prefixes are not searched in a table of this size. \
         Filter the target's Sessions page by token prefix instead."
            .to_owned()
    } else {
        String::new()
    };
    let sessions = if is_searched {
        let query = SessionQuery { row_id_or_prefix: Some(part.clone()), ..SessionQuery::first(MAX_RESULTS) };
        sessions::query_sessions(opened, config, &query).await?.rows
    } else {
        vec![]
    };
    let search = UserSearch { part, limit: MAX_RESULTS, counts_sessions: false };
    let users = users::query_users(opened, config, &search).await?;
    Ok(TargetResults { target: String::new(), users, sessions, gap })
}

#[cfg(test)]
mod tests;
