//! What is told, and how it reads to people.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sessionwatch_core::timestamp::UtcTimestamp;

use super::limits::truncate_utf16;
use crate::sanitize::sanitize_text;

/// Alerts that are named in one message; of more it says how many.
const MAX_NAMED_ALERTS: usize = 20;

/// The longest title, and of many alerts the longest line and name of a target.
const MAX_TITLE_LEN: usize = 250;

const MAX_LINE_LEN: usize = 200;

const MAX_TARGET_NAME_LEN: usize = 80;

/// The longest line of an alert that is told by itself.
pub(super) const MAX_SUMMARY_LEN: usize = 2_000;

/// What is told of one alert, as it lies in the outbox and as a webhook sends it. The shape is a contract: `docs/channels.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NotificationMessage {
    /// The version of the shape.
    pub schema: u32,
    /// The same for every attempt.
    pub key: String,
    /// `firing`, `reminder`, `resolved`, `test` or `report`.
    pub notice: String,
    /// The target's name.
    pub target: String,
    /// The check's id.
    pub check: String,
    /// The check's severity.
    pub severity: String,
    /// What is wrong, in one sentence; of a report, its title.
    pub summary: String,
    /// When it began to fire.
    pub since: Option<String>,
    /// When the look was taken that is told of.
    pub at: String,
    /// Value, threshold, action and evidence.
    pub finding: Option<Value>,
    /// It may have arrived already.
    #[serde(default)]
    pub possible_duplicate: bool,
    /// The text of a report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Messages that are told together: of one check and notice, and at least one.
#[derive(Clone, Debug)]
pub struct NotificationBatch<'a> {
    /// The first of them.
    pub first: &'a NotificationMessage,
    /// All of them.
    pub messages: &'a [NotificationMessage],
    /// The text for people; the usual one, or by the channel's template.
    pub text: String,
}

impl NotificationMessage {
    /// What happened, in a word or two.
    #[must_use]
    pub fn status_word(&self) -> &'static str {
        match self.notice.as_str() {
            "resolved" => "Resolved",
            "reminder" => "Still failing",
            "test" => "Test",
            "report" => "Report",
            _ => "Failing",
        }
    }

    /// Whether it is over, or was never bad.
    pub(super) fn is_benign(&self) -> bool {
        ["resolved", "test", "report"].contains(&self.notice.as_str())
    }

    pub(super) fn recommended_action(&self) -> Option<&str> {
        let action = self.finding.as_ref().and_then(|finding| finding["action"].as_str());
        action.filter(|action| !action.is_empty())
    }
}

impl NotificationBatch<'_> {
    /// One line that says it.
    #[must_use]
    pub fn title(&self) -> String {
        let NotificationMessage { notice, check, severity, target, summary, .. } = self.first;
        if notice == "report" {
            return truncate_utf16(&sanitize_text(summary), MAX_TITLE_LEN);
        }
        let word = self.first.status_word();
        match self.messages.len() {
            1 => truncate_utf16(
                &sanitize_text(&format!("{word}: {check} ({severity}) on {target}")),
                MAX_TITLE_LEN,
            ),
            count => truncate_utf16(
                &sanitize_text(&format!("{word}: {check} ({severity}) on {count} targets")),
                MAX_TITLE_LEN,
            ),
        }
    }

    /// The usual text: what is wrong, for whom, since when, what to do.
    pub(super) fn default_text(messages: &[NotificationMessage]) -> String {
        let mut lines = Vec::new();
        let several = messages.len() > 1;
        let longest = if several { MAX_LINE_LEN } else { MAX_SUMMARY_LEN };
        for message in messages.iter().take(MAX_NAMED_ALERTS) {
            let of = if several {
                format!("{}: ", truncate_utf16(&message.target, MAX_TARGET_NAME_LEN))
            } else {
                String::new()
            };
            lines.push(match &message.text {
                Some(report) => format!("{}{report}", sanitize_text(&of)),
                None => sanitize_text(&format!("{of}{}", truncate_utf16(&message.summary, longest))),
            });
        }
        if messages.len() > MAX_NAMED_ALERTS {
            lines.push(format!("… and {} more", messages.len() - MAX_NAMED_ALERTS));
        }
        let first = messages.first();
        let action = first.and_then(NotificationMessage::recommended_action);
        lines.extend(
            action.map(|action| format!("→ {}", sanitize_text(&truncate_utf16(action, MAX_SUMMARY_LEN)))),
        );
        if !several {
            lines.extend(first.and_then(|first| first.since.as_ref()).map(|since| {
                let at = sessionwatch_clock::parse_rfc3339(since);
                format!("since {}", at.map_or_else(|| since.clone(), sessionwatch_clock::format_utc))
            }));
        }
        if messages.iter().any(|message| message.possible_duplicate) {
            lines.push("(this may have been told already)".to_owned());
        }
        lines.join("\n")
    }
}

