//! Archive of the rows that plans removed, kept for restore.

use std::sync::Arc;

use serde_json::json;
use sessionwatch_core::{row_ref::RowRef, timestamp::UtcTimestamp};
use sessionwatch_store::{archive_batches, audit, confirmed_time};

use super::{Actor, AppError, AppState};
use crate::remediation::ActionError;

pub use sessionwatch_store::archive_batches::ArchivedRowState;

/// Row that a plan removed.
#[derive(Clone, Debug)]
pub struct ArchivedRow {
    /// Row id, user and token prefix of the row.
    pub row: RowRef,
    /// Archived or restored.
    pub state: ArchivedRowState,
}

/// Selection of archived rows to delete permanently.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurgeRequest {
    /// Purges all rows of this plan, even within their retention; `None` purges rows past their retention.
    pub plan_id: Option<String>,
    /// Trusts this machine's clock even if no daemon has confirmed the time.
    pub trust_clock: bool,
}

/// Result of a purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PurgeResult {
    /// Purged rows that could still have been restored.
    pub rows: u64,
    /// Rows past their retention by this machine's clock, but kept because no daemon has confirmed the time.
    pub unconfirmed_rows: u64,
    /// Time of this machine, or of the store's server.
    pub now: UtcTimestamp,
    /// Latest confirmed time; rows whose retention ended before this time were purged.
    pub confirmed_at: UtcTimestamp,
}

/// Lists the archived rows of a plan, in the order of their removal.
///
/// # Errors
///
/// If the archive contains no rows of the plan.
pub async fn list_archived_rows(
    app: &Arc<AppState>,
    plan: String,
    limit: usize,
) -> Result<Vec<ArchivedRow>, AppError> {
    let wanted = plan.clone();
    let rows = app.read_store(move |db| {
        let (mut rows, mut behind) = (Vec::new(), 0);
        // Batch by batch: a plan can have removed millions of rows.
        while rows.len() < limit {
            // The batch id is the cursor: an offset would skip rows if a purge ran between two reads.
            let Some(batch) = archive_batches::find_next_batch(db, &wanted, behind)? else { break };
            behind = batch.id;
            let states = batch.rows.into_iter().zip(batch.row_states);
            rows.extend(states.take(limit - rows.len()).map(|(row, state)| ArchivedRow { row, state }));
        }
        Ok(rows)
    });
    let rows = rows.await?;
    // An unknown plan and one that removed nothing look the same here; neither can be restored.
    if rows.is_empty() { Err(ActionError::NoArchive(plan).into()) } else { Ok(rows) }
}

/// Counts the archived rows of a plan.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn count_archived_rows(app: &Arc<AppState>, plan: String) -> Result<u64, AppError> {
    app.read_store(move |db| archive_batches::count_archived_rows(db, &plan)).await
}

/// Permanently deletes archived rows past their retention, or all rows of one plan.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn purge_archive(
    app: &Arc<AppState>,
    actor: &Actor,
    request: PurgeRequest,
) -> Result<PurgeResult, AppError> {
    let (now, by) = (app.clock.now(), actor.name().to_owned());
    // A clock that jumps ahead must not destroy rows that can still be restored: only a confirmed time counts.
    let confirmed = app.read_store(move |db| confirmed_time::confirmed_retention_time(db, now)).await?;
    let confirmed_at = if request.trust_clock { now } else { confirmed };
    let purged = app.write_store(move |db| {
        let plan = request.plan_id.as_deref();
        let rows = archive_batches::purge_batches(db, plan, confirmed_at)?;
        // A purge without rows leaves no trace: scheduled ones would fill the log.
        if rows > 0 {
            audit::insert_audit_entry(
                db,
                audit::NewAuditEntry {
                    actor: &by,
                    action: "archive.purged",
                    detail: &json!({ "plan": plan, "rows": rows }).to_string(),
                },
                now,
            )?;
        }
        // Summed after the purge, so that the count names only what is still kept.
        let summaries = if plan.is_none() { archive_batches::list_archive_summaries(db)? } else { vec![] };
        let unconfirmed = summaries.iter().filter(|summary| summary.purge_at <= now);
        let unconfirmed_rows = unconfirmed.map(|summary| summary.restorable_rows).sum();
        Ok(PurgeResult { rows, unconfirmed_rows, now, confirmed_at })
    });
    purged.await
}

#[cfg(test)]
mod tests {
    use sessionwatch_core::duration::DAY;
    use sessionwatch_store::{
        Store,
        archive_batches::{ArchivedBatch, BatchState},
    };

    use super::*;
    use crate::config::Config;

    /// Returns an app with two archived rows of one plan, whose retention ends in a day.
    fn scene() -> Arc<AppState> {
        let app = AppState::for_command(Store::open_in_memory().unwrap(), Config::default()).unwrap();
        let now = app.clock.now();
        let row = RowRef { user: Some("ada".into()), ..RowRef::default() };
        let batch = ArchivedBatch {
            id: 0,
            plan: "p1".into(),
            target: "app".into(),
            state: BatchState::Kept,
            transaction_id: None,
            sealed_at: now,
            purge_at: now + DAY,
            recipient: "age1".into(),
            rows: vec![row.clone(), row],
            row_states: vec![ArchivedRowState::Archived, ArchivedRowState::Restored],
        };
        app.store.write(|db| archive_batches::insert_batch(db, &batch, b"sealed")).unwrap();
        app
    }

    #[tokio::test]
    async fn the_rows_of_a_plan_are_listed_up_to_a_limit_and_an_unknown_plan_is_an_error() {
        let app = scene();
        let states = async |limit| {
            let rows = list_archived_rows(&app, "p1".into(), limit).await.unwrap();
            rows.iter().map(|archived| archived.state).collect::<Vec<_>>()
        };
        assert_eq!(states(10).await, [ArchivedRowState::Archived, ArchivedRowState::Restored]);
        assert_eq!(states(1).await, [ArchivedRowState::Archived]);
        assert_eq!(count_archived_rows(&app, "p1".into()).await.unwrap(), 2);
        let none = list_archived_rows(&app, "p2".into(), 10).await;
        assert!(matches!(none, Err(AppError::Action(ActionError::NoArchive(plan))) if plan == "p2"));
    }

    #[tokio::test]
    async fn rows_within_their_retention_are_purged_only_by_plan() {
        let (app, ada) = (scene(), Actor::from_command_line("ada"));
        let purged = purge_archive(&app, &ada, PurgeRequest::default()).await.unwrap();
        assert_eq!((purged.rows, purged.unconfirmed_rows), (0, 0));
        let request = PurgeRequest { plan_id: Some("p1".into()), trust_clock: false };
        assert_eq!(
            purge_archive(&app, &ada, request).await.unwrap().rows,
            1,
            "the other row is restored already"
        );
        assert!(list_archived_rows(&app, "p1".into(), 10).await.is_err());
    }
}
