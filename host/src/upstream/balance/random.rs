//! Random numbers for spreading load, where guessing the next one is no harm.

use std::cell::Cell;

/// SplitMix64 (Steele, Lea, Flood, 2014), seeded by the system.
#[derive(Debug)]
pub(in crate::upstream) struct Random(Cell<u64>);

impl Random {
    pub(in crate::upstream) fn new() -> Self {
        let mut seed = [0; 8];
        // Without a random source every worker draws the same numbers, which is no harm, either.
        let _ = getrandom::fill(&mut seed);
        Self::seeded(u64::from_ne_bytes(seed))
    }

    pub(in crate::upstream) fn seeded(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    fn next(&self) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        super::mix(self.0.get())
    }

    /// A number below `end`; none where there is no such number.
    pub(in crate::upstream) fn below(&self, end: u64) -> Option<u64> {
        // The upper half of the product: no number is more likely than another by more than 2^-40 for what we draw.
        let product = u128::from(self.next()) * u128::from(end);
        (end > 0).then(|| u64::try_from(product >> 64).unwrap_or_default())
    }
}
