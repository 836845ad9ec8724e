//! Carrying out a plan: batch by batch, each sealed and durable in the store before its rows go, and only where they are
//! still what the plan named.

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
    mapping::{RevokeMethod, TableName},
    side_effects::{CascadingTable, SideEffectKind},
    sql::{LocateBy, Mutation, RowChange, RowKeyKind, encode_timestamp},
    unsealed_rows::{ColumnDecl, DependentTable},
    write_session::WriteSession,
};

use super::{
    ActionContext, ActionError, ActionPlan, JobControl, Selection,
    apply_report::{ApplyReport, MAX_LISTED_SKIPS, SkipReason},
    executor::{PlanExecutor, PreparedTarget, require_visible_rows},
    planner,
    planning_session::ActionTarget,
    recovery, side_effects,
};

/// A replica that lags by more is waited for, in seconds.
const MAX_REPLICA_LAG_S: f64 = 5.0;
/// How often that is asked.
const REPLICA_LAG_CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// How long to wait before somebody who holds things up is asked again.
const LOCK_RETRY_DELAY: Duration = Duration::from_millis(200);
/// What the workers share.
struct ApplyRun<'a> {
    context: ActionContext<'a>,
    plan: &'a ActionPlan,
    control: &'a JobControl,
    recipient: &'a Recipient,
    target: &'a ActionTarget,
    columns: Vec<String>,
    /// The first line of what is sealed.
    header_json: String,
    /// Other tables whose rows go with sessions and are archived with them; parents come first.
    dependents: Vec<CascadingTable>,
    /// Whether something besides a change itself may change rows of the sessions.
    has_side_effects: bool,
    /// The present instant as the target stores it.
    stored_now: String,
    purge_at: UtcTimestamp,
    queue: Mutex<RowQueue>,
    batch_size: Mutex<AdaptiveBatchSize>,
    totals: Mutex<ApplyTotals>,
}

/// What is to be done, where, and to whom it is sealed.
#[derive(Clone, Copy)]
struct ApplyJob<'a> {
    plan: &'a ActionPlan,
    control: &'a JobControl,
    recipient: &'a Recipient,
    target: &'a ActionTarget,
}

/// What the acting role knows of the table of the sessions.
struct SessionTableInfo {
    /// Columns that are archived.
    columns: Vec<ColumnDecl>,
    /// Tables that inherit from it.
    heaps: BTreeMap<u64, TableName>,
    /// Whether something besides a change itself may change rows.
    has_side_effects: bool,
    /// Other tables whose rows go with sessions, and are archived.
    dependents: Vec<CascadingTable>,
}

/// Rows that are still to be dealt with.
#[derive(Default)]
struct RowQueue {
    rows: VecDeque<RowRef>,
    piece: i64,
    /// Locators and marks of rows that an earlier run dealt with, and how many are alike.
    earlier_rows: BTreeMap<(u64, i64), usize>,
    /// Rows that have to be looked for once more.
    retry_rows: Vec<RowRef>,
}

#[derive(Default)]
struct ApplyTotals {
    report: ApplyReport,
    /// Marks of rows that were read to be changed, and yet were not changed.
    unchanged_rows: BTreeSet<i64>,
    /// Marks of rows with which other rows of other tables would have gone than were read.
    blocked_rows: BTreeSet<i64>,
    /// What became of batches, and is still to be written.
    batch_states: Vec<(i64, Vec<ArchivedRowState>)>,
}

