//! The report in Markdown, for issues, wikis and the job summary of a CI run.

use std::fmt::Write as _;

use sessionwatch_clock as clock;
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    evidence::EvidenceWords,
    fix,
    headline::ResultGroup::{Accepted, Failing, Notice, Passing, Skipped, Unknown},
    text::describe_result,
    truncation_note,
};
use crate::{
    check_run::{CheckReport, CheckResult},
    sanitize::{escape_markdown, escape_markdown_cell, sanitize_text},
};

impl CheckReport {
    /// Renders the report in Markdown. It links to no file: a reader of an issue has no clone at hand.
    pub(super) fn render_markdown(&self) -> String {
        let mut text = format!("## {}\n", escape_markdown(&self.headline()));
        let seen = self.observation.as_ref().ok();
        let now = seen.map_or(UtcTimestamp::UNIX_EPOCH, |seen| seen.stats.taken_at);
        // Writing to a String cannot fail, here and below.
        if let Some(seen) = seen {
            let table = sanitize_text(&seen.candidate.mapping.sessions.to_string()).replace('`', "'");
            let (title, time) = (&seen.candidate.title, clock::format_utc(now));
            let _ = writeln!(text, "\nTable `{table}`, {title}. Checked at {time}.");
        }
        for result in self.in_group(Failing) {
            text.push_str(&self.render_markdown_finding(result, now));
        }
        text.push_str(&self.render_markdown_table());
        if !self.notes.is_empty() {
            text.push_str("\n### Notes\n\n");
        }
        for note in &self.notes {
            let _ = writeln!(text, "- {}", escape_markdown_cell(note));
        }
        text
    }

    fn render_markdown_finding(&self, result: &CheckResult, now: UtcTimestamp) -> String {
        let finding = &result.outcome;
        let mut text = format!("\n### {} ({})\n\n", result.id, result.severity.name());
        let (summary, threshold) =
            (escape_markdown_cell(&finding.summary), escape_markdown_cell(&finding.threshold));
        let _ = writeln!(text, "{summary}. Fails if {threshold}.");
        if !result.evidence.is_empty() {
            text.push_str("\n| Session | User | Expiry |\n|---|---|---|\n");
        }
        for row in &result.evidence {
            let words = EvidenceWords::new(row, now);
            let cells = [&words.session, &words.user, &words.expiry].map(|cell| escape_markdown(cell));
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
        if let Some(cut) = truncation_note(finding.evidence_total, result.evidence.len()) {
            let _ = writeln!(text, "\n{cut}");
        }
        if !result.action.is_empty() {
            let _ = writeln!(text, "\n**Action:** {}", escape_markdown_cell(&result.action));
        }
        let commands = fix::fix_commands(&result.id, self.fix_target(), finding.user_limit);
        if !commands.is_empty() {
            // A name with a line break would end the code block.
            let commands: Vec<String> = commands.iter().map(|command| sanitize_text(command)).collect();
            let _ = writeln!(text, "\n```sh\n{}\n```", commands.join("\n"));
        }
        text
    }

    fn render_markdown_table(&self) -> String {
        let mut text = String::new();
        for group in [Unknown, Accepted, Notice, Skipped, Passing] {
            for result in self.in_group(group) {
                if text.is_empty() {
                    text.push_str("\n### Other checks\n\n| | Check | Severity | Result | Fails if |\n");
                    text.push_str("|---|---|---|---|---|\n");
                }
                let (found, threshold) = (describe_result(result), &result.outcome.threshold);
                let cells = [group.name(), &result.id, result.severity.name(), &found, threshold];
                let _ = writeln!(text, "| {} |", cells.map(escape_markdown_cell).join(" | "));
            }
        }
        text
    }
}
