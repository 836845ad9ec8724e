//! Working on an incident: from step to step, and what is written down on the way. The command line and the dashboard
//! do the same here.

use jiff::Timestamp;
use serde_json::json;
use sessionwatch_core::{
    incident::{self as rules, Step},
    instant::Instant,
    plural::counted,
};
use sessionwatch_store::{
    StoreError,
    db::Db,
    incidents::{self, Entry, Incident, State, recorded},
};

use super::{
    NewEntry, StepOutcome,
    affected::affected,
    check_step,
    evidence::{self, Frozen, Gap},
    record_containment,
    steps::since_reopened,
    with_field,
};
use crate::remediation::{ActError, Applied, Context, Plan, Selection};

/// What a report says besides what was recorded.
pub const FIELDS: [&str; 5] = ["summary", "root-cause", "data-leaked", "prevention", "lessons"];

/// Steps for which the target is looked at: what that finds belongs on the timeline, also while the step is not done.
const LOOKS: [&str; 4] = ["confirm", "affected", "way-back", "verify"];

/// The step that freezes the evidence.
const EVIDENCE: &str = "evidence";

/// Evidence that is packed, and not sealed yet.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The file.
    pub bytes: Vec<u8>,
    /// What could not be read; empty if the evidence is complete.
    pub gaps: Vec<Gap>,
}

impl Packed {
    /// Whether nothing is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty()
    }

    /// What is missing, in words; `None` if nothing is.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        (!self.is_complete()).then(|| evidence::missing(&self.gaps))
    }
}

/// An incident that is worked on.
#[derive(Clone, Debug)]
pub struct Case {
    /// The incident.
    pub incident: Incident,
    /// What happened so far, oldest first.
    pub timeline: Vec<Entry>,
}

/// Whose sessions are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Contained {
    /// Every session of everybody
    Everybody,
    /// Every session of the users that are named
    Users,
    /// Sessions on tokens that occur more than once
    Duplicates,
    /// Sessions whose user does not exist
    Orphans,
}

impl Contained {
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
pub enum Said<'a> {
    /// Nothing yet.
    Nothing,
    /// It is done, with a note.
    Done(&'a str),
    /// It is passed over, for a reason.
    Skip(&'a str),
}

/// How far one came.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Steps that are behind, each with what was said of it.
    pub passed: Vec<(&'static Step, Passed)>,
    /// The step for which a person is needed, with what is known of it; nothing once every step was gone through.
    pub waits: Option<(&'static Step, String)>,
}

/// How a step came to be behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passed {
    /// A person passed over it.
    Skipped,
    /// A person says that it is done.
    Said,
    /// It was found out.
    Found(String),
}

impl Case {
    /// The incident of an id.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn get(db: Db<'_>, id: &str) -> Result<Option<Self>, StoreError> {
        let Some(incident) = incidents::get(db, id)? else { return Ok(None) };
        Ok(Some(Self { timeline: incidents::timeline(db, id)?, incident }))
    }

    /// The step that is next.
    #[must_use]
    pub fn next(&self) -> Option<&'static Step> {
        rules::next(self.incident.grade, &recorded(&self.timeline))
    }

