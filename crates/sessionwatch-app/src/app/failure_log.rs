//! Deduplicated failure logs: a failure is logged when it starts and when its cause changes, not on each repetition.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Operation that can fail repeatedly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FailureKind {
    /// Reading the results of earlier runs from the state store.
    LoadHistory,
    /// A check run.
    CheckRun,
    /// Writing the results of a run.
    RecordRun,
    /// Renewing leases.
    LeaseRenewal,
    /// Comparing the clock of a database with this machine's.
    ClockDifference,
}

/// Causes of the ongoing failures, by operation and target.
#[derive(Debug, Default)]
pub(crate) struct FailureLog(Mutex<BTreeMap<(FailureKind, String), String>>);

impl FailureLog {
    /// Records a failure. Returns `true` if the failure should be logged: it is new, or its cause has changed.
    pub(crate) fn record_failure(&self, kind: FailureKind, target: &str, cause: &str) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Compared by text: a new cause during the same outage is worth a line of its own.
        logged.insert((kind, target.to_owned()), cause.to_owned()).is_none_or(|before| before != cause)
    }

    /// Records a success. Returns `true` if the recovery should be logged: the operation was failing.
    pub(crate) fn record_success(&self, kind: FailureKind, target: &str) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logged.remove(&(kind, target.to_owned())).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_logged_once_per_cause_and_its_recovery_once() {
        let logged = FailureLog::default();
        let is_logged = ["refused", "refused", "timed out", "refused"]
            .map(|cause| logged.record_failure(FailureKind::CheckRun, "a", cause));
        assert_eq!(is_logged, [true, false, true, true]);
        assert!(
            logged.record_failure(FailureKind::RecordRun, "a", "refused")
                && logged.record_failure(FailureKind::CheckRun, "b", "refused")
        );
        assert_eq!(
            [
                logged.record_success(FailureKind::CheckRun, "a"),
                logged.record_success(FailureKind::CheckRun, "a")
            ],
            [true, false]
        );
        assert!(
            logged.record_failure(FailureKind::CheckRun, "a", "refused"),
            "a new failure after a recovery"
        );
    }
}
