//! Runtime metrics of the daemon: the last results of each target and counters since the start.

mod exposition;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::SignedDuration;
use prometheus_client::metrics::histogram::Histogram;
use sessionwatch_core::{checks::CheckVerdict, timestamp::UtcTimestamp};
use sessionwatch_store::samples::GaugeSample;

use crate::{check_run::CheckReport, config::Config};

pub(super) use self::exposition::{ExpositionFormat, render_metrics};

/// Histogram buckets for the duration of check runs, in seconds.
const RUN_DURATION_BUCKETS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Last results and counters of every target and channel.
#[derive(Debug, Default)]
pub struct RuntimeMetrics(Mutex<MetricsState>);

#[derive(Clone, Debug, Default)]
struct MetricsState {
    targets: BTreeMap<String, TargetMetrics>,
    channels: BTreeMap<String, ChannelMetrics>,
    /// `None` before the first reload.
    reload_succeeded: Option<bool>,
}

/// A successful check run whose results are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunSuccess {
    /// Start time.
    pub at: UtcTimestamp,
    /// Time until which the target counts as monitored because of this run.
    pub valid_until: UtcTimestamp,
}

#[derive(Clone, Debug)]
struct TargetMetrics {
    /// Lease epoch under which this process last led the target.
    epoch: Option<i64>,
    /// `true` once this process has completed a run in this epoch.
    has_run: bool,
    runs: u64,
    failed_runs: u64,
    run_duration: Histogram,
    scheduler_lag_seconds: f64,
    replica_lag_seconds: Option<f64>,
    /// `true` if the last run could read the target.
    is_up: bool,
    last_seen_at: Option<UtcTimestamp>,
    /// From an earlier process until this one has run.
    last_success: Option<RunSuccess>,
    /// Names and values of the known gauges.
    session_gauges: Vec<(String, f64)>,
    /// Check IDs, each `true` if failing and `None` if unknown.
    failing_checks: BTreeMap<String, Option<bool>>,
}

