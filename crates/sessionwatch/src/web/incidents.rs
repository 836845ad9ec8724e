//! Incidents: the procedure as a page that leads from step to step, the timeline, the report.

use std::sync::Arc;

use axum::{
    extract::{Path, Query, State},
    http::header,
    response::{IntoResponse, Redirect, Response},
};
use clap::ValueEnum as _;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;
use sessionwatch_core::plural::counted;
use sessionwatch_core::{
    incident::{self as rules, IncidentSeverity, Step},
    instant::Instant,
};

use super::{PageResult, WebError, auth::LoggedIn, csrf::CsrfForm, layout};
use crate::{
    actions::{ActError, Plan, Selection, affected, keys},
    app::{
        Actor, AppError, AppState, TargetOps,
        login_sessions::CurrentUser,
        plans::{self as app_plans, CaseOfTarget},
    },
    clock,
    incident::{
        self, message, report as paper,
        work::{self, Case, Contained, Said},
    },
    store::{
        accounts::Role,
        incidents::{self, Incident, State as Stage},
    },
};

/// Users that are listed when one is looked for.
const FOUND: usize = 50;
/// Letters of a text that a person writes.
const TEXT_LENGTH: usize = 2_000;

pub(super) async fn list(State(app): State<Arc<AppState>>, LoggedIn(person): LoggedIn) -> PageResult {
    let now = app.clock.now();
    let all = app.read(incidents::list).await?;
    let targets: Vec<String> = app.config().targets.iter().map(|target| target.name.clone()).collect();
    let body = html! {
        @if all.is_empty() {
            p.empty {
                "There was no emergency. One that is opened leads through the procedure, step by step; "
                code { "sessionwatch incident drill --demo" } " rehearses it."
            }
        } @else {
            div.wide tabindex="0" role="group" aria-label="Table" { table {
                thead { tr { th scope="col" { "incident" } th scope="col" { "target" } th scope="col" { "severity" } th scope="col" { "state" } th scope="col" { "opened" } } }
                tbody { @for incident in &all { tr {
                    td { a href={ "/incidents/" (layout::part(&incident.id)) } { (incident.id) } }
                    td { (layout::said(&incident.target)) } td { (incident.grade.name()) } td { (incident.state.name()) }
                    td { (layout::when(incident.opened_at, now)) }
                } } }
            } }
        }
        @if person.role >= Role::Responder {
            section aria-labelledby="open" {
                h2 id="open" { "Open an incident" }
                (opening(&person, &targets))
            }
        }
    };
    Ok(layout::page(&person, ("Incidents", "/incidents"), true, &body))
}

/// What opens an incident of one of some targets.
pub(super) fn opening(person: &CurrentUser, targets: &[String]) -> Markup {
    html! {
        form.filter method="post" action="/incidents" {
            (layout::form_field(person))
            @if let [only] = targets { input type="hidden" name="target" value=(only); }
            @else { label { "Target" select name="target" { @for name in targets { option value=(name) { (name) } } } } }
            label { "Severity" select name="severity" {
                option value="P0" { "P0: active leakage is confirmed" }
                option value="P1" selected { "P1: shared tokens, or a possible leak" }
                option value="P2" { "P2: orphans or alerts" }
                option value="P3" { "P3: routine" }
            } }
            label { "What happened" input name="summary" required maxlength="500"; }
            button { "Open an incident" }
        }
    }
}

/// Opens an incident: how it stands now.
pub(super) async fn begin(
    app: &Arc<AppState>,
    (target, who): (&str, &Actor),
    (grade, summary): (IncidentSeverity, String),
) -> Result<Incident, AppError> {
    let ops = TargetOps::new(app, app.target(target)?, who);
    let opened =
        ops.with_target_and_publish(async move |ops| incident::open(ops.context(), grade, &summary).await);
    Ok(opened.await?.0)
}

pub(super) async fn open(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    fields: CsrfForm,
) -> Result<Redirect, WebError> {
    let grade = IncidentSeverity::parse(fields.text("severity"));
    let grade = grade.ok_or_else(|| AppError::Invalid("A severity is P0, P1, P2 or P3.".into()))?;
    let summary = fields.required("summary", TEXT_LENGTH, "Say what happened.")?;
    let opened = begin(&app, (fields.text("target"), &person.actor()), (grade, summary)).await?;
    Ok(to(&opened.id))
}

/// To the page of an incident.
fn to(id: &str) -> Redirect {
    Redirect::to(&format!("/incidents/{}", layout::part(id)))
}

/// What is known of a user, and the number of the sessions.
pub(super) type Candidate = (Vec<String>, u64);

