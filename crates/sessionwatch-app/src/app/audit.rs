//! The audit trail.

use std::sync::Arc;

use super::{AppError, AppState, Period};
use crate::store::audit;
pub use crate::store::audit::{Entry as AuditEntry, Trail as ChainStatus};

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
    app.read(move |db| audit::between(db, (period.from, period.to), limit)).await
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

/// Whether the trail is whole.
///
/// # Errors
///
/// If the store does not answer.
pub async fn verify(app: &Arc<AppState>) -> Result<ChainStatus, AppError> {
    app.read(audit::verify).await
}
