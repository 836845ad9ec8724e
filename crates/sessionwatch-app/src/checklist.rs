//! The checklist of a target over a period: the seven items of the guide, its table of healthy numbers, and what a session
//! table proves of the requirements of security standards. What is decided from numbers is in `sessionwatch-core`.
//!
//! It is made from what the watch has kept; the target is not looked at.

mod facts;
mod guide;
mod page;
mod requirements;
#[cfg(test)]
mod tests;
mod text;

use serde_json::{Value, json};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    checklist::{RangePosition, SeriesSummary, Verdict},
    duration::DAY,
    instant::Instant,
    period::Period,
};
use sessionwatch_store::{
    StoreError,
    attestations::{self, Attestation},
    audit,
    db::Db,
};

use self::facts::{Coverage, Facts};
use crate::config::{Config, Target};

pub use self::{facts::USER_REPORTS, page::html};

/// Keeps what somebody vouches for, and notes it.
///
/// # Errors
///
/// If it cannot be written.
pub fn attest(db: Db<'_>, attestation: &Attestation) -> Result<(), StoreError> {
    let Attestation { at, target, item, holds, owner, note } = attestation;
    let detail = json!({ "target": target, "item": item, "holds": holds, "note": note });
    attestations::add(db, attestation)?;
    audit::add(db, audit::NewEntry { actor: owner, action: "attest", detail: &detail.to_string() }, *at)
}

/// A checklist of a target.
#[derive(Clone, Debug)]
pub struct Checklist {
    target: String,
    period: Period,
    made_at: Instant,
    coverage: Coverage,
    items: Vec<Item>,
    baseline: Vec<Number>,
    requirements: Vec<Item>,
    /// The hash of the last entry of the record of who did what; nothing while that is empty.
    audit_head: Option<String>,
}

/// Something that holds or does not.
#[derive(Clone, Debug)]
struct Item {
    subject: Subject,
    verdict: Verdict,
    /// What made the verdict; may be empty.
    evidence: String,
    /// At what it holds; may be empty.
    threshold: String,
}

/// What an item is about.
#[derive(Clone, Copy, Debug)]
struct Subject {
    /// Its id, which never changes.
    id: &'static str,
    /// Who asks for it.
    source: &'static str,
    /// What holds when it passes.
    title: &'static str,
    /// What is looked at.
    looked_at: &'static str,
    /// What to do when it fails.
    mend: &'static str,
    /// What to do when it is unknown.
    find_out: &'static str,
}

/// A number of the table.
#[derive(Clone, Debug)]
struct Number {
    id: &'static str,
    title: &'static str,
    /// What it was; nothing if it was never known.
    track: Option<SeriesSummary>,
    /// Where it is healthy.
    range: (f64, f64),
    place: RangePosition,
}

/// The checklist of the week that ends now.
///
/// # Errors
///
/// If the store cannot be read.
pub fn week(db: Db<'_>, config: &Config, target: &Target, now: Instant) -> Result<Checklist, StoreError> {
    over(db, config, target, Period { from: now - 7 * DAY, to: now }, now)
}

/// The checklist of a period.
///
/// # Errors
///
/// If the store cannot be read.
pub fn over(
    db: Db<'_>,
    config: &Config,
    target: &Target,
    period: Period,
    now: Instant,
) -> Result<Checklist, StoreError> {
    let facts = Facts::read(db, config, target, period, now)?;
    Ok(Checklist {
        target: target.name.clone(),
        period,
        made_at: now,
        items: guide::items(&facts),
        baseline: guide::baseline(&facts),
        requirements: requirements::items(&facts),
        coverage: facts.coverage,
        audit_head: audit::head(db)?,
    })
}

