//! Reports as people and programs read them. The JSON shape is a contract: `docs/json.md`.

use std::fmt::Write as _;

use comfy_table::{Table, presets};
use serde_json::{Value, json};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    checks::{CheckOutcome, Verdict},
    duration::HOUR,
    instant::Instant,
    plural::counted,
};
use sessionwatch_targets::{
    engine::EngineKind,
    evidence::{EVIDENCE_LIMIT, Evidence},
};

use crate::{
    check_run::{Outcome, Report, Seen},
    checks::{self, EvidenceKind},
    output::{self, Format, csv, table},
    sanitize::{escape_cell, printable},
};

impl Report {
    /// Failing if a check fails, else unknown if one could not be decided.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        // What says something of the look only decides where nothing else was asked for.
        let all_aside = self.outcomes.iter().all(|outcome| outcome.finding.is_aside);
        let decides = |outcome: &&Outcome| all_aside || !outcome.finding.is_aside;
        let any = |name: &str| {
            let mut deciding = self.outcomes.iter().filter(decides);
            deciding.any(|outcome| verdict_name(&outcome.finding.verdict) == name)
        };
        // Nothing that was checked is nothing that is known.
        if self.outcomes.is_empty() {
            "unknown"
        } else if any("failing") {
            "failing"
        } else if any("unknown") {
            "unknown"
        } else {
            "healthy"
        }
    }

    /// The report as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let seen = self.seen.as_ref().ok();
        json!({
            "schema": 1,
            "target": self.target,
            "profile": seen.map(|seen| &seen.candidate.mapping.profile),
            "framework": seen.map(|seen| &seen.candidate.title),
            "table": seen.map(|seen| seen.candidate.mapping.sessions.to_string()),
            "engine": engine_name(self.engine),
            "taken_at": seen.map(|seen| clock::rfc3339(seen.census.taken_at)),
            "duration_ms": self.duration.as_secs_f64() * 1000.0,
            "census": seen.map(census_json),
            "checks": self.outcomes.iter().map(outcome_json).collect::<Vec<_>>(),
            "notes": self.notes,
            "error": self.seen.as_ref().err().map(ToString::to_string),
            "verdict": self.verdict(),
        })
    }

    fn text(&self) -> String {
        let seen = match &self.seen {
            Ok(seen) => seen,
            Err(error) => return format!("{}: not known, {error}\n\nVerdict: unknown\n", self.target),
        };
        let census = &seen.census;
        let mut text = format!(
            "{} · {} in {} · {} looked at in {:.0} ms ({}), {}\n\n",
            self.target,
            seen.candidate.title,
            printable(&seen.candidate.mapping.sessions.to_string()),
            counted(census.sessions, "session", "sessions"),
            self.duration.as_secs_f64() * 1000.0,
            engine_name(self.engine),
            clock::readable(census.taken_at),
        );
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "{}", table::trimmed(&self.table()));
        for outcome in self.outcomes.iter().filter(|outcome| outcome.finding.verdict == Verdict::Failing) {
            text.push_str(&failing(outcome, &self.target, census.taken_at));
        }
        if !self.notes.is_empty() {
            text.push_str("\nTo know about this target:\n");
        }
        for note in &self.notes {
            let _ = writeln!(text, "  - {}", printable(note));
        }
        let _ = writeln!(text, "\nVerdict: {}", self.verdict());
        text
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header([
            "",
            "check",
            "severity",
            "what was found",
            "fails at",
        ]);
        for outcome in &self.outcomes {
            let finding = &outcome.finding;
            let proof = finding.proof.as_ref().map(|name| format!(" (proved by constraint {name})"));
            let summary = match &finding.verdict {
                Verdict::Unknown(reason) => reason.clone(),
                _ => format!("{}{}", finding.summary, proof.unwrap_or_default()),
            };
            let (mark, severity) = (mark(finding), outcome.severity.name());
            table.add_row([mark, &outcome.id, severity, &summary, &finding.threshold]);
        }
        table.set_width(output::width()).set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
        table
    }

    fn csv(&self) -> String {
        let line = |outcome: &Outcome| {
            let finding = &outcome.finding;
            let value = finding.value.map_or(String::new(), |value| value.to_string());
            let (severity, verdict) = (outcome.severity.name(), verdict_name(&finding.verdict));
            csv::line(&[
                &self.target,
                &outcome.id,
                severity,
                verdict,
                &value,
                &finding.threshold,
                &finding.summary,
            ])
        };
        self.outcomes.iter().map(line).collect()
    }

    fn markdown(&self) -> String {
        let place = self.seen.as_ref().map(|seen| {
            let table = printable(&seen.candidate.mapping.sessions.to_string());
            format!("\n\nTable `{}`, {}.", table.replace('`', "'"), seen.candidate.title)
        });
        let mut text = format!(
            "**{}**: {}{}\n\n| check | severity | verdict | what was found | fails at |\n|---|---|---|---|---|\n",
            self.target,
            self.verdict(),
            place.unwrap_or_default()
        );
        for outcome in &self.outcomes {
            let finding = &outcome.finding;
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                outcome.id,
                outcome.severity.name(),
                verdict_name(&finding.verdict),
                escape_cell(&finding.summary),
                escape_cell(&finding.threshold)
            );
        }
        text
    }
}

