//! Working on an incident: from step to step, and what is written down on the way. The command line and the dashboard
//! do the same here.

use jiff::Timestamp;
use serde_json::json;
use sessionwatch_core::{
    incident::{self as rules, IncidentStep},
    plural::format_count,
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{
    StoreError,
    incidents::{self, IncidentRecord, IncidentState, TimelineEntry, collect_step_records},
    transaction::Tx,
};

use super::{
    NewTimelineEntry, StepOutcome,
    affected::describe_affected,
    check_step,
    evidence::{self, EvidenceGap, EvidenceStatus},
    record_containment,
    steps::entries_since_reopened,
    with_field,
};
use crate::remediation::{ActionContext, ActionError, ActionPlan, ApplyReport, Selection};

/// What a report says besides what was recorded.
pub const REPORT_FIELDS: [&str; 5] = ["summary", "root-cause", "data-leaked", "prevention", "lessons"];

/// Steps for which the target is looked at: what that finds belongs on the timeline, also while the step is not done.
const CHECK_RUN_STEPS: [&str; 4] = ["confirm", "affected", "way-back", "verify"];

/// The step that freezes the evidence.
const EVIDENCE_STEP_ID: &str = "evidence";

/// Evidence that is packed, and not sealed yet.
#[derive(Clone, Debug)]
pub struct PackedEvidence {
    /// The file.
    pub bytes: Vec<u8>,
    /// What could not be read; empty if the evidence is complete.
    pub gaps: Vec<EvidenceGap>,
}

impl PackedEvidence {
    /// Whether nothing is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty()
    }

    /// What is missing, in words; `None` if nothing is.
    #[must_use]
    pub fn describe_gaps(&self) -> Option<String> {
        (!self.is_complete()).then(|| evidence::describe_gaps(&self.gaps))
    }
}

/// An incident that is worked on.
#[derive(Clone, Debug)]
pub struct IncidentWorkflow {
    /// The incident.
    pub incident: IncidentRecord,
    /// What happened so far, oldest first.
    pub timeline: Vec<TimelineEntry>,
}

/// Whose sessions are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ContainmentScope {
    /// Every session of every user
    // The dashboard and older scripts know the aliases.
    #[value(name = "all", alias = "everybody")]
    Everybody,
    /// Every session of the users of --user
    Users,
    /// Sessions that share a token
    Duplicates,
    /// Sessions of users who do not exist
    #[value(name = "orphaned", alias = "orphans")]
    Orphans,
}

impl ContainmentScope {
    /// Takes it by its name on the command line.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        <Self as clap::ValueEnum>::from_str(name, false).ok()
    }

    /// What is to be ended; nothing where users are meant and none is named.
    #[must_use]
    pub fn selection(self, users: &[String]) -> Option<Selection> {
        match self {
            Self::Everybody => Some(Selection::All),
            Self::Users => (!users.is_empty()).then(|| Selection::Users(users.to_vec())),
            Self::Duplicates => Some(Selection::Duplicates),
            Self::Orphans => Some(Selection::Orphaned),
        }
    }
}

