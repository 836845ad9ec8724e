use jiff::SignedDuration;

use super::*;

const TICK: SignedDuration = SignedDuration::from_micros(1);

fn incident(severity: IncidentSeverity) -> IncidentRecord {
    IncidentRecord {
        id: "INC-1".into(),
        target: "shop".into(),
        severity,
        state: IncidentState::Open,
        opened_at: UtcTimestamp::UNIX_EPOCH,
        opened_by: "ada".into(),
        contained_at: None,
        closed_at: None,
        report_fields: "{}".into(),
    }
}

fn entry(kind: &str, detail: &str) -> TimelineEntry {
    TimelineEntry {
        at: UtcTimestamp::UNIX_EPOCH,
        actor: "ada".into(),
        kind: kind.into(),
        step: "contain".into(),
        message: String::new(),
        detail: detail.into(),
    }
}

#[test]
fn the_time_for_containment_is_counted_in_whole_minutes() {
    let minute = SignedDuration::from_mins(1);
    for (severity, elapsed, text) in [
        (IncidentSeverity::P0, SignedDuration::ZERO, "15 minutes left"),
        (IncidentSeverity::P0, minute - TICK, "15 minutes left"),
        (IncidentSeverity::P0, 15 * minute, "0 minutes left"),
        (IncidentSeverity::P1, 59 * minute, "1 minute left"),
        (IncidentSeverity::P3, 1_440 * minute, "0 minutes left"),
    ] {
        let text = format!("{text} to revoke the sessions.");
        let now = UtcTimestamp::UNIX_EPOCH + elapsed;
        assert_eq!(describe_time_left(&incident(severity), now), Some(text), "{severity:?} {elapsed:?}");
    }
    // The clock was set back since the incident was opened.
    let before = describe_time_left(&incident(IncidentSeverity::P0), UtcTimestamp::UNIX_EPOCH - 60 * minute);
    assert_eq!(before.as_deref(), Some("15 minutes left to revoke the sessions."));
    let late = describe_time_left(&incident(IncidentSeverity::P0), UtcTimestamp::UNIX_EPOCH + 16 * minute);
    assert_eq!(late.as_deref(), Some("Revoking the sessions is 1 minute overdue."));
}

#[test]
fn no_time_is_counted_after_the_containment_or_the_closing() {
    let now = UtcTimestamp::UNIX_EPOCH + DAY;
    let contained = IncidentRecord { contained_at: Some(now), ..incident(IncidentSeverity::P0) };
    assert_eq!(describe_time_left(&contained, now), None);
    let closed = IncidentRecord { state: IncidentState::Closed, ..incident(IncidentSeverity::P0) };
    assert_eq!(describe_time_left(&closed, now), None);
}

#[test]
fn a_report_field_is_added_or_replaced_and_the_others_stay() {
    let mut incident = incident(IncidentSeverity::P1);
    for (name, text) in [("summary", "a"), ("lessons", "b"), ("summary", "c \"quoted\" \u{0}")] {
        incident = with_field(incident, name, text).unwrap();
    }
    let fields: Value = serde_json::from_str(&incident.report_fields).unwrap();
    assert_eq!(fields, json!({ "lessons": "b", "summary": "c \"quoted\" \u{0}" }));
}

#[test]
fn damaged_report_fields_are_an_error_and_not_overwritten() {
    for damaged in ["", "null", "[]", "\"text\"", "{\"summary\": ", "{} {}"] {
        let incident = IncidentRecord { report_fields: damaged.into(), ..incident(IncidentSeverity::P1) };
        let refused = with_field(incident, "summary", "x");
        assert!(
            matches!(&refused, Err(StoreError::Undecodable { column, .. }) if column == "fields"),
            "{damaged}: {refused:?}"
        );
    }
}

#[test]
fn the_plans_that_revoked_sessions_are_those_of_containments() {
    let timeline = [
        entry("note", r#"{"plan":"p-interrupted"}"#),
        entry("contained", r#"{"plan":"p-1"}"#),
        entry("contained", "{}"),
        entry("contained", r#"{"plan":null}"#),
        entry("contained", r#"{"plan":"p-2"}"#),
    ];
    assert_eq!(containment_plans(&timeline).unwrap(), ["p-1", "p-2"]);
    assert!(containment_plans(&[]).unwrap().is_empty());
    // An entry that is ignored would hide sessions that reappeared.
    for damaged in [r#"{"plan":1}"#, r#"{"plan":["p-1"]}"#, "", "{"] {
        let read = containment_plans(&[entry("contained", damaged)]);
        assert!(matches!(read, Err(StoreError::Undecodable { .. })), "{damaged}: {read:?}");
    }
}
