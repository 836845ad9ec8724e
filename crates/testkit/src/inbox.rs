//! A list of received items that threads can wait on.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Time limit for items to arrive.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(120);

/// Received items in order of arrival.
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

    /// Waits until there are `count` items, for two minutes at most, and returns all items.
    pub(crate) fn wait_for_count(&self, count: usize) -> Vec<T> {
        let waited =
            self.arrived.wait_timeout_while(self.lock_items(), ARRIVAL_TIMEOUT, |list| list.len() < count);
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn lock_items(&self) -> MutexGuard<'_, Vec<T>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
