//! Processes one batch: reads full rows, encrypts them, makes them durable in the store, then deletes or changes them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant as Monotonic},
};

use sessionwatch_clock::to_signed_duration;
use sessionwatch_core::row_ref::RowRef;
use sessionwatch_store::archive_batches::{self, ArchivedBatch, ArchivedRowState, BatchState};
use sessionwatch_targets::{
    capabilities::Capability,
    error::TargetError,
    full_rows::{BatchPlaintext, DependentRows, FullRows, RowHeader},
    sql::{LocateBy, ReadRows, RowKeyKind, RowVersion},
    write_session::{ChangeOutcome, WriteSession},
};

use super::{ActionError, ApplyRun, lock_mutex, write_batch_states};
use crate::remediation::{recovery, write_credentials};

/// Rows of a batch to try again.
pub(super) struct RetryRows {
    /// Rows to look up again.
    pub(super) rows: Vec<RowRef>,
    /// One row blocks the others, and is found by splitting the batch.
    pub(super) needs_split: bool,
}

/// Full rows of a batch, to be archived.
struct FullBatch {
    full_rows: FullRows,
    headers: Vec<RowHeader>,
    dependents: Vec<DependentRows>,
}

/// Outcome of a transaction without an error.
enum TransactionOutcome {
    /// Committed, or nothing to do. Holds the rows to look up again.
    Committed(Vec<RowRef>),
    /// Rolled back because some rows changed meanwhile, without knowing which.
    Incomplete,
    /// Rolled back because the dependents of one row block all of them.
    Blocked,
}

