//! Plans: create, list, approve, apply and restore.

use std::{path::Path, sync::Arc, time::Duration};

use sessionwatch_archive::{Identity, Recipient};
use sessionwatch_clock as clock;
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

pub use crate::remediation::{
    ActionPlan, RowPreview, Selection, plan_notes::list_further_notes, planner::is_plan_id,
};
pub use sessionwatch_store::{
    archive_batches::ArchiveSummary,
    plans::{PlanRecord, PlanState},
};
pub use sessionwatch_targets::{
    mapping::RevokeMethod,
    side_effects::{SideEffect, SideEffectKind},
    sql::SelectionFilter as RowFilter,
};

/// Plan with its target.
#[derive(Clone, Debug)]
pub struct PlanWithTarget {
    /// The plan.
    pub plan: ActionPlan,
    /// Target of the plan.
    pub target: Target,
}

/// Interval between two live events while a plan is being applied.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// Parameters for applying a plan.
#[derive(Clone, Debug, Default)]
pub struct ApplyRequest {
    /// Target name typed by the user as confirmation.
    pub typed_target_name: Option<String>,
    /// Incident that the plan is part of.
    pub incident_id: Option<String>,
    /// Reason for applying the plan without complete evidence.
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
    // Expired plans are deleted, so an old link is the likely cause.
    plan.ok_or_else(|| {
        AppError::NotFound("Plan not found. Plans that are not applied are deleted after a day.".into())
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

/// Returns the archive of the rows that a plan removed; `None` if it removed none, or they have been purged.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn find_archive(app: &Arc<AppState>, plan: &str) -> Result<Option<ArchiveSummary>, AppError> {
    let id = plan.to_owned();
    app.read_store(move |db| {
        Ok(archive_batches::list_archive_summaries(db)?.into_iter().find(|archive| archive.plan == id))
    })
    .await
}

/// Lists the latest plans, with the number of applied rows.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn list_plans(app: &Arc<AppState>, limit: usize) -> Result<Vec<ActionPlan>, AppError> {
    let now = app.clock.now();
    app.read_store(move |db| {
        let plans =
            plans::list_plans(db)?.into_iter().map(ActionPlan::from_record).filter_map(Result::transpose);
        plans.take(limit).map(|plan| plan?.with_recent_totals(db, now)).collect()
    })
    .await
}

/// Plans and the archives of the rows they removed.
#[derive(Clone, Debug)]
pub struct PlanHistory {
    /// Archives, one per plan that removed rows.
    pub archives: Vec<ArchiveSummary>,
    /// Plans, the latest first.
    pub plans: Vec<PlanRecord>,
}

/// Loads all plans and archives.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn load_plan_history(app: &Arc<AppState>) -> Result<PlanHistory, AppError> {
    app.read_store(|db| {
        Ok(PlanHistory {
            archives: archive_batches::list_archive_summaries(db)?,
            plans: plans::list_plans(db)?,
        })
    })
    .await
}

/// Creates a plan for the selected sessions.
///
/// # Errors
///
/// If the selection cannot be planned, or the database query fails.
pub async fn create_plan(ops: TargetOps, selection: Selection) -> Result<ActionPlan, AppError> {
    ops.with_target_and_publish(async move |ops| {
        remediation::create_plan(ops.action_context(), &selection).await
    })
    .await
}

/// Selection of archived rows to restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreRequest {
    /// Plan that removed the rows.
    pub plan_id: String,
    /// Restores only rows of this user.
    pub user: Option<String>,
}

/// Creates a plan that restores rows removed by another plan.
///
/// # Errors
///
/// If there is nothing to restore, or the database query fails.
pub async fn create_restore_plan(ops: TargetOps, request: RestoreRequest) -> Result<ActionPlan, AppError> {
    let created = ops.with_target_and_publish(async move |ops| {
        restore::create_restore_plan(ops.action_context(), &request.plan_id, request.user.as_deref()).await
    });
    created.await
}

/// Loads a plan of this target.
///
/// # Errors
///
/// If the plan does not exist, or belongs to another target.
pub async fn load_target_plan(ops: &TargetOps, id: &str) -> Result<ActionPlan, AppError> {
    let id = id.to_owned();
    ops.clone().read_store(move |ops| ops.action_context().load_plan(&id)).await
}

/// Records the approval of a plan. Only an account other than the one that approved it can apply it.
///
/// # Errors
///
/// If the plan does not exist, or has already been applied.
pub async fn approve_plan(app: &Arc<AppState>, actor: &Actor, id: &str) -> Result<(), AppError> {
    let PlanWithTarget { plan, target } = load_plan(app, id).await?;
    let ops = TargetOps::new(app, target, actor);
    ops.with_store(move |ops| {
        let (id, now) = (&plan.record.id, ops.app.clock.now());
        // Checked and written in one transaction: the plan may be applied at the same moment.
        let approved = ops.app.store.write(|db| remediation::approve_plan(db, id, ops.actor.name(), now))?;
        if approved { Ok(()) } else { Err(ActionError::Done(id.clone())) }
    })
    .await
}

