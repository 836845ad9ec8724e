//! Slack: a message for an incoming webhook.

use credentials::Secret;
use serde_json::json;
use sessionwatch_core::instant::Instant;

use super::{
    DeliveryError, HttpRequest, NotificationBatch,
    service::{NoKeys, Service, Source},
    truncate_utf16,
};

/// Characters of a message, of the 40 000 that Slack takes, so that escapes fit too.
const MOST: usize = 6_000;

/// A message for an incoming webhook of Slack.
#[derive(Clone, Copy, Debug)]
pub struct Slack;

impl Service for Slack {
    type Config = NoKeys;
    const KIND: &'static str = "slack";

    fn new(_: NoKeys, _: &mut Source<'_, '_, '_>) -> Option<Result<Self, String>> {
        Some(Ok(Self))
    }

    fn post(
        &self,
        url: &Secret,
        told: &NotificationBatch<'_>,
        _: Instant,
    ) -> Result<HttpRequest, DeliveryError> {
        let text = format!("*{}*\n{}", escape(&told.title()), escape(&truncate_utf16(&told.text, MOST)));
        Ok(HttpRequest {
            url: url.clone(),
            body: json!({ "text": text, "unfurl_links": false }).to_string().into(),
            ..HttpRequest::default()
        })
    }
}

/// Slack's own escapes, so that no name becomes a mention or a link.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use crate::notify::tests::{message, posted};

    #[test]
    fn a_message_mentions_nobody() {
        let (_, body) = posted("slack", "https://x", &[message("<!here>")]);
        let text = body["text"].as_str().unwrap();
        assert!(
            text.starts_with(
                "*Failing: duplicate-tokens (critical) on &lt;!here&gt;*\n2 tokens &amp; &lt;more&gt;\n→"
            ),
            "{text}"
        );
    }
}
