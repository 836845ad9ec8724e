//! All checks of a target, those that need a person first.

use std::cmp::Reverse;

use maud::{Markup, html};
use sessionwatch_app::{app::alerts::AlertRecord, checks::describe_check};
use sessionwatch_core::severity::Severity;

use super::TargetView;
use crate::{
    alert_parts::{check_path, check_state},
    components::{
        Card, Column, DataTable, EmptyState, Icon, render_quiet_severity_pill, render_severity_pill,
        render_state_pill,
    },
    format::{capitalize_first, render_relative_time, render_sentence},
};

const CHECK_COLUMNS: [Column<'_>; 5] = [
    Column::text("State"),
    Column::text("Check"),
    Column::text("Severity"),
    Column::fill("Result"),
    Column::number("Last run"),
];

impl TargetView<'_> {
    /// Renders the table of checks.
    pub(super) fn render_checks(&self) -> Markup {
        let mut alerts: Vec<&AlertRecord> = self.row.status.alerts.iter().collect();
        alerts.sort_by_key(|alert| (state_rank(check_state(alert)), Reverse(alert_severity(alert))));
        let body = if alerts.is_empty() {
            let state = EmptyState {
                icon: Icon::ShieldCheck,
                title: "No check has run yet",
                text: html! { "The results of all checks appear here after the first check run." },
                action: html! {},
            };
            state.render()
        } else {
            let rows = html! { @for alert in &alerts { (self.render_check_row(alert)) } };
            DataTable { label: "Checks", class: "table-cards table-checks", columns: &CHECK_COLUMNS, rows }
                .render()
        };
        let note = if alerts.is_empty() { String::new() } else { alerts.len().to_string() };
        Card { id: "checks", title: "Checks", note: &note, end: html! {}, body }.render()
    }

    fn render_check_row(&self, alert: &AlertRecord) -> Markup {
        let state = check_state(alert);
        html! {
            tr {
                td.up { (render_state_pill(state)) }
                td.first { a href=(check_path(&alert.target, &alert.check)) { (describe_check(&alert.check).title) } }
                td.hide-s {
                    @if matches!(state, "failing" | "pending") { (render_severity_pill(alert_severity(alert))) }
                    @else { (render_quiet_severity_pill(alert_severity(alert))) }
                }
                td.fill.muted.result { (render_sentence(&capitalize_first(&alert.summary))) }
                td.num.hide-s { (render_relative_time(alert.updated_at, self.shell.now)) }
            }
        }
    }
}

fn alert_severity(alert: &AlertRecord) -> Severity {
    alert.severity.parse().unwrap_or(Severity::Critical)
}

/// Returns the place of a state in the table.
fn state_rank(state: &str) -> u8 {
    match state {
        "failing" => 0,
        "pending" => 1,
        "unknown" => 2,
        "acknowledged" => 3,
        "skipped" => 5,
        _ => 4,
    }
}
