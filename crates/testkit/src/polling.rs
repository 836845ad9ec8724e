//! Waiting for what another process does.

use std::time::{Duration, Instant};

/// How long a condition may take to hold, on a busy machine.
const CONDITION_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Asks again and again, for a minute at most, until something is so.
///
/// # Panics
///
/// If it is not so in the end.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < CONDITION_TIMEOUT, "{what}: waited for in vain");
        let_time_pass(POLL_INTERVAL);
    }
}

/// Asks again and again how many are left, until there are none: for as long as there are fewer within each minute.
///
/// # Panics
///
/// If they become no fewer.
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

/// Lets time pass between two looks at another process, or before a blow that falls at any time. Whoever waits for
/// something uses [`wait_until`].
#[expect(clippy::disallowed_methods, reason = "another process says nothing when its state changes")]
pub fn let_time_pass(duration: Duration) {
    std::thread::sleep(duration);
}