/// Users by a part of their id, name or handle.
pub(super) async fn look_for(
    app: &Arc<AppState>,
    target: crate::config::Target,
    (part, who): (&str, &Actor),
) -> Result<Vec<Candidate>, AppError> {
    let (ops, part) = (TargetOps::new(app, target, who).with_short_timeout(), part.to_owned());
    ops.with_target(async move |ops| affected::users(ops.context(), &part, FOUND).await).await
}

/// Whom one looks for.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Find {
    #[serde(default)]
    find: String,
}

pub(super) async fn page(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    Query(find): Query<Find>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let now = app.clock.now();
    let CaseOfTarget { case, target } = app_plans::get_case(&app, &id).await?;
    let users = if find.find.is_empty() {
        None
    } else {
        Some(look_for(&app, target, (&find.find, &person.actor())).await?)
    };
    let incident = &case.incident;
    let base = format!("/incidents/{}", layout::part(&incident.id));
    let works = person.role >= Role::Responder && incident.state != Stage::Closed;
    let body = html! {
        p { strong { (layout::said(&incident::field(incident, "summary").unwrap_or_default())) } }
        p { (incident.grade.name()) " on " a href={ "/targets/" (layout::part(&incident.target)) } { (layout::said(&incident.target)) } ", " (incident.state.name())
            ", opened " (layout::when(incident.opened_at, now)) " by " (layout::said(&incident.opened_by)) ". " (incident::time_used(incident, now).unwrap_or_default()) }
        p.links { a href={ (base) "/report" } { "Report" } }
        @if works { (guide(&person, &case, &base, (&find.find, users.as_deref()))) }
        (steps(&person, &case, (&base, now)))
        @if works { (papers(&person, &case, &base)) }
        section aria-labelledby="timeline" {
            h2 id="timeline" { "Timeline" }
            ul.list { @for entry in &case.timeline { li { (clock::readable(entry.at)) " " span.tag { (entry.kind) } " " (layout::said(&entry.actor)) ": " (layout::said(&entry.said)) } } }
        }
    };
    Ok(layout::page(&person, (&incident.id, "/incidents"), find.find.is_empty(), &body))
}

/// The step that is next, and what a person does about it.
fn guide(person: &CurrentUser, case: &Case, base: &str, looked_for: (&str, Option<&[Candidate]>)) -> Markup {
    let Some(step) = case.next() else {
        return html! {
            section.card aria-labelledby="next" {
                h2 id="next" { "Every step was gone through" }
                (closing(person, case, base))
            }
        };
    };
    html! {
        section.card aria-labelledby="next" {
            h2 id="next" { "Next: " (step.title) }
            p { (todo(step)) }
            @if let Some(found) = case.found(step) { p.notice { "So far: " (layout::said(found)) "." } }
            @match step.id {
                "affected" => (searching(base, looked_for)),
                "evidence" => form.inline method="post" action={ (base) "/evidence" } { (layout::form_field(person)) button { "Write the evidence" } },
                "contain" => (containing(person, base)),
                "users" => (draft(&case.incident)),
                "root-cause" => form.filter method="post" action={ (base) "/set" } {
                    (layout::form_field(person)) input type="hidden" name="name" value="root-cause";
                    label { "What it was" input name="text" required maxlength="2000"; } button { "Keep it" }
                },
                _ => {}
            }
            form.filter method="post" action={ (base) "/next" } {
                (layout::form_field(person)) input type="hidden" name="step" value=(step.id);
                @if step.found_out { button name="said" value="" { "Find out whether it is done" } }
                @if work::can_be_said(step) {
                    label { "What there is to say of it" input name="note" required[step.needs_note() && !step.found_out] maxlength="2000"; }
                    button name="said" value="done" { "It is done" }
                }
            }
            details {
                summary { "Pass over this step" }
                form.filter method="post" action={ (base) "/next" } {
                    (layout::form_field(person)) input type="hidden" name="step" value=(step.id);
                    label { "Why" input name="note" required maxlength="2000"; }
                    button.quiet name="said" value="skip" { "Pass over it" }
                }
            }
        }
    }
}

/// What closes an incident: with a reason where something speaks against it.
fn closing(person: &CurrentUser, case: &Case, base: &str) -> Markup {
    let points = rules::open_points(case.incident.grade, &incidents::recorded(&case.timeline));
    html! {
        @if !points.is_empty() {
            p { "This speaks against closing it:" }
            ul.list { @for point in &points { li { (layout::said(point)) } } }
        }
        form.filter method="post" action={ (base) "/close" } {
            (layout::form_field(person))
            @if !points.is_empty() { label { "Why it is closed all the same" input name="reason" required maxlength="2000"; } }
            button.quiet[!points.is_empty()] { "Close the incident" }
        }
    }
}

