//! Inputs of a checklist, read from the store: the values of a period, how far they can be trusted, and attestations.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde_json::Value;
use sessionwatch_clock as clock;
use sessionwatch_core::{
    checklist::{
        self as rules, ChecklistVerdict, CriticalLogEvents, ExpiryHorizon, RangePosition, SeriesSummary,
        VerdictSpan,
    },
    checks::CheckThresholds,
    period::Period,
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{
    StoreError, alerts,
    attestations::{self, Attestation},
    history_events, latest_reports,
    log_events::LogEventWindow,
    samples::{self, GaugeSample, GaugeValues},
    transaction::Tx,
};

use crate::{
    config::{Config, Target},
    logs,
};

/// Item that a person attests.
pub const USER_REPORTS_ITEM: &str = "user-reports";
/// Checks whose results show how far the values can be trusted.
const SUPPORTING_CHECKS: [&str; 11] = [
    "duplicate-tokens",
    "token-reassigned",
    "reappeared-sessions",
    "orphaned-sessions",
    "sessions-per-user",
    "user-session-excess",
    "creation-rate",
    "expired-backlog",
    "session-lifetime",
    CRITICAL_LOG_CHECKS[0],
    CRITICAL_LOG_CHECKS[1],
];

/// Checks on the critical log lines of the operator guide.
const CRITICAL_LOG_CHECKS: [&str; 2] = ["log-duplicate-token", "log-user-mismatch"];

/// Coverage of a period by check runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChecklistCoverage {
    /// Number of check runs.
    pub(super) runs: u64,
    /// Number of failed check runs.
    pub(super) failed_runs: u64,
    /// Hours with a successful check run.
    pub(super) hours_covered: usize,
    /// Hours of the period, rounded up.
    pub(super) hours_total: usize,
    /// Longest time without a successful check run.
    pub(super) longest_gap: Period,
}

/// Recorded facts of a period.
#[derive(Clone, Debug)]
pub(super) struct ChecklistInputs<'a> {
    pub(super) thresholds: &'a CheckThresholds,
    pub(super) period: Period,
    pub(super) coverage: ChecklistCoverage,
    /// Samples of successful check runs, oldest first.
    samples: Vec<GaugeSample>,
    /// Values of the last check run of the period, if still stored.
    last_gauges: GaugeValues,
    /// Results over the period, by check; without checks that are off.
    verdicts: BTreeMap<&'static str, Vec<VerdictSpan>>,
    pub(super) attestation: Option<Attestation>,
    /// Critical log events, or the reason why they are unknown.
    pub(super) critical_events: Result<CriticalLogEvents, String>,
    /// Time and expiry horizon of the last check run; `None` if that run is outside the period.
    pub(super) expiry_horizon: Option<(UtcTimestamp, ExpiryHorizon)>,
}

/// Name of a gauge, and of its check. While the check is unknown, the value is meaningless.
#[derive(Clone, Copy, Debug)]
pub(super) struct CheckedGauge(pub(super) &'static str, pub(super) &'static str);

impl<'a> ChecklistInputs<'a> {
    pub(super) fn read(
        db: Tx<'_>,
        config: &'a Config,
        target: &Target,
        period: Period,
        now: UtcTimestamp,
    ) -> Result<Self, StoreError> {
        let mut samples = samples::list_samples_between(db, &target.name, period, now)?;
        let (runs, failed_runs) = samples
            .iter()
            .fold((0, 0), |(runs, failed_runs), point| (runs + point.runs, failed_runs + point.failed_runs));
        // Failed runs have no values.
        samples.retain(|point| point.runs > point.failed_runs);
        let mut verdicts = BTreeMap::new();
        // Checks that do not run have no results, which is not the same as unknown ones.
        for check in SUPPORTING_CHECKS.into_iter().filter(|check| config.runs_check(target, check)) {
            let mut began = history_events::list_verdicts(
                db,
                history_events::CheckRef { target: &target.name, check },
                period,
            )?;
            if began.is_empty() {
                // No change is recorded: the result is older than the history.
                let alert = alerts::find_alert(db, &target.name, check)?;
                began.extend(
                    alert.and_then(|alert| alert.verdict).map(|verdict| (UtcTimestamp::MIN, verdict)),
                );
            }
            verdicts.insert(check, rules::verdict_spans(&began, period));
        }
        // The stored report is the latest one, which may be outside the period.
        let last = latest_reports::find_report(db, &target.name)?
            .filter(|(at, _)| *at >= period.from && *at < period.to);
        Ok(Self {
            thresholds: &config.checks.thresholds,
            period,
            coverage: compute_coverage(&samples, runs, failed_runs, period),
            samples,
            last_gauges: samples::find_last_successful_sample(db, &target.name, period)?
                .map(|point| point.gauges)
                .unwrap_or_default(),
            verdicts,
            attestation: attestations::find_latest_attestation(
                db,
                attestations::ChecklistItemRef { target: &target.name, item: USER_REPORTS_ITEM },
                period,
            )?,
            critical_events: count_critical_events(db, config, target, period)?,
            expiry_horizon: match last {
                Some((at, report)) => parse_expiry_horizon(&report)?.map(|ends| (at, ends)),
                None => None,
            },
        })
    }

