//! Email over SMTP: a plain-text and an HTML part, one message per recipient.

use credentials::Secret;
use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message as Mail, Tokio1Executor,
    message::{Mailbox, MultiPart},
    transport::smtp::Error,
    transport::smtp::client::{Certificate, Tls, TlsParameters},
};
use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::timestamp::UtcTimestamp;
use sha2::{Digest as _, Sha256};

use super::{
    DELIVERY_TIMEOUT, DeliveryError, HttpRequest, NotificationBatch,
    channel_service::{ChannelService, ChannelSource},
    delivery_error::tls_failure,
    truncate_utf16,
};
use crate::config_file::{ConfigProblem, WithSpan};

/// The maximum length of an email's text, in UTF-16 units.
const MAX_TEXT_LEN: usize = 100_000;

/// Email through an SMTP server
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct EmailConfig {
    /// Sender address.
    #[schemars(extend("x-required" = true), example = &"sessionwatch <watch@example.org>")]
    from: Option<WithSpan<String>>,
    /// Recipient addresses; each gets its own message.
    #[schemars(extend("x-required" = true), example = ["ops@example.org"])]
    to: Option<WithSpan<Vec<String>>>,
}

/// The `email` channel.
#[derive(Clone, Debug)]
pub struct Email {
    /// Sender address.
    pub from: String,
    /// Recipient addresses.
    pub to: Vec<String>,
}

impl ChannelService for Email {
    type Config = EmailConfig;
    const KIND_NAME: &'static str = "email";
    const URL_SCHEMES: &'static [&'static str] = &["smtps://", "smtp://"];

    fn new(
        config: EmailConfig,
        source: &mut ChannelSource<'_, '_, '_>,
    ) -> Option<Result<Self, ConfigProblem>> {
        let is_address = |text: &String| text.parse::<Mailbox>().is_ok();
        let message = "must be an email address such as \"ops@example.org\" or \"Ops <ops@example.org>\"";
        for from in config.from.iter().filter(|from| !is_address(from)) {
            source.problems.report(from.span(), message);
        }
        for to in config.to.iter().filter(|to| !to.iter().all(is_address)) {
            source.problems.report(to.span(), message);
        }
        Some(Ok(Self { from: config.from?.into_inner(), to: config.to?.into_inner() }))
    }

    fn build_request(
        &self,
        _: &Secret,
        _: &NotificationBatch<'_>,
        _: UtcTimestamp,
    ) -> Result<HttpRequest, DeliveryError> {
        // Email is sent over SMTP, not HTTP.
        Err(DeliveryError::NoChannel)
    }
}

/// A connection pool to an SMTP server.
pub struct SmtpTransport(AsyncSmtpTransport<Tokio1Executor>);

/// Builds the transport for a channel's URL. Without `?tls=`, `smtp://` requires STARTTLS, except on the local machine.
pub(super) fn build_transport(
    url: &Secret,
    authorities: Option<&[u8]>,
) -> Result<SmtpTransport, DeliveryError> {
    // Plain `smtp://` would send the password in clear text if the server offers no TLS.
    let url = url_with_tls(url.expose());
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(&url)
        .map_err(|_| DeliveryError::Malformed)?
        .timeout(Some(DELIVERY_TIMEOUT));
    // The builder has no way to add a root certificate to the TLS mode of the URL, so the mode is derived again here.
    if let Some(pem) = authorities {
        let host = url_host(&url);
        let authority = Certificate::from_pem(pem).map_err(|_| DeliveryError::Tls)?;
        let parameters = TlsParameters::builder(host.to_owned()).add_root_certificate(authority).build();
        let parameters = parameters.map_err(|_| DeliveryError::Tls)?;
        builder = builder.tls(if url.starts_with("smtps://") {
            Tls::Wrapper(parameters)
        } else {
            // Required and not opportunistic: an attacker could otherwise suppress STARTTLS.
            Tls::Required(parameters)
        });
    }
    Ok(SmtpTransport(builder.build()))
}

/// Adds `tls=required` to a URL that does not choose a TLS mode.
fn url_with_tls(url: &str) -> String {
    let here = ["127.0.0.1", "localhost", "[::1]"].contains(&url_host(url));
    if url.starts_with("smtps://") || url.contains("tls=") || here {
        return url.to_owned();
    }
    format!("{url}{}tls=required", if url.contains('?') { '&' } else { '?' })
}

fn url_host(url: &str) -> &str {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split(['/', '?']).next().unwrap_or_default();
    // The user info may itself look like a local host, as in `127.0.0.1@mail.example`.
    let place = authority.rsplit('@').next().unwrap_or_default();
    if place.starts_with('[') { place.split_inclusive(']').next() } else { place.split(':').next() }
        .unwrap_or_default()
}

impl SmtpTransport {
    pub(super) async fn send(
        &self,
        email: &Email,
        batch: &NotificationBatch<'_>,
        recipient: Option<&str>,
    ) -> Result<(), DeliveryError> {
        let to = recipient.or(email.to.first().map(String::as_str)).unwrap_or_default();
        let mail = build_mail(email, batch, to)?;
        match self.0.send(mail).await {
            Ok(_) => Ok(()),
            Err(error) => Err(classify_error(&error)),
        }
    }
}

