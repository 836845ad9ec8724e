//! Tests of the workflow on a store, for a target that cannot be reached.

use jiff::SignedDuration;
use sessionwatch_clock::Clock;
use sessionwatch_core::incident::IncidentSeverity;
use sessionwatch_store::Store;

use super::*;
use crate::config::Config;

const ID: &str = "INC-20260131-001";

/// Store with an incident of a target that cannot be reached.
pub(in crate::incident) struct Scene {
    _folder: tempfile::TempDir,
    config: Config,
    store: Store,
    pub(in crate::incident) clock: Clock,
}

impl Scene {
    /// Stores an open incident.
    pub(in crate::incident) fn new(severity: IncidentSeverity) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = "[[target]]\nname = \"shop\"\nurl = \"sqlite:missing.db\"\n";
        let config = Config::parse(&folder.path().join("sessionwatch.toml"), text).unwrap();
        let (clock, _) = Clock::manual(UtcTimestamp::UNIX_EPOCH + SignedDuration::from_hours(24));
        let store = Store::open_in_memory().unwrap();
        let incident = IncidentRecord {
            id: ID.into(),
            target: "shop".into(),
            severity,
            state: IncidentState::Open,
            opened_at: clock.now(),
            opened_by: "ada".into(),
            contained_at: None,
            closed_at: None,
            report_fields: "{}".into(),
        };
        store.write(|db| incidents::upsert_incident(db, &incident)).unwrap();
        Self { _folder: folder, config, store, clock }
    }

    pub(in crate::incident) fn context(&self) -> ActionContext<'_> {
        let target = &self.config.targets[0];
        ActionContext { config: &self.config, target, store: &self.store, clock: &self.clock, actor: "ada" }
    }

    pub(in crate::incident) fn load(&self) -> IncidentWorkflow {
        self.store.read(|db| IncidentWorkflow::load(db, ID)).unwrap().unwrap()
    }

    /// Adds entries of that kind and step.
    pub(in crate::incident) fn record(&self, entries: &[(&str, &str)]) {
        for (kind, step) in entries {
            let entry = NewTimelineEntry { kind, step, text: "by hand", detail: None };
            self.load().add_entry(self.context(), entry).unwrap();
        }
    }

    /// Returns kind, step and message of the stored timeline.
    pub(in crate::incident) fn timeline(&self) -> Vec<[String; 3]> {
        let entries = self.load().timeline.into_iter();
        entries.map(|entry| [entry.kind, entry.step, entry.message]).collect()
    }
}

fn gap() -> EvidenceGap {
    EvidenceGap { part: "rows.ndjson".into(), why: "the target did not answer".into() }
}

fn packed(gaps: Vec<EvidenceGap>) -> PackedEvidence {
    PackedEvidence { bytes: vec![0; 3], gaps }
}

#[tokio::test]
async fn a_step_that_needs_a_note_is_not_done_without_one() {
    let scene = Scene::new(IncidentSeverity::P3);
    for note in ["", " \t\u{a0}\n"] {
        let refused = scene.load().advance(scene.context(), StepAnswer::Done(note)).await;
        assert!(matches!(refused, Err(ActionError::NoteRequired("Confirm the incident", _))), "{refused:?}");
    }
    assert!(scene.timeline().is_empty());
}

