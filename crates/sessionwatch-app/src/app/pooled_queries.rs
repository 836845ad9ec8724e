//! Queries for dashboard pages, over pooled connections.

use std::sync::Arc;

use sessionwatch_targets::{connect::ConnectedTarget, error::TargetError, read_session::PooledConnection};

use super::{
    AppError, AppState,
    target_ops::{QUERY_TIMEOUT, acquire_query_permit},
};
use crate::{
    blocking,
    config::{Config, Target},
    target_layouts,
};

/// Runs a query against the database of a target, within the limit on concurrent queries.
///
/// # Errors
///
/// If the query fails or times out, or there are too many concurrent queries.
pub(super) async fn with_pooled_connection<T: Send + 'static>(
    app: &Arc<AppState>,
    target: &Target,
    query: impl AsyncFnOnce(&ConnectedTarget, &Config) -> Result<T, TargetError> + Send + 'static,
) -> Result<T, AppError> {
    let name = target.name.clone();
    let unavailable =
        |reason: &str| AppError::Unavailable(format!("Cannot query the database of {name}: {reason}."));
    let permit = acquire_query_permit(app, &name).await?;
    let (app, target) = (Arc::clone(app), target.clone());
    // On a blocking thread, because SQLite queries block.
    let answered = blocking::run_async_catching(async move || {
        // Held until the query ends, even if the client has gone: the database is still busy.
        let _permit = permit;
        let idle = app.connection_pool.checkout(&target).await;
        // A copy: the recorded layout must not reach the configuration shared by all requests.
        let (config, mut located) = (app.config(), target.clone());
        target_layouts::set_known_layout(&app.store, &mut located)?;
        let query = query_connection(&located, &config, idle, query);
        let limit = TargetError::TimedOut(QUERY_TIMEOUT.as_secs());
        // A connection that timed out is dropped with its query, never pooled: a late answer could still be
        // on it.
        let (answer, idle) = tokio::time::timeout(QUERY_TIMEOUT, query).await.unwrap_or(Err(limit))?;
        if let Some(connection) = idle {
            // Only after the answer: `release` of a failed connection would hand the fault to the next page.
            app.connection_pool.release(&target, connection).await;
        }
        Ok::<_, TargetError>(answer)
    });
    match answered.await {
        Some(answered) => answered.map_err(|error| unavailable(&error.to_string())),
        None => Err(unavailable("the query panicked")),
    }
}

/// Runs a query. Returns the connection too, if it can be reused.
async fn query_connection<T>(
    target: &Target,
    config: &Config,
    idle: Option<PooledConnection>,
    query: impl AsyncFnOnce(&ConnectedTarget, &Config) -> Result<T, TargetError>,
) -> Result<(T, Option<PooledConnection>), TargetError> {
    let mut target = target.clone();
    // The server stops the statement too, even if this process cannot cancel it.
    target.limits.timeout = target.limits.timeout.min(QUERY_TIMEOUT);
    let opened = ConnectedTarget::reuse_connection(idle, target.connect_options(&config.catalogue)).await?;
    let answer = query(&opened, config).await;
    match answer {
        Ok(answer) => Ok((answer, opened.session.release().await)),
        Err(error) => {
            // After an error, the state of the transaction is unknown, so the connection is not reused.
            opened.session.close().await;
            Err(error)
        }
    }
}
