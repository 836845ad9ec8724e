//! Cleanup, revocation and restore: create a plan, review it, apply exactly that plan.

mod apply;
mod candidate_cards;
mod create_plan;
mod history;
mod impact;
mod phase;
mod plan_page;
mod plan_view;
mod revoke_menu;
mod rows;
mod wording;

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};
use serde::Deserialize;
use sessionwatch_app::{
    app::{
        AppState,
        cleanup::{self, CleanupOverview},
    },
    config::CleanupConfig,
};
use sessionwatch_clock as clock;

pub(super) use self::{
    apply::{apply_plan, approve_plan},
    create_plan::{create_plan, create_restore_plan},
    plan_page::show_plan,
};

use self::{
    candidate_cards::{render_kinds, summarize_candidates},
    history::{HistoryView, render_archive, render_plans},
    revoke_menu::{render_revoke_dialogs, render_revoke_menu},
    wording::format_span,
};
use super::{
    components::{Callout, EmptyState, Icon, PageHeader, Tone},
    format::{percent_encode, render_relative_time, sanitize_text},
    params::PageQuery,
    shell::{NavSection, PageHead, Shell},
    web_error::PageResult,
};

/// The target that the page is about; empty for the first one.
#[derive(Debug, Deserialize)]
pub(super) struct TargetRef {
    #[serde(default)]
    target: String,
}

pub(super) async fn show_cleanup(
    State(app): State<Arc<AppState>>,
    PageQuery(chosen): PageQuery<TargetRef>,
    shell: Shell,
) -> PageResult {
    let config = app.config();
    // The navigation may have no target, so the page opens with the first one.
    let target = match config.targets.first() {
        None if chosen.target.is_empty() => return Ok(render_without_targets(&shell)),
        Some(first) if chosen.target.is_empty() => first.clone(),
        _ => app.target(&chosen.target)?,
    };
    let overview = cleanup::load_cleanup_overview(&app, &target.name).await?;
    let headline = summarize_candidates(&overview.candidates, &target.name);
    let retention = format_span(config.actions.archive_retention);
    let header = PageHeader {
        headline: &headline,
        lead: html! { "Every plan lists its rows first, and can be undone for " (retention) "." },
        actions: html! { @if shell.can_respond() { (render_revoke_menu()) } },
        ..PageHeader::default()
    };
    let history = HistoryView { app: &app, shell: &shell, plan_ttl: config.actions.plan_ttl };
    let body = html! {
        (header.render())
        (render_staleness(&overview, &target.name, &shell))
        (render_kinds(&shell, &target.name, &overview.candidates))
        (render_schedule(target.auto_cleanup.as_ref(), &overview, &shell))
        (render_plans(&history, &overview.plans))
        (render_archive(&history, &overview, &retention))
        @if shell.can_respond() { (render_revoke_dialogs(&shell.user, &target, &overview)) }
    };
    let page = PageHead {
        title: &format!("Cleanup of {}", target.name),
        section: NavSection::Cleanup,
        target: Some(&target.name),
        live: true,
    };
    Ok(shell.render_page(page, &body))
}

fn render_without_targets(shell: &Shell) -> Markup {
    let state = EmptyState {
        icon: Icon::Database,
        title: "No database is monitored yet",
        text: html! { "Run " code { "sessionwatch init URL" } " to create a configuration." },
        action: html! {},
    };
    let header = PageHeader { headline: "Nothing to clean up", ..PageHeader::default() };
    let body = html! { (header.render()) section.card { (state.render()) } };
    let page = PageHead { title: "Cleanup", section: NavSection::Cleanup, target: None, live: false };
    shell.render_page(page, &body)
}

/// Renders why the figures are missing, or since when they are out of date.
fn render_staleness(overview: &CleanupOverview, target: &str, shell: &Shell) -> Markup {
    let doctor =
        html! { a.btn.btn-s href={ "/targets/" (percent_encode(target)) "/doctor" } { "Run doctor" } };
    let (title, text) = match &overview.report {
        None => (
            format!("{target} has not been checked yet"),
            html! { "The first check run starts within a minute. A plan counts its rows itself." },
        ),
        Some(report) if report.document["stats"].is_null() => {
            let why = report.document["error"].as_str().map(sanitize_text).unwrap_or_default();
            let text = html! {
                "The last check run " (render_relative_time(report.at, shell.now)) " failed"
                @if !why.is_empty() { ": " (why) } ". Creating a plan will probably fail too."
            };
            (format!("{target} cannot be checked"), text)
        }
        Some(_) => return html! {},
    };
    Callout { tone: Tone::Warn, title: &title, text, action: doctor }.render()
}

/// Renders when expired sessions are deleted automatically, or how to make that happen.
fn render_schedule(cleanup: Option<&CleanupConfig>, overview: &CleanupOverview, shell: &Shell) -> Markup {
    let Some(cleanup) = cleanup else {
        let text = html! {
            "To delete them every night, set " code { "expired = true" } " under "
            code { "[target.cleanup]" } " in the configuration. "
            "Each run archives the rows that it deletes, so that it can be undone."
        };
        let title = "Expired sessions are not deleted automatically";
        return Callout { tone: Tone::Scheduled, title, text, action: html! {} }.render();
    };
    let text = html! {
        "They are deleted once they have been expired for " (format_span(cleanup.grace)) ". "
        @if let Some(at) = cleanup.schedule.next_after(shell.now) {
            "Next run " (render_relative_time(at, shell.now)) ", on " (clock::format_weekday(at)) " at "
            (&clock::format_time_of_day(at)[..5]) ". "
        }
        @match overview.last_scheduled_at {
            Some(at) => { "Last run " (render_relative_time(at, shell.now)) "." }
            None => "No run yet.",
        }
    };
    let title = "Expired sessions are deleted on schedule";
    Callout { tone: Tone::Scheduled, title, text, action: html! {} }.render()
}

#[cfg(test)]
mod tests;
