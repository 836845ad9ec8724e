//! Session stats: the aggregated facts about a target at one instant, the same from every engine.

use std::collections::BTreeMap;

use crate::timestamp::UtcTimestamp;

/// Number of users (value) by number of sessions they have (key).
pub type Histogram = BTreeMap<u64, u64>;

/// A fact that was counted, is guaranteed by a constraint, or is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measured<T> {
    /// Counted in the rows.
    Counted(T),
    /// Zero, because the constraint of this name rules out any such row.
    Proven(String),
    /// Unknown on this target, with the reason.
    Unknown(String),
}

/// Counts of tokens that appear on more than one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DuplicateTokens {
    /// Distinct tokens on more than one row.
    pub tokens: u64,
    /// Duplicate tokens whose rows belong to more than one user. Rows without a user count as one more user.
    pub across_users: u64,
    /// Rows with one of these tokens.
    pub rows: u64,
}

/// The aggregated facts about a target at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionStats {
    /// Instant that `active` and `expired` refer to.
    pub taken_at: UtcTimestamp,
    /// All rows.
    pub sessions: u64,
    /// Rows that expire after `taken_at`, or never.
    pub active: u64,
    /// Rows that expired at or before `taken_at`.
    pub expired: u64,
    /// Rows without an expiry: NULL or infinity. They also count as active.
    pub never_expiring: u64,
    /// Rows whose expiry cannot be decoded. They count as neither active nor expired.
    pub undecodable: u64,
    /// Rows without a user.
    pub anonymous: u64,
    /// Active rows that have a user.
    pub active_with_user: u64,
    /// Earliest expiry among the expired rows.
    pub oldest_expired: Option<UtcTimestamp>,
    /// Latest expiry among the active rows, except those that never expire.
    pub furthest_expiry: Option<UtcTimestamp>,
    /// Active rows that expire later than the lifetime policy allows; `None` without a policy.
    pub beyond_policy: Option<u64>,
    /// Users by number of active sessions; users without one are left out.
    pub active_per_user: Histogram,
    /// Existing users by number of rows of any status.
    pub rows_per_user: Histogram,
    /// Existing users by number of rows created in the hour before `taken_at`; users without one are left out. `None`
    /// without a creation column.
    pub created_per_user: Option<Histogram>,
    /// Rows created in the hour before `taken_at`; `None` without a creation column.
    pub created_last_hour: Option<u64>,
    /// Tokens on more than one row.
    pub duplicates: Measured<DuplicateTokens>,
    /// Rows whose user does not exist. Rows without a user are not among them.
    pub orphaned: Measured<u64>,
}

impl<T: Copy + Default> Measured<T> {
    /// Returns the count: zero if a constraint guarantees it, `None` if it is unknown.
    #[must_use]
    pub fn count(&self) -> Option<T> {
        match self {
            Self::Counted(value) => Some(*value),
            Self::Proven(_) => Some(T::default()),
            Self::Unknown(_) => None,
        }
    }

    /// Returns the name of the constraint that guarantees zero.
    #[must_use]
    pub fn proving_constraint(&self) -> Option<&str> {
        if let Self::Proven(constraint) = self { Some(constraint) } else { None }
    }
}

impl SessionStats {
    /// Returns the number of users with an active session.
    #[must_use]
    pub fn active_users(&self) -> u64 {
        self.active_per_user.values().sum()
    }

    /// Returns the average number of active sessions of users who have one; zero if nobody has one.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people; counts stay below 2^53")]
    pub fn sessions_per_user(&self) -> f64 {
        let users = self.active_users();
        if users == 0 { 0.0 } else { self.active_with_user as f64 / users as f64 }
    }

    /// Returns the largest number of active sessions of one user.
    #[must_use]
    pub fn max_sessions_per_user(&self) -> u64 {
        self.active_per_user.keys().next_back().copied().unwrap_or(0)
    }
}

/// Returns the number of users with more than `limit` sessions.
#[must_use]
pub fn count_users_above(histogram: &Histogram, limit: u64) -> u64 {
    histogram.range(limit.saturating_add(1)..).map(|(_, users)| users).sum()
}

/// Number of sessions up to which no user is an outlier.
pub const MIN_OUTLIER_SESSIONS: u64 = 10;

/// Returns the number of sessions above which a user is an outlier: median + 10 × the median absolute deviation (at
/// least 1), and at least [`MIN_OUTLIER_SESSIONS`]. `None` with fewer than 20 users.
#[must_use]
pub fn outlier_limit(histogram: &Histogram) -> Option<u64> {
    let users: u64 = histogram.values().sum();
    // Fewer users are too small a sample for a norm.
    if users < 20 {
        return None;
    }
    let middle = lower_median(histogram, users);
    let mut deviations = Histogram::new();
    for (held, count) in histogram {
        *deviations.entry(held.abs_diff(middle)).or_default() += count;
    }
    // Where most users have the same count, the deviation is zero and would make one more session an outlier.
    Some((middle + 10 * lower_median(&deviations, users).max(1)).max(MIN_OUTLIER_SESSIONS))
}

fn lower_median(histogram: &Histogram, members: u64) -> u64 {
    let mut seen = 0;
    for (value, count) in histogram {
        seen += count;
        if seen * 2 >= members {
            return *value;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_users_strictly_above_a_limit() {
        let histogram = Histogram::from([(1, 5), (20, 2), (21, 1)]);
        assert_eq!(count_users_above(&histogram, 20), 1);
        assert_eq!(count_users_above(&histogram, 19), 3);
        assert_eq!(count_users_above(&histogram, u64::MAX), 0);
    }

    #[test]
    fn outliers_need_at_least_twenty_users() {
        assert_eq!(outlier_limit(&Histogram::from([(1, 18), (50, 1)])), None);
        assert_eq!(outlier_limit(&Histogram::from([(1, 100), (50, 1)])), Some(11));
        assert_eq!(outlier_limit(&Histogram::from([(2, 40), (4, 40), (9, 20)])), Some(4 + 20));
    }
}
