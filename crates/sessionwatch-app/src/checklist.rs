//! Checklist of a target over a period: the seven items of the operator guide, its table of healthy numbers, and
//! evidence for requirements of security standards. The rules are in `sessionwatch-core`.
//!
//! A checklist is created from recorded check runs; the target itself is not queried.

mod guide_items;
mod html;
mod inputs;
mod standard_requirements;
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

/// Stores an attestation, and adds an audit log entry.
///
/// # Errors
///
/// Fails if the store cannot be written.
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

/// Checklist of a target.
#[derive(Clone, Debug)]
pub struct Checklist {
    target: String,
    period: Period,
    made_at: UtcTimestamp,
    coverage: ChecklistCoverage,
    items: Vec<ChecklistItem>,
    baseline: Vec<BaselineMetric>,
    requirements: Vec<ChecklistItem>,
    /// Hash of the latest audit log entry; `None` while the log is empty.
    audit_head: Option<String>,
}

/// Item with its result.
#[derive(Clone, Debug)]
struct ChecklistItem {
    info: ItemInfo,
    verdict: ChecklistVerdict,
    /// Evidence for the result; may be empty.
    evidence: String,
    /// Condition for passing; may be empty.
    requirement: String,
}

/// Description of an item.
#[derive(Clone, Copy, Debug)]
struct ItemInfo {
    /// Stable id.
    id: &'static str,
    /// Source of the requirement.
    source: &'static str,
    /// Statement that is true if the item passes.
    title: &'static str,
    /// Evidence that is examined.
    inspected: &'static str,
    /// Action for a failing item.
    remedy: &'static str,
    /// Action for an unknown item.
    investigation: &'static str,
}

/// Row of the table of healthy numbers.
#[derive(Clone, Debug)]
struct BaselineMetric {
    id: &'static str,
    title: &'static str,
    /// Recorded values; `None` if there are none.
    series: Option<SeriesSummary>,
    /// Healthy range, inclusive.
    healthy_range: (f64, f64),
    range_position: RangePosition,
}

/// Creates the checklist of the last 7 days.
///
/// # Errors
///
/// Fails if the store cannot be read.
pub fn build_weekly_checklist(
    db: Tx<'_>,
    config: &Config,
    target: &Target,
    now: UtcTimestamp,
) -> Result<Checklist, StoreError> {
    build_checklist(db, config, target, Period { from: now - 7 * DAY, to: now }, now)
}

/// Creates the checklist of a period.
///
/// # Errors
///
/// Fails if the store cannot be read.
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
        items: guide_items::guide_items(&facts),
        baseline: guide_items::baseline_metrics(&facts),
        requirements: standard_requirements::requirement_items(&facts),
        coverage: facts.coverage,
        // The newest entry: a later checklist can show that the log was not cut since.
        audit_head: audit::find_latest_hash(db)?,
    })
}

/// Number of items by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ItemCounts {
    /// Items that pass.
    pub passing: usize,
    /// Items that fail.
    pub failing: usize,
    /// Items that are unknown.
    pub unknown: usize,
}

impl ItemCounts {
    fn of_items(items: &[ChecklistItem]) -> Self {
        let count = |name| items.iter().filter(|item| item.verdict.name() == name).count();
        let [passing, failing, unknown] = ["passing", "failing", "unknown"].map(count);
        Self { passing, failing, unknown }
    }

    /// Returns the number of items.
    #[must_use]
    pub fn total(self) -> usize {
        self.passing + self.failing + self.unknown
    }
}

impl Checklist {
    /// Returns the period.
    #[must_use]
    pub fn period(&self) -> Period {
        self.period
    }

    /// Counts the items of the operator guide by result.
    #[must_use]
    pub fn count_items(&self) -> ItemCounts {
        ItemCounts::of_items(&self.items)
    }

    /// Counts the requirements of the standards by result.
    #[must_use]
    pub fn count_requirements(&self) -> ItemCounts {
        ItemCounts::of_items(&self.requirements)
    }

    /// Returns `true` if a check run succeeded in the period.
    #[must_use]
    pub fn has_check_runs(&self) -> bool {
        self.coverage.hours_covered > 0
    }

    /// Describes how much of the period check runs covered, a phrase each.
    #[must_use]
    pub fn describe_coverage(&self) -> Vec<String> {
        self.coverage.to_sentences()
    }

