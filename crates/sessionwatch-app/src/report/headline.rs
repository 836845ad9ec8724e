//! The first line of a report, and the order in which its checks are shown.

use sessionwatch_core::{
    checks::CheckVerdict,
    plural::{format_count, format_number},
    severity::Severity,
};

use super::count_of;
use crate::check_run::{CheckReport, CheckResult};

/// How a result is shown, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ResultGroup {
    /// The check failed.
    Failing,
    /// The check could not be decided, and that counts.
    Unknown,
    /// The check failed, as in the baseline report.
    Accepted,
    /// The check failed, but it is only about the check run.
    Notice,
    /// The check cannot be decided here, which says nothing about the sessions.
    Skipped,
    /// The check passed.
    Passing,
}

impl ResultGroup {
    /// The word in the first column.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Unknown => "unknown",
            Self::Accepted => "accepted",
            Self::Notice => "notice",
            Self::Skipped => "skipped",
            Self::Passing => "passing",
        }
    }
}

impl CheckReport {
    /// Returns how a result of this report is shown.
    pub(super) fn group_of(&self, result: &CheckResult) -> ResultGroup {
        // A check about the run itself counts only where no other check was requested.
        let counts = !result.outcome.is_informational || self.is_only_informational();
        match (&result.outcome.verdict, counts) {
            (CheckVerdict::Passing, _) => ResultGroup::Passing,
            (CheckVerdict::Failing, true) if result.is_accepted => ResultGroup::Accepted,
            (CheckVerdict::Failing, true) => ResultGroup::Failing,
            (CheckVerdict::Failing, false) => ResultGroup::Notice,
            (CheckVerdict::Unknown(_), true) => ResultGroup::Unknown,
            (CheckVerdict::Unknown(_), false) => ResultGroup::Skipped,
        }
    }

    /// Returns the results of a group, the most severe first.
    pub(super) fn in_group(&self, group: ResultGroup) -> Vec<&CheckResult> {
        let mut results: Vec<_> =
            self.results.iter().filter(|result| self.group_of(result) == group).collect();
        results.sort_by_key(|result| std::cmp::Reverse(result.severity));
        results
    }

    /// Returns `true` if a check of at least this severity fails.
    #[must_use]
    pub fn fails_at(&self, least: Severity) -> bool {
        self.in_group(ResultGroup::Failing).iter().any(|result| result.severity >= least)
    }

    /// Returns `true` if a check that counts could not be decided, or none ran.
    #[must_use]
    pub fn has_unknown(&self) -> bool {
        self.results.is_empty() || !self.in_group(ResultGroup::Unknown).is_empty()
    }

    /// Returns the result of the whole report in one line: `failing: 2 of 9 checks on main (1 high, 1 low)`.
    #[must_use]
    pub fn headline(&self) -> String {
        let target = &self.target;
        let seen = match &self.observation {
            Ok(seen) => seen,
            Err(error) => return format!("unknown: {target}: {error}"),
        };
        let failing = self.in_group(ResultGroup::Failing);
        let unknown = count_of(self.in_group(ResultGroup::Unknown).len());
        let passing = count_of(self.in_group(ResultGroup::Passing).len());
        let accepted = count_of(self.in_group(ResultGroup::Accepted).len());
        let decided = count_of(failing.len()) + accepted + unknown + passing;
        let checks = format_count(decided, "check", "checks");
        let mut line = if !failing.is_empty() {
            let mut line =
                format!("failing: {} of {checks} on {target}", format_number(count_of(failing.len())));
            line.push_str(&format!(" ({})", count_severities(&failing)));
            if unknown > 0 {
                line.push_str(&format!(", {} unknown", format_number(unknown)));
            }
            line
        } else if self.has_unknown() {
            format!("unknown: {} of {checks} on {target}", format_number(unknown))
        } else {
            let passing =
                if accepted > 0 { format!("{} of ", format_number(passing)) } else { String::new() };
            format!("passing: {passing}{checks} on {target}")
        };
        if accepted > 0 {
            line.push_str(&format!(", {} accepted", format_number(accepted)));
        }
        let skipped = count_of(self.in_group(ResultGroup::Skipped).len());
        if skipped > 0 {
            line.push_str(&format!(", {} skipped", format_number(skipped)));
        }
        // An empty table passes, but a reader who expected sessions must see that at once.
        if seen.stats.sessions == 0 {
            line.push_str(" (the session table is empty)");
        }
        line
    }

    fn is_only_informational(&self) -> bool {
        self.results.iter().all(|result| result.outcome.is_informational)
    }
}

/// Counts results by severity, the most severe first: `1 high, 4 medium`.
fn count_severities(results: &[&CheckResult]) -> String {
    let count = |severity: &Severity| {
        let count = results.iter().filter(|result| result.severity == *severity).count();
        (count > 0).then(|| format!("{count} {}", severity.name()))
    };
    Severity::ALL.iter().rev().filter_map(count).collect::<Vec<_>>().join(", ")
}
