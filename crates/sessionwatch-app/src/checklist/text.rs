//! Checklists for terminals and wikis.

use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};
use sessionwatch_clock as clock;
use sessionwatch_core::checklist::{RangePosition, Verdict, too_long};

use super::{
    Checklist, Item, Number,
    facts::{Coverage, time},
};
use crate::sanitize::printable;

impl Checklist {
    /// For a terminal of 100 columns.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("Checklist of {}, {}\n", printable(&self.target), time(self.period));
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "Made on {}", clock::readable(self.made_at));
        for line in self.coverage.said() {
            let _ = writeln!(text, "{line}");
        }
        let _ = write!(text, "\nThe guide's checklist\n{}", items(&self.items));
        todo(&mut text, &self.items);
        let _ = write!(text, "\nThe guide's healthy numbers\n{}", numbers(&self.baseline));
        let _ = write!(text, "\nWhat the table proves of standards\n{}", requirements(&self.requirements));
        todo(&mut text, &self.requirements);
        let head = self.audit_head.as_deref().unwrap_or("none yet");
        let _ = writeln!(text, "\nLast entry of the record of who did what: {head}");
        let _ = writeln!(text, "Verdict: {}", self.verdict().name());
        text
    }

    /// For issues and wikis.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "# Checklist of {}: {}\n\nCovers the time {}. Made on {}. {}.\n",
            cell(&self.target),
            self.verdict().name(),
            time(self.period),
            clock::readable(self.made_at),
            self.coverage.said().join(". ")
        );
        text.push_str(
            "\n## The guide's checklist\n\n| item | verdict | found | holds at | what to do |\n|---|---|---|---|---|\n",
        );
        for item in &self.items {
            let cells = [item.subject.title, item.verdict.name(), &item.found(), &item.threshold];
            row(&mut text, cells.into_iter().chain([item.action().unwrap_or_default()]));
        }
        text.push_str(
            "\n## The guide's healthy numbers\n\n| number | verdict | last | lowest | highest | healthy |\n|---|---|---|---|---|---|\n",
        );
        for number in &self.baseline {
            let cells = number.cells();
            row(
                &mut text,
                [number.title, number.place.name()].into_iter().chain(cells.iter().map(String::as_str)),
            );
        }
        text.push_str(
            "\n## What the table proves of standards\n\n| requirement | source | looked at | verdict | found | what to do |\n|---|---|---|---|---|---|\n",
        );
        for item in &self.requirements {
            let subject = &item.subject;
            let cells =
                [subject.title, subject.source, subject.looked_at, item.verdict.name(), &item.found()];
            row(&mut text, cells.into_iter().chain([item.action().unwrap_or_default()]));
        }
        let head = self.audit_head.as_deref().unwrap_or("none yet");
        let _ = writeln!(text, "\nLast entry of the record of who did what: `{head}`");
        text
    }
}

impl Coverage {
    /// In sentences.
    pub(super) fn said(&self) -> Vec<String> {
        let Self { looks, blind, hours_seen, hours, gap } = self;
        let looks = format!("Looks: {looks}, of which {blind} saw nothing");
        let hours = format!("Hours in which something was seen: {hours_seen} of {hours}");
        let gap = too_long(*gap).map(|gap| format!("Nothing was seen {}", time(gap)));
        [looks, hours].into_iter().chain(gap).collect()
    }
}

/// A word of four letters at most, as in reports.
fn mark(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "ok",
        Verdict::Fail => "FAIL",
        Verdict::Unknown(_) => "?",
    }
}

fn items(items: &[Item]) -> String {
    let mut table = table(["", "item", "what was found", "holds at"]);
    for item in items {
        table.add_row([mark(&item.verdict), item.subject.title, &item.found(), &item.threshold]);
    }
    plain(&table)
}

fn numbers(numbers: &[Number]) -> String {
    let mut table = table(["", "number", "last", "lowest", "highest", "healthy"]);
    for number in numbers {
        let mark = match number.place {
            RangePosition::In => "ok",
            RangePosition::Out => "out",
            RangePosition::Unknown => "?",
        };
        let [last, lowest, highest, healthy] = number.cells();
        table.add_row([mark, number.title, &last, &lowest, &highest, &healthy]);
    }
    plain(&table)
}

fn requirements(items: &[Item]) -> String {
    let mut table = table(["", "requirement", "what was found", "source"]);
    for item in items {
        table.add_row([mark(&item.verdict), item.subject.title, &item.found(), item.subject.source]);
    }
    plain(&table)
}

fn table<const COLUMNS: usize>(header: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table.set_width(100).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// Without the blanks that a table has at the end of its lines.
fn plain(table: &Table) -> String {
    let table = table.to_string();
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// What to do about what does not pass, one line for each thing to do.
fn todo(text: &mut String, items: &[Item]) {
    let mut done: Vec<&str> = Vec::new();
    for action in items.iter().filter_map(Item::action).filter(|action| !action.is_empty()) {
        if done.contains(&action) {
            continue;
        }
        done.push(action);
        let about = items.iter().filter(|item| item.action() == Some(action));
        let about: Vec<&str> = about.map(|item| item.subject.id).collect();
        let _ = writeln!(text, " → {}:", about.join(", "));
        let _ = writeln!(text, "   {action}");
    }
}

fn row<'a>(text: &mut String, cells: impl Iterator<Item = &'a str>) {
    let cells: Vec<String> = cells.map(cell).collect();
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

/// Text that ends no cell, and is no markup of a page.
fn cell(text: &str) -> String {
    printable(text).replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;")
}
