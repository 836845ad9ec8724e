//! Restores archived rows. A restore is planned like any other change, and its plan names the users it logs in again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering,
};

use sessionwatch_archive::{Identity, SealError};
use sessionwatch_core::{row_ref::RowRef, safety_limit::RecentImpact, timestamp::UtcTimestamp};
use sessionwatch_store::{
    StoreError,
    archive_batches::{self, ArchivedBatch, ArchivedRowState, BatchState},
    audit, plans, restores,
};
use sessionwatch_targets::{
    decrypted_rows::DecryptedRows,
    mapping::{RevokeMethod, TableName},
    scope::QueryScope,
    side_effects::{SideEffect, SideEffectKind},
    sql::{RestoreObstacle, RowChange},
    write_session::WriteSession,
};

use super::{
    ActionContext, ActionError, ActionPlan, JobControl, PlanSummary, Selection,
    action_target::ActionTarget,
    apply::dependents,
    apply_report::{ApplyReport, DependentCounts, MAX_LISTED_SKIPS, SkipReason},
    executor::{PlanExecutor, PreparedTarget, require_visible_rows},
    planner,
    planning_session::{PlanningSession, require_certain_table},
    recovery,
    restore_preview::{PresentValues, RestorePreview},
};

/// Sample rows of a plan.
const PLAN_SAMPLE_ROWS: usize = 10;
/// Rows per search for conflicts.
const ROWS_PER_SEARCH: usize = 20_000;
/// Rows per restoring statement.
const ROWS_PER_RESTORE: usize = 500;

/// Creates a restore plan, without changing the target. The plan contains the rows that have no conflict now; its
/// notes list the others.
///
/// # Errors
///
/// Fails if the archive holds no such rows, or the target cannot be read.
pub async fn create_restore_plan(
    context: ActionContext<'_>,
    archive: &str,
    user: Option<&str>,
) -> Result<ActionPlan, ActionError> {
    let removed = context.load_plan(archive).map_err(|error| match error {
        ActionError::NoPlan(id) => ActionError::NoArchive(id),
        error => error,
    })?;
    let now = context.clock.now();
    let selection = Selection::Restore { archive: archive.to_owned(), user: user.map(str::to_owned) };
    let mut plan = ActionPlan {
        record: plans::PlanRecord {
            id: planner::new_plan_id(),
            request: serde_json::to_string(&selection)
                .map_err(|_| StoreError::NotSerializable("the plan"))?,
            created_at: now,
            updated_at: now,
            created_by: context.actor.to_owned(),
            state: plans::PlanState::Making,
            row_count: 0,
            active_sessions: 0,
            summary: String::new(),
            approved_by: None,
            ..removed.record.clone()
        },
        selection,
        summary: PlanSummary {
            revoke: removed.summary.revoke.clone(),
            now,
            table: removed.summary.table.clone(),
            framework: removed.summary.framework.clone(),
            ..PlanSummary::default()
        },
        recently_ended: RecentImpact::default(),
    };
    let view = PlanningSession::open(context).await?;
    let right = require_certain_table(&view.connected);
    let right = right.and_then(|()| plan.require_table(&view.connected.layout.candidate.mapping.sessions));
    if let Err(error) = right {
        view.connected.session.close().await;
        return Err(error);
    }
    context.store.write(|db| plans::upsert_plan(db, &plan.record))?;
    let mut outlook = RestorePreview::new(context, archive)?;
    let listed = list_restorable_rows(context, &view, &mut outlook, &mut plan).await;
    if listed.is_ok() {
        let scope = view.scope(context);
        planner::name_sample_users(&view.connected.session, &scope, &mut plan).await;
    }
    view.connected.session.close().await;
    listed?;
    if plan.record.row_count == 0 && outlook.blocked.is_empty() {
        return Err(ActionError::NoArchive(archive.to_owned()));
    }
    plan.summary.users = outlook.users.len() as u64;
    plan.summary.left = outlook.blocked.values().map(|left| left.rows).sum();
    plan.summary.shared = outlook.shared_tokens.len() as u64;
    plan.summary.notes = outlook.build_notes(&plan);
    plan.summary.notes.extend(removed.summary.side_effects.iter().filter_map(dependent_rows_note));
    planner::save_plan(context, &mut plan)?;
    Ok(plan)
}

/// Returns a note about the rows of another table that were deleted with the sessions.
fn dependent_rows_note(effect: &SideEffect) -> Option<String> {
    let SideEffect { kind, table, rows, archived, .. } = effect;
    let (SideEffectKind::Cascade, Some(1..) | None) = (kind, rows) else { return None };
    let rows = rows.map(|rows| format!(" ({rows} when that plan was created)")).unwrap_or_default();
    Some(if *archived {
        format!("also restores the rows of {table} that were deleted with these sessions{rows}")
    } else {
        format!(
            "does not restore the rows of {table} that were deleted with these sessions{rows}: they were not archived"
        )
    })
}

