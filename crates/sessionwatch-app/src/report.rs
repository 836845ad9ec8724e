//! Reports as people and programs read them. The JSON shape is a contract: `docs/json.md`.

use std::fmt::Write as _;

use comfy_table::{Table, presets};
use serde_json::{Value, json};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    checks::{CheckOutcome, CheckVerdict},
    duration::HOUR,
    plural::format_count,
    timestamp::UtcTimestamp,
};
use sessionwatch_targets::{
    engine::EngineKind,
    evidence::{EvidenceRow, MAX_EVIDENCE_ROWS},
};

use crate::{
    check_run::{CheckReport, CheckResult, TargetObservation},
    checks::{self, EvidenceKind},
    output::{self, OutputFormat, csv, table},
    sanitize::{escape_markdown_cell, sanitize_text},
};

impl CheckReport {
    /// Failing if a check fails, else unknown if one could not be decided.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        // What says something of the look only decides where nothing else was asked for.
        let all_aside = self.results.iter().all(|outcome| outcome.outcome.is_informational);
        let decides = |outcome: &&CheckResult| all_aside || !outcome.outcome.is_informational;
        let any = |name: &str| {
            let mut deciding = self.results.iter().filter(decides);
            deciding.any(|outcome| verdict_name(&outcome.outcome.verdict) == name)
        };
        // Nothing that was checked is nothing that is known.
        if self.results.is_empty() {
            "unknown"
        } else if any("failing") {
            "failing"
        } else if any("unknown") {
            "unknown"
        } else {
            "passing"
        }
    }

    /// The report as a JSON document of its own.
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
            "checks": self.results.iter().map(result_json).collect::<Vec<_>>(),
            "notes": self.notes,
            "error": self.observation.as_ref().err().map(ToString::to_string),
            "result": self.verdict(),
        })
    }

    fn render_text(&self) -> String {
        let seen = match &self.observation {
            Ok(seen) => seen,
            Err(error) => return format!("{}: not known, {error}\n\nVerdict: unknown\n", self.target),
        };
        let census = &seen.stats;
        let mut text = format!(
            "{} · {} in {} · {} looked at in {:.0} ms ({}), {}\n\n",
            self.target,
            seen.candidate.title,
            sanitize_text(&seen.candidate.mapping.sessions.to_string()),
            format_count(census.sessions, "session", "sessions"),
            self.duration.as_secs_f64() * 1000.0,
            engine_name(self.engine),
            clock::format_utc(census.taken_at),
        );
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "{}", table::render_trimmed(&self.build_table()));
        for outcome in self.results.iter().filter(|outcome| outcome.outcome.verdict == CheckVerdict::Failing)
        {
            text.push_str(&render_failing_check(outcome, &self.target, census.taken_at));
        }
        if !self.notes.is_empty() {
            text.push_str("\nTo know about this target:\n");
        }
        for note in &self.notes {
            let _ = writeln!(text, "  - {}", sanitize_text(note));
        }
        let _ = writeln!(text, "\nVerdict: {}", self.verdict());
        text
    }

    fn build_table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header([
            "",
            "check",
            "severity",
            "what was found",
            "fails at",
        ]);
        for outcome in &self.results {
            let finding = &outcome.outcome;
            let proof =
                finding.proving_constraint.as_ref().map(|name| format!(" (proved by constraint {name})"));
            let summary = match &finding.verdict {
                CheckVerdict::Unknown(reason) => reason.clone(),
                _ => format!("{}{}", finding.summary, proof.unwrap_or_default()),
            };
            let (mark, severity) = (verdict_mark(finding), outcome.severity.name());
            table.add_row([mark, &outcome.id, severity, &summary, &finding.threshold]);
        }
        table
            .set_width(output::table_width())
            .set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
        table
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

    fn render_markdown(&self) -> String {
        let place = self.observation.as_ref().map(|seen| {
            let table = sanitize_text(&seen.candidate.mapping.sessions.to_string());
            format!("\n\nTable `{}`, {}.", table.replace('`', "'"), seen.candidate.title)
        });
        let mut text = format!(
            "**{}**: {}{}\n\n| check | severity | verdict | what was found | fails at |\n|---|---|---|---|---|\n",
            self.target,
            self.verdict(),
            place.unwrap_or_default()
        );
        for outcome in &self.results {
            let finding = &outcome.outcome;
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                outcome.id,
                outcome.severity.name(),
                verdict_name(&finding.verdict),
                escape_markdown_cell(&finding.summary),
                escape_markdown_cell(&finding.threshold)
            );
        }
        text
    }
}

/// Reports in that format. In JSON they are one document with a list of targets, however many there are.
#[must_use]
pub fn render_reports(reports: &[CheckReport], format: OutputFormat) -> String {
    let each = |write: fn(&CheckReport) -> String, between: &str| {
        reports.iter().map(write).collect::<Vec<_>>().join(between)
    };
    match format {
        OutputFormat::Table => each(CheckReport::render_text, "\n"),
        OutputFormat::Json => {
            let targets: Vec<Value> = reports.iter().map(CheckReport::to_target_json).collect();
            format!("{:#}\n", json!({ "schema": 2, "targets": targets }))
        }
        OutputFormat::Ndjson => each(|report| format!("{}\n", report.to_json()), ""),
        OutputFormat::Csv => {
            format!(
                "target,check,severity,result,value,threshold,summary\n{}",
                each(CheckReport::render_csv, "")
            )
        }
        OutputFormat::Markdown => each(CheckReport::render_markdown, "\n"),
    }
}

