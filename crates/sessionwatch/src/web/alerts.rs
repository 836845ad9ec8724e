//! Alerts: what fires, what people say about it, and what happened.

use std::sync::Arc;

use axum::{
    extract::{Query, State},
    response::Redirect,
};
use maud::{Markup, html};
use serde::Deserialize;
use sessionwatch_rules::{
    alert::State as Alerting,
    instant::{DAY, SECOND},
};

use super::{
    Page, Refusal,
    access::{Fields, Person},
    layout, overview, read, write,
};
use crate::{
    alerting::{self, Word},
    clock,
    daemon::Shared,
    store::{
        alerts,
        events::{self, Search},
        silences::{self, Silence},
    },
};

/// Events on a page.
const SHOWN: u32 = 200;

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    text: String,
    days: Option<i64>,
}

pub(super) async fn page(
    State(shared): State<Arc<Shared>>,
    Query(wanted): Query<Wanted>,
    person: Person,
) -> Page {
    let now = shared.clock.now();
    let days = wanted.days.unwrap_or(7).clamp(1, 400);
    let text = Some(wanted.text.clone()).filter(|text| !text.is_empty());
    let (all, silences, events) = read(&shared, move |db| {
        let search = Search {
            from: now.plus(-days * DAY),
            to: now.plus(1),
            target: None,
            check: None,
            text: text.clone(),
            alerts_only: true,
            limit: SHOWN,
        };
        Ok((alerts::list(db, false)?, silences::list(db, now)?, events::search(db, &search)?))
    })
    .await?;
    let firing: Vec<_> = all.iter().filter(|kept| !matches!(kept.alert.state, Alerting::Ok)).collect();
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

fn quiet(person: &Person, silences: &[Silence]) -> Markup {
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
fn back(fields: &Fields) -> Redirect {
    let back = fields.text("back");
    Redirect::to(if back.starts_with("/targets/") { back } else { "/alerts" })
}

const GONE: &str = "That alert does not fire any more: somebody else may have resolved it.";

pub(super) async fn acknowledge(
    State(shared): State<Arc<Shared>>,
    person: Person,
    fields: Fields,
) -> Result<Redirect, Refusal> {
    let now = shared.clock.now();
    let (target, check, note) = (owned(&fields, "target"), owned(&fields, "check"), owned(&fields, "note"));
    let done = write(&shared, move |db| {
        alerting::acknowledge(db, (&target, &check), Word { who: &person.name, note: &note, now })
    });
    if done.await? { Ok(back(&fields)) } else { Err(Refusal::Bad(GONE.into())) }
}

pub(super) async fn resolve(
    State(shared): State<Arc<Shared>>,
    person: Person,
    fields: Fields,
) -> Result<Redirect, Refusal> {
    let (now, config) = (shared.clock.now(), shared.config());
    let (target, check, note) = (owned(&fields, "target"), owned(&fields, "check"), owned(&fields, "note"));
    let done = write(&shared, move |db| {
        let word = Word { who: &person.name, note: &note, now };
        alerting::resolve(db, &config.serve, (&target, &check), word)
    });
    if done.await? { Ok(back(&fields)) } else { Err(Refusal::Bad(GONE.into())) }
}

pub(super) async fn silence(
    State(shared): State<Arc<Shared>>,
    person: Person,
    fields: Fields,
) -> Result<Redirect, Refusal> {
    let now = shared.clock.now();
    let minutes: i64 = fields
        .text("minutes")
        .parse()
        .ok()
        .filter(|minutes| (1..=525_600).contains(minutes))
        .ok_or_else(|| Refusal::Bad("A silence lasts from a minute to a year.".into()))?;
    let some = |name: &str| Some(owned(&fields, name)).filter(|text| !text.is_empty());
    let note = some("note").ok_or_else(|| Refusal::Bad("Say why: others will ask.".into()))?;
    let silence = Silence {
        id: 0,
        target: some("target"),
        check: some("check"),
        subject: some("subject"),
        until: now.plus(minutes * 60 * SECOND),
        owner: person.name,
        note,
    };
    if let Some(name) = &silence.target {
        super::target_of(&shared, name)?;
    }
    write(&shared, move |db| alerting::silence(db, &silence, now)).await?;
    Ok(back(&fields))
}

pub(super) async fn unsilence(
    State(shared): State<Arc<Shared>>,
    person: Person,
    fields: Fields,
) -> Result<Redirect, Refusal> {
    let now = shared.clock.now();
    let id: i64 =
        fields.text("silence").parse().map_err(|_| Refusal::Bad("There is no such silence.".into()))?;
    let ended = write(&shared, move |db| alerting::unsilence(db, id, (&person.name, now))).await?;
    if ended { Ok(back(&fields)) } else { Err(Refusal::Bad("That silence has ended already.".into())) }
}

fn owned(fields: &Fields, name: &str) -> String {
    fields.text(name).chars().take(500).collect()
}
