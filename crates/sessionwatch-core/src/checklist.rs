//! Checklist items, evaluated from the recorded values of a period. An item that too few check runs covered does not
//! pass.

use jiff::SignedDuration;

use crate::{checks::Baseline, duration::DAY, period::Period, plural::format_count, timestamp::UtcTimestamp};

/// Number of orphaned sessions at which the operator guide's checklist fails.
pub const ORPHANED_SESSIONS_LIMIT: u32 = 5;
/// Number of expired sessions at which the operator guide's checklist fails.
pub const EXPIRED_SESSIONS_LIMIT: u32 = 10;
/// Sessions per user below which the operator guide's checklist fails.
pub const MIN_SESSIONS_PER_USER: f64 = 1.0;
/// Longest gap without a check run that is tolerated: a day, plus two hours for a late daily run and for the end of
/// daylight saving time.
pub const MAX_OBSERVATION_GAP: SignedDuration = SignedDuration::from_hours(26);
/// Tolerated difference between the clocks of the application and its database.
const CLOCK_SKEW_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// Reason for a value that was never recorded.
const UNMEASURED_REASON: &str = "no measurements in this period";

/// Result of a checklist item.
#[derive(Clone, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum ChecklistVerdict {
    /// The item passes.
    Passing,
    /// The item fails.
    Failing,
    /// Unknown, with the reason. Never counts as passing.
    Unknown(String),
}

/// Summary of a value over a period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeriesSummary {
    /// Minimum, and when it was first reached.
    pub lowest: (f64, UtcTimestamp),
    /// Maximum, and when it was first reached.
    pub highest: (f64, UtcTimestamp),
    /// Last value.
    pub last: f64,
}

/// Stretch of time with the same result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictSpan {
    /// Start.
    pub from: UtcTimestamp,
    /// End, exclusive.
    pub to: UtcTimestamp,
    /// Name of the result.
    pub verdict: String,
}

/// Expiry times found by a check run, relative to that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiryHorizon {
    /// Time until the latest expiry; `None` if no active session has an expiry.
    pub ahead: Option<SignedDuration>,
    /// Sessions that never expire.
    pub never_expiring: u64,
    /// Sessions whose expiry cannot be decoded.
    pub unreadable: u64,
}

/// Position of a value relative to its normal range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum RangePosition {
    /// Always inside.
    In,
    /// Outside at least once.
    Out,
    /// No values.
    Unknown,
}

impl ChecklistVerdict {
    /// Returns the name used in reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// Returns the reason of an unknown result.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        if let Self::Unknown(reason) = self { Some(reason) } else { None }
    }

    /// Turns a pass into unknown if there is a doubt. A failure stays a failure.
    #[must_use]
    pub fn unknown_if(self, doubt: Option<String>) -> Self {
        match (self, doubt) {
            (Self::Passing, Some(doubt)) => Self::Unknown(doubt),
            (verdict, _) => verdict,
        }
    }

    /// Combines results: fails if one fails, else unknown if one is unknown or there are none, else passes.
    #[must_use]
    pub fn combine_all<'a>(verdicts: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let unknown = verdicts.clone().filter(|verdict| verdict.reason().is_some()).count();
        if verdicts.clone().any(|verdict| *verdict == Self::Failing) {
            Self::Failing
        } else if unknown > 0 || verdicts.count() == 0 {
            Self::Unknown(format!("{unknown} unknown"))
        } else {
            Self::Passing
        }
    }

    fn from_passed(passes: bool) -> Self {
        if passes { Self::Passing } else { Self::Failing }
    }
}

impl SeriesSummary {
    /// Summarizes points, each with its mean, minimum and maximum; `None` without a point.
    #[must_use]
    pub fn from_points(points: impl Iterator<Item = (UtcTimestamp, [f64; 3])>) -> Option<Self> {
        points.fold(None, |track: Option<Self>, (at, [mean, low, high])| {
            let mut track = track.unwrap_or(Self { lowest: (low, at), highest: (high, at), last: mean });
            if low < track.lowest.0 {
                track.lowest = (low, at);
            }
            if high > track.highest.0 {
                track.highest = (high, at);
            }
            Some(Self { last: mean, ..track })
        })
    }
}

