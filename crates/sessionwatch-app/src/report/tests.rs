use std::time::Duration;

use sessionwatch_core::{checks::CheckOutcome, severity::Severity};
use sessionwatch_targets::error::TargetError;

use super::*;

fn outcome(verdict: CheckVerdict, is_informational: bool) -> CheckResult {
    let finding = CheckOutcome {
        verdict,
        value: Some(3.0),
        threshold: "> 0".into(),
        summary: "3 rows | \"x\"\u{1b}[31m".into(),
        proving_constraint: None,
        user_limit: None,
        evidence_total: None,
        is_informational,
    };
    CheckResult {
        id: "orphaned-sessions".into(),
        severity: Severity::High,
        action: "look".into(),
        outcome: finding,
        evidence: vec![],
        is_accepted: false,
    }
}

fn report(results: Vec<CheckResult>) -> CheckReport {
    CheckReport {
        target: "shop".into(),
        is_default_target: false,
        engine: EngineKind::Scan,
        duration: Duration::from_millis(1_500),
        observation: Err(TargetError::StatementTimeout),
        results,
        notes: vec![],
        replica_lag: None,
        history_update: None,
    }
}

fn unknown() -> CheckVerdict {
    CheckVerdict::Unknown("it did not answer".into())
}

#[test]
fn the_worst_result_that_counts_decides() {
    use CheckVerdict::{Failing, Passing};
    let run = |verdict| outcome(verdict, true);
    let of = |verdict| outcome(verdict, false);
    for (outcomes, verdict) in [
        (vec![], "unknown"),
        (vec![of(Passing)], "passing"),
        (vec![of(Passing), of(unknown())], "unknown"),
        (vec![of(unknown()), of(Failing), of(Passing)], "failing"),
        // A check about the run decides only where no other check was requested.
        (vec![of(Passing), run(Failing)], "passing"),
        (vec![run(Failing)], "failing"),
        (vec![run(Passing), run(unknown())], "unknown"),
    ] {
        assert_eq!(report(outcomes).verdict(), verdict);
    }
}

#[test]
fn a_target_that_could_not_be_checked_is_unknown_in_every_format() {
    let reports = [report(vec![outcome(unknown(), false)])];
    let text = render_reports(&reports, ReportFormat::Table);
    assert_eq!(text, format!("unknown: shop: {}\n", TargetError::StatementTimeout));
    let document: Value = serde_json::from_str(&render_reports(&reports, ReportFormat::Json)).unwrap();
    let json = &document["targets"][0];
    assert_eq!(json["result"], "unknown");
    assert_eq!(json["error"], TargetError::StatementTimeout.to_string());
    assert_eq!((&json["stats"], &json["checked_at"]), (&Value::Null, &Value::Null));
    assert_eq!(json["checks"][0]["reason"], "it did not answer");
    assert_eq!(json["duration_ms"], 1_500.0);
    let markdown = render_reports(&reports, ReportFormat::Markdown);
    assert!(markdown.starts_with("## unknown: shop: "), "{markdown}");
    assert!(markdown.contains("\n| unknown | orphaned-sessions | high | it did not answer |"), "{markdown}");
    let sarif: Value = serde_json::from_str(&render_reports(&reports, ReportFormat::Sarif)).unwrap();
    let run = &sarif["runs"][0];
    assert_eq!(run["invocations"][0]["executionSuccessful"], false);
    let result = &run["results"][0];
    assert_eq!((&result["kind"], &result["level"]), (&"open".into(), &"none".into()));
    let junit = render_reports(&reports, ReportFormat::Junit);
    assert!(junit.contains(r#"<error message="it did not answer" type="unknown"/>"#), "{junit}");
}

#[test]
fn any_number_of_reports_is_one_document_or_a_line_each() {
    let two = [report(vec![]), report(vec![])];
    for count in 0..=2 {
        let document = render_reports(&two[..count], ReportFormat::Json);
        let document: Value = serde_json::from_str(&document).unwrap();
        assert_eq!(document["schema"], 2);
        assert_eq!(document["targets"].as_array().map(Vec::len), Some(count));
    }
    let lines = render_reports(&two, ReportFormat::Ndjson);
    assert_eq!(lines.lines().count(), 2);
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).unwrap()["schema"] == 2));
    assert_eq!(render_reports(&[], ReportFormat::Ndjson), "");
    assert_eq!(
        render_reports(&[], ReportFormat::Csv),
        "target,check,severity,result,value,threshold,summary\n"
    );
}

