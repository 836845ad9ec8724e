use std::time::Duration;

use sessionwatch_core::severity::Severity;
use sessionwatch_targets::error::TargetError;

use super::*;

fn outcome(verdict: CheckVerdict, is_aside: bool) -> CheckResult {
    let finding = CheckOutcome {
        verdict,
        value: Some(3.0),
        threshold: "> 0".into(),
        summary: "3 rows | \"x\"\u{1b}[31m".into(),
        proving_constraint: None,
        user_limit: None,
        is_informational: is_aside,
    };
    CheckResult {
        id: "orphaned-sessions".into(),
        severity: Severity::High,
        action: "look".into(),
        outcome: finding,
        evidence: vec![],
    }
}

fn report(outcomes: Vec<CheckResult>) -> CheckReport {
    CheckReport {
        target: "shop".into(),
        engine: EngineKind::Scan,
        duration: Duration::from_millis(1_500),
        observation: Err(TargetError::StatementTimeout),
        results: outcomes,
        notes: vec![],
        replica_lag: None,
        history_update: None,
    }
}

fn unknown() -> CheckVerdict {
    CheckVerdict::Unknown("it did not answer".into())
}

#[test]
fn the_worst_that_decides_is_the_verdict() {
    use CheckVerdict::{Failing, Passing};
    let run = |verdict| outcome(verdict, true);
    let of = |verdict| outcome(verdict, false);
    for (outcomes, verdict) in [
        (vec![], "unknown"),
        (vec![of(Passing)], "passing"),
        (vec![of(Passing), of(unknown())], "unknown"),
        (vec![of(unknown()), of(Failing), of(Passing)], "failing"),
        // What is about the run decides only where nothing else was asked for.
        (vec![of(Passing), run(Failing)], "passing"),
        (vec![run(Failing)], "failing"),
        (vec![run(Passing), run(unknown())], "unknown"),
    ] {
        assert_eq!(report(outcomes).verdict(), verdict);
    }
}

#[test]
fn a_target_that_was_not_seen_is_unknown_in_every_format() {
    let reports = [report(vec![outcome(unknown(), false)])];
    let text = render_reports(&reports, OutputFormat::Table);
    assert!(text.starts_with("shop: not known, ") && text.ends_with("\n\nVerdict: unknown\n"), "{text}");
    let json: Value = serde_json::from_str(&render_reports(&reports, OutputFormat::Json)).unwrap();
    assert_eq!(json["result"], "unknown");
    assert_eq!(json["error"], TargetError::StatementTimeout.to_string());
    assert_eq!((&json["stats"], &json["checked_at"]), (&Value::Null, &Value::Null));
    assert_eq!(json["checks"][0]["reason"], "it did not answer");
    assert_eq!(json["duration_ms"], 1_500.0);
    let markdown = render_reports(&reports, OutputFormat::Markdown);
    assert!(markdown.starts_with("**shop**: unknown\n\n| check |"), "{markdown}");
}

#[test]
fn one_report_is_a_document_and_several_are_a_list_or_a_line_each() {
    let two = [report(vec![]), report(vec![])];
    let list: Value = serde_json::from_str(&render_reports(&two, OutputFormat::Json)).unwrap();
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    assert!(
        serde_json::from_str::<Value>(&render_reports(&two[..1], OutputFormat::Json)).unwrap().is_object()
    );
    let lines = render_reports(&two, OutputFormat::Ndjson);
    assert_eq!(lines.lines().count(), 2);
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).unwrap().is_object()));
    assert_eq!(render_reports(&[], OutputFormat::Ndjson), "");
    assert_eq!(
        render_reports(&[], OutputFormat::Csv),
        "target,check,severity,verdict,value,threshold,summary\n"
    );
}

#[test]
fn what_a_check_says_ends_no_cell() {
    let reports = [report(vec![outcome(CheckVerdict::Failing, false)])];
    let markdown = render_reports(&reports, OutputFormat::Markdown);
    let row = markdown.lines().last().unwrap();
    assert_eq!(row, "| orphaned-sessions | high | failing | 3 rows \\| \"x\"\u{fffd}[31m | > 0 |");
    let csv = render_reports(&reports, OutputFormat::Csv);
    let row = csv.lines().nth(1).unwrap();
    assert!(row.starts_with("shop,orphaned-sessions,high,failing,3,> 0,\"3 rows | \"\"x\"\""), "{row}");
}

