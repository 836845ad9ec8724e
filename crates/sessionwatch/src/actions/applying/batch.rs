//! One batch: read whole, sealed, durable in the store, and then removed or changed.

use std::{collections::BTreeMap, time::Duration, time::Instant as Monotonic};

use sessionwatch_rules::planned::Planned;

use super::{ActError, Work, lock, settle};
use crate::{
    actions::reconcile,
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
        let done = self.transaction(actor, rows, (named, locked)).await;
        match done {
            Ok(again) => Ok(again),
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

    async fn transaction(
        &self,
        actor: &mut Actor,
        rows: &[Planned],
        (named, locked): (Named, bool),
    ) -> Result<Vec<Planned>, ActError> {
        let sql = self.known.sql();
        let txid = actor.begin().await?;
        let held = Monotonic::now();
        let wanted: Vec<&Planned> = rows.iter().collect();
        let whole = actor.whole(&sql.whole(&self.columns, (named, &wanted), locked)).await?;
        let (found, again) = matched(rows, &whole)?;
        if found.is_empty() {
            actor.rollback().await;
            return Ok(again);
        }
        let heads: Vec<&Head> = found.iter().map(|(_, head)| head).collect();
        let sealed = self.recipient.seal_rows(&self.about, &whole, &heads)?;
        drop(whole);
        let now = self.context.clock.now();
        let mut batch = Batch {
            id: 0,
            plan: self.plan.kept.id.clone(),
            target: self.plan.kept.target.clone(),
            state: State::Pending,
            txid,
            at: now,
            purge_at: self.purge_at,
            recipient: self.recipient.to_string(),
            rows: found.iter().map(|(row, _)| (*row).clone()).collect(),
            fates: vec![Fate::Archived; found.len()],
        };
        batch.id = self.keep(&batch, &sealed)?;
        let holding = if locked { held } else { Monotonic::now() };
        let read: Vec<(u64, i64)> = found.iter().map(|(_, head)| (head.place, head.version)).collect();
        let changed = actor.change((&sql, &self.columns), (self.change(), self.orphans()), &read).await;
        let changed = match changed {
            Ok(changed) => changed,
            Err(error) => {
                actor.rollback().await;
                self.forget(&batch)?;
                return Err(error.into());
            }
        };
        if let Err(error) = actor.commit().await {
            // Whether the rows are gone is not known: that is learnt over another connection.
            return self.learn(&batch, again, error).await;
        }
        self.settled(&batch, &changed, holding.elapsed());
        let left = batch.rows.into_iter().zip(changed).filter(|(_, changed)| !changed).map(|(row, _)| row);
        Ok(again.into_iter().chain(left).collect())
    }

    /// Makes the batch durable, and with it what has become of those before.
    fn keep(&self, batch: &Batch, sealed: &[u8]) -> Result<i64, ActError> {
        let settled = std::mem::take(&mut lock(&self.tally).settled);
        let kept = self.context.store.write(|db| {
            settle(db, &settled)?;
            archived::add(db, batch, sealed)
        });
        if kept.is_err() {
            lock(&self.tally).settled.extend(settled);
        }
        // In memory only, it would be gone with this program.
        if self.context.store.is_sheltered() {
            return Err(ActError::NoRoom);
        }
        Ok(kept?)
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
    async fn learn(
        &self,
        batch: &Batch,
        again: Vec<Planned>,
        error: TargetError,
    ) -> Result<Vec<Planned>, ActError> {
        let address = super::address(self.context)?;
        let opened = Actor::open(address, self.context.target.limits, self.known.key()).await;
        // It stays pending, and is learnt at the next start.
        let Ok(mut actor) = opened else { return Err(error.into()) };
        let known = (self.known, &self.plan.summary.revoke);
        let fates = reconcile::fates(known, &mut actor, batch).await?;
        let Some(fates) = fates else { return Err(error.into()) };
        self.context.store.write(|db| archived::settle(db, batch.id, (State::Kept, None), &fates))?;
        lock(&self.tally).applied.done += fates.iter().filter(|fate| **fate == Fate::Archived).count() as u64;
        // The worker's own connection is gone, and with it this run; the rest is gone on with.
        drop(again);
        Err(error.into())
    }
}

/// Planned rows with what was read of them, and planned rows that were not there.
type Matched<'a> = (Vec<(&'a Planned, Head)>, Vec<Planned>);

/// The planned rows among those that were read, and the others.
fn matched<'a>(rows: &'a [Planned], whole: &Whole) -> Result<Matched<'a>, ActError> {
    let heads = whole.heads().ok_or(ActError::Unexpected("the database sent rows that cannot be read"))?;
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
