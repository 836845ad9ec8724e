//! Rows that show a leak, and ended sessions that are back: read with the credentials of the watch.

use sessionwatch_core::row_ref::RowRef;

use super::{
    ActError, Context, Plan,
    applying::{dependents, seen},
    view::{Known, View, address},
};
use crate::{
    look,
    profile::{detect, mapping::Revoke},
    store::{
        archived::{self, Fate},
        plans,
    },
    target::{cells, error::TargetError, observe, sql::Named},
};

/// Rows that are asked for at once.
const ASKED: usize = 1_000;

/// A row that shows a leak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The keyed hash of its token.
    pub fingerprint: Option<String>,
    /// The first characters of its token.
    pub prefix: Option<String>,
    /// Its id.
    pub id: Option<String>,
    /// Its user.
    pub user: Option<String>,
    /// Its end in microseconds.
    pub expires: Option<i64>,
    /// Its user does not exist.
    pub orphaned: bool,
}

/// Rows that show a leak, and what keeps them from being all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affected {
    /// The rows, at most as many as were asked for.
    pub rows: Vec<Row>,
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
    let query = view.sql(context).affected(limit.saturating_add(1));
    let time_limit = context.target.limits.timeout;
    let Ok(found) = tokio::time::timeout(time_limit, view.opened.session.fetch(&query)).await else {
        view.opened.session.abandon().await;
        return Err(TargetError::TimedOut(time_limit.as_secs()).into());
    };
    let mut gaps = unseen(&view, context);
    view.opened.session.close().await;
    let mut rows = found?.into_iter().map(row).collect::<Result<Vec<Row>, TargetError>>()?;
    if rows.len() > limit {
        rows.truncate(limit);
        gaps.push(format!("there are more than {limit} such rows"));
    }
    Ok(Affected { rows, gaps })
}

fn row(row: Vec<Option<String>>) -> Result<Row, TargetError> {
    let expires = cells::number(&row, 4, "an expiry")?;
    let mut cells = row.into_iter();
    let mut text = || cells.next().flatten();
    let (fingerprint, prefix, id, user, _) = (text(), text(), text(), text(), text());
    Ok(Row { fingerprint, prefix, id, user, expires, orphaned: text().as_deref() == Some("1") })
}

/// Why rows that show a leak may be missing from what the role reads.
fn unseen(view: &View, context: Context<'_>) -> Vec<String> {
    let (opened, sql) = (&view.opened, view.sql(context));
    let mapping = &opened.layout.candidate.mapping;
    let mut gaps = Vec::new();
    gaps.extend(look::hidden_sessions(opened));
    if !opened.layout.is_certain() {
        gaps.extend(opened.layout.doubt.as_ref().map(ToString::to_string));
    }
    if sql.compares_tokens_unknown() {
        gaps.push(format!("shared tokens cannot be found: {}", observe::UNKNOWN_COLLATION));
    }
    let profile = context.config.catalogue.iter().find(|profile| profile.name == mapping.profile);
    let users =
        sql.users_doubt().or_else(|| detect::unreadable_users(&opened.layout.schema, mapping, profile));
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
    let sql = view.sql(context);
    let Some(query) = sql.users_like(part, limit) else { return Ok(vec![]) };
    let mut users = Vec::new();
    for row in view.opened.session.fetch(&query).await? {
        let id = row.first().cloned().flatten().unwrap_or_default();
        let chosen = crate::target::sql::Chosen::User(&id);
        let counted =
            view.opened.session.fetch(&sql.counted(chosen, &Revoke::Delete, view.addressing)).await?;
        let count = cells::only(&counted, "a count")?;
        users.push((row.into_iter().map(Option::unwrap_or_default).collect(), count));
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
    let counted = count(context, (&view, &revoke), plan).await;
    view.opened.session.close().await;
    counted
}

async fn count(context: Context<'_>, (view, revoke): (&View, &Revoke), plan: &str) -> Result<u64, ActError> {
    let sql = view.sql(context);
    let identified = sql.mapping.id.as_deref().is_some_and(|id| sql.is_unique(id));
    let (mut count, mut behind) = (0, 0);
    while let Some(batch) = context.store.read(|db| archived::next(db, plan, behind))? {
        behind = batch.id;
        let ended = batch.rows.iter().zip(&batch.fates).filter(|(_, fate)| **fate == Fate::Archived);
        let ended: Vec<&RowRef> = ended.map(|(row, _)| row).collect();
        for rows in ended.chunks(ASKED) {
            let query = match (revoke, identified) {
                // An id that is there again is the session that had it.
                (Revoke::Delete, true) => sql.present(Named::Id, rows),
                (_, true) => sql.unchanged(Named::Id, rows, revoke),
                (_, false) => sql.unchanged(Named::Mark, rows, revoke),
            };
            let there = view.opened.session.fetch(&query).await?;
            let marks = there.iter().map(|row| cells::required(row, 0, "a mark"));
            let marks = marks.collect::<Result<Vec<i64>, TargetError>>()?;
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
    use crate::target::{acting::Actor, sql::Change};
    let known = Known::of(context, None).await?;
    let address = address(context)?;
    let mut actor = Actor::open(address, context.target.limits, known.key()).await?;
    let sql = known.sql();
    let change = Change::of(&sql.mapping.revoke, "");
    let dependents = dependents::of(&mut actor, &sql, change).await?;
    dependents::require_counts(&mut actor, &dependents).await?;
    seen(&sql, &actor.hidden(&sql, change, &dependents).await?, false)?;
    if context.store.is_sheltered() {
        return Err(ActError::NoRoom);
    }
    Ok("the acting role may end sessions and put them back, and there is room to archive them".into())
}