impl ApplyRun<'_> {
    /// Processes some rows. If `detailed`, the statement reports which rows changed meanwhile.
    pub(super) async fn process_batch(
        &self,
        session: &mut WriteSession,
        rows: &[RowRef],
        locate_by: LocateBy,
        detailed: bool,
    ) -> Result<RetryRows, ActionError> {
        let mut done = self.run_transaction(session, rows, locate_by, detailed).await;
        if let Ok(TransactionOutcome::Incomplete) = done {
            // The detailed statement is slower, and concurrent changes are rare.
            done = self.run_transaction(session, rows, locate_by, true).await;
        }
        match done {
            Ok(TransactionOutcome::Committed(rows)) => Ok(RetryRows { rows, needs_split: false }),
            Ok(TransactionOutcome::Incomplete) => Ok(RetryRows { rows: rows.to_vec(), needs_split: false }),
            Ok(TransactionOutcome::Blocked) => Ok(RetryRows { rows: rows.to_vec(), needs_split: true }),
            Err(error) => {
                session.rollback().await;
                match error {
                    // Locked rows are retried later.
                    ActionError::Target(TargetError::Locked) => {
                        lock_mutex(&self.batch_size).observe_contention();
                        // A lock on a SQLite file covers every row, so splitting would not help.
                        let needs_split = session.capabilities().supports(Capability::RowLocks);
                        Ok(RetryRows { rows: rows.to_vec(), needs_split })
                    }
                    ActionError::Target(TargetError::HiddenByRule) => {
                        Err(ActionError::HiddenByRule(self.target.mapping().sessions.name.clone()))
                    }
                    ActionError::Target(TargetError::Permission) => {
                        let lacking = session
                            .missing_privileges(&self.target.scope(), self.planned_change(), &self.dependents)
                            .await;
                        // If the privileges cannot be queried either, the original error is returned.
                        Err(lacking
                            .map_or(TargetError::Permission.into(), ActionError::from_missing_privileges))
                    }
                    ActionError::Store(sessionwatch_store::StoreError::DiskFull) => {
                        Err(ActionError::DiskFull)
                    }
                    error => Err(error),
                }
            }
        }
    }

    async fn run_transaction(
        &self,
        session: &mut WriteSession,
        rows: &[RowRef],
        locate_by: LocateBy,
        detailed: bool,
    ) -> Result<TransactionOutcome, ActionError> {
        let transaction_id = session.begin_transaction().await?;
        let wanted: Vec<&RowRef> = rows.iter().collect();
        let scope = self.target.scope();
        let full_rows = session.read_full_rows(&scope, &self.columns, locate_by, &wanted).await?;
        let (found, rows_to_retry) = self.match_rows(rows, &full_rows, locate_by)?;
        if found.is_empty() {
            session.rollback().await;
            return Ok(TransactionOutcome::Committed(rows_to_retry));
        }
        let version = |(row, head): &(&RowRef, RowHeader)| RowVersion {
            locator: head.locator,
            version: head.version,
            row_hash: row.row_hash,
            id: row.id.clone(),
        };
        let versions: Vec<RowVersion> = found.iter().map(version).collect();
        let (rows, headers): (Vec<RowRef>, Vec<RowHeader>) =
            found.into_iter().map(|(row, head)| (row.clone(), head)).unzip();
        let read = ReadRows { locate_by, columns: &self.columns, rows: &versions };
        let Some(dependents) = self.read_dependents(session, read).await? else {
            session.rollback().await;
            return Ok(TransactionOutcome::Blocked);
        };
        let read_rows = FullBatch { full_rows, headers, dependents };
        let (batch, dependents) = self.archive_batch(transaction_id, rows, read_rows).await?;
        // Locks are held from the first change to the commit, not while rows are encrypted.
        let held = Monotonic::now();
        let changed = match self.change_rows(session, read, &dependents, detailed).await {
            Ok(ChangeOutcome::Rows(changed)) => changed,
            other => {
                session.rollback().await;
                // Otherwise the archive would offer rows for a restore that are still in the table.
                self.discard_batch(&batch)?;
                return self.resolve_rollback(
                    other,
                    &batch.rows,
                    dependents.iter().any(|rows| !rows.is_empty()),
                );
            }
        };
        if let Err(error) = session.commit().await {
            // The commit may have gone through: only another connection can determine that.
            return Err(self.settle_batch(&batch).await.err().unwrap_or_else(|| error.into()));
        }
        self.record_batch(&batch, &changed, &dependents, held.elapsed());
        let unchanged = batch.rows.iter().zip(&changed).filter(|(_, changed)| !**changed);
        lock_mutex(&self.totals).unchanged_rows.extend(unchanged.map(|(row, _)| row.row_hash));
        let unchanged =
            batch.rows.into_iter().zip(changed).filter(|(_, changed)| !changed).map(|(row, _)| row);
        Ok(TransactionOutcome::Committed(rows_to_retry.into_iter().chain(unchanged).collect()))
    }

    /// Interprets a statement whose transaction was rolled back. `had_dependents` says that it deleted dependents too.
    fn resolve_rollback(
        &self,
        outcome: Result<ChangeOutcome, TargetError>,
        rows: &[RowRef],
        had_dependents: bool,
    ) -> Result<TransactionOutcome, ActionError> {
        match outcome {
            Ok(ChangeOutcome::MoreThanRead) => Err(self.other_rows_error()),
            Ok(ChangeOutcome::OtherDependents) => {
                // In a batch of several rows, the blocking row is unknown until the batch is split.
                if let [row] = rows {
                    lock_mutex(&self.totals).blocked_rows.insert(row.row_hash);
                }
                Ok(TransactionOutcome::Blocked)
            }
            Ok(_) if had_dependents => Ok(TransactionOutcome::Blocked),
            Ok(_) => Ok(TransactionOutcome::Incomplete),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes rows, and verifies that no other row of the table and no unread row of other tables changed with them.
    /// If dependents were deleted, either all sessions of the batch are deleted or none.
    async fn change_rows(
        &self,
        session: &mut WriteSession,
        read: ReadRows<'_>,
        dependents: &[DependentRows],
        detailed: bool,
    ) -> Result<ChangeOutcome, TargetError> {
        let scope = self.target.scope();
        let total: usize = dependents.iter().map(DependentRows::len).sum();
        let deleted = session.deleted_dependent_count(&self.dependents).await?;
        if !self.delete_dependents(session, dependents, read).await? {
            return Ok(ChangeOutcome::OtherDependents);
        }
        // The counter of the transaction includes rows that triggers and rules changed.
        let before = if self.has_side_effects { session.changed_row_count(&scope).await? } else { 0 };
        let changed = session.change_rows(&scope, self.planned_mutation(), read, detailed).await?;
        let ChangeOutcome::Rows(rows) = &changed else { return Ok(changed) };
        if self.has_side_effects {
            let count = rows.iter().filter(|changed| **changed).count();
            let in_all = session.changed_row_count(&scope).await? - before;
            if in_all > i64::try_from(count).unwrap_or(i64::MAX) {
                return Ok(ChangeOutcome::MoreThanRead);
            }
        }
        if total > 0 && rows.contains(&false) {
            if let [row] = read.rows {
                lock_mutex(&self.totals).unchanged_rows.insert(row.row_hash);
            }
            return Ok(ChangeOutcome::FewerThanRead);
        }
        let deleted_with = session.deleted_dependent_count(&self.dependents).await?.zip(deleted);
        let is_as_read = deleted_with.is_none_or(|(after, before)| after - before == total as u64);
        Ok(if is_as_read { changed } else { ChangeOutcome::OtherDependents })
    }

    fn other_rows_error(&self) -> ActionError {
        ActionError::ChangesOtherRows(self.target.mapping().sessions.name.clone())
    }

    /// Encrypts rows and writes them to the store, together with the outcomes of earlier batches.
    async fn archive_batch(
        &self,
        transaction_id: Option<i64>,
        rows: Vec<RowRef>,
        read: FullBatch,
    ) -> Result<(ArchivedBatch, Vec<DependentRows>), ActionError> {
        let FullBatch { full_rows, headers, dependents } = read;
        let mut batch = ArchivedBatch {
            id: 0,
            plan: self.plan.record.id.clone(),
            target: self.plan.record.target.clone(),
            state: BatchState::Pending,
            transaction_id,
            sealed_at: self.context.clock.now(),
            purge_at: self.purge_at,
            recipient: self.recipient.to_string(),
            row_states: vec![ArchivedRowState::Archived; rows.len()],
            rows,
        };
        // Written in the transaction of the next batch, which saves a sync to disk.
        let settled = std::mem::take(&mut lock_mutex(&self.totals).batch_states);
        let (store, recipient) = (self.context.store.clone(), self.recipient.clone());
        let header_json = self.header_json.clone();
        // Encrypting and syncing to disk would block the async runtime.
        let keeping = tokio::task::spawn_blocking(move || {
            let rows = BatchPlaintext {
                header: &header_json,
                full_rows: &full_rows,
                sessions: &headers,
                dependents: &dependents,
            };
            let sealed = recipient.seal_rows(&rows);
            drop(full_rows);
            let outcome = sealed.map_err(ActionError::from).and_then(|sealed| {
                Ok(store.write(|db| {
                    write_batch_states(db, &settled)?;
                    archive_batches::insert_batch(db, &batch, &sealed)
                })?)
            });
            match outcome {
                // A store in memory would lose the archive with this process.
                Ok(_) if store.is_memory_fallback() => (Err(ActionError::DiskFull), settled),
                Ok(id) => {
                    batch.id = id;
                    (Ok((batch, dependents)), vec![])
                }
                Err(error) => (Err(error), settled),
            }
        });
        let outcome =
            keeping.await.map_err(|_| ActionError::Unexpected("a thread that encrypts rows panicked"));
        let (outcome, unsettled) = outcome?;
        lock_mutex(&self.totals).batch_states.extend(unsettled);
        outcome
    }

    /// Discards an archived batch whose rows are all still in the table.
    fn discard_batch(&self, batch: &ArchivedBatch) -> Result<(), ActionError> {
        let states = vec![ArchivedRowState::NotRemoved; batch.rows.len()];
        self.context
            .store
            .write(|db| archive_batches::set_batch_state(db, batch.id, BatchState::Kept, None, &states))?;
        Ok(())
    }

    fn record_batch(
        &self,
        batch: &ArchivedBatch,
        changed: &[bool],
        dependents: &[DependentRows],
        held: Duration,
    ) {
        lock_mutex(&self.batch_size).observe_batch(changed.len(), to_signed_duration(held));
        let state =
            |changed: &bool| if *changed { ArchivedRowState::Archived } else { ArchivedRowState::NotRemoved };
        let tally = &mut lock_mutex(&self.totals);
        tally.batch_states.push((batch.id, changed.iter().map(state).collect()));
        tally.report.done += changed.iter().filter(|changed| **changed).count() as u64;
        tally.report.longest_lock = tally.report.longest_lock.max(held);
        for (dependent, rows) in self.dependents.iter().zip(dependents).filter(|(_, rows)| !rows.is_empty()) {
            tally.report.dependents.entry(dependent.table.to_string()).or_default().done += rows.len() as u64;
        }
    }

    /// Records the outcome of a batch whose connection broke during the commit, if the database can be asked by now.
    async fn settle_batch(&self, batch: &ArchivedBatch) -> Result<(), ActionError> {
        let address = write_credentials::write_address(self.context)?;
        let opened = WriteSession::open(address, self.context.target.limits, self.target.key).await;
        // A batch that stays pending is settled before the next run.
        let Ok(mut actor) = opened else { return Ok(()) };
        let revoke = &self.plan.summary.revoke;
        let states = recovery::row_states(self.target, revoke, &mut actor, batch).await?;
        let Some(states) = states else { return Ok(()) };
        self.context
            .store
            .write(|db| archive_batches::set_batch_state(db, batch.id, BatchState::Kept, None, &states))?;
        lock_mutex(&self.totals).report.done +=
            states.iter().filter(|state| **state == ArchivedRowState::Archived).count() as u64;
        Ok(())
    }
}

/// Planned rows with the headers read for them, and planned rows that were not found.
type MatchedRows<'a> = (Vec<(&'a RowRef, RowHeader)>, Vec<RowRef>);

