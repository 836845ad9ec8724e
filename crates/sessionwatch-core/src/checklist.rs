//! The checklist: what the numbers of a period prove. What too few looks saw does not pass.

use jiff::SignedDuration;

use crate::{checks::Baseline, duration::DAY, instant::Instant, period::Period};

/// Orphaned sessions at which the guide's checklist fails.
pub const ORPHANED: u32 = 5;
/// Expired sessions at which the guide's checklist fails.
pub const EXPIRED: u32 = 10;
/// Sessions for each user below which the guide's checklist fails.
pub const RATIO_MIN: f64 = 1.0;
/// The longest time in which nobody needs to have looked: who looks once a day is late at times, and
/// clocks are put back.
pub const GAP: SignedDuration = SignedDuration::from_hours(26);
/// By how much the clock of an application may differ from that of its database.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// Why nothing is known of what has no number.
const UNMEASURED: &str = "it was not measured in this period";

/// Whether an item holds.
#[derive(Clone, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Verdict {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// Not to be known, and why. Never a pass.
    Unknown(String),
}

/// A number over a period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeriesSummary {
    /// The lowest, and when it was so low first.
    pub lowest: (f64, Instant),
    /// The highest, and when it was so high first.
    pub highest: (f64, Instant),
    /// The last.
    pub last: f64,
}

/// A time at which a check had the same verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictSpan {
    /// When it begins.
    pub from: Instant,
    /// When it ends.
    pub to: Instant,
    /// The verdict by name.
    pub verdict: String,
}

/// How far ahead sessions ended at a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiryHorizon {
    /// How long it is to the furthest end; nothing if no active session has one.
    pub ahead: Option<SignedDuration>,
    /// Sessions that never end.
    pub never: u64,
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

impl Verdict {
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
    pub fn unless(self, doubt: Option<String>) -> Self {
        match (self, doubt) {
            (Self::Pass, Some(doubt)) => Self::Unknown(doubt),
            (verdict, _) => verdict,
        }
    }

    /// Of several: fail if one fails, else unknown if one is, else pass; of none, unknown.
    #[must_use]
    pub fn of_all<'a>(verdicts: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let unknown = verdicts.clone().filter(|verdict| verdict.reason().is_some()).count();
        if verdicts.clone().any(|verdict| *verdict == Self::Fail) {
            Self::Fail
        } else if unknown > 0 || verdicts.count() == 0 {
            Self::Unknown(format!("{unknown} not known"))
        } else {
            Self::Pass
        }
    }

    fn of(holds: bool) -> Self {
        if holds { Self::Pass } else { Self::Fail }
    }
}

