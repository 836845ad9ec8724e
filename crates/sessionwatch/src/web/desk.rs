//! What people do to targets, asked for by a page: each on a thread and a runtime of its own, as looks and
//! actions need it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sessionwatch_core::verdict::counted;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::{Refusal, read, target_of};
use crate::{
    actions::{self, ActError, Applied, Consent, Context, Control, Plan, Selection, keys, restoring},
    archive::sealing::Identity,
    config::{Config, Target},
    daemon::{Event, Shared},
    incident::work::Case,
    store::{StoreError, plans},
};

/// How long one waits for a database.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What is being carried out, and what came of it.
#[derive(Debug, Default)]
pub struct Jobs {
    jobs: Mutex<BTreeMap<String, Job>>,
    /// The daemon ends, and nothing more begins.
    stopped: AtomicBool,
    ended: Notify,
}

#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) control: Arc<Control>,
    /// What came of it, in words; nothing while it goes on.
    pub(super) outcome: Option<Result<String, String>>,
}

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, plan: &str) -> Option<Job> {
        self.lock().get(plan).cloned()
    }

    /// Begins one, if it is not under way.
    fn begin(&self, plan: &str) -> Option<Arc<Control>> {
        let mut jobs = self.lock();
        if self.stopped.load(Ordering::Relaxed) || jobs.get(plan).is_some_and(|job| job.outcome.is_none()) {
            return None;
        }
        let control = Arc::new(Control::default());
        jobs.insert(plan.to_owned(), Job { control: Arc::clone(&control), outcome: None });
        Some(control)
    }

    fn end(&self, plan: &str, outcome: Result<String, String>) {
        if let Some(job) = self.lock().get_mut(plan) {
            job.outcome = Some(outcome);
        }
        self.ended.notify_waiters();
    }

    /// Lets everything end after its present batches, and nothing more begin. Waits until nothing is under way.
    pub(crate) async fn stop(&self) {
        loop {
            // From here on it is heard when one ends.
            let ended = self.ended.notified();
            let under_way = {
                let jobs = self.lock();
                self.stopped.store(true, Ordering::Relaxed);
                let under_way = || jobs.values().filter(|job| job.outcome.is_none());
                under_way().for_each(|job| job.control.stop.store(true, Ordering::Relaxed));
                under_way().count()
            };
            if under_way == 0 {
                return;
            }
            ended.await;
        }
    }
}

/// Everything that acting needs.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) shared: Arc<Shared>,
    pub(super) config: Arc<Config>,
    pub(super) target: Target,
    actor: String,
}

impl Desk {
    pub(super) fn of(shared: &Arc<Shared>, target: Target, actor: &str) -> Self {
        Self { shared: Arc::clone(shared), config: shared.config(), target, actor: actor.to_owned() }
    }

    pub(super) fn context(&self) -> Context<'_> {
        Context {
            config: &self.config,
            target: &self.target,
            store: &self.shared.store,
            clock: &self.shared.clock,
            actor: &self.actor,
        }
    }

    /// The same, for what only looks and has a person waiting.
    pub(super) fn impatient(mut self) -> Self {
        self.target.limits.timeout = self.target.limits.timeout.min(PATIENCE);
        self
    }

    /// Asks the database, once few enough people do.
    pub(super) async fn ask<T: Send + 'static>(
        self,
        ask: impl AsyncFnOnce(&Self) -> Result<T, ActError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let permit = turn(&self.shared, &self.target.name).await?;
        let asked = apart(move |runtime| {
            let _permit = permit;
            self.shared.lines.make_room(&self.target.name);
            runtime.block_on(ask(&self))
        });
        Ok(asked.await??)
    }

    /// Does something for which the database is needed. Whoever has a page open hears of it.
    pub(super) async fn work<T: Send + 'static>(
        self,
        work: impl AsyncFnOnce(&Self) -> Result<T, ActError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (shared, target) = (Arc::clone(&self.shared), self.target.name.clone());
        let done = self.ask(work).await;
        shared.happened(Event::Acted { target });
        done
    }

    /// Writes something down, for which no database is waited for. Whoever has a page open hears of it.
    pub(super) async fn note<T: Send + 'static>(
        self,
        note: impl FnOnce(&Self) -> Result<T, ActError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (shared, target) = (Arc::clone(&self.shared), self.target.name.clone());
        let noted = tokio::task::spawn_blocking(move || note(&self)).await;
        shared.happened(Event::Acted { target });
        Ok(noted.map_err(|_| Refusal::Store("a write ended in a panic".into()))??)
    }
}

