//! Applies a plan in batches. Each batch is encrypted and durable in the store before its rows are deleted or changed,
//! and rows that changed since the plan are skipped.

mod batch;
pub(super) mod dependents;
mod retry;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant as Monotonic},
};

use sessionwatch_archive::Recipient;
use sessionwatch_clock as clock;
use sessionwatch_core::{batch_size::AdaptiveBatchSize, row_ref::RowRef, timestamp::UtcTimestamp};
use sessionwatch_store::{
    archive_batches::{self, ArchivedRowState},
    confirmed_time, plans,
};
use sessionwatch_targets::{
    decrypted_rows::{ColumnDecl, DependentTable},
    mapping::{RevokeMethod, TableName},
    side_effects::{CascadingTable, SideEffectKind},
    sql::{LocateBy, Mutation, RowChange, RowKeyKind, encode_timestamp},
    write_session::WriteSession,
};

use super::{
    ActionContext, ActionError, ActionPlan, JobControl, Selection,
    action_target::ActionTarget,
    apply_report::{ApplyReport, MAX_LISTED_SKIPS, SkipReason},
    executor::{PlanExecutor, PreparedTarget, require_visible_rows},
    planner, recovery, side_effects, still_matching_rows,
};

/// Replica lag above which the run waits, in seconds.
const MAX_REPLICA_LAG_S: f64 = 5.0;
/// Time between two queries of the replica lag.
const REPLICA_LAG_CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// Delay before a lock, a lagging replica or a paused run is checked again.
const LOCK_RETRY_DELAY: Duration = Duration::from_millis(200);
/// State of a run.
struct ApplyRun<'a> {
    context: ActionContext<'a>,
    plan: &'a ActionPlan,
    control: &'a JobControl,
    recipient: &'a Recipient,
    target: &'a ActionTarget,
    columns: Vec<String>,
    /// First line of every encrypted batch.
    header_json: String,
    /// Tables whose rows are deleted and archived with the sessions; parents come first.
    dependents: Vec<CascadingTable>,
    /// Triggers, rules or foreign keys may change further rows of the session table.
    has_side_effects: bool,
    /// Current time in the encoding of the target.
    stored_now: String,
    purge_at: UtcTimestamp,
    queue: Mutex<RowQueue>,
    batch_size: Mutex<AdaptiveBatchSize>,
    totals: Mutex<ApplyTotals>,
}

/// Plan, target and recipient of a run.
#[derive(Clone, Copy)]
struct ApplyJob<'a> {
    plan: &'a ActionPlan,
    control: &'a JobControl,
    recipient: &'a Recipient,
    target: &'a ActionTarget,
}

/// Facts about the session table, read by the write role.
struct SessionTableInfo {
    /// Archived columns.
    columns: Vec<ColumnDecl>,
    /// Inheriting tables by object id.
    heaps: BTreeMap<u64, TableName>,
    /// Triggers, rules or foreign keys may change further rows.
    has_side_effects: bool,
    /// Tables whose rows are deleted and archived with the sessions.
    dependents: Vec<CascadingTable>,
}

/// Rows not processed yet.
#[derive(Default)]
struct RowQueue {
    rows: VecDeque<RowRef>,
    piece: i64,
    /// Locator and row hash of rows that an earlier run finished, with their number.
    earlier_rows: BTreeMap<(u64, i64), usize>,
    /// Rows to look up again.
    retry_rows: Vec<RowRef>,
}

#[derive(Default)]
struct ApplyTotals {
    report: ApplyReport,
    /// Hashes of rows that a statement should have changed and did not.
    unchanged_rows: BTreeSet<i64>,
    /// Hashes of rows whose dependents changed between reading and deleting.
    blocked_rows: BTreeSet<i64>,
    /// Outcomes of batches, not written to the store yet.
    batch_states: Vec<(i64, Vec<ArchivedRowState>)>,
}

/// Applies a plan that revokes sessions.
pub(super) async fn apply_plan(
    executor: &PlanExecutor<'_>,
    plan: &mut ActionPlan,
) -> Result<ApplyReport, ActionError> {
    let (context, recipient) = (executor.context, executor.recipient()?);
    let mut prepared = executor.prepare(plan, Some(plan.summary.now)).await?;
    let scope = prepared.target.scope();
    let write_session = &mut prepared.write_session;
    let stored_now = encode_timestamp(prepared.target.mapping().expires.decoder, prepared.target.observed_at);
    let change = RowChange::from_revoke(&plan.summary.revoke, &stored_now);
    let dependents = dependents::load_dependents(write_session, &scope, change).await?;
    dependents::require_row_counts(write_session, &dependents).await?;
    let hidden = write_session.hidden_tables(&scope, change, &dependents).await?;
    require_visible_rows(&scope, &hidden, plan.selection == Selection::Orphaned)?;
    // An empty plan lists no side effects, and has none.
    if plan.record.row_count > 0 {
        let announced = plan.summary.side_effects.as_slice();
        side_effects::require_announced(write_session, scope.layout, announced, &plan.summary.revoke).await?;
    }
    // Interrupted batches of earlier runs are settled before anything else changes.
    recovery::recover_on(context, &prepared.target, write_session).await?;
    let table = SessionTableInfo {
        columns: write_session.restorable_columns(&scope).await?,
        heaps: write_session.inheriting_tables(&scope).await?,
        has_side_effects: write_session.has_side_effects(&scope, change).await?,
        dependents,
    };
    executor.record_start(plan)?;
    let PreparedTarget { target, idle_connection, write_session } = prepared;
    let job = ApplyJob { plan, control: executor.control, recipient, target: &target };
    let run = ApplyRun::new(context, job, table)?;
    let outcome = run.run(write_session).await;
    // Known outcomes are written even if the run failed.
    run.flush_batch_states()?;
    let mut applied = run.take_report();
    outcome?;
    applied.still_matching =
        still_matching_rows::count_still_matching(context, &target, idle_connection, plan).await.ok();
    Ok(applied)
}

