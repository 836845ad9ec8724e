//! Incidents: opened, gone through step by step, and closed.

use std::sync::Arc;

use sessionwatch_core::incident::IncidentSeverity;

use super::{Actor, AppError, AppState, TargetOps, plans};
use crate::{
    actions::{ActError, Plan, Selection, affected, keys},
    config::Target,
    incident::{self, NewEntry, message, report, work::Said},
    store::incidents,
};
pub use crate::{
    incident::{
        time_used,
        work::{Case, Contained, FIELDS as REPORT_FIELDS, can_be_said},
    },
    store::incidents::{Entry as TimelineEntry, Incident, State as IncidentState, recorded},
};

/// Users that are listed when one is looked for.
const FOUND_USERS: usize = 50;

/// An incident, and the target that it is about.
#[derive(Clone, Debug)]
pub struct CaseOfTarget {
    /// The incident.
    pub case: Case,
    /// Its target.
    pub target: Target,
}

/// An incident to open.
#[derive(Clone, Debug)]
pub struct NewIncident {
    /// The target that it is about.
    pub target: String,
    /// How bad it is.
    pub severity: IncidentSeverity,
    /// What happened.
    pub summary: String,
}

/// What is said of the step that is next, named so that where somebody else was faster, nothing is said of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepUpdate {
    /// The id of the step.
    pub step: String,
    /// What is said of it.
    pub response: StepResponse,
}

/// What is said of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepResponse {
    /// Nothing: it is found out whether it is done.
    FindOut,
    /// It is done, with a note.
    Done(String),
    /// It is passed over, for a reason.
    Skip(String),
    /// It was marked as done, or passed over, by mistake, for a reason.
    Reopen(String),
}

/// Evidence that is sealed.
#[derive(Clone, Debug)]
pub struct SealedEvidence {
    /// The name of a file for it.
    pub name: String,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Whether evidence may be incomplete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// Anything that could not be read is an error.
    Required,
    /// What could not be read is named in the evidence.
    Optional,
}

/// A user who fits what is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundUser {
    /// The id, and what helps a person to recognize the user.
    pub shown: Vec<String>,
    /// How many sessions there are.
    pub sessions: u64,
}

/// Every incident, the latest first.
///
/// # Errors
///
/// If the store does not answer.
pub async fn list_incidents(app: &Arc<AppState>) -> Result<Vec<Incident>, AppError> {
    app.read(incidents::list).await
}

/// An incident and its target.
///
/// # Errors
///
/// If there is none of that id.
pub async fn get_case(app: &Arc<AppState>, id: &str) -> Result<CaseOfTarget, AppError> {
    let wanted = id.to_owned();
    let case = app.read(move |db| Case::get(db, &wanted)).await?;
    let case = case.ok_or_else(|| AppError::NotFound("There is no such incident.".into()))?;
    let target = app.target(&case.incident.target)?;
    Ok(CaseOfTarget { case, target })
}

/// The report of an incident, in Markdown.
///
/// # Errors
///
/// If there is none of that id, or what is kept of it cannot be decoded.
pub async fn get_report(app: &Arc<AppState>, id: &str) -> Result<String, AppError> {
    let CaseOfTarget { case, .. } = get_case(app, id).await?;
    Ok(report::markdown(&case.incident, &case.timeline)?)
}

/// Opens an incident: how it stands now.
///
/// # Errors
///
/// If the target has one that is open, or cannot be looked at.
pub async fn open_incident(
    app: &Arc<AppState>,
    actor: &Actor,
    new: NewIncident,
) -> Result<Incident, AppError> {
    let ops = TargetOps::new(app, app.target(&new.target)?, actor);
    let opened = ops.with_target_and_publish(async move |ops| {
        incident::open(ops.context(), new.severity, &new.summary).await
    });
    Ok(opened.await?.0)
}

/// Users of a target by a part of their id, name or handle.
///
/// # Errors
///
/// If the database cannot be asked.
pub async fn search_users(
    app: &Arc<AppState>,
    actor: &Actor,
    target: Target,
    part: String,
) -> Result<Vec<FoundUser>, AppError> {
    let ops = TargetOps::new(app, target, actor).with_short_timeout();
    let found = ops.with_target(async move |ops| affected::users(ops.context(), &part, FOUND_USERS).await);
    Ok(found.await?.into_iter().map(|(shown, sessions)| FoundUser { shown, sessions }).collect())
}

