use sessionwatch_core::{
    alert::{Alert, AlertState},
    duration::DAY,
    incident::IncidentSeverity,
};
use sessionwatch_store::{
    alerts::AlertRecord,
    incidents::{IncidentRecord, IncidentState},
    samples::{GaugeSample, SampleRetention},
    silences::SilenceRecord,
};

use super::*;
use crate::app::test_app::TestApp;

const TARGETS: &str = "[[target]]\nname = \"shop\"\nurl = \"postgres://u@h/d\"\n\
                       [[target]]\nname = \"app\"\nurl = \"postgres://u@h/e\"\n";

#[derive(Clone, Copy)]
enum Stored {
    Pending,
    Firing,
    Acknowledged,
    /// Passing, but the last result is unknown.
    Unknown,
    Resolved,
}

/// Stores the last check run of the target `shop`, and an alert of each check.
fn scene(run: Option<bool>, alerts: &[(&str, &str, Stored)]) -> TestApp {
    let scene = TestApp::with_config(TARGETS);
    let now = scene.clock.now();
    if let Some(succeeded) = run {
        let gauges: &[(&'static str, f64)] = &[("active", 1.0)];
        let sample = GaugeSample::from_run(now, succeeded.then_some(gauges));
        let retention = SampleRetention { max_age: DAY, confirmed_now: now };
        scene.store.write(|db| samples::record_sample(db, "shop", &sample, retention)).unwrap();
    }
    for (check, severity, stored) in alerts {
        let firing = AlertState::Firing { since: now, passing_runs: 0, notified_at: None };
        let state = match stored {
            Stored::Pending => AlertState::Pending { failing_runs: 1, since: now },
            Stored::Firing | Stored::Acknowledged => firing,
            Stored::Unknown | Stored::Resolved => AlertState::Resolved,
        };
        let is_unknown = matches!(stored, Stored::Unknown);
        let by = matches!(stored, Stored::Acknowledged).then(|| "ada".to_owned());
        let alert = AlertRecord {
            target: "shop".into(),
            check: (*check).into(),
            alert: Alert { state, is_acknowledged: by.is_some(), is_stale: is_unknown },
            severity: (*severity).into(),
            summary: String::new(),
            acknowledged_by: by,
            note: None,
            verdict: Some(if is_unknown { "unknown" } else { "passing" }.into()),
            unknown_reason: is_unknown.then(|| "hidden".to_owned()),
            finding: None,
            updated_at: now,
        };
        scene.store.write(|db| alerts::upsert_alert(db, &alert)).unwrap();
    }
    scene
}

#[tokio::test]
async fn the_state_of_a_target_is_the_worst_that_needs_attention() {
    use Stored::{Acknowledged, Firing, Pending, Resolved, Unknown};
    for (run, alerts, state) in [
        (Some(true), vec![], "passing"),
        (Some(true), vec![("a", "low", Resolved)], "passing"),
        (Some(true), vec![("a", "low", Pending)], "pending"),
        (Some(true), vec![("a", "low", Pending), ("b", "low", Unknown)], "unknown"),
        (Some(true), vec![("a", "low", Acknowledged), ("b", "low", Unknown)], "acknowledged"),
        (Some(true), vec![("a", "critical", Acknowledged), ("b", "low", Firing)], "failing"),
        // A target that was never checked, or not this time, is not passing.
        (None, vec![], "unknown"),
        (Some(false), vec![], "unknown"),
        (Some(false), vec![("a", "low", Pending)], "unknown"),
        (Some(false), vec![("a", "low", Firing)], "failing"),
    ] {
        let scene = scene(run, &alerts);
        let summary = load_status_summary(&scene).await.unwrap();
        let states: Vec<(&str, &str)> =
            summary.targets.iter().map(|target| (target.name.as_str(), target.state)).collect();
        assert_eq!(states, [("shop", state), ("app", "unknown")], "{run:?} {}", alerts.len());
        assert_eq!(summary.targets[0].last_run_at, run.map(|_| scene.clock.now()));
    }
}

#[tokio::test]
async fn only_firing_alerts_that_nobody_acknowledged_are_counted() {
    use Stored::{Acknowledged, Firing, Pending, Resolved};
    for (alerts, count, has_critical) in [
        (
            vec![("a", "critical", Acknowledged), ("b", "critical", Pending), ("c", "critical", Resolved)],
            0,
            false,
        ),
        (vec![("a", "critical", Acknowledged), ("b", "high", Firing)], 1, false),
        (vec![("a", "critical", Firing), ("b", "high", Firing)], 2, true),
    ] {
        let summary = load_status_summary(&scene(Some(true), &alerts)).await.unwrap();
        assert_eq!((summary.unacknowledged, summary.has_critical), (count, has_critical));
    }
}

#[tokio::test]
async fn a_contained_incident_is_still_open() {
    let scene = scene(None, &[]);
    for (number, state) in
        [IncidentState::Open, IncidentState::Contained, IncidentState::Closed].into_iter().enumerate()
    {
        let incident = IncidentRecord {
            id: format!("INC-{number}"),
            target: "shop".into(),
            severity: IncidentSeverity::P1,
            state,
            opened_at: scene.clock.now(),
            opened_by: "ada".into(),
            contained_at: None,
            closed_at: None,
            report_fields: "{}".into(),
        };
        scene.store.write(|db| incidents::upsert_incident(db, &incident)).unwrap();
    }
    assert_eq!(load_status_summary(&scene).await.unwrap().open_incidents, 2);
}

#[tokio::test]
async fn silenced_alerts_need_nobody() {
    let alerts = [("a", "critical", Stored::Firing), ("b", "low", Stored::Firing)];
    let scene = scene(Some(true), &alerts);
    let silence = |check: Option<&str>, subject: Option<&str>| SilenceRecord {
        id: 0,
        target: None,
        check: check.map(Into::into),
        subject: subject.map(Into::into),
        ends_at: scene.clock.now() + DAY,
        created_by: "ada".into(),
        note: "known".into(),
    };
    let counts = async |silence: SilenceRecord| {
        scene.store.write(|db| silences::insert_silence(db, &silence, scene.clock.now())).unwrap();
        let summary = load_status_summary(&scene).await.unwrap();
        (summary.unacknowledged, summary.has_critical)
    };
    assert_eq!(counts(silence(None, Some("u1"))).await, (2, true), "other users are not silenced");
    assert_eq!(counts(silence(Some("a"), None)).await, (1, false));
    assert_eq!(counts(silence(None, None)).await, (0, false));
}
