//! Stores a batch from a log source in one transaction: events, read position, counters and gaps.

use sessionwatch_core::{
    log_gaps::{self, LogGap},
    timestamp::UtcTimestamp,
};
use sessionwatch_logs::{line_reader::ReadCounters, log_event::LogEventKind};
use sessionwatch_store::{StoreError, log_events, log_sources, transaction::Tx};

use super::{LocatedLogEvent, LogSourceRecord, find_source, tail::LogPosition};

/// The maximum length of a stored entry ID.
const MAX_ENTRY_KEY_LEN: usize = 200;

/// A batch of data read from a log source.
#[derive(Clone, Debug, Default)]
pub struct LogBatch {
    /// Name of the source.
    pub source: String,
    /// Name of the target whose sessions the log is about.
    pub target: String,
    /// Counters of what was read.
    pub counters: ReadCounters,
    /// Events, each with the ID of its entry, if entries have IDs.
    pub events: Vec<(Option<String>, LocatedLogEvent)>,
    /// Reasons of dropped data, with counts.
    pub dropped: Vec<(&'static str, u64)>,
    /// Read position in a file; `None` for other sources.
    pub position: Option<LogPosition>,
    /// Gaps in which lines may be missing.
    pub gaps: Vec<LogGap>,
    /// Digest of a request without an idempotency key. It deduplicates a request that is resent because the disk was
    /// full.
    pub digest: Option<String>,
}

/// Stores a batch. Returns the number of new events to evaluate.
///
/// # Errors
///
/// If the store cannot be written; the caller's transaction must be rolled back then.
pub fn record_batch(db: Tx<'_>, batch: &LogBatch, now: UtcTimestamp) -> Result<u64, StoreError> {
    let known = find_source(db, &batch.source)?;
    let mut source =
        known.unwrap_or_else(|| LogSourceRecord { name: batch.source.clone(), ..LogSourceRecord::default() });
    source.target.clone_from(&batch.target);
    // A batch without a position, such as one from a drain, must not reset the position of a file.
    source.position = batch.position.clone().or(source.position);
    // Only lines count as activity: a batch without any could keep a dead source alive.
    if batch.counters.lines > 0 {
        source.last_line_at = Some(now);
        source.activity.record_lines(now, batch.counters.lines);
    }
    let (mut new, mut repeated, mut before) = (0, 0, None);
    let is_repeated = check_repeated_request(db, batch, now)?;
    for (entry, found) in &batch.events {
        if is_repeated {
            repeated += 1;
            continue;
        }
        if let Some(entry) = entry {
            // Ids come from the sender, and the column is part of an index.
            let entry = crate::notify::bounded_key(entry, MAX_ENTRY_KEY_LEN);
            // Consecutive events may belong to one entry, which is new or repeated as a whole.
            let is_new = match &before {
                Some((name, is_new)) if *name == entry => *is_new,
                _ => log_events::insert_drain_entry(db, &batch.source, &entry, now)?,
            };
            before = Some((entry, is_new));
            if !is_new {
                repeated += 1;
                continue;
            }
        }
        // Refreshed sessions are too frequent to store, so they are only counted.
        if found.event.kind != LogEventKind::Refreshed {
            log_events::insert_log_event(db, &found.to_new_log_event(&batch.target, now))?;
            new += 1;
        }
        source.increment_counter(&format!("log_events/{}", found.name()), 1);
    }
    let ReadCounters { lines, bytes, hits, unrecognized, truncated, not_utf8, overlong } = batch.counters;
    let read = [
        ("lines", lines),
        ("bytes", bytes),
        ("hits", hits),
        ("meaningless", unrecognized),
        ("truncated", truncated),
        ("not_utf8", not_utf8),
        ("overlong", overlong),
        ("repeated", repeated),
    ];
    for (what, more) in read.into_iter().chain(batch.dropped.iter().copied()) {
        source.increment_counter(what, more);
    }
    source.increment_counter("gaps", batch.gaps.len() as u64);
    log_gaps::append_gaps(&mut source.gaps, &batch.gaps, now);
    log_sources::upsert_log_source(db, &source)?;
    Ok(new)
}

/// Returns `true` if a request without idempotency key is a repetition. A sender is asked to resend a request that was
/// stored in memory only because the disk was full: its digest is remembered then, and forgotten with the repetition.
fn check_repeated_request(db: Tx<'_>, batch: &LogBatch, now: UtcTimestamp) -> Result<bool, StoreError> {
    // Without events, nothing could be stored twice.
    let Some(digest) = batch.digest.as_deref().filter(|_| !batch.events.is_empty()) else { return Ok(false) };
    if db.is_in_memory() {
        Ok(!log_events::insert_drain_entry(db, &batch.source, digest, now)?)
    } else {
        log_events::delete_drain_entry(db, &batch.source, digest)
    }
}

#[cfg(test)]
mod tests;
