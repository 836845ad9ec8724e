//! What is removed for its age, every hour: events, messages, log signals, and what has passed its time in the archive.

use std::sync::Arc;

use jiff::SignedDuration;
use sessionwatch_core::duration::HOUR;
use sessionwatch_store::{archived, audit, events, outbox, signals};
use tokio_util::sync::CancellationToken;

use super::{DaemonState, tasks::wait_until};
use crate::{app::leadership::DELIVERY, blocking};

/// How long log signals are kept.
const SIGNAL_RETENTION: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Who removes.
const ACTOR: &str = "the watch";

/// Removes what is too old, every hour, until that is to stop.
pub(super) async fn run(state: Arc<DaemonState>, stop: CancellationToken) {
    loop {
        let begun = state.app.clock.now();
        remove_old_records(&state).await;
        purge_archive(&state).await;
        if !wait_until(&state.app.clock, begun + HOUR, &stop).await {
            return;
        }
    }
}

/// Removes what happened, what was delivered or given up on, and what logs said.
async fn remove_old_records(state: &Arc<DaemonState>) {
    let (passed, keep) = (state.passed(), state.app.config().serve.keep);
    let removed = blocking::write(&state.app.store, move |db| {
        events::forget(db, passed - keep)?;
        outbox::forget(db, passed - keep)?;
        signals::forget(db, passed - SIGNAL_RETENTION)
    });
    if let Err(error) = removed.await {
        tracing::error!("old events, messages and signals are still kept: {error}");
    }
}

/// Removes what has passed its time in the archive. Where several daemons share a store, one of them does it.
async fn purge_archive(state: &Arc<DaemonState>) {
    let (now, passed) = (state.app.clock.now(), state.passed());
    let Some(term) = state.app.leadership.term(DELIVERY) else { return };
    let store = state.app.leadership.fenced(&state.app.store, DELIVERY, term);
    let purged = blocking::write(&store, move |db| {
        let rows = archived::purge(db, None, passed)?;
        if rows > 0 {
            let detail = serde_json::json!({ "rows": rows }).to_string();
            audit::add(db, audit::NewEntry { actor: ACTOR, action: "archive-purged", detail: &detail }, now)?;
        }
        Ok(())
    });
    if let Err(error) = purged.await {
        tracing::error!("what has passed its time is still in the archive: {error}");
    }
}