/// Starts applying a plan in the background. [`super::plan_jobs::PlanJobs`] tracks the progress.
///
/// # Errors
///
/// If the plan must not be applied, or is already being applied.
pub async fn start_apply(ops: TargetOps, plan: ActionPlan, request: ApplyRequest) -> Result<(), AppError> {
    // The executor checks everything again: this check only gives the user an immediate answer.
    prepare_apply(&ops, &plan, &request).await.map_err(|error| match error {
        // On the command line, the hint names an option; in a browser, the user types into the page.
        AppError::Action(ActionError::LimitExceeded(reasons, name)) => {
            AppError::Conflict(format!("This plan {reasons}. Type the target name ({name}) to confirm."))
        }
        AppError::Action(ActionError::NotConfirmed(typed)) => {
            let name = plan.confirmation_name();
            AppError::Conflict(format!(
                "“{typed}” is not the name of the target. Type the target name ({name}) to confirm."
            ))
        }
        AppError::Action(ActionError::Stale { .. }) => {
            AppError::Conflict("This plan has expired. Create a new plan.".into())
        }
        error => error,
    })?;
    let (app, id) = (Arc::clone(&ops.app), plan.record.id.clone());
    let (observer, changed) = (Arc::clone(&app), ops.target.name.clone());
    let (announcing, target) = (Arc::clone(&app), changed.clone());
    let announce = move || {
        // Trigger a check run: the dashboard should not show old numbers until the next scheduled one.
        announcing.wake_target(&target);
        announcing.publish(LiveEvent::TargetChanged { target });
    };
    let work = |control| async move {
        let mut applying = Box::pin(apply_in_background(ops, plan, request, control));
        // Open pages show the progress.
        loop {
            tokio::select! {
                outcome = &mut applying => return outcome,
                () = clock::sleep(PROGRESS_INTERVAL) => {
                    observer.publish(LiveEvent::TargetChanged { target: changed.clone() });
                }
            }
        }
    };
    let started = app.plan_jobs.start_job(&app.background, &id, work, announce);
    if started { Ok(()) } else { Err(AppError::Conflict("This plan is already being applied.".into())) }
}

/// Checks that a plan may be applied, as part of an incident if the request names one. Records the reason for missing
/// evidence on the incident.
///
/// # Errors
///
/// If the plan must not be applied.
pub async fn prepare_apply(
    ops: &TargetOps,
    plan: &ActionPlan,
    request: &ApplyRequest,
) -> Result<(), AppError> {
    // Before the incident is read: a plan that must not run needs no evidence.
    let context = ops.action_context();
    authorize_apply(plan, &ApplyCircumstances::from_context(context, build_confirmation(request)))?;
    remediation::require_write_credentials(context)?;
    let Some(id) = request.incident_id.clone() else { return Ok(()) };
    let case = ops.app.read_store(move |db| IncidentWorkflow::load(db, &id)).await?;
    let mut case = case.ok_or_else(|| AppError::NotFound("Incident not found.".into()))?;
    case.require_open()?;
    // A link with the id of another incident must not attach this plan to it.
    if case.incident.target != plan.record.target {
        return Err(AppError::Conflict("The incident belongs to another target.".into()));
    }
    if is_restore(plan) {
        // A restore destroys no evidence.
        return Ok(());
    }
    let reason = request.without_evidence_reason.clone();
    ops.clone().with_store(move |ops| case.require_evidence(ops.action_context(), reason.as_deref())).await
}

fn build_confirmation(request: &ApplyRequest) -> Confirmation<'_> {
    Confirmation { typed_name: request.typed_target_name.as_deref(), by_policy: false }
}

fn is_restore(plan: &ActionPlan) -> bool {
    matches!(plan.selection, Selection::Restore { .. })
}

/// Archive keys for a plan: the public key for removing rows, or the private key for restoring them.
#[derive(Debug)]
pub struct PlanKeys {
    recipient: Option<Recipient>,
    identity: Option<Identity>,
    /// Advice on a newly created private key.
    pub advice: Option<String>,
}

/// Loads the archive keys for a plan. A restore needs the private key, from `identity` or the configuration. Any
/// other plan needs the public key, from the configuration or the key file next to the state store, which is created
/// if missing.
///
/// # Errors
///
/// If a key cannot be read or created.
pub fn load_plan_keys(
    ops: &TargetOps,
    plan: &ActionPlan,
    identity: Option<&Path>,
) -> Result<PlanKeys, ActionError> {
    let Selection::Restore { archive, .. } = &plan.selection else {
        // A restore must find a matching key, whereas a removal may create one.
        let (recipient, made) = archive_keys::load_or_create_recipient(&ops.config)?;
        let advice = made.map(|path| archive_keys::new_identity_advice(&recipient, &path));
        return Ok(PlanKeys { recipient: Some(recipient), identity: None, advice });
    };
    let path = identity.map_or_else(|| archive_keys::identity_path(&ops.config), Path::to_owned);
    if identity.is_none() && !path.exists() {
        // Name the recipient, so that the user can find the matching private key.
        let batch = ops.app.store.read(|db| archive_batches::find_next_batch(db, archive, 0))?;
        let batch = batch.ok_or_else(|| ActionError::NoArchive(archive.clone()))?;
        return Err(ActionError::NoIdentity(batch.recipient));
    }
    Ok(PlanKeys { recipient: None, identity: Some(Identity::read_file(&path)?), advice: None })
}