/// Lists the rows that can be restored, and stores them in chunks.
async fn list_restorable_rows(
    context: ActionContext<'_>,
    view: &PlanningSession,
    outlook: &mut RestorePreview,
    plan: &mut ActionPlan,
) -> Result<(), ActionError> {
    let Selection::Restore { archive, user } = &plan.selection else { return Ok(()) };
    let scope = view.scope(context);
    outlook.users_doubt = scope.users_visibility_caveat();
    let revoke = plan.summary.revoke.clone();
    let (mut behind, mut ends) = (0, false);
    while !ends {
        let mut group = Vec::new();
        while !ends && group.len() < ROWS_PER_SEARCH {
            match context.store.read(|db| archive_batches::find_next_batch(db, archive, behind))? {
                Some(batch) => {
                    behind = batch.id;
                    let rows = restorable_rows(&batch, user.as_deref(), plan.record.created_at);
                    group.extend(rows.into_iter().map(|row| (batch.id, row)));
                }
                None => ends = true,
            }
        }
        let there =
            PresentValues::load(&view.connected.session, &scope, &revoke, group.iter().map(|(_, row)| row))
                .await?;
        group.retain(|(_, row)| {
            outlook.add_row(row, there.find_obstacle(row), revoke == RevokeMethod::Delete)
        });
        for rows in group.chunk_by(|(batch, _), (next, _)| batch == next) {
            let Some((batch, _)) = rows.first() else { continue };
            let rows: Vec<RowRef> = rows.iter().map(|(_, row)| row.clone()).collect();
            let room = PLAN_SAMPLE_ROWS.saturating_sub(plan.summary.sample.len());
            plan.summary.sample.extend(rows.iter().take(room).map(planner::preview_row));
            plan.record.row_count += rows.len() as u64;
            plan.record.active_sessions += rows.iter().filter(|row| row.active).count() as u64;
            context.store.write(|db| plans::insert_plan_chunk(db, &plan.record.id, *batch, &rows))?;
        }
    }
    Ok(())
}

/// Returns the archived rows of a batch. Each is located by its position in the batch, and counts as active only if
/// it has not expired at `now`.
fn restorable_rows(batch: &ArchivedBatch, user: Option<&str>, now: UtcTimestamp) -> Vec<RowRef> {
    let rows = (0..).zip(batch.rows.iter().zip(&batch.row_states));
    let meant = rows.filter(|(_, (row, state))| {
        **state == ArchivedRowState::Archived && user.is_none_or(|user| row.user.as_deref() == Some(user))
    });
    let alive = |row: &RowRef| row.active && row.expires_us.is_none_or(|end| end > now.micros());
    meant.map(|(locator, (row, _))| RowRef { locator, active: alive(row), ..row.clone() }).collect()
}

/// Applies a restore plan.
pub(super) async fn apply_restore(
    executor: &PlanExecutor<'_>,
    plan: &mut ActionPlan,
    archive: &str,
) -> Result<ApplyReport, ActionError> {
    let (context, identity) = (executor.context, executor.identity()?);
    // Checked before the plan starts, so that a wrong identity changes nothing.
    require_matching_identity(context, archive, identity)?;
    let mut prepared = executor.prepare(plan, None).await?;
    if let Some(idle_connection) = prepared.idle_connection.take() {
        idle_connection.close().await;
    }
    let PreparedTarget { target, write_session, .. } = &mut prepared;
    let scope = target.scope();
    let change = RowChange::from_revoke(&plan.summary.revoke, "");
    let dependents = dependents::load_dependents(write_session, &scope, change).await?;
    let hidden = write_session.hidden_tables(&scope, change, &dependents).await?;
    require_visible_rows(&scope, &hidden, false)?;
    recovery::recover_on(context, target, write_session).await?;
    executor.record_start(plan)?;
    let restoring = RestoreRun { context, target, identity };
    let mut applied = restoring.restore_all(write_session, plan, executor.control).await?;
    for (_, why) in &mut applied.skipped_rows {
        // A foreign key error does not distinguish a missing user from one that the role cannot see.
        if hidden.users && *why == SkipReason::UserGone {
            *why = SkipReason::UserHidden;
        }
    }
    Ok(applied)
}

/// Source and destination of a restore.
struct RestoreRun<'a> {
    context: ActionContext<'a>,
    target: &'a ActionTarget,
    identity: &'a Identity,
}

