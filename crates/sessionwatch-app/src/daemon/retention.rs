//! What is removed for its age, every hour: events, messages, log signals, and what has passed its time in the archive.

use std::sync::Arc;

use jiff::SignedDuration;
use sessionwatch_core::duration::HOUR;
use sessionwatch_store::{archive_batches, audit, events, log_events, outbox};
use tokio_util::sync::CancellationToken;

use super::{DaemonState, tasks::wait_until};
use crate::{app::leadership::DELIVERY_LEASE, blocking};

/// How long log signals are kept.
const LOG_EVENT_RETENTION: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Who removes.
const RETENTION_ACTOR: &str = "the watch";

/// Removes what is too old, every hour, until that is to stop.
pub(super) async fn run(state: Arc<DaemonState>, stop: CancellationToken) {
    loop {
        let begun = state.app.clock.now();
        remove_expired(&state).await;
        if !wait_until(&state.app.clock, begun + HOUR, &stop).await {
            return;
        }
    }
}

/// Removes everything past its retention, once.
pub(super) async fn remove_expired(state: &Arc<DaemonState>) {
    remove_old_records(state).await;
    purge_archive(state).await;
}

/// Removes what happened, what was delivered or given up on, and what logs said.
async fn remove_old_records(state: &Arc<DaemonState>) {
    let (passed, keep) = (state.retention_now(), state.app.config().serve.history_retention);
    let removed = blocking::write_store(&state.app.store, move |db| {
        events::prune_events(db, passed - keep)?;
        outbox::prune_messages(db, passed - keep)?;
        log_events::prune_log_events(db, passed - LOG_EVENT_RETENTION)
    });
    if let Err(error) = removed.await {
        tracing::error!("old events, messages and signals are still kept: {error}");
    }
}

/// Removes what has passed its time in the archive. Where several daemons share a store, one of them does it.
async fn purge_archive(state: &Arc<DaemonState>) {
    let (now, passed) = (state.app.clock.now(), state.retention_now());
    let Some(term) = state.app.lease_manager.epoch(DELIVERY_LEASE) else { return };
    let store = state.app.lease_manager.fenced_store(&state.app.store, DELIVERY_LEASE, term);
    let purged = blocking::write_store(&store, move |db| {
        let rows = archive_batches::purge_batches(db, None, passed)?;
        if rows > 0 {
            let detail = serde_json::json!({ "rows": rows }).to_string();
            audit::insert_audit_entry(
                db,
                audit::NewAuditEntry { actor: RETENTION_ACTOR, action: "archive-purged", detail: &detail },
                now,
            )?;
        }
        Ok(())
    });
    if let Err(error) = purged.await {
        tracing::error!("what has passed its time is still in the archive: {error}");
    }
}
