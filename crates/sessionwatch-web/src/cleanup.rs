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
        accounts::Role,
        incidents::{self, CaseOps},
        login_sessions::CurrentUser,
        plans::{
            self as app_plans, ApplyRequest, ArchiveSummary, Plan, PlanHistory, PlanOfTarget, PlanState,
            RestoreRequest, RowFilter, Selection,
        },
    },
    config::Target,
};
use sessionwatch_clock as clock;
use sessionwatch_core::{instant::Instant, plural::counted};

use super::{
    PageResult, WebError,
    auth::LoggedIn,
    csrf::{CsrfForm, FormFields},
    layout::{self, PageHead},
};

/// Plans that are listed, the latest first.
const SHOWN: usize = 20;
/// Letters of a reason.
const REASON_LENGTH: usize = 2_000;

pub(super) async fn page(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let config = app.config();
    let target = match config.targets.first() {
        Some(first) if name == "-" => first.clone(),
        _ => app.target(&name)?,
    };
    let now = app.clock.now();
    let PlanHistory { archived: held, plans: made } = app_plans::get_history(&app).await?;
    let mine = made.into_iter().filter(|plan| plan.target == target.name);
    let made: Vec<Plan> = mine.map(Plan::read).filter_map(Result::transpose).collect::<Result<_, _>>()?;
    let held: Vec<&ArchiveSummary> = held.iter().filter(|holding| holding.target == target.name).collect();
    let body = html! {
        nav.periods aria-label="Target" {
            @for one in &config.targets { a href={ "/cleanup/" (layout::part(&one.name)) } aria-current=[(one.name == target.name).then_some("true")] { (one.name) } }
        }
        @if person.role >= Role::Responder { (wishes(&person, &target)) }
        section aria-labelledby="plans" {
            h2 id="plans" { "Plans" }
            @if made.is_empty() { p.empty { "No plan was made. A plan names rows and touches nothing; only carrying it out does." } }
            @else { ul.list { @for plan in made.iter().take(SHOWN) { li {
                a href={ "/plans/" (plan.kept.id) } { (plan.selection.name()) } ": " (counted(plan.kept.rows, "row", "rows")) ", " (plan.kept.state.name())
                span.dim { ", " (layout::said(&plan.kept.made_by)) " " (layout::when(plan.kept.made_at, now)) }
            } } } }
        }
        (archive(&person, &held, now))
    };
    Ok(layout::page(
        &person,
        PageHead { title: &format!("Clean-up of {}", target.name), path: "/cleanup/", live: false },
        &body,
    ))
}

/// What can be planned.
fn wishes(person: &CurrentUser, target: &Target) -> Markup {
    let action = format!("/cleanup/{}", layout::part(&target.name));
    let wish = |kind: &str, label: &str, field: Markup| {
        html! {
            form.filter method="post" action=(action) {
                (layout::form_field(person)) input type="hidden" name="kind" value=(kind);
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
                label { "User agent like" input name="agent_like" maxlength="200"; }
            }))
            (wish("all", "Plan to end everybody's log-ins", html! {}))
        }
    }
}

fn archive(person: &CurrentUser, held: &[&ArchiveSummary], now: Instant) -> Markup {
    html! {
        section aria-labelledby="archive" {
            h2 id="archive" { "Archive" }
            @if held.is_empty() { p.empty { "Nothing is archived. What a plan removes is sealed here first, and can be put back." } }
            @else {
                div.wide tabindex="0" role="group" aria-label="Table" { table {
                    thead { tr { th scope="col" { "plan" } th scope="col" { "rows" } th scope="col" { "put back" } th scope="col" { "removed" } th scope="col" { "kept until" } th scope="col" { "" } } }
                    tbody { @for holding in held { tr {
                        td { a href={ "/plans/" (holding.plan) } { (holding.plan) } }
                        td.number { (holding.rows) } td.number { (holding.restored) }
                        td { (layout::when(holding.at, now)) } td { (clock::readable(holding.purge_at)) }
                        td { @if person.role >= Role::Responder && holding.restored < holding.rows {
                            form.inline method="post" action={ "/archive/" (holding.plan) "/restore" } { (layout::form_field(person)) button.quiet { "Plan to put back" } }
                        } }
                    } } }
                } }
            }
        }
    }
}

