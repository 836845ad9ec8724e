//! Putting back what was removed or changed: planned like everything else, and said whom it logs in again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering,
};

use sessionwatch_archive::{Identity, SealError};
use sessionwatch_core::{instant::Instant, row_ref::RowRef, safety_limit::Ended};
use sessionwatch_store::{
    StoreError,
    archived::{self, Batch, Fate, State},
    audit, plans,
};
use sessionwatch_targets::{
    mapping::{Revoke, TableName},
    scope::Scope,
    side_effects::{Kind, SideEffect},
    sql::{Change, Obstacle},
    unsealed_rows::UnsealedRows,
    write_session::WriteSession,
};

use super::{
    ActError, Context, Control, Plan, Selection, Summary,
    applying::dependents,
    executor::{Executor, Prepared, require_visible},
    making,
    outcome::{Applied, Dependents, LISTED, Why},
    outlook::{Outlook, There},
    reconcile,
    view::{Known, View, certain_table},
};

/// Rows of a plan that are shown.
const SAMPLE: usize = 10;
/// Rows for which the table is searched at once.
const ASKED: usize = 20_000;
/// Rows that are put back by one statement.
const AT_ONCE: usize = 500;

/// Makes a plan of what would be put back. Nothing is touched. The plan names the rows of which nothing is in the way now;
/// its notes name the others.
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
            approved_by: None,
            ..removed.kept.clone()
        },
        selection,
        summary: Summary {
            revoke: removed.summary.revoke.clone(),
            now,
            table: removed.summary.table.clone(),
            framework: removed.summary.framework.clone(),
            ..Summary::default()
        },
        ended: Ended::default(),
    };
    let view = View::open(context).await?;
    let right = certain_table(&view.opened);
    let right = right.and_then(|()| plan.is_about(&view.opened.layout.candidate.mapping.sessions));
    if let Err(error) = right {
        view.opened.session.close().await;
        return Err(error);
    }
    context.store.write(|db| plans::put(db, &plan.kept))?;
    let mut outlook = Outlook::new(context, archive)?;
    let listed = list(context, &view, &mut outlook, &mut plan).await;
    view.opened.session.close().await;
    listed?;
    if plan.kept.rows == 0 && outlook.left.is_empty() {
        return Err(ActError::NoArchive(archive.to_owned()));
    }
    plan.summary.users = outlook.users.len() as u64;
    plan.summary.left = outlook.left.values().map(|left| left.rows).sum();
    plan.summary.shared = outlook.revived.len() as u64;
    plan.summary.notes = outlook.notes(&plan);
    plan.summary.notes.extend(removed.summary.side_effects.iter().filter_map(went_along));
    making::finish(context, &mut plan)?;
    Ok(plan)
}

/// Whether rows of another table, which went with the sessions, come back with them.
fn went_along(effect: &SideEffect) -> Option<String> {
    let SideEffect { kind, table, rows, archived, .. } = effect;
    let (Kind::Cascade, Some(1..) | None) = (kind, rows) else { return None };
    let rows = rows.map(|rows| format!(" ({rows} when that plan was made)")).unwrap_or_default();
    Some(if *archived {
        format!("also restores the rows of {table} that were deleted with these sessions{rows}")
    } else {
        format!(
            "does not restore the rows of {table} that were deleted with these sessions{rows}: they were not archived"
        )
    })
}

/// Lists the rows that can be put back, and keeps them piece by piece.
async fn list(
    context: Context<'_>,
    view: &View,
    outlook: &mut Outlook,
    plan: &mut Plan,
) -> Result<(), ActError> {
    let Selection::Restore { archive, user } = &plan.selection else { return Ok(()) };
    let scope = view.scope(context);
    outlook.users_doubt = scope.users_doubt();
    let revoke = plan.summary.revoke.clone();
    let (mut behind, mut ends) = (0, false);
    while !ends {
        let mut group = Vec::new();
        while !ends && group.len() < ASKED {
            match context.store.read(|db| archived::next(db, archive, behind))? {
                Some(batch) => {
                    behind = batch.id;
                    let rows = restorable(&batch, user.as_deref(), plan.kept.made_at);
                    group.extend(rows.into_iter().map(|row| (batch.id, row)));
                }
                None => ends = true,
            }
        }
        let there =
            There::of(&view.opened.session, &scope, &revoke, group.iter().map(|(_, row)| row)).await?;
        group.retain(|(_, row)| outlook.admits(row, there.obstacle(row), revoke == Revoke::Delete));
        for rows in group.chunk_by(|(batch, _), (next, _)| batch == next) {
            let Some((batch, _)) = rows.first() else { continue };
            let rows: Vec<RowRef> = rows.iter().map(|(_, row)| row.clone()).collect();
            let room = SAMPLE.saturating_sub(plan.summary.sample.len());
            plan.summary.sample.extend(rows.iter().take(room).map(making::line));
            plan.kept.rows += rows.len() as u64;
            plan.kept.active += rows.iter().filter(|row| row.active).count() as u64;
            context.store.write(|db| plans::put_piece(db, &plan.kept.id, *batch, &rows))?;
        }
    }
    Ok(())
}

