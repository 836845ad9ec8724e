use std::time::Duration;

use jiff::SignedDuration;
use sessionwatch_core::{
    alert::Alert,
    checks::CheckOutcome,
    duration::{DAY, HOUR},
    incident::IncidentSeverity,
};
use sessionwatch_store::{Store, alerts::AlertRecord};
use sessionwatch_targets::{engine::EngineKind, error::TargetError};

use super::*;

const TICK: SignedDuration = SignedDuration::from_micros(1);

fn now() -> UtcTimestamp {
    UtcTimestamp::UNIX_EPOCH + 1_000 * DAY
}

/// Incident whose sessions were revoked that long ago.
fn incident(state: IncidentState, contained_ago: Option<SignedDuration>) -> IncidentRecord {
    let contained_at = contained_ago.map(|ago| now() - ago);
    IncidentRecord {
        id: format!("INC-{}", state.name()),
        target: "shop".into(),
        severity: IncidentSeverity::P1,
        state,
        opened_at: now() - 2 * DAY,
        opened_by: "ada".into(),
        contained_at,
        closed_at: (state == IncidentState::Closed).then(now),
        report_fields: "{}".into(),
    }
}

fn store_of(incidents: &[IncidentRecord]) -> Store {
    let store = Store::open_in_memory().unwrap();
    store
        .write(|db| incidents.iter().try_for_each(|incident| incidents::upsert_incident(db, incident)))
        .unwrap();
    store
}

fn reopen(store: &Store, reasons: &[ReopenReason]) -> bool {
    store.write(|db| reopen_after_run(db, "shop", reasons, now())).unwrap()
}

fn reason(value: Option<f64>) -> ReopenReason {
    ReopenReason { check: "duplicate-tokens".into(), value, text: "duplicate-tokens: 3 tokens".into() }
}

/// Stores the result of the previous run of `duplicate-tokens`.
fn store_previous(store: &Store, verdict: &str, value: &str, updated_ago: SignedDuration) {
    let alert = AlertRecord {
        target: "shop".into(),
        check: "duplicate-tokens".into(),
        alert: Alert::default(),
        severity: "critical".into(),
        summary: String::new(),
        acknowledged_by: None,
        note: None,
        verdict: Some(verdict.into()),
        unknown_reason: None,
        finding: Some(format!("{{\"value\":{value}}}")),
        updated_at: now() - updated_ago,
    };
    store.write(|db| alerts::upsert_alert(db, &alert)).unwrap();
}

#[test]
fn an_incident_is_reopened_for_a_day_after_its_containment() {
    use IncidentState::{Closed, Contained, Open};
    for (state, contained_ago, reopens) in [
        (Contained, Some(SignedDuration::ZERO), true),
        (Contained, Some(DAY - TICK), true),
        (Contained, Some(DAY), false),
        (Closed, Some(DAY - TICK), true),
        (Closed, Some(DAY), false),
        (Closed, None, false),
        (Open, Some(HOUR), false),
        (Open, None, false),
    ] {
        let store = store_of(&[incident(state, contained_ago)]);
        assert_eq!(reopen(&store, &[reason(None)]), reopens, "{state:?} {contained_ago:?}");
        let id = incident(state, None).id;
        let stored = store.read(|db| incidents::find_incident(db, &id)).unwrap().unwrap();
        let expected = if reopens { Open } else { state };
        assert_eq!(stored.state, expected, "{state:?} {contained_ago:?}");
        if reopens {
            assert_eq!(stored.closed_at, None);
            assert_eq!(stored.contained_at, contained_ago.map(|ago| now() - ago));
        }
    }
}

#[test]
fn the_reason_is_on_the_timeline_once() {
    let store = store_of(&[incident(IncidentState::Contained, Some(HOUR))]);
    let other = ReopenReason { check: "reappeared-sessions".into(), value: None, text: "2 are back".into() };
    assert!(reopen(&store, &[reason(None), other]));
    assert!(!reopen(&store, &[reason(None)]), "it is open already");
    let timeline = store.read(|db| incidents::list_timeline(db, "INC-contained")).unwrap();
    assert_eq!(timeline.len(), 1);
    assert_eq!(
        (timeline[0].actor.as_str(), timeline[0].kind.as_str(), timeline[0].message.as_str()),
        ("sessionwatch", "reopened", "duplicate-tokens: 3 tokens; 2 are back")
    );
}

