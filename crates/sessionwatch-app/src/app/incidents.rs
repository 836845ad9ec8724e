//! Incidents: open, advance step by step, collect evidence, report and close.

use std::sync::Arc;

use sessionwatch_core::incident::IncidentSeverity;
use sessionwatch_store::incidents;

use super::{Actor, AppError, AppState, TargetOps, plans};
use crate::{
    blocking,
    incident::{self, NewTimelineEntry, report, user_notice, workflow::StepAnswer},
    remediation::{ActionError, ActionPlan, Selection, archive_keys, leak_queries},
};

pub use crate::incident::{
    ContainmentScope, describe_time_left,
    report::describe_entry,
    workflow::{
        AdvanceResult, IncidentWorkflow, PackedEvidence, REPORT_FIELDS, StepCompletion, can_confirm_step,
    },
};
pub use sessionwatch_store::incidents::{IncidentRecord, IncidentState, TimelineEntry, collect_step_records};

/// Maximum number of users in the results of a search.
pub const USER_SEARCH_LIMIT: usize = 50;

/// Incident with its target and the actor who works on it.
#[derive(Clone, Debug)]
pub struct IncidentOps {
    /// The incident.
    pub case: IncidentWorkflow,
    /// Target and actor.
    pub ops: TargetOps,
}

/// Selects an incident of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IncidentSelector {
    /// The incident with this id.
    Id(String),
    /// The incident that is not closed.
    Open,
    /// The latest incident, closed or not.
    Latest,
}

/// Error of [`find_incident`].
#[derive(Debug, thiserror::Error)]
pub enum FindIncidentError {
    /// No incident has that id.
    #[error("Incident not found.")]
    NotFound,
    /// The target has no open incident.
    #[error("This target has no open incident.")]
    NoneOpen,
    /// The incident belongs to another target; holds its name.
    #[error("The incident belongs to the target “{0}”.")]
    OtherTarget(String),
    /// The state store is unavailable.
    #[error(transparent)]
    App(#[from] AppError),
}

/// Incident to open.
#[derive(Clone, Debug)]
pub struct NewIncident {
    /// Severity.
    pub severity: IncidentSeverity,
    /// Description of the incident.
    pub summary: String,
}

/// Newly opened incident.
#[derive(Clone, Debug)]
pub struct OpenedIncident {
    /// The incident.
    pub incident: IncidentRecord,
    /// Failing checks of critical or high severity at the time of opening.
    pub findings: Vec<String>,
    /// Notes of the check run, and advice on further measures.
    pub notes: Vec<String>,
}

/// Response to the next step of an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepUpdate {
    /// Id of the expected step; `None` for the next one, whichever that is.
    pub step: Option<String>,
    /// Response to the step.
    pub response: StepResponse,
}

/// Response to a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepResponse {
    /// No answer: detect automatically whether the step is done.
    Check,
    /// The step is done; holds a note.
    Done(String),
    /// The step is skipped; holds the reason.
    Skip(String),
}

/// Progress of an incident.
#[derive(Clone, Debug)]
pub struct AdvancedIncident {
    /// Updated incident.
    pub case: IncidentWorkflow,
    /// Completed steps, and the step that needs a user.
    pub progress: AdvanceResult,
}

/// Encrypted evidence.
#[derive(Clone, Debug)]
pub struct SealedEvidence {
    /// Suggested file name.
    pub name: String,
    /// Content of the file.
    pub bytes: Vec<u8>,
}

/// Handling of evidence with gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvidenceCompleteness {
    /// Gaps are an error.
    Required,
    /// Gaps are accepted and described in the evidence.
    Optional,
}

/// User found by a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundUser {
    /// User ID and display columns.
    pub display: Vec<String>,
    /// Number of sessions.
    pub sessions: u64,
}

/// Lists all incidents, the latest first.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn list_incidents(app: &Arc<AppState>) -> Result<Vec<IncidentRecord>, AppError> {
    app.read_store(incidents::list_incidents).await
}

/// Loads an incident of a configured target.
///
/// # Errors
///
/// If the incident does not exist, or its target is not configured.
pub async fn load_incident(app: &Arc<AppState>, actor: &Actor, id: &str) -> Result<IncidentOps, AppError> {
    let wanted = id.to_owned();
    let case = app.read_store(move |db| IncidentWorkflow::load(db, &wanted)).await?;
    let case = case.ok_or_else(|| AppError::NotFound("Incident not found.".into()))?;
    let target = app.target(&case.incident.target)?;
    Ok(IncidentOps { case, ops: TargetOps::new(app, target, actor) })
}

