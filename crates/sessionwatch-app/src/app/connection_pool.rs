//! Pool of idle connections to targets, reused by the next query of a page.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use sessionwatch_clock as clock;
use sessionwatch_targets::{address::TargetAddress, read_session::PooledConnection};
use tokio::task::JoinSet;

use crate::config::Target;

// Long enough for the next click; short enough that a database with autosuspend can go to sleep.
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

// The watch role may have few connections, and check runs need one of them.
const MAX_IDLE_PER_TARGET: usize = 2;

/// Idle connections. Dropping the pool drops them without a clean close.
#[derive(Debug, Default)]
pub(super) struct ConnectionPool(Mutex<PoolState>);

#[derive(Debug, Default)]
struct PoolState {
    /// Idle connections by target, the longest idle first.
    idle: BTreeMap<String, Vec<IdleConnection>>,
    /// Number of connections released so far, the source of ids.
    released_count: u64,
    /// Tasks that close connections after the idle timeout.
    idle_timers: JoinSet<()>,
}

#[derive(Debug)]
struct IdleConnection {
    address: TargetAddress,
    connection: PooledConnection,
    id: u64,
}

impl ConnectionPool {
    fn lock_state(&self) -> MutexGuard<'_, PoolState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the most recently released connection to a target, if there is one.
    pub(super) async fn checkout(&self, target: &Target) -> Option<PooledConnection> {
        // The most recent one is the least likely to have been closed by the server meanwhile.
        let idle = self.lock_state().idle.get_mut(&target.name)?.pop()?;
        // A reload may have changed the address.
        if idle.address == target.address {
            return Some(idle.connection);
        }
        idle.connection.close().await;
        None
    }

    /// Puts a connection into the pool, and closes it after the idle timeout.
    pub(super) async fn release(self: &Arc<Self>, target: &Target, connection: PooledConnection) {
        // Closing waits for the network, so the surplus connection leaves the lock first.
        let surplus = {
            let mut state = self.lock_state();
            state.released_count += 1;
            let id = state.released_count;
            // Reap finished timers, which the set would keep otherwise.
            while state.idle_timers.try_join_next().is_some() {}
            state.idle_timers.spawn(close_after_idle_timeout(
                // A weak reference, so that a pending timer does not keep the pool alive after shutdown.
                Arc::downgrade(self),
                target.name.clone(),
                id,
            ));
            let idle = state.idle.entry(target.name.clone()).or_default();
            idle.push(IdleConnection { address: target.address.clone(), connection, id });
            (idle.len() > MAX_IDLE_PER_TARGET).then(|| idle.remove(0))
        };
        if let Some(surplus) = surplus {
            surplus.connection.close().await;
        }
    }

    fn take_idle(&self, target: &str, id: u64) -> Option<IdleConnection> {
        let mut state = self.lock_state();
        let idle = state.idle.get_mut(target)?;
        // A page may have taken the connection while the timer slept; then there is nothing to close.
        let at = idle.iter().position(|idle| idle.id == id)?;
        Some(idle.remove(at))
    }

    /// Closes all idle connections to a target, to free them for an action that opens its own.
    pub(super) async fn evict_idle(&self, target: &str) {
        let idle = self.lock_state().idle.remove(target);
        for idle in idle.into_iter().flatten() {
            idle.connection.close().await;
        }
    }
}

/// Waits for the idle timeout and closes the connection, unless it has been taken from the pool.
async fn close_after_idle_timeout(pool: Weak<ConnectionPool>, target: String, id: u64) {
    clock::sleep(IDLE_CONNECTION_TIMEOUT).await;
    let expired = pool.upgrade().and_then(|pool| pool.take_idle(&target, id));
    if let Some(expired) = expired {
        expired.connection.close().await;
    }
}
