//! Approving and applying a plan, and its progress and outcome.

use std::{sync::Arc, time::Duration};

use axum::{extract::State, response::Redirect};
use maud::{Markup, html};
use sessionwatch_app::app::{
    AppState, TargetOps,
    plan_jobs::JobProgress,
    plans::{self as app_plans, ApplyRequest, PlanWithTarget},
};
use sessionwatch_core::plural::{format_count, format_number};

use super::{phase::PlanPhase, plan_view::PlanView};
use crate::{
    auth::LoggedIn,
    components::{Callout, Dialog, Tone},
    csrf::CsrfForm,
    format::{format_amount, percent_encode, sanitize_text},
    params::PagePath,
    shell::render_csrf_field,
    web_error::WebError,
};

/// Length limit of a reason, in characters.
const MAX_REASON_CHARS: usize = 2_000;

/// Renders the dialog that applies a plan. It asks for the target name if the plan exceeds a safety limit, and for a
/// reason if evidence is missing.
pub(super) fn render_apply_dialog(view: &PlanView<'_>) -> Markup {
    let body = html! {
        (render_csrf_field(&view.shell.user))
        input type="hidden" name="incident" value=(view.incident);
        @if let Some(limit_text) = view.limit_text {
            p { "This plan " b { (limit_text) } "." }
            label.field {
                span.label { "Type the target name (" (view.plan.record.target) ") to confirm" }
                input.input name="confirm" autocomplete="off" required;
            }
        }
        @if let Some(why) = view.missing_evidence {
            p { "The incident’s evidence is incomplete: " (sanitize_text(why)) }
            label.field {
                span.label { "Reason for revoking sessions without complete evidence" }
                input.input name="without_evidence" autocomplete="off" required maxlength=(MAX_REASON_CHARS);
            }
        }
    };
    let action = format!("/plans/{}/apply", view.plan.record.id);
    let title = "Apply this plan?";
    Dialog { id: "apply", title, action: &action, body, submit: "Apply plan", is_dangerous: true }.render()
}

/// Renders the progress or the result, if the plan is being applied or was applied.
pub(super) fn render_outcome(view: &PlanView<'_>) -> Markup {
    let outcome = view.job.and_then(|job| job.outcome.as_ref());
    let callout = |tone, title, text: Markup| Callout { tone, title, text, action: html! {} }.render();
    match (outcome, view.phase) {
        (Some(Ok(summary)), _) => callout(Tone::Ok, "Plan applied", html! { (sanitize_text(summary)) }),
        (Some(Err(why)), _) => callout(Tone::Bad, "Applying the plan failed", html! { (sanitize_text(why)) }),
        (None, PlanPhase::Applying) => view
            .job
            .map_or_else(Markup::default, |job| render_progress(job.progress(view.plan.record.row_count))),
        (None, PlanPhase::Interrupted(_)) => {
            let text = html! {
                "Apply the plan again to process the rows that are left. "
                "Rows that were already processed are not touched again."
            };
            callout(Tone::Warn, "Applying this plan was interrupted", text)
        }
        (None, PlanPhase::Expired) => {
            let text = html! {
                "Rows may have changed since it was created. "
                "Create a new plan, which lists them again."
            };
            callout(Tone::Warn, "This plan has expired", text)
        }
        (None, PlanPhase::Empty | PlanPhase::Ready(_) | PlanPhase::Applied) => html! {},
    }
}

fn render_progress(progress: JobProgress) -> Markup {
    let JobProgress { done, total, .. } = progress;
    let pace = match (progress.rows_per_second, progress.time_left) {
        _ if progress.is_waiting_for_replica => "Waiting for a lagging replica".to_owned(),
        (Some(rate), Some(left)) => {
            format!("{} rows/s, {} left", format_amount(rate.round()), format_estimate(left))
        }
        _ => "Starting".to_owned(),
    };
    let label = format!("{} of {}", format_number(done), format_count(total, "row", "rows"));
    html! {
        section.card.progress role="status" aria-label="Progress" {
            div.row.between { b { (label) } span.muted { (pace) } }
            svg.meter viewBox={ "0 0 " (total.max(1)) " 6" } preserveAspectRatio="none" role="img" aria-label=(label) {
                rect.m-track width=(total.max(1)) height="6" {}
                rect.m-fill width=(done.min(total)) height="6" {}
            }
        }
    }
}

/// Formats an estimated duration: `about 14 s`.
fn format_estimate(left: Duration) -> String {
    match left.as_secs() {
        0..120 => format!("about {} s", left.as_secs().max(1)),
        seconds => format!("about {} min", seconds / 60),
    }
}

pub(crate) async fn approve_plan(
    State(app): State<Arc<AppState>>,
    PagePath(id): PagePath<String>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    app_plans::approve_plan(&app, &person.actor(), &id).await?;
    Ok(Redirect::to(&format!("/plans/{id}{}", incident_query_string(form.text("incident")))))
}

/// Returns the query string that names the incident, or an empty text.
fn incident_query_string(incident: &str) -> String {
    if incident.is_empty() { String::new() } else { format!("?incident={}", percent_encode(incident)) }
}

pub(crate) async fn apply_plan(
    State(app): State<Arc<AppState>>,
    PagePath(id): PagePath<String>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let PlanWithTarget { plan, target } = app_plans::load_plan(&app, &id).await?;
    let course = incident_query_string(form.text("incident"));
    // Browsers send empty fields too; absent and empty mean the same here.
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    let request = ApplyRequest {
        typed_target_name: given(form.text("confirm").to_owned()),
        incident_id: given(form.text("incident").to_owned()),
        without_evidence_reason: given(form.capped_text("without_evidence", MAX_REASON_CHARS)),
    };
    app_plans::start_apply(TargetOps::new(&app, target, &person.actor()), plan, request).await?;
    Ok(Redirect::to(&format!("/plans/{id}{course}")))
}

#[cfg(test)]
mod tests;
