//! Carrying out a plan: batch by batch, each sealed and durable in the store before its rows go, and only where they are
//! still what the plan named.

mod batch;
pub(super) mod dependents;
mod rounds;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant as Monotonic},
};

use sessionwatch_archive::Recipient;
use sessionwatch_clock as clock;
use sessionwatch_core::{batch_size::AdaptiveBatchSize, instant::Instant, row_ref::RowRef};
use sessionwatch_store::{
    archived::{self, Fate},
    confirmed_time, plans,
};
use sessionwatch_targets::{
    mapping::{Revoke, TableName},
    side_effects::{Dependent, Kind},
    sql::{Addressing, Change, Mutation, Named, stored_timestamp},
    unsealed_rows::{ColumnDecl, DependentTable},
    write_session::WriteSession,
};

use super::{
    ActError, Context, Control, Plan, Selection,
    executor::{Executor, Prepared, require_visible},
    making,
    outcome::{Applied, LISTED, Why},
    reconcile, side_effects,
    view::Known,
};

/// A replica that lags by more is waited for, in seconds.
const MAX_LAG_S: f64 = 5.0;
/// How often that is asked.
const LAG_ASKED: Duration = Duration::from_secs(2);
/// How long to wait before somebody who holds things up is asked again.
const PATIENCE: Duration = Duration::from_millis(200);
/// What the workers share.
struct Work<'a> {
    context: Context<'a>,
    plan: &'a Plan,
    control: &'a Control,
    recipient: &'a Recipient,
    known: &'a Known,
    columns: Vec<String>,
    /// The first line of what is sealed.
    about: String,
    /// Other tables whose rows go with sessions and are archived with them; parents come first.
    dependents: Vec<Dependent>,
    /// Whether something besides a change itself may change rows of the sessions.
    side_effects: bool,
    /// The present instant as the target stores it.
    stored_now: String,
    purge_at: Instant,
    queue: Mutex<Queue>,
    pace: Mutex<AdaptiveBatchSize>,
    tally: Mutex<Tally>,
}

/// What is to be done, where, and to whom it is sealed.
#[derive(Clone, Copy)]
struct Job<'a> {
    plan: &'a Plan,
    control: &'a Control,
    recipient: &'a Recipient,
    known: &'a Known,
}

/// What the acting role knows of the table of the sessions.
struct TableFacts {
    /// Columns that are archived.
    columns: Vec<ColumnDecl>,
    /// Tables that inherit from it.
    heaps: BTreeMap<u64, TableName>,
    /// Whether something besides a change itself may change rows.
    side_effects: bool,
    /// Other tables whose rows go with sessions, and are archived.
    dependents: Vec<Dependent>,
}

/// Rows that are still to be dealt with.
#[derive(Default)]
struct Queue {
    rows: VecDeque<RowRef>,
    piece: i64,
    /// Locators and marks of rows that an earlier run dealt with, and how many are alike.
    earlier: BTreeMap<(u64, i64), usize>,
    /// Rows that have to be looked for once more.
    again: Vec<RowRef>,
}

#[derive(Default)]
struct Tally {
    applied: Applied,
    /// Marks of rows that were read to be changed, and yet were not changed.
    unmoved: BTreeSet<i64>,
    /// Marks of rows with which other rows of other tables would have gone than were read.
    entangled: BTreeSet<i64>,
    /// What became of batches, and is still to be written.
    settled: Vec<(i64, Vec<Fate>)>,
}

