//! Sorting of snapshot entries by fingerprint.

use super::{AddressedEntry, SnapshotEntry, fingerprint_runs};
use crate::radix_buckets::RadixBuckets;

/// Entries sorted by fingerprint, their addresses, and the fingerprints of more than one entry.
#[derive(Default)]
pub(super) struct SortedEntries {
    pub(super) buckets: Vec<Vec<SnapshotEntry>>,
    pub(super) addresses: Vec<Vec<u64>>,
    pub(super) repeated_fingerprints: Vec<u64>,
}

pub(super) fn sort_entries(placed: RadixBuckets<AddressedEntry>) -> SortedEntries {
    let mut sorted = SortedEntries::default();
    for mut bucket in placed.into_buckets() {
        bucket.sort_unstable_by_key(|placed| placed.entry.fingerprint);
        sorted.addresses.push(bucket.iter().map(|placed| placed.address).collect());
        let bucket: Vec<SnapshotEntry> = bucket.iter().map(|placed| placed.entry).collect();
        let repeated = fingerprint_runs(&bucket).filter(|run| run.len() > 1);
        sorted.repeated_fingerprints.extend(repeated.filter_map(|run| Some(run.first()?.fingerprint)));
        sorted.buckets.push(bucket);
    }
    sorted
}