/// What a person says of the step that is next.
#[derive(Clone, Copy, Debug)]
pub enum StepAnswer<'a> {
    /// Nothing yet.
    Unanswered,
    /// It is done, with a note.
    Done(&'a str),
    /// It is passed over, for a reason.
    Skipped(&'a str),
}

/// How far one came.
#[derive(Clone, Debug)]
pub struct AdvanceResult {
    /// Steps that are behind, each with what was said of it.
    pub completed: Vec<(&'static IncidentStep, StepCompletion)>,
    /// The step for which a person is needed, with what is known of it; nothing once every step was gone through.
    pub waiting_step: Option<(&'static IncidentStep, String)>,
}

/// How a step came to be behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepCompletion {
    /// A person passed over it.
    Skipped,
    /// A person says that it is done.
    Confirmed,
    /// It was found out.
    Checked(String),
}

impl IncidentWorkflow {
    /// The incident of an id.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn load(db: Tx<'_>, id: &str) -> Result<Option<Self>, StoreError> {
        let Some(incident) = incidents::find_incident(db, id)? else { return Ok(None) };
        Ok(Some(Self { timeline: incidents::list_timeline(db, id)?, incident }))
    }

    /// The step that is next.
    #[must_use]
    pub fn next_step(&self) -> Option<&'static IncidentStep> {
        rules::next_step(self.incident.severity, &collect_step_records(&self.timeline))
    }

    /// Puts something on the timeline.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn add_entry(
        &mut self,
        context: ActionContext<'_>,
        entry: NewTimelineEntry<'_>,
    ) -> Result<(), StoreError> {
        let entry = entry.into_entry(context);
        context.store.write(|db| incidents::insert_timeline_entry(db, &self.incident.id, &entry))?;
        self.timeline.push(entry);
        Ok(())
    }

    /// Goes on until a person is needed.
    ///
    /// # Errors
    ///
    /// If the incident is closed, what is said cannot be said of the step, or target or store fail.
    pub async fn advance(
        &mut self,
        context: ActionContext<'_>,
        mut answer: StepAnswer<'_>,
    ) -> Result<AdvanceResult, ActionError> {
        self.require_open()?;
        let mut passed = vec![];
        while let Some(step) = self.next_step() {
            match std::mem::replace(&mut answer, StepAnswer::Unanswered) {
                StepAnswer::Skipped(reason) => {
                    self.complete_step(context, step, step_entry("skipped", step, reason))?;
                    passed.push((step, StepCompletion::Skipped));
                    continue;
                }
                StepAnswer::Done(note)
                    if can_confirm_step(step) && step.needs_note() && note.trim().is_empty() =>
                {
                    return Err(ActionError::NoteRequired(step.title, step.instructions));
                }
                StepAnswer::Done(note) if can_confirm_step(step) => {
                    self.complete_step(context, step, step_entry("done", step, note))?;
                    passed.push((step, StepCompletion::Confirmed));
                    continue;
                }
                StepAnswer::Done(_) => return Err(ActionError::CheckedAutomatically(step.title)),
                StepAnswer::Unanswered => {}
            }
            let outcome = self.evaluate_step(context, step).await?;
            if !outcome.is_done {
                self.record_finding(context, step, &outcome.text)?;
                return Ok(AdvanceResult { completed: passed, waiting_step: Some((step, outcome.text)) });
            }
            let found = step_entry("done", step, &outcome.text);
            self.complete_step(context, step, NewTimelineEntry { detail: Some(&outcome.detail), ..found })?;
            passed.push((step, StepCompletion::Checked(outcome.text)));
        }
        Ok(AdvanceResult { completed: passed, waiting_step: None })
    }

    /// Puts a step behind, if it is still the next one: somebody else may work on the same incident.
    fn complete_step(
        &mut self,
        context: ActionContext<'_>,
        step: &IncidentStep,
        entry: NewTimelineEntry<'_>,
    ) -> Result<(), ActionError> {
        let entry = entry.into_entry(context);
        let id = &self.incident.id;
        let is_next = context.store.write(|db| {
            let timeline = incidents::list_timeline(db, id)?;
            let next = rules::next_step(self.incident.severity, &collect_step_records(&timeline));
            let is_next = next.is_some_and(|next| next.id == step.id);
            if is_next {
                incidents::insert_timeline_entry(db, id, &entry)?;
            }
            Ok(is_next)
        })?;
        if !is_next {
            return Err(ActionError::StepAlreadyDone(step.title));
        }
        self.timeline.push(entry);
        Ok(())
    }

    /// Reopens a step that is done or was passed over, because that was a mistake: it is gone through again.
    ///
    /// # Errors
    ///
    /// If the incident is closed, there is no such step, it is not behind, or it cannot be written.
    pub fn reopen_step(
        &mut self,
        context: ActionContext<'_>,
        step: &str,
        reason: &str,
    ) -> Result<(), ActionError> {
        self.require_open()?;
        if !collect_step_records(&self.timeline).iter().any(|done| done.step == step) {
            return Err(ActionError::StepNotDone(step.to_owned()));
        }
        let reopened = NewTimelineEntry { kind: "step-reopened", step, text: reason, detail: None };
        Ok(self.add_entry(context, reopened)?)
    }

    /// What can be known of a step; where a person has to say that it is done, it does not hold.
    async fn evaluate_step(
        &self,
        context: ActionContext<'_>,
        step: &IncidentStep,
    ) -> Result<StepOutcome, ActionError> {
        if step.is_automatic {
            return check_step(context, &self.incident, &self.timeline, step).await;
        }
        let said = if step.id == "affected" { describe_affected(context).await? } else { String::new() };
        Ok(StepOutcome { is_done: false, text: said, detail: json!({}) })
    }

    /// Notes what a look found of a step that is not done; the same is not noted twice.
    fn record_finding(
        &mut self,
        context: ActionContext<'_>,
        step: &IncidentStep,
        text: &str,
    ) -> Result<(), StoreError> {
        if !CHECK_RUN_STEPS.contains(&step.id) || text.is_empty() || self.latest_finding(step) == Some(text) {
            return Ok(());
        }
        self.add_entry(context, step_entry("found", step, text))
    }

    /// What was found out of a step last, since the incident was opened, or opened anew.
    #[must_use]
    pub fn latest_finding(&self, step: &IncidentStep) -> Option<&str> {
        let of_step = |entry: &&TimelineEntry| {
            matches!(entry.kind.as_str(), "found" | "evidence") && entry.step == step.id
        };
        entries_since_reopened(&self.timeline).iter().rev().find(of_step).map(|entry| entry.message.as_str())
    }

    /// Keeps what the report is to say.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn set_report_field(
        &self,
        context: ActionContext<'_>,
        name: &str,
        text: &str,
    ) -> Result<(), StoreError> {
        let (said, detail) = (format!("{name}: {text}"), json!({ "name": name }));
        let entry = NewTimelineEntry { kind: "set", step: "", text: &said, detail: Some(&detail) }
            .into_entry(context);
        let said = |incident| with_field(incident, name, text);
        context.store.write(|db| incidents::update_incident(db, &self.incident.id, &entry, said))
    }

    /// Gathers the evidence, packed and not sealed yet: what could not be read is among its gaps. [`IncidentWorkflow::record_evidence`] notes where
    /// it went.
    ///
    /// # Errors
    ///
    /// If the timeline cannot be decoded, or there is no memory for it.
    pub async fn gather_evidence(&self, context: ActionContext<'_>) -> Result<PackedEvidence, ActionError> {
        let bundle = evidence::gather_evidence(context, &self.incident, &self.timeline).await?;
        let packed = evidence::pack_evidence(&bundle.parts, context.clock.now());
        let bytes =
            packed.map_err(|_| ActionError::Unexpected("there is not enough memory for the evidence"))?;
        Ok(PackedEvidence { bytes, gaps: bundle.gaps })
    }

    /// A name for a file of evidence, which says if it is incomplete.
    #[must_use]
    pub fn evidence_file_name(&self, now: UtcTimestamp, packed: &PackedEvidence) -> String {
        let incomplete = if packed.is_complete() { "" } else { "-incomplete" };
        format!("{}-{}{incomplete}.tar.age", self.incident.id, Timestamp::from(now).as_second())
    }

    /// Notes that the evidence was written to that file, and what is missing in it.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn record_evidence(
        &mut self,
        context: ActionContext<'_>,
        text: &str,
        file: &str,
        packed: &PackedEvidence,
    ) -> Result<(), StoreError> {
        let detail = json!({
            "file": file, "bytes": packed.bytes.len(), "complete": packed.is_complete(), "missing": packed.gaps,
        });
        let said = match packed.describe_gaps() {
            Some(missing) => format!("{text}; INCOMPLETE: {missing}"),
            None => text.to_owned(),
        };
        self.add_entry(
            context,
            NewTimelineEntry { kind: "evidence", step: EVIDENCE_STEP_ID, text: &said, detail: Some(&detail) },
        )
    }

    /// Why sessions are not to be ended yet: the incident needs evidence, and there is no complete one. Returns `None` once
    /// there is, or a person passed over that step.
    ///
    /// # Errors
    ///
    /// If the timeline cannot be decoded.
    pub fn missing_evidence(&self) -> Result<Option<String>, StoreError> {
        let is_needed = rules::find_step(EVIDENCE_STEP_ID)
            .is_some_and(|step| step.is_required_for(self.incident.severity));
        if !is_needed || collect_step_records(&self.timeline).iter().any(|done| done.step == EVIDENCE_STEP_ID)
        {
            return Ok(None);
        }
        Ok(match evidence::evidence_status(&self.timeline)? {
            EvidenceStatus::Complete(_) => None,
            EvidenceStatus::Incomplete(said) => Some(said),
            EvidenceStatus::Missing => Some("no evidence was written yet".into()),
        })
    }

    /// Makes sure that the evidence is complete before sessions are ended, or notes for what reason a person does not wait
    /// for it.
    ///
    /// # Errors
    ///
    /// If it is not complete and there is no reason, or the reason cannot be noted.
    pub fn require_evidence(
        &mut self,
        context: ActionContext<'_>,
        override_reason: Option<&str>,
    ) -> Result<(), ActionError> {
        let Some(why) = self.missing_evidence()? else { return Ok(()) };
        let Some(reason) = override_reason.map(str::trim).filter(|reason| !reason.is_empty()) else {
            return Err(ActionError::EvidenceRequired { id: self.incident.id.clone(), why });
        };
        let said = format!("sessions are ended without complete evidence ({why}): {reason}");
        let detail = json!({ "reason": reason });
        let skipped =
            NewTimelineEntry { kind: "skipped", step: EVIDENCE_STEP_ID, text: &said, detail: Some(&detail) };
        Ok(self.add_entry(context, skipped)?)
    }

    /// Notes that a plan was carried out to end sessions. What was not finished is gone on with, and not yet contained.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn record_plan(
        &self,
        context: ActionContext<'_>,
        plan: &ActionPlan,
        applied: &ApplyReport,
    ) -> Result<(), StoreError> {
        let done = applied.done + applied.done_earlier;
        let said = format!(
            "{} ended {} of {}; {} were left, {} remain",
            plan.selection.command_name(),
            format_count(done, "session", "sessions"),
            format_count(plan.summary.users, "user", "users"),
            applied.skipped,
            applied.remaining
        );
        let detail = json!({
            "plan": plan.record.id, "done": done, "users": plan.summary.users,
            "skipped": applied.skipped, "remaining": applied.remaining, "left": applied.still_matching,
        });
        if applied.remaining == 0 {
            return record_containment(context, &self.incident, &said, &detail);
        }
        let entry = NewTimelineEntry { kind: "note", step: "contain", text: &said, detail: Some(&detail) }
            .into_entry(context);
        context.store.write(|db| incidents::insert_timeline_entry(db, &self.incident.id, &entry))
    }

    /// Closes it, if nothing speaks against that, or for a reason all the same.
    ///
    /// # Errors
    ///
    /// If it is closed, something speaks against it, or it cannot be written.
    pub fn close(
        &self,
        context: ActionContext<'_>,
        override_reason: Option<&str>,
    ) -> Result<(), ActionError> {
        self.require_open()?;
        let points = rules::unfinished_steps(self.incident.severity, &collect_step_records(&self.timeline));
        let overridden = override_reason.filter(|reason| !reason.is_empty());
        if !points.is_empty() && overridden.is_none() {
            return Err(ActionError::NotClosable { id: self.incident.id.clone(), points });
        }
        let detail = json!({ "open_points": points, "override": overridden });
        let said = overridden.map(|reason| match points.is_empty() {
            true => reason.to_owned(),
            false => format!("overridden, though {}: {reason}", points.join("; ")),
        });
        let said = said.as_deref().unwrap_or_default();
        let entry = NewTimelineEntry { kind: "closed", step: "", text: said, detail: Some(&detail) }
            .into_entry(context);
        let closed = |incident| {
            Ok(IncidentRecord { state: IncidentState::Closed, closed_at: Some(entry.at), ..incident })
        };
        Ok(context.store.write(|db| incidents::update_incident(db, &self.incident.id, &entry, closed))?)
    }

    /// Refuses to go on with an incident that is closed.
    ///
    /// # Errors
    ///
    /// If it is.
    pub fn require_open(&self) -> Result<(), ActionError> {
        match self.incident.state {
            IncidentState::Closed => Err(ActionError::Closed(self.incident.id.clone())),
            IncidentState::Open | IncidentState::Contained => Ok(()),
        }
    }
}

/// Something for the timeline about a step.
fn step_entry<'a>(kind: &'a str, step: &'a IncidentStep, text: &'a str) -> NewTimelineEntry<'a> {
    NewTimelineEntry { kind, step: step.id, text, detail: None }
}

/// Whether a person may say that a step is done.
#[must_use]
pub fn can_confirm_step(step: &IncidentStep) -> bool {
    !step.is_automatic || step.id == "confirm"
}
