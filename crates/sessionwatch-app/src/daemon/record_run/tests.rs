//! Tests of what a check run leaves in the store: alerts, history and queued messages.

use std::{path::Path, time::Duration};

use serde_json::Value;
use sessionwatch_core::{
    alert::AlertState,
    checks::CheckOutcome,
    duration::{DAY, HOUR, SECOND},
    severity::Severity,
};
use sessionwatch_store::{
    Store,
    alerts::{AlertRecord, find_alert},
    outbox,
    silences::{self, SilenceRecord},
};
use sessionwatch_targets::{engine::EngineKind, error::TargetError, evidence::EvidenceRow};

use super::*;

const CONFIG: &str = "[[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:1\"\n";
const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn start() -> UtcTimestamp {
    UtcTimestamp::UNIX_EPOCH + 1_000 * DAY
}

fn result(id: &str, severity: Severity, verdict: CheckVerdict) -> CheckResult {
    let outcome = CheckOutcome {
        verdict,
        value: Some(3.0),
        threshold: "> 0".into(),
        summary: "3 rows".into(),
        proving_constraint: None,
        user_limit: None,
        evidence_total: None,
        is_informational: false,
    };
    CheckResult {
        id: id.into(),
        severity,
        action: "look".into(),
        outcome,
        evidence: vec![],
        is_accepted: false,
    }
}

/// Row of evidence about a user.
fn row(user: &str) -> EvidenceRow {
    EvidenceRow {
        token_prefix: None,
        id: None,
        user: Some(user.into()),
        expires_at: None,
        rows: 1,
        display: vec![],
        ..EvidenceRow::default()
    }
}

/// Report of a run that did not reach the target, with results from before the connection broke.
fn report(results: Vec<CheckResult>) -> CheckReport {
    CheckReport {
        target: "shop".into(),
        is_default_target: false,
        engine: EngineKind::Scan,
        duration: Duration::ZERO,
        observation: Err(TargetError::ConnectionLost),
        results,
        notes: vec![],
        replica_lag: None,
        history_update: None,
    }
}

struct Scene {
    store: Store,
    config: Config,
    interval: SignedDuration,
    runs: i32,
}

impl Scene {
    fn new() -> Self {
        let config = Config::parse(Path::new("sessionwatch.toml"), CONFIG).unwrap();
        Self { store: Store::open_in_memory().unwrap(), config, interval: MINUTE, runs: 0 }
    }

    /// Records a run, a minute after the one before. Returns the number of queued notifications.
    fn run(&mut self, results: &[CheckResult]) -> u32 {
        let now = start() + self.runs * MINUTE;
        self.runs += 1;
        let report = report(results.to_vec());
        let ids = results.iter().map(|result| (result.id.clone(), self.interval));
        let (intervals, sample) = (ids.collect::<BTreeMap<_, _>>(), to_sample(&report, now));
        let run = RunRecord {
            report: &report,
            sample: &sample,
            serve: &self.config.serve,
            rules: &self.config.checks,
            intervals: &intervals,
            now,
            retention_now: now,
        };
        self.store.write(|db| record_run(db, run)).unwrap()
    }

    fn alert(&self, check: &str) -> AlertRecord {
        self.store.read(|db| find_alert(db, "shop", check)).unwrap().unwrap()
    }

    fn is_firing(&self, check: &str) -> bool {
        matches!(self.alert(check).alert.state, AlertState::Firing { .. })
    }

    fn messages(&self) -> Vec<Value> {
        let due = self.store.read(|db| outbox::list_due_messages(db, "hook", start() + DAY, 100)).unwrap();
        due.iter().map(|message| serde_json::from_str(&message.message).unwrap()).collect()
    }
}

#[test]
fn a_target_is_unreachable_after_three_failed_runs() {
    let mut scene = Scene::new();
    for (run, queued) in [(1, 0), (2, 0), (3, 1), (4, 0)] {
        assert_eq!(scene.run(&[]), queued, "run {run}");
        assert_eq!(scene.is_firing(TARGET_UNREACHABLE), run >= 3, "run {run}");
    }
    let message = &scene.messages()[0];
    assert_eq!((&message["check"], &message["severity"]), (&json!("target-unreachable"), &json!("high")));
    assert_eq!(message["summary"], "check runs fail: the connection to the database was lost");
    assert!(message["finding"]["action"].as_str().is_some_and(|hint| !hint.is_empty()), "{message}");
}

#[test]
fn a_failed_run_is_recorded_as_such_and_without_numbers() {
    let mut scene = Scene::new();
    scene.run(&[]);
    let sample = to_sample(&report(vec![]), start());
    assert_eq!((sample.runs, sample.failed_runs, sample.gauges.len()), (1, 1, 0));
    let (at, document) = scene.store.read(|db| latest_reports::find_report(db, "shop")).unwrap().unwrap();
    assert_eq!((at, &document["stats"]), (start(), &Value::Null));
    assert_eq!(document["result"], "unknown");
}

