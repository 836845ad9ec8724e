//! The checklist: what the numbers of a period prove. What too few looks saw does not pass.

use jiff::SignedDuration;

use crate::{checks::Baseline, duration::DAY, period::Period, timestamp::UtcTimestamp};

/// Orphaned sessions at which the guide's checklist fails.
pub const ORPHANED_SESSIONS_LIMIT: u32 = 5;
/// Expired sessions at which the guide's checklist fails.
pub const EXPIRED_SESSIONS_LIMIT: u32 = 10;
/// Sessions for each user below which the guide's checklist fails.
pub const MIN_SESSIONS_PER_USER: f64 = 1.0;
/// The longest time in which nobody needs to have looked: who looks once a day is late at times, and
/// clocks are put back.
pub const MAX_OBSERVATION_GAP: SignedDuration = SignedDuration::from_hours(26);
/// By how much the clock of an application may differ from that of its database.
const CLOCK_SKEW_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// Why nothing is known of what has no number.
const UNMEASURED_REASON: &str = "it was not measured in this period";

/// Whether an item holds.
#[derive(Clone, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum ChecklistVerdict {
    /// It holds.
    Passing,
    /// It does not.
    Failing,
    /// Not to be known, and why. Never a pass.
    Unknown(String),
}

/// A number over a period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeriesSummary {
    /// The lowest, and when it was so low first.
    pub lowest: (f64, UtcTimestamp),
    /// The highest, and when it was so high first.
    pub highest: (f64, UtcTimestamp),
    /// The last.
    pub last: f64,
}

/// A time at which a check had the same verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictSpan {
    /// When it begins.
    pub from: UtcTimestamp,
    /// When it ends.
    pub to: UtcTimestamp,
    /// The verdict by name.
    pub verdict: String,
}

/// How far ahead sessions ended at a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiryHorizon {
    /// How long it is to the furthest end; nothing if no active session has one.
    pub ahead: Option<SignedDuration>,
    /// Sessions that never end.
    pub never_expiring: u64,
    /// Sessions whose end cannot be read.
    pub unreadable: u64,
}

/// Where a number is, as to the range in which it is healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum RangePosition {
    /// Inside, all the time.
    In,
    /// Outside, at least once.
    Out,
    /// Not to be known.
    Unknown,
}

impl ChecklistVerdict {
    /// Its name in reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// Why it is unknown.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        if let Self::Unknown(reason) = self { Some(reason) } else { None }
    }

    /// The same in the face of a doubt: what passes is not known then, and what fails fails all the same.
    #[must_use]
    pub fn unknown_if(self, doubt: Option<String>) -> Self {
        match (self, doubt) {
            (Self::Passing, Some(doubt)) => Self::Unknown(doubt),
            (verdict, _) => verdict,
        }
    }

    /// Of several: fail if one fails, else unknown if one is, else pass; of none, unknown.
    #[must_use]
    pub fn combine_all<'a>(verdicts: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let unknown = verdicts.clone().filter(|verdict| verdict.reason().is_some()).count();
        if verdicts.clone().any(|verdict| *verdict == Self::Failing) {
            Self::Failing
        } else if unknown > 0 || verdicts.count() == 0 {
            Self::Unknown(format!("{unknown} not known"))
        } else {
            Self::Passing
        }
    }

    fn from_passed(holds: bool) -> Self {
        if holds { Self::Passing } else { Self::Failing }
    }
}

