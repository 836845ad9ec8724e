//! ntfy: a message on a topic, as JSON to the root of the server.

use serde_json::json;

use super::{Channel, Post, Told, fitting};
use crate::secret::Secret;

/// Bytes of a request: beyond 4 096 bytes of text ntfy makes an attachment of it, and it reads no JSON of twice that.
const MOST: usize = 4_096;

pub(super) fn post(channel: &Channel, told: &Told<'_>) -> Post {
    let url = channel.url.expose().trim_end_matches('/');
    let (server, topic) = url.rsplit_once('/').unwrap_or((url, ""));
    let priority = match told.first.severity.as_str() {
        _ if told.first.is_good() => 2,
        "critical" => 5,
        "high" => 4,
        _ => 3,
    };
    let tag = if told.first.is_good() { "white_check_mark" } else { "rotating_light" };
    let title = told.title();
    let message = |text: &str| {
        json!({ "topic": topic, "title": title, "message": text, "priority": priority, "tags": [tag] })
            .to_string()
    };
    let body = fitting(&told.text, MOST, message);
    let bearer = |token: &Secret| ("authorization", format!("Bearer {}", token.expose()).into());
    let headers = channel.secret.iter().map(bearer).collect();
    Post { url: format!("{server}/").into(), headers, body: body.into() }
}

#[cfg(test)]
mod tests {
    use crate::{
        notify::Kind,
        notify::tests::{message, posted},
    };

    #[test]
    fn the_topic_is_the_end_of_the_url() {
        let (url, body) = posted(Kind::Ntfy, "https://ntfy.example/alerts", &[message("a")]);
        assert_eq!(
            (url.as_str(), &body["topic"], &body["priority"]),
            ("https://ntfy.example/", &"alerts".into(), &5.into())
        );
    }
}
