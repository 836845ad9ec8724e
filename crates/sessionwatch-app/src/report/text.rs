//! The report that people read: the headline, failing checks with evidence and fixes, the other checks in a table,
//! notes, and how long it took.

use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};
use sessionwatch_clock as clock;
use sessionwatch_core::{checks::CheckVerdict, plural::format_count, timestamp::UtcTimestamp};

use super::{
    evidence::EvidenceWords,
    fix,
    headline::ResultGroup::{self, Accepted, Failing, Notice, Passing, Skipped, Unknown},
    truncation_note,
};
use crate::{
    check_run::{CheckReport, CheckResult},
    checks,
    output::table,
    sanitize::sanitize_text,
};

/// Width of the table where no terminal says another one.
const DEFAULT_WIDTH: u16 = 100;

impl CheckReport {
    /// Renders the report for a terminal of that many columns. Without one only the table is wrapped, so that
    /// programs can search the text.
    pub(super) fn render_text(&self, columns: Option<u16>) -> String {
        let mut text = format!("{}\n", self.headline());
        let Ok(seen) = &self.observation else { return text };
        let (table, title) = (seen.candidate.mapping.sessions.to_string(), &seen.candidate.title);
        let checked_at = seen.stats.taken_at;
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "{title} in {}, {}", sanitize_text(&table), clock::format_utc(checked_at));
        for result in self.in_group(Failing) {
            text.push_str(&self.render_finding(result, checked_at, columns));
        }
        let others: Vec<_> =
            [Unknown, Accepted, Notice, Skipped, Passing].map(|group| (group, self.in_group(group))).into();
        if others.iter().any(|(_, results)| !results.is_empty()) {
            let _ = writeln!(text, "\n{}", render_table(&others, columns));
        }
        if !self.notes.is_empty() {
            text.push_str("\nNotes:\n");
        }
        for note in &self.notes {
            text.push_str(&wrap_text("  - ", &sanitize_text(note), columns));
        }
        if fix::is_masked(self.fix_target()) && !self.in_group(Failing).is_empty() {
            text.push_str(
                "\nThe commands read the address from DATABASE_URL: set it to the one that you checked.\n",
            );
        }
        let sessions = format_count(seen.stats.sessions, "session", "sessions");
        let _ = writeln!(text, "\nChecked {sessions} in {:.0} ms", self.duration.as_secs_f64() * 1000.0);
        text
    }

    /// A failing check: the finding, its evidence, and the commands to run.
    fn render_finding(&self, result: &CheckResult, now: UtcTimestamp, columns: Option<u16>) -> String {
        let finding = &result.outcome;
        let title =
            format!("{} ({}): {}", result.id, result.severity.name(), sanitize_text(&finding.summary));
        let mut text = format!("\n{}", wrap_text("", &title, columns));
        for row in &result.evidence {
            let _ = writeln!(text, "    {}", EvidenceWords::new(row, now).to_line());
        }
        if let Some(cut) = truncation_note(finding.evidence_total, result.evidence.len()) {
            let _ = writeln!(text, "    {cut}");
        }
        let _ = writeln!(text, "  Fails if:  {}", finding.threshold);
        if !result.action.is_empty() {
            text.push_str(&wrap_text("  Action:    ", &sanitize_text(&result.action), columns));
        }
        // A command is never wrapped: it is pasted as it stands.
        let commands = fix::fix_commands(&result.id, self.fix_target(), finding.user_limit);
        for (index, command) in commands.iter().enumerate() {
            let label = if index == 0 { "Fix:" } else { "" };
            let _ = writeln!(text, "  {label:<10} {command}");
        }
        if checks::TABLE_CHECKS.iter().any(|check| check.id == result.id) {
            let _ =
                writeln!(text, "  {:<10} {}", "Query:", fix::query_command(&result.id, self.fix_target()));
        }
        text
    }
}

/// The checks that do not fail, as a table.
fn render_table(groups: &[(ResultGroup, Vec<&CheckResult>)], columns: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["", "Check", "Severity", "Result", "Fails if"]);
    for (group, results) in groups {
        for result in results {
            let (severity, threshold) = (result.severity.name(), &result.outcome.threshold);
            table.add_row([group.name(), &result.id, severity, &describe_result(result), threshold]);
        }
    }
    table.set_width(columns.unwrap_or(DEFAULT_WIDTH)).set_content_arrangement(ContentArrangement::Dynamic);
    table::render_trimmed(&table)
}

/// Returns what a check found, or why it could not be decided.
pub(super) fn describe_result(result: &CheckResult) -> String {
    let finding = &result.outcome;
    match (&finding.verdict, &finding.proving_constraint) {
        (CheckVerdict::Unknown(reason), _) => sanitize_text(reason),
        (_, Some(name)) if !finding.summary.contains(name.as_str()) => {
            sanitize_text(&format!("{} (proved by constraint {name})", finding.summary))
        }
        _ => sanitize_text(&finding.summary),
    }
}

/// Wraps text at blanks; the lines after the first one are indented as far as the lead reaches.
fn wrap_text(lead: &str, text: &str, columns: Option<u16>) -> String {
    let Some(columns) = columns.map(usize::from) else { return format!("{lead}{text}\n") };
    let indent = lead.chars().count().max(2);
    let (mut lines, mut line, mut length) = (String::new(), lead.to_owned(), lead.chars().count());
    let mut is_empty = true;
    for word in text.split(' ') {
        let width = word.chars().count();
        if !is_empty && length + 1 + width > columns {
            lines.push_str(&line);
            lines.push('\n');
            (line, length, is_empty) = (" ".repeat(indent), indent, true);
        }
        if !is_empty {
            line.push(' ');
            length += 1;
        }
        line.push_str(word);
        length += width;
        is_empty = false;
    }
    format!("{lines}{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_at_blanks_and_indented() {
        assert_eq!(wrap_text("  - ", "one two three", None), "  - one two three\n");
        assert_eq!(wrap_text("  - ", "one two three", Some(12)), "  - one two\n    three\n");
        assert_eq!(wrap_text("", "one two three", Some(9)), "one two\n  three\n");
        assert_eq!(wrap_text("", "one two", Some(7)), "one two\n");
        assert_eq!(wrap_text("", "one two", Some(6)), "one\n  two\n");
        assert_eq!(wrap_text("", "unbreakable word", Some(4)), "unbreakable\n  word\n");
        assert_eq!(wrap_text("  - ", "", Some(9)), "  - \n");
    }
}
