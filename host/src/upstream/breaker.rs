//! The circuit breaker of an upstream: where too many requests fail, none are sent for a while, then a few.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::window::Window;
use crate::config;

/// Shared by the workers, and outlives a reload. Closed, it costs one atomic number; the lock is only ever taken around
/// a change, and while it is not closed.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    window: Window,
    /// Whether `inner` has to be asked at all.
    tripped: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    state: State,
    /// How often it opened since it was closed.
    opened: u32,
}

/// What it does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// Lets all pass.
    #[default]
    Closed,
    /// Lets none pass before this moment.
    Open { until: u64 },
    /// Lets a few pass, to see how they end.
    HalfOpen { begun: u32, succeeded: u32 },
}

/// How a request got in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    Usual,
    /// As one of the few. It counts for the half-open state of this number.
    Probe(u32),
}

impl Breaker {
    /// Lets a request pass, or not.
    pub(super) fn enter(&self, config: &config::Breaker, now: u64) -> Option<Pass> {
        if !self.tripped.load(Relaxed) {
            return Some(Pass::Usual);
        }
        let mut inner = self.lock();
        let (begun, succeeded) = match inner.state {
            State::Closed => return Some(Pass::Usual),
            State::Open { until } if now < until => return None,
            State::Open { .. } => (0, 0),
            State::HalfOpen { begun, .. } if begun >= config.probes => return None,
            State::HalfOpen { begun, succeeded } => (begun, succeeded),
        };
        inner.state = State::HalfOpen { begun: begun + 1, succeeded };
        Some(Pass::Probe(inner.opened))
    }

    /// Takes how a request ended. Answers the state, if that changed it.
    pub(super) fn ended(&self, config: &config::Breaker, pass: Pass, failed: bool, now: u64) -> Option<State> {
        match pass {
            Pass::Usual => {
                let (came, bad) = self.window.count(now, config.window, failed);
                let too_many = came >= u64::from(config.volume) && bad * 100 >= came * u64::from(config.ratio);
                if !failed || !too_many {
                    return None;
                }
                let mut inner = self.lock();
                // What began before it opened says nothing new.
                (inner.state == State::Closed).then(|| self.open(&mut inner, config, now))
            }
            Pass::Probe(number) => {
                let mut inner = self.lock();
                let State::HalfOpen { begun, succeeded } = inner.state else { return None };
                if number != inner.opened {
                    return None;
                }
                if failed {
                    return Some(self.open(&mut inner, config, now));
                }
                inner.state = State::HalfOpen { begun, succeeded: succeeded + 1 };
                if succeeded + 1 < config.probes {
                    return None;
                }
                *inner = Inner::default();
                self.window.clear();
                self.tripped.store(false, Relaxed);
                Some(State::Closed)
            }
        }
    }

    /// Nobody will ever know how this request ended.
    pub(super) fn lost(&self, pass: Pass) {
        let Pass::Probe(number) = pass else { return };
        let mut inner = self.lock();
        if number == inner.opened
            && let State::HalfOpen { begun, .. } = &mut inner.state
        {
            *begun = begun.saturating_sub(1);
        }
    }

    pub(super) fn state(&self) -> State {
        self.lock().state
    }

    /// A configuration without a breaker: what was open is not any more.
    pub(super) fn forget(&self) {
        *self.lock() = Inner::default();
        self.tripped.store(false, Relaxed);
    }

    fn open(&self, inner: &mut Inner, config: &config::Breaker, now: u64) -> State {
        let time = config.time.saturating_mul(1 << inner.opened.min(20)).min(config.longest);
        inner.opened = inner.opened.saturating_add(1);
        inner.state = State::Open { until: now.saturating_add(millis(time)) };
        self.tripped.store(true, Relaxed);
        inner.state
    }