    /// Returns the values of a gauge over the period.
    pub(super) fn gauge_series(&self, gauge: &str) -> Option<SeriesSummary> {
        let track = SeriesSummary::from_points(
            self.samples.iter().filter_map(|point| Some((point.at, *point.gauges.get(gauge)?))),
        )?;
        // The last sample may be a mean of several check runs, which no run has measured.
        Some(match self.last_gauges.get(gauge) {
            // The value of a single run, which is what the last check actually found.
            Some([last, ..]) => SeriesSummary { last: *last, ..track },
            None => track,
        })
    }

    /// Returns the sessions per user over the period, without times without active sessions.
    pub(super) fn sessions_per_user_series(&self) -> Option<SeriesSummary> {
        let ratio = |point: &GaugeSample| {
            let [mean, low, high] = *point.gauges.get("per_user")?;
            // A sample may mix times with and without active sessions: then only its highest value counts.
            let some = if low > 0.0 { [mean, low, high] } else { [high; 3] };
            (high > 0.0).then_some((point.at, some))
        };
        SeriesSummary::from_points(self.samples.iter().filter_map(ratio))
    }

    /// Returns the time between the first and the last sample.
    pub(super) fn observed_duration(&self) -> SignedDuration {
        let (first, last) = (self.samples.first(), self.samples.last());
        first.zip(last).map(|(first, last)| last.at.duration_since(first.at)).unwrap_or_default()
    }

    /// Turns a pass into unknown if the value cannot be trusted.
    pub(super) fn qualify_verdict(&self, gauge: CheckedGauge, verdict: ChecklistVerdict) -> ChecklistVerdict {
        if self.samples.is_empty() {
            return ChecklistVerdict::Unknown("no successful check run in this period".into());
        }
        verdict.unknown_if(self.find_doubt(gauge))
    }

    /// Turns a position in the range into unknown if the value cannot be trusted.
    pub(super) fn qualify_position(&self, gauge: CheckedGauge, place: RangePosition) -> RangePosition {
        if place == RangePosition::In && self.find_doubt(gauge).is_some() {
            RangePosition::Unknown
        } else {
            place
        }
    }

    /// Returns when a check first failed in the period.
    pub(super) fn first_failed_at(&self, check: &str) -> Option<UtcTimestamp> {
        let spans = self.verdicts.get(check)?;
        spans.iter().find(|span| span.verdict == "failing").map(|span| span.from)
    }

    /// Returns the reason why critical log lines may have been missed; `None` if none can.
    pub(super) fn find_log_doubt(&self) -> Option<String> {
        if let Some(gap) = rules::gap_exceeding_limit(self.coverage.longest_gap) {
            return Some(format!("not monitored {}", format_period(gap)));
        }
        // The results of a log check begin with its first log source. Lines are recorded even while the check is off.
        CRITICAL_LOG_CHECKS.iter().find_map(|check| {
            let gap = rules::find_undecided_gap(self.verdicts.get(check)?, self.period)?;
            Some(format!("the check {check} was unknown {}", format_period(gap)))
        })
    }

