//! Incidents: opened, gone through step by step, and closed.

use std::sync::Arc;

use sessionwatch_core::incident::IncidentSeverity;
use sessionwatch_store::incidents;

use super::{Actor, AppError, AppState, TargetOps, plans};
use crate::{
    blocking,
    incident::{self, NewEntry, message, report, work::Said},
    remediation::{ActError, Plan, Selection, affected, keys},
};

pub use crate::incident::{
    time_used,
    work::{Case, Contained, FIELDS as REPORT_FIELDS, Packed, Passed, Progress, can_be_said},
};
pub use sessionwatch_store::incidents::{Entry as TimelineEntry, Incident, State as IncidentState, recorded};

/// Users that are listed on a page when one is looked for.
pub const FOUND_USERS: usize = 50;

/// An incident that somebody works on.
#[derive(Clone, Debug)]
pub struct CaseOps {
    /// The incident.
    pub case: Case,
    /// Its target, and who works on it.
    pub ops: TargetOps,
}

/// Which incident of a target is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaseRef {
    /// The one with this id.
    Id(String),
    /// The one that is not closed.
    Current,
    /// The last one, closed or not.
    Latest,
}

/// Why an incident of a target was not found.
#[derive(Debug, thiserror::Error)]
pub enum FindCaseError {
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
    pub incident: Incident,
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
    FindOut,
    /// It is done, with a note.
    Done(String),
    /// It is passed over, for a reason.
    Skip(String),
}

