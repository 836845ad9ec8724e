//! How a target is monitored.

use maud::{Markup, html};
use sessionwatch_app::app::targets;
use sessionwatch_clock as clock;

use super::TargetView;
use crate::{
    components::Card,
    format::{capitalize_first, format_amount, render_relative_time, render_sentence, sanitize_text},
};

impl TargetView<'_> {
    /// Renders address, table, schedule and the notes of the last run.
    pub(super) fn render_facts(&self) -> Markup {
        let status = self.row.status;
        let report = status.report_document();
        let text = |key: &str| status.report_text(key).map_or_else(|| "unknown".to_owned(), sanitize_text);
        let database_time = status.report_text("checked_at").and_then(clock::parse_rfc3339);
        let duration = report.and_then(|report| report["duration_ms"].as_f64());
        let notes = report.and_then(|report| report["notes"].as_array()).into_iter().flatten();
        let notes: Vec<String> = notes.filter_map(|note| note.as_str()).map(capitalize_first).collect();
        let body = html! {
            dl.defs {
                dt { "Address" } dd { code { (self.target().address.to_string()) } }
                dt { "Table" } dd { code { (text("table")) } }
                dt { "Profile" } dd { (text("profile")) }
                dt { "Engine" } dd { (text("engine")) }
                dt { "Schedule" } dd {
                    @for line in targets::describe_schedule(self.app, self.target()) {
                        div { (capitalize_first(&line)) }
                    }
                }
                dt { "Next check" } dd { (self.render_next_run()) }
                dt { "Last run" } dd {
                    @match duration { Some(ms) => { "took " (format_amount(ms.round())) " ms" }, None => "unknown" }
                }
                dt { "Database clock" } dd {
                    @match database_time { Some(at) => (clock::format_utc(at)), None => "unknown" }
                }
            }
            @if !notes.is_empty() {
                h3.h3 { "Notes" }
                ul.notes { @for note in &notes { li { (render_sentence(note)) } } }
            }
        };
        Card { id: "monitoring", title: "Monitoring", note: "", end: html! {}, body }.render_padded()
    }

    fn render_next_run(&self) -> Markup {
        html! {
            @match self.app.next_run_at(&self.target().name) {
                Some(at) if at > self.shell.now => (render_relative_time(at, self.shell.now)),
                Some(_) => "now",
                None => "handled by another instance",
            }
        }
    }
}
