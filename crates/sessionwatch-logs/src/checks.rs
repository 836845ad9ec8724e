//! The log checks and their default limits.

use jiff::SignedDuration;
use sessionwatch_core::severity::Severity;

use crate::log_event::LogEventKind;

/// Limit above which a log check fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogCheckLimit {
    /// Maximum number of log events.
    pub max: u64,
    /// Period over which they are counted.
    pub window: SignedDuration,
}

impl LogCheckLimit {
    /// Creates a limit of log events per hour.
    #[must_use]
    pub const fn per_hour(max: u64) -> Self {
        Self { max, window: SignedDuration::from_hours(1) }
    }
}

/// Subject of a log check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogCheckKind {
    /// Number of log events of a kind.
    Events(LogEventKind),
    /// Number of log events that contradict the table.
    UserConflicts,
    /// A log source is idle at a time when it usually logs.
    IdleSource,
    /// Number of gaps in a log source.
    SourceGaps,
}

/// Check of log events, evaluated only by the daemon.
#[derive(Clone, Copy, Debug)]
pub struct LogCheck {
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
    /// Subject.
    pub kind: LogCheckKind,
    /// Default limit.
    pub limit: LogCheckLimit,
    /// Documentation page in Markdown.
    pub documentation: &'static str,
}

/// Every log check, in output order.
pub const LOG_CHECKS: [LogCheck; 7] = [
    LogCheck {
        id: "log-duplicate-token",
        title: "Duplicate tokens reported by the application",
        impact: "Users may have been logged in as somebody else.",
        summary: "Log lines that report a duplicate session token",
        severity: Severity::Critical,
        action: "revoke every session with these tokens, and open an incident: `sessionwatch incident \
                 open --severity P0`",
        kind: LogCheckKind::Events(LogEventKind::DuplicateToken),
        limit: LogCheckLimit::per_hour(0),
        documentation: include_str!("../../../docs/checks/log-duplicate-token.md"),
    },
    LogCheck {
        id: "log-user-mismatch",
        title: "Users mixed up by the application",
        impact: "One user was shown the data of another.",
        summary: "Log lines that report a session returned with another user's data",
        severity: Severity::Critical,
        action: "one user was served as another: revoke these sessions, and open an incident: `sessionwatch \
                 incident open --severity P0`",
        kind: LogCheckKind::Events(LogEventKind::UserMismatch),
        limit: LogCheckLimit::per_hour(0),
        documentation: include_str!("../../../docs/checks/log-user-mismatch.md"),
    },
    LogCheck {
        id: "log-user-conflict",
        title: "Users who differ between log and table",
        impact: "One of them names the wrong user for a session.",
        summary: "Log lines and table rows that name different users for the same token",
        severity: Severity::Critical,
        action: "revoke the session, and find out whether the log or the table names the wrong user",
        kind: LogCheckKind::UserConflicts,
        limit: LogCheckLimit::per_hour(0),
        documentation: include_str!("../../../docs/checks/log-user-conflict.md"),
    },
    LogCheck {
        id: "token-in-log",
        title: "Session tokens in the log",
        impact: "Anyone who can read the log can take over these sessions.",
        summary: "Full session tokens in log lines",
        severity: Severity::High,
        action: "anyone who can read the log can take over these sessions: revoke them, stop logging tokens, \
                 and delete the lines",
        kind: LogCheckKind::Events(LogEventKind::TokenInLog),
        limit: LogCheckLimit::per_hour(0),
        documentation: include_str!("../../../docs/checks/token-in-log.md"),
    },
    LogCheck {
        id: "log-user-not-found",
        title: "Active sessions of unknown users",
        impact: "Deleted users still send requests with their old sessions.",
        summary: "Log lines that report a session whose user does not exist",
        severity: Severity::Low,
        action: "check for users deleted while logged in; `sessionwatch cleanup orphaned` removes their sessions",
        kind: LogCheckKind::Events(LogEventKind::UserNotFound),
        limit: LogCheckLimit::per_hour(10),
        documentation: include_str!("../../../docs/checks/log-user-not-found.md"),
    },
    LogCheck {
        id: "log-source-idle",
        title: "Idle log source",
        impact: "Problems that appear only in the log go undetected.",
        summary: "Log sources that are idle at a time when they usually log; the idle time is set per source",
        severity: Severity::Medium,
        action: "check that the application still logs, and that its log lines still arrive",
        kind: LogCheckKind::IdleSource,
        limit: LogCheckLimit::per_hour(0),
        documentation: include_str!("../../../docs/checks/log-source-idle.md"),
    },
    LogCheck {
        id: "log-source-gap",
        title: "Possibly missing log lines",
        impact: "Problems in the missing lines were not seen.",
        summary: "Places in a log where lines may be missing because they could not be read",
        severity: Severity::High,
        action: "search rotated files and backups for the missing lines with `sessionwatch logs scan FILE`, \
                 and find out what truncates or removes the log",
        kind: LogCheckKind::SourceGaps,
        limit: LogCheckLimit::per_hour(0),
        documentation: include_str!("../../../docs/checks/log-source-gap.md"),
    },
];

/// Returns the Markdown page about a log check.
#[must_use]
pub fn find_documentation(id: &str) -> Option<&'static str> {
    LOG_CHECKS.iter().find(|check| check.id == id).map(|check| check.documentation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_a_page_that_names_it_and_its_severity() {
        for check in LOG_CHECKS {
            let page = find_documentation(check.id).unwrap();
            assert!(page.starts_with(&format!("# {}\n", check.id)), "{}", check.id);
            for part in ["## What it finds", "## Why it matters", "## How to fix", "## Example"] {
                assert!(page.contains(part), "{} lacks `{part}`", check.id);
            }
            assert!(page.contains(check.severity.name()), "{} does not name its severity", check.id);
        }
        assert_eq!(find_documentation("mine"), None);
    }
}
