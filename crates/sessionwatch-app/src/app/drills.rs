//! Drills: a leak is planted in a copy of a target, and found, ended and verified, by the clock.

use std::{collections::BTreeSet, path::Path, pin::pin, sync::Arc, time::Instant as Monotonic};

use jiff::SignedDuration;
use sessionwatch_archive::Identity;
use sessionwatch_clock::{self as clock, Clock, to_signed_duration};
use sessionwatch_core::checks::CheckVerdict;
use sessionwatch_store::incidents;
use sessionwatch_targets::address::TargetAddress;

use super::{AppError, AppState, TargetOps};
use crate::{
    demo::{self, DemoError},
    incident::{
        self,
        drill::{self, DrillDatabase},
    },
    remediation::{
        self, ActionContext, ActionError, ActionPlan, ArchiveKeys, Confirmation, JobControl, PlanExecutor,
        Selection,
    },
};

pub use crate::incident::drill::{DrillDemoFile, TARGET_NAME};
pub use sessionwatch_store::incidents::DrillRecord;

/// The name of the target by which drills on the demonstration are kept. Its file has another name each time, and its times
/// are compared all the same.
pub const DEMO_TARGET_NAME: &str = "sqlite:sessionwatch-drill-demo.db";
/// Earlier drills on the same target that are listed.
const MAX_EARLIER_DRILLS: usize = 5;

/// Who goes through a drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrillMode {
    /// A person: what to find and to confirm is asked.
    Guided,
    /// The program by itself: nobody is asked.
    Automatic,
}

