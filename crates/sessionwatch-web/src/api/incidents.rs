//! Incidents: steps, containment, evidence and report.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use sessionwatch_app::{
    api_types::{IncidentDto, PlanDto, TimelineEntryDto},
    app::{
        AppState, TargetOps,
        incidents::{
            self, AdvancedIncident, ContainmentScope, EvidenceCompleteness, IncidentOps, IncidentWorkflow,
            SealedEvidence, StepResponse, StepUpdate, collect_step_records,
        },
        plans::Selection,
    },
};
use sessionwatch_core::incident::{self as rules, IncidentSeverity};
use utoipa::{IntoParams, ToSchema};

use super::{
    ApiCaller, ApiResult,
    extractors::{BoundedText, JsonBody, ListPage, PathParams, QueryParams},
    problem::ProblemDetails,
};

/// Most users per containment plan.
const MAX_USERS_PER_PLAN: usize = 100;

/// An incident.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct IncidentPath {
    /// ID of the incident
    #[param(inline)]
    id: BoundedText<100>,
}

/// List all incidents, latest first
#[utoipa::path(
    get,
    path = "/api/v1/incidents",
    tag = "incidents",
    responses((status = 200, description = "The incidents", body = ListPage<IncidentDto>))
)]
pub(super) async fn list_incidents(
    State(app): State<Arc<AppState>>,
    _caller: ApiCaller,
) -> ApiResult<ListPage<IncidentDto>> {
    let all = incidents::list_incidents(&app).await?;
    Ok(Json(ListPage::from_all(all.iter().map(IncidentDto::from_record).collect())))
}

/// The severity of an incident.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
pub(super) enum IncidentSeverityName {
    /// Confirmed active leak.
    P0,
    /// Shared tokens or a possible leak.
    P1,
    /// Orphaned sessions or alerts.
    P2,
    /// Routine.
    P3,
}

/// An incident to open.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenIncidentRequest {
    target: BoundedText<200>,
    severity: IncidentSeverityName,
    /// A short description.
    summary: BoundedText<500>,
}

/// Open an incident (at most one per target)
#[utoipa::path(
    post,
    path = "/api/v1/incidents",
    tag = "incidents",
    request_body = OpenIncidentRequest,
    responses((status = 201, description = "The incident was opened", body = IncidentDto))
)]
pub(super) async fn open_incident(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    JsonBody(new): JsonBody<OpenIncidentRequest>,
) -> Result<(StatusCode, Json<IncidentDto>), ProblemDetails> {
    let severity = match new.severity {
        IncidentSeverityName::P0 => IncidentSeverity::P0,
        IncidentSeverityName::P1 => IncidentSeverity::P1,
        IncidentSeverityName::P2 => IncidentSeverity::P2,
        IncidentSeverityName::P3 => IncidentSeverity::P3,
    };
    let ops = TargetOps::new(&app, app.target(&new.target)?, &caller.actor());
    let new = incidents::NewIncident { severity, summary: new.summary.to_string() };
    let opened = incidents::open_incident(ops, new).await?;
    Ok((StatusCode::CREATED, Json(IncidentDto::from_record(&opened.incident))))
}

/// A step of the incident response.
#[derive(Serialize, ToSchema)]
pub(super) struct IncidentStepPath {
    id: &'static str,
    title: &'static str,
    /// The instructions.
    todo: &'static str,
    /// True if the step is detected automatically.
    automatic: bool,
    /// The latest finding.
    detected: Option<String>,
}

/// An incident and its progress.
#[derive(Serialize, ToSchema)]
pub(super) struct IncidentDetails {
    #[serde(flatten)]
    incident: IncidentDto,
    /// The next step; null once all steps are completed.
    next: Option<IncidentStepPath>,
    /// Unfinished steps, for which closing needs a reason.
    open_points: Vec<String>,
    timeline: Vec<TimelineEntryDto>,
}

impl IncidentDetails {
    fn from_case(case: &IncidentWorkflow) -> Self {
        let step = |step: &'static rules::IncidentStep| IncidentStepPath {
            id: step.id,
            title: step.title,
            todo: step.instructions,
            automatic: step.is_automatic,
            detected: case.latest_finding(step).map(str::to_owned),
        };
        let recorded = collect_step_records(&case.timeline);
        Self {
            incident: IncidentDto::from_record(&case.incident),
            next: case.next_step().map(step),
            open_points: rules::unfinished_steps(case.incident.severity, &recorded),
            timeline: case.timeline.iter().map(TimelineEntryDto::from_record).collect(),
        }
    }
}