/// Waits until few enough people ask databases. What is given is to be held until the database has answered, also if nobody
/// waits for the answer any more.
pub(super) async fn turn(shared: &Shared, target: &str) -> Result<OwnedSemaphorePermit, Refusal> {
    let permit = tokio::time::timeout(PATIENCE, Arc::clone(&shared.asking).acquire_owned()).await;
    let busy =
        || Refusal::Away(format!("The database of {target} cannot be asked: too many people ask at once."));
    permit.ok().and_then(Result::ok).ok_or_else(busy)
}

/// Does something on a thread and a runtime of its own.
async fn apart<T: Send + 'static>(
    work: impl FnOnce(&tokio::runtime::Runtime) -> T + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let done = work(&runtime);
        // A question that was given up may still wait for an answer.
        runtime.shutdown_background();
        Some(done)
    });
    let refused = || Refusal::Store("the system refuses what that needs".into());
    done.await.ok().flatten().ok_or_else(refused)
}

fn words(error: &ActError) -> String {
    let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{error}{hint}")
}

impl From<ActError> for Refusal {
    fn from(error: ActError) -> Self {
        let said = words(&error);
        match error {
            ActError::Store(error) => error.into(),
            ActError::Target(_) => Self::Away(format!("The database cannot be asked: {said}.")),
            ActError::Incomplete(_) => Self::Away(said),
            ActError::NoPlan(_) | ActError::NoArchive(_) | ActError::NoUser(..) | ActError::NoSession => {
                Self::NotFound(said)
            }
            // What was asked for makes sense: something here speaks against it.
            _ => Self::Conflict(said),
        }
    }
}

/// A plan and its target.
pub(super) async fn plan(shared: &Arc<Shared>, id: &str) -> Result<(Plan, Target), Refusal> {
    let wanted = id.to_owned();
    let now = shared.clock.now();
    let plan = read(shared, move |db| Plan::get(db, &wanted, now)).await?;
    let plan = plan.ok_or_else(|| {
        Refusal::NotFound("There is no such plan: one that nobody carries out is kept for a day.".into())
    })?;
    let target = target_of(shared, &plan.kept.target)?;
    Ok((plan, target))
}

/// Makes a plan.
pub(super) async fn make(desk: Desk, selection: Selection) -> Result<Plan, Refusal> {
    desk.work(async move |desk| actions::make(desk.context(), &selection).await).await
}

/// Makes a plan to put back what another one removed.
pub(super) async fn restore(desk: Desk, removed: String) -> Result<Plan, Refusal> {
    desk.work(async move |desk| restoring::plan(desk.context(), &removed, None).await).await
}

/// An incident and its target.
pub(super) async fn case(shared: &Arc<Shared>, id: &str) -> Result<(Case, Target), Refusal> {
    let wanted = id.to_owned();
    let case = read(shared, move |db| Case::get(db, &wanted)).await?;
    let case = case.ok_or_else(|| Refusal::NotFound("There is no such incident.".into()))?;
    let target = target_of(shared, &case.incident.target)?;
    Ok((case, target))
}

/// Agrees to a plan as the second person.
pub(super) async fn agree(shared: &Arc<Shared>, id: &str, who: &str) -> Result<(), Refusal> {
    let (plan, target) = plan(shared, id).await?;
    let desk = Desk::of(shared, target, who);
    desk.note(move |desk| {
        let (id, now) = (&plan.kept.id, desk.shared.clock.now());
        let agreed = desk.shared.store.write(|db| actions::agree(db, id, (&desk.actor, now)))?;
        if agreed { Ok(()) } else { Err(ActError::Done(id.clone())) }
    })
    .await
}

/// What is said along with the wish to carry out a plan.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    /// The name of the target, typed.
    pub(super) confirm: String,
    /// The incident in whose course it is carried out.
    pub(super) incident: Option<String>,
    /// Why complete evidence is not waited for.
    pub(super) without_evidence: Option<String>,
}

