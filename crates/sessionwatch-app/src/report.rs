//! Check reports, for people and for programs. The JSON shape is a public contract: `docs/json.md`.

mod accepted_findings;
mod evidence;
mod format;
mod headline;
mod junit;
mod markdown;
mod sarif;
mod text;

use serde_json::{Value, json};
use sessionwatch_clock as clock;
use sessionwatch_core::{checks::CheckVerdict, duration::HOUR, plural::ListTotal, timestamp::UtcTimestamp};
use sessionwatch_targets::{
    engine::EngineKind,
    evidence::{EvidenceRow, MAX_EVIDENCE_ROWS},
};

use self::evidence::EvidenceWords;
pub use self::{
    accepted_findings::{AcceptedFindings, BaselineFileError},
    format::ReportFormat,
};
pub use crate::check_fixes as fix;
use crate::{
    check_run::{CheckReport, CheckResult, RunObservation},
    output::{self, csv},
};

impl CheckReport {
    /// Returns the target as commands name it; empty if they find it without a name.
    fn fix_target(&self) -> &str {
        if self.is_default_target { "" } else { &self.target }
    }

    /// Returns the overall result: failing if a check fails, else unknown if one could not be decided.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        combine_verdicts(self.results.iter().map(|result| SingleVerdict {
            name: if result.is_accepted { "accepted" } else { verdict_name(&result.outcome.verdict) },
            is_informational: result.outcome.is_informational,
        }))
    }

    /// Returns the report as the document to store. Each check has the time of its last run: a check that did not run
    /// this time, but still runs on a schedule, keeps the result that it has in the `previous` document.
    pub(crate) fn to_stored_json(
        &self,
        previous: Option<&Value>,
        now: UtcTimestamp,
        is_scheduled: impl Fn(&str) -> bool,
    ) -> Value {
        let mut document = self.to_json();
        let mut checks = list_checks(&document).to_vec();
        for check in &mut checks {
            check["checked_at"] = clock::format_rfc3339(now).into();
        }
        let has_run = |id: &str| self.results.iter().any(|result| result.id == id);
        let is_kept =
            |check: &&Value| check["id"].as_str().is_some_and(|id| is_scheduled(id) && !has_run(id));
        checks.extend(previous.map(list_checks).unwrap_or_default().iter().filter(is_kept).cloned());
        document["result"] = combine_verdicts(checks.iter().map(|check| SingleVerdict {
            name: check["result"].as_str().unwrap_or("unknown"),
            is_informational: check["decides"] == false,
        }))
        .into();
        document["checks"] = checks.into();
        document
    }

    /// Returns the report as a JSON document of its own.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut document = self.to_target_json();
        document["schema"] = 2.into();
        document
    }

    /// The report as JSON, without the version of the schema.
    fn to_target_json(&self) -> Value {
        let seen = self.observation.as_ref().ok();
        json!({
            "target": self.target,
            "profile": seen.map(|seen| &seen.candidate.mapping.profile),
            "framework": seen.map(|seen| &seen.candidate.title),
            "table": seen.map(|seen| seen.candidate.mapping.sessions.to_string()),
            "engine": engine_name(self.engine),
            "checked_at": seen.map(|seen| clock::format_rfc3339(seen.stats.taken_at)),
            "duration_ms": self.duration.as_secs_f64() * 1000.0,
            "stats": seen.map(stats_json),
            "checks": self.results.iter().map(|result| result_json(result, self.fix_target())).collect::<Vec<_>>(),
            "notes": self.notes,
            "error": self.observation.as_ref().err().map(ToString::to_string),
            "result": self.verdict(),
        })
    }

    fn render_csv(&self) -> String {
        let line = |outcome: &CheckResult| {
            let finding = &outcome.outcome;
            let value = finding.value.map_or(String::new(), |value| value.to_string());
            let (severity, verdict) = (outcome.severity.name(), verdict_name(&finding.verdict));
            csv::render_csv_line(&[
                &self.target,
                &outcome.id,
                severity,
                verdict,
                &value,
                &finding.threshold,
                &finding.summary,
            ])
        };
        self.results.iter().map(line).collect()
    }
}

