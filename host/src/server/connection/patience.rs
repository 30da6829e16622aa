//! How long one stream of HTTP/2 waits for its client to make room.
//!
//! A client that leaves the window of a stream at nothing makes its response wait, and with the response a connection to
//! an upstream. The library waits for ever, and asks nobody: it just does not take the next piece of the body. That is
//! what is seen here, from around the task of the stream and from inside the body that it sends.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::deadline::{Deadline, after};

/// What the task of a stream came to when it was polled last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It did not ask for more of the response.
    Nothing,
    /// It asked, and the response has to be waited for.
    Waits,
    /// It took a piece.
    Took,
}

thread_local! {
    static STEP: Cell<Step> = const { Cell::new(Step::Nothing) };
}

/// Tells the task around that what is to be sent is not there yet.
pub(super) fn waits() {
    STEP.set(Step::Waits);
}

/// Tells the task around that a piece was taken to be sent.
pub(super) fn took() {
    STEP.set(Step::Took);
}

pin_project! {
    /// A stream that is given up, and so reset, when its client has taken nothing for too long.
    pub(super) struct Patient<F> {
        #[pin]
        stream: F,
        limit: Duration,
        deadline: Deadline,
        // Whether this is a stream with a response at all.
        answers: bool,
        // Since when it has taken no piece, although nobody kept one from it.
        since: Option<Instant>,
    }
}

impl<F> Patient<F> {
    pub(super) fn new(stream: F, limit: Duration) -> Self {
        Self { stream, limit, deadline: Deadline::new(), answers: false, since: None }
    }
}

impl<F: Future<Output = ()>> Future for Patient<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        STEP.set(Step::Nothing);
        if this.stream.poll(context).is_ready() {
            return Poll::Ready(());
        }
        let step = STEP.get();
        *this.answers |= step != Step::Nothing;
        match step {
            Step::Waits => *this.since = None,
            Step::Took => *this.since = Some(Instant::now()),
            Step::Nothing if *this.answers => _ = this.since.get_or_insert_with(Instant::now),
            Step::Nothing => {}
        }
        let Some(since) = *this.since else { return Poll::Pending };
        ready!(this.deadline.poll(context, after(since, *this.limit)));
        Poll::Ready(())
    }
}
