//! Messages that are delivered together, with their title, default text and link.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use sessionwatch_core::text::capitalize_first;

use super::{AlertDetails, NotificationMessage, text_limits::truncate_utf16};
use crate::{checks::CHANNEL_FAILING, sanitize::sanitize_text};

/// The number of alerts that a message lists; the rest are counted.
const MAX_NAMED_ALERTS: usize = 20;

/// Characters that are escaped in a segment of a path.
const ESCAPED_IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

const DUPLICATE_NOTE: &str = "(possible duplicate: this message may have been sent before)";

/// The maximum length of a title, in UTF-16 units.
const MAX_TITLE_LEN: usize = 250;

// Limits for each line of a message that lists several alerts.
const MAX_LINE_LEN: usize = 200;

const MAX_TARGET_NAME_LEN: usize = 80;

/// The maximum length of the summary in a message about a single alert.
const MAX_SUMMARY_LEN: usize = 2_000;

/// The maximum length of a link to the dashboard. A longer one, of a target with a long name, leads to all alerts.
const MAX_LINK_LEN: usize = 500;

/// One or more messages of the same check and notice that are delivered together.
#[derive(Clone, Debug)]
pub struct NotificationBatch<'a> {
    /// The first message.
    pub first: &'a NotificationMessage,
    /// All messages, including the first.
    pub messages: &'a [NotificationMessage],
    /// The text for people: the default text, or the channel's template rendered.
    pub text: String,
    /// The details of a single firing alert; `None` for other messages, and with a template, which replaces them.
    pub details: Option<AlertDetails>,
    /// The page of the dashboard about the alert; `None` without a `public_url`.
    pub link: Option<String>,
}

impl<'a> NotificationBatch<'a> {
    /// Creates a batch; `None` without messages. `rendered` is the text of the channel's template.
    #[must_use]
    pub fn new(
        messages: &'a [NotificationMessage],
        rendered: Option<String>,
        dashboard_url: Option<&str>,
    ) -> Option<Self> {
        let first = messages.first()?;
        let is_detailed = rendered.is_none() && messages.len() == 1;
        Some(Self {
            first,
            messages,
            details: is_detailed.then(|| AlertDetails::from_message(first)).flatten(),
            text: rendered.unwrap_or_else(|| NotificationBatch::default_text(messages)),
            link: dashboard_url.map(|url| dashboard_link(url, messages)),
        })
    }

    /// Returns the text for channels without structure: the details, if there are any, and the link.
    pub(super) fn plain_text(&self) -> String {
        let text = match &self.details {
            Some(details) => {
                let mut lines = details.lines();
                lines.extend(self.duplicate_note().map(str::to_owned));
                lines.join("\n")
            }
            None => self.text.clone(),
        };
        text + &self.link.as_ref().map(|link| format!("\n{link}")).unwrap_or_default()
    }

    /// Returns the sentence that marks a possible duplicate.
    pub(super) fn duplicate_note(&self) -> Option<&'static str> {
        self.messages.iter().any(|message| message.possible_duplicate).then_some(DUPLICATE_NOTE)
    }
}

/// Returns the page about an alert, or the list of alerts.
fn dashboard_link(url: &str, messages: &[NotificationMessage]) -> String {
    let base = url.trim_end_matches('/');
    let all = format!("{base}/alerts");
    let [NotificationMessage { target, check, notice, .. }] = messages else { return all };
    // A channel has no page, and a test or report is about no check.
    if check == CHANNEL_FAILING || ["test", "report"].contains(&notice.as_str()) {
        return all;
    }
    let [target, check] =
        [target, check].map(|name| percent_encoding::utf8_percent_encode(name, ESCAPED_IN_PATH));
    let link = format!("{base}/targets/{target}/checks/{check}");
    if link.len() <= MAX_LINK_LEN { link } else { all }
}

