//! Who does what where several daemons share a store: each target, and the delivery, has one leader.
//!
//! A lease holds for a few seconds and is renewed well before it runs out. Whoever takes one over gets a new term; what the
//! old leader still wants to write is refused, since a leader writes through [`LeaseManager::fenced_store`], where every transaction
//! makes sure of its term first.

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

use super::failures::{FailureKind, FailureLog};

/// How often leases are taken or renewed.
pub(crate) const LEASE_RENEWAL_INTERVAL: Duration = Duration::from_secs(2);
/// How long a lease is believed in without being renewed: less than it holds in the store.
const LEASE_TRUST_WINDOW: Duration = Duration::from_secs(5);
/// The lease of the delivery.
pub const DELIVERY_LEASE: &str = "delivery";

/// What this daemon leads.
#[derive(Debug)]
pub struct LeaseManager {
    holder: String,
    /// Terms by lease, and when they were last renewed; nothing where nobody else can lead.
    held_leases: Option<watch::Sender<BTreeMap<String, HeldLease>>>,
    /// When leases were last taken or renewed, or found to be held by others.
    renewed_at: Mutex<Option<Monotonic>>,
    failure_log: FailureLog,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HeldLease {
    epoch: i64,
    renewed_at: Monotonic,
}

/// The lease of a target.
#[must_use]
pub fn target_lease_name(target: &str) -> String {
    format!("target/{target}")
}

impl LeaseManager {
    /// Of a store that nobody else works on, or of one that is shared, under that name.
    #[must_use]
    pub fn new(shared: bool, holder: String) -> Self {
        let held = shared.then(|| watch::Sender::new(BTreeMap::new()));
        Self { holder, held_leases: held, renewed_at: Mutex::new(None), failure_log: FailureLog::default() }
    }

    /// Returns `true` if it is known who leads: always with a store of one's own, and with a shared one while leases can
    /// be renewed there.
    #[must_use]
    pub fn is_leader_known(&self) -> bool {
        let renewed = *self.renewed_at.lock().unwrap_or_else(PoisonError::into_inner);
        self.held_leases.is_none() || renewed.is_some_and(|renewed| renewed.elapsed() < LEASE_TRUST_WINDOW)
    }

    /// The term under which this daemon leads, if it does.
    #[must_use]
    pub fn epoch(&self, lease: &str) -> Option<i64> {
        let Some(held) = &self.held_leases else { return Some(0) };
        let held = held.borrow();
        held.get(lease).filter(|held| held.renewed_at.elapsed() < LEASE_TRUST_WINDOW).map(|held| held.epoch)
    }

    /// Waits until this daemon leads: the term.
    pub async fn wait_for_lease(&self, lease: &str) -> i64 {
        let Some(held) = &self.held_leases else { return 0 };
        let mut changes = held.subscribe();
        loop {
            if let Some(term) = self.epoch(lease) {
                return term;
            }
            // The sender is this one.
            let _ = changes.changed().await;
        }
    }

    /// The store for what a leader writes: refused once somebody else has taken over.
    #[must_use]
    pub fn fenced_store(&self, store: &Store, lease: &str, epoch: i64) -> Store {
        if self.held_leases.is_none() {
            return store.clone();
        }
        store.with_fence(LeaseFence { lease: lease.to_owned(), holder: self.holder.clone(), epoch })
    }

    /// Gives up all leases. It blocks.
    pub fn release_leases(&self, store: &Store) {
        let Some(held) = &self.held_leases else { return };
        held.send_replace(BTreeMap::new());
        if let Err(error) = store.write(|db| leases::release_leases(db, &self.holder)) {
            tracing::warn!("leases were not given up, and run out by themselves: {error}");
        }
    }

    /// Takes leases, and renews those that this daemon holds. It blocks.
    pub fn renew_leases(&self, store: &Store, leases: &[String]) {
        let Some(held) = &self.held_leases else { return };
        // Counted from before it is written: the store counts from later.
        let renewed = Monotonic::now();
        let taken = store.write(|db| {
            let mut taken = BTreeMap::new();
            for lease in leases {
                if let Some(term) = leases::acquire_lease(db, lease, &self.holder)? {
                    taken.insert(lease.clone(), HeldLease { epoch: term, renewed_at: renewed });
                }
            }
            Ok(taken)
        });
        match taken {
            Ok(taken) => {
                *self.renewed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(renewed);
                if self.failure_log.record_success(FailureKind::LeaseRenewal, &self.holder) {
                    tracing::info!("the leases in the store can be renewed again");
                }
                let before = held.send_replace(taken.clone());
                let new = taken.keys().filter(|lease| !before.contains_key(*lease)).count();
                if new > 0 {
                    tracing::info!("now leading {new} more of {} leases", leases.len());
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
