//! Sessions and users of a target. Sessions show only the token prefix.

use std::sync::Arc;

use jiff::SignedDuration;
use sessionwatch_core::{
    alert::AlertState,
    period::Period,
    plural::{ListTotal, format_count},
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{
    StoreError, alerts, history_events,
    log_events::{self, LogEventRecord, LogEventSearch},
    plans,
    transaction::Tx,
};
use sessionwatch_targets::{
    connect::ConnectedTarget,
    error::TargetError,
    sql::{SessionListCursor, SessionListQuery},
};

use super::{AppError, AppState, with_pooled_connection};
use crate::{
    config::{Config, Target},
    remediation::{ActionPlan, Selection},
    report,
};

pub use sessionwatch_targets::{
    listing::ListedSession as SessionRow,
    sql::{ListedStatus as SessionStatus, ProblemSearch, SessionProblem, SessionSort},
};

const MAX_USER_SESSIONS: usize = 100;
/// Number up to which the sessions of a list are counted, to bound the load of a count.
const MAX_COUNTED_SESSIONS: usize = 100_000;
const MAX_USER_LOG_EVENTS: u32 = 100;
const MAX_USER_EVENTS: usize = 100;
const LOG_EVENT_LOOKBACK: SignedDuration = SignedDuration::from_hours(30 * 24);
const USER_HISTORY_LOOKBACK: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Query for sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionQuery {
    /// Only sessions with this status.
    pub status: SessionStatus,
    /// Sort order; `None` for the default.
    pub sort: Option<SessionSort>,
    /// Restricts the sort order to those that the table supports with a stable page cursor.
    pub paged: bool,
    /// Sorts in ascending instead of descending order.
    pub ascending: bool,
    /// Only sessions of this user.
    pub user: Option<String>,
    /// Only of users whose ID, name, handle or email address contains this, in upper or lower case.
    pub user_like: Option<String>,
    /// Only the session with this row id, or sessions with this token prefix.
    pub row_id_or_prefix: Option<String>,
    /// Only sessions with this problem. Finding them reads the whole table.
    pub problem: Option<SessionProblem>,
    /// Whether each session comes with its problem.
    pub problem_search: ProblemSearch,
    /// Only sessions created since then, if creation is stored.
    pub created_since: Option<UtcTimestamp>,
    /// Only sessions with this IP address.
    pub ip: Option<String>,
    /// Only sessions whose user agent contains this, in upper or lower case.
    pub agent_like: Option<String>,
    /// Last session of the previous page.
    pub after: Option<SessionPageCursor>,
    /// Maximum number of sessions.
    pub limit: usize,
}

/// Cursor into a sorted list of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionPageCursor {
    /// Sort key, in microseconds since the epoch.
    pub key: i64,
    /// Row id.
    pub id: String,
}

impl SessionQuery {
    /// Creates a query for the first sessions of a table, in the default order.
    #[must_use]
    pub const fn first(limit: usize) -> Self {
        Self {
            status: SessionStatus::All,
            sort: None,
            paged: false,
            ascending: false,
            user: None,
            user_like: None,
            row_id_or_prefix: None,
            problem: None,
            problem_search: ProblemSearch::Skip,
            created_since: None,
            ip: None,
            agent_like: None,
            after: None,
            limit,
        }
    }

    /// Creates a query for all sessions of a user, the latest expiry first.
    #[must_use]
    pub fn for_user(user: &str) -> Self {
        Self {
            sort: Some(SessionSort::Expires),
            paged: true,
            user: Some(user.to_owned()),
            ..Self::first(MAX_USER_SESSIONS)
        }
    }

    fn to_list_query(&self, sort: SessionSort) -> SessionListQuery<'_> {
        SessionListQuery {
            status: self.status,
            sort,
            ascending: self.ascending,
            user: self.user.as_deref(),
            user_like: self.user_like.as_deref(),
            id_or_prefix: self.row_id_or_prefix.as_deref(),
            problem: self.problem,
            problem_search: self.problem_search,
            created_since: self.created_since,
            ip: self.ip.as_deref(),
            agent_like: self.agent_like.as_deref(),
            after: self.after.as_ref().map(|after| SessionListCursor { sort_key: after.key, id: &after.id }),
            is_paged: self.paged,
            // One row more than requested shows if there are more.
            ..SessionListQuery::all(self.limit + 1)
        }
    }
}

/// Result of a session query.
#[derive(Clone, Debug)]
pub struct SessionList {
    /// Sessions, up to the limit.
    pub rows: Vec<SessionRow>,
    /// `true` if there are more sessions.
    pub has_more: bool,
    /// Number of matching sessions; `None` if not counted.
    pub total: Option<ListTotal>,
    /// Sort order of the sessions.
    pub sort: SessionSort,
    /// Names of the users table's display columns.
    pub display: Vec<String>,
    /// Time of the database.
    pub now: UtcTimestamp,
}

