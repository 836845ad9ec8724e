//! Stores alerts: [`transition`] computes each transition, and one transaction writes the alert, its history and its
//! notifications.

pub(crate) mod transition;

use std::collections::BTreeMap;

use serde_json::json;
use sessionwatch_core::{
    alert::{AlertPolicy, CheckState},
    severity::Severity,
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{
    Store, StoreError,
    alerts::{self, AlertRecord},
    history_events, outbox, silences,
    transaction::Tx,
};

use self::transition::{AlertContext, AlertTransition, CheckObservation};
use crate::{
    checks::{CHANNEL_FAILING, TARGET_UNREACHABLE},
    config::{Config, ServeConfig},
    notify::enqueue::enqueue_messages,
};

/// Advances the alerts of a target by the observations of its checks. Returns the number of queued notifications.
///
/// # Errors
///
/// If the store cannot be read or written.
pub(crate) fn record_observations<'a>(
    db: Tx<'_>,
    target: &str,
    observations: impl Iterator<Item = CheckObservation<'a>>,
    serve: &ServeConfig,
    now: UtcTimestamp,
) -> Result<u32, StoreError> {
    let silences = silences::list_active_silences(db, now)?;
    let context = AlertContext { serve, silences: &silences, skip_channel: None, now };
    let all = alerts::list_target_alerts(db, target)?;
    let mut before: BTreeMap<String, AlertRecord> =
        all.into_iter().map(|alert| (alert.check.clone(), alert)).collect();
    let (mut messages, mut after) = (0, vec![]);
    for observation in observations {
        let transition = transition::advance_alert(before.remove(observation.check), &observation, context);
        messages += write_effects(db, &transition, now)?;
        after.push(transition.alert);
    }
    alerts::upsert_alerts(db, &after)?;
    Ok(messages)
}

/// Severity of the alerts about sessionwatch's own work: `target-unreachable` and `channel-failing`.
pub(crate) const OPERATION_ALERT_SEVERITY: Severity = Severity::High;

/// Advances the `channel-failing` alert of a channel; `failure` is the reason, or `None` after a success. Returns the
/// number of notifications queued for other channels.
///
/// # Errors
///
/// If the store cannot be read or written.
pub(crate) fn record_channel_health(
    db: Tx<'_>,
    config: &Config,
    channel: &str,
    failure: Option<&str>,
    now: UtcTimestamp,
) -> Result<u32, StoreError> {
    let before = alerts::find_alert(db, channel, CHANNEL_FAILING)?;
    // The usual case: a healthy channel that never failed has no alert to advance.
    if failure.is_none() && before.is_none() {
        return Ok(0);
    }
    let (state, verdict, summary) = match failure {
        Some(why) => (CheckState::Failing, "failing", format!("deliveries to channel {channel} fail: {why}")),
        None => (CheckState::Passing, "passing", format!("deliveries to channel {channel} succeed again")),
    };
    let silences = silences::list_active_silences(db, now)?;
    let observation = CheckObservation {
        target: channel,
        check: CHANNEL_FAILING,
        severity: OPERATION_ALERT_SEVERITY,
        state,
        // The delivery worker has already counted several failed attempts.
        policy: AlertPolicy {
            failure_threshold: 1,
            success_threshold: 1,
            ..config.checks.alert_policy(OPERATION_ALERT_SEVERITY)
        },
        summary,
        verdict,
        unknown_reason: None,
        finding: json!({ "action": format!("sessionwatch notifications test {channel}") }),
        subjects: vec![],
    };
    let context =
        AlertContext { serve: &config.serve, silences: &silences, skip_channel: Some(channel), now };
    let transition = transition::advance_alert(before, &observation, context);
    alerts::upsert_alert(db, &transition.alert)?;
    write_effects(db, &transition, now)
}

/// Resolves the alerts of targets and checks that are no longer configured, and discards the queued messages of
/// channels that are no longer configured.
///
/// # Errors
///
/// If the store cannot be read or written.
pub(crate) fn close_orphaned_alerts(
    store: &Store,
    config: &Config,
    now: UtcTimestamp,
) -> Result<(), StoreError> {
    store.write(|db| {
        for alert in alerts::list_alerts(db, true)? {
            let target = config.targets.iter().find(|target| target.name == alert.target);
            let known = match alert.check.as_str() {
                CHANNEL_FAILING => config.serve.channels.iter().any(|channel| channel.name == alert.target),
                TARGET_UNREACHABLE => target.is_some(),
                // A check that was switched off counts as removed.
                check => target.is_some_and(|target| config.runs_check(target, check)),
            };
            if !known {
                close_alert(db, &config.serve, &alert, "no longer configured", now)?;
                alerts::delete_alert(db, &alert.target, &alert.check)?;
            }
        }
        for channel in outbox::list_pending_channels(db)? {
            if config.serve.channels.iter().all(|known| known.name != channel) {
                outbox::discard_channel_messages(db, &channel, "the channel is no longer configured")?;
            }
        }
        Ok(())
    })
}

/// Resolves an alert for a reason other than a check run, and notifies the channels that were notified of it. Returns
/// the number of queued notifications.
///
/// # Errors
///
/// If the store cannot be written, or holds an alert of unknown severity.
pub(crate) fn close_alert(
    db: Tx<'_>,
    serve: &ServeConfig,
    alert: &AlertRecord,
    reason: &str,
    now: UtcTimestamp,
) -> Result<u32, StoreError> {
    let unreadable = || StoreError::Undecodable { table: "alerts".into(), column: "severity".into() };
    let severity = alert.severity.parse::<Severity>().map_err(|_| unreadable())?;
    let context = AlertContext { serve, silences: &[], skip_channel: None, now };
    let transition = transition::resolve_alert(alert, reason, severity, context);
    alerts::upsert_alert(db, &transition.alert)?;
    write_effects(db, &transition, now)
}

/// Writes the history events and queues the notifications of a transition. Returns the number of notifications.
fn write_effects(db: Tx<'_>, transition: &AlertTransition, now: UtcTimestamp) -> Result<u32, StoreError> {
    for event in &transition.events {
        history_events::insert_event(db, event)?;
    }
    enqueue_messages(db, &transition.messages, now)
}

#[cfg(test)]
mod tests;
