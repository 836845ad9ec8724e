//! Ending sessions and putting them back: a plan first, which is looked at, and then exactly that plan.

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
};

/// Plans that are listed, the latest first.
const PLAN_PAGE_SIZE: usize = 20;
/// Letters of a reason.
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
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let config = app.config();
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
            @if made.is_empty() { p.empty { "No plan was made. A plan names rows and touches nothing; only carrying it out does." } }
            @else { ul.list { @for plan in made.iter().take(PLAN_PAGE_SIZE) { li {
                a href={ "/plans/" (plan.record.id) } { (plan.selection.command_name()) } ": " (format_count(plan.record.row_count, "row", "rows")) ", " (plan.record.state.name())
                span.dim { ", " (layout::sanitize_text(&plan.record.created_by)) " " (layout::render_relative_time(plan.record.created_at, now)) }
            } } } }
        }
        (render_archive(&person, &held, now))
    };
    Ok(layout::render_page(
        &person,
        PageHead { title: &format!("Clean-up of {}", target.name), path: "/cleanup", live: false },
        &body,
    ))
}

/// What can be planned.
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
        section aria-labelledby="wishes" {
            h2 id="wishes" { "Make a plan" }
            p.dim { "A plan shows exactly which rows it would touch." }
            (wish("expired", "Plan to remove expired rows", html! { label { "Ended longer ago than (hours)" input name="hours" type="number" min="1" max="8760" value="24"; } }))
            (wish("duplicates", "Plan to end shared tokens", html! {}))
            (wish("orphaned", "Plan to remove orphans", html! {}))
            (wish("excess", "Plan to end what is too much", html! { label { "Sessions that each user keeps" input name="keep" type="number" min="1" max="1000" value="5"; } }))
            (wish("user", "Plan to end one user's log-ins", html! { label { "User" input name="user" required maxlength="200"; } }))
            (wish("session", "Plan to end one session", html! { label { "Row ID or token prefix" input name="session" required maxlength="200"; } }))
            (wish("where", "Plan to end what fits", html! {
                label { "User like" input name="user_like" maxlength="200"; }
                label { "Created after (UTC)" input name="created_after" type="datetime-local"; }
                label { "Created before (UTC)" input name="created_before" type="datetime-local"; }
                label { "Ends before (UTC)" input name="expires_before" type="datetime-local"; }
                label { "From address" input name="ip" maxlength="200"; }
                label { "User agent like" input name="user_agent_like" maxlength="200"; }
            }))
            (wish("all", "Plan to end everybody's log-ins", html! {}))
        }
    }
}

fn render_archive(person: &CurrentUser, archives: &[&ArchiveSummary], now: UtcTimestamp) -> Markup {
    html! {
        section aria-labelledby="archive" {
            h2 id="archive" { "Archive" }
            @if archives.is_empty() { p.empty { "Nothing is archived. What a plan removes is sealed here first, and can be put back." } }
            @else {
                div.wide tabindex="0" role="group" aria-label="Table" { table {
                    thead { tr { th scope="col" { "plan" } th scope="col" { "rows" } th scope="col" { "put back" } th scope="col" { "removed" } th scope="col" { "kept until" } th scope="col" { "" } } }
                    tbody { @for holding in archives { tr {
                        td { a href={ "/plans/" (holding.plan) } { (holding.plan) } }
                        td.number { (holding.restorable_rows) } td.number { (holding.restored_rows) }
                        td { (layout::render_relative_time(holding.first_sealed_at, now)) } td { (clock::format_utc(holding.purge_at)) }
                        td { @if person.role >= AccountRole::Responder && holding.restored_rows < holding.restorable_rows {
                            form.inline method="post" action={ "/archive/" (holding.plan) "/restore" } { (layout::render_csrf_field(person)) button.quiet { "Plan to put back" } }
                        } }
                    } } }
                } }
            }
        }
    }
}

