//! Plans: made, looked at, approved, applied, and undone.

use std::{path::Path, sync::Arc};

use sessionwatch_archive::{Identity, Recipient};
use sessionwatch_core::plural::format_count;
use sessionwatch_store::{StoreError, archive_batches, plans};

use super::{Actor, AppError, AppState, LiveEvent, TargetOps, error::action_error_with_hint};
use crate::{
    blocking,
    config::Target,
    incident::workflow::IncidentWorkflow,
    remediation::{
        self, ActionContext, ActionError, ApplyCircumstances, ApplyReport, ArchiveKeys, Confirmation,
        JobControl, PlanExecutor, archive_keys, authorize_apply, restore,
    },
};

pub use crate::remediation::{ActionPlan, Selection};
pub use sessionwatch_store::{
    archive_batches::ArchiveSummary,
    plans::{PlanRecord, PlanState},
};
pub use sessionwatch_targets::sql::SelectionFilter as RowFilter;

/// A plan, and the target that it is about.
#[derive(Clone, Debug)]
pub struct PlanWithTarget {
    /// The plan.
    pub plan: ActionPlan,
    /// Its target.
    pub target: Target,
}

/// What is said along with the wish to apply a plan.
#[derive(Clone, Debug, Default)]
pub struct ApplyRequest {
    /// The name of the target, typed.
    pub typed_target_name: Option<String>,
    /// The incident in whose course it is applied.
    pub incident_id: Option<String>,
    /// Why complete evidence is not waited for.
    pub without_evidence_reason: Option<String>,
}

/// Returns a plan, whether or not its target is still configured.
///
/// # Errors
///
/// Returns an error if there is no plan of that ID, or the state store does not answer.
pub async fn find_plan(app: &Arc<AppState>, id: &str) -> Result<ActionPlan, AppError> {
    let wanted = id.to_owned();
    let now = app.clock.now();
    let plan = app.read_store(move |db| ActionPlan::load(db, &wanted, now)).await?;
    plan.ok_or_else(|| {
        AppError::NotFound("There is no such plan: one that nobody carries out is kept for a day.".into())
    })
}

/// A plan and its target.
///
/// # Errors
///
/// If there is none of that id.
pub async fn load_plan(app: &Arc<AppState>, id: &str) -> Result<PlanWithTarget, AppError> {
    let plan = find_plan(app, id).await?;
    let target = app.target(&plan.record.target)?;
    Ok(PlanWithTarget { plan, target })
}

/// The latest plans, with how many of their rows were applied.
///
/// # Errors
///
/// If the store does not answer.
pub async fn list_plans(app: &Arc<AppState>, limit: usize) -> Result<Vec<ActionPlan>, AppError> {
    let now = app.clock.now();
    app.read_store(move |db| {
        let made =
            plans::list_plans(db)?.into_iter().map(ActionPlan::from_record).filter_map(Result::transpose);
        made.take(limit).map(|plan| plan?.with_recent_totals(db, now)).collect()
    })
    .await
}

/// What plans removed and can be put back, and the plans that were made.
#[derive(Clone, Debug)]
pub struct PlanHistory {
    /// What is archived.
    pub archives: Vec<ArchiveSummary>,
    /// The plans, the latest first.
    pub plans: Vec<PlanRecord>,
}

/// What is archived, and the plans that were made.
///
/// # Errors
///
/// If the store does not answer.
pub async fn load_plan_history(app: &Arc<AppState>) -> Result<PlanHistory, AppError> {
    app.read_store(|db| {
        Ok(PlanHistory {
            archives: archive_batches::list_archive_summaries(db)?,
            plans: plans::list_plans(db)?,
        })
    })
    .await
}

/// Makes a plan.
///
/// # Errors
///
/// If nothing can be planned, or the database cannot be asked.
pub async fn create_plan(ops: TargetOps, selection: Selection) -> Result<ActionPlan, AppError> {
    ops.with_target_and_publish(async move |ops| {
        remediation::create_plan(ops.action_context(), &selection).await
    })
    .await
}

/// What is put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreRequest {
    /// The plan that removed the rows.
    pub plan_id: String,
    /// Only rows of this user.
    pub user: Option<String>,
}

/// Makes a plan to put back what another one removed.
///
/// # Errors
///
/// If nothing can be planned, or the database cannot be asked.
pub async fn create_restore_plan(ops: TargetOps, request: RestoreRequest) -> Result<ActionPlan, AppError> {
    let made = ops.with_target_and_publish(async move |ops| {
        restore::create_restore_plan(ops.action_context(), &request.plan_id, request.user.as_deref()).await
    });
    made.await
}

