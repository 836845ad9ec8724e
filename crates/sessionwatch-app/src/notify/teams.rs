//! Microsoft Teams: an Adaptive Card for a workflow that waits for a webhook request.

use credentials::Secret;
use serde_json::json;
use sessionwatch_core::instant::Instant;

use super::{
    DeliveryError, HttpRequest, NotificationBatch, escape_markdown, fit_to_bytes,
    service::{NoKeys, Service, Source},
};

/// Bytes of a message, of the 28 KB that Teams takes, which it may count with two bytes a character.
const MOST: usize = 14_000;
/// Text blocks read some Markdown: nothing that is told becomes a link or an emphasis.
const MARKS: &str = "\\*_[]()#`";

/// A card for a workflow of Microsoft Teams.
#[derive(Clone, Copy, Debug)]
pub struct Teams;

impl Service for Teams {
    type Config = NoKeys;
    const KIND: &'static str = "teams";

    fn new(_: NoKeys, _: &mut Source<'_, '_, '_>) -> Option<Result<Self, String>> {
        Some(Ok(Self))
    }

    fn post(
        &self,
        url: &Secret,
        told: &NotificationBatch<'_>,
        _: Instant,
    ) -> Result<HttpRequest, DeliveryError> {
        let colour = match told.first.severity.as_str() {
            _ if told.first.is_good() => "Good",
            "critical" | "high" => "Attention",
            _ => "Warning",
        };
        let line =
            |text: &str| json!({ "type": "TextBlock", "text": escape_markdown(text, MARKS), "wrap": true });
        let mut title = line(&told.title());
        (title["weight"], title["size"], title["color"]) = (json!("Bolder"), json!("Medium"), json!(colour));
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
            body: fit_to_bytes(&told.text, MOST, message).into(),
            ..HttpRequest::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::notify::{
        Message,
        tests::{message, posted},
    };

    #[test]
    fn a_card_has_a_line_each_and_no_link() {
        let linked = Message { summary: "[click](http://evil)".into(), ..message("a") };
        let (_, body) = posted("teams", "https://x", &[linked]);
        let blocks = body["attachments"][0]["content"]["body"].as_array().unwrap();
        assert_eq!(blocks.len(), 4);
        assert_eq!(blocks[1]["text"], "\\[click\\]\\(http://evil\\)");
        assert_eq!(blocks[0]["color"], "Attention");
    }
}
