//! The report as JUnit XML: a test suite per target, a test case per check.

use std::fmt::Write as _;

use sessionwatch_clock as clock;
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    count_of, evidence::EvidenceWords, fix, headline::ResultGroup, text::describe_result, truncation_note,
};
use crate::{
    check_run::{CheckReport, CheckResult},
    sanitize::escape_xml,
};

/// The numbers of a suite.
#[derive(Clone, Copy, Debug, Default)]
struct SuiteCounts {
    tests: u64,
    failures: u64,
    errors: u64,
    skipped: u64,
}

impl SuiteCounts {
    fn of(report: &CheckReport) -> Self {
        let count = |group| count_of(report.in_group(group).len());
        Self {
            tests: count_of(report.results.len()),
            failures: count(ResultGroup::Failing),
            errors: count(ResultGroup::Unknown),
            skipped: count(ResultGroup::Skipped) + count(ResultGroup::Accepted),
        }
    }

    fn attributes(self) -> String {
        let Self { tests, failures, errors, skipped } = self;
        format!(r#"tests="{tests}" failures="{failures}" errors="{errors}" skipped="{skipped}""#)
    }
}

impl std::iter::Sum for SuiteCounts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, one| Self {
            tests: sum.tests + one.tests,
            failures: sum.failures + one.failures,
            errors: sum.errors + one.errors,
            skipped: sum.skipped + one.skipped,
        })
    }
}

/// Renders reports as one JUnit document.
pub(super) fn render_junit(reports: &[CheckReport]) -> String {
    let total: SuiteCounts = reports.iter().map(SuiteCounts::of).sum();
    let seconds: f64 = reports.iter().map(|report| report.duration.as_secs_f64()).sum();
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(text, r#"<testsuites name="sessionwatch" {} time="{seconds:.3}">"#, total.attributes());
    for report in reports {
        text.push_str(&render_suite(report));
    }
    text.push_str("</testsuites>\n");
    text
}

fn render_suite(report: &CheckReport) -> String {
    let (name, counts) = (escape_xml(&report.target), SuiteCounts::of(report).attributes());
    let seconds = report.duration.as_secs_f64();
    let observation = report.observation.as_ref().ok();
    let time = observation.map_or(String::new(), |observation| {
        format!(r#" timestamp="{}""#, clock::format_rfc3339(observation.stats.taken_at))
    });
    let mut text = format!("  <testsuite name=\"{name}\" {counts} time=\"{seconds:.3}\"{time}>\n");
    for result in &report.results {
        text.push_str(&render_case(report, result, &name));
    }
    if !report.notes.is_empty() {
        let notes: Vec<String> = report.notes.iter().map(|note| escape_xml(note)).collect();
        let _ = writeln!(text, "    <system-out>{}</system-out>", notes.join("\n"));
    }
    text.push_str("  </testsuite>\n");
    text
}

fn render_case(report: &CheckReport, result: &CheckResult, suite: &str) -> String {
    let (id, found) = (escape_xml(&result.id), escape_xml(&describe_result(result)));
    let head = format!(r#"    <testcase classname="{suite}" name="{id}" time="0""#);
    let kind = result.severity.name();
    match report.group_of(result) {
        ResultGroup::Passing => format!("{head}/>\n"),
        ResultGroup::Failing => format!(
            "{head}>\n      <failure message=\"{found}\" type=\"{kind}\">{}</failure>\n    </testcase>\n",
            describe_finding(report, result)
        ),
        ResultGroup::Unknown => {
            format!("{head}>\n      <error message=\"{found}\" type=\"unknown\"/>\n    </testcase>\n")
        }
        ResultGroup::Accepted => {
            format!("{head}>\n      <skipped message=\"accepted: {found}\"/>\n    </testcase>\n")
        }
        ResultGroup::Skipped => format!("{head}>\n      <skipped message=\"{found}\"/>\n    </testcase>\n"),
        // A slow check run is no failure of the table.
        ResultGroup::Notice => {
            format!("{head}>\n      <system-out>{found}</system-out>\n    </testcase>\n")
        }
    }
}

/// The body of a failure: a line for the threshold, each row of evidence, the action and each command.
fn describe_finding(report: &CheckReport, result: &CheckResult) -> String {
    let finding = &result.outcome;
    let now = report.observation.as_ref().map_or(UtcTimestamp::UNIX_EPOCH, |seen| seen.stats.taken_at);
    let mut lines = vec![format!("Fails if: {}", finding.threshold)];
    lines.extend(result.evidence.iter().map(|row| EvidenceWords::new(row, now).to_line()));
    lines.extend(truncation_note(finding.evidence_total, result.evidence.len()));
    if !result.action.is_empty() {
        lines.push(format!("Action: {}", result.action));
    }
    let commands = fix::fix_commands(&result.id, report.fix_target(), finding.user_limit);
    lines.extend(commands.iter().map(|command| format!("Fix: {command}")));
    lines.iter().map(|line| escape_xml(line)).collect::<Vec<_>>().join("\n")
}
