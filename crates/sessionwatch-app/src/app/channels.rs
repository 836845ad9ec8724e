//! Channels: tried out.

use std::sync::Arc;

use serde_json::json;

use super::{Actor, AppError, AppState};
pub use crate::notify::Channel;
use crate::{notify, store::audit};

/// Sends a test message over a channel: what went wrong, nothing if it was accepted.
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
    let problems = notify::trial(channel, now).await;
    let detail = json!({ "channel": name, "accepted": problems.is_empty() }).to_string();
    app.write(move |db| audit::add(db, (&by, "channel-tested"), &detail, now)).await?;
    Ok(problems)
}
