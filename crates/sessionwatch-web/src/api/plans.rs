//! Plans: made, looked at, carried out, and undone.

use std::sync::{Arc, atomic::Ordering};

use axum::{Json, extract::State, http::StatusCode};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sessionwatch_app::{
    api_types::{Archive, At, Plan},
    app::{
        AppError, AppState, TargetOps,
        error::StoreError,
        plans::{
            self as app_plans, ApplyRequest, PlanHistory, PlanOfTarget, RestoreRequest, RowFilter, Selection,
        },
    },
};
use utoipa::{IntoParams, ToSchema};

use super::{
    Answer, Caller,
    given::{Body, Count, In, Page, Text},
    problem::Problem,
    targets::OfTarget,
};

/// Plans of a page: the latest.
const SHOWN: usize = 100;

/// Which sessions a plan is about.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum NewPlan {
    /// Rows that ended longer ago than so many hours.
    Expired { hours: Count<8_760> },
    /// Rows on tokens that occur more than once.
    Duplicates {},
    /// Rows whose user does not exist.
    Orphaned {},
    /// Active sessions of users with more than so many.
    Excess { keep: Count<1_000> },
    /// Every row of a user.
    User { user: Text<200> },
    /// The row of that id, or on a token that begins so.
    Session { session: Text<200> },
    /// Every row that fits all conditions; at least one has to be given.
    Where {
        user: Option<Text<200>>,
        /// Whose id, name or handle contains this.
        user_like: Option<Text<200>>,
        created_after: Option<At>,
        created_before: Option<At>,
        expires_after: Option<At>,
        expires_before: Option<At>,
        ip: Option<Text<200>>,
        agent_like: Option<Text<200>>,
        /// Only sessions in which somebody else acts for the user.
        #[serde(default)]
        impersonated: bool,
    },
    /// Every row.
    All {},
}

impl NewPlan {
    fn selection(self) -> Result<Selection, Problem> {
        let text = |text: Option<Text<200>>| text.map(|text| text.to_string());
        let micros = |at: Option<At>| at.map(|At(at)| at.micros());
        Ok(match self {
            Self::Expired { hours: Count(hours) } => {
                Selection::Expired { grace: SignedDuration::from_hours(hours.into()) }
            }
            Self::Duplicates {} => Selection::Duplicates,
            Self::Orphaned {} => Selection::Orphaned,
            Self::Excess { keep: Count(keep) } => Selection::Excess { keep: keep.into() },
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
                agent_like,
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
                    agent_like: text(agent_like),
                    impersonated,
                };
                if filter == RowFilter::default() {
                    return Err(Problem::conflict("without any condition, it is everybody: say `all`"));
                }
                Selection::Where(filter)
            }
        })
    }
}

/// A plan.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfPlan {
    /// Its id
    #[param(inline)]
    id: Text<100>,
}

/// What a plan removed.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfArchive {
    /// The id of the plan that removed it
    #[param(inline)]
    plan: Text<100>,
}

/// A plan, and how far it is.
#[derive(Serialize, ToSchema)]
pub(super) struct PlanCourse {
    #[serde(flatten)]
    plan: Plan,
    /// `planned`, `begun` or `done`.
    state: &'static str,
    /// Who agreed as the second person.
    approved_by: Option<String>,
    /// How far carrying it out is; nothing unless that was begun since the daemon started.
    progress: Option<Progress>,
}

/// How far carrying out a plan is.
#[derive(Serialize, ToSchema)]
pub(super) struct Progress {
    /// Rows that were gone through.
    rows: u64,
    /// What came of it; nothing while it goes on.
    outcome: Option<String>,
    /// Whether it failed.
    failed: bool,
}

impl PlanCourse {
    fn of(app: &AppState, plan: &app_plans::Plan) -> Result<Self, StoreError> {
        let job = app.plan_jobs.get(&plan.kept.id);
        let progress = job.map(|job| Progress {
            rows: job.control.done.load(Ordering::Relaxed),
            failed: matches!(job.outcome, Some(Err(_))),
            outcome: job.outcome.map(|outcome| outcome.unwrap_or_else(|why| why)),
        });
        Ok(Self {
            plan: Plan::of(&app.config(), plan)?,
            state: plan.kept.state.name(),
            approved_by: plan.kept.approved_by.clone(),
            progress,
        })
    }
}

/// The latest 100 plans
#[utoipa::path(get, path = "/api/v1/plans", tag = "plans", responses((status = 200, description = "The plans, the latest first", body = Page<PlanCourse>)))]
pub(super) async fn list(State(app): State<Arc<AppState>>, _caller: Caller) -> Answer<Page<PlanCourse>> {
    let plans = app_plans::list_plans(&app, SHOWN).await?;
    let courses = plans.iter().map(|plan| PlanCourse::of(&app, plan)).collect::<Result<_, _>>()?;
    Ok(Json(Page::all(courses)))
}

