//! Thresholds of the checks; the defaults are those of the operator's guide.

use crate::instant::{DAY, SECOND};

/// The range in which a number is usual. What is usual differs between applications by orders of magnitude, so that there is
/// none unless it is configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    /// The lowest usual number.
    pub min: Option<u64>,
    /// The highest usual number.
    pub max: Option<u64>,
}

impl Baseline {
    /// Whether a number is lower than usual.
    #[must_use]
    pub fn is_above(self, number: u64) -> bool {
        self.min.is_some_and(|min| number < min)
    }

    /// Whether a number is higher than usual.
    #[must_use]
    pub fn is_below(self, number: u64) -> bool {
        self.max.is_some_and(|max| number > max)
    }
}

impl std::fmt::Display for Baseline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.min, self.max) {
            (None, None) => f.write_str("none is configured"),
            (Some(min), None) => write!(f, "at least {min}"),
            (None, Some(max)) => write!(f, "at most {max}"),
            (Some(min), Some(max)) => write!(f, "{min} to {max}"),
        }
    }
}

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
    /// Sessions that came back after they had ended that are tolerated.
    pub revived_max: u64,
    /// Sessions created in an hour; the lower end is that of the busiest hour of a day.
    pub creation_rate: Baseline,
    /// Expired rows still stored; nothing for [`Settings::expired_limit`] to go by the size of the table.
    pub expired_max: Option<u64>,
    /// Age of the oldest expired row, in microseconds past its expiry.
    pub expired_max_age_us: i64,
    /// Active sessions.
    pub active: Baseline,
    /// How far from now a session may end, in microseconds; nothing for the profile's default.
    pub lifetime_max_us: Option<i64>,
    /// Time that reading the sessions may take for each 10 000 of them, in microseconds; also the least that it may take.
    pub look_budget_us: i64,
}

/// Expired rows that are tolerated in a small table.
pub const EXPIRED_MAX: u64 = 100;
/// Of so many rows, one expired one is tolerated in a large table: a cleanup once a day leaves about as many of sessions that
/// last a month.
pub const ROWS_PER_EXPIRED: u64 = 20;

impl Settings {
    /// How many expired rows are tolerated among so many.
    #[must_use]
    pub fn expired_limit(&self, rows: u64) -> u64 {
        self.expired_max.unwrap_or_else(|| EXPIRED_MAX.max(rows / ROWS_PER_EXPIRED))
    }
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
            revived_max: 0,
            creation_rate: Baseline::default(),
            expired_max: None,
            expired_max_age_us: 7 * DAY,
            active: Baseline::default(),
            lifetime_max_us: None,
            look_budget_us: SECOND / 10,
        }
    }
}
