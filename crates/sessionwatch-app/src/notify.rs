//! Notifications: messages, templates and delivery, with one file for each kind of channel.

mod alertmanager;
mod batch;
pub mod channel;
mod channel_kind;
pub(crate) mod channel_section;
mod channel_service;
mod delivery_error;
mod details;
mod discord;
mod email;
pub(crate) mod enqueue;
mod message;
mod ntfy;
mod pagerduty;
mod sender;
mod slack;
mod teams;
mod telegram;
pub mod template;
mod text_limits;
mod webhook;

mod retry_after;

use std::time::Duration;

use credentials::Secret;

use self::{
    details::AlertDetails,
    text_limits::{escape_markdown, fit_to_bytes, truncate_utf16},
};

pub use self::{
    batch::NotificationBatch,
    channel::NotificationChannel,
    channel_kind::ChannelKind,
    delivery_error::DeliveryError,
    email::Email,
    message::NotificationMessage,
    sender::{ChannelSender, send_test},
};
pub(crate) use self::{sender::send_directly, text_limits::bounded_key};

/// Timeout for one delivery to a channel.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// A `POST` request with a JSON body. URL, headers and body are [`Secret`], since each may contain a key.
#[derive(Clone, Debug, Default)]
struct HttpRequest {
    url: Secret,
    headers: Vec<(&'static str, Secret)>,
    body: Secret,
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};
    use sessionwatch_core::timestamp::UtcTimestamp;

    use super::{template::MessageTemplate, *};

    pub(crate) fn message(target: &str) -> NotificationMessage {
        NotificationMessage {
            schema: 2,
            key: "app/x/firing/1".into(),
            notice: "firing".into(),
            target: target.into(),
            check: "duplicate-tokens".into(),
            severity: "critical".into(),
            summary: "2 tokens & <more>".into(),
            since: Some("2026-01-01T00:00:00.000000Z".into()),
            at: "2026-01-01T00:00:00.000000Z".into(),
            finding: Some(json!({ "action": "end <them>", "value": 2 })),
            possible_duplicate: false,
            text: None,
        }
    }

    /// A channel of that kind with every required key.
    pub(crate) fn channel(kind: &str, url: &str) -> NotificationChannel {
        let own = match kind {
            "telegram" => "secret = \"key\"\nchat = \"-1\"",
            "pagerduty" | "ntfy" | "webhook" => "secret = \"key\"",
            "email" => "from = \"watch@example.org\"\nto = [\"ops@example.org\"]",
            _ => "",
        };
        let text = format!(
            "[serve]\npublic_url = \"https://watch.example.org/\"\n\
             [[channel]]\nname = \"c\"\nkind = \"{kind}\"\nurl = \"{url}\"\n{own}\n"
        );
        let config = crate::config::Config::parse(std::path::Path::new("x.toml"), &text).unwrap();
        config.serve.channels[0].clone()
    }

    pub(crate) fn email() -> Email {
        let ChannelKind::Email(email) = channel("email", "smtp://localhost").kind else { unreachable!() };
        email
    }

    /// The URL and body of the request for these messages.
    pub(crate) fn posted_request(kind: &str, url: &str, messages: &[NotificationMessage]) -> (String, Value) {
        let channel = channel(kind, url);
        let batch = NotificationBatch::new(messages, None, channel.dashboard_url.as_deref()).unwrap();
        let post = channel.kind.build_request(&channel.url, &batch, UtcTimestamp::MIN).unwrap();
        (post.url.expose().to_owned(), serde_json::from_str(post.body.expose()).unwrap())
    }

    #[test]
    fn many_targets_share_one_message_of_bounded_length() {
        let messages: Vec<NotificationMessage> =
            (0..10_000).map(|number| message(&format!("t{number}"))).collect();
        let batch = NotificationBatch::new(&messages, None, None).unwrap();
        assert_eq!(batch.title(), "Failing: duplicate-tokens (critical) on 10000 targets");
        assert!(
            batch.text.contains("t19: 2 tokens") && batch.text.contains("… and 9980 more"),
            "{}",
            batch.text
        );
        let one = NotificationBatch::default_text(&messages[..1]);
        assert_eq!(one, "2 tokens & <more>\n→ End <them>\nSince 2026-01-01 00:00:00 UTC");
    }

    /// A message with attacker-controlled content: long, full of markup, control characters and line breaks.
    fn hostile() -> NotificationMessage {
        let evil = "<!here> @everyone [x](http://evil) </h2>*_`|\r\nBcc: eve@example.org\0\u{1b}[31m \"🦀";
        NotificationMessage {
            summary: evil.repeat(100_000 / evil.len() + 1),
            finding: Some(json!({ "action": evil.repeat(1_000), "evidence": evil.repeat(10_000) })),
            ..message(&evil.repeat(10_000 / evil.len() + 1))
        }
    }

