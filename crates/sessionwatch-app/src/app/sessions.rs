//! Sessions and users of a target: the rows behind the numbers, prefixes of tokens only, and what is remembered of a user.

use std::sync::Arc;

use jiff::SignedDuration;
use sessionwatch_core::{instant::Instant, period::Period, plural::counted};
use sessionwatch_store::{
    StoreError,
    db::Db,
    events, plans,
    signals::{self, Kept, Search},
};
use sessionwatch_targets::{
    connect::ConnectedTarget,
    error::TargetError,
    sql::{After, List},
};

use super::{AppError, AppState, with_pooled_connection};
use crate::{
    config::{Config, Target},
    remediation::{Plan, Selection},
};

pub use sessionwatch_targets::{
    listing::Line as SessionRow,
    sql::{Sort as SessionSort, Status as SessionStatus},
};

/// Sessions of a user that are listed.
const USER_SESSIONS: usize = 100;
/// Log events about a user that are listed.
const USER_LOG_EVENTS: u32 = 100;
/// Changes about a user that are looked through.
const USER_EVENTS: u32 = 100;
/// How far back log events about a user are looked for.
const LOG_EVENTS_PERIOD: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How far back it is looked for what happened to a user.
const HISTORY_PERIOD: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Which sessions are asked for.
#[derive(Clone, Debug)]
pub struct SessionQuery {
    /// Which by their end.
    pub status: SessionStatus,
    /// In which order; `None` for the usual one.
    pub sort: Option<SessionSort>,
    /// In an order that pages can follow each other in: what that is sorted by, the table has to have.
    pub paged: bool,
    /// Smallest first.
    pub ascending: bool,
    /// Only of this user.
    pub user: Option<String>,
    /// Only the one with this row id, or those with this token prefix.
    pub token: Option<String>,
    /// The last one on the page before.
    pub after: Option<PagePosition>,
    /// How many at most.
    pub limit: usize,
}

/// A place in a list of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PagePosition {
    /// What the list is sorted by, in microseconds.
    pub key: i64,
    /// The row id.
    pub id: String,
}

impl SessionQuery {
    /// The sessions of a user.
    #[must_use]
    pub fn of_user(user: &str) -> Self {
        let (status, sort) = (SessionStatus::All, Some(SessionSort::Expires));
        Self {
            status,
            sort,
            paged: true,
            ascending: false,
            user: Some(user.to_owned()),
            token: None,
            after: None,
            limit: USER_SESSIONS,
        }
    }
}

/// The sessions that were found.
#[derive(Clone, Debug)]
pub struct SessionList {
    /// The sessions, no more than the limit.
    pub rows: Vec<SessionRow>,
    /// Whether there are more.
    pub has_more: bool,
    /// The order that they are in.
    pub sort: SessionSort,
    /// Names of what helps a person to recognize a user.
    pub display: Vec<String>,
    /// The database's time.
    pub now: Instant,
}

/// By what a session has its place in that order, in microseconds; the largest where there is nothing.
#[must_use]
pub fn sort_key(row: &SessionRow, sort: SessionSort) -> i64 {
    let at = if sort == SessionSort::Created { row.created_at } else { row.expires_at };
    at.map_or(i64::MAX, Instant::micros)
}

/// Something that happened to sessions of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEvent {
    /// When.
    pub at: Instant,
    /// What, in words.
    pub summary: String,
}

/// What the store knows of a user.
#[derive(Clone, Debug)]
pub struct UserRecords {
    /// Log events of the last 30 days.
    pub log_events: Vec<Kept>,
    /// What happened in the last 90 days, the latest first.
    pub history: Vec<UserEvent>,
}

/// Sessions of a target.
///
/// # Errors
///
/// If the database cannot be asked.
pub async fn list_sessions(
    app: &Arc<AppState>,
    target: &Target,
    asked: SessionQuery,
) -> Result<SessionList, AppError> {
    let listed =
        with_pooled_connection(app, target, async move |opened, config| query(opened, config, &asked).await);
    listed.await
}