/// What a form asks for.
fn selection(fields: &FormFields) -> Result<Selection, AppError> {
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
        "where" => Selection::Where(conditions(fields)?),
        other => return Err(AppError::Invalid(format!("“{other}” cannot be planned."))),
    })
}

/// The conditions of a form; there is at least one.
fn conditions(fields: &FormFields) -> Result<RowFilter, AppError> {
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
        agent_like: text("agent_like"),
        ..RowFilter::default()
    };
    if filter == RowFilter::default() {
        return Err(AppError::Invalid("Say at least one condition: without any, it is everybody.".into()));
    }
    Ok(filter)
}

pub(super) async fn make(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let selection = selection(&form)?;
    let ops = TargetOps::new(&app, app.target(&name)?, &person.actor());
    let plan = app_plans::make_plan(ops, selection).await?;
    Ok(Redirect::to(&format!("/plans/{}", plan.kept.id)))
}

pub(super) async fn restore(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    LoggedIn(person): LoggedIn,
    _form: CsrfForm,
) -> Result<Redirect, WebError> {
    let PlanOfTarget { target, .. } = app_plans::get_plan(&app, &id).await?;
    let ops = TargetOps::new(&app, target, &person.actor());
    let wanted = RestoreRequest { archive: id, user: None };
    let plan = app_plans::make_restore_plan(ops, wanted).await?;
    Ok(Redirect::to(&format!("/plans/{}", plan.kept.id)))
}

/// In the course of what a plan is looked at.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct IncidentRef {
    #[serde(default)]
    incident: String,
}

pub(super) async fn plan(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    Query(course): Query<IncidentRef>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let PlanOfTarget { plan, target } = app_plans::get_plan(&app, &id).await?;
    let now = app.clock.now();
    let ops = TargetOps::new(&app, target.clone(), &person.actor());
    let braked = app_plans::limit_text(&ops, &plan);
    let job = app.plan_jobs.get(&id);
    let agreement = app_plans::lacks_approval(&ops, &plan);
    let own = plan.kept.approved_by.as_deref() == Some(app_plans::approver_name(&person.actor()));
    let stale = plan.is_stale(ops.config.actions.stale_after, now);
    let goes_on = job.as_ref().is_some_and(|job| job.outcome.is_none());
    let unfrozen = unfrozen(&ops, &plan, &course).await?;
    let body = html! {
        p { "on " a href={ "/targets/" (layout::part(&target.name)) } { (target.name) } ", made by " (layout::said(&plan.kept.made_by)) " " (layout::when(plan.kept.made_at, now)) }
        @match job.as_ref().map(|job| (&job.outcome, job)) {
            Some((None, job)) => { p.notice role="status" { (layout::mark("pending")) " under way: " (job.control.done.load(Ordering::Relaxed)) " of " (counted(plan.kept.rows, "row", "rows")) } }
            Some((Some(Ok(said)), _)) => { p.verdict.healthy role="status" { (layout::mark("healthy")) " " (said) } }
            Some((Some(Err(why)), _)) => { p.problem role="alert" { (why) } }
            None => {}
        }
        dl.facts {
            @if let Some(place) = plan.place() { dt { "Table" } dd { (layout::said(&place)) } }
            dt { "Rows" } dd { (plan.kept.rows) " of " (plan.summary.all_rows) }
            dt { "Active sessions among them" } dd { (plan.kept.active) " of " (plan.summary.all_active) }
            dt { "Users" } dd { (plan.summary.users) }
            dt { "State" } dd { (plan.kept.state.name()) }
            @if let Some(second) = &plan.kept.approved_by { dt { "Agreed to by" } dd { (layout::said(second)) } }
        }
        @if !plan.summary.notes.is_empty() { ul.list { @for note in &plan.summary.notes { li { (layout::said(note)) } } } }
        (sample(&plan))
        @if person.role >= Role::Responder && !goes_on && plan.kept.state != PlanState::Done && plan.kept.rows > 0 {
            @if stale { p.notice { "The plan is too old to be carried out: make it anew." } }
            @else if agreement {
                p.problem { "It " (braked.clone().unwrap_or_default()) ": a second person has to agree, and " @if own { "you have; somebody else carries it out." } @else { "nobody else has yet." } }
                @if !own {
                    form.stack method="post" action={ "/plans/" (plan.kept.id) "/approve" } {
                        (layout::form_field(&person))
                        input type="hidden" name="incident" value=(course.incident);
                        button { "I agree to this plan" }
                    }
                }
            }
            @else {
                (carrying_out(&person, &plan, &course, braked.as_ref(), unfrozen.as_deref()))
            }
        }
        p.links {
            @if !course.incident.is_empty() { a href={ "/incidents/" (layout::part(&course.incident)) } { "Back to the incident" } }
            a href={ "/cleanup/" (layout::part(&target.name)) } { "All plans" }
        }
    };
    Ok(layout::page(
        &person,
        PageHead { title: plan.selection.name(), path: "/cleanup/", live: goes_on },
        &body,
    ))
}