    /// Puts something on the timeline.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn add(&mut self, context: Context<'_>, entry: NewEntry<'_>) -> Result<(), StoreError> {
        let entry = entry.into_entry(context);
        context.store.write(|db| incidents::add(db, &self.incident.id, &entry))?;
        self.timeline.push(entry);
        Ok(())
    }

    /// Goes on until a person is needed.
    ///
    /// # Errors
    ///
    /// If the incident is closed, what is said cannot be said of the step, or target or store fail.
    pub async fn go_on(&mut self, context: Context<'_>, mut said: Said<'_>) -> Result<Progress, ActError> {
        self.is_unclosed()?;
        let mut passed = vec![];
        while let Some(step) = self.next() {
            match std::mem::replace(&mut said, Said::Nothing) {
                Said::Skip(reason) => {
                    self.leave_behind(context, step, of_step("skipped", step, reason))?;
                    passed.push((step, Passed::Skipped));
                    continue;
                }
                Said::Done(note) if can_be_said(step) && step.needs_note() && note.trim().is_empty() => {
                    return Err(ActError::Unsaid(step.title, step.todo));
                }
                Said::Done(note) if can_be_said(step) => {
                    self.leave_behind(context, step, of_step("done", step, note))?;
                    passed.push((step, Passed::Said));
                    continue;
                }
                Said::Done(_) => return Err(ActError::FoundOut(step.title)),
                Said::Nothing => {}
            }
            let outcome = self.known(context, step).await?;
            if !outcome.holds {
                self.note_found(context, step, &outcome.said)?;
                return Ok(Progress { passed, waits: Some((step, outcome.said)) });
            }
            let found = of_step("done", step, &outcome.said);
            self.leave_behind(context, step, NewEntry { detail: Some(&outcome.detail), ..found })?;
            passed.push((step, Passed::Found(outcome.said)));
        }
        Ok(Progress { passed, waits: None })
    }

    /// Puts a step behind, if it is still the next one: somebody else may work on the same incident.
    fn leave_behind(
        &mut self,
        context: Context<'_>,
        step: &Step,
        entry: NewEntry<'_>,
    ) -> Result<(), ActError> {
        let entry = entry.into_entry(context);
        let id = &self.incident.id;
        let is_next = context.store.write(|db| {
            let timeline = incidents::timeline(db, id)?;
            let next = rules::next(self.incident.grade, &recorded(&timeline));
            let is_next = next.is_some_and(|next| next.id == step.id);
            if is_next {
                incidents::add(db, id, &entry)?;
            }
            Ok(is_next)
        })?;
        if !is_next {
            return Err(ActError::GoneOn(step.title));
        }
        self.timeline.push(entry);
        Ok(())
    }

    /// Reopens a step that is done or was passed over, because that was a mistake: it is gone through again.
    ///
    /// # Errors
    ///
    /// If the incident is closed, there is no such step, it is not behind, or it cannot be written.
    pub fn reopen_step(&mut self, context: Context<'_>, step: &str, reason: &str) -> Result<(), ActError> {
        self.is_unclosed()?;
        if !recorded(&self.timeline).iter().any(|done| done.step == step) {
            return Err(ActError::NotPassed(step.to_owned()));
        }
        let reopened = NewEntry { kind: "step-reopened", step, said: reason, detail: None };
        Ok(self.add(context, reopened)?)
    }

    /// What can be known of a step; where a person has to say that it is done, it does not hold.
    async fn known(&self, context: Context<'_>, step: &Step) -> Result<StepOutcome, ActError> {
        if step.found_out {
            return check_step(context, &self.incident, &self.timeline, step).await;
        }
        let said = if step.id == "affected" { affected(context).await? } else { String::new() };
        Ok(StepOutcome { holds: false, said, detail: json!({}) })
    }

    /// Notes what a look found of a step that is not done; the same is not noted twice.
    fn note_found(&mut self, context: Context<'_>, step: &Step, said: &str) -> Result<(), StoreError> {
        if !LOOKS.contains(&step.id) || said.is_empty() || self.found(step) == Some(said) {
            return Ok(());
        }
        self.add(context, of_step("found", step, said))
    }

    /// What was found out of a step last, since the incident was opened, or opened anew.
    #[must_use]
    pub fn found(&self, step: &Step) -> Option<&str> {
        let of_step =
            |entry: &&Entry| matches!(entry.kind.as_str(), "found" | "evidence") && entry.step == step.id;
        since_reopened(&self.timeline).iter().rev().find(of_step).map(|entry| entry.said.as_str())
    }

    /// Keeps what the report is to say.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn set(&self, context: Context<'_>, name: &str, text: &str) -> Result<(), StoreError> {
        let (said, detail) = (format!("{name}: {text}"), json!({ "name": name }));
        let entry =
            NewEntry { kind: "set", step: "", said: &said, detail: Some(&detail) }.into_entry(context);
        let said = |incident| with_field(incident, name, text);
        context.store.write(|db| incidents::change(db, &self.incident.id, &entry, said))
    }

    /// Gathers the evidence, packed and not sealed yet: what could not be read is among its gaps. [`Case::froze`] notes where
    /// it went.
    ///
    /// # Errors
    ///
    /// If the timeline cannot be decoded, or there is no memory for it.
    pub async fn evidence(&self, context: Context<'_>) -> Result<Packed, ActError> {
        let bundle = evidence::gather(context, &self.incident, &self.timeline).await?;
        let packed = evidence::pack(&bundle.parts, context.clock.now());
        let bytes =
            packed.map_err(|_| ActError::Unexpected("there is not enough memory for the evidence"))?;
        Ok(Packed { bytes, gaps: bundle.gaps })
    }

    /// A name for a file of evidence, which says if it is incomplete.
    #[must_use]
    pub fn evidence_name(&self, now: Instant, packed: &Packed) -> String {
        let incomplete = if packed.is_complete() { "" } else { "-incomplete" };
        format!("{}-{}{incomplete}.tar.age", self.incident.id, Timestamp::from(now).as_second())
    }

    /// Notes that the evidence was written to that file, and what is missing in it.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn froze(
        &mut self,
        context: Context<'_>,
        said: &str,
        file: &str,
        packed: &Packed,
    ) -> Result<(), StoreError> {
        let detail = json!({
            "file": file, "bytes": packed.bytes.len(), "complete": packed.is_complete(), "missing": packed.gaps,
        });
        let said = match packed.missing() {
            Some(missing) => format!("{said}; INCOMPLETE: {missing}"),
            None => said.to_owned(),
        };
        self.add(context, NewEntry { kind: "evidence", step: EVIDENCE, said: &said, detail: Some(&detail) })
    }

    /// Why sessions are not to be ended yet: the incident needs evidence, and there is no complete one. Returns `None` once
    /// there is, or a person passed over that step.
    ///
    /// # Errors
    ///
    /// If the timeline cannot be decoded.
    pub fn lacks_evidence(&self) -> Result<Option<String>, StoreError> {
        let is_needed = rules::find(EVIDENCE).is_some_and(|step| step.is_needed(self.incident.grade));
        if !is_needed || recorded(&self.timeline).iter().any(|done| done.step == EVIDENCE) {
            return Ok(None);
        }
        Ok(match evidence::frozen(&self.timeline)? {
            Frozen::Complete(_) => None,
            Frozen::Incomplete(said) => Some(said),
            Frozen::No => Some("no evidence was written yet".into()),
        })
    }

    /// Makes sure that the evidence is complete before sessions are ended, or notes for what reason a person does not wait
    /// for it.
    ///
    /// # Errors
    ///
    /// If it is not complete and there is no reason, or the reason cannot be noted.
    pub fn require_evidence(&mut self, context: Context<'_>, reason: Option<&str>) -> Result<(), ActError> {
        let Some(why) = self.lacks_evidence()? else { return Ok(()) };
        let Some(reason) = reason.map(str::trim).filter(|reason| !reason.is_empty()) else {
            return Err(ActError::NotFrozen { id: self.incident.id.clone(), why });
        };
        let said = format!("sessions are ended without complete evidence ({why}): {reason}");
        let detail = json!({ "reason": reason });
        let skipped = NewEntry { kind: "skipped", step: EVIDENCE, said: &said, detail: Some(&detail) };
        Ok(self.add(context, skipped)?)
    }

    /// Notes that a plan was carried out to end sessions. What was not finished is gone on with, and not yet contained.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn ended(&self, context: Context<'_>, plan: &Plan, applied: &Applied) -> Result<(), StoreError> {
        let done = applied.done + applied.earlier;
        let said = format!(
            "{} ended {} of {}; {} were left, {} remain",
            plan.selection.name(),
            counted(done, "session", "sessions"),
            counted(plan.summary.users, "user", "users"),
            applied.skipped,
            applied.remaining
        );
        let detail = json!({
            "plan": plan.kept.id, "done": done, "users": plan.summary.users,
            "skipped": applied.skipped, "remaining": applied.remaining, "left": applied.left,
        });
        if applied.remaining == 0 {
            return record_containment(context, &self.incident, &said, &detail);
        }
        let entry = NewEntry { kind: "note", step: "contain", said: &said, detail: Some(&detail) }
            .into_entry(context);
        context.store.write(|db| incidents::add(db, &self.incident.id, &entry))
    }

    /// Closes it, if nothing speaks against that, or for a reason all the same.
    ///
    /// # Errors
    ///
    /// If it is closed, something speaks against it, or it cannot be written.
    pub fn close(&self, context: Context<'_>, overridden: Option<&str>) -> Result<(), ActError> {
        self.is_unclosed()?;
        let points = rules::open_points(self.incident.grade, &recorded(&self.timeline));
        let overridden = overridden.filter(|reason| !reason.is_empty());
        if !points.is_empty() && overridden.is_none() {
            return Err(ActError::NotYet { id: self.incident.id.clone(), points });
        }
        let detail = json!({ "open_points": points, "override": overridden });
        let said = overridden.map(|reason| match points.is_empty() {
            true => reason.to_owned(),
            false => format!("overridden, though {}: {reason}", points.join("; ")),
        });
        let said = said.as_deref().unwrap_or_default();
        let entry = NewEntry { kind: "closed", step: "", said, detail: Some(&detail) }.into_entry(context);
        let closed = |incident| Ok(Incident { state: State::Closed, closed_at: Some(entry.at), ..incident });
        Ok(context.store.write(|db| incidents::change(db, &self.incident.id, &entry, closed))?)
    }

    /// Refuses to go on with an incident that is closed.
    ///
    /// # Errors
    ///
    /// If it is.
    pub fn is_unclosed(&self) -> Result<(), ActError> {
        match self.incident.state {
            State::Closed => Err(ActError::Closed(self.incident.id.clone())),
            State::Open | State::Contained => Ok(()),
        }
    }
}

/// Something for the timeline about a step.
fn of_step<'a>(kind: &'a str, step: &'a Step, said: &'a str) -> NewEntry<'a> {
    NewEntry { kind, step: step.id, said, detail: None }
}

/// Whether a person may say that a step is done.
#[must_use]
pub fn can_be_said(step: &Step) -> bool {
    !step.found_out || step.id == "confirm"
}
