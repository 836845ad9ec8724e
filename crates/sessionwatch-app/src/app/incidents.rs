//! Incidents: opened, gone through step by step, and closed.

use std::sync::Arc;

use sessionwatch_core::incident::IncidentSeverity;
use sessionwatch_store::incidents;

use super::{Actor, AppError, AppState, TargetOps, plans};
use crate::{
    blocking,
    incident::{self, NewTimelineEntry, message, report, workflow::StepAnswer},
    remediation::{ActionError, ActionPlan, Selection, archive_keys, investigation},
};

pub use crate::incident::{
    describe_time_used,
    workflow::{
        AdvanceResult, ContainmentScope, IncidentWorkflow, PackedEvidence, REPORT_FIELDS, StepCompletion,
        can_confirm_step,
    },
};
pub use sessionwatch_store::incidents::{IncidentRecord, IncidentState, TimelineEntry, collect_step_records};

/// Users that are listed on a page when one is looked for.
pub const USER_SEARCH_LIMIT: usize = 50;

/// An incident that somebody works on.
#[derive(Clone, Debug)]
pub struct IncidentOps {
    /// The incident.
    pub case: IncidentWorkflow,
    /// Its target, and who works on it.
    pub ops: TargetOps,
}

/// Which incident of a target is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IncidentSelector {
    /// The one with this id.
    Id(String),
    /// The one that is not closed.
    Open,
    /// The last one, closed or not.
    Latest,
}

/// Why an incident of a target was not found.
#[derive(Debug, thiserror::Error)]
pub enum FindIncidentError {
    /// There is none of that id.
    #[error("There is no such incident.")]
    NotFound,
    /// None of the target's is open.
    #[error("No incident of that target is open.")]
    NoneOpen,
    /// It is about another target, whose name this is.
    #[error("The incident is about the target “{0}”.")]
    OtherTarget(String),
    /// The store does not answer.
    #[error(transparent)]
    App(#[from] AppError),
}

/// An incident to open.
#[derive(Clone, Debug)]
pub struct NewIncident {
    /// How bad it is.
    pub severity: IncidentSeverity,
    /// What happened.
    pub summary: String,
}

/// An incident that was opened.
#[derive(Clone, Debug)]
pub struct OpenedIncident {
    /// The incident.
    pub incident: IncidentRecord,
    /// What is critical or high at that moment.
    pub findings: Vec<String>,
    /// What a person should know, and what has to be done besides.
    pub notes: Vec<String>,
}

/// What is said of the step that is next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepUpdate {
    /// The id of the step, so that where somebody else was faster, nothing is said of another one; `None` for whichever is next.
    pub step: Option<String>,
    /// What is said of it.
    pub response: StepResponse,
}

/// What is said of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepResponse {
    /// Nothing: it is found out whether it is done.
    Check,
    /// It is done, with a note.
    Done(String),
    /// It is passed over, for a reason.
    Skip(String),
}

/// How far an incident came.
#[derive(Clone, Debug)]
pub struct AdvancedIncident {
    /// The incident as it is now.
    pub case: IncidentWorkflow,
    /// The steps that are behind, and the one for which a person is needed.
    pub progress: AdvanceResult,
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
pub enum EvidenceCompleteness {
    /// Anything that could not be read is an error.
    Required,
    /// What could not be read is named in the evidence.
    Optional,
}

/// A user who fits what is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundUser {
    /// The id, and what helps a person to recognize the user.
    pub display: Vec<String>,
    /// How many sessions there are.
    pub sessions: u64,
}

/// Every incident, the latest first.
///
/// # Errors
///
/// If the store does not answer.
pub async fn list_incidents(app: &Arc<AppState>) -> Result<Vec<IncidentRecord>, AppError> {
    app.read_store(incidents::list_incidents).await
}

