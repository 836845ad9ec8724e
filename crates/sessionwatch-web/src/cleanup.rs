//! Cleanup, revocation and restore: create a plan, review it, apply exactly that plan.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    extract::{Path, Query, State},
    response::Redirect,
};
use jiff::SignedDuration;
use maud::{Markup, html};
use serde::Deserialize;
use sessionwatch_app::{
    app::{
        AppError, AppState, TargetOps,
        accounts::AccountRole,
        incidents::{self, IncidentOps},
        login_sessions::CurrentUser,
        plans::{
            self as app_plans, ActionPlan, ApplyRequest, ArchiveSummary, PlanHistory, PlanState,
            PlanWithTarget, RestoreRequest, RowFilter, Selection,
        },
    },
    config::Target,
};
use sessionwatch_clock as clock;
use sessionwatch_core::{plural::format_count, timestamp::UtcTimestamp};

use super::{
    PageResult, WebError,
    auth::LoggedIn,
    csrf::{CsrfForm, FormFields},
    layout::{self, PageHead},
    sessions,
    shell::Shell,
};

/// Most plans listed, latest first.
const PLAN_PAGE_SIZE: usize = 20;
/// Length limit of a reason, in characters.
const MAX_REASON_CHARS: usize = 2_000;

/// The target that the page is about; empty for the first one.
#[derive(Debug, Deserialize)]
pub(super) struct TargetRef {
    #[serde(default)]
    target: String,
}

pub(super) async fn show_cleanup(
    State(app): State<Arc<AppState>>,
    Query(chosen): Query<TargetRef>,
    shell: Shell,
) -> PageResult {
    let person = shell.user.clone();
    let config = app.config();
    // The navigation has no target, so the page opens with the first one.
    let target = match config.targets.first() {
        Some(first) if chosen.target.is_empty() => first.clone(),
        _ => app.target(&chosen.target)?,
    };
    let now = app.clock.now();
    let PlanHistory { archives: held, plans: made } = app_plans::load_plan_history(&app).await?;
    let mine = made.into_iter().filter(|plan| plan.target == target.name);
    let made: Vec<ActionPlan> =
        mine.map(ActionPlan::from_record).filter_map(Result::transpose).collect::<Result<_, _>>()?;
    let held: Vec<&ArchiveSummary> = held.iter().filter(|holding| holding.target == target.name).collect();
    let body = html! {
        nav.periods aria-label="Target" {
            @for one in &config.targets { a href={ "/cleanup?target=" (layout::percent_encode(&one.name)) } aria-current=[(one.name == target.name).then_some("true")] { (one.name) } }
        }
        @if person.role >= AccountRole::Responder { (render_plan_forms(&person, &target)) }
        section aria-labelledby="plans" {
            h2 id="plans" { "Plans" }
            @if made.is_empty() { p.empty { "No plans yet. Creating a plan changes nothing; only applying it does." } }
            @else { ul.list { @for plan in made.iter().take(PLAN_PAGE_SIZE) { li {
                a href={ "/plans/" (plan.record.id) } { (plan.selection.command_name()) } ": " (format_count(plan.record.row_count, "row", "rows")) ", " (plan.record.state.name())
                span.dim { ", " (layout::sanitize_text(&plan.record.created_by)) " " (layout::render_relative_time(plan.record.created_at, now)) }
            } } } }
        }
        (render_archive(&person, &held, now))
    };
    Ok(layout::render_page(
        &shell,
        PageHead { title: &format!("Cleanup: {}", target.name), path: "/cleanup", live: false },
        &body,
    ))
}

