//! ntfy: a message on a topic, as JSON to the root of the server.

use credentials::Secret;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use sessionwatch_core::instant::Instant;

use super::{
    DeliveryError, HttpRequest, NotificationBatch, fit_to_bytes,
    service::{Service, Source},
};
use crate::config_file::{SecretText, Written};

/// Bytes of a request: beyond 4 096 bytes of text ntfy makes an attachment of it, and it reads no JSON of twice that.
const MOST: usize = 4_096;

/// A channel that is a topic of ntfy
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Config {
    /// The access token.
    #[schemars(extend("x-otherwise" = "none"), example = &"${CHANNEL_SECRET}")]
    secret: Option<Written<SecretText>>,
    /// A file that holds nothing but the secret.
    #[schemars(extend("x-otherwise" = "secret"), example = &"/run/secrets/channel")]
    secret_file: Option<Written<String>>,
}

/// A message on a topic of ntfy.
#[derive(Clone, Debug)]
pub struct Ntfy {
    /// The access token.
    token: Option<Secret>,
}

impl Service for Ntfy {
    type Config = Config;
    const KIND: &'static str = "ntfy";

    fn new(config: Config, source: &mut Source<'_, '_, '_>) -> Option<Result<Self, String>> {
        let token = source.secret(config.secret.as_ref(), config.secret_file.as_ref())?;
        Some(token.map(|token| Self { token }))
    }

    fn post(
        &self,
        url: &Secret,
        told: &NotificationBatch<'_>,
        _: Instant,
    ) -> Result<HttpRequest, DeliveryError> {
        let url = url.expose().trim_end_matches('/');
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
        let body = fit_to_bytes(&told.text, MOST, message);
        let bearer = |token: &Secret| ("authorization", format!("Bearer {}", token.expose()).into());
        let headers = self.token.iter().map(bearer).collect();
        Ok(HttpRequest { url: format!("{server}/").into(), headers, body: body.into() })
    }
}

#[cfg(test)]
mod tests {
    use crate::notify::tests::{message, posted};

    #[test]
    fn the_topic_is_the_end_of_the_url() {
        let (url, body) = posted("ntfy", "https://ntfy.example/alerts", &[message("a")]);
        assert_eq!(
            (url.as_str(), &body["topic"], &body["priority"]),
            ("https://ntfy.example/", &"alerts".into(), &5.into())
        );
    }
}
