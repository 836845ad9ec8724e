//! The checklist of a target over a period: the seven items of the guide, its table of healthy numbers, and what a session
//! table proves of the requirements of security standards. What is decided from numbers is in `sessionwatch-core`.
//!
//! It is made from what the watch has kept; the target is not looked at.

mod html;
mod inputs;
mod operator_guide;
mod requirements;
#[cfg(test)]
mod tests;
mod text;

use serde_json::{Value, json};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    checklist::{ChecklistVerdict, RangePosition, SeriesSummary},
    duration::DAY,
    period::Period,
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{
    StoreError,
    attestations::{self, Attestation},
    audit,
    transaction::Tx,
};

use self::inputs::{ChecklistCoverage, ChecklistInputs};
use crate::config::{Config, Target};

pub use self::{html::render_html, inputs::USER_REPORTS_ITEM};

/// Keeps what somebody vouches for, and notes it.
///
/// # Errors
///
/// If it cannot be written.
pub fn insert_attestation(db: Tx<'_>, attestation: &Attestation) -> Result<(), StoreError> {
    let Attestation { at, target, item, holds, owner, note } = attestation;
    let detail = json!({ "target": target, "item": item, "passes": holds, "note": note });
    attestations::insert_attestation(db, attestation)?;
    audit::insert_audit_entry(
        db,
        audit::NewAuditEntry { actor: owner, action: "checklist.attested", detail: &detail.to_string() },
        *at,
    )
}

/// A checklist of a target.
#[derive(Clone, Debug)]
pub struct Checklist {
    target: String,
    period: Period,
    made_at: UtcTimestamp,
    coverage: ChecklistCoverage,
    items: Vec<ChecklistItem>,
    baseline: Vec<BaselineMetric>,
    requirements: Vec<ChecklistItem>,
    /// The hash of the last entry of the record of who did what; nothing while that is empty.
    audit_head: Option<String>,
}

/// Something that holds or does not.
#[derive(Clone, Debug)]
struct ChecklistItem {
    info: ItemInfo,
    verdict: ChecklistVerdict,
    /// What made the verdict; may be empty.
    evidence: String,
    /// At what it holds; may be empty.
    threshold: String,
}

/// What an item is about.
#[derive(Clone, Copy, Debug)]
struct ItemInfo {
    /// Its id, which never changes.
    id: &'static str,
    /// Who asks for it.
    source: &'static str,
    /// What holds when it passes.
    title: &'static str,
    /// What is looked at.
    inspected: &'static str,
    /// What to do when it fails.
    remedy: &'static str,
    /// What to do when it is unknown.
    investigation: &'static str,
}

/// A number of the table.
#[derive(Clone, Debug)]
struct BaselineMetric {
    id: &'static str,
    title: &'static str,
    /// What it was; nothing if it was never known.
    series: Option<SeriesSummary>,
    /// Where it is healthy.
    healthy_range: (f64, f64),
    range_position: RangePosition,
}

/// The checklist of the week that ends now.
///
/// # Errors
///
/// If the store cannot be read.
pub fn build_weekly_checklist(
    db: Tx<'_>,
    config: &Config,
    target: &Target,
    now: UtcTimestamp,
) -> Result<Checklist, StoreError> {
    build_checklist(db, config, target, Period { from: now - 7 * DAY, to: now }, now)
}

/// The checklist of a period.
///
/// # Errors
///
/// If the store cannot be read.
pub fn build_checklist(
    db: Tx<'_>,
    config: &Config,
    target: &Target,
    period: Period,
    now: UtcTimestamp,
) -> Result<Checklist, StoreError> {
    let facts = ChecklistInputs::read(db, config, target, period, now)?;
    Ok(Checklist {
        target: target.name.clone(),
        period,
        made_at: now,
        items: operator_guide::guide_items(&facts),
        baseline: operator_guide::baseline_metrics(&facts),
        requirements: requirements::requirement_items(&facts),
        coverage: facts.coverage,
        audit_head: audit::find_latest_hash(db)?,
    })
}

impl Checklist {
    /// Of the guide's items: fail if one fails, else unknown if one is, else pass. Requirements are for who needs them.
    #[must_use]
    pub fn verdict(&self) -> ChecklistVerdict {
        ChecklistVerdict::combine_all(self.items.iter().map(|item| &item.verdict))
    }