#[test]
fn neither_a_healthy_run_nor_another_target_reopens_an_incident() {
    let store = store_of(&[incident(IncidentState::Contained, Some(HOUR))]);
    assert!(!reopen(&store, &[]));
    assert!(!store.write(|db| reopen_after_run(db, "app", &[reason(None)], now())).unwrap());
    assert!(store.read(|db| incidents::list_timeline(db, "INC-contained")).unwrap().is_empty());
}

#[test]
fn an_open_incident_of_the_target_keeps_a_closed_one_closed() {
    let store = store_of(&[incident(IncidentState::Closed, Some(HOUR)), incident(IncidentState::Open, None)]);
    assert!(!reopen(&store, &[reason(None)]));
    let closed = store.read(|db| incidents::find_incident(db, "INC-closed")).unwrap().unwrap();
    assert_eq!(closed.state, IncidentState::Closed);
}

#[test]
fn a_closed_incident_is_not_reopened_by_what_was_known_when_it_was_closed() {
    let just_now = SignedDuration::ZERO;
    for (verdict, before, updated_ago, value, reopens) in [
        ("failing", "3.0", just_now, Some(3.0), false),
        ("failing", "3.0", just_now, Some(2.0), false),
        ("failing", "3.0", just_now, Some(4.0), true),
        // Without numbers, growth cannot be seen.
        ("failing", "null", just_now, Some(4.0), false),
        ("failing", "3.0", just_now, None, false),
        ("passing", "3.0", just_now, Some(3.0), true),
        ("unknown", "3.0", just_now, Some(3.0), true),
        // A result from before the containment was about the sessions that were revoked.
        ("failing", "3.0", HOUR, Some(3.0), true),
        ("failing", "3.0", 2 * HOUR, Some(3.0), true),
    ] {
        let store = store_of(&[incident(IncidentState::Closed, Some(HOUR))]);
        store_previous(&store, verdict, before, updated_ago);
        let case = format!("{verdict} {before} {updated_ago:?} {value:?}");
        assert_eq!(reopen(&store, &[reason(value)]), reopens, "{case}");
    }
    // While the incident is contained but not closed, any critical finding reopens it.
    let store = store_of(&[incident(IncidentState::Contained, Some(HOUR))]);
    store_previous(&store, "failing", "3.0", SignedDuration::ZERO);
    assert!(reopen(&store, &[reason(Some(3.0))]));
}

fn result(id: &str, severity: Severity, verdict: CheckVerdict) -> Checked {
    let outcome = CheckOutcome {
        verdict,
        value: Some(2.0),
        threshold: "> 0".into(),
        summary: "2 rows".into(),
        proving_constraint: None,
        user_limit: None,
        evidence_total: None,
        is_informational: false,
    };
    Checked { id: id.into(), severity, action: String::new(), outcome, evidence: vec![], is_accepted: false }
}

#[test]
fn critical_findings_and_reappeared_sessions_reopen_an_incident() {
    use CheckVerdict::{Failing, Passing};
    let results = vec![
        result("duplicate-tokens", Severity::Critical, Failing),
        result("token-reassigned", Severity::Critical, Passing),
        result("user-session-excess", Severity::Critical, CheckVerdict::Unknown("hidden".into())),
        result("orphaned-sessions", Severity::High, Failing),
        result("reappeared-sessions", Severity::Low, Failing),
    ];
    let report = CheckReport {
        target: "shop".into(),
        is_default_target: false,
        engine: EngineKind::Scan,
        duration: Duration::ZERO,
        observation: Err(TargetError::StatementTimeout),
        results: results.clone(),
        notes: vec![],
        replica_lag: None,
        history_update: None,
    };
    let reason = |check: &str| ReopenReason {
        check: check.into(),
        value: Some(2.0),
        text: format!("{check}: 2 rows"),
    };
    assert_eq!(reopen_reasons(&report), [reason("duplicate-tokens"), reason("reappeared-sessions")]);
    let of_logs = |results: &[Checked]| -> Vec<LogCheckResult> {
        results.iter().map(|outcome| LogCheckResult { outcome: outcome.clone(), events: vec![] }).collect()
    };
    assert_eq!(reopen_reason_from_logs(&of_logs(&results)).as_deref(), Some("duplicate-tokens: 2 rows"));
    assert_eq!(reopen_reason_from_logs(&of_logs(&results[1..])), None);
    assert_eq!(reopen_reason_from_logs(&[]), None);
}
