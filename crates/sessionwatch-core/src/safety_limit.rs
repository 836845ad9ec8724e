//! The brake: plans that reach too far are not carried out without a second thought.

use jiff::SignedDuration;

use crate::timestamp::UtcTimestamp;

/// Plans of one target count together over this time.
pub const LIMIT_WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// A plan of no more rows is confirmed by nobody, whatever share of the table it is: a table of a handful of rows is looked
/// through at a glance.
const MAX_UNCONFIRMED_ROWS: u64 = 2;
/// The usual share of a table, from 0 to 1, that a plan may name without being confirmed.
pub const DEFAULT_MAX_TABLE_SHARE: f64 = 0.5;

/// How far a plan reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanImpact {
    /// Rows that it names.
    pub rows: u64,
    /// Active sessions among them.
    pub active: u64,
    /// Active sessions in the whole table.
    pub total_active: u64,
    /// Rows in the whole table.
    pub total_rows: u64,
}

/// Another plan of the same target that was applied, or is being applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentPlan {
    /// When it was begun, or when it ended if it has ended.
    pub at: UtcTimestamp,
    /// Whether it has ended.
    pub is_finished: bool,
    /// Rows that it ended, or may still end.
    pub rows: u64,
    /// Active sessions among them, at most.
    pub active: u64,
}

/// What other plans of the same target ended within [`LIMIT_WINDOW`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecentImpact {
    /// How many plans there were.
    pub plans: u64,
    /// Rows that they ended.
    pub rows: u64,
    /// Active sessions among them.
    pub active: u64,
    /// Active sessions that had been ended before the plan in question counted the table, and are missing from its count.
    pub uncounted: u64,
}

impl RecentImpact {
    /// Adds up what was ended until `now`, for a plan that was made at `made_at`.
    #[must_use]
    pub fn from_plans(now: UtcTimestamp, made_at: UtcTimestamp, plans: &[RecentPlan]) -> Self {
        let recent = plans.iter().filter(|plan| now.duration_since(plan.at) <= LIMIT_WINDOW && plan.rows > 0);
        recent.fold(Self::default(), |sum, plan| Self {
            plans: sum.plans + 1,
            rows: sum.rows.saturating_add(plan.rows),
            active: sum.active.saturating_add(plan.active),
            uncounted: sum.uncounted + if plan.is_finished && plan.at <= made_at { plan.active } else { 0 },
        })
    }
}

/// What a plan may reach without being confirmed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SafetyLimit {
    /// This share of the active sessions, from 0 to 1.
    pub max_active_share: f64,
    /// This many rows.
    pub max_rows: u64,
    /// This share of the rows of the table, from 0 to 1.
    pub max_table_share: f64,
}

/// Why a plan has to be confirmed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LimitExceeded {
    /// It ends a large share of the active sessions: this one, from 0 to 1.
    ActiveShare(f64),
    /// It names many rows.
    Rows(u64),
    /// It names rows of a table in which nothing is active, as when the wrong column is read as the end: so many.
    NoneActive(u64),
    /// It names most of the table: this share of the rows, from 0 to 1.
    TableShare(f64),
    /// Together with other plans of the last hour, it ends a large share of the active sessions.
    CombinedActiveShare {
        /// The share, from 0 to 1.
        share: f64,
        /// How many other plans there were.
        plans: u64,
    },
    /// Together with other plans of the last hour, it ends many rows.
    CombinedRows {
        /// How many.
        rows: u64,
        /// How many other plans there were.
        plans: u64,
    },
    /// It makes so many tokens valid again that several users had shared.
    SharedTokens(u64),
    /// It changes other tables, or runs triggers or rules, in so many ways.
    SideEffects(u64),
}