impl SeriesSummary {
    /// The track of points in time, each with its mean, lowest and highest; nothing without a point.
    #[must_use]
    pub fn of(points: impl Iterator<Item = (Instant, [f64; 3])>) -> Option<Self> {
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
pub fn at_most(track: Option<&SeriesSummary>, limit: f64) -> Verdict {
    track.map_or_else(unmeasured, |track| Verdict::of(track.highest.0 <= limit))
}

/// Whether there were always fewer than that.
#[must_use]
pub fn fewer_than(track: Option<&SeriesSummary>, limit: u32) -> Verdict {
    track.map_or_else(unmeasured, |track| Verdict::of(track.highest.0 < f64::from(limit)))
}

/// Whether sessions for each user were in proportion. The track leaves out the times without an active session.
#[must_use]
pub fn ratio(track: Option<&SeriesSummary>, max: f64) -> Verdict {
    match track {
        None => Verdict::Unknown("there was no active session in this period".into()),
        Some(track) => Verdict::of(track.lowest.0 >= RATIO_MIN && track.highest.0 <= max),
    }
}

/// Whether the busiest hour saw as many sessions created as is usual. Too few are known only after a day was seen: nights are
/// quiet everywhere. `seen` says how long was seen.
#[must_use]
pub fn creation_rate(track: Option<&SeriesSummary>, usual: Baseline, seen: SignedDuration) -> Verdict {
    let Some(track) = track else { return unmeasured() };
    let busiest = track.highest.0;
    let is_beyond = |limit: Option<u64>, beyond: fn(&f64, &f64) -> bool| {
        limit.is_some_and(|limit| beyond(&busiest, &count(limit)))
    };
    if usual == Baseline::default() {
        Verdict::Unknown(
            "no baseline is configured: write `min` and `max` under [checks.creation-rate]".into(),
        )
    } else if is_beyond(usual.max, f64::gt) {
        Verdict::Fail
    } else if !is_beyond(usual.min, f64::lt) {
        Verdict::Pass
    } else if seen < DAY {
        Verdict::Unknown("a busier hour may come: less than a day was seen".into())
    } else {
        Verdict::Fail
    }
}

#[expect(clippy::cast_precision_loss, reason = "a number of sessions stays below 2^53")]
fn count(number: u64) -> f64 {
    number as f64
}

/// Critical log signals of a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CriticalSignals {
    /// Signals that a session in the table confirms.
    pub confirmed: u64,
    /// Signals that no session confirms: a visitor may have written them.
    pub unconfirmed: u64,
}

/// Judges the critical log signals of a period. Returns `Unknown` if no signal is confirmed and some are not, or with the reason
/// for which there are no counts.
#[must_use]
pub fn critical_signals(signals: Result<CriticalSignals, &str>) -> Verdict {
    match signals {
        Err(why) => Verdict::Unknown(why.into()),
        Ok(CriticalSignals { confirmed: 0, unconfirmed: 0 }) => Verdict::Pass,
        Ok(CriticalSignals { confirmed: 0, unconfirmed }) => {
            let lines = if unconfirmed == 1 { "line" } else { "lines" };
            Verdict::Unknown(format!(
                "no session confirms the {unconfirmed} critical log {lines} of this period: visitors may have written them"
            ))
        }
        Ok(_) => Verdict::Fail,
    }
}

/// Whether a person says that it holds; nothing where nobody says anything.
#[must_use]
pub fn attested(holds: Option<bool>) -> Verdict {
    match holds {
        None => Verdict::Unknown("nobody has vouched for it in this period".into()),
        Some(holds) => Verdict::of(holds),
    }
}

/// Whether sessions have a lifetime that nothing lengthens. `failed` says whether their ends were ever beyond the policy.
#[must_use]
pub fn lifetime(failed: bool, extended: Option<&SeriesSummary>) -> Verdict {
    if failed { Verdict::Fail } else { unextended(extended) }
}

/// Whether no session can last longer than that.
#[must_use]
pub fn ends_within(
    ends: Option<ExpiryHorizon>,
    limit: SignedDuration,
    extended: Option<&SeriesSummary>,
) -> Verdict {
    let unknown = |reason: &str| Verdict::Unknown(reason.into());
    match ends {
        None => unknown("the last look that saw something is not of this period"),
        Some(ExpiryHorizon { never: 1.., .. }) => Verdict::Fail,
        Some(ExpiryHorizon { ahead: Some(ahead), .. }) if ahead > limit.saturating_add(SKEW) => Verdict::Fail,
        Some(ExpiryHorizon { unreadable: 1.., .. }) => unknown("not every end can be read"),
        Some(ExpiryHorizon { ahead: None, .. }) => unknown("there was no active session at the last look"),
        Some(ExpiryHorizon { ahead: Some(_), .. }) => unextended(extended),
    }
}

/// Whether no session was extended. Where some are, that each has an end says nothing of how long it lasts.
fn unextended(extended: Option<&SeriesSummary>) -> Verdict {
    match extended {
        None => Verdict::Unknown("whether sessions are extended was not measured in this period".into()),
        Some(track) if track.highest.0 > 0.0 => Verdict::Unknown(
            "sessions are extended while they are used, so their ends do not bound how long they last".into(),
        ),
        Some(_) => Verdict::Pass,
    }
}

/// Whether a number was in a range all the time.
#[must_use]
pub fn within(track: Option<&SeriesSummary>, low: f64, high: f64) -> RangePosition {
    match track {
        None => RangePosition::Unknown,
        Some(track) if track.lowest.0 < low || track.highest.0 > high => RangePosition::Out,
        Some(_) => RangePosition::In,
    }
}

/// Whether the peak of a number was in a range.
#[must_use]
pub fn peak_within(track: Option<&SeriesSummary>, low: f64, high: f64) -> RangePosition {
    match track {
        None => RangePosition::Unknown,
        Some(track) if (low..=high).contains(&track.highest.0) => RangePosition::In,
        Some(_) => RangePosition::Out,
    }
}

/// Whether too many looks saw nothing: more than one in ten.
#[must_use]
pub fn is_blind(looks: u64, blind: u64) -> bool {
    blind.saturating_mul(10) > looks
}

/// The longest time between two instants of a period at which something was seen, in their order.
#[must_use]
pub fn longest_gap(seen: impl Iterator<Item = Instant>, period: Period) -> Period {
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
pub fn too_long(gap: Period) -> Option<Period> {
    (gap.duration() > GAP).then_some(gap)
}

/// The verdicts of a check over a period, from when each of them began, in their order. The first may be older.
#[must_use]
pub fn spans(began: &[(Instant, String)], period: Period) -> Vec<VerdictSpan> {
    let Period { from, to } = period;
    let ends = began.iter().skip(1).map(|(at, _)| *at).chain([to]);
    let span = |((at, verdict), end): (&(Instant, String), Instant)| VerdictSpan {
        from: (*at).max(from),
        to: end.min(to),
        verdict: verdict.clone(),
    };
    began.iter().zip(ends).map(span).filter(|span| span.from < span.to).collect()
}

/// The longest time for which a check had no verdict, if that is too long, or all such times together are more than a tenth
/// of the period. What comes before the first verdict counts.
#[must_use]
pub fn undecided(spans: &[VerdictSpan], period: Period) -> Option<Period> {
    let start = Period { from: period.from, to: spans.first().map_or(period.to, |span| span.from) };
    let unknown = spans.iter().filter(|span| span.verdict == "unknown");
    let unknown = unknown.map(|span| Period { from: span.from, to: span.to });
    let times: Vec<Period> = std::iter::once(start).chain(unknown).collect();
    let longest = times.iter().copied().max_by_key(|time| time.duration())?;
    // Before the first verdict a watch that looks once a day has a day.
    let unknown: SignedDuration = times.iter().skip(1).map(|time| time.duration()).sum();
    let much = unknown > period.duration() / 10;
    if much { Some(longest) } else { too_long(longest) }
}

fn unmeasured() -> Verdict {
    Verdict::Unknown(UNMEASURED.into())
}

#[cfg(test)]
mod tests;
