//! The checks on sessions: a file for each, with what is known about it, its thresholds, how it decides and its tests; and
//! the list of all. A new check is a file here, a line in [`TABLE_CHECKS`] and one in [`Thresholds`], and a page in `docs/checks/`.

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
pub mod revived_sessions;
pub mod session_lifetime;
pub mod sessions_per_user;
pub mod slow_observation;
pub mod token_rebound;
pub mod user_session_excess;

mod baseline;
mod outcome;
#[cfg(test)]
mod samples;

pub use self::{
    baseline::Baseline,
    outcome::{CheckInput, CheckOutcome, Verdict},
};

/// What shows a reader that a finding is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvidenceKind {
    /// Rows on tokens that occur more than once.
    Duplicates,
    /// Rows of tokens whose user changed.
    Rebound,
    /// Rows of tokens that had ended.
    Revived,
    /// Rows without an existing user.
    Orphans,
    /// Users with the most active sessions.
    ActiveHolders,
    /// Users that created the most sessions.
    Creators,
    /// The oldest expired rows.
    OldestExpired,
    /// The rows that end latest.
    BeyondPolicy,
    /// The value says it all.
    Value,
}

/// The timestamp of a session that a check goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoesBy {
    /// Neither.
    Neither,
    /// Its end.
    End,
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
    pub compares: bool,
    /// What it finds happens between two runs, and is not found again: one run is enough for an alert.
    pub momentary: bool,
    /// It counts by user, and can say nothing without one.
    pub about_users: bool,
    /// The timestamp that it goes by, if it goes by one.
    pub goes_by: GoesBy,
    /// Its page of documentation, in Markdown.
    pub documentation: &'static str,
    /// How it decides.
    pub decide: fn(CheckInput<'_>) -> CheckOutcome,
}

/// Every check, in the order of output.
pub const TABLE_CHECKS: [Check; 12] = [
    duplicate_tokens::CHECK,
    token_rebound::CHECK,
    revived_sessions::CHECK,
    orphaned_sessions::CHECK,
    sessions_per_user::CHECK,
    user_session_excess::CHECK,
    rapid_creation::CHECK,
    creation_rate::CHECK,
    expired_backlog::CHECK,
    active_sessions::CHECK,
    session_lifetime::CHECK,
    slow_observation::CHECK,
];

/// The id of the alert that a target cannot be reached.
pub const TARGET_UNREACHABLE: &str = "blind";

/// The id of the alert that a channel takes no messages.
pub const CHANNEL_FAILING: &str = "undelivered";

/// The thresholds of every check that has some; the defaults are those of the operator's guide. In the configuration each is
/// a section by the id of its check.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct Thresholds {
    /// Those of `duplicate-tokens`.
    pub duplicate_tokens: duplicate_tokens::Thresholds,
    /// Those of `revived-sessions`.
    pub revived_sessions: revived_sessions::Thresholds,
    /// Those of `orphaned-sessions`.
    pub orphaned_sessions: orphaned_sessions::Thresholds,
    /// Those of `sessions-per-user`.
    pub sessions_per_user: sessions_per_user::Thresholds,
    /// Those of `user-session-excess`.
    pub user_session_excess: user_session_excess::Thresholds,
    /// Those of `rapid-creation`.
    pub rapid_creation: rapid_creation::Thresholds,
    /// Those of `creation-rate`: sessions created in an hour; the lower end is that of the busiest hour of a day.
    pub creation_rate: Baseline,
    /// Those of `expired-backlog`.
    pub expired_backlog: expired_backlog::Thresholds,
    /// Those of `active-sessions`.
    pub active_sessions: Baseline,
    /// Those of `session-lifetime`.
    pub session_lifetime: session_lifetime::Thresholds,
    /// Those of `slow-observation`.
    pub slow_observation: slow_observation::Thresholds,
}

/// Finds a check by its id.
#[must_use]
pub fn find(id: &str) -> Option<&'static Check> {
    const LIST: &[Check] = &TABLE_CHECKS;
    LIST.iter().find(|check| check.id == id)
}

/// The page about a check, or about an alert of `serve` itself, in Markdown.
#[must_use]
pub fn documentation(id: &str) -> Option<&'static str> {
    match id {
        TARGET_UNREACHABLE => Some(include_str!("../../../docs/checks/blind.md")),
        CHANNEL_FAILING => Some(include_str!("../../../docs/checks/undelivered.md")),
        "custom" => Some(custom::DOCUMENTATION),
        _ => find(id).map(|check| check.documentation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_a_page_that_names_it_and_its_severity() {
        for check in TABLE_CHECKS {
            let page = documentation(check.id).unwrap();
            assert!(page.starts_with(&format!("# {}\n", check.id)), "{}", check.id);
            for part in ["## What it finds", "## Why it matters", "## How to fix", "## Example"] {
                assert!(page.contains(part), "{} lacks `{part}`", check.id);
            }
            assert!(page.contains(check.severity.name()), "{} does not name its severity", check.id);
        }
        assert!(documentation(TARGET_UNREACHABLE).is_some());
        assert!(documentation(CHANNEL_FAILING).is_some());
        assert_eq!(documentation("mine"), None);
    }

    #[test]
    fn every_check_that_compares_says_so_on_a_first_run() {
        let sample = samples::Sample::default();
        let first = CheckInput { compared: crate::history::Comparison::First, ..sample.input() };
        for check in TABLE_CHECKS.into_iter().filter(|check| check.compares) {
            assert_eq!((check.decide)(first).verdict, Verdict::Unknown("first look".into()), "{}", check.id);
        }
    }
}
