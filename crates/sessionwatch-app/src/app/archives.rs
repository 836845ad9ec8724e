//! The archive: rows that plans removed, for as long as they can be put back.

use std::sync::Arc;

use serde_json::json;
use sessionwatch_core::{instant::Instant, row_ref::RowRef};

use super::{Actor, AppError, AppState};
pub use crate::store::archived::Fate;
use crate::{
    actions::ActError,
    store::{archived, audit, confirmed_time},
};

/// A row that a plan removed.
#[derive(Clone, Debug)]
pub struct ArchivedRow {
    /// What helps a person to recognize it.
    pub row: RowRef,
    /// Where it is now.
    pub fate: Fate,
}

/// What is removed from the archive for good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurgeRequest {
    /// All that this plan removed, though its time has not passed; `None` for what has passed its time.
    pub plan: Option<String>,
    /// Go by this machine's clock, though no daemon has confirmed it.
    pub trust_clock: bool,
}

/// What was removed from the archive for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purged {
    /// Rows that could have been put back until then.
    pub rows: u64,
    /// Rows that have passed their time by this machine's clock, and were kept since nobody has confirmed it.
    pub unconfirmed_rows: u64,
    /// The time of this machine, or of the store's server.
    pub now: Instant,
    /// The latest time that is confirmed: what passed its time before that was removed.
    pub confirmed_at: Instant,
}

/// The rows that one plan removed, in the order in which they went.
///
/// # Errors
///
/// If the archive holds nothing of that plan.
pub async fn list_rows(
    app: &Arc<AppState>,
    plan: String,
    limit: usize,
) -> Result<Vec<ArchivedRow>, AppError> {
    let wanted = plan.clone();
    let rows = app.read(move |db| {
        let (mut rows, mut behind) = (Vec::new(), 0);
        while rows.len() < limit {
            let Some(batch) = archived::next(db, &wanted, behind)? else { break };
            behind = batch.id;
            let fates = batch.rows.into_iter().zip(batch.fates);
            rows.extend(fates.take(limit - rows.len()).map(|(row, fate)| ArchivedRow { row, fate }));
        }
        Ok(rows)
    });
    let rows = rows.await?;
    if rows.is_empty() { Err(ActError::NoArchive(plan).into()) } else { Ok(rows) }
}

/// Removes from the archive for good what has passed its time, or all of one plan.
///
/// # Errors
///
/// If it cannot be written.
pub async fn purge(app: &Arc<AppState>, actor: &Actor, request: PurgeRequest) -> Result<Purged, AppError> {
    let (now, by) = (app.clock.now(), actor.name().to_owned());
    let confirmed = app.read(move |db| confirmed_time::passed(db, now)).await?;
    let confirmed_at = if request.trust_clock { now } else { confirmed };
    let purged = app.write(move |db| {
        let plan = request.plan.as_deref();
        let rows = archived::purge(db, plan, confirmed_at)?;
        if rows > 0 {
            audit::add(
                db,
                audit::NewEntry {
                    actor: &by,
                    action: "archive-purged",
                    detail: &json!({ "plan": plan, "rows": rows }).to_string(),
                },
                now,
            )?;
        }
        let holdings = if plan.is_none() { archived::holdings(db)? } else { vec![] };
        let unconfirmed = holdings.iter().filter(|holding| holding.purge_at <= now);
        let unconfirmed_rows = unconfirmed.map(|holding| holding.rows).sum();
        Ok(Purged { rows, unconfirmed_rows, now, confirmed_at })
    });
    purged.await
}