/// A message that says that it is a test.
pub(super) fn test_message(now: UtcTimestamp) -> NotificationMessage {
    NotificationMessage {
        schema: 2,
        key: format!("test/{}", now.micros()),
        notice: "test".into(),
        target: "test".into(),
        check: "test".into(),
        severity: "low".into(),
        summary: "This is a test of sessionwatch: nothing is wrong.".into(),
        since: None,
        at: sessionwatch_clock::format_rfc3339(now),
        finding: None,
        possible_duplicate: false,
        text: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::tests::message;

    fn titled(messages: &[NotificationMessage]) -> String {
        let text = NotificationBatch::default_text(messages);
        NotificationBatch { first: &messages[0], messages, text }.title()
    }

    #[test]
    fn a_title_says_what_happened_to_which_check_where() {
        for (notice, title) in [
            ("firing", "Failing: duplicate-tokens (critical) on shop"),
            ("reminder", "Still failing: duplicate-tokens (critical) on shop"),
            ("resolved", "Resolved: duplicate-tokens (critical) on shop"),
            ("test", "Test: duplicate-tokens (critical) on shop"),
            // Of a report, what it says itself.
            ("report", "2 tokens & <more>"),
        ] {
            let told = NotificationMessage { notice: notice.into(), ..message("shop") };
            assert_eq!(titled(&[told]), title);
        }
        let steering = message("sh\u{1b}[31mop\r\nx");
        assert_eq!(
            titled(&[steering]),
            "Failing: duplicate-tokens (critical) on sh\u{fffd}[31mop\u{fffd}\u{fffd}x"
        );
        assert_eq!(titled(&[message(&"x".repeat(1_000))]).encode_utf16().count(), MAX_TITLE_LEN);
    }

    #[test]
    fn a_text_has_what_is_known_and_nothing_else() {
        let bare = NotificationMessage { finding: None, since: None, ..message("shop") };
        assert_eq!(NotificationBatch::default_text(std::slice::from_ref(&bare)), "2 tokens & <more>");
        let without_action =
            NotificationMessage { finding: Some(serde_json::json!({ "action": "" })), ..bare.clone() };
        assert_eq!(NotificationBatch::default_text(&[without_action]), "2 tokens & <more>");
        let odd = NotificationMessage { since: Some("some time".into()), possible_duplicate: true, ..bare };
        assert_eq!(
            NotificationBatch::default_text(&[odd]),
            "2 tokens & <more>\nsince some time\n(this may have been told already)"
        );
    }

    #[test]
    fn alerts_that_are_told_together_have_a_line_each_up_to_a_number() {
        let named = |count: usize| {
            let messages: Vec<NotificationMessage> =
                (0..count).map(|number| message(&format!("t{number}"))).collect();
            NotificationBatch::default_text(&messages)
        };
        assert_eq!(named(2), "t0: 2 tokens & <more>\nt1: 2 tokens & <more>\n→ end <them>");
        assert!(!named(MAX_NAMED_ALERTS).contains("… and"));
        assert!(named(MAX_NAMED_ALERTS + 1).contains("t19: 2 tokens & <more>\n… and 1 more\n→ end <them>"));
    }

    #[test]
    fn a_report_keeps_its_lines() {
        let report = NotificationMessage {
            text: Some("one\n\ntwo".into()),
            finding: None,
            since: None,
            ..message("shop")
        };
        assert_eq!(NotificationBatch::default_text(&[report]), "one\n\ntwo");
    }
}
