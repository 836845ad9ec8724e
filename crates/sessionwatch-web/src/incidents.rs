//! Incident pages: guided steps, timeline and report.

use std::sync::Arc;

use axum::{
    extract::{Path, Query, State},
    http::header,
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use serde::Deserialize;
use sessionwatch_app::app::{
    AppError, AppState, TargetOps,
    accounts::AccountRole,
    incidents::{
        self, ContainmentScope, EvidenceCompleteness, FoundUser, IncidentOps, IncidentRecord, IncidentState,
        IncidentWorkflow, NewIncident, SealedEvidence, StepResponse, StepUpdate, USER_SEARCH_LIMIT,
        collect_step_records,
    },
    login_sessions::CurrentUser,
};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    incident::{self as rules, IncidentSeverity, IncidentStep},
    plural::format_count,
    timestamp::UtcTimestamp,
};

use super::{
    PageResult, WebError,
    auth::LoggedIn,
    csrf::CsrfForm,
    layout::{self, PageHead},
    shell::Shell,
};

/// Length limit of texts that a person enters, in characters.
const MAX_TEXT_CHARS: usize = 2_000;

pub(super) async fn show_incidents(State(app): State<Arc<AppState>>, shell: Shell) -> PageResult {
    let person = shell.user.clone();
    let now = app.clock.now();
    let all = incidents::list_incidents(&app).await?;
    let targets: Vec<String> = app.config().targets.iter().map(|target| target.name.clone()).collect();
    let body = html! {
        @if all.is_empty() {
            p.empty {
                "No incidents yet. Opening one starts a guided response. To rehearse it, run "
                code { "sessionwatch incident drill --demo" } "."
            }
        } @else {
            div.wide tabindex="0" role="group" aria-label="Table" { table {
                thead { tr { th scope="col" { "Incident" } th scope="col" { "Target" } th scope="col" { "Severity" } th scope="col" { "State" } th scope="col" { "Opened" } } }
                tbody { @for incident in &all { tr {
                    td { a href={ "/incidents/" (layout::percent_encode(&incident.id)) } { (incident.id) } }
                    td { (layout::sanitize_text(&incident.target)) } td { (incident.severity.name()) } td { (incident.state.name()) }
                    td { (layout::render_relative_time(incident.opened_at, now)) }
                } } }
            } }
        }
        @if person.role >= AccountRole::Responder {
            section aria-labelledby="open" {
                h2 id="open" { "Open an incident" }
                (render_open_form(&person, &targets))
            }
        }
    };
    Ok(layout::render_page(&shell, PageHead { title: "Incidents", path: "/incidents", live: true }, &body))
}

/// Renders the form that opens an incident on one of the targets.
pub(super) fn render_open_form(person: &CurrentUser, targets: &[String]) -> Markup {
    html! {
        form.filter method="post" action="/incidents" {
            (layout::render_csrf_field(person))
            @if let [only] = targets { input type="hidden" name="target" value=(only); }
            @else { label { "Target" select name="target" { @for name in targets { option value=(name) { (name) } } } } }
            label { "Severity" select name="severity" {
                option value="P0" { "P0: confirmed active leak" }
                option value="P1" selected { "P1: shared tokens or a possible leak" }
                option value="P2" { "P2: orphaned sessions or alerts" }
                option value="P3" { "P3: routine" }
            } }
            label { "What happened" input name="summary" required maxlength="500"; }
            button { "Open incident" }
        }
    }
}

pub(super) async fn open_incident(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let grade = form.text("severity").parse::<IncidentSeverity>().ok();
    let grade = grade.ok_or_else(|| AppError::Invalid("Choose a severity: P0, P1, P2 or P3.".into()))?;
    let summary = form.required_text("summary", MAX_TEXT_CHARS, "Describe what happened.")?;
    let ops = TargetOps::new(&app, app.target(form.text("target"))?, &person.actor());
    let opened = incidents::open_incident(ops, NewIncident { severity: grade, summary }).await?;
    Ok(redirect_to_incident(&opened.incident.id))
}

/// Redirects to the page of an incident.
fn redirect_to_incident(id: &str) -> Redirect {
    Redirect::to(&format!("/incidents/{}", layout::percent_encode(id)))
}

/// The search for affected users.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct UserSearchQuery {
    #[serde(default)]
    find: String,
}

