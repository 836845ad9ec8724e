//! Keeping what a source gave: signals, how far it was read, and what was dropped, in one transaction.

use sessionwatch_core::{
    log_gaps::{self, LogGap},
    timestamp::UtcTimestamp,
};
use sessionwatch_logs::{log_event::LogEventKind, reader::ReadCounters};
use sessionwatch_store::{StoreError, log_events, log_sources, transaction::Tx};

use super::{LocatedLogEvent, LogSourceRecord, find_source, tail::LogPosition};

/// Bytes of the name of a drain's entry that are kept.
const MAX_ENTRY_KEY_LEN: usize = 200;

/// What a source gave at once.
#[derive(Clone, Debug, Default)]
pub struct LogBatch {
    /// The source.
    pub source: String,
    /// The target that it is about.
    pub target: String,
    /// What was read.
    pub counters: ReadCounters,
    /// Signals, each with the name of the entry that it stands in, where entries have names.
    pub events: Vec<(Option<String>, LocatedLogEvent)>,
    /// What was dropped, and why.
    pub dropped: Vec<(&'static str, u64)>,
    /// How far a file was read; `None` if the source is no file.
    pub position: Option<LogPosition>,
    /// Where lines may be missing.
    pub gaps: Vec<LogGap>,
    /// What a request is known by that has no name: its bytes. While the disk is full, its sender is told to send it again, and
    /// then it is taken once.
    pub digest: Option<String>,
}

/// Keeps what sources gave: how many signals are new and to be judged.
///
/// # Errors
///
/// If it cannot be written; then nothing of it is kept.
pub fn record_batch(db: Tx<'_>, batch: &LogBatch, now: UtcTimestamp) -> Result<u64, StoreError> {
    let known = find_source(db, &batch.source)?;
    let mut source =
        known.unwrap_or_else(|| LogSourceRecord { name: batch.source.clone(), ..LogSourceRecord::default() });
    source.target.clone_from(&batch.target);
    source.position = batch.position.clone().or(source.position);
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
            let entry = crate::notify::bounded_key(entry, MAX_ENTRY_KEY_LEN);
            // An entry may hold several signals, one after the other.
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
        // That sessions are used is counted, and no more.
        if found.event.kind != LogEventKind::Refreshed {
            log_events::insert_log_event(db, &found.to_new_log_event(&batch.target, now))?;
            new += 1;
        }
        source.increment_counter(&format!("log_events/{}", found.name()), 1);
    }
    let ReadCounters { lines, bytes, hits, unrecognized: meaningless, truncated, not_utf8, overlong } =
        batch.counters;
    let read = [
        ("lines", lines),
        ("bytes", bytes),
        ("hits", hits),
        ("meaningless", meaningless),
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

/// Returns `true` if a request without a name was taken already while the disk was full, so that its sender was told to send it
/// again. Where the disk is full now, it is noted.
fn check_repeated_request(db: Tx<'_>, batch: &LogBatch, now: UtcTimestamp) -> Result<bool, StoreError> {
    let Some(digest) = batch.digest.as_deref().filter(|_| !batch.events.is_empty()) else { return Ok(false) };
    if db.is_in_memory() {
        Ok(!log_events::insert_drain_entry(db, &batch.source, digest, now)?)
    } else {
        log_events::delete_drain_entry(db, &batch.source, digest)
    }
}