#[test]
fn hostile_text_cannot_break_a_format() {
    let mut hostile = outcome(CheckVerdict::Failing, false);
    hostile.evidence.push(EvidenceRow {
        token_prefix: Some("abcdefgh".into()),
        id: None,
        user: Some("[a](http://x)".into()),
        expires_at: None,
        rows: 1,
        display: vec![Some("<b>&\"|{0}\u{1b}".into())],
        ..EvidenceRow::default()
    });
    let reports = [CheckReport { target: "a]]>'b".into(), ..report(vec![hostile]) }];
    let markdown = render_reports(&reports, ReportFormat::Markdown);
    assert!(markdown.contains("3 rows \\| \"x\"\u{fffd}[31m. Fails if > 0.\n"), "{markdown}");
    assert!(
        markdown
            .contains("\n| token abcdefgh… | user \\[a\\](http://x) (&lt;b>&amp;\"\\|{0}\u{fffd}) | has no"),
        "{markdown}"
    );
    let csv = render_reports(&reports, ReportFormat::Csv);
    let row = csv.lines().nth(1).unwrap();
    assert!(row.contains(",orphaned-sessions,high,failing,3,> 0,\"3 rows | \"\"x\"\""), "{row}");
    let junit = render_reports(&reports, ReportFormat::Junit);
    assert!(junit.contains("<testcase classname=\"a]]&gt;&#39;b\" name=\"orphaned-sessions\""), "{junit}");
    assert!(junit.contains("(&lt;b&gt;&amp;&quot;|{0}\u{fffd})"), "{junit}");
    let sarif: Value = serde_json::from_str(&render_reports(&reports, ReportFormat::Sarif)).unwrap();
    let message = sarif["runs"][0]["results"][0]["message"]["text"].as_str().unwrap();
    assert!(message.contains("user \\[a\\](http://x) (<b>&\"|{{0}}\u{fffd})"), "{message}");
}

#[test]
fn sarif_has_a_rule_per_check_and_a_result_per_finding() {
    let passing = CheckResult { id: "mine".into(), ..outcome(CheckVerdict::Passing, false) };
    let notice = CheckResult { id: "slow-check-run".into(), ..outcome(CheckVerdict::Failing, true) };
    let failing = CheckResult { severity: Severity::Medium, ..outcome(CheckVerdict::Failing, false) };
    let reports = [report(vec![passing, notice, failing])];
    let sarif: Value = serde_json::from_str(&render_reports(&reports, ReportFormat::Sarif)).unwrap();
    let run = &sarif["runs"][0];
    let rules: Vec<_> =
        run["tool"]["driver"]["rules"].as_array().unwrap().iter().map(|rule| &rule["id"]).collect();
    assert_eq!(rules, ["mine", "slow-check-run", "orphaned-sessions"]);
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 1);
    assert_eq!(
        (&results[0]["ruleId"], &results[0]["ruleIndex"], &results[0]["level"]),
        (&"orphaned-sessions".into(), &2.into(), &"warning".into())
    );
    let message = results[0]["message"]["text"].as_str().unwrap();
    assert!(message.contains("\nAction: look\nFix: sessionwatch cleanup orphaned shop\n"), "{message}");
}

#[test]
fn junit_counts_failures_errors_and_skipped_checks() {
    let results = [
        outcome(CheckVerdict::Passing, false),
        outcome(CheckVerdict::Failing, false),
        outcome(unknown(), false),
        outcome(unknown(), true),
        outcome(CheckVerdict::Failing, true),
    ];
    let junit = render_reports(&[report(results.to_vec()), report(results.to_vec())], ReportFormat::Junit);
    let counts = |factor: u64| {
        let (tests, one) = (5 * factor, factor);
        format!(r#"tests="{tests}" failures="{one}" errors="{one}" skipped="{one}""#)
    };
    assert!(junit.contains(&format!("<testsuites name=\"sessionwatch\" {}", counts(2))), "{junit}");
    assert!(junit.contains(&format!("<testsuite name=\"shop\" {}", counts(1))), "{junit}");
    assert_eq!(junit.matches("<failure message=").count(), 2);
    assert_eq!(junit.matches("<skipped message=").count(), 2);
}

#[test]
fn only_what_counts_makes_a_report_fail_at_a_severity() {
    let low = CheckResult { severity: Severity::Low, ..outcome(CheckVerdict::Failing, false) };
    let aside = CheckResult { severity: Severity::Critical, ..outcome(CheckVerdict::Failing, true) };
    let report = report(vec![low, aside, outcome(unknown(), true)]);
    assert!(report.fails_at(Severity::Low) && !report.fails_at(Severity::Medium));
    assert!(!report.has_unknown());
    assert!(self::report(vec![]).has_unknown());
    assert!(self::report(vec![outcome(unknown(), true)]).has_unknown(), "no other check ran");
}

#[test]
fn evidence_that_is_cut_says_so() {
    let full = MAX_EVIDENCE_ROWS;
    for (total, shown, expected) in [
        (Some(10), full, None),
        (Some(15), full, Some(format!("{full} of 15 shown"))),
        (Some(1_180), full, Some(format!("{full} of 1,180 shown"))),
        (Some(15), full - 1, None),
        (None, full, Some(format!("{full} shown; there may be more"))),
        (None, 0, None),
    ] {
        assert_eq!(truncation_note(total, shown), expected, "{total:?} {shown}");
    }
}

#[test]
fn stored_evidence_reads_as_in_a_report() {
    let now = UtcTimestamp::UNIX_EPOCH;
    let row = EvidenceRow {
        token_prefix: Some("1a2b3c4d".into()),
        id: Some("7".into()),
        user: Some("42".into()),
        expires_at: Some(now + 3 * HOUR),
        rows: 1,
        display: vec![Some("Ada".into()), None, Some("ada@example.org".into())],
        ..EvidenceRow::default()
    };
    assert_eq!(
        describe_evidence_json(&evidence_json(&row), now),
        "token 1a2b3c4d…, user 42 (Ada, ada@example.org), expires in 3 h (1970-01-01 03:00:00 UTC)"
    );
}

#[test]
fn a_session_is_expired_at_its_expiry() {
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
