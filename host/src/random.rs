//! Random numbers for spreading load and times, where guessing the next one is no harm.

use std::cell::Cell;
use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood, 2014), seeded by the system.
#[derive(Debug)]
pub struct Random(Cell<u64>);

impl Random {
    /// A row of its own.
    #[must_use]
    pub fn new() -> Self {
        let mut seed = [0; 8];
        // Without a random source every worker draws the same numbers, which is no harm, either.
        let _ = getrandom::fill(&mut seed);
        Self::seeded(u64::from_ne_bytes(seed))
    }

    /// The row of this seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    fn next(&self) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        mix(self.0.get())
    }

    /// A number below `end`; none where there is no such number.
    pub fn below(&self, end: u64) -> Option<u64> {
        // The upper half of the product: no number is more likely than another by more than 2^-40 for what we draw.
        let product = u128::from(self.next()) * u128::from(end);
        (end > 0).then(|| u64::try_from(product >> 64).unwrap_or_default())
    }

    /// Any part of a time, to the microsecond.
    pub fn part(&self, of: Duration) -> Duration {
        let micros = u64::try_from(of.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.below(micros.saturating_add(1)).unwrap_or(0))
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

/// The output function of SplitMix64.
#[must_use]
pub fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