#[tokio::test]
async fn an_answer_applies_to_one_step_and_a_finding_is_recorded_once() {
    let scene = Scene::new(IncidentSeverity::P3);
    let mut workflow = scene.load();
    let advanced = workflow.advance(scene.context(), StepAnswer::Done("two tickets")).await.unwrap();
    let completed: Vec<_> = advanced.completed.iter().map(|(step, by)| (step.id, by.clone())).collect();
    assert_eq!(completed, [("confirm", StepCompletion::Confirmed)]);
    let (waiting, finding) = advanced.waiting_step.unwrap();
    assert_eq!(waiting.id, "rollback");
    assert!(finding.starts_with("cannot open the SQLite file: no such file"), "{finding}");
    // The same finding again is not worth another entry.
    workflow.advance(scene.context(), StepAnswer::Unanswered).await.unwrap();
    assert_eq!(
        scene.timeline(),
        [["done", "confirm", "two tickets"], ["detected", "rollback", &finding]]
            .map(|row| row.map(String::from))
    );
    assert_eq!(scene.load().latest_finding(waiting), Some(finding.as_str()));
    scene.record(&[("reopened", "")]);
    assert_eq!(scene.load().latest_finding(waiting), None, "a finding from before does not count");
}

#[tokio::test]
async fn a_detected_step_can_be_skipped_but_not_marked_as_done() {
    let scene = Scene::new(IncidentSeverity::P3);
    scene.record(&[("done", "confirm")]);
    let refused = scene.load().advance(scene.context(), StepAnswer::Done("trust me")).await;
    assert!(matches!(refused, Err(ActionError::CheckedAutomatically("Prepare the rollback"))), "{refused:?}");
    let skipped = scene.load().advance(scene.context(), StepAnswer::Skipped("no write role")).await.unwrap();
    assert_eq!(skipped.completed[0].1, StepCompletion::Skipped);
    assert_eq!(skipped.waiting_step.unwrap().0.id, "contain");
    assert_eq!(scene.timeline()[1..], [["skipped", "rollback", "no write role"].map(String::from)]);
}

#[tokio::test]
async fn a_step_is_finished_by_the_first_of_two_people() {
    let scene = Scene::new(IncidentSeverity::P3);
    let (mut first, mut second) = (scene.load(), scene.load());
    first.advance(scene.context(), StepAnswer::Done("ada saw it")).await.unwrap();
    let refused = second.advance(scene.context(), StepAnswer::Done("bob saw it")).await;
    assert!(matches!(refused, Err(ActionError::StepAlreadyDone("Confirm the incident"))), "{refused:?}");
    assert!(!scene.timeline().iter().any(|entry| entry[2] == "bob saw it"));
}

#[test]
fn only_a_finished_step_is_reopened_and_then_comes_next() {
    let scene = Scene::new(IncidentSeverity::P3);
    scene.record(&[("done", "confirm"), ("skipped", "rollback")]);
    let mut workflow = scene.load();
    for step in ["contain", "affected", "", "CONFIRM"] {
        let refused = workflow.reopen_step(scene.context(), step, "by mistake");
        assert!(matches!(refused, Err(ActionError::StepNotDone(named)) if named == step), "{step}");
    }
    workflow.reopen_step(scene.context(), "confirm", "by mistake").unwrap();
    assert_eq!(workflow.next_step().map(|step| step.id), Some("confirm"));
    assert_eq!(scene.load().next_step().map(|step| step.id), Some("confirm"));
}

#[test]
fn sessions_are_not_revoked_before_the_evidence_is_complete() {
    let scene = Scene::new(IncidentSeverity::P2);
    let missing = || scene.load().missing_evidence().unwrap();
    assert_eq!(missing().as_deref(), Some("no evidence has been written yet"));
    let write = |gaps| {
        scene.load().record_evidence(scene.context(), "written", "e.tar.age", &packed(gaps)).unwrap();
    };
    write(vec![gap()]);
    let reason = missing().unwrap();
    assert!(reason.starts_with("written; INCOMPLETE: rows.ndjson: "), "{reason}");
    write(vec![]);
    assert_eq!(missing(), None);
    // What happened after the reopening is not in the old file.
    scene.record(&[("reopened", "")]);
    assert_eq!(missing().as_deref(), Some("no evidence has been written yet"));
    scene.record(&[("skipped", "evidence")]);
    assert_eq!(missing(), None);
    assert_eq!(Scene::new(IncidentSeverity::P3).load().missing_evidence().unwrap(), None);
}