impl RangePosition {
    /// Returns the name used in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Passes if the value never exceeded `limit`.
#[must_use]
pub fn check_at_most(track: Option<&SeriesSummary>, limit: f64) -> ChecklistVerdict {
    track.map_or_else(unmeasured_verdict, |track| ChecklistVerdict::from_passed(track.highest.0 <= limit))
}

/// Passes if the value was always below `limit`.
#[must_use]
pub fn check_below(track: Option<&SeriesSummary>, limit: u32) -> ChecklistVerdict {
    track.map_or_else(unmeasured_verdict, |track| {
        ChecklistVerdict::from_passed(track.highest.0 < f64::from(limit))
    })
}

/// Passes if sessions per user stayed between [`MIN_SESSIONS_PER_USER`] and `max`. The series leaves out times
/// without an active session.
#[must_use]
pub fn check_session_ratio(track: Option<&SeriesSummary>, max: f64) -> ChecklistVerdict {
    match track {
        None => ChecklistVerdict::Unknown("no active sessions in this period".into()),
        Some(track) => {
            ChecklistVerdict::from_passed(track.lowest.0 >= MIN_SESSIONS_PER_USER && track.highest.0 <= max)
        }
    }
}

/// Passes if the number of sessions created in the busiest hour is within the baseline. `seen` is the length of time
/// covered.
#[must_use]
pub fn check_creation_rate(
    track: Option<&SeriesSummary>,
    usual: Baseline,
    seen: SignedDuration,
) -> ChecklistVerdict {
    let Some(track) = track else { return unmeasured_verdict() };
    let busiest = track.highest.0;
    let is_beyond = |limit: Option<u64>, beyond: fn(&f64, &f64) -> bool| {
        limit.is_some_and(|limit| beyond(&busiest, &count_to_f64(limit)))
    };
    if usual == Baseline::default() {
        ChecklistVerdict::Unknown(
            "no baseline is configured; set `min` and `max` in [checks.creation-rate]".into(),
        )
    } else if is_beyond(usual.max, f64::gt) {
        ChecklistVerdict::Failing
    } else if !is_beyond(usual.min, f64::lt) {
        ChecklistVerdict::Passing
    } else if seen < DAY {
        // Nights are quiet everywhere, so too few sessions are only meaningful after a whole day.
        ChecklistVerdict::Unknown("less than a day of data: a busier hour may follow".into())
    } else {
        ChecklistVerdict::Failing
    }
}

#[expect(clippy::cast_precision_loss, reason = "a number of sessions stays below 2^53")]
fn count_to_f64(number: u64) -> f64 {
    number as f64
}

/// Critical log events of a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CriticalLogEvents {
    /// Events confirmed by a session in the table.
    pub confirmed: u64,
    /// Events that no session confirms. A visitor may have forged them.
    pub unconfirmed: u64,
}

/// Passes without critical log events and fails if a session confirms one. Returns `Unknown` if all are unconfirmed,
/// or with the reason why there are no counts.
#[must_use]
pub fn check_critical_events(events: Result<CriticalLogEvents, &str>) -> ChecklistVerdict {
    match events {
        Err(why) => ChecklistVerdict::Unknown(why.into()),
        Ok(CriticalLogEvents { confirmed: 0, unconfirmed: 0 }) => ChecklistVerdict::Passing,
        Ok(CriticalLogEvents { confirmed: 0, unconfirmed }) => {
            let events = format_count(unconfirmed, "critical log event", "critical log events");
            ChecklistVerdict::Unknown(format!(
                "no session confirms the {events} of this period; a visitor may have forged the log lines"
            ))
        }
        Ok(_) => ChecklistVerdict::Failing,
    }
}

/// Returns the result attested by a person; unknown without an attestation.
#[must_use]
pub fn check_attestation(passes: Option<bool>) -> ChecklistVerdict {
    match passes {
        None => ChecklistVerdict::Unknown("no attestation in this period".into()),
        Some(passes) => ChecklistVerdict::from_passed(passes),
    }
}

/// Passes if sessions have a fixed lifetime. `failed` says that an expiry exceeded the policy during the period.
#[must_use]
pub fn check_lifetime(failed: bool, extended: Option<&SeriesSummary>) -> ChecklistVerdict {
    if failed { ChecklistVerdict::Failing } else { check_not_extended(extended) }
}

/// Passes if no session can last longer than `limit`.
#[must_use]
pub fn check_expiry_horizon(
    horizon: Option<ExpiryHorizon>,
    limit: SignedDuration,
    extended: Option<&SeriesSummary>,
) -> ChecklistVerdict {
    let unknown = |reason: &str| ChecklistVerdict::Unknown(reason.into());
    match horizon {
        None => unknown("the last successful check run is outside this period"),
        // One session beyond the policy is a failure even if another expiry cannot be read.
        Some(ExpiryHorizon { never_expiring: 1.., .. }) => ChecklistVerdict::Failing,
        Some(ExpiryHorizon { ahead: Some(ahead), .. })
            if ahead > limit.saturating_add(CLOCK_SKEW_TOLERANCE) =>
        {
            ChecklistVerdict::Failing
        }
        Some(ExpiryHorizon { unreadable: 1.., .. }) => unknown("some expiry times cannot be read"),
        Some(ExpiryHorizon { ahead: None, .. }) => unknown("no active sessions in the last check run"),
        Some(ExpiryHorizon { ahead: Some(_), .. }) => check_not_extended(extended),
    }
}

