//! Telegram: a message of a bot.

use serde_json::json;

use super::{Channel, Post, Told, shortened};
use crate::secret::Secret;

/// The longest message that Telegram takes.
const MOST: usize = 4_096;

pub(super) fn post(channel: &Channel, told: &Told<'_>) -> Post {
    let base = channel.url.expose().trim_end_matches('/');
    let token = channel.secret.as_ref().map_or("", Secret::expose);
    // Without a parse mode nothing in it is read as markup.
    let text = shortened(&format!("{}\n{}", told.title(), told.text), MOST);
    let body =
        json!({ "chat_id": channel.chat, "text": text, "link_preview_options": { "is_disabled": true } });
    Post {
        url: format!("{base}/bot{token}/sendMessage").into(),
        body: body.to_string().into(),
        ..Post::default()
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        notify::Kind,
        notify::tests::{message, posted},
    };

    #[test]
    fn the_bot_speaks_to_the_chat() {
        let (url, body) = posted(Kind::Telegram, "https://api.example/", &[message("a")]);
        assert_eq!(url, "https://api.example/botkey/sendMessage");
        assert_eq!(body["chat_id"], "-1");
        assert!(
            body["text"].as_str().unwrap().starts_with("Failing: duplicate-tokens (critical) on a\n2 tokens")
        );
    }
}
