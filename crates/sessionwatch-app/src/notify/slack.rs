//! Slack: builds the message for an incoming webhook.

use credentials::Secret;
use serde_json::json;
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    DeliveryError, HttpRequest, NotificationBatch,
    channel_service::{ChannelService, ChannelSource, NoKeys},
    truncate_utf16,
};
use crate::config_file::ConfigProblem;

/// The maximum length of the text before escaping. Slack accepts 40,000 characters; an escape is up to 5 characters
/// long.
const MAX_TEXT_LEN: usize = 6_000;

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
        Ok(HttpRequest {
            url: url.clone(),
            body: json!({ "text": text, "unfurl_links": false }).to_string().into(),
            ..HttpRequest::default()
        })
    }
}

/// Escapes text for Slack's mrkdwn, so that no name becomes a mention or a link.
fn escape_mrkdwn(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use crate::notify::tests::{message, posted_request};

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
    }
}