/// Ends the sessions of a plan.
pub(super) async fn apply(executor: &Executor<'_>, plan: &mut Plan) -> Result<Applied, ActError> {
    let (context, recipient) = (executor.context, executor.recipient()?);
    let mut prepared = executor.prepare(plan, Some(plan.summary.now)).await?;
    let scope = prepared.known.scope();
    let writing = &mut prepared.writing;
    let stored_now = stored_timestamp(prepared.known.mapping().expires.decoder, prepared.known.seen);
    let change = Change::of(&plan.summary.revoke, &stored_now);
    let dependents = dependents::of(writing, &scope, change).await?;
    dependents::require_counts(writing, &dependents).await?;
    let hidden = writing.hidden(&scope, change, &dependents).await?;
    require_visible(&scope, &hidden, plan.selection == Selection::Orphaned)?;
    // Of a plan without rows, nothing was announced, and nothing happens.
    if plan.kept.rows > 0 {
        let announced = plan.summary.side_effects.as_slice();
        side_effects::compare(writing, scope.layout, announced, &plan.summary.revoke).await?;
    }
    reconcile::settle_by(context, &prepared.known, writing).await?;
    let table = TableFacts {
        columns: writing.columns(&scope).await?,
        heaps: writing.inheriting_tables(&scope).await?,
        side_effects: writing.has_side_effects(&scope, change).await?,
        dependents,
    };
    executor.begin(plan)?;
    let Prepared { known, reading, writing } = prepared;
    let job = Job { plan, control: executor.control, recipient, known: &known };
    let work = Work::new(context, job, table)?;
    let ran = work.run(writing).await;
    // What is known is written, whatever happened on the way.
    work.flush()?;
    let mut applied = work.finish();
    ran?;
    applied.left = making::count_left(context, &known, reading, plan).await.ok();
    Ok(applied)
}

fn archived_tables(dependents: &[Dependent]) -> Vec<DependentTable> {
    dependents.iter().map(|dependent| dependent.archived_among(dependents)).collect()
}

impl<'a> Work<'a> {
    fn new(context: Context<'a>, job: Job<'a>, table: TableFacts) -> Result<Self, ActError> {
        let Job { plan, control, recipient, known } = job;
        let now = context.clock.now();
        let confirmed = context.store.read(|db| confirmed_time::get(db, now))?;
        let mut queue = Queue::default();
        let mut behind = 0;
        while let Some(batch) = context.store.read(|db| archived::next(db, &plan.kept.id, behind))? {
            behind = batch.id;
            let gone = batch.rows.iter().zip(&batch.fates).filter(|(_, fate)| **fate != Fate::Stayed);
            gone.for_each(|(row, _)| *queue.earlier.entry((row.place, row.mark)).or_default() += 1);
        }
        let about = serde_json::json!({
            "version": if table.dependents.is_empty() { 1 } else { 2 },
            "dialect": known.layout.schema.dialect.name(),
            "table": known.layout.quoted(&known.mapping().sessions),
            "columns": table.columns,
            "change": plan.summary.revoke,
            "dependents": archived_tables(&table.dependents),
            // The locators of other plans are no heaps.
            "heaps": if plan.summary.addressing == Addressing::HeapAndPlace { table.heaps } else { BTreeMap::new() },
        });
        Ok(Self {
            context,
            plan,
            control,
            recipient,
            known,
            columns: table.columns.into_iter().map(|column| column.name).collect(),
            about: about.to_string(),
            dependents: table.dependents,
            side_effects: table.side_effects,
            stored_now: stored_timestamp(known.mapping().expires.decoder, known.seen),
            // A clock that is behind shortens no time to restore.
            purge_at: now.max(confirmed) + context.config.actions.retention,
            queue: Mutex::new(queue),
            pace: Mutex::default(),
            tally: Mutex::default(),
        })
    }

