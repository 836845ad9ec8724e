//! ntfy: publishes a message to a topic, as JSON to the root URL of the server.

use credentials::Secret;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    DeliveryError, HttpRequest, NotificationBatch,
    channel_service::{ChannelService, ChannelSource},
    fit_to_bytes,
};
use crate::config_file::{ConfigProblem, SecretText, WithSpan};

/// The maximum size of a request. ntfy turns a text above 4,096 bytes into an attachment, and rejects JSON above twice
/// that.
const MAX_REQUEST_BYTES: usize = 4_096;

/// An ntfy topic
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct NtfyConfig {
    /// Access token.
    #[schemars(extend("x-otherwise" = "none"), example = &"${CHANNEL_SECRET}")]
    secret: Option<WithSpan<SecretText>>,
    /// File that contains only the secret.
    #[schemars(extend("x-otherwise" = "secret"), example = &"/run/secrets/channel")]
    secret_file: Option<WithSpan<String>>,
}

/// The `ntfy` channel.
#[derive(Clone, Debug)]
pub struct Ntfy {
    token: Option<Secret>,
}

impl ChannelService for Ntfy {
    type Config = NtfyConfig;
    const KIND_NAME: &'static str = "ntfy";

    fn new(
        config: NtfyConfig,
        source: &mut ChannelSource<'_, '_, '_>,
    ) -> Option<Result<Self, ConfigProblem>> {
        let token = source.optional_secret(config.secret.as_ref(), config.secret_file.as_ref())?;
        Some(token.map(|token| Self { token }))
    }

    fn build_request(
        &self,
        url: &Secret,
        batch: &NotificationBatch<'_>,
        _: UtcTimestamp,
    ) -> Result<HttpRequest, DeliveryError> {
        let url = url.expose().trim_end_matches('/');
        // The JSON form of the API takes the topic in the body and is posted to the root.
        let (server, topic) = url.rsplit_once('/').unwrap_or((url, ""));
        // ntfy priorities: 5 is urgent, 3 the default, 2 makes no sound.
        let priority = match batch.first.severity.as_str() {
            _ if batch.first.is_benign() => 2,
            "critical" => 5,
            "high" => 4,
            _ => 3,
        };
        let tag = if batch.first.is_benign() { "white_check_mark" } else { "rotating_light" };
        let title = batch.title();
        let message = |text: &str| {
            let mut body = json!({
                "topic": topic, "title": title, "message": text, "priority": priority, "tags": [tag],
            });
            if let Some(link) = &batch.link {
                // A tap on the notification opens the page.
                body["click"] = json!(link);
            }
            body.to_string()
        };
        let text = match &batch.details {
            Some(details) => details
                .lines()
                .into_iter()
                .chain(batch.duplicate_note().map(str::to_owned))
                .collect::<Vec<_>>()
                .join("\n"),
            None => batch.text.clone(),
        };
        // Without fitting, ntfy would turn the text into an attachment.
        let body = fit_to_bytes(&text, MAX_REQUEST_BYTES, message);
        let bearer = |token: &Secret| ("authorization", format!("Bearer {}", token.expose()).into());
        let headers = self.token.iter().map(bearer).collect();
        Ok(HttpRequest { url: format!("{server}/").into(), headers, body: body.into() })
    }
}

#[cfg(test)]
mod tests {
    use crate::notify::tests::{message, posted_request};

    #[test]
    fn the_topic_is_the_last_segment_of_the_url() {
        let (url, body) = posted_request("ntfy", "https://ntfy.example/alerts", &[message("a")]);
        assert_eq!(
            (url.as_str(), &body["topic"], &body["priority"]),
            ("https://ntfy.example/", &"alerts".into(), &5.into())
        );
    }
}
