//! Discord: posts an embed to a webhook, with mentions disabled.

use credentials::Secret;
use serde_json::json;
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    DeliveryError, HttpRequest, NotificationBatch,
    channel_service::{ChannelService, ChannelSource, NoKeys},
    escape_markdown, truncate_utf16,
};
use crate::config_file::ConfigProblem;

/// Discord's limits for the title and description of an embed, in UTF-16 units.
const MAX_EMBED_TITLE_LEN: usize = 256;
const MAX_EMBED_DESCRIPTION_LEN: usize = 4_096;
/// Limits for an embed with fields, of which Discord accepts 6,000 characters in all.
const MAX_SUMMARY_LEN: usize = 2_000;
const MAX_FIELD_LEN: usize = 800;
/// Characters that start Discord Markdown, mentions or emojis. They are escaped so that no name becomes a link.
const ESCAPED_CHARS: &str = "\\*_~`|<>[]()#";
const RESOLVED_COLOR: u32 = 0x2e_a0_43;
const WARNING_COLOR: u32 = 0xd2_99_22;
const CRITICAL_COLOR: u32 = 0xcf_22_2e;

/// The `discord` channel.
#[derive(Clone, Copy, Debug)]
pub struct Discord;

impl ChannelService for Discord {
    type Config = NoKeys;
    const KIND_NAME: &'static str = "discord";

    fn new(_: NoKeys, _: &mut ChannelSource<'_, '_, '_>) -> Option<Result<Self, ConfigProblem>> {
        Some(Ok(Self))
    }

    fn build_request(
        &self,
        url: &Secret,
        batch: &NotificationBatch<'_>,
        _: UtcTimestamp,
    ) -> Result<HttpRequest, DeliveryError> {
        // Resolved first: the severity of a resolved alert is no longer urgent.
        let color = match batch.first.severity.as_str() {
            _ if batch.first.is_benign() => RESOLVED_COLOR,
            "critical" | "high" => CRITICAL_COLOR,
            _ => WARNING_COLOR,
        };
        // Escaped before truncating, as Discord counts the escapes too.
        let plain = |text: &str, most| truncate_utf16(&escape_markdown(text, ESCAPED_CHARS), most);
        let mut embed = json!({
            "title": plain(&batch.title(), MAX_EMBED_TITLE_LEN),
            "description": plain(&batch.text, MAX_EMBED_DESCRIPTION_LEN), "color": color, "timestamp": batch.first.at,
        });
        if let Some(details) = &batch.details {
            let note = batch.duplicate_note().map(|note| format!("\n{note}")).unwrap_or_default();
            let text = format!("{}\n{}{note}", details.summary, details.impact);
            embed["description"] = plain(text.trim_end(), MAX_SUMMARY_LEN).into();
            embed["author"] = json!({ "name": truncate_utf16(&details.title, MAX_EMBED_TITLE_LEN) });
            let facts = [
                ("Affected users", details.affected.as_ref()),
                ("What to do", details.action.as_ref()),
                ("Fix", details.command.as_ref()),
                ("Since", details.since.as_ref()),
            ];
            let facts = facts.into_iter().filter_map(|(name, value)| {
                Some(json!({ "name": name, "value": plain(value?, MAX_FIELD_LEN) }))
            });
            embed["fields"] = facts.collect();
        }
        if let Some(link) = &batch.link {
            embed["url"] = json!(link);
        }
        // Names in the text could otherwise mention everyone in the channel.
        let body = json!({ "embeds": [embed], "allowed_mentions": { "parse": [] } });
        Ok(HttpRequest { url: url.clone(), body: body.to_string().into(), ..HttpRequest::default() })
    }
}

#[cfg(test)]
mod tests {
    use crate::notify::{
        NotificationMessage,
        tests::{message, posted_request},
    };

    #[test]
    fn an_embed_keeps_to_the_limits_and_mentions_nobody() {
        let long = NotificationMessage { summary: "@everyone ".repeat(1_000), ..message(&"t".repeat(500)) };
        let (_, body) = posted_request("discord", "https://x", &[long]);
        assert_eq!(body["allowed_mentions"]["parse"].as_array().unwrap().len(), 0);
        let length = |key: &str| body["embeds"][0][key].as_str().unwrap().chars().count();
        assert!(length("title") <= 256 && length("description") <= 4_096);
        let linked = NotificationMessage { summary: "[click](http://evil)".into(), ..message("a") };
        let (_, body) = posted_request("discord", "https://x", &[linked]);
        let text = body["embeds"][0]["description"].as_str().unwrap();
        assert!(text.starts_with("\\[click\\]\\(http://evil\\)"), "{text}");
        let over = NotificationMessage { notice: "resolved".into(), ..message("a") };
        let color = |message: NotificationMessage| {
            posted_request("discord", "https://x", &[message]).1["embeds"][0]["color"].clone()
        };
        assert_ne!(color(over), color(message("a")));
    }
}
