//! Read health of a daemon's store: failed reads are logged and remembered for a minute.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::StoreError;

/// Time for which a failed read counts, and for which the same failure is not logged again.
const FAILURE_WINDOW: Duration = Duration::from_secs(60);

/// Recent failed reads.
#[derive(Debug, Default)]
pub(super) struct ReadHealth {
    /// Set in a daemon only: commands report their own failures.
    is_tracking: AtomicBool,
    /// Time of the latest failure, by message.
    failures: Mutex<BTreeMap<String, Instant>>,
}

impl ReadHealth {
    pub(super) fn start_tracking(&self) {
        self.is_tracking.store(true, Ordering::Relaxed);
    }

    /// Records a failed read, and logs it if the same failure was not logged within the last minute.
    pub(super) fn record_failure(&self, error: &StoreError) {
        if !self.is_tracking.load(Ordering::Relaxed) {
            return;
        }
        let (message, now) = (error.to_string(), Instant::now());
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        // Old failures are dropped first, so that one that persists is logged about once a minute.
        failures.retain(|_, at| now.duration_since(*at) < FAILURE_WINDOW);
        if failures.insert(message.clone(), now).is_none() {
            tracing::error!(hint = error.hint(), "cannot read the store: {message}");
        }
    }

    /// Returns `true` if no read failed within the last minute.
    pub(super) fn is_healthy(&self) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        // By age, because entries are removed only when the next failure comes.
        failures.values().all(|at| at.elapsed() >= FAILURE_WINDOW)
    }
}