    /// One line.
    #[must_use]
    pub fn title(&self) -> String {
        let count = |name| self.items.iter().filter(|item| item.verdict.name() == name).count();
        let [pass, fail, unknown] = ["passing", "failing", "unknown"].map(count);
        format!(
            "checklist of {}: {}, {pass} of {} items passing, {fail} failing, {unknown} unknown",
            self.target,
            self.verdict().name(),
            self.items.len()
        )
    }

    /// As JSON. The shape is a contract: `docs/report.md`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let ChecklistCoverage {
            runs: looks,
            failed_runs: blind,
            hours_covered: hours_seen,
            hours_total: hours,
            longest_gap: gap,
        } = &self.coverage;
        json!({
            "schema": 2,
            "target": self.target,
            "from": clock::format_rfc3339(self.period.from),
            "to": clock::format_rfc3339(self.period.to),
            "created_at": clock::format_rfc3339(self.made_at),
            "result": self.verdict().name(),
            "audit_head": self.audit_head,
            "coverage": {
                "runs": looks, "failed_runs": blind, "hours_covered": hours_seen, "hours": hours,
                "longest_gap": { "from": clock::format_rfc3339(gap.from), "to": clock::format_rfc3339(gap.to) },
            },
            "items": self.items.iter().map(ChecklistItem::to_json).collect::<Vec<_>>(),
            "baseline": self.baseline.iter().map(BaselineMetric::to_json).collect::<Vec<_>>(),
            "requirements": self.requirements.iter().map(ChecklistItem::to_json).collect::<Vec<_>>(),
        })
    }
}

impl ChecklistItem {
    fn new(subject: ItemInfo, threshold: &str, verdict: ChecklistVerdict, evidence: String) -> Self {
        Self { info: subject, verdict, evidence, threshold: threshold.to_owned() }
    }

    /// What to do; nothing about what passes.
    fn action(&self) -> Option<&'static str> {
        match self.verdict {
            ChecklistVerdict::Passing => None,
            ChecklistVerdict::Failing => Some(self.info.remedy),
            ChecklistVerdict::Unknown(_) => Some(self.info.investigation),
        }
    }

    /// What was found, for people.
    fn describe_finding(&self) -> String {
        match self.verdict.reason() {
            Some(reason) if self.evidence.is_empty() => format!("not known: {reason}"),
            Some(reason) => format!("not known: {reason} ({})", self.evidence),
            None => self.evidence.clone(),
        }
    }

    fn to_json(&self) -> Value {
        let ItemInfo { id, source, title, inspected: looked_at, .. } = self.info;
        json!({
            "id": id, "source": source, "title": title, "inspected": looked_at, "result": self.verdict.name(),
            "reason": self.verdict.reason(), "evidence": self.evidence, "threshold": self.threshold, "action": self.action(),
        })
    }
}

impl BaselineMetric {
    fn to_json(&self) -> Value {
        let (now, lowest, highest) = (
            self.series.map(|track| track.last),
            self.series.map(|track| track.lowest.0),
            self.series.map(|track| track.highest.0),
        );
        json!({
            "id": self.id, "title": self.title, "now": now, "lowest": lowest, "highest": highest,
            "healthy": { "min": self.healthy_range.0, "max": self.healthy_range.1 }, "result": self.range_position.name(),
        })
    }

    /// Its cells for people: what it is now, at the lowest and at the highest, and where it is healthy.
    fn render_cells(&self) -> [String; 4] {
        let cell = |value: &dyn Fn(&SeriesSummary) -> f64| {
            self.series
                .as_ref()
                .map_or_else(|| "not known".into(), |track| operator_guide::format_number(value(track)))
        };
        let (low, high) = self.healthy_range;
        let healthy = match (low, high) {
            operator_guide::UNBOUNDED_RANGE => "no baseline".to_owned(),
            (low, f64::INFINITY) => format!("at least {}", operator_guide::format_number(low)),
            (low, high) if low.total_cmp(&high).is_eq() => operator_guide::format_number(low),
            (low, high) => {
                format!("{} to {}", operator_guide::format_number(low), operator_guide::format_number(high))
            }
        };
        [cell(&|track| track.last), cell(&|track| track.lowest.0), cell(&|track| track.highest.0), healthy]
    }
}