/// An incident of a configured target, and who works on it.
///
/// # Errors
///
/// If there is none of that id.
pub async fn load_incident(app: &Arc<AppState>, actor: &Actor, id: &str) -> Result<IncidentOps, AppError> {
    let wanted = id.to_owned();
    let case = app.read_store(move |db| IncidentWorkflow::load(db, &wanted)).await?;
    let case = case.ok_or_else(|| AppError::NotFound("There is no such incident.".into()))?;
    let target = app.target(&case.incident.target)?;
    Ok(IncidentOps { case, ops: TargetOps::new(app, target, actor) })
}

/// An incident of a target.
///
/// # Errors
///
/// If there is none that is meant, or it is about another target.
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

/// The report of an incident, in Markdown.
///
/// # Errors
///
/// If what is kept of it cannot be decoded.
pub fn render_report_markdown(case: &IncidentWorkflow) -> Result<String, AppError> {
    Ok(report::render_markdown(&case.incident, &case.timeline)?)
}

/// The same as a page.
///
/// # Errors
///
/// The same.
pub fn render_report_html(case: &IncidentWorkflow) -> Result<String, AppError> {
    Ok(report::render_html(&case.incident, &case.timeline)?)
}

/// Opens an incident: how it stands now.
///
/// # Errors
///
/// If the target has one that is open, or cannot be looked at.
pub async fn open_incident(ops: TargetOps, new: NewIncident) -> Result<OpenedIncident, AppError> {
    let opened = ops.with_target_and_publish(async move |ops| {
        let (incident, report) =
            incident::open_incident(ops.action_context(), new.severity, &new.summary).await?;
        let findings = incident::severe_findings(&report);
        let besides = incident::forced_logout_advice(ops.action_context(), &report);
        Ok(OpenedIncident { incident, findings, notes: report.notes.into_iter().chain(besides).collect() })
    });
    opened.await
}

/// Users of a target by a part of their id, name or handle.
///
/// # Errors
///
/// If the database cannot be asked.
pub async fn search_users(ops: TargetOps, part: String, limit: usize) -> Result<Vec<FoundUser>, AppError> {
    let found = ops
        .with_target(async move |ops| investigation::search_users(ops.action_context(), &part, limit).await);
    Ok(found.await?.into_iter().map(|(shown, sessions)| FoundUser { display: shown, sessions }).collect())
}

/// Goes on with an incident until a person is needed.
///
/// # Errors
///
/// If it is closed, somebody else has gone on meanwhile, or what is said cannot be said of the step.
pub async fn advance_incident(work: IncidentOps, update: StepUpdate) -> Result<AdvancedIncident, AppError> {
    let IncidentOps { mut case, ops } = work;
    case.require_open()?;
    let StepUpdate { step, response } = update;
    if let StepResponse::Skip(reason) = &response {
        require_reason(reason)?;
    }
    // What was said of a step is not said of another one, where somebody else was faster.
    if step.is_some_and(|step| case.next_step().is_none_or(|next| next.id != step)) {
        return Err(AppError::Conflict("Somebody else has gone on meanwhile.".into()));
    }
    let gone_on = ops.with_target_and_publish(async move |ops| {
        let said = match &response {
            StepResponse::Done(note) => StepAnswer::Done(note),
            StepResponse::Skip(reason) => StepAnswer::Skipped(reason),
            StepResponse::Check => StepAnswer::Unanswered,
        };
        let progress = case.advance(ops.action_context(), said).await?;
        Ok(AdvancedIncident { case, progress })
    });
    gone_on.await
}

/// Reopens a step that was marked as done, or passed over, by mistake: the incident as it is now.
///
/// # Errors
///
/// If the incident is closed, the step is not behind, or no reason is given.
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
    if reason.is_empty() { Err(AppError::Invalid("Say why: others will ask.".into())) } else { Ok(()) }
}

/// The draft of a message to the people whose sessions were ended: by a template of one's own, or by the one that is built in.
///
/// # Errors
///
/// If the template is none, or uses a name that is not there.
pub fn render_message_draft(incident: &IncidentRecord, template: Option<&str>) -> Result<String, AppError> {
    message::render_draft(incident, template.unwrap_or(message::DEFAULT_MESSAGE_TEMPLATE))
        .map_err(AppError::Invalid)
}

