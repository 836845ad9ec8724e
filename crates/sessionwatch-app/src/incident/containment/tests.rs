//! Tests of containment on a store.

use sessionwatch_core::{incident::IncidentSeverity, safety_limit::RecentImpact, timestamp::UtcTimestamp};
use sessionwatch_store::plans::{PlanRecord, PlanState};

use super::*;
use crate::{incident::workflow::tests::Scene, remediation::PlanSummary};

/// Plan that revokes the sessions of two users.
fn plan() -> ActionPlan {
    let record = PlanRecord {
        id: "p-1".into(),
        target: "shop".into(),
        address: "sqlite:missing.db".into(),
        request: String::new(),
        created_at: UtcTimestamp::UNIX_EPOCH,
        created_by: "ada".into(),
        updated_at: UtcTimestamp::UNIX_EPOCH,
        state: PlanState::Done,
        row_count: 7,
        active_sessions: 7,
        summary: String::new(),
        approved_by: None,
    };
    let summary = PlanSummary { users: 2, ..PlanSummary::default() };
    ActionPlan { record, selection: Selection::Duplicates, summary, recently_ended: RecentImpact::default() }
}

#[test]
fn a_containment_of_users_needs_at_least_one_user() {
    let users = ["7".to_owned()];
    for (name, with_users, without_users) in [
        ("all", Some(Selection::All), Some(Selection::All)),
        ("users", Some(Selection::Users(users.to_vec())), None),
        ("duplicates", Some(Selection::Duplicates), Some(Selection::Duplicates)),
        ("orphaned", Some(Selection::Orphaned), Some(Selection::Orphaned)),
    ] {
        let scope = ContainmentScope::parse(name).unwrap();
        assert_eq!((scope.selection(&users), scope.selection(&[])), (with_users, without_users), "{name}");
    }
    for name in ["", "ALL", "everybody", "orphans", " users"] {
        assert_eq!(ContainmentScope::parse(name), None, "{name}");
    }
}

#[test]
fn a_finished_plan_contains_the_incident_and_an_interrupted_one_does_not() {
    for (remaining, state, kind, text) in [
        (0, IncidentState::Contained, "contained", ", 1 skipped"),
        (3, IncidentState::Open, "note", ", 1 skipped, 3 remaining"),
    ] {
        let scene = Scene::new(IncidentSeverity::P1);
        let applied =
            ApplyReport { done: 4, done_earlier: 2, skipped: 1, remaining, ..ApplyReport::default() };
        scene.load().record_plan(scene.context(), &plan(), &applied).unwrap();
        let recorded = scene.load();
        assert_eq!(recorded.incident.state, state);
        let contained_at = (state == IncidentState::Contained).then(|| scene.clock.now());
        assert_eq!(recorded.incident.contained_at, contained_at);
        let message = format!("6 sessions of 2 users revoked by `cleanup duplicates`{text}");
        assert_eq!(scene.timeline(), [[kind, "contain", &message].map(String::from)]);
        let detail = recorded.timeline[0].parse_detail().unwrap();
        assert_eq!((&detail["plan"], &detail["done"]), (&json!("p-1"), &json!(6)));
    }
}

#[test]
fn a_plan_that_revoked_nothing_does_not_contain_the_incident() {
    let scene = Scene::new(IncidentSeverity::P1);
    for (skipped, still_matching) in [(5, Some(5)), (5, None), (0, Some(0))] {
        let applied = ApplyReport { skipped, still_matching, ..ApplyReport::default() };
        scene.load().record_plan(scene.context(), &plan(), &applied).unwrap();
        let recorded = scene.load();
        assert_eq!(recorded.incident.state, IncidentState::Open);
        assert_eq!(recorded.incident.contained_at, None);
        let latest = recorded.timeline.last().unwrap();
        assert_eq!((latest.kind.as_str(), latest.step.as_str()), ("note", "contain"));
        assert!(latest.message.starts_with("0 sessions of 2 users revoked"), "{}", latest.message);
    }
}

#[test]
fn a_plan_whose_sessions_are_all_gone_contains_the_incident() {
    let scene = Scene::new(IncidentSeverity::P1);
    let applied = ApplyReport { skipped: 5, still_matching: Some(0), ..ApplyReport::default() };
    scene.load().record_plan(scene.context(), &plan(), &applied).unwrap();
    assert_eq!(scene.load().incident.state, IncidentState::Contained);
}

#[test]
fn a_plan_that_ends_after_the_incident_was_closed_is_noted_and_leaves_it_closed() {
    let scene = Scene::new(IncidentSeverity::P1);
    let running = scene.load();
    scene.load().close(scene.context(), Some("a false alarm")).unwrap();
    let closed = scene.load().incident;
    let applied = ApplyReport { done: 4, ..ApplyReport::default() };
    running.record_plan(scene.context(), &plan(), &applied).unwrap();
    let recorded = scene.load();
    assert_eq!(recorded.incident, closed);
    let latest = recorded.timeline.last().unwrap();
    assert_eq!((latest.kind.as_str(), latest.step.as_str()), ("note", "contain"));
    assert_eq!(
        latest.message,
        "4 sessions of 2 users revoked by `cleanup duplicates`, after the incident was closed"
    );
    assert_eq!(latest.parse_detail().unwrap()["plan"], "p-1");
}