    /// Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The word for operators.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen { .. } => "half-open",
        }
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(probes: u32) -> config::Breaker {
        let second = Duration::from_secs(1);
        config::Breaker { ratio: 50, volume: 20, window: 10 * second, time: 5 * second, longest: 60 * second, probes }
    }

    /// So many requests that succeed, and so many that fail, all at once.
    fn ask(breaker: &Breaker, right: usize, wrong: usize, now: u64) {
        for failed in std::iter::repeat_n(false, right).chain(std::iter::repeat_n(true, wrong)) {
            if let Some(pass) = breaker.enter(&config(1), now) {
                breaker.ended(&config(1), pass, failed, now);
            }
        }
    }

    #[test]
    fn it_opens_at_the_ratio_and_not_below_the_volume() {
        let breaker = Breaker::default();
        ask(&breaker, 0, 19, 1);
        assert_eq!(breaker.state(), State::Closed);
        ask(&breaker, 0, 1, 1);
        assert_eq!(breaker.state(), State::Open { until: 5_001 });

        let breaker = Breaker::default();
        ask(&breaker, 51, 50, 1);
        assert_eq!(breaker.state(), State::Closed);
        ask(&breaker, 0, 1, 1);
        assert_eq!(breaker.state(), State::Open { until: 5_001 });

        // What failed in another window is forgotten.
        let breaker = Breaker::default();
        ask(&breaker, 0, 19, 1);
        ask(&breaker, 0, 19, 10_001);
        assert_eq!(breaker.state(), State::Closed);
    }

    #[test]
    fn half_open_lets_exactly_so_many_pass_and_closes_when_all_of_them_succeed() {
        let breaker = Breaker::default();
        ask(&breaker, 0, 20, 1);
        assert!((0..500).all(|_| breaker.enter(&config(3), 5_000).is_none()));
        let passes = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    (0..125).for_each(|_| passes.lock().unwrap().extend(breaker.enter(&config(3), 5_001)));
                });
            }
        });
        let passes = passes.into_inner().unwrap();
        assert_eq!(passes, [Pass::Probe(1); 3]);
        assert_eq!(breaker.ended(&config(3), passes[0], false, 5_002), None);
        // One that is lost gives its place to another.
        breaker.lost(passes[1]);
        let again = breaker.enter(&config(3), 5_003).unwrap();
        assert_eq!(breaker.enter(&config(3), 5_003), None);
        assert_eq!(breaker.ended(&config(3), passes[2], false, 5_004), None);
        assert_eq!(breaker.ended(&config(3), again, false, 5_004), Some(State::Closed));
        assert_eq!(breaker.enter(&config(3), 5_004), Some(Pass::Usual));
        ask(&breaker, 0, 19, 5_005);
        assert_eq!(breaker.state(), State::Closed, "it begins to count anew");
    }

    #[test]
    fn each_time_that_a_probe_fails_it_stays_open_for_longer() {
        let breaker = Breaker::default();
        ask(&breaker, 0, 20, 1);
        let mut now = 1;
        let mut times = Vec::new();
        for _ in 0..6 {
            let State::Open { until } = breaker.state() else { panic!("{:?}", breaker.state()) };
            times.push((until - now) / 1000);
            now = until;
            let pass = breaker.enter(&config(1), now).unwrap();
            breaker.ended(&config(1), pass, true, now);
        }
        assert_eq!(times, [5, 10, 20, 40, 60, 60]);
    }

    #[test]
    fn what_began_in_another_state_changes_nothing() {
        let breaker = Breaker::default();
        let early = breaker.enter(&config(1), 1).unwrap();
        ask(&breaker, 0, 20, 1);
        assert_eq!(breaker.ended(&config(1), early, true, 2), None);
        let slow = breaker.enter(&config(2), 5_001).unwrap();
        let quick = breaker.enter(&config(2), 5_001).unwrap();
        assert_eq!(breaker.ended(&config(2), quick, true, 5_002), Some(State::Open { until: 15_002 }));
        assert_eq!(breaker.ended(&config(2), slow, false, 5_003), None);
        let next = breaker.enter(&config(1), 15_002).unwrap();
        breaker.lost(slow);
        assert_eq!(breaker.ended(&config(1), slow, false, 15_003), None);
        assert_eq!(breaker.ended(&config(1), next, false, 15_003), Some(State::Closed));
    }
}