/// Queries sessions over a connection.
///
/// # Errors
///
/// If the query fails.
pub(super) async fn query(
    opened: &ConnectedTarget,
    config: &Config,
    asked: &SessionQuery,
) -> Result<SessionList, TargetError> {
    let scope = opened.scope(false, &config.rules.thresholds);
    // Who looks for something finds few.
    let is_narrow = asked.user.is_some() || asked.token.is_some();
    let sort = match asked.sort {
        Some(wanted) if asked.paged => scope.paged_sort(wanted),
        Some(wanted) => wanted,
        None if asked.paged && !is_narrow => scope.usual_sort(),
        None => SessionSort::Expires,
    };
    let list = List {
        status: asked.status,
        sort,
        ascending: asked.ascending,
        user: asked.user.as_deref(),
        named: asked.token.as_deref(),
        after: asked.after.as_ref().map(|after| After { key: after.key, id: &after.id }),
        paged: asked.paged,
        // One more tells whether there are more.
        ..List::all(asked.limit + 1)
    };
    let mut rows = opened.session.list(&scope, list).await?;
    let has_more = rows.len() > asked.limit;
    rows.truncate(asked.limit);
    Ok(SessionList { rows, has_more, sort, display: display_columns(opened), now: opened.now })
}

/// Names of what helps a person to recognize a user.
pub(super) fn display_columns(opened: &ConnectedTarget) -> Vec<String> {
    let users = opened.layout.candidate.mapping.users.as_ref();
    users.map(|users| users.display.clone()).unwrap_or_default()
}

/// What the store knows of a user: what the table shows no more, findings and plans remember.
///
/// # Errors
///
/// If the store does not answer.
pub async fn get_user_records(
    app: &Arc<AppState>,
    target: &str,
    user: &str,
) -> Result<UserRecords, AppError> {
    let (now, target, user) = (app.clock.now(), target.to_owned(), user.to_owned());
    app.read(move |db| {
        let search = Search { user: Some(&user), limit: USER_LOG_EVENTS, ..Search::default() };
        let period = Period::back_from(now, LOG_EVENTS_PERIOD);
        let log_events = signals::search(db, &target, period, &search)?;
        Ok(UserRecords { log_events, history: user_history(db, &target, &user, now)? })
    })
    .await
}

fn user_history(db: Db<'_>, target: &str, user: &str, now: Instant) -> Result<Vec<UserEvent>, StoreError> {
    let from = now - HISTORY_PERIOD;
    let mut history: Vec<UserEvent> =
        events::about_user(db, events::UserRef { target, user }, from, USER_EVENTS)?
            .into_iter()
            .map(|event| UserEvent {
                at: event.at,
                summary: format!("{} of {}: {}", event.kind, event.check, event.summary),
            })
            .collect();
    let applied = |plan: &plans::Plan| {
        matches!(plan.state, plans::State::Begun | plans::State::Done) && plan.target == target
    };
    let made = plans::list(db)?.into_iter().filter(applied).filter(|plan| plan.touched_at >= from);
    for plan in made.map(Plan::read) {
        let Some(plan) = plan? else { continue };
        if is_about(&plan, user) {
            history.push(plan_event(&plan));
        }
    }
    history.sort_by_key(|event| std::cmp::Reverse(event.at));
    Ok(history)
}

fn is_about(plan: &Plan, user: &str) -> bool {
    match &plan.selection {
        Selection::User(id) => id == user,
        Selection::Users(ids) => ids.iter().any(|id| id == user),
        _ => plan.summary.sample.iter().any(|line| line.user.as_deref() == Some(user)),
    }
}

fn plan_event(plan: &Plan) -> UserEvent {
    let rows = counted(plan.kept.rows, "row", "rows");
    let (made_by, state) = (&plan.kept.made_by, plan.kept.state.name());
    let summary = format!("{} by {made_by}: {rows} in all, {state}", plan.selection.name());
    UserEvent { at: plan.kept.touched_at, summary }
}
