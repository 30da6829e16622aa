//! Whether a version of a plugin is called at all: one that fails over and over is paused, longer each time, and tried
//! again with a few calls.
//!
//! A request that makes a plugin fail is not a plugin that fails: of one client, only [`OF_ONE_CLIENT`] failures in a
//! window count, and the rest of them is neither for nor against the plugin. So it takes several clients, and at least
//! half of all calls, to pause it for everyone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The time in which failures are counted together.
const WINDOW: Duration = Duration::from_secs(10);
/// Failures that pause a plugin, where they are half of all calls.
const FAILURES: u64 = 20;
/// How many failures of one client count in a window.
const OF_ONE_CLIENT: u32 = 4;
/// Clients that are told apart in a window. More of them than that have made their point.
const CLIENTS: usize = 1024;
/// The first pause.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest one.
const LONGEST: Duration = Duration::from_secs(60);
/// Calls that are let through after a pause. Most of them decide, so that one bad request among them does not.
const PROBES: u32 = 5;
/// After this time without an outcome, probes are given up for lost, as when their clients leave.
const LOST: Duration = Duration::from_secs(5);

/// How one version of a plugin with its configuration does, in all workers.
#[derive(Debug)]
pub(crate) struct Health {
    /// Whether calls have to ask. Written when a pause begins or is over; a call that is well reads nothing else.
    troubled: Arc<AtomicBool>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    window: Window,
    stage: Stage,
    /// How many pauses followed each other.
    in_a_row: u32,
    /// When it was let in again.
    readmitted: Option<Instant>,
    /// All pauses.
    pauses: u64,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    /// Calls of the plugin before it.
    calls: u64,
    failures: u64,
    counted: u64,
    clients: HashMap<IpAddr, u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Well,
    Paused { until: Instant },
    Trying { since: Instant, left: u32, good: u32, bad: u32 },
}

/// What a failure led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// It goes on.
    Nothing,
    /// A pause, this long.
    Pauses(Duration),
}

impl Health {
    pub(super) fn new() -> Self {
        let inner = Inner {
            window: Window::begin(Instant::now(), 0),
            stage: Stage::Well,
            in_a_row: 0,
            readmitted: None,
            pauses: 0,
        };
        Self { troubled: Arc::default(), inner: Mutex::new(inner) }
    }

    /// Whether it is paused or on trial.
    pub(crate) fn is_troubled(&self) -> bool {
        self.troubled.load(Relaxed)
    }

    /// The same for who shows it.
    pub(super) fn troubled(&self) -> &Arc<AtomicBool> {
        &self.troubled
    }

    /// Whether a call may be made, else when to try again.
    pub(super) fn admit(&self) -> Result<(), Duration> {
        if self.is_troubled() { self.lock().admit(Instant::now()) } else { Ok(()) }
    }

    /// A call failed that was made for a client, the `calls`th of all.
    pub(crate) fn failed(&self, client: IpAddr, calls: impl FnOnce() -> u64) -> Then {
        let mut inner = self.lock();
        let then = inner.failed(Instant::now(), client, calls);
        self.troubled.store(inner.stage != Stage::Well, Relaxed);
        then
    }

    /// A call went well. Only of interest while it is [troubled](Self::is_troubled). Whether it is let in again by that.
    pub(crate) fn succeeded(&self) -> bool {
        let mut inner = self.lock();
        let before = inner.stage;
        inner.succeeded(Instant::now());
        self.troubled.store(inner.stage != Stage::Well, Relaxed);
        before != Stage::Well && inner.stage == Stage::Well
    }

    /// How it stands, for operators; nothing where it never was paused.
    pub(crate) fn report(&self) -> Value {
        let inner = self.lock();
        if inner.pauses == 0 {
            return Value::Null;
        }
        let (stage, retry) = match inner.stage {
            Stage::Well => ("well", Duration::ZERO),
            Stage::Paused { until } => ("paused", until.saturating_duration_since(Instant::now())),
            Stage::Trying { .. } => ("trying", Duration::ZERO),
        };
        json!({ "state": stage, "retry_ms": retry.as_millis() as u64, "in_a_row": inner.in_a_row, "pauses": inner.pauses })
    }

    /// Nothing panics while it holds this lock.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        let again = |left| Stage::Trying { since: now, left, good: 0, bad: 0 };
        match &mut self.stage {
            Stage::Well => Ok(()),
            Stage::Paused { until } if now < *until => Err(until.duration_since(now)),
            Stage::Trying { left, .. } if *left > 0 => {
                *left -= 1;
                Ok(())
            }
            Stage::Trying { since, .. } if now < *since + LOST => Err(SHORTEST),
            Stage::Paused { .. } | Stage::Trying { .. } => {
                self.stage = again(PROBES - 1);
                Ok(())
            }
        }
    }

    fn failed(&mut self, now: Instant, client: IpAddr, calls: impl FnOnce() -> u64) -> Then {
        match &mut self.stage {
            // One that began before the pause.
            Stage::Paused { .. } => return Then::Nothing,
            Stage::Trying { bad, .. } => {
                *bad += 1;
                return if *bad > PROBES / 2 { self.pause(now) } else { Then::Nothing };
            }
            Stage::Well => {}
        }
        let calls = calls();
        if now >= self.window.began + WINDOW {
            self.window = Window::begin(now, calls.saturating_sub(1));
        }
        self.window.failed(client);
        let Window { failures, counted, .. } = self.window;
        // Those of one client beyond the first few are left out on both sides.
        let of = calls.saturating_sub(self.window.calls).saturating_sub(failures - counted);
        if counted >= FAILURES && counted * 2 >= of { self.pause(now) } else { Then::Nothing }
    }

    fn succeeded(&mut self, now: Instant) {
        let Stage::Trying { good, .. } = &mut self.stage else { return };
        *good += 1;
        if *good > PROBES / 2 {
            self.stage = Stage::Well;
            self.readmitted = Some(now);
            // Of calls nobody knows how many there were meanwhile: the next failure begins a window.
            self.window.began = now.checked_sub(WINDOW).unwrap_or(now);
        }
    }

    fn pause(&mut self, now: Instant) -> Then {
        // What was well for longer than the longest pause begins anew.
        let recovered = self.stage == Stage::Well && self.readmitted.is_none_or(|at| now >= at + LONGEST);
        self.in_a_row = if recovered { 1 } else { self.in_a_row + 1 };
        self.pauses += 1;
        let time = SHORTEST.saturating_mul(1 << (self.in_a_row - 1).min(16)).min(LONGEST);
        self.stage = Stage::Paused { until: now + time };
        Then::Pauses(time)
    }
}

