//! Workflow of an incident, shared by the command line and the dashboard: advancing steps and recording entries.

use jiff::Timestamp;
use serde_json::json;
use sessionwatch_core::{
    incident::{self as rules, IncidentStep},
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{
    StoreError,
    incidents::{self, IncidentRecord, IncidentState, TimelineEntry, collect_step_records},
    transaction::Tx,
};

use super::{
    NewTimelineEntry, StepOutcome,
    affected_summary::describe_affected,
    check_step,
    evidence_bundle::{self, EvidenceGap, EvidenceStatus},
    step_detection::entries_since_reopened,
    trim_reason, with_field,
};
use crate::remediation::{ActionContext, ActionError};

/// Fields of the report that people fill in.
pub const REPORT_FIELDS: [&str; 5] = ["summary", "root-cause", "data-leaked", "prevention", "lessons"];

/// Steps that query the target. Their findings go on the timeline even while the step is not done.
const CHECK_RUN_STEPS: [&str; 4] = ["confirm", "affected", "rollback", "verify"];

/// Id of the step that freezes the evidence.
const EVIDENCE_STEP_ID: &str = "evidence";

/// Packed evidence, not encrypted yet.
#[derive(Clone, Debug)]
pub struct PackedEvidence {
    /// Content of the file.
    pub bytes: Vec<u8>,
    /// Parts that could not be read; empty if the evidence is complete.
    pub gaps: Vec<EvidenceGap>,
}

impl PackedEvidence {
    /// Returns whether no part is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty()
    }

    /// Describes the missing parts; `None` if the evidence is complete.
    #[must_use]
    pub fn describe_gaps(&self) -> Option<String> {
        (!self.is_complete()).then(|| evidence_bundle::describe_gaps(&self.gaps))
    }
}

/// Incident with its timeline.
#[derive(Clone, Debug)]
pub struct IncidentWorkflow {
    /// The incident.
    pub incident: IncidentRecord,
    /// Timeline, oldest entry first.
    pub timeline: Vec<TimelineEntry>,
}

