//! Audit log: list and verify.

use std::sync::Arc;

use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::audit::{self, AuditSearch};

use super::{AppError, AppState, Period, cut_page};

pub use sessionwatch_store::audit::{AuditEntry, ChainStatus};

/// Search for audit entries. `None` applies no restriction.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Only entries of this actor.
    pub actor: Option<String>,
    /// Only entries with this action.
    pub action: Option<String>,
    /// Only entries that contain this text, ignoring case.
    pub text: Option<String>,
    /// Only entries at or after this time.
    pub from: Option<UtcTimestamp>,
    /// Only entries before the one with this id.
    pub before: Option<i64>,
    /// Maximum number of entries.
    pub limit: u32,
}

/// A page of the audit log.
#[derive(Clone, Debug)]
pub struct AuditPage {
    /// Entries, the latest first.
    pub entries: Vec<AuditEntry>,
    /// `true` if older entries match.
    pub has_more: bool,
    /// Number of entries that match the search, on all pages.
    pub matching: u64,
    /// State of the hash chain.
    pub chain: ChainStatus,
    /// Actors with entries other than failed logins, by name.
    pub actors: Vec<String>,
    /// Actions with entries, by name.
    pub actions: Vec<String>,
}

/// Loads a page of the audit log. The whole log is verified each time, so that tampering shows to anyone who reads it.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn load_audit_page(app: &Arc<AppState>, query: AuditQuery) -> Result<AuditPage, AppError> {
    // One transaction, so that the numbers fit together.
    app.read_store(move |db| {
        let search = AuditSearch {
            actor: query.actor.as_deref(),
            action: query.action.as_deref(),
            text: query.text.as_deref(),
            from: query.from,
        };
        // The extra entry only shows that another page follows.
        let read = query.limit.saturating_add(1);
        let mut entries = audit::search_audit_entries(db, search, query.before, read)?;
        Ok(AuditPage {
            has_more: cut_page(&mut entries, query.limit),
            entries,
            matching: audit::count_audit_entries(db, search)?,
            chain: audit::verify_chain(db)?,
            actors: audit::list_audit_actors(db)?,
            actions: audit::list_audit_actions(db)?,
        })
    })
    .await
}

/// Lists the entries of a period, the oldest first.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn list_audit_entries(
    app: &Arc<AppState>,
    period: Period,
    limit: u32,
) -> Result<Vec<AuditEntry>, AppError> {
    app.read_store(move |db| audit::list_audit_entries_between(db, period, limit)).await
}

/// Counts the entries of a period.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn count_audit_entries(app: &Arc<AppState>, period: Period) -> Result<u64, AppError> {
    app.read_store(move |db| audit::count_audit_entries_between(db, period)).await
}

/// Lists the entries before entry `before`, the latest first.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn list_audit_entries_before(
    app: &Arc<AppState>,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<AuditEntry>, AppError> {
    app.read_store(move |db| audit::list_audit_entries_before(db, before, limit)).await
}

/// Result of verifying the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditVerification {
    /// State of the hash chain.
    pub chain: ChainStatus,
    /// `true` if the log contains the requested entry; `None` if none was requested.
    pub contains_head: Option<bool>,
}

/// Verifies the hash chain of the audit log and, if `head` is given, that the log contains the entry with this hash. A
/// checklist report names the hash of the last entry, so an older report reveals a log that was truncated.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn verify_audit_chain(
    app: &Arc<AppState>,
    head: Option<String>,
) -> Result<AuditVerification, AppError> {
    app.read_store(move |db| {
        // A head that is missing from an intact chain means that the log was truncated and continued.
        let contains_head = head.as_ref().map(|head| audit::contains_hash(db, head)).transpose()?;
        Ok(AuditVerification { chain: audit::verify_chain(db)?, contains_head })
    })
    .await
}

#[cfg(test)]
mod tests;
