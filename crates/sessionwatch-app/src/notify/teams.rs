//! Microsoft Teams: posts an Adaptive Card to a workflow's webhook.

use credentials::Secret;
use serde_json::{Value, json};
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    AlertDetails, DeliveryError, HttpRequest, NotificationBatch,
    channel_service::{ChannelService, ChannelSource, NoKeys},
    escape_markdown, fit_to_bytes,
};
use crate::config_file::ConfigProblem;

/// The maximum size of a message. Teams accepts 28 KB, and may count two bytes for each character.
const MAX_MESSAGE_BYTES: usize = 14_000;
/// Characters that start Markdown in text blocks. They are escaped so that no name becomes a link or emphasis.
const ESCAPED_CHARS: &str = "\\*_[]()#`";

/// The `teams` channel.
#[derive(Clone, Copy, Debug)]
pub struct Teams;

impl ChannelService for Teams {
    type Config = NoKeys;
    const KIND_NAME: &'static str = "teams";

    fn new(_: NoKeys, _: &mut ChannelSource<'_, '_, '_>) -> Option<Result<Self, ConfigProblem>> {
        Some(Ok(Self))
    }

    fn build_request(
        &self,
        url: &Secret,
        batch: &NotificationBatch<'_>,
        _: UtcTimestamp,
    ) -> Result<HttpRequest, DeliveryError> {
        let color = match batch.first.severity.as_str() {
            _ if batch.first.is_benign() => "Good",
            "critical" | "high" => "Attention",
            _ => "Warning",
        };
        let mut title = text_block(&batch.title());
        (title["weight"], title["size"], title["color"]) = (json!("Bolder"), json!("Medium"), json!(color));
        let (before, text, after) = match &batch.details {
            Some(details) => {
                let mut subtitle = text_block(&details.title);
                subtitle["weight"] = json!("Bolder");
                (Some(subtitle), &details.summary, detail_blocks(batch, details))
            }
            None => (None, &batch.text, vec![]),
        };
        let actions: Vec<Value> = batch
            .link
            .iter()
            .map(|link| json!({ "type": "Action.OpenUrl", "title": "Open in sessionwatch", "url": link }))
            .collect();
        let message = |text: &str| {
            let blocks =
                std::iter::once(title.clone()).chain(before.clone()).chain(text.lines().map(text_block));
            let blocks: Vec<Value> = blocks.chain(after.clone()).collect();
            let mut card = json!({
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard", "version": "1.4", "body": blocks,
            });
            if !actions.is_empty() {
                card["actions"] = json!(actions);
            }
            let attachment =
                json!({ "contentType": "application/vnd.microsoft.card.adaptive", "content": card });
            json!({ "type": "message", "attachments": [attachment] }).to_string()
        };
        Ok(HttpRequest {
            url: url.clone(),
            body: fit_to_bytes(text, MAX_MESSAGE_BYTES, message).into(),
            ..HttpRequest::default()
        })
    }
}

/// Returns a block of text, in which no name becomes a link or emphasis.
fn text_block(text: &str) -> Value {
    json!({ "type": "TextBlock", "text": escape_markdown(text, ESCAPED_CHARS), "wrap": true })
}

/// Returns the blocks below the summary: the impact, and a list of facts.
fn detail_blocks(batch: &NotificationBatch<'_>, details: &AlertDetails) -> Vec<Value> {
    let facts = [
        ("Affected users", details.affected.as_ref()),
        ("What to do", details.action.as_ref()),
        ("Fix", details.command.as_ref()),
        ("Since", details.since.as_ref()),
    ];
    let fact =
        |name: &str, value: &str| json!({ "title": name, "value": escape_markdown(value, ESCAPED_CHARS) });
    let facts: Vec<Value> = facts.into_iter().filter_map(|(name, value)| Some(fact(name, value?))).collect();
    let impact = Some(&details.impact).filter(|impact| !impact.is_empty()).map(|impact| text_block(impact));
    let note = batch.duplicate_note().map(text_block);
    impact.into_iter().chain([json!({ "type": "FactSet", "facts": facts })]).chain(note).collect()
}

#[cfg(test)]
mod tests {
    use crate::notify::{
        NotificationMessage,
        tests::{message, posted_request},
    };

    #[test]
    fn a_card_has_a_block_per_line_and_no_links() {
        let linked = NotificationMessage { summary: "[click](http://evil)".into(), ..message("a") };
        let (_, body) = posted_request("teams", "https://x", &[linked]);
        let blocks = body["attachments"][0]["content"]["body"].as_array().unwrap();
        assert_eq!(blocks[2]["text"], "\\[click\\]\\(http://evil\\)");
        assert_eq!(blocks[4]["facts"][0]["title"], "What to do");
        let card = &body["attachments"][0]["content"];
        assert!(
            card["actions"][0]["url"].as_str().unwrap().starts_with("https://watch.example.org/targets/a/")
        );
        assert_eq!(blocks[0]["color"], "Attention");
    }
}
