//! Targets: status, session stats, checks, diagnostics and checklist.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State, http::StatusCode};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sessionwatch_app::{
    api_types::{AlertDto, DoctorFindingDto, Rfc3339, SilenceDto},
    app::{
        AppState, Period,
        alerts::AlertRef,
        check_runs,
        checklists::{self, NewAttestation},
        targets::{self, CheckDetails, Sample, TargetStatus},
    },
    config::Target as Configured,
};
use sessionwatch_core::duration::DAY;
use utoipa::{IntoParams, ToSchema};

use super::{
    ApiCaller, ApiResult,
    extractors::{BoundedText, JsonBody, ListPage, PathParams, QueryParams},
    problem::ProblemDetails,
};

/// The status of a target.
#[derive(Serialize, ToSchema)]
pub(super) struct TargetSummary {
    name: String,
    /// `passing`, `pending` (failing, but not long enough to notify), `failing`, `acknowledged` (every firing alert is
    /// acknowledged) or `unknown`.
    state: &'static str,
    /// The address, without a password.
    address: String,
    checked_at: Option<Rfc3339>,
    /// The ID of the profile.
    profile: Option<String>,
    /// The title of the profile.
    framework: Option<String>,
    /// The session table, with its schema.
    table: Option<String>,
    engine: Option<String>,
    /// Session stats of the last check run, as in the report of `sessionwatch check`; null if there was none.
    stats: Value,
}

impl TargetSummary {
    fn from_status(target: &Configured, status: &TargetStatus) -> Self {
        let text = |key: &str| status.report_text(key).map(str::to_owned);
        Self {
            name: target.name.clone(),
            state: status.state(),
            address: target.address.to_string(),
            checked_at: status.report.as_ref().map(|report| Rfc3339(report.at)),
            profile: text("profile"),
            framework: text("framework"),
            table: text("table"),
            engine: text("engine"),
            stats: status.report_document().map(|report| report["stats"].clone()).unwrap_or_default(),
        }
    }
}

/// A target with its checks and latest report.
#[derive(Serialize, ToSchema)]
pub(super) struct TargetDetails {
    #[serde(flatten)]
    standing: TargetSummary,
    /// Notes about the target.
    notes: Vec<String>,
    /// The schedule of the checks, as text.
    schedule: Vec<String>,
    checks: Vec<AlertDto>,
    /// The report of the last check run, as in `sessionwatch check --format json`; null before the first one. Each
    /// check also has `checked_at`: one that did not run this time keeps its last result.
    report: Value,
}

/// A target.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct TargetPath {
    /// Name of the target
    #[param(inline)]
    pub(super) target: BoundedText<200>,
}

/// A check on a target.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct CheckPath {
    /// Name of the target
    #[param(inline)]
    pub(super) target: BoundedText<200>,
    /// ID of the check
    #[param(inline)]
    pub(super) check: BoundedText<200>,
}

impl CheckPath {
    /// Returns the alert of the check.
    pub(super) fn alert_ref(&self) -> AlertRef {
        AlertRef { target: self.target.to_string(), check: self.check.to_string() }
    }
}

/// List all targets and their status
#[utoipa::path(
    get,
    path = "/api/v1/targets",
    tag = "targets",
    responses((status = 200, description = "The targets", body = ListPage<TargetSummary>))
)]
pub(super) async fn list_targets(
    State(app): State<Arc<AppState>>,
    _caller: ApiCaller,
) -> ApiResult<ListPage<TargetSummary>> {
    let known = targets::list_target_statuses(&app).await?;
    let config = app.config();
    let standing =
        config.targets.iter().zip(&known).map(|(target, known)| TargetSummary::from_status(target, known));
    Ok(Json(ListPage::from_all(standing.collect())))
}

/// A request for check runs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestRunsRequest {
    /// The target to check; all targets without it.
    target: Option<BoundedText<200>>,
}

/// A target whose checks were requested to run.
#[derive(Serialize, ToSchema)]
pub(super) struct RequestedRunDto {
    target: String,
    /// `passing`, `pending` (failing, but not long enough to notify), `failing`, `acknowledged` (every firing alert is
    /// acknowledged) or `unknown`.
    state: &'static str,
    checked_at: Option<Rfc3339>,
    /// Whether the run has finished. If not, it goes on, or another instance monitors the target.
    finished: bool,
}

