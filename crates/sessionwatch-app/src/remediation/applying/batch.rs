//! One batch: read whole, sealed, durable in the store, and then removed or changed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant as Monotonic},
};

use sessionwatch_clock::length_of;
use sessionwatch_core::row_ref::RowRef;
use sessionwatch_store::archived::{self, Batch, Fate, State};
use sessionwatch_targets::{
    capabilities::Capability,
    error::TargetError,
    full_rows::{ArchiveBatch, DependentRows, FullRows, RowHeader},
    sql::{Addressing, Named, ReadRows, RowVersion},
    write_session::{Changed, WriteSession},
};

use super::{ActError, Work, lock, settle};
use crate::remediation::{reconcile, view};

/// What is left of a batch.
pub(super) struct Left {
    /// Rows that have to be looked for once more.
    pub(super) rows: Vec<RowRef>,
    /// One of them keeps all of them from being changed, and is found by taking them apart.
    pub(super) taken_apart: bool,
}

/// Rows of one batch that were read to be archived.
struct FullBatch {
    full_rows: FullRows,
    headers: Vec<RowHeader>,
    dependents: Vec<DependentRows>,
}

/// A transaction's end, but for errors.
enum Ended {
    /// It was committed, or had nothing to do: rows that have to be looked for once more.
    Done(Vec<RowRef>),
    /// It was undone, since some rows were changed meanwhile, and it was not asked which.
    NotAll,
    /// It was undone: what goes with one of the rows keeps all of them.
    Entangled,
}

