//! A log file that is followed while this daemon leads its target.

use std::{path::PathBuf, sync::Arc, time::Duration};

use sessionwatch_core::{duration::DAY, log_gaps::Gap};
use sessionwatch_store::{Store, StoreError};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{LogSource, RETRY_DELAY};
use crate::{
    app::leadership::lease,
    blocking,
    config::logs::{Kind, Source},
    daemon::{DaemonState, tasks::wait_to_retry},
    logs::{
        self,
        follow::{Begin, Follower, Step},
        intake::{self, Batch},
    },
};

/// How often a file is asked whether it grew.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Follows a file while this daemon leads the target.
pub(super) async fn run(state: Arc<DaemonState>, source: LogSource, path: PathBuf, stop: CancellationToken) {
    let lease = lease(&source.source.target);
    while let Some(term) = stop.run_until_cancelled(state.app.leadership.lead(&lease)).await {
        let tail = Tail {
            state: Arc::clone(&state),
            store: state.app.leadership.fenced(&state.app.store, &lease, term),
            term,
            source: source.clone(),
            path: path.clone(),
            stop: stop.clone(),
            runtime: Handle::current(),
        };
        let failed = match blocking::run_caught(move || tail.follow_for_a_day()).await {
            Some(Ok(()) | Err(StoreError::Fenced)) => continue,
            Some(Err(why)) => why.to_string(),
            None => "reading ended in a panic".to_owned(),
        };
        tracing::error!("a log cannot be read: {failed}");
        wait_to_retry(RETRY_DELAY, &stop).await;
    }
}

/// A file that is followed under one term.
struct Tail {
    state: Arc<DaemonState>,
    /// The store, for what is written under this term.
    store: Store,
    term: i64,
    source: LogSource,
    path: PathBuf,
    stop: CancellationToken,
    runtime: Handle,
}

impl Tail {
    /// Follows the file until something fails, the lead is lost, or a day has passed: then the year may be another one.
    fn follow_for_a_day(&self) -> Result<(), StoreError> {
        let (state, source) = (&self.state, &self.source.source);
        let begun = state.app.clock.now();
        let grammar = self.source.grammar_at(begun);
        let kept = self.store.read(|db| logs::find_source(db, &source.name))?;
        // What was logged before anybody watched is what `logs scan` is for.
        let begin = kept.and_then(|kept| kept.place).map_or(Begin::AtEnd, Begin::At);
        let mut follower =
            Follower::new(&self.path, &source.name, &grammar, begin).sparing(self.other_logs());
        let lease = lease(&source.target);
        let (mut missing, mut at, mut failing) = (false, None, None);
        loop {
            let stop = self.stop.is_cancelled() || state.app.leadership.term(&lease) != Some(self.term);
            // An entry that is open is read again from its beginning by whoever goes on.
            if stop || state.app.clock.now().duration_since(begun).abs() > DAY {
                return Ok(());
            }
            let step = match follower.step(std::time::Instant::now()) {
                Ok(step) => step,
                // What is open stays open: of a rotated file, it may be the only way to the rest.
                Err(error) => {
                    let why = Some(crate::logs::follow::cause(&error));
                    if failing != why {
                        tracing::error!(
                            source = source.name,
                            "cannot read {}: {}; this is tried again every 5 seconds",
                            self.path.display(),
                            why.as_deref().unwrap_or_default()
                        );
                        failing = why;
                    }
                    self.wait(RETRY_DELAY);
                    continue;
                }
            };
            if failing.take().is_some() {
                tracing::info!(source = source.name, "{} can be read again", self.path.display());
            }
            for gap in &step.gaps {
                warn(source, gap);
            }
            if step.happened == Some("missing") && !missing {
                tracing::warn!(source = source.name, "{} is not there yet", self.path.display());
            }
            missing = step.happened == Some("missing");
            let more = step.more;
            if step.place != at || !step.found.is_empty() || !step.gaps.is_empty() {
                at.clone_from(&step.place);
                self.keep(step)?;
            }
            if !more {
                self.wait(POLL_INTERVAL);
            }
        }
    }

    /// Waits for some time, or until this is to stop. It blocks.
    fn wait(&self, time: Duration) {
        self.runtime.block_on(wait_to_retry(time, &self.stop));
    }

    /// The files of the other sources.
    fn other_logs(&self) -> Vec<PathBuf> {
        let sources = self.state.intake.sources();
        let files = sources.iter().filter_map(|other| match &other.source.kind {
            Kind::File(path) if *path != self.path => Some(path.clone()),
            _ => None,
        });
        files.collect()
    }

    /// Keeps what a step gave.
    fn keep(&self, step: Step) -> Result<(), StoreError> {
        let source = &self.source.source;
        // Entries whose end is missing are counted as `truncated`.
        let happened = step.happened.and_then(|happened| match happened {
            "truncated" => Some("truncations"),
            "rotated" => Some("rotated"),
            _ => None,
        });
        let dropped = happened.map(|happened| (happened, 1));
        let is_gap = !step.gaps.is_empty();
        let batch = Batch {
            source: source.name.clone(),
            target: source.target.clone(),
            counters: step.counters,
            found: step.found.into_iter().map(|found| (None, found)).collect(),
            dropped: dropped.into_iter().chain([("lost_bytes", step.lost_bytes)]).collect(),
            place: step.place,
            gaps: step.gaps,
            digest: None,
        };
        let now = self.state.app.clock.now();
        let new = self.store.write(|db| intake::keep(db, &batch, now))?;
        if new > 0 || is_gap {
            self.state.intake.news.send_modify(|count| *count = count.wrapping_add(1));
        }
        Ok(())
    }
}

/// Says that lines may be missing.
fn warn(source: &Source, gap: &Gap) {
    let (file, why) = (&gap.file, gap.cause.words());
    match gap.bytes {
        Some(bytes) => tracing::warn!(source = source.name, bytes, "log lines may be missing: {file}: {why}"),
        None => tracing::warn!(source = source.name, "log lines may be missing: {file}: {why}"),
    }
}
