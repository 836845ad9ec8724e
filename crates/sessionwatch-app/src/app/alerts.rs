//! Alerts: list, acknowledge, resolve and comment. Every change is recorded in the audit log.

use std::sync::Arc;

use serde_json::json;
use sessionwatch_core::{alert::AlertState, timestamp::UtcTimestamp};
use sessionwatch_store::{StoreError, alerts, audit, history_events, transaction::Tx};

use super::{Actor, AppError, AppState};
use crate::alerts::close_alert as resolve_alert;

pub use sessionwatch_store::{
    alerts::AlertRecord,
    history_events::{EventRecord, EventSearch},
    silences::SilenceRecord,
};

/// Identifies the alert of a check on a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRef {
    /// Target name.
    pub target: String,
    /// Check id.
    pub check: String,
}

/// Returns whether a silence covers every finding of an alert. One for a single user or token prefix does not.
#[must_use]
pub fn is_silenced(alert: &AlertRecord, silences: &[SilenceRecord]) -> bool {
    silences.iter().any(|silence| silence.subject.is_none() && silence.covers(&alert.target, &alert.check))
}

/// Filter for [`list_alerts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertFilter {
    /// Pending and firing alerts.
    Active,
    /// All alerts, including those of passing checks.
    All,
}

/// Action of a user on an alert, with a note and the time.
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

    fn find_firing_alert(&self, db: Tx<'_>) -> Result<Option<AlertRecord>, StoreError> {
        let fires = |record: &AlertRecord| matches!(record.alert.state, AlertState::Firing { .. });
        Ok(alerts::find_alert(db, &self.alert.target, &self.alert.check)?.filter(fires))
    }

    fn comment_event(&self) -> EventRecord {
        self.event("comment", format!("{}: {}", self.actor, self.note))
    }

    fn acknowledgement_event(&self) -> EventRecord {
        let note = if self.note.is_empty() { String::new() } else { format!(": {}", self.note) };
        self.event("acknowledged", format!("acknowledged by {}{note}", self.actor))
    }

    fn event(&self, kind: &str, summary: String) -> EventRecord {
        EventRecord {
            id: 0,
            at: self.now,
            target: self.alert.target.clone(),
            check: self.alert.check.clone(),
            kind: kind.to_owned(),
            summary,
            detail: self.audit_detail(),
        }
    }

    fn audit_detail(&self) -> String {
        let Self { alert, note, .. } = self;
        json!({ "target": alert.target, "check": alert.check, "note": note }).to_string()
    }

    /// Applies a change and writes an audit entry in the same transaction. Returns `false`, without an audit entry, if
    /// `change` does.
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
                    // The event of an unknown check would never be shown, because pages list events per
                    // known check.
                    self.now,
                )?;
            }
            Ok(is_changed)
        })
        .await
    }
}

fn not_firing_error() -> AppError {
    AppError::Conflict("This alert is no longer firing. Another user may have resolved the alert.".into())
}

/// Lists alerts: firing ones first, then pending ones. Within a state, the most severe come first, then the oldest.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn list_alerts(app: &Arc<AppState>, filter: AlertFilter) -> Result<Vec<AlertRecord>, AppError> {
    app.read_store(move |db| alerts::list_alerts(db, filter == AlertFilter::All)).await
}

/// Returns the alert of a check on a target; `None` if the check has never run there.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn find_alert(app: &Arc<AppState>, alert: AlertRef) -> Result<Option<AlertRecord>, AppError> {
    app.read_store(move |db| alerts::find_alert(db, &alert.target, &alert.check)).await
}

/// Searches the events, the oldest first.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn search_events(app: &Arc<AppState>, search: EventSearch) -> Result<Vec<EventRecord>, AppError> {
    app.read_store(move |db| history_events::search_events(db, &search)).await
}

/// Counts the events that a search finds without its limit.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn count_events(app: &Arc<AppState>, search: EventSearch) -> Result<u64, AppError> {
    app.read_store(move |db| history_events::count_events(db, &search)).await
}

/// Acknowledges a firing alert, which stops reminders until the alert is resolved.
///
/// # Errors
///
/// If the alert is not firing.
pub async fn acknowledge_alert(
    app: &Arc<AppState>,
    actor: &Actor,
    alert: AlertRef,
    note: String,
) -> Result<(), AppError> {
    let acknowledged =
        AlertCommand::new(app, actor, alert, note).write_audited(app, "alert.acknowledged", |db, remark| {
            // Read within the transaction: the next check run may resolve the alert at any moment.
            let Some(mut record) = remark.find_firing_alert(db)? else { return Ok(false) };
            record.acknowledged_by = Some(remark.actor.clone());
            record.note = Some(remark.note.clone()).filter(|note| !note.is_empty());
            alerts::upsert_alert(db, &record)?;
            history_events::insert_event(db, &remark.acknowledgement_event())?;
            Ok(true)
        });
    if acknowledged.await? { Ok(()) } else { Err(not_firing_error()) }
}

/// Resolves a firing alert; the alert fires again if its check still fails.
///
/// # Errors
///
/// If the alert is not firing.
pub async fn resolve_firing_alert(
    app: &Arc<AppState>,
    actor: &Actor,
    alert: AlertRef,
    note: String,
) -> Result<(), AppError> {
    let config = app.config();
    let resolved =
        AlertCommand::new(app, actor, alert, note).write_audited(app, "alert.resolved", move |db, remark| {
            let Some(record) = remark.find_firing_alert(db)? else { return Ok(false) };
            let note = if remark.note.is_empty() { String::new() } else { format!(": {}", remark.note) };
            let why = format!("resolved by {}{note}", remark.actor);
            resolve_alert(db, &config.serve, &record, &why, remark.now)?;
            Ok(true)
        });
    if resolved.await? { Ok(()) } else { Err(not_firing_error()) }
}

/// Adds a comment to the history of a check on a target.
///
/// # Errors
///
/// If the check has no results on the target.
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
                history_events::insert_event(db, &remark.comment_event())?;
            }
            Ok(is_known)
        });
    let unknown = || AppError::NotFound("This check has no results on this target.".into());
    if added.await? { Ok(()) } else { Err(unknown()) }
}

#[cfg(test)]
mod tests;
