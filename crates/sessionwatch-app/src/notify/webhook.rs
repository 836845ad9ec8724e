//! Webhooks: posts the message as JSON, with the headers of the Standard Webhooks specification.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentials::Secret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::timestamp::UtcTimestamp;
use sha2::Sha256;

use super::{
    DeliveryError, HttpRequest, NotificationBatch,
    channel_service::{ChannelService, ChannelSource},
};
use crate::config_file::{ConfigProblem, SecretText, WithSpan};

/// An HTTP endpoint that receives JSON
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct WebhookConfig {
    /// Key that signs the messages.
    #[schemars(extend("x-otherwise" = "none"), example = &"${CHANNEL_SECRET}")]
    secret: Option<WithSpan<SecretText>>,
    /// File that contains only the secret.
    #[schemars(extend("x-otherwise" = "secret"), example = &"/run/secrets/channel")]
    secret_file: Option<WithSpan<String>>,
}

/// The `webhook` channel.
#[derive(Clone, Debug)]
pub struct Webhook {
    secret: Option<Secret>,
}

impl ChannelService for Webhook {
    type Config = WebhookConfig;
    const KIND_NAME: &'static str = "webhook";
    const IS_FOR_PROGRAMS: bool = true;

    fn new(
        config: WebhookConfig,
        source: &mut ChannelSource<'_, '_, '_>,
    ) -> Option<Result<Self, ConfigProblem>> {
        let secret = source.optional_secret(config.secret.as_ref(), config.secret_file.as_ref())?;
        Some(secret.map(|secret| Self { secret }))
    }

    fn build_request(
        &self,
        url: &Secret,
        batch: &NotificationBatch<'_>,
        now: UtcTimestamp,
    ) -> Result<HttpRequest, DeliveryError> {
        let body = serde_json::to_string(batch.first).map_err(|_| DeliveryError::Damaged)?;
        let timestamp = Timestamp::from(now).as_second().to_string();
        let key = batch.first.key.clone();
        let signed =
            self.secret.as_ref().map(|secret| sign_message(secret.expose(), [&key, &timestamp, &body]));
        let mut headers = vec![("webhook-id", key), ("webhook-timestamp", timestamp)];
        headers.extend(signed.map(|signature| ("webhook-signature", signature)));
        let headers = headers.into_iter().map(|(name, value)| (name, value.into())).collect();
        Ok(HttpRequest { url: url.clone(), headers, body: body.into() })
    }
}

/// Returns the HMAC-SHA256 signature of ID, timestamp and body, joined by dots.
fn sign_message(secret: &str, parts: [&str; 3]) -> String {
    // Never fails: HMAC accepts keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&decode_signing_key(secret)) else {
        return String::new();
    };
    mac.update(parts.join(".").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// Returns the key bytes of a secret: decoded if it is `whsec_` and Base64, as the specification defines, else as
/// written.
fn decode_signing_key(secret: &str) -> Vec<u8> {
    let encoded = secret.strip_prefix("whsec_").and_then(|encoded| STANDARD.decode(encoded).ok());
    encoded.unwrap_or_else(|| secret.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_match_the_specification() {
        // Computed with openssl: printf 'id.1.{}' | openssl dgst -sha256 -hmac key -binary | base64
        let signed = "v1,5PVmP2AfJGwnp9flV+flrzfukNWA9zyUdqvI+IQalVs=";
        assert_eq!(sign_message("key", ["id", "1", "{}"]), signed);
        assert_eq!(sign_message("whsec_a2V5", ["id", "1", "{}"]), signed);
        // Test vector from other implementations.
        let example = ["msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", r#"{"test": 2432232314}"#];
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        assert_eq!(sign_message(secret, example), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(decode_signing_key("whsec_?"), b"whsec_?");
    }
}
