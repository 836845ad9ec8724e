//! The one rule of who may apply a plan, at each of its limits.

use sessionwatch_core::{
    instant::Instant,
    safety_limit::{Ended, LimitExceeded, MOST},
};
use sessionwatch_targets::side_effects::{Kind, SideEffect};

use super::*;
use crate::remediation::{Selection, Summary, error::Reason};

const LIMIT: SafetyLimit = SafetyLimit { share: 0.2, rows: 10_000, most: MOST };
const TTL: SignedDuration = SignedDuration::from_mins(15);

fn now() -> Instant {
    Instant::UNIX_EPOCH + SignedDuration::from_hours(24)
}

/// A plan that ends five of a hundred active sessions.
fn small() -> Plan {
    let kept = plans::Plan {
        id: "p1".into(),
        target: "shop".into(),
        address: "postgres://db/shop".into(),
        about: String::new(),
        made_at: now(),
        made_by: "ada".into(),
        touched_at: now(),
        state: plans::State::Planned,
        rows: 5,
        active: 5,
        summary: String::new(),
        approved_by: None,
    };
    let summary = Summary { all_active: 100, all_rows: 100, ..Summary::default() };
    Plan { kept, selection: Selection::Duplicates, summary, ended: Ended::default() }
}

/// One that ends thirty of them, which is more than a fifth.
fn large() -> Plan {
    let mut plan = small();
    (plan.kept.rows, plan.kept.active) = (30, 30);
    plan
}

fn circumstances(name: Option<&str>) -> ApplyCircumstances<'_> {
    ApplyCircumstances {
        now: now(),
        actor: "ada",
        consent: Consent { name, by_policy: false },
        safety_limit: LIMIT,
        plan_ttl: TTL,
        requires_approval: false,
        is_store_in_memory: false,
    }
}

fn refusal(plan: &Plan, circumstances: &ApplyCircumstances<'_>) -> ActError {
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
        [(plans::State::Planned, true), (plans::State::Begun, true), (plans::State::Done, false)]
    {
        plan.kept.state = state;
        assert_eq!(authorize_apply(&plan, &circumstances(None)).is_ok(), is_open, "{state:?}");
    }
    assert!(matches!(refusal(&plan, &circumstances(None)), ActError::Done(id) if id == "p1"));
}

#[test]
fn a_plan_is_too_old_after_its_time_and_so_is_one_of_the_future() {
    let tick = SignedDuration::from_micros(1);
    for (age, is_fresh) in [(TTL, true), (TTL + tick, false), (-TTL, true), (-TTL - tick, false)] {
        let later = ApplyCircumstances { now: now() + age, ..circumstances(None) };
        assert_eq!(authorize_apply(&small(), &later).is_ok(), is_fresh, "{age:?}");
    }
    let later = ApplyCircumstances { now: now() + TTL + tick, ..circumstances(None) };
    assert!(matches!(refusal(&small(), &later), ActError::Stale { id, minutes: 15 } if id == "p1"));
}

#[test]
fn a_plan_beyond_the_limit_needs_the_name_of_the_target() {
    let share = LimitExceeded::Share(0.3);
    match refusal(&large(), &circumstances(None)) {
        ActError::LimitExceeded(Reason(reasons), name) => {
            assert_eq!((reasons, name), (vec![share], "shop".into()))
        }
        other => panic!("{other}"),
    }
    assert!(authorize_apply(&large(), &circumstances(Some("shop"))).is_ok());
    for typed in ["", "Shop", "shop ", "p1"] {
        let refused = refusal(&large(), &circumstances(Some(typed)));
        assert!(matches!(&refused, ActError::NotConfirmed(name) if name == typed), "{refused}");
    }
    let refused = refusal(&small(), &circumstances(Some("warehouse")));
    assert!(matches!(refused, ActError::NotConfirmed(_)), "a small plan does not take another name either");
}