impl SeriesSummary {
    /// The track of points in time, each with its mean, lowest and highest; nothing without a point.
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
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Whether there was never more than that.
#[must_use]
pub fn check_at_most(track: Option<&SeriesSummary>, limit: f64) -> ChecklistVerdict {
    track.map_or_else(unmeasured_verdict, |track| ChecklistVerdict::from_passed(track.highest.0 <= limit))
}

/// Whether there were always fewer than that.
#[must_use]
pub fn check_below(track: Option<&SeriesSummary>, limit: u32) -> ChecklistVerdict {
    track.map_or_else(unmeasured_verdict, |track| {
        ChecklistVerdict::from_passed(track.highest.0 < f64::from(limit))
    })
}

/// Whether sessions for each user were in proportion. The track leaves out the times without an active session.
#[must_use]
pub fn check_session_ratio(track: Option<&SeriesSummary>, max: f64) -> ChecklistVerdict {
    match track {
        None => ChecklistVerdict::Unknown("there was no active session in this period".into()),
        Some(track) => {
            ChecklistVerdict::from_passed(track.lowest.0 >= MIN_SESSIONS_PER_USER && track.highest.0 <= max)
        }
    }
}

/// Whether the busiest hour saw as many sessions created as is usual. Too few are known only after a day was seen: nights are
/// quiet everywhere. `seen` says how long was seen.
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
            "no baseline is configured: write `min` and `max` under [checks.creation-rate]".into(),
        )
    } else if is_beyond(usual.max, f64::gt) {
        ChecklistVerdict::Failing
    } else if !is_beyond(usual.min, f64::lt) {
        ChecklistVerdict::Passing
    } else if seen < DAY {
        ChecklistVerdict::Unknown("a busier hour may come: less than a day was seen".into())
    } else {
        ChecklistVerdict::Failing
    }
}

#[expect(clippy::cast_precision_loss, reason = "a number of sessions stays below 2^53")]
fn count_to_f64(number: u64) -> f64 {
    number as f64
}

/// Critical log signals of a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CriticalLogEvents {
    /// Signals that a session in the table confirms.
    pub confirmed: u64,
    /// Signals that no session confirms: a visitor may have written them.
    pub unconfirmed: u64,
}

/// Judges the critical log signals of a period. Returns `Unknown` if no signal is confirmed and some are not, or with the reason
/// for which there are no counts.
#[must_use]
pub fn check_critical_events(events: Result<CriticalLogEvents, &str>) -> ChecklistVerdict {
    match events {
        Err(why) => ChecklistVerdict::Unknown(why.into()),
        Ok(CriticalLogEvents { confirmed: 0, unconfirmed: 0 }) => ChecklistVerdict::Passing,
        Ok(CriticalLogEvents { confirmed: 0, unconfirmed }) => {
            let lines = if unconfirmed == 1 { "line" } else { "lines" };
            ChecklistVerdict::Unknown(format!(
                "no session confirms the {unconfirmed} critical log {lines} of this period: visitors may have written them"
            ))
        }
        Ok(_) => ChecklistVerdict::Failing,
    }
}

/// Whether a person says that it holds; nothing where nobody says anything.
#[must_use]
pub fn check_attestation(holds: Option<bool>) -> ChecklistVerdict {
    match holds {
        None => ChecklistVerdict::Unknown("nobody has vouched for it in this period".into()),
        Some(holds) => ChecklistVerdict::from_passed(holds),
    }
}

/// Whether sessions have a lifetime that nothing lengthens. `failed` says whether their ends were ever beyond the policy.
#[must_use]
pub fn check_lifetime(failed: bool, extended: Option<&SeriesSummary>) -> ChecklistVerdict {
    if failed { ChecklistVerdict::Failing } else { check_not_extended(extended) }
}

/// Whether no session can last longer than that.
#[must_use]
pub fn check_expiry_horizon(
    horizon: Option<ExpiryHorizon>,
    limit: SignedDuration,
    extended: Option<&SeriesSummary>,
) -> ChecklistVerdict {
    let unknown = |reason: &str| ChecklistVerdict::Unknown(reason.into());
    match horizon {
        None => unknown("the last look that saw something is not of this period"),
        Some(ExpiryHorizon { never_expiring: 1.., .. }) => ChecklistVerdict::Failing,
        Some(ExpiryHorizon { ahead: Some(ahead), .. })
            if ahead > limit.saturating_add(CLOCK_SKEW_TOLERANCE) =>
        {
            ChecklistVerdict::Failing
        }
        Some(ExpiryHorizon { unreadable: 1.., .. }) => unknown("not every end can be read"),
        Some(ExpiryHorizon { ahead: None, .. }) => unknown("there was no active session at the last look"),
        Some(ExpiryHorizon { ahead: Some(_), .. }) => check_not_extended(extended),
    }
}