/// Finds an incident of a target.
///
/// # Errors
///
/// If no incident matches, or the incident belongs to another target.
pub async fn find_incident(
    ops: TargetOps,
    selector: IncidentSelector,
) -> Result<IncidentOps, FindIncidentError> {
    let (target, by_id) = (ops.target.name.clone(), matches!(selector, IncidentSelector::Id(_)));
    let found = ops.app.read_store(move |db| {
        let incident = match &selector {
            IncidentSelector::Id(id) => incidents::find_incident(db, id)?,
            IncidentSelector::Open => incidents::find_open_incident(db, &target)?,
            IncidentSelector::Latest => incidents::find_latest_incident(db, &target)?,
        };
        let Some(incident) = incident else { return Ok(None) };
        // Read in the same transaction, so that the timeline belongs to this state of the incident.
        Ok(Some(IncidentWorkflow { timeline: incidents::list_timeline(db, &incident.id)?, incident }))
    });
    match found.await? {
        None if by_id => Err(FindIncidentError::NotFound),
        None => Err(FindIncidentError::NoneOpen),
        Some(case) if case.incident.target != ops.target.name => {
            Err(FindIncidentError::OtherTarget(case.incident.target))
        }
        Some(case) => Ok(IncidentOps { case, ops }),
    }
}

/// Renders the report of an incident as Markdown.
///
/// # Errors
///
/// If the stored incident cannot be decoded.
pub fn render_report_markdown(case: &IncidentWorkflow) -> Result<String, AppError> {
    Ok(report::render_markdown(&case.incident, &case.timeline)?)
}

/// Renders the report of an incident as an HTML page.
///
/// # Errors
///
/// If the stored incident cannot be decoded.
pub fn render_report_html(case: &IncidentWorkflow) -> Result<String, AppError> {
    Ok(report::render_html(&case.incident, &case.timeline)?)
}

/// Opens an incident after a full check run.
///
/// # Errors
///
/// If the target already has an open incident, or the check run fails.
pub async fn open_incident(ops: TargetOps, new: NewIncident) -> Result<OpenedIncident, AppError> {
    let opened = ops.with_target_and_publish(async move |ops| {
        let (incident, report) =
            incident::open_incident(ops.action_context(), new.severity, &new.summary).await?;
        let findings = incident::severe_findings(&report);
        let advice = incident::forced_logout_advice(ops.action_context(), &report);
        Ok(OpenedIncident { incident, findings, notes: report.notes.into_iter().chain(advice).collect() })
    });
    opened.await
}

/// Searches users of a target by a part of their id or display columns.
///
/// # Errors
///
/// If the database query fails.
pub async fn search_users(ops: TargetOps, part: String, limit: usize) -> Result<Vec<FoundUser>, AppError> {
    let found = ops
        .with_target(async move |ops| leak_queries::search_users(ops.action_context(), &part, limit).await);
    Ok(found.await?.into_iter().map(|(shown, sessions)| FoundUser { display: shown, sessions }).collect())
}

/// Advances an incident until a step needs a user.
///
/// # Errors
///
/// If the incident is closed, another user has completed the step, or the step does not accept the response.
pub async fn advance_incident(work: IncidentOps, update: StepUpdate) -> Result<AdvancedIncident, AppError> {
    let IncidentOps { mut case, ops } = work;
    // Before any query: a closed incident must not cost a check run.
    case.require_open()?;
    let StepUpdate { step, response } = update;
    if let StepResponse::Skip(reason) = &response {
        require_reason(reason)?;
    }
    // Another user may have been faster: a response to one step must not be applied to the next.
    if step.is_some_and(|step| case.next_step().is_none_or(|next| next.id != step)) {
        return Err(AppError::Conflict("Another user has already completed this step.".into()));
    }
    let advanced = ops.with_target_and_publish(async move |ops| {
        let answer = match &response {
            StepResponse::Done(note) => StepAnswer::Done(note),
            StepResponse::Skip(reason) => StepAnswer::Skipped(reason),
            StepResponse::Check => StepAnswer::Unanswered,
        };
        let progress = case.advance(ops.action_context(), answer).await?;
        Ok(AdvancedIncident { case, progress })
    });
    advanced.await
}

/// Reopens a step that was marked as done or skipped by mistake. Returns the updated incident.
///
/// # Errors
///
/// If the incident is closed, the step is not completed, or the reason is empty.
pub async fn reopen_step(
    work: IncidentOps,
    step: String,
    reason: String,
) -> Result<IncidentWorkflow, AppError> {
    let IncidentOps { mut case, ops } = work;
    case.require_open()?;
    require_reason(&reason)?;
    let reopen = move |ops: &TargetOps| {
        case.reopen_step(ops.action_context(), &step, &reason)?;
        Ok(case)
    };
    ops.with_store(reopen).await
}

fn require_reason(reason: &str) -> Result<(), AppError> {
    incident::trim_reason(reason).map(|_| ()).ok_or_else(|| AppError::Invalid("Enter a reason.".into()))
}

/// Renders the draft of a message to the users whose sessions were revoked, from a custom or the built-in template.
///
/// # Errors
///
/// If the template is invalid, or uses an unknown variable.
pub fn render_message_draft(incident: &IncidentRecord, template: Option<&str>) -> Result<String, AppError> {
    user_notice::render_draft(incident, template.unwrap_or(user_notice::DEFAULT_MESSAGE_TEMPLATE))
        .map_err(AppError::Invalid)
}