#[test]
fn revoking_without_evidence_needs_a_reason_that_is_recorded() {
    let scene = Scene::new(IncidentSeverity::P0);
    for reason in [None, Some(""), Some(" \n\t")] {
        let refused = scene.load().require_evidence(scene.context(), reason);
        assert!(
            matches!(&refused, Err(ActionError::EvidenceRequired { id, .. }) if id == ID),
            "{reason:?}: {refused:?}"
        );
    }
    assert!(scene.timeline().is_empty());
    scene.load().require_evidence(scene.context(), Some("  the attacker is active ")).unwrap();
    let text = "sessions are revoked without complete evidence (no evidence has been written yet): \
                the attacker is active";
    assert_eq!(scene.timeline(), [["skipped", "evidence", text].map(String::from)]);
    let recorded = scene.load();
    assert_eq!(recorded.timeline[0].parse_detail().unwrap()["reason"], "the attacker is active");
    // The skipped step still keeps the incident from being closed without a reason.
    assert!(matches!(recorded.close(scene.context(), None), Err(ActionError::NotClosable { .. })));
}

#[test]
fn damaged_evidence_is_an_error_and_not_missing_or_complete() {
    let scene = Scene::new(IncidentSeverity::P1);
    let detail = json!({ "complete": "yes" });
    let entry = NewTimelineEntry { kind: "evidence", step: "evidence", text: "x", detail: Some(&detail) };
    scene.load().add_entry(scene.context(), entry).unwrap();
    assert!(matches!(scene.load().missing_evidence(), Err(StoreError::Undecodable { .. })));
    let tried = scene.load().require_evidence(scene.context(), Some("urgent"));
    assert!(matches!(tried, Err(ActionError::Store(StoreError::Undecodable { .. }))), "{tried:?}");
}