/// A failing check in full: what, for whom, what to do.
fn render_failing_check(result: &CheckResult, target: &str, now: UtcTimestamp) -> String {
    let mut text = format!("\n{} ({}): {}\n", result.id, result.severity.name(), result.outcome.summary);
    for evidence in &result.evidence {
        let _ = writeln!(text, "  {}", render_evidence_line(evidence, now));
    }
    if let Some(cut) = truncation_note(&result.id, result.outcome.value, result.evidence.len()) {
        let _ = writeln!(text, "  {cut}");
    }
    if !result.action.is_empty() {
        let _ = writeln!(text, "  → {}", result.action);
    }
    if let Some(page) = result.docs_path() {
        // A masked address is of no use on a command line.
        let target = if target.contains("***") { "URL" } else { target };
        let _ = writeln!(text, "  More: {page}, and `sessionwatch sql {} {target}`", result.id);
    }
    text
}

/// Says that the evidence of a check is cut, if it is: `10 of 15 shown`, or, where the value of the check does not count what
/// is listed, that there may be more.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a handful of rows")]
pub fn truncation_note(check: &str, value: Option<f64>, shown: usize) -> Option<String> {
    if shown < MAX_EVIDENCE_ROWS {
        return None;
    }
    let evidence = checks::TABLE_CHECKS.iter().find(|known| known.id == check)?.evidence;
    match (evidence, value) {
        (EvidenceKind::Orphans | EvidenceKind::OldestExpired | EvidenceKind::BeyondPolicy, Some(all)) => {
            (all > shown as f64).then(|| format!("{shown} of {all} shown"))
        }
        _ => Some(format!("{shown} shown, there may be more")),
    }
}

fn stats_json(observation: &TargetObservation) -> Value {
    let census = &observation.stats;
    json!({
        "sessions": census.sessions, "active": census.active, "expired": census.expired,
        "users_active": census.active_users(), "sessions_per_user": census.sessions_per_user(),
        "duplicate_tokens": census.duplicates.count().map(|found| found.tokens),
        "orphaned": census.orphaned.count(), "created_last_hour": census.created_last_hour,
        "max_per_user": census.max_sessions_per_user(), "never_expiring": census.never_expiring,
        "undecodable": census.undecodable, "anonymous": census.anonymous,
        "oldest_expired": census.oldest_expired.map(clock::format_rfc3339),
        "furthest_expiry": census.furthest_expiry.map(clock::format_rfc3339),
    })
}

/// `active`, `expired` or, without a readable end, `no end`.
#[must_use]
pub fn session_status(expires_at: Option<UtcTimestamp>, now: UtcTimestamp) -> &'static str {
    match expires_at {
        Some(at) if at > now => "active",
        Some(_) => "expired",
        None => "no end",
    }
}

/// Hours until the end; negative after it.
#[must_use]
pub fn hours_left(expires_at: Option<UtcTimestamp>, now: UtcTimestamp) -> Option<f64> {
    expires_at.map(|at| at.duration_since(now).div_duration_f64(HOUR))
}

fn render_evidence_line(evidence: &EvidenceRow, now: UtcTimestamp) -> String {
    let mut parts = Vec::new();
    parts.extend(evidence.token_prefix.as_ref().map(|prefix| format!("token {}…", sanitize_text(prefix))));
    parts.extend(evidence.user.as_ref().map(|user| format!("user {}", sanitize_text(user))));
    let display: Vec<String> = evidence.display.iter().flatten().map(|text| sanitize_text(text)).collect();
    if !display.is_empty() {
        parts.push(format!("({})", display.join(", ")));
    }
    if evidence.token_prefix.is_none() {
        parts.push(format_count(evidence.rows, "session", "sessions"));
    } else {
        parts.push(match (evidence.expires_at, hours_left(evidence.expires_at, now)) {
            (Some(at), Some(hours)) if hours > 0.0 => {
                format!("ends {} ({hours:.1} h left)", clock::format_utc(at))
            }
            (Some(at), _) => format!("ended {}", clock::format_utc(at)),
            _ => "has no readable end".into(),
        });
    }
    parts.join(" ")
}

fn result_json(result: &CheckResult) -> Value {
    let finding = &result.outcome;
    let reason = if let CheckVerdict::Unknown(reason) = &finding.verdict { Some(reason) } else { None };
    json!({
        "id": result.id, "severity": result.severity.name(), "result": verdict_name(&finding.verdict),
        "value": finding.value, "threshold": finding.threshold, "summary": finding.summary, "reason": reason,
        "proof": finding.proving_constraint, "action": result.action, "decides": !finding.is_informational,
        "evidence": result.evidence.iter().map(evidence_json).collect::<Vec<_>>(),
    })
}

/// A row as JSON.
#[must_use]
pub fn evidence_json(evidence: &EvidenceRow) -> Value {
    json!({
        "token_prefix": evidence.token_prefix, "id": evidence.id, "user": evidence.user,
        "expires_at": evidence.expires_at.map(clock::format_rfc3339), "rows": evidence.rows, "display": evidence.display,
    })
}

fn verdict_name(verdict: &CheckVerdict) -> &'static str {
    match verdict {
        CheckVerdict::Passing => "passing",
        CheckVerdict::Failing => "failing",
        CheckVerdict::Unknown(_) => "unknown",
    }
}

fn verdict_mark(outcome: &CheckOutcome) -> &'static str {
    match &outcome.verdict {
        CheckVerdict::Passing => "ok",
        CheckVerdict::Failing if outcome.is_informational => "slow",
        CheckVerdict::Failing => "FAIL",
        CheckVerdict::Unknown(_) if outcome.is_informational => "-",
        CheckVerdict::Unknown(_) => "?",
    }
}

fn engine_name(engine: EngineKind) -> &'static str {
    match engine {
        EngineKind::Scan => "scan",
        EngineKind::Pushdown => "pushdown",
    }
}

#[cfg(test)]
mod tests;