impl Work<'_> {
    /// Deals with some rows. In detail, those that were changed meanwhile are told apart from the others at once.
    pub(super) async fn batch(
        &self,
        actor: &mut WriteSession,
        rows: &[RowRef],
        named: Named,
        detailed: bool,
    ) -> Result<Left, ActError> {
        let mut done = self.transaction(actor, rows, named, detailed).await;
        if let Ok(Ended::NotAll) = done {
            // That is rarely needed, and costs time.
            done = self.transaction(actor, rows, named, true).await;
        }
        match done {
            Ok(Ended::Done(rows)) => Ok(Left { rows, taken_apart: false }),
            Ok(Ended::NotAll) => Ok(Left { rows: rows.to_vec(), taken_apart: false }),
            Ok(Ended::Entangled) => Ok(Left { rows: rows.to_vec(), taken_apart: true }),
            Err(error) => {
                actor.rollback().await;
                match error {
                    // They are tried again later.
                    ActError::Target(TargetError::Locked) => {
                        lock(&self.pace).was_blocked();
                        // Who holds a SQLite file holds every row of it.
                        let taken_apart = actor.capabilities().supports(Capability::RowLocks);
                        Ok(Left { rows: rows.to_vec(), taken_apart })
                    }
                    ActError::Target(TargetError::HiddenByRule) => {
                        Err(ActError::HiddenByRule(self.known.mapping().sessions.name.clone()))
                    }
                    ActError::Target(TargetError::Permission) => {
                        let lacking = actor.lacks(&self.known.scope(), self.change(), &self.dependents).await;
                        // Where that is not told, the refusal stands as it is.
                        Err(lacking.map_or(TargetError::Permission.into(), ActError::lacks))
                    }
                    ActError::Store(sessionwatch_store::StoreError::Full) => Err(ActError::NoRoom),
                    error => Err(error),
                }
            }
        }
    }

    /// One transaction.
    async fn transaction(
        &self,
        actor: &mut WriteSession,
        rows: &[RowRef],
        named: Named,
        detailed: bool,
    ) -> Result<Ended, ActError> {
        let txid = actor.begin().await?;
        let wanted: Vec<&RowRef> = rows.iter().collect();
        let scope = self.known.scope();
        let whole = actor.read_full(&scope, &self.columns, named, &wanted).await?;
        let (found, again) = self.matched(rows, &whole, named)?;
        if found.is_empty() {
            actor.rollback().await;
            return Ok(Ended::Done(again));
        }
        let version = |(row, head): &(&RowRef, RowHeader)| RowVersion {
            locator: head.place,
            version: head.version,
            mark: row.mark,
            id: row.id.clone(),
        };
        let versions: Vec<RowVersion> = found.iter().map(version).collect();
        let (rows, heads): (Vec<RowRef>, Vec<RowHeader>) =
            found.into_iter().map(|(row, head)| (row.clone(), head)).unzip();
        let read = ReadRows { named, columns: &self.columns, rows: &versions };
        let Some(dependents) = self.read_dependents(actor, read).await? else {
            actor.rollback().await;
            return Ok(Ended::Entangled);
        };
        let read_rows = FullBatch { full_rows: whole, headers: heads, dependents };
        let (batch, dependents) = self.keep(txid, rows, read_rows).await?;
        let held = Monotonic::now();
        let changed = match self.change_rows(actor, read, &dependents, detailed).await {
            Ok(Changed::Rows(changed)) => changed,
            other => {
                actor.rollback().await;
                self.forget(&batch)?;
                return self.undone(other, &batch.rows, dependents.iter().any(|rows| !rows.is_empty()));
            }
        };
        if let Err(error) = actor.commit().await {
            // Whether the rows are gone is not known: that is learnt over another connection.
            return self.learn(&batch, error).await.map(Ended::Done);
        }
        self.settled(&batch, &changed, &dependents, held.elapsed());
        let unmoved = batch.rows.iter().zip(&changed).filter(|(_, changed)| !**changed);
        lock(&self.tally).unmoved.extend(unmoved.map(|(row, _)| row.mark));
        let left = batch.rows.into_iter().zip(changed).filter(|(_, changed)| !changed).map(|(row, _)| row);
        Ok(Ended::Done(again.into_iter().chain(left).collect()))
    }

    /// What follows from a transaction that was undone.
    fn undone(
        &self,
        outcome: Result<Changed, TargetError>,
        rows: &[RowRef],
        entangled: bool,
    ) -> Result<Ended, ActError> {
        match outcome {
            Ok(Changed::MoreThanRead) => Err(self.changes_other_rows()),
            Ok(Changed::OtherDependents) => {
                // Among several, it is not known which one it is.
                if let [row] = rows {
                    lock(&self.tally).entangled.insert(row.mark);
                }
                Ok(Ended::Entangled)
            }
            Ok(_) if entangled => Ok(Ended::Entangled),
            Ok(_) => Ok(Ended::NotAll),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes rows, and makes sure that nothing else in the table was changed with them, and nothing in other tables that was
    /// not read. Where rows of other tables were deleted, all of the sessions go, or none.
    async fn change_rows(
        &self,
        actor: &mut WriteSession,
        read: ReadRows<'_>,
        dependents: &[DependentRows],
        detailed: bool,
    ) -> Result<Changed, TargetError> {
        let scope = self.known.scope();
        let total: usize = dependents.iter().map(DependentRows::len).sum();
        let deleted = actor.dependents_deleted(&self.dependents).await?;
        if !self.delete_dependents(actor, dependents, read).await? {
            return Ok(Changed::OtherDependents);
        }
        let before = if self.side_effects { actor.changed_so_far(&scope).await? } else { 0 };
        let changed = actor.change(&scope, self.mutation(), read, detailed).await?;
        let Changed::Rows(rows) = &changed else { return Ok(changed) };
        if self.side_effects {
            let count = rows.iter().filter(|changed| **changed).count();
            let in_all = actor.changed_so_far(&scope).await? - before;
            if in_all > i64::try_from(count).unwrap_or(i64::MAX) {
                return Ok(Changed::MoreThanRead);
            }
        }
        if total > 0 && rows.contains(&false) {
            if let [row] = read.rows {
                lock(&self.tally).unmoved.insert(row.mark);
            }
            return Ok(Changed::NotAll);
        }
        let deleted_with = actor.dependents_deleted(&self.dependents).await?.zip(deleted);
        let is_as_read = deleted_with.is_none_or(|(after, before)| after - before == total as u64);
        Ok(if is_as_read { changed } else { Changed::OtherDependents })
    }

    fn changes_other_rows(&self) -> ActError {
        ActError::ChangesOtherRows(self.known.mapping().sessions.name.clone())
    }

    /// Seals rows and makes them durable, and with them what has become of the batches before. On a thread of its own, so that
    /// the other connection can go on meanwhile.
    async fn keep(
        &self,
        txid: Option<i64>,
        rows: Vec<RowRef>,
        read: FullBatch,
    ) -> Result<(Batch, Vec<DependentRows>), ActError> {
        let FullBatch { full_rows, headers, dependents } = read;
        let mut batch = Batch {
            id: 0,
            plan: self.plan.kept.id.clone(),
            target: self.plan.kept.target.clone(),
            state: State::Pending,
            txid,
            at: self.context.clock.now(),
            purge_at: self.purge_at,
            recipient: self.recipient.to_string(),
            fates: vec![Fate::Archived; rows.len()],
            rows,
        };
        let settled = std::mem::take(&mut lock(&self.tally).settled);
        let (store, recipient) = (self.context.store.clone(), self.recipient.clone());
        let about = self.about.clone();
        let keeping = tokio::task::spawn_blocking(move || {
            let rows = ArchiveBatch {
                header: &about,
                full_rows: &full_rows,
                sessions: &headers,
                dependents: &dependents,
            };
            let sealed = recipient.seal_rows(&rows);
            drop(full_rows);
            let kept = sealed.map_err(ActError::from).and_then(|sealed| {
                Ok(store.write(|db| {
                    settle(db, &settled)?;
                    archived::add(db, &batch, &sealed)
                })?)
            });
            match kept {
                // In memory only, it would be gone with this program.
                Ok(_) if store.is_sheltered() => (Err(ActError::NoRoom), settled),
                Ok(id) => {
                    batch.id = id;
                    (Ok((batch, dependents)), vec![])
                }
                Err(error) => (Err(error), settled),
            }
        });
        let kept =
            keeping.await.map_err(|_| ActError::Unexpected("a thread that sealed rows ended in a panic"));
        let (kept, unsettled) = kept?;
        lock(&self.tally).settled.extend(unsettled);
        kept
    }

    /// Drops a batch of which no row has left the table.
    fn forget(&self, batch: &Batch) -> Result<(), ActError> {
        let fates = vec![Fate::Stayed; batch.rows.len()];
        self.context.store.write(|db| archived::settle(db, batch.id, State::Kept, None, &fates))?;
        Ok(())
    }

    fn settled(&self, batch: &Batch, changed: &[bool], dependents: &[DependentRows], held: Duration) {
        lock(&self.pace).took(changed.len(), length_of(held));
        let fate = |changed: &bool| if *changed { Fate::Archived } else { Fate::Stayed };
        let tally = &mut lock(&self.tally);
        tally.settled.push((batch.id, changed.iter().map(fate).collect()));
        tally.applied.done += changed.iter().filter(|changed| **changed).count() as u64;
        tally.applied.longest_hold = tally.applied.longest_hold.max(held);
        for (dependent, rows) in self.dependents.iter().zip(dependents).filter(|(_, rows)| !rows.is_empty()) {
            tally.applied.dependents.entry(dependent.table.to_string()).or_default().done +=
                rows.len() as u64;
        }
    }

    /// What became of a batch whose connection broke while it was committed.
    async fn learn(&self, batch: &Batch, error: TargetError) -> Result<Vec<RowRef>, ActError> {
        let address = view::address(self.context)?;
        let opened = WriteSession::open(address, self.context.target.limits, self.known.key).await;
        // It stays pending, and is learnt at the next start.
        let Ok(mut actor) = opened else { return Err(error.into()) };
        let revoke = &self.plan.summary.revoke;
        let fates = reconcile::fates(self.known, revoke, &mut actor, batch).await?;
        let Some(fates) = fates else { return Err(error.into()) };
        self.context.store.write(|db| archived::settle(db, batch.id, State::Kept, None, &fates))?;
        lock(&self.tally).applied.done += fates.iter().filter(|fate| **fate == Fate::Archived).count() as u64;
        // The worker's own connection is gone, and with it this run; the rest is gone on with.
        Err(error.into())
    }
}

/// Planned rows with what was read of them, and planned rows that were not there.
type Matched<'a> = (Vec<(&'a RowRef, RowHeader)>, Vec<RowRef>);

