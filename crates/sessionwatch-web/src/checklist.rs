//! The weekly checklist and its attestations.

mod groups;
mod score;

use std::sync::Arc;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use sessionwatch_app::{
    app::{
        AppError, AppState,
        checklists::{self, Checklist, ItemCounts, NewAttestation, USER_REPORTS_ITEM, WeeklyReport},
    },
    checklist::render_html,
};
use sessionwatch_clock as clock;
use sessionwatch_core::{duration::SECOND, plural::format_count};

use self::{groups::render_groups, score::render_score};
use super::{
    auth::LoggedIn,
    components::{Crumb, Dialog, Icon, PageHeader, render_icon},
    csrf::CsrfForm,
    format::{percent_encode, sanitize_text},
    params::{PagePath, PageQuery},
    shell::{NavSection, PageHead, Shell, render_csrf_field},
    web_error::{PageResult, WebError},
};

/// Length limit of a note, in characters.
const MAX_NOTE_CHARS: usize = 500;
/// The oldest week that the page shows: the history ends before.
const MAX_WEEKS_AGO: u32 = 52;

/// The week that the page is about.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct WeekQuery {
    /// Number of weeks before the current one.
    #[serde(default)]
    weeks: u32,
}

/// A report and its target.
#[derive(Clone, Copy, Debug)]
struct ReportView<'a> {
    shell: &'a Shell,
    /// Name of the target.
    target: &'a str,
    report: &'a WeeklyReport,
    /// The checklist in its public format.
    document: &'a Value,
    weeks_ago: u32,
}

/// Returns the path of the report page of a target.
fn report_path(target: &str) -> String {
    format!("/targets/{}/report", percent_encode(target))
}

/// Redirects from the navigation, which knows no target, to the report of the first one.
pub(super) async fn redirect_to_first_target(
    State(app): State<Arc<AppState>>,
    LoggedIn(_): LoggedIn,
) -> Result<Redirect, WebError> {
    let config = app.config();
    let first = config.targets.first();
    let target = first.ok_or_else(|| AppError::NotFound("No target is configured.".into()))?;
    Ok(Redirect::to(&report_path(&target.name)))
}

pub(super) async fn show_checklist(
    State(app): State<Arc<AppState>>,
    PagePath(name): PagePath<String>,
    PageQuery(week): PageQuery<WeekQuery>,
    shell: Shell,
) -> PageResult {
    let target = app.target(&name)?;
    let weeks_ago = week.weeks.min(MAX_WEEKS_AGO);
    let report = checklists::load_weekly_report(&app, target.clone(), weeks_ago).await?;
    let document = report.checklist.to_json();
    let view =
        ReportView { shell: &shell, target: &target.name, report: &report, document: &document, weeks_ago };
    let body = html! {
        (view.render_header())
        (render_score(&view))
        (render_groups(&view))
        (view.render_provenance())
        @if view.can_attest() { (view.render_attest_dialog()) }
    };
    let page = PageHead {
        title: &format!("Checklist of {}", target.name),
        section: NavSection::Reports,
        target: Some(&target.name),
        live: false,
    };
    Ok(shell.render_page(page, &body))
}

/// Sends the checklist of a week as one self-contained page.
pub(super) async fn download_checklist(
    State(app): State<Arc<AppState>>,
    PagePath(name): PagePath<String>,
    PageQuery(week): PageQuery<WeekQuery>,
    LoggedIn(_): LoggedIn,
) -> Result<Response, WebError> {
    let target = app.target(&name)?;
    let period = checklists::week_period(app.clock.now(), week.weeks.min(MAX_WEEKS_AGO));
    let list = checklists::load_checklists(&app, vec![target], period).await?;
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        // Saved instead of shown: the page has styles of its own, which the policy of the dashboard forbids.
        (header::CONTENT_DISPOSITION, "attachment; filename=\"checklist.html\""),
    ];
    Ok((headers, render_html(&list)).into_response())
}

