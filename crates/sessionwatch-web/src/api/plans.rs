//! Plans: create, approve, apply and restore.

use std::sync::{Arc, atomic::Ordering};

use axum::{Json, extract::State, http::StatusCode};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sessionwatch_app::{
    api_types::{ArchiveDto, PlanDto, Rfc3339},
    app::{
        AppError, AppState, TargetOps,
        error::StoreError,
        plans::{
            self as app_plans, ApplyRequest, PlanHistory, PlanWithTarget, RestoreRequest, RowFilter,
            Selection,
        },
    },
};
use utoipa::{IntoParams, ToSchema};

use super::{
    ApiCaller, ApiResult,
    extractors::{BoundedInt, BoundedText, JsonBody, ListPage, PathParams},
    problem::ProblemDetails,
    targets::TargetPath,
};

/// Number of latest plans listed.
const PLAN_PAGE_SIZE: usize = 100;

/// The sessions that a plan selects.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum CreatePlanRequest {
    /// Rows that expired more than this number of hours ago.
    Expired { hours: BoundedInt<8_760> },
    /// Rows with tokens that occur more than once.
    Duplicates {},
    /// Rows whose user does not exist.
    Orphaned {},
    /// Active sessions beyond this number per user.
    Excess { keep: BoundedInt<1_000> },
    /// All rows of a user.
    User { user: BoundedText<200> },
    /// The row with this ID, or with this token prefix.
    Session { session: BoundedText<200> },
    /// All rows that match every given condition; at least one is required.
    Where {
        user: Option<BoundedText<200>>,
        /// Rows of users whose name, email, handle or ID contains this text.
        user_like: Option<BoundedText<200>>,
        created_after: Option<Rfc3339>,
        created_before: Option<Rfc3339>,
        expires_after: Option<Rfc3339>,
        expires_before: Option<Rfc3339>,
        ip: Option<BoundedText<200>>,
        user_agent_like: Option<BoundedText<200>>,
        /// Only impersonated sessions.
        #[serde(default)]
        impersonated: bool,
    },
    /// All rows.
    All {},
}

impl CreatePlanRequest {
    fn into_selection(self) -> Result<Selection, ProblemDetails> {
        let text = |text: Option<BoundedText<200>>| text.map(|text| text.to_string());
        let micros = |at: Option<Rfc3339>| at.map(|Rfc3339(at)| at.micros());
        Ok(match self {
            Self::Expired { hours: BoundedInt(hours) } => {
                Selection::Expired { grace: SignedDuration::from_hours(hours.into()) }
            }
            Self::Duplicates {} => Selection::Duplicates,
            Self::Orphaned {} => Selection::Orphaned,
            Self::Excess { keep: BoundedInt(keep) } => Selection::Excess { keep: keep.into() },
            Self::User { user } => Selection::User(user.to_string()),
            Self::Session { session } => Selection::Session(session.to_string()),
            Self::All {} => Selection::All,
            Self::Where {
                user,
                user_like,
                created_after,
                created_before,
                expires_after,
                expires_before,
                ip,
                user_agent_like,
                impersonated,
            } => {
                let filter = RowFilter {
                    user: text(user),
                    user_like: text(user_like),
                    created_after: micros(created_after),
                    created_before: micros(created_before),
                    expires_after: micros(expires_after),
                    expires_before: micros(expires_before),
                    ip: text(ip),
                    agent_like: text(user_agent_like),
                    impersonated,
                };
                // An empty filter would select every row, probably by mistake.
                if filter == RowFilter::default() {
                    return Err(ProblemDetails::conflict(
                        "at least one condition is required; to select all sessions, use `all`",
                    ));
                }
                Selection::Where(filter)
            }
        })
    }
}

/// A plan.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct PlanPath {
    /// ID of the plan
    #[param(inline)]
    id: BoundedText<100>,
}

/// The rows that a plan archived.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ArchivePath {
    /// ID of the plan that archived the rows
    #[param(inline)]
    plan: BoundedText<100>,
}

/// A plan, and how far it is.
#[derive(Serialize, ToSchema)]
pub(super) struct PlanDetails {
    #[serde(flatten)]
    plan: PlanDto,
    /// `planned`, `begun` or `done`.
    state: &'static str,
    /// The second person who approved the plan.
    approved_by: Option<String>,
    /// Progress of the apply job; null unless it was started since the daemon started.
    progress: Option<ApplyProgress>,
}

/// The progress of an apply job.
#[derive(Serialize, ToSchema)]
pub(super) struct ApplyProgress {
    /// Number of rows processed.
    rows: u64,
    /// The outcome; null while the job is running.
    outcome: Option<String>,
    /// True if the job failed.
    failed: bool,
}

impl PlanDetails {
    fn from_plan(app: &AppState, plan: &app_plans::ActionPlan) -> Result<Self, StoreError> {
        // Jobs live in this process only, so a plan applied by another daemon has no progress here.
        let job = app.plan_jobs.get(&plan.record.id);
        let progress = job.map(|job| ApplyProgress {
            rows: job.control.done.load(Ordering::Relaxed),
            failed: matches!(job.outcome, Some(Err(_))),
            outcome: job.outcome.map(|outcome| outcome.unwrap_or_else(|why| why)),
        });
        Ok(Self {
            plan: PlanDto::from_plan(&app.config(), plan)?,
            state: plan.record.state.name(),
            approved_by: plan.record.approved_by.clone(),
            progress,
        })
    }
}

