//! Time limits for connections to a target.

use std::time::Duration;

/// Time limits of one connection.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimits {
    /// Limit for the whole check run, and for each statement.
    pub timeout: Duration,
    /// Limit for waiting on a lock.
    pub lock_timeout: Duration,
}