impl Default for TargetMetrics {
    fn default() -> Self {
        Self {
            epoch: None,
            has_run: false,
            runs: 0,
            failed_runs: 0,
            run_duration: Histogram::new(RUN_DURATION_BUCKETS),
            scheduler_lag_seconds: 0.0,
            replica_lag_seconds: None,
            is_up: false,
            last_seen_at: None,
            last_success: None,
            session_gauges: vec![],
            failing_checks: BTreeMap::new(),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct ChannelMetrics {
    delivered: u64,
    failed: u64,
    /// Total duration of all attempts.
    total_seconds: f64,
}

/// The outcome of a delivery attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The channel accepted the message.
    Delivered,
    /// The attempt failed.
    Failed,
}

impl RuntimeMetrics {
    /// Records a check run that started `lag` after it was due.
    pub fn record_run(&self, report: &CheckReport, point: &GaugeSample, lag: SignedDuration) {
        let mut state = self.lock();
        let target = state.targets.entry(report.target.clone()).or_default();
        if !target.has_run {
            // A success of an earlier process bridges the restart only until this process has run.
            target.last_success = None;
        }
        target.has_run = true;
        target.runs += 1;
        target.run_duration.observe(report.duration.as_secs_f64());
        target.scheduler_lag_seconds = lag.as_secs_f64();
        target.replica_lag_seconds = report.replica_lag.map(|lag| lag.as_secs_f64());
        // Only the checks of this run: those on other schedules keep their last state.
        for outcome in &report.results {
            target.failing_checks.insert(outcome.id.clone(), failing_state(&outcome.outcome.verdict));
        }
        target.is_up = report.observation.is_ok();
        // A failed run counts as a run, so that the ratio of both counters is meaningful.
        target.failed_runs += u64::from(report.observation.is_err());
        target.session_gauges =
            point.gauges.iter().map(|(name, [value, ..])| (name.clone(), *value)).collect();
        if report.observation.is_ok() {
            target.last_seen_at = Some(point.at);
        }
    }

    /// Restores a successful run of an earlier process, unless this process has run.
    pub fn restore_success(&self, target: &str, success: RunSuccess) {
        let mut state = self.lock();
        let target = state.targets.entry(target.to_owned()).or_default();
        // The newer time wins: this process may have seen the target already.
        target.last_seen_at.get_or_insert(success.at);
        if !target.has_run {
            target.last_success = Some(success);
        }
    }

    /// Records a successful run whose results are stored.
    pub fn record_success(&self, target: &str, success: RunSuccess) {
        self.lock().targets.entry(target.to_owned()).or_default().last_success = Some(success);
    }

    /// Returns `true` if the last successful run is recent enough to count as monitored.
    #[must_use]
    pub fn has_recent_success(&self, target: &str, now: UtcTimestamp) -> bool {
        let success = self.lock().targets.get(target).and_then(|target| target.last_success);
        // After the clock was set back, a success in the future says nothing about now.
        success.is_some_and(|success| (success.at..=success.valid_until).contains(&now))
    }

    /// Starts a lease epoch of a target. Results of an earlier epoch are dropped as outdated; counters continue.
    pub fn begin_epoch(&self, name: &str, epoch: i64) {
        let mut state = self.lock();
        let target = state.targets.entry(name.to_owned()).or_default();
        if target.epoch != Some(epoch) {
            // Counters survive, since a decrease would look like a restart to Prometheus.
            *target = TargetMetrics {
                epoch: Some(epoch),
                runs: target.runs,
                failed_runs: target.failed_runs,
                run_duration: target.run_duration.clone(),
                ..TargetMetrics::default()
            };
        }
    }

    /// Records a delivery attempt.
    pub fn record_delivery(&self, channel: &str, took: Duration, outcome: DeliveryOutcome) {
        let mut state = self.lock();
        let channel = state.channels.entry(channel.to_owned()).or_default();
        channel.total_seconds += took.as_secs_f64();
        match outcome {
            DeliveryOutcome::Delivered => channel.delivered += 1,
            DeliveryOutcome::Failed => channel.failed += 1,
        }
    }

    /// Returns the number of check runs of a target since the start.
    #[must_use]
    pub fn run_count(&self, target: &str) -> u64 {
        self.lock().targets.get(target).map_or(0, |target| target.runs)
    }

    /// Records whether a reload succeeded.
    pub fn record_reload(&self, taken: bool) {
        self.lock().reload_succeeded = Some(taken);
    }

    /// Drops targets, channels and checks that are no longer configured.
    pub fn retain_configured(&self, config: &Config) {
        let mut state = self.lock();
        state.targets.retain(|name, _| config.targets.iter().any(|target| target.name == *name));
        state.channels.retain(|name, _| config.serve.channels.iter().any(|channel| channel.name == *name));
        for target in &config.targets {
            // Otherwise a check that was removed while failing would be exposed as failing forever.
            if let Some(known) = state.targets.get_mut(&target.name) {
                known.failing_checks.retain(|check, _| config.runs_check(target, check));
            }
        }
    }

    fn snapshot(&self) -> MetricsState {
        // A copy: rendering takes longer than the lock should be held.
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, MetricsState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failing_state(verdict: &CheckVerdict) -> Option<bool> {
    match verdict {
        CheckVerdict::Passing => Some(false),
        CheckVerdict::Failing => Some(true),
        CheckVerdict::Unknown(_) => None,
    }
}

/// Returns the names and values of the known gauges of a run; `None` if the run failed.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a gauge; counts stay below 2^53")]
pub fn collect_gauges(report: &CheckReport) -> Option<Vec<(&'static str, f64)>> {
    let stats = &report.observation.as_ref().ok()?.stats;
    let changes = report.history_update.as_ref().and_then(|history_update| history_update.changes.as_ref());
    // The creation column, or, without one, the differences between snapshots.
    let created = stats.created_last_hour.or(changes.map(|changes| changes.created_last_hour));
    let counts = [
        ("stored", Some(stats.sessions)),
        ("active", Some(stats.active)),
        ("expired", Some(stats.expired)),
        ("never_expiring", Some(stats.never_expiring)),
        ("undecodable", Some(stats.undecodable)),
        ("anonymous", Some(stats.anonymous)),
        ("users_active", Some(stats.active_users())),
        ("max_per_user", Some(stats.max_sessions_per_user())),
        ("duplicate_tokens", stats.duplicates.count().map(|found| found.tokens)),
        ("orphaned", stats.orphaned.count()),
        ("created_last_hour", created),
        ("created", changes.map(|changes| changes.created)),
        ("extended", changes.map(|changes| changes.extended)),
        ("ended", changes.map(|changes| changes.ended)),
        ("reassigned", changes.map(|changes| changes.reassigned.len() as u64)),
        ("reappeared", changes.map(|changes| changes.reappeared.len() as u64)),
    ];
    let counts = counts.into_iter().filter_map(|(kind, count)| Some((kind, count? as f64)));
    Some(counts.chain([("per_user", stats.sessions_per_user())]).collect())
}

fn unix_seconds(at: UtcTimestamp) -> f64 {
    at.duration_since(UtcTimestamp::UNIX_EPOCH).as_secs_f64()
}