impl Work<'_> {
    /// The planned rows among those that were read, and the others.
    fn matched<'a>(
        &self,
        rows: &'a [RowRef],
        whole: &FullRows,
        named: Named,
    ) -> Result<Matched<'a>, ActError> {
        let heads = whole.headers();
        let heads = heads.ok_or(ActError::Unexpected("the database sent rows that cannot be read"))?;
        if self.known.scope().by_version(named) {
            return Ok(by_versions(rows, heads));
        }
        // In the heap that it was planned in, and in no other one.
        let same_heap = self.plan.summary.addressing == Addressing::HeapAndPlace;
        Ok(by_marks(rows, heads, same_heap))
    }
}

/// Rows that are known by their marks. Of rows alike, those that stand where the plan saw them come first.
fn by_marks(rows: &[RowRef], heads: Vec<RowHeader>, same_place_only: bool) -> Matched<'_> {
    let mut wanted: BTreeMap<i64, Vec<&RowRef>> = BTreeMap::new();
    rows.iter().for_each(|row| wanted.entry(row.mark).or_default().push(row));
    let (mut found, mut elsewhere) = (Vec::new(), Vec::new());
    for head in heads {
        let Some(alike) = wanted.get_mut(&head.mark) else { continue };
        match alike.iter().position(|row| row.place == head.place) {
            Some(at) => found.push((alike.swap_remove(at), head)),
            None => elsewhere.push(head),
        }
    }
    if !same_place_only {
        for head in elsewhere {
            if let Some(row) = wanted.get_mut(&head.mark).and_then(Vec::pop) {
                found.push((row, head));
            }
        }
    }
    // What refers to a row goes before it, as the plan has it.
    found.sort_by_key(|(row, _)| std::ptr::from_ref::<RowRef>(row));
    (found, wanted.into_values().flatten().cloned().collect())
}

/// The same, of rows that are known by their places and versions.
fn by_versions(rows: &[RowRef], heads: Vec<RowHeader>) -> Matched<'_> {
    let mut read: BTreeMap<(u64, i64), RowHeader> =
        heads.into_iter().map(|head| ((head.place, head.version), head)).collect();
    let (mut found, mut again) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        match read.remove(&(row.place, row.version)) {
            Some(head) => found.push((row, head)),
            None => again.push(row.clone()),
        }
    }
    (found, again)
}
