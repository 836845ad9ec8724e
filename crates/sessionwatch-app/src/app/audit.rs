//! The audit trail.

use std::sync::Arc;

use sessionwatch_store::audit;

use super::{AppError, AppState, Period};

pub use sessionwatch_store::audit::{Entry as AuditEntry, Trail as ChainStatus};

/// Entries of a period, the oldest first.
///
/// # Errors
///
/// If the store does not answer.
pub async fn list_entries(
    app: &Arc<AppState>,
    period: Period,
    limit: u32,
) -> Result<Vec<AuditEntry>, AppError> {
    app.read(move |db| audit::between(db, period, limit)).await
}

/// Entries before one, the latest first.
///
/// # Errors
///
/// If the store does not answer.
pub async fn list_entries_before(
    app: &Arc<AppState>,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<AuditEntry>, AppError> {
    app.read(move |db| audit::page(db, before, limit)).await
}

/// What an examination of the trail found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Whether each entry fits the one before.
    pub chain: ChainStatus,
    /// Whether the trail still holds the entry that was asked for; `None` if none was.
    pub holds_head: Option<bool>,
}

/// Whether the trail is whole, and still holds the entry with a hash, such as one that a checklist named as its last one.
///
/// # Errors
///
/// If the store does not answer.
pub async fn verify(app: &Arc<AppState>, head: Option<String>) -> Result<Verification, AppError> {
    app.read(move |db| {
        let holds_head = head.as_ref().map(|head| audit::knows(db, head)).transpose()?;
        Ok(Verification { chain: audit::verify(db)?, holds_head })
    })
    .await
}
