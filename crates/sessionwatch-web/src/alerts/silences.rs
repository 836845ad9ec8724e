//! The active silences.

use maud::{Markup, html};
use sessionwatch_app::{app::silences::SilenceRecord, checks::describe_check};
use sessionwatch_clock as clock;

use crate::{
    alert_parts::check_path,
    components::{Card, Column, DataTable},
    format::{render_relative_time, sanitize_text},
    shell::{Shell, render_csrf_field},
};

const SILENCE_COLUMNS: [Column<'_>; 6] = [
    Column::text("Check"),
    Column::text("Target"),
    Column::fill("Reason"),
    Column::text("By"),
    Column::number("Ends"),
    Column::text(""),
];

/// Renders the active silences, each with a button that ends it; nothing if there are none.
pub(super) fn render_silences(shell: &Shell, silences: &[SilenceRecord]) -> Markup {
    if silences.is_empty() {
        return html! {};
    }
    let rows = html! { @for silence in silences { (render_silence_row(shell, silence)) } };
    let body =
        DataTable { label: "Silences", class: "table-cards", columns: &SILENCE_COLUMNS, rows }.render();
    let note = silences.len().to_string();
    Card { id: "silences", title: "Silences", note: &note, end: html! {}, body }.render()
}

fn render_silence_row(shell: &Shell, silence: &SilenceRecord) -> Markup {
    let title =
        silence.check.as_deref().map_or_else(|| "All checks".to_owned(), |check| describe_check(check).title);
    html! {
        tr {
            td.first {
                @match (&silence.target, &silence.check) {
                    (Some(target), Some(check)) => a href=(check_path(target, check)) { (title) },
                    _ => span.strong { (title) },
                }
                @if let Some(subject) = &silence.subject { span.muted { " for " (sanitize_text(subject)) } }
            }
            td data-l="on" { (silence.target.as_deref().map_or_else(|| "all targets".to_owned(), sanitize_text)) }
            td.fill.muted.result { (sanitize_text(&silence.note)) }
            td.hide-s { (sanitize_text(&silence.created_by)) }
            td.num title=(clock::format_utc(silence.ends_at)) { (render_relative_time(silence.ends_at, shell.now)) }
            // Viewers get no buttons; the server checks the role again in any case.
            td.up { @if shell.can_respond() {
                form method="post" action="/silences/expire" {
                    (render_csrf_field(&shell.user))
                    input type="hidden" name="silence" value=(silence.id);
                    button.btn.btn-s { "End silence" }
                }
            } }
        }
    }
}
