//! Safety limit: the impact above which a plan must be confirmed.

use jiff::SignedDuration;

use crate::timestamp::UtcTimestamp;

/// Period over which the plans of a target are added up.
pub const LIMIT_WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// Number of rows up to which a plan needs no confirmation, whatever its share of the table: tiny tables are easy to
/// review by eye.
const MAX_UNCONFIRMED_ROWS: u64 = 2;
/// Default share of a table, from 0 to 1, up to which a plan needs no confirmation.
pub const DEFAULT_MAX_TABLE_SHARE: f64 = 0.5;

/// Impact of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanImpact {
    /// Rows of the plan.
    pub rows: u64,
    /// Active sessions among them.
    pub active: u64,
    /// Active sessions in the whole table.
    pub total_active: u64,
    /// Rows in the whole table.
    pub total_rows: u64,
}

/// Another plan of the same target that was applied or is being applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentPlan {
    /// End of its execution, or the start if it is still running.
    pub at: UtcTimestamp,
    /// The execution has finished.
    pub is_finished: bool,
    /// Rows removed, or that may still be removed.
    pub rows: u64,
    /// Upper bound of active sessions among them.
    pub active: u64,
}

/// Combined impact of other plans of the same target within [`LIMIT_WINDOW`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecentImpact {
    /// Number of plans.
    pub plans: u64,
    /// Rows removed.
    pub rows: u64,
    /// Active sessions among them.
    pub active: u64,
    /// Active sessions removed before the current plan counted the table, and so missing from its totals.
    pub uncounted: u64,
}

impl RecentImpact {
    /// Adds up the plans applied within [`LIMIT_WINDOW`] before `now`, for a plan created at `made_at`.
    #[must_use]
    pub fn from_plans(now: UtcTimestamp, made_at: UtcTimestamp, plans: &[RecentPlan]) -> Self {
        let recent = plans.iter().filter(|plan| now.duration_since(plan.at) <= LIMIT_WINDOW && plan.rows > 0);
        recent.fold(Self::default(), |sum, plan| Self {
            plans: sum.plans + 1,
            rows: sum.rows.saturating_add(plan.rows),
            active: sum.active.saturating_add(plan.active),
            // Only sessions removed before this plan was created are missing from its count.
            uncounted: sum.uncounted + if plan.is_finished && plan.at <= made_at { plan.active } else { 0 },
        })
    }
}

/// Impact up to which a plan needs no confirmation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SafetyLimit {
    /// Maximum share of the active sessions, from 0 to 1.
    pub max_active_share: f64,
    /// Maximum number of rows.
    pub max_rows: u64,
    /// Maximum share of the rows of the table, from 0 to 1.
    pub max_table_share: f64,
}

/// Reason why a plan must be confirmed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LimitExceeded {
    /// The plan removes too large a share of the active sessions, from 0 to 1.
    ActiveShare(f64),
    /// The plan removes too many rows.
    Rows(u64),
    /// The plan removes this many rows of a table without active sessions, as if the wrong column were read as the
    /// expiry.
    NoneActive(u64),
    /// The plan removes too large a share of the table's rows, from 0 to 1.
    TableShare(f64),
    /// Combined with other plans of the last hour, the plan removes too large a share of the active sessions.
    CombinedActiveShare {
        /// The share, from 0 to 1.
        share: f64,
        /// Number of other plans.
        plans: u64,
    },
    /// Combined with other plans of the last hour, the plan removes too many rows.
    CombinedRows {
        /// Number of rows.
        rows: u64,
        /// Number of other plans.
        plans: u64,
    },
    /// The plan restores this many tokens that several users had shared.
    SharedTokens(u64),
    /// The plan has this many side effects, such as triggers, rules or changes to other tables.
    SideEffects(u64),
}

impl SafetyLimit {
    /// Returns why a plan must be confirmed, given the recent impact of other plans; `None` if it needs no
    /// confirmation.
    #[must_use]
    pub fn check(self, impact: PlanImpact, recent: RecentImpact) -> Option<LimitExceeded> {
        let all_active = impact.total_active.saturating_add(recent.uncounted);
        let own = bounded_share(impact.active, impact.total_active);
        let of_table = bounded_share(impact.rows, impact.total_rows);
        let (rows, active) =
            (impact.rows.saturating_add(recent.rows), impact.active.saturating_add(recent.active));
        let (together, plans) = (bounded_share(active, all_active), recent.plans);
        // A plan for most of a table, or for a table without active sessions, often means that a column is misread.
        // These reasons come before the number of rows, because that one may be pre-approved in the configuration.
        if impact.active > 1 && own > self.max_active_share {
            Some(LimitExceeded::ActiveShare(own))
        } else if all_active == 0 && impact.rows > 0 && rows > MAX_UNCONFIRMED_ROWS {
            Some(LimitExceeded::NoneActive(rows))
        } else if impact.rows > MAX_UNCONFIRMED_ROWS && of_table > self.max_table_share {
            Some(LimitExceeded::TableShare(of_table))
        } else if impact.active > 0 && active > 1 && together > self.max_active_share {
            Some(LimitExceeded::CombinedActiveShare { share: together, plans })
        } else if impact.rows > self.max_rows {
            Some(LimitExceeded::Rows(impact.rows))
        } else if impact.rows > 0 && rows > self.max_rows {
            Some(LimitExceeded::CombinedRows { rows, plans })
        } else {
            None
        }
    }
}

