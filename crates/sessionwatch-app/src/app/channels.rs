//! Channels: tried out, and what they did not take.

use std::sync::Arc;

use serde_json::json;
use sessionwatch_core::instant::Instant;
use sessionwatch_store::{
    StoreError, audit,
    outbox::{self, Due},
};

use super::{Actor, AppError, AppState};
use crate::notify;

pub use crate::notify::{Channel, Message};

/// A message that was given up on.
#[derive(Clone, Debug)]
pub struct FailedMessage {
    /// To whom it was to go, and why it did not.
    pub due: Due,
    /// What it says.
    pub message: Message,
}

impl FailedMessage {
    fn read(due: Due) -> Result<Self, StoreError> {
        let undecodable = |_| StoreError::Undecodable { table: "outbox".into(), column: "message".into() };
        let message = serde_json::from_str(&due.message).map_err(undecodable)?;
        Ok(Self { due, message })
    }
}

/// Sends a marked test message over a channel: what went wrong, nothing if it was accepted.
pub async fn send_test(channel: &Channel, now: Instant) -> Vec<String> {
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
    app.write(move |db| {
        audit::add(db, audit::NewEntry { actor: &by, action: "channel-tested", detail: &detail }, now)
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
    app.read(move |db| outbox::dead(db, limit)?.into_iter().map(FailedMessage::read).collect()).await
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
    app.write(move |db| {
        let count = outbox::revive(db, &channel, now)?;
        if count > 0 {
            let detail = json!({ "channel": channel, "messages": count }).to_string();
            audit::add(db, audit::NewEntry { actor: &by, action: "retry", detail: &detail }, now)?;
        }
        Ok(count)
    })
    .await
}
