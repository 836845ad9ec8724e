//! Incidents: the list, the guided steps of one incident, and its report. This file handles the forms.

mod affected;
mod clock_card;
mod containment;
mod current_step;
mod documents;
mod header;
mod list;
mod page;
mod report;
mod steps;
mod timeline;
mod wording;

use std::sync::Arc;

use axum::{
    extract::State,
    http::header as http_header,
    response::{IntoResponse, Redirect, Response},
};
use sessionwatch_app::app::{
    AppError, AppState, TargetOps,
    incidents::{
        self, ContainmentScope, EvidenceCompleteness, NewIncident, SealedEvidence, StepResponse, StepUpdate,
    },
};
use sessionwatch_core::incident::IncidentSeverity;

use super::{auth::LoggedIn, csrf::CsrfForm, format::percent_encode, params::PagePath, web_error::WebError};

pub(super) use self::{list::show_incidents, page::show_incident, report::show_report};

/// Length limit of texts that a person enters, in characters.
const MAX_TEXT_CHARS: usize = 2_000;

pub(super) async fn open_incident(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let severity = form.text("severity").parse::<IncidentSeverity>().ok();
    let severity =
        severity.ok_or_else(|| AppError::Invalid("Choose a severity: P0, P1, P2 or P3.".into()))?;
    let summary = required_line(&form, "summary", "Describe what happened.")?;
    let ops = TargetOps::new(&app, app.target(form.text("target"))?, &person.actor());
    let opened = incidents::open_incident(ops, NewIncident { severity, summary }).await?;
    Ok(redirect_to_incident(&opened.incident.id))
}

/// Returns the path of an incident's page.
fn incident_path(id: &str) -> String {
    format!("/incidents/{}", percent_encode(id))
}

/// Redirects to the page of an incident.
fn redirect_to_incident(id: &str) -> Redirect {
    Redirect::to(&incident_path(id))
}

/// Returns a required field as one line: timelines and reports have no place for line breaks.
fn required_line(form: &CsrfForm, name: &str, ask: &str) -> Result<String, AppError> {
    Ok(join_lines(&form.required_text(name, MAX_TEXT_CHARS, ask)?))
}

fn join_lines(text: &str) -> String {
    text.split(['\r', '\n']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

pub(super) async fn advance_incident(
    State(app): State<Arc<AppState>>,
    PagePath(id): PagePath<String>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let work = incidents::load_incident(&app, &person.actor(), &id).await?;
    let (step, note) = (form.text("step").to_owned(), join_lines(&form.capped_text("note", MAX_TEXT_CHARS)));
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
    PagePath(id): PagePath<String>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let users: Vec<String> = form.text("users").split_whitespace().map(str::to_owned).collect();
    let scope = ContainmentScope::parse(form.text("scope"));
    let scope = scope.ok_or_else(|| AppError::Invalid("Choose whose sessions to revoke.".into()))?;
    let selection = scope.selection(&users);
    let selection =
        selection.ok_or_else(|| AppError::Invalid("Enter the IDs of the users to log out.".into()))?;
    let work = incidents::load_incident(&app, &person.actor(), &id).await?;
    let plan = incidents::plan_containment(work, selection).await?;
    Ok(Redirect::to(&format!("/plans/{}?incident={}", plan.record.id, percent_encode(&id))))
}

pub(super) async fn export_evidence(
    State(app): State<Arc<AppState>>,
    PagePath(id): PagePath<String>,
    LoggedIn(person): LoggedIn,
    _form: CsrfForm,
) -> Result<Response, WebError> {
    // Incomplete evidence is better than none: the page and the file name show what is missing.
    let work = incidents::load_incident(&app, &person.actor(), &id).await?;
    let SealedEvidence { name, bytes } =
        incidents::export_evidence(work, EvidenceCompleteness::Optional).await?;
    let disposition = format!("attachment; filename=\"{name}\"");
    let kind = "application/octet-stream".to_owned();
    let headers = [(http_header::CONTENT_TYPE, kind), (http_header::CONTENT_DISPOSITION, disposition)];
    Ok((headers, bytes).into_response())
}

pub(super) async fn set_report_field(
    State(app): State<Arc<AppState>>,
    PagePath(id): PagePath<String>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let name = form.text("name").to_owned();
    let text = required_line(&form, "text", "Enter the text of the report section.")?;
    let work = incidents::load_incident(&app, &person.actor(), &id).await?;
    incidents::set_report_field(work, name, text).await?;
    Ok(redirect_to_incident(&id))
}

pub(super) async fn close_incident(
    State(app): State<Arc<AppState>>,
    PagePath(id): PagePath<String>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let reason = join_lines(&form.capped_text("reason", MAX_TEXT_CHARS));
    let work = incidents::load_incident(&app, &person.actor(), &id).await?;
    incidents::close_incident(work, Some(reason)).await?;
    Ok(redirect_to_incident(&id))
}

pub(super) async fn add_note(
    State(app): State<Arc<AppState>>,
    PagePath(id): PagePath<String>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let note = required_line(&form, "note", "Enter a note.")?;
    let work = incidents::load_incident(&app, &person.actor(), &id).await?;
    incidents::add_note(work, note).await?;
    Ok(redirect_to_incident(&id))
}

#[cfg(test)]
mod tests;
