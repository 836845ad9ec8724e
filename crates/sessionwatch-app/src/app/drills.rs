//! Drills: a token leak is planted in a copy of a target, then detected, contained and verified against the clock.

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

/// Target name under which drills on the sample database are recorded. The file has a new name each time, but drills
/// with the same target name are compared.
pub const DEMO_TARGET_NAME: &str = "sqlite:sessionwatch-drill-demo.db";
/// Number of earlier drills on the same target to list.
const MAX_EARLIER_DRILLS: usize = 5;

/// Mode of a drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrillMode {
    /// A user finds the leak and confirms the plan.
    Guided,
    /// The program runs all steps unattended.
    Automatic,
}

/// Progress of a drill.
#[derive(Clone, Copy, Debug)]
pub enum DrillEvent<'a> {
    /// An earlier drill left something behind; holds a description and the result of its removal.
    Leftover(&'a str),
    /// The user asked to stop; the copy is removed first.
    Stopping,
    /// The copy could not be removed; holds instructions for removing it by hand.
    NotRemoved(&'a str),
    /// The leak is planted; detection starts.
    Planted {
        /// Name of the target that was copied.
        target: &'a str,
        /// Address of the copy.
        address: &'a TargetAddress,
    },
    /// The answer was wrong; the question is asked again.
    WrongAnswer,
    /// A check run detected the leak.
    Detected {
        /// Summary of the failing check.
        summary: &'a str,
        /// Users who share a token.
        users: &'a BTreeSet<String>,
    },
    /// The leak is detected; containment starts.
    Containing,
    /// The plan that revokes the sessions was created.
    Planned(&'a ActionPlan),
    /// The sessions are revoked; verification starts.
    Contained {
        /// Number of revoked sessions.
        sessions: u64,
    },
    /// No token is shared, and no session has reappeared.
    Verified,
}

/// Question of a guided drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrillQuestion {
    /// Ids of the users who share a token.
    AffectedUsers,
    /// Target name, [`TARGET_NAME`], to confirm the plan.
    Confirmation,
    /// `yes` if the incident is over.
    IsOver,
}

/// User interface of a drill.
pub trait DrillPrompter {
    /// Error that ends the drill.
    type Error: From<DrillError>;

    /// Reports progress.
    ///
    /// # Errors
    ///
    /// If the output fails, which ends the drill.
    fn report_event(&mut self, event: DrillEvent<'_>) -> Result<(), Self::Error>;

    /// Asks a question and waits for one answer. Not called in automatic drills.
    ///
    /// # Errors
    ///
    /// If the input ends, which ends the drill.
    fn ask_question(&mut self, question: DrillQuestion) -> impl Future<Output = Result<String, Self::Error>>;
}

/// Error of a drill.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// An action on the target, or on its copy, failed.
    #[error(transparent)]
    Action(#[from] ActionError),
    /// The drill could not be recorded.
    #[error(transparent)]
    App(Box<AppError>),
    /// The sample database could not be created.
    #[error(transparent)]
    Demonstration(#[from] DemoError),
    /// The user stopped the drill.
    #[error("the drill was interrupted")]
    Interrupted,
    /// The check run did not detect the leak; holds what the run reported.
    #[error("the check run missed the planted leak and reported: {0}")]
    NotDetected(String),
    /// The leak persists after containment.
    #[error("tokens are still shared after the sessions were revoked")]
    NotContained,
}

/// Completed drill.
#[derive(Clone, Debug)]
pub struct FinishedDrill {
    /// The drill.
    pub drill: DrillRecord,
    /// Earlier drills on the same target, the latest first.
    pub earlier: Vec<DrillRecord>,
}

/// Creates the sample database for a drill, which is deleted when the value is dropped.
///
/// # Errors
///
/// If the file cannot be written.
pub fn create_demonstration() -> Result<DrillDemoFile, DrillError> {
    let demonstration = DrillDemoFile::reserve()?;
    demo::create_database(demonstration.path(), clock::now())?;
    Ok(demonstration)
}

/// Runs a drill on a copy of a target and removes the copy in every case. `stop_requested` waits for the next request
/// to stop. While the copy is being made, the first request stops as soon as the copy can be removed, and the second
/// one stops immediately.
///
/// # Errors
///
/// If the copy cannot be made, the drill fails or is interrupted, or the drill cannot be recorded.
pub async fn run_drill<G: DrillPrompter>(
    ops: &TargetOps,
    mode: DrillMode,
    prompter: &mut G,
    mut stop_requested: impl AsyncFnMut(),
) -> Result<FinishedDrill, G::Error> {
    // First of all: a crashed drill may have left a copy with a planted leak behind.
    let folder = drill::drill_folder(&ops.config.serve.store);
    for left in drill::remove_leftovers(ops.action_context(), &folder).await {
        prompter.report_event(DrillEvent::Leftover(&left))?;
    }
    let database = prepare_database(ops, &folder, prompter, &mut stop_requested).await?;
    // Asked for before the run, because the copy is consumed by it.
    let by_hand = database.manual_removal();
    let used = database.run_and_remove(async |database| {
        tokio::select! {
            took = DrillRun { ops, mode, database, prompter: &mut *prompter }.run() => took,
            () = stop_requested() => Err(DrillError::Interrupted.into()),
        }
    });
    // The outcome is returned only after the copy is gone: it contains a planted leak.
    let (took, left) = used.await;
    if left.is_some() {
        prompter.report_event(DrillEvent::NotRemoved(&format!("remove the copy by hand: {by_hand}")))?;
    }
    let drill = DrillRecord {
        at: ops.app.clock.now(),
        target: ops.target.name.clone(),
        actor: ops.actor.name().to_owned(),
        phase_durations: took?,
    };
    // Recorded only after the copy is gone, so that a recorded drill never leaves anything to clean up.
    let recorded = record_drill(&ops.app, drill).await;
    Ok(recorded.map_err(|error| DrillError::App(Box::new(error)))?)
}

/// Makes the copy. Waits after the first request to stop until the copy can be removed; stops immediately after the
/// second.
async fn prepare_database<G: DrillPrompter>(
    ops: &TargetOps,
    folder: &Path,
    prompter: &mut G,
    stop_requested: &mut impl AsyncFnMut(),
) -> Result<DrillDatabase, G::Error> {
    let mut preparing = pin!(drill::prepare_drill(ops.action_context(), folder));
    // Biased, so that a request to stop wins over a copy that is finished at the same moment.
    let (database, reported) = tokio::select! {
        biased;
        () = stop_requested() => {
            let reported = prompter.report_event(DrillEvent::Stopping);
            tokio::select! {
                biased;
                () = stop_requested() => return Err(DrillError::Interrupted.into()),
                prepared = &mut preparing => (prepared.map_err(DrillError::from)?, reported),
            }
        }
        prepared = &mut preparing => return Ok(prepared.map_err(DrillError::from)?),
    };
    if let Some(left) = database.remove().await {
        prompter.report_event(DrillEvent::NotRemoved(&left))?;
    }
    reported?;
    Err(DrillError::Interrupted.into())
}

async fn record_drill(app: &Arc<AppState>, drill: DrillRecord) -> Result<FinishedDrill, AppError> {
    app.write_store(move |db| {
        // Durations on different targets do not compare: a large copy takes longer to scan.
        let is_comparable = |earlier: &DrillRecord| earlier.target == drill.target;
        let earlier =
            incidents::list_drills(db)?.into_iter().filter(is_comparable).take(MAX_EARLIER_DRILLS).collect();
        incidents::insert_drill(db, &drill)?;
        Ok(FinishedDrill { drill: drill.clone(), earlier })
    })
    .await
}

/// Detection, containment and verification of a drill.
struct DrillRun<'a, G> {
    ops: &'a TargetOps,
    mode: DrillMode,
    database: &'a DrillDatabase,
    prompter: &'a mut G,
}

impl<G: DrillPrompter> DrillRun<'_, G> {
    /// Runs the three phases. Returns the time from the start to the end of each.
    async fn run(mut self) -> Result<[SignedDuration; 3], G::Error> {
        let context = ActionContext {
            config: &self.ops.config,
            target: &self.database.target,
            store: &self.database.store,
            clock: &Clock::System,
            actor: self.ops.actor.name(),
        };
        // Monotonic, so that a clock that is set during the drill does not distort the durations.
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

    /// Finds the users who share a token: by asking the user, or by a check run.
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

    /// Revokes the sessions that share a token.
    async fn contain_leak(&mut self, context: ActionContext<'_>) -> Result<AppliedPlan, G::Error> {
        let created = remediation::create_plan(context, &Selection::Duplicates).await;
        let plan = created.map_err(DrillError::from)?;
        self.prompter.report_event(DrillEvent::Planned(&plan))?;
        // Typing the name is what a real plan above the safety limit asks for.
        self.ask_until_correct(DrillQuestion::Confirmation, |answer| answer == TARGET_NAME).await?;
        let plan_id = plan.record.id.clone();
        let ended_sessions = apply_drill_plan(context, plan).await.map_err(DrillError::from)?;
        Ok(AppliedPlan { plan_id, ended_sessions })
    }

    /// Asks until the answer is correct. Does nothing in automatic drills.
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

struct AppliedPlan {
    plan_id: String,
    ended_sessions: u64,
}

/// Applies a plan and returns the number of revoked sessions.
async fn apply_drill_plan(context: ActionContext<'_>, plan: ActionPlan) -> Result<u64, ActionError> {
    // The private key is discarded: rows of the copy are never restored.
    let (recipient, control) = (Identity::generate()?.recipient(), JobControl::default());
    let keys = ArchiveKeys { recipient: Some(&recipient), ..ArchiveKeys::default() };
    let confirmation = Confirmation { typed_name: Some(TARGET_NAME), ..Confirmation::default() };
    Ok(PlanExecutor { context, keys, confirmation, control: &control }.run(plan).await?.done)
}

/// Checks that no token is shared, and that no session of the plan has reappeared.
async fn verify_containment(context: ActionContext<'_>, plan_id: &str) -> Result<(), DrillError> {
    let report = incident::run_full_check(context).await;
    let is_over = report
        .observation
        .as_ref()
        .is_ok_and(|seen| seen.stats.duplicates.count().is_some_and(|found| found.tokens == 0));
    let returned = remediation::count_reappeared(context, plan_id).await?;
    if is_over && returned == 0 { Ok(()) } else { Err(DrillError::NotContained) }
}
