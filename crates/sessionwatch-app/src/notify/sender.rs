//! Sends messages over HTTP and SMTP.

use std::time::Duration;

use reqwest::{Client, StatusCode, header};
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    ChannelKind, DELIVERY_TIMEOUT, DeliveryError, HttpRequest, NotificationBatch, NotificationChannel,
    NotificationMessage, delivery_error::tls_failure, email, message::test_message, retry_after,
};

/// Time for which an unused connection is kept for the next delivery. Servers keep it longer (Node.js: 5 s), so that no
/// message is sent on a connection that its server is just closing.
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// A client for one channel.
pub enum ChannelSender {
    /// Sends over HTTP.
    Http(Client),
    /// Sends over SMTP.
    Smtp(Box<email::SmtpTransport>),
}

impl ChannelSender {
    /// Builds the client of a channel.
    ///
    /// # Errors
    ///
    /// If TLS cannot be set up, or the URL of an email channel is malformed.
    pub fn new(channel: &NotificationChannel) -> Result<Self, DeliveryError> {
        // Fails only if a provider is installed already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        if matches!(channel.kind, ChannelKind::Email(_)) {
            return Ok(Self::Smtp(Box::new(email::build_transport(
                &channel.url,
                channel.ca_certificates.as_deref(),
            )?)));
        }
        // A redirect could hand the secret in a header or URL to another host.
        let redirects = reqwest::redirect::Policy::none();
        let mut client =
            Client::builder().timeout(DELIVERY_TIMEOUT).redirect(redirects).user_agent("sessionwatch");
        // Shorter than the total timeout, so that an unreachable host can be distinguished from a message that may have
        // arrived.
        client = client.connect_timeout(DELIVERY_TIMEOUT / 2).pool_idle_timeout(IDLE_CONNECTION_TIMEOUT);
        if let Some(pem) = &channel.ca_certificates {
            let authorities = reqwest::Certificate::from_pem_bundle(pem).map_err(|_| DeliveryError::Tls)?;
            client = client.tls_certs_merge(authorities);
        }
        client.build().map(Self::Http).map_err(|_| DeliveryError::Tls)
    }

    /// Builds a test message for the channel without sending it.
    ///
    /// # Errors
    ///
    /// If the URL, the secret, an address or the template is invalid.
    pub fn validate(&self, channel: &NotificationChannel) -> Result<(), DeliveryError> {
        // Any time will do: the message is built and thrown away.
        let now = UtcTimestamp::MIN;
        let messages = [test_message(now)];
        let Some(batch) = build_batch(channel, &messages)? else { return Ok(()) };
        match self {
            Self::Http(client) => {
                let written =
                    build_request(client, channel.kind.build_request(&channel.url, &batch, now)?).build();
                written.map(drop).map_err(|_| DeliveryError::Malformed)
            }
            Self::Smtp(_) => match &channel.kind {
                ChannelKind::Email(email) => {
                    email.to.iter().try_for_each(|to| email::build_mail(email, &batch, to).map(drop))
                }
                _ => Err(DeliveryError::NoChannel),
            },
        }
    }

    /// Delivers messages together.
    ///
    /// # Errors
    ///
    /// If the channel does not accept them.
    pub async fn deliver(
        &self,
        channel: &NotificationChannel,
        messages: &[NotificationMessage],
        recipient: Option<&str>,
        now: UtcTimestamp,
    ) -> Result<(), DeliveryError> {
        let Some(batch) = build_batch(channel, messages)? else { return Ok(()) };
        match self {
            Self::Http(client) => {
                send_request(client, channel.kind.build_request(&channel.url, &batch, now)?, now).await
            }
            Self::Smtp(transport) => match &channel.kind {
                ChannelKind::Email(email) => transport.send(email, &batch, recipient).await,
                _ => Err(DeliveryError::NoChannel),
            },
        }
    }
}

/// Returns the batch of messages for a channel; `None` without messages.
fn build_batch<'a>(
    channel: &NotificationChannel,
    messages: &'a [NotificationMessage],
) -> Result<Option<NotificationBatch<'a>>, DeliveryError> {
    let rendered = channel.template.as_ref().map(|template| template.render(messages));
    let rendered = rendered.transpose().map_err(DeliveryError::Template)?;
    Ok(NotificationBatch::new(messages, rendered, channel.dashboard_url.as_deref()))
}

/// Sends a test message over a channel. Returns the problems, one for each recipient that failed.
pub async fn send_test(channel: &NotificationChannel, now: UtcTimestamp) -> Vec<String> {
    send_directly(channel, &test_message(now), now).await
}

/// Sends a message without the outbox, in a single attempt. Returns the problems, one for each recipient that failed.
pub(crate) async fn send_directly(
    channel: &NotificationChannel,
    message: &NotificationMessage,
    now: UtcTimestamp,
) -> Vec<String> {
    let mut problems = vec![];
    for recipient in channel.recipients() {
        let messages = std::slice::from_ref(message);
        // A sender per message, as in a test or a shutdown there is only one.
        let sent = async { ChannelSender::new(channel)?.deliver(channel, messages, recipient, now).await };
        problems.extend(sent.await.err().map(|why| match recipient {
            Some(recipient) => format!("{recipient}: {why}"),
            None => why.to_string(),
        }));
    }
    problems
}

fn build_request(client: &Client, post: HttpRequest) -> reqwest::RequestBuilder {
    // Without the charset, some services count two bytes for each character.
    let mut request =
        client.post(post.url.expose()).header(header::CONTENT_TYPE, "application/json; charset=utf-8");
    for (name, value) in post.headers {
        request = request.header(name, value.expose());
    }
    request.body(post.body.expose().to_owned())
}

async fn send_request(client: &Client, post: HttpRequest, now: UtcTimestamp) -> Result<(), DeliveryError> {
    let request = build_request(client, post);
    // TLS first: reqwest reports a failed handshake as a connection error.
    let unsent = |error: reqwest::Error| match tls_failure(&error) {
        Some(failure) => failure,
        None if error.is_builder() => DeliveryError::Malformed,
        None if error.is_connect() => DeliveryError::Unreachable,
        None => DeliveryError::NoAnswer,
    };
    // The response body is not read: only the status matters, and the body could be of any size.
    let answer = request.send().await.map_err(unsent)?;
    if answer.status().is_success() {
        return Ok(());
    }
    // RFC 9110 defines `Retry-After` for redirects too, which are not followed.
    let waits = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&answer.status());
    let asked = answer.headers().get(header::RETRY_AFTER).filter(|_| waits);
    let retry_after = asked.and_then(|value| retry_after::parse_retry_after(value.to_str().ok()?, now));
    Err(DeliveryError::Refused { status: answer.status().as_u16(), retry_after })
}

impl std::fmt::Debug for ChannelSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The clients inside hold the channel's credentials.
        f.write_str("Sender")
    }
}
