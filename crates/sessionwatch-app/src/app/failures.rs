//! Failures that last: each is logged when it begins and when its cause changes, not each time it happens again.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// What can fail for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FailureKind {
    /// Reading what earlier runs left in the store.
    LoadHistory,
    /// A check run.
    CheckRun,
    /// Writing what a run found.
    RecordRun,
    /// Renewing leases.
    LeaseRenewal,
    /// The clock of a database that differs from this machine's.
    ClockDifference,
}

/// The failures that were logged and have not ended, by part and target.
#[derive(Debug, Default)]
pub(crate) struct FailureLog(Mutex<BTreeMap<(FailureKind, String), String>>);

impl FailureLog {
    /// Records a failure. Returns `true` if it is new, or has another cause than before: then it is to be logged.
    pub(crate) fn record_failure(&self, kind: FailureKind, target: &str, cause: &str) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logged.insert((kind, target.to_owned()), cause.to_owned()).is_none_or(|before| before != cause)
    }

    /// Records a success. Returns `true` if it ends a failure: then it is to be logged.
    pub(crate) fn record_success(&self, kind: FailureKind, target: &str) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logged.remove(&(kind, target.to_owned())).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_logged_once_for_each_cause_and_its_end_once() {
        let logged = FailureLog::default();
        let begins = ["refused", "refused", "timed out", "refused"]
            .map(|why| logged.record_failure(FailureKind::CheckRun, "a", why));
        assert_eq!(begins, [true, false, true, true]);
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
        assert!(logged.record_failure(FailureKind::CheckRun, "a", "refused"), "it begins again");
    }
}
