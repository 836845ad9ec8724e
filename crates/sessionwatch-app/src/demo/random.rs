//! Random numbers of the demo, the same at every start.

/// A fixed sequence of numbers (SplitMix64), so that every demo has the same data.
#[derive(Debug)]
pub(crate) struct DemoRandom {
    seed: u64,
}

impl DemoRandom {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Returns the next number.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix_bits(self.seed)
    }

    /// Returns a number below `limit`; zero for a limit of zero.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next_number() % limit.max(1)
    }

    /// Returns a number from zero to one.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit exactly")]
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next_number() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a session token that looks like a UUID of version 4.
    pub(crate) fn token(&mut self) -> String {
        let (high, low) = (self.next_number(), self.next_number());
        format!(
            "{:08x}-{:04x}-4{:03x}-9{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0xfff,
            low & 0xffff_ffff_ffff
        )
    }
}

/// Mixes the bits of a number, so that neighbors get unrelated numbers.
pub(crate) fn mix_bits(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
