//! Leader election between daemons that share a state store: each target, and the delivery of notifications, has one
//! leader.
//!
//! A lease is valid for a few seconds and renewed well before it expires. A daemon that takes over a lease gets a new
//! epoch. Late writes of the old leader are rejected: a leader writes through [`LeaseManager::fenced_store`], where
//! every transaction checks its epoch first.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant as Monotonic},
};

use sessionwatch_store::{
    Store,
    leases::{self, LeaseFence},
};
use tokio::sync::watch;

use super::failure_log::{FailureKind, FailureLog};

/// Interval at which leases are acquired and renewed.
pub(crate) const LEASE_RENEWAL_INTERVAL: Duration = Duration::from_secs(2);
// Shorter than the validity in the store: this daemon stops before another one can take over.
const LEASE_TRUST_WINDOW: Duration = Duration::from_secs(5);
/// Lease for the delivery of notifications.
pub const DELIVERY_LEASE: &str = "delivery";

/// Leases held by this daemon.
#[derive(Debug)]
pub struct LeaseManager {
    holder: String,
    /// Held leases by name; `None` for a store that is not shared, where this daemon leads everything.
    held_leases: Option<watch::Sender<BTreeMap<String, HeldLease>>>,
    /// Time of the last successful exchange with the store, even if other daemons hold all leases.
    renewed_at: Mutex<Option<Monotonic>>,
    failure_log: FailureLog,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HeldLease {
    epoch: i64,
    renewed_at: Monotonic,
}

/// Returns the name of the lease of a target.
#[must_use]
pub fn target_lease_name(target: &str) -> String {
    format!("target/{target}")
}

impl LeaseManager {
    /// Creates a manager for a shared or an exclusive store. `holder` names this daemon among those that share the
    /// store.
    #[must_use]
    pub fn new(shared: bool, holder: String) -> Self {
        // `None` instead of an empty map: with an exclusive store, there is no lease that could expire.
        let held_leases = shared.then(|| watch::Sender::new(BTreeMap::new()));
        Self { holder, held_leases, renewed_at: Mutex::new(None), failure_log: FailureLog::default() }
    }

    /// Returns `true` if leadership is settled: always for an exclusive store, and for a shared one while leases can be
    /// renewed.
    #[must_use]
    pub fn is_leader_known(&self) -> bool {
        // The time of the last exchange, not the leases: a standby without leases is healthy too.
        let renewed = *self.renewed_at.lock().unwrap_or_else(PoisonError::into_inner);
        self.held_leases.is_none() || renewed.is_some_and(|renewed| renewed.elapsed() < LEASE_TRUST_WINDOW)
    }

    /// Returns the epoch of a lease; `None` if this daemon does not hold the lease.
    #[must_use]
    pub fn epoch(&self, lease: &str) -> Option<i64> {
        let Some(held) = &self.held_leases else { return Some(0) };
        let held = held.borrow();
        // A lease that is no longer trusted is not held, even if the renewal task is stuck.
        held.get(lease).filter(|held| held.renewed_at.elapsed() < LEASE_TRUST_WINDOW).map(|held| held.epoch)
    }

    /// Waits until this daemon holds a lease. Returns its epoch.
    pub async fn wait_for_lease(&self, lease: &str) -> i64 {
        let Some(held) = &self.held_leases else { return 0 };
        let mut changes = held.subscribe();
        loop {
            if let Some(epoch) = self.epoch(lease) {
                return epoch;
            }
            // Fails only if the sender is dropped, but `self` owns the sender.
            let _ = changes.changed().await;
        }
    }

    /// Returns a store whose writes fail once another daemon has taken over the lease.
    #[must_use]
    pub fn fenced_store(&self, store: &Store, lease: &str, epoch: i64) -> Store {
        if self.held_leases.is_none() {
            return store.clone();
        }
        store.with_fence(LeaseFence { lease: lease.to_owned(), holder: self.holder.clone(), epoch })
    }

    /// Releases all leases. Blocks the calling thread.
    pub fn release_leases(&self, store: &Store) {
        let Some(held) = &self.held_leases else { return };
        // First in memory, so that no task starts new work with a lease that is about to be free.
        held.send_replace(BTreeMap::new());
        if let Err(error) = store.write(|db| leases::release_leases(db, &self.holder)) {
            tracing::warn!("cannot release the leases, which expire within seconds: {error}");
        }
    }

    /// Acquires free leases, and renews those that this daemon holds. Blocks the calling thread.
    pub fn renew_leases(&self, store: &Store, leases: &[String]) {
        let Some(held) = &self.held_leases else { return };
        // Read before the write: the store starts counting later, so this daemon never trusts a lease for too long.
        let renewed_at = Monotonic::now();
        let taken = store.write(|db| {
            let mut taken = BTreeMap::new();
            // All leases in one transaction: a daemon with hundreds of targets renews them in one round
            // trip.
            for lease in leases {
                if let Some(epoch) = leases::acquire_lease(db, lease, &self.holder)? {
                    taken.insert(lease.clone(), HeldLease { epoch, renewed_at });
                }
            }
            Ok(taken)
        });
        match taken {
            Ok(taken) => {
                *self.renewed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(renewed_at);
                if self.failure_log.record_success(FailureKind::LeaseRenewal, &self.holder) {
                    tracing::info!("lease renewal in the store works again");
                }
                let before = held.send_replace(taken.clone());
                let new = taken.keys().filter(|lease| !before.contains_key(*lease)).count();
                if new > 0 {
                    // Only new leases are logged: renewals happen every two seconds.
                    tracing::info!("acquired {new} of {} leases", leases.len());
                }
            }
            Err(error) => {
                let cause = error.to_string();
                if self.failure_log.record_failure(FailureKind::LeaseRenewal, &self.holder, &cause) {
                    tracing::error!("cannot renew the leases in the store: {cause}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
