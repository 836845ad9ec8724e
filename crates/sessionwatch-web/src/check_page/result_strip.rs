//! The results of a check over two weeks, as a strip of cells and a share of the time.

use jiff::SignedDuration;
use maud::{Markup, html};
use sessionwatch_app::app::Period;
use sessionwatch_clock as clock;
use sessionwatch_core::{plural::format_count, timestamp::UtcTimestamp};

use crate::format::format_length;

/// Cells of the strip: four hours each in 14 days.
const CELL_COUNT: i32 = 84;
/// Size of a cell and the distance between two, in the units of the view box.
const CELL_WIDTH: i32 = 7;
const CELL_PITCH: i32 = 9;
/// Most rows of the table.
const MAX_TABLE_ROWS: usize = 20;

/// The results of a check in a period.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResultStrip<'a> {
    pub(super) period: Period,
    /// Names of the results, each with its start, the oldest first.
    pub(super) results: &'a [(UtcTimestamp, String)],
}

/// A result that lasted for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ResultSpan<'a> {
    name: &'a str,
    period: Period,
}

impl<'a> ResultStrip<'a> {
    /// Renders the strip with its caption.
    pub(super) fn render(&self) -> Markup {
        let view_box = format!("0 0 {} 24", CELL_COUNT * CELL_PITCH);
        let label = self.text_summary();
        html! {
            div.stack-s {
                div.row.between.muted { span { "Last 14 days" } span { (self.share_text()) } }
                svg.strip viewBox=(view_box) preserveAspectRatio="none" role="img" aria-label=(label) {
                    @for index in 0..CELL_COUNT {
                        @let cell = self.cell(index);
                        @let result = self.worst_result(cell);
                        @let x = index * CELL_PITCH;
                        rect class=(cell_class(result)) x=(x) y="0" width=(CELL_WIDTH) height="24" rx="2" {
                            title { (clock::format_utc(cell.from)) ": " (result.unwrap_or("no result")) }
                        }
                    }
                }
            }
        }
    }

    /// Renders the meaning of the colors.
    pub(super) fn render_legend(&self) -> Markup {
        html! {
            ul.legend {
                li { span.key.key-ok {} "Passing" }
                li { span.key.key-no {} "Failing" }
                li { span.key.key-na {} "Unknown or no result" }
            }
        }
    }

    /// Renders the latest results as a table.
    pub(super) fn render_table(&self) -> Markup {
        html! {
            @if !self.results.is_empty() {
                details.data {
                    summary { "Show as table" }
                    table.table.table-dense {
                        thead { tr { th scope="col" { "Since" } th scope="col" { "Result" } } }
                        tbody { @for (at, name) in self.results.iter().rev().take(MAX_TABLE_ROWS) {
                            tr { td { (clock::format_utc(*at)) } td { (name) } }
                        } }
                    }
                }
            }
        }
    }

    fn cell(&self, index: i32) -> Period {
        let length = self.period.duration() / CELL_COUNT;
        let from = self.period.from + length * index;
        Period { from, to: from + length }
    }

    fn spans(&self) -> impl Iterator<Item = ResultSpan<'a>> {
        let Self { period, results } = *self;
        results.iter().enumerate().map(move |(index, (at, name))| {
            let to = results.get(index + 1).map_or(period.to, |(next, _)| *next);
            ResultSpan { name, period: Period { from: (*at).max(period.from), to } }
        })
    }

    /// Returns the worst result of a cell; `None` if there was none.
    fn worst_result(&self, cell: Period) -> Option<&'a str> {
        let overlapping =
            || self.spans().filter(|span| span.period.from < cell.to && span.period.to > cell.from);
        ["failing", "unknown", "passing"]
            .into_iter()
            .find(|name| overlapping().any(|span| span.name == *name))
    }

    fn total(&self, is_counted: impl Fn(&str) -> bool) -> SignedDuration {
        self.spans().filter(|span| is_counted(span.name)).map(|span| span.period.duration()).sum()
    }

    fn share_text(&self) -> String {
        let all = self.total(|_| true);
        if all.is_zero() {
            return "No results yet".into();
        }
        let percent = self.total(|name| name == "passing").div_duration_f64(all) * 100.0;
        // Rounded down: only a check that always passed reaches 100%.
        let percent = (percent * 10.0).floor() / 10.0;
        if percent.fract() == 0.0 {
            format!("Passing {percent:.0}% of {}", self.describe_measured(all))
        } else {
            format!("Passing {percent:.1}% of {}", self.describe_measured(all))
        }
    }

    /// Returns how much of the period had results, in words.
    fn describe_measured(&self, measured: SignedDuration) -> String {
        if measured * 10 >= self.period.duration() * 9 {
            return "the time".to_owned();
        }
        format!("the time, based on {} of results", format_length(measured))
    }

    fn text_summary(&self) -> String {
        let failures = self.spans().filter(|span| span.name == "failing").count() as u64;
        let failed = format_count(failures, "time", "times");
        format!("Last 14 days: {}, failing {failed}", self.share_text().to_lowercase())
    }
}

fn cell_class(result: Option<&str>) -> &'static str {
    match result {
        Some("failing") => "c-no",
        Some("passing") => "c-ok-soft",
        _ => "c-na",
    }
}

#[cfg(test)]
mod tests {
    use sessionwatch_core::duration::{DAY, HOUR};

    use super::*;

    #[test]
    fn a_cell_shows_its_worst_result_and_the_share_is_rounded_down() {
        let from = UtcTimestamp::UNIX_EPOCH + DAY;
        let at = |hours: i32| from + HOUR * hours;
        let period = Period { from, to: at(14 * 24) };
        let result = |hours, name: &str| (at(hours), name.to_owned());
        let results =
            [result(4, "passing"), result(9, "failing"), result(10, "passing"), result(16, "unknown")];
        let strip = ResultStrip { period, results: &results };
        let worst = |index| strip.worst_result(strip.cell(index));
        let cells = [None, Some("passing"), Some("failing"), Some("passing"), Some("unknown")];
        assert_eq!([0, 1, 2, 3, 83].map(worst), [cells[0], cells[1], cells[2], cells[3], cells[4]]);

        let short = [result(0, "failing"), (at(0) + SignedDuration::from_secs(1), "passing".into())];
        let strip = ResultStrip { period, results: &short };
        assert_eq!(strip.share_text(), "Passing 99.9% of the time");
        assert!(strip.text_summary().ends_with("failing 1 time"));
        assert_eq!(ResultStrip { period, results: &short[1..] }.share_text(), "Passing 100% of the time");
        assert_eq!(ResultStrip { period, results: &[] }.share_text(), "No results yet");
    }
}
