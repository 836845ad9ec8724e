//! Deliveries of each notification channel: the latest message, and those that wait or were given up.

use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{StoreError, row::StoreRow, transaction::Tx};

/// Deliveries of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelDeliveries {
    /// Name of the channel.
    pub channel: String,
    /// Time at which the latest delivered message was enqueued; `None` if none was delivered.
    pub delivered_at: Option<UtcTimestamp>,
    /// Number of messages that are still to be delivered.
    pub waiting: u64,
    /// Number of messages that were given up.
    pub failed: u64,
    /// Latest error of a message that is not delivered.
    pub last_error: Option<String>,
}

/// Returns the deliveries of every channel that has messages.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_channel_deliveries(db: Tx<'_>) -> Result<Vec<ChannelDeliveries>, StoreError> {
    let rows = db.query_rows(
        "SELECT channel, MAX(CASE WHEN state = 'done' THEN created_at END),
           COUNT(CASE WHEN state IN ('due', 'sending') THEN 1 END), COUNT(CASE WHEN state = 'dead' THEN 1 END)
         FROM outbox GROUP BY channel ORDER BY channel",
        &[],
    )?;
    let of_channel = |row: &StoreRow| {
        let channel = row.read_text(0)?;
        let latest = "SELECT error FROM outbox WHERE channel = $1 AND error IS NOT NULL
             ORDER BY set_at DESC, id DESC LIMIT 1";
        let error = db.query_row(latest, &[(&channel).into()])?;
        Ok(ChannelDeliveries {
            delivered_at: row.read_optional_timestamp(1)?,
            waiting: row.read_u64(2)?,
            failed: row.read_u64(3)?,
            last_error: error.map(|row| row.read_text(0)).transpose()?,
            channel,
        })
    };
    rows.iter().map(of_channel).collect()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::{
        outbox::{
            NewOutboxMessage, discard_channel_messages, enqueue_message, list_due_messages, mark_delivered,
            mark_failed,
        },
        tests::store_of_each_kind,
    };

    #[test]
    fn deliveries_are_summed_up_by_channel() {
        for store in store_of_each_kind() {
            let at = |seconds: i64| UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
            for key in ["a", "b", "c"] {
                let message = NewOutboxMessage {
                    idempotency_key: key,
                    channel: "chat",
                    recipient: None,
                    subject: key,
                    message: "{}",
                    due_at: at(1),
                };
                store.write(|db| enqueue_message(db, message, at(5))).unwrap();
            }
            let due = store.read(|db| list_due_messages(db, "chat", at(9), 10)).unwrap();
            store.write(|db| mark_delivered(db, [&due[0]].into_iter())).unwrap();
            store.write(|db| mark_failed(db, &due[1], "busy", None, at(9))).unwrap();
            let expected = ChannelDeliveries {
                channel: "chat".into(),
                delivered_at: Some(at(5)),
                waiting: 2,
                failed: 0,
                last_error: Some("busy".into()),
            };
            assert_eq!(store.read(list_channel_deliveries).unwrap(), [expected]);
            store.write(|db| discard_channel_messages(db, "chat", "gone")).unwrap();
            let after = store.read(list_channel_deliveries).unwrap();
            assert_eq!((after[0].waiting, after[0].failed), (0, 2));
        }
    }
}
