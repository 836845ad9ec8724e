//! The outbox: notifications to deliver, by channel. A message is written in the transaction that causes it, and
//! delivered afterwards at least once.
//!
//! A message is marked as sending before it is sent. If it is still marked after a crash, it may have arrived: it is
//! sent again as a possible duplicate.

use jiff::SignedDuration;
use sessionwatch_core::{duration::SECOND, timestamp::UtcTimestamp};

use crate::{
    StoreError,
    delivery_backoff::retry_delay,
    row::{Param, StoreRow},
    transaction::Tx,
};

/// Attempts after which a message is given up. With the delays between them, this takes almost 19 hours.
pub const MAX_DELIVERY_ATTEMPTS: u32 = 20;

/// A message to deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxMessage {
    /// Id of the message.
    pub id: i64,
    /// Unique key, the same for every attempt.
    pub idempotency_key: String,
    /// The channel's name.
    pub channel: String,
    /// The recipient, for a channel that sends to each one separately.
    pub recipient: Option<String>,
    /// The content, as JSON.
    pub message: String,
    /// Number of earlier attempts.
    pub attempts: u32,
    /// `true` if an earlier attempt may have arrived.
    pub possible_duplicate: bool,
    /// The error of the last attempt.
    pub last_error: Option<String>,
    /// Time when the message was enqueued.
    pub created_at: UtcTimestamp,
}

/// A message to enqueue.
#[derive(Clone, Copy, Debug)]
pub struct NewOutboxMessage<'a> {
    /// Unique key.
    pub idempotency_key: &'a str,
    /// The channel's name.
    pub channel: &'a str,
    /// The recipient, for a channel that sends to each one separately.
    pub recipient: Option<&'a str>,
    /// The subject, such as an alert's target and check. Messages of one subject are delivered in order.
    pub subject: &'a str,
    /// The content, as JSON.
    pub message: &'a str,
    /// Earliest time of delivery.
    pub due_at: UtcTimestamp,
}

const OUTBOX_COLUMNS: &str =
    "id, idempotency_key, channel, recipient, message, attempts, again, error, created_at";

/// Enqueues a message, unless one with the same key exists.
///
/// # Errors
///
/// If the store cannot be written.
pub fn enqueue_message(
    db: Tx<'_>,
    message: NewOutboxMessage<'_>,
    now: UtcTimestamp,
) -> Result<(), StoreError> {
    let id = db.next_id("outbox")?;
    db.execute(
        "INSERT INTO outbox (id, idempotency_key, channel, recipient, subject, message, created_at, next_at, set_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $7) ON CONFLICT (idempotency_key) DO NOTHING",
        &[
            id.into(),
            message.idempotency_key.into(),
            message.channel.into(),
            Param::Text(message.recipient),
            message.subject.into(),
            message.message.into(),
            now.into(),
            message.due_at.into(),
        ],
    )?;
    Ok(())
}

/// Returns the messages of a channel that may be sent now, oldest first: at most one per subject and recipient. Once
/// one is due, messages that wait to be grouped with it are due too.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_due_messages(
    db: Tx<'_>,
    channel: &str,
    now: UtcTimestamp,
    limit: u32,
) -> Result<Vec<OutboxMessage>, StoreError> {
    let query = format!(
        "SELECT {OUTBOX_COLUMNS} FROM outbox
         WHERE channel = $1 AND state = 'due'
           AND (next_at <= $2 OR attempts = 0 AND EXISTS (
             SELECT 1 FROM outbox AS first WHERE first.channel = $1 AND first.state = 'due' AND first.next_at <= $2))
           AND NOT EXISTS (
             SELECT 1 FROM outbox AS older
             WHERE older.channel = $1 AND older.subject = outbox.subject AND older.subject <> '' \
             AND older.id < outbox.id
               AND older.state IN ('due', 'sending') AND COALESCE(older.recipient, '') = COALESCE(outbox.recipient, ''))
         ORDER BY id LIMIT $3"
    );
    let rows = db.query_rows(&query, &[channel.into(), now.into(), limit.into()])?;
    rows.iter().map(message_from_row).collect()
}