/// Why a plan that ends sessions in the course of an incident waits for its evidence.
async fn unfrozen(ops: &TargetOps, plan: &Plan, course: &IncidentRef) -> Result<Option<String>, AppError> {
    if course.incident.is_empty() || matches!(plan.selection, Selection::Restore { .. }) {
        return Ok(None);
    }
    let CaseOps { case, .. } = incidents::get_case(&ops.app, &ops.actor, &course.incident).await?;
    Ok(case.lacks_evidence()?)
}

/// What carries out a plan: with the name of the target where it reaches far, and with a reason where evidence is incomplete.
fn carrying_out(
    person: &CurrentUser,
    plan: &Plan,
    course: &IncidentRef,
    braked: Option<&String>,
    unfrozen: Option<&str>,
) -> Markup {
    html! {
        form.stack method="post" action={ "/plans/" (plan.kept.id) "/apply" } {
            (layout::form_field(person))
            input type="hidden" name="incident" value=(course.incident);
            @if let Some(braked) = braked {
                p.problem { "It " (braked) "." }
                label { "Type the name of the target (" (plan.kept.target) ") to go on" input name="confirm" autocomplete="off" required; }
            }
            @if let Some(why) = unfrozen {
                p.problem { "The evidence of the incident is not complete: " (layout::said(why)) }
                label { "Reason for ending sessions without complete evidence" input name="without_evidence" autocomplete="off" required maxlength="2000"; }
            }
            button { "Carry out this plan" }
        }
    }
}

/// Some of the rows, for a person to recognise.
fn sample(plan: &Plan) -> Markup {
    let text = |text: &Option<String>| layout::said(text.as_deref().unwrap_or_default());
    html! {
        @if plan.summary.sample.is_empty() { p.empty { "The plan names no row: there is nothing to do." } }
        @else {
            h2 { "Some of the rows" }
            div.wide tabindex="0" role="group" aria-label="Table" { table {
                thead { tr { th scope="col" { "token" } th scope="col" { "id" } th scope="col" { "user" } th scope="col" { "ends" } } }
                tbody { @for line in &plan.summary.sample { tr {
                    td { code { (text(&line.prefix)) "…" } } td { (text(&line.id)) } td { (text(&line.user)) }
                    td { (line.expires.and_then(Instant::from_micros).map(clock::readable).unwrap_or_default()) }
                } } }
            } }
        }
    }
}

pub(super) async fn approve(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    app_plans::approve(&app, &person.actor(), &id).await?;
    Ok(Redirect::to(&format!("/plans/{id}{}", in_course(form.text("incident")))))
}

/// The rest of an address that says in the course of which incident a plan is looked at.
fn in_course(incident: &str) -> String {
    if incident.is_empty() { String::new() } else { format!("?incident={}", layout::part(incident)) }
}

pub(super) async fn apply(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let PlanOfTarget { plan, target } = app_plans::get_plan(&app, &id).await?;
    let course = in_course(form.text("incident"));
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    let request = ApplyRequest {
        confirm: given(form.text("confirm").to_owned()),
        incident: given(form.text("incident").to_owned()),
        without_evidence: given(form.capped("without_evidence", REASON_LENGTH)),
    };
    app_plans::start_apply(TargetOps::new(&app, target, &person.actor()), plan, request).await?;
    Ok(Redirect::to(&format!("/plans/{id}{course}")))
}

#[cfg(test)]
mod tests;
