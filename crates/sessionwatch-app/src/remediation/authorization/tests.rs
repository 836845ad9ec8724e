//! Tests of the authorization rule at each of its limits.

use sessionwatch_core::{
    safety_limit::{DEFAULT_MAX_TABLE_SHARE, LimitExceeded, RecentImpact},
    timestamp::UtcTimestamp,
};
use sessionwatch_targets::side_effects::{SideEffect, SideEffectKind};

use super::*;
use crate::remediation::{PlanSummary, Selection, error::ConfirmationReasons};

const LIMIT: SafetyLimit =
    SafetyLimit { max_active_share: 0.2, max_rows: 10_000, max_table_share: DEFAULT_MAX_TABLE_SHARE };
const TTL: SignedDuration = SignedDuration::from_mins(15);

fn now() -> UtcTimestamp {
    UtcTimestamp::UNIX_EPOCH + SignedDuration::from_hours(24)
}

/// Plan that ends 5 of 100 active sessions.
fn small() -> ActionPlan {
    let record = plans::PlanRecord {
        id: "p1".into(),
        target: "shop".into(),
        address: "postgres://db/shop".into(),
        request: String::new(),
        created_at: now(),
        created_by: "ada".into(),
        updated_at: now(),
        state: plans::PlanState::Planned,
        row_count: 5,
        active_sessions: 5,
        summary: String::new(),
        approved_by: None,
    };
    let summary = PlanSummary { all_active: 100, all_rows: 100, ..PlanSummary::default() };
    ActionPlan { record, selection: Selection::Duplicates, summary, recently_ended: RecentImpact::default() }
}

/// Plan that ends 30 of 100 active sessions, more than the limit of a fifth.
fn large() -> ActionPlan {
    let mut plan = small();
    (plan.record.row_count, plan.record.active_sessions) = (30, 30);
    plan
}

fn circumstances(typed_name: Option<&str>) -> ApplyCircumstances<'_> {
    ApplyCircumstances {
        now: now(),
        actor: "ada",
        confirmation: Confirmation { typed_name, by_policy: false },
        safety_limit: LIMIT,
        plan_ttl: TTL,
        requires_approval: false,
        is_store_in_memory: false,
    }
}

fn refusal(plan: &ActionPlan, circumstances: &ApplyCircumstances<'_>) -> ActionError {
    authorize_apply(plan, circumstances).unwrap_err()
}

#[test]
fn a_small_plan_needs_no_name_and_no_second_person() {
    let strict = ApplyCircumstances { requires_approval: true, ..circumstances(None) };
    assert!(authorize_apply(&small(), &circumstances(None)).is_ok());
    assert!(authorize_apply(&small(), &strict).is_ok());
}

#[test]
fn a_plan_is_applied_once() {
    let mut plan = small();
    for (state, is_open) in
        [(plans::PlanState::Planned, true), (plans::PlanState::Begun, true), (plans::PlanState::Done, false)]
    {
        plan.record.state = state;
        assert_eq!(authorize_apply(&plan, &circumstances(None)).is_ok(), is_open, "{state:?}");
    }
    assert!(matches!(refusal(&plan, &circumstances(None)), ActionError::Done(id) if id == "p1"));
}

#[test]
fn a_plan_expires_and_one_from_the_future_is_expired_too() {
    let tick = SignedDuration::from_micros(1);
    for (age, is_fresh) in [(TTL, true), (TTL + tick, false), (-TTL, true), (-TTL - tick, false)] {
        let later = ApplyCircumstances { now: now() + age, ..circumstances(None) };
        assert_eq!(authorize_apply(&small(), &later).is_ok(), is_fresh, "{age:?}");
    }
    let later = ApplyCircumstances { now: now() + TTL + tick, ..circumstances(None) };
    assert!(matches!(refusal(&small(), &later), ActionError::Stale { id, minutes: 15 } if id == "p1"));
}

#[test]
fn a_plan_beyond_the_limit_needs_the_name_of_the_target() {
    let share = LimitExceeded::ActiveShare(0.3);
    match refusal(&large(), &circumstances(None)) {
        ActionError::LimitExceeded(ConfirmationReasons(reasons), name) => {
            assert_eq!((reasons, name), (vec![share], "shop".into()))
        }
        other => panic!("{other}"),
    }
    assert!(authorize_apply(&large(), &circumstances(Some("shop"))).is_ok());
    for typed in ["", "Shop", "shop ", "p1"] {
        let refused = refusal(&large(), &circumstances(Some(typed)));
        assert!(matches!(&refused, ActionError::NotConfirmed(name) if name == typed), "{refused}");
    }
    let refused = refusal(&small(), &circumstances(Some("warehouse")));
    assert!(matches!(refused, ActionError::NotConfirmed(_)), "a wrong name is rejected for a small plan too");
}

