//! Querying the database of a target for a page, over a connection that waits a little for whoever asks next.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use sessionwatch_clock as clock;
use sessionwatch_targets::{
    address::Address, connect::ConnectedTarget, error::TargetError, read_session::PooledConnection,
};
use tokio::task::JoinSet;

use super::{
    AppError, AppState,
    target_ops::{QUERY_TIMEOUT, acquire_query_permit},
};
use crate::{
    blocking,
    config::{Config, Target},
    target_layouts,
};

/// How long a connection waits for the next question.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many connections to a target wait at most: the role of the watch may have few, and looks need one.
const IDLE_LIMIT: usize = 2;

/// Connections that wait for the next question. Those that are left when this is dropped end without taking leave.
#[derive(Debug, Default)]
pub(super) struct ConnectionPool(Mutex<PoolState>);

#[derive(Debug, Default)]
struct PoolState {
    /// By target; the one that waits longest is the first.
    idle: BTreeMap<String, Vec<IdleConnection>>,
    /// How many have waited so far.
    count: u64,
    /// What ends those for which no question comes.
    expiries: JoinSet<()>,
}

/// A connection that waits.
#[derive(Debug)]
struct IdleConnection {
    address: Address,
    connection: PooledConnection,
    /// Which one it is.
    number: u64,
}

impl ConnectionPool {
    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to a target that has not waited for long.
    async fn checkout(&self, target: &Target) -> Option<PooledConnection> {
        let idle = self.lock().idle.get_mut(&target.name)?.pop()?;
        if idle.address == target.address {
            return Some(idle.connection);
        }
        idle.connection.close().await;
        None
    }

    /// Takes a connection that still waits out of the pool.
    fn remove(&self, target: &str, number: u64) -> Option<IdleConnection> {
        let mut state = self.lock();
        let idle = state.idle.get_mut(target)?;
        let at = idle.iter().position(|idle| idle.number == number)?;
        Some(idle.remove(at))
    }

    /// Ends all connections to a target that wait, for what needs connections of its own.
    pub(super) async fn evict_idle(&self, target: &str) {
        let idle = self.lock().idle.remove(target);
        for idle in idle.into_iter().flatten() {
            idle.connection.close().await;
        }
    }
}

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
    let answered = blocking::drive_caught(async move || {
        let _permit = permit;
        let idle = app.connections.checkout(&target).await;
        let (config, mut located) = (app.config(), target.clone());
        target_layouts::locate(&app.store, &mut located)?;
        let query = query_over(&located, &config, idle, query);
        let limit = TargetError::TimedOut(QUERY_TIMEOUT.as_secs());
        let (answer, idle) = tokio::time::timeout(QUERY_TIMEOUT, query).await.unwrap_or(Err(limit))?;
        if let Some(connection) = idle {
            release(&app, &target, connection).await;
        }
        Ok::<_, TargetError>(answer)
    });
    match answered.await {
        Some(answered) => answered.map_err(|error| unknown(&error.to_string())),
        None => Err(unknown("the query ended in a panic")),
    }
}

/// Lets a connection wait for the next question, and ends it when none comes.
async fn release(app: &Arc<AppState>, target: &Target, connection: PooledConnection) {
    let surplus = {
        let mut state = app.connections.lock();
        state.count += 1;
        let number = state.count;
        while state.expiries.try_join_next().is_some() {}
        state.expiries.spawn(expire(Arc::downgrade(app), target.name.clone(), number));
        let idle = state.idle.entry(target.name.clone()).or_default();
        idle.push(IdleConnection { address: target.address.clone(), connection, number });
        (idle.len() > IDLE_LIMIT).then(|| idle.remove(0))
    };
    if let Some(surplus) = surplus {
        surplus.connection.close().await;
    }
}

/// Ends a connection if it still waits after a while.
async fn expire(app: Weak<AppState>, target: String, number: u64) {
    clock::sleep(IDLE_TIMEOUT).await;
    let expired = app.upgrade().and_then(|app| app.connections.remove(&target, number));
    if let Some(expired) = expired {
        expired.connection.close().await;
    }
}

/// Queries, and gives back the connection, if it can be used again.
async fn query_over<T>(
    target: &Target,
    config: &Config,
    idle: Option<PooledConnection>,
    query: impl AsyncFnOnce(&ConnectedTarget, &Config) -> Result<T, TargetError>,
) -> Result<(T, Option<PooledConnection>), TargetError> {
    let mut target = target.clone();
    target.limits.timeout = target.limits.timeout.min(QUERY_TIMEOUT);
    let opened = ConnectedTarget::reuse(idle, target.connect_options(&config.catalogue)).await?;
    let answer = query(&opened, config).await;
    match answer {
        Ok(answer) => Ok((answer, opened.session.rest().await)),
        Err(error) => {
            opened.session.close().await;
            Err(error)
        }
    }
}
