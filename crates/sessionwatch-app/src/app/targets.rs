//! Targets: status, gauges over time, checks and diagnostics.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::Value;
use sessionwatch_core::{
    alert::AlertState,
    duration::{DAY, HOUR, MINUTE},
    plural::format_count,
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{
    StoreError, alerts, history_events, latest_reports, samples, silences, transaction::Tx,
};

use super::{
    AppError, AppState, Period,
    alerts::{AlertRecord, AlertRef, EventRecord, EventSearch},
    printed_queries,
    silences::SilenceRecord,
    with_pooled_connection,
};
use crate::{
    checks,
    config::{Config, Target},
    doctor,
    schedule::{Schedule, ScheduledChecks},
};

pub use crate::doctor::{Diagnostic, DiagnosticLevel};
pub use sessionwatch_store::samples::GaugeSample as Sample;

const MAX_STATUS_EVENTS: u32 = 100;
const MAX_CHECK_EVENTS: u32 = 50;
const MAX_ACTIVITY_EVENTS: u32 = 200;
const ACTIVITY_LOOKBACK: SignedDuration = SignedDuration::from_hours(14 * 24);
const CHECK_HISTORY_LOOKBACK: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Status of a target, with its gauges over a period.
#[derive(Clone, Debug)]
pub struct TargetStatus {
    /// Alerts of the target's checks.
    pub alerts: Vec<AlertRecord>,
    /// Report of the last check run; `None` before the first one.
    pub report: Option<LastReport>,
    /// Gauge samples of the period.
    pub samples: Vec<Sample>,
    /// Alert events of the period: firing, reminder, resolved.
    pub events: Vec<EventRecord>,
}

/// Report of the last check run.
#[derive(Clone, Debug)]
pub struct LastReport {
    /// Time of the run.
    pub at: UtcTimestamp,
    /// Report of the target, in the format of `sessionwatch check --format json`.
    pub document: Value,
}

impl TargetStatus {
    fn read_from_store(
        db: Tx<'_>,
        target: &str,
        period: Period,
        now: UtcTimestamp,
    ) -> Result<Self, StoreError> {
        let report = latest_reports::find_report(db, target)?;
        let search = EventSearch {
            from: period.from,
            to: period.to,
            target: Some(target.to_owned()),
            check: None,
            text: None,
            alerts_only: true,
            before_id: None,
            limit: MAX_STATUS_EVENTS,
        };
        Ok(Self {
            alerts: alerts::list_target_alerts(db, target)?,
            report: report.map(|(at, document)| LastReport { at, document }),
            samples: samples::list_samples_between(db, target, period, now)?,
            events: history_events::search_events(db, &search)?,
        })
    }

    /// Returns the firing alerts, the most severe first.
    #[must_use]
    pub fn firing_alerts(&self) -> Vec<&AlertRecord> {
        let mut firing: Vec<&AlertRecord> = self
            .alerts
            .iter()
            .filter(|alert| matches!(alert.alert.state, AlertState::Firing { .. }))
            .collect();
        firing.sort_by_key(|alert| std::cmp::Reverse(severity_rank(&alert.severity)));
        firing
    }

    /// Returns the overall state, in one word.
    #[must_use]
    pub fn state(&self) -> &'static str {
        let firing = self.firing_alerts();
        if firing.iter().any(|alert| alert.acknowledged_by.is_none()) {
            "failing"
        } else if !firing.is_empty() {
            "acknowledged"
        } else if self.is_unknown() {
            // Unknown is not passing.
            "unknown"
        } else if self.count_pending_alerts() > 0 {
            // The check fails already, though nobody is notified yet.
            "pending"
        } else {
            "passing"
        }
    }

    /// Returns `true` before the first check run, if the last one could not read the table, and if the last result of
    /// a table or log check is unknown.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        let has_figures = self.report_document().is_some_and(|report| !report["stats"].is_null());
        !has_figures || self.unknown_reasons().next().is_some()
    }

    /// Returns why results are unknown: one reason for each such check, in the order of the alerts.
    pub fn unknown_reasons(&self) -> impl Iterator<Item = &str> {
        self.alerts.iter().filter_map(|alert| alert.unknown_reason.as_deref())
    }

    /// Returns the number of checks that fail, but not yet long enough to notify.
    #[must_use]
    pub fn count_pending_alerts(&self) -> usize {
        self.alerts.iter().filter(|alert| matches!(alert.alert.state, AlertState::Pending { .. })).count()
    }

    /// Returns the report of the last run.
    #[must_use]
    pub fn report_document(&self) -> Option<&Value> {
        self.report.as_ref().map(|report| &report.document)
    }

    /// Returns a figure of the last run, by its name in the report and in the samples. After a failed run, returns that
    /// of the last run that succeeded, if the samples reach back that far.
    #[must_use]
    pub fn latest_figure(&self, stat: &str, gauge: &str) -> Option<f64> {
        let reported = self.report_document().and_then(|report| report["stats"][stat].as_f64());
        // Only of the latest sample with gauges: an older one would be out of date.
        let latest = || self.samples.iter().rev().find(|sample| !sample.gauges.is_empty());
        reported.or_else(|| latest()?.gauges.get(gauge).map(|[mean, ..]| *mean))
    }

    /// Returns a string from the report of the last run.
    #[must_use]
    pub fn report_text(&self, key: &str) -> Option<&str> {
        self.report_document()?[key].as_str()
    }

    /// Returns the mean values of a gauge over time; `None` where a sample lacks the gauge.
    #[must_use]
    pub fn gauge_series(&self, name: &str) -> Vec<(UtcTimestamp, Option<f64>)> {
        let value = |sample: &Sample| sample.gauges.get(name).map(|[mean, ..]| *mean);
        self.samples.iter().map(|sample| (sample.at, value(sample))).collect()
    }
}

