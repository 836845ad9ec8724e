//! Targets: how they stand, their numbers over time, checks, sessions, users, and the checklist.

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

/// How a target stands.
#[derive(Serialize, ToSchema)]
pub(super) struct TargetSummary {
    name: String,
    /// `passing`, `failing`, `acknowledged` (every alert that fires is looked after) or `unknown`.
    state: &'static str,
    /// Where it is, without a password.
    address: String,
    checked_at: Option<Rfc3339>,
    /// How its sessions are stored.
    profile: Option<String>,
    /// The title of that profile.
    framework: Option<String>,
    /// The table that holds them, with its schema.
    table: Option<String>,
    engine: Option<String>,
    /// What was counted at the last look, as in the report of `sessionwatch check`; nothing where nothing is known.
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

/// A target, and what is known of it.
#[derive(Serialize, ToSchema)]
pub(super) struct TargetDetails {
    #[serde(flatten)]
    standing: TargetSummary,
    /// What a person should know about it.
    notes: Vec<String>,
    /// When which checks are made, in words.
    schedule: Vec<String>,
    checks: Vec<AlertDto>,
    /// The last look, as `sessionwatch check --format json` writes it; nothing before the first one.
    report: Value,
}

/// A target.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct TargetPath {
    /// The name of the target
    #[param(inline)]
    pub(super) target: BoundedText<200>,
}

/// A check on a target.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct CheckPath {
    /// The name of the target
    #[param(inline)]
    pub(super) target: BoundedText<200>,
    /// The id of the check
    #[param(inline)]
    pub(super) check: BoundedText<200>,
}

impl CheckPath {
    /// The same, as use cases take it.
    pub(super) fn alert_ref(&self) -> AlertRef {
        AlertRef { target: self.target.to_string(), check: self.check.to_string() }
    }
}

/// Every target, and how it stands
#[utoipa::path(get, path = "/api/v1/targets", tag = "targets", responses((status = 200, description = "The targets", body = ListPage<TargetSummary>)))]
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

/// A target, with its checks and its last look
#[utoipa::path(get, path = "/api/v1/targets/{target}", tag = "targets", params(TargetPath), responses((status = 200, description = "The target", body = TargetDetails)))]
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

/// What was counted in a stretch of time.
#[derive(Serialize, ToSchema)]
pub(super) struct StatsSample {
    /// Its begin.
    at: Rfc3339,
    /// Looks in it.
    runs: u64,
    /// Looks that saw nothing.
    failed_runs: u64,
    /// By name: the mean, the lowest and the highest of what the others saw.
    gauges: BTreeMap<String, [f64; 3]>,
}

/// A period.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StatsPeriodQuery {
    /// From then on; a day before `to`, unless it is given
    #[param(inline)]
    from: Option<Rfc3339>,
    /// Before then; now, unless it is given
    #[param(inline)]
    to: Option<Rfc3339>,
}

/// Numbers of a target over time: single looks of two days, five-minute means of two weeks, hourly ones before
#[utoipa::path(get, path = "/api/v1/targets/{target}/stats", tag = "targets", params(TargetPath, StatsPeriodQuery), responses((status = 200, description = "Oldest first", body = ListPage<StatsSample>)))]
pub(super) async fn get_session_stats(
    State(app): State<Arc<AppState>>,
    PathParams(of): PathParams<TargetPath>,
    QueryParams(period): QueryParams<StatsPeriodQuery>,
) -> ApiResult<ListPage<StatsSample>> {
    let now = app.clock.now();
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
    /// The verdict of the last look: `passing`, `failing`, `unknown` or `not-applicable`; nothing before the first one.
    result: Option<String>,
    /// What failed last, with the rows that show it.
    finding: Value,
    silences: Vec<SilenceDto>,
    /// What it means and what to do, in Markdown; nothing of checks of your own.
    documentation: Option<&'static str>,
}

/// A check on a target; `/events` has its history
#[utoipa::path(get, path = "/api/v1/targets/{target}/checks/{check}", tag = "targets", params(CheckPath), responses((status = 200, description = "The check", body = TargetCheck)))]
pub(super) async fn get_check(
    State(app): State<Arc<AppState>>,
    PathParams(of): PathParams<CheckPath>,
) -> ApiResult<TargetCheck> {
    let details = targets::find_check(&app, of.alert_ref()).await?;
    let missing = || ProblemDetails::not_found("nothing is known of such a check on that target");
    let CheckDetails { alert, finding, silences, .. } = details.ok_or_else(missing)?;
    Ok(Json(TargetCheck {
        alert: AlertDto::from_record(&alert),
        finding,
        result: alert.verdict,
        silences: silences.iter().map(SilenceDto::from_record).collect(),
        documentation: sessionwatch_app::checks::find_documentation(&of.check),
    }))
}

/// A query.
#[derive(Serialize, ToSchema)]
pub(super) struct CheckSql {
    /// SQL, without a semicolon. It gives prefixes of tokens only.
    sql: String,
}

/// The query behind a check, written for the target
#[utoipa::path(get, path = "/api/v1/targets/{target}/checks/{check}/query", tag = "targets", params(CheckPath), responses((status = 200, description = "The query", body = CheckSql)))]
pub(super) async fn get_check_query(
    State(app): State<Arc<AppState>>,
    PathParams(of): PathParams<CheckPath>,
) -> ApiResult<CheckSql> {
    let sql = targets::render_check_query(&app, &of.alert_ref()).await?;
    Ok(Json(CheckSql { sql }))
}

/// What keeps sessions of a target from being safe, or the watch from seeing them
#[utoipa::path(get, path = "/api/v1/targets/{target}/doctor", tag = "targets", params(TargetPath), responses((status = 200, description = "Everything that was examined", body = ListPage<DoctorFindingDto>)))]
pub(super) async fn run_doctor(
    State(app): State<Arc<AppState>>,
    PathParams(of): PathParams<TargetPath>,
) -> ApiResult<ListPage<DoctorFindingDto>> {
    let findings = targets::run_doctor(&app, &of.target).await?;
    Ok(Json(ListPage::from_all(findings.iter().map(DoctorFindingDto::from).collect())))
}

/// The weekly checklist of a target, as `sessionwatch report --format json` writes it
#[utoipa::path(get, path = "/api/v1/targets/{target}/checklist", tag = "targets", params(TargetPath), responses((status = 200, description = "The checklist", body = Value)))]
pub(super) async fn get_checklist(
    State(app): State<Arc<AppState>>,
    PathParams(of): PathParams<TargetPath>,
) -> ApiResult<Value> {
    let list = checklists::load_weekly_checklist(&app, app.target(&of.target)?).await?;
    Ok(Json(list.to_json()))
}

/// What somebody vouches for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AttestationRequest {
    /// Whether users reported nothing about log-ins this week.
    passes: bool,
    /// How one knows.
    note: BoundedText<500>,
}

/// Vouch for what users reported this week
#[utoipa::path(post, path = "/api/v1/targets/{target}/attestations", tag = "targets", params(TargetPath), request_body = AttestationRequest, responses((status = 204, description = "It is noted")))]
pub(super) async fn create_attestation(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<TargetPath>,
    JsonBody(vouched): JsonBody<AttestationRequest>,
) -> Result<StatusCode, ProblemDetails> {
    let new = NewAttestation {
        target: of.target.to_string(),
        holds: vouched.passes,
        note: vouched.note.to_string(),
    };
    checklists::record_attestation(&app, &caller.actor(), new).await?;
    Ok(StatusCode::NO_CONTENT)
}
