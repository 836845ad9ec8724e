//! Alerts: what fires, what people say about it, and what happened.

use std::sync::Arc;

use axum::{
    extract::{Query, State},
    response::Redirect,
};
use maud::{Markup, html};
use serde::Deserialize;
use sessionwatch_core::{
    alert::State as Alerting,
    instant::{DAY, SECOND},
};

use super::{
    PageResult, WebError,
    auth::LoggedIn,
    csrf::{CsrfForm, FormFields},
    layout, login, overview,
};
use crate::{
    app::{
        AppError, AppState,
        alerts::{self as app_alerts, Word},
        login_sessions::CurrentUser,
    },
    clock,
    store::{
        alerts,
        db::Db,
        events::{self, Search},
        silences::{self, Silence},
    },
};

/// Events on a page.
const SHOWN: u32 = 200;
/// The longest silence, in minutes.
pub(super) const LONGEST: i64 = 366 * 24 * 60;

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    text: String,
    days: Option<i64>,
}

pub(super) async fn page(
    State(app): State<Arc<AppState>>,
    Query(wanted): Query<Wanted>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let now = app.clock.now();
    let days = wanted.days.unwrap_or(7).clamp(1, 400);
    let text = Some(wanted.text.clone()).filter(|text| !text.is_empty());
    let (all, silences, events) = app
        .read(move |db| {
            let search = Search {
                from: now.plus(-days * DAY),
                to: now.plus(1),
                target: None,
                check: None,
                text: text.clone(),
                alerts_only: true,
                before: None,
                limit: SHOWN,
            };
            Ok((alerts::list(db, false)?, silences::list(db, now)?, events::search(db, &search)?))
        })
        .await?;
    let mut firing: Vec<_> = all.iter().filter(|kept| !matches!(kept.alert.state, Alerting::Ok)).collect();
    firing.sort_by_key(|kept| std::cmp::Reverse(overview::rank(&kept.severity)));
    let body = html! {
        @if firing.is_empty() { p.empty { "Nothing fires. What does is listed here, the worst first." } }
        @else { ul.list { @for kept in &firing { li { (layout::mark(kept.alert.state.name())) " " (overview::alert_line(kept, now)) } } } }
        (quiet(&person, &silences))
        section aria-labelledby="history" {
            h2 id="history" { "What was told" }
            form.filter method="get" action="/alerts" {
                label { "Words" input name="text" value=(wanted.text) maxlength="200"; }
                label { "Days back" input name="days" type="number" min="1" max="400" value=(days); }
                button { "Search" }
            }
            @if events.is_empty() { p.empty { "Nothing was told in that time." } }
            @else {
                div.wide tabindex="0" role="group" aria-label="Table" { table {
                    thead { tr { th scope="col" { "when" } th scope="col" { "what" } th scope="col" { "check" } th scope="col" { "target" } th scope="col" { "in words" } } }
                    tbody { @for event in events.iter().rev() { tr {
                        td { (layout::when(event.at, now)) } td { (event.kind) }
                        td { a href={ "/targets/" (layout::part(&event.target)) "/checks/" (layout::part(&event.check)) } { (event.check) } }
                        td { (layout::said(&event.target)) } td { (layout::said(&event.summary)) }
                    } } }
                } }
            }
        }
    };
    Ok(layout::page(&person, ("Alerts", "/alerts"), wanted.text.is_empty(), &body))
}

fn quiet(person: &CurrentUser, silences: &[Silence]) -> Markup {
    let may = person.role >= crate::store::accounts::Role::Responder;
    html! {
        @if !silences.is_empty() {
            section aria-labelledby="quiet" {
                h2 id="quiet" { "Kept quiet" }
                ul.list { @for silence in silences { li {
                    (layout::mark("silenced")) " "
                    (layout::said(silence.check.as_deref().unwrap_or("every check"))) " on " (layout::said(silence.target.as_deref().unwrap_or("every target")))
                    @if let Some(subject) = &silence.subject { " about " (layout::said(subject)) }
                    " until " (clock::readable(silence.until)) ", by " (layout::said(&silence.owner)) ": " (layout::said(&silence.note))
                    @if may {
                        form.inline method="post" action="/alerts/unsilence" {
                            (layout::form_field(person)) input type="hidden" name="silence" value=(silence.id);
                            button.quiet { "End it" }
                        }
                    }
                } } }
            }
        }
    }
}

/// Back to where the form was; only to a page of ours.
fn back(fields: &FormFields) -> Redirect {
    let back = fields.text("back");
    Redirect::to(if back.starts_with("/targets/") && login::is_own_path(back) { back } else { "/alerts" })
}

