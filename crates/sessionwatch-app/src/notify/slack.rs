//! Slack: a message for an incoming webhook.

use serde_json::json;

use super::{Channel, Post, Told, shortened};

/// Characters of a message, of the 40 000 that Slack takes, so that escapes fit too.
const MOST: usize = 6_000;

pub(super) fn post(channel: &Channel, told: &Told<'_>) -> Post {
    let text = format!("*{}*\n{}", escape(&told.title()), escape(&shortened(&told.text, MOST)));
    Post {
        url: channel.url.clone(),
        body: json!({ "text": text, "unfurl_links": false }).to_string().into(),
        ..Post::default()
    }
}

/// Slack's own escapes, so that no name becomes a mention or a link.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use crate::{
        notify::Kind,
        notify::tests::{message, posted},
    };

    #[test]
    fn a_message_mentions_nobody() {
        let (_, body) = posted(Kind::Slack, "https://x", &[message("<!here>")]);
        let text = body["text"].as_str().unwrap();
        assert!(
            text.starts_with(
                "*Failing: duplicate-tokens (critical) on &lt;!here&gt;*\n2 tokens &amp; &lt;more&gt;\n→"
            ),
            "{text}"
        );
    }
}
