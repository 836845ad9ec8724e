//! The checks on the session table, one file each, and their list.
//!
//! A new check needs a file here, a line in [`TABLE_CHECKS`] and in [`CheckThresholds`], and a page in
//! `docs/checks/`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::severity::Severity;

pub mod active_sessions;
pub mod creation_rate;
pub mod custom;
pub mod duplicate_tokens;
pub mod expired_backlog;
pub mod orphaned_sessions;
pub mod rapid_creation;
pub mod reappeared_sessions;
pub mod session_lifetime;
pub mod sessions_per_user;
pub mod slow_check_run;
pub mod token_reassigned;
pub mod user_session_excess;

mod baseline;
mod outcome;
#[cfg(test)]
mod test_input;

pub use self::{
    baseline::Baseline,
    outcome::{CheckInput, CheckOutcome, CheckVerdict},
};

/// Kind of evidence shown with a failing check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvidenceKind {
    /// Rows whose token appears more than once.
    Duplicates,
    /// Rows of tokens whose user changed.
    Reassigned,
    /// Rows of ended tokens that reappeared.
    Reappeared,
    /// Rows without an existing user.
    Orphans,
    /// Users with the most active sessions.
    ActiveUsers,
    /// Users who created the most sessions.
    CreatingUsers,
    /// The oldest expired rows.
    OldestExpired,
    /// The rows with the latest expiry.
    BeyondPolicy,
    /// No rows; the value is the evidence.
    Value,
}

/// Session timestamp that a check depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeBasis {
    /// No timestamp.
    Neither,
    /// The expiry.
    Expiry,
    /// The creation time, where stored.
    Creation,
}

/// A check: its metadata, the data it needs, and the function that evaluates it.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Stable id in kebab case.
    pub id: &'static str,
    /// Title for people: the problem as a noun phrase.
    pub title: &'static str,
    /// One sentence that says what the problem means for users or operators.
    pub impact: &'static str,
    /// Short description of the problem it finds.
    pub summary: &'static str,
    /// Default severity.
    pub severity: Severity,
    /// Recommended action if the check fails.
    pub action: &'static str,
    /// Evidence shown if the check fails.
    pub evidence: EvidenceKind,
    /// The check compares two runs, so only `serve` can evaluate it.
    pub needs_previous_run: bool,
    /// The problem shows in a single run only, so one failing run is enough for an alert.
    pub is_transient: bool,
    /// The check counts per user and needs a user column.
    pub is_per_user: bool,
    /// Timestamp that the check depends on.
    pub time_basis: TimeBasis,
    /// Documentation page in Markdown.
    pub documentation: &'static str,
    /// Evaluates the check.
    pub evaluate: fn(CheckInput<'_>) -> CheckOutcome,
}

/// Every check, in output order.
pub const TABLE_CHECKS: [Check; 12] = [
    duplicate_tokens::DUPLICATE_TOKENS_CHECK,
    token_reassigned::TOKEN_REASSIGNED_CHECK,
    reappeared_sessions::REAPPEARED_SESSIONS_CHECK,
    orphaned_sessions::ORPHANED_SESSIONS_CHECK,
    sessions_per_user::SESSIONS_PER_USER_CHECK,
    user_session_excess::USER_SESSION_EXCESS_CHECK,
    rapid_creation::RAPID_CREATION_CHECK,
    creation_rate::CREATION_RATE_CHECK,
    expired_backlog::EXPIRED_BACKLOG_CHECK,
    active_sessions::ACTIVE_SESSIONS_CHECK,
    session_lifetime::SESSION_LIFETIME_CHECK,
    slow_check_run::SLOW_CHECK_RUN_CHECK,
];

/// Id of the alert for an unreachable target.
pub const TARGET_UNREACHABLE: &str = "target-unreachable";

/// Id of the alert for a channel that accepts no messages.
pub const CHANNEL_FAILING: &str = "channel-failing";

/// Thresholds of every check that has any. The defaults follow the operator guide. In the configuration, each check
/// has a section named by its id.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct CheckThresholds {
    /// Thresholds of `duplicate-tokens`.
    pub duplicate_tokens: duplicate_tokens::DuplicateTokensThresholds,
    /// Thresholds of `reappeared-sessions`.
    pub reappeared_sessions: reappeared_sessions::ReappearedSessionsThresholds,
    /// Thresholds of `orphaned-sessions`.
    pub orphaned_sessions: orphaned_sessions::OrphanedSessionsThresholds,
    /// Thresholds of `sessions-per-user`.
    pub sessions_per_user: sessions_per_user::SessionsPerUserThresholds,
    /// Thresholds of `user-session-excess`.
    pub user_session_excess: user_session_excess::UserSessionExcessThresholds,
    /// Thresholds of `rapid-creation`.
    pub rapid_creation: rapid_creation::RapidCreationThresholds,
    /// Baseline of `creation-rate`: sessions created per hour. The minimum applies to the busiest hour of a day.
    pub creation_rate: Baseline,
    /// Thresholds of `expired-backlog`.
    pub expired_backlog: expired_backlog::ExpiredBacklogThresholds,
    /// Baseline of `active-sessions`.
    pub active_sessions: Baseline,
    /// Thresholds of `session-lifetime`.
    pub session_lifetime: session_lifetime::SessionLifetimeThresholds,
    /// Thresholds of `slow-check-run`.
    pub slow_check_run: slow_check_run::SlowCheckRunThresholds,
}

/// Returns the check with this id.
#[must_use]
pub fn find_check(id: &str) -> Option<&'static Check> {
    const TABLE_CHECK_LIST: &[Check] = &TABLE_CHECKS;
    TABLE_CHECK_LIST.iter().find(|check| check.id == id)
}

/// Returns the Markdown page about a check or about a built-in alert of `serve`.
#[must_use]
pub fn find_documentation(id: &str) -> Option<&'static str> {
    match id {
        TARGET_UNREACHABLE => Some(include_str!("../../../docs/checks/target-unreachable.md")),
        CHANNEL_FAILING => Some(include_str!("../../../docs/checks/channel-failing.md")),
        "custom" => Some(custom::CUSTOM_CHECK_PAGE),
        _ => find_check(id).map(|check| check.documentation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_a_page_that_names_it_and_its_severity() {
        for check in TABLE_CHECKS {
            let page = find_documentation(check.id).unwrap();
            assert!(page.starts_with(&format!("# {}\n", check.id)), "{}", check.id);
            for part in ["## What it finds", "## Why it matters", "## How to fix", "## Example"] {
                assert!(page.contains(part), "{} lacks `{part}`", check.id);
            }
            assert!(page.contains(check.severity.name()), "{} does not name its severity", check.id);
        }
        assert!(find_documentation(TARGET_UNREACHABLE).is_some());
        assert!(find_documentation(CHANNEL_FAILING).is_some());
        assert_eq!(find_documentation("mine"), None);
    }

    #[test]
    fn checks_that_compare_runs_are_unknown_on_the_first_one() {
        let mut sample = test_input::CheckSample::default();
        // Without a baseline, the check is skipped in any run.
        sample.thresholds.creation_rate.max = Some(50);
        let first = CheckInput { comparison: crate::session_history::Comparison::FirstRun, ..sample.input() };
        for check in TABLE_CHECKS.into_iter().filter(|check| check.needs_previous_run) {
            assert_eq!(
                (check.evaluate)(first).verdict,
                CheckVerdict::Unknown("first check run".into()),
                "{}",
                check.id
            );
        }
    }
}