/// A plan, and how far it is
#[utoipa::path(get, path = "/api/v1/plans/{id}", tag = "plans", params(OfPlan), responses((status = 200, description = "The plan", body = PlanCourse)))]
pub(super) async fn plan(State(app): State<Arc<AppState>>, In(of): In<OfPlan>) -> Answer<PlanCourse> {
    let PlanOfTarget { plan, .. } = app_plans::get_plan(&app, &of.id).await?;
    Ok(Json(PlanCourse::of(&app, &plan)?))
}

/// Make a plan, which touches nothing
#[utoipa::path(post, path = "/api/v1/targets/{target}/plans", tag = "plans", params(OfTarget), request_body = NewPlan, responses((status = 201, description = "The plan", body = PlanCourse)))]
pub(super) async fn make(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    In(of): In<OfTarget>,
    Body(wanted): Body<NewPlan>,
) -> Result<(StatusCode, Json<PlanCourse>), Problem> {
    let ops = TargetOps::new(&app, app.target(&of.target)?, &caller.actor());
    let plan = app_plans::make_plan(ops, wanted.selection()?).await?;
    Ok((StatusCode::CREATED, Json(PlanCourse::of(&app, &plan)?)))
}

/// What is said along with carrying out a plan.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Consent {
    /// The name of the target, where the plan has to be confirmed.
    confirm: Option<Text<200>>,
    /// The incident in whose course it is carried out.
    incident: Option<Text<100>>,
    /// Why complete evidence of the incident is not waited for.
    without_evidence: Option<Text<2_000>>,
}

/// Agree to a plan as the second person, where the configuration asks for one
#[utoipa::path(post, path = "/api/v1/plans/{id}/approve", tag = "plans", params(OfPlan), responses((status = 204, description = "It is noted")))]
pub(super) async fn approve(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    In(of): In<OfPlan>,
) -> Result<StatusCode, Problem> {
    app_plans::approve(&app, &caller.actor(), &of.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Carry out a plan; it goes on by itself, and `/plans/{id}` says how far it is
#[utoipa::path(post, path = "/api/v1/plans/{id}/apply", tag = "plans", params(OfPlan), request_body = Consent, responses((status = 202, description = "It has begun", body = PlanCourse)))]
pub(super) async fn apply(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    In(of): In<OfPlan>,
    Body(consent): Body<Consent>,
) -> Result<(StatusCode, Json<PlanCourse>), Problem> {
    let PlanOfTarget { plan, target } = app_plans::get_plan(&app, &of.id).await?;
    let request = ApplyRequest {
        confirm: consent.confirm.map(|name| name.to_string()),
        incident: consent.incident.map(|id| id.to_string()),
        without_evidence: consent.without_evidence.map(|reason| reason.to_string()),
    };
    app_plans::start_apply(TargetOps::new(&app, target, &caller.actor()), plan.clone(), request).await?;
    Ok((StatusCode::ACCEPTED, Json(PlanCourse::of(&app, &plan)?)))
}

/// What is archived, and can be put back
#[utoipa::path(get, path = "/api/v1/archive", tag = "plans", responses((status = 200, description = "By the plans that removed it", body = Page<Archive>)))]
pub(super) async fn archive(State(app): State<Arc<AppState>>, _caller: Caller) -> Answer<Page<Archive>> {
    let PlanHistory { archived, plans } = app_plans::get_history(&app).await?;
    let documents = archived.iter().map(|held| Archive::of(held, &plans)).collect::<Result<_, _>>();
    Ok(Json(Page::all(documents.map_err(AppError::from)?)))
}

/// Make a plan to put back what another one removed
#[utoipa::path(post, path = "/api/v1/archive/{plan}/restore", tag = "plans", params(OfArchive), responses((status = 201, description = "The plan", body = PlanCourse)))]
pub(super) async fn restore(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    In(of): In<OfArchive>,
) -> Result<(StatusCode, Json<PlanCourse>), Problem> {
    let PlanOfTarget { target, .. } = app_plans::get_plan(&app, &of.plan).await?;
    let wanted = RestoreRequest { archive: of.plan.to_string(), user: None };
    let ops = TargetOps::new(&app, target, &caller.actor());
    let plan = app_plans::make_restore_plan(ops, wanted).await?;
    Ok((StatusCode::CREATED, Json(PlanCourse::of(&app, &plan)?)))
}