/// Makes a plan to end sessions in the course of an incident.
///
/// # Errors
///
/// If it is closed, or nothing can be planned.
pub async fn plan_containment(work: IncidentOps, selection: Selection) -> Result<ActionPlan, AppError> {
    work.case.require_open()?;
    plans::create_plan(work.ops, selection).await
}

/// Gathers the evidence of an incident. [`record_evidence`] notes where it went.
///
/// # Errors
///
/// If the incident is closed, or the timeline cannot be decoded.
pub async fn pack_evidence(work: &IncidentOps) -> Result<PackedEvidence, AppError> {
    let IncidentOps { case, ops } = work.clone();
    case.require_open()?;
    ops.with_target(async move |ops| case.gather_evidence(ops.action_context()).await).await
}

/// Where evidence went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceFile {
    /// The file.
    pub name: String,
    /// What was done, in words for the timeline.
    pub note: String,
}

/// Notes on the timeline of an incident where its evidence went, and what is missing in it.
///
/// # Errors
///
/// If it cannot be written.
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

/// Seals the evidence of an incident for a download, and records that on its timeline.
///
/// # Errors
///
/// If the incident is closed, or the evidence is incomplete and has to be complete.
pub async fn export_evidence(
    work: IncidentOps,
    completeness: EvidenceCompleteness,
) -> Result<SealedEvidence, AppError> {
    let config = Arc::clone(&work.ops.config);
    // Before anything is asked of the database, which takes a while.
    let (recipient, _) = run_blocking(move || archive_keys::load_or_create_recipient(&config))
        .await?
        .map_err(ActionError::from)?;
    let packed = pack_evidence(&work).await?;
    if let (Some(why), EvidenceCompleteness::Required) = (packed.describe_gaps(), completeness) {
        record_evidence_gaps(work, &why).await?;
        return Err(ActionError::EvidenceIncomplete(why).into());
    }
    let name = work.case.evidence_file_name(work.ops.app.clock.now(), &packed);
    let said = format!("{name} was downloaded, sealed to {recipient}");
    let plain = packed.bytes.clone();
    let bytes = run_blocking(move || recipient.seal(&plain)).await?.map_err(ActionError::from)?;
    record_evidence(work, EvidenceFile { name: name.clone(), note: said }, packed).await?;
    Ok(SealedEvidence { name, bytes })
}

/// Does what blocks.
async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, AppError> {
    blocking::run_catching(work).await.ok_or(AppError::Internal("sealing ended in a panic"))
}

/// Notes on the timeline of an incident why its evidence would be incomplete; the same is not noted twice.
async fn record_evidence_gaps(work: IncidentOps, reason: &str) -> Result<(), AppError> {
    let IncidentOps { mut case, ops } = work;
    let found = format!("the evidence would be incomplete: {reason}");
    if case.next_step().and_then(|step| case.latest_finding(step)) == Some(found.as_str()) {
        return Ok(());
    }
    let record = move |ops: &TargetOps| {
        let entry = NewTimelineEntry { kind: "detected", step: "evidence", text: &found, detail: None };
        Ok(case.add_entry(ops.action_context(), entry)?)
    };
    ops.with_store(record).await
}

/// Keeps a part of the report.
///
/// # Errors
///
/// If the incident is closed, or the report has no such part.
pub async fn set_report_field(work: IncidentOps, name: String, text: String) -> Result<(), AppError> {
    if !REPORT_FIELDS.contains(&name.as_str()) {
        return Err(AppError::Invalid("The report has no such part.".into()));
    }
    let IncidentOps { case, ops } = work;
    case.require_open()?;
    ops.with_store(move |ops| Ok(case.set_report_field(ops.action_context(), &name, &text)?)).await
}

