//! Plans: made, looked at, approved, applied, and undone.

use std::{path::Path, sync::Arc};

use sessionwatch_archive::{Identity, Recipient};
use sessionwatch_core::plural::counted;
use sessionwatch_store::{StoreError, archived, plans};

use super::{Actor, AppError, AppState, LiveEvent, TargetOps, error::error_text};
use crate::{
    blocking,
    config::Target,
    incident::work::Case,
    remediation::{
        self, ActError, Applied, ApplyCircumstances, ArchiveKeys, Consent, Context, Control, Executor,
        authorize_apply, keys, restoring,
    },
};

pub use crate::remediation::{Plan, Selection};
pub use sessionwatch_store::{
    archived::Holding as ArchiveSummary,
    plans::{Plan as PlanRecord, State as PlanState},
};
pub use sessionwatch_targets::sql::Filter as RowFilter;

/// A plan, and the target that it is about.
#[derive(Clone, Debug)]
pub struct PlanOfTarget {
    /// The plan.
    pub plan: Plan,
    /// Its target.
    pub target: Target,
}

/// What is said along with the wish to apply a plan.
#[derive(Clone, Debug, Default)]
pub struct ApplyRequest {
    /// The name of the target, typed.
    pub confirm: Option<String>,
    /// The incident in whose course it is applied.
    pub incident: Option<String>,
    /// Why complete evidence is not waited for.
    pub without_evidence: Option<String>,
}

/// A plan and its target.
///
/// # Errors
///
/// If there is none of that id.
pub async fn get_plan(app: &Arc<AppState>, id: &str) -> Result<PlanOfTarget, AppError> {
    let wanted = id.to_owned();
    let now = app.clock.now();
    let plan = app.read(move |db| Plan::get(db, &wanted, now)).await?;
    let plan = plan.ok_or_else(|| {
        AppError::NotFound("There is no such plan: one that nobody carries out is kept for a day.".into())
    })?;
    let target = app.target(&plan.kept.target)?;
    Ok(PlanOfTarget { plan, target })
}

/// The latest plans, with how many of their rows were applied.
///
/// # Errors
///
/// If the store does not answer.
pub async fn list_plans(app: &Arc<AppState>, limit: usize) -> Result<Vec<Plan>, AppError> {
    let now = app.clock.now();
    app.read(move |db| {
        let made = plans::list(db)?.into_iter().map(Plan::read).filter_map(Result::transpose);
        made.take(limit).map(|plan| plan?.counted(db, now)).collect()
    })
    .await
}

/// What plans removed and can be put back, and the plans that were made.
#[derive(Clone, Debug)]
pub struct PlanHistory {
    /// What is archived.
    pub archived: Vec<ArchiveSummary>,
    /// The plans, the latest first.
    pub plans: Vec<PlanRecord>,
}

/// What is archived, and the plans that were made.
///
/// # Errors
///
/// If the store does not answer.
pub async fn get_history(app: &Arc<AppState>) -> Result<PlanHistory, AppError> {
    app.read(|db| Ok(PlanHistory { archived: archived::holdings(db)?, plans: plans::list(db)? })).await
}

/// Makes a plan.
///
/// # Errors
///
/// If nothing can be planned, or the database cannot be asked.
pub async fn make_plan(ops: TargetOps, selection: Selection) -> Result<Plan, AppError> {
    ops.with_target_and_publish(async move |ops| remediation::make(ops.context(), &selection).await).await
}

/// What is put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreRequest {
    /// The plan that removed the rows.
    pub archive: String,
    /// Only rows of this user.
    pub user: Option<String>,
}

/// Makes a plan to put back what another one removed.
///
/// # Errors
///
/// If nothing can be planned, or the database cannot be asked.
pub async fn make_restore_plan(ops: TargetOps, wanted: RestoreRequest) -> Result<Plan, AppError> {
    let made = ops.with_target_and_publish(async move |ops| {
        restoring::plan(ops.context(), &wanted.archive, wanted.user.as_deref()).await
    });
    made.await
}

/// The plan of an id, if it is of this target.
///
/// # Errors
///
/// If there is none, or it is of another target.
pub async fn get_plan_of_target(ops: &TargetOps, id: &str) -> Result<Plan, AppError> {
    let id = id.to_owned();
    ops.clone().read_store(move |ops| ops.context().plan(&id)).await
}

