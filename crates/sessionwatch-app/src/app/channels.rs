//! Notification channels: test messages and failed messages.

use std::sync::Arc;

use serde_json::json;
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::{
    StoreError, audit, channel_deliveries,
    outbox::{self, OutboxMessage},
};

use super::{Actor, AppError, AppState};
use crate::{config::NotificationRoute, notify};

pub use crate::notify::{NotificationChannel, NotificationMessage};
pub use sessionwatch_store::channel_deliveries::ChannelDeliveries;

/// Message that the daemon has stopped retrying.
#[derive(Clone, Debug)]
pub struct FailedMessage {
    /// Outbox entry with the channel and the last error.
    pub outbox_entry: OutboxMessage,
    /// Content of the message.
    pub message: NotificationMessage,
}

impl FailedMessage {
    fn from_outbox(outbox_entry: OutboxMessage) -> Result<Self, StoreError> {
        // An undecodable message is an error: a default would hide that a notification was lost.
        let undecodable = |_| StoreError::Undecodable { table: "outbox".into(), column: "message".into() };
        let message = serde_json::from_str(&outbox_entry.message).map_err(undecodable)?;
        Ok(Self { outbox_entry, message })
    }
}

/// Sends a message marked as a test over a channel. Returns the problems; empty if the message was accepted.
pub async fn send_test(channel: &NotificationChannel, now: UtcTimestamp) -> Vec<String> {
    notify::send_test(channel, now).await
}

/// Sends a test message over a configured channel and writes an audit entry. Returns the problems; empty if the message
/// was accepted.
///
/// # Errors
///
/// If no channel has that name.
pub async fn send_test_message(
    app: &Arc<AppState>,
    actor: &Actor,
    name: &str,
) -> Result<Vec<String>, AppError> {
    // The configuration is read once, so that a reload in between cannot swap the channel.
    let (now, config, by) = (app.clock.now(), app.config(), actor.name().to_owned());
    let channel = config.serve.channels.iter().find(|channel| channel.name == name);
    let channel = channel.ok_or_else(|| AppError::NotFound(format!("Channel “{name}” not found.")))?;
    // Sent directly, not through the outbox: the user waits for the result.
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

/// A configured channel, and what was delivered through it.
#[derive(Clone, Debug)]
pub struct ChannelStatus {
    /// Name of the channel.
    pub name: String,
    /// Name of its kind, as written in the configuration; empty if the channel cannot be used.
    pub kind: &'static str,
    /// Routes that send alerts to it; `None` if there are no routes, so that it receives every alert.
    pub routes: Option<Vec<NotificationRoute>>,
    /// Messages delivered and waiting.
    pub deliveries: ChannelDeliveries,
    /// Why the channel cannot be used.
    pub problem: Option<String>,
}

/// Lists the configured channels, those that cannot be used last.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn list_channels(app: &Arc<AppState>) -> Result<Vec<ChannelStatus>, AppError> {
    let config = app.config();
    let deliveries = app.read_store(channel_deliveries::list_channel_deliveries).await?;
    let status = |name: &str, kind, problem: Option<String>| {
        let of_channel = |route: &&NotificationRoute| route.channels.iter().any(|channel| channel == name);
        let routes = &config.serve.routes;
        let known = deliveries.iter().find(|one| one.channel == name).cloned();
        ChannelStatus {
            name: name.to_owned(),
            kind,
            routes: (!routes.is_empty()).then(|| routes.iter().filter(of_channel).cloned().collect()),
            deliveries: known.unwrap_or_default(),
            problem,
        }
    };
    let usable = config.serve.channels.iter().map(|channel| status(&channel.name, channel.kind.name(), None));
    let unresolved = config
        .serve
        .unresolved_channels
        .iter()
        .map(|section| status(&section.name, "", Some(section.problem.to_string())));
    Ok(usable.chain(unresolved).collect())
}

/// Lists failed messages, the latest first.
///
/// # Errors
///
/// If the state store is unavailable, or a message cannot be decoded.
pub async fn list_failed_messages(app: &Arc<AppState>, limit: u32) -> Result<Vec<FailedMessage>, AppError> {
    app.read_store(move |db| {
        outbox::list_dead_messages(db, limit)?.into_iter().map(FailedMessage::from_outbox).collect()
    })
    .await
}

/// Counts the failed messages.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn count_failed_messages(app: &Arc<AppState>) -> Result<u64, AppError> {
    app.read_store(outbox::count_dead_messages).await
}

/// Queues the failed messages of a channel again. Returns their number.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn retry_failed_messages(
    app: &Arc<AppState>,
    actor: &Actor,
    channel: String,
) -> Result<u64, AppError> {
    let (now, by) = (app.clock.now(), actor.name().to_owned());
    app.write_store(move |db| {
        let count = outbox::requeue_dead(db, &channel, now)?;
        // Nothing to retry is not an action, so the audit log stays quiet.
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

#[cfg(test)]
mod tests;
