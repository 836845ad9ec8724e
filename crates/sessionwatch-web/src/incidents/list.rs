//! The list of incidents.

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};
use sessionwatch_app::app::{
    AppState,
    incident_views::{self, ContainmentClock, IncidentList, OpenIncident},
    incidents::{IncidentRecord, IncidentState},
    login_sessions::CurrentUser,
};
use sessionwatch_core::{incident::IncidentSeverity, plural::format_count, timestamp::UtcTimestamp};

use super::{
    incident_path,
    wording::{
        describe_time_left, format_span, incident_headline, render_severity, render_state, severity_meaning,
    },
};
use crate::{
    components::{Card, Column, DataTable, Dialog, EmptyState, Icon, PageHeader, render_icon},
    format::{percent_encode, render_relative_time, sanitize_text},
    shell::{NavSection, PageHead, Shell, render_csrf_field},
    web_error::PageResult,
};

pub(crate) async fn show_incidents(State(app): State<Arc<AppState>>, shell: Shell) -> PageResult {
    let list = incident_views::load_incident_list(&app).await?;
    let targets: Vec<String> = app.config().targets.iter().map(|target| target.name.clone()).collect();
    let may_open = shell.can_respond() && !targets.is_empty();
    let body = html! {
        (render_header(&list, shell.now, may_open))
        @if list.open.is_empty() && list.closed.is_empty() {
            section.card aria-label="Incidents" { (render_empty_state()) }
        }
        @if !list.open.is_empty() { (render_open_incidents(&list.open, &shell)) }
        @if !list.closed.is_empty() { (render_closed_incidents(&list.closed, shell.now)) }
        (render_drill_note(&list, shell.now))
        @if may_open {
            (Dialog {
                id: "open",
                title: "Open an incident",
                action: "/incidents",
                body: render_open_fields(&shell.user, &targets),
                submit: "Open incident",
                is_dangerous: false,
            }.render())
        }
    };
    let page = PageHead { title: "Incidents", section: NavSection::Incidents, target: None, live: true };
    Ok(shell.render_page(page, &body))
}

fn clock_of(open: &OpenIncident, now: UtcTimestamp) -> ContainmentClock {
    ContainmentClock::of_incident(&open.incident, open.reopened_at, now)
}

fn is_overdue(open: &OpenIncident, now: UtcTimestamp) -> bool {
    clock_of(open, now).time_left(&open.incident).is_some_and(|left| left.is_negative())
}

/// Renders how many incidents are open in one sentence, and how long the rest took in a second one.
fn render_header(list: &IncidentList, now: UtcTimestamp, may_open: bool) -> Markup {
    let overdue = list.open.iter().filter(|open| is_overdue(open, now)).count() as u64;
    let open = list.open.len() as u64;
    let headline = match (open, overdue) {
        (0, _) => "No open incidents".to_owned(),
        (_, 0) => format_count(open, "open incident", "open incidents"),
        (1, _) => "1 open incident is overdue".to_owned(),
        (_, overdue) => {
            format!("{overdue} of {} overdue", format_count(open, "open incident", "open incidents"))
        }
    };
    let last_closed = list.closed.iter().filter_map(|incident| incident.closed_at).max();
    let lead = html! {
        @if let [only] = list.open.as_slice() {
            @match only.progress.step {
                Some(step) => { "Next: " b { (step.title) } " on " (sanitize_text(&only.incident.target)) "." },
                None => { "All steps are completed. Close it." },
            }
        } @else if list.open.is_empty() {
            @if let Some(at) = last_closed { "The last one was closed " (render_relative_time(at, now)) "." }
        } @else { "The most urgent one is first." }
    };
    let actions = html! {
        @if may_open { button.btn type="button" popovertarget="open" { (render_icon(Icon::Siren)) "Open incident" } }
    };
    PageHeader { headline: &headline, lead, actions, ..PageHeader::default() }.render()
}

fn render_empty_state() -> Markup {
    let text = html! {
        "An incident guides you from the first suspicion to the report. To rehearse one on sample data, run "
        code { "sessionwatch incident drill --demo" } "."
    };
    EmptyState { icon: Icon::Siren, title: "No incidents yet", text, action: html! {} }.render()
}

/// Renders when the response was rehearsed last.
fn render_drill_note(list: &IncidentList, now: UtcTimestamp) -> Markup {
    html! {
        @match &list.last_drill {
            Some(drill) => p.muted {
                "The last drill was " (render_relative_time(drill.at, now)) ", by " (sanitize_text(&drill.actor))
                ". It took " (format_span(drill.phase_durations[2])) " from the leak to the verified containment."
            },
            None if !list.open.is_empty() || !list.closed.is_empty() => p.muted {
                "No drill has been run yet. To rehearse on sample data, run "
                code { "sessionwatch incident drill --demo" } "."
            },
            None => {},
        }
    }
}

