//! Delivery errors and their classification: about one message, or about the whole channel.

use std::{error::Error, io};

use jiff::SignedDuration;

/// The reason why a message was not delivered. Never contains the channel's URL, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// The channel is not configured, or does not fit the sender.
    #[error("the channel is not configured")]
    NoChannel,
    /// The connection failed, so the message was not sent.
    #[error("cannot connect to the channel: check its URL, and that this machine can reach it")]
    Unreachable,
    /// The request timed out, or the connection broke: the message may have arrived.
    #[error("no response from the channel")]
    NoAnswer,
    /// The channel returned an error status.
    #[error("the channel returned status {status}{}", status_hint(*status))]
    Refused {
        /// The HTTP or SMTP status.
        status: u16,
        /// The delay that the channel asks for in `Retry-After`.
        retry_after: Option<SignedDuration>,
    },
    /// The message in the outbox cannot be decoded, or names an invalid recipient.
    #[error("the stored message is invalid")]
    Damaged,
    /// TLS cannot be set up, usually because of `ca_file`.
    #[error("cannot set up TLS: check that `ca_file` is a PEM file of certificates")]
    Tls,
    /// The server's certificate is not signed by a trusted authority.
    #[error("the server's certificate is not trusted: set `ca_file` to the certificate of its authority")]
    Untrusted,
    /// The server offers no TLS, or no supported authentication method.
    #[error("the server does not support the TLS mode or authentication method that `url` requires")]
    Unprotected,
    /// `url` or `secret` cannot be used to build a request.
    #[error("`url` or `secret` is malformed")]
    Malformed,
    /// The channel's template failed to render.
    #[error("cannot render the template: {0}")]
    Template(String),
}

impl DeliveryError {
    /// Returns the delay that the channel asks for, if any.
    #[must_use]
    pub fn retry_after(&self) -> Option<SignedDuration> {
        if let Self::Refused { retry_after, .. } = self { *retry_after } else { None }
    }

    /// Returns `true` if the message may have arrived despite the error.
    #[must_use]
    pub fn may_have_arrived(&self) -> bool {
        *self == Self::NoAnswer
    }

    /// Returns `true` if the error concerns one message or recipient, so that other messages may succeed.
    #[must_use]
    pub fn is_message_error(&self) -> bool {
        match self {
            Self::Damaged | Self::Template(_) => true,
            // HTTP: bad request, payload too large, unprocessable. SMTP: errors about a mailbox or a message.
            Self::Refused { status, retry_after: None } => {
                [400, 413, 422, 450, 451, 452, 550, 551, 552, 553, 554, 556].contains(status)
            }
            _ => false,
        }
    }
}

/// Returns what to check after an HTTP or SMTP status, as a suffix of the error message.
pub(super) fn status_hint(status: u16) -> &'static str {
    match status {
        // Following a redirect could hand the secret to another host.
        300..=399 => ": redirects are not followed; set `url` to the final address",
        401 | 403 | 407 | 535 => ": check `secret`, or the credentials in `url`",
        404 | 410 => ": check `url`",
        _ => "",
    }
}

/// Returns the TLS failure that caused an error; `None` if the cause is another one.
pub(super) fn tls_failure(error: &(dyn Error + 'static)) -> Option<DeliveryError> {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<rustls::Error>() {
            // Two errors, because the remedy differs: a missing authority can be configured, a bad handshake
            // not.
            Some(rustls::Error::InvalidCertificate(_)) => return Some(DeliveryError::Untrusted),
            Some(_) => return Some(DeliveryError::Unprotected),
            None => {}
        }
        // `io::Error::source` skips the error that it wraps and returns the source of that.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16) -> DeliveryError {
        DeliveryError::Refused { status, retry_after: None }
    }

    #[test]
    fn message_errors_are_distinguished_from_channel_errors() {
        for status in [400, 413, 422, 450, 550, 552, 556] {
            assert!(refused(status).is_message_error(), "{status}");
        }
        for status in [302, 401, 403, 404, 408, 410, 429, 451 + 10, 500, 503, 535] {
            assert!(!refused(status).is_message_error(), "{status}");
        }
        for about_message in [DeliveryError::Damaged, DeliveryError::Template("undefined value".into())] {
            assert!(about_message.is_message_error(), "{about_message}");
        }
        for about_channel in [
            DeliveryError::NoChannel,
            DeliveryError::Unreachable,
            DeliveryError::NoAnswer,
            DeliveryError::Tls,
            DeliveryError::Untrusted,
            DeliveryError::Malformed,
        ] {
            assert!(!about_channel.is_message_error(), "{about_channel}");
        }
    }

    #[test]
    fn retry_after_makes_any_status_a_channel_error() {
        let wait = SignedDuration::from_secs(30);
        let asked = DeliveryError::Refused { status: 422, retry_after: Some(wait) };
        assert!(!asked.is_message_error());
        assert_eq!(asked.retry_after(), Some(wait));
        assert_eq!((refused(429).retry_after(), DeliveryError::NoAnswer.retry_after()), (None, None));
    }

    #[test]
    fn only_a_message_without_response_may_have_arrived() {
        assert!(DeliveryError::NoAnswer.may_have_arrived());
        assert!(!DeliveryError::Unreachable.may_have_arrived() && !refused(500).may_have_arrived());
    }

    #[test]
    fn a_status_is_shown_with_what_to_check() {
        for (status, expected) in [
            (
                301,
                "the channel returned status 301: redirects are not followed; set `url` to the final address",
            ),
            (401, "the channel returned status 401: check `secret`, or the credentials in `url`"),
            (535, "the channel returned status 535: check `secret`, or the credentials in `url`"),
            (404, "the channel returned status 404: check `url`"),
            (400, "the channel returned status 400"),
            (500, "the channel returned status 500"),
        ] {
            assert_eq!(refused(status).to_string(), expected);
        }
    }
}
