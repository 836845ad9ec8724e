//! The plans of a target, and the archives of the rows that they removed.

use jiff::SignedDuration;
use maud::{Markup, html};
use sessionwatch_app::app::{
    AppState,
    cleanup::CleanupOverview,
    plans::{ActionPlan, ArchiveSummary},
};
use sessionwatch_core::plural::format_number;

use super::{
    phase::{PhaseInput, PlanPhase},
    wording::{describe_action, describe_contents, format_shown, format_time_left},
};
use crate::{
    components::{Card, Column, DataTable, EmptyState, Icon, render_user},
    format::{render_moment, render_relative_time},
    shell::{Shell, render_csrf_field},
};

/// Most plans listed, latest first.
const PLAN_PAGE_SIZE: usize = 20;

/// What the tables need besides their rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct HistoryView<'a> {
    pub(super) app: &'a AppState,
    pub(super) shell: &'a Shell,
    pub(super) plan_ttl: SignedDuration,
}

/// Renders the latest plans.
pub(super) fn render_plans(view: &HistoryView<'_>, plans: &[ActionPlan]) -> Markup {
    const PLAN_COLUMNS: [Column<'_>; 7] = [
        Column::text("Plan"),
        Column::fill("Action"),
        Column::text("State"),
        Column::number("Rows"),
        Column::number("Active"),
        Column::text("By"),
        Column::number("Created"),
    ];
    let shown = plans.len().min(PLAN_PAGE_SIZE);
    let note = match plans.len() {
        0 => String::new(),
        all => format_shown(shown, all as u64, ["plan", "plans"]),
    };
    let body = if plans.is_empty() {
        EmptyState {
            icon: Icon::BrushCleaning,
            title: "No plans yet",
            text: html! { "Review a plan of a kind above. Creating a plan changes nothing; only applying it does." },
            action: html! {},
        }
        .render()
    } else {
        let rows = html! { @for plan in plans.iter().take(shown) { (render_plan_row(view, plan)) } };
        DataTable { label: "Plans", class: "table-cards table-plans", columns: &PLAN_COLUMNS, rows }.render()
    };
    Card { id: "plans", title: "Plans", note: &note, end: html! {}, body }.render()
}

fn render_plan_row(view: &HistoryView<'_>, plan: &ActionPlan) -> Markup {
    let job = view.app.plan_jobs.get(&plan.record.id);
    let now = view.shell.now;
    let phase = PlanPhase::of_plan(PhaseInput { plan, job: job.as_ref(), plan_ttl: view.plan_ttl, now });
    let path = format!("/plans/{}", plan.record.id);
    html! {
        tr {
            td.mono.hide-s { a href=(path) { (plan.record.id) } }
            td.fill { a.plain href=(path) { (describe_action(plan)) } }
            td.up { (phase.render(now)) }
            td.num data-l="Rows" { (format_number(plan.record.row_count)) }
            td.num.hide-s { (format_number(plan.record.active_sessions)) }
            td.hide-s {
                @if plan.summary.by_policy { span.muted { "Schedule" } }
                @else { (render_user(&plan.record.created_by, None, None)) }
            }
            td.num.muted { (render_relative_time(plan.record.created_at, now)) }
        }
    }
}

/// Renders the archives.
pub(super) fn render_archive(view: &HistoryView<'_>, overview: &CleanupOverview, retention: &str) -> Markup {
    const ARCHIVE_COLUMNS: [Column<'_>; 7] = [
        Column::text("Plan"),
        Column::fill("Contents"),
        Column::number("Removed"),
        Column::number("Rows"),
        Column::number("Restored"),
        Column::number("Time left"),
        Column { title: "Action", class: "end" },
    ];
    let note = format!("removed rows, encrypted, kept for {retention}");
    let body = if overview.archives.is_empty() {
        EmptyState {
            icon: Icon::Archive,
            title: "The archive is empty",
            text: html! { "Rows are encrypted and archived before a plan removes them, so that they can be restored." },
            action: html! {},
        }
        .render()
    } else {
        let rows = html! {
            @for archive in &overview.archives { (render_archive_row(view, archive, &overview.plans)) }
        };
        DataTable { label: "Archive", class: "table-cards table-plans", columns: &ARCHIVE_COLUMNS, rows }
            .render()
    };
    Card { id: "archive", title: "Archive", note: &note, end: html! {}, body }.render()
}

fn render_archive_row(view: &HistoryView<'_>, archive: &ArchiveSummary, plans: &[ActionPlan]) -> Markup {
    let plan = plans.iter().find(|plan| plan.record.id == archive.plan);
    let (path, now) = (format!("/plans/{}", archive.plan), view.shell.now);
    let can_restore = view.shell.can_respond() && archive.can_be_restored();
    html! {
        tr {
            td.mono.hide-s { a href=(path) { (archive.plan) } }
            td.fill {
                a.plain href=(path) { (plan.map_or_else(|| archive.plan.clone(), describe_contents)) }
            }
            td.num.muted data-l="Removed" { (render_moment(archive.first_sealed_at, now)) }
            td.num.hide-s { (format_number(archive.restorable_rows)) }
            td.num.hide-s { (format_number(archive.restored_rows)) }
            td.num.up { (format_time_left(archive.purge_at, now)) }
            td.end {
                @if can_restore { (render_restore_form(view.shell, archive)) }
                @else if archive.is_restored() { span.muted { "Restored" } }
            }
        }
    }
}

/// Renders the button that creates a plan to restore archived rows.
pub(super) fn render_restore_form(shell: &Shell, archive: &ArchiveSummary) -> Markup {
    html! {
        form method="post" action={ "/archive/" (archive.plan) "/restore" } {
            (render_csrf_field(&shell.user))
            button.btn.btn-s aria-label={ "Restore the rows of " (archive.plan) } { "Restore…" }
        }
    }
}