/// Renders one form for each kind of plan.
fn render_plan_forms(person: &CurrentUser, target: &Target) -> Markup {
    let wish = |kind: &str, label: &str, field: Markup| {
        html! {
            form.filter method="post" action="/cleanup" {
                (layout::render_csrf_field(person)) input type="hidden" name="target" value=(target.name); input type="hidden" name="kind" value=(kind);
                (field) button { (label) }
            }
        }
    };
    html! {
        section aria-labelledby="create-plan" {
            h2 id="create-plan" { "Create a plan" }
            p.dim { "A plan lists the exact rows it would touch." }
            (wish("expired", "Plan: delete expired sessions", html! { label { "Hours since expiry, at least" input name="hours" type="number" min="1" max="8760" value="24"; } }))
            (wish("duplicates", "Plan: revoke shared tokens", html! {}))
            (wish("orphaned", "Plan: delete orphaned sessions", html! {}))
            (wish("excess", "Plan: revoke excess sessions", html! { label { "Sessions to keep per user" input name="keep" type="number" min="1" max="1000" value="5"; } }))
            (wish("user", "Plan: revoke one user’s sessions", html! { label { "User ID" input name="user" required maxlength="200"; } }))
            (wish("session", "Plan: revoke one session", html! { label { "Row ID or token prefix" input name="session" required maxlength="200"; } }))
            (wish("where", "Plan: revoke matching sessions", html! {
                label { "User ID, name or handle contains" input name="user_like" maxlength="200"; }
                label { "Created after (UTC)" input name="created_after" type="datetime-local"; }
                label { "Created before (UTC)" input name="created_before" type="datetime-local"; }
                label { "Expires before (UTC)" input name="expires_before" type="datetime-local"; }
                label { "IP address" input name="ip" maxlength="200"; }
                label { "User agent contains" input name="user_agent_like" maxlength="200"; }
            }))
            (wish("all", "Plan: revoke all sessions", html! {}))
        }
    }
}

fn render_archive(person: &CurrentUser, archives: &[&ArchiveSummary], now: UtcTimestamp) -> Markup {
    html! {
        section aria-labelledby="archive" {
            h2 id="archive" { "Archive" }
            @if archives.is_empty() { p.empty { "The archive is empty. Rows are encrypted and archived before a plan deletes them, so that they can be restored." } }
            @else {
                div.wide tabindex="0" role="group" aria-label="Table" { table {
                    thead { tr { th scope="col" { "Plan" } th scope="col" { "Rows" } th scope="col" { "Restored" } th scope="col" { "Removed" } th scope="col" { "Kept until" } th scope="col" { "" } } }
                    tbody { @for holding in archives { tr {
                        td { a href={ "/plans/" (holding.plan) } { (holding.plan) } }
                        td.number { (holding.restorable_rows) } td.number { (holding.restored_rows) }
                        td { (layout::render_relative_time(holding.first_sealed_at, now)) } td { (clock::format_utc(holding.purge_at)) }
                        td { @if person.role >= AccountRole::Responder && holding.restored_rows < holding.restorable_rows {
                            form.inline method="post" action={ "/archive/" (holding.plan) "/restore" } { (layout::render_csrf_field(person)) button.quiet { "Plan: restore" } }
                        } }
                    } } }
                } }
            }
        }
    }
}

/// Parses the selection of a plan from a form.
fn parse_selection(fields: &FormFields) -> Result<Selection, AppError> {
    let number = |name: &str, label: &str, most: i64| {
        let number = fields.text(name).parse::<i64>().ok().filter(|number| (1..=most).contains(number));
        number.ok_or_else(|| AppError::Invalid(format!("“{label}” must be a number from 1 to {most}.")))
    };
    let text = |name: &str, what: &str| {
        let text = fields.text(name);
        if text.is_empty() || text.len() > 400 {
            return Err(AppError::Invalid(format!("Enter a {what}.")));
        }
        Ok(text.to_owned())
    };
    Ok(match fields.text("kind") {
        "expired" => Selection::Expired {
            grace: SignedDuration::from_hours(number("hours", "Hours since expiry, at least", 8_760)?),
        },
        "duplicates" => Selection::Duplicates,
        "orphaned" => Selection::Orphaned,
        "excess" => {
            Selection::Excess { keep: number("keep", "Sessions to keep per user", 1_000)?.unsigned_abs() }
        }
        "user" => Selection::User(text("user", "user ID")?),
        "session" => Selection::Session(text("session", "row ID or token prefix")?),
        "sessions" => sessions::parse_selected_sessions(fields)?,
        "all" => Selection::All,
        "where" => Selection::Where(parse_row_filter(fields)?),
        other => return Err(AppError::Invalid(format!("Unknown kind of plan: “{other}”."))),
    })
}

