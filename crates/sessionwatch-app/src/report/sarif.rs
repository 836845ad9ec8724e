//! The report as SARIF 2.1.0 for code scanning: a run per target, a rule per check, a result per finding.

use serde_json::{Value, json};
use sessionwatch_clock as clock;
use sessionwatch_core::{checks::CheckVerdict, severity::Severity, timestamp::UtcTimestamp};

use super::{evidence::EvidenceWords, fix, headline::ResultGroup, truncation_note};
use crate::{
    check_run::{CheckReport, CheckResult},
    checks,
    sanitize::sanitize_text,
};

/// The file that findings are attached to: services that show SARIF need one, and a table is no file.
const ANCHOR_FILE: &str = "sessionwatch.toml";

/// Renders reports as one SARIF document.
pub(super) fn render_sarif(reports: &[CheckReport]) -> String {
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": reports.iter().map(run_json).collect::<Vec<_>>(),
    });
    format!("{document:#}\n")
}

fn run_json(report: &CheckReport) -> Value {
    let target = sanitize_text(&report.target);
    let notifications: Vec<Value> = report
        .observation
        .as_ref()
        .err()
        .map(|error| json!({ "level": "error", "message": message_json(&format!("{target}: {error}")) }))
        .into_iter()
        .collect();
    json!({
        "tool": { "driver": {
            "name": "sessionwatch",
            "version": env!("CARGO_PKG_VERSION"),
            "semanticVersion": env!("CARGO_PKG_VERSION"),
            "rules": report.results.iter().map(rule_json).collect::<Vec<_>>(),
        } },
        // The category keeps the findings of two targets apart, from one upload to the next.
        "automationDetails": { "id": format!("sessionwatch/{target}/") },
        "invocations": [{
            "executionSuccessful": report.observation.is_ok(),
            "toolExecutionNotifications": notifications,
        }],
        "results": results_json(report, &target),
    })
}

fn results_json(report: &CheckReport, target: &str) -> Vec<Value> {
    let result = |(index, result): (usize, &CheckResult)| {
        let (kind, level) = match report.group_of(result) {
            ResultGroup::Failing | ResultGroup::Accepted => ("fail", sarif_level(result.severity)),
            // The standard's word for a rule that lacked the information to decide. Its level must be "none".
            ResultGroup::Unknown => ("open", "none"),
            ResultGroup::Notice | ResultGroup::Skipped | ResultGroup::Passing => return None,
        };
        let mut entry = json!({
            "ruleId": result.id,
            "ruleIndex": index,
            "kind": kind,
            "level": level,
            "message": message_json(&describe_finding(report, result)),
            "locations": [location_json(report, target)],
            "partialFingerprints": { "targetAndCheck/v1": format!("{target}/{}", result.id) },
        });
        if result.is_accepted {
            entry["baselineState"] = "unchanged".into();
            // Services that show SARIF close suppressed results, and ignore the state.
            entry["suppressions"] =
                json!([{ "kind": "external", "justification": "the baseline report has this finding too" }]);
        }
        Some(entry)
    };
    report.results.iter().enumerate().filter_map(result).collect()
}

fn rule_json(result: &CheckResult) -> Value {
    let builtin = checks::TABLE_CHECKS.iter().find(|check| check.id == result.id);
    let summary = builtin.map_or("A check of your configuration", |check| check.summary);
    let page = checks::find_documentation(&result.id).unwrap_or(summary);
    json!({
        "id": result.id,
        "shortDescription": { "text": escape_message(summary) },
        "help": { "text": page, "markdown": page },
        "defaultConfiguration": { "level": sarif_level(result.severity) },
        "properties": {
            "tags": ["security", "sessions"],
            "security-severity": security_severity(result.severity),
        },
    })
}

fn location_json(report: &CheckReport, target: &str) -> Value {
    let table = report.observation.as_ref().ok().map(|seen| {
        let table = sanitize_text(&seen.candidate.mapping.sessions.to_string());
        format!("{target}/{table}")
    });
    json!({
        "physicalLocation": {
            "artifactLocation": { "uri": ANCHOR_FILE },
            "region": { "startLine": 1 },
        },
        "logicalLocations": [{ "fullyQualifiedName": table.as_deref().unwrap_or(target), "kind": "resource" }],
    })
}

/// A finding in words: the finding, the evidence, the action, and the commands of the fix.
fn describe_finding(report: &CheckReport, result: &CheckResult) -> String {
    let finding = &result.outcome;
    if let CheckVerdict::Unknown(reason) = &finding.verdict {
        return format!("{}: unknown: {}", report.target, sanitize_text(reason));
    }
    let mut lines = vec![format!("{}: {}", report.target, sanitize_text(&finding.summary))];
    if !finding.threshold.is_empty() {
        lines.push(format!("Fails if: {}", finding.threshold));
    }
    let now = report.observation.as_ref().map_or(UtcTimestamp::UNIX_EPOCH, |seen| seen.stats.taken_at);
    lines.extend(result.evidence.iter().map(|row| format!("- {}", EvidenceWords::new(row, now).to_line())));
    lines.extend(truncation_note(finding.evidence_total, result.evidence.len()));
    if !result.action.is_empty() {
        lines.push(format!("Action: {}", sanitize_text(&result.action)));
    }
    let commands = fix::fix_commands(&result.id, report.fix_target(), finding.user_limit);
    lines.extend(commands.iter().map(|command| format!("Fix: {}", sanitize_text(command))));
    if let Ok(seen) = &report.observation {
        lines.push(format!("Checked at {}", clock::format_utc(seen.stats.taken_at)));
    }
    lines.join("\n")
}

fn message_json(text: &str) -> Value {
    json!({ "text": escape_message(text) })
}

/// Escapes what a SARIF message takes for a link (`[text](target)`) or a placeholder (`{0}`): the name of a user
/// must not become one.
fn escape_message(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '[' | ']' | '\\' => escaped.extend(['\\', letter]),
            '{' | '}' => escaped.extend([letter, letter]),
            _ => escaped.push(letter),
        }
    }
    escaped
}

const fn sarif_level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "note",
    }
}

/// A CVSS-like score: GitHub orders findings by it, with the bounds 9, 7 and 4 of its severities.
const fn security_severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "2.0",
    }
}
