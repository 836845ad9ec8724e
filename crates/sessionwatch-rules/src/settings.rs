//! Thresholds of the checks; the defaults are those of the operator's guide.

use crate::instant::{DAY, SECOND};

/// Thresholds of the checks.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Tokens on more than one row that are tolerated.
    pub duplicates_max: u64,
    /// Orphaned sessions that are tolerated.
    pub orphaned_max: u64,
    /// Active sessions for each user with an active session.
    pub ratio_max: f64,
    /// Active sessions of one user.
    pub user_max: u64,
    /// Also find users below that limit who hold far more than the others.
    pub user_outliers: bool,
    /// Sessions that one user may create in an hour.
    pub rapid_max_per_hour: u64,
    /// Sessions that one user may hold, where creation is not stored.
    pub rapid_max_sessions: u64,
    /// Sessions that came back after they had ended that are tolerated.
    pub revived_max: u64,
    /// Fewest sessions created in the busiest hour of a day.
    pub rate_min: u64,
    /// Most sessions created in an hour.
    pub rate_max: u64,
    /// Expired rows still stored.
    pub expired_max: u64,
    /// Age of the oldest expired row, in microseconds past its expiry.
    pub expired_max_age_us: i64,
    /// Fewest active sessions of the baseline.
    pub active_min: u64,
    /// Most active sessions of the baseline.
    pub active_max: u64,
    /// How far from now a session may end, in microseconds; nothing for the profile's default.
    pub lifetime_max_us: Option<i64>,
    /// Time that a look may take for each 10 000 sessions, in microseconds; also the least that it may take.
    pub look_budget_us: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            duplicates_max: 0,
            orphaned_max: 10,
            ratio_max: 3.0,
            user_max: 20,
            user_outliers: true,
            rapid_max_per_hour: 10,
            rapid_max_sessions: 5,
            revived_max: 0,
            rate_min: 10,
            rate_max: 50,
            expired_max: 100,
            expired_max_age_us: 7 * DAY,
            active_min: 50,
            active_max: 500,
            lifetime_max_us: None,
            look_budget_us: SECOND / 10,
        }
    }
}
