//! Sorts the entries of a snapshot by fingerprint.

use super::{Placed, SnapshotEntry, runs};
use crate::radix_buckets::RadixBuckets;

/// Entries by fingerprint, their addresses, and the fingerprints that several of them have.
#[derive(Default)]
pub(super) struct Sorted {
    pub(super) entries: Vec<Vec<SnapshotEntry>>,
    pub(super) addresses: Vec<Vec<u64>>,
    pub(super) suspects: Vec<u64>,
}

pub(super) fn sort(placed: RadixBuckets<Placed>) -> Sorted {
    let mut sorted = Sorted::default();
    for mut shelf in placed.into_shelves() {
        shelf.sort_unstable_by_key(|placed| placed.entry.fingerprint);
        sorted.addresses.push(shelf.iter().map(|placed| placed.address).collect());
        let shelf: Vec<SnapshotEntry> = shelf.iter().map(|placed| placed.entry).collect();
        let repeated = runs(&shelf).filter(|run| run.len() > 1);
        sorted.suspects.extend(repeated.filter_map(|run| Some(run.first()?.fingerprint)));
        sorted.entries.push(shelf);
    }
    sorted
}