/// Goes on with an incident until a person is needed.
///
/// # Errors
///
/// If it is closed, somebody else has gone on meanwhile, or what is said cannot be said of the step.
pub async fn advance(
    app: &Arc<AppState>,
    actor: &Actor,
    id: &str,
    update: StepUpdate,
) -> Result<(), AppError> {
    let CaseOfTarget { mut case, target } = get_case(app, id).await?;
    case.is_unclosed()?;
    let StepUpdate { step, response } = update;
    if let StepResponse::Skip(reason) | StepResponse::Reopen(reason) = &response
        && reason.is_empty()
    {
        return Err(AppError::Invalid("Say why: others will ask.".into()));
    }
    let ops = TargetOps::new(app, target, actor);
    if let StepResponse::Reopen(reason) = response {
        let reopened =
            ops.with_target_and_publish(async move |ops| case.reopen_step(ops.context(), &step, &reason));
        return reopened.await;
    }
    // What was said of a step is not said of another one, where somebody else was faster.
    if case.next().is_none_or(|next| next.id != step) {
        return Err(AppError::Conflict("Somebody else has gone on meanwhile.".into()));
    }
    let gone_on = ops.with_target_and_publish(async move |ops| {
        let said = match &response {
            StepResponse::Done(note) => Said::Done(note),
            StepResponse::Skip(reason) => Said::Skip(reason),
            StepResponse::FindOut | StepResponse::Reopen(_) => Said::Nothing,
        };
        case.go_on(ops.context(), said).await
    });
    gone_on.await.map(drop)
}

/// The draft of a message to the people whose sessions were ended.
#[must_use]
pub fn message_draft(incident: &Incident) -> String {
    message::draft(incident, message::DRAFT).unwrap_or_default()
}

/// Makes a plan to end sessions in the course of an incident.
///
/// # Errors
///
/// If it is closed, or nothing can be planned.
pub async fn plan_containment(
    app: &Arc<AppState>,
    actor: &Actor,
    id: &str,
    selection: Selection,
) -> Result<Plan, AppError> {
    let CaseOfTarget { case, target } = get_case(app, id).await?;
    case.is_unclosed()?;
    plans::make_plan(TargetOps::new(app, target, actor), selection).await
}

/// Seals the evidence of an incident, and records that on its timeline.
///
/// # Errors
///
/// If the incident is closed, or the evidence is incomplete and has to be complete.
pub async fn export_evidence(
    app: &Arc<AppState>,
    actor: &Actor,
    id: &str,
    completeness: Completeness,
) -> Result<SealedEvidence, AppError> {
    let CaseOfTarget { mut case, target } = get_case(app, id).await?;
    case.is_unclosed()?;
    let ops = TargetOps::new(app, target, actor);
    let exported = ops.with_target_and_publish(async move |ops| {
        let (context, (recipient, _)) = (ops.context(), keys::recipient(&ops.config)?);
        let packed = case.evidence(context).await?;
        if let (Some(why), Completeness::Required) = (packed.missing(), completeness) {
            let found = format!("the evidence would be incomplete: {why}");
            if case.next().and_then(|step| case.found(step)) != Some(found.as_str()) {
                case.add(context, NewEntry { kind: "found", step: "evidence", said: &found, detail: None })?;
            }
            return Err(ActError::Incomplete(why));
        }
        let bytes = recipient.seal(&packed.bytes)?;
        let name = case.evidence_name(context.clock.now(), &packed);
        let said = format!("{name} was downloaded, sealed to {recipient}");
        case.froze(context, &said, &name, &packed)?;
        Ok(SealedEvidence { name, bytes })
    });
    exported.await
}

/// Keeps a part of the report.
///
/// # Errors
///
/// If the incident is closed, or the report has no such part.
pub async fn set_report_field(
    app: &Arc<AppState>,
    actor: &Actor,
    id: &str,
    name: String,
    text: String,
) -> Result<(), AppError> {
    if !REPORT_FIELDS.contains(&name.as_str()) {
        return Err(AppError::Invalid("The report has no such part.".into()));
    }
    let CaseOfTarget { case, target } = get_case(app, id).await?;
    case.is_unclosed()?;
    let ops = TargetOps::new(app, target, actor);
    ops.with_store(move |ops| Ok(case.set(ops.context(), &name, &text)?)).await
}

/// Puts a note on the timeline.
///
/// # Errors
///
/// If there is no such incident.
pub async fn add_note(app: &Arc<AppState>, actor: &Actor, id: &str, note: String) -> Result<(), AppError> {
    let CaseOfTarget { mut case, target } = get_case(app, id).await?;
    let ops = TargetOps::new(app, target, actor);
    let add = move |ops: &TargetOps| {
        let entry = NewEntry { kind: "note", step: "", said: &note, detail: None };
        Ok(case.add(ops.context(), entry)?)
    };
    ops.with_store(add).await
}

/// Closes an incident, for a reason where something speaks against it.
///
/// # Errors
///
/// If something speaks against it, and no reason is given.
pub async fn close_incident(
    app: &Arc<AppState>,
    actor: &Actor,
    id: &str,
    reason: Option<String>,
) -> Result<(), AppError> {
    let CaseOfTarget { case, target } = get_case(app, id).await?;
    let ops = TargetOps::new(app, target, actor);
    ops.with_store(move |ops| case.close(ops.context(), reason.as_deref())).await
}
