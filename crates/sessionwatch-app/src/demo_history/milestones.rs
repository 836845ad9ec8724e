//! What happened in the two weeks before the demo starts, and when.

use jiff::SignedDuration;
use sessionwatch_core::{
    duration::{DAY, HOUR, MINUTE},
    timestamp::{MICROS_PER_DAY, UtcTimestamp},
};

/// Name of the monitored application.
pub const SHOP_TARGET: &str = "shop";
/// Name of the target with the dashboard's own login sessions.
pub const DASHBOARD_TARGET: &str = "dashboard";
/// Account that did what people did in the past.
pub(super) const OPERATOR_NAME: &str = "grace";

/// Age of the first sample.
pub(super) const HISTORY_LENGTH: SignedDuration = SignedDuration::from_hours(14 * 24);
/// Age of the last check run at the start. The next one follows a minute after it, soon after the leak.
pub(super) const LAST_RUN_AGE: SignedDuration = SignedDuration::from_secs(35);
/// Times of the past.
#[derive(Clone, Copy, Debug)]
pub(super) struct Milestones {
    pub(super) now: UtcTimestamp,
    /// First check run.
    pub(super) begin: UtcTimestamp,
    /// A deploy logged everyone out.
    pub(super) deploy: UtcTimestamp,
    /// Tokens were shared.
    pub(super) leak: UtcTimestamp,
    /// The incident was opened.
    pub(super) opened: UtcTimestamp,
    /// The shared tokens were revoked.
    pub(super) contained: UtcTimestamp,
    /// The incident was closed.
    pub(super) closed: UtcTimestamp,
    /// Expired rows were removed.
    pub(super) cleanup: UtcTimestamp,
    /// Rows that had expired before were removed by the cleanup.
    pub(super) kept_since: UtcTimestamp,
    /// The account for load tests got too many sessions.
    pub(super) test_account: UtcTimestamp,
    /// First of the real check runs, which the last sample precedes.
    pub(super) end: UtcTimestamp,
}

impl Milestones {
    pub(super) fn new(now: UtcTimestamp) -> Self {
        // At times of day at which people work, whatever the time of the start.
        let today = now - SignedDuration::from_micros(now.micros().rem_euclid(MICROS_PER_DAY));
        let clock = |days: i32, hour: i32, minute: i32| today - DAY * days + HOUR * hour + MINUTE * minute;
        let (opened, cleanup) = (clock(5, 14, 9), clock(3, 8, 40));
        let contained = opened + MINUTE * 9;
        Self {
            now,
            begin: now - HISTORY_LENGTH - HOUR,
            deploy: clock(9, 9, 30),
            leak: clock(5, 14, 5),
            opened,
            contained,
            // The steps of the incident take this long.
            closed: contained + MINUTE * 3 + HOUR + DAY,
            cleanup,
            kept_since: now - DAY * 4,
            test_account: clock(2, 10, 17),
            end: now - LAST_RUN_AGE - MINUTE,
        }
    }
}
