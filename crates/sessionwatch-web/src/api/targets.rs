//! Targets: how they stand, their numbers over time, checks, sessions, users, and the checklist.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State, http::StatusCode};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sessionwatch_app::{
    api_types::{Alert, At, Examined, Silence},
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
    Answer, Caller,
    given::{Asked, Body, In, Page, Text},
    problem::Problem,
};

/// How a target stands.
#[derive(Serialize, ToSchema)]
pub(super) struct Standing {
    name: String,
    /// `healthy`, `failing`, `acknowledged` (every alert that fires is looked after) or `unknown`.
    state: &'static str,
    /// Where it is, without a password.
    address: String,
    looked_at: Option<At>,
    /// How its sessions are stored.
    profile: Option<String>,
    /// The title of that profile.
    framework: Option<String>,
    /// The table that holds them, with its schema.
    table: Option<String>,
    engine: Option<String>,
    /// What was counted at the last look, as in the report of `sessionwatch check`; nothing where nothing is known.
    census: Value,
}

impl Standing {
    fn of(target: &Configured, known: &TargetStatus) -> Self {
        let text = |key: &str| known.report_text(key).map(str::to_owned);
        Self {
            name: target.name.clone(),
            state: known.state(),
            address: target.address.to_string(),
            looked_at: known.report.as_ref().map(|report| At(report.at)),
            profile: text("profile"),
            framework: text("framework"),
            table: text("table"),
            engine: text("engine"),
            census: known.document().map(|report| report["census"].clone()).unwrap_or_default(),
        }
    }
}

/// A target, and what is known of it.
#[derive(Serialize, ToSchema)]
pub(super) struct Target {
    #[serde(flatten)]
    standing: Standing,
    /// What a person should know about it.
    notes: Vec<String>,
    /// When which checks are made, in words.
    schedule: Vec<String>,
    checks: Vec<Alert>,
    /// The last look, as `sessionwatch check --format json` writes it; nothing before the first one.
    report: Value,
}

/// A target.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfTarget {
    /// The name of the target
    #[param(inline)]
    pub(super) target: Text<200>,
}

/// A check on a target.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfCheck {
    /// The name of the target
    #[param(inline)]
    pub(super) target: Text<200>,
    /// The id of the check
    #[param(inline)]
    pub(super) check: Text<200>,
}

impl OfCheck {
    /// The same, as use cases take it.
    pub(super) fn alert_ref(&self) -> AlertRef {
        AlertRef { target: self.target.to_string(), check: self.check.to_string() }
    }
}

/// Every target, and how it stands
#[utoipa::path(get, path = "/api/v1/targets", tag = "targets", responses((status = 200, description = "The targets", body = Page<Standing>)))]
pub(super) async fn list(State(app): State<Arc<AppState>>, _caller: Caller) -> Answer<Page<Standing>> {
    let known = targets::list_statuses(&app).await?;
    let config = app.config();
    let standing = config.targets.iter().zip(&known).map(|(target, known)| Standing::of(target, known));
    Ok(Json(Page::all(standing.collect())))
}

/// A target, with its checks and its last look
#[utoipa::path(get, path = "/api/v1/targets/{target}", tag = "targets", params(OfTarget), responses((status = 200, description = "The target", body = Target)))]
pub(super) async fn target(State(app): State<Arc<AppState>>, In(of): In<OfTarget>) -> Answer<Target> {
    let now = app.clock.now();
    let target = app.target(&of.target)?;
    let known = targets::get_status(&app, &target.name, Period::back_from(now, DAY)).await?;
    let report = known.document().cloned().unwrap_or_default();
    let notes = report["notes"].as_array().cloned().unwrap_or_default();
    Ok(Json(Target {
        standing: Standing::of(&target, &known),
        notes: notes.iter().filter_map(|note| note.as_str().map(str::to_owned)).collect(),
        schedule: targets::describe_schedule(&app, &target),
        checks: known.alerts.iter().map(Alert::of).collect(),
        report,
    }))
}

/// What was counted in a stretch of time.
#[derive(Serialize, ToSchema)]
pub(super) struct Counted {
    /// Its begin.
    at: At,
    /// Looks in it.
    looks: u64,
    /// Looks that saw nothing.
    blind: u64,
    /// By name: the mean, the lowest and the highest of what the others saw.
    gauges: BTreeMap<String, [f64; 3]>,
}

/// A period.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PeriodQuery {
    /// From then on; a day before `to`, unless it is given
    #[param(inline)]
    from: Option<At>,
    /// Before then; now, unless it is given
    #[param(inline)]
    to: Option<At>,
}