/// What a form asks for.
fn parse_selection(fields: &FormFields) -> Result<Selection, AppError> {
    let number = |name: &str, most: i64| {
        let number = fields.text(name).parse::<i64>().ok().filter(|number| (1..=most).contains(number));
        number.ok_or_else(|| AppError::Invalid(format!("“{name}” is a number from 1 to {most}.")))
    };
    let text = |name: &str| {
        let text = fields.text(name);
        if text.is_empty() || text.len() > 400 {
            return Err(AppError::Invalid(format!("Say which {name}.")));
        }
        Ok(text.to_owned())
    };
    Ok(match fields.text("kind") {
        "expired" => Selection::Expired { grace: SignedDuration::from_hours(number("hours", 8_760)?) },
        "duplicates" => Selection::Duplicates,
        "orphaned" => Selection::Orphaned,
        "excess" => Selection::Excess { keep: number("keep", 1_000)?.unsigned_abs() },
        "user" => Selection::User(text("user")?),
        "session" => Selection::Session(text("session")?),
        "all" => Selection::All,
        "where" => Selection::Where(parse_row_filter(fields)?),
        other => return Err(AppError::Invalid(format!("“{other}” cannot be planned."))),
    })
}

/// The conditions of a form; there is at least one.
fn parse_row_filter(fields: &FormFields) -> Result<RowFilter, AppError> {
    let text = |name: &str| {
        let text: String = fields.text(name).chars().take(200).collect();
        Some(text).filter(|text| !text.is_empty())
    };
    let instant = |name: &str| {
        let Some(text) = text(name) else { return Ok(None) };
        // As browsers send it: without a zone, and without seconds where they are zero.
        let at = text.parse::<jiff::civil::DateTime>().ok();
        let at = at.and_then(|at| at.to_zoned(jiff::tz::TimeZone::UTC).ok());
        let at = at.map(|at| at.timestamp().as_microsecond());
        at.map(Some).ok_or_else(|| AppError::Invalid(format!("“{name}” is a date and a time, in UTC.")))
    };
    let filter = RowFilter {
        user_like: text("user_like"),
        created_after: instant("created_after")?,
        created_before: instant("created_before")?,
        expires_before: instant("expires_before")?,
        ip: text("ip"),
        agent_like: text("user_agent_like"),
        ..RowFilter::default()
    };
    if filter == RowFilter::default() {
        return Err(AppError::Invalid("Say at least one condition: without any, it is everybody.".into()));
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

/// In the course of what a plan is looked at.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct IncidentRef {
    #[serde(default)]
    incident: String,
}

pub(super) async fn show_plan(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    Query(course): Query<IncidentRef>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let PlanWithTarget { plan, target } = app_plans::load_plan(&app, &id).await?;
    let now = app.clock.now();
    let ops = TargetOps::new(&app, target.clone(), &person.actor());
    let limit_text = app_plans::safety_limit_text(&ops, &plan);
    let job = app.plan_jobs.get(&id);
    let agreement = app_plans::is_approval_missing(&ops, &plan);
    let own = plan.record.approved_by.as_deref() == Some(app_plans::approver_name(&person.actor()));
    let stale = plan.is_stale(ops.config.actions.plan_ttl, now);
    let goes_on = job.as_ref().is_some_and(|job| job.outcome.is_none());
    let missing_evidence = find_missing_evidence(&ops, &plan, &course).await?;
    let body = html! {
        p { "on " a href={ "/targets/" (layout::percent_encode(&target.name)) } { (target.name) } ", made by " (layout::sanitize_text(&plan.record.created_by)) " " (layout::render_relative_time(plan.record.created_at, now)) }
        @match job.as_ref().map(|job| (&job.outcome, job)) {
            Some((None, job)) => { p.notice role="status" { (layout::render_status_badge("pending")) " under way: " (job.control.done.load(Ordering::Relaxed)) " of " (format_count(plan.record.row_count, "row", "rows")) } }
            Some((Some(Ok(said)), _)) => { p.verdict.passing role="status" { (layout::render_status_badge("passing")) " " (said) } }
            Some((Some(Err(why)), _)) => { p.problem role="alert" { (why) } }
            None => {}
        }
        dl.facts {
            @if let Some(place) = plan.describe_table() { dt { "Table" } dd { (layout::sanitize_text(&place)) } }
            dt { "Rows" } dd { (plan.record.row_count) " of " (plan.summary.all_rows) }
            dt { "Active sessions among them" } dd { (plan.record.active_sessions) " of " (plan.summary.all_active) }
            dt { "Users" } dd { (plan.summary.users) }
            dt { "State" } dd { (plan.record.state.name()) }
            @if let Some(second) = &plan.record.approved_by { dt { "Agreed to by" } dd { (layout::sanitize_text(second)) } }
        }
        @if !plan.summary.notes.is_empty() { ul.list { @for note in &plan.summary.notes { li { (layout::sanitize_text(note)) } } } }
        (render_sample_rows(&plan))
        @if person.role >= AccountRole::Responder && !goes_on && plan.record.state != PlanState::Done && plan.record.row_count > 0 {
            @if stale { p.notice { "The plan is too old to be carried out: make it anew." } }
            @else if agreement {
                p.problem { "It " (limit_text.clone().unwrap_or_default()) ": a second person has to agree, and " @if own { "you have; somebody else carries it out." } @else { "nobody else has yet." } }
                @if !own {
                    form.stack method="post" action={ "/plans/" (plan.record.id) "/approve" } {
                        (layout::render_csrf_field(&person))
                        input type="hidden" name="incident" value=(course.incident);
                        button { "I agree to this plan" }
                    }
                }
            }
            @else {
                (render_apply_form(&person, &plan, &course, limit_text.as_ref(), missing_evidence.as_deref()))
            }
        }
        p.links {
            @if !course.incident.is_empty() { a href={ "/incidents/" (layout::percent_encode(&course.incident)) } { "Back to the incident" } }
            a href={ "/cleanup?target=" (layout::percent_encode(&target.name)) } { "All plans" }
        }
    };
    Ok(layout::render_page(
        &person,
        PageHead { title: plan.selection.command_name(), path: "/cleanup", live: goes_on },
        &body,
    ))
}

/// Why a plan that ends sessions in the course of an incident waits for its evidence.
async fn find_missing_evidence(
    ops: &TargetOps,
    plan: &ActionPlan,
    course: &IncidentRef,
) -> Result<Option<String>, AppError> {
    if course.incident.is_empty() || matches!(plan.selection, Selection::Restore { .. }) {
        return Ok(None);
    }
    let IncidentOps { case, .. } = incidents::load_incident(&ops.app, &ops.actor, &course.incident).await?;
    Ok(case.missing_evidence()?)
}

/// What carries out a plan: with the name of the target where it reaches far, and with a reason where evidence is incomplete.
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
                p.problem { "It " (limit_text) "." }
                label { "Type the name of the target (" (plan.record.target) ") to go on" input name="confirm" autocomplete="off" required; }
            }
            @if let Some(why) = missing_evidence {
                p.problem { "The evidence of the incident is not complete: " (layout::sanitize_text(why)) }
                label { "Reason for ending sessions without complete evidence" input name="without_evidence" autocomplete="off" required maxlength="2000"; }
            }
            button { "Carry out this plan" }
        }
    }
}

/// Some of the rows, for a person to recognise.
fn render_sample_rows(plan: &ActionPlan) -> Markup {
    let text = |text: &Option<String>| layout::sanitize_text(text.as_deref().unwrap_or_default());
    html! {
        @if plan.summary.sample.is_empty() { p.empty { "The plan names no row: there is nothing to do." } }
        @else {
            h2 { "Some of the rows" }
            div.wide tabindex="0" role="group" aria-label="Table" { table {
                thead { tr { th scope="col" { "token" } th scope="col" { "id" } th scope="col" { "user" } th scope="col" { "ends" } } }
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

/// The rest of an address that says in the course of which incident a plan is looked at.
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
