//! How carrying out a plan is steered from outside.

use std::sync::atomic::{AtomicBool, AtomicU64};

use tokio_util::sync::CancellationToken;

/// How a run is steered from outside, and how far it is.
#[derive(Debug, Default)]
pub struct JobControl {
    /// Cancelled when it is to end after the present batches.
    pub stop: CancellationToken,
    /// It is to wait after the present batches.
    pub paused: AtomicBool,
    /// Rows that were dealt with.
    pub done: AtomicU64,
    /// It waits for a replica.
    pub is_waiting_for_replica: AtomicBool,
}

impl JobControl {
    /// A run that ends after its present batches once a token says so.
    #[must_use]
    pub fn stopped_by(token: &CancellationToken) -> Self {
        Self { stop: token.child_token(), ..Self::default() }
    }
}