impl NotificationBatch<'_> {
    /// Returns the title, such as `Failing: duplicate-tokens (critical) on main`.
    #[must_use]
    pub fn title(&self) -> String {
        let NotificationMessage { notice, check, severity, target, summary, .. } = self.first;
        if notice == "report" {
            return truncate_utf16(&sanitize_text(summary), MAX_TITLE_LEN);
        }
        if notice == "test" {
            return "Test message from sessionwatch".to_owned();
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

    /// Returns the text for people without a template: summary, recommended action and start time.
    pub(super) fn default_text(messages: &[NotificationMessage]) -> String {
        let mut lines = Vec::new();
        let several = messages.len() > 1;
        // A list needs short lines; a single alert may use the space.
        let longest = if several { MAX_LINE_LEN } else { MAX_SUMMARY_LEN };
        for message in messages.iter().take(MAX_NAMED_ALERTS) {
            let of = if several {
                format!("{}: ", truncate_utf16(&message.target, MAX_TARGET_NAME_LEN))
            } else {
                String::new()
            };
            lines.push(match &message.text {
                // A report is text of this program with line breaks, which sanitizing would remove.
                Some(report) => format!("{}{report}", sanitize_text(&of)),
                None => {
                    let summary = truncate_utf16(&message.summary, longest);
                    // Behind the name of a target, the summary does not begin a line.
                    let summary = if several { summary } else { capitalize_first(&summary) };
                    sanitize_text(&format!("{of}{summary}"))
                }
            });
        }
        if messages.len() > MAX_NAMED_ALERTS {
            lines.push(format!("… and {} more", messages.len() - MAX_NAMED_ALERTS));
        }
        let first = messages.first();
        let action = first.and_then(NotificationMessage::recommended_action);
        lines.extend(
            action
                .map(|action| sanitize_text(&truncate_utf16(&capitalize_first(action), MAX_SUMMARY_LEN)))
                .map(|action| format!("→ {action}")),
        );
        // Several alerts started at different times.
        if !several {
            lines.extend(first.and_then(|first| first.since.as_ref()).map(|since| {
                let at = sessionwatch_clock::parse_rfc3339(since);
                format!("Since {}", at.map_or_else(|| since.clone(), sessionwatch_clock::format_utc))
            }));
        }
        if messages.iter().any(|message| message.possible_duplicate) {
            lines.push(DUPLICATE_NOTE.to_owned());
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::tests::message;

    fn titled(messages: &[NotificationMessage]) -> String {
        NotificationBatch::new(messages, None, None).unwrap().title()
    }

    #[test]
    fn a_title_names_the_notice_the_check_and_the_target() {
        for (notice, title) in [
            ("firing", "Failing: duplicate-tokens (critical) on shop"),
            ("reminder", "Still failing: duplicate-tokens (critical) on shop"),
            ("resolved", "Resolved: duplicate-tokens (critical) on shop"),
            ("test", "Test message from sessionwatch"),
            // A report's title is its summary.
            ("report", "2 tokens & <more>"),
        ] {
            let titled_message = NotificationMessage { notice: notice.into(), ..message("shop") };
            assert_eq!(titled(&[titled_message]), title);
        }
        let steering = message("sh\u{1b}[31mop\r\nx");
        assert_eq!(
            titled(&[steering]),
            "Failing: duplicate-tokens (critical) on sh\u{fffd}[31mop\u{fffd}\u{fffd}x"
        );
        assert_eq!(titled(&[message(&"x".repeat(1_000))]).encode_utf16().count(), MAX_TITLE_LEN);
    }

    #[test]
    fn the_text_leaves_out_missing_parts() {
        let bare = NotificationMessage { finding: None, since: None, ..message("shop") };
        assert_eq!(NotificationBatch::default_text(std::slice::from_ref(&bare)), "2 tokens & <more>");
        let without_action =
            NotificationMessage { finding: Some(serde_json::json!({ "action": "" })), ..bare.clone() };
        assert_eq!(NotificationBatch::default_text(&[without_action]), "2 tokens & <more>");
        let odd = NotificationMessage { since: Some("some time".into()), possible_duplicate: true, ..bare };
        assert_eq!(
            NotificationBatch::default_text(&[odd]),
            "2 tokens & <more>\nSince some time\n(possible duplicate: this message may have been sent before)"
        );
    }

    #[test]
    fn a_batch_lists_a_bounded_number_of_alerts() {
        let named = |count: usize| {
            let messages: Vec<NotificationMessage> =
                (0..count).map(|number| message(&format!("t{number}"))).collect();
            NotificationBatch::default_text(&messages)
        };
        assert_eq!(named(2), "t0: 2 tokens & <more>\nt1: 2 tokens & <more>\n→ End <them>");
        assert!(!named(MAX_NAMED_ALERTS).contains("… and"));
        assert!(named(MAX_NAMED_ALERTS + 1).contains("t19: 2 tokens & <more>\n… and 1 more\n→ End <them>"));
    }

    #[test]
    fn a_link_leads_to_the_alert_or_to_all_of_them() {
        let link = |messages: &[NotificationMessage]| {
            NotificationBatch::new(messages, None, Some("https://watch.example.org/")).unwrap().link.unwrap()
        };
        let alert = "https://watch.example.org/targets/my%20shop-1/checks/duplicate-tokens";
        assert_eq!(link(&[message("my shop-1")]), alert);
        for messages in [vec![message("a"); 2], vec![message(&"x".repeat(1_000))]] {
            assert_eq!(link(&messages), "https://watch.example.org/alerts");
        }
        let rendered =
            NotificationBatch::new(&[message("a")], Some("own".into()), None).map(|batch| batch.plain_text());
        assert_eq!(rendered.as_deref(), Some("own"));
    }

    #[test]
    fn a_report_keeps_its_line_breaks() {
        let report = NotificationMessage {
            text: Some("one\n\ntwo".into()),
            finding: None,
            since: None,
            ..message("shop")
        };
        assert_eq!(NotificationBatch::default_text(&[report]), "one\n\ntwo");
    }
}
