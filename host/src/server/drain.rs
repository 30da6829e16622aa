//! Draining: every connection ends after the request that it is at, and what takes too long is cut.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::timeout;

/// How long a connection stays open while we drain, if nothing comes on it. Its client may have sent a request that is on
/// its way, and would find nobody; who has been silent for longer has most likely nothing to ask.
pub(crate) const QUIET: Duration = Duration::from_secs(1);

/// The open connections of one worker.
#[derive(Default)]
pub struct Drain {
    phase: Cell<Phase>,
    open: Cell<usize>,
    /// One place for each connection; free ones are listed beside it.
    wakers: RefCell<Vec<Option<Waker>>>,
    free: RefCell<Vec<usize>>,
    waiting: Cell<Option<Waker>>,
}

/// What a connection has to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serve.
    #[default]
    Serving,
    /// Finish the request that it is at, and take no other one.
    Draining,
    /// End at once.
    Over,
}

/// An open connection, counted while this value lives.
pub struct Open {
    drain: Rc<Drain>,
    place: usize,
}

impl Drain {
    /// With no connection open.
    #[must_use]
    pub fn new() -> Rc<Self> {
        Rc::default()
    }

    /// Counts one more connection.
    #[must_use]
    pub fn enter(self: &Rc<Self>) -> Open {
        self.open.set(self.open.get() + 1);
        let place = self.free.borrow_mut().pop().unwrap_or_else(|| {
            let mut wakers = self.wakers.borrow_mut();
            wakers.push(None);
            wakers.len() - 1
        });
        Open { drain: self.clone(), place }
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.get()
    }

    /// Whether connections still take requests.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Has every connection end after the request that it is at: `Connection: close` in HTTP/1, `GOAWAY` in HTTP/2.
    /// Those that are open after `time` are cut. Answers how many that were; once it is done, none is open.
    pub async fn finish(&self, time: Duration) -> usize {
        self.enter_phase(Phase::Draining);
        if timeout(time, self.empty()).await.is_ok() {
            return 0;
        }
        let cut = self.open();
        self.enter_phase(Phase::Over);
        self.empty().await;
        cut
    }

    fn enter_phase(&self, phase: Phase) {
        self.phase.set(self.phase.get().max(phase));
        for waker in self.wakers.borrow().iter().flatten() {
            waker.wake_by_ref();
        }
    }

    async fn empty(&self) {
        poll_fn(|context| {
            if self.open() == 0 {
                return Poll::Ready(());
            }
            self.waiting.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

impl Open {
    /// What the connection has to do now. The task is woken when that changes.
    pub fn phase(&self, context: &Context<'_>) -> Phase {
        let waker = &mut self.drain.wakers.borrow_mut()[self.place];
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        self.drain.phase.get()
    }

    /// The same, for those that need not be woken.
    #[must_use]
    pub fn now(&self) -> Phase {
        self.drain.phase.get()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.drain.wakers.borrow_mut()[self.place] = None;
        self.drain.free.borrow_mut().push(self.place);
        self.drain.open.set(self.drain.open.get() - 1);
        if self.drain.open.get() == 0
            && let Some(waker) = self.drain.waiting.take()
        {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(open: Open, last: Phase) -> impl Future<Output = Phase> {
        poll_fn(move |context| match open.phase(context) {
            phase if phase >= last => Poll::Ready(phase),
            _ => Poll::Pending,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_those_that_finish_and_cuts_those_that_do_not() {
        tokio::task::LocalSet::new()
            .run_until(async {
                let drain = Drain::new();
                assert_eq!(drain.finish(Duration::ZERO).await, 0);
                let drain = Drain::new();
                let good = tokio::task::spawn_local(connection(drain.enter(), Phase::Draining));
                assert_eq!(drain.open(), 1);
                assert_eq!(drain.finish(Duration::from_secs(1)).await, 0);
                assert_eq!(good.await.unwrap(), Phase::Draining);

                let drain = Drain::new();
                let good = tokio::task::spawn_local(connection(drain.enter(), Phase::Draining));
                let bad = tokio::task::spawn_local(connection(drain.enter(), Phase::Over));
                let start = tokio::time::Instant::now();
                assert_eq!(drain.finish(Duration::from_secs(7)).await, 1);
                assert_eq!(start.elapsed(), Duration::from_secs(7));
                assert_eq!((good.await.unwrap(), bad.await.unwrap()), (Phase::Draining, Phase::Over));
                assert_eq!(drain.open(), 0);
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_of_several_connections_wakes_who_waits() {
        tokio::task::LocalSet::new()
            .run_until(async {
                let drain = Drain::new();
                let connections: Vec<_> = (0..3).map(|_| connection(drain.enter(), Phase::Draining)).collect();
                // In a task of its own, so that it goes on only when it is woken.
                let finished = tokio::task::spawn_local({
                    let drain = drain.clone();
                    async move { (drain.finish(Duration::from_secs(7)).await, tokio::time::Instant::now()) }
                });
                let start = tokio::time::Instant::now();
                tokio::task::yield_now().await;
                for connection in connections {
                    assert!(!finished.is_finished());
                    connection.await;
                }
                assert_eq!(finished.await.unwrap(), (0, start), "and not at the end of its time");
            })
            .await;
    }

    #[test]
    fn places_are_used_again() {
        let drain = Drain::new();
        for _ in 0..100 {
            let (_a, _b) = (drain.enter(), drain.enter());
        }
        assert_eq!(drain.wakers.borrow().len(), 2);
    }
}