fn render_open_incidents(open: &[OpenIncident], shell: &Shell) -> Markup {
    // The one with the least time left needs a person first.
    let mut open: Vec<&OpenIncident> = open.iter().collect();
    open.sort_by_key(|one| {
        let left = clock_of(one, shell.now).time_left(&one.incident);
        (left.is_none(), left)
    });
    html! {
        section.card aria-label="Open incidents" {
            ul.attn { @for (index, one) in open.iter().enumerate() { (render_open_incident(one, shell, index == 0)) } }
        }
    }
}

fn render_open_incident(open: &OpenIncident, shell: &Shell, is_first: bool) -> Markup {
    let OpenIncident { incident, progress, .. } = open;
    let left = clock_of(open, shell.now).time_left(incident);
    let is_severe = incident.severity <= IncidentSeverity::P1;
    let is_urgent = incident.state == IncidentState::Open && (is_severe || is_overdue(open, shell.now));
    let path = incident_path(&incident.id);
    let is_primary = is_first && shell.can_respond();
    html! {
        li class=[(is_urgent && is_first).then_some("attn-critical")] {
            span.row.row-wrap {
                (render_severity(incident))
                @if incident.state == IncidentState::Contained { (render_state(incident.state)) }
            }
            div.attn-main {
                a.attn-title href=(path) { (incident_headline(incident)) }
                p.attn-text {
                    @match progress.step {
                        Some(step) => { b { (step.title) } ", step " (progress.number) " of " (progress.count) ". " },
                        None => { b { "All steps completed" } ", ready to close. " },
                    }
                    "On " (sanitize_text(&incident.target)) ", opened by " (sanitize_text(&incident.opened_by)) ". "
                    span.mono { (incident.id) }
                }
            }
            div.attn-when {
                @if let Some(left) = left { b.overdue[left.is_negative()] { (describe_time_left(left)) } }
                span { "Opened " (render_relative_time(incident.opened_at, shell.now)) }
            }
            div.actions {
                a href=(path) class=(if is_primary { "btn btn-primary" } else { "btn" }) {
                    @if shell.can_respond() { "Continue" } @else { "Open" }
                }
            }
        }
    }
}

fn render_closed_incidents(closed: &[IncidentRecord], now: UtcTimestamp) -> Markup {
    const CLOSED_COLUMNS: [Column<'_>; 7] = [
        Column::text("Severity"),
        Column::fill("Incident"),
        Column::text("Target"),
        Column::number("Contained after"),
        Column::number("Closed after"),
        Column::number("Closed"),
        Column::text(""),
    ];
    let after = |incident: &IncidentRecord, at: Option<UtcTimestamp>| {
        at.map_or_else(|| "–".to_owned(), |at| format_span(at.duration_since(incident.opened_at)))
    };
    let rows = html! {
        @for incident in closed {
            @let path = incident_path(&incident.id);
            tr {
                td.first { (render_severity(incident)) }
                td.fill.span.below {
                    a href=(path) { (incident_headline(incident)) } " " span.mono.muted { (incident.id) }
                }
                td.hide-s {
                    a.link href={ "/targets/" (percent_encode(&incident.target)) } { (sanitize_text(&incident.target)) }
                }
                td.num.hide-s { (after(incident, incident.contained_at)) }
                td.num.end.span data-l="Closed after" { (after(incident, incident.closed_at)) }
                td.num.up { @if let Some(at) = incident.closed_at { (render_relative_time(at, now)) } }
                td.end.span { a.link href={ (path) "/report" } { "Report" } }
            }
        }
    };
    let body = DataTable { label: "Closed incidents", class: "table-cards", columns: &CLOSED_COLUMNS, rows }
        .render();
    let note = closed.len().to_string();
    Card { id: "closed", title: "Closed incidents", note: &note, end: html! {}, body }.render()
}

fn render_open_fields(person: &CurrentUser, targets: &[String]) -> Markup {
    html! {
        (render_csrf_field(person))
        @if let [only] = targets { input type="hidden" name="target" value=(only); }
        @else {
            label.field { span.label { "Target" }
                select.input name="target" { @for name in targets { option value=(name) { (name) } } }
            }
        }
        div.field {
            span.label id="severity-label" { "Severity" }
            fieldset.opts aria-labelledby="severity-label" {
                @for severity in IncidentSeverity::ALL.iter().copied() {
                    label.opt {
                        input type="radio" name="severity" value=(severity.name())
                            checked[severity == IncidentSeverity::P1];
                        span { b { (severity.name()) } " " (severity_meaning(severity)) }
                        span.end.muted { (format_span(severity.containment_deadline())) }
                    }
                }
            }
            span.hint { "The time is the deadline for revoking the sessions." }
        }
        label.field { span.label { "What happened" }
            input.input name="summary" required maxlength="500" placeholder="Two users share a session token";
        }
    }
}
