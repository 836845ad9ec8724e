//! The findings of an earlier report, which a check run accepts: only new ones fail.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sessionwatch_core::checks::{
    CheckVerdict, EvidenceKind,
    custom::{CustomThreshold, ThresholdOperator},
};
use sessionwatch_targets::evidence::EvidenceRow;

use crate::{
    check_run::{CheckReport, CheckResult},
    checks,
};

/// Version of the JSON reports that are understood.
const REPORT_SCHEMA: u64 = 2;

/// The findings of an earlier `check --format json`.
#[derive(Clone, Debug)]
pub struct AcceptedFindings {
    targets: Vec<EarlierTarget>,
}

/// Why a file holds no accepted findings.
#[derive(Debug, thiserror::Error)]
pub enum BaselineFileError {
    /// The file cannot be read.
    #[error("cannot read the baseline report {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Reason.
        source: std::io::Error,
    },
    /// The file is not a report.
    #[error("{} is not a report of `check --format json`: {reason}", path.display())]
    NotAReport {
        /// The file.
        path: PathBuf,
        /// Reason.
        reason: String,
    },
    /// Another version wrote the report.
    #[error(
        "{} has schema {schema}, and this version reads schema {REPORT_SCHEMA}: write the file again",
        path.display()
    )]
    OtherSchema {
        /// The file.
        path: PathBuf,
        /// Schema of the report.
        schema: u64,
    },
}

/// The part of a JSON report that says which version wrote it.
#[derive(Deserialize)]
struct ReportVersion {
    schema: u64,
}

/// A JSON report.
#[derive(Deserialize)]
struct EarlierReport {
    targets: Vec<EarlierTarget>,
}

/// A target in a JSON report.
#[derive(Clone, Debug, Deserialize)]
struct EarlierTarget {
    target: String,
    checks: Vec<EarlierCheck>,
}

/// A check in a JSON report.
#[derive(Clone, Debug, Deserialize)]
struct EarlierCheck {
    id: String,
    result: String,
    value: Option<f64>,
    evidence_total: Option<u64>,
    evidence: Vec<EarlierEvidence>,
}

/// A row of evidence in a JSON report.
#[derive(Clone, Debug, Deserialize)]
struct EarlierEvidence {
    token_prefix: Option<String>,
    id: Option<String>,
    user: Option<String>,
    rows: u64,
}

impl AcceptedFindings {
    /// Reads the findings from a file that `check --format json` wrote.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not a report of this schema.
    pub fn read_file(path: &Path) -> Result<Self, BaselineFileError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| BaselineFileError::Unreadable { path: path.to_owned(), source })?;
        let not_a_report = |error: serde_json::Error| BaselineFileError::NotAReport {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let version: ReportVersion = serde_json::from_str(&text).map_err(not_a_report)?;
        if version.schema != REPORT_SCHEMA {
            return Err(BaselineFileError::OtherSchema { path: path.to_owned(), schema: version.schema });
        }
        let report: EarlierReport = serde_json::from_str(&text).map_err(not_a_report)?;
        Ok(Self { targets: report.targets })
    }

    /// Marks the findings that the earlier reports have too, and notes those that grew since. With one target on both
    /// sides, its name does not matter: the address of a database differs from machine to machine.
    pub fn apply(&self, reports: &mut [CheckReport]) {
        let is_pair = self.targets.len() == 1 && reports.len() == 1;
        for report in reports {
            let earlier = self.targets.iter().find(|earlier| is_pair || earlier.target == report.target);
            for result in &mut report.results {
                let failed_before = earlier
                    .into_iter()
                    .flat_map(|earlier| &earlier.checks)
                    .find(|check| check.id == result.id && check.result == "failing");
                let Some(before) = failed_before.filter(|_| is_finding(result)) else {
                    continue;
                };
                result.is_accepted = before.covers(result);
                if !result.is_accepted {
                    report.notes.push(format!(
                        "{} failed in the baseline report too, but not with all that it finds now",
                        result.id
                    ));
                }
            }
        }
    }
}

fn is_finding(result: &CheckResult) -> bool {
    result.outcome.verdict == CheckVerdict::Failing && !result.outcome.is_informational
}

impl EarlierCheck {
    /// Returns `true` if everything that the check finds now was found then.
    fn covers(&self, result: &CheckResult) -> bool {
        let finding = &result.outcome;
        let is_value_at_most = finding.value.zip(self.value).is_some_and(|(now, then)| now <= then);
        match checks::TABLE_CHECKS.iter().find(|check| check.id == result.id).map(|check| check.evidence) {
            // A number outside its range is accepted by changing the range.
            Some(EvidenceKind::Value) => false,
            // The rows behind a number or an average come and go all the time.
            Some(EvidenceKind::OldestExpired) => is_value_at_most,
            Some(EvidenceKind::ActiveUsers) if finding.user_limit.is_none() => is_value_at_most,
            Some(kind) => {
                let is_total_at_most = match (finding.evidence_total, self.evidence_total) {
                    (Some(now), Some(then)) => now <= then,
                    (now, then) => now == then,
                };
                let is_cut = self.evidence_total.is_some_and(|total| total > self.evidence.len() as u64);
                let concerns_tokens = matches!(
                    kind,
                    EvidenceKind::Duplicates | EvidenceKind::Reassigned | EvidenceKind::Reappeared
                );
                let are_rows_accepted = match (is_cut, concerns_tokens) {
                    (false, _) => result.evidence.iter().all(|row| self.lists(row)),
                    // The rows of a long list come and go.
                    (true, false) => true,
                    // Tokens that leaked do not: others in their place are another leak, which a cut list hides.
                    (true, true) => false,
                };
                is_value_at_most && is_total_at_most && are_rows_accepted
            }
            None => self.is_custom_value_no_worse(result),
        }
    }

    fn lists(&self, row: &EvidenceRow) -> bool {
        self.evidence.iter().any(|earlier| {
            (&earlier.token_prefix, &earlier.id, &earlier.user) == (&row.token_prefix, &row.id, &row.user)
                && row.rows <= earlier.rows
        })
    }

    #[expect(clippy::float_cmp, reason = "counts are integers, and the threshold asks for equality")]
    fn is_custom_value_no_worse(&self, result: &CheckResult) -> bool {
        let (Some(now), Some(then)) = (result.outcome.value, self.value) else { return false };
        match result.outcome.threshold.parse::<CustomThreshold>().map(|threshold| threshold.operator) {
            Ok(ThresholdOperator::Above | ThresholdOperator::AtLeast) => now <= then,
            Ok(ThresholdOperator::Below | ThresholdOperator::AtMost) => now >= then,
            Ok(ThresholdOperator::Equal | ThresholdOperator::Unequal) => now == then,
            Err(_) => false,
        }
    }
}
