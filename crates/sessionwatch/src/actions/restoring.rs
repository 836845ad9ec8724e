//! Putting back what was removed or changed: planned like everything else, and said whom it logs in again.

use std::{collections::BTreeSet, time::Instant as Monotonic};

use sessionwatch_rules::{instant::Instant, planned::Planned};

use super::{
    ActError, Applied, Context, Plan, Selection, Summary,
    applying::{self, Control, Why},
    making, reconcile,
    view::{self, Known, View},
};
use crate::{
    archive::{
        rows::Rows,
        sealing::{Identity, SealError},
    },
    profile::mapping::{Revoke, TableName},
    store::{
        StoreError,
        archived::{self, Batch, Fate, State},
        audit, plans,
    },
    target::{acting::Actor, sql::Named},
};

/// Rows of a plan that are shown.
const SAMPLE: usize = 10;
/// Rows that are put back by one statement.
const AT_ONCE: usize = 500;

/// Makes a plan of what would be put back. Nothing is touched.
///
/// # Errors
///
/// If the archive holds nothing of that, or the target cannot be looked at.
pub async fn plan(context: Context<'_>, archive: &str, user: Option<&str>) -> Result<Plan, ActError> {
    let removed = context.plan(archive).map_err(|error| match error {
        ActError::NoPlan(id) => ActError::NoArchive(id),
        error => error,
    })?;
    let now = context.clock.now();
    let selection = Selection::Restore { archive: archive.to_owned(), user: user.map(str::to_owned) };
    let mut plan = Plan {
        kept: plans::Plan {
            id: making::new_id(),
            about: serde_json::to_string(&selection).map_err(|_| StoreError::Unwritable("the plan"))?,
            made_at: now,
            touched_at: now,
            made_by: context.actor.to_owned(),
            state: plans::State::Making,
            rows: 0,
            active: 0,
            summary: String::new(),
            ..removed.kept.clone()
        },
        selection,
        summary: Summary { revoke: removed.summary.revoke.clone(), now: now.micros(), ..Summary::default() },
    };
    let known = Known::of(context, None).await?;
    context.store.write(|db| plans::put(db, &plan.kept))?;
    let (mut behind, mut users, mut colliding) = (0, BTreeSet::new(), 0);
    while let Some(batch) = context.store.read(|db| archived::next(db, archive, behind))? {
        behind = batch.id;
        let rows = restorable(&batch, user, now);
        if rows.is_empty() {
            continue;
        }
        colliding += known.there(context, &rows, &plan.summary.revoke).await?;
        for row in &rows {
            users.extend(row.user.clone());
            if plan.summary.sample.len() < SAMPLE {
                plan.summary.sample.push(making::line(row));
            }
        }
        plan.kept.rows += rows.len() as u64;
        plan.kept.active += rows.iter().filter(|row| row.active).count() as u64;
        context.store.write(|db| plans::put_piece(db, &plan.kept.id, batch.id, &rows))?;
    }
    if plan.kept.rows == 0 {
        return Err(ActError::NoArchive(archive.to_owned()));
    }
    plan.summary.users = users.len() as u64;
    plan.summary.notes = notes(&plan, colliding, &users);
    making::finish(context, &mut plan)?;
    Ok(plan)
}

/// The rows of a batch that are in the archive, numbered by their position, and active if they would be now.
fn restorable(batch: &Batch, user: Option<&str>, now: Instant) -> Vec<Planned> {
    let rows = (0..).zip(batch.rows.iter().zip(&batch.fates));
    let meant = rows.filter(|(_, (row, fate))| {
        **fate == Fate::Archived && user.is_none_or(|user| row.user.as_deref() == Some(user))
    });
    let alive = |row: &Planned| row.active && row.expires.is_none_or(|end| end > now.micros());
    meant.map(|(place, (row, _))| Planned { place, active: alive(row), ..row.clone() }).collect()
}