    fn change(&self) -> Change<'_> {
        Change::of(&self.plan.summary.revoke, &self.stored_now)
    }

    fn mutation(&self) -> Mutation<'_> {
        Mutation { change: self.change(), orphans_only: self.orphans() }
    }

    /// Why a row that is as it was planned could not be ended: a trigger keeps it, or else somebody holds it.
    fn obstacle(&self, row: &RowRef) -> Why {
        if lock(&self.tally).entangled.contains(&row.mark) {
            return Why::DependentsKept;
        }
        let effects = &self.plan.summary.side_effects;
        let vetoes = effects.iter().any(|effect| effect.kind == Kind::TriggerBefore);
        if vetoes && lock(&self.tally).unmoved.contains(&row.mark) { Why::Vetoed } else { Why::Busy }
    }

    /// Whether a row of the plan is looked at again when it goes: a user may have been made since.
    fn orphans(&self) -> bool {
        self.plan.selection == Selection::Orphaned
    }

    /// By what rows are found first.
    fn named_first(&self) -> Named {
        match (self.plan.summary.addressing, self.known.addressing) {
            (Addressing::Place, Addressing::Place) => Named::Place,
            _ => self.named_again(),
        }
    }

    /// By what rows are found that are not where they were planned.
    fn named_again(&self) -> Named {
        if self.known.scope().has_unique_id() { Named::Id } else { Named::Mark }
    }

    /// One batch after another, and then what has to be looked for once more.
    async fn run(&self, mut writing: WriteSession) -> Result<(), ActError> {
        self.sweep(&mut writing).await?;
        self.rounds(&mut writing).await
    }

    /// One batch after another, until there are no more.
    async fn sweep(&self, actor: &mut WriteSession) -> Result<(), ActError> {
        let named = self.named_first();
        let mut asked = Monotonic::now();
        while !self.control.stop.is_cancelled() {
            if self.control.paused.load(Ordering::Relaxed) {
                clock::sleep(PATIENCE).await;
                continue;
            }
            if asked.elapsed() > LAG_ASKED {
                self.heed_replicas(actor).await;
                asked = Monotonic::now();
            }
            let size = lock(&self.pace).size();
            // Each search by marks reads the whole table.
            let rows = self.take(if named == Named::Mark { size.max(rounds::BY_MARK) } else { size })?;
            if rows.is_empty() {
                return Ok(());
            }
            let again = self.batch(actor, &rows, named, false).await;
            // The other connection ends too.
            let again = again.inspect_err(|_| self.control.stop.cancel())?;
            let again = again.rows;
            self.control.done.fetch_add((rows.len() - again.len()) as u64, Ordering::Relaxed);
            lock(&self.queue).again.extend(again);
        }
        Ok(())
    }

    /// Waits while a replica lags too far behind.
    async fn heed_replicas(&self, actor: &mut WriteSession) {
        while !self.control.stop.is_cancelled() {
            let lag = actor.replica_lag_s().await;
            self.control.lagging.store(lag > MAX_LAG_S, Ordering::Relaxed);
            if lag <= MAX_LAG_S {
                return;
            }
            clock::sleep(PATIENCE).await;
        }
    }

    /// The next rows of the plan.
    fn take(&self, size: usize) -> Result<Vec<RowRef>, ActError> {
        let mut queue = lock(&self.queue);
        while queue.rows.len() < size {
            let behind = queue.piece;
            let next = self.context.store.read(|db| plans::piece(db, &self.plan.kept.id, behind))?;
            let Some((piece, rows)) = next else { break };
            queue.piece = piece;
            let named = rows.len();
            let is_fresh = |row: &RowRef| match queue.earlier.get_mut(&(row.place, row.mark)) {
                Some(alike) if *alike > 0 => {
                    *alike -= 1;
                    false
                }
                _ => true,
            };
            let fresh: Vec<RowRef> = rows.into_iter().filter(is_fresh).collect();
            lock(&self.tally).applied.earlier += (named - fresh.len()) as u64;
            queue.rows.extend(fresh);
        }
        let size = size.min(queue.rows.len());
        Ok(queue.rows.drain(..size).collect())
    }

    /// Writes what has become of batches.
    fn flush(&self) -> Result<(), ActError> {
        let settled = std::mem::take(&mut lock(&self.tally).settled);
        self.context.store.write(|db| settle(db, &settled))?;
        Ok(())
    }

    fn skip(&self, row: &RowRef, why: Why) {
        let applied = &mut lock(&self.tally).applied;
        applied.skipped += 1;
        if applied.lines.len() < LISTED {
            applied.lines.push((making::line(row), why));
        }
        self.control.done.fetch_add(1, Ordering::Relaxed);
    }

    fn finish(&self) -> Applied {
        let mut applied = std::mem::take(&mut lock(&self.tally).applied);
        let reached = applied.done + applied.earlier + applied.skipped;
        applied.remaining = self.plan.kept.rows.saturating_sub(reached);
        applied.purge_at = (applied.done > 0).then_some(self.purge_at);
        applied
    }
}

fn settle(
    db: sessionwatch_store::db::Db<'_>,
    settled: &[(i64, Vec<Fate>)],
) -> Result<(), sessionwatch_store::StoreError> {
    settled.iter().try_for_each(|(id, fates)| archived::settle(db, *id, archived::State::Kept, None, fates))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How sessions are ended, in a word.
#[must_use]
pub fn verb(revoke: &Revoke) -> &'static str {
    match revoke {
        Revoke::Delete => "removed",
        Revoke::Expire => "expired",
        Revoke::Flag { .. } => "marked",
    }
}
