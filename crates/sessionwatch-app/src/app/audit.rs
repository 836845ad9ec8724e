//! Audit log: list and verify.

use std::sync::Arc;

use sessionwatch_store::audit;

use super::{AppError, AppState, Period};

pub use sessionwatch_store::audit::{AuditEntry, ChainStatus};

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
        let holds_head = head.as_ref().map(|head| audit::contains_hash(db, head)).transpose()?;
        Ok(AuditVerification { chain: audit::verify_chain(db)?, contains_head: holds_head })
    })
    .await
}
