//! How long a target may take.

use std::time::Duration;

/// Time limits of one connection.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimits {
    /// The whole run, and each statement in it.
    pub timeout: Duration,
    /// Waiting for a lock.
    pub lock_timeout: Duration,
}