/// Returns the rank of a severity name; higher is more severe.
#[must_use]
pub fn severity_rank(severity: &str) -> u8 {
    match severity {
        "critical" => 3,
        "high" => 2,
        "medium" => 1,
        _ => 0,
    }
}

/// Details of a check on a target.
#[derive(Clone, Debug)]
pub struct CheckDetails {
    /// Alert of the check.
    pub alert: AlertRecord,
    /// Last failing result, as JSON; null if there is none.
    pub finding: Value,
    /// Events of the last 90 days, the oldest first.
    pub history: Vec<EventRecord>,
    /// Active silences that cover the check.
    pub silences: Vec<SilenceRecord>,
}

/// Everything that the overview shows.
#[derive(Clone, Debug)]
pub struct Overview {
    /// Status of every target with the samples of the last day, in the order of the configuration.
    pub statuses: Vec<TargetStatus>,
    /// Samples of the period of the chart, in the same order.
    pub chart_samples: Vec<Vec<Sample>>,
    /// Samples of the same hour a week ago, in the same order.
    pub week_ago: Vec<Option<Sample>>,
    /// The latest events of all targets, the latest first.
    pub activity: Vec<EventRecord>,
    /// Active silences.
    pub silences: Vec<SilenceRecord>,
}

/// Loads the overview, with the samples of a period for its chart.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn load_overview(app: &Arc<AppState>, chart_period: Period) -> Result<Overview, AppError> {
    let names = app.config().targets.iter().map(|target| target.name.clone()).collect();
    load_overview_of(app, names, None, chart_period).await
}

/// Loads what the overview shows, but only about one target.
///
/// # Errors
///
/// If the target does not exist.
pub async fn load_target_overview(
    app: &Arc<AppState>,
    target: &str,
    chart_period: Period,
) -> Result<Overview, AppError> {
    let name = app.target(target)?.name;
    load_overview_of(app, vec![name.clone()], Some(name), chart_period).await
}

async fn load_overview_of(
    app: &Arc<AppState>,
    names: Vec<String>,
    events_of: Option<String>,
    chart_period: Period,
) -> Result<Overview, AppError> {
    let now = app.clock.now();
    let day = Period::ending_at(now, DAY);
    let last_week = Period { from: now - 7 * DAY - HOUR / 2, to: now - 7 * DAY + HOUR / 2 };
    // One transaction for all targets, so that the overview does not mix two points in time.
    app.read_store(move |db| {
        let each = |period: Period| {
            names
                .iter()
                .map(|name| samples::list_samples_between(db, name, period, now))
                .collect::<Result<Vec<_>, _>>()
        };
        // At least as far back as the chart, which marks deploys and incidents.
        let shown = Period { from: chart_period.from.min(now - ACTIVITY_LOOKBACK), to: now };
        let activity = history_events::list_activity(db, shown, events_of.as_deref(), MAX_ACTIVITY_EVENTS)?;
        let statuses: Vec<TargetStatus> = names
            .iter()
            .map(|name| TargetStatus::read_from_store(db, name, day, now))
            .collect::<Result<_, _>>()?;
        // Reading and decoding a day of samples takes longer than everything else.
        let is_near = |one: UtcTimestamp, other: UtcTimestamp| one.duration_since(other).abs() < MINUTE;
        let chart_samples = if is_near(chart_period.from, day.from) && is_near(chart_period.to, day.to) {
            statuses.iter().map(|status| status.samples.clone()).collect()
        } else {
            each(chart_period)?
        };
        Ok(Overview {
            statuses,
            chart_samples,
            // The latest one of the hour with values.
            week_ago: each(last_week)?
                .into_iter()
                .map(|samples| samples.into_iter().rev().find(|sample| !sample.gauges.is_empty()))
                .collect(),
            activity,
            silences: silences::list_active_silences(db, now)?,
        })
    })
    .await
}