impl RestoreRun<'_> {
    /// Restores the rows of a plan, batch by batch.
    async fn restore_all(
        &self,
        session: &mut WriteSession,
        plan: &ActionPlan,
        control: &JobControl,
    ) -> Result<ApplyReport, ActionError> {
        let mut applied = ApplyReport::default();
        // Rows deleted last are restored first: earlier rows may refer to them.
        let mut before = i64::MAX;
        while let Some((id, rows)) =
            self.context.store.read(|db| plans::find_previous_plan_chunk(db, &plan.record.id, before))?
        {
            before = id;
            if control.stop.is_cancelled() {
                applied.remaining += rows.len() as u64;
                continue;
            }
            let outcome = self.restore_batch(session, id, &rows).await;
            let restored = match outcome {
                Ok(restored) => restored,
                Err(error) => {
                    session.rollback().await;
                    return Err(error);
                }
            };
            for (table, DependentCounts { done, refused }) in restored.dependents {
                let dependents = applied.dependents.entry(table).or_default();
                dependents.done += done;
                dependents.refused += refused;
            }
            for (row, outcome) in rows.iter().zip(restored.outcomes) {
                match outcome {
                    RestoreOutcome::Restored => applied.done += 1,
                    RestoreOutcome::AlreadyRestored => applied.done_earlier += 1,
                    RestoreOutcome::Skipped(why) => {
                        applied.skipped += 1;
                        if applied.skipped_rows.len() < MAX_LISTED_SKIPS {
                            applied.skipped_rows.push((planner::preview_row(row), why));
                        }
                    }
                }
            }
            control.done.fetch_add(rows.len() as u64, Ordering::Relaxed);
        }
        Ok(applied)
    }

    /// Restores rows of one batch, and returns the outcome of each.
    async fn restore_batch(
        &self,
        session: &mut WriteSession,
        id: i64,
        wanted: &[RowRef],
    ) -> Result<RestoredBatch, ActionError> {
        let Self { context, target, identity } = self;
        let Some((batch, sealed)) = context.store.read(|db| archive_batches::find_batch(db, id))? else {
            return Ok(RestoredBatch::uniform(RestoreOutcome::Skipped(SkipReason::Purged), wanted));
        };
        let position = |row: &RowRef| usize::try_from(row.locator).unwrap_or(usize::MAX);
        // Rows that an earlier run or another plan has restored are left out.
        let still = |row: &RowRef| batch.row_states.get(position(row)) == Some(&ArchivedRowState::Archived);
        // Reversed, like the batches: referred rows are inserted before the rows that refer to them.
        let wanted_now: Vec<(usize, i64)> =
            wanted.iter().rev().filter(|row| still(row)).map(|row| (position(row), row.row_hash)).collect();
        if wanted_now.is_empty() {
            // The store drops the encrypted rows of a batch once all of them are restored.
            return Ok(RestoredBatch::uniform(RestoreOutcome::AlreadyRestored, wanted));
        }
        let rows =
            DecryptedRows::parse(&identity.open(&sealed, &batch.recipient)?).map_err(SealError::from)?;
        let scope = target.scope();
        let txid = session.begin_transaction().await?;
        let mut obstacles = BTreeMap::new();
        for (into, wanted) in group_by_heap(&wanted_now, &batch, &rows, &target.mapping().sessions) {
            for some in wanted.chunks(ROWS_PER_RESTORE) {
                let left = session.restore_rows(&scope, &rows, into, some).await?;
                obstacles.extend(some.iter().zip(left).map(|((at, _), obstacle)| (*at, obstacle)));
            }
        }
        let restored: BTreeSet<usize> =
            obstacles.iter().filter(|(_, obstacle)| obstacle.is_none()).map(|(at, _)| *at).collect();
        let dependents = restore_dependents(session, &scope, &rows, &restored).await?;
        drop(rows);
        // Recorded before the commit, so that a crash in between can be settled with the transaction id.
        context.store.write(|db| {
            archive_batches::set_batch_state(db, id, BatchState::Restoring, txid, &batch.row_states)
        })?;
        // If the connection breaks here, the next run asks the database whether the commit went through.
        session.commit().await?;
        let mut states = batch.row_states.clone();
        for at in &restored {
            if let Some(state) = states.get_mut(*at) {
                *state = ArchivedRowState::Restored;
            }
        }
        let detail =
            serde_json::json!({ "plan": batch.plan, "rows": restored.len(), "dependents": dependents });
        context.store.write(|db| {
            restores::settle_batch(db, &batch, &states, context.clock.now())?;
            if restored.is_empty() {
                return Ok(());
            }
            audit::insert_audit_entry(
                db,
                audit::NewAuditEntry {
                    actor: context.actor,
                    action: "plan.restored",
                    detail: &detail.to_string(),
                },
                context.clock.now(),
            )
        })?;
        let outcome = |row: &RowRef| match obstacles.get(&position(row)) {
            Some(obstacle) => RestoreOutcome::from_obstacle(*obstacle),
            None => RestoreOutcome::AlreadyRestored,
        };
        Ok(RestoredBatch { outcomes: wanted.iter().map(outcome).collect(), dependents })
    }
}

