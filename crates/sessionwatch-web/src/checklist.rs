//! The weekly checklist and its attestations.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Redirect,
};
use maud::{Markup, html};
use serde_json::Value;
use sessionwatch_app::app::{
    AppError, AppState,
    accounts::AccountRole,
    checklists::{self, NewAttestation},
};

use super::{
    PageResult, WebError,
    auth::LoggedIn,
    csrf::CsrfForm,
    layout::{self, PageHead},
    shell::Shell,
};

/// Length limit of a note, in characters.
const MAX_NOTE_CHARS: usize = 500;

/// Returns the path of the report page of a target.
fn report_path(target: &str) -> String {
    format!("/targets/{}/report", layout::percent_encode(target))
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
    Path(name): Path<String>,
    shell: Shell,
) -> PageResult {
    let person = shell.user.clone();
    let config = app.config();
    let target = app.target(&name)?;
    let list = checklists::load_weekly_checklist(&app, target.clone()).await?;
    let document = list.to_json();
    let base = report_path(&target.name);
    let body = html! {
        nav.periods aria-label="Target" {
            @for one in &config.targets { a href=(report_path(&one.name)) aria-current=[(one.name == target.name).then_some("true")] { (one.name) } }
        }
        p { (list.title()) }
        h2 { "Operator guide" }
        (render_items(&document["items"]))
        @if person.role >= AccountRole::Responder {
            form.filter method="post" action=(base) {
                (layout::render_csrf_field(&person))
                label { "Did users report login problems this week?" select name="passes" { option value="yes" { "No, none reported" } option value="no" { "Yes, problems reported" } } }
                label { "Evidence" input name="note" required maxlength="500"; }
                button { "Attest" }
            }
        }
        h2 { "Standards" }
        (render_items(&document["requirements"]))
    };
    Ok(layout::render_page(
        &shell,
        PageHead { title: &format!("Checklist: {}", target.name), path: "/report", live: false },
        &body,
    ))
}

fn render_items(list: &Value) -> Markup {
    let text = |item: &Value, key: &str| item[key].as_str().map(layout::sanitize_text).unwrap_or_default();
    let state = |item: &Value| match item["result"].as_str() {
        Some("passing") => "passing",
        Some("failing") => "failing",
        _ => "unknown",
    };
    html! {
        div.wide tabindex="0" role="group" aria-label="Table" { table {
            thead { tr { th scope="col" { "Result" } th scope="col" { "Item" } th scope="col" { "Evidence" } th scope="col" { "Passes when" } th scope="col" { "Source" } } }
            tbody { @for item in list.as_array().into_iter().flatten() { tr {
                td { (layout::render_status_badge(state(item))) }
                td { (text(item, "title")) @if item["action"].is_string() { br; span.dim { "→ " (text(item, "action")) } } }
                td { (text(item, "evidence")) @if item["reason"].is_string() { " " (text(item, "reason")) } }
                td { (text(item, "threshold")) } td { (text(item, "source")) }
            } } }
        } }
    }
}

pub(super) async fn create_attestation(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
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
