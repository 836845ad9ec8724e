//! Rows that show a leak, and ended sessions that are back: read with the credentials of the watch.

use sessionwatch_core::row_ref::RowRef;
use sessionwatch_store::{
    archived::{self, Fate},
    plans,
};
use sessionwatch_targets::{
    engine::UNKNOWN_COLLATION,
    error::TargetError,
    layout::detect,
    mapping::Revoke,
    selecting::{LeakRow, Selected},
    sql::{Chosen, Named},
};

use super::{
    ActError, Context, Plan,
    applying::dependents,
    executor::require_visible,
    view::{Known, View, address},
};
use crate::check_run;

/// Rows that are asked for at once.
const ASKED: usize = 1_000;

/// Rows that show a leak, and what keeps them from being all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affected {
    /// The rows, at most as many as were asked for.
    pub rows: Vec<LeakRow>,
    /// Why there may be more such rows; empty if these are all.
    pub gaps: Vec<String>,
}

/// Reads the rows on tokens that occur more than once, and the rows whose user does not exist, at most `limit`.
///
/// # Errors
///
/// If the target cannot be read within its time limit.
pub async fn affected(context: Context<'_>, limit: usize) -> Result<Affected, ActError> {
    let view = View::open(context).await?;
    let time_limit = context.target.limits.timeout;
    let scope = view.scope(context);
    let reading = view.opened.session.leak_rows(&scope, limit.saturating_add(1));
    let Ok(found) = tokio::time::timeout(time_limit, reading).await else {
        view.opened.session.abandon().await;
        return Err(TargetError::TimedOut(time_limit.as_secs()).into());
    };
    let mut gaps = unseen(&view, context);
    view.opened.session.close().await;
    let mut rows = found?;
    if rows.len() > limit {
        rows.truncate(limit);
        gaps.push(format!("there are more than {limit} such rows"));
    }
    Ok(Affected { rows, gaps })
}

/// Why rows that show a leak may be missing from what the role reads.
fn unseen(view: &View, context: Context<'_>) -> Vec<String> {
    let (opened, scope) = (&view.opened, view.scope(context));
    let mapping = &opened.layout.candidate.mapping;
    let mut gaps = Vec::new();
    gaps.extend(check_run::hidden_sessions(opened));
    if !opened.layout.is_certain() {
        gaps.extend(opened.layout.doubt.as_ref().map(ToString::to_string));
    }
    if scope.compares_tokens_unknown() {
        gaps.push(format!("shared tokens cannot be found: {}", UNKNOWN_COLLATION));
    }
    let profile = context.config.catalogue.iter().find(|profile| profile.name == mapping.profile);
    let users =
        scope.users_doubt().or_else(|| detect::unreadable_users(&opened.layout.schema, mapping, profile));
    gaps.extend(users.map(|why| format!("rows whose user does not exist cannot be found: {why}")));
    gaps
}

/// Users whose id, name or handle contains a text: each with what is known of it, and with its sessions.
///
/// # Errors
///
/// If the target cannot be looked at.
pub async fn users(
    context: Context<'_>,
    part: &str,
    limit: usize,
) -> Result<Vec<(Vec<String>, u64)>, ActError> {
    let view = View::open(context).await?;
    let found = find(&view, context, part, limit).await;
    view.opened.session.close().await;
    found
}

async fn find(
    view: &View,
    context: Context<'_>,
    part: &str,
    limit: usize,
) -> Result<Vec<(Vec<String>, u64)>, ActError> {
    let (session, scope) = (&view.opened.session, view.scope(context));
    let mut users = Vec::new();
    for user in session.users(&scope, part, limit).await? {
        let id = user.id.unwrap_or_default();
        let chosen = Chosen::User(&id);
        let selected = Selected { chosen, revoke: &Revoke::Delete, addressing: view.addressing };
        let count = session.count_selected(&scope, selected).await?;
        let display = user.display.into_iter().map(Option::unwrap_or_default);
        users.push((std::iter::once(id.clone()).chain(display).collect(), count));
    }
    Ok(users)
}

/// How many sessions that a plan ended are back, though nobody put them back.
///
/// # Errors
///
/// If the target or the store fails.
pub async fn returned(context: Context<'_>, plan: &str) -> Result<u64, ActError> {
    let kept = context.store.read(|db| plans::get(db, plan))?.map(Plan::read).transpose()?.flatten();
    let revoke = kept.ok_or_else(|| ActError::NoPlan(plan.to_owned()))?.summary.revoke;
    let view = View::open(context).await?;
    let counted = count(context, &view, &revoke, plan).await;
    view.opened.session.close().await;
    counted
}

async fn count(context: Context<'_>, view: &View, revoke: &Revoke, plan: &str) -> Result<u64, ActError> {
    let (session, scope) = (&view.opened.session, view.scope(context));
    let identified = scope.has_unique_id();
    let (mut count, mut behind) = (0, 0);
    while let Some(batch) = context.store.read(|db| archived::next(db, plan, behind))? {
        behind = batch.id;
        let ended = batch.rows.iter().zip(&batch.fates).filter(|(_, fate)| **fate == Fate::Archived);
        let ended: Vec<&RowRef> = ended.map(|(row, _)| row).collect();
        for rows in ended.chunks(ASKED) {
            let there = match (revoke, identified) {
                // An id that is there again is the session that had it.
                (Revoke::Delete, true) => session.present_rows(&scope, Named::Id, rows).await?,
                (_, true) => session.rows_not_ended(&scope, Named::Id, rows, revoke).await?,
                (_, false) => session.rows_not_ended(&scope, Named::Mark, rows, revoke).await?,
            };
            let marks: Vec<i64> = there.iter().map(|row| row.mark).collect();
            let back = if *revoke == Revoke::Delete {
                marks.len()
            } else {
                rows.iter().filter(|row| marks.contains(&row.mark)).count()
            };
            count += back as u64;
        }
    }
    Ok(count)
}

/// Whether sessions could be ended and put back now; in words.
///
/// # Errors
///
/// If not.
pub async fn ready(context: Context<'_>) -> Result<String, ActError> {
    use sessionwatch_targets::{sql::Change, write_session::WriteSession};
    let known = Known::of(context, None).await?;
    let address = address(context)?;
    let mut actor = WriteSession::open(address, context.target.limits, known.key).await?;
    let scope = known.scope();
    let change = Change::of(&known.mapping().revoke, "");
    let dependents = dependents::of(&mut actor, &scope, change).await?;
    dependents::require_counts(&mut actor, &dependents).await?;
    require_visible(&scope, &actor.hidden(&scope, change, &dependents).await?, false)?;
    if context.store.is_sheltered() {
        return Err(ActError::NoRoom);
    }
    Ok("the acting role may end sessions and put them back, and there is room to archive them".into())
}
