//! One batch: read whole, sealed, durable in the store, and then removed or changed.

use std::{collections::BTreeMap, time::Duration, time::Instant as Monotonic};

use sessionwatch_rules::planned::Planned;

use super::{ActError, Work, lock, settle};
use crate::{
    actions::{reconcile, view},
    archive::whole::{Head, Whole},
    store::archived::{self, Batch, Fate, State},
    target::{acting::Actor, error::TargetError, sql::Named},
};

impl Work<'_> {
    /// Deals with some rows: those that have to be looked for once more. With `locked`, rows that somebody holds are passed
    /// over; without, the whole batch is given up if there is one.
    pub(super) async fn batch(
        &self,
        actor: &mut Actor,
        rows: &[Planned],
        (named, locked): (Named, bool),
    ) -> Result<Vec<Planned>, ActError> {
        // What was locked in vain is listed one by one; otherwise that is rarely needed, and costs time.
        let mut done = self.transaction(actor, rows, (named, locked), locked).await;
        if let Ok(None) = done {
            done = self.transaction(actor, rows, (named, locked), true).await;
        }
        match done {
            Ok(again) => Ok(again.unwrap_or_else(|| rows.to_vec())),
            Err(error) => {
                actor.rollback().await;
                match error {
                    // Somebody holds one of the rows, or the table: they are passed over later.
                    ActError::Target(TargetError::Locked) => {
                        lock(&self.pace).was_blocked();
                        Ok(rows.to_vec())
                    }
                    ActError::Target(TargetError::Permission) => {
                        let lacking = actor.lacks(&self.known.sql(), self.change()).await.unwrap_or_default();
                        Err(ActError::Lacks(lacking))
                    }
                    ActError::Store(crate::store::StoreError::Full) => Err(ActError::NoRoom),
                    error => Err(error),
                }
            }
        }
    }

    /// One transaction: what has to be looked for once more; nothing if some rows were changed meanwhile, and it was not asked
    /// which.
    async fn transaction(
        &self,
        actor: &mut Actor,
        rows: &[Planned],
        (named, locked): (Named, bool),
        detailed: bool,
    ) -> Result<Option<Vec<Planned>>, ActError> {
        let sql = self.known.sql();
        let txid = actor.begin().await?;
        let held = Monotonic::now();
        let wanted: Vec<&Planned> = rows.iter().collect();
        let whole = actor.whole(&sql.whole(&self.columns, (named, &wanted), locked)).await?;
        let (found, again) = matched(rows, &whole, sql.by_version(named))?;
        if found.is_empty() {
            actor.rollback().await;
            return Ok(Some(again));
        }
        let read: Vec<(u64, i64)> = found.iter().map(|(_, head)| (head.place, head.version)).collect();
        let (rows, heads): (Vec<Planned>, Vec<Head>) =
            found.into_iter().map(|(row, head)| (row.clone(), head)).unzip();
        let batch = self.keep(txid, rows, (whole, heads)).await?;
        let holding = if locked { held } else { Monotonic::now() };
        let changed =
            actor.change((&sql, &self.columns), (self.change(), self.orphans()), &read, detailed).await;
        let changed = match changed {
            Ok(Some(changed)) => changed,
            Ok(None) => {
                actor.rollback().await;
                self.forget(&batch)?;
                return Ok(None);
            }
            Err(error) => {
                actor.rollback().await;
                self.forget(&batch)?;
                return Err(error.into());
            }
        };
        if let Err(error) = actor.commit().await {
            // Whether the rows are gone is not known: that is learnt over another connection.
            return self.learn(&batch, error).await.map(Some);
        }
        self.settled(&batch, &changed, holding.elapsed());
        let left = batch.rows.into_iter().zip(changed).filter(|(_, changed)| !changed).map(|(row, _)| row);
        Ok(Some(again.into_iter().chain(left).collect()))
    }

    /// Seals rows and makes them durable, and with them what has become of the batches before. On a thread of its own, so that
    /// the other connection can go on meanwhile.
    async fn keep(
        &self,
        txid: Option<i64>,
        rows: Vec<Planned>,
        (whole, heads): (Whole, Vec<Head>),
    ) -> Result<Batch, ActError> {
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
            let heads: Vec<&Head> = heads.iter().collect();
            let sealed = recipient.seal_rows(&about, &whole, &heads);
            drop(whole);
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
                    (Ok(batch), vec![])
                }
                Err(error) => (Err(error), settled),
            }
        });
        let kept =
            keeping.await.map_err(|_| ActError::Unexpected("a thread that sealed rows ended in a panic"));
        let (batch, unsettled) = kept?;
        lock(&self.tally).settled.extend(unsettled);
        batch
    }

    /// Drops a batch of which no row has left the table.
    fn forget(&self, batch: &Batch) -> Result<(), ActError> {
        let fates = vec![Fate::Stayed; batch.rows.len()];
        self.context.store.write(|db| archived::settle(db, batch.id, (State::Kept, None), &fates))?;
        Ok(())
    }

    fn settled(&self, batch: &Batch, changed: &[bool], held: Duration) {
        let held_us = i64::try_from(held.as_micros()).unwrap_or(i64::MAX);
        lock(&self.pace).took(changed.len(), held_us);
        let fate = |changed: &bool| if *changed { Fate::Archived } else { Fate::Stayed };
        let tally = &mut lock(&self.tally);
        tally.settled.push((batch.id, changed.iter().map(fate).collect()));
        tally.applied.done += changed.iter().filter(|changed| **changed).count() as u64;
        tally.applied.longest_hold = tally.applied.longest_hold.max(held);
    }

    /// What became of a batch whose connection broke while it was committed.
    async fn learn(&self, batch: &Batch, error: TargetError) -> Result<Vec<Planned>, ActError> {
        let address = view::address(self.context)?;
        let opened = Actor::open(address, self.context.target.limits, self.known.key()).await;
        // It stays pending, and is learnt at the next start.
        let Ok(mut actor) = opened else { return Err(error.into()) };
        let known = (self.known, &self.plan.summary.revoke);
        let fates = reconcile::fates(known, &mut actor, batch).await?;
        let Some(fates) = fates else { return Err(error.into()) };
        self.context.store.write(|db| archived::settle(db, batch.id, (State::Kept, None), &fates))?;
        lock(&self.tally).applied.done += fates.iter().filter(|fate| **fate == Fate::Archived).count() as u64;
        // The worker's own connection is gone, and with it this run; the rest is gone on with.
        Err(error.into())
    }
}

