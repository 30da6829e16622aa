//! A deadline that moves often and passes seldom.
//!
//! A request has half a dozen time limits and reaches none of them, so entering each one into the runtime's timer wheel
//! and taking it out again would cost more than the limits themselves. Here one timer stays where it is while its
//! deadline moves on; when it goes off too early it is set anew.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep, sleep_until};

/// One timer for all the deadlines of a connection, one after another.
#[derive(Debug, Default)]
pub struct Deadline {
    /// Armed for a moment that is never later than the one asked for.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whom the timer wakes. As long as that is who asks there is nothing to tell it.
    waker: Option<Waker>,
}

impl Deadline {
    /// A timer that is not armed yet and costs nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ready once `at` has passed; until then the task is woken at `at`, or earlier for nothing.
    pub fn poll(&mut self, context: &mut Context<'_>, at: Instant) -> Poll<()> {
        if let (Some(timer), Some(waker)) = (&self.timer, &self.waker)
            && at >= timer.deadline()
            && !timer.is_elapsed()
            && waker.will_wake(context.waker())
        {
            return Poll::Pending;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if at < timer.deadline() {
            timer.as_mut().reset(at);
        }
        while timer.as_mut().poll(context).is_ready() {
            if timer.deadline() >= at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
        // A task that has had its share is woken for another turn, and the timer was not told whom to wake.
        self.waker = has_budget_remaining().then(|| context.waker().clone());
        Poll::Pending
    }
}

/// `time` after `from`. What lies beyond the clock's end is thirty years away.
#[must_use]
pub fn after(from: Instant, time: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    from.checked_add(time).unwrap_or_else(|| from + FAR)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::task::consume_budget;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn passes_when_it_is_due_whether_it_moved_forwards_or_back() {
        let start = Instant::now();
        let mut deadline = Deadline::new();
        let mut poll = async |at| poll_fn(|context| deadline.poll(context, at)).await;

        poll(start + Duration::from_secs(1)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        poll(start + Duration::from_secs(9)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(9));

        let mut later = Deadline::new();
        let waker = Waker::noop();
        let mut context = Context::from_waker(waker);
        assert!(later.poll(&mut context, start + Duration::from_secs(100)).is_pending());
        poll_fn(|context| later.poll(context, start + Duration::from_secs(20))).await;
        assert_eq!(start.elapsed(), Duration::from_secs(20));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_moved_on_is_not_ready_at_its_old_time() {
        let start = Instant::now();
        let mut deadline = Deadline::new();
        let mut context = Context::from_waker(Waker::noop());
        assert!(deadline.poll(&mut context, start + Duration::from_secs(1)).is_pending());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(deadline.poll(&mut context, start + Duration::from_secs(3)).is_pending());
        assert!(deadline.poll(&mut context, start + Duration::from_secs(1)).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn who_asked_last_is_woken() {
        let start = Instant::now();
        let mut deadline = Deadline::new();
        let at = start + Duration::from_secs(9);
        assert!(deadline.poll(&mut Context::from_waker(Waker::noop()), at).is_pending());
        let passes = poll_fn(|context| deadline.poll(context, at));
        let passed = tokio::time::timeout(Duration::from_secs(60), passes).await;
        assert!(passed.is_ok() && start.elapsed() == Duration::from_secs(9));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_is_woken_whatever_is_left_of_its_share_of_a_turn() {
        // More than tokio lets a task do at once.
        for done in 0..200 {
            let start = Instant::now();
            let task = tokio::spawn(async move {
                let mut deadline = Deadline::new();
                for _ in 0..done {
                    consume_budget().await;
                }
                poll_fn(|context| deadline.poll(context, start + Duration::from_secs(3))).await;
            });
            let passed = tokio::time::timeout(Duration::from_secs(60), task).await;
            assert!(passed.is_ok() && start.elapsed() == Duration::from_secs(3), "{done} done before");
        }
    }

    #[test]
    fn no_duration_is_too_long() {
        assert!(after(Instant::now(), Duration::MAX) > Instant::now());
    }
}
