//! Sorts the entries of a snapshot by fingerprint.

use super::{AddressedEntry, SnapshotEntry, fingerprint_runs};
use crate::radix_buckets::RadixBuckets;

/// Entries by fingerprint, their addresses, and the fingerprints that several of them have.
#[derive(Default)]
pub(super) struct SortedEntries {
    pub(super) buckets: Vec<Vec<SnapshotEntry>>,
    pub(super) addresses: Vec<Vec<u64>>,
    pub(super) repeated_fingerprints: Vec<u64>,
}

pub(super) fn sort_entries(placed: RadixBuckets<AddressedEntry>) -> SortedEntries {
    let mut sorted = SortedEntries::default();
    for mut shelf in placed.into_buckets() {
        shelf.sort_unstable_by_key(|placed| placed.entry.fingerprint);
        sorted.addresses.push(shelf.iter().map(|placed| placed.address).collect());
        let shelf: Vec<SnapshotEntry> = shelf.iter().map(|placed| placed.entry).collect();
        let repeated = fingerprint_runs(&shelf).filter(|run| run.len() > 1);
        sorted.repeated_fingerprints.extend(repeated.filter_map(|run| Some(run.first()?.fingerprint)));
        sorted.buckets.push(shelf);
    }
    sorted
}