/// Get an incident, its next step and its timeline
#[utoipa::path(
    get,
    path = "/api/v1/incidents/{id}",
    tag = "incidents",
    params(IncidentPath),
    responses((status = 200, description = "The incident", body = IncidentDetails))
)]
pub(super) async fn get_incident(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<IncidentPath>,
) -> ApiResult<IncidentDetails> {
    let IncidentOps { case, .. } = incidents::load_incident(&app, &caller.actor(), &of.id).await?;
    Ok(Json(IncidentDetails::from_case(&case)))
}

/// Get the report of an incident, in Markdown
#[utoipa::path(
    get,
    path = "/api/v1/incidents/{id}/report",
    tag = "incidents",
    params(IncidentPath),
    responses((status = 200, description = "The report", body = String, content_type = "text/markdown"))
)]
pub(super) async fn get_incident_report(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<IncidentPath>,
) -> Result<Response, ProblemDetails> {
    let IncidentOps { case, .. } = incidents::load_incident(&app, &caller.actor(), &of.id).await?;
    let text = incidents::render_report_markdown(&case)?;
    Ok(([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], text).into_response())
}

/// An update of the next step. The step is named, so that an update that comes late never applies to another step.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "response", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum AdvanceIncidentRequest {
    /// Check whether the step is done.
    Check { step: BoundedText<100> },
    /// Mark the step as done.
    Done {
        step: BoundedText<100>,
        /// A note.
        note: Option<BoundedText<2_000>>,
    },
    /// Skip the step.
    Skip {
        step: BoundedText<100>,
        /// The reason.
        note: BoundedText<2_000>,
    },
    /// Reopen a step that was marked as done or skipped by mistake.
    Reopen {
        step: BoundedText<100>,
        /// The reason.
        note: BoundedText<2_000>,
    },
}

/// Update the next step, and continue until a person is needed
#[utoipa::path(
    post,
    path = "/api/v1/incidents/{id}/steps",
    tag = "incidents",
    params(IncidentPath),
    request_body = AdvanceIncidentRequest,
    responses((status = 200, description = "The incident and its next step", body = IncidentDetails))
)]
pub(super) async fn advance_incident(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<IncidentPath>,
    JsonBody(onward): JsonBody<AdvanceIncidentRequest>,
) -> ApiResult<IncidentDetails> {
    let work = incidents::load_incident(&app, &caller.actor(), &of.id).await?;
    let (step, response) = match onward {
        AdvanceIncidentRequest::Check { step } => (step, StepResponse::Check),
        AdvanceIncidentRequest::Done { step, note } => {
            (step, StepResponse::Done(note.map(|note| note.to_string()).unwrap_or_default()))
        }
        AdvanceIncidentRequest::Skip { step, note } => (step, StepResponse::Skip(note.to_string())),
        AdvanceIncidentRequest::Reopen { step, note } => {
            let case = incidents::reopen_step(work, step.to_string(), note.to_string()).await?;
            return Ok(Json(IncidentDetails::from_case(&case)));
        }
    };
    // The step is always named here, unlike on the command line, where a person sees the current step.
    let update = StepUpdate { step: Some(step.to_string()), response };
    let AdvancedIncident { case, .. } = incidents::advance_incident(work, update).await?;
    Ok(Json(IncidentDetails::from_case(&case)))
}

/// The sessions to revoke.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "scope", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum ContainmentRequest {
    /// All sessions.
    #[serde(rename = "all")]
    Everybody {},
    /// Sessions of these users.
    Users {
        #[schema(min_items = 1, max_items = 100)]
        users: Vec<BoundedText<200>>,
    },
    /// Sessions with shared tokens.
    Duplicates {},
    /// Sessions of users who do not exist.
    #[serde(rename = "orphaned")]
    Orphans {},
}

/// Create a plan that revokes sessions in an incident; `/plans/{id}/apply` applies it
#[utoipa::path(
    post,
    path = "/api/v1/incidents/{id}/contain",
    tag = "incidents",
    params(IncidentPath),
    request_body = ContainmentRequest,
    responses((status = 201, description = "The plan", body = PlanDto))
)]
pub(super) async fn plan_containment(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<IncidentPath>,
    JsonBody(whose): JsonBody<ContainmentRequest>,
) -> Result<(StatusCode, Json<PlanDto>), ProblemDetails> {
    let (whose, users) = match whose {
        ContainmentRequest::Everybody {} => (ContainmentScope::Everybody, vec![]),
        ContainmentRequest::Users { users } => (ContainmentScope::Users, users),
        ContainmentRequest::Duplicates {} => (ContainmentScope::Duplicates, vec![]),
        ContainmentRequest::Orphans {} => (ContainmentScope::Orphans, vec![]),
    };
    if users.len() > MAX_USERS_PER_PLAN {
        return Err(ProblemDetails::bad_request(format!(
            "a containment plan can name at most {MAX_USERS_PER_PLAN} users"
        )));
    }
    let users: Vec<String> = users.iter().map(|user| user.to_string()).collect();
    let selection: Option<Selection> = whose.selection(&users);
    let selection = selection.ok_or_else(|| ProblemDetails::bad_request("at least one user is required"))?;
    let work = incidents::load_incident(&app, &caller.actor(), &of.id).await?;
    let plan = incidents::plan_containment(work, selection).await?;
    Ok((StatusCode::CREATED, Json(PlanDto::from_plan(&app.config(), &plan)?)))
}

