//! The state store of this instance: its kind, location and size.

use std::sync::Arc;

use sessionwatch_store::StoreLocation;

use super::{AppError, AppState};
use crate::blocking;

/// The state store of this instance.
#[derive(Clone, Debug)]
pub struct StoreInfo {
    /// Kind of database.
    pub kind: &'static str,
    /// Path, or address without its password.
    pub location: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// Loads the location and the size of the state store.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn load_store_info(app: &Arc<AppState>) -> Result<StoreInfo, AppError> {
    let store = app.store.clone();
    let bytes = blocking::run_catching(move || store.size_bytes()).await;
    let bytes = bytes.ok_or(AppError::Internal("reading the size of the state store panicked"))??;
    let (kind, location) = match &app.config().serve.store {
        StoreLocation::File(path) => ("SQLite", path.display().to_string()),
        StoreLocation::Server(dsn) => ("PostgreSQL", dsn.to_string()),
    };
    Ok(StoreInfo { kind, location, bytes })
}
