//! The list of checks: id, severity, action and documentation of each. How each decides is in `sessionwatch-core`.

mod pages;
mod query;

use std::collections::{BTreeMap, BTreeSet};

use sessionwatch_core::{
    alert::Policy,
    instant::HOUR,
    settings::Settings,
    severity::Severity,
    threshold::Threshold,
    verdict::{self, Facts, Finding},
};
use sessionwatch_logs::signal::Kind;

pub use self::{pages::page, query::query};
use crate::{schedule::Schedule, target::session::CustomValue};

/// What shows a reader that a finding is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
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

/// The instant of a session that a check goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoesBy {
    /// Neither.
    Neither,
    /// Its end.
    End,
    /// Its creation, where that is stored.
    Creation,
}

/// A check.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its id, which never changes.
    pub id: &'static str,
    /// Its severity, unless configured otherwise.
    pub severity: Severity,
    /// What to do when it fails.
    pub action: &'static str,
    /// What shows that it is true.
    pub proof: Proof,
    /// It compares two looks, so only the watch can make it.
    pub compares: bool,
    /// What it finds happens between two looks, and is not found again: one look is enough for an alert.
    pub momentary: bool,
    /// It counts by user, and can say nothing without one.
    pub about_users: bool,
    /// The instant that it goes by, if it goes by one.
    pub goes_by: GoesBy,
    /// How it decides.
    pub decide: fn(Facts<'_>) -> Finding,
}

/// Which checks run, with which thresholds and severities.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// Thresholds.
    pub settings: Settings,
    /// Ids of checks that do not run.
    pub disabled: BTreeSet<&'static str>,
    /// Severities other than the usual ones.
    pub severities: BTreeMap<&'static str, Severity>,
    /// How alerts behave, where it is not as usual, by severity.
    pub policies: BTreeMap<Severity, Policy>,
    /// Schedules of checks that have one of their own, by id.
    pub schedules: BTreeMap<String, Schedule>,
    /// The operator's own checks.
    pub custom: Vec<Custom>,
}

/// A check in the operator's own SQL.
#[derive(Clone, Debug, PartialEq)]
pub struct Custom {
    /// Its id.
    pub id: String,
    /// One `SELECT`.
    pub sql: String,
    /// The number that is judged.
    pub counted: CustomValue,
    /// What it fails at.
    pub threshold: Threshold,
    /// Rows at which counting stops.
    pub max_rows: u64,
    /// Its severity.
    pub severity: Severity,
    /// What to do when it fails; may be empty.
    pub action: String,
    /// Names of the targets that it looks at; empty for all.
    pub targets: Vec<String>,
}

impl Rules {
    /// Whether the check of that id runs.
    #[must_use]
    pub fn enabled(&self, id: &str) -> bool {
        !self.disabled.contains(id)
    }

    /// How alerts of that severity behave.
    #[must_use]
    pub fn policy(&self, severity: Severity) -> Policy {
        self.policies.get(&severity).copied().unwrap_or(Policy::of(severity))
    }

    /// The severity of a check of logs.
    #[must_use]
    pub fn log_severity(&self, check: &LogCheck) -> Severity {
        self.severities.get(check.id).copied().unwrap_or(check.severity)
    }

    /// The severity of a check.
    #[must_use]
    pub fn severity(&self, check: &Check) -> Severity {
        self.severities.get(check.id).copied().unwrap_or(check.severity)
    }

    /// The ids of all checks, those of the operator last.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        ALL.iter().map(|check| check.id).chain(self.custom.iter().map(|custom| custom.id.as_str()))
    }
}

/// Microseconds over which signals are counted, unless configured otherwise.
pub const WINDOW: i64 = HOUR;

/// What a check of logs looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finds {
    /// How many signals of a kind there are.
    Signals(Kind),
    /// How many signals say something else than the table.
    Contradictions,
    /// Whether a source that normally speaks is quiet.
    Silence,
    /// How many times lines of a source may be missing.
    Gaps,
}