/// Returns the sort key of a session, in microseconds since the epoch; `i64::MAX` if the session has no such time.
#[must_use]
pub fn sort_key(row: &SessionRow, sort: SessionSort) -> i64 {
    let at = if sort == SessionSort::Created { row.created_at } else { row.expires_at };
    // Sessions without the time come last in ascending order, as the databases are asked to sort them.
    at.map_or(i64::MAX, UtcTimestamp::micros)
}

/// Event about the sessions of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEvent {
    /// Time of the event.
    pub at: UtcTimestamp,
    /// One-line description.
    pub summary: String,
    /// What the event is about.
    pub subject: UserEventSubject,
}

/// What an event about the sessions of a user is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserEventSubject {
    /// A check whose evidence names the user.
    Check {
        /// Check id.
        id: String,
        /// Kind of event, such as `firing`.
        kind: String,
    },
    /// An applied plan with this id.
    Plan(String),
}

/// Stored activity of a user.
#[derive(Clone, Debug, Default)]
pub struct UserActivity {
    /// The latest log events of the last 30 days.
    pub log_events: Vec<LogEventRecord>,
    /// Number of log events of the last 30 days.
    pub log_event_count: u64,
    /// The latest alert events and plans of the last 90 days, the latest first.
    pub history: Vec<UserEvent>,
    /// Number of alert events and plans of the last 90 days.
    pub history_count: u64,
    /// Number of firing alerts whose evidence names the user.
    pub firing_alerts: u64,
}

/// Lists sessions of a target.
///
/// # Errors
///
/// If the database query fails.
pub async fn list_sessions(
    app: &Arc<AppState>,
    target: &Target,
    request: SessionQuery,
) -> Result<SessionList, AppError> {
    let listed = with_pooled_connection(app, target, async move |opened, config| {
        query_sessions(opened, config, &request).await
    });
    listed.await
}

/// Sessions of a user.
#[derive(Clone, Debug)]
pub struct UserSessions {
    /// The sessions that end last, up to 100, with their problems and the number of all.
    pub list: SessionList,
    /// Number of sessions that have not expired.
    pub active: ListTotal,
}

/// Lists and counts the sessions of a user.
///
/// # Errors
///
/// If the database query fails.
pub async fn list_user_sessions(
    app: &Arc<AppState>,
    target: &Target,
    user: &str,
) -> Result<UserSessions, AppError> {
    let query = SessionQuery { problem_search: ProblemSearch::Indexed, ..SessionQuery::for_user(user) };
    let listed = with_pooled_connection(app, target, async move |opened, config| {
        let mut list = query_sessions(opened, config, &query).await?;
        let is_active = |row: &&SessionRow| report::session_status(row.expires_at, list.now) != "expired";
        let active = list.rows.iter().filter(is_active).count() as u64;
        let listed = list.rows.len() as u64;
        // Only a cut list is counted. It ends with an expired session if it holds all active ones.
        list.total = Some(if list.has_more {
            count_sessions(opened, config, &query).await?
        } else {
            ListTotal::Exactly(listed)
        });
        let active = if list.has_more && active == listed {
            let query = SessionQuery { status: SessionStatus::Active, ..query };
            count_sessions(opened, config, &query).await?
        } else {
            ListTotal::Exactly(active)
        };
        Ok(UserSessions { list, active })
    });
    listed.await
}

/// Runs a session query over a connection.
///
/// # Errors
///
/// If the query fails.
pub(super) async fn query_sessions(
    opened: &ConnectedTarget,
    config: &Config,
    request: &SessionQuery,
) -> Result<SessionList, TargetError> {
    let scope = opened.query_scope(false, &config.checks.thresholds);
    // A narrow query returns few rows, so sorting without an index is cheap.
    let is_narrow = request.user.is_some() || request.row_id_or_prefix.is_some();
    // Pages need an index for a stable cursor; a list that ends at its limit does not.
    let sort = match request.sort {
        Some(wanted) if request.paged => scope.paged_sort(wanted),
        Some(wanted) => wanted,
        None if request.paged && !is_narrow => scope.default_sort(),
        None => SessionSort::Expires,
    };
    let mut rows = opened.session.list_sessions(&scope, request.to_list_query(sort)).await?;
    let has_more = rows.len() > request.limit;
    rows.truncate(request.limit);
    let display = display_columns(opened);
    Ok(SessionList { rows, has_more, total: None, sort, display, now: opened.now })
}