#[test]
fn of_a_target_without_a_name_the_name_of_the_database_is_typed() {
    for (target, name) in [
        ("postgres://ada:***@db.example:5432/shop?sslmode=require", "shop"),
        ("postgres://db.example", "target"),
        ("postgres://db.example/?host=/run", "target"),
        ("sqlite.db", "sqlite.db"),
    ] {
        let mut plan = large();
        plan.kept.target = target.into();
        assert!(authorize_apply(&plan, &circumstances(Some(name))).is_ok(), "{target}");
        assert!(authorize_apply(&plan, &circumstances(Some("***"))).is_err(), "{target}");
    }
}

#[test]
fn a_second_person_is_another_account_than_the_one_who_applies() {
    let strict = |actor| ApplyCircumstances { actor, requires_approval: true, ..circumstances(Some("shop")) };
    let approved_by = |name: Option<&str>| {
        let mut plan = large();
        plan.kept.approved_by = name.map(str::to_owned);
        plan
    };
    for (approved, actor, is_enough) in [
        (None, "ada", false),
        (Some("ada"), "ada", false),
        // A program that acts for an account is no second person.
        (Some("ada"), "ada (deploys)", false),
        (Some("bob"), "ada", true),
        (Some("bob"), "ada (deploys)", true),
        (Some("ada"), "adam", true),
    ] {
        let decided = authorize_apply(&approved_by(approved), &strict(actor));
        assert_eq!(decided.is_ok(), is_enough, "{approved:?} {actor}");
    }
    assert!(matches!(refusal(&large(), &strict("ada")), ActError::NotAgreed(_)));
    // To agree does not replace to confirm.
    let unnamed = ApplyCircumstances { consent: Consent::default(), ..strict("ada") };
    assert!(matches!(refusal(&approved_by(Some("bob")), &unnamed), ActError::LimitExceeded(..)));
}

#[test]
fn what_the_configuration_has_done_waits_for_no_second_person_and_is_limited_all_the_same() {
    let by_policy = |name| ApplyCircumstances {
        consent: Consent { name, by_policy: true },
        requires_approval: true,
        ..circumstances(None)
    };
    assert!(authorize_apply(&large(), &by_policy(Some("shop"))).is_ok());
    assert!(matches!(refusal(&large(), &by_policy(None)), ActError::LimitExceeded(..)));
}

#[test]
fn to_put_back_is_limited_by_shared_tokens_and_not_by_how_much_it_is() {
    let mut plan = large();
    plan.selection = Selection::Restore { archive: "p0".into(), user: None };
    assert!(authorize_apply(&plan, &circumstances(None)).is_ok());
    plan.summary.shared = 2;
    match refusal(&plan, &circumstances(None)) {
        ActError::LimitExceeded(Reason(reasons), _) => assert_eq!(reasons, [LimitExceeded::SharedTokens(2)]),
        other => panic!("{other}"),
    }
}

#[test]
fn every_reason_to_confirm_is_named_at_once() {
    let effect =
        |kind| SideEffect { kind, table: "cart".into(), name: "fk".into(), rows: None, archived: false };
    let mut plan = large();
    plan.summary.side_effects = [Kind::Cascade, Kind::Restrict, Kind::Trigger].map(effect).into();
    match refusal(&plan, &circumstances(None)) {
        ActError::LimitExceeded(Reason(reasons), _) => {
            assert_eq!(reasons, [LimitExceeded::Share(0.3), LimitExceeded::SideEffects(2)]);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn without_room_for_the_archive_nothing_is_removed_and_other_reasons_are_said_first() {
    let full = ApplyCircumstances { is_store_in_memory: true, ..circumstances(None) };
    assert!(matches!(refusal(&small(), &full), ActError::NoRoom));
    assert!(matches!(refusal(&large(), &full), ActError::LimitExceeded(..)));
}

#[test]
fn what_other_plans_ended_lately_counts() {
    let mut plan = small();
    plan.ended = Ended { plans: 3, rows: 16, active: 16, uncounted: 0 };
    let expected = LimitExceeded::ShareTogether { share: 0.21, plans: 3 };
    match refusal(&plan, &circumstances(None)) {
        ActError::LimitExceeded(Reason(reasons), _) => assert_eq!(reasons, [expected]),
        other => panic!("{other}"),
    }
    plan.ended.active = 15;
    assert!(authorize_apply(&plan, &circumstances(None)).is_ok(), "a fifth is not more than a fifth");
}