/// Returns `true` if a message of a channel is marked as sending.
///
/// # Errors
///
/// If the store cannot be read.
pub fn has_sending_message(db: Tx<'_>, channel: &str) -> Result<bool, StoreError> {
    // `LIMIT 1`, as one marked message is enough to know that an outcome is missing.
    let query = "SELECT 1 FROM outbox WHERE channel = $1 AND state = 'sending' LIMIT 1";
    Ok(db.query_row(query, &[channel.into()])?.is_some())
}

/// Returns the time when the next message of a channel that is not due yet becomes due.
///
/// # Errors
///
/// If the store cannot be read.
pub fn next_due_at(db: Tx<'_>, channel: &str, now: UtcTimestamp) -> Result<Option<UtcTimestamp>, StoreError> {
    let rows = db.query_rows(
        // Strictly later than the given time: what is due already has been tried.
        "SELECT MIN(next_at) FROM outbox WHERE channel = $1 AND state = 'due' AND next_at > $2",
        &[channel.into(), now.into()],
    )?;
    rows.first().map_or(Ok(None), |row| row.read_optional_timestamp(0))
}

/// Returns `true` if a message of a channel, to another recipient, has failed at least `min_attempts` times.
///
/// # Errors
///
/// If the store cannot be read.
pub fn has_failing_message(
    db: Tx<'_>,
    channel: &str,
    recipient: Option<&str>,
    min_attempts: u32,
) -> Result<bool, StoreError> {
    let rows = db.query_rows(
        "SELECT 1 FROM outbox WHERE channel = $1 AND state IN ('due', 'sending') AND attempts >= $2
           AND COALESCE(recipient, '') <> $3 LIMIT 1",
        &[channel.into(), min_attempts.into(), recipient.unwrap_or_default().into()],
    )?;
    Ok(!rows.is_empty())
}

/// Makes every waiting message due at `now`, after the clock was set back.
///
/// # Errors
///
/// If the store cannot be written.
pub fn make_all_due(db: Tx<'_>, now: UtcTimestamp) -> Result<(), StoreError> {
    db.execute(
        "UPDATE outbox SET next_at = $1, set_at = $1 WHERE state = 'due' AND next_at > $1",
        &[now.into()],
    )?;
    Ok(())
}

/// Makes messages due at `now` whose delay started in the future: the clock was ahead then. Other messages keep their
/// delay.
///
/// # Errors
///
/// If the store cannot be written.
pub fn clamp_future_due(db: Tx<'_>, now: UtcTimestamp) -> Result<u64, StoreError> {
    db.execute(
        // One second of tolerance for small corrections of the clock.
        "UPDATE outbox SET next_at = $1, set_at = $1 WHERE state = 'due' AND next_at > $1 AND set_at > $2",
        &[now.into(), (now + SECOND).into()],
    )
}

/// Returns the channels with undelivered messages.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_pending_channels(db: Tx<'_>) -> Result<Vec<String>, StoreError> {
    let rows = db.query_rows("SELECT DISTINCT channel FROM outbox WHERE state IN ('due', 'sending')", &[])?;
    rows.iter().map(|row| row.read_text(0)).collect()
}

/// Gives up all messages of a channel that no longer exists. Returns their number.
///
/// # Errors
///
/// If the store cannot be written.
pub fn discard_channel_messages(db: Tx<'_>, channel: &str, reason: &str) -> Result<u64, StoreError> {
    let query =
        "UPDATE outbox SET state = 'dead', error = $2 WHERE channel = $1 AND state IN ('due', 'sending')";
    db.execute(query, &[channel.into(), reason.into()])
}

/// Most ids per statement, below the parameter limits of both databases.
const MAX_IDS_PER_STATEMENT: usize = 500;

/// Updates messages with the SQL assignments in `set`.
fn update_messages<'a>(
    db: Tx<'_>,
    set: &str,
    messages: impl Iterator<Item = &'a OutboxMessage>,
) -> Result<(), StoreError> {
    // Numbered placeholders instead of an array parameter, which SQLite does not have.
    let ids: Vec<Param<'_>> = messages.map(|message| message.id.into()).collect();
    for ids in ids.chunks(MAX_IDS_PER_STATEMENT) {
        let list: Vec<String> = (1..=ids.len()).map(|number| format!("${number}")).collect();
        db.execute(&format!("UPDATE outbox SET {set} WHERE id IN ({})", list.join(", ")), ids)?;
    }
    Ok(())
}