/// Reports in that format. One report is one JSON document; several are a list of them.
#[must_use]
pub fn render(reports: &[Report], format: Format) -> String {
    let each = |write: fn(&Report) -> String, between: &str| {
        reports.iter().map(write).collect::<Vec<_>>().join(between)
    };
    match (format, reports) {
        (Format::Table, _) => each(Report::text, "\n"),
        (Format::Json, [report]) => format!("{:#}\n", report.json()),
        (Format::Json, _) => format!("{:#}\n", Value::from_iter(reports.iter().map(Report::json))),
        (Format::Ndjson, _) => each(|report| format!("{}\n", report.json()), ""),
        (Format::Csv, _) => {
            format!("target,check,severity,verdict,value,threshold,summary\n{}", each(Report::csv, ""))
        }
        (Format::Markdown, _) => each(Report::markdown, "\n"),
    }
}

/// A failing check in full: what, for whom, what to do.
fn failing(outcome: &Outcome, target: &str, now: Instant) -> String {
    let mut text = format!("\n{} ({}): {}\n", outcome.id, outcome.severity.name(), outcome.finding.summary);
    for evidence in &outcome.evidence {
        let _ = writeln!(text, "  {}", evidence_line(evidence, now));
    }
    if let Some(cut) = cut_short(&outcome.id, outcome.finding.value, outcome.evidence.len()) {
        let _ = writeln!(text, "  {cut}");
    }
    if !outcome.action.is_empty() {
        let _ = writeln!(text, "  → {}", outcome.action);
    }
    if let Some(page) = outcome.page() {
        // A masked address is of no use on a command line.
        let target = if target.contains("***") { "URL" } else { target };
        let _ = writeln!(text, "  More: {page}, and `sessionwatch sql {} {target}`", outcome.id);
    }
    text
}

/// Says that the evidence of a check is cut, if it is: `10 of 15 shown`, or, where the value of the check does not count what
/// is listed, that there may be more.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a handful of rows")]
pub fn cut_short(check: &str, value: Option<f64>, shown: usize) -> Option<String> {
    if shown < EVIDENCE_LIMIT {
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

fn census_json(seen: &Seen) -> Value {
    let census = &seen.census;
    json!({
        "sessions": census.sessions, "active": census.active, "expired": census.expired,
        "users_active": census.users_active(), "sessions_per_user": census.sessions_per_user(),
        "duplicate_tokens": census.duplicates.value().map(|found| found.tokens),
        "orphaned": census.orphaned.value(), "created_last_hour": census.created_last_hour,
        "max_per_user": census.max_per_user(), "never_expiring": census.never_expiring,
        "undecodable": census.undecodable, "anonymous": census.anonymous,
        "oldest_expired": census.oldest_expired.map(clock::rfc3339),
        "furthest_expiry": census.furthest_expiry.map(clock::rfc3339),
    })
}

/// `active`, `expired` or, without a readable end, `no end`.
#[must_use]
pub fn status(expires_at: Option<Instant>, now: Instant) -> &'static str {
    match expires_at {
        Some(at) if at > now => "active",
        Some(_) => "expired",
        None => "no end",
    }
}

/// Hours until the end; negative after it.
#[must_use]
pub fn hours_left(expires_at: Option<Instant>, now: Instant) -> Option<f64> {
    expires_at.map(|at| at.duration_since(now).div_duration_f64(HOUR))
}

fn evidence_line(evidence: &Evidence, now: Instant) -> String {
    let mut parts = Vec::new();
    parts.extend(evidence.token_prefix.as_ref().map(|prefix| format!("token {}…", printable(prefix))));
    parts.extend(evidence.user.as_ref().map(|user| format!("user {}", printable(user))));
    let display: Vec<String> = evidence.display.iter().flatten().map(|text| printable(text)).collect();
    if !display.is_empty() {
        parts.push(format!("({})", display.join(", ")));
    }
    if evidence.token_prefix.is_none() {
        parts.push(counted(evidence.rows, "session", "sessions"));
    } else {
        parts.push(match (evidence.expires_at, hours_left(evidence.expires_at, now)) {
            (Some(at), Some(hours)) if hours > 0.0 => {
                format!("ends {} ({hours:.1} h left)", clock::readable(at))
            }
            (Some(at), _) => format!("ended {}", clock::readable(at)),
            _ => "has no readable end".into(),
        });
    }
    parts.join(" ")
}

fn outcome_json(outcome: &Outcome) -> Value {
    let finding = &outcome.finding;
    let reason = if let Verdict::Unknown(reason) = &finding.verdict { Some(reason) } else { None };
    json!({
        "id": outcome.id, "severity": outcome.severity.name(), "verdict": verdict_name(&finding.verdict),
        "value": finding.value, "threshold": finding.threshold, "summary": finding.summary, "reason": reason,
        "proof": finding.proof, "action": outcome.action, "decides": !finding.is_aside,
        "evidence": outcome.evidence.iter().map(evidence_json).collect::<Vec<_>>(),
    })
}

/// A row as JSON.
#[must_use]
pub fn evidence_json(evidence: &Evidence) -> Value {
    json!({
        "token_prefix": evidence.token_prefix, "id": evidence.id, "user": evidence.user,
        "expires_at": evidence.expires_at.map(clock::rfc3339), "rows": evidence.rows, "display": evidence.display,
    })
}

fn verdict_name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Healthy => "healthy",
        Verdict::Failing => "failing",
        Verdict::Unknown(_) => "unknown",
    }
}

fn mark(finding: &CheckOutcome) -> &'static str {
    match &finding.verdict {
        Verdict::Healthy => "ok",
        Verdict::Failing if finding.is_aside => "slow",
        Verdict::Failing => "FAIL",
        Verdict::Unknown(_) if finding.is_aside => "-",
        Verdict::Unknown(_) => "?",
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