#[test]
fn it_is_said_that_evidence_is_cut_where_there_may_be_more() {
    let full = MAX_EVIDENCE_ROWS;
    let exactly = |count: usize| Some(f64::from(u32::try_from(count).unwrap()));
    for (check, value, shown, said) in [
        ("orphaned-sessions", exactly(full), full, None),
        ("orphaned-sessions", exactly(full + 5), full, Some(format!("{full} of {} shown", full + 5))),
        ("orphaned-sessions", exactly(full + 5), full - 1, None),
        // The value counts tokens, and what is listed are rows.
        ("duplicate-tokens", exactly(2), full, Some(format!("{full} shown, there may be more"))),
        ("expired-backlog", None, full, Some(format!("{full} shown, there may be more"))),
        ("a-check-of-ones-own", exactly(full + 5), full, None),
    ] {
        assert_eq!(truncation_note(check, value, shown), said, "{check} {value:?} {shown}");
    }
}

#[test]
fn a_session_ends_at_its_end() {
    let now = UtcTimestamp::UNIX_EPOCH + 24 * HOUR;
    for (end, is, hours) in [
        (Some(now + HOUR / 2), "active", Some(0.5)),
        (Some(now), "expired", Some(0.0)),
        (Some(now - 3 * HOUR), "expired", Some(-3.0)),
        (None, "no end", None),
    ] {
        assert_eq!((session_status(end, now), hours_left(end, now)), (is, hours));
    }
}

#[test]
fn evidence_is_a_line_of_what_is_known_without_anything_that_steers_a_terminal() {
    let now = UtcTimestamp::UNIX_EPOCH + 24 * HOUR;
    let session = EvidenceRow {
        token_prefix: Some("ab\u{1b}c".into()),
        id: Some("7".into()),
        user: Some("a\nda".into()),
        expires_at: Some(now + HOUR / 2),
        rows: 1,
        display: vec![Some("Ada\u{202e}".into()), None, Some("ada@example.org".into())],
    };
    assert_eq!(
        render_evidence_line(&session, now),
        "token ab\u{fffd}c… user a\u{fffd}da (Ada\u{fffd}, ada@example.org) ends 1970-01-02 00:30:00 UTC (0.5 h left)"
    );
    let ended = EvidenceRow { expires_at: Some(now), display: vec![None], ..session.clone() };
    assert_eq!(
        render_evidence_line(&ended, now),
        "token ab\u{fffd}c… user a\u{fffd}da ended 1970-01-02 00:00:00 UTC"
    );
    let endless = EvidenceRow { expires_at: None, user: None, display: vec![], ..session.clone() };
    assert_eq!(render_evidence_line(&endless, now), "token ab\u{fffd}c… has no readable end");
    let holder = EvidenceRow { token_prefix: None, rows: 21, display: vec![], ..session };
    assert_eq!(render_evidence_line(&holder, now), "user a\u{fffd}da 21 sessions");
}

#[test]
fn a_failing_check_names_its_page_and_no_masked_address() {
    let failed = outcome(CheckVerdict::Failing, false);
    let command = |target: &str| render_failing_check(&failed, target, UtcTimestamp::UNIX_EPOCH);
    let more =
        "\n  → look\n  More: docs/checks/orphaned-sessions.md, and `sessionwatch sql orphaned-sessions ";
    assert!(command("shop").ends_with(&format!("{more}shop`\n")), "{}", command("shop"));
    assert!(command("postgres://ada:***@db/shop").ends_with(&format!("{more}URL`\n")));
    let own = CheckResult { id: "mine".into(), action: String::new(), ..failed.clone() };
    assert_eq!(
        render_failing_check(&own, "shop", UtcTimestamp::UNIX_EPOCH).lines().count(),
        2,
        "it has no page and no action"
    );
}
