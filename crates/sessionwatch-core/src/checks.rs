//! The checks on sessions: a file for each, with what is known about it, its thresholds, how it decides and its tests; and
//! the list of all. A new check is a file here, a line in [`TABLE_CHECKS`] and one in [`CheckThresholds`], and a page in `docs/checks/`.

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
mod samples;

pub use self::{
    baseline::Baseline,
    outcome::{CheckInput, CheckOutcome, CheckVerdict},
};

/// What shows a reader that a finding is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvidenceKind {
    /// Rows on tokens that occur more than once.
    Duplicates,
    /// Rows of tokens whose user changed.
    Reassigned,
    /// Rows of tokens that had ended.
    Reappeared,
    /// Rows without an existing user.
    Orphans,
    /// Users with the most active sessions.
    ActiveUsers,
    /// Users that created the most sessions.
    CreatingUsers,
    /// The oldest expired rows.
    OldestExpired,
    /// The rows that end latest.
    BeyondPolicy,
    /// The value says it all.
    Value,
}

/// The timestamp of a session that a check goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeBasis {
    /// Neither.
    Neither,
    /// Its end.
    Expiry,
    /// Its creation, where that is stored.
    Creation,
}

/// A check: what is known about it, what it needs, and how it decides.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its id, which never changes.
    pub id: &'static str,
    /// What it finds, in a few words.
    pub summary: &'static str,
    /// Its severity, unless configured otherwise.
    pub severity: Severity,
    /// What to do when it fails.
    pub action: &'static str,
    /// What shows that it is true.
    pub evidence: EvidenceKind,
    /// It compares two runs, so that only `serve` can make it.
    pub needs_previous_run: bool,
    /// What it finds happens between two runs, and is not found again: one run is enough for an alert.
    pub is_transient: bool,
    /// It counts by user, and can say nothing without one.
    pub is_per_user: bool,
    /// The timestamp that it goes by, if it goes by one.
    pub time_basis: TimeBasis,
    /// Its page of documentation, in Markdown.
    pub documentation: &'static str,
    /// How it decides.
    pub evaluate: fn(CheckInput<'_>) -> CheckOutcome,
}

/// Every check, in the order of output.
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

/// The id of the alert that a target cannot be reached.
pub const TARGET_UNREACHABLE: &str = "target-unreachable";

/// The id of the alert that a channel takes no messages.
pub const CHANNEL_FAILING: &str = "channel-failing";

/// The thresholds of every check that has some; the defaults are those of the operator's guide. In the configuration each is
/// a section by the id of its check.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct CheckThresholds {
    /// Those of `duplicate-tokens`.
    pub duplicate_tokens: duplicate_tokens::DuplicateTokensThresholds,
    /// Those of `reappeared-sessions`.
    pub reappeared_sessions: reappeared_sessions::ReappearedSessionsThresholds,
    /// Those of `orphaned-sessions`.
    pub orphaned_sessions: orphaned_sessions::OrphanedSessionsThresholds,
    /// Those of `sessions-per-user`.
    pub sessions_per_user: sessions_per_user::SessionsPerUserThresholds,
    /// Those of `user-session-excess`.
    pub user_session_excess: user_session_excess::UserSessionExcessThresholds,
    /// Those of `rapid-creation`.
    pub rapid_creation: rapid_creation::RapidCreationThresholds,
    /// Those of `creation-rate`: sessions created in an hour; the lower end is that of the busiest hour of a day.
    pub creation_rate: Baseline,
    /// Those of `expired-backlog`.
    pub expired_backlog: expired_backlog::ExpiredBacklogThresholds,
    /// Those of `active-sessions`.
    pub active_sessions: Baseline,
    /// Those of `session-lifetime`.
    pub session_lifetime: session_lifetime::SessionLifetimeThresholds,
    /// Those of `slow-check-run`.
    pub slow_check_run: slow_check_run::SlowCheckRunThresholds,
}

/// Finds a check by its id.
#[must_use]
pub fn find_check(id: &str) -> Option<&'static Check> {
    const TABLE_CHECK_LIST: &[Check] = &TABLE_CHECKS;
    TABLE_CHECK_LIST.iter().find(|check| check.id == id)
}

/// The page about a check, or about an alert of `serve` itself, in Markdown.
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
    fn every_check_that_compares_says_so_on_a_first_run() {
        let sample = samples::CheckSample::default();
        let first = CheckInput { comparison: crate::history::Comparison::FirstRun, ..sample.input() };
        for check in TABLE_CHECKS.into_iter().filter(|check| check.needs_previous_run) {
            assert_eq!(
                (check.evaluate)(first).verdict,
                CheckVerdict::Unknown("first look".into()),
                "{}",
                check.id
            );
        }
    }
}
