//! One full round for cron, CI and serverless jobs: every check of every target, history, alerts, and their
//! notifications.

use std::{sync::Arc, time::Duration};

use sessionwatch_clock::Clock;
use tokio::sync::Notify;

use super::{
    DaemonError, DaemonState, delivery, retention, run_lease_renewal, scheduled_report, sync_with_config,
    target_monitor::{RoundResult, TargetMonitor},
    tasks::TaskGroup,
};
use crate::{
    app::{
        check_runs,
        leadership::{self, DELIVERY_LEASE},
    },
    blocking,
    config::Config,
};

/// Longest wait for notifications. Those that failed by then stay in the outbox for the next round.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest wait until another instance gives up a target.
const LEASE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait until the tasks of a round stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// Runs every check of every target once, records the results, and delivers the notifications that are due.
///
/// # Errors
///
/// Returns an error if the state store cannot be opened or used.
pub async fn run_single_round(config: Config, clock: Clock) -> Result<Vec<RoundResult>, DaemonError> {
    // A panic of a task fails the round through the results: nobody waits for this channel.
    let (state, _failed) = DaemonState::open(config, clock).await?;
    let preparing = Arc::clone(&state);
    // Alerts of removed targets and checks are resolved before the round adds new ones.
    blocking::run(move || sync_with_config(&preparing)).await?;
    let config = state.app.config();
    let (leases, tasks) =
        (TaskGroup::new(state.fatal_errors.clone()), TaskGroup::new(state.fatal_errors.clone()));
    if state.app.store.is_shared() {
        let names = config.targets.iter().map(|target| leadership::target_lease_name(&target.name));
        let names = names.chain([DELIVERY_LEASE.to_owned()]).collect();
        leases.spawn("lease renewal", run_lease_renewal(Arc::clone(&state), names, leases.stop_token()));
    }
    let mut results = Vec::new();
    // One after another: a cron job shares its machine with the database more often than a daemon does.
    for (number, target) in config.targets.iter().enumerate() {
        let monitor = TargetMonitor {
            state: Arc::clone(&state),
            config: Arc::clone(&config),
            target: target.clone(),
            position: (number, config.targets.len()),
            wake: Arc::new(Notify::new()),
            stop: tasks.stop_token(),
        };
        results.push(monitor.run_single_round(LEASE_TIMEOUT).await?);
    }
    // Another instance that leads the delivery sends the report too.
    if let Some(epoch) = state.app.lease_manager.epoch(DELIVERY_LEASE) {
        scheduled_report::enqueue_if_due(&state, &config, epoch).await?;
    }
    // After the runs, whose notifications it delivers; before them, it would only poll.
    tasks.spawn("delivery", delivery::run(Arc::clone(&state), Arc::clone(&config), tasks.stop_token()));
    let waited = tokio::time::timeout(DELIVERY_TIMEOUT, check_runs::wait_for_deliveries(&state.app)).await;
    if waited.is_err() {
        tracing::warn!("some notifications have not been delivered yet; the next run will retry them");
    }
    tasks.stop(STOP_TIMEOUT).await;
    retention::remove_expired(&state).await;
    // Last, because the writes above need valid leases.
    leases.stop(STOP_TIMEOUT).await;
    let flushing = Arc::clone(&state);
    blocking::run(move || flushing.app.store.flush_memory_fallback()).await;
    // Only now, so that the tasks have stopped and the leases are given back in any case.
    waited.unwrap_or(Ok(()))?;
    Ok(results)
}
