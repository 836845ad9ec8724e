//! Drills: a leak is planted in a copy of a target, and found, ended and verified, by the clock.

use std::{collections::BTreeSet, path::Path, pin::pin, sync::Arc, time::Instant as Monotonic};

use jiff::SignedDuration;
use sessionwatch_archive::Identity;
use sessionwatch_clock::{self as clock, Clock, length_of};
use sessionwatch_core::checks::Verdict;
use sessionwatch_store::incidents;
use sessionwatch_targets::address::Address;

use super::{AppError, AppState, TargetOps};
use crate::{
    demo::{self, DemoError},
    incident::{
        self,
        drill::{self, DrillDatabase},
    },
    remediation::{self, ActError, ArchiveKeys, Consent, Context, Control, Executor, Plan, Selection},
};

pub use crate::incident::drill::{Demonstration, TARGET_NAME};
pub use sessionwatch_store::incidents::Drill;

/// The name of the target by which drills on the demonstration are kept. Its file has another name each time, and its times
/// are compared all the same.
pub const DEMONSTRATION_TARGET: &str = "sqlite:sessionwatch-drill-demo.db";
/// Earlier drills on the same target that are listed.
const EARLIER_DRILLS: usize = 5;

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
        address: &'a Address,
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
    Planned(&'a Plan),
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
pub trait DrillGuide {
    /// What ends the drill.
    type Error: From<DrillError>;

    /// Tells what happened, and so what is next.
    ///
    /// # Errors
    ///
    /// If it cannot be told: the drill ends.
    fn tell(&mut self, event: DrillEvent<'_>) -> Result<(), Self::Error>;

    /// Asks something, and waits for one answer. In an automatic drill nothing is asked.
    ///
    /// # Errors
    ///
    /// If nobody answers: the drill ends.
    fn ask(&mut self, question: DrillQuestion) -> impl Future<Output = Result<String, Self::Error>>;
}

/// What keeps a drill from its end.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// An action on the target, or on its copy, failed.
    #[error(transparent)]
    Action(#[from] ActError),
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
    pub drill: Drill,
    /// The last ones on the same target, the latest first.
    pub earlier: Vec<Drill>,
}

/// Makes the demonstration for a drill, which is removed with the value.
///
/// # Errors
///
/// If it cannot be written.
pub fn create_demonstration() -> Result<Demonstration, DrillError> {
    let demonstration = Demonstration::named()?;
    demo::create(demonstration.path(), clock::now())?;
    Ok(demonstration)
}

/// Goes through a drill on a copy of a target, which is removed at the end, whatever happens. `stop_requested` waits for the
/// next time that the person wants to stop; while the copy is being made, once stops when that can be removed, and twice at
/// once.
///
/// # Errors
///
/// If the copy cannot be made, the drill does not come to its end, or it cannot be recorded.
pub async fn run_drill<G: DrillGuide>(
    ops: &TargetOps,
    mode: DrillMode,
    guide: &mut G,
    mut stop_requested: impl AsyncFnMut(),
) -> Result<FinishedDrill, G::Error> {
    let folder = drill::folder(&ops.config.serve.store);
    for left in drill::clear(ops.context(), &folder).await {
        guide.tell(DrillEvent::Leftover(&left))?;
    }
    let database = prepare(ops, &folder, guide, &mut stop_requested).await?;
    let by_hand = database.by_hand();
    let used = database.use_and_remove(async |database| {
        tokio::select! {
            took = Rehearsal { ops, mode, database, guide: &mut *guide }.run() => took,
            () = stop_requested() => Err(DrillError::Interrupted.into()),
        }
    });
    // Nothing is left behind, whatever happened.
    let (took, left) = used.await;
    if left.is_some() {
        guide.tell(DrillEvent::NotRemoved(&format!("remove it by hand: {by_hand}")))?;
    }
    let drill = Drill {
        at: ops.app.clock.now(),
        target: ops.target.name.clone(),
        actor: ops.actor.name().to_owned(),
        took: took?,
    };
    let recorded = record(&ops.app, drill).await;
    Ok(recorded.map_err(|error| DrillError::App(Box::new(error)))?)
}

/// Makes the copy. Asked to stop, it waits until what was begun can be removed; asked again, it ends at once.
async fn prepare<G: DrillGuide>(
    ops: &TargetOps,
    folder: &Path,
    guide: &mut G,
    stop_requested: &mut impl AsyncFnMut(),
) -> Result<DrillDatabase, G::Error> {
    let mut preparing = pin!(drill::prepare(ops.context(), folder));
    let (database, told) = tokio::select! {
        biased;
        () = stop_requested() => {
            let told = guide.tell(DrillEvent::Stopping);
            tokio::select! {
                biased;
                () = stop_requested() => return Err(DrillError::Interrupted.into()),
                made = &mut preparing => (made.map_err(DrillError::from)?, told),
            }
        }
        made = &mut preparing => return Ok(made.map_err(DrillError::from)?),
    };
    if let Some(left) = database.remove().await {
        guide.tell(DrillEvent::NotRemoved(&left))?;
    }
    told?;
    Err(DrillError::Interrupted.into())
}

/// Records a drill.
async fn record(app: &Arc<AppState>, drill: Drill) -> Result<FinishedDrill, AppError> {
    app.write(move |db| {
        let is_comparable = |earlier: &Drill| earlier.target == drill.target;
        let earlier = incidents::drills(db)?.into_iter().filter(is_comparable).take(EARLIER_DRILLS).collect();
        incidents::add_drill(db, &drill)?;
        Ok(FinishedDrill { drill: drill.clone(), earlier })
    })
    .await
}

/// The three parts of a drill.
struct Rehearsal<'a, G> {
    ops: &'a TargetOps,
    mode: DrillMode,
    database: &'a DrillDatabase,
    guide: &'a mut G,
}

impl<G: DrillGuide> Rehearsal<'_, G> {
    /// Goes through them: the time since the start at which each was over.
    async fn run(mut self) -> Result<[SignedDuration; 3], G::Error> {
        let context = Context {
            config: &self.ops.config,
            target: &self.database.target,
            store: &self.database.store,
            clock: &Clock::System,
            actor: self.ops.actor.name(),
        };
        let started = Monotonic::now();
        let since = || length_of(started.elapsed());
        let (target, address) = (self.ops.target.name.as_str(), &self.database.target.address);
        self.guide.tell(DrillEvent::Planted { target, address })?;
        self.detect(context).await?;
        let detected = since();
        self.guide.tell(DrillEvent::Containing)?;
        let applied = self.contain(context).await?;
        let contained = since();
        self.guide.tell(DrillEvent::Contained { sessions: applied.sessions })?;
        verify(context, &applied.plan).await?;
        self.guide.tell(DrillEvent::Verified)?;
        self.ask(DrillQuestion::IsOver, |answer| answer == "yes").await?;
        Ok([detected, contained, since()])
    }

    /// Has the users who share a token found, by the person or by a run of the checks.
    async fn detect(&mut self, context: Context<'_>) -> Result<(), G::Error> {
        let affected = &self.database.affected;
        if self.mode == DrillMode::Guided {
            let is_right = |answer: &str| {
                let named: BTreeSet<String> =
                    answer.split([' ', ',']).filter(|id| !id.is_empty()).map(str::to_owned).collect();
                named == *affected
            };
            return self.ask(DrillQuestion::AffectedUsers, is_right).await;
        }
        let report = incident::look(context).await;
        let found = report.outcomes.iter().find(|outcome| outcome.id == "duplicate-tokens");
        let Some(outcome) = found.filter(|outcome| outcome.finding.verdict == Verdict::Failing) else {
            return Err(DrillError::NotDetected(incident::findings(&report).join("; ")).into());
        };
        let users = outcome.evidence.iter().filter_map(|row| row.user.clone()).collect();
        self.guide.tell(DrillEvent::Detected { summary: &outcome.finding.summary, users: &users })
    }

    /// Ends the sessions that share a token.
    async fn contain(&mut self, context: Context<'_>) -> Result<AppliedPlan, G::Error> {
        let made = remediation::make(context, &Selection::Duplicates).await;
        let plan = made.map_err(DrillError::from)?;
        self.guide.tell(DrillEvent::Planned(&plan))?;
        self.ask(DrillQuestion::Confirmation, |answer| answer == TARGET_NAME).await?;
        let id = plan.kept.id.clone();
        let sessions = apply(context, plan).await.map_err(DrillError::from)?;
        Ok(AppliedPlan { plan: id, sessions })
    }

    /// Asks until the answer is right; where nobody is asked, nothing is.
    async fn ask(
        &mut self,
        question: DrillQuestion,
        is_right: impl Fn(&str) -> bool,
    ) -> Result<(), G::Error> {
        if self.mode == DrillMode::Automatic {
            return Ok(());
        }
        while !is_right(self.guide.ask(question).await?.trim()) {
            self.guide.tell(DrillEvent::WrongAnswer)?;
        }
        Ok(())
    }
}

/// A plan that was carried out.
struct AppliedPlan {
    /// Its id.
    plan: String,
    /// How many sessions it ended.
    sessions: u64,
}

/// Carries out a plan, with an archive that nobody can open: the number of sessions that were ended.
async fn apply(context: Context<'_>, plan: Plan) -> Result<u64, ActError> {
    let (recipient, control) = (Identity::ephemeral()?.recipient(), Control::default());
    let keys = ArchiveKeys { recipient: Some(&recipient), ..ArchiveKeys::default() };
    let consent = Consent { name: Some(TARGET_NAME), ..Consent::default() };
    Ok(Executor { context, keys, consent, control: &control }.run(plan).await?.done)
}

/// Makes sure that no token is shared any more, and that no session of the plan came back.
async fn verify(context: Context<'_>, plan: &str) -> Result<(), DrillError> {
    let report = incident::look(context).await;
    let is_over = report
        .seen
        .as_ref()
        .is_ok_and(|seen| seen.census.duplicates.value().is_some_and(|found| found.tokens == 0));
    let returned = remediation::returned(context, plan).await?;
    if is_over && returned == 0 { Ok(()) } else { Err(DrillError::NotContained) }
}