/// Ends the sessions of a plan.
pub(super) async fn apply_plan(
    executor: &PlanExecutor<'_>,
    plan: &mut ActionPlan,
) -> Result<ApplyReport, ActionError> {
    let (context, recipient) = (executor.context, executor.recipient()?);
    let mut prepared = executor.prepare(plan, Some(plan.summary.now)).await?;
    let scope = prepared.target.scope();
    let writing = &mut prepared.write_session;
    let stored_now = encode_timestamp(prepared.target.mapping().expires.decoder, prepared.target.observed_at);
    let change = RowChange::from_revoke(&plan.summary.revoke, &stored_now);
    let dependents = dependents::load_dependents(writing, &scope, change).await?;
    dependents::require_row_counts(writing, &dependents).await?;
    let hidden = writing.hidden_tables(&scope, change, &dependents).await?;
    require_visible_rows(&scope, &hidden, plan.selection == Selection::Orphaned)?;
    // Of a plan without rows, nothing was announced, and nothing happens.
    if plan.record.row_count > 0 {
        let announced = plan.summary.side_effects.as_slice();
        side_effects::require_announced(writing, scope.layout, announced, &plan.summary.revoke).await?;
    }
    recovery::recover_on(context, &prepared.target, writing).await?;
    let table = SessionTableInfo {
        columns: writing.restorable_columns(&scope).await?,
        heaps: writing.inheriting_tables(&scope).await?,
        has_side_effects: writing.has_side_effects(&scope, change).await?,
        dependents,
    };
    executor.record_start(plan)?;
    let PreparedTarget { target: known, idle_connection: reading, write_session: writing } = prepared;
    let job = ApplyJob { plan, control: executor.control, recipient, target: &known };
    let work = ApplyRun::new(context, job, table)?;
    let ran = work.run(writing).await;
    // What is known is written, whatever happened on the way.
    work.flush_batch_states()?;
    let mut applied = work.take_report();
    ran?;
    applied.still_matching = planner::count_remaining(context, &known, reading, plan).await.ok();
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
        let ApplyJob { plan, control, recipient, target: known } = job;
        let now = context.clock.now();
        let confirmed = context.store.read(|db| confirmed_time::find_confirmed_time(db, now))?;
        let mut queue = RowQueue::default();
        let mut behind = 0;
        while let Some(batch) =
            context.store.read(|db| archive_batches::find_next_batch(db, &plan.record.id, behind))?
        {
            behind = batch.id;
            let gone = batch
                .rows
                .iter()
                .zip(&batch.row_states)
                .filter(|(_, fate)| **fate != ArchivedRowState::NotRemoved);
            gone.for_each(|(row, _)| {
                *queue.earlier_rows.entry((row.locator, row.row_hash)).or_default() += 1
            });
        }
        let about = serde_json::json!({
            "version": if table.dependents.is_empty() { 1 } else { 2 },
            "dialect": known.layout.schema.dialect.name(),
            "table": known.layout.quote_table(&known.mapping().sessions),
            "columns": table.columns,
            "change": plan.summary.revoke,
            "dependents": archived_dependent_tables(&table.dependents),
            // The locators of other plans are no heaps.
            "heaps": if plan.summary.addressing == RowKeyKind::HeapAndPlace { table.heaps } else { BTreeMap::new() },
        });
        Ok(Self {
            context,
            plan,
            control,
            recipient,
            target: known,
            columns: table.columns.into_iter().map(|column| column.name).collect(),
            header_json: about.to_string(),
            dependents: table.dependents,
            has_side_effects: table.has_side_effects,
            stored_now: encode_timestamp(known.mapping().expires.decoder, known.observed_at),
            // A clock that is behind shortens no time to restore.
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

    /// Why a row that is as it was planned could not be ended: a trigger keeps it, or else somebody holds it.
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

    /// Whether a row of the plan is looked at again when it goes: a user may have been made since.
    fn rechecks_orphans(&self) -> bool {
        self.plan.selection == Selection::Orphaned
    }

    /// By what rows are found first.
    fn primary_lookup(&self) -> LocateBy {
        match (self.plan.summary.addressing, self.target.addressing) {
            (RowKeyKind::Place, RowKeyKind::Place) => LocateBy::Position,
            _ => self.fallback_lookup(),
        }
    }

    /// By what rows are found that are not where they were planned.
    fn fallback_lookup(&self) -> LocateBy {
        if self.target.scope().has_unique_id() { LocateBy::Id } else { LocateBy::RowHash }
    }

    /// One batch after another, and then what has to be looked for once more.
    async fn run(&self, mut session: WriteSession) -> Result<(), ActionError> {
        self.process_batches(&mut session).await?;
        self.retry_leftovers(&mut session).await
    }

    /// One batch after another, until there are no more.
    async fn process_batches(&self, session: &mut WriteSession) -> Result<(), ActionError> {
        let named = self.primary_lookup();
        let mut asked = Monotonic::now();
        while !self.control.stop.is_cancelled() {
            if self.control.paused.load(Ordering::Relaxed) {
                clock::sleep(LOCK_RETRY_DELAY).await;
                continue;
            }
            if asked.elapsed() > REPLICA_LAG_CHECK_INTERVAL {
                self.wait_for_replicas(session).await;
                asked = Monotonic::now();
            }
            let size = lock_mutex(&self.batch_size).size();
            // Each search by marks reads the whole table.
            let rows = self.take_rows(if named == LocateBy::RowHash {
                size.max(retry::ROWS_PER_HASH_LOOKUP)
            } else {
                size
            })?;
            if rows.is_empty() {
                return Ok(());
            }
            let again = self.process_batch(session, &rows, named, false).await;
            // The other connection ends too.
            let again = again.inspect_err(|_| self.control.stop.cancel())?;
            let again = again.rows;
            self.control.done.fetch_add((rows.len() - again.len()) as u64, Ordering::Relaxed);
            lock_mutex(&self.queue).retry_rows.extend(again);
        }
        Ok(())
    }

    /// Waits while a replica lags too far behind.
    async fn wait_for_replicas(&self, session: &mut WriteSession) {
        while !self.control.stop.is_cancelled() {
            let lag = session.max_replica_lag_s().await;
            self.control.is_waiting_for_replica.store(lag > MAX_REPLICA_LAG_S, Ordering::Relaxed);
            if lag <= MAX_REPLICA_LAG_S {
                return;
            }
            clock::sleep(LOCK_RETRY_DELAY).await;
        }
    }

    /// The next rows of the plan.
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

    /// Writes what has become of batches.
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
    settled.iter().try_for_each(|(id, fates)| {
        archive_batches::set_batch_state(db, *id, archive_batches::BatchState::Kept, None, fates)
    })
}

fn lock_mutex<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the verb for ending sessions by a method, as a plan says it.
#[must_use]
pub fn imperative(revoke: &RevokeMethod) -> &'static str {
    match revoke {
        RevokeMethod::Delete => "delete",
        RevokeMethod::Expire => "expire",
        RevokeMethod::Flag { .. } => "mark",
    }
}

/// How sessions are ended, in a word.
#[must_use]
pub fn past_participle(revoke: &RevokeMethod) -> &'static str {
    match revoke {
        RevokeMethod::Delete => "removed",
        RevokeMethod::Expire => "expired",
        RevokeMethod::Flag { .. } => "marked",
    }
}
