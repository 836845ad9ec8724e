//! RadixBuckets: values spread by the leading bits of a key, so that each shelf can be sorted inside the processor's cache.

/// Values on one shelf, about: small enough for a cache, many enough that shelves stay few.
const TARGET_BUCKET_SIZE: usize = 4_096;
/// The most shelves, as a power of two: every one is a place that is written to in turn.
const MAX_BUCKET_BITS: u32 = 12;

/// Values spread over shelves; all keys of one shelf are smaller than those of the next.
#[derive(Debug)]
pub(crate) struct RadixBuckets<T> {
    buckets: Vec<Vec<T>>,
    bits: u32,
}

impl<T> RadixBuckets<T> {
    /// Room for about that many values with evenly spread keys.
    pub(crate) fn new(expected: usize) -> Self {
        let bits = (expected / TARGET_BUCKET_SIZE).checked_ilog2().unwrap_or(0).min(MAX_BUCKET_BITS);
        // Evenly spread keys still fill some shelves more than others.
        let room = (expected >> bits) / 16 * 17;
        Self { buckets: (0..1usize << bits).map(|_| Vec::with_capacity(room)).collect(), bits }
    }

    /// Puts a value on the shelf of its key.
    #[inline]
    pub(crate) fn push(&mut self, key: u64, value: T) {
        // The number has `bits` bits, and there are that many shelves.
        self.buckets[leading_bits(key, self.bits)].push(value);
    }

    /// The shelves in the order of their keys.
    pub(crate) fn into_buckets(self) -> Vec<Vec<T>> {
        self.buckets
    }
}

/// The number of the shelf of a key, among shelves as [`RadixBuckets::into_buckets`] gives them.
pub(crate) fn bucket_index(key: u64, bucket_count: usize) -> usize {
    leading_bits(key, bucket_count.checked_ilog2().unwrap_or(0))
}

#[inline]
fn leading_bits(key: u64, bits: u32) -> usize {
    let leading = key.checked_shr(u64::BITS - bits).unwrap_or(0);
    usize::try_from(leading).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_shelf_is_smaller_than_those_of_the_next() {
        let mut shelves = RadixBuckets::new(5 * TARGET_BUCKET_SIZE);
        let keys = (0u64..1_000).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).chain([0, u64::MAX]);
        for key in keys {
            shelves.push(key, key);
        }
        let shelves = shelves.into_buckets();
        assert_eq!(shelves.len(), 4);
        assert!(shelves.windows(2).all(|pair| pair[0].iter().max() < pair[1].iter().min()));
    }
}
