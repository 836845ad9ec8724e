//! What has arrived at a server so far, for others to wait for.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The longest that anybody waits for something to arrive.
const PATIENCE: Duration = Duration::from_secs(120);

/// What has arrived, the first one first.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    list: Mutex<Vec<T>>,
    grown: Condvar,
}

impl<T: Clone> Inbox<T> {
    pub(crate) fn new() -> Self {
        Self { list: Mutex::default(), grown: Condvar::new() }
    }

    pub(crate) fn push(&self, arrival: T) {
        self.lock().push(arrival);
        self.grown.notify_all();
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.lock().clone()
    }

    /// Waits until there are so many, for two minutes at most: all that there are.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<T> {
        let waited = self.grown.wait_timeout_while(self.lock(), PATIENCE, |list| list.len() < count);
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
