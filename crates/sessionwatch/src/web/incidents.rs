//! Incidents: the steps, the timeline, the report.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
};
use maud::html;
use sessionwatch_rules::incident::{self as rules, Step};

use super::{
    Page, Refusal,
    access::{Fields, Person},
    layout, read, write,
};
use crate::{
    clock,
    daemon::Shared,
    incident::report as paper,
    store::incidents::{self, Entry, Incident},
};

pub(super) async fn list(State(shared): State<Arc<Shared>>, person: Person) -> Page {
    let now = shared.clock.now();
    let all = read(&shared, incidents::list).await?;
    let body = html! {
        @if all.is_empty() {
            p.empty {
                "There was no emergency. " code { "sessionwatch incident open --severity P0 --summary \"…\"" }
                " opens one, and leads through it; " code { "sessionwatch incident drill --demo" } " rehearses it."
            }
        } @else {
            div.wide tabindex="0" role="group" aria-label="Table" { table {
                thead { tr { th scope="col" { "incident" } th scope="col" { "target" } th scope="col" { "severity" } th scope="col" { "state" } th scope="col" { "opened" } } }
                tbody { @for incident in all.iter().rev() { tr {
                    td { a href={ "/incidents/" (layout::part(&incident.id)) } { (incident.id) } }
                    td { (layout::said(&incident.target)) } td { (incident.grade.name()) } td { (incident.state.name()) }
                    td { (layout::when(incident.opened_at, now)) }
                } } }
            } }
        }
    };
    Ok(layout::page(&person, ("Incidents", "/incidents"), true, &body))
}

async fn found(shared: &Arc<Shared>, id: &str) -> Result<(Incident, Vec<Entry>), Refusal> {
    let wanted = id.to_owned();
    let found = read(shared, move |db| {
        let incident = incidents::list(db)?.into_iter().find(|incident| incident.id == wanted);
        let timeline = incidents::timeline(db, &wanted)?;
        Ok(incident.map(|incident| (incident, timeline)))
    });
    found.await?.ok_or_else(|| Refusal::NotFound(format!("There is no incident “{}”.", layout::said(id))))
}

pub(super) async fn page(State(shared): State<Arc<Shared>>, Path(id): Path<String>, person: Person) -> Page {
    let now = shared.clock.now();
    let (incident, timeline) = found(&shared, &id).await?;
    let recorded = incidents::recorded(&timeline);
    let next: Option<&Step> = rules::next(incident.grade, &recorded);
    let base = format!("/incidents/{}", layout::part(&incident.id));
    let body = html! {
        p { (incident.grade.name()) " on " a href={ "/targets/" (layout::part(&incident.target)) } { (layout::said(&incident.target)) } ", " (incident.state.name())
            ", opened " (layout::when(incident.opened_at, now)) " by " (layout::said(&incident.opened_by)) }
        p.links { a href={ (base) "/report" } { "Report" } }
        section aria-labelledby="steps" {
            h2 id="steps" { "Steps" }
            ol.steps {
                @for step in &rules::STEPS {
                    @let done = timeline.iter().rev().find(|entry| entry.step == step.id && matches!(entry.kind.as_str(), "done" | "skipped"));
                    li class=[next.is_some_and(|next| next.id == step.id).then_some("next")] aria-current=[next.is_some_and(|next| next.id == step.id).then_some("step")] {
                        (layout::mark(if done.is_some() { "healthy" } else if next.is_some_and(|next| next.id == step.id) { "pending" } else { "unknown" }))
                        " " strong { (step.title) }
                        @if let Some(done) = done { span.dim { ": " (layout::said(&done.said)) ", " (layout::said(&done.actor)) " " (layout::when(done.at, now)) } }
                    }
                }
            }
            p.dim { "Each step is found out and carried out by " code { "sessionwatch incident next " (incident.target) } "." }
        }
        @if person.role >= crate::store::accounts::Role::Responder {
            form.filter method="post" action={ (base) "/note" } {
                (layout::form_field(&person))
                label { "A note for the timeline" input name="note" required maxlength="500"; }
                button { "Add" }
            }
        }
        section aria-labelledby="timeline" {
            h2 id="timeline" { "Timeline" }
            ul.list { @for entry in &timeline { li { (clock::readable(entry.at)) " " span.tag { (entry.kind) } " " (layout::said(&entry.actor)) ": " (layout::said(&entry.said)) } } }
        }
    };
    Ok(layout::page(&person, (&incident.id, "/incidents"), true, &body))
}

pub(super) async fn note(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    person: Person,
    fields: Fields,
) -> Result<Redirect, Refusal> {
    let (incident, _) = found(&shared, &id).await?;
    let said: String = fields.text("note").chars().take(500).collect();
    if said.is_empty() {
        return Err(Refusal::Bad("A note says something.".into()));
    }
    let entry = Entry {
        at: shared.clock.now(),
        actor: person.name,
        kind: "note".into(),
        step: String::new(),
        said,
        detail: "{}".into(),
    };
    let of = incident.id.clone();
    write(&shared, move |db| incidents::add(db, &of, &entry)).await?;
    Ok(Redirect::to(&format!("/incidents/{}", layout::part(&incident.id))))
}

pub(super) async fn report(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let (incident, timeline) = found(&shared, &id).await?;
    let text = paper::markdown(&incident, &timeline);
    Ok(([(axum::http::header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}
