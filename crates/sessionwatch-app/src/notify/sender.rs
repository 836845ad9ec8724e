//! Sending over a channel.

use reqwest::{Client, StatusCode, header};
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    ChannelKind, DELIVERY_TIMEOUT, DeliveryError, HttpRequest, NotificationBatch, NotificationChannel,
    NotificationMessage, delivery_error::tls_failure, email, message::test_message, retry_after,
};

/// What speaks to one channel.
pub enum ChannelSender {
    /// Over HTTP.
    Http(Client),
    /// Over SMTP.
    Smtp(Box<email::SmtpTransport>),
}

impl ChannelSender {
    /// What speaks to that channel.
    ///
    /// # Errors
    ///
    /// If TLS cannot be set up.
    pub fn new(channel: &NotificationChannel) -> Result<Self, DeliveryError> {
        // It fails only where one is installed already, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        if matches!(channel.kind, ChannelKind::Email(_)) {
            return Ok(Self::Smtp(Box::new(email::build_transport(
                &channel.url,
                channel.ca_certificates.as_deref(),
            )?)));
        }
        let redirects = reqwest::redirect::Policy::none();
        let mut client =
            Client::builder().timeout(DELIVERY_TIMEOUT).redirect(redirects).user_agent("sessionwatch");
        // Where nobody takes the connection, nothing can have arrived.
        client = client.connect_timeout(DELIVERY_TIMEOUT / 2);
        if let Some(pem) = &channel.ca_certificates {
            let authorities = reqwest::Certificate::from_pem_bundle(pem).map_err(|_| DeliveryError::Tls)?;
            client = client.tls_certs_merge(authorities);
        }
        client.build().map(Self::Http).map_err(|_| DeliveryError::Tls)
    }

    /// Makes sure that a message can be written for the channel, without sending it.
    ///
    /// # Errors
    ///
    /// If it cannot be: the URL, the secret, an address or the template does not fit.
    pub fn validate(&self, channel: &NotificationChannel) -> Result<(), DeliveryError> {
        let now = UtcTimestamp::MIN;
        let messages = [test_message(now)];
        let text = match &channel.template {
            Some(template) => template.render(&messages).map_err(DeliveryError::Template)?,
            None => NotificationBatch::default_text(&messages),
        };
        let told = NotificationBatch { first: &messages[0], messages: &messages, text };
        match self {
            Self::Http(client) => {
                let written =
                    build_request(client, channel.kind.build_request(&channel.url, &told, now)?).build();
                written.map(drop).map_err(|_| DeliveryError::Malformed)
            }
            Self::Smtp(_) => match &channel.kind {
                ChannelKind::Email(email) => {
                    email.to.iter().try_for_each(|to| email::build_mail(email, &told, to).map(drop))
                }
                _ => Err(DeliveryError::NoChannel),
            },
        }
    }

    /// Delivers messages that are told together.
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
        let Some(first) = messages.first() else { return Ok(()) };
        let text = match &channel.template {
            Some(template) => template.render(messages).map_err(DeliveryError::Template)?,
            None => NotificationBatch::default_text(messages),
        };
        let told = NotificationBatch { first, messages, text };
        match self {
            Self::Http(client) => {
                send_request(client, channel.kind.build_request(&channel.url, &told, now)?, now).await
            }
            Self::Smtp(transport) => match &channel.kind {
                ChannelKind::Email(email) => transport.send(email, &told, recipient).await,
                _ => Err(DeliveryError::NoChannel),
            },
        }
    }
}

/// Sends a message over a channel that says that it is a test: what was wrong, if something was.
pub async fn send_test(channel: &NotificationChannel, now: UtcTimestamp) -> Vec<String> {
    send_directly(channel, &test_message(now), now).await
}

/// Sends a message over a channel at once, and only once: what was wrong, if something was.
pub(crate) async fn send_directly(
    channel: &NotificationChannel,
    message: &NotificationMessage,
    now: UtcTimestamp,
) -> Vec<String> {
    let mut problems = vec![];
    for recipient in channel.recipients() {
        let messages = std::slice::from_ref(message);
        let sent = async { ChannelSender::new(channel)?.deliver(channel, messages, recipient, now).await };
        problems.extend(sent.await.err().map(|why| match recipient {
            Some(recipient) => format!("{why}, for {recipient}"),
            None => why.to_string(),
        }));
    }
    problems
}

fn build_request(client: &Client, post: HttpRequest) -> reqwest::RequestBuilder {
    // Without the charset, some count two bytes for each character.
    let mut request =
        client.post(post.url.expose()).header(header::CONTENT_TYPE, "application/json; charset=utf-8");
    for (name, value) in post.headers {
        request = request.header(name, value.expose());
    }
    request.body(post.body.expose().to_owned())
}

async fn send_request(client: &Client, post: HttpRequest, now: UtcTimestamp) -> Result<(), DeliveryError> {
    let request = build_request(client, post);
    let unsent = |error: reqwest::Error| match tls_failure(&error) {
        Some(failure) => failure,
        None if error.is_builder() => DeliveryError::Malformed,
        None if error.is_connect() => DeliveryError::Unreachable,
        None => DeliveryError::NoAnswer,
    };
    // What it answers besides is not read, however long it is.
    let answer = request.send().await.map_err(unsent)?;
    if answer.status().is_success() {
        return Ok(());
    }
    let waits = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&answer.status());
    let asked = answer.headers().get(header::RETRY_AFTER).filter(|_| waits);
    let retry_after = asked.and_then(|value| retry_after::parse_retry_after(value.to_str().ok()?, now));
    Err(DeliveryError::Refused { status: answer.status().as_u16(), retry_after })
}

impl std::fmt::Debug for ChannelSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender")
    }
}
