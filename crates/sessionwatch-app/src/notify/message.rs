//! Notification messages, as they are stored and as webhooks send them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sessionwatch_core::timestamp::UtcTimestamp;

/// A notification about one alert, as stored in the outbox and sent by webhooks. Its JSON is a contract:
/// `docs/notifications.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NotificationMessage {
    /// The version of the JSON.
    pub schema: u32,
    /// Idempotency key, the same for every attempt.
    pub key: String,
    /// `firing`, `reminder`, `resolved`, `test` or `report`.
    pub notice: String,
    /// The target's name.
    pub target: String,
    /// The check's id.
    pub check: String,
    /// The check's severity.
    pub severity: String,
    /// The finding in one sentence; the title of a report.
    pub summary: String,
    /// RFC 3339 time at which the alert started firing; `None` unless it is firing.
    pub since: Option<String>,
    /// RFC 3339 time of the check run.
    pub at: String,
    /// Value, threshold, action and evidence.
    pub finding: Option<Value>,
    /// `true` if an earlier attempt may have arrived.
    #[serde(default)]
    pub possible_duplicate: bool,
    /// The text of a report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl NotificationMessage {
    /// Returns the notice as people read it: `Failing`, `Still failing`, `Resolved`, `Test` or `Report`.
    #[must_use]
    pub fn status_word(&self) -> &'static str {
        match self.notice.as_str() {
            // The notice is matched as text, as a stored message may come from another version.
            "resolved" => "Resolved",
            "reminder" => "Still failing",
            "test" => "Test",
            "report" => "Report",
            _ => "Failing",
        }
    }

    /// Returns `true` for a message that reports no problem.
    pub(super) fn is_benign(&self) -> bool {
        ["resolved", "test", "report"].contains(&self.notice.as_str())
    }

    pub(super) fn recommended_action(&self) -> Option<&str> {
        let action = self.finding.as_ref().and_then(|finding| finding["action"].as_str());
        action.filter(|action| !action.is_empty())
    }
}

/// Returns the message that `sessionwatch notifications test` sends.
pub(super) fn test_message(now: UtcTimestamp) -> NotificationMessage {
    NotificationMessage {
        schema: 2,
        // Unique, or a channel that deduplicates would swallow the second test.
        key: format!("test/{}", now.micros()),
        notice: "test".into(),
        target: "test".into(),
        check: "test".into(),
        severity: "low".into(),
        summary: "This is a test message from sessionwatch. No action is needed.".into(),
        since: None,
        at: sessionwatch_clock::format_rfc3339(now),
        finding: None,
        possible_duplicate: false,
        text: None,
    }
}