pub(super) fn build_mail(
    email: &Email,
    batch: &NotificationBatch<'_>,
    to: &str,
) -> Result<Mail, DeliveryError> {
    let mailbox = |address: &str| address.parse::<Mailbox>().map_err(|_| DeliveryError::Damaged);
    let from = mailbox(&email.from)?;
    // The same for every attempt, so that mail servers can drop a duplicate.
    let id = format!(
        "<{}@{}>",
        &const_hex::encode(Sha256::digest(format!("{}\n{to}", batch.first.key)))[..32],
        from.email.domain()
    );
    let (title, text) = (batch.title(), truncate_utf16(&batch.plain_text(), MAX_TEXT_LEN));
    let html = render_html(batch);
    Mail::builder()
        .from(from)
        .to(mailbox(to)?)
        .subject(title)
        .message_id(Some(id))
        // Avoids quoted-printable, which breaks long lines and makes the source hard to read.
        .header(lettre::message::header::ContentTransferEncoding::EightBit)
        .multipart(MultiPart::alternative_plain_html(text, html))
        .map_err(|_| DeliveryError::Damaged)
}

/// Renders the HTML part. It has no styles or images: mail clients block or rewrite most of them.
fn render_html(batch: &NotificationBatch<'_>) -> String {
    let paragraph = |text: &str| format!("<p>{}</p>", escape_html_text(text).replace('\n', "<br>"));
    let mut html = format!("<!doctype html><h2>{}</h2>", escape_html_text(&batch.title()));
    match &batch.details {
        Some(details) => {
            html += &format!("<h3>{}</h3>", escape_html_text(&details.title));
            html += &paragraph(&details.summary);
            html += &paragraph(&details.impact);
            let facts = [
                ("Affected users", details.affected.as_ref()),
                ("What to do", details.action.as_ref()),
                ("Since", details.since.as_ref()),
            ];
            let row = |name: &str, value: &str| {
                format!("<tr><th align=\"left\">{name}</th><td>{}</td></tr>", escape_html_text(value))
            };
            let rows = facts.into_iter().filter_map(|(name, value)| Some(row(name, value?)));
            html += &format!("<table cellpadding=\"4\">{}</table>", rows.collect::<String>());
            if let Some(command) = &details.command {
                html += &format!("<pre>{}</pre>", escape_html_text(command));
            }
            html += &batch.duplicate_note().map(paragraph).unwrap_or_default();
        }
        None => html += &paragraph(&truncate_utf16(&batch.text, MAX_TEXT_LEN)),
    }
    if let Some(link) = &batch.link {
        html += &format!("<p><a href=\"{}\">Open in sessionwatch</a></p>", escape_html_text(link));
    }
    html
}

fn classify_error(error: &Error) -> DeliveryError {
    if let Some(code) = error.status() {
        // The code is a number in a type of its own, so it takes the way through text.
        return DeliveryError::Refused { status: code.to_string().parse().unwrap_or(0), retry_after: None };
    }
    match tls_failure(error) {
        Some(failure) => failure,
        // The server offers no STARTTLS or no supported authentication method.
        None if error.is_client() || error.is_tls() => DeliveryError::Unprotected,
        None if error.is_response() || error.is_timeout() || is_broken_connection(error) => {
            DeliveryError::NoAnswer
        }
        None => DeliveryError::Unreachable,
    }
}

/// Returns `true` if an established connection broke, perhaps after the message was sent.
fn is_broken_connection(error: &Error) -> bool {
    use std::io::{
        self,
        ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof},
    };
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    let kinds = [BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof];
    cause.is_some_and(|cause| kinds.contains(&cause.kind()))
}

fn escape_html_text(text: &str) -> String {
    // The ampersand first, or the entities added later would be escaped again.
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::tests::{email, message};

    #[test]
    fn urls_require_tls_except_on_the_local_machine() {
        for (url, expected) in [
            ("smtps://u:p@mail.example", "smtps://u:p@mail.example"),
            ("smtp://u:p@mail.example:587", "smtp://u:p@mail.example:587?tls=required"),
            ("smtp://mail.example?tls=opportunistic", "smtp://mail.example?tls=opportunistic"),
            ("smtp://localhost:25", "smtp://localhost:25"),
            ("smtp://[::1]:25", "smtp://[::1]:25"),
            ("smtp://127.0.0.1@mail.example", "smtp://127.0.0.1@mail.example?tls=required"),
        ] {
            assert_eq!(url_with_tls(url), expected);
        }
    }

    #[test]
    fn names_cannot_inject_headers_or_html() {
        let messages = [message("x\r\nBcc: eve@example.org")];
        let batch = NotificationBatch::new(&messages, Some("<script>".into()), None).unwrap();
        let written = build_mail(&email(), &batch, "ops@example.org").unwrap();
        let text = String::from_utf8(written.formatted()).unwrap();
        assert!(!text.contains("\nBcc:") && text.contains("&lt;script&gt;"), "{text}");
        let id = |to| build_mail(&email(), &batch, to).unwrap().formatted();
        let id = |to| {
            String::from_utf8(id(to))
                .unwrap()
                .lines()
                .find(|line| line.starts_with("Message-ID"))
                .map(str::to_owned)
        };
        assert!(id("a@example.org").unwrap().ends_with("@example.org>"));
        assert_eq!(id("a@example.org"), id("a@example.org"));
        assert_ne!(id("a@example.org"), id("b@example.org"));
    }
}
