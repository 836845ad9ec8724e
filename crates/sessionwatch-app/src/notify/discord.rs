//! Discord: an embed for a webhook, which mentions nobody.

use credentials::Secret;
use serde_json::json;
use sessionwatch_core::instant::Instant;

use super::{
    DeliveryError, HttpRequest, NotificationBatch, escape_markdown,
    service::{NoKeys, Service, Source},
    truncate_utf16,
};

/// The longest title and description that Discord takes.
const TITLE: usize = 256;
const DESCRIPTION: usize = 4_096;
/// The marks of Discord's Markdown, mentions and emojis: nothing that is told becomes a link or an emphasis.
const MARKS: &str = "\\*_~`|<>[]()#";
const GREEN: u32 = 0x2e_a0_43;
const AMBER: u32 = 0xd2_99_22;
const RED: u32 = 0xcf_22_2e;

/// An embed for a webhook of Discord.
#[derive(Clone, Copy, Debug)]
pub struct Discord;

impl Service for Discord {
    type Config = NoKeys;
    const KIND: &'static str = "discord";

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
            _ if told.first.is_good() => GREEN,
            "critical" | "high" => RED,
            _ => AMBER,
        };
        let embed = json!({
            "title": truncate_utf16(&escape_markdown(&told.title(), MARKS), TITLE),
            "description": truncate_utf16(&escape_markdown(&told.text, MARKS), DESCRIPTION), "color": colour, "timestamp": told.first.at,
        });
        let body = json!({ "embeds": [embed], "allowed_mentions": { "parse": [] } });
        Ok(HttpRequest { url: url.clone(), body: body.to_string().into(), ..HttpRequest::default() })
    }
}

#[cfg(test)]
mod tests {
    use crate::notify::{
        Message,
        tests::{message, posted},
    };

    #[test]
    fn an_embed_keeps_to_the_limits_and_mentions_nobody() {
        let long = Message { summary: "@everyone ".repeat(1_000), ..message(&"t".repeat(500)) };
        let (_, body) = posted("discord", "https://x", &[long]);
        assert_eq!(body["allowed_mentions"]["parse"].as_array().unwrap().len(), 0);
        let length = |key: &str| body["embeds"][0][key].as_str().unwrap().chars().count();
        assert!(length("title") <= 256 && length("description") <= 4_096);
        let linked = Message { summary: "[click](http://evil)".into(), ..message("a") };
        let (_, body) = posted("discord", "https://x", &[linked]);
        let text = body["embeds"][0]["description"].as_str().unwrap();
        assert!(text.starts_with("\\[click\\]\\(http://evil\\)"), "{text}");
        let over = Message { notice: "resolved".into(), ..message("a") };
        let colour =
            |message: Message| posted("discord", "https://x", &[message]).1["embeds"][0]["color"].clone();
        assert_ne!(colour(over), colour(message("a")));
    }
}
