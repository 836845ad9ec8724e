//! Check runs on request, in addition to their schedule.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::SignedDuration;
use sessionwatch_store::{StoreError, outbox};
use tokio::sync::broadcast::error::RecvError;

use super::{
    AppError, AppState, LiveEvent, Period,
    targets::{self, TargetStatus},
};
use crate::{blocking, schedule::MIN_RUN_GAP};

/// Longest wait for a requested run and its notifications. Jobs on serverless platforms often end after 30 seconds.
const REQUESTED_RUN_TIMEOUT: SignedDuration = SignedDuration::from_secs(25);
/// The interval at which the outbox is polled.
const OUTBOX_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A target whose checks were requested to run.
#[derive(Clone, Debug)]
pub struct RequestedRun {
    /// Target name.
    pub target: String,
    /// Its status when the wait ended.
    pub status: TargetStatus,
    /// The run was finished by then; `false` if it goes on, or if another instance monitors the target.
    pub is_finished: bool,
}

/// Requests a run of a target's checks, or of all targets, and waits until they are finished and their notifications
/// are sent, up to a time limit. Like each run, it starts only after the minimum gap to the last one. If that is too
/// far away, it is not waited for.
///
/// # Errors
///
/// No target has that name, or the state store is unavailable.
pub async fn request_check_runs(
    app: &Arc<AppState>,
    only: Option<&str>,
) -> Result<Vec<RequestedRun>, AppError> {
    let requested = match only {
        Some(name) => vec![app.target(name)?.name],
        None => app.config().targets.iter().map(|target| target.name.clone()).collect(),
    };
    let requested_at = app.clock.now();
    // Before the request, so that the end of no run is missed.
    let mut events = app.events.subscribe();
    let mut running = BTreeSet::new();
    for target in requested.iter().filter(|target| app.leads_target(target)) {
        let last_run = load_status(app, target).await?.report.map(|report| report.at);
        app.wake_target(target);
        // A run that starts later than anybody waits is not waited for at all.
        if last_run.is_none_or(|at| at + MIN_RUN_GAP <= requested_at + REQUESTED_RUN_TIMEOUT) {
            running.insert(target.as_str());
        }
    }
    let wait = async {
        while !running.is_empty() {
            match events.recv().await {
                // The end of a run that had started earlier is not the end of the requested one.
                Ok(LiveEvent::RunFinished { target, at }) if at >= requested_at => {
                    running.remove(target.as_str());
                }
                Ok(_) => {}
                // Which runs have finished is read from the store in any case.
                Err(RecvError::Lagged(_) | RecvError::Closed) => return Ok(()),
            }
        }
        wait_for_deliveries(app).await
    };
    if let Ok(outcome) = tokio::time::timeout(REQUESTED_RUN_TIMEOUT.unsigned_abs(), wait).await {
        outcome?;
    }
    let mut runs = Vec::new();
    for target in requested {
        let status = load_status(app, &target).await?;
        let is_finished = status.report.as_ref().is_some_and(|report| report.at >= requested_at);
        runs.push(RequestedRun { target, status, is_finished });
    }
    Ok(runs)
}

/// Loads the status of a target without its samples, which take longer to read than everything else.
async fn load_status(app: &Arc<AppState>, target: &str) -> Result<TargetStatus, AppError> {
    targets::load_target_status(app, target, Period::ending_at(app.clock.now(), SignedDuration::ZERO)).await
}

/// Waits until no message of a configured channel is due. One that failed is due later, and not waited for.
pub(crate) async fn wait_for_deliveries(app: &AppState) -> Result<(), StoreError> {
    let channels: Vec<String> =
        app.config().serve.channels.iter().map(|channel| channel.name.clone()).collect();
    loop {
        let (channels, now) = (channels.clone(), app.clock.now());
        let is_busy = blocking::read_store(&app.store, move |db| {
            for channel in &channels {
                // A message being sent is not due, but its outcome must be recorded before the process ends.
                if outbox::has_sending_message(db, channel)?
                    || !outbox::list_due_messages(db, channel, now, 1)?.is_empty()
                {
                    return Ok(true);
                }
            }
            Ok(false)
        });
        if !is_busy.await? {
            return Ok(());
        }
        sessionwatch_clock::sleep(OUTBOX_POLL_INTERVAL).await;
    }
}
