//! Automatic cleanup of expired sessions, for targets that configure it.

use std::{sync::Arc, time::Duration};

use sessionwatch_core::{
    checks::expired_backlog::EXPIRED_BACKLOG_CHECK,
    plural::format_count,
    safety_limit::{LimitExceeded, SafetyLimit},
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{
    Store, StoreError,
    history_events::{self, EventRecord},
};
use tokio_util::sync::CancellationToken;

use super::{
    DaemonState,
    tasks::{TaskGroup, wait_to_retry},
};
use crate::{
    app::{cleanup::CLEANUP_EVENT_KIND, leadership::target_lease_name},
    blocking,
    config::{CleanupConfig, Config, Target},
    remediation::{
        self, ActionContext, ActionError, ApplyReport, ArchiveKeys, Confirmation, JobControl, PlanExecutor,
        Selection, archive_keys,
    },
};

/// The actor in the audit log.
const CLEANUP_ACTOR: &str = "sessionwatch";
/// Delay before a failed store access is retried.
const RETRY_DELAY: Duration = Duration::from_secs(60);

/// Starts a cleanup task for each target that configures one.
pub(super) fn spawn_cleanups(tasks: &TaskGroup, state: &Arc<DaemonState>, config: &Arc<Config>) {
    let targets_with_cleanup =
        config.targets.iter().filter_map(|target| Some((target.clone(), target.auto_cleanup.clone()?)));
    for (target, cleanup) in targets_with_cleanup {
        let (state, config) = (Arc::clone(state), Arc::clone(config));
        let task = CleanupTask { state, config, target, cleanup, stop: tasks.stop_token() };
        tasks.spawn("automatic cleanup", task.run());
    }
}

/// The automatic cleanup of one target.
#[derive(Clone)]
struct CleanupTask {
    state: Arc<DaemonState>,
    config: Arc<Config>,
    target: Target,
    cleanup: CleanupConfig,
    stop: CancellationToken,
}

/// A store whose writes fail once the lease of `epoch` is lost.
struct FencedStore {
    epoch: i64,
    store: Store,
}

impl CleanupTask {
    /// Runs due cleanups while this daemon leads the target.
    async fn run(self) {
        let lease = target_lease_name(&self.target.name);
        while let Some(epoch) =
            self.stop.run_until_cancelled(self.state.app.lease_manager.wait_for_lease(&lease)).await
        {
            let store = self.state.app.lease_manager.fenced_store(&self.state.app.store, &lease, epoch);
            self.run_while_leading(&FencedStore { epoch, store }).await;
        }
    }

    /// Runs due cleanups until the lease is lost or the task is stopped. Cleanups missed while no daemon ran are caught
    /// up once.
    async fn run_while_leading(&self, fenced: &FencedStore) {
        let (state, lease) = (&self.state, target_lease_name(&self.target.name));
        // Another daemon may have run the cleanup since this one last led.
        let name = self.target.name.clone();
        let last = blocking::read_store(&fenced.store, move |db| {
            history_events::last_target_event_at(
                db,
                history_events::TargetEventKind {
                    kind: CLEANUP_EVENT_KIND,
                    target: &name,
                    check: EXPIRED_BACKLOG_CHECK.id,
                },
            )
        })
        .await;
        let Ok(last) = last else {
            // The failure is logged where the store is read.
            wait_to_retry(RETRY_DELAY, &self.stop).await;
            return;
        };
        // Without an earlier cleanup, the schedule counts from the start: no cleanup runs right after an
        // upgrade.
        let mut last = last.unwrap_or(state.started_at);
        while !self.stop.is_cancelled() && state.app.lease_manager.epoch(&lease) == Some(fenced.epoch) {
            let now = state.app.clock.now();
            // After the clock was set back, the last run would lie in the future and delay the next one.
            last = self.cleanup.schedule.clamp_last_run(last, now);
            // A cron expression may have no further occurrence.
            let due = self.cleanup.schedule.next_after(last).unwrap_or(UtcTimestamp::MAX);
            if now < due {
                self.stop.run_until_cancelled(state.app.clock.sleep_until(due)).await;
                continue;
            }
            let (this, store) = (self.clone(), fenced.store.clone());
            // Off the runtime's threads: SQLite blocks, and encryption takes CPU time.
            let outcome = blocking::run_async(async move || this.run_cleanup(&store).await).await;
            let (summary, detail) = describe_outcome(&self.target, &outcome);
            match &outcome {
                Ok(_) => tracing::info!(target = self.target.name, "{summary}"),
                Err(error) => tracing::error!(target = self.target.name, "{summary}{}", format_hint(error)),
            }
            let event = EventRecord {
                id: 0,
                at: now,
                target: self.target.name.clone(),
                check: EXPIRED_BACKLOG_CHECK.id.into(),
                kind: CLEANUP_EVENT_KIND.into(),
                summary,
                detail: detail.to_string(),
            };
            match blocking::write_store(&fenced.store, move |db| history_events::insert_event(db, &event))
                .await
            {
                // The new leader cleans up the rest.
                Ok(()) | Err(StoreError::LeaseLost) => {}
                Err(error) => {
                    tracing::error!(
                        target = self.target.name,
                        "cannot record the cleanup in the history: {error}"
                    );
                    wait_to_retry(RETRY_DELAY, &self.stop).await;
                }
            }
            // After a failure too: the next attempt waits for the schedule instead of loading a sick
            // database.
            last = now;
        }
    }

    /// Plans and applies one cleanup. Returns `None` if nothing had expired.
    async fn run_cleanup(&self, store: &Store) -> Result<Option<ApplyReport>, ActionError> {
        let Self { state, config, target, cleanup, .. } = self;
        let context = ActionContext { config, target, store, clock: &state.app.clock, actor: CLEANUP_ACTOR };
        let selection = Selection::Expired { grace: cleanup.grace };
        let Some(plan) = self.stop.run_until_cancelled(remediation::create_plan(context, &selection)).await
        else {
            // Stopped while planning: no row was touched.
            return Ok(None);
        };
        let plan = plan?;
        if plan.record.row_count == 0 {
            // An earlier cleanup that was interrupted may still have rows to finish.
            remediation::recover_interrupted(context).await?;
            return Ok(None);
        }
        // The configuration already permits many rows; every other safety limit still needs a person to confirm.
        let limit = SafetyLimit { max_table_share: cleanup.max_share, ..context.safety_limit() };
        let mut reasons = plan.confirmation_reasons(limit).map(|reason| reason.0).unwrap_or_default();
        reasons.retain(|reason| match reason {
            LimitExceeded::Rows(_) | LimitExceeded::CombinedRows { .. } => false,
            LimitExceeded::SideEffects(_) => !cleanup.allows_side_effects,
            _ => true,
        });
        // Counted against the cleanup's own limit instead of the one that asks a person.
        if plan.record.row_count > cleanup.max_rows {
            reasons.push(LimitExceeded::Rows(plan.record.row_count));
        }
        if !reasons.is_empty() {
            return Err(ActionError::LimitExceeded(
                remediation::error::ConfirmationReasons(reasons),
                target.name.clone(),
            ));
        }
        // After every refusal, so that a refused cleanup creates no key.
        let (recipient, made) = archive_keys::load_or_create_recipient(config)?;
        if let Some(path) = made {
            tracing::warn!("{}", archive_keys::new_identity_advice(&recipient, &path));
        }
        // On shutdown, the executor stops after its current batch.
        let control = JobControl::stopped_by(&self.stop);
        // The configuration stands in for the person who would type the name.
        let confirmation = Confirmation { typed_name: Some(&target.name), by_policy: true };
        let keys = ArchiveKeys { recipient: Some(&recipient), ..ArchiveKeys::default() };
        let executor = PlanExecutor { context, keys, confirmation, control: &control };
        executor.run(plan).await.map(Some)
    }
}

fn format_hint(error: &ActionError) -> String {
    error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default()
}

fn describe_outcome(
    target: &Target,
    outcome: &Result<Option<ApplyReport>, ActionError>,
) -> (String, serde_json::Value) {
    let name = &target.name;
    match outcome {
        Ok(None) => (format!("cleanup of {name}: no expired rows"), serde_json::json!({})),
        Ok(Some(report)) => {
            let mut summary = format!(
                "cleanup of {name}: deleted {}",
                format_count(report.done, "expired row", "expired rows")
            );
            let left = report.skipped + report.remaining;
            if left > 0 {
                summary.push_str(&format!(", left {left}"));
            }
            (
                summary,
                serde_json::json!({ "done": report.done, "skipped": report.skipped, "remaining": report.remaining }),
            )
        }
        Err(error) => (format!("cleanup of {name} failed: {error}"), serde_json::json!({})),
    }
}