/// Options of the evidence export.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ExportEvidenceQuery {
    /// Export incomplete evidence too, instead of failing if a part cannot be read
    #[serde(default)]
    incomplete: bool,
}

/// Export the evidence, encrypted for the archive's recipient
#[utoipa::path(
    post,
    path = "/api/v1/incidents/{id}/evidence",
    tag = "incidents",
    params(IncidentPath, ExportEvidenceQuery),
    responses(
        (
            status = 200, description = "An age-encrypted tar file",
            body = Vec<u8>, content_type = "application/octet-stream"
        )
    )
)]
pub(super) async fn export_evidence(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<IncidentPath>,
    QueryParams(wanted): QueryParams<ExportEvidenceQuery>,
) -> Result<Response, ProblemDetails> {
    // A script may not notice gaps, so it has to ask for incomplete evidence.
    let completeness =
        if wanted.incomplete { EvidenceCompleteness::Optional } else { EvidenceCompleteness::Required };
    let work = incidents::load_incident(&app, &caller.actor(), &of.id).await?;
    let SealedEvidence { name, bytes } = incidents::export_evidence(work, completeness).await?;
    let disposition = format!("attachment; filename=\"{name}\"");
    // Not a text type, so that browsers save the file instead of showing it.
    let kind = "application/octet-stream".to_owned();
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, disposition)], bytes).into_response())
}

/// A report section to set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetReportFieldRequest {
    name: ReportFieldName,
    text: BoundedText<2_000>,
}

/// A section of the report.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ReportFieldName {
    Summary,
    RootCause,
    DataLeaked,
    Prevention,
    Lessons,
}

impl ReportFieldName {
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

/// Set a section of the report
#[utoipa::path(
    post,
    path = "/api/v1/incidents/{id}/fields",
    tag = "incidents",
    params(IncidentPath),
    request_body = SetReportFieldRequest,
    responses((status = 204, description = "The section was saved"))
)]
pub(super) async fn set_report_field(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<IncidentPath>,
    JsonBody(part): JsonBody<SetReportFieldRequest>,
) -> Result<StatusCode, ProblemDetails> {
    let (name, text) = (part.name.name().to_owned(), part.text.to_string());
    let work = incidents::load_incident(&app, &caller.actor(), &of.id).await?;
    incidents::set_report_field(work, name, text).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A note.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddNoteRequest {
    note: BoundedText<2_000>,
}

/// Add a note to the timeline
#[utoipa::path(
    post,
    path = "/api/v1/incidents/{id}/notes",
    tag = "incidents",
    params(IncidentPath),
    request_body = AddNoteRequest,
    responses((status = 204, description = "The note was added"))
)]
pub(super) async fn add_note(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<IncidentPath>,
    JsonBody(note): JsonBody<AddNoteRequest>,
) -> Result<StatusCode, ProblemDetails> {
    let work = incidents::load_incident(&app, &caller.actor(), &of.id).await?;
    incidents::add_note(work, note.note.to_string()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The reason for closing an incident.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CloseIncidentRequest {
    /// Required if steps are unfinished.
    reason: Option<BoundedText<2_000>>,
}

/// Close an incident
#[utoipa::path(
    post,
    path = "/api/v1/incidents/{id}/close",
    tag = "incidents",
    params(IncidentPath),
    request_body = CloseIncidentRequest,
    responses((status = 204, description = "The incident was closed"))
)]
pub(super) async fn close_incident(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<IncidentPath>,
    JsonBody(why): JsonBody<CloseIncidentRequest>,
) -> Result<StatusCode, ProblemDetails> {
    let reason = why.reason.map(|reason| reason.to_string());
    let work = incidents::load_incident(&app, &caller.actor(), &of.id).await?;
    incidents::close_incident(work, reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests;