/// What a person does for a step, on this page.
fn todo(step: &Step) -> &'static str {
    match step.id {
        "confirm" => {
            "A look is taken, without trust in indexes. If it finds nothing, say what else makes you sure."
        }
        "affected" => {
            "Users who share a token are listed by finding out; others are looked for by a part of their id, name or handle. Say who it is."
        }
        "evidence" => {
            "The affected rows, numbers, signals and the record are packed and sealed before anything is changed. The file can be opened with the identity of the archive alone."
        }
        "team" => "Tell whoever has to know that sessions are about to be ended. Say whom you told.",
        "contain" => {
            "Choose whose sessions are ended. A plan is made first, and shown; only carrying it out touches anything, and what it removes can be put back."
        }
        "sign-in" => "Do both in the application yourself, in a private window. Say that they work.",
        "users" => "Write to the people whose sessions were ended. Say whom you wrote to.",
        "watch" => {
            "The watch looks every minute, and opens the incident anew if an ended session comes back or a critical line is logged."
        }
        "root-cause" => {
            "Critical log lines, the application's address, secret and cookie, the unique constraint on the token, recent changes."
        }
        "report" => "The report is filled in with what was recorded. Complete the rest, and say where it is.",
        _ => step.todo,
    }
}

fn searching(base: &str, (find, users): (&str, Option<&[Candidate]>)) -> Markup {
    html! {
        form.filter method="get" action=(base) {
            label { "Part of an id, name or handle" input name="find" value=(find) required maxlength="200"; }
            button.quiet { "Look for users" }
        }
        @if let Some(users) = users {
            @if users.is_empty() { p.empty { "Nobody's id, name or handle contains that." } }
            @else { ul.list { @for (shown, sessions) in users { li {
                (counted(*sessions, "session", "sessions")) ": " (layout::said(&shown.iter().filter(|text| !text.is_empty()).cloned().collect::<Vec<_>>().join(", ")))
            } } } }
        }
    }
}

/// The four ways to end sessions in an emergency.
fn containing(person: &CurrentUser, base: &str) -> Markup {
    let way = |whose: &str, label: &str, field: Markup| {
        html! {
            form.filter method="post" action={ (base) "/contain" } {
                (layout::form_field(person)) input type="hidden" name="whose" value=(whose); (field) button { (label) }
            }
        }
    };
    html! {
        (way("duplicates", "Plan to end shared tokens", html! {}))
        (way("users", "Plan to end these users’ sessions", html! { label { "Ids of users, separated by spaces" input name="users" required maxlength="2000"; } }))
        (way("orphans", "Plan to end orphans", html! {}))
        (way("everybody", "Plan to end everybody’s sessions", html! {}))
    }
}

fn draft(incident: &Incident) -> Markup {
    let draft = message::draft(incident, message::DRAFT).unwrap_or_default();
    html! { details { summary { "A draft of the message" } pre.draft tabindex="0" { (layout::said_lines(&draft)) } } }
}

/// Takes back that a step is done, or was passed over.
fn reopening(person: &CurrentUser, step: &Step, base: &str) -> Markup {
    html! {
        details {
            summary { "Reopen this step" }
            form.filter method="post" action={ (base) "/next" } {
                (layout::form_field(person)) input type="hidden" name="step" value=(step.id);
                label { "Why" input name="note" required maxlength="2000"; }
                button.quiet name="said" value="reopen" { "Reopen it" }
            }
        }
    }
}

fn steps(person: &CurrentUser, case: &Case, (base, now): (&str, Instant)) -> Markup {
    let may_reopen = case.incident.state != Stage::Closed && person.role >= Role::Responder;
    let next = case.next().filter(|_| case.incident.state != Stage::Closed);
    let done = |step: &Step| {
        let of_step = |entry: &&incidents::Entry| {
            entry.step == step.id && matches!(entry.kind.as_str(), "done" | "skipped")
        };
        incidents::recorded(&case.timeline)
            .iter()
            .any(|done| done.step == step.id)
            .then(|| case.timeline.iter().rev().find(of_step))
            .flatten()
    };
    html! {
        section aria-labelledby="steps" {
            h2 id="steps" { "Steps" }
            ol.steps { @for step in rules::STEPS.iter().filter(|step| step.is_needed(case.incident.grade)) {
                @let is_next = next.is_some_and(|next| next.id == step.id);
                @let done = done(step);
                li class=[is_next.then_some("next")] aria-current=[is_next.then_some("step")] {
                    (layout::mark(match done { Some(entry) if entry.kind == "skipped" => "skipped", Some(_) => "done", None if is_next => "pending", None => "open" }))
                    " " strong { (step.title) }
                    @if let Some(done) = done { span.dim { ": " (layout::said(&done.said)) ", " (layout::said(&done.actor)) " " (layout::when(done.at, now)) } @if may_reopen { (reopening(person, step, base)) } }
                }
            } }
        }
    }
}

