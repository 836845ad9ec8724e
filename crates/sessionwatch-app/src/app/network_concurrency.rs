//! Concurrency limiter with a total and a per-network limit, so that one network cannot take all permits.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use ipnet::IpNet;

type PermitCounts = Arc<Mutex<BTreeMap<IpNet, usize>>>;

/// Concurrency limiter.
#[derive(Debug)]
pub(crate) struct NetworkConcurrency {
    limit: usize,
    limit_per_network: usize,
    held_permits: PermitCounts,
}

/// Permit of a [`NetworkConcurrency`], released on drop.
#[derive(Debug)]
pub(crate) struct NetworkPermit {
    network: IpNet,
    held_permits: PermitCounts,
}

impl NetworkConcurrency {
    /// Creates a limiter with `limit` permits in total and `limit_per_network` for each network.
    pub(crate) fn new(limit: usize, limit_per_network: usize) -> Self {
        Self { limit, limit_per_network, held_permits: Arc::default() }
    }

    /// Acquires a permit for a network. Returns `None` if a limit is reached.
    pub(crate) fn try_acquire(&self, network: IpNet) -> Option<NetworkPermit> {
        let mut taken = self.held_permits.lock().unwrap_or_else(PoisonError::into_inner);
        let of_network = taken.get(&network).copied().unwrap_or(0);
        // Summed on each call: the map holds at most as many entries as there are permits.
        if of_network >= self.limit_per_network || taken.values().sum::<usize>() >= self.limit {
            return None;
        }
        taken.insert(network, of_network + 1);
        Some(NetworkPermit { network, held_permits: Arc::clone(&self.held_permits) })
    }
}

impl Drop for NetworkPermit {
    fn drop(&mut self) {
        let mut taken = self.held_permits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.network) {
            *count -= 1;
            // Networks without permits are forgotten, or the map would grow with every client ever seen.
            if *count == 0 {
                taken.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests;