pub(super) async fn show_incident(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    Query(find): Query<UserSearchQuery>,
    shell: Shell,
) -> PageResult {
    let person = shell.user.clone();
    let now = app.clock.now();
    let IncidentOps { case, ops } = incidents::load_incident(&app, &person.actor(), &id).await?;
    let users = if find.find.is_empty() {
        None
    } else {
        // A person is waiting, so the search uses the short timeout.
        let searched = ops.with_short_timeout();
        Some(incidents::search_users(searched, find.find.clone(), USER_SEARCH_LIMIT).await?)
    };
    let incident = &case.incident;
    let base = format!("/incidents/{}", layout::percent_encode(&incident.id));
    let works = person.role >= AccountRole::Responder && incident.state != IncidentState::Closed;
    let card =
        works.then(|| render_next_step(&person, &case, &base, &find.find, users.as_deref())).transpose()?;
    let body = html! {
        p { strong { (layout::sanitize_text(&incident.report_field("summary").unwrap_or_default())) } }
        p { (incident.severity.name()) " on " a href={ "/targets/" (layout::percent_encode(&incident.target)) } { (layout::sanitize_text(&incident.target)) } ", " (incident.state.name())
            ", opened " (layout::render_relative_time(incident.opened_at, now)) " by " (layout::sanitize_text(&incident.opened_by)) ". " (incidents::describe_time_used(incident, now).unwrap_or_default()) }
        p.links { a href={ (base) "/report" } { "Report" } }
        @if let Some(card) = card { (card) }
        (render_steps(&person, &case, &base, now))
        @if works { (render_report_forms(&person, &case, &base)) }
        section aria-labelledby="timeline" {
            h2 id="timeline" { "Timeline" }
            ul.list { @for entry in &case.timeline { li { (clock::format_utc(entry.at)) " " span.tag { (entry.kind) } " " (layout::sanitize_text(&entry.actor)) ": " (layout::sanitize_text(&entry.message)) } } }
        }
    };
    Ok(layout::render_page(
        &shell,
        // A search result must not vanish with a refresh.
        PageHead { title: &incident.id, path: "/incidents", live: find.find.is_empty() },
        &body,
    ))
}

/// Renders the next step and its forms.
fn render_next_step(
    person: &CurrentUser,
    case: &IncidentWorkflow,
    base: &str,
    find: &str,
    users: Option<&[FoundUser]>,
) -> Result<Markup, AppError> {
    let Some(step) = case.next_step() else {
        return Ok(html! {
            section.card aria-labelledby="next" {
                h2 id="next" { "All steps completed" }
                (render_close_form(person, case, base))
            }
        });
    };
    Ok(html! {
        section.card aria-labelledby="next" {
            h2 id="next" { "Next: " (step.title) }
            p { (step_instructions(step)) }
            @if let Some(found) = case.latest_finding(step) { p.notice { "Latest finding: " (layout::sanitize_text(found)) "." } }
            @match step.id {
                "affected" => (render_user_search_form(base, find, users)),
                "evidence" => form.inline method="post" action={ (base) "/evidence" } { (layout::render_csrf_field(person)) button { "Export evidence" } },
                "contain" => (render_containment_forms(person, base)),
                "users" => (render_message_draft(&case.incident)?),
                "root-cause" => form.filter method="post" action={ (base) "/fields" } {
                    (layout::render_csrf_field(person)) input type="hidden" name="name" value="root-cause";
                    label { "Root cause" input name="text" required maxlength="2000"; } button { "Save root cause" }
                },
                _ => {}
            }
            form.filter method="post" action={ (base) "/steps" } {
                (layout::render_csrf_field(person)) input type="hidden" name="step" value=(step.id);
                @if step.is_automatic { button name="response" value="check" { "Check now" } }
                @if incidents::can_confirm_step(step) {
                    label { "Note" input name="note" required[step.needs_note() && !step.is_automatic] maxlength="2000"; }
                    button name="response" value="done" { "Mark as done" }
                }
            }
            details {
                summary { "Skip this step" }
                form.filter method="post" action={ (base) "/steps" } {
                    (layout::render_csrf_field(person)) input type="hidden" name="step" value=(step.id);
                    label { "Reason" input name="note" required maxlength="2000"; }
                    button.quiet name="response" value="skip" { "Skip step" }
                }
            }
        }
    })
}

/// Renders the form that closes an incident. It asks for a reason if steps are unfinished.
fn render_close_form(person: &CurrentUser, case: &IncidentWorkflow, base: &str) -> Markup {
    let points = rules::unfinished_steps(case.incident.severity, &collect_step_records(&case.timeline));
    html! {
        @if !points.is_empty() {
            p { "Unfinished steps:" }
            ul.list { @for point in &points { li { (layout::sanitize_text(point)) } } }
        }
        form.filter method="post" action={ (base) "/close" } {
            (layout::render_csrf_field(person))
            @if !points.is_empty() { label { "Reason for closing anyway" input name="reason" required maxlength="2000"; } }
            button.quiet[!points.is_empty()] { "Close incident" }
        }
    }
}

