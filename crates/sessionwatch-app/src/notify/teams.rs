//! Microsoft Teams: posts an Adaptive Card to a workflow's webhook.

use credentials::Secret;
use serde_json::json;
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    DeliveryError, HttpRequest, NotificationBatch,
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
        let line = |text: &str| json!({ "type": "TextBlock", "text": escape_markdown(text, ESCAPED_CHARS), "wrap": true });
        let mut title = line(&batch.title());
        (title["weight"], title["size"], title["color"]) = (json!("Bolder"), json!("Medium"), json!(color));
        let message = |text: &str| {
            let blocks: Vec<_> = std::iter::once(title.clone()).chain(text.lines().map(line)).collect();
            let card = json!({
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
                "body": blocks,
            });
            let attachment =
                json!({ "contentType": "application/vnd.microsoft.card.adaptive", "content": card });
            json!({ "type": "message", "attachments": [attachment] }).to_string()
        };
        Ok(HttpRequest {
            url: url.clone(),
            body: fit_to_bytes(&batch.text, MAX_MESSAGE_BYTES, message).into(),
            ..HttpRequest::default()
        })
    }
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
        assert_eq!(blocks.len(), 4);
        assert_eq!(blocks[1]["text"], "\\[click\\]\\(http://evil\\)");
        assert_eq!(blocks[0]["color"], "Attention");
    }
}