/// Planned rows with what was read of them, and planned rows that were not there.
type Matched<'a> = (Vec<(&'a Planned, Head)>, Vec<Planned>);

/// The planned rows among those that were read, and the others.
fn matched<'a>(rows: &'a [Planned], whole: &Whole, by_version: bool) -> Result<Matched<'a>, ActError> {
    let heads = whole.heads().ok_or(ActError::Unexpected("the database sent rows that cannot be read"))?;
    if by_version {
        return Ok(by_versions(rows, heads));
    }
    let mut wanted: BTreeMap<i64, Vec<&Planned>> = BTreeMap::new();
    // Rows alike in every respect are told apart by their places, or else are as good as each other.
    rows.iter().for_each(|row| wanted.entry(row.mark).or_default().push(row));
    let mut found = Vec::new();
    for head in heads {
        let Some(alike) = wanted.get_mut(&head.mark) else { continue };
        let at = alike.iter().position(|row| row.place == head.place).unwrap_or(0);
        if at < alike.len() {
            found.push((alike.swap_remove(at), head));
        }
    }
    let again = wanted.into_values().flatten().cloned().collect();
    Ok((found, again))
}

/// The same, of rows that are known by their places and versions.
fn by_versions(rows: &[Planned], heads: Vec<Head>) -> Matched<'_> {
    let mut read: BTreeMap<(u64, i64), Head> =
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