/// Returns the instructions for a step on this page.
fn step_instructions(step: &IncidentStep) -> &'static str {
    match step.id {
        "confirm" => {
            "“Check now” runs all checks without trusting indexes. If they find nothing, describe your other evidence."
        }
        "affected" => {
            "“Check now” lists users who share a token. Search for others by part of their ID, name or handle. Note who is affected."
        }
        "evidence" => {
            "Exports the affected rows, session stats, log events and audit log before anything is changed. The file is encrypted and can be opened only with the archive’s private key."
        }
        "team" => {
            "Notify everyone who needs to know that sessions are about to be revoked. Note whom you notified."
        }
        "contain" => {
            "Choose whose sessions to revoke. This creates a plan to review; only applying it changes anything, and revoked sessions can be restored."
        }
        "sign-in" => "Log in and out of the application yourself, in a private window. Note that both work.",
        "users" => "Write to the users whose sessions were revoked. Note whom you wrote to.",
        "watch" => {
            "Checks run every minute. The incident reopens if a revoked session reappears or a critical log line arrives."
        }
        "root-cause" => {
            "Review critical log lines, the application’s URL, secret and cookie settings, the unique constraint on the token, and recent changes."
        }
        "report" => {
            "The report contains everything recorded so far. Complete the other sections, and note where it is stored."
        }
        _ => step.instructions,
    }
}

fn render_user_search_form(base: &str, find: &str, users: Option<&[FoundUser]>) -> Markup {
    html! {
        form.filter method="get" action=(base) {
            label { "Part of an ID, name or handle" input name="find" value=(find) required maxlength="200"; }
            button.quiet { "Search users" }
        }
        @if let Some(users) = users {
            @if users.is_empty() { p.empty { "No matching users." } }
            @else { ul.list { @for user in users { li {
                (format_count(user.sessions, "session", "sessions")) ": " (layout::sanitize_text(&user.display.iter().filter(|text| !text.is_empty()).cloned().collect::<Vec<_>>().join(", ")))
            } } } }
        }
    }
}

/// Renders one form for each scope of containment.
fn render_containment_forms(person: &CurrentUser, base: &str) -> Markup {
    let way = |whose: &str, label: &str, field: Markup| {
        html! {
            form.filter method="post" action={ (base) "/contain" } {
                (layout::render_csrf_field(person)) input type="hidden" name="scope" value=(whose); (field) button { (label) }
            }
        }
    };
    html! {
        (way("duplicates", "Plan: revoke shared tokens", html! {}))
        (way("users", "Plan: revoke these users’ sessions", html! { label { "User IDs, separated by spaces" input name="users" required maxlength="2000"; } }))
        (way("orphaned", "Plan: revoke orphaned sessions", html! {}))
        (way("all", "Plan: revoke all sessions", html! {}))
    }
}

fn render_message_draft(incident: &IncidentRecord) -> Result<Markup, AppError> {
    let draft = incidents::render_message_draft(incident, None)?;
    Ok(
        html! { details { summary { "Message draft" } pre.draft tabindex="0" { (layout::sanitize_lines(&draft)) } } },
    )
}

/// Renders the form that reopens a step marked as done or skipped.
fn render_reopen_form(person: &CurrentUser, step: &IncidentStep, base: &str) -> Markup {
    html! {
        details {
            summary { "Reopen this step" }
            form.filter method="post" action={ (base) "/steps" } {
                (layout::render_csrf_field(person)) input type="hidden" name="step" value=(step.id);
                label { "Reason" input name="note" required maxlength="2000"; }
                button.quiet name="response" value="reopen" { "Reopen step" }
            }
        }
    }
}

fn render_steps(person: &CurrentUser, case: &IncidentWorkflow, base: &str, now: UtcTimestamp) -> Markup {
    let may_reopen = case.incident.state != IncidentState::Closed && person.role >= AccountRole::Responder;
    let next = case.next_step().filter(|_| case.incident.state != IncidentState::Closed);
    let done = |step: &IncidentStep| {
        let of_step = |entry: &&incidents::TimelineEntry| {
            entry.step == step.id && matches!(entry.kind.as_str(), "done" | "skipped")
        };
        collect_step_records(&case.timeline)
            .iter()
            .any(|done| done.step == step.id)
            .then(|| case.timeline.iter().rev().find(of_step))
            .flatten()
    };
    html! {
        section aria-labelledby="steps" {
            h2 id="steps" { "Steps" }
            ol.steps { @for step in rules::INCIDENT_STEPS.iter().filter(|step| step.is_required_for(case.incident.severity)) {
                @let is_next = next.is_some_and(|next| next.id == step.id);
                @let done = done(step);
                li class=[is_next.then_some("next")] aria-current=[is_next.then_some("step")] {
                    (layout::render_status_badge(match done { Some(entry) if entry.kind == "skipped" => "skipped", Some(_) => "done", None if is_next => "pending", None => "open" }))
                    " " strong { (step.title) }
                    @if let Some(done) = done { span.dim { ": " (layout::sanitize_text(&done.message)) ", " (layout::sanitize_text(&done.actor)) " " (layout::render_relative_time(done.at, now)) } @if may_reopen { (render_reopen_form(person, step, base)) } }
                }
            } }
        }
    }
}