/// Creates a plan to revoke sessions as part of an incident.
///
/// # Errors
///
/// If the incident is closed, or the plan cannot be created.
pub async fn plan_containment(work: IncidentOps, selection: Selection) -> Result<ActionPlan, AppError> {
    work.case.require_open()?;
    plans::create_plan(work.ops, selection).await
}

/// Collects the evidence of an incident. Call [`record_evidence`] once the evidence has been delivered.
///
/// # Errors
///
/// If the incident is closed, or the timeline cannot be decoded.
pub async fn pack_evidence(work: &IncidentOps) -> Result<PackedEvidence, AppError> {
    let IncidentOps { case, ops } = work.clone();
    case.require_open()?;
    ops.with_target(async move |ops| case.gather_evidence(ops.action_context()).await).await
}

/// File with delivered evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceFile {
    /// File name.
    pub name: String,
    /// Timeline entry about the delivery.
    pub note: String,
}

/// Records on the timeline of an incident to which file its evidence was written, and any gaps.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn record_evidence(
    work: IncidentOps,
    file: EvidenceFile,
    packed: PackedEvidence,
) -> Result<(), AppError> {
    let IncidentOps { mut case, ops } = work;
    let record = move |ops: &TargetOps| {
        Ok(case.record_evidence(ops.action_context(), &file.note, &file.name, &packed)?)
    };
    ops.with_store(record).await
}

/// Collects and encrypts the evidence of an incident for download, and records the export on the timeline.
///
/// # Errors
///
/// If the incident is closed, or the evidence has gaps and must be complete.
pub async fn export_evidence(
    work: IncidentOps,
    completeness: EvidenceCompleteness,
) -> Result<SealedEvidence, AppError> {
    let config = Arc::clone(&work.ops.config);
    // First the key: without one, the queries would be in vain.
    let (recipient, _) = run_blocking(move || archive_keys::load_or_create_recipient(&config))
        .await?
        .map_err(ActionError::from)?;
    let packed = pack_evidence(&work).await?;
    if let (Some(why), EvidenceCompleteness::Required) = (packed.describe_gaps(), completeness) {
        // The gaps stay on the timeline even if the user gives up here.
        record_evidence_gaps(work, &why).await?;
        return Err(ActionError::EvidenceIncomplete(why).into());
    }
    let name = work.case.evidence_file_name(work.ops.app.clock.now(), &packed);
    let note = format!("downloaded {name}, encrypted for {recipient}");
    let plain = packed.bytes.clone();
    let bytes = run_blocking(move || recipient.seal(&plain)).await?.map_err(ActionError::from)?;
    // Recorded last: an entry must not claim an export that the encryption prevented.
    record_evidence(work, EvidenceFile { name: name.clone(), note }, packed).await?;
    Ok(SealedEvidence { name, bytes })
}

async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, AppError> {
    blocking::run_catching(work).await.ok_or(AppError::Internal("encryption panicked"))
}

/// Records on the timeline of an incident why its evidence would be incomplete, unless that is already the latest
/// entry.
async fn record_evidence_gaps(work: IncidentOps, reason: &str) -> Result<(), AppError> {
    let IncidentOps { mut case, ops } = work;
    let found = format!("the evidence would be incomplete: {reason}");
    if case.next_step().and_then(|step| case.latest_finding(step)) == Some(found.as_str()) {
        return Ok(());
    }
    let record = move |ops: &TargetOps| {
        let entry = NewTimelineEntry { kind: "detected", step: "evidence", text: &found, detail: None };
        case.add_entry_if_open(ops.action_context(), entry)
    };
    ops.with_store(record).await
}

/// Sets a field of the incident report.
///
/// # Errors
///
/// If the incident is closed, or the field does not exist.
pub async fn set_report_field(work: IncidentOps, name: String, text: String) -> Result<(), AppError> {
    if !REPORT_FIELDS.contains(&name.as_str()) {
        return Err(AppError::Invalid(format!("Unknown report field “{name}”.")));
    }
    let IncidentOps { case, ops } = work;
    case.require_open()?;
    ops.with_store(move |ops| case.set_report_field(ops.action_context(), &name, &text)).await
}

/// Adds a note to the timeline, even of a closed incident.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn add_note(work: IncidentOps, note: String) -> Result<(), AppError> {
    let IncidentOps { mut case, ops } = work;
    let add = move |ops: &TargetOps| {
        let entry = NewTimelineEntry { kind: "note", step: "", text: &note, detail: None };
        Ok(case.add_entry(ops.action_context(), entry)?)
    };
    ops.with_store(add).await
}

/// Closes an incident. A reason overrides unfinished steps.
///
/// # Errors
///
/// If steps are unfinished and no reason is given, or the incident is closed already.
pub async fn close_incident(work: IncidentOps, reason: Option<String>) -> Result<(), AppError> {
    let IncidentOps { case, ops } = work;
    ops.with_store(move |ops| case.close(ops.action_context(), reason.as_deref())).await
}

#[cfg(test)]
mod tests;