/// Numbers of a target over time: single looks of two days, five-minute means of two weeks, hourly ones before
#[utoipa::path(get, path = "/api/v1/targets/{target}/census", tag = "targets", params(OfTarget, PeriodQuery), responses((status = 200, description = "Oldest first", body = Page<Counted>)))]
pub(super) async fn census(
    State(app): State<Arc<AppState>>,
    In(of): In<OfTarget>,
    Asked(period): Asked<PeriodQuery>,
) -> Answer<Page<Counted>> {
    let now = app.clock.now();
    let to = period.to.map_or(now + SignedDuration::from_micros(1), |At(at)| at);
    let from = period.from.map_or(to - DAY, |At(at)| at);
    let points = targets::list_samples(&app, &of.target, Period { from, to }).await?;
    let counted = |Sample { at, looks, blind, gauges }: Sample| Counted { at: At(at), looks, blind, gauges };
    Ok(Json(Page::all(points.into_iter().map(counted).collect())))
}

/// A check on a target.
#[derive(Serialize, ToSchema)]
pub(super) struct Check {
    #[serde(flatten)]
    alert: Alert,
    /// The verdict of the last look: `healthy`, `failing`, `unknown` or `not-applicable`; nothing before the first one.
    verdict: Option<String>,
    /// What failed last, with the rows that show it.
    finding: Value,
    silences: Vec<Silence>,
    /// What it means and what to do, in Markdown; nothing of checks of your own.
    documentation: Option<&'static str>,
}

/// A check on a target; `/events` has its history
#[utoipa::path(get, path = "/api/v1/targets/{target}/checks/{check}", tag = "targets", params(OfCheck), responses((status = 200, description = "The check", body = Check)))]
pub(super) async fn check(State(app): State<Arc<AppState>>, In(of): In<OfCheck>) -> Answer<Check> {
    let details = targets::get_check(&app, of.alert_ref()).await?;
    let missing = || Problem::missing("nothing is known of such a check on that target");
    let CheckDetails { alert, finding, silences, .. } = details.ok_or_else(missing)?;
    Ok(Json(Check {
        alert: Alert::of(&alert),
        finding,
        verdict: alert.verdict,
        silences: silences.iter().map(Silence::of).collect(),
        documentation: sessionwatch_app::checks::documentation(&of.check),
    }))
}

/// A query.
#[derive(Serialize, ToSchema)]
pub(super) struct Query {
    /// SQL, without a semicolon. It gives prefixes of tokens only.
    sql: String,
}

/// The query behind a check, written for the target
#[utoipa::path(get, path = "/api/v1/targets/{target}/checks/{check}/query", tag = "targets", params(OfCheck), responses((status = 200, description = "The query", body = Query)))]
pub(super) async fn query(State(app): State<Arc<AppState>>, In(of): In<OfCheck>) -> Answer<Query> {
    let sql = targets::get_check_query(&app, &of.alert_ref()).await?;
    Ok(Json(Query { sql }))
}

/// What keeps sessions of a target from being safe, or the watch from seeing them
#[utoipa::path(get, path = "/api/v1/targets/{target}/doctor", tag = "targets", params(OfTarget), responses((status = 200, description = "Everything that was examined", body = Page<Examined>)))]
pub(super) async fn doctor(State(app): State<Arc<AppState>>, In(of): In<OfTarget>) -> Answer<Page<Examined>> {
    let findings = targets::examine(&app, &of.target).await?;
    Ok(Json(Page::all(findings.iter().map(Examined::from).collect())))
}

/// The weekly checklist of a target, as `sessionwatch report --format json` writes it
#[utoipa::path(get, path = "/api/v1/targets/{target}/checklist", tag = "targets", params(OfTarget), responses((status = 200, description = "The checklist", body = Value)))]
pub(super) async fn checklist(State(app): State<Arc<AppState>>, In(of): In<OfTarget>) -> Answer<Value> {
    let list = checklists::get_checklist(&app, app.target(&of.target)?).await?;
    Ok(Json(list.json()))
}

/// What somebody vouches for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Vouched {
    /// Whether users reported nothing about log-ins this week.
    holds: bool,
    /// How one knows.
    note: Text<500>,
}

/// Vouch for what users reported this week
#[utoipa::path(post, path = "/api/v1/targets/{target}/attestations", tag = "targets", params(OfTarget), request_body = Vouched, responses((status = 204, description = "It is noted")))]
pub(super) async fn attest(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    In(of): In<OfTarget>,
    Body(vouched): Body<Vouched>,
) -> Result<StatusCode, Problem> {
    let new = NewAttestation {
        target: of.target.to_string(),
        holds: vouched.holds,
        note: vouched.note.to_string(),
    };
    checklists::attest(&app, &caller.actor(), new).await?;
    Ok(StatusCode::NO_CONTENT)
}