#[test]
fn an_incident_with_open_points_is_closed_only_with_a_recorded_reason() {
    let scene = Scene::new(IncidentSeverity::P3);
    scene.record(&[("done", "confirm"), ("done", "rollback"), ("skipped", "contain")]);
    for reason in [None, Some(""), Some(" \n\t\u{a0}")] {
        match scene.load().close(scene.context(), reason) {
            Err(ActionError::NotClosable { id, points }) => {
                assert_eq!(id, ID);
                assert_eq!(
                    points,
                    [
                        "1 step is not done: Verify the containment (verify)",
                        "1 step was skipped: Revoke the sessions (contain)"
                    ]
                );
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(scene.load().incident.state, IncidentState::Open);
    scene.load().close(scene.context(), Some("a false alarm")).unwrap();
    let closed = scene.load();
    assert_eq!(closed.incident.state, IncidentState::Closed);
    assert_eq!(closed.incident.closed_at, Some(scene.clock.now()));
    let message = &closed.timeline.last().unwrap().message;
    assert!(
        message.starts_with("overridden despite open points (Revoke the sessions (`contain`) was skipped"),
        "{message}"
    );
    assert!(message.ends_with("): a false alarm"), "{message}");
    let again = closed.close(scene.context(), Some("again"));
    assert!(matches!(again, Err(ActionError::Closed(id)) if id == ID));
}

#[test]
fn an_incident_without_open_points_is_closed_without_a_reason() {
    let scene = Scene::new(IncidentSeverity::P3);
    scene.record(&[("done", "confirm"), ("done", "rollback"), ("done", "contain"), ("done", "verify")]);
    scene.load().close(scene.context(), None).unwrap();
    let closed = scene.load();
    assert_eq!(closed.incident.state, IncidentState::Closed);
    let detail = closed.timeline.last().unwrap().parse_detail().unwrap();
    assert_eq!(detail, json!({ "open_points": [], "override": null }));
}

#[tokio::test]
async fn an_incident_that_was_closed_meanwhile_accepts_no_change() {
    let scene = Scene::new(IncidentSeverity::P1);
    scene.record(&[("done", "confirm")]);
    let mut stale = scene.load();
    scene.load().close(scene.context(), Some("a false alarm")).unwrap();
    let (closed, context) = (scene.load(), scene.context());
    let results = [
        ("done", stale.advance(context, StepAnswer::Done("users 2 and 3")).await.map(|_| ())),
        ("skip", stale.advance(context, StepAnswer::Skipped("nobody")).await.map(|_| ())),
        ("reopen", stale.reopen_step(context, "confirm", "by mistake")),
        ("field", stale.set_report_field(context, "summary", "x")),
        ("evidence", stale.require_evidence(context, Some("urgent"))),
        ("close", stale.close(context, Some("again"))),
    ];
    for (change, result) in results {
        assert!(matches!(&result, Err(ActionError::Closed(id)) if id == ID), "{change}: {result:?}");
    }
    assert_eq!(scene.load().timeline, closed.timeline);
    assert_eq!(scene.load().incident, closed.incident);
}

#[tokio::test]
async fn a_finding_is_not_recorded_after_the_incident_was_closed() {
    let scene = Scene::new(IncidentSeverity::P3);
    scene.record(&[("done", "confirm")]);
    let mut stale = scene.load();
    scene.load().close(scene.context(), Some("a false alarm")).unwrap();
    let before = scene.timeline();
    let refused = stale.advance(scene.context(), StepAnswer::Unanswered).await;
    assert!(matches!(refused, Err(ActionError::Closed(_))), "{refused:?}");
    assert_eq!(scene.timeline(), before);
}

#[test]
fn steps_that_were_reopened_meanwhile_are_open_points() {
    let scene = Scene::new(IncidentSeverity::P3);
    scene.record(&[("done", "confirm"), ("done", "rollback"), ("done", "contain"), ("done", "verify")]);
    let (mut first, mut second, third) = (scene.load(), scene.load(), scene.load());
    first.reopen_step(scene.context(), "verify", "by mistake").unwrap();
    let refused = second.reopen_step(scene.context(), "verify", "by mistake");
    assert!(matches!(&refused, Err(ActionError::StepNotDone(step)) if step == "verify"), "{refused:?}");
    let refused = third.close(scene.context(), None);
    assert!(matches!(refused, Err(ActionError::NotClosable { .. })), "{refused:?}");
}

#[test]
fn a_report_field_keeps_what_others_wrote_meanwhile() {
    let scene = Scene::new(IncidentSeverity::P1);
    let (ada, bob) = (scene.load(), scene.load());
    ada.set_report_field(scene.context(), "summary", "<b>\u{1b}[31m two\nlines").unwrap();
    bob.set_report_field(scene.context(), "lessons", "rotate keys").unwrap();
    bob.set_report_field(scene.context(), "lessons", "rotate secrets").unwrap();
    let stored = scene.load().incident;
    assert_eq!(stored.report_field("summary").as_deref(), Some("<b>\u{1b}[31m two\nlines"));
    assert_eq!(stored.report_field("lessons").as_deref(), Some("rotate secrets"));
}

#[test]
fn the_name_of_incomplete_evidence_says_so() {
    let workflow = Scene::new(IncidentSeverity::P1).load();
    let now = UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(1_795_564_800);
    assert_eq!(workflow.evidence_file_name(now, &packed(vec![])), format!("{ID}-1795564800.tar.age"));
    assert_eq!(
        workflow.evidence_file_name(now, &packed(vec![gap()])),
        format!("{ID}-1795564800-incomplete.tar.age")
    );
}

#[test]
fn an_unknown_incident_is_not_loaded() {
    let scene = Scene::new(IncidentSeverity::P1);
    for id in ["", "INC-1", "INC-20260131-002", "inc-20260131-001"] {
        assert!(scene.store.read(|db| IncidentWorkflow::load(db, id)).unwrap().is_none(), "{id}");
    }
}
