//! What the watch does by itself besides looking: cleaning up where that is switched on, and removing for good what has
//! passed its time in the archive.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use sessionwatch_core::{
    instant::{HOUR, Instant},
    safety_limit::{LimitExceeded, SafetyLimit},
};
use tokio::sync::watch;

use super::Shared;
use crate::{
    actions::{self, ActError, Applied, Consent, Context, Control, Selection, keys},
    app::leadership::{DELIVERY, lease},
    clock,
    config::{Cleanup, Config, Target},
    store::{
        Store, StoreError, archived, audit,
        events::{self, Event},
    },
};

/// Who acts.
const ACTOR: &str = "the watch";
/// What is noted of a cleanup.
const KIND: &str = "cleanup";
/// How long to wait before a store that failed is asked again.
const AGAIN: Duration = Duration::from_secs(60);

/// Removes for good, every hour, what has passed its time.
pub(super) async fn purge(shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    while !*stopping.borrow() {
        let (now, passed) = (shared.clock.now(), shared.passed());
        // Where several watch together, one of them does it.
        if let Some(term) = shared.leadership.term(DELIVERY) {
            let purged = shared.leadership.fenced(&shared.store, DELIVERY, term).write(|db| {
                let rows = archived::purge(db, None, passed)?;
                if rows > 0 {
                    let detail = serde_json::json!({ "rows": rows }).to_string();
                    audit::add(db, (ACTOR, "archive-purged"), &detail, now)?;
                }
                Ok(())
            });
            if let Err(error) = purged {
                tracing::error!("what has passed its time is still in the archive: {error}");
            }
        }
        let until = now.plus(HOUR);
        while shared.clock.now() < until && !*stopping.borrow() {
            tokio::select! {
                () = shared.clock.wait_until(until) => {}
                _ = stopping.changed() => {}
            }
        }
    }
}

/// A target that is cleaned up by itself.
pub(super) struct Cleaning {
    pub(super) shared: Arc<Shared>,
    pub(super) config: Arc<Config>,
    pub(super) target: Target,
    pub(super) cleanup: Cleanup,
    pub(super) stopping: watch::Receiver<bool>,
}

/// A term under which a target is cleaned up.
struct Term {
    number: i64,
    /// The store, for what is written under it.
    store: Store,
}

impl Cleaning {
    /// Cleans the target up each time that it is due, while this daemon leads it.
    pub(super) async fn run(mut self) {
        let lease = lease(&self.target.name);
        while !*self.stopping.borrow() {
            let number = tokio::select! {
                number = self.shared.leadership.lead(&lease) => number,
                _ = self.stopping.changed() => continue,
            };
            let store = self.shared.leadership.fenced(&self.shared.store, &lease, number);
            self.lead(&Term { number, store }).await;
        }
    }

    /// Cleans up until the term is over, or this is to stop. What was due while nobody ran is done once, late.
    async fn lead(&mut self, term: &Term) {
        let (shared, lease) = (Arc::clone(&self.shared), lease(&self.target.name));
        // Another daemon may have cleaned up since this one last led.
        let mut last = match term.store.read(|db| events::last_of(db, (KIND, &self.target.name))) {
            Ok(last) => last.unwrap_or(shared.begun),
            // That it cannot be read is logged where it is read.
            Err(_) => return self.pause().await,
        };
        while !*self.stopping.borrow() && shared.leadership.term(&lease) == Some(term.number) {
            let now = shared.clock.now();
            last = self.cleanup.schedule.last_done(last, now);
            let due = self.cleanup.schedule.after(last).unwrap_or(Instant::MAX);
            if now < due {
                tokio::select! {
                    () = shared.clock.wait_until(due) => {}
                    _ = self.stopping.changed() => {}
                }
                continue;
            }
            let outcome = self.clean(&term.store).await;
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
            match term.store.write(|db| events::add(db, &event)) {
                // Whoever leads now begins with what is left.
                Ok(()) | Err(StoreError::Fenced) => {}
                Err(error) => {
                    tracing::error!("that a target was cleaned up could not be noted: {error}");
                    self.pause().await;
                }
            }
            last = now;
        }
    }

    /// Waits before a store that failed is asked again.
    async fn pause(&mut self) {
        tokio::select! {
            () = clock::pause(AGAIN) => {}
            _ = self.stopping.changed() => {}
        }
    }

    /// Plans and carries out one cleanup: nothing if there is nothing to do.
    async fn clean(&self, store: &Store) -> Result<Option<Applied>, ActError> {
        let Self { shared, config, target, cleanup, .. } = self;
        let mut stopping = self.stopping.clone();
        let context = Context { config, target, store, clock: &shared.clock, actor: ACTOR };
        let (recipient, made) = keys::recipient(config)?;
        if let Some(path) = made {
            tracing::warn!("{}", keys::advice(&recipient, &path));
        }
        let selection = Selection::Expired { grace_us: cleanup.grace_us };
        let plan = tokio::select! {
            plan = actions::make(context, &selection) => plan?,
            // Nothing was touched yet.
            _ = stopping.wait_for(|stop| *stop) => return Ok(None),
        };
        if plan.kept.rows == 0 {
            actions::settle(context).await?;
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
            return Err(ActError::LimitExceeded(actions::error::Reason(braked), target.name.clone()));
        }
        let control = Control::default();
        let consent = Consent { name: Some(&target.name), by_policy: true };
        let applying = actions::apply(context, (&plan.kept.id, &recipient), consent, &control);
        tokio::pin!(applying);
        tokio::select! {
            applied = &mut applying => return applied.map(Some),
            _ = stopping.wait_for(|stop| *stop) => control.stop.store(true, Ordering::Relaxed),
        }
        applying.await.map(Some)
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