/// Approves a plan, as the second person.
///
/// # Errors
///
/// If there is no such plan, or it was applied already.
pub async fn approve(app: &Arc<AppState>, actor: &Actor, id: &str) -> Result<(), AppError> {
    let PlanOfTarget { plan, target } = get_plan(app, id).await?;
    let ops = TargetOps::new(app, target, actor);
    ops.with_store(move |ops| {
        let (id, now) = (&plan.kept.id, ops.app.clock.now());
        let approved = ops.app.store.write(|db| remediation::agree(db, id, ops.actor.name(), now))?;
        if approved { Ok(()) } else { Err(ActError::Done(id.clone())) }
    })
    .await
}

/// Starts to apply a plan. It goes on by itself; [`super::plan_jobs::PlanJobs`] knows how far it is.
///
/// # Errors
///
/// If something speaks against it.
pub async fn start_apply(ops: TargetOps, plan: Plan, request: ApplyRequest) -> Result<(), AppError> {
    let name = plan.kept.target.clone();
    prepare_apply(&ops, &plan, &request).await.map_err(|error| match error {
        AppError::Action(ActError::LimitExceeded(..) | ActError::NotConfirmed(_)) => AppError::Conflict(
            format!("The plan reaches far: type the name of the target, {name}, to go on."),
        ),
        AppError::Action(ActError::Stale { .. }) => {
            AppError::Conflict("The plan is too old to be carried out: make it anew.".into())
        }
        error => error,
    })?;
    let (app, id) = (Arc::clone(&ops.app), plan.kept.id.clone());
    let (announcing, target) = (Arc::clone(&app), ops.target.name.clone());
    let announce = move || {
        // What has become of it is seen soon, and not only when it is time again.
        announcing.wake_target(&target);
        announcing.publish(LiveEvent::Acted { target });
    };
    let work = |control| apply_in_background(ops, plan, request, control);
    let started = app.plan_jobs.start(&app.background, &id, work, announce);
    if started { Ok(()) } else { Err(AppError::Conflict("Somebody carries it out already.".into())) }
}

/// Makes sure that a plan may be applied, in the course of an incident where one is named. Notes on that for what reason its
/// evidence is not waited for.
///
/// # Errors
///
/// Why it may not.
pub async fn prepare_apply(ops: &TargetOps, plan: &Plan, request: &ApplyRequest) -> Result<(), AppError> {
    authorize_apply(plan, &ApplyCircumstances::of(ops.context(), consent(request)))?;
    let Some(id) = request.incident.clone() else { return Ok(()) };
    let case = ops.app.read(move |db| Case::get(db, &id)).await?;
    let mut case = case.ok_or_else(|| AppError::NotFound("There is no such incident.".into()))?;
    case.is_unclosed()?;
    if case.incident.target != plan.kept.target {
        return Err(AppError::Conflict("The incident is about another target.".into()));
    }
    if restores(plan) {
        // Putting back ends no session.
        return Ok(());
    }
    let reason = request.without_evidence.clone();
    ops.clone().with_store(move |ops| case.require_evidence(ops.context(), reason.as_deref())).await
}

/// What was given along with the wish.
fn consent(request: &ApplyRequest) -> Consent<'_> {
    Consent { name: request.confirm.as_deref(), by_policy: false }
}

/// Whether a plan puts rows back.
fn restores(plan: &Plan) -> bool {
    matches!(plan.selection, Selection::Restore { .. })
}

/// What opens or seals the archive for a plan.
#[derive(Debug)]
pub struct PlanKeys {
    recipient: Option<Recipient>,
    identity: Option<Identity>,
    /// What a person should know of an identity that was made just now.
    pub advice: Option<String>,
}