/// The rows of a batch that are in the archive, numbered by their position, and active if they would be now.
fn restorable(batch: &Batch, user: Option<&str>, now: Instant) -> Vec<RowRef> {
    let rows = (0..).zip(batch.rows.iter().zip(&batch.fates));
    let meant = rows.filter(|(_, (row, fate))| {
        **fate == Fate::Archived && user.is_none_or(|user| row.user.as_deref() == Some(user))
    });
    let alive = |row: &RowRef| row.active && row.expires.is_none_or(|end| end > now.micros());
    meant.map(|(place, (row, _))| RowRef { place, active: alive(row), ..row.clone() }).collect()
}

/// Puts the rows of a plan back.
pub(super) async fn restore(
    executor: &Executor<'_>,
    plan: &mut Plan,
    archive: &str,
) -> Result<Applied, ActError> {
    let (context, identity) = (executor.context, executor.identity()?);
    // Before anything is begun, so that a wrong identity changes nothing.
    check(context, archive, identity)?;
    let mut prepared = executor.prepare(plan, None).await?;
    if let Some(reading) = prepared.reading.take() {
        reading.close().await;
    }
    let Prepared { known, writing, .. } = &mut prepared;
    let scope = known.scope();
    let change = Change::of(&plan.summary.revoke, "");
    let dependents = dependents::of(writing, &scope, change).await?;
    let hidden = writing.hidden(&scope, change, &dependents).await?;
    require_visible(&scope, &hidden, false)?;
    reconcile::settle_by(context, known, writing).await?;
    executor.begin(plan)?;
    let restoring = Restoring { context, known, identity };
    let mut applied = restoring.put_all_back(writing, plan, executor.control).await?;
    for (_, why) in &mut applied.lines {
        if hidden.users && *why == Why::UserGone {
            *why = Why::UserHidden;
        }
    }
    Ok(applied)
}

/// From what, and to where, rows are put back.
struct Restoring<'a> {
    context: Context<'a>,
    known: &'a Known,
    identity: &'a Identity,
}

impl Restoring<'_> {
    /// Puts back what a plan names, batch by batch.
    async fn put_all_back(
        &self,
        actor: &mut WriteSession,
        plan: &Plan,
        control: &Control,
    ) -> Result<Applied, ActError> {
        let mut applied = Applied::default();
        // What went last comes back first, since sessions may refer to it.
        let mut before = i64::MAX;
        while let Some((id, rows)) =
            self.context.store.read(|db| plans::last_piece(db, &plan.kept.id, before))?
        {
            before = id;
            if control.stop.is_cancelled() {
                applied.remaining += rows.len() as u64;
                continue;
            }
            let outcome = self.put_back(actor, id, &rows).await;
            let restored = match outcome {
                Ok(restored) => restored,
                Err(error) => {
                    actor.rollback().await;
                    return Err(error);
                }
            };
            for (table, Dependents { done, refused }) in restored.dependents {
                let dependents = applied.dependents.entry(table).or_default();
                dependents.done += done;
                dependents.refused += refused;
            }
            for (row, outcome) in rows.iter().zip(restored.outcomes) {
                match outcome {
                    Outcome::Back => applied.done += 1,
                    Outcome::Earlier => applied.earlier += 1,
                    Outcome::Left(why) => {
                        applied.skipped += 1;
                        if applied.lines.len() < LISTED {
                            applied.lines.push((making::line(row), why));
                        }
                    }
                }
            }
            control.done.fetch_add(rows.len() as u64, Ordering::Relaxed);
        }
        Ok(applied)
    }

    /// Puts rows of one batch back: what became of each.
    async fn put_back(
        &self,
        actor: &mut WriteSession,
        id: i64,
        wanted: &[RowRef],
    ) -> Result<Restored, ActError> {
        let Self { context, known, identity } = self;
        let Some((batch, sealed)) = context.store.read(|db| archived::get(db, id))? else {
            return Ok(Restored::all(Outcome::Left(Why::Purged), wanted));
        };
        let position = |row: &RowRef| usize::try_from(row.place).unwrap_or(usize::MAX);
        // What was put back meanwhile, by an earlier run or another plan, is not put back twice.
        let still = |row: &RowRef| batch.fates.get(position(row)) == Some(&Fate::Archived);
        let wanted_now: Vec<(usize, i64)> =
            wanted.iter().rev().filter(|row| still(row)).map(|row| (position(row), row.mark)).collect();
        if wanted_now.is_empty() {
            // Once no row of a batch can be put back any more, its sealed rows are gone.
            return Ok(Restored::all(Outcome::Earlier, wanted));
        }
        let rows = UnsealedRows::read(&identity.open(&sealed, &batch.recipient)?).map_err(SealError::from)?;
        let scope = known.scope();
        let txid = actor.begin().await?;
        let mut obstacles = BTreeMap::new();
        for (into, wanted) in by_heap(&wanted_now, &batch, &rows, &known.mapping().sessions) {
            for some in wanted.chunks(AT_ONCE) {
                let left = actor.restore(&scope, &rows, into, some).await?;
                obstacles.extend(some.iter().zip(left).map(|((at, _), obstacle)| (*at, obstacle)));
            }
        }
        let restored: BTreeSet<usize> =
            obstacles.iter().filter(|(_, obstacle)| obstacle.is_none()).map(|(at, _)| *at).collect();
        let dependents = restore_dependents(actor, &scope, &rows, &restored).await?;
        drop(rows);
        context.store.write(|db| archived::settle(db, id, State::Restoring, txid, &batch.fates))?;
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
        let detail =
            serde_json::json!({ "plan": batch.plan, "rows": restored.len(), "dependents": dependents });
        context.store.write(|db| {
            archived::settle(db, id, State::Kept, None, &fates)?;
            if restored.is_empty() {
                return Ok(());
            }
            audit::add(
                db,
                audit::NewEntry {
                    actor: context.actor,
                    action: "rows-restored",
                    detail: &detail.to_string(),
                },
                context.clock.now(),
            )
        })?;
        let outcome = |row: &RowRef| match obstacles.get(&position(row)) {
            Some(obstacle) => Outcome::of(*obstacle),
            None => Outcome::Earlier,
        };
        Ok(Restored { outcomes: wanted.iter().map(outcome).collect(), dependents })
    }
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

