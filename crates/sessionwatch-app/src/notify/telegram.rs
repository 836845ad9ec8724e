//! Telegram: sends a message as a bot.

use credentials::Secret;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    DeliveryError, HttpRequest, NotificationBatch,
    channel_service::{ChannelService, ChannelSource},
    truncate_utf16,
};
use crate::config_file::{ConfigProblem, SecretText, WithSpan};

/// Telegram's limit for a message, in UTF-16 units.
const MAX_MESSAGE_LEN: usize = 4_096;

/// A Telegram bot
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct TelegramConfig {
    /// Bot token.
    #[schemars(extend("x-otherwise" = "secret_file"), example = &"${CHANNEL_SECRET}")]
    secret: Option<WithSpan<SecretText>>,
    /// File that contains only the secret.
    #[schemars(extend("x-otherwise" = "secret"), example = &"/run/secrets/channel")]
    secret_file: Option<WithSpan<String>>,
    /// Chat ID.
    #[schemars(extend("x-required" = true), example = &"-1001234567890")]
    chat: Option<String>,
}

/// The `telegram` channel.
#[derive(Clone, Debug)]
pub struct Telegram {
    token: Secret,
    chat: String,
}

impl ChannelService for Telegram {
    type Config = TelegramConfig;
    const KIND_NAME: &'static str = "telegram";
    const DEFAULT_URL: Option<&'static str> = Some("https://api.telegram.org");

    fn new(
        config: TelegramConfig,
        source: &mut ChannelSource<'_, '_, '_>,
    ) -> Option<Result<Self, ConfigProblem>> {
        let token = source.required_secret(config.secret.as_ref(), config.secret_file.as_ref());
        let chat = config.chat?;
        Some(token?.map(|token| Self { token, chat }))
    }

    fn build_request(
        &self,
        url: &Secret,
        batch: &NotificationBatch<'_>,
        _: UtcTimestamp,
    ) -> Result<HttpRequest, DeliveryError> {
        let base = url.expose().trim_end_matches('/');
        let token = self.token.expose();
        // Without a parse mode, Telegram does not interpret markup.
        let text = truncate_utf16(&format!("{}\n{}", batch.title(), batch.plain_text()), MAX_MESSAGE_LEN);
        let body =
            json!({ "chat_id": self.chat, "text": text, "link_preview_options": { "is_disabled": true } });
        Ok(HttpRequest {
            url: format!("{base}/bot{token}/sendMessage").into(),
            body: body.to_string().into(),
            ..HttpRequest::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::notify::tests::{message, posted_request};

    #[test]
    fn a_message_is_sent_to_the_chat_with_the_bot_token() {
        let (url, body) = posted_request("telegram", "https://api.example/", &[message("a")]);
        assert_eq!(url, "https://api.example/botkey/sendMessage");
        assert_eq!(body["chat_id"], "-1");
        assert!(
            body["text"].as_str().unwrap().starts_with("Failing: duplicate-tokens (critical) on a\n2 tokens")
        );
    }
}