/// Result of applying a plan.
#[derive(Debug)]
pub struct PlanOutcome {
    /// Applied and skipped rows.
    pub report: ApplyReport,
    /// Result of recording the plan on its incident; `Ok` if there is no incident.
    pub incident_recorded: Result<(), StoreError>,
}

/// Applies a prepared plan, and records it on the incident that it is part of.
///
/// # Errors
///
/// If the plan must not be applied, or the target or the state store fails.
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
    let report = executor.run(plan.clone()).await?;
    // A restore revokes no session, so it does not contain anything.
    let incident = request.incident_id.as_deref().filter(|_| !is_restore(plan));
    let incident_recorded =
        incident.map_or(Ok(()), |incident| record_on_incident(context, incident, plan, &report));
    // The rows are gone already: an error here must not look as if the plan had failed.
    Ok(PlanOutcome { report, incident_recorded })
}

/// Applies a plan on a blocking thread. Returns a message about the result or the error.
async fn apply_in_background(
    ops: TargetOps,
    plan: ActionPlan,
    request: ApplyRequest,
    control: Arc<JobControl>,
) -> Result<String, String> {
    let applied = blocking::run_async_catching(async move || {
        // The action opens its own connection, and the role may not be allowed many.
        ops.app.connection_pool.evict_idle(&ops.target.name).await;
        apply_and_describe(&ops, &plan, &request, &control).await
    });
    applied.await.unwrap_or_else(|| Err("applying the plan panicked".into()))
}

async fn apply_and_describe(
    ops: &TargetOps,
    plan: &ActionPlan,
    request: &ApplyRequest,
    control: &JobControl,
) -> Result<String, String> {
    let text = |error: ActionError| action_error_with_hint(&error);
    let keys = load_plan_keys(ops, plan, None).map_err(text)?;
    let PlanOutcome { report, incident_recorded } =
        apply_plan(ops, plan, &keys, request, control).await.map_err(text)?;
    let done = describe_result(plan, &report, is_restore(plan));
    // The rows are gone either way, so the error repeats what was done.
    match incident_recorded {
        Ok(()) => Ok(done),
        Err(error) => Err(format!("{done} The plan could not be recorded in the incident: {error}.")),
    }
}

fn describe_result(plan: &ActionPlan, applied: &ApplyReport, restores: bool) -> String {
    let skipped = match applied.skipped {
        0 => String::new(),
        skipped => format!(", {skipped} skipped{}", describe_skip_reasons(applied)),
    };
    let left = match applied.still_matching {
        Some(0) => " No matching rows remain.".to_owned(),
        Some(1) => " 1 matching row remains.".to_owned(),
        Some(left) => format!(" {left} matching rows remain."),
        None => String::new(),
    };
    let done = format!("{} processed{skipped}.{left}", format_count(applied.done, "row", "rows"));
    let done = [done].into_iter().chain(applied.describe_dependents(restores)).collect::<Vec<_>>().join(" ");
    match plan.summary.not_ended.as_slice() {
        // A plan that changed nothing left all of them as they were, so the list would mislead.
        lines if applied.done > 0 && !lines.is_empty() => {
            format!("{done} Some logins may stay valid: {}.", lines.join("; "))
        }
        _ => done,
    }
}

/// Returns the distinct reasons of the listed skipped rows, in parentheses.
fn describe_skip_reasons(applied: &ApplyReport) -> String {
    let mut reasons: Vec<&str> = Vec::new();
    for (_, why) in &applied.skipped_rows {
        let reason = why.describe();
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    let listed = applied.skipped_rows.len() as u64;
    // Of the further rows, the reasons are not known.
    let scope = if listed < applied.skipped { format!("the first {listed}: ") } else { String::new() };
    if reasons.is_empty() { String::new() } else { format!(" ({scope}{})", reasons.join("; ")) }
}

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

/// Returns `true` if a plan requires approval by another account and has none.
#[must_use]
pub fn is_approval_missing(ops: &TargetOps, plan: &ActionPlan) -> bool {
    ops.action_context().missing_approval(plan).is_some()
}

/// Returns the name under which an actor approves plans.
#[must_use]
pub fn approver_name(actor: &Actor) -> &str {
    remediation::actor_account(actor.name())
}

/// Describes the exceeded safety limits of a plan; `None` if the plan needs no confirmation.
#[must_use]
pub fn safety_limit_text(ops: &TargetOps, plan: &ActionPlan) -> Option<String> {
    plan.confirmation_reasons(ops.action_context().safety_limit()).map(|exceeded| exceeded.to_string())
}

#[cfg(test)]
mod tests;
