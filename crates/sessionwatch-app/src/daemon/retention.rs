//! Retention: removes old history events, messages, log events and archived rows, every hour.

use std::sync::Arc;

use jiff::SignedDuration;
use sessionwatch_core::duration::HOUR;
use sessionwatch_store::{archive_batches, audit, history_events, log_events, outbox, restores};
use tokio_util::sync::CancellationToken;

use super::{DaemonState, tasks::wait_until};
use crate::{app::leadership::DELIVERY_LEASE, blocking};

/// Retention of log events.
const LOG_EVENT_RETENTION: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Retention of the record of restores: longer than ended sessions are remembered.
const RESTORE_RETENTION: SignedDuration = SignedDuration::from_hours(8 * 24);
/// The actor in the audit log.
const RETENTION_ACTOR: &str = "sessionwatch";

/// Removes old records every hour until stopped.
pub(super) async fn run(state: Arc<DaemonState>, stop: CancellationToken) {
    loop {
        let begun = state.app.clock.now();
        remove_expired(&state).await;
        // From the start of the round, so that its own duration does not delay the next one.
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

/// Removes old history events, delivered and undeliverable messages, and log events.
async fn remove_old_records(state: &Arc<DaemonState>) {
    // By the confirmed time, so that a clock set forward by mistake deletes nothing.
    let (retention_now, max_age) = (state.retention_now(), state.app.config().serve.history_retention);
    let removed = blocking::write_store(&state.app.store, move |db| {
        history_events::prune_events(db, retention_now - max_age)?;
        outbox::prune_messages(db, retention_now - max_age)?;
        restores::prune_restores(db, retention_now - RESTORE_RETENTION)?;
        log_events::prune_log_events(db, retention_now - LOG_EVENT_RETENTION)
    });
    if let Err(error) = removed.await {
        tracing::error!("cannot remove old history events, messages and log events: {error}");
    }
}

/// Purges archive batches past their retention. Of several daemons that share a store, only the delivery leader does
/// so.
async fn purge_archive(state: &Arc<DaemonState>) {
    let (now, retention_now) = (state.app.clock.now(), state.retention_now());
    // Without the lease, another daemon purges.
    let Some(epoch) = state.app.lease_manager.epoch(DELIVERY_LEASE) else { return };
    let store = state.app.lease_manager.fenced_store(&state.app.store, DELIVERY_LEASE, epoch);
    let purged = blocking::write_store(&store, move |db| {
        let rows = archive_batches::purge_batches(db, None, retention_now)?;
        if rows > 0 {
            let detail = serde_json::json!({ "rows": rows }).to_string();
            audit::insert_audit_entry(
                db,
                audit::NewAuditEntry { actor: RETENTION_ACTOR, action: "archive.purged", detail: &detail },
                now,
            )?;
        }
        Ok(())
    });
    if let Err(error) = purged.await {
        tracing::error!("cannot purge expired rows from the archive: {error}");
    }
}