/// How far an incident came.
#[derive(Clone, Debug)]
pub struct Advanced {
    /// The incident as it is now.
    pub case: Case,
    /// The steps that are behind, and the one for which a person is needed.
    pub progress: Progress,
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

/// An incident of a configured target, and who works on it.
///
/// # Errors
///
/// If there is none of that id.
pub async fn get_case(app: &Arc<AppState>, actor: &Actor, id: &str) -> Result<CaseOps, AppError> {
    let wanted = id.to_owned();
    let case = app.read(move |db| Case::get(db, &wanted)).await?;
    let case = case.ok_or_else(|| AppError::NotFound("There is no such incident.".into()))?;
    let target = app.target(&case.incident.target)?;
    Ok(CaseOps { case, ops: TargetOps::new(app, target, actor) })
}

/// An incident of a target.
///
/// # Errors
///
/// If there is none that is meant, or it is about another target.
pub async fn find_case(ops: TargetOps, wanted: CaseRef) -> Result<CaseOps, FindCaseError> {
    let (target, by_id) = (ops.target.name.clone(), matches!(wanted, CaseRef::Id(_)));
    let found = ops.app.read(move |db| {
        let incident = match &wanted {
            CaseRef::Id(id) => incidents::get(db, id)?,
            CaseRef::Current => incidents::current(db, &target)?,
            CaseRef::Latest => incidents::latest(db, &target)?,
        };
        let Some(incident) = incident else { return Ok(None) };
        Ok(Some(Case { timeline: incidents::timeline(db, &incident.id)?, incident }))
    });
    match found.await? {
        None if by_id => Err(FindCaseError::NotFound),
        None => Err(FindCaseError::NoneOpen),
        Some(case) if case.incident.target != ops.target.name => {
            Err(FindCaseError::OtherTarget(case.incident.target))
        }
        Some(case) => Ok(CaseOps { case, ops }),
    }
}

/// The report of an incident, in Markdown.
///
/// # Errors
///
/// If what is kept of it cannot be decoded.
pub fn report_markdown(case: &Case) -> Result<String, AppError> {
    Ok(report::markdown(&case.incident, &case.timeline)?)
}

/// The same as a page.
///
/// # Errors
///
/// The same.
pub fn report_html(case: &Case) -> Result<String, AppError> {
    Ok(report::html(&case.incident, &case.timeline)?)
}

/// Opens an incident: how it stands now.
///
/// # Errors
///
/// If the target has one that is open, or cannot be looked at.
pub async fn open_incident(ops: TargetOps, new: NewIncident) -> Result<OpenedIncident, AppError> {
    let opened = ops.with_target_and_publish(async move |ops| {
        let (incident, report) = incident::open(ops.context(), new.severity, &new.summary).await?;
        let findings = incident::findings(&report);
        let besides = incident::force_out(ops.context(), &report);
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
    let found = ops.with_target(async move |ops| affected::users(ops.context(), &part, limit).await);
    Ok(found.await?.into_iter().map(|(shown, sessions)| FoundUser { shown, sessions }).collect())
}

/// Goes on with an incident until a person is needed.
///
/// # Errors
///
/// If it is closed, somebody else has gone on meanwhile, or what is said cannot be said of the step.
pub async fn advance(work: CaseOps, update: StepUpdate) -> Result<Advanced, AppError> {
    let CaseOps { mut case, ops } = work;
    case.is_unclosed()?;
    let StepUpdate { step, response } = update;
    if let StepResponse::Skip(reason) = &response {
        require_reason(reason)?;
    }
    // What was said of a step is not said of another one, where somebody else was faster.
    if step.is_some_and(|step| case.next().is_none_or(|next| next.id != step)) {
        return Err(AppError::Conflict("Somebody else has gone on meanwhile.".into()));
    }
    let gone_on = ops.with_target_and_publish(async move |ops| {
        let said = match &response {
            StepResponse::Done(note) => Said::Done(note),
            StepResponse::Skip(reason) => Said::Skip(reason),
            StepResponse::FindOut => Said::Nothing,
        };
        let progress = case.go_on(ops.context(), said).await?;
        Ok(Advanced { case, progress })
    });
    gone_on.await
}

/// Reopens a step that was marked as done, or passed over, by mistake: the incident as it is now.
///
/// # Errors
///
/// If the incident is closed, the step is not behind, or no reason is given.
pub async fn reopen_step(work: CaseOps, step: String, reason: String) -> Result<Case, AppError> {
    let CaseOps { mut case, ops } = work;
    case.is_unclosed()?;
    require_reason(&reason)?;
    let reopen = move |ops: &TargetOps| {
        case.reopen_step(ops.context(), &step, &reason)?;
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
pub fn message_draft(incident: &Incident, template: Option<&str>) -> Result<String, AppError> {
    message::draft(incident, template.unwrap_or(message::DRAFT)).map_err(AppError::Invalid)
}

/// Makes a plan to end sessions in the course of an incident.
///
/// # Errors
///
/// If it is closed, or nothing can be planned.
pub async fn plan_containment(work: CaseOps, selection: Selection) -> Result<Plan, AppError> {
    work.case.is_unclosed()?;
    plans::make_plan(work.ops, selection).await
}

/// Gathers the evidence of an incident. [`record_evidence`] notes where it went.
///
/// # Errors
///
/// If the incident is closed, or the timeline cannot be decoded.
pub async fn pack_evidence(work: &CaseOps) -> Result<Packed, AppError> {
    let CaseOps { case, ops } = work.clone();
    case.is_unclosed()?;
    ops.with_target(async move |ops| case.evidence(ops.context()).await).await
}

/// Where evidence went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceFile {
    /// The file.
    pub name: String,
    /// What was done, in words for the timeline.
    pub said: String,
}

/// Notes on the timeline of an incident where its evidence went, and what is missing in it.
///
/// # Errors
///
/// If it cannot be written.
pub async fn record_evidence(work: CaseOps, file: EvidenceFile, packed: Packed) -> Result<(), AppError> {
    let CaseOps { mut case, ops } = work;
    let record = move |ops: &TargetOps| Ok(case.froze(ops.context(), &file.said, &file.name, &packed)?);
    ops.with_store(record).await
}

/// Seals the evidence of an incident for a download, and records that on its timeline.
///
/// # Errors
///
/// If the incident is closed, or the evidence is incomplete and has to be complete.
pub async fn export_evidence(work: CaseOps, completeness: Completeness) -> Result<SealedEvidence, AppError> {
    let config = Arc::clone(&work.ops.config);
    // Before anything is asked of the database, which takes a while.
    let (recipient, _) = run_apart(move || keys::recipient(&config)).await?.map_err(ActError::from)?;
    let packed = pack_evidence(&work).await?;
    if let (Some(why), Completeness::Required) = (packed.missing(), completeness) {
        record_gaps(work, &why).await?;
        return Err(ActError::Incomplete(why).into());
    }
    let name = work.case.evidence_name(work.ops.app.clock.now(), &packed);
    let said = format!("{name} was downloaded, sealed to {recipient}");
    let plain = packed.bytes.clone();
    let bytes = run_apart(move || recipient.seal(&plain)).await?.map_err(ActError::from)?;
    record_evidence(work, EvidenceFile { name: name.clone(), said }, packed).await?;
    Ok(SealedEvidence { name, bytes })
}

/// Does what blocks.
async fn run_apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, AppError> {
    blocking::run_caught(work).await.ok_or(AppError::Internal("sealing ended in a panic"))
}

/// Notes on the timeline of an incident why its evidence would be incomplete; the same is not noted twice.
async fn record_gaps(work: CaseOps, why: &str) -> Result<(), AppError> {
    let CaseOps { mut case, ops } = work;
    let found = format!("the evidence would be incomplete: {why}");
    if case.next().and_then(|step| case.found(step)) == Some(found.as_str()) {
        return Ok(());
    }
    let record = move |ops: &TargetOps| {
        let entry = NewEntry { kind: "found", step: "evidence", said: &found, detail: None };
        Ok(case.add(ops.context(), entry)?)
    };
    ops.with_store(record).await
}

/// Keeps a part of the report.
///
/// # Errors
///
/// If the incident is closed, or the report has no such part.
pub async fn set_report_field(work: CaseOps, name: String, text: String) -> Result<(), AppError> {
    if !REPORT_FIELDS.contains(&name.as_str()) {
        return Err(AppError::Invalid("The report has no such part.".into()));
    }
    let CaseOps { case, ops } = work;
    case.is_unclosed()?;
    ops.with_store(move |ops| Ok(case.set(ops.context(), &name, &text)?)).await
}

/// Puts a note on the timeline.
///
/// # Errors
///
/// If it cannot be written.
pub async fn add_note(work: CaseOps, note: String) -> Result<(), AppError> {
    let CaseOps { mut case, ops } = work;
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
pub async fn close_incident(work: CaseOps, reason: Option<String>) -> Result<(), AppError> {
    let CaseOps { case, ops } = work;
    ops.with_store(move |ops| case.close(ops.context(), reason.as_deref())).await
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
        let app = AppState::for_command(Store::in_memory().unwrap(), config).unwrap();
        let incident = Incident {
            id: "INC-1".into(),
            target: "app".into(),
            grade: IncidentSeverity::P1,
            state,
            opened_at: app.clock.now(),
            opened_by: "ada".into(),
            contained_at: None,
            closed_at: None,
            fields: "{}".into(),
        };
        app.store.write(|db| incidents::put(db, &incident)).unwrap();
        TargetOps::new(&app, app.target(target).unwrap(), &Actor::of_command("ada"))
    }

    #[tokio::test]
    async fn an_incident_is_found_by_its_id_or_its_state_and_only_for_its_target() {
        let id = || CaseRef::Id("INC-1".into());
        let open = scene(IncidentState::Open, "app");
        for wanted in [id(), CaseRef::Current, CaseRef::Latest] {
            assert_eq!(find_case(open.clone(), wanted).await.unwrap().case.incident.id, "INC-1");
        }
        let unknown = find_case(open, CaseRef::Id("INC-2".into())).await;
        assert!(matches!(unknown, Err(FindCaseError::NotFound)));
        let closed = scene(IncidentState::Closed, "app");
        assert!(find_case(closed.clone(), CaseRef::Latest).await.is_ok());
        assert!(matches!(find_case(closed, CaseRef::Current).await, Err(FindCaseError::NoneOpen)));
        let shop = scene(IncidentState::Open, "shop");
        let other = find_case(shop.clone(), id()).await;
        assert!(matches!(other, Err(FindCaseError::OtherTarget(target)) if target == "app"));
        assert!(matches!(find_case(shop, CaseRef::Current).await, Err(FindCaseError::NoneOpen)));
    }

    #[tokio::test]
    async fn a_closed_incident_takes_notes_and_nothing_else() {
        let work = find_case(scene(IncidentState::Closed, "app"), CaseRef::Latest).await.unwrap();
        let is_closed = |error| matches!(error, AppError::Action(ActError::Closed(_)));
        let set = set_report_field(work.clone(), "summary".into(), "x".into()).await;
        assert!(is_closed(set.unwrap_err()));
        assert!(is_closed(pack_evidence(&work).await.unwrap_err()));
        assert!(is_closed(reopen_step(work.clone(), "confirm".into(), "x".into()).await.unwrap_err()));
        let update = StepUpdate { step: None, response: StepResponse::FindOut };
        assert!(is_closed(advance(work.clone(), update).await.unwrap_err()));
        add_note(work, "seen again".into()).await.unwrap();
    }
}
