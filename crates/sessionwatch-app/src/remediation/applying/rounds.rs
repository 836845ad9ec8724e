//! Rows that were not where the plan saw them, or that somebody held: they are looked for by their ids, and waited for a
//! little.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use sessionwatch_clock as clock;
use sessionwatch_core::row_ref::RowRef;
use sessionwatch_targets::{sql::Named, write_session::WriteSession};

use super::{ActError, PATIENCE, Why, Work, lock};

/// How often a row that somebody holds is tried.
const ROUNDS: usize = 5;
/// Rows of a batch that are looked for by their ids.
const BY_ID: usize = 200;
/// The same by their marks, each time over the whole table.
pub(super) const BY_MARK: usize = 5_000;

impl Work<'_> {
    /// Tries once more what the sweep left.
    pub(super) async fn rounds(&self, actor: &mut WriteSession) -> Result<(), ActError> {
        let mut rows = std::mem::take(&mut lock(&self.queue).again);
        let named = self.named_again();
        let size = if named == Named::Id { BY_ID } else { BY_MARK };
        for round in 0..ROUNDS {
            let mut left = Vec::new();
            for batch in rows.chunks(size) {
                if self.control.stop.is_cancelled() {
                    return Ok(());
                }
                let again = self.take_apart(actor, batch, named).await?;
                self.control.done.fetch_add((batch.len() - again.len()) as u64, Ordering::Relaxed);
                left.extend(again);
            }
            rows = self.judge(actor, named, size, left).await?;
            if rows.is_empty() {
                return Ok(());
            }
            if round + 1 < ROUNDS {
                clock::sleep(PATIENCE).await;
            }
        }
        rows.iter().for_each(|row| self.skip(row, self.obstacle(row)));
        Ok(())
    }

    /// Deals with rows of which one may keep all of them: it is found by halves.
    async fn take_apart(
        &self,
        actor: &mut WriteSession,
        rows: &[RowRef],
        named: Named,
    ) -> Result<Vec<RowRef>, ActError> {
        let (mut left, mut parts) = (Vec::new(), vec![rows]);
        while let Some(part) = parts.pop() {
            let again = self.batch(actor, part, named, true).await?;
            if again.taken_apart && part.len() > 1 {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            } else {
                left.extend(again.rows);
            }
        }
        Ok(left)
    }

    /// Says of each row why it was left, but for those that may be free later.
    async fn judge(
        &self,
        actor: &mut WriteSession,
        named: Named,
        size: usize,
        rows: Vec<RowRef>,
    ) -> Result<Vec<RowRef>, ActError> {
        let mut waiting = Vec::new();
        for batch in rows.chunks(size) {
            let wanted: Vec<&RowRef> = batch.iter().collect();
            let present = actor.present_rows(&self.known.scope(), named, &wanted).await?;
            let mut ids = BTreeMap::new();
            let mut marks = BTreeMap::<i64, usize>::new();
            for row in present {
                *marks.entry(row.mark).or_default() += 1;
                ids.extend(row.id.map(|id| (id, row.mark)));
            }
            for row in batch {
                let same = marks.get(&row.mark).is_some_and(|count| *count > 0);
                let there = row.id.as_ref().is_some_and(|id| ids.contains_key(id));
                match (same, there) {
                    // With a user again, an orphan is none.
                    (true, _) if self.orphans() => self.skip(row, Why::Changed),
                    (true, _) => waiting.push(row.clone()),
                    (false, true) => self.skip(row, Why::Changed),
                    (false, false) => self.skip(row, Why::Gone),
                }
            }
        }
        Ok(waiting)
    }
}
