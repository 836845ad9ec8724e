//! Channels: tried out, and what they did not take.

use std::sync::Arc;

use serde_json::json;
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::{
    StoreError, audit,
    outbox::{self, OutboxMessage},
};

use super::{Actor, AppError, AppState};
use crate::notify;

pub use crate::notify::{NotificationChannel, NotificationMessage};

/// A message that was given up on.
#[derive(Clone, Debug)]
pub struct FailedMessage {
    /// To whom it was to go, and why it did not.
    pub outbox_entry: OutboxMessage,
    /// What it says.
    pub message: NotificationMessage,
}

impl FailedMessage {
    fn from_outbox(outbox_entry: OutboxMessage) -> Result<Self, StoreError> {
        let undecodable = |_| StoreError::Undecodable { table: "outbox".into(), column: "message".into() };
        let message = serde_json::from_str(&outbox_entry.message).map_err(undecodable)?;
        Ok(Self { outbox_entry, message })
    }
}

/// Sends a marked test message over a channel: what went wrong, nothing if it was accepted.
pub async fn send_test(channel: &NotificationChannel, now: UtcTimestamp) -> Vec<String> {
    notify::send_test(channel, now).await
}

/// Sends a test message over a channel of that name, and records it: what went wrong, nothing if it was accepted.
///
/// # Errors
///
/// If there is no channel of that name.
pub async fn send_test_message(
    app: &Arc<AppState>,
    actor: &Actor,
    name: &str,
) -> Result<Vec<String>, AppError> {
    let (now, config, by) = (app.clock.now(), app.config(), actor.name().to_owned());
    let channel = config.serve.channels.iter().find(|channel| channel.name == name);
    let channel = channel.ok_or_else(|| AppError::NotFound("There is no such channel.".into()))?;
    let problems = send_test(channel, now).await;
    let detail = json!({ "channel": name, "accepted": problems.is_empty() }).to_string();
    app.write_store(move |db| {
        audit::insert_audit_entry(
            db,
            audit::NewAuditEntry { actor: &by, action: "channel.tested", detail: &detail },
            now,
        )
    })
    .await?;
    Ok(problems)
}

/// The messages that were given up on, the latest first.
///
/// # Errors
///
/// If one of them cannot be decoded.
pub async fn list_failed_messages(app: &Arc<AppState>, limit: u32) -> Result<Vec<FailedMessage>, AppError> {
    app.read_store(move |db| {
        outbox::list_dead_messages(db, limit)?.into_iter().map(FailedMessage::from_outbox).collect()
    })
    .await
}

/// Delivers the messages of a channel after all that were given up on: how many.
///
/// # Errors
///
/// If it cannot be written.
pub async fn retry_failed_messages(
    app: &Arc<AppState>,
    actor: &Actor,
    channel: String,
) -> Result<u64, AppError> {
    let (now, by) = (app.clock.now(), actor.name().to_owned());
    app.write_store(move |db| {
        let count = outbox::requeue_dead(db, &channel, now)?;
        if count > 0 {
            let detail = json!({ "channel": channel, "messages": count }).to_string();
            audit::insert_audit_entry(
                db,
                audit::NewAuditEntry { actor: &by, action: "notification.retried", detail: &detail },
                now,
            )?;
        }
        Ok(count)
    })
    .await
}