/// List the latest 100 plans
#[utoipa::path(
    get,
    path = "/api/v1/plans",
    tag = "plans",
    responses((status = 200, description = "The plans, latest first", body = ListPage<PlanDetails>))
)]
pub(super) async fn list_plans(
    State(app): State<Arc<AppState>>,
    _caller: ApiCaller,
) -> ApiResult<ListPage<PlanDetails>> {
    let plans = app_plans::list_plans(&app, PLAN_PAGE_SIZE).await?;
    let courses = plans.iter().map(|plan| PlanDetails::from_plan(&app, plan)).collect::<Result<_, _>>()?;
    Ok(Json(ListPage::from_all(courses)))
}

/// Get a plan and its progress
#[utoipa::path(
    get,
    path = "/api/v1/plans/{id}",
    tag = "plans",
    params(PlanPath),
    responses((status = 200, description = "The plan", body = PlanDetails))
)]
pub(super) async fn get_plan(
    State(app): State<Arc<AppState>>,
    PathParams(of): PathParams<PlanPath>,
) -> ApiResult<PlanDetails> {
    let PlanWithTarget { plan, .. } = app_plans::load_plan(&app, &of.id).await?;
    Ok(Json(PlanDetails::from_plan(&app, &plan)?))
}

/// Create a plan, which changes nothing yet
#[utoipa::path(
    post,
    path = "/api/v1/targets/{target}/plans",
    tag = "plans",
    params(TargetPath),
    request_body = CreatePlanRequest,
    responses((status = 201, description = "The plan", body = PlanDetails))
)]
pub(super) async fn create_plan(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<TargetPath>,
    JsonBody(wanted): JsonBody<CreatePlanRequest>,
) -> Result<(StatusCode, Json<PlanDetails>), ProblemDetails> {
    let ops = TargetOps::new(&app, app.target(&of.target)?, &caller.actor());
    let plan = app_plans::create_plan(ops, wanted.into_selection()?).await?;
    Ok((StatusCode::CREATED, Json(PlanDetails::from_plan(&app, &plan)?)))
}

/// Confirmations for applying a plan.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApplyPlanRequest {
    /// The target name, required to confirm a plan that exceeds a safety limit.
    confirm: Option<BoundedText<200>>,
    /// The incident for which the plan is applied.
    incident: Option<BoundedText<100>>,
    /// The reason for applying the plan without complete evidence of the incident.
    without_evidence: Option<BoundedText<2_000>>,
}

/// Approve a plan as the second person, if the configuration requires one
#[utoipa::path(
    post,
    path = "/api/v1/plans/{id}/approve",
    tag = "plans",
    params(PlanPath),
    responses((status = 204, description = "The plan was approved"))
)]
pub(super) async fn approve_plan(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<PlanPath>,
) -> Result<StatusCode, ProblemDetails> {
    app_plans::approve_plan(&app, &caller.actor(), &of.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Apply a plan in the background; `/plans/{id}` shows the progress
#[utoipa::path(
    post,
    path = "/api/v1/plans/{id}/apply",
    tag = "plans",
    params(PlanPath),
    request_body = ApplyPlanRequest,
    responses((status = 202, description = "The apply job was started", body = PlanDetails))
)]
pub(super) async fn apply_plan(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<PlanPath>,
    JsonBody(consent): JsonBody<ApplyPlanRequest>,
) -> Result<(StatusCode, Json<PlanDetails>), ProblemDetails> {
    let PlanWithTarget { plan, target } = app_plans::load_plan(&app, &of.id).await?;
    let request = ApplyRequest {
        typed_target_name: consent.confirm.map(|name| name.to_string()),
        incident_id: consent.incident.map(|id| id.to_string()),
        without_evidence_reason: consent.without_evidence.map(|reason| reason.to_string()),
    };
    // Runs in the background: applying a large plan outlives any HTTP timeout.
    // The plan is checked before the job starts, so that a refusal is the response of this request.
    app_plans::start_apply(TargetOps::new(&app, target, &caller.actor()), plan.clone(), request).await?;
    Ok((StatusCode::ACCEPTED, Json(PlanDetails::from_plan(&app, &plan)?)))
}

/// List archived rows that can be restored
#[utoipa::path(
    get,
    path = "/api/v1/archive",
    tag = "plans",
    responses((status = 200, description = "The archived rows of each plan", body = ListPage<ArchiveDto>))
)]
pub(super) async fn list_archives(
    State(app): State<Arc<AppState>>,
    _caller: ApiCaller,
) -> ApiResult<ListPage<ArchiveDto>> {
    let PlanHistory { archives, plans } = app_plans::load_plan_history(&app).await?;
    let documents =
        archives.iter().map(|held| ArchiveDto::from_summary(held, &plans)).collect::<Result<_, _>>();
    Ok(Json(ListPage::from_all(documents.map_err(AppError::from)?)))
}

/// Create a plan that restores the rows of another plan
#[utoipa::path(
    post,
    path = "/api/v1/archive/{plan}/restore",
    tag = "plans",
    params(ArchivePath),
    responses((status = 201, description = "The plan", body = PlanDetails))
)]
pub(super) async fn create_restore_plan(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<ArchivePath>,
) -> Result<(StatusCode, Json<PlanDetails>), ProblemDetails> {
    let PlanWithTarget { target, .. } = app_plans::load_plan(&app, &of.plan).await?;
    let wanted = RestoreRequest { plan_id: of.plan.to_string(), user: None };
    let ops = TargetOps::new(&app, target, &caller.actor());
    let plan = app_plans::create_restore_plan(ops, wanted).await?;
    Ok((StatusCode::CREATED, Json(PlanDetails::from_plan(&app, &plan)?)))
}

#[cfg(test)]
mod tests;