    /// Combines the results of the checklist items: failing if one fails, else unknown if one is unknown. The
    /// standards do not count, since not every target has to meet them.
    #[must_use]
    pub fn verdict(&self) -> ChecklistVerdict {
        ChecklistVerdict::combine_all(self.items.iter().map(|item| &item.verdict))
    }

    /// Returns a one-line summary.
    #[must_use]
    pub fn summary_line(&self) -> String {
        let ItemCounts { passing, failing, unknown } = self.count_items();
        let others = [(failing, "failing"), (unknown, "unknown")].into_iter().filter(|(count, _)| *count > 0);
        let others: String = others.map(|(count, name)| format!(", {count} {name}")).collect();
        format!(
            "checklist of {}: {}, {passing} of {} items passing{others}",
            self.target,
            self.verdict().name(),
            self.items.len()
        )
    }

    /// Returns the checklist as JSON, in the public format of `docs/report.md`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let ChecklistCoverage { runs, failed_runs, hours_covered, hours_total, longest_gap } = &self.coverage;
        json!({
            "schema": 2,
            "target": self.target,
            "from": clock::format_rfc3339(self.period.from),
            "to": clock::format_rfc3339(self.period.to),
            "created_at": clock::format_rfc3339(self.made_at),
            "result": self.verdict().name(),
            "audit_head": self.audit_head,
            "coverage": {
                "runs": runs, "failed_runs": failed_runs, "hours_covered": hours_covered, "hours": hours_total,
                "longest_gap": {
                    "from": clock::format_rfc3339(longest_gap.from),
                    "to": clock::format_rfc3339(longest_gap.to),
                },
            },
            "items": self.items.iter().map(ChecklistItem::to_json).collect::<Vec<_>>(),
            "baseline": self.baseline.iter().map(BaselineMetric::to_json).collect::<Vec<_>>(),
            "requirements": self.requirements.iter().map(ChecklistItem::to_json).collect::<Vec<_>>(),
        })
    }
}

impl ChecklistItem {
    fn new(info: ItemInfo, requirement: &str, verdict: ChecklistVerdict, evidence: String) -> Self {
        Self { info, verdict, evidence, requirement: requirement.to_owned() }
    }

    /// Returns what to do; `None` if the item passes.
    fn action(&self) -> Option<&'static str> {
        match self.verdict {
            // Unknown needs a different action than failing: find out first, and do not repair.
            ChecklistVerdict::Passing => None,
            ChecklistVerdict::Failing => Some(self.info.remedy),
            ChecklistVerdict::Unknown(_) => Some(self.info.investigation),
        }
    }

    /// Describes the finding.
    fn describe_finding(&self) -> String {
        match self.verdict.reason() {
            Some(reason) if self.evidence.is_empty() => format!("unknown: {reason}"),
            Some(reason) => format!("unknown: {reason} ({})", self.evidence),
            None => self.evidence.clone(),
        }
    }

    fn to_json(&self) -> Value {
        let ItemInfo { id, source, title, inspected, .. } = self.info;
        json!({
            "id": id, "source": source, "title": title, "inspected": inspected, "result": self.verdict.name(),
            "reason": self.verdict.reason(), "evidence": self.evidence,
            "requirement": self.requirement, "action": self.action(),
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
            "healthy": { "min": self.healthy_range.0, "max": self.healthy_range.1 },
            "result": self.range_position.name(),
        })
    }

    /// Returns the cells for the latest, lowest and highest value, and the healthy range.
    fn render_cells(&self) -> [String; 4] {
        let cell = |value: &dyn Fn(&SeriesSummary) -> f64| {
            self.series
                .as_ref()
                .map_or_else(|| "unknown".into(), |track| guide_items::format_number(value(track)))
        };
        let (low, high) = self.healthy_range;
        let healthy = match (low, high) {
            guide_items::UNBOUNDED_RANGE => "no baseline".to_owned(),
            (low, f64::INFINITY) => format!("at least {}", guide_items::format_number(low)),
            // Compared in total order, as the bounds are constants and not computed.
            (low, high) if low.total_cmp(&high).is_eq() => guide_items::format_number(low),
            (low, high) => {
                format!("{} to {}", guide_items::format_number(low), guide_items::format_number(high))
            }
        };
        [cell(&|track| track.last), cell(&|track| track.lowest.0), cell(&|track| track.highest.0), healthy]
    }
}