impl ApplyRun<'_> {
    /// Matches planned rows with the rows that were read.
    fn match_rows<'a>(
        &self,
        rows: &'a [RowRef],
        full_rows: &FullRows,
        locate_by: LocateBy,
    ) -> Result<MatchedRows<'a>, ActionError> {
        let headers = full_rows.parse_headers();
        let headers =
            headers.ok_or(ActionError::Unexpected("cannot decode rows returned by the database"))?;
        if self.target.scope().is_known_by_version(locate_by) {
            return Ok(match_by_version(rows, headers));
        }
        // A row of an inheritance tree matches only in the table that it was planned in.
        let same_heap = self.plan.summary.addressing == RowKeyKind::HeapAndPlace;
        Ok(match_by_hash(rows, headers, same_heap))
    }
}

/// Matches rows by their hash. Among rows with equal hashes, a row at its planned place comes first.
fn match_by_hash(rows: &[RowRef], heads: Vec<RowHeader>, same_place_only: bool) -> MatchedRows<'_> {
    let mut wanted: BTreeMap<i64, Vec<&RowRef>> = BTreeMap::new();
    rows.iter().for_each(|row| wanted.entry(row.row_hash).or_default().push(row));
    let (mut found, mut elsewhere) = (Vec::new(), Vec::new());
    for head in heads {
        let Some(alike) = wanted.get_mut(&head.row_hash) else { continue };
        match alike.iter().position(|row| row.locator == head.locator) {
            Some(at) => found.push((alike.swap_remove(at), head)),
            None => elsewhere.push(head),
        }
    }
    if !same_place_only {
        for head in elsewhere {
            if let Some(row) = wanted.get_mut(&head.row_hash).and_then(Vec::pop) {
                found.push((row, head));
            }
        }
    }
    // The order of the plan deletes referring rows before the rows they refer to.
    found.sort_by_key(|(row, _)| std::ptr::from_ref::<RowRef>(row));
    (found, wanted.into_values().flatten().cloned().collect())
}

/// Matches rows by their place and version.
fn match_by_version(rows: &[RowRef], heads: Vec<RowHeader>) -> MatchedRows<'_> {
    let mut read: BTreeMap<(u64, i64), RowHeader> =
        heads.into_iter().map(|head| ((head.locator, head.version), head)).collect();
    let (mut found, mut again) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        match read.remove(&(row.locator, row.version)) {
            Some(head) => found.push((row, head)),
            None => again.push(row.clone()),
        }
    }
    (found, again)
}

#[cfg(test)]
mod tests;