/// Run checks now, and wait up to 25 seconds for their results and notifications
#[utoipa::path(
    post,
    path = "/api/v1/runs",
    tag = "targets",
    request_body = RequestRunsRequest,
    responses(
        (status = 200, description = "Every run has finished", body = ListPage<RequestedRunDto>),
        (status = 202, description = "Some runs have not finished yet", body = ListPage<RequestedRunDto>)
    )
)]
pub(super) async fn request_runs(
    State(app): State<Arc<AppState>>,
    JsonBody(wanted): JsonBody<RequestRunsRequest>,
) -> Result<(StatusCode, Json<ListPage<RequestedRunDto>>), ProblemDetails> {
    let requested =
        check_runs::request_check_runs(&app, wanted.target.as_deref().map(String::as_str)).await?;
    let all_finished = requested.iter().all(|run| run.is_finished);
    let status = if all_finished { StatusCode::OK } else { StatusCode::ACCEPTED };
    let items = requested.iter().map(|run| RequestedRunDto {
        target: run.target.clone(),
        state: run.status.state(),
        checked_at: run.status.report.as_ref().map(|report| Rfc3339(report.at)),
        finished: run.is_finished,
    });
    Ok((status, Json(ListPage::from_all(items.collect()))))
}

/// Get a target, its checks and its latest report
#[utoipa::path(
    get,
    path = "/api/v1/targets/{target}",
    tag = "targets",
    params(TargetPath),
    responses((status = 200, description = "The target", body = TargetDetails))
)]
pub(super) async fn get_target(
    State(app): State<Arc<AppState>>,
    PathParams(of): PathParams<TargetPath>,
) -> ApiResult<TargetDetails> {
    let now = app.clock.now();
    let target = app.target(&of.target)?;
    let known = targets::load_target_status(&app, &target.name, Period::ending_at(now, DAY)).await?;
    let report = known.report_document().cloned().unwrap_or_default();
    let notes = report["notes"].as_array().cloned().unwrap_or_default();
    Ok(Json(TargetDetails {
        standing: TargetSummary::from_status(&target, &known),
        notes: notes.iter().filter_map(|note| note.as_str().map(str::to_owned)).collect(),
        schedule: targets::describe_schedule(&app, &target),
        checks: known.alerts.iter().map(AlertDto::from_record).collect(),
        report,
    }))
}

/// Session stats of one interval.
#[derive(Serialize, ToSchema)]
pub(super) struct StatsSample {
    /// Start of the interval.
    at: Rfc3339,
    /// Number of check runs.
    runs: u64,
    /// Number of failed check runs.
    failed_runs: u64,
    /// Mean, minimum and maximum of the successful runs, by name of the gauge.
    gauges: BTreeMap<String, [f64; 3]>,
}

/// A period.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StatsPeriodQuery {
    /// Start of the period, inclusive; one day before `to` by default
    #[param(inline)]
    from: Option<Rfc3339>,
    /// End of the period, exclusive; now by default
    #[param(inline)]
    to: Option<Rfc3339>,
}

/// Get session stats over time: every check run for two days, five-minute means for two weeks, hourly means before
#[utoipa::path(
    get,
    path = "/api/v1/targets/{target}/stats",
    tag = "targets",
    params(TargetPath, StatsPeriodQuery),
    responses((status = 200, description = "The samples, oldest first", body = ListPage<StatsSample>))
)]
pub(super) async fn get_session_stats(
    State(app): State<Arc<AppState>>,
    PathParams(of): PathParams<TargetPath>,
    QueryParams(period): QueryParams<StatsPeriodQuery>,
) -> ApiResult<ListPage<StatsSample>> {
    let now = app.clock.now();
    // The end is exclusive: one microsecond more includes a run at this instant.
    let to = period.to.map_or(now + SignedDuration::from_micros(1), |Rfc3339(at)| at);
    let from = period.from.map_or(to - DAY, |Rfc3339(at)| at);
    let points = targets::list_samples(&app, &of.target, Period { from, to }).await?;
    let counted = |Sample { at, runs, failed_runs, gauges }: Sample| StatsSample {
        at: Rfc3339(at),
        runs,
        failed_runs,
        gauges,
    };
    Ok(Json(ListPage::from_all(points.into_iter().map(counted).collect())))
}