const GONE: &str = "That alert does not fire any more: somebody else may have resolved it.";

/// Somebody looks after the alert of a check on a target.
pub(super) async fn take_on(
    app: &Arc<AppState>,
    (target, check): (String, String),
    (who, note): (String, String),
) -> Result<(), AppError> {
    let now = app.clock.now();
    let word = move |db: Db<'_>| {
        app_alerts::acknowledge(db, (&target, &check), Word { who: &who, note: &note, now })
    };
    if app.write(word).await? { Ok(()) } else { Err(AppError::Conflict(GONE.into())) }
}

/// Somebody says that the alert of a check on a target is over.
pub(super) async fn end(
    app: &Arc<AppState>,
    (target, check): (String, String),
    (who, note): (String, String),
) -> Result<(), AppError> {
    let (now, config) = (app.clock.now(), app.config());
    let word = move |db: Db<'_>| {
        app_alerts::resolve(db, &config.serve, (&target, &check), Word { who: &who, note: &note, now })
    };
    if app.write(word).await? { Ok(()) } else { Err(AppError::Conflict(GONE.into())) }
}

/// Somebody says something about a check on a target.
pub(super) async fn remark(
    app: &Arc<AppState>,
    (target, check): (String, String),
    (who, note): (String, String),
) -> Result<(), AppError> {
    let now = app.clock.now();
    let known =
        app.write(move |db| app_alerts::comment(db, (&target, &check), Word { who: &who, note: &note, now }));
    let unknown = || AppError::NotFound("Nothing is known of such a check on such a target.".into());
    if known.await? { Ok(()) } else { Err(unknown()) }
}

/// Somebody keeps something quiet: the number of the silence.
pub(super) async fn hush(app: &Arc<AppState>, silence: Silence) -> Result<i64, AppError> {
    let now = app.clock.now();
    if let Some(name) = &silence.target {
        app.target(name)?;
    }
    app.write(move |db| app_alerts::silence(db, &silence, now)).await
}

/// Somebody ends a silence.
pub(super) async fn unhush(app: &Arc<AppState>, id: i64, who: String) -> Result<(), AppError> {
    let now = app.clock.now();
    let ended = app.write(move |db| app_alerts::unsilence(db, id, (&who, now))).await?;
    let over = || AppError::NotFound("There is no such silence, or it has ended already.".into());
    if ended { Ok(()) } else { Err(over()) }
}

/// The check that a form is about, and what is said of it.
fn about(fields: &FormFields, person: CurrentUser) -> ((String, String), (String, String)) {
    ((owned(fields, "target"), owned(fields, "check")), (person.name, owned(fields, "note")))
}

pub(super) async fn acknowledge(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    fields: CsrfForm,
) -> Result<Redirect, WebError> {
    let (which, said) = about(&fields, person);
    take_on(&app, which, said).await?;
    Ok(back(&fields))
}

pub(super) async fn resolve(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    fields: CsrfForm,
) -> Result<Redirect, WebError> {
    let (which, said) = about(&fields, person);
    end(&app, which, said).await?;
    Ok(back(&fields))
}

pub(super) async fn comment(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    fields: CsrfForm,
) -> Result<Redirect, WebError> {
    let (which, said) = about(&fields, person);
    if said.1.is_empty() {
        return Err(AppError::Invalid("A comment says something.".into()).into());
    }
    remark(&app, which, said).await?;
    Ok(back(&fields))
}

pub(super) async fn silence(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    fields: CsrfForm,
) -> Result<Redirect, WebError> {
    let minutes = fields.text("minutes").parse().ok().filter(|minutes| (1..=LONGEST).contains(minutes));
    let minutes: i64 =
        minutes.ok_or_else(|| AppError::Invalid("A silence lasts from a minute to a year.".into()))?;
    let some = |name: &str| Some(owned(&fields, name)).filter(|text| !text.is_empty());
    let note = some("note").ok_or_else(|| AppError::Invalid("Say why: others will ask.".into()))?;
    let silence = Silence {
        id: 0,
        target: some("target"),
        check: some("check"),
        subject: some("subject"),
        until: app.clock.now().plus(minutes * 60 * SECOND),
        owner: person.name,
        note,
    };
    hush(&app, silence).await?;
    Ok(back(&fields))
}

pub(super) async fn unsilence(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    fields: CsrfForm,
) -> Result<Redirect, WebError> {
    let id = fields.text("silence").parse();
    let id = id.map_err(|_| AppError::Invalid("There is no such silence.".into()))?;
    unhush(&app, id, person.name).await?;
    Ok(back(&fields))
}

fn owned(fields: &FormFields, name: &str) -> String {
    fields.text(name).chars().take(500).collect()
}
