//! What the store knows of a period: the numbers of every look, how far they can be trusted, and what people say.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde_json::Value;
use sessionwatch_clock as clock;
use sessionwatch_core::{
    checklist::{
        self as rules, CriticalSignals, ExpiryHorizon, RangePosition, SeriesSummary, Verdict, VerdictSpan,
    },
    checks::Thresholds,
    instant::Instant,
    period::Period,
};
use sessionwatch_store::{
    StoreError, alerts,
    attestations::{self, Attestation},
    censuses::{self, Gauges, Point},
    db::Db,
    events, reports,
    signals::Window,
};

use crate::{
    config::{Config, Target},
    logs,
};

/// The item that a person vouches for.
pub const USER_REPORTS: &str = "user-reports";
/// The checks whose verdicts say how far the numbers can be trusted.
const CHECKS: [&str; 9] = [
    "duplicate-tokens",
    "token-rebound",
    "revived-sessions",
    "orphaned-sessions",
    "sessions-per-user",
    "user-session-excess",
    "creation-rate",
    "expired-backlog",
    "session-lifetime",
];

/// How much of a period was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Coverage {
    /// Looks.
    pub(super) looks: u64,
    /// Those among them that saw nothing.
    pub(super) blind: u64,
    /// Hours of the period in which something was seen.
    pub(super) hours_seen: usize,
    /// Hours of the period, a begun one included.
    pub(super) hours: usize,
    /// The longest time in which nothing was seen.
    pub(super) gap: Period,
}

/// What the store knows of a period.
#[derive(Clone, Debug)]
pub(super) struct Facts<'a> {
    pub(super) thresholds: &'a Thresholds,
    pub(super) period: Period,
    pub(super) coverage: Coverage,
    /// Points at which something was seen, oldest first.
    points: Vec<Point>,
    /// What the last look of the period found, where it is kept.
    last: Gauges,
    /// Verdicts over the period by check; nothing of a check that is not made.
    verdicts: BTreeMap<&'static str, Vec<VerdictSpan>>,
    pub(super) attested: Option<Attestation>,
    /// Critical signals in the logs; or why that is not known.
    pub(super) signals: Result<CriticalSignals, String>,
    /// How far ahead sessions ended at the last look, and when that was; nothing if it is of another time.
    pub(super) ends: Option<(Instant, ExpiryHorizon)>,
}

/// A gauge, and the check that judges it: while the check does not know, the number means nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure(pub(super) &'static str, pub(super) &'static str);

impl<'a> Facts<'a> {
    /// Reads them.
    pub(super) fn read(
        db: Db<'_>,
        config: &'a Config,
        target: &Target,
        period: Period,
        now: Instant,
    ) -> Result<Self, StoreError> {
        let mut points = censuses::between(db, &target.name, period, now)?;
        let (looks, blind) =
            points.iter().fold((0, 0), |(looks, blind), point| (looks + point.looks, blind + point.blind));
        points.retain(|point| point.looks > point.blind);
        let mut verdicts = BTreeMap::new();
        for check in CHECKS.into_iter().filter(|check| config.makes(target, check)) {
            let mut began = events::verdicts(db, events::CheckRef { target: &target.name, check }, period)?;
            if began.is_empty() {
                // It has not changed for as long as history is kept.
                let kept = alerts::get(db, &target.name, check)?;
                began.extend(kept.and_then(|kept| kept.verdict).map(|verdict| (Instant::MIN, verdict)));
            }
            verdicts.insert(check, rules::spans(&began, period));
        }
        let last =
            reports::document(db, &target.name)?.filter(|(at, _)| *at >= period.from && *at < period.to);
        Ok(Self {
            thresholds: &config.rules.thresholds,
            period,
            coverage: coverage(&points, looks, blind, period),
            points,
            last: censuses::last_look(db, &target.name, period)?
                .map(|point| point.gauges)
                .unwrap_or_default(),
            verdicts,
            attested: attestations::last(
                db,
                attestations::ItemRef { target: &target.name, item: USER_REPORTS },
                period,
            )?,
            signals: signals(db, config, target, period)?,
            ends: match last {
                Some((at, report)) => ends(&report)?.map(|ends| (at, ends)),
                None => None,
            },
        })
    }

    /// A gauge over the period.
    pub(super) fn track(&self, gauge: &str) -> Option<SeriesSummary> {
        let track = SeriesSummary::of(
            self.points.iter().filter_map(|point| Some((point.at, *point.gauges.get(gauge)?))),
        )?;
        // A mean of several looks is no number that anybody saw.
        Some(match self.last.get(gauge) {
            Some([last, ..]) => SeriesSummary { last: *last, ..track },
            None => track,
        })
    }

