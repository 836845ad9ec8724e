//! Checks with their effective thresholds, and targets.

use maud::{Markup, html};
use sessionwatch_app::{
    app::{AppState, targets::describe_schedule},
    config::{Config, Target},
    effective_checks::{CheckBasis, EffectiveCheck, SettingSource, list_effective_checks},
};

use crate::{
    components::{
        Card, Column, DataTable, EmptyState, Icon, PillTone, render_pill, render_severity_pill,
        render_state_pill,
    },
    format::{percent_encode, render_relative_time, sanitize_text},
    shell::Shell,
};

const CHECK_COLUMNS: [Column<'_>; 4] =
    [Column::text("Check"), Column::fill("Fails on"), Column::text("Set in"), Column::text("Severity")];
const TARGET_COLUMNS: [Column<'_>; 6] = [
    Column::text("Target"),
    Column::text("State"),
    Column::fill("Address"),
    Column::text("Schedule"),
    Column::number("Last check"),
    Column::text(""),
];

/// Renders every check with its effective threshold, and where that comes from.
pub(super) fn render_checks(config: &Config) -> Markup {
    let checks = list_effective_checks(config);
    let of = |basis: CheckBasis| checks.iter().filter(move |check| check.basis == basis);
    let rows = html! {
        tr.group { td.span colspan="4" { "On the session table" } }
        @for check in of(CheckBasis::Table) { (render_check(check)) }
        tr.group { td.span colspan="4" { "On log events" } }
        @for check in of(CheckBasis::Logs) { (render_check(check)) }
    };
    let enabled = checks.iter().filter(|check| check.is_enabled).count();
    let note = match checks.len() - enabled {
        0 => format!("All {enabled} enabled"),
        disabled => format!("{enabled} enabled, {disabled} disabled"),
    };
    let body =
        DataTable { label: "Checks", class: "table-cards table-checks", columns: &CHECK_COLUMNS, rows }
            .render();
    Card { id: "checks", title: "Checks", note: &note, end: html! {}, body }.render()
}

fn render_check(check: &EffectiveCheck) -> Markup {
    html! {
        tr {
            td.first {
                span.strong { (check.title) }
                @if check.title != check.id { " " span.mono.muted { (check.id) } }
            }
            td.fails.span title=(check.fails_on) { (check.fails_on) }
            td.muted {
                @match check.source {
                    SettingSource::BuiltIn => "Built in",
                    SettingSource::Default => "Default",
                    SettingSource::Configured => (render_pill(PillTone::Accent, Icon::Pencil, "Configuration")),
                    SettingSource::Missing => "Not set (skipped)",
                }
            }
            td.up {
                @if check.is_enabled { (render_severity(check)) }
                @else { (render_pill(PillTone::Quiet, Icon::Minus, "Off")) }
            }
        }
    }
}

/// Renders the severity of a check. Solid red is reserved for alerts.
fn render_severity(check: &EffectiveCheck) -> Markup {
    match check.severity {
        sessionwatch_core::severity::Severity::Critical => {
            render_pill(PillTone::Quiet, Icon::OctagonAlert, "Critical")
        }
        sessionwatch_core::severity::Severity::High => {
            render_pill(PillTone::Quiet, Icon::TriangleAlert, "High")
        }
        severity => render_severity_pill(severity),
    }
}

/// Renders the targets with their state, and the link to the diagnostics.
pub(super) fn render_targets(app: &AppState, shell: &Shell) -> Markup {
    let config = app.config();
    let is_empty = config.targets.is_empty() && config.unresolved_targets.is_empty();
    let body = if is_empty {
        let text = html! { "Run " code { "sessionwatch init" } " with the address of a database." };
        EmptyState { icon: Icon::Database, title: "No targets yet", text, action: html! {} }.render()
    } else {
        let rows = html! {
            @for target in &config.unresolved_targets {
                tr {
                    td.first.strong { (target.name) }
                    td.up { (render_pill(PillTone::Failing, Icon::CircleX, "Not checked")) }
                    td.wrap.span colspan="4" { (sanitize_text(&target.problem.message)) }
                }
            }
            @for target in &config.targets { (render_target(app, shell, target)) }
        };
        DataTable { label: "Targets", class: "table-cards", columns: &TARGET_COLUMNS, rows }.render()
    };
    // The switcher of the frame has the id `targets`.
    Card { id: "settings-targets", title: "Targets", note: "", end: html! {}, body }.render()
}

fn render_target(app: &AppState, shell: &Shell, target: &Target) -> Markup {
    let path = format!("/targets/{}", percent_encode(&target.name));
    let status = shell.status.targets.iter().find(|one| one.name == target.name);
    let address = target.address.to_string();
    html! {
        tr {
            td.first { a href=(path) { (target.name) } }
            td.up { (render_state_pill(status.map_or("unknown", |status| status.state))) }
            td.address.span title=(address) { span.mono { (address) } }
            td.schedule.span.muted {
                @for (index, line) in describe_schedule(app, target).iter().enumerate() {
                    @if index > 0 { br; } (line)
                }
            }
            td.num data-l="Last check" {
                @match status.and_then(|status| status.last_run_at) {
                    Some(at) => (render_relative_time(at, shell.now)),
                    None => span.muted { "never" },
                }
            }
            td.end { a.btn.btn-s href={ (path) "/doctor" } { "Run doctor" } }
        }
    }
}