/// The plan of an id, if it is of this target.
///
/// # Errors
///
/// If there is none, or it is of another target.
pub async fn load_target_plan(ops: &TargetOps, id: &str) -> Result<ActionPlan, AppError> {
    let id = id.to_owned();
    ops.clone().read_store(move |ops| ops.action_context().load_plan(&id)).await
}

/// Approves a plan, as the second person.
///
/// # Errors
///
/// If there is no such plan, or it was applied already.
pub async fn approve_plan(app: &Arc<AppState>, actor: &Actor, id: &str) -> Result<(), AppError> {
    let PlanWithTarget { plan, target } = load_plan(app, id).await?;
    let ops = TargetOps::new(app, target, actor);
    ops.with_store(move |ops| {
        let (id, now) = (&plan.record.id, ops.app.clock.now());
        let approved = ops.app.store.write(|db| remediation::approve_plan(db, id, ops.actor.name(), now))?;
        if approved { Ok(()) } else { Err(ActionError::Done(id.clone())) }
    })
    .await
}

/// Starts to apply a plan. It goes on by itself; [`super::plan_jobs::PlanJobs`] knows how far it is.
///
/// # Errors
///
/// If something speaks against it.
pub async fn start_apply(ops: TargetOps, plan: ActionPlan, request: ApplyRequest) -> Result<(), AppError> {
    let name = plan.record.target.clone();
    prepare_apply(&ops, &plan, &request).await.map_err(|error| match error {
        AppError::Action(ActionError::LimitExceeded(..) | ActionError::NotConfirmed(_)) => {
            AppError::Conflict(format!(
                "The plan reaches far: type the name of the target, {name}, to go on."
            ))
        }
        AppError::Action(ActionError::Stale { .. }) => {
            AppError::Conflict("The plan is too old to be carried out: make it anew.".into())
        }
        error => error,
    })?;
    let (app, id) = (Arc::clone(&ops.app), plan.record.id.clone());
    let (announcing, target) = (Arc::clone(&app), ops.target.name.clone());
    let announce = move || {
        // What has become of it is seen soon, and not only when it is time again.
        announcing.wake_target(&target);
        announcing.publish(LiveEvent::TargetChanged { target });
    };
    let work = |control| apply_in_background(ops, plan, request, control);
    let started = app.plan_jobs.start_job(&app.background, &id, work, announce);
    if started { Ok(()) } else { Err(AppError::Conflict("Somebody carries it out already.".into())) }
}

/// Makes sure that a plan may be applied, in the course of an incident where one is named. Notes on that for what reason its
/// evidence is not waited for.
///
/// # Errors
///
/// Why it may not.
pub async fn prepare_apply(
    ops: &TargetOps,
    plan: &ActionPlan,
    request: &ApplyRequest,
) -> Result<(), AppError> {
    authorize_apply(
        plan,
        &ApplyCircumstances::from_context(ops.action_context(), build_confirmation(request)),
    )?;
    let Some(id) = request.incident_id.clone() else { return Ok(()) };
    let case = ops.app.read_store(move |db| IncidentWorkflow::load(db, &id)).await?;
    let mut case = case.ok_or_else(|| AppError::NotFound("There is no such incident.".into()))?;
    case.require_open()?;
    if case.incident.target != plan.record.target {
        return Err(AppError::Conflict("The incident is about another target.".into()));
    }
    if is_restore(plan) {
        // Putting back ends no session.
        return Ok(());
    }
    let reason = request.without_evidence_reason.clone();
    ops.clone().with_store(move |ops| case.require_evidence(ops.action_context(), reason.as_deref())).await
}

/// What was given along with the wish.
fn build_confirmation(request: &ApplyRequest) -> Confirmation<'_> {
    Confirmation { typed_name: request.typed_target_name.as_deref(), by_policy: false }
}

