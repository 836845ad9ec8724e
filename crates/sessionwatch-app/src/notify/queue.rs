//! Messages on their way into the outbox.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sessionwatch_core::instant::Instant;
use sessionwatch_store::{
    StoreError,
    db::Db,
    outbox::{self, Letter},
};

use super::{Channel, Message, bounded_key};

/// The longest key of a message, which is a header too.
const LONGEST_KEY: usize = 500;

/// A message for a channel, and for one recipient where the channel tells each by themselves.
#[derive(Clone, Debug)]
pub(crate) struct QueuedMessage {
    pub(crate) channel: String,
    pub(crate) recipient: Option<String>,
    /// What it tells of, which is told in order; empty if nothing follows on it.
    pub(crate) about: String,
    pub(crate) message: Message,
    /// When it may be sent.
    pub(crate) at: Instant,
}

/// The messages that tell a channel, of which each recipient may be told by themselves. `about` is what it tells of.
pub(crate) fn queue(
    channel: &Channel,
    message: &Message,
    about: &str,
    now: Instant,
    at: Instant,
) -> Vec<QueuedMessage> {
    let queued = channel.recipients().into_iter().map(|recipient| {
        let parts = [&message.target, &message.check, message.notice.as_str(), &channel.name];
        QueuedMessage {
            channel: channel.name.clone(),
            recipient: recipient.map(str::to_owned),
            about: about.to_owned(),
            message: Message { key: key(parts.into_iter().chain(recipient), now), ..message.clone() },
            at,
        }
    });
    queued.collect()
}

/// Puts messages into the outbox. Returns how many.
///
/// # Errors
///
/// If they cannot be written.
pub(crate) fn enqueue(db: Db<'_>, messages: &[QueuedMessage], now: Instant) -> Result<u32, StoreError> {
    for queued in messages {
        let text = serde_json::to_string(&queued.message).map_err(|_| StoreError::Unwritable("a message"))?;
        let letter = Letter {
            key: &queued.message.key,
            channel: &queued.channel,
            recipient: queued.recipient.as_deref(),
            subject: &queued.about,
            message: &text,
            at: queued.at,
        };
        outbox::put(db, letter, now)?;
    }
    Ok(u32::try_from(messages.len()).unwrap_or(u32::MAX))
}

/// The same for every attempt at one message, and no other's; fit for a header, whatever people call things.
fn key<'a>(parts: impl Iterator<Item = &'a str>, now: Instant) -> String {
    let plain = |part: &str| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string();
    let parts: Vec<String> = parts.map(plain).collect();
    bounded_key(&format!("{}/{}", parts.join("/"), now.micros()), LONGEST_KEY)
}
