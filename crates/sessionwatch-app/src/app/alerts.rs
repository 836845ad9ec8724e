//! What people do about alerts: acknowledge one, resolve it, comment on it. Everything is recorded with who did it.

use std::sync::Arc;

use serde_json::json;
use sessionwatch_core::{alert::AlertState, timestamp::UtcTimestamp};
use sessionwatch_store::{StoreError, alerts, audit, events, transaction::Tx};

use super::{Actor, AppError, AppState};
use crate::alerts::close_alert as resolve_alert;

pub use sessionwatch_store::{
    alerts::AlertRecord,
    events::{EventRecord, EventSearch},
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

/// Who does something about which alert, what they say, and when.
#[derive(Clone, Debug)]
struct AlertCommand {
    alert: AlertRef,
    actor: String,
    note: String,
    now: UtcTimestamp,
}

impl AlertCommand {
    fn new(app: &AppState, actor: &Actor, alert: AlertRef, note: String) -> Self {
        Self { alert, actor: actor.name().to_owned(), note, now: app.clock.now() }
    }

    /// The alert, if it fires.
    fn find_firing_alert(&self, db: Tx<'_>) -> Result<Option<AlertRecord>, StoreError> {
        let fires = |kept: &AlertRecord| matches!(kept.alert.state, AlertState::Firing { .. });
        Ok(alerts::find_alert(db, &self.alert.target, &self.alert.check)?.filter(fires))
    }

    /// The same as an event.
    fn comment_event(&self) -> EventRecord {
        EventRecord {
            id: 0,
            at: self.now,
            target: self.alert.target.clone(),
            check: self.alert.check.clone(),
            kind: "comment".into(),
            summary: format!("{}: {}", self.actor, self.note),
            detail: self.audit_detail(),
        }
    }

    fn audit_detail(&self) -> String {
        let Self { alert, note, .. } = self;
        json!({ "target": alert.target, "check": alert.check, "note": note }).to_string()
    }

    /// Changes something, and records in the audit trail who did that, in one transaction. Returns `false` if there was
    /// nothing to change.
    async fn write_audited(
        self,
        app: &Arc<AppState>,
        action: &'static str,
        change: impl Fn(Tx<'_>, &Self) -> Result<bool, StoreError> + Send + 'static,
    ) -> Result<bool, AppError> {
        app.write_store(move |db| {
            let is_changed = change(db, &self)?;
            if is_changed {
                audit::insert_audit_entry(
                    db,
                    audit::NewAuditEntry { actor: &self.actor, action, detail: &self.audit_detail() },
                    self.now,
                )?;
            }
            Ok(is_changed)
        })
        .await
    }
}

/// Why nothing was done about an alert that does not fire.
fn not_firing_error() -> AppError {
    AppError::Conflict("That alert does not fire any more: somebody else may have resolved it.".into())
}

/// The alerts, the worst first.
///
/// # Errors
///
/// If the store does not answer.
pub async fn list_alerts(app: &Arc<AppState>, filter: AlertFilter) -> Result<Vec<AlertRecord>, AppError> {
    app.read_store(move |db| alerts::list_alerts(db, filter == AlertFilter::All)).await
}

/// The alert of a check on a target, if anything is known of it.
///
/// # Errors
///
/// If the store does not answer.
pub async fn find_alert(app: &Arc<AppState>, alert: AlertRef) -> Result<Option<AlertRecord>, AppError> {
    app.read_store(move |db| alerts::find_alert(db, &alert.target, &alert.check)).await
}

/// What happened, the oldest first.
///
/// # Errors
///
/// If the store does not answer.
pub async fn search_events(app: &Arc<AppState>, search: EventSearch) -> Result<Vec<EventRecord>, AppError> {
    app.read_store(move |db| events::search_events(db, &search)).await
}

/// Records that somebody looks after an alert: it is not told again until it is resolved.
///
/// # Errors
///
/// If it does not fire.
pub async fn acknowledge_alert(
    app: &Arc<AppState>,
    actor: &Actor,
    alert: AlertRef,
    note: String,
) -> Result<(), AppError> {
    let acknowledged =
        AlertCommand::new(app, actor, alert, note).write_audited(app, "alert.acknowledged", |db, remark| {
            let Some(mut kept) = remark.find_firing_alert(db)? else { return Ok(false) };
            kept.acknowledged_by = Some(remark.actor.clone());
            kept.note = Some(remark.note.clone()).filter(|note| !note.is_empty());
            alerts::upsert_alert(db, &kept)?;
            Ok(true)
        });
    if acknowledged.await? { Ok(()) } else { Err(not_firing_error()) }
}

/// Resolves an alert, since somebody says that it is over; it fires again if its check still fails.
///
/// # Errors
///
/// If it does not fire.
pub async fn resolve_firing_alert(
    app: &Arc<AppState>,
    actor: &Actor,
    alert: AlertRef,
    note: String,
) -> Result<(), AppError> {
    let config = app.config();
    let resolved =
        AlertCommand::new(app, actor, alert, note).write_audited(app, "alert.resolved", move |db, remark| {
            let Some(kept) = remark.find_firing_alert(db)? else { return Ok(false) };
            let note = if remark.note.is_empty() { String::new() } else { format!(": {}", remark.note) };
            let why = format!("resolved by {}{note}", remark.actor);
            resolve_alert(db, &config.serve, &kept, &why, remark.now)?;
            Ok(true)
        });
    if resolved.await? { Ok(()) } else { Err(not_firing_error()) }
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
    let added =
        AlertCommand::new(app, actor, alert, note).write_audited(app, "alert.commented", |db, remark| {
            let is_known = alerts::find_alert(db, &remark.alert.target, &remark.alert.check)?.is_some();
            if is_known {
                events::insert_event(db, &remark.comment_event())?;
            }
            Ok(is_known)
        });
    let unknown = || AppError::NotFound("Nothing is known of such a check on such a target.".into());
    if added.await? { Ok(()) } else { Err(unknown()) }
}

#[cfg(test)]
mod tests;
