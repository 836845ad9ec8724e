//! Checks of what logs say: the list, with what each finds and at what it fails.

use jiff::SignedDuration;
use sessionwatch_core::severity::Severity;

use crate::log_event::LogEventKind;

/// At what a check of logs fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogCheckLimit {
    /// Signals that are tolerated.
    pub max: u64,
    /// Over how long they are counted.
    pub window: SignedDuration,
}

impl LogCheckLimit {
    /// So many signals in an hour are tolerated.
    #[must_use]
    pub const fn per_hour(max: u64) -> Self {
        Self { max, window: SignedDuration::from_hours(1) }
    }
}

/// What a check of logs looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogCheckKind {
    /// How many signals of a kind there are.
    Events(LogEventKind),
    /// How many signals say something else than the table.
    UserConflicts,
    /// Whether a source that normally speaks is quiet.
    IdleSource,
    /// How many times lines of a source may be missing.
    SourceGaps,
}

/// A check of what logs say. Only the watch makes it.
#[derive(Clone, Copy, Debug)]
pub struct LogCheck {
    /// Its id, which never changes.
    pub id: &'static str,
    /// What it finds, in a few words.
    pub summary: &'static str,
    /// Its severity, unless configured otherwise.
    pub severity: Severity,
    /// What to do when it fails.
    pub action: &'static str,
    /// What it looks at.
    pub kind: LogCheckKind,
    /// At what it fails, unless configured otherwise.
    pub limit: LogCheckLimit,
    /// Its page of documentation, in Markdown.
    pub documentation: &'static str,
}

/// Every check of logs, in the order of output.
pub const LOG_CHECKS: [LogCheck; 7] = [
    LogCheck {
        id: "log-duplicate-token",
        summary: "Log lines that tell of a token given twice",
        severity: Severity::Critical,
        action: "end every session on these tokens, and open an incident: `sessionwatch incident open --severity P0`",
        kind: LogCheckKind::Events(LogEventKind::DuplicateToken),
        limit: LogCheckLimit::per_hour(0),
        documentation: include_str!("../../../docs/checks/log-duplicate-token.md"),
    },
    LogCheck {
        id: "log-user-mismatch",
        summary: "Log lines that tell of a session answered with another user than its own",
        severity: Severity::Critical,
        action: "somebody was answered as somebody else: end these sessions, and open an incident: `sessionwatch incident open --severity P0`",
        kind: LogCheckKind::Events(LogEventKind::UserMismatch),
        limit: LogCheckLimit::per_hour(0),
        documentation: include_str!("../../../docs/checks/log-user-mismatch.md"),
    },
    LogCheck {
        id: "log-user-conflict",
        summary: "Log lines that name another user for a token than the table does",
        severity: Severity::Critical,
        action: "log and table name different users for one token: end the session, and find out which of them is wrong",
        kind: LogCheckKind::UserConflicts,
        limit: LogCheckLimit::per_hour(0),
        documentation: include_str!("../../../docs/checks/log-user-conflict.md"),
    },
    LogCheck {
        id: "token-in-log",
        summary: "Whole tokens in log lines",
        severity: Severity::High,
        action: "whoever can read the log can take over these sessions: end them, stop logging tokens, and delete the lines",
        kind: LogCheckKind::Events(LogEventKind::TokenInLog),
        limit: LogCheckLimit::per_hour(0),
        documentation: include_str!("../../../docs/checks/token-in-log.md"),
    },
    LogCheck {
        id: "log-user-not-found",
        summary: "Log lines that tell of a session whose user does not exist",
        severity: Severity::Low,
        action: "look for users who were deleted while logged in: `sessionwatch cleanup orphaned` removes their sessions",
        kind: LogCheckKind::Events(LogEventKind::UserNotFound),
        limit: LogCheckLimit::per_hour(10),
        documentation: include_str!("../../../docs/checks/log-user-not-found.md"),
    },
    LogCheck {
        id: "log-source-idle",
        summary: "Log sources that normally speak and have gone quiet; how quiet is said of each source",
        severity: Severity::Medium,
        action: "find out whether the application still logs, and whether what it logs still arrives",
        kind: LogCheckKind::IdleSource,
        limit: LogCheckLimit::per_hour(0),
        documentation: include_str!("../../../docs/checks/log-source-idle.md"),
    },
    LogCheck {
        id: "log-source-gap",
        summary: "Places of a log where lines may be missing, because they could not be read",
        severity: Severity::High,
        action: "look for the missing lines with `sessionwatch logs scan FILE` in rotated files and backups, and find out what truncates or removes the log",
        kind: LogCheckKind::SourceGaps,
        limit: LogCheckLimit::per_hour(0),
        documentation: include_str!("../../../docs/checks/log-source-gap.md"),
    },
];

/// The page about a check of logs, in Markdown.
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
