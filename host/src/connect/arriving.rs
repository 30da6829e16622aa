//! The body of a response that is still coming, with the connection that it comes over.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

use super::live::Live;
use super::target::Target;
use crate::body::BodyError;
use crate::deadline::{Deadline, after};

const ENDED: &str = "the connection ended before the body";

/// Whoever reads it drives the connection. Read to its end, it gives the connection back; dropped before, it closes it.
pub(super) struct Arriving {
    driver: Driver,
    home: Rc<Target>,
    incoming: Incoming,
    /// What came together with the head.
    first: Option<Bytes>,
    keep: bool,
    idle: Duration,
    total: Option<Instant>,
    /// Since when the reader waits for the next piece.
    since: Option<Instant>,
    deadline: Deadline,
}

enum Driver {
    /// The reader.
    Reader(Box<Live>),
    /// A task of its own.
    Task(AbortHandle),
    /// The connection has ended.
    Gone,
}

impl Arriving {
    pub(super) fn new(mut live: Box<Live>, home: Rc<Target>, incoming: Incoming, first: Option<Bytes>) -> Self {
        let deadline = std::mem::take(&mut live.deadline);
        Self {
            driver: Driver::Reader(live),
            home,
            incoming,
            first: first.filter(|bytes| !bytes.is_empty()),
            keep: true,
            idle: Duration::MAX,
            total: None,
            since: None,
            deadline,
        }
    }

    pub(super) fn within(mut self, idle: Duration, total: Option<Instant>) -> Self {
        (self.idle, self.total) = (idle, total);
        self
    }

    pub(super) fn reusable(mut self, keep: bool) -> Self {
        self.keep = keep;
        self
    }

    /// A response that begins while its request is still being sent. A client may well read nothing before it has sent
    /// everything, so the two directions must not wait for each other: the connection gets a task of its own.
    pub(super) fn driven_by_itself(mut self) -> Self {
        if let Driver::Reader(live) = std::mem::replace(&mut self.driver, Driver::Gone) {
            self.driver = Driver::Task(spawn_local(live).abort_handle());
        }
        self
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(bytes) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let frame = match &mut self.driver {
            Driver::Reader(live) => {
                // The connection has our waker, the channel between the two needs none.
                let mut quiet = Context::from_waker(Waker::noop());
                match Pin::new(&mut self.incoming).poll_frame(&mut quiet) {
                    Poll::Pending => {
                        let ended = live.drive(context).is_ready();
                        match Pin::new(&mut self.incoming).poll_frame(&mut quiet) {
                            Poll::Pending if ended => return self.fail(BodyError::Broken(ENDED.into())),
                            frame => frame,
                        }
                    }
                    frame => frame,
                }
            }
            Driver::Task(_) | Driver::Gone => Pin::new(&mut self.incoming).poll_frame(context),
        };
        match frame {
            Poll::Ready(Some(Ok(frame))) => {
                self.since = None;
                if frame.is_trailers() || self.incoming.is_end_stream() {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(cause))) => self.fail(BodyError::Broken(cause.into())),
            Poll::Ready(None) if self.incoming.size_hint().lower() > 0 => self.fail(BodyError::Broken(ENDED.into())),
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let since = *self.since.get_or_insert_with(Instant::now);
                let idle = after(since, self.idle);
                let (at, error) = match self.total {
                    Some(total) if total < idle => (total, BodyError::Late),
                    _ => (idle, BodyError::Idle),
                };
                match self.deadline.poll(context, at) {
                    Poll::Ready(()) => self.fail(error),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    /// It was read to its end. If the request was sent to its end too, the connection can serve others.
    fn end(&mut self) {
        match std::mem::replace(&mut self.driver, Driver::Gone) {
            Driver::Reader(mut live) if self.keep => {
                live.deadline = std::mem::take(&mut self.deadline);
                self.home.give_back(live);
            }
            Driver::Task(task) => task.abort(),
            Driver::Reader(_) | Driver::Gone => {}
        }
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.keep = false;
        self.end();
        Poll::Ready(Some(Err(error)))
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if let Driver::Task(task) = &self.driver {
            task.abort();
        }
    }
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.get_mut().poll(context)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.incoming.size_hint();
        let first = self.first.as_ref().map_or(0, |bytes| bytes.len() as u64);
        match hint.exact() {
            Some(rest) => hint.set_exact(rest + first),
            None => hint.set_lower(first),
        }
        hint
    }
}