/// Returns a share from 0 to 1, even if the part has grown beyond the total since that was counted.
#[expect(clippy::cast_precision_loss, reason = "a share; counts stay below 2^53")]
fn bounded_share(part: u64, all: u64) -> f64 {
    part as f64 / all.max(part).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: SafetyLimit =
        SafetyLimit { max_active_share: 0.2, max_rows: 10_000, max_table_share: DEFAULT_MAX_TABLE_SHARE };

    fn exceeded(rows: u64, active: u64, total_active: u64, total_rows: u64) -> Option<LimitExceeded> {
        LIMIT.check(PlanImpact { rows, active, total_active, total_rows }, RecentImpact::default())
    }

    #[test]
    fn large_plans_must_be_confirmed_and_small_ones_not() {
        assert_eq!(exceeded(20, 20, 100, 200), None);
        assert_eq!(exceeded(21, 21, 100, 200), Some(LimitExceeded::ActiveShare(0.21)));
        assert_eq!(exceeded(10_000, 0, 1, 30_000), None);
        assert_eq!(exceeded(10_001, 0, 1, 30_000), Some(LimitExceeded::Rows(10_001)));
        // A single session never needs confirmation, even the only one in the table.
        assert_eq!(exceeded(1, 1, 1, 1), None);
        // More active sessions than when the table was counted.
        assert_eq!(exceeded(30, 30, 10, 100), Some(LimitExceeded::ActiveShare(1.0)));
    }

    #[test]
    fn plans_for_most_of_a_table_must_be_confirmed() {
        // A routine nightly cleanup.
        assert_eq!(exceeded(5, 0, 35, 40), None);
        assert_eq!(exceeded(20, 0, 20, 40), None);
        assert_eq!(exceeded(21, 0, 19, 40), Some(LimitExceeded::TableShare(21.0 / 40.0)));
        assert_eq!(exceeded(3, 0, 1, 5), Some(LimitExceeded::TableShare(0.6)));
        assert_eq!(exceeded(20_000, 0, 1, 30_000), Some(LimitExceeded::TableShare(2.0 / 3.0)));
        // Tiny plans never need confirmation.
        assert_eq!(exceeded(2, 0, 1, 3), None);
    }

    #[test]
    fn plans_for_a_table_without_active_sessions_must_be_confirmed() {
        assert_eq!(exceeded(90, 0, 0, 90), Some(LimitExceeded::NoneActive(90)));
        assert_eq!(exceeded(3, 0, 0, 1_000), Some(LimitExceeded::NoneActive(3)));
        assert_eq!(exceeded(2, 0, 0, 2), None);
        // A pre-approved number of rows does not cover a table without active sessions.
        assert_eq!(exceeded(20_000, 0, 0, 20_000), Some(LimitExceeded::NoneActive(20_000)));
    }

    #[test]
    fn small_plans_are_added_up_within_an_hour() {
        let at = |seconds: i64| UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(5 * 3_600 + seconds);
        // Ten of a hundred sessions, repeatedly; each plan is created after the previous one was applied.
        let mut applied = Vec::new();
        let mut held = Vec::new();
        for turn in 0..4_u64 {
            let now = at(60 * i64::try_from(turn).unwrap());
            let ended = RecentImpact::from_plans(now, now, &applied);
            let reach =
                PlanImpact { rows: 10, active: 10, total_active: 100 - 10 * turn, total_rows: 30_000 };
            held.push(LIMIT.check(reach, ended));
            applied.push(RecentPlan { at: now, is_finished: true, rows: 10, active: 10 });
        }
        let together = |share, plans| Some(LimitExceeded::CombinedActiveShare { share, plans });
        assert_eq!(held, [None, None, together(0.3, 2), together(0.4, 3)]);
        let reach = PlanImpact { rows: 10, active: 10, total_active: 60, total_rows: 30_000 };
        let ended = |now, made_at| RecentImpact::from_plans(now, made_at, &applied);
        // A plan counts until exactly an hour after it finished.
        assert_eq!(LIMIT.check(reach, ended(at(60 + 3_600), at(60 + 3_600))), together(40.0 / 90.0, 3));
        assert_eq!(LIMIT.check(reach, ended(at(181 + 3_600), at(181 + 3_600))), None);
        // A plan created before the others still counted their sessions as active.
        let early = PlanImpact { rows: 10, active: 10, total_active: 100, total_rows: 30_000 };
        assert_eq!(LIMIT.check(early, ended(at(200), at(-1))), together(0.5, 4));
        // A clock set back forgets nothing, and a running plan counts in full.
        assert_eq!(ended(at(-3_600), at(-3_600)).active, 40);
        let running = [RecentPlan { at: at(0), is_finished: false, rows: 30, active: 15 }];
        let ended = RecentImpact::from_plans(at(5), at(3), &running);
        assert_eq!(ended, RecentImpact { plans: 1, rows: 30, active: 15, uncounted: 0 });
        // Without active sessions no share applies, but rows are added up too.
        let rows = |rows, total_active| PlanImpact { rows, active: 0, total_active, total_rows: 30_000 };
        assert_eq!(LIMIT.check(rows(9_970, 20), ended), None);
        let together_rows = Some(LimitExceeded::CombinedRows { rows: 10_001, plans: 1 });
        assert_eq!(LIMIT.check(rows(9_971, 20), ended), together_rows);
        let none = Some(LimitExceeded::NoneActive(31));
        assert_eq!(LIMIT.check(rows(1, 0), ended), none);
        // Two single sessions of three are more than one.
        let single = RecentImpact { plans: 1, rows: 1, active: 1, uncounted: 1 };
        assert_eq!(
            LIMIT.check(PlanImpact { rows: 1, active: 1, total_active: 2, total_rows: 30_000 }, single),
            Some(LimitExceeded::CombinedActiveShare { share: 2.0 / 3.0, plans: 1 })
        );
        assert_eq!(LIMIT.check(PlanImpact::default(), single), None);
    }
}
