//! How long a guest computes at a stretch.
//!
//! A request through a component lasts as long as its bodies do, so what one call of a hook may take says nothing here.
//! What is limited is the time that a guest computes without waiting for anything. Each tick of the epoch it lets the
//! other tasks of its worker go on, and that is no end of the stretch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::{Duration, Instant};

use wasmtime::UpdateDeadline;

use crate::plugin::engine::{Pace, TICK};

/// The stretch that goes on. The epoch looks at it from inside of the engine, on the same thread.
pub(super) struct Turn {
    base: Instant,
    pace: Arc<Pace>,
    /// When the guest was last let go on, in nanoseconds since `base`.
    since: AtomicU64,
    /// What it computed before that in this stretch, in nanoseconds.
    spent: AtomicU64,
    /// Nanoseconds that it may.
    most: AtomicU64,
    /// It was only interrupted, and does not wait.
    interrupted: AtomicBool,
}

impl Turn {
    pub(super) fn new(pace: Arc<Pace>, most: Duration) -> Self {
        let (since, spent) = (AtomicU64::default(), AtomicU64::default());
        let turn = Self {
            base: Instant::now(),
            pace,
            since,
            spent,
            most: AtomicU64::default(),
            interrupted: AtomicBool::default(),
        };
        turn.allow(most);
        turn.pace.limit(TICK);
        turn
    }

    /// From now on a stretch is at most so long.
    pub(super) fn allow(&self, most: Duration) {
        self.most.store(nanos(most), Relaxed);
    }

    /// Lets the guest go on, until it waits or is interrupted.
    pub(super) fn take<T>(&self, go_on: impl FnOnce() -> Poll<T>) -> Poll<T> {
        self.pace.begin();
        if !self.interrupted.swap(false, Relaxed) {
            self.spent.store(0, Relaxed);
        }
        self.since.store(nanos(self.base.elapsed()), Relaxed);
        let outcome = go_on();
        self.spent.fetch_add(self.now(), Relaxed);
        outcome
    }

    /// The epoch has advanced while the guest computes.
    pub(super) fn tick(&self) -> UpdateDeadline {
        self.pace.begin();
        let now = self.now();
        if self.spent.load(Relaxed).saturating_add(now) > self.most.load(Relaxed) {
            return UpdateDeadline::Interrupt;
        }
        if now < nanos(TICK) {
            // The tick was due while it waited.
            return UpdateDeadline::Continue(1);
        }
        self.interrupted.store(true, Relaxed);
        UpdateDeadline::Yield(1)
    }

    /// Since it was let go on.
    fn now(&self) -> u64 {
        nanos(self.base.elapsed()).saturating_sub(self.since.load(Relaxed))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
