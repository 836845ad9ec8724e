//! Plans: made, looked at, carried out, and undone.

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

/// Plans of a page: the latest.
const PLAN_PAGE_SIZE: usize = 100;

/// Which sessions a plan is about.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum CreatePlanRequest {
    /// Rows that ended longer ago than so many hours.
    Expired { hours: BoundedInt<8_760> },
    /// Rows on tokens that occur more than once.
    Duplicates {},
    /// Rows whose user does not exist.
    Orphaned {},
    /// Active sessions of users with more than so many.
    Excess { keep: BoundedInt<1_000> },
    /// Every row of a user.
    User { user: BoundedText<200> },
    /// The row of that id, or on a token that begins so.
    Session { session: BoundedText<200> },
    /// Every row that fits all conditions; at least one has to be given.
    Where {
        user: Option<BoundedText<200>>,
        /// Whose id, name or handle contains this.
        user_like: Option<BoundedText<200>>,
        created_after: Option<Rfc3339>,
        created_before: Option<Rfc3339>,
        expires_after: Option<Rfc3339>,
        expires_before: Option<Rfc3339>,
        ip: Option<BoundedText<200>>,
        user_agent_like: Option<BoundedText<200>>,
        /// Only sessions in which somebody else acts for the user.
        #[serde(default)]
        impersonated: bool,
    },
    /// Every row.
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
                if filter == RowFilter::default() {
                    return Err(ProblemDetails::conflict(
                        "without any condition, it is everybody: say `all`",
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
    /// Its id
    #[param(inline)]
    id: BoundedText<100>,
}

/// What a plan removed.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ArchivePath {
    /// The id of the plan that removed it
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
    /// Who agreed as the second person.
    approved_by: Option<String>,
    /// How far carrying it out is; nothing unless that was begun since the daemon started.
    progress: Option<ApplyProgress>,
}

/// How far carrying out a plan is.
#[derive(Serialize, ToSchema)]
pub(super) struct ApplyProgress {
    /// Rows that were gone through.
    rows: u64,
    /// What came of it; nothing while it goes on.
    outcome: Option<String>,
    /// Whether it failed.
    failed: bool,
}

impl PlanDetails {
    fn from_plan(app: &AppState, plan: &app_plans::ActionPlan) -> Result<Self, StoreError> {
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

/// The latest 100 plans
#[utoipa::path(get, path = "/api/v1/plans", tag = "plans", responses((status = 200, description = "The plans, the latest first", body = ListPage<PlanDetails>)))]
pub(super) async fn list_plans(
    State(app): State<Arc<AppState>>,
    _caller: ApiCaller,
) -> ApiResult<ListPage<PlanDetails>> {
    let plans = app_plans::list_plans(&app, PLAN_PAGE_SIZE).await?;
    let courses = plans.iter().map(|plan| PlanDetails::from_plan(&app, plan)).collect::<Result<_, _>>()?;
    Ok(Json(ListPage::from_all(courses)))
}

/// A plan, and how far it is
#[utoipa::path(get, path = "/api/v1/plans/{id}", tag = "plans", params(PlanPath), responses((status = 200, description = "The plan", body = PlanDetails)))]
pub(super) async fn get_plan(
    State(app): State<Arc<AppState>>,
    PathParams(of): PathParams<PlanPath>,
) -> ApiResult<PlanDetails> {
    let PlanWithTarget { plan, .. } = app_plans::load_plan(&app, &of.id).await?;
    Ok(Json(PlanDetails::from_plan(&app, &plan)?))
}

/// Make a plan, which touches nothing
#[utoipa::path(post, path = "/api/v1/targets/{target}/plans", tag = "plans", params(TargetPath), request_body = CreatePlanRequest, responses((status = 201, description = "The plan", body = PlanDetails)))]
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

/// What is said along with carrying out a plan.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApplyPlanRequest {
    /// The name of the target, where the plan has to be confirmed.
    confirm: Option<BoundedText<200>>,
    /// The incident in whose course it is carried out.
    incident: Option<BoundedText<100>>,
    /// Why complete evidence of the incident is not waited for.
    without_evidence: Option<BoundedText<2_000>>,
}

/// Agree to a plan as the second person, where the configuration asks for one
#[utoipa::path(post, path = "/api/v1/plans/{id}/approve", tag = "plans", params(PlanPath), responses((status = 204, description = "It is noted")))]
pub(super) async fn approve_plan(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<PlanPath>,
) -> Result<StatusCode, ProblemDetails> {
    app_plans::approve_plan(&app, &caller.actor(), &of.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Carry out a plan; it goes on by itself, and `/plans/{id}` says how far it is
#[utoipa::path(post, path = "/api/v1/plans/{id}/apply", tag = "plans", params(PlanPath), request_body = ApplyPlanRequest, responses((status = 202, description = "It has begun", body = PlanDetails)))]
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
    app_plans::start_apply(TargetOps::new(&app, target, &caller.actor()), plan.clone(), request).await?;
    Ok((StatusCode::ACCEPTED, Json(PlanDetails::from_plan(&app, &plan)?)))
}

/// What is archived, and can be put back
#[utoipa::path(get, path = "/api/v1/archive", tag = "plans", responses((status = 200, description = "By the plans that removed it", body = ListPage<ArchiveDto>)))]
pub(super) async fn list_archives(
    State(app): State<Arc<AppState>>,
    _caller: ApiCaller,
) -> ApiResult<ListPage<ArchiveDto>> {
    let PlanHistory { archives, plans } = app_plans::load_plan_history(&app).await?;
    let documents =
        archives.iter().map(|held| ArchiveDto::from_summary(held, &plans)).collect::<Result<_, _>>();
    Ok(Json(ListPage::from_all(documents.map_err(AppError::from)?)))
}

/// Make a plan to put back what another one removed
#[utoipa::path(post, path = "/api/v1/archive/{plan}/restore", tag = "plans", params(ArchivePath), responses((status = 201, description = "The plan", body = PlanDetails)))]
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
