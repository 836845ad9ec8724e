//! What people do about alerts: acknowledge one, resolve it, comment on it. Everything is recorded with who did it.

use std::sync::Arc;

use serde_json::json;
use sessionwatch_core::{alert::State, instant::Instant};

use super::{Actor, AppError, AppState};
pub use crate::store::{
    alerts::Kept as AlertRecord,
    events::{Event, Search as EventSearch},
};
use crate::{
    alerts::resolve as resolve_alert,
    store::{StoreError, alerts, audit, db::Db, events},
};

/// The alert of a check on a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRef {
    /// The target.
    pub target: String,
    /// The check.
    pub check: String,
}

/// Which alerts are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertFilter {
    /// Those that fire or are about to.
    Active,
    /// Also those that are in order.
    All,
}

/// Who does something about an alert, what they say, and when.
#[derive(Clone, Debug)]
struct Remark {
    actor: String,
    note: String,
    now: Instant,
}

impl Remark {
    fn new(app: &AppState, actor: &Actor, note: String) -> Self {
        Self { actor: actor.name().to_owned(), note, now: app.clock.now() }
    }
}

/// Why nothing was done about an alert that does not fire.
fn not_firing() -> AppError {
    AppError::Conflict("That alert does not fire any more: somebody else may have resolved it.".into())
}

/// The alerts, the worst first.
///
/// # Errors
///
/// If the store does not answer.
pub async fn list_alerts(app: &Arc<AppState>, filter: AlertFilter) -> Result<Vec<AlertRecord>, AppError> {
    app.read(move |db| alerts::list(db, filter == AlertFilter::All)).await
}

/// The alert of a check on a target, if anything is known of it.
///
/// # Errors
///
/// If the store does not answer.
pub async fn get_alert(app: &Arc<AppState>, alert: AlertRef) -> Result<Option<AlertRecord>, AppError> {
    app.read(move |db| alerts::get(db, &alert.target, &alert.check)).await
}

/// What happened, the oldest first.
///
/// # Errors
///
/// If the store does not answer.
pub async fn search_events(app: &Arc<AppState>, search: EventSearch) -> Result<Vec<Event>, AppError> {
    app.read(move |db| events::search(db, &search)).await
}

/// Records that somebody looks after an alert: it is not told again until it is resolved.
///
/// # Errors
///
/// If it does not fire.
pub async fn acknowledge(
    app: &Arc<AppState>,
    actor: &Actor,
    alert: AlertRef,
    note: String,
) -> Result<(), AppError> {
    let remark = Remark::new(app, actor, note);
    let acknowledged = app.write(move |db| {
        let Some(mut kept) = firing(db, &alert)? else { return Ok(false) };
        kept.acknowledged_by = Some(remark.actor.clone());
        kept.note = Some(remark.note.clone()).filter(|note| !note.is_empty());
        alerts::put(db, &kept)?;
        record(db, &alert, "acknowledge", &remark)?;
        Ok(true)
    });
    if acknowledged.await? { Ok(()) } else { Err(not_firing()) }
}

/// Resolves an alert, since somebody says that it is over; it fires again if its check still fails.
///
/// # Errors
///
/// If it does not fire.
pub async fn resolve(
    app: &Arc<AppState>,
    actor: &Actor,
    alert: AlertRef,
    note: String,
) -> Result<(), AppError> {
    let (remark, config) = (Remark::new(app, actor, note), app.config());
    let resolved = app.write(move |db| {
        let Some(kept) = firing(db, &alert)? else { return Ok(false) };
        let note = if remark.note.is_empty() { String::new() } else { format!(": {}", remark.note) };
        let why = format!("resolved by {}{note}", remark.actor);
        resolve_alert(db, &config.serve, &kept, &why, remark.now)?;
        record(db, &alert, "resolve", &remark)?;
        Ok(true)
    });
    if resolved.await? { Ok(()) } else { Err(not_firing()) }
}

/// Records what somebody says about a check on a target.
///
/// # Errors
///
/// If nothing is known of it.
pub async fn add_comment(
    app: &Arc<AppState>,
    actor: &Actor,
    alert: AlertRef,
    note: String,
) -> Result<(), AppError> {
    let remark = Remark::new(app, actor, note);
    let added = app.write(move |db| {
        if alerts::get(db, &alert.target, &alert.check)?.is_none() {
            return Ok(false);
        }
        events::add(db, &comment(&alert, &remark))?;
        record(db, &alert, "comment", &remark)?;
        Ok(true)
    });
    let unknown = || AppError::NotFound("Nothing is known of such a check on such a target.".into());
    if added.await? { Ok(()) } else { Err(unknown()) }
}

fn comment(alert: &AlertRef, remark: &Remark) -> Event {
    Event {
        id: 0,
        at: remark.now,
        target: alert.target.clone(),
        check: alert.check.clone(),
        kind: "comment".into(),
        summary: format!("{}: {}", remark.actor, remark.note),
        detail: detail(alert, remark),
    }
}

/// The alert, if it fires.
fn firing(db: Db<'_>, alert: &AlertRef) -> Result<Option<AlertRecord>, StoreError> {
    let fires = |kept: &AlertRecord| matches!(kept.alert.state, State::Firing { .. });
    Ok(alerts::get(db, &alert.target, &alert.check)?.filter(fires))
}

/// Records in the audit trail what somebody did about an alert.
fn record(db: Db<'_>, alert: &AlertRef, action: &str, remark: &Remark) -> Result<(), StoreError> {
    audit::add(db, (&remark.actor, action), &detail(alert, remark), remark.now)
}

fn detail(alert: &AlertRef, remark: &Remark) -> String {
    json!({ "target": alert.target, "check": alert.check, "note": remark.note }).to_string()
}