/// Answer of a person to the next step.
#[derive(Clone, Copy, Debug)]
pub enum StepAnswer<'a> {
    /// No answer.
    Unanswered,
    /// The step is done, with a note.
    Done(&'a str),
    /// The step is skipped, with a reason.
    Skipped(&'a str),
}

/// Result of advancing an incident.
#[derive(Clone, Debug)]
pub struct AdvanceResult {
    /// Steps finished by this call.
    pub completed: Vec<(&'static IncidentStep, StepCompletion)>,
    /// Step that needs a person, with the detected state; `None` once every step is finished.
    pub waiting_step: Option<(&'static IncidentStep, String)>,
}

/// Way in which a step was finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepCompletion {
    /// A person skipped the step.
    Skipped,
    /// A person marked the step as done.
    Confirmed,
    /// The step was detected as done, with a description.
    Checked(String),
}

impl IncidentWorkflow {
    /// Loads an incident; `None` if no incident has this id.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub fn load(db: Tx<'_>, id: &str) -> Result<Option<Self>, StoreError> {
        let Some(incident) = incidents::find_incident(db, id)? else { return Ok(None) };
        Ok(Some(Self { timeline: incidents::list_timeline(db, id)?, incident }))
    }

    /// Returns the next step; `None` once every step is finished.
    #[must_use]
    pub fn next_step(&self) -> Option<&'static IncidentStep> {
        rules::next_step(self.incident.severity, &collect_step_records(&self.timeline))
    }

    /// Adds an entry to the timeline.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be written.
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

    /// Adds an entry to the timeline, unless the incident was closed meanwhile.
    ///
    /// # Errors
    ///
    /// Fails if the incident is closed, or the store cannot be written.
    pub fn add_entry_if_open(
        &mut self,
        context: ActionContext<'_>,
        entry: NewTimelineEntry<'_>,
    ) -> Result<(), ActionError> {
        let entry = entry.into_entry(context);
        self.change_if_open(context, |db, current| {
            incidents::insert_timeline_entry(db, &current.incident.id, &entry).map(Ok)
        })?;
        self.timeline.push(entry);
        Ok(())
    }

    /// Applies a change to the stored incident, read in the same transaction, unless it was closed meanwhile: the copy
    /// in memory may be minutes old.
    fn change_if_open(
        &self,
        context: ActionContext<'_>,
        change: impl Fn(Tx<'_>, &Self) -> Result<Result<(), ActionError>, StoreError>,
    ) -> Result<(), ActionError> {
        context.store.write(|db| {
            // A missing incident accepts no change either.
            let current = Self::load(db, &self.incident.id)?.filter(|current| current.require_open().is_ok());
            match current {
                Some(current) => change(db, &current),
                None => Ok(Err(ActionError::Closed(self.incident.id.clone()))),
            }
        })?
    }

    /// Finishes steps until one needs a person. The answer applies to the first step.
    ///
    /// # Errors
    ///
    /// Fails if the incident is closed, the answer does not fit the step, or the target or the store fails.
    pub async fn advance(
        &mut self,
        context: ActionContext<'_>,
        mut answer: StepAnswer<'_>,
    ) -> Result<AdvanceResult, ActionError> {
        self.require_open()?;
        let mut completed = vec![];
        while let Some(step) = self.next_step() {
            // The answer applies to the first step only.
            match std::mem::replace(&mut answer, StepAnswer::Unanswered) {
                StepAnswer::Skipped(reason) => {
                    self.complete_step(context, step, step_entry("skipped", step, reason))?;
                    completed.push((step, StepCompletion::Skipped));
                    continue;
                }
                StepAnswer::Done(note)
                    if can_confirm_step(step) && step.needs_note() && note.trim().is_empty() =>
                {
                    return Err(ActionError::NoteRequired(step.title, step.instructions));
                }
                StepAnswer::Done(note) if can_confirm_step(step) => {
                    self.complete_step(context, step, step_entry("done", step, note))?;
                    completed.push((step, StepCompletion::Confirmed));
                    continue;
                }
                StepAnswer::Done(_) => return Err(ActionError::CheckedAutomatically(step.title)),
                StepAnswer::Unanswered => {}
            }
            let outcome = self.evaluate_step(context, step).await?;
            if !outcome.is_done {
                self.record_finding(context, step, &outcome.text)?;
                return Ok(AdvanceResult { completed, waiting_step: Some((step, outcome.text)) });
            }
            let found = step_entry("done", step, &outcome.text);
            self.complete_step(context, step, NewTimelineEntry { detail: Some(&outcome.detail), ..found })?;
            completed.push((step, StepCompletion::Checked(outcome.text)));
        }
        Ok(AdvanceResult { completed, waiting_step: None })
    }

    /// Finishes a step, if no one else has finished it meanwhile.
    fn complete_step(
        &mut self,
        context: ActionContext<'_>,
        step: &IncidentStep,
        entry: NewTimelineEntry<'_>,
    ) -> Result<(), ActionError> {
        let entry = entry.into_entry(context);
        self.change_if_open(context, |db, current| {
            if current.next_step().is_none_or(|next| next.id != step.id) {
                return Ok(Err(ActionError::StepAlreadyDone(step.title)));
            }
            incidents::insert_timeline_entry(db, &current.incident.id, &entry).map(Ok)
        })?;
        self.timeline.push(entry);
        Ok(())
    }

    /// Reopens a step that was marked or skipped by mistake.
    ///
    /// # Errors
    ///
    /// Fails if the incident is closed, the step is unknown or not finished, or the store cannot be written.
    pub fn reopen_step(
        &mut self,
        context: ActionContext<'_>,
        step: &str,
        reason: &str,
    ) -> Result<(), ActionError> {
        let entry = NewTimelineEntry { kind: "step-reopened", step, text: reason, detail: None };
        let entry = entry.into_entry(context);
        self.change_if_open(context, |db, current| {
            if !collect_step_records(&current.timeline).iter().any(|done| done.step == step) {
                return Ok(Err(ActionError::StepNotDone(step.to_owned())));
            }
            incidents::insert_timeline_entry(db, &current.incident.id, &entry).map(Ok)
        })?;
        self.timeline.push(entry);
        Ok(())
    }

    /// Detects the state of a step. A step that a person must mark is never detected as done.
    async fn evaluate_step(
        &self,
        context: ActionContext<'_>,
        step: &IncidentStep,
    ) -> Result<StepOutcome, ActionError> {
        if step.is_automatic {
            return check_step(context, &self.incident, &self.timeline, step).await;
        }
        let text = if step.id == "affected" { describe_affected(context).await? } else { String::new() };
        Ok(StepOutcome { is_done: false, text, detail: json!({}) })
    }

    /// Records the finding for an unfinished step, unless it equals the latest one.
    fn record_finding(
        &mut self,
        context: ActionContext<'_>,
        step: &IncidentStep,
        text: &str,
    ) -> Result<(), ActionError> {
        if !CHECK_RUN_STEPS.contains(&step.id) || text.is_empty() || self.latest_finding(step) == Some(text) {
            return Ok(());
        }
        self.add_entry_if_open(context, step_entry("detected", step, text))
    }

    /// Returns the latest finding for a step since the incident was opened or reopened.
    #[must_use]
    pub fn latest_finding(&self, step: &IncidentStep) -> Option<&str> {
        let of_step = |entry: &&TimelineEntry| {
            matches!(entry.kind.as_str(), "detected" | "evidence") && entry.step == step.id
        };
        entries_since_reopened(&self.timeline).iter().rev().find(of_step).map(|entry| entry.message.as_str())
    }

    /// Sets a field of the report.
    ///
    /// # Errors
    ///
    /// Fails if the incident is closed, or the store cannot be written.
    pub fn set_report_field(
        &self,
        context: ActionContext<'_>,
        name: &str,
        text: &str,
    ) -> Result<(), ActionError> {
        let (entry_text, detail) = (format!("{name}: {text}"), json!({ "name": name }));
        let entry = NewTimelineEntry { kind: "set", step: "", text: &entry_text, detail: Some(&detail) }
            .into_entry(context);
        self.change_if_open(context, |db, current| {
            let set_field = |incident| with_field(incident, name, text);
            incidents::update_incident(db, &current.incident.id, &entry, set_field).map(Ok)
        })
    }

    /// Gathers and packs the evidence, without encrypting it. Parts that could not be read are listed in its gaps.
    /// [`IncidentWorkflow::record_evidence`] records where it was written.
    ///
    /// # Errors
    ///
    /// Fails if the timeline cannot be decoded, or memory runs out.
    pub async fn gather_evidence(&self, context: ActionContext<'_>) -> Result<PackedEvidence, ActionError> {
        let bundle = evidence_bundle::gather_evidence(context, &self.incident, &self.timeline).await?;
        let packed = evidence_bundle::pack_evidence(&bundle.parts, context.clock.now());
        let bytes = packed.map_err(|_| ActionError::Unexpected("not enough memory for the evidence"))?;
        Ok(PackedEvidence { bytes, gaps: bundle.gaps })
    }

    /// Returns a file name for the evidence, marked if it is incomplete.
    #[must_use]
    pub fn evidence_file_name(&self, now: UtcTimestamp, packed: &PackedEvidence) -> String {
        // The time keeps the names of repeated exports unique.
        let incomplete = if packed.is_complete() { "" } else { "-incomplete" };
        format!("{}-{}{incomplete}.tar.age", self.incident.id, Timestamp::from(now).as_second())
    }

    /// Records that the evidence was written to a file, and its missing parts.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be written.
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
        let entry_text = match packed.describe_gaps() {
            Some(missing) => format!("{text}; INCOMPLETE: {missing}"),
            None => text.to_owned(),
        };
        self.add_entry(
            context,
            NewTimelineEntry {
                kind: "evidence",
                step: EVIDENCE_STEP_ID,
                text: &entry_text,
                detail: Some(&detail),
            },
        )
    }

    /// Returns the reason why sessions must not be revoked yet: required evidence is missing or incomplete. Returns
    /// `None` once it is complete, or a person skipped that step.
    ///
    /// # Errors
    ///
    /// Fails if the timeline cannot be decoded.
    pub fn missing_evidence(&self) -> Result<Option<String>, StoreError> {
        let is_needed = rules::find_step(EVIDENCE_STEP_ID)
            .is_some_and(|step| step.is_required_for(self.incident.severity));
        if !is_needed || collect_step_records(&self.timeline).iter().any(|done| done.step == EVIDENCE_STEP_ID)
        {
            return Ok(None);
        }
        Ok(match evidence_bundle::evidence_status(&self.timeline)? {
            EvidenceStatus::Complete(_) => None,
            EvidenceStatus::Incomplete(reason) => Some(reason),
            EvidenceStatus::Missing => Some("no evidence has been written yet".into()),
        })
    }

    /// Requires complete evidence before sessions are revoked, or records the reason for revoking without it.
    ///
    /// # Errors
    ///
    /// Fails if the incident is closed, the evidence is incomplete and no reason is given, or the store cannot be
    /// written.
    pub fn require_evidence(
        &mut self,
        context: ActionContext<'_>,
        override_reason: Option<&str>,
    ) -> Result<(), ActionError> {
        let Some(why) = self.missing_evidence()? else { return Ok(()) };
        let Some(reason) = override_reason.and_then(trim_reason) else {
            return Err(ActionError::EvidenceRequired { id: self.incident.id.clone(), why });
        };
        // Recorded as a skipped step, so that the report and the closing show it.
        let entry_text = format!("sessions are revoked without complete evidence ({why}): {reason}");
        let detail = json!({ "reason": reason });
        let skipped = NewTimelineEntry {
            kind: "skipped",
            step: EVIDENCE_STEP_ID,
            text: &entry_text,
            detail: Some(&detail),
        };
        self.add_entry_if_open(context, skipped)
    }

    /// Closes the incident. Open points need a reason for closing anyway.
    ///
    /// # Errors
    ///
    /// Fails if the incident is closed, has open points and no reason is given, or the store cannot be written.
    pub fn close(
        &self,
        context: ActionContext<'_>,
        override_reason: Option<&str>,
    ) -> Result<(), ActionError> {
        let overridden = override_reason.and_then(trim_reason);
        self.change_if_open(context, |db, current| {
            let entry = match current.closing_entry(context, overridden) {
                Ok(entry) => entry,
                Err(refused) => return Ok(Err(refused)),
            };
            let closed = |incident| {
                Ok(IncidentRecord { state: IncidentState::Closed, closed_at: Some(entry.at), ..incident })
            };
            incidents::update_incident(db, &current.incident.id, &entry, closed).map(Ok)
        })
    }

    /// Returns the entry that closes the incident, or an error if it has open points and no reason is given.
    fn closing_entry(
        &self,
        context: ActionContext<'_>,
        overridden: Option<&str>,
    ) -> Result<TimelineEntry, ActionError> {
        let (severity, recorded) = (self.incident.severity, collect_step_records(&self.timeline));
        let points = rules::unfinished_steps(severity, &recorded);
        if !points.is_empty() && overridden.is_none() {
            let points = rules::summarize_unfinished_steps(severity, &recorded);
            return Err(ActionError::NotClosable { id: self.incident.id.clone(), points });
        }
        let detail = json!({ "open_points": points, "override": overridden });
        let closing_note = overridden.map(|reason| match points.is_empty() {
            true => reason.to_owned(),
            false => format!("overridden despite open points ({}): {reason}", points.join("; ")),
        });
        let closing_note = closing_note.as_deref().unwrap_or_default();
        let entry = NewTimelineEntry { kind: "closed", step: "", text: closing_note, detail: Some(&detail) };
        Ok(entry.into_entry(context))
    }

    /// Rejects changes of a closed incident.
    ///
    /// # Errors
    ///
    /// Fails if the incident is closed.
    pub fn require_open(&self) -> Result<(), ActionError> {
        match self.incident.state {
            IncidentState::Closed => Err(ActionError::Closed(self.incident.id.clone())),
            IncidentState::Open | IncidentState::Contained => Ok(()),
        }
    }
}

fn step_entry<'a>(kind: &'a str, step: &'a IncidentStep, text: &'a str) -> NewTimelineEntry<'a> {
    NewTimelineEntry { kind, step: step.id, text, detail: None }
}

/// Returns whether a person may mark a step as done.
#[must_use]
pub fn can_confirm_step(step: &IncidentStep) -> bool {
    !step.is_automatic || step.id == "confirm"
}

#[cfg(test)]
pub(in crate::incident) mod tests;
