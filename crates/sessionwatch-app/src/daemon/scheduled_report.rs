//! Sends the compliance checklist on a schedule.

use std::{sync::Arc, time::Duration};

use sessionwatch_clock as clock;
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::{
    StoreError,
    history_events::{self, EventRecord},
    transaction::Tx,
};
use tokio_util::sync::CancellationToken;

use super::{DaemonState, tasks::wait_to_retry};
use crate::{
    app::leadership::DELIVERY_LEASE,
    blocking, checklist,
    config::{Config, ScheduledReport},
    notify::{
        NotificationMessage,
        enqueue::{enqueue_messages, messages_for_channel},
    },
};

/// Delay before a failed store access is retried.
const RETRY_DELAY: Duration = Duration::from_secs(60);
/// The kind of history event that records a sent report.
const REPORT_EVENT_KIND: &str = "report";

/// Settings of the scheduled report.
pub(super) struct ReportSender {
    pub(super) state: Arc<DaemonState>,
    pub(super) config: Arc<Config>,
    pub(super) report: ScheduledReport,
    /// Epoch of the delivery lease.
    pub(super) epoch: i64,
    pub(super) stop: CancellationToken,
}

/// Sends the report whenever due, until stopped. Reports missed while no daemon ran are caught up once.
pub(super) async fn run(weekly: ReportSender) {
    let ReportSender { state, config, report, epoch, stop } = weekly;
    let store = state.app.lease_manager.fenced_store(&state.app.store, DELIVERY_LEASE, epoch);
    // Fenced as well as read here: the history is the only memory of what was sent.
    let mut last =
        match blocking::read_store(&store, |db| history_events::last_event_at(db, REPORT_EVENT_KIND)).await {
            Ok(last) => last.unwrap_or(state.started_at),
            Err(error) => return tracing::error!("cannot send the scheduled report: {error}"),
        };
    let report = Arc::new(report);
    while !stop.is_cancelled() {
        let now = state.app.clock.now();
        last = report.schedule.clamp_last_run(last, now);
        let Some(due) = report.schedule.next_after(last) else { return };
        if now < due {
            stop.run_until_cancelled(state.app.clock.sleep_until(due)).await;
            continue;
        }
        let (config, report) = (Arc::clone(&config), Arc::clone(&report));
        // Messages and the record of them commit together, so that a crash neither skips nor repeats a
        // report.
        match blocking::write_store(&store, move |db| enqueue_reports(db, &config, &report, now)).await {
            Ok(()) => {
                state.wake_delivery();
                last = now;
            }
            Err(error) => {
                tracing::error!("cannot queue the scheduled report, retrying: {error}");
                wait_to_retry(RETRY_DELAY, &stop).await;
            }
        }
    }
}

/// Queues the report if it is due, for a round after which the process ends. Without an earlier report, the schedule
/// counts from the oldest event: counted from the start of each round, the first report would never be due.
///
/// # Errors
///
/// If the store cannot be used.
pub(super) async fn enqueue_if_due(
    state: &Arc<DaemonState>,
    config: &Arc<Config>,
    epoch: i64,
) -> Result<(), StoreError> {
    let Some(report) = config.serve.scheduled_report.clone() else { return Ok(()) };
    let store = state.app.lease_manager.fenced_store(&state.app.store, DELIVERY_LEASE, epoch);
    let (config, now) = (Arc::clone(config), state.app.clock.now());
    blocking::write_store(&store, move |db| {
        let last = match history_events::last_event_at(db, REPORT_EVENT_KIND)? {
            Some(last) => last,
            None => history_events::first_event_at(db)?.unwrap_or(now),
        };
        let last = report.schedule.clamp_last_run(last, now);
        if report.schedule.next_after(last).is_some_and(|due| due <= now) {
            enqueue_reports(db, &config, &report, now)?;
        }
        Ok(())
    })
    .await
}

/// Queues the checklist of each target, and records that it was sent.
fn enqueue_reports(
    db: Tx<'_>,
    config: &Config,
    report: &ScheduledReport,
    now: UtcTimestamp,
) -> Result<(), StoreError> {
    // All targets in one transaction, so that a retry does not send some of them twice.
    for target in &config.targets {
        let list = checklist::build_weekly_checklist(db, config, target, now)?;
        let message = NotificationMessage {
            schema: 2,
            key: String::new(),
            notice: "report".into(),
            target: target.name.clone(),
            check: "checklist".into(),
            severity: "low".into(),
            summary: list.summary_line(),
            since: None,
            at: clock::format_rfc3339(now),
            finding: Some(list.to_json()),
            possible_duplicate: false,
            text: Some(list.render_text()),
        };
        for channel in config.serve.channels.iter().filter(|channel| report.channels.contains(&channel.name))
        {
            enqueue_messages(db, &messages_for_channel(channel, &message, "", now, now), now)?;
        }
    }
    let names: Vec<&str> = config.targets.iter().map(|target| target.name.as_str()).collect();
    history_events::insert_event(
        db,
        &EventRecord {
            id: 0,
            at: now,
            target: String::new(),
            check: "checklist".into(),
            kind: REPORT_EVENT_KIND.into(),
            summary: format!("sent the checklist for {}", names.join(", ")),
            detail: "{}".into(),
        },
    )
}

#[cfg(test)]
mod tests;