impl Window {
    fn begin(began: Instant, calls: u64) -> Self {
        Self { began, calls, failures: 0, counted: 0, clients: HashMap::new() }
    }

    fn failed(&mut self, client: IpAddr) {
        self.failures += 1;
        let client = network(client);
        if self.clients.len() >= CLIENTS && !self.clients.contains_key(&client) {
            return;
        }
        let own = self.clients.entry(client).or_default();
        if *own < OF_ONE_CLIENT {
            *own += 1;
            self.counted += 1;
        }
    }
}

/// Who has an address of version 6 has 2^64 of them.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    fn inner() -> (Inner, Instant) {
        let now = Instant::now();
        let window = Window::begin(now, 0);
        (Inner { window, stage: Stage::Well, in_a_row: 0, readmitted: None, pauses: 0 }, now)
    }

    /// So many failures, each of another client, from the `calls`th call on.
    fn fail(inner: &mut Inner, now: Instant, times: u64, calls: u64) -> Then {
        (0..times).map(|time| inner.failed(now, client(time as u32), || calls + time + 1)).last().unwrap()
    }

    #[test]
    fn half_of_all_calls_of_several_clients_pause_it() {
        let (mut one, now) = inner();
        assert_eq!(fail(&mut one, now, FAILURES - 1, 0), Then::Nothing);
        assert_eq!(fail(&mut one, now, 1, FAILURES), Then::Pauses(SHORTEST));
        let (mut one, now) = inner();
        assert_eq!(fail(&mut one, now, FAILURES, 1000), Then::Nothing, "a thousand calls were well");
        assert_eq!(fail(&mut one, now + WINDOW, FAILURES, 2000), Then::Pauses(SHORTEST), "in another window");
    }

    #[test]
    fn one_client_does_not_pause_it_for_the_others() {
        let (mut one, now) = inner();
        for call in 0..10_000 {
            assert_eq!(one.failed(now, client(1), || call + 1), Then::Nothing);
        }
        // It has not changed what it takes: of the others, half of the calls.
        let at = 10_000;
        assert_eq!(fail(&mut one, now, FAILURES - u64::from(OF_ONE_CLIENT), at + 40), Then::Nothing, "of 60 calls");
        let network = |low: u128| IpAddr::V6(((0x2001_0db8 << 96) | low).into());
        let (mut one, now) = inner();
        let last = (0..1000).map(|low| one.failed(now, network(low), || low as u64 + 1)).last();
        assert_eq!(last, Some(Then::Nothing), "one network of version 6 is one client");
    }

    #[test]
    fn after_a_pause_few_calls_decide_and_pauses_grow() {
        let (mut one, mut now) = inner();
        fail(&mut one, now, FAILURES, 0);
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            let pause = Duration::from_secs(pause);
            assert_eq!(one.admit(now), Err(pause));
            assert_eq!(one.failed(now, client(1), || 0), Then::Nothing, "it began before");
            now += pause;
            let let_through = (0..100).filter(|_| one.admit(now).is_ok()).count();
            assert_eq!(let_through, PROBES as usize);
            one.succeeded(now);
            let last = (0..3).map(|_| one.failed(now, client(1), || 0)).last();
            assert!(matches!(last, Some(Then::Pauses(_))), "most of them fail");
        }
        now += LONGEST;
        assert!(one.admit(now).is_ok());
        one.failed(now, client(1), || 0);
        (0..3).for_each(|_| one.succeeded(now));
        assert_eq!(one.stage, Stage::Well, "most of them do not");
        assert!((0..100).all(|_| one.admit(now).is_ok()));
        // Soon after, it is the next of a row; long after, the first of another one.
        assert_eq!(fail(&mut one, now, FAILURES, 0), Then::Pauses(LONGEST));
        now += LONGEST;
        (0..5).for_each(|_| assert!(one.admit(now).is_ok()));
        (0..3).for_each(|_| one.succeeded(now));
        assert_eq!(fail(&mut one, now + LONGEST, FAILURES, 0), Then::Pauses(SHORTEST));
    }

    #[test]
    fn probes_that_get_lost_are_made_again() {
        let (mut one, now) = inner();
        fail(&mut one, now, FAILURES, 0);
        let now = now + SHORTEST;
        assert_eq!((0..10).filter(|_| one.admit(now).is_ok()).count(), PROBES as usize);
        assert_eq!(one.admit(now + LOST / 2), Err(SHORTEST));
        assert_eq!(one.admit(now + LOST), Ok(()));
    }
}
