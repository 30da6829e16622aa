//! How one endpoint is, as all workers know it: by what became of requests, and by checks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use super::balance::WHOLE;
use super::breaker::millis;
use super::window::Window;
use crate::config::Ejection;

/// What the workers share about one endpoint. It outlives a reload that keeps the endpoint.
#[derive(Debug)]
pub(super) struct Health {
    /// Open connections of all workers.
    pub(super) connections: Arc<AtomicUsize>,
    /// Since when it takes requests, on the upstream's clock. 0: as long as all the others.
    since: AtomicU64,
    state: AtomicU8,
    /// Whether its checks fail.
    down: AtomicBool,
    /// Requests that failed one after another.
    failures: AtomicU32,
    window: Window,
    /// When one that is ejected gets a request again.
    until: AtomicU64,
    /// How often it was ejected without being well for long in between.
    ejections: AtomicU32,
}

/// What becomes of requests to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It takes them.
    Up,
    /// None are sent: they failed.
    Ejected,
    /// One is on its way that decides.
    Probed,
    /// None are sent: its checks fail.
    Down,
}

const UP: u8 = 0;
const EJECTED: u8 = 1;
const PROBED: u8 = 2;

impl Health {
    pub(super) fn new(since: u64) -> Self {
        Self {
            connections: Arc::default(),
            since: AtomicU64::new(since),
            state: AtomicU8::new(UP),
            down: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            window: Window::default(),
            until: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
        }
    }

    pub(super) fn state(&self) -> State {
        match self.state.load(Relaxed) {
            _ if self.down.load(Relaxed) => State::Down,
            UP => State::Up,
            EJECTED => State::Ejected,
            _ => State::Probed,
        }
    }

    /// The part of its weight that it has come to, of [`WHOLE`]. It begins with a tenth: with nothing at all, nobody
    /// would ever know that it is slow.
    pub(super) fn warmth(&self, now: u64, slow_start: Duration) -> u64 {
        let since = self.since.load(Relaxed);
        if since == 0 || slow_start.is_zero() {
            return WHOLE;
        }
        let whole = millis(slow_start).max(1);
        let elapsed = now.saturating_sub(since);
        if elapsed >= whole { WHOLE } else { (elapsed.saturating_mul(WHOLE) / whole).max(WHOLE / 10) }
    }

    /// Takes how a request ended. Answers whether that makes it one to eject.
    pub(super) fn request_ended(&self, ejection: &Ejection, failed: bool, now: u64) -> bool {
        // Well endpoints share nothing here but a number that nobody writes.
        let row = if failed {
            self.failures.fetch_add(1, Relaxed).saturating_add(1)
        } else {
            if self.failures.load(Relaxed) > 0 {
                self.failures.store(0, Relaxed);
            }
            0
        };
        let mut too_many = ejection.failures > 0 && row >= ejection.failures;
        if ejection.ratio > 0 {
            let (came, bad) = self.window.count(now, ejection.window, failed);
            too_many |= came >= u64::from(ejection.volume) && bad * 100 >= came * u64::from(ejection.ratio);
        }
        failed && too_many && self.state.load(Relaxed) == UP
    }

    /// Sends it no requests for a time that doubles from one ejection to the next. Answers that time.
    pub(super) fn eject(&self, ejection: &Ejection, now: u64) -> Duration {
        // One that was well for as long as the longest ejection has its past forgiven.
        let well = now.saturating_sub(self.since.load(Relaxed).max(self.until.load(Relaxed)));
        let before = if well >= millis(ejection.longest) { 0 } else { self.ejections.load(Relaxed) };
        let time = ejection.time.saturating_mul(1 << before.min(20)).min(ejection.longest);
        self.ejections.store(before.saturating_add(1), Relaxed);
        self.until.store(now.saturating_add(millis(time)), Relaxed);
        self.failures.store(0, Relaxed);
        self.window.clear();
        self.state.store(EJECTED, Relaxed);
        time
    }

    /// Whether the caller's request is the one that decides. While it is under way, no other is.
    pub(super) fn probe(&self, now: u64) -> bool {
        now >= self.until.load(Relaxed)
            && !self.down.load(Relaxed)
            && self.state.compare_exchange(EJECTED, PROBED, Relaxed, Relaxed).is_ok()
    }