/// What became of the rows of a batch.
struct Restored {
    /// Of each session.
    outcomes: Vec<Outcome>,
    /// Of what went with them, by table.
    dependents: BTreeMap<String, Dependents>,
}

impl Restored {
    fn all(outcome: Outcome, wanted: &[RowRef]) -> Self {
        Self { outcomes: vec![outcome; wanted.len()], dependents: BTreeMap::new() }
    }
}

/// What became of a row that was to be put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It is back.
    Back,
    /// An earlier run, or another plan, had put it back.
    Earlier,
    /// It stays in the archive.
    Left(Why),
}

impl Outcome {
    fn of(obstacle: Option<Obstacle>) -> Self {
        Self::Left(match obstacle {
            None => return Self::Back,
            Some(Obstacle::Id) => Why::IdTaken,
            Some(Obstacle::Token) => Why::TokenTaken,
            Some(Obstacle::User) => Why::UserGone,
            Some(Obstacle::Gone) => Why::Gone,
            Some(Obstacle::Unidentified) => Why::Unidentified,
            Some(Obstacle::Refused) => Why::Refused,
        })
    }
}

/// Restores the rows of other tables that went with these sessions, by table; parents come first. What went with a row that
/// is not back stays behind too: its key may by now belong to another row.
async fn restore_dependents(
    actor: &mut WriteSession,
    scope: &Scope<'_>,
    rows: &UnsealedRows,
    sessions: &BTreeSet<usize>,
) -> Result<BTreeMap<String, Dependents>, ActError> {
    let mut restored = BTreeMap::new();
    // For each table, the sessions of which it did not take every row.
    let mut incomplete: Vec<BTreeSet<usize>> = Vec::new();
    for dependents in &rows.dependents {
        let about = &dependents.about;
        let parents = about.parents.iter().filter_map(|at| incomplete.get(*at));
        let without_parents: BTreeSet<usize> = parents.flatten().copied().collect();
        let all = dependents.of(sessions).len();
        let wanted = dependents.of(&(sessions - &without_parents));
        let refused = match wanted.as_slice() {
            [] => vec![],
            wanted => actor.restore_dependents(scope, dependents, wanted).await?,
        };
        let done = wanted.len() - refused.len();
        if all > 0 {
            let counts = Dependents { done: done as u64, refused: (all - done) as u64 };
            restored.insert(about.table.to_string(), counts);
        }
        incomplete.push(&without_parents | &dependents.sessions_of(&refused));
    }
    Ok(restored)
}

/// Positions and marks of rows of a batch, by the table that they are put back into.
fn by_heap<'a>(
    wanted: &[(usize, i64)],
    batch: &Batch,
    rows: &'a UnsealedRows,
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
