//! Alerts in the store: what becomes of them is decided in [`engine`], and kept together with what is told because of it.

pub(crate) mod engine;

use std::collections::BTreeMap;

use serde_json::json;
use sessionwatch_core::{
    alert::{AlertPolicy, CheckState},
    instant::Instant,
    severity::Severity,
};
use sessionwatch_store::{
    Store, StoreError,
    alerts::{self, Kept},
    db::Db,
    events, outbox, silences,
};

use self::engine::{AlertContext, CheckObservation, Transition};
use crate::{
    checks::{CHANNEL_FAILING, TARGET_UNREACHABLE},
    config::{Config, Serve},
    notify::queue::enqueue,
};

/// Takes in what was observed of checks of a target. Returns how many messages are to be delivered.
///
/// # Errors
///
/// If it cannot be written.
pub(crate) fn record_observations<'a>(
    db: Db<'_>,
    target: &str,
    observations: impl Iterator<Item = CheckObservation<'a>>,
    serve: &Serve,
    now: Instant,
) -> Result<u32, StoreError> {
    let silences = silences::list(db, now)?;
    let context = AlertContext { serve, silences: &silences, except: None, now };
    let all = alerts::of_target(db, target)?;
    let mut before: BTreeMap<String, Kept> = all.into_iter().map(|kept| (kept.check.clone(), kept)).collect();
    let (mut messages, mut after) = (0, vec![]);
    for observation in observations {
        let transition = engine::advance(before.remove(observation.check), &observation, context);
        messages += write_effects(db, &transition, now)?;
        after.push(transition.alert);
    }
    alerts::put_all(db, &after)?;
    Ok(messages)
}

/// Takes in whether a channel takes messages, or why not. Returns how many messages others are to deliver.
///
/// # Errors
///
/// If it cannot be written.
pub(crate) fn record_channel_health(
    db: Db<'_>,
    config: &Config,
    channel: &str,
    failure: Option<&str>,
    now: Instant,
) -> Result<u32, StoreError> {
    let before = alerts::get(db, channel, CHANNEL_FAILING)?;
    if failure.is_none() && before.is_none() {
        return Ok(0);
    }
    let (sign, verdict, summary) = match failure {
        Some(why) => (CheckState::Failing, "failing", format!("channel {channel} takes no messages: {why}")),
        None => (CheckState::Healthy, "healthy", format!("channel {channel} takes messages again")),
    };
    let silences = silences::list(db, now)?;
    let observation = CheckObservation {
        target: channel,
        check: CHANNEL_FAILING,
        severity: Severity::High,
        sign,
        policy: AlertPolicy { pending_looks: 1, clear_looks: 1, ..config.rules.policy(Severity::High) },
        summary,
        verdict,
        finding: json!({ "action": format!("sessionwatch notify test {channel}") }),
        about: vec![],
    };
    let context = AlertContext { serve: &config.serve, silences: &silences, except: Some(channel), now };
    let transition = engine::advance(before, &observation, context);
    alerts::put(db, &transition.alert)?;
    write_effects(db, &transition, now)
}

/// Ends the alerts of targets and checks that are not configured any more, and gives up on the messages of channels that
/// are not.
///
/// # Errors
///
/// If it cannot be written.
pub(crate) fn close_orphaned_alerts(store: &Store, config: &Config, now: Instant) -> Result<(), StoreError> {
    store.write(|db| {
        for kept in alerts::list(db, true)? {
            let target = config.targets.iter().find(|target| target.name == kept.target);
            let known = match kept.check.as_str() {
                CHANNEL_FAILING => config.serve.channels.iter().any(|channel| channel.name == kept.target),
                TARGET_UNREACHABLE => target.is_some(),
                check => target.is_some_and(|target| config.makes(target, check)),
            };
            if !known {
                resolve(db, &config.serve, &kept, "it is not watched any more", now)?;
                alerts::remove(db, &kept.target, &kept.check)?;
            }
        }
        for channel in outbox::channels(db)? {
            if config.serve.channels.iter().all(|known| known.name != channel) {
                outbox::abandon(db, &channel, "there is no channel of that name any more")?;
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
pub(crate) fn resolve(
    db: Db<'_>,
    serve: &Serve,
    kept: &Kept,
    why: &str,
    now: Instant,
) -> Result<u32, StoreError> {
    let unreadable = || StoreError::Undecodable { table: "alerts".into(), column: "severity".into() };
    let severity = kept.severity.parse::<Severity>().map_err(|_| unreadable())?;
    let context = AlertContext { serve, silences: &[], except: None, now };
    let transition = engine::resolve(kept, why, severity, context);
    alerts::put(db, &transition.alert)?;
    write_effects(db, &transition, now)
}

/// Notes what happened to an alert, and puts what is told of it into the outbox. Returns how many messages that are.
fn write_effects(db: Db<'_>, transition: &Transition, now: Instant) -> Result<u32, StoreError> {
    for event in &transition.events {
        events::add(db, event)?;
    }
    enqueue(db, &transition.messages, now)
}
