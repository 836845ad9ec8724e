//! Retries rows that moved since the plan or were locked: looks them up by id, and waits briefly for locks.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use sessionwatch_clock as clock;
use sessionwatch_core::row_ref::RowRef;
use sessionwatch_targets::{sql::LocateBy, write_session::WriteSession};

use super::{ActionError, ApplyRun, LOCK_RETRY_DELAY, SkipReason, lock_mutex};

/// Attempts for a locked row.
const MAX_RETRY_ROUNDS: usize = 5;
/// Rows per lookup by id.
const ROWS_PER_ID_LOOKUP: usize = 200;
/// Rows per lookup by row hash, each of which reads the whole table.
pub(super) const ROWS_PER_HASH_LOOKUP: usize = 5_000;

impl ApplyRun<'_> {
    /// Retries the rows that the first pass left.
    pub(super) async fn retry_leftovers(&self, session: &mut WriteSession) -> Result<(), ActionError> {
        let mut rows = std::mem::take(&mut lock_mutex(&self.queue).retry_rows);
        let named = self.fallback_lookup();
        let size = if named == LocateBy::Id { ROWS_PER_ID_LOOKUP } else { ROWS_PER_HASH_LOOKUP };
        for round in 0..MAX_RETRY_ROUNDS {
            let mut left = Vec::new();
            for batch in rows.chunks(size) {
                if self.control.stop.is_cancelled() {
                    return Ok(());
                }
                let again = self.split_and_retry(session, batch, named).await?;
                self.control.done.fetch_add((batch.len() - again.len()) as u64, Ordering::Relaxed);
                left.extend(again);
            }
            rows = self.classify_leftovers(session, named, size, left).await?;
            if rows.is_empty() {
                return Ok(());
            }
            if round + 1 < MAX_RETRY_ROUNDS {
                clock::sleep(LOCK_RETRY_DELAY).await;
            }
        }
        rows.iter().for_each(|row| self.skip_row(row, self.skip_reason(row)));
        Ok(())
    }

    /// Processes rows of which one may block the others, and isolates it by halving.
    async fn split_and_retry(
        &self,
        session: &mut WriteSession,
        rows: &[RowRef],
        named: LocateBy,
    ) -> Result<Vec<RowRef>, ActionError> {
        let (mut left, mut parts) = (Vec::new(), vec![rows]);
        while let Some(part) = parts.pop() {
            let again = self.process_batch(session, part, named, true).await?;
            if again.needs_split && part.len() > 1 {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            } else {
                left.extend(again.rows);
            }
        }
        Ok(left)
    }

    /// Skips rows that changed or disappeared, each with the reason. Returns the rows that may still be locked.
    async fn classify_leftovers(
        &self,
        session: &mut WriteSession,
        named: LocateBy,
        size: usize,
        rows: Vec<RowRef>,
    ) -> Result<Vec<RowRef>, ActionError> {
        let mut waiting = Vec::new();
        for batch in rows.chunks(size) {
            let wanted: Vec<&RowRef> = batch.iter().collect();
            let present = session.find_present_rows(&self.target.scope(), named, &wanted).await?;
            let mut ids = BTreeMap::new();
            let mut hashes = BTreeMap::<i64, usize>::new();
            for row in present {
                *hashes.entry(row.row_hash).or_default() += 1;
                ids.extend(row.id.map(|id| (id, row.row_hash)));
            }
            for row in batch {
                let same = hashes.get(&row.row_hash).is_some_and(|count| *count > 0);
                let there = row.id.as_ref().is_some_and(|id| ids.contains_key(id));
                match (same, there) {
                    // An unchanged row that was not deleted is no orphan any more: its user exists again.
                    (true, _) if self.rechecks_orphans() => self.skip_row(row, SkipReason::Changed),
                    (true, _) => waiting.push(row.clone()),
                    (false, true) => self.skip_row(row, SkipReason::Changed),
                    // A row hash says nothing about a row that has changed.
                    (false, false) if row.id.is_none() => self.skip_row(row, SkipReason::ChangedOrGone),
                    (false, false) => self.skip_row(row, SkipReason::Gone),
                }
            }
        }
        Ok(waiting)
    }
}
