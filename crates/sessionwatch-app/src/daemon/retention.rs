//! What is removed for its age, every hour: events, messages, log signals, and what has passed its time in the archive.

use std::sync::Arc;

use sessionwatch_core::instant::{DAY, HOUR};
use tokio_util::sync::CancellationToken;

use super::{Shared, tasks::wait_until};
use crate::{
    app::leadership::DELIVERY,
    blocking,
    store::{archived, audit, events, outbox, signals},
};

/// How long log signals are kept, in microseconds.
const SIGNAL_RETENTION: i64 = 30 * DAY;
/// Who removes.
const ACTOR: &str = "the watch";

/// Removes what is too old, every hour, until that is to stop.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let begun = shared.clock.now();
        remove_old_records(&shared).await;
        purge_archive(&shared).await;
        if !wait_until(&shared.clock, begun.plus(HOUR), &stop).await {
            return;
        }
    }
}

/// Removes what happened, what was delivered or given up on, and what logs said.
async fn remove_old_records(shared: &Arc<Shared>) {
    let (passed, keep_us) = (shared.passed(), shared.config().serve.keep_us);
    let removed = blocking::write(&shared.store, move |db| {
        events::forget(db, passed.plus(-keep_us))?;
        outbox::forget(db, passed.plus(-keep_us))?;
        signals::forget(db, passed.plus(-SIGNAL_RETENTION))
    });
    if let Err(error) = removed.await {
        tracing::error!("old events, messages and signals are still kept: {error}");
    }
}

/// Removes what has passed its time in the archive. Where several daemons share a store, one of them does it.
async fn purge_archive(shared: &Arc<Shared>) {
    let (now, passed) = (shared.clock.now(), shared.passed());
    let Some(term) = shared.leadership.term(DELIVERY) else { return };
    let store = shared.leadership.fenced(&shared.store, DELIVERY, term);
    let purged = blocking::write(&store, move |db| {
        let rows = archived::purge(db, None, passed)?;
        if rows > 0 {
            let detail = serde_json::json!({ "rows": rows }).to_string();
            audit::add(db, (ACTOR, "archive-purged"), &detail, now)?;
        }
        Ok(())
    });
    if let Err(error) = purged.await {
        tracing::error!("what has passed its time is still in the archive: {error}");
    }
}
