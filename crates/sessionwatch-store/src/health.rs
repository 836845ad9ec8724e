//! Whether the store of a daemon can be read: reads that fail are logged, and remembered for a while.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::StoreError;

/// How long a failed read counts, and how long it is not logged again.
const FAILURE_WINDOW: Duration = Duration::from_secs(60);

/// Reads that failed lately.
#[derive(Debug, Default)]
pub(super) struct ReadHealth {
    /// A daemon works on the store: commands say themselves what fails.
    is_tracking: AtomicBool,
    /// When each failure was last seen, by its message.
    failures: Mutex<BTreeMap<String, Instant>>,
}

impl ReadHealth {
    pub(super) fn start_tracking(&self) {
        self.is_tracking.store(true, Ordering::Relaxed);
    }

    /// Takes note of a read that failed.
    pub(super) fn record_failure(&self, error: &StoreError) {
        if !self.is_tracking.load(Ordering::Relaxed) {
            return;
        }
        let (message, now) = (error.to_string(), Instant::now());
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|_, at| now.duration_since(*at) < FAILURE_WINDOW);
        if failures.insert(message.clone(), now).is_none() {
            tracing::error!(hint = error.hint(), "cannot read the store: {message}");
        }
    }

    /// Returns `true` if no read has failed within a minute.
    pub(super) fn is_healthy(&self) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.values().all(|at| at.elapsed() >= FAILURE_WINDOW)
    }
}