/// Puts a note on the timeline.
///
/// # Errors
///
/// If it cannot be written.
pub async fn add_note(work: IncidentOps, note: String) -> Result<(), AppError> {
    let IncidentOps { mut case, ops } = work;
    let add = move |ops: &TargetOps| {
        let entry = NewTimelineEntry { kind: "note", step: "", text: &note, detail: None };
        Ok(case.add_entry(ops.action_context(), entry)?)
    };
    ops.with_store(add).await
}

/// Closes an incident, for a reason where something speaks against it.
///
/// # Errors
///
/// If something speaks against it, and no reason is given.
pub async fn close_incident(work: IncidentOps, reason: Option<String>) -> Result<(), AppError> {
    let IncidentOps { case, ops } = work;
    ops.with_store(move |ops| case.close(ops.action_context(), reason.as_deref())).await
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use sessionwatch_store::Store;

    use super::*;
    use crate::config::Config;

    const TARGETS: &str = "[[target]]\nname = \"app\"\nurl = \"sqlite:a.db\"\n[[target]]\nname = \"shop\"\nurl = \"sqlite:b.db\"\n";

    /// An incident of the target `app`, and somebody who works on a target.
    fn scene(state: IncidentState, target: &str) -> TargetOps {
        let config = Config::parse(Path::new("sessionwatch.toml"), TARGETS).unwrap();
        let app = AppState::for_command(Store::open_in_memory().unwrap(), config).unwrap();
        let incident = IncidentRecord {
            id: "INC-1".into(),
            target: "app".into(),
            severity: IncidentSeverity::P1,
            state,
            opened_at: app.clock.now(),
            opened_by: "ada".into(),
            contained_at: None,
            closed_at: None,
            report_fields: "{}".into(),
        };
        app.store.write(|db| incidents::upsert_incident(db, &incident)).unwrap();
        TargetOps::new(&app, app.target(target).unwrap(), &Actor::from_command_line("ada"))
    }

    #[tokio::test]
    async fn an_incident_is_found_by_its_id_or_its_state_and_only_for_its_target() {
        let id = || IncidentSelector::Id("INC-1".into());
        let open = scene(IncidentState::Open, "app");
        for wanted in [id(), IncidentSelector::Open, IncidentSelector::Latest] {
            assert_eq!(find_incident(open.clone(), wanted).await.unwrap().case.incident.id, "INC-1");
        }
        let unknown = find_incident(open, IncidentSelector::Id("INC-2".into())).await;
        assert!(matches!(unknown, Err(FindIncidentError::NotFound)));
        let closed = scene(IncidentState::Closed, "app");
        assert!(find_incident(closed.clone(), IncidentSelector::Latest).await.is_ok());
        assert!(matches!(
            find_incident(closed, IncidentSelector::Open).await,
            Err(FindIncidentError::NoneOpen)
        ));
        let shop = scene(IncidentState::Open, "shop");
        let other = find_incident(shop.clone(), id()).await;
        assert!(matches!(other, Err(FindIncidentError::OtherTarget(target)) if target == "app"));
        assert!(matches!(
            find_incident(shop, IncidentSelector::Open).await,
            Err(FindIncidentError::NoneOpen)
        ));
    }

    #[tokio::test]
    async fn a_closed_incident_takes_notes_and_nothing_else() {
        let work =
            find_incident(scene(IncidentState::Closed, "app"), IncidentSelector::Latest).await.unwrap();
        let is_closed = |error| matches!(error, AppError::Action(ActionError::Closed(_)));
        let set = set_report_field(work.clone(), "summary".into(), "x".into()).await;
        assert!(is_closed(set.unwrap_err()));
        assert!(is_closed(pack_evidence(&work).await.unwrap_err()));
        assert!(is_closed(reopen_step(work.clone(), "confirm".into(), "x".into()).await.unwrap_err()));
        let update = StepUpdate { step: None, response: StepResponse::Check };
        assert!(is_closed(advance_incident(work.clone(), update).await.unwrap_err()));
        add_note(work, "seen again".into()).await.unwrap();
    }
}
