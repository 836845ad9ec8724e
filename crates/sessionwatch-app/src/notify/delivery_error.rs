//! Why a message was not delivered.

use std::{error::Error, io};

use jiff::SignedDuration;

/// Why a message was not delivered. Holds nothing of the channel's address, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// The configuration names no such channel any more.
    #[error("there is no channel of that name")]
    NoChannel,
    /// Nobody is there.
    #[error("the channel cannot be reached")]
    Unreachable,
    /// Nobody answered in time: it may have arrived.
    #[error("the channel did not answer")]
    NoAnswer,
    /// The channel refused.
    #[error("the channel answered {status}{}", status_hint(*status))]
    Refused {
        /// The status of HTTP or SMTP.
        status: u16,
        /// How long it asks to wait.
        retry_after: Option<SignedDuration>,
    },
    /// The message in the outbox is damaged.
    #[error("the message cannot be read")]
    Damaged,
    /// TLS could not be set up, or the file of certificate authorities is none.
    #[error("TLS cannot be set up for it: is ca_file a PEM file of certificates?")]
    Tls,
    /// Nobody who is trusted vouches for it.
    #[error("its certificate is not trusted: name the authority that signed it as ca_file")]
    Untrusted,
    /// It speaks in the clear, or offers no log-in.
    #[error("it does not offer the TLS or the log-in that its url asks for")]
    Unprotected,
    /// No request can be made of what is configured.
    #[error("its url or secret is not of a form that can be used")]
    Malformed,
    /// The template of the channel does not fit.
    #[error("its template fails: {0}")]
    Template(String),
}

impl DeliveryError {
    /// How long the channel asks to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<SignedDuration> {
        if let Self::Refused { retry_after, .. } = self { *retry_after } else { None }
    }

    /// Whether the message may have arrived all the same.
    #[must_use]
    pub fn may_have_arrived(&self) -> bool {
        *self == Self::NoAnswer
    }

    /// Whether it is about that one message or recipient, so that others may well be taken.
    #[must_use]
    pub fn is_message_error(&self) -> bool {
        match self {
            Self::Damaged | Self::Template(_) => true,
            // Of HTTP: bad request, too large, cannot be processed; of SMTP: about a mailbox or a message.
            Self::Refused { status, retry_after: None } => {
                [400, 413, 422, 450, 451, 452, 550, 551, 552, 553, 554, 556].contains(status)
            }
            _ => false,
        }
    }
}

/// What to look at after an answer.
pub(super) fn status_hint(status: u16) -> &'static str {
    match status {
        300..=399 => ": it sends elsewhere, where nothing is sent",
        401 | 403 | 407 | 535 => ": is its secret, or the log-in in its url, right?",
        404 | 410 => ": is its url right?",
        _ => "",
    }
}

/// What is wrong with TLS, if that is what an error comes of.
pub(super) fn tls_failure(error: &(dyn Error + 'static)) -> Option<DeliveryError> {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidCertificate(_)) => return Some(DeliveryError::Untrusted),
            Some(_) => return Some(DeliveryError::Unprotected),
            None => {}
        }
        // An I/O error is not the source of what it wraps.
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
    fn a_refused_message_is_told_from_a_channel_that_refuses_all() {
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
    fn a_channel_that_asks_to_wait_is_waited_for_whatever_its_status_is() {
        let wait = SignedDuration::from_secs(30);
        let asked = DeliveryError::Refused { status: 422, retry_after: Some(wait) };
        assert!(!asked.is_message_error());
        assert_eq!(asked.retry_after(), Some(wait));
        assert_eq!((refused(429).retry_after(), DeliveryError::NoAnswer.retry_after()), (None, None));
    }

    #[test]
    fn only_a_message_that_nobody_answered_may_have_arrived() {
        assert!(DeliveryError::NoAnswer.may_have_arrived());
        assert!(!DeliveryError::Unreachable.may_have_arrived() && !refused(500).may_have_arrived());
    }

    #[test]
    fn an_answer_is_shown_with_what_to_look_at() {
        for (status, said) in [
            (301, "the channel answered 301: it sends elsewhere, where nothing is sent"),
            (401, "the channel answered 401: is its secret, or the log-in in its url, right?"),
            (535, "the channel answered 535: is its secret, or the log-in in its url, right?"),
            (404, "the channel answered 404: is its url right?"),
            (400, "the channel answered 400"),
            (500, "the channel answered 500"),
        ] {
            assert_eq!(refused(status).to_string(), said);
        }
    }
}
