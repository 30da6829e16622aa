//! How long an endpoint is likely to take: the peak-sensitive moving average of Finagle and Linkerd.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// After this time an old measurement counts a third (1/e).
const DECAY: Duration = Duration::from_secs(10);
/// What is expected of one that nobody has asked yet, in seconds.
const UNKNOWN: f64 = 0.03;

/// A moving average that follows a rise at once and a fall slowly. Without requests it falls, so that one that was slow
/// is asked again.
#[derive(Debug)]
pub(super) struct Latency(Cell<Option<(f64, Instant)>>);

impl Latency {
    pub(super) fn new() -> Self {
        Self(Cell::new(None))
    }

    pub(super) fn measured(&self, took: Duration, now: Instant) {
        let took = took.as_secs_f64();
        let next = match self.0.get() {
            Some((average, at)) if took < average => {
                let old = weight(now, at);
                average * old + took * (1.0 - old)
            }
            _ => took,
        };
        self.0.set(Some((next, now)));
    }

    /// In seconds.
    pub(super) fn expected(&self, now: Instant) -> f64 {
        self.0.get().map_or(UNKNOWN, |(average, at)| average * weight(now, at))
    }
}

fn weight(now: Instant, at: Instant) -> f64 {
    (-now.saturating_duration_since(at).as_secs_f64() / DECAY.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_at_once_and_falls_slowly() {
        let (latency, begin) = (Latency::new(), Instant::now());
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert!((latency.expected(begin) - UNKNOWN).abs() < 1e-9);
        latency.measured(Duration::from_millis(10), begin);
        latency.measured(Duration::from_secs(1), begin);
        assert!((latency.expected(begin) - 1.0).abs() < 1e-9);
        latency.measured(Duration::from_millis(10), after(1));
        assert!((0.85..0.95).contains(&latency.expected(after(1))), "{latency:?}");
        // Even without any measurement it is worth another try in the end.
        assert!(latency.expected(after(120)) < 0.001, "{latency:?}");
    }
}
