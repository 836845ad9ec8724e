//! Incidents: the procedure, step by step.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use sessionwatch_app::{
    api_types::{Entry, Incident, Plan},
    app::{
        AppState, TargetOps,
        incidents::{
            self, Advanced, Case, CaseOps, Completeness, Contained, SealedEvidence, StepResponse, StepUpdate,
            recorded,
        },
        plans::Selection,
    },
};
use sessionwatch_core::incident::{self as rules, IncidentSeverity};
use utoipa::{IntoParams, ToSchema};

use super::{
    Answer, Caller,
    given::{Asked, Body, In, Page, Text},
    problem::Problem,
};

/// The most users whose sessions one plan ends.
const NAMED: usize = 100;

/// An incident.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfIncident {
    /// Its id
    #[param(inline)]
    id: Text<100>,
}

/// Every incident, the latest first
#[utoipa::path(get, path = "/api/v1/incidents", tag = "incidents", responses((status = 200, description = "The incidents", body = Page<Incident>)))]
pub(super) async fn list(State(app): State<Arc<AppState>>, _caller: Caller) -> Answer<Page<Incident>> {
    let all = incidents::list_incidents(&app).await?;
    Ok(Json(Page::all(all.iter().map(Incident::of).collect())))
}

/// How bad an incident is.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
pub(super) enum Severity {
    /// Active leakage is confirmed.
    P0,
    /// Shared tokens, or a possible leak.
    P1,
    /// Orphans or alerts.
    P2,
    /// Routine.
    P3,
}

/// An incident to open.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewIncident {
    target: Text<200>,
    severity: Severity,
    /// What happened.
    summary: Text<500>,
}

/// Open an incident; a target has one at a time
#[utoipa::path(post, path = "/api/v1/incidents", tag = "incidents", request_body = NewIncident, responses((status = 201, description = "It is open", body = Incident)))]
pub(super) async fn open(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    Body(new): Body<NewIncident>,
) -> Result<(StatusCode, Json<Incident>), Problem> {
    let grade = match new.severity {
        Severity::P0 => IncidentSeverity::P0,
        Severity::P1 => IncidentSeverity::P1,
        Severity::P2 => IncidentSeverity::P2,
        Severity::P3 => IncidentSeverity::P3,
    };
    let ops = TargetOps::new(&app, app.target(&new.target)?, &caller.actor());
    let new = incidents::NewIncident { severity: grade, summary: new.summary.to_string() };
    let opened = incidents::open_incident(ops, new).await?;
    Ok((StatusCode::CREATED, Json(Incident::of(&opened.incident))))
}

/// A step of the procedure.
#[derive(Serialize, ToSchema)]
pub(super) struct Step {
    id: &'static str,
    title: &'static str,
    /// What a person does for it.
    todo: &'static str,
    /// Whether it is found out whether it is done.
    found_out: bool,
    /// What was found out last.
    found: Option<String>,
}

/// An incident, and how far it is.
#[derive(Serialize, ToSchema)]
pub(super) struct IncidentCourse {
    #[serde(flatten)]
    incident: Incident,
    /// The step that is next; nothing once every step was gone through.
    next: Option<Step>,
    /// What speaks against closing it.
    open_points: Vec<String>,
    timeline: Vec<Entry>,
}

impl IncidentCourse {
    fn of(case: &Case) -> Self {
        let step = |step: &'static rules::Step| Step {
            id: step.id,
            title: step.title,
            todo: step.todo,
            found_out: step.found_out,
            found: case.found(step).map(str::to_owned),
        };
        let recorded = recorded(&case.timeline);
        Self {
            incident: Incident::of(&case.incident),
            next: case.next().map(step),
            open_points: rules::open_points(case.incident.grade, &recorded),
            timeline: case.timeline.iter().map(Entry::of).collect(),
        }
    }
}

