//! Places that are limited in all and for each network, so that one network cannot take all of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use ipnet::IpNet;

type Taken = Arc<Mutex<BTreeMap<IpNet, usize>>>;

/// A limited number of places.
#[derive(Debug)]
pub(crate) struct NetworkPlaces {
    limit: usize,
    limit_per_network: usize,
    taken: Taken,
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub(crate) struct NetworkPlace {
    network: IpNet,
    taken: Taken,
}

impl NetworkPlaces {
    /// So many places in all, and for each network.
    pub(crate) fn new(limit: usize, limit_per_network: usize) -> Self {
        Self { limit, limit_per_network, taken: Arc::default() }
    }

    /// Takes a place for a network; `None` if there is none left for it.
    pub(crate) fn take(&self, network: IpNet) -> Option<NetworkPlace> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_network = taken.get(&network).copied().unwrap_or(0);
        if of_network >= self.limit_per_network || taken.values().sum::<usize>() >= self.limit {
            return None;
        }
        taken.insert(network, of_network + 1);
        Some(NetworkPlace { network, taken: Arc::clone(&self.taken) })
    }
}

impl Drop for NetworkPlace {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.network);
            }
        }
    }
}
