//! Operations on a target for a user, each on a blocking thread, as check runs and actions require.

use std::{sync::Arc, time::Duration};

use tokio::sync::OwnedSemaphorePermit;

use super::{Actor, AppError, AppState, LiveEvent};
use crate::{
    blocking,
    config::{Config, Target},
    remediation::{ActionContext, ActionError},
};

/// Time limit for queries while a user waits.
pub(crate) const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// Operations of an actor on a target.
#[derive(Clone, Debug)]
pub struct TargetOps {
    /// Shared state.
    pub app: Arc<AppState>,
    /// Configuration at the start of the operation, which a reload does not change.
    pub config: Arc<Config>,
    /// The target.
    pub target: Target,
    /// The actor.
    pub actor: Actor,
}

impl TargetOps {
    /// Creates the operations of an actor on a target, with the current configuration.
    #[must_use]
    pub fn new(app: &Arc<AppState>, target: Target, actor: &Actor) -> Self {
        Self { app: Arc::clone(app), config: app.config(), target, actor: actor.clone() }
    }

    /// Returns the context for actions.
    #[must_use]
    pub fn action_context(&self) -> ActionContext<'_> {
        ActionContext {
            config: &self.config,
            target: &self.target,
            store: &self.app.store,
            clock: &self.app.clock,
            actor: self.actor.name(),
        }
    }

    /// Limits the target's timeout to [`QUERY_TIMEOUT`], for read-only operations while a user waits.
    #[must_use]
    pub fn with_short_timeout(mut self) -> Self {
        self.target.limits.timeout = self.target.limits.timeout.min(QUERY_TIMEOUT);
        self
    }

    /// Runs a query against the database, within the limit on concurrent queries.
    pub(crate) async fn with_target<T: Send + 'static>(
        self,
        query: impl AsyncFnOnce(&Self) -> Result<T, ActionError> + Send + 'static,
    ) -> Result<T, AppError> {
        let permit = acquire_query_permit(&self.app, &self.target.name).await?;
        let queried = blocking::run_async_catching(async move || {
            let _permit = permit;
            // The query opens its own connection, and the role may not be allowed many.
            self.app.connection_pool.evict_idle(&self.target.name).await;
            query(&self).await
        });
        Ok(queried.await.ok_or(AppError::Internal("a query panicked"))??)
    }

    /// Does work that needs the database, and publishes [`LiveEvent::TargetChanged`] afterwards, even after an error.
    pub(crate) async fn with_target_and_publish<T: Send + 'static>(
        self,
        work: impl AsyncFnOnce(&Self) -> Result<T, ActionError> + Send + 'static,
    ) -> Result<T, AppError> {
        let (app, target) = (Arc::clone(&self.app), self.target.name.clone());
        // Published on failure too: an action can fail after it has changed rows.
        let done = self.with_target(work).await;
        app.publish(LiveEvent::TargetChanged { target });
        done
    }

    /// Reads from the state store on a blocking thread.
    pub(crate) async fn read_store<T: Send + 'static>(
        self,
        read: impl FnOnce(&Self) -> Result<T, ActionError> + Send + 'static,
    ) -> Result<T, AppError> {
        let read = blocking::run_catching(move || read(&self)).await;
        Ok(read.ok_or(AppError::Internal("a read panicked"))??)
    }

    /// Does work that needs only the state store, and publishes [`LiveEvent::TargetChanged`] afterwards, even after
    /// an error.
    pub(crate) async fn with_store<T: Send + 'static>(
        self,
        write: impl FnOnce(&Self) -> Result<T, ActionError> + Send + 'static,
    ) -> Result<T, AppError> {
        let (app, target) = (Arc::clone(&self.app), self.target.name.clone());
        let written = blocking::run_catching(move || write(&self)).await;
        app.publish(LiveEvent::TargetChanged { target });
        Ok(written.ok_or(AppError::Internal("a write panicked"))??)
    }
}

/// Waits for a query permit, for [`QUERY_TIMEOUT`] at most. Hold the permit until the database has answered, even if
/// the client has gone.
pub(super) async fn acquire_query_permit(
    app: &AppState,
    target: &str,
) -> Result<OwnedSemaphorePermit, AppError> {
    // Times out as a whole, so that a page does not wait for a permit longer than for the query.
    let permit = Arc::clone(&app.query_permits).acquire_owned();
    let permit = tokio::time::timeout(QUERY_TIMEOUT, permit).await;
    let busy =
        || AppError::Unavailable(format!("Too many concurrent queries for {target}. Try again in a moment."));
    permit.ok().and_then(Result::ok).ok_or_else(busy)
}
