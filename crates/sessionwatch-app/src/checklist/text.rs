//! Renders checklists as text tables and as Markdown.

use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};
use sessionwatch_clock as clock;
use sessionwatch_core::checklist::{ChecklistVerdict, RangePosition, gap_exceeding_limit};

use super::{
    BaselineMetric, Checklist, ChecklistItem,
    inputs::{ChecklistCoverage, format_period},
};
use crate::sanitize::sanitize_text;

impl Checklist {
    /// Renders the checklist for a terminal of 100 columns.
    #[must_use]
    pub fn render_text(&self) -> String {
        let mut text =
            format!("Checklist of {}, {}\n", sanitize_text(&self.target), format_period(self.period));
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "Created {}", clock::format_utc(self.made_at));
        for line in self.coverage.to_sentences() {
            let _ = writeln!(text, "{line}");
        }
        let _ = write!(text, "\nChecklist items\n{}", render_items(&self.items));
        write_actions(&mut text, &self.items);
        let _ = write!(text, "\nBaseline\n{}", render_baseline(&self.baseline));
        let _ = write!(text, "\nEvidence for standards\n{}", render_requirements(&self.requirements));
        write_actions(&mut text, &self.requirements);
        let head = self.audit_head.as_deref().unwrap_or("none yet");
        let _ = writeln!(text, "\nLatest audit log entry: {head}");
        let _ = writeln!(text, "Result: {}", self.verdict().name());
        text
    }

    /// Renders the checklist as Markdown.
    #[must_use]
    pub fn render_markdown(&self) -> String {
        let mut text = format!(
            "# Checklist of {}: {}\n\nPeriod: {}. Created {}. {}.\n",
            markdown_cell(&self.target),
            self.verdict().name(),
            format_period(self.period),
            clock::format_utc(self.made_at),
            self.coverage.to_sentences().join(". ")
        );
        text.push_str(
            "\n## Checklist items\n\n| item | result | finding | passes if | what to do |\n|---|---|---|---|---|\n",
        );
        for item in &self.items {
            let cells = [item.info.title, item.verdict.name(), &item.describe_finding(), &item.requirement];
            write_markdown_row(&mut text, cells.into_iter().chain([item.action().unwrap_or_default()]));
        }
        text.push_str(
            "\n## Baseline\n\n| number | result | last | lowest | highest | usual |\n|---|---|---|---|---|---|\n",
        );
        for number in &self.baseline {
            let cells = number.render_cells();
            write_markdown_row(
                &mut text,
                [number.title, describe_position(number.range_position)]
                    .into_iter()
                    .chain(cells.iter().map(String::as_str)),
            );
        }
        text.push_str(
            "\n## Evidence for standards\n\n| requirement | source | evidence | result | finding | \
             what to do |\n|---|---|---|---|---|---|\n",
        );
        for item in &self.requirements {
            let subject = &item.info;
            let cells = [
                subject.title,
                subject.source,
                subject.inspected,
                item.verdict.name(),
                &item.describe_finding(),
            ];
            write_markdown_row(&mut text, cells.into_iter().chain([item.action().unwrap_or_default()]));
        }
        let head = self.audit_head.as_deref().unwrap_or("none yet");
        let _ = writeln!(text, "\nLatest audit log entry: `{head}`");
        text
    }
}

impl ChecklistCoverage {
    /// Describes the coverage, a phrase each.
    pub(super) fn to_sentences(&self) -> Vec<String> {
        let Self { runs, failed_runs, hours_covered, hours_total, longest_gap } = self;
        let failed = if *failed_runs > 0 { format!(", {failed_runs} failed") } else { String::new() };
        let run_count = format!("Check runs: {runs}{failed}");
        let coverage = format!("Hours covered: {hours_covered} of {hours_total}");
        let gap = gap_exceeding_limit(*longest_gap)
            .map(|gap| format!("No successful check run {}", format_period(gap)));
        [run_count, coverage].into_iter().chain(gap).collect()
    }
}

/// Returns the mark of a result, at most four characters wide.
fn verdict_mark(verdict: &ChecklistVerdict) -> &'static str {
    match verdict {
        ChecklistVerdict::Passing => "passing",
        ChecklistVerdict::Failing => "failing",
        ChecklistVerdict::Unknown(_) => "unknown",
    }
}

fn describe_position(position: RangePosition) -> &'static str {
    match position {
        RangePosition::In => "in range",
        RangePosition::Out => "out of range",
        RangePosition::Unknown => "unknown",
    }
}

fn render_items(items: &[ChecklistItem]) -> String {
    let mut table = new_table(["", "item", "finding", "passes if"]);
    for item in items {
        table.add_row([
            verdict_mark(&item.verdict),
            item.info.title,
            &item.describe_finding(),
            &item.requirement,
        ]);
    }
    render_trimmed(&table)
}

fn render_baseline(numbers: &[BaselineMetric]) -> String {
    let mut table = new_table(["", "number", "last", "lowest", "highest", "usual"]);
    for number in numbers {
        let [last, lowest, highest, healthy] = number.render_cells();
        let mark = describe_position(number.range_position);
        table.add_row([mark, number.title, &last, &lowest, &highest, &healthy]);
    }
    render_trimmed(&table)
}

fn render_requirements(items: &[ChecklistItem]) -> String {
    let mut table = new_table(["", "requirement", "finding", "source"]);
    for item in items {
        table.add_row([
            verdict_mark(&item.verdict),
            item.info.title,
            &item.describe_finding(),
            item.info.source,
        ]);
    }
    render_trimmed(&table)
}

fn new_table<const COLUMNS: usize>(header: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    // A fixed width: the text is also sent in notifications, where no terminal is known.
    table.set_width(100).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// Renders a table without trailing spaces.
fn render_trimmed(table: &Table) -> String {
    let table = table.to_string();
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Writes the actions for items that do not pass, each action once.
fn write_actions(text: &mut String, items: &[ChecklistItem]) {
    let mut done: Vec<&str> = Vec::new();
    for action in items.iter().filter_map(ChecklistItem::action).filter(|action| !action.is_empty()) {
        if done.contains(&action) {
            // Several items may need the same action.
            continue;
        }
        done.push(action);
        let about = items.iter().filter(|item| item.action() == Some(action));
        let about: Vec<&str> = about.map(|item| item.info.id).collect();
        let _ = writeln!(text, " → {}:", about.join(", "));
        let _ = writeln!(text, "   {action}");
    }
}

fn write_markdown_row<'a>(text: &mut String, cells: impl Iterator<Item = &'a str>) {
    let cells: Vec<String> = cells.map(markdown_cell).collect();
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

/// Escapes text for a Markdown cell.
fn markdown_cell(text: &str) -> String {
    // The backslash first, or the escapes added later would be escaped again.
    sanitize_text(text).replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;")
}
