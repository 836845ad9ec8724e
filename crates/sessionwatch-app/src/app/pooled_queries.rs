//! Queries the database of a target for a page, over a pooled connection.

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

/// Queries the database of a target, once few enough people do.
///
/// # Errors
///
/// If the database does not answer in time, or too many people query at once.
pub(super) async fn with_pooled_connection<T: Send + 'static>(
    app: &Arc<AppState>,
    target: &Target,
    query: impl AsyncFnOnce(&ConnectedTarget, &Config) -> Result<T, TargetError> + Send + 'static,
) -> Result<T, AppError> {
    let name = target.name.clone();
    let unknown =
        |why: &str| AppError::Unavailable(format!("The database of {name} cannot be asked: {why}."));
    let permit = acquire_query_permit(app, &name).await?;
    let (app, target) = (Arc::clone(app), target.clone());
    // A file blocks.
    let answered = blocking::run_async_catching(async move || {
        let _permit = permit;
        let idle = app.connection_pool.checkout(&target).await;
        let (config, mut located) = (app.config(), target.clone());
        target_layouts::set_known_layout(&app.store, &mut located)?;
        let query = query_connection(&located, &config, idle, query);
        let limit = TargetError::TimedOut(QUERY_TIMEOUT.as_secs());
        let (answer, idle) = tokio::time::timeout(QUERY_TIMEOUT, query).await.unwrap_or(Err(limit))?;
        if let Some(connection) = idle {
            app.connection_pool.release(&target, connection).await;
        }
        Ok::<_, TargetError>(answer)
    });
    match answered.await {
        Some(answered) => answered.map_err(|error| unknown(&error.to_string())),
        None => Err(unknown("the query ended in a panic")),
    }
}

/// Queries, and gives back the connection, if it can be used again.
async fn query_connection<T>(
    target: &Target,
    config: &Config,
    idle: Option<PooledConnection>,
    query: impl AsyncFnOnce(&ConnectedTarget, &Config) -> Result<T, TargetError>,
) -> Result<(T, Option<PooledConnection>), TargetError> {
    let mut target = target.clone();
    target.limits.timeout = target.limits.timeout.min(QUERY_TIMEOUT);
    let opened = ConnectedTarget::reuse_connection(idle, target.connect_options(&config.catalogue)).await?;
    let answer = query(&opened, config).await;
    match answer {
        Ok(answer) => Ok((answer, opened.session.release().await)),
        Err(error) => {
            opened.session.close().await;
            Err(error)
        }
    }
}