/// Parses the conditions of a form, and rejects a form without any.
fn parse_row_filter(fields: &FormFields) -> Result<RowFilter, AppError> {
    let text = |name: &str| {
        let text: String = fields.text(name).chars().take(200).collect();
        Some(text).filter(|text| !text.is_empty())
    };
    let instant = |name: &str, label: &str| {
        let Some(text) = text(name) else { return Ok(None) };
        // The format of `datetime-local` inputs: without a time zone, and without seconds if they are zero.
        let at = text.parse::<jiff::civil::DateTime>().ok();
        let at = at.and_then(|at| at.to_zoned(jiff::tz::TimeZone::UTC).ok());
        let at = at.map(|at| at.timestamp().as_microsecond());
        at.map(Some)
            .ok_or_else(|| AppError::Invalid(format!("“{label}” must be a valid date and time (UTC).")))
    };
    let filter = RowFilter {
        user_like: text("user_like"),
        created_after: instant("created_after", "Created after")?,
        created_before: instant("created_before", "Created before")?,
        expires_before: instant("expires_before", "Expires before")?,
        ip: text("ip"),
        agent_like: text("user_agent_like"),
        ..RowFilter::default()
    };
    if filter == RowFilter::default() {
        return Err(AppError::Invalid(
            "Enter at least one condition. Without any, the plan would cover all sessions.".into(),
        ));
    }
    Ok(filter)
}

pub(super) async fn create_plan(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let selection = parse_selection(&form)?;
    let ops = TargetOps::new(&app, app.target(form.text("target"))?, &person.actor());
    let plan = app_plans::create_plan(ops, selection).await?;
    Ok(Redirect::to(&format!("/plans/{}", plan.record.id)))
}

pub(super) async fn create_restore_plan(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    LoggedIn(person): LoggedIn,
    _form: CsrfForm,
) -> Result<Redirect, WebError> {
    let PlanWithTarget { target, .. } = app_plans::load_plan(&app, &id).await?;
    let ops = TargetOps::new(&app, target, &person.actor());
    let wanted = RestoreRequest { plan_id: id, user: None };
    let plan = app_plans::create_restore_plan(ops, wanted).await?;
    Ok(Redirect::to(&format!("/plans/{}", plan.record.id)))
}

/// The incident from which a plan was opened; may be empty.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct IncidentRef {
    #[serde(default)]
    incident: String,
}

pub(super) async fn show_plan(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    Query(course): Query<IncidentRef>,
    shell: Shell,
) -> PageResult {
    let person = shell.user.clone();
    let PlanWithTarget { plan, target } = app_plans::load_plan(&app, &id).await?;
    let now = app.clock.now();
    let ops = TargetOps::new(&app, target.clone(), &person.actor());
    let limit_text = app_plans::safety_limit_text(&ops, &plan);
    let job = app.plan_jobs.get(&id);
    let agreement = app_plans::is_approval_missing(&ops, &plan);
    let own = plan.record.approved_by.as_deref() == Some(app_plans::approver_name(&person.actor()));
    // An expired plan shows no form, as applying it would fail.
    let stale = plan.is_stale(ops.config.actions.plan_ttl, now);
    let goes_on = job.as_ref().is_some_and(|job| job.outcome.is_none());
    // Checked again when the plan is applied; here it only decides which fields the form has.
    let missing_evidence = find_missing_evidence(&ops, &plan, &course).await?;
    let body = html! {
        p { "on " a href={ "/targets/" (layout::percent_encode(&target.name)) } { (target.name) } ", created by " (layout::sanitize_text(&plan.record.created_by)) " " (layout::render_relative_time(plan.record.created_at, now)) }
        @match job.as_ref().map(|job| (&job.outcome, job)) {
            Some((None, job)) => { p.notice role="status" { (layout::render_status_badge("pending")) " applying: " (job.control.done.load(Ordering::Relaxed)) " of " (format_count(plan.record.row_count, "row", "rows")) } }
            Some((Some(Ok(said)), _)) => { p.verdict.passing role="status" { (layout::render_status_badge("passing")) " " (said) } }
            Some((Some(Err(why)), _)) => { p.problem role="alert" { (why) } }
            None => {}
        }
        dl.facts {
            @if let Some(place) = plan.describe_table() { dt { "Table" } dd { (layout::sanitize_text(&place)) } }
            dt { "Rows" } dd { (plan.record.row_count) " of " (plan.summary.all_rows) }
            dt { "Active sessions" } dd { (plan.record.active_sessions) " of " (plan.summary.all_active) }
            dt { "Users" } dd { (plan.summary.users) }
            dt { "State" } dd { (plan.record.state.name()) }
            @if let Some(second) = &plan.record.approved_by { dt { "Approved by" } dd { (layout::sanitize_text(second)) } }
        }
        @if !plan.summary.notes.is_empty() { ul.list { @for note in &plan.summary.notes { li { (layout::sanitize_text(note)) } } } }
        (render_sample_rows(&plan))
        @if person.role >= AccountRole::Responder && !goes_on && plan.record.state != PlanState::Done && plan.record.row_count > 0 {
            @if stale { p.notice { "This plan has expired. Create a new plan." } }
            @else if agreement {
                p.problem { "This plan " (limit_text.clone().unwrap_or_default()) ". A second person must approve it: " @if own { "you approved it, so somebody else must apply it." } @else { "nobody has yet." } }
                @if !own {
                    form.stack method="post" action={ "/plans/" (plan.record.id) "/approve" } {
                        (layout::render_csrf_field(&person))
                        input type="hidden" name="incident" value=(course.incident);
                        button { "Approve plan" }
                    }
                }
            }
            @else {
                (render_apply_form(&person, &plan, &course, limit_text.as_ref(), missing_evidence.as_deref()))
            }
        }
        p.links {
            @if !course.incident.is_empty() { a href={ "/incidents/" (layout::percent_encode(&course.incident)) } { "Back to incident" } }
            a href={ "/cleanup?target=" (layout::percent_encode(&target.name)) } { "All plans" }
        }
    };
    Ok(layout::render_page(
        &shell,
        PageHead { title: plan.selection.command_name(), path: "/cleanup", live: goes_on },
        &body,
    ))
}