    #[test]
    fn every_message_stays_within_the_limits_of_its_service() {
        let units = |text: &Value| text.as_str().unwrap().encode_utf16().count();
        let report =
            NotificationMessage { notice: "report".into(), text: Some("line\n".repeat(20_000)), ..hostile() };
        for messages in [vec![hostile()], vec![hostile(); 1_000], vec![report]] {
            let body = |kind| posted_request(kind, "https://x/topic", &messages).1;
            let slack = body("slack");
            assert!(units(&slack["text"]) <= 40_000);
            for block in slack["blocks"].as_array().into_iter().flatten() {
                let most = if block["type"] == "header" { 150 } else { 3_000 };
                assert!(block["text"].is_null() || units(&block["text"]["text"]) <= most, "{block}");
                for field in block["fields"].as_array().into_iter().flatten() {
                    assert!(units(&field["text"]) <= 2_000);
                }
                for button in block["elements"].as_array().into_iter().flatten() {
                    assert!(button["url"].is_null() || units(&button["url"]) <= 3_000);
                }
            }
            let embed = &body("discord")["embeds"][0];
            let fields = embed["fields"].as_array().into_iter().flatten();
            let total = fields.map(|field| {
                assert!(units(&field["name"]) <= 256 && units(&field["value"]) <= 1_024);
                units(&field["name"]) + units(&field["value"])
            });
            let total: usize = total.sum::<usize>() + embed["author"]["name"].as_str().map_or(0, str::len);
            assert!(total + units(&embed["title"]) + units(&embed["description"]) <= 6_000);
            assert!(units(&embed["title"]) <= 256 && units(&embed["description"]) <= 4_096);
            let card = body("teams");
            assert!(card.to_string().encode_utf16().count() * 2 <= 28 * 1_024);
            assert!(units(&body("telegram")["text"]) <= 4_096);
            let event = body("pagerduty");
            assert!(event.to_string().len() <= 512 * 1_024);
            assert!(units(&event["dedup_key"]) <= 255 && units(&event["payload"]["summary"]) <= 1_024);
            assert!(body("ntfy").to_string().len() <= 4_096);
            assert!(units(&body("alertmanager")[0]["labels"]["target"]) <= 1_024);
        }
    }

    #[test]
    fn names_cannot_inject_lines_or_markup() {
        let written = MessageTemplate::parse("{{ target }}|{{ summary }}|{{ messages[0].target }}").unwrap();
        for text in [NotificationBatch::default_text(&[hostile()]), written.render(&[hostile()]).unwrap()] {
            assert!(!text.contains(['\r', '\0', '\u{1b}']), "{}", &text[..300]);
            assert!(text.lines().count() <= 3);
        }
        let messages = [hostile()];
        let body = |kind| posted_request(kind, "https://x/topic", &messages).1;
        let slack = body("slack")["text"].as_str().unwrap().to_owned();
        assert!(!slack.contains(['<', '>']) && slack.lines().count() == 4, "{}", &slack[..300]);
        let card = body("teams");
        let blocks = card["attachments"][0]["content"]["body"].as_array().unwrap();
        assert!(blocks.len() <= 6, "{card}");
        // The header is plain text, in which Slack interprets nothing.
        let slack = Value::from(body("slack")["blocks"].as_array().unwrap()[1..].to_vec()).to_string();
        assert!(!slack.contains("<!here>") && !slack.contains("<http"), "{}", &slack[..300]);
        let discord = body("discord").to_string();
        assert!(![card.to_string(), discord.clone()].iter().any(|text| text.contains("[x](")));
        assert!(!discord.contains("<!here>"), "{}", &discord[..300]);
        assert!(body("telegram").get("parse_mode").is_none());
    }

    #[test]
    fn texts_are_truncated_by_utf16_units_and_bytes() {
        assert_eq!(truncate_utf16("abc", 3), "abc");
        assert_eq!(truncate_utf16("äöüß", 3), "äö…");
        assert_eq!(truncate_utf16("🦀🦀🦀", 5), "🦀🦀…");
        assert_eq!(truncate_utf16("🦀🦀🦀", 6), "🦀🦀🦀");
        let [one, other] = ["a", "b"].map(|end| bounded_key(&format!("{}{end}", "n".repeat(300)), 255));
        assert!(one != other && one.len() == 255 && one.starts_with("nnn"), "{one}");
        assert_eq!(fit_to_bytes("äää", 8, |text| format!("<{text}>")), "<äää>");
        assert!(fit_to_bytes(&"ä".repeat(1_000), 100, |text| format!("<{text}>")).len() <= 100);
    }
}