/// A check on a target.
#[derive(Serialize, ToSchema)]
pub(super) struct TargetCheck {
    #[serde(flatten)]
    alert: AlertDto,
    /// The result of the last check run: `passing`, `failing`, `unknown` or `not-applicable`; null before the first
    /// one.
    result: Option<String>,
    /// The last failing finding, with its evidence.
    finding: Value,
    silences: Vec<SilenceDto>,
    /// The documentation of the check, in Markdown; null for a custom check.
    documentation: Option<&'static str>,
}

/// Get a check on a target; `/events` lists its history
#[utoipa::path(
    get,
    path = "/api/v1/targets/{target}/checks/{check}",
    tag = "targets",
    params(CheckPath),
    responses((status = 200, description = "The check", body = TargetCheck))
)]
pub(super) async fn get_check(
    State(app): State<Arc<AppState>>,
    PathParams(of): PathParams<CheckPath>,
) -> ApiResult<TargetCheck> {
    let details = targets::find_check(&app, of.alert_ref()).await?;
    let missing = || ProblemDetails::not_found("check not found on this target");
    let CheckDetails { alert, finding, silences, .. } = details.ok_or_else(missing)?;
    Ok(Json(TargetCheck {
        alert: AlertDto::from_record(&alert),
        finding,
        result: alert.verdict,
        silences: silences.iter().map(SilenceDto::from_record).collect(),
        documentation: sessionwatch_app::checks::find_documentation(&of.check),
    }))
}

/// The query behind a check.
#[derive(Serialize, ToSchema)]
pub(super) struct CheckSql {
    /// SQL without a trailing semicolon. The query returns token prefixes only.
    sql: String,
}

/// Get the query behind a check, for this target
#[utoipa::path(
    get,
    path = "/api/v1/targets/{target}/checks/{check}/query",
    tag = "targets",
    params(CheckPath),
    responses((status = 200, description = "The query", body = CheckSql))
)]
pub(super) async fn get_check_query(
    State(app): State<Arc<AppState>>,
    PathParams(of): PathParams<CheckPath>,
) -> ApiResult<CheckSql> {
    let sql = targets::render_check_query(&app, &of.alert_ref()).await?;
    Ok(Json(CheckSql { sql }))
}

/// Run the doctor: diagnose schema, role, TLS and clock
#[utoipa::path(
    get,
    path = "/api/v1/targets/{target}/doctor",
    tag = "targets",
    params(TargetPath),
    responses((status = 200, description = "The diagnostics", body = ListPage<DoctorFindingDto>))
)]
pub(super) async fn run_doctor(
    State(app): State<Arc<AppState>>,
    PathParams(of): PathParams<TargetPath>,
) -> ApiResult<ListPage<DoctorFindingDto>> {
    let findings = targets::run_doctor(&app, &of.target).await?;
    Ok(Json(ListPage::from_all(findings.iter().map(DoctorFindingDto::from).collect())))
}

/// Get the weekly checklist of a target, as in `sessionwatch report --format json`
#[utoipa::path(
    get,
    path = "/api/v1/targets/{target}/checklist",
    tag = "targets",
    params(TargetPath),
    responses((status = 200, description = "The checklist", body = Value))
)]
pub(super) async fn get_checklist(
    State(app): State<Arc<AppState>>,
    PathParams(of): PathParams<TargetPath>,
) -> ApiResult<Value> {
    let list = checklists::load_weekly_checklist(&app, app.target(&of.target)?).await?;
    Ok(Json(list.to_json()))
}

/// An attestation of the item about user reports.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AttestationRequest {
    /// True if users reported no login problems this week.
    passes: bool,
    /// The evidence.
    note: BoundedText<500>,
}

/// Attest whether users reported login problems this week
#[utoipa::path(
    post,
    path = "/api/v1/targets/{target}/attestations",
    tag = "targets",
    params(TargetPath),
    request_body = AttestationRequest,
    responses((status = 204, description = "The attestation was recorded"))
)]
pub(super) async fn create_attestation(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<TargetPath>,
    JsonBody(attestation): JsonBody<AttestationRequest>,
) -> Result<StatusCode, ProblemDetails> {
    let new = NewAttestation {
        target: of.target.to_string(),
        holds: attestation.passes,
        note: attestation.note.to_string(),
    };
    checklists::record_attestation(&app, &caller.actor(), new).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests;