    /// Sessions for each user over the period, without the times at which nobody had one.
    pub(super) fn ratio(&self) -> Option<SeriesSummary> {
        let ratio = |point: &Point| {
            let [mean, low, high] = *point.gauges.get("per_user")?;
            let some = if low > 0.0 { [mean, low, high] } else { [high; 3] };
            (high > 0.0).then_some((point.at, some))
        };
        SeriesSummary::of(self.points.iter().filter_map(ratio))
    }

    /// How long something was seen in the period.
    pub(super) fn seen(&self) -> SignedDuration {
        let (first, last) = (self.points.first(), self.points.last());
        first.zip(last).map(|(first, last)| last.at.duration_since(first.at)).unwrap_or_default()
    }

    /// The verdict on a number, as far as it can be trusted.
    pub(super) fn judge(&self, measure: Measure, verdict: Verdict) -> Verdict {
        if self.points.is_empty() {
            return Verdict::Unknown("no look of this period saw anything".into());
        }
        verdict.unless(self.doubt(measure))
    }

    /// The place of a number, as far as it can be trusted.
    pub(super) fn place(&self, measure: Measure, place: RangePosition) -> RangePosition {
        if place == RangePosition::In && self.doubt(measure).is_some() {
            RangePosition::Unknown
        } else {
            place
        }
    }

    /// When a check failed first in the period.
    pub(super) fn failed(&self, check: &str) -> Option<Instant> {
        let spans = self.verdicts.get(check)?;
        spans.iter().find(|span| span.verdict == "failing").map(|span| span.from)
    }

    /// Why a number is not the whole truth.
    fn doubt(&self, Measure(gauge, check): Measure) -> Option<String> {
        let Coverage { looks, blind, .. } = self.coverage;
        if rules::is_blind(looks, blind) {
            return Some(format!("{blind} of {looks} looks saw nothing"));
        }
        let known = self.points.iter().filter(|point| point.gauges.contains_key(gauge));
        let gap = rules::longest_gap(known.map(|point| point.at), self.period);
        if let Some(gap) = rules::too_long(gap) {
            return Some(format!("it was not measured {}", time(gap)));
        }
        match self.verdicts.get(check) {
            None => Some(format!("the check {check} is not made")),
            Some(spans) => rules::undecided(spans, self.period)
                .map(|gap| format!("the check {check} could not tell {}", time(gap))),
        }
    }
}

/// Critical signals in a target's logs; or why that is not known.
fn signals(
    db: Db<'_>,
    config: &Config,
    target: &Target,
    period: Period,
) -> Result<Result<CriticalSignals, String>, StoreError> {
    let mut heard = Err("no log source is configured".to_owned());
    for source in config.logs.of(&target.name) {
        let known = logs::find_source(db, &source.name)?.and_then(|known| known.heard_at);
        if known.is_none_or(|at| at < period.from) {
            return Ok(Err(format!("no line of `{}` was read in this period", source.name)));
        }
        heard = Ok(());
    }
    match heard {
        Ok(()) => Ok(Ok(logs::count_critical(
            db,
            Window { target: &target.name, from: period.from, to: period.to },
        )?)),
        Err(why) => Ok(Err(why)),
    }
}

/// `from … to …`.
pub(super) fn time(Period { from, to }: Period) -> String {
    format!("from {} to {}", clock::readable(from), clock::readable(to))
}

fn coverage(seen: &[Point], looks: u64, blind: u64, period: Period) -> Coverage {
    let Period { from, .. } = period;
    let hours: BTreeSet<i64> =
        seen.iter().map(|point| point.at.duration_since(from).as_hours().max(0)).collect();
    let whole = period.duration().as_hours();
    let all = if SignedDuration::from_hours(whole) < period.duration() { whole + 1 } else { whole };
    Coverage {
        looks,
        blind,
        hours_seen: hours.len(),
        hours: usize::try_from(all).unwrap_or(0),
        gap: rules::longest_gap(seen.iter().map(|point| point.at), period),
    }
}

/// How far ahead sessions ended, by a report; `None` if that saw nothing.
fn ends(report: &Value) -> Result<Option<ExpiryHorizon>, StoreError> {
    let undecodable = || StoreError::Undecodable { table: "reports".into(), column: "report".into() };
    let census = match &report["census"] {
        Value::Null => return Ok(None),
        census => census,
    };
    let count = |key: &str| census[key].as_u64().ok_or_else(undecodable);
    let instant = |value: &Value| match value {
        Value::Null => Ok(None),
        value => value.as_str().and_then(clock::parsed).map(Some).ok_or_else(undecodable),
    };
    let furthest = instant(&census["furthest_expiry"])?;
    let taken_at = instant(&report["taken_at"])?.ok_or_else(undecodable)?;
    Ok(Some(ExpiryHorizon {
        ahead: furthest.map(|furthest| furthest.duration_since(taken_at)),
        never: count("never_expiring")?,
        unreadable: count("undecodable")?,
    }))
}
