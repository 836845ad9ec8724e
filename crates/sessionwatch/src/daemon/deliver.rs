//! Delivery: one message to one channel, over HTTPS.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Client, StatusCode, header};
use serde_json::{Value, json};
use sessionwatch_rules::instant::{Instant, SECOND};
use sha2::Sha256;

use crate::{
    config::{Channel, Kind},
    store::outbox::Due,
};

/// How long a channel may take to accept a message.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a message was not delivered. Holds nothing of the channel's address, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The configuration names no such channel any more.
    #[error("there is no channel of that name")]
    NoChannel,
    /// Nobody answered in time.
    #[error("the channel did not answer")]
    NoAnswer,
    /// The channel refused.
    #[error("the channel answered {status}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Microseconds that it asks to wait.
        retry_after: Option<i64>,
    },
    /// The message in the outbox is damaged.
    #[error("the message cannot be read")]
    Damaged,
}

impl Failure {
    /// Microseconds that the channel asks to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<i64> {
        if let Self::Refused { retry_after, .. } = self { *retry_after } else { None }
    }
}

/// A client for every channel.
///
/// # Errors
///
/// If TLS cannot be set up.
pub fn client() -> reqwest::Result<Client> {
    // It fails only where one is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let redirects = reqwest::redirect::Policy::none();
    Client::builder().timeout(PATIENCE).redirect(redirects).user_agent("sessionwatch").build()
}

/// Delivers a message.
///
/// # Errors
///
/// If the channel does not accept it.
pub async fn deliver(client: &Client, channels: &[Channel], due: &Due, now: Instant) -> Result<(), Failure> {
    let channel = channels.iter().find(|channel| channel.name == due.channel).ok_or(Failure::NoChannel)?;
    let body = match channel.kind {
        Kind::Webhook => due.message.clone(),
        Kind::Slack => slack(&due.message)?.to_string(),
    };
    let mut request = client.post(&channel.url).header(header::CONTENT_TYPE, "application/json");
    if channel.kind == Kind::Webhook {
        let timestamp = (now.micros() / SECOND).to_string();
        request = request.header("webhook-id", &due.key).header("webhook-timestamp", &timestamp);
        if let Some(secret) = &channel.secret {
            request = request.header("webhook-signature", signature(secret, [&due.key, &timestamp, &body]));
        }
    }
    let answer = request.body(body).send().await.map_err(|_| Failure::NoAnswer)?;
    if answer.status().is_success() {
        return Ok(());
    }
    let asked =
        answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<i64>().ok());
    let waits = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&answer.status());
    let retry_after =
        asked.filter(|seconds| waits && (0..=86_400).contains(seconds)).map(|seconds| seconds * SECOND);
    Err(Failure::Refused { status: answer.status().as_u16(), retry_after })
}

/// The signature of the Standard Webhooks specification: HMAC-SHA256 over id, timestamp and body, parted by dots.
fn signature(secret: &str, parts: [&str; 3]) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(parts.join(".").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// The message as Slack shows it.
fn slack(message: &str) -> Result<Value, Failure> {
    let message: Value = serde_json::from_str(message).map_err(|_| Failure::Damaged)?;
    let text = |key: &str| escape(message[key].as_str().unwrap_or_default());
    let mark = match message["notice"].as_str() {
        Some("resolved") => "Resolved",
        Some("repeated") => "Still failing",
        Some("test") => "Test",
        _ => "Failing",
    };
    let mut said = format!(
        "*{mark}: {}* ({}) on `{}`\n{}",
        text("check"),
        text("severity"),
        text("target"),
        text("summary")
    );
    if let Some(action) = message["finding"]["action"].as_str().filter(|action| !action.is_empty()) {
        said.push_str(&format!("\n→ {}", escape(action)));
    }
    Ok(json!({ "text": said }))
}

/// Slack's own escapes, so that no name becomes a mention or a link.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_the_specification_does() {
        // Worked out apart, with openssl: printf 'id.1.{}' | openssl dgst -sha256 -hmac key -binary | base64
        assert_eq!(signature("key", ["id", "1", "{}"]), "v1,5PVmP2AfJGwnp9flV+flrzfukNWA9zyUdqvI+IQalVs=");
    }

    #[test]
    fn a_message_for_slack_mentions_nobody() {
        let message = json!({ "notice": "firing", "check": "x", "severity": "high", "target": "<!here>", "summary": "a & b" });
        let said = slack(&message.to_string()).unwrap()["text"].as_str().unwrap().to_owned();
        assert!(said.contains("`&lt;!here&gt;`") && said.contains("a &amp; b"), "{said}");
        assert_eq!(slack("{"), Err(Failure::Damaged));
    }
}
