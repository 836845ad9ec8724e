//! What a message to people says about an alert beside its title: impact, affected users, fix and start.

use serde_json::Value;
use sessionwatch_core::text::capitalize_first;
use sessionwatch_targets::evidence::MAX_EVIDENCE_ROWS;

use super::{NotificationMessage, text_limits::truncate_utf16};
use crate::{check_fixes::fix_commands, checks::describe_check, sanitize::sanitize_text};

/// The number of affected users that a message names.
const MAX_NAMED_USERS: usize = 5;
/// The maximum length of a user's name, in UTF-16 units.
const MAX_USER_NAME_LEN: usize = 60;
/// The maximum length of any other part, in UTF-16 units.
const MAX_PART_LEN: usize = 400;

/// Details of a firing alert, sanitized and of bounded length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertDetails {
    /// The title of the check, in plain words.
    pub title: String,
    /// The finding in one sentence.
    pub summary: String,
    /// Why it matters; empty for a custom check.
    pub impact: String,
    /// The first affected users, and how many more there are; `None` if the finding is about nobody.
    pub affected: Option<String>,
    /// What to do.
    pub action: Option<String>,
    /// The first command that fixes it.
    pub command: Option<String>,
    /// The start of the problem.
    pub since: Option<String>,
}

impl AlertDetails {
    /// Returns the details of a message; `None` unless it is about an alert that fires.
    pub(super) fn from_message(message: &NotificationMessage) -> Option<Self> {
        if message.is_benign() {
            return None;
        }
        let part = |text: &str| sanitize_text(&truncate_utf16(text, MAX_PART_LEN));
        let description = describe_check(&message.check);
        let evidence = message.finding.as_ref().and_then(|finding| finding["evidence"].as_array());
        // The command of a check that is about a channel names no target.
        let command = fix_commands(&message.check, &message.target, None).into_iter().next();
        Some(Self {
            title: part(&description.title),
            summary: part(&capitalize_first(&message.summary)),
            impact: description.impact.to_owned(),
            affected: evidence.and_then(|evidence| describe_users(evidence)),
            action: message.recommended_action().map(|action| part(&capitalize_first(action))),
            // A command that was cut could do something else.
            command: command.filter(|command| command.len() <= MAX_PART_LEN).map(|command| part(&command)),
            since: message.since.as_deref().map(format_start),
        })
    }

    /// Returns the details as lines of plain text.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.summary.clone()];
        lines.extend(Some(self.impact.clone()).filter(|impact| !impact.is_empty()));
        lines.extend(self.affected.as_ref().map(|affected| format!("Affected: {affected}")));
        lines.extend(self.action.as_ref().map(|action| format!("→ {action}")));
        lines.extend(self.command.as_ref().map(|command| format!("Fix: {command}")));
        lines.extend(self.since.as_ref().map(|since| format!("Since {since}")));
        lines
    }
}

fn format_start(since: &str) -> String {
    let at = sessionwatch_clock::parse_rfc3339(since);
    at.map_or_else(
        || sanitize_text(&truncate_utf16(since, MAX_USER_NAME_LEN)),
        sessionwatch_clock::format_utc,
    )
}

/// Names the first affected users: by their first display column, else by their ID. Never by a token prefix.
fn describe_users(evidence: &[Value]) -> Option<String> {
    let mut seen: Vec<(&str, &str)> = vec![];
    for row in evidence {
        let Some(user) = row["user"].as_str() else { continue };
        let name = row["display"][0].as_str().filter(|name| !name.trim().is_empty());
        if seen.iter().all(|(known, _)| *known != user) {
            seen.push((user, name.unwrap_or(user)));
        }
    }
    let named = seen.iter().take(MAX_NAMED_USERS);
    let named: Vec<String> =
        named.map(|(_, name)| sanitize_text(&truncate_utf16(name, MAX_USER_NAME_LEN))).collect();
    if named.is_empty() {
        return None;
    }
    let more = match seen.len().saturating_sub(MAX_NAMED_USERS) {
        // The evidence itself is cut there.
        _ if evidence.len() >= MAX_EVIDENCE_ROWS => " and more".to_owned(),
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(named.join(", ") + &more)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::notify::tests::message;

    #[test]
    fn at_most_five_users_are_named_once_each_and_by_no_token() {
        let prefix = "abcdef12";
        let row = |user: &str, display: &[&str]| json!({ "user": user, "display": display, "token_prefix": prefix });
        let evidence: Vec<Value> = (0..7).map(|number| row(&format!("u{number}"), &[])).collect();
        assert_eq!(describe_users(&evidence).unwrap(), "u0, u1, u2, u3, u4 and 2 more");
        let named =
            [row("u1", &["Ada Abara", "ada@example.com"]), row("u1", &["Ada Abara"]), row("u2", &[" "])];
        assert_eq!(describe_users(&named).unwrap(), "Ada Abara, u2");
        assert_eq!(describe_users(&[json!({ "token_prefix": "abcdef12" })]), None);
        let many: Vec<Value> = (0..MAX_EVIDENCE_ROWS).map(|number| row(&format!("u{number}"), &[])).collect();
        assert!(describe_users(&many).unwrap().ends_with("u4 and more"));
    }

    #[test]
    fn only_a_firing_alert_has_details() {
        let details = AlertDetails::from_message(&message("shop")).unwrap();
        assert_eq!(details.command.as_deref(), Some("sessionwatch cleanup duplicates shop"));
        assert_eq!(details.lines().first().map(String::as_str), Some("2 tokens & <more>"));
        assert!(!details.impact.is_empty() && details.title != "duplicate-tokens");
        let over = NotificationMessage { notice: "resolved".into(), ..message("shop") };
        assert_eq!(AlertDetails::from_message(&over), None);
    }
}
