//! Enqueues notifications in the outbox.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::{
    StoreError,
    outbox::{self, NewOutboxMessage},
    transaction::Tx,
};

use super::{NotificationChannel, NotificationMessage, bounded_key};

/// The maximum length of an idempotency key, which is also sent as an HTTP header.
const MAX_KEY_LEN: usize = 500;

/// A message for one channel, and for one recipient of an email channel.
#[derive(Clone, Debug)]
pub(crate) struct QueuedMessage {
    pub(crate) channel: String,
    pub(crate) recipient: Option<String>,
    /// Ordering key (`target/check`): messages with the same subject are delivered in order. Empty if order does not
    /// matter.
    pub(crate) subject: String,
    pub(crate) message: NotificationMessage,
    /// Earliest time of delivery.
    pub(crate) send_at: UtcTimestamp,
}

/// Returns one message for each recipient of a channel. `subject` is the ordering key.
pub(crate) fn messages_for_channel(
    channel: &NotificationChannel,
    message: &NotificationMessage,
    subject: &str,
    now: UtcTimestamp,
    send_at: UtcTimestamp,
) -> Vec<QueuedMessage> {
    let queued = channel.recipients().into_iter().map(|recipient| {
        // The recipient is added below, so that each one has a key of its own.
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

/// Puts messages into the outbox. Returns their number.
///
/// # Errors
///
/// If the store cannot be written.
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

/// Returns the idempotency key of a message: unique, and the same for every attempt.
fn message_key<'a>(parts: impl Iterator<Item = &'a str>, now: UtcTimestamp) -> String {
    // Targets and checks may have any name; header values are ASCII without control characters.
    let plain = |part: &str| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string();
    let parts: Vec<String> = parts.map(plain).collect();
    bounded_key(&format!("{}/{}", parts.join("/"), now.micros()), MAX_KEY_LEN)
}

#[cfg(test)]
mod tests;