    /// Returns the reason why a value cannot be trusted; `None` if it can.
    fn find_doubt(&self, CheckedGauge(gauge, check): CheckedGauge) -> Option<String> {
        let ChecklistCoverage { runs, failed_runs, .. } = self.coverage;
        // Failed runs first: with too many of them, the values of the others are no evidence.
        if rules::has_too_many_failed_runs(runs, failed_runs) {
            return Some(format!("{failed_runs} of {runs} check runs failed"));
        }
        let known = self.samples.iter().filter(|point| point.gauges.contains_key(gauge));
        let gap = rules::longest_gap(known.map(|point| point.at), self.period);
        if let Some(gap) = rules::gap_exceeding_limit(gap) {
            return Some(format!("not measured {}", format_period(gap)));
        }
        match self.verdicts.get(check) {
            None => Some(format!("the check {check} is off")),
            Some(spans) => rules::find_undecided_gap(spans, self.period)
                .map(|gap| format!("the check {check} was unknown {}", format_period(gap))),
        }
    }
}

/// Counts the critical log events of a target, or returns the reason why they are unknown.
fn count_critical_events(
    db: Tx<'_>,
    config: &Config,
    target: &Target,
    period: Period,
) -> Result<Result<CriticalLogEvents, String>, StoreError> {
    let mut has_sources = Err("no log source is configured".to_owned());
    for source in config.logs.sources_for_target(&target.name) {
        let known = logs::find_source(db, &source.name)?.and_then(|known| known.last_line_at);
        // One source without lines makes the count unreliable, whatever the others sent.
        if known.is_none_or(|at| at < period.from) {
            return Ok(Err(format!("no line of log source `{}` was read in this period", source.name)));
        }
        has_sources = Ok(());
    }
    match has_sources {
        Ok(()) => Ok(Ok(logs::count_critical_events(
            db,
            LogEventWindow { target: &target.name, from: period.from, to: period.to },
        )?)),
        Err(why) => Ok(Err(why)),
    }
}

/// Formats a period as `from … to …`.
pub(super) fn format_period(Period { from, to }: Period) -> String {
    format!("from {} to {}", clock::format_utc(from), clock::format_utc(to))
}

fn compute_coverage(
    samples: &[GaugeSample],
    runs: u64,
    failed_runs: u64,
    period: Period,
) -> ChecklistCoverage {
    let Period { from, .. } = period;
    let hours: BTreeSet<i64> =
        // Runs slightly before the start belong to the first hour.
        samples.iter().map(|point| point.at.duration_since(from).as_hours().max(0)).collect();
    let whole = period.duration().as_hours();
    // A partial hour counts as a whole one.
    let all = if SignedDuration::from_hours(whole) < period.duration() { whole + 1 } else { whole };
    ChecklistCoverage {
        runs,
        failed_runs,
        hours_covered: hours.len(),
        hours_total: usize::try_from(all).unwrap_or(0),
        longest_gap: rules::longest_gap(samples.iter().map(|point| point.at), period),
    }
}

/// Reads the expiry horizon from a report; `None` if the check run failed.
fn parse_expiry_horizon(report: &Value) -> Result<Option<ExpiryHorizon>, StoreError> {
    let undecodable = || StoreError::Undecodable { table: "latest_reports".into(), column: "report".into() };
    let stats = match &report["stats"] {
        Value::Null => return Ok(None),
        stats => stats,
    };
    let count = |key: &str| stats[key].as_u64().ok_or_else(undecodable);
    let instant = |value: &Value| match value {
        Value::Null => Ok(None),
        value => value.as_str().and_then(clock::parse_rfc3339).map(Some).ok_or_else(undecodable),
    };
    // Damaged values are an error: a checklist must not pass on a default.
    let furthest = instant(&stats["furthest_expiry"])?;
    let taken_at = instant(&report["checked_at"])?.ok_or_else(undecodable)?;
    Ok(Some(ExpiryHorizon {
        ahead: furthest.map(|furthest| furthest.duration_since(taken_at)),
        never_expiring: count("never_expiring")?,
        unreadable: count("undecodable")?,
    }))
}

#[cfg(test)]
mod tests;