fn notes(plan: &Plan, colliding: u64, users: &BTreeSet<String>) -> Vec<String> {
    /// Users that are named.
    const NAMED: usize = 20;
    let mut notes = vec![if plan.kept.active == 0 {
        "nobody is logged in again: none of these sessions would be active".into()
    } else {
        let mut names: Vec<&str> = users.iter().take(NAMED).map(String::as_str).collect();
        if users.len() > NAMED {
            names.push("…");
        }
        format!(
            "{} sessions become active again: whoever holds one of their tokens is logged in, as one of {} users: {}",
            plan.kept.active,
            users.len(),
            names.join(", ")
        )
    }];
    if colliding > 0 {
        notes.push(format!(
            "{colliding} rows have an id that is in the table by now: those are left in the archive"
        ));
    }
    notes.push(
        "rows whose token or id is in the table by then, or whose user is gone, are left in the archive"
            .into(),
    );
    notes
}

impl Known {
    /// How many of these rows have an id that is taken.
    async fn there(&self, context: Context<'_>, rows: &[Planned], revoke: &Revoke) -> Result<u64, ActError> {
        let sql = self.sql();
        let unique = sql.mapping.id.as_deref().is_some_and(|id| sql.is_unique(id));
        if !unique || *revoke != Revoke::Delete {
            return Ok(0);
        }
        let view = View::open(context).await?;
        let mut count = 0;
        for rows in rows.chunks(AT_ONCE) {
            let rows: Vec<&Planned> = rows.iter().collect();
            count += view.opened.session.fetch(&sql.present(Named::Id, &rows)).await?.len() as u64;
        }
        view.opened.session.close().await;
        Ok(count)
    }
}

/// Carries out a plan that puts rows back.
///
/// # Errors
///
/// If it is none for this target or too old, the identity does not open the archive, or the target or the store fails on
/// the way. Then what is back is known, and the same plan can be gone on with.
pub async fn restore(
    context: Context<'_>,
    plan_id: &str,
    identity: &Identity,
    control: &Control,
) -> Result<Applied, ActError> {
    let mut plan = context.plan(plan_id)?;
    let Selection::Restore { archive, .. } = plan.selection.clone() else {
        return Err(ActError::NoArchive(plan_id.to_owned()));
    };
    if plan.kept.state == plans::State::Done {
        return Err(ActError::Done(plan.kept.id));
    }
    let stale_after_us = context.config.actions.stale_after_us;
    if plan.is_stale(stale_after_us, context.clock.now()) {
        return Err(ActError::Stale { id: plan.kept.id, minutes: stale_after_us / 60_000_000 });
    }
    // Before anything is begun, so that a wrong identity changes nothing.
    check(context, &archive, identity)?;
    let started = Monotonic::now();
    let known = Known::of(context, None).await?;
    let mut actor = Actor::open(view::address(context)?, context.target.limits, known.key()).await?;
    let sql = known.sql();
    let change = crate::target::sql::Change::of(&plan.summary.revoke, "");
    let lacking = actor.lacks(&sql, change).await?;
    if !lacking.is_empty() {
        return Err(ActError::Lacks(lacking));
    }
    reconcile::settle_by(context, &known, &mut actor).await?;
    applying::begin(context, &mut plan)?;
    let mut applied = Applied::default();
    let mut behind = 0;
    while let Some((id, rows)) = context.store.read(|db| plans::piece(db, plan_id, behind))? {
        behind = id;
        if control.stop.load(std::sync::atomic::Ordering::Relaxed) {
            applied.remaining += rows.len() as u64;
            continue;
        }
        let outcome = put_back(context, (&known, &mut actor), identity, (id, &rows)).await;
        let back = match outcome {
            Ok(back) => back,
            Err(error) => {
                actor.rollback().await;
                return Err(error);
            }
        };
        for (row, back) in rows.iter().zip(back) {
            if back {
                applied.done += 1;
            } else {
                applied.skipped += 1;
                applied.lines.push((making::line(row), Why::Taken));
            }
        }
        control.done.fetch_add(rows.len() as u64, std::sync::atomic::Ordering::Relaxed);
    }
    applied.took = started.elapsed();
    applying::end(context, &mut plan, &applied)?;
    Ok(applied)
}

