//! What people do to a target: each on a thread for what blocks, as looks and actions need it.

use std::{sync::Arc, time::Duration};

use tokio::sync::OwnedSemaphorePermit;

use super::{Actor, AppError, AppState, LiveEvent};
use crate::{
    blocking,
    config::{Config, Target},
    remediation::{ActionContext, ActionError},
};

/// How long one waits for a database.
pub(crate) const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything that it takes to do something to a target.
#[derive(Clone, Debug)]
pub struct TargetOps {
    /// What all use cases share.
    pub app: Arc<AppState>,
    /// The configuration when it began.
    pub config: Arc<Config>,
    /// The target.
    pub target: Target,
    /// Who does it.
    pub actor: Actor,
}

impl TargetOps {
    /// Of somebody on a target.
    #[must_use]
    pub fn new(app: &Arc<AppState>, target: Target, actor: &Actor) -> Self {
        Self { app: Arc::clone(app), config: app.config(), target, actor: actor.clone() }
    }

    /// The same, as actions take it.
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

    /// The same, for what only looks and has a person waiting.
    #[must_use]
    pub fn with_short_timeout(mut self) -> Self {
        self.target.limits.timeout = self.target.limits.timeout.min(QUERY_TIMEOUT);
        self
    }

    /// Queries the database, once few enough people do.
    pub(crate) async fn with_target<T: Send + 'static>(
        self,
        query: impl AsyncFnOnce(&Self) -> Result<T, ActionError> + Send + 'static,
    ) -> Result<T, AppError> {
        let permit = acquire_query_permit(&self.app, &self.target.name).await?;
        let queried = blocking::run_async_catching(async move || {
            let _permit = permit;
            self.app.connection_pool.evict_idle(&self.target.name).await;
            query(&self).await
        });
        Ok(queried.await.ok_or(AppError::Internal("a query ended in a panic"))??)
    }

    /// Does something for which the database is needed. Whoever has a page open hears of it.
    pub(crate) async fn with_target_and_publish<T: Send + 'static>(
        self,
        work: impl AsyncFnOnce(&Self) -> Result<T, ActionError> + Send + 'static,
    ) -> Result<T, AppError> {
        let (app, target) = (Arc::clone(&self.app), self.target.name.clone());
        let done = self.with_target(work).await;
        app.publish(LiveEvent::TargetChanged { target });
        done
    }

    /// Reads something from the store, on a thread for what blocks.
    pub(crate) async fn read_store<T: Send + 'static>(
        self,
        read: impl FnOnce(&Self) -> Result<T, ActionError> + Send + 'static,
    ) -> Result<T, AppError> {
        let read = blocking::run_catching(move || read(&self)).await;
        Ok(read.ok_or(AppError::Internal("a read ended in a panic"))??)
    }

    /// Writes something down, for which no database is waited for. Whoever has a page open hears of it.
    pub(crate) async fn with_store<T: Send + 'static>(
        self,
        write: impl FnOnce(&Self) -> Result<T, ActionError> + Send + 'static,
    ) -> Result<T, AppError> {
        let (app, target) = (Arc::clone(&self.app), self.target.name.clone());
        let written = blocking::run_catching(move || write(&self)).await;
        app.publish(LiveEvent::TargetChanged { target });
        Ok(written.ok_or(AppError::Internal("a write ended in a panic"))??)
    }
}

/// Waits until few enough people query databases. What is given is to be held until the database has answered, also if
/// nobody waits for the answer any more.
pub(super) async fn acquire_query_permit(
    app: &AppState,
    target: &str,
) -> Result<OwnedSemaphorePermit, AppError> {
    let permit = Arc::clone(&app.query_permits).acquire_owned();
    let permit = tokio::time::timeout(QUERY_TIMEOUT, permit).await;
    let busy = || {
        let why = "too many people ask at once";
        AppError::Unavailable(format!("The database of {target} cannot be asked: {why}."))
    };
    permit.ok().and_then(Result::ok).ok_or_else(busy)
}