/// What opens the archive for a plan that puts rows back: an identity in a file, or the configured one. For any other plan, to
/// whom rows are sealed: as configured, else to an identity beside the store, which is made if there is none.
///
/// # Errors
///
/// If an identity or a recipient cannot be read, or none can be made.
pub fn open_keys(ops: &TargetOps, plan: &Plan, identity: Option<&Path>) -> Result<PlanKeys, ActError> {
    let Selection::Restore { archive, .. } = &plan.selection else {
        let (recipient, made) = keys::recipient(&ops.config)?;
        let advice = made.map(|path| keys::advice(&recipient, &path));
        return Ok(PlanKeys { recipient: Some(recipient), identity: None, advice });
    };
    let path = identity.map_or_else(|| keys::path(&ops.config), Path::to_owned);
    if identity.is_none() && !path.exists() {
        let batch = ops.app.store.read(|db| archived::next(db, archive, 0))?;
        let batch = batch.ok_or_else(|| ActError::NoArchive(archive.clone()))?;
        return Err(ActError::NoIdentity(batch.recipient));
    }
    Ok(PlanKeys { recipient: None, identity: Some(Identity::read(&path)?), advice: None })
}

/// What came of applying a plan.
#[derive(Debug)]
pub struct PlanOutcome {
    /// What was done.
    pub applied: Applied,
    /// Whether that could be noted on the incident in whose course it was done.
    pub noted: Result<(), StoreError>,
}

/// Applies a plan that was prepared, and notes it on the incident in whose course that is done.
///
/// # Errors
///
/// If something speaks against it, or target or store fail on the way.
pub async fn apply(
    ops: &TargetOps,
    plan: &Plan,
    keys: &PlanKeys,
    request: &ApplyRequest,
    control: &Control,
) -> Result<PlanOutcome, ActError> {
    let context = ops.context();
    let keys = ArchiveKeys { recipient: keys.recipient.as_ref(), identity: keys.identity.as_ref() };
    let executor = Executor { context, keys, consent: consent(request), control };
    let applied = executor.run(plan.clone()).await?;
    // Putting back ends no session.
    let incident = request.incident.as_deref().filter(|_| !restores(plan));
    let noted = incident.map_or(Ok(()), |incident| note_on_incident(context, incident, plan, &applied));
    Ok(PlanOutcome { applied, noted })
}

/// Applies a plan on a thread of its own: what came of it, in words.
async fn apply_in_background(
    ops: TargetOps,
    plan: Plan,
    request: ApplyRequest,
    control: Arc<Control>,
) -> Result<String, String> {
    let applied = blocking::drive_caught(async move || {
        ops.app.connections.evict_idle(&ops.target.name).await;
        apply_and_describe(&ops, &plan, &request, &control).await
    });
    applied.await.unwrap_or_else(|| Err("applying it ended in a panic".into()))
}

async fn apply_and_describe(
    ops: &TargetOps,
    plan: &Plan,
    request: &ApplyRequest,
    control: &Control,
) -> Result<String, String> {
    let text = |error: ActError| error_text(&error);
    let keys = open_keys(ops, plan, None).map_err(text)?;
    let PlanOutcome { applied, noted } = apply(ops, plan, &keys, request, control).await.map_err(text)?;
    let done = describe_applied(plan, &applied, restores(plan));
    match noted {
        Ok(()) => Ok(done),
        Err(error) => Err(format!("{done} It could not be noted on the incident: {error}.")),
    }
}

/// What came of a plan, in words.
fn describe_applied(plan: &Plan, applied: &Applied, restores: bool) -> String {
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
    match plan.summary.not_ended.as_slice() {
        lines if applied.done > 0 && !lines.is_empty() => {
            format!("{done} Not ended by this, where it applies: {}.", lines.join("; "))
        }
        _ => done,
    }
}

/// Notes on an incident that a plan was applied in its course.
fn note_on_incident(
    context: Context<'_>,
    incident: &str,
    plan: &Plan,
    applied: &Applied,
) -> Result<(), StoreError> {
    match context.store.read(|db| Case::get(db, incident))? {
        Some(case) => case.ended(context, plan, applied),
        None => Ok(()),
    }
}

/// Returns `true` if a second person has to approve a plan, and none has.
#[must_use]
pub fn lacks_approval(ops: &TargetOps, plan: &Plan) -> bool {
    ops.context().lacks_agreement(plan).is_some()
}

/// The name under which somebody approves a plan.
#[must_use]
pub fn approver_name(actor: &Actor) -> &str {
    remediation::account(actor.name())
}

/// Why a plan has to be confirmed, in words.
#[must_use]
pub fn limit_text(ops: &TargetOps, plan: &Plan) -> Option<String> {
    plan.braked(ops.context().brake()).map(|braked| braked.to_string())
}