/// Passes if no session was extended during the period.
fn check_not_extended(extended: Option<&SeriesSummary>) -> ChecklistVerdict {
    match extended {
        None => ChecklistVerdict::Unknown("no measurements of session extensions in this period".into()),
        // An extended session also has an expiry, which says nothing about its total lifetime.
        Some(track) if track.highest.0 > 0.0 => ChecklistVerdict::Unknown(
            "sessions are extended while in use, so their expiry does not limit their lifetime".into(),
        ),
        Some(_) => ChecklistVerdict::Passing,
    }
}

/// Returns whether a value stayed in a range.
#[must_use]
pub fn range_position(track: Option<&SeriesSummary>, low: f64, high: f64) -> RangePosition {
    match track {
        None => RangePosition::Unknown,
        Some(track) if track.lowest.0 < low || track.highest.0 > high => RangePosition::Out,
        Some(_) => RangePosition::In,
    }
}

/// Returns whether the maximum of a value was in a range.
#[must_use]
pub fn peak_position(track: Option<&SeriesSummary>, low: f64, high: f64) -> RangePosition {
    match track {
        None => RangePosition::Unknown,
        Some(track) if (low..=high).contains(&track.highest.0) => RangePosition::In,
        Some(_) => RangePosition::Out,
    }
}

/// Returns whether more than one run in ten failed.
#[must_use]
pub fn has_too_many_failed_runs(runs: u64, failed_runs: u64) -> bool {
    failed_runs.saturating_mul(10) > runs
}

/// Returns the longest gap between sorted instants of a period, including the gaps at both ends.
#[must_use]
pub fn longest_gap(seen: impl Iterator<Item = UtcTimestamp>, period: Period) -> Period {
    let Period { from, to } = period;
    let (mut last, mut longest) = (from, Period { from, to: from });
    // Times outside the period are moved to its bounds, so that gaps at both ends count.
    for at in seen.map(|at| at.clamp(from, to)).chain([to]) {
        if at.duration_since(last) > longest.duration() {
            longest = Period { from: last, to: at };
        }
        last = at;
    }
    longest
}

/// Returns the gap if it exceeds [`MAX_OBSERVATION_GAP`].
#[must_use]
pub fn gap_exceeding_limit(gap: Period) -> Option<Period> {
    (gap.duration() > MAX_OBSERVATION_GAP).then_some(gap)
}

/// Returns the results of a check over a period. `began` holds the time and name of each change of the result,
/// sorted; the first may be before the period.
#[must_use]
pub fn verdict_spans(began: &[(UtcTimestamp, String)], period: Period) -> Vec<VerdictSpan> {
    let Period { from, to } = period;
    let ends = began.iter().skip(1).map(|(at, _)| *at).chain([to]);
    let span = |((at, verdict), end): (&(UtcTimestamp, String), UtcTimestamp)| VerdictSpan {
        from: (*at).max(from),
        to: end.min(to),
        verdict: verdict.clone(),
    };
    began.iter().zip(ends).map(span).filter(|span| span.from < span.to).collect()
}

/// Returns the longest stretch without a result of a check, if it is too long or all such stretches exceed a tenth of
/// the period. The time before the first result counts.
#[must_use]
pub fn find_undecided_gap(spans: &[VerdictSpan], period: Period) -> Option<Period> {
    let start = Period { from: period.from, to: spans.first().map_or(period.to, |span| span.from) };
    let unknown = spans.iter().filter(|span| span.verdict == "unknown");
    let unknown = unknown.map(|span| Period { from: span.from, to: span.to });
    let times: Vec<Period> = std::iter::once(start).chain(unknown).collect();
    let longest = times.iter().copied().max_by_key(|time| time.duration())?;
    // The time before the first result is not summed up: a daily check run may take a day to get there.
    let unknown: SignedDuration = times.iter().skip(1).map(|time| time.duration()).sum();
    let much = unknown > period.duration() / 10;
    if much { Some(longest) } else { gap_exceeding_limit(longest) }
}

fn unmeasured_verdict() -> ChecklistVerdict {
    ChecklistVerdict::Unknown(UNMEASURED_REASON.into())
}

#[cfg(test)]
mod tests;
