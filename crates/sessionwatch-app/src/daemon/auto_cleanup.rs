//! Cleaning up by itself, where that is switched on.

use std::{sync::Arc, time::Duration};

use sessionwatch_core::{
    safety_limit::{LimitExceeded, SafetyLimit},
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{
    Store, StoreError,
    events::{self, EventRecord},
};
use tokio_util::sync::CancellationToken;

use super::{
    DaemonState,
    tasks::{TaskGroup, wait_to_retry},
};
use crate::{
    app::leadership::target_lease_name,
    blocking,
    config::{CleanupConfig, Config, Target},
    remediation::{
        self, ActionContext, ActionError, ApplyReport, ArchiveKeys, Confirmation, JobControl, PlanExecutor,
        Selection, archive_keys,
    },
};

/// Who acts.
const CLEANUP_ACTOR: &str = "the watch";
/// What is noted of a cleanup.
const CLEANUP_EVENT_KIND: &str = "cleanup";
/// How long to wait before a store that failed is asked again.
const RETRY_DELAY: Duration = Duration::from_secs(60);

/// Starts the cleanups that are configured.
pub(super) fn spawn_cleanups(tasks: &TaskGroup, state: &Arc<DaemonState>, config: &Arc<Config>) {
    let cleaned =
        config.targets.iter().filter_map(|target| Some((target.clone(), target.auto_cleanup.clone()?)));
    for (target, cleanup) in cleaned {
        let (state, config) = (Arc::clone(state), Arc::clone(config));
        let cleaning = CleanupTask { state, config, target, cleanup, stop: tasks.stop_token() };
        tasks.spawn("the cleanup of a target", cleaning.run());
    }
}

/// A target that is cleaned up by itself.
#[derive(Clone)]
struct CleanupTask {
    state: Arc<DaemonState>,
    config: Arc<Config>,
    target: Target,
    cleanup: CleanupConfig,
    stop: CancellationToken,
}

/// A term under which a target is cleaned up.
struct FencedStore {
    epoch: i64,
    /// The store, for what is written under it.
    store: Store,
}

impl CleanupTask {
    /// Cleans the target up each time that it is due, while this daemon leads it.
    async fn run(self) {
        let lease = target_lease_name(&self.target.name);
        while let Some(number) =
            self.stop.run_until_cancelled(self.state.app.lease_manager.wait_for_lease(&lease)).await
        {
            let store = self.state.app.lease_manager.fenced_store(&self.state.app.store, &lease, number);
            self.run_while_leading(&FencedStore { epoch: number, store }).await;
        }
    }

    /// Cleans up until the term is over, or this is to stop. What was due while nobody ran is done once, late.
    async fn run_while_leading(&self, fenced: &FencedStore) {
        let (state, lease) = (&self.state, target_lease_name(&self.target.name));
        // Another daemon may have cleaned up since this one last led.
        let name = self.target.name.clone();
        let last = blocking::read_store(&fenced.store, move |db| {
            events::last_target_event_at(
                db,
                events::TargetEventKind { kind: CLEANUP_EVENT_KIND, target: &name },
            )
        })
        .await;
        let Ok(last) = last else {
            // That it cannot be read is logged where it is read.
            wait_to_retry(RETRY_DELAY, &self.stop).await;
            return;
        };
        let mut last = last.unwrap_or(state.started_at);
        while !self.stop.is_cancelled() && state.app.lease_manager.epoch(&lease) == Some(fenced.epoch) {
            let now = state.app.clock.now();
            last = self.cleanup.schedule.clamp_last_run(last, now);
            let due = self.cleanup.schedule.next_after(last).unwrap_or(UtcTimestamp::MAX);
            if now < due {
                self.stop.run_until_cancelled(state.app.clock.sleep_until(due)).await;
                continue;
            }
            let (this, store) = (self.clone(), fenced.store.clone());
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
                check: "expired-backlog".into(),
                kind: CLEANUP_EVENT_KIND.into(),
                summary,
                detail: detail.to_string(),
            };
            match blocking::write_store(&fenced.store, move |db| events::insert_event(db, &event)).await {
                // Whoever leads now begins with what is left.
                Ok(()) | Err(StoreError::LeaseLost) => {}
                Err(error) => {
                    tracing::error!("that a target was cleaned up could not be noted: {error}");
                    wait_to_retry(RETRY_DELAY, &self.stop).await;
                }
            }
            last = now;
        }
    }

    /// Plans and carries out one cleanup: nothing if there is nothing to do.
    async fn run_cleanup(&self, store: &Store) -> Result<Option<ApplyReport>, ActionError> {
        let Self { state, config, target, cleanup, .. } = self;
        let context = ActionContext { config, target, store, clock: &state.app.clock, actor: CLEANUP_ACTOR };
        let (recipient, made) = archive_keys::load_or_create_recipient(config)?;
        if let Some(path) = made {
            tracing::warn!("{}", archive_keys::new_identity_advice(&recipient, &path));
        }
        let selection = Selection::Expired { grace: cleanup.grace };
        let Some(plan) = self.stop.run_until_cancelled(remediation::create_plan(context, &selection)).await
        else {
            // Nothing was touched yet.
            return Ok(None);
        };
        let plan = plan?;
        if plan.record.row_count == 0 {
            remediation::recover_interrupted(context).await?;
            return Ok(None);
        }
        // Many rows are what was configured; anything else that holds the brake is for a person to judge.
        let limit = SafetyLimit { max_table_share: cleanup.max_share, ..context.safety_limit() };
        let mut braked = plan.exceeded_limits(limit).map(|reason| reason.0).unwrap_or_default();
        braked.retain(|braked| match braked {
            LimitExceeded::Rows(_) | LimitExceeded::CombinedRows { .. } => false,
            LimitExceeded::SideEffects(_) => !cleanup.allows_side_effects,
            _ => true,
        });
        if plan.record.row_count > cleanup.max_rows {
            braked.push(LimitExceeded::Rows(plan.record.row_count));
        }
        if !braked.is_empty() {
            return Err(ActionError::LimitExceeded(
                remediation::error::ConfirmationReasons(braked),
                target.name.clone(),
            ));
        }
        // What was begun ends after its present batch when the daemon stops.
        let control = JobControl::stopped_by(&self.stop);
        let consent = Confirmation { typed_name: Some(&target.name), by_policy: true };
        let keys = ArchiveKeys { recipient: Some(&recipient), ..ArchiveKeys::default() };
        let executor = PlanExecutor { context, keys, confirmation: consent, control: &control };
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
        Ok(None) => (format!("{name}: nothing had expired"), serde_json::json!({})),
        Ok(Some(applied)) => (
            format!(
                "{name}: {} expired rows were removed, {} were left",
                applied.done,
                applied.skipped + applied.remaining
            ),
            serde_json::json!({ "done": applied.done, "skipped": applied.skipped, "remaining": applied.remaining }),
        ),
        Err(error) => (format!("{name} was not cleaned up: {error}"), serde_json::json!({})),
    }
}