    /// Nobody will ever know how the one that decides ended: the next one does.
    pub(super) fn probe_lost(&self) {
        let _ = self.state.compare_exchange(PROBED, EJECTED, Relaxed, Relaxed);
    }

    /// Gives it requests again. Answers whether that is a change.
    pub(super) fn readmit(&self, now: u64) -> bool {
        if self.state.swap(UP, Relaxed) == UP {
            return false;
        }
        self.failures.store(0, Relaxed);
        self.until.store(now, Relaxed);
        self.since.store(now, Relaxed);
        true
    }

    /// Takes what its checks say. Answers whether that is a change.
    pub(super) fn set_down(&self, down: bool, now: u64) -> bool {
        let changed = self.down.swap(down, Relaxed) != down;
        if changed && !down {
            self.since.store(now, Relaxed);
        }
        changed
    }

    /// Changes with every ejection.
    pub(super) fn ejections(&self) -> (u32, u64) {
        (self.ejections.load(Relaxed), self.until.load(Relaxed))
    }
}

impl State {
    /// The word for operators.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Ejected => "ejected",
            Self::Probed => "probed",
            Self::Down => "down",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ejection() -> Ejection {
        let second = Duration::from_secs(1);
        let (time, longest) = (30 * second, 300 * second);
        Ejection { failures: 5, ratio: 0, volume: 100, window: 10 * second, time, longest, most: 50 }
    }

    #[test]
    fn a_slow_start_grows_from_a_tenth_to_the_whole() {
        let health = Health::new(1_000);
        let after = |millis: u64| health.warmth(1_000 + millis, Duration::from_secs(10));
        assert_eq!([0, 500, 1_000, 5_000, 9_990, 10_000, 99_000].map(after), [100, 100, 100, 500, 999, 1000, 1000]);
        assert_eq!(health.warmth(1_000, Duration::ZERO), WHOLE);
        assert_eq!(Health::new(0).warmth(1, Duration::from_secs(10)), WHOLE);
    }

    #[test]
    fn five_in_a_row_are_too_many_and_a_success_begins_anew() {
        let health = Health::new(0);
        let ended = |failed| health.request_ended(&ejection(), failed, 1);
        assert!(!(0..4).any(|_| ended(true)) && !ended(false));
        assert!(!(0..4).any(|_| ended(true)) && ended(true));
    }

    #[test]
    fn by_ratio_it_takes_many() {
        let health = Health::new(0);
        let by_ratio = Ejection { failures: 0, ratio: 30, ..ejection() };
        for turn in 1..=98 {
            assert!(!health.request_ended(&by_ratio, turn % 3 == 0, 1), "{turn}");
        }
        assert!(!health.request_ended(&by_ratio, false, 1));
        assert!(health.request_ended(&by_ratio, true, 1), "33 of 100");
    }

    #[test]
    fn ejections_grow_and_one_request_at_a_time_decides() {
        let health = Health::new(0);
        let mut now = 1;
        for expected in [30, 60, 120] {
            let time = health.eject(&ejection(), now);
            assert_eq!((time.as_secs(), health.state()), (expected, State::Ejected));
            assert!(!health.probe(now + expected * 1000 - 1));
            now += expected * 1000;
            assert!(health.probe(now) && !health.probe(now));
            health.probe_lost();
            assert!(health.probe(now));
            assert_eq!(health.state(), State::Probed);
        }
        assert!(health.readmit(now) && !health.readmit(now));
        assert_eq!(health.state(), State::Up);
        // It flaps: the next time is longer still. After a long time that is forgiven.
        assert_eq!(health.eject(&ejection(), now + 1000).as_secs(), 240);
        let later = now + 1000 + 240_000;
        assert!(health.probe(later) && health.readmit(later));
        assert_eq!(health.eject(&ejection(), later + 300_000).as_secs(), 30);
        for _ in 0..20 {
            assert!(health.eject(&ejection(), later + 400_000).as_secs() <= 300);
        }
    }

    #[test]
    fn one_whose_checks_fail_is_not_probed() {
        let health = Health::new(0);
        health.eject(&ejection(), 1);
        assert!(health.set_down(true, 1) && !health.set_down(true, 2));
        assert_eq!((health.state(), health.probe(1_000_000)), (State::Down, false));
        assert!(health.set_down(false, 3));
        assert_eq!((health.state(), health.probe(1_000_000)), (State::Ejected, true));
    }
}