/// What the report says besides, notes, and closing before the end.
fn papers(person: &CurrentUser, case: &Case, base: &str) -> Markup {
    html! {
        section aria-labelledby="papers" {
            h2 id="papers" { "Write down" }
            form.filter method="post" action={ (base) "/note" } {
                (layout::form_field(person))
                label { "A note for the timeline" input name="note" required maxlength="2000"; }
                button { "Add" }
            }
            form.filter method="post" action={ (base) "/set" } {
                (layout::form_field(person))
                label { "Part of the report" select name="name" { @for name in work::FIELDS { option value=(name) { (name) } } } }
                label { "What it says" input name="text" required maxlength="2000"; }
                button.quiet { "Keep it" }
            }
            @if case.next().is_some() {
                details { summary { "Close it before every step was gone through" } (closing(person, case, base)) }
            }
        }
    }
}

/// What is said of the step that is next: of that one, and in which way.
pub(super) struct Spoken {
    /// The id of the step that it is said of.
    pub(super) step: String,
    /// `done`, `skip`, `reopen`, or nothing for finding out.
    pub(super) said: String,
    /// What there is to say of it.
    pub(super) note: String,
}

/// Goes on with an incident until a person is needed.
pub(super) async fn go_on(
    app: &Arc<AppState>,
    (id, who): (&str, &Actor),
    spoken: Spoken,
) -> Result<(), AppError> {
    let CaseOfTarget { mut case, target } = app_plans::get_case(app, id).await?;
    case.is_unclosed()?;
    if ["skip", "reopen"].contains(&spoken.said.as_str()) && spoken.note.is_empty() {
        return Err(AppError::Invalid("Say why: others will ask.".into()));
    }
    if spoken.said == "reopen" {
        let ops = TargetOps::new(app, target, who);
        let reopened = ops.with_target_and_publish(async move |ops| {
            case.reopen_step(ops.context(), (&spoken.step, &spoken.note))
        });
        return reopened.await;
    }
    // What was said of a step is not said of another one, where somebody else was faster.
    if case.next().is_none_or(|step| step.id != spoken.step) {
        return Err(AppError::Conflict("Somebody else has gone on meanwhile.".into()));
    }
    let ops = TargetOps::new(app, target, who);
    let gone_on = ops.with_target_and_publish(async move |ops| {
        let said = match spoken.said.as_str() {
            "done" => Said::Done(&spoken.note),
            "skip" => Said::Skip(&spoken.note),
            _ => Said::Nothing,
        };
        case.go_on(ops.context(), said).await
    });
    gone_on.await.map(drop)
}

pub(super) async fn next(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    LoggedIn(person): LoggedIn,
    fields: CsrfForm,
) -> Result<Redirect, WebError> {
    let note = fields.capped("note", TEXT_LENGTH);
    let (step, said) = (fields.text("step").to_owned(), fields.text("said").to_owned());
    go_on(&app, (&id, &person.actor()), Spoken { step, said, note }).await?;
    Ok(to(&id))
}

/// Makes a plan to end sessions in the course of an incident.
pub(super) async fn plan(
    app: &Arc<AppState>,
    (id, who): (&str, &Actor),
    selection: Selection,
) -> Result<Plan, AppError> {
    let CaseOfTarget { case, target } = app_plans::get_case(app, id).await?;
    case.is_unclosed()?;
    app_plans::make_plan(TargetOps::new(app, target, who), selection).await
}

pub(super) async fn contain(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    LoggedIn(person): LoggedIn,
    fields: CsrfForm,
) -> Result<Redirect, WebError> {
    let users: Vec<String> = fields.text("users").split_whitespace().map(str::to_owned).collect();
    let whose = Contained::from_str(fields.text("whose"), false).ok();
    let selection = whose.and_then(|whose| whose.selection(&users));
    let selection = selection.ok_or_else(|| AppError::Invalid("Say whose sessions are ended.".into()))?;
    let plan = plan(&app, (&id, &person.actor()), selection).await?;
    Ok(Redirect::to(&format!("/plans/{}?incident={}", plan.kept.id, layout::part(&id))))
}

