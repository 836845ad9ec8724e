//! Control of a running plan from outside: stop, pause and progress.

use std::sync::atomic::{AtomicBool, AtomicU64};

use tokio_util::sync::CancellationToken;

/// Stop and pause signals of a run, and its progress.
#[derive(Debug, Default)]
pub struct JobControl {
    /// Cancelled to stop the run after the current batch.
    pub stop: CancellationToken,
    /// Set to pause the run after the current batch.
    pub paused: AtomicBool,
    /// Rows processed so far.
    pub done: AtomicU64,
    /// Set while the run waits for a lagging replica.
    pub is_waiting_for_replica: AtomicBool,
}

impl JobControl {
    /// Creates a control that stops the run once `token` is cancelled.
    #[must_use]
    pub fn stopped_by(token: &CancellationToken) -> Self {
        Self { stop: token.child_token(), ..Self::default() }
    }
}
