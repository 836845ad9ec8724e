//! Waiting for other processes.

use std::time::{Duration, Instant};

/// Time limit for a condition to become true, generous for a busy machine.
const CONDITION_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Polls a condition until it is true.
///
/// # Panics
///
/// Panics with `what` if the condition is still false after a minute.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < CONDITION_TIMEOUT, "timed out: {what}");
        let_time_pass(POLL_INTERVAL);
    }
}

/// Polls a count until it is zero.
///
/// # Panics
///
/// Panics if the count does not drop within a minute.
pub fn wait_until_none_left(what: &str, mut left: impl FnMut() -> u64) {
    let mut before = left();
    while before > 0 {
        let mut now = before;
        wait_until(&format!("{what}: fewer than {before} left"), || {
            now = left();
            now < before
        });
        before = now;
    }
}

/// Sleeps: between two polls of another process, or before a fault that may strike at any time. To wait for a
/// condition, use [`wait_until`].
#[expect(clippy::disallowed_methods, reason = "another process does not signal changes of its state")]
pub fn let_time_pass(duration: Duration) {
    std::thread::sleep(duration);
}
