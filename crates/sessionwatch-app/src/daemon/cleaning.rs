//! Cleaning up by itself, where that is switched on.

use std::{sync::Arc, time::Duration};

use sessionwatch_core::{
    instant::Instant,
    safety_limit::{LimitExceeded, SafetyLimit},
};
use sessionwatch_store::{
    Store, StoreError,
    events::{self, Event},
};
use tokio_util::sync::CancellationToken;

use super::{
    DaemonState,
    tasks::{TaskGroup, wait_to_retry},
};
use crate::{
    app::leadership::lease,
    blocking,
    config::{Cleanup, Config, Target},
    remediation::{
        self, ActError, Applied, ArchiveKeys, Consent, Context, Control, Executor, Selection, keys,
    },
};

/// Who acts.
const ACTOR: &str = "the watch";
/// What is noted of a cleanup.
const KIND: &str = "cleanup";
/// How long to wait before a store that failed is asked again.
const RETRY_DELAY: Duration = Duration::from_secs(60);

/// Starts the cleanups that are configured.
pub(super) fn start(tasks: &TaskGroup, state: &Arc<DaemonState>, config: &Arc<Config>) {
    let cleaned = config.targets.iter().filter_map(|target| Some((target.clone(), target.cleanup.clone()?)));
    for (target, cleanup) in cleaned {
        let (state, config) = (Arc::clone(state), Arc::clone(config));
        let cleaning = Cleaning { state, config, target, cleanup, stop: tasks.token() };
        tasks.spawn("the cleanup of a target", cleaning.run());
    }
}

/// A target that is cleaned up by itself.
#[derive(Clone)]
struct Cleaning {
    state: Arc<DaemonState>,
    config: Arc<Config>,
    target: Target,
    cleanup: Cleanup,
    stop: CancellationToken,
}

/// A term under which a target is cleaned up.
struct Term {
    number: i64,
    /// The store, for what is written under it.
    store: Store,
}

impl Cleaning {
    /// Cleans the target up each time that it is due, while this daemon leads it.
    async fn run(self) {
        let lease = lease(&self.target.name);
        while let Some(number) = self.stop.run_until_cancelled(self.state.app.leadership.lead(&lease)).await {
            let store = self.state.app.leadership.fenced(&self.state.app.store, &lease, number);
            self.lead(&Term { number, store }).await;
        }
    }

    /// Cleans up until the term is over, or this is to stop. What was due while nobody ran is done once, late.
    async fn lead(&self, term: &Term) {
        let (state, lease) = (&self.state, lease(&self.target.name));
        // Another daemon may have cleaned up since this one last led.
        let name = self.target.name.clone();
        let last = blocking::read(&term.store, move |db| {
            events::last_of(db, events::EventsOfTarget { kind: KIND, target: &name })
        })
        .await;
        let Ok(last) = last else {
            // That it cannot be read is logged where it is read.
            wait_to_retry(RETRY_DELAY, &self.stop).await;
            return;
        };
        let mut last = last.unwrap_or(state.begun);
        while !self.stop.is_cancelled() && state.app.leadership.term(&lease) == Some(term.number) {
            let now = state.app.clock.now();
            last = self.cleanup.schedule.last_done(last, now);
            let due = self.cleanup.schedule.after(last).unwrap_or(Instant::MAX);
            if now < due {
                self.stop.run_until_cancelled(state.app.clock.wait_until(due)).await;
                continue;
            }
            let (this, store) = (self.clone(), term.store.clone());
            let outcome = blocking::drive(async move || this.clean(&store).await).await;
            let (summary, detail) = said(&self.target, &outcome);
            match &outcome {
                Ok(_) => tracing::info!(target = self.target.name, "{summary}"),
                Err(error) => tracing::error!(target = self.target.name, "{summary}{}", hint(error)),
            }
            let event = Event {
                id: 0,
                at: now,
                target: self.target.name.clone(),
                check: "expired-backlog".into(),
                kind: KIND.into(),
                summary,
                detail: detail.to_string(),
            };
            match blocking::write(&term.store, move |db| events::add(db, &event)).await {
                // Whoever leads now begins with what is left.
                Ok(()) | Err(StoreError::Fenced) => {}
                Err(error) => {
                    tracing::error!("that a target was cleaned up could not be noted: {error}");
                    wait_to_retry(RETRY_DELAY, &self.stop).await;
                }
            }
            last = now;
        }
    }

    /// Plans and carries out one cleanup: nothing if there is nothing to do.
    async fn clean(&self, store: &Store) -> Result<Option<Applied>, ActError> {
        let Self { state, config, target, cleanup, .. } = self;
        let context = Context { config, target, store, clock: &state.app.clock, actor: ACTOR };
        let (recipient, made) = keys::recipient(config)?;
        if let Some(path) = made {
            tracing::warn!("{}", keys::advice(&recipient, &path));
        }
        let selection = Selection::Expired { grace: cleanup.grace };
        let Some(plan) = self.stop.run_until_cancelled(remediation::make(context, &selection)).await else {
            // Nothing was touched yet.
            return Ok(None);
        };
        let plan = plan?;
        if plan.kept.rows == 0 {
            remediation::settle(context).await?;
            return Ok(None);
        }
        // Many rows are what was configured; anything else that holds the brake is for a person to judge.
        let limit = SafetyLimit { most: cleanup.max_share, ..context.brake() };
        let mut braked = plan.braked(limit).map(|reason| reason.0).unwrap_or_default();
        braked.retain(|braked| match braked {
            LimitExceeded::Rows(_) | LimitExceeded::RowsTogether { .. } => false,
            LimitExceeded::SideEffects(_) => !cleanup.side_effects,
            _ => true,
        });
        if plan.kept.rows > cleanup.max_rows {
            braked.push(LimitExceeded::Rows(plan.kept.rows));
        }
        if !braked.is_empty() {
            return Err(ActError::LimitExceeded(remediation::error::Reason(braked), target.name.clone()));
        }
        // What was begun ends after its present batch when the daemon stops.
        let control = Control::stopped_by(&self.stop);
        let consent = Consent { name: Some(&target.name), by_policy: true };
        let keys = ArchiveKeys { recipient: Some(&recipient), ..ArchiveKeys::default() };
        let executor = Executor { context, keys, consent, control: &control };
        executor.run(plan).await.map(Some)
    }
}

fn hint(error: &ActError) -> String {
    error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default()
}

fn said(target: &Target, outcome: &Result<Option<Applied>, ActError>) -> (String, serde_json::Value) {
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
