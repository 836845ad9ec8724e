//! The audit trail.

use std::sync::Arc;

use sessionwatch_store::audit;

use super::{AppError, AppState, Period};

pub use sessionwatch_store::audit::{AuditEntry, ChainStatus};

/// Entries of a period, the oldest first.
///
/// # Errors
///
/// If the store does not answer.
pub async fn list_audit_entries(
    app: &Arc<AppState>,
    period: Period,
    limit: u32,
) -> Result<Vec<AuditEntry>, AppError> {
    app.read_store(move |db| audit::list_audit_entries_between(db, period, limit)).await
}

/// Entries before one, the latest first.
///
/// # Errors
///
/// If the store does not answer.
pub async fn list_audit_entries_before(
    app: &Arc<AppState>,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<AuditEntry>, AppError> {
    app.read_store(move |db| audit::list_audit_entries_before(db, before, limit)).await
}

/// What an examination of the trail found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditVerification {
    /// Whether each entry fits the one before.
    pub chain: ChainStatus,
    /// Whether the trail still holds the entry that was asked for; `None` if none was.
    pub contains_head: Option<bool>,
}

/// Whether the trail is whole, and still holds the entry with a hash, such as one that a checklist named as its last one.
///
/// # Errors
///
/// If the store does not answer.
pub async fn verify_audit_chain(
    app: &Arc<AppState>,
    head: Option<String>,
) -> Result<AuditVerification, AppError> {
    app.read_store(move |db| {
        let holds_head = head.as_ref().map(|head| audit::contains_hash(db, head)).transpose()?;
        Ok(AuditVerification { chain: audit::verify_chain(db)?, contains_head: holds_head })
    })
    .await
}