fn archived_dependent_tables(dependents: &[CascadingTable]) -> Vec<DependentTable> {
    dependents.iter().map(|dependent| dependent.to_dependent_table(dependents)).collect()
}

impl<'a> ApplyRun<'a> {
    fn new(
        context: ActionContext<'a>,
        job: ApplyJob<'a>,
        table: SessionTableInfo,
    ) -> Result<Self, ActionError> {
        let ApplyJob { plan, control, recipient, target } = job;
        let now = context.clock.now();
        let confirmed = context.store.read(|db| confirmed_time::find_confirmed_time(db, now))?;
        let mut queue = RowQueue::default();
        let mut behind = 0;
        // Rows that an interrupted run archived and changed must not be processed twice.
        while let Some(batch) =
            context.store.read(|db| archive_batches::find_next_batch(db, &plan.record.id, behind))?
        {
            behind = batch.id;
            let gone = batch
                .rows
                .iter()
                .zip(&batch.row_states)
                .filter(|(_, state)| **state != ArchivedRowState::NotRemoved);
            gone.for_each(|(row, _)| {
                *queue.earlier_rows.entry((row.locator, row.row_hash)).or_default() += 1
            });
        }
        let header_json = serde_json::json!({
            "version": if table.dependents.is_empty() { 1 } else { 2 },
            "dialect": target.layout.schema.dialect.name(),
            "table": target.layout.quote_table(&target.mapping().sessions),
            "columns": table.columns,
            "change": plan.summary.revoke,
            "dependents": archived_dependent_tables(&table.dependents),
            // Only with this kind of locator is a row's locator the id of its table.
            "heaps": if plan.summary.addressing == RowKeyKind::HeapAndPlace { table.heaps } else { BTreeMap::new() },
        });
        Ok(Self {
            context,
            plan,
            control,
            recipient,
            target,
            columns: table.columns.into_iter().map(|column| column.name).collect(),
            header_json: header_json.to_string(),
            dependents: table.dependents,
            has_side_effects: table.has_side_effects,
            stored_now: encode_timestamp(target.mapping().expires.decoder, target.observed_at),
            // A clock that was set back must not shorten the time left for a restore.
            purge_at: now.max(confirmed) + context.config.actions.archive_retention,
            queue: Mutex::new(queue),
            batch_size: Mutex::default(),
            totals: Mutex::default(),
        })
    }

