//! Tails a log file while this daemon leads its target.

use std::{path::PathBuf, sync::Arc, time::Duration};

use sessionwatch_core::{duration::DAY, log_gaps::LogGap};
use sessionwatch_store::{Store, StoreError};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{IngestSource, RETRY_DELAY};
use crate::{
    app::leadership::target_lease_name,
    blocking,
    config::logs::{LogSourceConfig, LogSourceKind},
    daemon::{DaemonState, tasks::wait_to_retry},
    logs::{
        self,
        log_batch::{self, LogBatch},
        tail::{FileTailer, StartPosition, TailBatch},
    },
};

/// Interval at which a file is polled for growth.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Tails a file whenever this daemon leads the target, until stopped.
pub(super) async fn run_tail(
    state: Arc<DaemonState>,
    source: IngestSource,
    path: PathBuf,
    stop: CancellationToken,
) {
    let lease = target_lease_name(&source.source.target);
    // Waits for the lease: two daemons that tail the same file would store every event twice.
    while let Some(epoch) = stop.run_until_cancelled(state.app.lease_manager.wait_for_lease(&lease)).await {
        let tail = TailTask {
            state: Arc::clone(&state),
            store: state.app.lease_manager.fenced_store(&state.app.store, &lease, epoch),
            epoch,
            source: source.clone(),
            path: path.clone(),
            stop: stop.clone(),
            runtime: Handle::current(),
        };
        let failed = match blocking::run_catching(move || tail.tail_for_one_day()).await {
            Some(Ok(()) | Err(StoreError::LeaseLost)) => continue,
            Some(Err(why)) => why.to_string(),
            None => "the reader panicked".to_owned(),
        };
        tracing::error!(source = source.source.name, "cannot tail {}: {failed}", path.display());
        wait_to_retry(RETRY_DELAY, &stop).await;
    }
}

/// A file that is tailed during one lease epoch.
struct TailTask {
    state: Arc<DaemonState>,
    /// Fenced: writes fail once the lease of `epoch` is lost.
    store: Store,
    epoch: i64,
    source: IngestSource,
    path: PathBuf,
    stop: CancellationToken,
    runtime: Handle,
}

impl TailTask {
    /// Tails the file until an error, the loss of the lease, or the end of a day. Each day starts with new matchers,
    /// since timestamps without a year are completed relative to the start.
    fn tail_for_one_day(&self) -> Result<(), StoreError> {
        let (state, source) = (&self.state, &self.source.source);
        let begun = state.app.clock.now();
        let grammar = self.source.matchers_at(begun);
        let stored = self.store.read(|db| logs::find_source(db, &source.name))?;
        // A new source starts at the end of its file; `logs scan` reads older lines.
        let begin =
            stored.and_then(|stored| stored.position).map_or(StartPosition::AtEnd, StartPosition::Resume);
        let mut follower =
            FileTailer::new(&self.path, &source.name, &grammar, begin).excluding(self.other_log_paths());
        let lease = target_lease_name(&source.target);
        // The last known states, so that a condition is logged when it starts and not twice a second.
        let (mut missing, mut at, mut failing) = (false, None, None);
        loop {
            let stop = self.stop.is_cancelled() || state.app.lease_manager.epoch(&lease) != Some(self.epoch);
            // The stored position lies before an unfinished entry, so a later run reads it from its start.
            if stop || state.app.clock.now().duration_since(begun).abs() > DAY {
                return Ok(());
            }
            // Monotonic, so that a clock change does not disturb the timeouts of the reader.
            let step = match follower.read_batch(std::time::Instant::now()) {
                Ok(step) => step,
                // Files that are open stay open: a removed rotated file is reachable only through its descriptor.
                Err(error) => {
                    let why = Some(crate::logs::tail::describe_read_error(&error));
                    if failing != why {
                        tracing::error!(
                            source = source.name,
                            "cannot read {}: {}; retrying every 5 seconds",
                            self.path.display(),
                            why.as_deref().unwrap_or_default()
                        );
                        failing = why;
                    }
                    self.wait_blocking(RETRY_DELAY);
                    continue;
                }
            };
            if failing.take().is_some() {
                tracing::info!(source = source.name, "{} can be read again", self.path.display());
            }
            for gap in &step.gaps {
                warn_of_gap(source, gap);
            }
            // Not an error: many applications create the file with their first line.
            if step.file_change == Some("missing") && !missing {
                tracing::warn!(source = source.name, "{} does not exist yet", self.path.display());
            }
            missing = step.file_change == Some("missing");
            let more = step.has_more;
            // An idle poll writes nothing, or each file would cost two transactions a second.
            if step.position != at || !step.events.is_empty() || !step.gaps.is_empty() {
                at.clone_from(&step.position);
                // Position and events are stored together, so that a crash neither loses nor repeats lines.
                self.store_batch(step)?;
            }
            if !more {
                self.wait_blocking(POLL_INTERVAL);
            }
        }
    }

    /// Blocks the thread for `time`, or until stopped.
    fn wait_blocking(&self, time: Duration) {
        // This thread belongs to the blocking pool, so it may block on the runtime.
        self.runtime.block_on(wait_to_retry(time, &self.stop));
    }

    /// Returns the files of other sources, which must not be mistaken for rotated files of this one.
    fn other_log_paths(&self) -> Vec<PathBuf> {
        let sources = self.state.ingest.sources();
        let files = sources.iter().filter_map(|other| match &other.source.kind {
            LogSourceKind::File(path) if *path != self.path => Some(path.clone()),
            _ => None,
        });
        files.collect()
    }

    fn store_batch(&self, step: TailBatch) -> Result<(), StoreError> {
        let source = &self.source.source;
        // The counter `truncated` is taken by entries whose end is missing.
        let happened = step.file_change.and_then(|happened| match happened {
            "truncated" => Some("truncations"),
            "rotated" => Some("rotated"),
            _ => None,
        });
        let dropped = happened.map(|happened| (happened, 1));
        let is_gap = !step.gaps.is_empty();
        let batch = LogBatch {
            source: source.name.clone(),
            target: source.target.clone(),
            counters: step.counters,
            events: step.events.into_iter().map(|found| (None, found)).collect(),
            dropped: dropped.into_iter().chain([("lost_bytes", step.lost_bytes)]).collect(),
            position: step.position,
            gaps: step.gaps,
            digest: None,
        };
        let now = self.state.app.clock.now();
        let new = self.store.write(|db| log_batch::record_batch(db, &batch, now))?;
        // A gap is a finding of its own, even without a new event.
        if new > 0 || is_gap {
            self.state.ingest.new_events.send_modify(|count| *count = count.wrapping_add(1));
        }
        Ok(())
    }
}

fn warn_of_gap(source: &LogSourceConfig, gap: &LogGap) {
    let (file, why) = (&gap.file, gap.cause.description());
    match gap.bytes {
        Some(bytes) => tracing::warn!(source = source.name, bytes, "log lines may be missing: {file}: {why}"),
        None => tracing::warn!(source = source.name, "log lines may be missing: {file}: {why}"),
    }
}
