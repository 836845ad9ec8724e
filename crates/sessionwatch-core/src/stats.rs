//! Statistics of sessions: the aggregated facts about a target at one time, the same from every engine.

use std::collections::BTreeMap;

use crate::timestamp::UtcTimestamp;

/// How many users (value) hold how many sessions (key).
pub type Histogram = BTreeMap<u64, u64>;

/// A fact that a constraint can prove, that can be counted, or that cannot be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measured<T> {
    /// Counted in the rows.
    Counted(T),
    /// Nothing to count: a constraint of that name forbids it.
    Proven(String),
    /// Not to be known on this target, and why.
    Unknown(String),
}

/// Tokens that stand on more than one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DuplicateTokens {
    /// Distinct tokens on more than one row.
    pub tokens: u64,
    /// Those whose rows belong to more than one user (no user counts as one more).
    pub across_users: u64,
}

/// The aggregated facts about a target at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionStats {
    /// The instant that `active` and `expired` refer to.
    pub taken_at: UtcTimestamp,
    /// Rows.
    pub sessions: u64,
    /// Rows that end after `taken_at`, or never.
    pub active: u64,
    /// Rows that ended at or before `taken_at`.
    pub expired: u64,
    /// Rows without an end: NULL or infinity. Also counted as active.
    pub never_expiring: u64,
    /// Rows whose expiry cannot be read; neither active nor expired.
    pub undecodable: u64,
    /// Rows without a user.
    pub anonymous: u64,
    /// Active rows that have a user.
    pub active_with_user: u64,
    /// The earliest expiry among the expired rows.
    pub oldest_expired: Option<UtcTimestamp>,
    /// The latest expiry among the active rows, those that never expire left out.
    pub furthest_expiry: Option<UtcTimestamp>,
    /// Active rows that end later than the lifetime policy allows; nothing without a policy.
    pub beyond_policy: Option<u64>,
    /// Users by number of active sessions, from one up.
    pub active_per_user: Histogram,
    /// Users that exist, by number of rows of any status.
    pub rows_per_user: Histogram,
    /// Users that exist, by number of rows created in the hour before `taken_at`, from one up; nothing without a
    /// creation column.
    pub created_per_user: Option<Histogram>,
    /// Rows created in the hour before `taken_at`; nothing without a creation column.
    pub created_last_hour: Option<u64>,
    /// Tokens on more than one row.
    pub duplicates: Measured<DuplicateTokens>,
    /// Rows whose user does not exist; rows without a user are not among them.
    pub orphaned: Measured<u64>,
}

impl<T: Copy + Default> Measured<T> {
    /// The count; zero where a constraint proves it, nothing where it cannot be known.
    #[must_use]
    pub fn count(&self) -> Option<T> {
        match self {
            Self::Counted(value) => Some(*value),
            Self::Proven(_) => Some(T::default()),
            Self::Unknown(_) => None,
        }
    }

    /// The name of the constraint that proves it.
    #[must_use]
    pub fn proving_constraint(&self) -> Option<&str> {
        if let Self::Proven(constraint) = self { Some(constraint) } else { None }
    }
}

impl SessionStats {
    /// Users with an active session.
    #[must_use]
    pub fn active_users(&self) -> u64 {
        self.active_per_user.values().sum()
    }

    /// Active sessions for each user that has one; zero without any.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people; counts stay below 2^53")]
    pub fn sessions_per_user(&self) -> f64 {
        let users = self.active_users();
        if users == 0 { 0.0 } else { self.active_with_user as f64 / users as f64 }
    }

    /// The most active sessions that one user holds.
    #[must_use]
    pub fn max_sessions_per_user(&self) -> u64 {
        self.active_per_user.keys().next_back().copied().unwrap_or(0)
    }
}

/// Users that hold more than `limit`.
#[must_use]
pub fn count_users_above(histogram: &Histogram, limit: u64) -> u64 {
    histogram.range(limit.saturating_add(1)..).map(|(_, users)| users).sum()
}

/// Nobody with so many sessions or fewer is an outlier.
pub const MIN_OUTLIER_SESSIONS: u64 = 10;

/// The number of sessions above which a user is an outlier: median + 10 × the median absolute deviation (at least 1),
/// and never below [`MIN_OUTLIER_SESSIONS`]. Nothing with fewer than 20 users, too few to speak of a norm.
#[must_use]
pub fn outlier_limit(histogram: &Histogram) -> Option<u64> {
    let users: u64 = histogram.values().sum();
    if users < 20 {
        return None;
    }
    let middle = lower_median(histogram, users);
    let mut deviations = Histogram::new();
    for (held, count) in histogram {
        *deviations.entry(held.abs_diff(middle)).or_default() += count;
    }
    Some((middle + 10 * lower_median(&deviations, users).max(1)).max(MIN_OUTLIER_SESSIONS))
}

/// The lower median of a histogram with that many members.
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
    fn outliers_need_a_crowd_to_stand_out_from() {
        assert_eq!(outlier_limit(&Histogram::from([(1, 18), (50, 1)])), None);
        assert_eq!(outlier_limit(&Histogram::from([(1, 100), (50, 1)])), Some(11));
        assert_eq!(outlier_limit(&Histogram::from([(2, 40), (4, 40), (9, 20)])), Some(4 + 20));
    }
}