/// Counts the sessions of a query that found more than its limit.
///
/// # Errors
///
/// If the connection is lost.
pub(super) async fn count_sessions(
    opened: &ConnectedTarget,
    config: &Config,
    request: &SessionQuery,
) -> Result<ListTotal, TargetError> {
    let scope = opened.query_scope(false, &config.checks.thresholds);
    let list = request.to_list_query(SessionSort::Expires);
    let counted = opened.session.count_listed(&scope, list, MAX_COUNTED_SESSIONS + 1).await?;
    let most = MAX_COUNTED_SESSIONS as u64;
    Ok(match counted {
        Some(count) if count <= most => ListTotal::Exactly(count),
        Some(_) => ListTotal::MoreThan(most),
        // The list is worth more than its number.
        None => ListTotal::MoreThan(request.limit as u64),
    })
}

/// Returns the names of the users table's display columns.
pub(super) fn display_columns(opened: &ConnectedTarget) -> Vec<String> {
    let users = opened.layout.candidate.mapping.users.as_ref();
    users.map(|users| users.display.clone()).unwrap_or_default()
}

/// Loads the stored activity of a user, which also covers sessions that no longer exist.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn load_user_activity(
    app: &Arc<AppState>,
    target: &str,
    user: &str,
) -> Result<UserActivity, AppError> {
    let (now, target, user) = (app.clock.now(), target.to_owned(), user.to_owned());
    app.read_store(move |db| {
        let search =
            LogEventSearch { user: Some(&user), limit: MAX_USER_LOG_EVENTS, ..LogEventSearch::default() };
        let period = Period::ending_at(now, LOG_EVENT_LOOKBACK);
        let log_events = log_events::search_log_events(db, &target, period, &search)?;
        let log_event_count = match log_events.len() as u64 {
            // Only a cut list is counted, which reads all of its events.
            count if count < u64::from(MAX_USER_LOG_EVENTS) => count,
            _ => log_events::count_matching_log_events(db, &target, period, &search)?,
        };
        let mut history = list_user_history(db, &target, &user, now)?;
        let history_count = history.len() as u64;
        history.truncate(MAX_USER_EVENTS);
        let firing_alerts = count_firing_alerts(db, &target, &user)?;
        Ok(UserActivity { log_events, log_event_count, history, history_count, firing_alerts })
    })
    .await
}

fn count_firing_alerts(db: Tx<'_>, target: &str, user: &str) -> Result<u64, StoreError> {
    let mut firing = 0;
    for record in alerts::list_target_alerts(db, target)? {
        if !matches!(record.alert.state, AlertState::Firing { .. }) {
            continue;
        }
        let finding = record.parse_finding()?;
        let evidence = finding["evidence"].as_array().into_iter().flatten();
        firing += u64::from(evidence.into_iter().any(|row| row["user"] == user));
    }
    Ok(firing)
}

fn list_user_history(
    db: Tx<'_>,
    target: &str,
    user: &str,
    now: UtcTimestamp,
) -> Result<Vec<UserEvent>, StoreError> {
    let from = now - USER_HISTORY_LOOKBACK;
    let mut history: Vec<UserEvent> =
        history_events::list_user_events(db, history_events::UserRef { target, user }, from)?
            .into_iter()
            .map(|event| UserEvent {
                at: event.at,
                summary: format!("{} of {}: {}", event.kind, event.check, event.summary),
                subject: UserEventSubject::Check { id: event.check, kind: event.kind },
            })
            .collect();
    let applied = |plan: &plans::PlanRecord| {
        // A plan that was never begun has not touched the user's sessions.
        matches!(plan.state, plans::PlanState::Begun | plans::PlanState::Done) && plan.target == target
    };
    // By the last update, because a plan can be applied some time after it was created.
    let plans = plans::list_plans(db)?.into_iter().filter(applied).filter(|plan| plan.updated_at >= from);
    for plan in plans.map(ActionPlan::from_record) {
        let Some(plan) = plan? else { continue };
        if is_plan_about(&plan, user) {
            history.push(event_from_plan(&plan));
        }
    }
    history.sort_by_key(|event| std::cmp::Reverse(event.at));
    Ok(history)
}

fn is_plan_about(plan: &ActionPlan, user: &str) -> bool {
    match &plan.selection {
        Selection::User(id) => id == user,
        Selection::Users(ids) => ids.iter().any(|id| id == user),
        // Other plans store only a sample of their rows.
        _ => plan.summary.sample.iter().any(|line| line.user.as_deref() == Some(user)),
    }
}

fn event_from_plan(plan: &ActionPlan) -> UserEvent {
    let rows = format_count(plan.record.row_count, "row", "rows");
    let (made_by, state) = (&plan.record.created_by, plan.record.state.name());
    let summary = format!("{} by {made_by}: {rows} in all, {state}", plan.selection.command_name());
    let subject = UserEventSubject::Plan(plan.record.id.clone());
    UserEvent { at: plan.record.updated_at, summary, subject }
}

#[cfg(test)]
mod tests;
