//! Alerts in the store: what becomes of them is decided in [`engine`], and kept together with what is told because of it.

pub(crate) mod engine;

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
    events, outbox, silences,
    transaction::Tx,
};

use self::engine::{AlertContext, AlertTransition, CheckObservation};
use crate::{
    checks::{CHANNEL_FAILING, TARGET_UNREACHABLE},
    config::{Config, ServeConfig},
    notify::queue::enqueue_messages,
};

/// Takes in what was observed of checks of a target. Returns how many messages are to be delivered.
///
/// # Errors
///
/// If it cannot be written.
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
        all.into_iter().map(|kept| (kept.check.clone(), kept)).collect();
    let (mut messages, mut after) = (0, vec![]);
    for observation in observations {
        let transition = engine::advance_alert(before.remove(observation.check), &observation, context);
        messages += write_effects(db, &transition, now)?;
        after.push(transition.alert);
    }
    alerts::upsert_alerts(db, &after)?;
    Ok(messages)
}

/// Takes in whether a channel takes messages, or why not. Returns how many messages others are to deliver.
///
/// # Errors
///
/// If it cannot be written.
pub(crate) fn record_channel_health(
    db: Tx<'_>,
    config: &Config,
    channel: &str,
    failure: Option<&str>,
    now: UtcTimestamp,
) -> Result<u32, StoreError> {
    let before = alerts::find_alert(db, channel, CHANNEL_FAILING)?;
    if failure.is_none() && before.is_none() {
        return Ok(0);
    }
    let (sign, verdict, summary) = match failure {
        Some(why) => (CheckState::Failing, "failing", format!("channel {channel} takes no messages: {why}")),
        None => (CheckState::Passing, "healthy", format!("channel {channel} takes messages again")),
    };
    let silences = silences::list_active_silences(db, now)?;
    let observation = CheckObservation {
        target: channel,
        check: CHANNEL_FAILING,
        severity: Severity::High,
        state: sign,
        policy: AlertPolicy {
            failure_threshold: 1,
            success_threshold: 1,
            ..config.checks.alert_policy(Severity::High)
        },
        summary,
        verdict,
        finding: json!({ "action": format!("sessionwatch notifications test {channel}") }),
        subjects: vec![],
    };
    let context =
        AlertContext { serve: &config.serve, silences: &silences, skip_channel: Some(channel), now };
    let transition = engine::advance_alert(before, &observation, context);
    alerts::upsert_alert(db, &transition.alert)?;
    write_effects(db, &transition, now)
}

/// Ends the alerts of targets and checks that are not configured any more, and gives up on the messages of channels that
/// are not.
///
/// # Errors
///
/// If it cannot be written.
pub(crate) fn close_orphaned_alerts(
    store: &Store,
    config: &Config,
    now: UtcTimestamp,
) -> Result<(), StoreError> {
    store.write(|db| {
        for kept in alerts::list_alerts(db, true)? {
            let target = config.targets.iter().find(|target| target.name == kept.target);
            let known = match kept.check.as_str() {
                CHANNEL_FAILING => config.serve.channels.iter().any(|channel| channel.name == kept.target),
                TARGET_UNREACHABLE => target.is_some(),
                check => target.is_some_and(|target| config.runs_check(target, check)),
            };
            if !known {
                close_alert(db, &config.serve, &kept, "it is not watched any more", now)?;
                alerts::delete_alert(db, &kept.target, &kept.check)?;
            }
        }
        for channel in outbox::list_pending_channels(db)? {
            if config.serve.channels.iter().all(|known| known.name != channel) {
                outbox::discard_channel_messages(db, &channel, "there is no channel of that name any more")?;
            }
        }
        Ok(())
    })
}

/// Ends an alert for a reason other than a run, and tells those who heard of it. Returns how many messages are to be
/// delivered.
///
/// # Errors
///
/// If it cannot be written.
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
    let transition = engine::resolve_alert(alert, reason, severity, context);
    alerts::upsert_alert(db, &transition.alert)?;
    write_effects(db, &transition, now)
}

/// Notes what happened to an alert, and puts what is told of it into the outbox. Returns how many messages that are.
fn write_effects(db: Tx<'_>, transition: &AlertTransition, now: UtcTimestamp) -> Result<u32, StoreError> {
    for event in &transition.events {
        events::insert_event(db, event)?;
    }
    enqueue_messages(db, &transition.messages, now)
}