/// Lists the status of every target with the samples of the last day, in the order of the configuration.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn list_target_statuses(app: &Arc<AppState>) -> Result<Vec<TargetStatus>, AppError> {
    Ok(load_overview(app, Period::ending_at(app.clock.now(), SignedDuration::ZERO)).await?.statuses)
}

/// Loads the status of a target, with its samples over a period.
///
/// # Errors
///
/// If the target does not exist.
pub async fn load_target_status(
    app: &Arc<AppState>,
    target: &str,
    period: Period,
) -> Result<TargetStatus, AppError> {
    let (name, now) = (app.target(target)?.name, app.clock.now());
    app.read_store(move |db| TargetStatus::read_from_store(db, &name, period, now)).await
}

/// Lists the gauge samples of a target over a period.
///
/// # Errors
///
/// If the target does not exist.
pub async fn list_samples(
    app: &Arc<AppState>,
    target: &str,
    period: Period,
) -> Result<Vec<Sample>, AppError> {
    let (name, now) = (app.target(target)?.name, app.clock.now());
    app.read_store(move |db| samples::list_samples_between(db, &name, period, now)).await
}

/// Loads the details of a check on a target. Returns `None` if the check has no results there.
///
/// # Errors
///
/// If the target does not exist.
pub async fn find_check(app: &Arc<AppState>, check: AlertRef) -> Result<Option<CheckDetails>, AppError> {
    let now = app.clock.now();
    let AlertRef { target, check } = check;
    let target = app.target(&target)?.name;
    app.read_store(move |db| {
        // A check that has never run has no alert, and thus nothing to show.
        let Some(alert) = alerts::find_alert(db, &target, &check)? else { return Ok(None) };
        let Period { from, to } = Period::ending_at(now, CHECK_HISTORY_LOOKBACK);
        let search = EventSearch {
            from,
            to,
            target: Some(target.clone()),
            check: Some(check.clone()),
            text: None,
            alerts_only: false,
            before_id: None,
            limit: MAX_CHECK_EVENTS,
        };
        let covers = |silence: &SilenceRecord| silence.covers(&target, &check);
        Ok(Some(CheckDetails {
            finding: alert.parse_finding()?,
            history: history_events::search_events(db, &search)?,
            silences: silences::list_active_silences(db, now)?.into_iter().filter(covers).collect(),
            alert,
        }))
    })
    .await
}

/// Renders the query behind a check, to paste into the database's client.
///
/// # Errors
///
/// If the check has no query, or the database query fails.
pub async fn render_check_query(app: &Arc<AppState>, check: &AlertRef) -> Result<String, AppError> {
    let target = app.target(&check.target)?;
    // Log checks read files, so there is no statement to print.
    let known = checks::TABLE_CHECKS.iter().find(|one| one.id == check.check);
    let known = known.ok_or_else(|| AppError::NotFound("This check has no query.".into()))?;
    let written = with_pooled_connection(app, &target, async move |opened, config| {
        Ok(printed_queries::render_check_query(opened, config, known))
    });
    written.await
}

/// Describes the check schedules of a target, one line per schedule.
#[must_use]
pub fn describe_schedule(app: &AppState, target: &Target) -> Vec<String> {
    describe_schedules(&app.config(), target)
}

/// Describes the schedules of a target under a configuration, for which no state store is needed.
#[must_use]
pub fn describe_schedules(config: &Config, target: &Target) -> Vec<String> {
    config.check_schedules(target).iter().map(schedule_text).collect()
}

fn schedule_text(entry: &ScheduledChecks) -> String {
    let when = match &entry.schedule {
        Schedule::Every(distance) => format!("every {} s", distance.as_secs()),
        Schedule::Cron(cron, _) => cron.pattern.to_string(),
    };
    let mode = if entry.ignore_constraints { ", without trusting constraints" } else { "" };
    format!("{when}: {}{mode}", format_count(entry.checks.len() as u64, "check", "checks"))
}

/// Runs the diagnostics of `sessionwatch doctor` on a target.
///
/// # Errors
///
/// If the target does not exist, or the database query fails.
pub async fn run_doctor(app: &Arc<AppState>, target: &str) -> Result<Vec<Diagnostic>, AppError> {
    let target = app.target(target)?;
    let examined = target.clone();
    let diagnostics = with_pooled_connection(app, &target, async move |opened, _| {
        doctor::examine_target(&examined, opened).await
    });
    let mut findings = diagnostics.await?;
    findings.extend(doctor::diagnose_drill_files(&app.config()));
    Ok(findings)
}