/// Fails if the identity does not match the recipient of the archive.
fn require_matching_identity(
    context: ActionContext<'_>,
    archive: &str,
    identity: &Identity,
) -> Result<(), ActionError> {
    let first = context.store.read(|db| archive_batches::find_next_batch(db, archive, 0))?;
    let Some(first) = first else { return Err(ActionError::NoArchive(archive.to_owned())) };
    if identity.recipient().to_string() == first.recipient {
        Ok(())
    } else {
        Err(SealError::WrongIdentity(first.recipient).into())
    }
}

/// Outcome of a batch.
struct RestoredBatch {
    /// Outcome of each session.
    outcomes: Vec<RestoreOutcome>,
    /// Outcome of the dependents, by table.
    dependents: BTreeMap<String, DependentCounts>,
}

impl RestoredBatch {
    fn uniform(outcome: RestoreOutcome, wanted: &[RowRef]) -> Self {
        Self { outcomes: vec![outcome; wanted.len()], dependents: BTreeMap::new() }
    }
}

/// Outcome of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RestoreOutcome {
    /// Restored.
    Restored,
    /// Restored by an earlier run or another plan.
    AlreadyRestored,
    /// Left in the archive.
    Skipped(SkipReason),
}

impl RestoreOutcome {
    fn from_obstacle(obstacle: Option<RestoreObstacle>) -> Self {
        Self::Skipped(match obstacle {
            None => return Self::Restored,
            Some(RestoreObstacle::Id) => SkipReason::IdTaken,
            Some(RestoreObstacle::Token) => SkipReason::TokenTaken,
            Some(RestoreObstacle::User) => SkipReason::UserGone,
            Some(RestoreObstacle::Gone) => SkipReason::Gone,
            Some(RestoreObstacle::Unidentified) => SkipReason::Unidentified,
            Some(RestoreObstacle::Refused) => SkipReason::Refused,
        })
    }
}

/// Restores the dependents of sessions, by table; parents come first. Dependents of a row that was not restored are
/// left out too: its key may belong to another row by now.
async fn restore_dependents(
    session: &mut WriteSession,
    scope: &QueryScope<'_>,
    rows: &DecryptedRows,
    sessions: &BTreeSet<usize>,
) -> Result<BTreeMap<String, DependentCounts>, ActionError> {
    let mut restored = BTreeMap::new();
    // For each table, the sessions of which it rejected a row.
    let mut incomplete: Vec<BTreeSet<usize>> = Vec::new();
    for dependents in &rows.dependents {
        let about = &dependents.table;
        let parents = about.parents.iter().filter_map(|at| incomplete.get(*at));
        let without_parents: BTreeSet<usize> = parents.flatten().copied().collect();
        let all = dependents.rows_of_sessions(sessions).len();
        let wanted = dependents.rows_of_sessions(&(sessions - &without_parents));
        let refused = match wanted.as_slice() {
            [] => vec![],
            wanted => session.restore_dependents(scope, dependents, wanted).await?,
        };
        let done = wanted.len() - refused.len();
        if all > 0 {
            let counts = DependentCounts { done: done as u64, refused: (all - done) as u64 };
            restored.insert(about.table.to_string(), counts);
        }
        incomplete.push(&without_parents | &dependents.sessions_of(&refused));
    }
    Ok(restored)
}

/// Groups positions and hashes of rows by the table that they are restored into.
fn group_by_heap<'a>(
    wanted: &[(usize, i64)],
    batch: &ArchivedBatch,
    rows: &'a DecryptedRows,
    sessions: &'a TableName,
) -> Vec<(&'a TableName, Vec<(usize, i64)>)> {
    let mut tables: Vec<(&TableName, Vec<(usize, i64)>)> = vec![];
    for (at, row_hash) in wanted {
        let heap = batch.rows.get(*at).and_then(|row| rows.header.heaps.get(&row.locator));
        let into = heap.unwrap_or(sessions);
        match tables.iter_mut().find(|(table, _)| *table == into) {
            Some((_, wanted)) => wanted.push((*at, *row_hash)),
            None => tables.push((into, vec![(*at, *row_hash)])),
        }
    }
    tables
}
