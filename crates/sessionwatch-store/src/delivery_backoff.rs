//! Delays between the attempts to deliver a message of the outbox.

use jiff::SignedDuration;

const INITIAL_RETRY_DELAY: SignedDuration = SignedDuration::from_secs(5);
const MAX_RETRY_DELAY: SignedDuration = SignedDuration::from_hours(2);

/// Returns the delay after a number of failed attempts.
pub(crate) fn retry_delay(attempts: u32) -> SignedDuration {
    // Checked, because the exponent grows with the attempts and would overflow.
    let times = 2i32.checked_pow(attempts.saturating_sub(1)).unwrap_or(i32::MAX);
    INITIAL_RETRY_DELAY.saturating_mul(times).min(MAX_RETRY_DELAY)
}

#[cfg(test)]
mod tests {
    use sessionwatch_core::duration::SECOND;

    use super::*;

    #[test]
    fn delays_double_up_to_a_limit() {
        assert_eq!([1, 2, 3].map(retry_delay), [5, 10, 20].map(|seconds| seconds * SECOND));
        assert_eq!([19, 64, 1_000].map(retry_delay), [MAX_RETRY_DELAY; 3]);
    }
}