/// Returns the evidence that is missing before a plan may revoke sessions in an incident, or `None`.
async fn find_missing_evidence(
    ops: &TargetOps,
    plan: &ActionPlan,
    course: &IncidentRef,
) -> Result<Option<String>, AppError> {
    // A restore destroys no evidence.
    if course.incident.is_empty() || matches!(plan.selection, Selection::Restore { .. }) {
        return Ok(None);
    }
    let IncidentOps { case, .. } = incidents::load_incident(&ops.app, &ops.actor, &course.incident).await?;
    Ok(case.missing_evidence()?)
}

/// Renders the form that applies a plan. It asks for the target name if the plan exceeds a safety limit, and for a
/// reason if evidence is missing.
fn render_apply_form(
    person: &CurrentUser,
    plan: &ActionPlan,
    course: &IncidentRef,
    limit_text: Option<&String>,
    missing_evidence: Option<&str>,
) -> Markup {
    html! {
        form.stack method="post" action={ "/plans/" (plan.record.id) "/apply" } {
            (layout::render_csrf_field(person))
            input type="hidden" name="incident" value=(course.incident);
            @if let Some(limit_text) = limit_text {
                p.problem { "This plan " (limit_text) "." }
                label { "Type the target name (" (plan.record.target) ") to confirm" input name="confirm" autocomplete="off" required; }
            }
            @if let Some(why) = missing_evidence {
                p.problem { "The incident’s evidence is incomplete: " (layout::sanitize_text(why)) }
                label { "Reason for revoking sessions without complete evidence" input name="without_evidence" autocomplete="off" required maxlength="2000"; }
            }
            button { "Apply plan" }
        }
    }
}

/// Renders sample rows of a plan.
fn render_sample_rows(plan: &ActionPlan) -> Markup {
    let text = |text: &Option<String>| layout::sanitize_text(text.as_deref().unwrap_or_default());
    html! {
        @if plan.summary.sample.is_empty() { p.empty { "No matching rows, so there is nothing to apply." } }
        @else {
            h2 { "Sample rows" }
            div.wide tabindex="0" role="group" aria-label="Table" { table {
                thead { tr { th scope="col" { "Token" } th scope="col" { "Row ID" } th scope="col" { "User ID" } th scope="col" { "Expires" } } }
                tbody { @for line in &plan.summary.sample { tr {
                    td { code { (text(&line.prefix)) "…" } } td { (text(&line.id)) } td { (text(&line.user)) }
                    td { (line.expires.and_then(UtcTimestamp::from_micros).map(clock::format_utc).unwrap_or_default()) }
                } } }
            } }
        }
    }
}

pub(super) async fn approve_plan(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    app_plans::approve_plan(&app, &person.actor(), &id).await?;
    Ok(Redirect::to(&format!("/plans/{id}{}", incident_query_string(form.text("incident")))))
}

/// Returns the query string that names the incident, or an empty text.
fn incident_query_string(incident: &str) -> String {
    if incident.is_empty() {
        String::new()
    } else {
        format!("?incident={}", layout::percent_encode(incident))
    }
}

pub(super) async fn apply_plan(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
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
