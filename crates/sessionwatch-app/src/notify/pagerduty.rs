//! PagerDuty: an event of the Events API v2, which opens an incident and closes it again.

use serde_json::{Value, json};

use super::{Channel, Post, Told, distinct, shortened};
use crate::secret::Secret;

/// The longest summary and key that PagerDuty takes.
const SUMMARY: usize = 1_024;
const KEY: usize = 255;
/// The longest name of a source.
const SOURCE: usize = 1_024;
/// Bytes of an event that PagerDuty takes.
const MOST: usize = 512 * 1_024;

pub(super) fn post(channel: &Channel, told: &Told<'_>) -> Post {
    let message = told.first;
    let severity = match message.severity.as_str() {
        _ if message.is_good() => "info",
        "critical" => "critical",
        "high" => "error",
        "medium" => "warning",
        _ => "info",
    };
    let summary = format!("{}: {}", told.title(), message.summary);
    let mut body = json!({
        "routing_key": channel.secret.as_ref().map(Secret::expose),
        "event_action": if message.notice == "resolved" { "resolve" } else { "trigger" },
        // The same for firing, repeated and resolved: one incident.
        "dedup_key": distinct(&format!("sessionwatch/{}/{}", message.target, message.check), KEY),
        "client": "sessionwatch",
        "payload": {
            "summary": shortened(&summary, SUMMARY), "source": shortened(&message.target, SOURCE),
            "severity": severity, "timestamp": message.at, "component": "sessions", "class": message.check,
            "custom_details": message.finding,
        },
    });
    let mut text = body.to_string();
    if text.len() > MOST {
        // The alert matters more than its evidence, which is in the store.
        body["payload"]["custom_details"] = Value::Null;
        text = body.to_string();
    }
    Post { url: channel.url.clone(), body: text.into(), ..Post::default() }
}

#[cfg(test)]
mod tests {
    use crate::notify::{
        Kind, Message,
        tests::{message, posted},
    };

    #[test]
    fn one_incident_is_opened_and_closed() {
        let over = Message { notice: "resolved".into(), ..message("a") };
        let [opened, closed] =
            [message("a"), over].map(|message| posted(Kind::PagerDuty, "https://x", &[message]).1);
        assert_eq!(
            (&opened["event_action"], &closed["event_action"]),
            (&"trigger".into(), &"resolve".into())
        );
        assert_eq!(opened["dedup_key"], closed["dedup_key"]);
        assert_eq!(
            (&opened["routing_key"], &opened["payload"]["severity"]),
            (&"key".into(), &"critical".into())
        );
    }
}