#[test]
fn an_unnamed_target_is_confirmed_by_its_database_name() {
    for (target, name) in [
        ("postgres://ada:***@db.example:5432/shop?sslmode=require", "shop"),
        ("postgres://db.example", "target"),
        ("postgres://db.example/?host=/run", "target"),
        ("sqlite.db", "sqlite.db"),
    ] {
        let mut plan = large();
        plan.record.target = target.into();
        assert!(authorize_apply(&plan, &circumstances(Some(name))).is_ok(), "{target}");
        assert!(authorize_apply(&plan, &circumstances(Some("***"))).is_err(), "{target}");
    }
}

#[test]
fn the_approver_and_the_applier_have_different_accounts() {
    let strict = |actor| ApplyCircumstances { actor, requires_approval: true, ..circumstances(Some("shop")) };
    let approved_by = |name: Option<&str>| {
        let mut plan = large();
        plan.record.approved_by = name.map(str::to_owned);
        plan
    };
    for (approved, actor, is_enough) in [
        (None, "ada", false),
        (Some("ada"), "ada", false),
        // An API token of the same account is not a second person.
        (Some("ada"), "ada (deploys)", false),
        (Some("bob"), "ada", true),
        (Some("bob"), "ada (deploys)", true),
        (Some("ada"), "adam", true),
    ] {
        let decided = authorize_apply(&approved_by(approved), &strict(actor));
        assert_eq!(decided.is_ok(), is_enough, "{approved:?} {actor}");
    }
    assert!(matches!(refusal(&large(), &strict("ada")), ActionError::NotApproved(_)));
    // An approval does not replace the confirmation.
    let unnamed = ApplyCircumstances { confirmation: Confirmation::default(), ..strict("ada") };
    assert!(matches!(refusal(&approved_by(Some("bob")), &unnamed), ActionError::LimitExceeded(..)));
}

#[test]
fn scheduled_cleanup_needs_no_approval_but_respects_the_limit() {
    let by_policy = |typed_name| ApplyCircumstances {
        confirmation: Confirmation { typed_name, by_policy: true },
        requires_approval: true,
        ..circumstances(None)
    };
    assert!(authorize_apply(&large(), &by_policy(Some("shop"))).is_ok());
    assert!(matches!(refusal(&large(), &by_policy(None)), ActionError::LimitExceeded(..)));
}

#[test]
fn a_restore_is_limited_by_shared_tokens_not_by_size() {
    let mut plan = large();
    plan.selection = Selection::Restore { archive: "p0".into(), user: None };
    assert!(authorize_apply(&plan, &circumstances(None)).is_ok());
    plan.summary.shared = 2;
    match refusal(&plan, &circumstances(None)) {
        ActionError::LimitExceeded(ConfirmationReasons(reasons), _) => {
            assert_eq!(reasons, [LimitExceeded::SharedTokens(2)])
        }
        other => panic!("{other}"),
    }
}

#[test]
fn every_exceeded_limit_is_reported_at_once() {
    let effect =
        |kind| SideEffect { kind, table: "cart".into(), name: "fk".into(), rows: None, archived: false };
    let mut plan = large();
    plan.summary.side_effects =
        [SideEffectKind::Cascade, SideEffectKind::Restrict, SideEffectKind::Trigger].map(effect).into();
    match refusal(&plan, &circumstances(None)) {
        ActionError::LimitExceeded(ConfirmationReasons(reasons), _) => {
            assert_eq!(reasons, [LimitExceeded::ActiveShare(0.3), LimitExceeded::SideEffects(2)]);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_full_disk_is_reported_after_other_reasons() {
    let full = ApplyCircumstances { is_store_in_memory: true, ..circumstances(None) };
    assert!(matches!(refusal(&small(), &full), ActionError::DiskFull));
    assert!(matches!(refusal(&large(), &full), ActionError::LimitExceeded(..)));
}

#[test]
fn recent_plans_count_towards_the_limit() {
    let mut plan = small();
    plan.recently_ended = RecentImpact { plans: 3, rows: 16, active: 16, uncounted: 0 };
    let expected = LimitExceeded::CombinedActiveShare { share: 0.21, plans: 3 };
    match refusal(&plan, &circumstances(None)) {
        ActionError::LimitExceeded(ConfirmationReasons(reasons), _) => assert_eq!(reasons, [expected]),
        other => panic!("{other}"),
    }
    plan.recently_ended.active = 15;
    assert!(authorize_apply(&plan, &circumstances(None)).is_ok(), "exactly a fifth is within the limit");
}