/// Whether the identity opens what is there.
fn check(context: Context<'_>, archive: &str, identity: &Identity) -> Result<(), ActError> {
    let first = context.store.read(|db| archived::next(db, archive, 0))?;
    let Some(first) = first else { return Err(ActError::NoArchive(archive.to_owned())) };
    if identity.recipient().to_string() == first.recipient {
        Ok(())
    } else {
        Err(SealError::Wrong(first.recipient).into())
    }
}

/// Puts rows of one batch back: which of them are.
async fn put_back(
    context: Context<'_>,
    (known, actor): (&Known, &mut Actor),
    identity: &Identity,
    (id, wanted): (i64, &[Planned]),
) -> Result<Vec<bool>, ActError> {
    let Some((batch, sealed)) = context.store.read(|db| archived::get(db, id))? else {
        return Ok(vec![false; wanted.len()]);
    };
    let rows = Rows::read(&identity.open(&sealed, &batch.recipient)?)?;
    let position = |row: &Planned| usize::try_from(row.place).unwrap_or(usize::MAX);
    // What was put back meanwhile, by another plan, is not put back twice.
    let still = |row: &Planned| batch.fates.get(position(row)) == Some(&Fate::Archived);
    let wanted_now: Vec<(usize, i64)> =
        wanted.iter().filter(|row| still(row)).map(|row| (position(row), row.mark)).collect();
    let sql = known.sql();
    let txid = actor.begin().await?;
    let mut restored = BTreeSet::new();
    for (into, wanted) in by_heap(&wanted_now, &batch, &rows, &known.mapping.sessions) {
        for some in wanted.chunks(AT_ONCE) {
            let back = actor.put_back(&sql, (&rows, into), some).await?;
            let back = some.iter().zip(back).filter(|(_, back)| *back);
            restored.extend(back.map(|((at, _), _)| *at));
        }
    }
    drop(rows);
    context.store.write(|db| archived::settle(db, id, (State::Restoring, txid), &batch.fates))?;
    if let Err(error) = actor.commit().await {
        // What became of it is learnt at the next start.
        return Err(error.into());
    }
    let mut fates = batch.fates.clone();
    for at in &restored {
        if let Some(fate) = fates.get_mut(*at) {
            *fate = Fate::Restored;
        }
    }
    let detail = serde_json::json!({ "plan": batch.plan, "rows": restored.len() });
    context.store.write(|db| {
        archived::settle(db, id, (State::Kept, None), &fates)?;
        if restored.is_empty() {
            return Ok(());
        }
        audit::add(db, (context.actor, "rows-restored"), &detail.to_string(), context.clock.now())
    })?;
    Ok(wanted.iter().map(|row| restored.contains(&position(row))).collect())
}

/// Positions and marks of rows of a batch, by the table that they are put back into.
fn by_heap<'a>(
    wanted: &[(usize, i64)],
    batch: &Batch,
    rows: &'a Rows,
    sessions: &'a TableName,
) -> Vec<(&'a TableName, Vec<(usize, i64)>)> {
    let mut tables: Vec<(&TableName, Vec<(usize, i64)>)> = vec![];
    for (at, mark) in wanted {
        let heap = batch.rows.get(*at).and_then(|row| rows.about.heaps.get(&row.place));
        let into = heap.unwrap_or(sessions);
        match tables.iter_mut().find(|(table, _)| *table == into) {
            Some((_, wanted)) => wanted.push((*at, *mark)),
            None => tables.push((into, vec![(*at, *mark)])),
        }
    }
    tables
}