    fn planned_change(&self) -> RowChange<'_> {
        RowChange::from_revoke(&self.plan.summary.revoke, &self.stored_now)
    }

    fn planned_mutation(&self) -> Mutation<'_> {
        Mutation { change: self.planned_change(), orphans_only: self.rechecks_orphans() }
    }

    /// Returns the reason why a row that still matches the plan was not changed.
    fn skip_reason(&self, row: &RowRef) -> SkipReason {
        if lock_mutex(&self.totals).blocked_rows.contains(&row.row_hash) {
            return SkipReason::DependentsKept;
        }
        let effects = &self.plan.summary.side_effects;
        let vetoes = effects.iter().any(|effect| effect.kind == SideEffectKind::TriggerBefore);
        if vetoes && lock_mutex(&self.totals).unchanged_rows.contains(&row.row_hash) {
            SkipReason::Vetoed
        } else {
            SkipReason::Busy
        }
    }

    /// Orphans are checked again when they are deleted: the user may exist by now.
    fn rechecks_orphans(&self) -> bool {
        self.plan.selection == Selection::Orphaned
    }

    /// Key of the first lookup.
    fn primary_lookup(&self) -> LocateBy {
        match (self.plan.summary.addressing, self.target.addressing) {
            (RowKeyKind::Place, RowKeyKind::Place) => LocateBy::Position,
            _ => self.fallback_lookup(),
        }
    }

    /// Key for rows that are no longer where the plan saw them.
    fn fallback_lookup(&self) -> LocateBy {
        if self.target.scope().has_unique_id() { LocateBy::Id } else { LocateBy::RowHash }
    }

    async fn run(&self, mut session: WriteSession) -> Result<(), ActionError> {
        self.process_batches(&mut session).await?;
        self.retry_leftovers(&mut session).await
    }

    async fn process_batches(&self, session: &mut WriteSession) -> Result<(), ActionError> {
        let named = self.primary_lookup();
        let mut asked = Monotonic::now();
        while !self.control.stop.is_cancelled() {
            if self.control.paused.load(Ordering::Relaxed) {
                clock::sleep(LOCK_RETRY_DELAY).await;
                continue;
            }
            if asked.elapsed() > REPLICA_LAG_CHECK_INTERVAL {
                self.wait_for_replicas(session).await?;
                asked = Monotonic::now();
            }
            let size = lock_mutex(&self.batch_size).size();
            // Each lookup by row hash reads the whole table, so one lookup should serve many rows.
            let rows = self.take_rows(if named == LocateBy::RowHash {
                size.max(retry::ROWS_PER_HASH_LOOKUP)
            } else {
                size
            })?;
            if rows.is_empty() {
                return Ok(());
            }
            let again = self.process_batch(session, &rows, named, false).await;
            // An error also stops whatever else runs under this control.
            let again = again.inspect_err(|_| self.control.stop.cancel())?;
            let again = again.rows;
            self.control.done.fetch_add((rows.len() - again.len()) as u64, Ordering::Relaxed);
            lock_mutex(&self.queue).retry_rows.extend(again);
        }
        Ok(())
    }

    /// Waits until no replica lags by more than [`MAX_REPLICA_LAG_S`].
    async fn wait_for_replicas(&self, session: &mut WriteSession) -> Result<(), ActionError> {
        while !self.control.stop.is_cancelled() {
            let lag = session.max_replica_lag_s().await?;
            self.control.is_waiting_for_replica.store(lag > MAX_REPLICA_LAG_S, Ordering::Relaxed);
            if lag <= MAX_REPLICA_LAG_S {
                return Ok(());
            }
            clock::sleep(LOCK_RETRY_DELAY).await;
        }
        Ok(())
    }

    /// Returns up to `size` rows of the plan that no earlier run finished; empty at the end.
    fn take_rows(&self, size: usize) -> Result<Vec<RowRef>, ActionError> {
        let mut queue = lock_mutex(&self.queue);
        while queue.rows.len() < size {
            let behind = queue.piece;
            let next = self
                .context
                .store
                .read(|db| plans::find_next_plan_chunk(db, &self.plan.record.id, behind))?;
            let Some((piece, rows)) = next else { break };
            queue.piece = piece;
            let named = rows.len();
            // Counted, since a table without a key may have equal rows.
            let is_fresh = |row: &RowRef| match queue.earlier_rows.get_mut(&(row.locator, row.row_hash)) {
                Some(alike) if *alike > 0 => {
                    *alike -= 1;
                    false
                }
                _ => true,
            };
            let fresh: Vec<RowRef> = rows.into_iter().filter(is_fresh).collect();
            lock_mutex(&self.totals).report.done_earlier += (named - fresh.len()) as u64;
            queue.rows.extend(fresh);
        }
        let size = size.min(queue.rows.len());
        Ok(queue.rows.drain(..size).collect())
    }

    /// Writes the outcomes of batches to the store.
    fn flush_batch_states(&self) -> Result<(), ActionError> {
        let settled = std::mem::take(&mut lock_mutex(&self.totals).batch_states);
        self.context.store.write(|db| write_batch_states(db, &settled))?;
        Ok(())
    }

    fn skip_row(&self, row: &RowRef, why: SkipReason) {
        let applied = &mut lock_mutex(&self.totals).report;
        applied.skipped += 1;
        if applied.skipped_rows.len() < MAX_LISTED_SKIPS {
            applied.skipped_rows.push((planner::preview_row(row), why));
        }
        self.control.done.fetch_add(1, Ordering::Relaxed);
    }

    fn take_report(&self) -> ApplyReport {
        let mut applied = std::mem::take(&mut lock_mutex(&self.totals).report);
        let reached = applied.done + applied.done_earlier + applied.skipped;
        applied.remaining = self.plan.record.row_count.saturating_sub(reached);
        applied.purge_at = (applied.done > 0).then_some(self.purge_at);
        applied
    }
}

fn write_batch_states(
    db: sessionwatch_store::transaction::Tx<'_>,
    settled: &[(i64, Vec<ArchivedRowState>)],
) -> Result<(), sessionwatch_store::StoreError> {
    settled.iter().try_for_each(|(id, states)| {
        archive_batches::set_batch_state(db, *id, archive_batches::BatchState::Kept, None, states)
    })
}

fn lock_mutex<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the verb for ending sessions by a method, as a plan says it.
#[must_use]
pub fn revoke_verb(revoke: &RevokeMethod) -> &'static str {
    match revoke {
        RevokeMethod::Delete => "delete",
        RevokeMethod::Expire => "expire",
        RevokeMethod::Flag { .. } => "mark",
    }
}

/// Returns the past participle of a revoke method.
#[must_use]
pub fn past_participle(revoke: &RevokeMethod) -> &'static str {
    match revoke {
        RevokeMethod::Delete => "deleted",
        RevokeMethod::Expire => "expired",
        RevokeMethod::Flag { .. } => "flagged",
    }
}