/// Marks messages as sending.
///
/// # Errors
///
/// If the store cannot be written.
pub fn mark_sending<'a>(
    db: Tx<'_>,
    messages: impl Iterator<Item = &'a OutboxMessage>,
) -> Result<(), StoreError> {
    update_messages(db, "state = 'sending'", messages)
}

/// Requeues messages that were being sent when the daemon stopped, as possible duplicates. Returns their number.
///
/// # Errors
///
/// If the store cannot be written.
pub fn requeue_in_flight(db: Tx<'_>) -> Result<u64, StoreError> {
    db.execute("UPDATE outbox SET state = 'due', again = 1 WHERE state = 'sending'", &[])
}

/// Requeues the messages of one channel that are marked as sending although nothing is being sent, because the outcome
/// could not be stored. Returns their number.
///
/// # Errors
///
/// If the store cannot be written.
pub fn requeue_channel_in_flight(db: Tx<'_>, channel: &str) -> Result<u64, StoreError> {
    db.execute(
        "UPDATE outbox SET state = 'due', again = 1 WHERE state = 'sending' AND channel = $1",
        &[channel.into()],
    )
}

/// Marks messages as delivered.
///
/// # Errors
///
/// If the store cannot be written.
pub fn mark_delivered<'a>(
    db: Tx<'_>,
    messages: impl Iterator<Item = &'a OutboxMessage>,
) -> Result<(), StoreError> {
    update_messages(db, "state = 'done', attempts = attempts + 1, error = NULL", messages)
}

/// Records a failed attempt. The message is retried after a delay that doubles each time, or after `retry_after` if
/// that is longer. Returns `true` if the message was given up after [`MAX_DELIVERY_ATTEMPTS`].
///
/// # Errors
///
/// If the store cannot be written.
pub fn mark_failed(
    db: Tx<'_>,
    message: &OutboxMessage,
    error: &str,
    retry_after: Option<SignedDuration>,
    now: UtcTimestamp,
) -> Result<bool, StoreError> {
    let attempts = message.attempts + 1;
    let dead = attempts >= MAX_DELIVERY_ATTEMPTS;
    // A channel may ask for a longer delay (`Retry-After`), but never for a shorter one.
    let next = now + retry_after.unwrap_or_default().max(retry_delay(attempts));
    db.execute(
        "UPDATE outbox SET attempts = $2, next_at = $3, state = $4, error = $5, again = $6, set_at = $7 WHERE id = $1",
        &[
            message.id.into(),
            attempts.into(),
            next.into(),
            // Kept as dead: somebody has to see what was not delivered.
            if dead { "dead" } else { "due" }.into(),
            error.into(),
            message.possible_duplicate.into(),
            now.into(),
        ],
    )?;
    Ok(dead)
}

/// Returns messages that were given up, latest first.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_dead_messages(db: Tx<'_>, limit: u32) -> Result<Vec<OutboxMessage>, StoreError> {
    let query = format!("SELECT {OUTBOX_COLUMNS} FROM outbox WHERE state = 'dead' ORDER BY id DESC LIMIT $1");
    let dead = |row: &StoreRow| {
        // The list is shown to people, so a damaged message is reported here, unlike on delivery.
        row.read_json_text(4)?;
        message_from_row(row)
    };
    db.query_rows(&query, &[limit.into()])?.iter().map(dead).collect()
}

/// Counts the messages that were given up.
///
/// # Errors
///
/// If the store cannot be read.
pub fn count_dead_messages(db: Tx<'_>) -> Result<u64, StoreError> {
    db.query_count("SELECT COUNT(*) FROM outbox WHERE state = 'dead'", &[])
}

/// Requeues the given-up messages of a channel. Returns their number.
///
/// # Errors
///
/// If the store cannot be written.
pub fn requeue_dead(db: Tx<'_>, channel: &str, now: UtcTimestamp) -> Result<u64, StoreError> {
    db.execute(
        // The attempts start over, since a person has decided that the cause is fixed.
        "UPDATE outbox SET state = 'due', attempts = 0, next_at = $2, set_at = $2 WHERE state = 'dead' \
         AND channel = $1",
        &[channel.into(), now.into()],
    )
}