/// Result of one check, as part of the overall result.
#[derive(Clone, Copy)]
struct SingleVerdict<'a> {
    name: &'a str,
    is_informational: bool,
}

/// Returns the overall result: failing if a check fails, else unknown if one could not be decided.
fn combine_verdicts<'a>(all: impl Iterator<Item = SingleVerdict<'a>> + Clone) -> &'static str {
    // A check about the run itself decides only where no other check was requested.
    let all_aside = all.clone().all(|one| one.is_informational);
    let any = |name: &str| {
        let mut deciding = all.clone().filter(|one| all_aside || !one.is_informational);
        deciding.any(|one| one.name == name)
    };
    // A report without checks proves nothing.
    if all.clone().next().is_none() {
        "unknown"
    } else if any("failing") {
        "failing"
    } else if any("unknown") {
        "unknown"
    } else {
        "passing"
    }
}

fn list_checks(document: &Value) -> &[Value] {
    document["checks"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Renders reports in a format. In JSON they are one document with a list of targets, however many there are.
#[must_use]
pub fn render_reports(reports: &[CheckReport], format: impl Into<ReportFormat>) -> String {
    let each = |write: fn(&CheckReport) -> String, between: &str| {
        reports.iter().map(write).collect::<Vec<_>>().join(between)
    };
    match format.into() {
        ReportFormat::Table => {
            let columns = output::terminal_width();
            reports.iter().map(|report| report.render_text(columns)).collect::<Vec<_>>().join("\n")
        }
        ReportFormat::Sarif => sarif::render_sarif(reports),
        ReportFormat::Junit => junit::render_junit(reports),
        ReportFormat::Json => {
            let targets: Vec<Value> = reports.iter().map(CheckReport::to_target_json).collect();
            format!("{:#}\n", json!({ "schema": 2, "targets": targets }))
        }
        ReportFormat::Ndjson => each(|report| format!("{}\n", report.to_json()), ""),
        ReportFormat::Csv => {
            format!(
                "target,check,severity,result,value,threshold,summary\n{}",
                each(CheckReport::render_csv, "")
            )
        }
        ReportFormat::Markdown => each(CheckReport::render_markdown, "\n"),
    }
}

/// Returns a note that the evidence of a check is cut, if it is: `10 of 15 shown`. `total` is the number of rows that
/// it could list; `None` if that is unknown.
#[must_use]
pub fn truncation_note(total: Option<u64>, shown: usize) -> Option<String> {
    if shown < MAX_EVIDENCE_ROWS {
        return None;
    }
    match total {
        Some(total) => ListTotal::Exactly(total).describe_cut(count_of(shown)),
        None => Some(format!("{shown} shown; there may be more")),
    }
}

fn stats_json(observation: &RunObservation) -> Value {
    let stats = &observation.stats;
    json!({
        "sessions": stats.sessions, "active": stats.active, "expired": stats.expired,
        "users_active": stats.active_users(), "sessions_per_user": stats.sessions_per_user(),
        "duplicate_tokens": stats.duplicates.count().map(|found| found.tokens),
        "orphaned": stats.orphaned.count(), "created_last_hour": stats.created_last_hour,
        "max_per_user": stats.max_sessions_per_user(), "never_expiring": stats.never_expiring,
        "undecodable": stats.undecodable, "anonymous": stats.anonymous,
        "oldest_expired": stats.oldest_expired.map(clock::format_rfc3339),
        "furthest_expiry": stats.furthest_expiry.map(clock::format_rfc3339),
    })
}

/// Returns `active`, `expired`, or `no end` without a readable expiry.
#[must_use]
pub fn session_status(expires_at: Option<UtcTimestamp>, now: UtcTimestamp) -> &'static str {
    match expires_at {
        Some(at) if at > now => "active",
        Some(_) => "expired",
        None => "no end",
    }
}

/// Returns the hours until a session expires; negative after that.
#[must_use]
pub fn hours_left(expires_at: Option<UtcTimestamp>, now: UtcTimestamp) -> Option<f64> {
    expires_at.map(|at| at.duration_since(now).div_duration_f64(HOUR))
}

fn result_json(result: &CheckResult, target: &str) -> Value {
    let finding = &result.outcome;
    let fix = match finding.verdict {
        CheckVerdict::Failing => fix::fix_commands(&result.id, target, finding.user_limit),
        _ => vec![],
    };
    let reason = if let CheckVerdict::Unknown(reason) = &finding.verdict { Some(reason) } else { None };
    json!({
        "id": result.id, "severity": result.severity.name(), "result": verdict_name(&finding.verdict),
        "value": finding.value, "threshold": finding.threshold, "summary": finding.summary, "reason": reason,
        "proof": finding.proving_constraint, "action": result.action, "fix": fix,
        "decides": !finding.is_informational && !result.is_accepted, "accepted": result.is_accepted,
        "evidence": result.evidence.iter().map(evidence_json).collect::<Vec<_>>(),
        "evidence_total": finding.evidence_total, "user_limit": finding.user_limit,
    })
}

/// Returns a row of evidence as JSON.
#[must_use]
pub fn evidence_json(evidence: &EvidenceRow) -> Value {
    json!({
        "token_prefix": evidence.token_prefix, "id": evidence.id, "user": evidence.user,
        "created_at": evidence.created_at.map(clock::format_rfc3339),
        "expires_at": evidence.expires_at.map(clock::format_rfc3339),
        "rows": evidence.rows, "display": evidence.display,
    })
}

/// Returns a row of evidence as JSON, with the address and user agent of the client. Only for an alert, which the
/// dashboard shows: reports, notifications and the history are read by more people, and kept for longer.
#[must_use]
pub(crate) fn evidence_with_client_json(evidence: &EvidenceRow) -> Value {
    let mut row = evidence_json(evidence);
    row["ip"] = evidence.ip.clone().into();
    row["user_agent"] = evidence.agent.clone().into();
    row
}

/// Removes from a finding what only [`evidence_with_client_json`] has.
pub(crate) fn without_client(mut finding: Value) -> Value {
    for row in finding["evidence"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        row.retain(|key, _| key != "ip" && key != "user_agent");
    }
    finding
}

/// Describes a row that [`evidence_json`] wrote, in one line as in reports.
#[must_use]
pub fn describe_evidence_json(row: &Value, now: UtcTimestamp) -> String {
    let text = |key: &str| row[key].as_str().map(str::to_owned);
    let display = row["display"].as_array().into_iter().flatten();
    let evidence = EvidenceRow {
        token_prefix: text("token_prefix"),
        id: text("id"),
        user: text("user"),
        expires_at: text("expires_at").and_then(|at| clock::parse_rfc3339(&at)),
        rows: row["rows"].as_u64().unwrap_or_default(),
        display: display.map(|name| name.as_str().map(str::to_owned)).collect(),
        ..EvidenceRow::default()
    };
    EvidenceWords::new(&evidence, now).to_line()
}

fn verdict_name(verdict: &CheckVerdict) -> &'static str {
    match verdict {
        CheckVerdict::Passing => "passing",
        CheckVerdict::Failing => "failing",
        CheckVerdict::Unknown(_) => "unknown",
    }
}

/// Returns the length of a list as a count for people.
fn count_of(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn engine_name(engine: EngineKind) -> &'static str {
    match engine {
        EngineKind::Scan => "scan",
        EngineKind::Pushdown => "pushdown",
    }
}

#[cfg(test)]
mod tests;
