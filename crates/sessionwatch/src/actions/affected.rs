//! Rows that show a leak, and ended sessions that are back: read with the credentials of the watch.

use sessionwatch_rules::planned::Planned;

use super::{
    ActError, Context, Plan,
    applying::{dependents, seen},
    view::{Known, View, address},
};
use crate::{
    profile::mapping::Revoke,
    store::{
        archived::{self, Fate},
        plans,
    },
    target::sql::Named,
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

/// Rows on tokens that occur more than once, and rows whose user does not exist.
///
/// # Errors
///
/// If the target cannot be looked at.
pub async fn affected(context: Context<'_>, limit: usize) -> Result<Vec<Row>, ActError> {
    let view = View::open(context).await?;
    let found = view.opened.session.fetch(&view.sql(context).affected(limit)).await;
    view.opened.session.close().await;
    let row = |row: Vec<Option<String>>| {
        let mut cells = row.into_iter();
        let mut text = || cells.next().flatten();
        Row {
            fingerprint: text(),
            prefix: text(),
            id: text(),
            user: text(),
            expires: text().and_then(|micros| micros.parse().ok()),
            orphaned: text().as_deref() == Some("1"),
        }
    };
    Ok(found?.into_iter().map(row).collect())
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
        let count = counted.first().and_then(|row| row.first()?.as_deref()?.parse().ok()).unwrap_or(0);
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
    let revoke = kept.map(|plan| plan.summary.revoke).unwrap_or_default();
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
        let ended: Vec<&Planned> = ended.map(|(row, _)| row).collect();
        for rows in ended.chunks(ASKED) {
            let query = match (revoke, identified) {
                // An id that is there again is the session that had it.
                (Revoke::Delete, true) => sql.present(Named::Id, rows),
                (_, true) => sql.unchanged(Named::Id, rows, revoke),
                (_, false) => sql.unchanged(Named::Mark, rows, revoke),
            };
            let there = view.opened.session.fetch(&query).await?;
            let marks: Vec<i64> =
                there.iter().filter_map(|row| row.first()?.as_deref()?.parse().ok()).collect();
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
