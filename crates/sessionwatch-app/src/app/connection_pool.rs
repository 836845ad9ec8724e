//! Connections to the databases of targets that wait a little for the next query of a page.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use sessionwatch_clock as clock;
use sessionwatch_targets::{address::TargetAddress, read_session::PooledConnection};
use tokio::task::JoinSet;

use crate::config::Target;

/// How long a connection waits for the next question.
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// How many connections to a target wait at most: the role of the watch may have few, and looks need one.
const MAX_IDLE_PER_TARGET: usize = 2;

/// Connections that wait for the next question. Those that are left when this is dropped end without taking leave.
#[derive(Debug, Default)]
pub(super) struct ConnectionPool(Mutex<PoolState>);

#[derive(Debug, Default)]
struct PoolState {
    /// By target; the one that waits longest is the first.
    idle: BTreeMap<String, Vec<IdleConnection>>,
    /// How many have waited so far.
    released_count: u64,
    /// What ends those for which no question comes.
    idle_timers: JoinSet<()>,
}

/// A connection that waits.
#[derive(Debug)]
struct IdleConnection {
    address: TargetAddress,
    connection: PooledConnection,
    /// Which one it is.
    id: u64,
}

impl ConnectionPool {
    fn lock_state(&self) -> MutexGuard<'_, PoolState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to a target that has not waited for long.
    pub(super) async fn checkout(&self, target: &Target) -> Option<PooledConnection> {
        let idle = self.lock_state().idle.get_mut(&target.name)?.pop()?;
        if idle.address == target.address {
            return Some(idle.connection);
        }
        idle.connection.close().await;
        None
    }

    /// Lets a connection wait for the next question, and ends it when none comes.
    pub(super) async fn release(self: &Arc<Self>, target: &Target, connection: PooledConnection) {
        let surplus = {
            let mut state = self.lock_state();
            state.released_count += 1;
            let number = state.released_count;
            while state.idle_timers.try_join_next().is_some() {}
            state.idle_timers.spawn(close_after_idle_timeout(
                Arc::downgrade(self),
                target.name.clone(),
                number,
            ));
            let idle = state.idle.entry(target.name.clone()).or_default();
            idle.push(IdleConnection { address: target.address.clone(), connection, id: number });
            (idle.len() > MAX_IDLE_PER_TARGET).then(|| idle.remove(0))
        };
        if let Some(surplus) = surplus {
            surplus.connection.close().await;
        }
    }

    /// Takes a connection that still waits out of the pool.
    fn take_idle(&self, target: &str, id: u64) -> Option<IdleConnection> {
        let mut state = self.lock_state();
        let idle = state.idle.get_mut(target)?;
        let at = idle.iter().position(|idle| idle.id == id)?;
        Some(idle.remove(at))
    }

    /// Ends all connections to a target that wait, for what needs connections of its own.
    pub(super) async fn evict_idle(&self, target: &str) {
        let idle = self.lock_state().idle.remove(target);
        for idle in idle.into_iter().flatten() {
            idle.connection.close().await;
        }
    }
}

/// Ends a connection if it still waits after a while.
async fn close_after_idle_timeout(pool: Weak<ConnectionPool>, target: String, id: u64) {
    clock::sleep(IDLE_CONNECTION_TIMEOUT).await;
    let expired = pool.upgrade().and_then(|pool| pool.take_idle(&target, id));
    if let Some(expired) = expired {
        expired.connection.close().await;
    }
}