/// An incident, how far it is, and its timeline
#[utoipa::path(get, path = "/api/v1/incidents/{id}", tag = "incidents", params(OfIncident), responses((status = 200, description = "The incident", body = IncidentCourse)))]
pub(super) async fn incident(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    In(of): In<OfIncident>,
) -> Answer<IncidentCourse> {
    let CaseOps { case, .. } = incidents::get_case(&app, &caller.actor(), &of.id).await?;
    Ok(Json(IncidentCourse::of(&case)))
}

/// The report of an incident, in Markdown
#[utoipa::path(get, path = "/api/v1/incidents/{id}/report", tag = "incidents", params(OfIncident), responses((status = 200, description = "The report", body = String, content_type = "text/markdown")))]
pub(super) async fn report(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    In(of): In<OfIncident>,
) -> Result<Response, Problem> {
    let CaseOps { case, .. } = incidents::get_case(&app, &caller.actor(), &of.id).await?;
    let text = incidents::report_markdown(&case)?;
    Ok(([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], text).into_response())
}

/// What is said of the step that is next, named so that where somebody else was faster, nothing is said of another one.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "said", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Onward {
    /// Nothing: it is found out whether it is done.
    Nothing { step: Text<100> },
    /// It is done.
    Done {
        step: Text<100>,
        /// What there is to say of it.
        note: Option<Text<2_000>>,
    },
    /// It is passed over.
    Skip {
        step: Text<100>,
        /// Why.
        note: Text<2_000>,
    },
    /// It was marked as done, or passed over, by mistake.
    Reopen {
        step: Text<100>,
        /// Why.
        note: Text<2_000>,
    },
}

/// Go on with an incident, until a person is needed
#[utoipa::path(post, path = "/api/v1/incidents/{id}/next", tag = "incidents", params(OfIncident), request_body = Onward, responses((status = 200, description = "How far it is", body = IncidentCourse)))]
pub(super) async fn next(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    In(of): In<OfIncident>,
    Body(onward): Body<Onward>,
) -> Answer<IncidentCourse> {
    let work = incidents::get_case(&app, &caller.actor(), &of.id).await?;
    let (step, response) = match onward {
        Onward::Nothing { step } => (step, StepResponse::FindOut),
        Onward::Done { step, note } => {
            (step, StepResponse::Done(note.map(|note| note.to_string()).unwrap_or_default()))
        }
        Onward::Skip { step, note } => (step, StepResponse::Skip(note.to_string())),
        Onward::Reopen { step, note } => {
            let case = incidents::reopen_step(work, step.to_string(), note.to_string()).await?;
            return Ok(Json(IncidentCourse::of(&case)));
        }
    };
    let update = StepUpdate { step: Some(step.to_string()), response };
    let Advanced { case, .. } = incidents::advance(work, update).await?;
    Ok(Json(IncidentCourse::of(&case)))
}

/// Whose sessions are ended.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "whose", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Whose {
    /// Everybody's.
    Everybody {},
    /// Of the users with these ids.
    Users {
        #[schema(min_items = 1, max_items = 100)]
        users: Vec<Text<200>>,
    },
    /// On shared tokens.
    Duplicates {},
    /// Of users who do not exist.
    Orphans {},
}

/// Make a plan that ends sessions in the course of an incident; `/plans/{id}/apply` carries it out
#[utoipa::path(post, path = "/api/v1/incidents/{id}/contain", tag = "incidents", params(OfIncident), request_body = Whose, responses((status = 201, description = "The plan", body = Plan)))]
pub(super) async fn contain(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    In(of): In<OfIncident>,
    Body(whose): Body<Whose>,
) -> Result<(StatusCode, Json<Plan>), Problem> {
    let (whose, users) = match whose {
        Whose::Everybody {} => (Contained::Everybody, vec![]),
        Whose::Users { users } => (Contained::Users, users),
        Whose::Duplicates {} => (Contained::Duplicates, vec![]),
        Whose::Orphans {} => (Contained::Orphans, vec![]),
    };
    if users.len() > NAMED {
        return Err(Problem::bad(format!("a plan names at most {NAMED} users here")));
    }
    let users: Vec<String> = users.iter().map(|user| user.to_string()).collect();
    let selection: Option<Selection> = whose.selection(&users);
    let selection = selection.ok_or_else(|| Problem::bad("name at least one user"))?;
    let work = incidents::get_case(&app, &caller.actor(), &of.id).await?;
    let plan = incidents::plan_containment(work, selection).await?;
    Ok((StatusCode::CREATED, Json(Plan::of(&app.config(), &plan)?)))
}

