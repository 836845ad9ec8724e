//! Messages on their way into the outbox.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::{
    StoreError,
    outbox::{self, NewOutboxMessage},
    transaction::Tx,
};

use super::{NotificationChannel, NotificationMessage, bounded_key};

/// The longest key of a message, which is a header too.
const MAX_KEY_LEN: usize = 500;

/// A message for a channel, and for one recipient where the channel tells each by themselves.
#[derive(Clone, Debug)]
pub(crate) struct QueuedMessage {
    pub(crate) channel: String,
    pub(crate) recipient: Option<String>,
    /// What it tells of, which is told in order; empty if nothing follows on it.
    pub(crate) subject: String,
    pub(crate) message: NotificationMessage,
    /// When it may be sent.
    pub(crate) send_at: UtcTimestamp,
}

/// The messages that tell a channel, of which each recipient may be told by themselves. `about` is what it tells of.
pub(crate) fn messages_for_channel(
    channel: &NotificationChannel,
    message: &NotificationMessage,
    subject: &str,
    now: UtcTimestamp,
    send_at: UtcTimestamp,
) -> Vec<QueuedMessage> {
    let queued = channel.recipients().into_iter().map(|recipient| {
        let parts = [&message.target, &message.check, message.notice.as_str(), &channel.name];
        QueuedMessage {
            channel: channel.name.clone(),
            recipient: recipient.map(str::to_owned),
            subject: subject.to_owned(),
            message: NotificationMessage {
                key: message_key(parts.into_iter().chain(recipient), now),
                ..message.clone()
            },
            send_at,
        }
    });
    queued.collect()
}

/// Puts messages into the outbox. Returns how many.
///
/// # Errors
///
/// If they cannot be written.
pub(crate) fn enqueue_messages(
    db: Tx<'_>,
    messages: &[QueuedMessage],
    now: UtcTimestamp,
) -> Result<u32, StoreError> {
    for queued in messages {
        let text =
            serde_json::to_string(&queued.message).map_err(|_| StoreError::NotSerializable("a message"))?;
        let letter = NewOutboxMessage {
            idempotency_key: &queued.message.key,
            channel: &queued.channel,
            recipient: queued.recipient.as_deref(),
            subject: &queued.subject,
            message: &text,
            due_at: queued.send_at,
        };
        outbox::enqueue_message(db, letter, now)?;
    }
    Ok(u32::try_from(messages.len()).unwrap_or(u32::MAX))
}

/// The same for every attempt at one message, and no other's; fit for a header, whatever people call things.
fn message_key<'a>(parts: impl Iterator<Item = &'a str>, now: UtcTimestamp) -> String {
    let plain = |part: &str| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string();
    let parts: Vec<String> = parts.map(plain).collect();
    bounded_key(&format!("{}/{}", parts.join("/"), now.micros()), MAX_KEY_LEN)
}
