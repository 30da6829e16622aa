//! How many of the requests in a span of time failed.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A span of time that begins anew when it is over, in one atomic number: which span it is (24 bits), how many came (20
/// bits) and how many of them failed (20 bits). More than a million in one span count as a million.
#[derive(Debug, Default)]
pub(super) struct Window(AtomicU64);

const MOST: u64 = (1 << 20) - 1;

impl Window {
    /// Counts one, `now` milliseconds after some moment, and answers how many came in this span and how many failed.
    pub(super) fn count(&self, now: u64, span: Duration, failed: bool) -> (u64, u64) {
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1);
        let current = (now / span) & 0xff_ffff;
        let more = |bits: u64| {
            let (came, bad) = if bits >> 40 == current { ((bits >> 20) & MOST, bits & MOST) } else { (0, 0) };
            let (came, bad) = ((came + 1).min(MOST), (bad + u64::from(failed)).min(MOST));
            (current << 40 | came << 20 | bad, (came, bad))
        };
        // The closure always answers, so this never fails.
        let before = self.0.fetch_update(Relaxed, Relaxed, |bits| Some(more(bits).0)).unwrap_or_else(|bits| bits);
        more(before).1
    }

    pub(super) fn clear(&self) {
        self.0.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_within_a_span_and_forgets_the_one_before() {
        let (window, span) = (Window::default(), Duration::from_secs(1));
        assert_eq!(window.count(1_000, span, false), (1, 0));
        assert_eq!(window.count(1_500, span, true), (2, 1));
        assert_eq!(window.count(1_999, span, true), (3, 2));
        assert_eq!(window.count(2_000, span, true), (1, 1));
        window.clear();
        assert_eq!(window.count(2_000, span, false), (1, 0));
        assert_eq!(window.count(u64::MAX, Duration::from_millis(1), true), (1, 1));
    }

    #[test]
    fn a_million_is_many() {
        let window = Window(AtomicU64::new(5 << 40 | MOST << 20 | MOST));
        assert_eq!(window.count(5_000, Duration::from_secs(1), true), (MOST, MOST));
    }

    #[test]
    fn no_count_is_lost_between_threads() {
        let window = Window::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for turn in 0..1000 {
                        window.count(1, Duration::from_secs(1), turn % 2 == 0);
                    }
                });
            }
        });
        assert_eq!(window.count(1, Duration::from_secs(1), false), (4001, 2000));
    }
}
