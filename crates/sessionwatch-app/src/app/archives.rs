//! The archive: rows that plans removed, for as long as they can be put back.

use std::sync::Arc;

use serde_json::json;
use sessionwatch_core::{instant::Instant, row_ref::RowRef};
use sessionwatch_store::{archived, audit, confirmed_time};

use super::{Actor, AppError, AppState};
use crate::remediation::ActError;

pub use sessionwatch_store::archived::Fate;

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

#[cfg(test)]
mod tests {
    use sessionwatch_core::duration::DAY;
    use sessionwatch_store::{
        Store,
        archived::{Batch, State},
    };

    use super::*;
    use crate::config::Config;

    /// An archive with two rows of one plan, which pass their time a day from now.
    fn scene() -> Arc<AppState> {
        let app = AppState::for_command(Store::in_memory().unwrap(), Config::default()).unwrap();
        let now = app.clock.now();
        let row = RowRef { user: Some("ada".into()), ..RowRef::default() };
        let batch = Batch {
            id: 0,
            plan: "p1".into(),
            target: "app".into(),
            state: State::Kept,
            txid: None,
            at: now,
            purge_at: now + DAY,
            recipient: "age1".into(),
            rows: vec![row.clone(), row],
            fates: vec![Fate::Archived, Fate::Restored],
        };
        app.store.write(|db| archived::add(db, &batch, b"sealed")).unwrap();
        app
    }

    #[tokio::test]
    async fn the_rows_of_a_plan_are_listed_up_to_a_limit_and_those_of_none_are_an_error() {
        let app = scene();
        let fates = async |limit| {
            let rows = list_rows(&app, "p1".into(), limit).await.unwrap();
            rows.iter().map(|archived| archived.fate).collect::<Vec<_>>()
        };
        assert_eq!(fates(10).await, [Fate::Archived, Fate::Restored]);
        assert_eq!(fates(1).await, [Fate::Archived]);
        let none = list_rows(&app, "p2".into(), 10).await;
        assert!(matches!(none, Err(AppError::Action(ActError::NoArchive(plan))) if plan == "p2"));
    }

    #[tokio::test]
    async fn what_has_not_passed_its_time_stays_unless_its_plan_is_named() {
        let (app, ada) = (scene(), Actor::of_command("ada"));
        let purged = purge(&app, &ada, PurgeRequest::default()).await.unwrap();
        assert_eq!((purged.rows, purged.unconfirmed_rows), (0, 0));
        let request = PurgeRequest { plan: Some("p1".into()), trust_clock: false };
        assert_eq!(purge(&app, &ada, request).await.unwrap().rows, 1, "the other one is back in its table");
        assert!(list_rows(&app, "p1".into(), 10).await.is_err());
    }
}