#[test]
fn a_check_fires_after_as_many_runs_as_its_severity_and_interval_ask_for() {
    for (id, severity, interval, runs) in [
        ("duplicate-tokens", Severity::Critical, MINUTE, 1),
        ("orphaned-sessions", Severity::High, MINUTE, 2),
        // With rare runs, a second one would come too late.
        ("orphaned-sessions", Severity::High, 15 * MINUTE, 1),
        ("orphaned-sessions", Severity::High, 15 * MINUTE - SECOND, 2),
        // The finding is gone in the next run.
        ("token-reassigned", Severity::High, MINUTE, 1),
        ("reappeared-sessions", Severity::Low, MINUTE, 1),
    ] {
        let mut scene = Scene { interval, ..Scene::new() };
        for run in 1..=runs {
            assert!(run == 1 || !scene.is_firing(id), "{id} before run {run}");
            scene.run(&[result(id, severity, CheckVerdict::Failing)]);
        }
        assert!(scene.is_firing(id), "{id} {severity:?} {interval:?}");
    }
}

#[test]
fn an_unknown_result_keeps_an_alert_and_says_why() {
    let mut scene = Scene::new();
    scene.run(&[result("duplicate-tokens", Severity::Critical, CheckVerdict::Failing)]);
    let hidden = CheckVerdict::Unknown("rows are hidden".into());
    let mut unknown = result("duplicate-tokens", Severity::Critical, hidden);
    scene.run(std::slice::from_ref(&unknown));
    let alert = scene.alert("duplicate-tokens");
    assert!(scene.is_firing("duplicate-tokens") && alert.alert.is_stale);
    assert_eq!(alert.verdict.as_deref(), Some("unknown"));
    assert_eq!(alert.unknown_reason.as_deref(), Some("rows are hidden"));
    // What is only about the run is no reason to doubt the target.
    unknown.outcome.is_informational = true;
    scene.run(&[unknown]);
    assert_eq!(scene.alert("duplicate-tokens").unknown_reason, None);
}

#[test]
fn a_check_that_did_not_run_this_time_keeps_its_last_result() {
    let mut scene = Scene::new();
    scene.run(&[
        result("duplicate-tokens", Severity::Critical, CheckVerdict::Failing),
        result("orphaned-sessions", Severity::High, CheckVerdict::Passing),
    ]);
    let before = scene.alert("duplicate-tokens");
    scene.run(&[result("orphaned-sessions", Severity::High, CheckVerdict::Passing)]);
    assert_eq!(scene.alert("duplicate-tokens"), before);
}

/// Stores a silence of a user.
fn silence(scene: &Scene, subject: &str) {
    let silence = SilenceRecord {
        id: 0,
        target: None,
        check: None,
        subject: Some(subject.into()),
        ends_at: start() + HOUR,
        created_by: "ada".into(),
        note: String::new(),
    };
    scene.store.write(|db| silences::insert_silence(db, &silence, start())).unwrap();
}

#[test]
fn a_silence_of_one_user_does_not_cover_the_others() {
    for (users, queued) in [(vec!["u1"], 0), (vec!["u1", "u1"], 0), (vec!["u1", "u2"], 1), (vec![], 1)] {
        let mut scene = Scene::new();
        silence(&scene, "u1");
        let mut failing = result("duplicate-tokens", Severity::Critical, CheckVerdict::Failing);
        failing.evidence = users.iter().map(|user| row(user)).collect();
        assert_eq!(scene.run(&[failing]), queued, "{users:?}");
    }
}

#[test]
fn a_silence_of_one_user_does_not_cover_evidence_that_may_be_cut() {
    for (rows, queued) in [(MAX_EVIDENCE_ROWS - 1, 0), (MAX_EVIDENCE_ROWS, 1)] {
        let mut scene = Scene::new();
        silence(&scene, "u1");
        let mut failing = result("duplicate-tokens", Severity::Critical, CheckVerdict::Failing);
        failing.evidence = vec![row("u1"); rows];
        assert_eq!(scene.run(&[failing]), queued, "{rows}");
    }
}

#[test]
fn a_finding_of_a_log_check_fires_at_once_with_its_events() {
    let scene = Scene::new();
    let record = |verdict| {
        let outcome = result("log-user-mismatch", Severity::Medium, verdict);
        let results = [LogCheckResult { outcome, events: vec![] }];
        scene.store.write(|db| record_log_checks(db, "shop", &results, &scene.config, start())).unwrap()
    };
    assert_eq!(record(CheckVerdict::Failing), 1);
    assert!(scene.is_firing("log-user-mismatch"));
    let finding = scene.messages()[0]["finding"].clone();
    assert_eq!((&finding["action"], &finding["log_events"]), (&json!("look"), &json!([])));
    assert_eq!(record(CheckVerdict::Passing), 1, "one passing evaluation resolves it");
    assert!(!scene.is_firing("log-user-mismatch"));
}
