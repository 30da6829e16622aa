//! The body of a response that is still coming, with the connection that it comes over.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

use super::live::Live;
use super::sending::Sending;
use super::target::Target;
use crate::body::BodyError;
use crate::deadline::{Deadline, after};
use crate::http1::body::Decoder;
use crate::http1::chunked::Piece;

/// Whoever reads it drives the connection. Read to its end, it gives the connection back; dropped before, it closes it.
pub(super) struct Arriving {
    driver: Driver,
    home: Rc<Target>,
    decoder: Decoder,
    /// What came together with the head.
    first: Option<Piece>,
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
    /// The reader, beside a task that still sends the request.
    Both(Rc<RefCell<Both>>, AbortHandle),
    /// The connection has ended, or was given back.
    Gone,
}

/// A connection on which both directions go on.
struct Both {
    live: Box<Live>,
    /// The request broke off, and with it the exchange.
    broken: bool,
    reader: Option<Waker>,
}

impl Arriving {
    pub(super) fn new(mut live: Box<Live>, home: Rc<Target>, decoder: Decoder, first: Option<Piece>) -> Self {
        let deadline = std::mem::take(&mut live.deadline);
        Self {
            driver: Driver::Reader(live),
            home,
            decoder,
            first,
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
    /// everything, so the two directions must not wait for each other: the request gets a task of its own.
    pub(super) fn while_sending(mut self, mut sending: Sending) -> Self {
        let Driver::Reader(live) = std::mem::replace(&mut self.driver, Driver::Gone) else { return self };
        let both = Rc::new(RefCell::new(Both { live, broken: false, reader: None }));
        let shared = both.clone();
        let task = spawn_local(poll_fn(move |context| {
            let both = &mut *shared.borrow_mut();
            match sending.poll(context, &mut both.live.wire) {
                Ok(()) if sending.all || sending.refused => Poll::Ready(()),
                Ok(()) => Poll::Pending,
                Err(_) => {
                    both.broken = true;
                    if let Some(reader) = both.reader.take() {
                        reader.wake();
                    }
                    Poll::Ready(())
                }
            }
        }));
        self.driver = Driver::Both(both, task.abort_handle());
        self
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = match self.first.take() {
            Some(piece) => Poll::Ready(Ok(piece)),
            None => match &mut self.driver {
                Driver::Reader(live) => read(live, &mut self.decoder, context),
                Driver::Both(both, _) => {
                    let both = &mut *both.borrow_mut();
                    both.reader = Some(context.waker().clone());
                    if both.broken {
                        Poll::Ready(Err(BodyError::Broken("the request broke off".into())))
                    } else {
                        read(&mut both.live, &mut self.decoder, context)
                    }
                }
                Driver::Gone => Poll::Ready(Ok(Piece::End)),
            },
        };
        match next {
            Poll::Ready(Ok(piece)) => {
                self.since = None;
                let over = self.decoder.is_over() || !matches!(piece, Piece::Data(_));
                if over {
                    self.end();
                }
                Poll::Ready(match piece {
                    Piece::Data(bytes) => Some(Ok(Frame::data(bytes))),
                    Piece::Trailers(fields) => Some(Ok(Frame::trailers(fields))),
                    Piece::End => None,
                })
            }
            Poll::Ready(Err(error)) => self.fail(error),
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
                self.home.give_back(live, Instant::now());
            }
            Driver::Both(_, task) => task.abort(),
            Driver::Reader(_) | Driver::Gone => {}
        }
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.keep = false;
        self.end();
        Poll::Ready(Some(Err(error)))
    }
}

/// The next piece, as it is or as it comes.
fn read(live: &mut Live, decoder: &mut Decoder, context: &mut Context<'_>) -> Poll<Result<Piece, BodyError>> {
    loop {
        match decoder.next(&mut live.wire.input) {
            Ok(Some(piece)) => return Poll::Ready(Ok(piece)),
            Err(bad) => return Poll::Ready(Err(BodyError::Broken(bad.into()))),
            Ok(None) => {}
        }
        match live.wire.poll_read_more(context, decoder.expects()) {
            Poll::Ready(Ok(1..)) => {}
            Poll::Ready(Ok(_)) if decoder.ends_with_connection() => return Poll::Ready(Ok(Piece::End)),
            Poll::Ready(Ok(_)) => return Poll::Ready(Err(BodyError::Broken("the connection ended before it".into()))),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(BodyError::Broken(error.into()))),
            Poll::Pending => return Poll::Pending,
        }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if let Driver::Both(_, task) = &self.driver {
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
        self.first.is_none() && matches!(self.driver, Driver::Gone)
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.decoder.size_hint();
        if let Some(Piece::Data(first)) = &self.first {
            match hint.exact() {
                Some(rest) => hint.set_exact(rest + first.len() as u64),
                None => hint.set_lower(first.len() as u64),
            }
        }
        hint
    }
}
