//! The audit log.

use std::sync::Arc;

use axum::extract::{Query, State};
use maud::html;
use serde::Deserialize;
use sessionwatch_app::app::{
    AppState, Period,
    audit::{self, ChainStatus},
};
use sessionwatch_clock as clock;
use sessionwatch_core::{duration, plural::format_count};

use super::{
    PageResult,
    layout::{self, PageHead},
    shell::Shell,
};

/// Most entries on a page.
const AUDIT_PAGE_SIZE: u32 = 500;

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct AuditPeriodQuery {
    days: Option<i64>,
}

pub(super) async fn show_audit_trail(
    State(app): State<Arc<AppState>>,
    Query(period): Query<AuditPeriodQuery>,
    shell: Shell,
) -> PageResult {
    let now = app.clock.now();
    // Clamped, so that any link shows a page.
    let days = period.days.unwrap_or(30).clamp(1, 4_000);
    let entries =
        audit::list_audit_entries(&app, Period::ending_at(now, duration::from_days(days)), AUDIT_PAGE_SIZE)
            .await?;
    // Verified on every view, so that tampering shows to anyone who reads the log.
    let trail = audit::verify_audit_chain(&app, None).await?.chain;
    let body = html! {
        @match trail {
            ChainStatus::Intact(count) => p { (layout::render_status_badge("passing")) " Audit log intact: " (format_count(count, "entry", "entries")) }
            ChainStatus::Broken(id) => p.problem { (layout::render_status_badge("failing")) " Audit log broken at entry " (id) ": entries were changed or removed." }
        }
        form.filter method="get" action="/audit" {
            label { "Days" input name="days" type="number" min="1" max="4000" value=(days); } button { "Show entries" }
        }
        @if entries.is_empty() { p.empty { "No audit entries in this period." } }
        @else {
            div.wide tabindex="0" role="group" aria-label="Table" { table {
                thead { tr { th scope="col" { "Time" } th scope="col" { "Actor" } th scope="col" { "Action" } th scope="col" { "Details" } } }
                tbody { @for entry in entries.iter().rev() { tr {
                    td { (clock::format_utc(entry.at)) } td { (layout::sanitize_text(&entry.actor)) } td { (entry.action) } td { code.line { (layout::sanitize_text(&entry.detail)) } }
                } } }
            } }
        }
    };
    Ok(layout::render_page(&shell, PageHead { title: "Audit", path: "/audit", live: false }, &body))
}

#[cfg(test)]
mod tests;
