//! Slack: builds the message for an incoming webhook.

use credentials::Secret;
use serde_json::{Value, json};
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    DeliveryError, HttpRequest, NotificationBatch,
    channel_service::{ChannelService, ChannelSource, NoKeys},
    fit_to_bytes, truncate_utf16,
};
use crate::{config_file::ConfigProblem, sanitize::sanitize_text};

/// The maximum length of the text before escaping. Slack accepts 40,000 characters; an escape is up to 5 characters
/// long.
const MAX_TEXT_LEN: usize = 6_000;

/// The limits of Slack for a header, and for the text of a section with its escapes.
const MAX_HEADER_LEN: usize = 150;
const MAX_SECTION_BYTES: usize = 3_000;

/// The `slack` channel.
#[derive(Clone, Copy, Debug)]
pub struct Slack;

impl ChannelService for Slack {
    type Config = NoKeys;
    const KIND_NAME: &'static str = "slack";

    fn new(_: NoKeys, _: &mut ChannelSource<'_, '_, '_>) -> Option<Result<Self, ConfigProblem>> {
        Some(Ok(Self))
    }

    fn build_request(
        &self,
        url: &Secret,
        batch: &NotificationBatch<'_>,
        _: UtcTimestamp,
    ) -> Result<HttpRequest, DeliveryError> {
        let text = format!(
            "*{}*\n{}",
            escape_mrkdwn(&batch.title()),
            escape_mrkdwn(&truncate_utf16(&batch.text, MAX_TEXT_LEN))
        );
        let mut message = json!({ "text": text, "unfurl_links": false });
        // A report is longer than a section: as plain text it stays whole.
        if batch.first.text.is_none() {
            message["blocks"] = build_blocks(batch).into();
        }
        Ok(HttpRequest { url: url.clone(), body: message.to_string().into(), ..HttpRequest::default() })
    }
}

/// Returns the blocks of a message. With blocks, Slack shows the text only in previews.
fn build_blocks(batch: &NotificationBatch<'_>) -> Vec<Value> {
    let header = match &batch.details {
        Some(details) => {
            let word = batch.first.status_word();
            sanitize_text(&format!("{word}: {} on {}", details.title, batch.first.target))
        }
        None => batch.title(),
    };
    let header =
        json!({ "type": "plain_text", "text": truncate_utf16(&header, MAX_HEADER_LEN), "emoji": false });
    let mut blocks = vec![json!({ "type": "header", "text": header })];
    let section = |text: &str| json!({ "type": "section", "text": mrkdwn_object(text) });
    match &batch.details {
        Some(details) => {
            let check = &batch.first.check;
            let facts = [
                ("Severity", Some(&batch.first.severity)),
                ("Check", Some(check)),
                ("Since", details.since.as_ref()),
            ];
            let facts = facts
                .into_iter()
                .filter_map(|(name, value)| Some(format!("*{name}*\n{}", escape_mrkdwn(value?))));
            let facts: Vec<Value> = facts.map(|fact| mrkdwn_object(&fact)).collect();
            blocks.push(json!({ "type": "section", "fields": facts }));
            let impact = Some(&details.impact).filter(|impact| !impact.is_empty());
            let parts = [
                ("", Some(&details.summary)),
                ("", impact),
                ("*Affected users*\n", details.affected.as_ref()),
            ];
            let parts =
                parts.into_iter().filter_map(|(name, text)| Some(format!("{name}{}", escape_mrkdwn(text?))));
            blocks.extend(parts.map(|text| section(&text)));
            let action = details.action.as_deref().map(escape_mrkdwn);
            // A backtick would end the code block.
            let command = details.command.as_deref().filter(|command| !command.contains('`'));
            let command = command.map(|command| format!("```{}```", escape_mrkdwn(command)));
            let fix: Vec<String> = action.into_iter().chain(command).collect();
            if !fix.is_empty() {
                blocks.push(section(&format!("*What to do*\n{}", fix.join("\n"))));
            }
            blocks.extend(
                batch
                    .duplicate_note()
                    .map(|note| json!({ "type": "context", "elements": [mrkdwn_object(note)] })),
            );
        }
        None => blocks.push(section(&fit_to_bytes(&batch.text, MAX_SECTION_BYTES, escape_mrkdwn))),
    }
    if let Some(link) = &batch.link {
        let label = json!({ "type": "plain_text", "text": "Open in sessionwatch" });
        let button = json!({ "type": "button", "text": label, "url": link });
        blocks.push(json!({ "type": "actions", "elements": [button] }));
    }
    blocks
}

/// Returns a text object. `verbatim` keeps Slack from turning URLs and names in the text into links.
fn mrkdwn_object(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text, "verbatim": true })
}

/// Escapes text for Slack's mrkdwn, so that no name becomes a mention or a link.
fn escape_mrkdwn(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use crate::notify::{
        NotificationMessage,
        tests::{message, posted_request},
    };

    #[test]
    fn a_message_mentions_nobody() {
        let (_, body) = posted_request("slack", "https://x", &[message("<!here>")]);
        let text = body["text"].as_str().unwrap();
        assert!(
            text.starts_with(
                "*Failing: duplicate-tokens (critical) on &lt;!here&gt;*\n2 tokens &amp; &lt;more&gt;\n→"
            ),
            "{text}"
        );
        let blocks = body["blocks"].as_array().unwrap();
        assert_eq!(blocks[0]["text"]["type"], "plain_text", "in which nothing is a mention");
        assert!(blocks.iter().any(|block| block.to_string().contains("```sessionwatch cleanup duplicates")));
        let over = NotificationMessage { notice: "resolved".into(), ..message("shop") };
        let (_, body) = posted_request("slack", "https://x", &[over]);
        let kinds = body["blocks"].as_array().unwrap().iter().map(|block| block["type"].as_str().unwrap());
        assert_eq!(kinds.collect::<Vec<_>>(), ["header", "section", "actions"]);
        let report =
            NotificationMessage { text: Some("a\nb".into()), notice: "report".into(), ..message("shop") };
        assert!(posted_request("slack", "https://x", &[report]).1.get("blocks").is_none());
    }
}
