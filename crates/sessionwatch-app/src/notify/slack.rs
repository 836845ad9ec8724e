//! Slack: a message for an incoming webhook.

use serde_json::json;
use sessionwatch_core::instant::Instant;

use super::{
    Channel, Failure, Post, Told,
    channel::{NoKeys, Service, Source},
    shortened,
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

    fn post(&self, channel: &Channel, told: &Told<'_>, _: Instant) -> Result<Post, Failure> {
        let text = format!("*{}*\n{}", escape(&told.title()), escape(&shortened(&told.text, MOST)));
        Ok(Post {
            url: channel.url.clone(),
            body: json!({ "text": text, "unfurl_links": false }).to_string().into(),
            ..Post::default()
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
