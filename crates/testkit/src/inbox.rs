//! What has arrived at a server so far, for others to wait for.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The longest that anybody waits for something to arrive.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(120);

/// What has arrived, the first one first.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    items: Mutex<Vec<T>>,
    arrived: Condvar,
}

impl<T: Clone> Inbox<T> {
    pub(crate) fn new() -> Self {
        Self { items: Mutex::default(), arrived: Condvar::new() }
    }

    pub(crate) fn push(&self, arrival: T) {
        self.lock_items().push(arrival);
        self.arrived.notify_all();
    }

    pub(crate) fn to_vec(&self) -> Vec<T> {
        self.lock_items().clone()
    }

    /// Waits until there are so many, for two minutes at most: all that there are.
    pub(crate) fn wait_for_count(&self, count: usize) -> Vec<T> {
        let waited =
            self.arrived.wait_timeout_while(self.lock_items(), ARRIVAL_TIMEOUT, |list| list.len() < count);
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn lock_items(&self) -> MutexGuard<'_, Vec<T>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