/// At what a check of logs fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Signals that are tolerated.
    pub max: u64,
    /// Microseconds over which they are counted.
    pub window_us: i64,
}

/// A check of what logs say. Only the watch makes it.
#[derive(Clone, Copy, Debug)]
pub struct LogCheck {
    /// Its id, which never changes.
    pub id: &'static str,
    /// Its severity, unless configured otherwise.
    pub severity: Severity,
    /// What to do when it fails.
    pub action: &'static str,
    /// What it looks at.
    pub finds: Finds,
    /// At what it fails, unless configured otherwise.
    pub limit: Limit,
}

/// Every check of logs, in the order of output.
pub const LOG: [LogCheck; 7] = [
    LogCheck {
        id: "log-duplicate-token",
        severity: Severity::Critical,
        action: "end every session on these tokens, and open an incident: `sessionwatch incident open --severity P0`",
        finds: Finds::Signals(Kind::DuplicateToken),
        limit: Limit { max: 0, window_us: WINDOW },
    },
    LogCheck {
        id: "log-user-mismatch",
        severity: Severity::Critical,
        action: "somebody was answered as somebody else: end these sessions, and open an incident: `sessionwatch incident open --severity P0`",
        finds: Finds::Signals(Kind::UserMismatch),
        limit: Limit { max: 0, window_us: WINDOW },
    },
    LogCheck {
        id: "log-table-mismatch",
        severity: Severity::Critical,
        action: "log and table name different users for one token: end the session, and find out which of them is wrong",
        finds: Finds::Contradictions,
        limit: Limit { max: 0, window_us: WINDOW },
    },
    LogCheck {
        id: "token-in-log",
        severity: Severity::High,
        action: "whoever can read the log can take over these sessions: end them, stop logging tokens, and delete the lines",
        finds: Finds::Signals(Kind::TokenInLog),
        limit: Limit { max: 0, window_us: WINDOW },
    },
    LogCheck {
        id: "log-user-not-found",
        severity: Severity::Low,
        action: "look for users who were deleted while logged in: `sessionwatch cleanup orphaned` removes their sessions",
        finds: Finds::Signals(Kind::UserNotFound),
        limit: Limit { max: 10, window_us: WINDOW },
    },
    LogCheck {
        id: "log-silence",
        severity: Severity::Medium,
        action: "find out whether the application still logs, and whether what it logs still arrives",
        finds: Finds::Silence,
        limit: Limit { max: 0, window_us: WINDOW },
    },
    LogCheck {
        id: "log-source-gap",
        severity: Severity::High,
        action: "look for the missing lines with `sessionwatch logs scan FILE` in rotated files and backups, and find out what truncates or removes the log",
        finds: Finds::Gaps,
        limit: Limit { max: 0, window_us: WINDOW },
    },
];

/// The id of the alert that a target cannot be looked at.
pub const BLIND: &str = "blind";

/// The id of the alert that a channel takes no messages.
pub const UNDELIVERED: &str = "undelivered";