/// Begins to carry out a plan. It goes on by itself; [`Jobs`] knows how far it is.
pub(super) async fn begin(desk: Desk, plan: Plan, wish: Wish) -> Result<(), Refusal> {
    let shared = Arc::clone(&desk.shared);
    let name = &plan.kept.target;
    if let Some(braked) = desk.context().lacks_agreement(&plan) {
        return Err(ActError::NotAgreed(braked).into());
    }
    if plan.braked(desk.context().brake()).is_some() && wish.confirm != *name {
        return Err(Refusal::Conflict(format!(
            "The plan reaches far: type the name of the target, {name}, to go on."
        )));
    }
    if plan.is_stale(desk.config.actions.stale_after_us, shared.clock.now()) {
        return Err(Refusal::Conflict("The plan is too old to be carried out: make it anew.".into()));
    }
    if let Some(id) = &wish.incident {
        let (case, target) = case(&shared, id).await?;
        case.is_unclosed()?;
        if target.name != *name {
            return Err(Refusal::Conflict("The incident is about another target.".into()));
        }
    }
    if plan.kept.state == plans::State::Done {
        return Err(ActError::Done(plan.kept.id).into());
    }
    let id = plan.kept.id.clone();
    let restores = matches!(plan.selection, Selection::Restore { .. });
    if let (Some(incident), false) = (&wish.incident, restores) {
        let (mut case, _) = case(&shared, incident).await?;
        let reason = wish.without_evidence.clone();
        let requiring = desk.clone();
        requiring.note(move |desk| case.require_evidence(desk.context(), reason.as_deref())).await?;
    }
    let Some(control) = shared.jobs.begin(&id) else {
        return Err(Refusal::Conflict("Somebody carries it out already.".into()));
    };
    tokio::spawn(async move {
        let working = desk.clone();
        let carried_out = apart(move |runtime| {
            working.shared.lines.make_room(&working.target.name);
            runtime.block_on(carry_out(&working, &plan, (&wish, &control)))
        });
        let done = carried_out.await;
        let outcome = done.unwrap_or_else(|_| Err("the system refuses what that needs".into()));
        desk.shared.jobs.end(&id, outcome);
        let target = desk.target.name.clone();
        // What has become of it is seen soon, and not only when it is time again.
        desk.shared.is_awake(&target);
        desk.shared.happened(Event::Acted { target });
    });
    Ok(())
}

/// Carries a plan out: what came of it, in words.
async fn carry_out(desk: &Desk, plan: &Plan, (wish, control): (&Wish, &Control)) -> Result<String, String> {
    let context = desk.context();
    let said = |error: ActError| words(&error);
    let restores = matches!(plan.selection, Selection::Restore { .. });
    let typed = Some(wish.confirm.as_str()).filter(|typed| !typed.is_empty());
    let consent = Consent { name: typed, by_policy: false };
    let applied: Applied = if restores {
        let identity = Identity::read(&keys::path(&desk.config)).map_err(|error| said(error.into()))?;
        restoring::restore(context, (&plan.kept.id, &identity), consent, control).await.map_err(said)?
    } else {
        let (recipient, _) = keys::recipient(&desk.config).map_err(|error| said(error.into()))?;
        actions::apply(context, (&plan.kept.id, &recipient), consent, control).await.map_err(said)?
    };
    let left = match applied.left {
        Some(0) => ", and a fresh look finds none left".to_owned(),
        Some(left) => format!(", and a fresh look still finds {left}"),
        None => String::new(),
    };
    let done = format!(
        "{} done, {} skipped because they had changed{left}.",
        counted(applied.done, "row", "rows"),
        applied.skipped
    );
    let done = [done].into_iter().chain(applied.besides(restores)).collect::<Vec<_>>().join(" ");
    let done = match plan.summary.not_ended.as_slice() {
        lines if applied.done > 0 && !lines.is_empty() => {
            format!("{done} Not ended by this, where it applies: {}.", lines.join("; "))
        }
        _ => done,
    };
    // Putting back ends no session.
    let incident = wish.incident.as_deref().filter(|_| !restores);
    match incident.map_or(Ok(()), |incident| note_on(context, incident, (plan, &applied))) {
        Ok(()) => Ok(done),
        Err(error) => Err(format!("{done} It could not be noted on the incident: {error}.")),
    }
}

/// Notes on an incident that a plan was carried out in its course.
fn note_on(
    context: Context<'_>,
    incident: &str,
    (plan, applied): (&Plan, &Applied),
) -> Result<(), StoreError> {
    match context.store.read(|db| Case::get(db, incident))? {
        Some(case) => case.ended(context, plan, applied),
        None => Ok(()),
    }
}

/// Why a plan has to be confirmed, in words.
pub(super) fn braked(desk: &Desk, plan: &Plan) -> Option<String> {
    plan.braked(desk.context().brake()).map(|braked| braked.to_string())
}