/// Whether no session was extended. Where some are, that each has an end says nothing of how long it lasts.
fn check_not_extended(extended: Option<&SeriesSummary>) -> ChecklistVerdict {
    match extended {
        None => {
            ChecklistVerdict::Unknown("whether sessions are extended was not measured in this period".into())
        }
        Some(track) if track.highest.0 > 0.0 => ChecklistVerdict::Unknown(
            "sessions are extended while they are used, so their ends do not bound how long they last".into(),
        ),
        Some(_) => ChecklistVerdict::Passing,
    }
}

/// Whether a number was in a range all the time.
#[must_use]
pub fn range_position(track: Option<&SeriesSummary>, low: f64, high: f64) -> RangePosition {
    match track {
        None => RangePosition::Unknown,
        Some(track) if track.lowest.0 < low || track.highest.0 > high => RangePosition::Out,
        Some(_) => RangePosition::In,
    }
}

/// Whether the peak of a number was in a range.
#[must_use]
pub fn peak_position(track: Option<&SeriesSummary>, low: f64, high: f64) -> RangePosition {
    match track {
        None => RangePosition::Unknown,
        Some(track) if (low..=high).contains(&track.highest.0) => RangePosition::In,
        Some(_) => RangePosition::Out,
    }
}

/// Whether too many looks saw nothing: more than one in ten.
#[must_use]
pub fn has_too_many_failed_runs(runs: u64, failed_runs: u64) -> bool {
    failed_runs.saturating_mul(10) > runs
}

/// The longest time between two instants of a period at which something was seen, in their order.
#[must_use]
pub fn longest_gap(seen: impl Iterator<Item = UtcTimestamp>, period: Period) -> Period {
    let Period { from, to } = period;
    let (mut last, mut longest) = (from, Period { from, to: from });
    for at in seen.map(|at| at.clamp(from, to)).chain([to]) {
        if at.duration_since(last) > longest.duration() {
            longest = Period { from: last, to: at };
        }
        last = at;
    }
    longest
}

/// A time, if it is too long for nobody to have looked.
#[must_use]
pub fn gap_exceeding_limit(gap: Period) -> Option<Period> {
    (gap.duration() > MAX_OBSERVATION_GAP).then_some(gap)
}

/// The verdicts of a check over a period, from when each of them began, in their order. The first may be older.
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

/// The longest time for which a check had no verdict, if that is too long, or all such times together are more than a tenth
/// of the period. What comes before the first verdict counts.
#[must_use]
pub fn find_undecided_gap(spans: &[VerdictSpan], period: Period) -> Option<Period> {
    let start = Period { from: period.from, to: spans.first().map_or(period.to, |span| span.from) };
    let unknown = spans.iter().filter(|span| span.verdict == "unknown");
    let unknown = unknown.map(|span| Period { from: span.from, to: span.to });
    let times: Vec<Period> = std::iter::once(start).chain(unknown).collect();
    let longest = times.iter().copied().max_by_key(|time| time.duration())?;
    // Before the first verdict a watch that looks once a day has a day.
    let unknown: SignedDuration = times.iter().skip(1).map(|time| time.duration()).sum();
    let much = unknown > period.duration() / 10;
    if much { Some(longest) } else { gap_exceeding_limit(longest) }
}

fn unmeasured_verdict() -> ChecklistVerdict {
    ChecklistVerdict::Unknown(UNMEASURED_REASON.into())
}

#[cfg(test)]
mod tests;
