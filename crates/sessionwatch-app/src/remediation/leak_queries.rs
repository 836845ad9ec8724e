//! Read-only queries for incidents, as the watch role: leaked rows, users, and revoked sessions that reappeared.

use sessionwatch_core::{plural::format_number, row_ref::RowRef};
use sessionwatch_store::{
    archive_batches::{self, ArchivedRowState},
    plans,
};
use sessionwatch_targets::{
    engine::REASON_UNKNOWN_COLLATION,
    error::TargetError,
    layout::detect,
    mapping::RevokeMethod,
    row_selection::{LeakRow, SelectionQuery},
    sql::{LocateBy, RowSelection},
};

use super::{ActionContext, ActionError, ActionPlan, planning_session::PlanningSession};
use crate::check_run;

/// Rows per query.
const ROWS_PER_QUERY: usize = 1_000;

/// Rows that show a leak, and the reasons why the list may be incomplete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeakedRows {
    /// The rows, up to the requested limit.
    pub rows: Vec<LeakRow>,
    /// Reasons why there may be more rows; empty if the list is complete.
    pub gaps: Vec<String>,
    /// `true` if there are more rows than the limit.
    pub is_cut: bool,
}

/// Lists up to `limit` rows whose token occurs more than once or whose user does not exist.
///
/// # Errors
///
/// Fails if the target cannot be read within its time limit.
pub async fn find_leaked_rows(context: ActionContext<'_>, limit: usize) -> Result<LeakedRows, ActionError> {
    let view = PlanningSession::open(context).await?;
    let time_limit = context.target.limits.timeout;
    let scope = view.scope(context);
    // One row more than the limit shows whether the list is cut.
    let reading = view.connected.session.list_leak_rows(&scope, limit.saturating_add(1));
    let Ok(found) = tokio::time::timeout(time_limit, reading).await else {
        view.connected.session.cancel_and_close().await;
        return Err(TargetError::TimedOut(time_limit.as_secs()).into());
    };
    let mut gaps = visibility_gaps(&view, context);
    view.connected.session.close().await;
    let mut rows = found?;
    let is_cut = rows.len() > limit;
    if is_cut {
        rows.truncate(limit);
        gaps.push(format!("there are more than {} such rows", format_number(limit as u64)));
    }
    Ok(LeakedRows { rows, gaps, is_cut })
}

/// Returns the reasons why the watch role may not see every leaked row.
fn visibility_gaps(view: &PlanningSession, context: ActionContext<'_>) -> Vec<String> {
    let (opened, scope) = (&view.connected, view.scope(context));
    let mapping = &opened.layout.candidate.mapping;
    let mut gaps = Vec::new();
    gaps.extend(check_run::hidden_sessions_reason(opened));
    if !opened.layout.is_certain() {
        gaps.extend(opened.layout.uncertainty.as_ref().map(ToString::to_string));
    }
    if scope.has_unknown_token_collation() {
        gaps.push(format!("cannot find shared tokens: {}", REASON_UNKNOWN_COLLATION));
    }
    let profile = context.config.catalogue.iter().find(|profile| profile.name == mapping.profile);
    let users = scope
        .users_visibility_caveat()
        .or_else(|| detect::unreadable_users_reason(&opened.layout.schema, mapping, profile));
    gaps.extend(users.map(|why| format!("cannot find orphaned sessions: {why}")));
    gaps
}

/// Finds users whose id, name or handle contains `part`. Returns each user's id and display columns, and the number
/// of sessions.
///
/// # Errors
///
/// Fails if the target cannot be read.
pub async fn search_users(
    context: ActionContext<'_>,
    part: &str,
    limit: usize,
) -> Result<Vec<(Vec<String>, u64)>, ActionError> {
    let view = PlanningSession::open(context).await?;
    let found = query_users(&view, context, part, limit).await;
    view.connected.session.close().await;
    found
}

async fn query_users(
    view: &PlanningSession,
    context: ActionContext<'_>,
    part: &str,
    limit: usize,
) -> Result<Vec<(Vec<String>, u64)>, ActionError> {
    let (session, scope) = (&view.connected.session, view.scope(context));
    let mut users = Vec::new();
    for user in session.search_users(&scope, part, limit).await? {
        let id = user.id.unwrap_or_default();
        let selection = RowSelection::User(&id);
        let selected = SelectionQuery { selection, revoke: &RevokeMethod::Delete, row_key: view.addressing };
        let count = session.count_selected(&scope, selected).await?;
        let display = user.display.into_iter().map(Option::unwrap_or_default);
        users.push((std::iter::once(id.clone()).chain(display).collect(), count));
    }
    Ok(users)
}

/// Counts the sessions revoked by a plan that reappeared without a restore.
///
/// # Errors
///
/// Fails if the target or the store cannot be read.
pub async fn count_reappeared(context: ActionContext<'_>, plan: &str) -> Result<u64, ActionError> {
    let plan_record = context
        .store
        .read(|db| plans::find_plan(db, plan))?
        .map(ActionPlan::from_record)
        .transpose()?
        .flatten();
    let revoke = plan_record.ok_or_else(|| ActionError::NoPlan(plan.to_owned()))?.summary.revoke;
    let view = PlanningSession::open(context).await?;
    let counted = count_reappeared_rows(context, &view, &revoke, plan).await;
    view.connected.session.close().await;
    counted
}

async fn count_reappeared_rows(
    context: ActionContext<'_>,
    view: &PlanningSession,
    revoke: &RevokeMethod,
    plan: &str,
) -> Result<u64, ActionError> {
    let (session, scope) = (&view.connected.session, view.scope(context));
    let identified = scope.has_unique_id();
    let (mut count, mut behind) = (0, 0);
    while let Some(batch) = context.store.read(|db| archive_batches::find_next_batch(db, plan, behind))? {
        behind = batch.id;
        let ended = batch
            .rows
            .iter()
            .zip(&batch.row_states)
            .filter(|(_, state)| **state == ArchivedRowState::Archived);
        let ended: Vec<&RowRef> = ended.map(|(row, _)| row).collect();
        for rows in ended.chunks(ROWS_PER_QUERY) {
            let there = match (revoke, identified) {
                // A row with the same unique id is the revoked session, however else it changed.
                (RevokeMethod::Delete, true) => session.find_present_rows(&scope, LocateBy::Id, rows).await?,
                (_, true) => session.find_rows_not_ended(&scope, LocateBy::Id, rows, revoke).await?,
                (_, false) => session.find_rows_not_ended(&scope, LocateBy::RowHash, rows, revoke).await?,
            };
            let hashes: Vec<i64> = there.iter().map(|row| row.row_hash).collect();
            let back = if *revoke == RevokeMethod::Delete {
                hashes.len()
            } else {
                rows.iter().filter(|row| hashes.contains(&row.row_hash)).count()
            };
            count += back as u64;
        }
    }
    Ok(count)
}