/// A step of a drill, reported as it happens.
#[derive(Clone, Copy, Debug)]
pub enum DrillEvent<'a> {
    /// What an earlier drill left behind, and what became of it, in words.
    Leftover(&'a str),
    /// The person wants to stop, and what was begun is removed first.
    Stopping,
    /// What was made could not be removed: how to remove it by hand.
    NotRemoved(&'a str),
    /// The leak was planted, and is to be found.
    Planted {
        /// The name of the target that the sample was taken of.
        target: &'a str,
        /// Where the sample is.
        address: &'a TargetAddress,
    },
    /// The answer is not right: it is asked again.
    WrongAnswer,
    /// A run of the checks found the leak.
    Detected {
        /// What the check says.
        summary: &'a str,
        /// The users who share a token.
        users: &'a BTreeSet<String>,
    },
    /// The leak was found, and the sessions are to be ended.
    Containing,
    /// How they are ended.
    Planned(&'a ActionPlan),
    /// They were ended, and that is to be verified.
    Contained {
        /// How many.
        sessions: u64,
    },
    /// No token is shared any more, and no session came back.
    Verified,
}

/// A question of a guided drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrillQuestion {
    /// The ids of the users who share a token.
    AffectedUsers,
    /// The name of the target, [`TARGET_NAME`], to carry out the plan.
    Confirmation,
    /// `yes` if it is over.
    IsOver,
}

/// Through whom a drill speaks with a person.
pub trait DrillPrompter {
    /// What ends the drill.
    type Error: From<DrillError>;

    /// Tells what happened, and so what is next.
    ///
    /// # Errors
    ///
    /// If it cannot be told: the drill ends.
    fn report_event(&mut self, event: DrillEvent<'_>) -> Result<(), Self::Error>;

    /// Asks something, and waits for one answer. In an automatic drill nothing is asked.
    ///
    /// # Errors
    ///
    /// If nobody answers: the drill ends.
    fn ask_question(&mut self, question: DrillQuestion) -> impl Future<Output = Result<String, Self::Error>>;
}

/// What keeps a drill from its end.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// An action on the target, or on its copy, failed.
    #[error(transparent)]
    Action(#[from] ActionError),
    /// The drill could not be recorded.
    #[error(transparent)]
    App(Box<AppError>),
    /// The demonstration could not be made.
    #[error(transparent)]
    Demonstration(#[from] DemoError),
    /// The person wanted to stop.
    #[error("the drill was interrupted")]
    Interrupted,
    /// The leak was not found: what was found instead.
    #[error("the look did not find the leak that was planted, but: {0}")]
    NotDetected(String),
    /// The sessions were not ended.
    #[error("tokens are still shared after the sessions were ended")]
    NotContained,
}

/// A drill that came to its end.
#[derive(Clone, Debug)]
pub struct FinishedDrill {
    /// The drill.
    pub drill: DrillRecord,
    /// The last ones on the same target, the latest first.
    pub earlier: Vec<DrillRecord>,
}

/// Makes the demonstration for a drill, which is removed with the value.
///
/// # Errors
///
/// If it cannot be written.
pub fn create_demonstration() -> Result<DrillDemoFile, DrillError> {
    let demonstration = DrillDemoFile::reserve()?;
    demo::create_database(demonstration.path(), clock::now())?;
    Ok(demonstration)
}

/// Goes through a drill on a copy of a target, which is removed at the end, whatever happens. `stop_requested` waits for the
/// next time that the person wants to stop; while the copy is being made, once stops when that can be removed, and twice at
/// once.
///
/// # Errors
///
/// If the copy cannot be made, the drill does not come to its end, or it cannot be recorded.
pub async fn run_drill<G: DrillPrompter>(
    ops: &TargetOps,
    mode: DrillMode,
    prompter: &mut G,
    mut stop_requested: impl AsyncFnMut(),
) -> Result<FinishedDrill, G::Error> {
    let folder = drill::drill_folder(&ops.config.serve.store);
    for left in drill::remove_leftovers(ops.action_context(), &folder).await {
        prompter.report_event(DrillEvent::Leftover(&left))?;
    }
    let database = prepare_database(ops, &folder, prompter, &mut stop_requested).await?;
    let by_hand = database.manual_removal();
    let used = database.run_and_remove(async |database| {
        tokio::select! {
            took = DrillRun { ops, mode, database, prompter: &mut *prompter }.run() => took,
            () = stop_requested() => Err(DrillError::Interrupted.into()),
        }
    });
    // Nothing is left behind, whatever happened.
    let (took, left) = used.await;
    if left.is_some() {
        prompter.report_event(DrillEvent::NotRemoved(&format!("remove it by hand: {by_hand}")))?;
    }
    let drill = DrillRecord {
        at: ops.app.clock.now(),
        target: ops.target.name.clone(),
        actor: ops.actor.name().to_owned(),
        phase_durations: took?,
    };
    let recorded = record_drill(&ops.app, drill).await;
    Ok(recorded.map_err(|error| DrillError::App(Box::new(error)))?)
}

/// Makes the copy. Asked to stop, it waits until what was begun can be removed; asked again, it ends at once.
async fn prepare_database<G: DrillPrompter>(
    ops: &TargetOps,
    folder: &Path,
    prompter: &mut G,
    stop_requested: &mut impl AsyncFnMut(),
) -> Result<DrillDatabase, G::Error> {
    let mut preparing = pin!(drill::prepare_drill(ops.action_context(), folder));
    let (database, told) = tokio::select! {
        biased;
        () = stop_requested() => {
            let told = prompter.report_event(DrillEvent::Stopping);
            tokio::select! {
                biased;
                () = stop_requested() => return Err(DrillError::Interrupted.into()),
                made = &mut preparing => (made.map_err(DrillError::from)?, told),
            }
        }
        made = &mut preparing => return Ok(made.map_err(DrillError::from)?),
    };
    if let Some(left) = database.remove().await {
        prompter.report_event(DrillEvent::NotRemoved(&left))?;
    }
    told?;
    Err(DrillError::Interrupted.into())
}

/// Records a drill.
async fn record_drill(app: &Arc<AppState>, drill: DrillRecord) -> Result<FinishedDrill, AppError> {
    app.write_store(move |db| {
        let is_comparable = |earlier: &DrillRecord| earlier.target == drill.target;
        let earlier =
            incidents::list_drills(db)?.into_iter().filter(is_comparable).take(MAX_EARLIER_DRILLS).collect();
        incidents::insert_drill(db, &drill)?;
        Ok(FinishedDrill { drill: drill.clone(), earlier })
    })
    .await
}

/// The three parts of a drill.
struct DrillRun<'a, G> {
    ops: &'a TargetOps,
    mode: DrillMode,
    database: &'a DrillDatabase,
    prompter: &'a mut G,
}

impl<G: DrillPrompter> DrillRun<'_, G> {
    /// Goes through them: the time since the start at which each was over.
    async fn run(mut self) -> Result<[SignedDuration; 3], G::Error> {
        let context = ActionContext {
            config: &self.ops.config,
            target: &self.database.target,
            store: &self.database.store,
            clock: &Clock::System,
            actor: self.ops.actor.name(),
        };
        let started = Monotonic::now();
        let since = || to_signed_duration(started.elapsed());
        let (target, address) = (self.ops.target.name.as_str(), &self.database.target.address);
        self.prompter.report_event(DrillEvent::Planted { target, address })?;
        self.detect_leak(context).await?;
        let detected = since();
        self.prompter.report_event(DrillEvent::Containing)?;
        let applied = self.contain_leak(context).await?;
        let contained = since();
        self.prompter.report_event(DrillEvent::Contained { sessions: applied.ended_sessions })?;
        verify_containment(context, &applied.plan_id).await?;
        self.prompter.report_event(DrillEvent::Verified)?;
        self.ask_until_correct(DrillQuestion::IsOver, |answer| answer == "yes").await?;
        Ok([detected, contained, since()])
    }

    /// Has the users who share a token found, by the person or by a run of the checks.
    async fn detect_leak(&mut self, context: ActionContext<'_>) -> Result<(), G::Error> {
        let affected = &self.database.affected;
        if self.mode == DrillMode::Guided {
            let is_right = |answer: &str| {
                let named: BTreeSet<String> =
                    answer.split([' ', ',']).filter(|id| !id.is_empty()).map(str::to_owned).collect();
                named == *affected
            };
            return self.ask_until_correct(DrillQuestion::AffectedUsers, is_right).await;
        }
        let report = incident::run_full_check(context).await;
        let found = report.results.iter().find(|outcome| outcome.id == "duplicate-tokens");
        let Some(outcome) = found.filter(|outcome| outcome.outcome.verdict == CheckVerdict::Failing) else {
            return Err(DrillError::NotDetected(incident::severe_findings(&report).join("; ")).into());
        };
        let users = outcome.evidence.iter().filter_map(|row| row.user.clone()).collect();
        self.prompter.report_event(DrillEvent::Detected { summary: &outcome.outcome.summary, users: &users })
    }

    /// Ends the sessions that share a token.
    async fn contain_leak(&mut self, context: ActionContext<'_>) -> Result<AppliedPlan, G::Error> {
        let made = remediation::create_plan(context, &Selection::Duplicates).await;
        let plan = made.map_err(DrillError::from)?;
        self.prompter.report_event(DrillEvent::Planned(&plan))?;
        self.ask_until_correct(DrillQuestion::Confirmation, |answer| answer == TARGET_NAME).await?;
        let id = plan.record.id.clone();
        let sessions = apply_drill_plan(context, plan).await.map_err(DrillError::from)?;
        Ok(AppliedPlan { plan_id: id, ended_sessions: sessions })
    }

    /// Asks until the answer is right; where nobody is asked, nothing is.
    async fn ask_until_correct(
        &mut self,
        question: DrillQuestion,
        is_right: impl Fn(&str) -> bool,
    ) -> Result<(), G::Error> {
        if self.mode == DrillMode::Automatic {
            return Ok(());
        }
        while !is_right(self.prompter.ask_question(question).await?.trim()) {
            self.prompter.report_event(DrillEvent::WrongAnswer)?;
        }
        Ok(())
    }
}

/// A plan that was carried out.
struct AppliedPlan {
    /// Its id.
    plan_id: String,
    /// How many sessions it ended.
    ended_sessions: u64,
}

/// Carries out a plan, with an archive that nobody can open: the number of sessions that were ended.
async fn apply_drill_plan(context: ActionContext<'_>, plan: ActionPlan) -> Result<u64, ActionError> {
    let (recipient, control) = (Identity::generate()?.recipient(), JobControl::default());
    let keys = ArchiveKeys { recipient: Some(&recipient), ..ArchiveKeys::default() };
    let consent = Confirmation { typed_name: Some(TARGET_NAME), ..Confirmation::default() };
    Ok(PlanExecutor { context, keys, confirmation: consent, control: &control }.run(plan).await?.done)
}

/// Makes sure that no token is shared any more, and that no session of the plan came back.
async fn verify_containment(context: ActionContext<'_>, plan_id: &str) -> Result<(), DrillError> {
    let report = incident::run_full_check(context).await;
    let is_over = report
        .observation
        .as_ref()
        .is_ok_and(|seen| seen.stats.duplicates.count().is_some_and(|found| found.tokens == 0));
    let returned = remediation::count_reappeared(context, plan_id).await?;
    if is_over && returned == 0 { Ok(()) } else { Err(DrillError::NotContained) }
}