pub(super) async fn evidence(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    LoggedIn(person): LoggedIn,
    _fields: CsrfForm,
) -> Result<Response, WebError> {
    // A person reads what is missing on the page, and in the name of the file.
    let (name, sealed) = sealed(&app, (&id, &person.actor()), true).await?;
    let kept = format!("attachment; filename=\"{name}\"");
    let kind = "application/octet-stream".to_owned();
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, kept)], sealed).into_response())
}

/// The evidence, sealed, and the name of a file for it; noted on the timeline. Incomplete evidence is given out only if
/// that is wanted (`partial`).
pub(super) async fn sealed(
    app: &Arc<AppState>,
    (id, who): (&str, &Actor),
    partial: bool,
) -> Result<(String, Vec<u8>), AppError> {
    let CaseOfTarget { mut case, target } = app_plans::get_case(app, id).await?;
    case.is_unclosed()?;
    let ops = TargetOps::new(app, target, who);
    let made = ops.with_target_and_publish(async move |ops| {
        let (context, (recipient, _)) = (ops.context(), keys::recipient(&ops.config)?);
        let packed = case.evidence(context).await?;
        if let (Some(why), false) = (packed.missing(), partial) {
            let found = format!("the evidence would be incomplete: {why}");
            if case.next().and_then(|step| case.found(step)) != Some(found.as_str()) {
                case.add(context, ("found", "evidence"), (&found, &json!({})))?;
            }
            return Err(ActError::Incomplete(why));
        }
        let sealed = recipient.seal(&packed.bytes)?;
        let name = case.evidence_name(context.clock.now(), &packed);
        let said = format!("{name} was downloaded, sealed to {recipient}");
        case.froze(context, (&said, &name), &packed)?;
        Ok((name, sealed))
    });
    made.await
}

/// Keeps a part of the report.
pub(super) async fn keep(
    app: &Arc<AppState>,
    (id, who): (&str, &Actor),
    (name, text): (String, String),
) -> Result<(), AppError> {
    let CaseOfTarget { case, target } = app_plans::get_case(app, id).await?;
    case.is_unclosed()?;
    let ops = TargetOps::new(app, target, who);
    ops.with_store(move |ops| Ok(case.set(ops.context(), (&name, &text))?)).await
}

pub(super) async fn set(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    LoggedIn(person): LoggedIn,
    fields: CsrfForm,
) -> Result<Redirect, WebError> {
    let name = fields.text("name").to_owned();
    if !work::FIELDS.contains(&name.as_str()) {
        return Err(AppError::Invalid("The report has no such part.".into()).into());
    }
    let text = fields.required("text", TEXT_LENGTH, "Say what the report is to say.")?;
    keep(&app, (&id, &person.actor()), (name, text)).await?;
    Ok(to(&id))
}

/// Closes an incident, for a reason where something speaks against it.
pub(super) async fn end(
    app: &Arc<AppState>,
    (id, who): (&str, &Actor),
    reason: Option<String>,
) -> Result<(), AppError> {
    let CaseOfTarget { case, target } = app_plans::get_case(app, id).await?;
    let ops = TargetOps::new(app, target, who);
    ops.with_store(move |ops| case.close(ops.context(), reason.as_deref())).await
}

pub(super) async fn close(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    LoggedIn(person): LoggedIn,
    fields: CsrfForm,
) -> Result<Redirect, WebError> {
    let reason = fields.capped("reason", TEXT_LENGTH);
    end(&app, (&id, &person.actor()), Some(reason)).await?;
    Ok(to(&id))
}

/// Puts a note on the timeline.
pub(super) async fn add(
    app: &Arc<AppState>,
    (id, who): (&str, &Actor),
    said: String,
) -> Result<(), AppError> {
    let CaseOfTarget { mut case, target } = app_plans::get_case(app, id).await?;
    let ops = TargetOps::new(app, target, who);
    ops.with_store(move |ops| Ok(case.add(ops.context(), ("note", ""), (&said, &json!({})))?)).await
}

pub(super) async fn note(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    LoggedIn(person): LoggedIn,
    fields: CsrfForm,
) -> Result<Redirect, WebError> {
    let said = fields.required("note", TEXT_LENGTH, "A note says something.")?;
    add(&app, (&id, &person.actor()), said).await?;
    Ok(to(&id))
}

pub(super) async fn report(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
) -> Result<Response, WebError> {
    let CaseOfTarget { case, .. } = app_plans::get_case(&app, &id).await?;
    let text = paper::markdown(&case.incident, &case.timeline)?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}