impl Checklist {
    /// Of the guide's items: fail if one fails, else unknown if one is, else pass. Requirements are for who needs them.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        Verdict::of_all(self.items.iter().map(|item| &item.verdict))
    }

    /// One line.
    #[must_use]
    pub fn title(&self) -> String {
        let count = |name| self.items.iter().filter(|item| item.verdict.name() == name).count();
        let [pass, fail, unknown] = ["pass", "fail", "unknown"].map(count);
        format!(
            "checklist of {}: {}, {pass} of {} items pass, {fail} fail, {unknown} unknown",
            self.target,
            self.verdict().name(),
            self.items.len()
        )
    }

    /// As JSON. The shape is a contract: `docs/report.md`.
    #[must_use]
    pub fn json(&self) -> Value {
        let Coverage { looks, blind, hours_seen, hours, gap } = &self.coverage;
        json!({
            "schema": 1,
            "target": self.target,
            "from": clock::rfc3339(self.period.from),
            "to": clock::rfc3339(self.period.to),
            "made_at": clock::rfc3339(self.made_at),
            "verdict": self.verdict().name(),
            "audit_head": self.audit_head,
            "coverage": {
                "looks": looks, "blind": blind, "hours_seen": hours_seen, "hours": hours,
                "longest_gap": { "from": clock::rfc3339(gap.from), "to": clock::rfc3339(gap.to) },
            },
            "items": self.items.iter().map(Item::json).collect::<Vec<_>>(),
            "baseline": self.baseline.iter().map(Number::json).collect::<Vec<_>>(),
            "requirements": self.requirements.iter().map(Item::json).collect::<Vec<_>>(),
        })
    }
}

impl Item {
    fn new(subject: Subject, threshold: &str, verdict: Verdict, evidence: String) -> Self {
        Self { subject, verdict, evidence, threshold: threshold.to_owned() }
    }

    /// What to do; nothing about what passes.
    fn action(&self) -> Option<&'static str> {
        match self.verdict {
            Verdict::Pass => None,
            Verdict::Fail => Some(self.subject.mend),
            Verdict::Unknown(_) => Some(self.subject.find_out),
        }
    }

    /// What was found, for people.
    fn found(&self) -> String {
        match self.verdict.reason() {
            Some(reason) if self.evidence.is_empty() => format!("not known: {reason}"),
            Some(reason) => format!("not known: {reason} ({})", self.evidence),
            None => self.evidence.clone(),
        }
    }

    fn json(&self) -> Value {
        let Subject { id, source, title, looked_at, .. } = self.subject;
        json!({
            "id": id, "source": source, "title": title, "looked_at": looked_at, "verdict": self.verdict.name(),
            "reason": self.verdict.reason(), "evidence": self.evidence, "threshold": self.threshold, "action": self.action(),
        })
    }
}

impl Number {
    fn json(&self) -> Value {
        let (now, lowest, highest) = (
            self.track.map(|track| track.last),
            self.track.map(|track| track.lowest.0),
            self.track.map(|track| track.highest.0),
        );
        json!({
            "id": self.id, "title": self.title, "now": now, "lowest": lowest, "highest": highest,
            "healthy": { "min": self.range.0, "max": self.range.1 }, "verdict": self.place.name(),
        })
    }

    /// Its cells for people: what it is now, at the lowest and at the highest, and where it is healthy.
    fn cells(&self) -> [String; 4] {
        let cell = |value: &dyn Fn(&SeriesSummary) -> f64| {
            self.track.as_ref().map_or_else(|| "not known".into(), |track| guide::number(value(track)))
        };
        let (low, high) = self.range;
        let healthy = match (low, high) {
            guide::NO_RANGE => "no baseline".to_owned(),
            (low, f64::INFINITY) => format!("at least {}", guide::number(low)),
            (low, high) if low.total_cmp(&high).is_eq() => guide::number(low),
            (low, high) => format!("{} to {}", guide::number(low), guide::number(high)),
        };
        [cell(&|track| track.last), cell(&|track| track.lowest.0), cell(&|track| track.highest.0), healthy]
    }
}