impl SafetyLimit {
    /// Why a plan of that reach has to be confirmed, after what was `ended` by others; `None` if it need not be.
    ///
    /// A plan that takes most of a table, or rows of one in which nothing is active, is the sign of a wrong reading
    /// however small it is. That is said before the number of rows, which an operator may have agreed to for good.
    #[must_use]
    pub fn check(self, impact: PlanImpact, recent: RecentImpact) -> Option<LimitExceeded> {
        let all_active = impact.total_active.saturating_add(recent.uncounted);
        let own = bounded_share(impact.active, impact.total_active);
        let of_table = bounded_share(impact.rows, impact.total_rows);
        let (rows, active) =
            (impact.rows.saturating_add(recent.rows), impact.active.saturating_add(recent.active));
        let (together, plans) = (bounded_share(active, all_active), recent.plans);
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

/// A share from 0 to 1, also where there are more by now than when all were counted.
#[expect(clippy::cast_precision_loss, reason = "a share; counts stay below 2^53")]
fn bounded_share(part: u64, all: u64) -> f64 {
    part as f64 / all.max(part).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRAKE: SafetyLimit =
        SafetyLimit { max_active_share: 0.2, max_rows: 10_000, max_table_share: DEFAULT_MAX_TABLE_SHARE };

    fn holds(rows: u64, active: u64, all_active: u64, all_rows: u64) -> Option<LimitExceeded> {
        BRAKE.check(
            PlanImpact { rows, active, total_active: all_active, total_rows: all_rows },
            RecentImpact::default(),
        )
    }

    #[test]
    fn holds_what_reaches_too_far_and_nothing_else() {
        assert_eq!(holds(20, 20, 100, 200), None);
        assert_eq!(holds(21, 21, 100, 200), Some(LimitExceeded::ActiveShare(0.21)));
        assert_eq!(holds(10_000, 0, 1, 30_000), None);
        assert_eq!(holds(10_001, 0, 1, 30_000), Some(LimitExceeded::Rows(10_001)));
        // The only session there is may be ended like any other single one.
        assert_eq!(holds(1, 1, 1, 1), None);
        // More active sessions than there were when they were counted.
        assert_eq!(holds(30, 30, 10, 100), Some(LimitExceeded::ActiveShare(1.0)));
    }

    #[test]
    fn holds_what_takes_most_of_a_table_however_small() {
        // The routine of every night.
        assert_eq!(holds(5, 0, 35, 40), None);
        assert_eq!(holds(20, 0, 20, 40), None);
        assert_eq!(holds(21, 0, 19, 40), Some(LimitExceeded::TableShare(21.0 / 40.0)));
        assert_eq!(holds(3, 0, 1, 5), Some(LimitExceeded::TableShare(0.6)));
        assert_eq!(holds(20_000, 0, 1, 30_000), Some(LimitExceeded::TableShare(2.0 / 3.0)));
        // A glance is enough.
        assert_eq!(holds(2, 0, 1, 3), None);
    }

    #[test]
    fn holds_any_rows_of_a_table_in_which_nothing_is_active() {
        assert_eq!(holds(90, 0, 0, 90), Some(LimitExceeded::NoneActive(90)));
        assert_eq!(holds(3, 0, 0, 1_000), Some(LimitExceeded::NoneActive(3)));
        assert_eq!(holds(2, 0, 0, 2), None);
        // What is agreed to for good is the number of rows, not that nothing is active.
        assert_eq!(holds(20_000, 0, 0, 20_000), Some(LimitExceeded::NoneActive(20_000)));
    }

    #[test]
    fn small_plans_count_together_within_an_hour() {
        let at = |seconds: i64| UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(5 * 3_600 + seconds);
        // Ten of a hundred sessions, again and again, each plan made after the last one was applied.
        let mut applied = Vec::new();
        let mut held = Vec::new();
        for turn in 0..4_u64 {
            let now = at(60 * i64::try_from(turn).unwrap());
            let ended = RecentImpact::from_plans(now, now, &applied);
            let reach =
                PlanImpact { rows: 10, active: 10, total_active: 100 - 10 * turn, total_rows: 30_000 };
            held.push(BRAKE.check(reach, ended));
            applied.push(RecentPlan { at: now, is_finished: true, rows: 10, active: 10 });
        }
        let together = |share, plans| Some(LimitExceeded::CombinedActiveShare { share, plans });
        assert_eq!(held, [None, None, together(0.3, 2), together(0.4, 3)]);
        let reach = PlanImpact { rows: 10, active: 10, total_active: 60, total_rows: 30_000 };
        let ended = |now, made_at| RecentImpact::from_plans(now, made_at, &applied);
        // An hour after it ended, a plan does not count any more; at the hour it does.
        assert_eq!(BRAKE.check(reach, ended(at(60 + 3_600), at(60 + 3_600))), together(40.0 / 90.0, 3));
        assert_eq!(BRAKE.check(reach, ended(at(181 + 3_600), at(181 + 3_600))), None);
        // A plan that was made before the others counted their sessions as active.
        let early = PlanImpact { rows: 10, active: 10, total_active: 100, total_rows: 30_000 };
        assert_eq!(BRAKE.check(early, ended(at(200), at(-1))), together(0.5, 4));
        // A clock that was set back forgets nothing, and what is still at work counts as a whole.
        assert_eq!(ended(at(-3_600), at(-3_600)).active, 40);
        let running = [RecentPlan { at: at(0), is_finished: false, rows: 30, active: 15 }];
        let ended = RecentImpact::from_plans(at(5), at(3), &running);
        assert_eq!(ended, RecentImpact { plans: 1, rows: 30, active: 15, uncounted: 0 });
        // What ends no active session is not held by a share, and rows add up too.
        let rows =
            |rows, all_active| PlanImpact { rows, active: 0, total_active: all_active, total_rows: 30_000 };
        assert_eq!(BRAKE.check(rows(9_970, 20), ended), None);
        let together_rows = Some(LimitExceeded::CombinedRows { rows: 10_001, plans: 1 });
        assert_eq!(BRAKE.check(rows(9_971, 20), ended), together_rows);
        let none = Some(LimitExceeded::NoneActive(31));
        assert_eq!(BRAKE.check(rows(1, 0), ended), none);
        // Two single sessions of three are more than one.
        let single = RecentImpact { plans: 1, rows: 1, active: 1, uncounted: 1 };
        assert_eq!(
            BRAKE.check(PlanImpact { rows: 1, active: 1, total_active: 2, total_rows: 30_000 }, single),
            Some(LimitExceeded::CombinedActiveShare { share: 2.0 / 3.0, plans: 1 })
        );
        assert_eq!(BRAKE.check(PlanImpact::default(), single), None);
    }
}
