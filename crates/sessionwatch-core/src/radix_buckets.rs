//! Values distributed to buckets by the leading bits of a key, so that each bucket can be sorted within the CPU
//! cache.

/// Target number of values per bucket: small enough for the cache, large enough to need few buckets.
const TARGET_BUCKET_SIZE: usize = 4_096;
/// Maximum number of buckets as a power of two. Every bucket is a separate place to write to, which costs cache
/// misses.
const MAX_BUCKET_BITS: u32 = 12;

/// Values in buckets. All keys of a bucket are smaller than those of the next.
#[derive(Debug)]
pub(crate) struct RadixBuckets<T> {
    buckets: Vec<Vec<T>>,
    bits: u32,
}

impl<T> RadixBuckets<T> {
    /// Creates buckets for about `expected` values with evenly distributed keys.
    pub(crate) fn new(expected: usize) -> Self {
        let bits = (expected / TARGET_BUCKET_SIZE).checked_ilog2().unwrap_or(0).min(MAX_BUCKET_BITS);
        // Evenly distributed keys still fill some buckets more than others.
        let room = (expected >> bits) / 16 * 17;
        Self { buckets: (0..1usize << bits).map(|_| Vec::with_capacity(room)).collect(), bits }
    }

    /// Adds a value to the bucket of its key.
    #[inline]
    pub(crate) fn push(&mut self, key: u64, value: T) {
        // Cannot be out of bounds: there are 2^bits buckets.
        self.buckets[leading_bits(key, self.bits)].push(value);
    }

    /// Returns the buckets in key order.
    pub(crate) fn into_buckets(self) -> Vec<Vec<T>> {
        self.buckets
    }
}

/// Returns the number of the bucket of a key among the buckets of [`RadixBuckets::into_buckets`].
pub(crate) fn bucket_index(key: u64, bucket_count: usize) -> usize {
    leading_bits(key, bucket_count.checked_ilog2().unwrap_or(0))
}

#[inline]
fn leading_bits(key: u64, bits: u32) -> usize {
    // With zero bits the shift would overflow; then there is a single bucket.
    let leading = key.checked_shr(u64::BITS - bits).unwrap_or(0);
    usize::try_from(leading).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_bucket_is_smaller_than_those_of_the_next() {
        let mut buckets = RadixBuckets::new(5 * TARGET_BUCKET_SIZE);
        let keys = (0u64..1_000).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).chain([0, u64::MAX]);
        for key in keys {
            buckets.push(key, key);
        }
        let buckets = buckets.into_buckets();
        assert_eq!(buckets.len(), 4);
        assert!(buckets.windows(2).all(|pair| pair[0].iter().max() < pair[1].iter().min()));
    }
}
