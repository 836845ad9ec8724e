//! Failures that last: each is logged when it begins and when its cause changes, not each time it happens again.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// What can fail for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Reading what earlier runs left in the store.
    Begin,
    /// A check run.
    Run,
    /// Writing what a run found.
    Keep,
    /// Renewing leases.
    Lease,
    /// The clock of a database that differs from this machine's.
    Clock,
}

/// The failures that were logged and have not ended, by part and target.
#[derive(Debug, Default)]
pub(crate) struct Logged(Mutex<BTreeMap<(Part, String), String>>);

impl Logged {
    /// Records a failure. Returns `true` if it is new, or has another cause than before: then it is to be logged.
    pub(crate) fn begin(&self, part: Part, target: &str, cause: &str) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logged.insert((part, target.to_owned()), cause.to_owned()).is_none_or(|before| before != cause)
    }

    /// Records a success. Returns `true` if it ends a failure: then it is to be logged.
    pub(crate) fn end(&self, part: Part, target: &str) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logged.remove(&(part, target.to_owned())).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_logged_once_for_each_cause_and_its_end_once() {
        let logged = Logged::default();
        let begins =
            ["refused", "refused", "timed out", "refused"].map(|why| logged.begin(Part::Run, "a", why));
        assert_eq!(begins, [true, false, true, true]);
        assert!(logged.begin(Part::Keep, "a", "refused") && logged.begin(Part::Run, "b", "refused"));
        assert_eq!([logged.end(Part::Run, "a"), logged.end(Part::Run, "a")], [true, false]);
        assert!(logged.begin(Part::Run, "a", "refused"), "it begins again");
    }
}
