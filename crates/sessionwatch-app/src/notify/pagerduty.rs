//! PagerDuty: sends events to the Events API v2, which triggers and resolves incidents.

use credentials::Secret;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    DeliveryError, HttpRequest, NotificationBatch, bounded_key,
    channel_service::{ChannelService, ChannelSource},
    truncate_utf16,
};
use crate::config_file::{ConfigProblem, SecretText, WithSpan};

// Limits of the Events API v2, in characters and bytes.
const MAX_SUMMARY_LEN: usize = 1_024;
const MAX_DEDUP_KEY_LEN: usize = 255;
const MAX_SOURCE_LEN: usize = 1_024;
const MAX_EVENT_BYTES: usize = 512 * 1_024;

/// A PagerDuty service
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct PagerDutyConfig {
    /// Routing key (integration key) of the service.
    #[schemars(extend("x-otherwise" = "secret_file"), example = &"${CHANNEL_SECRET}")]
    secret: Option<WithSpan<SecretText>>,
    /// File that contains only the secret.
    #[schemars(extend("x-otherwise" = "secret"), example = &"/run/secrets/channel")]
    secret_file: Option<WithSpan<String>>,
}

/// The `pagerduty` channel.
#[derive(Clone, Debug)]
pub struct PagerDuty {
    routing_key: Secret,
}

impl ChannelService for PagerDuty {
    type Config = PagerDutyConfig;
    const KIND_NAME: &'static str = "pagerduty";
    const IS_FOR_PROGRAMS: bool = true;
    const DEFAULT_URL: Option<&'static str> = Some("https://events.pagerduty.com/v2/enqueue");

    fn new(
        config: PagerDutyConfig,
        source: &mut ChannelSource<'_, '_, '_>,
    ) -> Option<Result<Self, ConfigProblem>> {
        let key = source.required_secret(config.secret.as_ref(), config.secret_file.as_ref())?;
        Some(key.map(|routing_key| Self { routing_key }))
    }

    fn build_request(
        &self,
        url: &Secret,
        batch: &NotificationBatch<'_>,
        _: UtcTimestamp,
    ) -> Result<HttpRequest, DeliveryError> {
        let message = batch.first;
        // PagerDuty knows four severities of its own.
        let severity = match message.severity.as_str() {
            _ if message.is_benign() => "info",
            "critical" => "critical",
            "high" => "error",
            "medium" => "warning",
            _ => "info",
        };
        let summary = format!("{}: {}", batch.title(), message.summary);
        let mut body = json!({
            "routing_key": self.routing_key.expose(),
            // Everything else triggers: a reminder only updates the incident of the same key.
            "event_action": if message.notice == "resolved" { "resolve" } else { "trigger" },
            // The same for firing, reminder and resolved, so that they belong to one incident.
            "dedup_key": bounded_key(&format!("sessionwatch/{}/{}", message.target, message.check), MAX_DEDUP_KEY_LEN),
            "client": "sessionwatch",
            "payload": {
                "summary": truncate_utf16(&summary, MAX_SUMMARY_LEN),
                "source": truncate_utf16(&message.target, MAX_SOURCE_LEN),
                "severity": severity, "timestamp": message.at, "component": "sessions", "class": message.check,
                "custom_details": message.finding,
            },
        });
        // Measured as encoded, because the limit applies to the request body.
        let mut text = body.to_string();
        if text.len() > MAX_EVENT_BYTES {
            // The alert matters more than its evidence, which stays in the store.
            body["payload"]["custom_details"] = Value::Null;
            text = body.to_string();
        }
        Ok(HttpRequest { url: url.clone(), body: text.into(), ..HttpRequest::default() })
    }
}

#[cfg(test)]
mod tests {
    use crate::notify::{
        NotificationMessage,
        tests::{message, posted_request},
    };

    #[test]
    fn one_incident_is_triggered_and_resolved() {
        let over = NotificationMessage { notice: "resolved".into(), ..message("a") };
        let [opened, closed] =
            [message("a"), over].map(|message| posted_request("pagerduty", "https://x", &[message]).1);
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