/// Deletes messages that were delivered or given up, and due before an instant.
///
/// # Errors
///
/// If the store cannot be written.
pub fn prune_messages(db: Tx<'_>, before: UtcTimestamp) -> Result<(), StoreError> {
    db.execute("DELETE FROM outbox WHERE state IN ('done', 'dead') AND next_at < $1", &[before.into()])?;
    Ok(())
}

/// Returns channel, state and number of undelivered messages.
///
/// # Errors
///
/// If the store cannot be read.
pub fn count_messages(db: Tx<'_>) -> Result<Vec<(String, String, u64)>, StoreError> {
    let rows = db.query_rows(
        "SELECT channel, state, COUNT(*) FROM outbox WHERE state <> 'done' GROUP BY channel, state \
         ORDER BY channel, state",
        &[],
    )?;
    let count = |row: &StoreRow| {
        Ok((
            row.read_text(0)?,
            // An unknown state would be counted under a name that no chart knows.
            row.read_known_text(1, |state| ["due", "sending", "dead"].contains(&state))?,
            row.read_u64(2)?,
        ))
    };
    rows.iter().map(count).collect()
}

/// Reads a message without decoding its content: a damaged one then fails on delivery, and does not hold up others.
fn message_from_row(row: &StoreRow) -> Result<OutboxMessage, StoreError> {
    Ok(OutboxMessage {
        id: row.read_i64(0)?,
        idempotency_key: row.read_text(1)?,
        channel: row.read_text(2)?,
        recipient: row.read_optional_text(3)?,
        message: row.read_text(4)?,
        attempts: row.read_u32(5)?,
        possible_duplicate: row.read_bool(6)?,
        last_error: row.read_optional_text(7)?,
        created_at: row.read_timestamp(8)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::store_of_each_kind;

    fn letter(key: &str, at: UtcTimestamp) -> NewOutboxMessage<'_> {
        NewOutboxMessage {
            idempotency_key: key,
            channel: "chat",
            recipient: None,
            subject: "app/x",
            message: "{}",
            due_at: at,
        }
    }

    #[test]
    fn a_message_is_retried_until_delivered_or_given_up() {
        for store in store_of_each_kind() {
            let at = |seconds: i64| UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
            let due_at = |now| store.read(|db| list_due_messages(db, "chat", now, 10)).unwrap();
            let states = || store.read(count_messages).unwrap();
            for _ in 0..2 {
                store.write(|db| enqueue_message(db, letter("key", at(100)), at(100))).unwrap();
            }
            assert_eq!(due_at(at(100)).len(), 1, "one key is one message");
            assert!(due_at(at(50)).is_empty());
            store.write(|db| make_all_due(db, at(50))).unwrap();
            assert_eq!(due_at(at(50)).len(), 1, "the clock went back");
            let first = due_at(at(100)).remove(0);
            store.write(|db| mark_failed(db, &first, "no answer", None, at(100))).unwrap();
            assert!(due_at(at(104)).is_empty());
            let second = due_at(at(105)).remove(0);
            assert_eq!(second.last_error.as_deref(), Some("no answer"));
            let doubtful = OutboxMessage { possible_duplicate: true, ..second };
            store.write(|db| mark_failed(db, &doubtful, "slow down", Some(60 * SECOND), at(105))).unwrap();
            assert!(due_at(at(164)).is_empty());
            let third = due_at(at(165)).remove(0);
            assert!(third.possible_duplicate, "it may have arrived");
            store.write(|db| mark_delivered(db, [&third].into_iter())).unwrap();
            assert!(due_at(at(1_000_000)).is_empty());
            store.write(|db| prune_messages(db, at(165))).unwrap();
            assert_eq!(store.read(|db| db.query_rows("SELECT id FROM outbox", &[])).unwrap().len(), 1);
            store.write(|db| prune_messages(db, at(166))).unwrap();
            assert!(store.read(|db| db.query_rows("SELECT id FROM outbox", &[])).unwrap().is_empty());
            store.write(|db| enqueue_message(db, letter("key", at(170)), at(170))).unwrap();
            let hopeless = OutboxMessage { attempts: MAX_DELIVERY_ATTEMPTS - 1, ..due_at(at(170)).remove(0) };
            assert!(store.write(|db| mark_failed(db, &hopeless, "gone", None, at(200))).unwrap());
            assert_eq!(states(), [("chat".to_owned(), "dead".to_owned(), 1)]);
            assert_eq!(store.read(count_dead_messages).unwrap(), 1);
            assert_eq!(
                store.read(|db| list_dead_messages(db, 10)).unwrap()[0].last_error.as_deref(),
                Some("gone")
            );
            assert_eq!(store.write(|db| requeue_dead(db, "chat", at(300))).unwrap(), 1);
            assert_eq!(due_at(at(300)).len(), 1);
        }
    }

    #[test]
    fn a_message_delayed_by_a_clock_that_was_ahead_is_due_once_the_clock_is_right() {
        for store in store_of_each_kind() {
            let at = |hours: i64| UtcTimestamp::UNIX_EPOCH + SignedDuration::from_hours(hours);
            let keys = |now| -> Vec<String> {
                let due = store.read(|db| list_due_messages(db, "chat", now, 10)).unwrap();
                due.into_iter().map(|due| due.idempotency_key).collect()
            };
            for (key, put_at, asked_for) in [("before", 1, 20), ("ahead", 13, 1)] {
                let letter = NewOutboxMessage { subject: key, ..letter(key, at(put_at)) };
                store.write(|db| enqueue_message(db, letter, at(put_at))).unwrap();
                let first = store.read(|db| list_due_messages(db, "chat", at(put_at), 10)).unwrap();
                let first = first.iter().find(|due| due.idempotency_key == key).unwrap();
                let wait = Some(SignedDuration::from_hours(asked_for));
                store.write(|db| mark_failed(db, first, "busy", wait, at(put_at))).unwrap();
            }
            assert_eq!(store.write(|db| clamp_future_due(db, at(10))).unwrap(), 1);
            assert_eq!(keys(at(10)), ["ahead"], "a message keeps the delay that the channel asked for");
            assert_eq!(keys(at(21)), ["before", "ahead"]);
        }
    }

    #[test]
    fn what_was_being_sent_when_the_sender_ended_is_sent_again_and_says_so() {
        for store in store_of_each_kind() {
            let now = UtcTimestamp::from_micros(1).unwrap();
            store.write(|db| enqueue_message(db, letter("key", now), now)).unwrap();
            let due_now = || store.read(|db| list_due_messages(db, "chat", now, 10)).unwrap();
            let first = due_now();
            store.write(|db| mark_sending(db, first.iter())).unwrap();
            assert!(due_now().is_empty() && !first[0].possible_duplicate);
            assert_eq!(store.read(list_pending_channels).unwrap(), ["chat"]);
            assert_eq!(store.write(|db| requeue_channel_in_flight(db, "other")).unwrap(), 0);
            assert_eq!(store.write(|db| requeue_channel_in_flight(db, "chat")).unwrap(), 1);
            assert!(due_now()[0].possible_duplicate);
            let again = due_now();
            store.write(|db| mark_sending(db, again.iter())).unwrap();
            assert_eq!(store.write(requeue_in_flight).unwrap(), 1);
        }
    }

    #[test]
    fn messages_of_an_alert_are_sent_in_order_and_grouped_ones_together() {
        for store in store_of_each_kind() {
            let at = |seconds: i64| UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
            let other = NewOutboxMessage { subject: "other/x", ..letter("c", at(60)) };
            for letter in [letter("a", at(10)), letter("b", at(10)), other] {
                store.write(|db| enqueue_message(db, letter, at(5))).unwrap();
            }
            let keys = |now| -> Vec<String> {
                let due = store.read(|db| list_due_messages(db, "chat", now, 10)).unwrap();
                due.into_iter().map(|due| due.idempotency_key).collect()
            };
            assert!(keys(at(9)).is_empty());
            assert_eq!(keys(at(10)), ["a", "c"]);
            let first = store.read(|db| list_due_messages(db, "chat", at(10), 1)).unwrap().remove(0);
            store.write(|db| mark_failed(db, &first, "busy", None, at(10))).unwrap();
            assert!(!keys(at(11)).contains(&"b".to_owned()), "the older message is still waiting");
            store.write(|db| mark_delivered(db, [&first].into_iter())).unwrap();
            assert_eq!(keys(at(11)), ["b", "c"]);
            assert_eq!(store.write(|db| discard_channel_messages(db, "chat", "gone")).unwrap(), 2);
            assert!(keys(at(100)).is_empty());
        }
    }
}
