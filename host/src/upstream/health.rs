//! How one endpoint is, as all workers know it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::balance::WHOLE;

/// What the workers share about one endpoint. It outlives a reload that keeps the endpoint.
#[derive(Debug)]
pub(super) struct Health {
    /// Since when it takes requests, on the upstream's clock. 0: as long as all the others.
    since: AtomicU64,
}

impl Health {
    pub(super) fn new(since: u64) -> Self {
        Self { since: AtomicU64::new(since) }
    }

    /// The part of its weight that it has come to, of [`WHOLE`]. It begins with a tenth: with nothing at all, nobody
    /// would ever know that it is slow.
    pub(super) fn warmth(&self, now: u64, slow_start: Duration) -> u64 {
        let since = self.since.load(Relaxed);
        if since == 0 || slow_start.is_zero() {
            return WHOLE;
        }
        let whole = u64::try_from(slow_start.as_millis()).unwrap_or(u64::MAX).max(1);
        let elapsed = now.saturating_sub(since);
        if elapsed >= whole { WHOLE } else { (elapsed.saturating_mul(WHOLE) / whole).max(WHOLE / 10) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_start_grows_from_a_tenth_to_the_whole() {
        let health = Health::new(1_000);
        let after = |millis: u64| health.warmth(1_000 + millis, Duration::from_secs(10));
        assert_eq!([0, 500, 1_000, 5_000, 9_990, 10_000, 99_000].map(after), [100, 100, 100, 500, 999, 1000, 1000]);
        assert_eq!(health.warmth(1_000, Duration::ZERO), WHOLE);
        assert_eq!(Health::new(0).warmth(1, Duration::from_secs(10)), WHOLE);
    }
}
