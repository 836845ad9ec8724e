//! Keeping what a source gave: signals, how far it was read, and what was dropped, in one transaction.

use sessionwatch_core::{
    instant::Instant,
    log_gaps::{self, Gap},
};
use sessionwatch_logs::{reader::Counters, signal::Kind};
use sessionwatch_store::{StoreError, db::Db, signals, sources};

use super::{Found, LogSource, find_source, follow::Place};

/// Bytes of the name of a drain's entry that are kept.
const LONGEST: usize = 200;

/// What a source gave at once.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The source.
    pub source: String,
    /// The target that it is about.
    pub target: String,
    /// What was read.
    pub counters: Counters,
    /// Signals, each with the name of the entry that it stands in, where entries have names.
    pub found: Vec<(Option<String>, Found)>,
    /// What was dropped, and why.
    pub dropped: Vec<(&'static str, u64)>,
    /// How far a file was read; `None` if the source is no file.
    pub place: Option<Place>,
    /// Where lines may be missing.
    pub gaps: Vec<Gap>,
    /// What a request is known by that has no name: its bytes. While the disk is full, its sender is told to send it again, and
    /// then it is taken once.
    pub digest: Option<String>,
}

/// Keeps what sources gave: how many signals are new and to be judged.
///
/// # Errors
///
/// If it cannot be written; then nothing of it is kept.
pub fn keep(db: Db<'_>, batch: &Batch, now: Instant) -> Result<u64, StoreError> {
    let known = find_source(db, &batch.source)?;
    let mut source =
        known.unwrap_or_else(|| LogSource { name: batch.source.clone(), ..LogSource::default() });
    source.target.clone_from(&batch.target);
    source.place = batch.place.clone().or(source.place);
    if batch.counters.lines > 0 {
        source.heard_at = Some(now);
        source.rhythm.heard(now, batch.counters.lines);
    }
    let (mut new, mut repeated, mut before) = (0, 0, None);
    let is_repeated = was_refused(db, batch, now)?;
    for (entry, found) in &batch.found {
        if is_repeated {
            repeated += 1;
            continue;
        }
        if let Some(entry) = entry {
            let entry = crate::notify::bounded_key(entry, LONGEST);
            // An entry may hold several signals, one after the other.
            let is_new = match &before {
                Some((name, is_new)) if *name == entry => *is_new,
                _ => signals::is_new(db, &batch.source, &entry, now)?,
            };
            before = Some((entry, is_new));
            if !is_new {
                repeated += 1;
                continue;
            }
        }
        // That sessions are used is counted, and no more.
        if found.signal.kind != Kind::Refreshed {
            signals::put(db, &found.to_keep(&batch.target, now))?;
            new += 1;
        }
        source.count(&format!("signals/{}", found.name()), 1);
    }
    let Counters { lines, bytes, hits, meaningless, truncated, not_utf8, overlong } = batch.counters;
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
        source.count(what, more);
    }
    source.count("gaps", batch.gaps.len() as u64);
    log_gaps::add(&mut source.gaps, &batch.gaps, now);
    sources::put(db, &source)?;
    Ok(new)
}

/// Returns `true` if a request without a name was taken already while the disk was full, so that its sender was told to send it
/// again. Where the disk is full now, it is noted.
fn was_refused(db: Db<'_>, batch: &Batch, now: Instant) -> Result<bool, StoreError> {
    let Some(digest) = batch.digest.as_deref().filter(|_| !batch.found.is_empty()) else { return Ok(false) };
    if db.is_in_memory() {
        Ok(!signals::is_new(db, &batch.source, digest, now)?)
    } else {
        signals::forget_entry(db, &batch.source, digest)
    }
}