impl ReportView<'_> {
    fn counts(&self) -> ItemCounts {
        self.report.checklist.count_items()
    }

    /// Returns `true` if this user can attest an item of the shown week.
    fn can_attest(&self) -> bool {
        // An attestation counts for the week in which it is made.
        self.shell.can_respond() && self.weeks_ago == 0
    }

    /// Returns the path of the page of another week.
    fn week_path(&self, weeks_ago: u32) -> String {
        let path = report_path(self.target);
        if weeks_ago == 0 { path } else { format!("{path}?weeks={weeks_ago}") }
    }

    fn render_header(&self) -> Markup {
        let ItemCounts { passing, failing, unknown } = self.counts();
        let period = self.report.checklist.period();
        let last_day = clock::format_day(period.to - SECOND);
        let week = match self.weeks_ago {
            0 => "in the last 7 days".to_owned(),
            _ => format!("in the week to {last_day}"),
        };
        let total = self.counts().total() as u64;
        let headline = match passing as u64 {
            all if all == total => format!("All {} passed {week}", format_count(total, "item", "items")),
            passing => {
                format!("{passing} of {} passed {week}", format_count(total, "item", "items"))
            }
        };
        let crumb = Crumb { href: report_path(self.target), text: "Reports".to_owned() };
        let lead = html! {
            (clock::format_day(period.from)) " to " (last_day) " · " (self.target) " · operator guide"
            @if failing > 0 { " · " (format_count(failing as u64, "item fails", "items fail")) }
            @if unknown > 0 { " · " (format_count(unknown as u64, "is unknown", "are unknown")) }
        };
        PageHeader {
            crumbs: if self.weeks_ago == 0 { vec![] } else { vec![crumb] },
            headline: &headline,
            lead,
            actions: self.render_actions(),
            ..PageHeader::default()
        }
        .render()
    }

    fn render_actions(&self) -> Markup {
        let download = format!("{}.html", report_path(self.target));
        let download =
            if self.weeks_ago == 0 { download } else { format!("{download}?weeks={}", self.weeks_ago) };
        html! {
            @if self.weeks_ago < MAX_WEEKS_AGO {
                a.btn.btn-ghost href=(self.week_path(self.weeks_ago + 1)) {
                    span.flip.row { (render_icon(Icon::ChevronRight)) } "Previous week"
                }
            }
            @if self.weeks_ago > 0 {
                a.btn.btn-ghost href=(self.week_path(self.weeks_ago - 1)) {
                    "Next week" (render_icon(Icon::ChevronRight))
                }
            }
            a.btn href=(download) download { (render_icon(Icon::Download)) "Download" }
            // Shown by the script: without it, the button could do nothing.
            button.btn type="button" data-print hidden { (render_icon(Icon::Printer)) "Print" }
            @if self.can_attest() {
                @let class = if self.is_attested() { "btn" } else { "btn btn-primary" };
                button class=(class) type="button" popovertarget="attest" {
                    @if self.is_attested() { "Attest again…" } @else { "Attest 1 item…" }
                }
            }
        }
    }

    /// Returns `true` if somebody has attested that users did or did not report problems.
    fn is_attested(&self) -> bool {
        let items = self.document["items"].as_array();
        let item = items.into_iter().flatten().find(|item| item["id"] == USER_REPORTS_ITEM);
        item.is_some_and(|item| item["result"] != "unknown")
    }

    fn render_attest_dialog(&self) -> Markup {
        let option = |value: &str, text: &str| {
            html! {
                label.opt {
                    input type="radio" name="passes" value=(value) required;
                    span { (text) }
                }
            }
        };
        let body = html! {
            (render_csrf_field(&self.shell.user))
            fieldset.field {
                legend.label { "Did users report session problems in the last 7 days?" }
                div.opts {
                    (option("yes", "No, nobody did"))
                    (option("no", "Yes, problems were reported"))
                }
            }
            label.field {
                span.label { "Evidence" }
                input.input name="note" required maxlength=(MAX_NOTE_CHARS) autocomplete="off"
                    aria-describedby="note-hint";
                span.hint id="note-hint" {
                    "For example, the support tickets that you checked. "
                    "Recorded in the audit log with your name."
                }
            }
        };
        let action = report_path(self.target);
        Dialog { id: "attest", title: "Attest", action: &action, body, submit: "Attest", is_dangerous: false }
            .render()
    }

    /// Renders what the checklist is based on, so that a printed copy can be verified.
    fn render_provenance(&self) -> Markup {
        let checklist: &Checklist = &self.report.checklist;
        html! {
            div.provenance.muted {
                p {
                    @for line in checklist.describe_coverage() { (line) ". " }
                    "Created " (clock::format_utc(self.shell.now)) "."
                }
                p {
                    "A pass covers only the part of a requirement that a session table can show. "
                    @if let Some(head) = self.document["audit_head"].as_str() {
                        "Latest audit log entry: " span.mono { (sanitize_text(head)) }
                    }
                }
            }
        }
    }
}

pub(super) async fn create_attestation(
    State(app): State<Arc<AppState>>,
    PagePath(name): PagePath<String>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    // An unknown target is reported before an empty note.
    let target = app.target(&name)?;
    let note = form.required_text("note", MAX_NOTE_CHARS, "Enter evidence for the attestation.")?;
    let new = NewAttestation { target: target.name.clone(), holds: form.text("passes") == "yes", note };
    checklists::record_attestation(&app, &person.actor(), new).await?;
    Ok(Redirect::to(&report_path(&target.name)))
}

#[cfg(test)]
mod tests;