/// Whether a plan puts rows back.
fn is_restore(plan: &ActionPlan) -> bool {
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
pub fn load_plan_keys(
    ops: &TargetOps,
    plan: &ActionPlan,
    identity: Option<&Path>,
) -> Result<PlanKeys, ActionError> {
    let Selection::Restore { archive, .. } = &plan.selection else {
        let (recipient, made) = archive_keys::load_or_create_recipient(&ops.config)?;
        let advice = made.map(|path| archive_keys::new_identity_advice(&recipient, &path));
        return Ok(PlanKeys { recipient: Some(recipient), identity: None, advice });
    };
    let path = identity.map_or_else(|| archive_keys::identity_path(&ops.config), Path::to_owned);
    if identity.is_none() && !path.exists() {
        let batch = ops.app.store.read(|db| archive_batches::find_next_batch(db, archive, 0))?;
        let batch = batch.ok_or_else(|| ActionError::NoArchive(archive.clone()))?;
        return Err(ActionError::NoIdentity(batch.recipient));
    }
    Ok(PlanKeys { recipient: None, identity: Some(Identity::read_file(&path)?), advice: None })
}

/// What came of applying a plan.
#[derive(Debug)]
pub struct PlanOutcome {
    /// What was done.
    pub report: ApplyReport,
    /// Whether that could be noted on the incident in whose course it was done.
    pub incident_recorded: Result<(), StoreError>,
}

/// Applies a plan that was prepared, and notes it on the incident in whose course that is done.
///
/// # Errors
///
/// If something speaks against it, or target or store fail on the way.
pub async fn apply_plan(
    ops: &TargetOps,
    plan: &ActionPlan,
    keys: &PlanKeys,
    request: &ApplyRequest,
    control: &JobControl,
) -> Result<PlanOutcome, ActionError> {
    let context = ops.action_context();
    let keys = ArchiveKeys { recipient: keys.recipient.as_ref(), identity: keys.identity.as_ref() };
    let executor = PlanExecutor { context, keys, confirmation: build_confirmation(request), control };
    let applied = executor.run(plan.clone()).await?;
    // Putting back ends no session.
    let incident = request.incident_id.as_deref().filter(|_| !is_restore(plan));
    let noted = incident.map_or(Ok(()), |incident| record_on_incident(context, incident, plan, &applied));
    Ok(PlanOutcome { report: applied, incident_recorded: noted })
}

/// Applies a plan on a thread of its own: what came of it, in words.
async fn apply_in_background(
    ops: TargetOps,
    plan: ActionPlan,
    request: ApplyRequest,
    control: Arc<JobControl>,
) -> Result<String, String> {
    let applied = blocking::run_async_catching(async move || {
        ops.app.connection_pool.evict_idle(&ops.target.name).await;
        apply_and_describe(&ops, &plan, &request, &control).await
    });
    applied.await.unwrap_or_else(|| Err("applying it ended in a panic".into()))
}

async fn apply_and_describe(
    ops: &TargetOps,
    plan: &ActionPlan,
    request: &ApplyRequest,
    control: &JobControl,
) -> Result<String, String> {
    let text = |error: ActionError| action_error_with_hint(&error);
    let keys = load_plan_keys(ops, plan, None).map_err(text)?;
    let PlanOutcome { report: applied, incident_recorded: noted } =
        apply_plan(ops, plan, &keys, request, control).await.map_err(text)?;
    let done = describe_result(plan, &applied, is_restore(plan));
    match noted {
        Ok(()) => Ok(done),
        Err(error) => Err(format!("{done} It could not be noted on the incident: {error}.")),
    }
}

/// What came of a plan, in words.
fn describe_result(plan: &ActionPlan, applied: &ApplyReport, restores: bool) -> String {
    let left = match applied.still_matching {
        Some(0) => ", and a fresh look finds none left".to_owned(),
        Some(left) => format!(", and a fresh look still finds {left}"),
        None => String::new(),
    };
    let done = format!(
        "{} done, {} skipped because they had changed{left}.",
        format_count(applied.done, "row", "rows"),
        applied.skipped
    );
    let done = [done].into_iter().chain(applied.describe_dependents(restores)).collect::<Vec<_>>().join(" ");
    match plan.summary.not_ended.as_slice() {
        lines if applied.done > 0 && !lines.is_empty() => {
            format!("{done} Not ended by this, where it applies: {}.", lines.join("; "))
        }
        _ => done,
    }
}

/// Notes on an incident that a plan was applied in its course.
fn record_on_incident(
    context: ActionContext<'_>,
    incident: &str,
    plan: &ActionPlan,
    applied: &ApplyReport,
) -> Result<(), StoreError> {
    match context.store.read(|db| IncidentWorkflow::load(db, incident))? {
        Some(case) => case.record_plan(context, plan, applied),
        None => Ok(()),
    }
}

/// Returns `true` if a second person has to approve a plan, and none has.
#[must_use]
pub fn is_approval_missing(ops: &TargetOps, plan: &ActionPlan) -> bool {
    ops.action_context().missing_approval(plan).is_some()
}

/// The name under which somebody approves a plan.
#[must_use]
pub fn approver_name(actor: &Actor) -> &str {
    remediation::actor_account(actor.name())
}

/// Why a plan has to be confirmed, in words.
#[must_use]
pub fn safety_limit_text(ops: &TargetOps, plan: &ActionPlan) -> Option<String> {
    plan.exceeded_limits(ops.action_context().safety_limit()).map(|braked| braked.to_string())
}