/// Renders the forms for notes, report sections, and closing early.
fn render_report_forms(person: &CurrentUser, case: &IncidentWorkflow, base: &str) -> Markup {
    html! {
        section aria-labelledby="notes" {
            h2 id="notes" { "Notes and report" }
            form.filter method="post" action={ (base) "/notes" } {
                (layout::render_csrf_field(person))
                label { "Timeline note" input name="note" required maxlength="2000"; }
                button { "Add note" }
            }
            form.filter method="post" action={ (base) "/fields" } {
                (layout::render_csrf_field(person))
                label { "Report section" select name="name" { @for name in incidents::REPORT_FIELDS { option value=(name) { (name) } } } }
                label { "Text" input name="text" required maxlength="2000"; }
                button.quiet { "Save section" }
            }
            @if case.next_step().is_some() {
                details { summary { "Close before all steps are completed" } (render_close_form(person, case, base)) }
            }
        }
    }
}

pub(super) async fn advance_incident(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let work = incidents::load_incident(&app, &person.actor(), &id).await?;
    let (step, note) = (form.text("step").to_owned(), form.capped_text("note", MAX_TEXT_CHARS));
    let response = match form.text("response") {
        "done" => StepResponse::Done(note),
        "skip" => StepResponse::Skip(note),
        "reopen" => {
            incidents::reopen_step(work, step, note).await?;
            return Ok(redirect_to_incident(&id));
        }
        _ => StepResponse::Check,
    };
    incidents::advance_incident(work, StepUpdate { step: Some(step), response }).await?;
    Ok(redirect_to_incident(&id))
}

pub(super) async fn plan_containment(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let users: Vec<String> = form.text("users").split_whitespace().map(str::to_owned).collect();
    let whose = ContainmentScope::parse(form.text("scope"));
    let selection = whose.and_then(|whose| whose.selection(&users));
    let selection = selection.ok_or_else(|| AppError::Invalid("Choose whose sessions to revoke.".into()))?;
    let work = incidents::load_incident(&app, &person.actor(), &id).await?;
    let plan = incidents::plan_containment(work, selection).await?;
    Ok(Redirect::to(&format!("/plans/{}?incident={}", plan.record.id, layout::percent_encode(&id))))
}

pub(super) async fn export_evidence(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    LoggedIn(person): LoggedIn,
    _form: CsrfForm,
) -> Result<Response, WebError> {
    // Incomplete evidence is better than none: the page and the file name show what is missing.
    let work = incidents::load_incident(&app, &person.actor(), &id).await?;
    let SealedEvidence { name, bytes } =
        incidents::export_evidence(work, EvidenceCompleteness::Optional).await?;
    let kept = format!("attachment; filename=\"{name}\"");
    let kind = "application/octet-stream".to_owned();
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, kept)], bytes).into_response())
}

pub(super) async fn set_report_field(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let name = form.text("name").to_owned();
    let text = form.required_text("text", MAX_TEXT_CHARS, "Enter the text of the report section.")?;
    let work = incidents::load_incident(&app, &person.actor(), &id).await?;
    incidents::set_report_field(work, name, text).await?;
    Ok(redirect_to_incident(&id))
}

pub(super) async fn close_incident(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let reason = form.capped_text("reason", MAX_TEXT_CHARS);
    let work = incidents::load_incident(&app, &person.actor(), &id).await?;
    incidents::close_incident(work, Some(reason)).await?;
    Ok(redirect_to_incident(&id))
}

pub(super) async fn add_note(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let said = form.required_text("note", MAX_TEXT_CHARS, "Enter a note.")?;
    let work = incidents::load_incident(&app, &person.actor(), &id).await?;
    incidents::add_note(work, said).await?;
    Ok(redirect_to_incident(&id))
}

pub(super) async fn show_report(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    LoggedIn(person): LoggedIn,
) -> Result<Response, WebError> {
    let IncidentOps { case, .. } = incidents::load_incident(&app, &person.actor(), &id).await?;
    let text = incidents::render_report_markdown(&case)?;
    // Plain text, so that browsers show it instead of downloading Markdown.
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

#[cfg(test)]
mod tests;