/// Every check, in the order of output.
pub const ALL: [Check; 12] = [
    Check {
        id: "duplicate-tokens",
        severity: Severity::Critical,
        action: "end every session on these tokens, then make the token column unique",
        proof: Proof::Duplicates,
        compares: false,
        momentary: false,
        about_users: false,
        goes_by: GoesBy::Neither,
        decide: verdict::duplicate_tokens,
    },
    Check {
        id: "token-rebound",
        severity: Severity::Critical,
        action: "end these sessions at once: somebody's log-in became somebody else's",
        proof: Proof::Rebound,
        compares: true,
        momentary: true,
        about_users: true,
        goes_by: GoesBy::Neither,
        decide: verdict::token_rebound,
    },
    Check {
        id: "revived-sessions",
        severity: Severity::High,
        action: "find out who restored these rows, and end the sessions: log-ins that were over work again",
        proof: Proof::Revived,
        compares: true,
        momentary: true,
        about_users: false,
        goes_by: GoesBy::Neither,
        decide: verdict::revived_sessions,
    },
    Check {
        id: "orphaned-sessions",
        severity: Severity::High,
        action: "delete these rows, then add a foreign key with ON DELETE CASCADE",
        proof: Proof::Orphans,
        compares: false,
        momentary: false,
        about_users: false,
        goes_by: GoesBy::Neither,
        decide: verdict::orphaned_sessions,
    },
    Check {
        id: "sessions-per-user",
        severity: Severity::High,
        action: "review how sessions are created and ended: sign-in should not add one each time",
        proof: Proof::ActiveHolders,
        compares: false,
        momentary: false,
        about_users: true,
        goes_by: GoesBy::End,
        decide: verdict::sessions_per_user,
    },
    Check {
        id: "user-session-excess",
        severity: Severity::Medium,
        action: "ask the user whether these are theirs; end all but the most recent ones",
        proof: Proof::ActiveHolders,
        compares: false,
        momentary: false,
        about_users: true,
        goes_by: GoesBy::End,
        decide: verdict::user_session_excess,
    },
    Check {
        id: "rapid-creation",
        severity: Severity::Medium,
        action: "look for a script or a stolen password; consider a limit on sign-ins",
        proof: Proof::Creators,
        compares: false,
        momentary: false,
        about_users: true,
        goes_by: GoesBy::Creation,
        decide: verdict::rapid_creation,
    },
    Check {
        id: "creation-rate",
        severity: Severity::Medium,
        action: "look at sign-ins and at what creates sessions; set the baseline to what is usual",
        proof: Proof::Value,
        compares: true,
        momentary: false,
        about_users: false,
        goes_by: GoesBy::Creation,
        decide: verdict::creation_rate,
    },
    Check {
        id: "expired-backlog",
        severity: Severity::Medium,
        action: "schedule a job that deletes expired rows; most libraries delete one only when it is presented again",
        proof: Proof::OldestExpired,
        compares: false,
        momentary: false,
        about_users: false,
        goes_by: GoesBy::End,
        decide: verdict::expired_backlog,
    },
    Check {
        id: "active-sessions",
        severity: Severity::Low,
        action: "compare with your usual number of users, and set the baseline to it",
        proof: Proof::Value,
        compares: false,
        momentary: false,
        about_users: false,
        goes_by: GoesBy::End,
        decide: verdict::active_sessions,
    },
    Check {
        id: "session-lifetime",
        severity: Severity::Medium,
        action: "find what writes these expiries, and end the sessions",
        proof: Proof::BeyondPolicy,
        compares: false,
        momentary: false,
        about_users: false,
        goes_by: GoesBy::End,
        decide: verdict::session_lifetime,
    },
    Check {
        id: "slow-observation",
        severity: Severity::Low,
        action: "look at the database's load, or use the pushdown engine",
        proof: Proof::Value,
        compares: false,
        momentary: false,
        about_users: false,
        goes_by: GoesBy::Neither,
        decide: verdict::slow_observation,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_a_page_of_the_fixed_shape() {
        let logs = LOG.iter().map(|check| (check.id, check.severity));
        for (id, severity) in ALL.iter().map(|check| (check.id, check.severity)).chain(logs) {
            let path = format!("{}/../../docs/checks/{id}.md", env!("CARGO_MANIFEST_DIR"));
            let page = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{path} is missing"));
            for part in [
                format!("# {id}\n"),
                "## What it finds".into(),
                "## Why it matters".into(),
                "## How to fix".into(),
                "## Example".into(),
            ] {
                assert!(page.contains(&part), "{path} lacks `{part}`");
            }
            assert!(page.contains(severity.name()), "{path} does not name its severity");
        }
    }
}
