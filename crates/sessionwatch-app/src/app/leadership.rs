//! Who does what where several daemons share a store: each target, and the delivery, has one leader.
//!
//! A lease holds for a few seconds and is renewed well before it runs out. Whoever takes one over gets a new term; what the
//! old leader still wants to write is refused, since a leader writes through [`Leadership::fenced`], where every transaction
//! makes sure of its term first.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant as Monotonic},
};

use sessionwatch_store::{
    Store,
    leases::{self, Fence},
};
use tokio::sync::watch;

use super::failures::{Logged, Part};

/// How often leases are taken or renewed.
pub(crate) const RENEWAL_INTERVAL: Duration = Duration::from_secs(2);
/// How long a lease is believed in without being renewed: less than it holds in the store.
const BELIEVED: Duration = Duration::from_secs(5);
/// The lease of the delivery.
pub const DELIVERY: &str = "delivery";

/// What this daemon leads.
#[derive(Debug)]
pub struct Leadership {
    holder: String,
    /// Terms by lease, and when they were last renewed; nothing where nobody else can lead.
    held: Option<watch::Sender<BTreeMap<String, Held>>>,
    /// When leases were last taken or renewed, or found to be held by others.
    renewed: Mutex<Option<Monotonic>>,
    logged: Logged,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    term: i64,
    renewed: Monotonic,
}

/// The lease of a target.
#[must_use]
pub fn lease(target: &str) -> String {
    format!("target/{target}")
}

impl Leadership {
    /// Of a store that nobody else works on, or of one that is shared, under that name.
    #[must_use]
    pub fn new(shared: bool, holder: String) -> Self {
        let held = shared.then(|| watch::Sender::new(BTreeMap::new()));
        Self { holder, held, renewed: Mutex::new(None), logged: Logged::default() }
    }

    /// Returns `true` if it is known who leads: always with a store of one's own, and with a shared one while leases can
    /// be renewed there.
    #[must_use]
    pub fn is_known(&self) -> bool {
        let renewed = *self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        self.held.is_none() || renewed.is_some_and(|renewed| renewed.elapsed() < BELIEVED)
    }

    /// The term under which this daemon leads, if it does.
    #[must_use]
    pub fn term(&self, lease: &str) -> Option<i64> {
        let Some(held) = &self.held else { return Some(0) };
        let held = held.borrow();
        held.get(lease).filter(|held| held.renewed.elapsed() < BELIEVED).map(|held| held.term)
    }

    /// Waits until this daemon leads: the term.
    pub async fn lead(&self, lease: &str) -> i64 {
        let Some(held) = &self.held else { return 0 };
        let mut changes = held.subscribe();
        loop {
            if let Some(term) = self.term(lease) {
                return term;
            }
            // The sender is this one.
            let _ = changes.changed().await;
        }
    }

    /// The store for what a leader writes: refused once somebody else has taken over.
    #[must_use]
    pub fn fenced(&self, store: &Store, lease: &str, term: i64) -> Store {
        if self.held.is_none() {
            return store.clone();
        }
        store.fenced(Fence { lease: lease.to_owned(), holder: self.holder.clone(), term })
    }

    /// Gives up all leases. It blocks.
    pub fn release(&self, store: &Store) {
        let Some(held) = &self.held else { return };
        held.send_replace(BTreeMap::new());
        if let Err(error) = store.write(|db| leases::release(db, &self.holder)) {
            tracing::warn!("leases were not given up, and run out by themselves: {error}");
        }
    }

    /// Takes leases, and renews those that this daemon holds. It blocks.
    pub fn renew(&self, store: &Store, leases: &[String]) {
        let Some(held) = &self.held else { return };
        // Counted from before it is written: the store counts from later.
        let renewed = Monotonic::now();
        let taken = store.write(|db| {
            let mut taken = BTreeMap::new();
            for lease in leases {
                if let Some(term) = leases::take(db, lease, &self.holder)? {
                    taken.insert(lease.clone(), Held { term, renewed });
                }
            }
            Ok(taken)
        });
        match taken {
            Ok(taken) => {
                *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = Some(renewed);
                if self.logged.end(Part::Lease, &self.holder) {
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
                if self.logged.begin(Part::Lease, &self.holder, &cause) {
                    tracing::error!("cannot renew the leases in the store: {cause}");
                }
            }
        }
    }
}