/// Which evidence is wanted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WantedEvidence {
    /// Also evidence of which something could not be read; otherwise that is an error
    #[serde(default)]
    incomplete: bool,
}

/// Download the evidence, sealed to the recipient of the archive
#[utoipa::path(post, path = "/api/v1/incidents/{id}/evidence", tag = "incidents", params(OfIncident, WantedEvidence), responses((status = 200, description = "A tar file in the age format", body = Vec<u8>, content_type = "application/octet-stream")))]
pub(super) async fn evidence(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    In(of): In<OfIncident>,
    Asked(wanted): Asked<WantedEvidence>,
) -> Result<Response, Problem> {
    let completeness = if wanted.incomplete { Completeness::Optional } else { Completeness::Required };
    let work = incidents::get_case(&app, &caller.actor(), &of.id).await?;
    let SealedEvidence { name, bytes } = incidents::export_evidence(work, completeness).await?;
    let kept = format!("attachment; filename=\"{name}\"");
    let kind = "application/octet-stream".to_owned();
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, kept)], bytes).into_response())
}

/// A part of the report.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    name: PartName,
    text: Text<2_000>,
}

/// Which part of the report.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PartName {
    Summary,
    RootCause,
    DataLeaked,
    Prevention,
    Lessons,
}

impl PartName {
    fn name(self) -> &'static str {
        match self {
            Self::Summary => "summary",
            Self::RootCause => "root-cause",
            Self::DataLeaked => "data-leaked",
            Self::Prevention => "prevention",
            Self::Lessons => "lessons",
        }
    }
}

/// Keep a part of the report
#[utoipa::path(post, path = "/api/v1/incidents/{id}/set", tag = "incidents", params(OfIncident), request_body = Part, responses((status = 204, description = "It is kept")))]
pub(super) async fn set(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    In(of): In<OfIncident>,
    Body(part): Body<Part>,
) -> Result<StatusCode, Problem> {
    let (name, text) = (part.name.name().to_owned(), part.text.to_string());
    let work = incidents::get_case(&app, &caller.actor(), &of.id).await?;
    incidents::set_report_field(work, name, text).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A note.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    note: Text<2_000>,
}

/// Put a note on the timeline
#[utoipa::path(post, path = "/api/v1/incidents/{id}/notes", tag = "incidents", params(OfIncident), request_body = Note, responses((status = 204, description = "It is noted")))]
pub(super) async fn note(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    In(of): In<OfIncident>,
    Body(note): Body<Note>,
) -> Result<StatusCode, Problem> {
    let work = incidents::get_case(&app, &caller.actor(), &of.id).await?;
    incidents::add_note(work, note.note.to_string()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Why an incident is closed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reason {
    /// Needed where something speaks against closing it.
    reason: Option<Text<2_000>>,
}

/// Close an incident
#[utoipa::path(post, path = "/api/v1/incidents/{id}/close", tag = "incidents", params(OfIncident), request_body = Reason, responses((status = 204, description = "It is closed")))]
pub(super) async fn close(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    In(of): In<OfIncident>,
    Body(why): Body<Reason>,
) -> Result<StatusCode, Problem> {
    let reason = why.reason.map(|reason| reason.to_string());
    let work = incidents::get_case(&app, &caller.actor(), &of.id).await?;
    incidents::close_incident(work, reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_report_are_those_of_every_other_way_to_it() {
        let names = ["summary", "root-cause", "data-leaked", "prevention", "lessons"];
        assert_eq!(incidents::REPORT_FIELDS, names);
        for name in names {
            let part: PartName = serde_json::from_value(name.into()).unwrap();
            assert_eq!(part.name(), name);
        }
    }
}
