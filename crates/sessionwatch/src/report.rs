//! Reports as people and programs read them. The JSON shape is a contract: `docs/json.md`.

use std::fmt::Write as _;

use comfy_table::{Table, presets};
use serde_json::{Value, json};
use sessionwatch_rules::{instant::HOUR, instant::Instant, verdict::Verdict};

use crate::{
    clock,
    look::{Outcome, Report},
    target::observe::{Engine, Evidence},
};

/// How output is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One document.
    Json,
    /// One document a line.
    Ndjson,
    /// Comma-separated values, a header first.
    Csv,
    /// For issues and wikis.
    Markdown,
}

impl Report {
    /// Failing if a check fails, else unknown if one could not be decided.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        let any =
            |name: &str| self.outcomes.iter().any(|outcome| verdict_name(&outcome.finding.verdict) == name);
        if any("failing") {
            "failing"
        } else if any("unknown") {
            "unknown"
        } else {
            "healthy"
        }
    }

    /// The report in that format.
    #[must_use]
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Table => self.text(),
            Format::Json => format!("{:#}\n", self.json()),
            Format::Ndjson => format!("{}\n", self.json()),
            Format::Csv => self.csv(),
            Format::Markdown => self.markdown(),
        }
    }

    fn json(&self) -> Value {
        let census = &self.census;
        json!({
            "schema": 1,
            "target": self.target,
            "profile": self.candidate.mapping.profile,
            "engine": engine_name(self.engine),
            "taken_at": clock::rfc3339(census.taken_at),
            "duration_ms": self.duration.as_secs_f64() * 1000.0,
            "census": {
                "sessions": census.sessions, "active": census.active, "expired": census.expired,
                "users_active": census.users_active(), "sessions_per_user": census.sessions_per_user(),
                "duplicate_tokens": census.duplicates.value().map(|found| found.tokens),
                "orphaned": census.orphaned.value(), "created_last_hour": census.created_last_hour,
                "max_per_user": census.max_per_user(), "never_expiring": census.never_expiring,
                "undecodable": census.undecodable, "anonymous": census.anonymous,
                "oldest_expired": census.oldest_expired.map(clock::rfc3339),
                "furthest_expiry": census.furthest_expiry.map(clock::rfc3339),
            },
            "checks": self.outcomes.iter().map(outcome_json).collect::<Vec<_>>(),
            "notes": self.notes,
            "verdict": self.verdict(),
        })
    }

    fn text(&self) -> String {
        let census = &self.census;
        let mut text = format!(
            "{} · {} · {} sessions looked at in {:.0} ms ({}), {}\n\n",
            self.target,
            self.candidate.title,
            census.sessions,
            self.duration.as_secs_f64() * 1000.0,
            engine_name(self.engine),
            clock::readable(census.taken_at),
        );
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header([
            "",
            "check",
            "severity",
            "what was found",
            "fails at",
        ]);
        for outcome in &self.outcomes {
            let mark = mark(&outcome.finding.verdict);
            let proof = outcome
                .finding
                .proof
                .as_ref()
                .map_or(String::new(), |name| format!(" (proved by constraint {name})"));
            let summary = match &outcome.finding.verdict {
                Verdict::Unknown(reason) => reason.clone(),
                _ => format!("{}{proof}", outcome.finding.summary),
            };
            table.add_row([
                mark,
                outcome.check.id,
                outcome.check.severity.name(),
                &summary,
                &outcome.finding.threshold,
            ]);
        }
        table.set_width(100).set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{table}");
        for outcome in self.outcomes.iter().filter(|outcome| outcome.finding.verdict == Verdict::Failing) {
            let _ = writeln!(
                text,
                "\n{} ({}): {}",
                outcome.check.id,
                outcome.check.severity.name(),
                outcome.finding.summary
            );
            for evidence in &outcome.evidence {
                let _ = writeln!(text, "  {}", evidence_line(evidence, census.taken_at));
            }
            let _ = writeln!(text, "  → {}. See docs/checks/{}.md", outcome.check.action, outcome.check.id);
        }
        if !self.notes.is_empty() {
            text.push_str("\nTo know about this target:\n");
        }
        for note in &self.notes {
            let _ = writeln!(text, "  - {note}");
        }
        let _ = writeln!(text, "\nVerdict: {}", self.verdict());
        text
    }

    fn csv(&self) -> String {
        let mut text = "check,severity,verdict,value,threshold,summary\n".to_owned();
        for outcome in &self.outcomes {
            let finding = &outcome.finding;
            let value = finding.value.map_or(String::new(), |value| value.to_string());
            let fields = [
                outcome.check.id,
                outcome.check.severity.name(),
                verdict_name(&finding.verdict),
                &value,
                &finding.threshold,
                &finding.summary,
            ];
            text.push_str(&csv_line(&fields));
        }
        text
    }

    fn markdown(&self) -> String {
        let mut text = format!(
            "**{}**: {}\n\n| check | severity | verdict | what was found | fails at |\n|---|---|---|---|---|\n",
            self.target,
            self.verdict()
        );
        for outcome in &self.outcomes {
            let finding = &outcome.finding;
            let summary = finding.summary.replace('|', "\\|");
            let _ = writeln!(
                text,
                "| {} | {} | {} | {summary} | {} |",
                outcome.check.id,
                outcome.check.severity.name(),
                verdict_name(&finding.verdict),
                finding.threshold
            );
        }
        text
    }
}

/// One line of CSV; a field that a spreadsheet would run as a formula is quoted with an apostrophe.
#[must_use]
pub fn csv_line(fields: &[&str]) -> String {
    let field = |text: &&str| {
        let safe =
            if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { (*text).to_owned() };
        if safe.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", safe.replace('"', "\"\""))
        } else {
            safe
        }
    };
    format!("{}\n", fields.iter().map(field).collect::<Vec<_>>().join(","))
}

/// `active`, `expired` or, without a readable end, `no end`.
#[must_use]
pub fn status(evidence: &Evidence, now: Instant) -> &'static str {
    match evidence.expires_at {
        Some(at) if at > now => "active",
        Some(_) => "expired",
        None => "no end",
    }
}

/// Hours until the end; negative after it.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "hours for people")]
pub fn hours_left(evidence: &Evidence, now: Instant) -> Option<f64> {
    evidence.expires_at.map(|at| at.since(now) as f64 / HOUR as f64)
}

/// Text from a database, with what could steer a terminal taken out.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
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
        parts.push(format!("{} sessions", evidence.rows));
    } else {
        parts.push(match (evidence.expires_at, hours_left(evidence, now)) {
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
        "id": outcome.check.id, "severity": outcome.check.severity.name(), "verdict": verdict_name(&finding.verdict),
        "value": finding.value, "threshold": finding.threshold, "summary": finding.summary, "reason": reason,
        "proof": finding.proof, "action": outcome.check.action,
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

fn mark(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Healthy => "ok",
        Verdict::Failing => "FAIL",
        Verdict::Unknown(_) => "?",
    }
}

fn engine_name(engine: Engine) -> &'static str {
    match engine {
        Engine::Scan => "scan",
        Engine::Pushdown => "pushdown",
    }
}
