//! The body of a request on its way to the upstream, in a task of its own: as fast as both sides let it.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::SendStream;
use http_body::Body as _;
use tokio::time::Instant;

use crate::body::{Body, BodyError};

/// What is reserved at once in the other side's window.
const PIECE: usize = 64 * 1024;

/// How far a request has come.
pub(super) struct Progress {
    at: Cell<Instant>,
    all: Cell<bool>,
    waiting: Cell<bool>,
    /// The upstream has to ask for the body first; whoever would send it then.
    held: Cell<bool>,
    sender: RefCell<Option<Waker>>,
    broken: RefCell<Option<BodyError>>,
    waker: RefCell<Option<Waker>>,
}

impl Progress {
    /// `held`: the upstream has to ask for the body first.
    pub(super) fn new(held: bool) -> Rc<Self> {
        Rc::new(Self {
            at: Cell::new(Instant::now()),
            all: Cell::new(false),
            waiting: Cell::new(held),
            held: Cell::new(held),
            sender: RefCell::default(),
            broken: RefCell::default(),
            waker: RefCell::default(),
        })
    }

    /// When the upstream took something last.
    pub(super) fn at(&self) -> Instant {
        self.at.get()
    }

    /// Whether there is nothing more to send.
    pub(super) fn is_all(&self) -> bool {
        self.all.get()
    }

    /// There is nothing to send.
    pub(super) fn end(&self) {
        self.all.set(true);
    }

    /// Whether it is the client that is waited for.
    pub(super) fn waits_for_client(&self) -> bool {
        self.waiting.get()
    }

    /// Whether the upstream has yet to ask for the body.
    pub(super) fn is_held(&self) -> bool {
        self.held.get()
    }

    /// The upstream asked for the body, or did not in time.
    pub(super) fn release(&self) {
        self.held.set(false);
        if let Some(sender) = self.sender.borrow_mut().take() {
            sender.wake();
        }
    }

    /// Why the request broke off. Answered once.
    pub(super) fn broken(&self) -> Option<BodyError> {
        self.broken.borrow_mut().take()
    }

    /// Wakes this task when it breaks off.
    pub(super) fn wake(&self, context: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
    }

    fn tell(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

pub(super) struct Sending {
    body: Body,
    stream: SendStream<Bytes>,
    /// What was taken from the body and not sent.
    piece: Bytes,
    progress: Rc<Progress>,
}

impl Sending {
    /// Sends what is whole at once; it stays, for the case that it is wanted again. What comes in pieces is to be sent by
    /// the future.
    pub(super) fn begin(
        body: Body,
        mut stream: SendStream<Bytes>,
        progress: &Rc<Progress>,
    ) -> (Option<Body>, Option<impl Future<Output = ()> + use<>>) {
        match body {
            Body::Empty => {
                progress.end();
                (Some(Body::Empty), None)
            }
            Body::Full(bytes) => {
                // It waits in the library for its windows. A stream that is closed already shows in the response.
                let _ = stream.send_data(bytes.clone(), true);
                progress.end();
                (Some(Body::Full(bytes)), None)
            }
            body => {
                let mut sending = Self { body, stream, piece: Bytes::new(), progress: progress.clone() };
                (None, Some(async move { poll_fn(|context| sending.poll(context)).await }))
            }
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let outcome = ready!(self.poll_send(context));
        self.progress.at.set(Instant::now());
        self.progress.all.set(true);
        if let Err(error) = outcome {
            self.stream.send_reset(h2::Reason::CANCEL);
            *self.progress.broken.borrow_mut() = Some(error);
        }
        self.progress.tell();
        Poll::Ready(())
    }

    /// Ready when all is sent, or the upstream takes no more.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        loop {
            // An upstream that resets the stream may have answered before.
            if self.stream.poll_reset(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if self.progress.is_held() {
                *self.progress.sender.borrow_mut() = Some(context.waker().clone());
                return Poll::Pending;
            }
            if self.piece.is_empty() {
                let next = Pin::new(&mut self.body).poll_frame(context);
                self.progress.waiting.set(next.is_pending());
                let Some(frame) = ready!(next).transpose()? else {
                    let _ = self.stream.send_data(Bytes::new(), true);
                    return Poll::Ready(Ok(()));
                };
                self.progress.at.set(Instant::now());
                self.piece = match frame.into_data() {
                    Ok(bytes) => bytes,
                    Err(frame) => {
                        let _ = self.stream.send_trailers(frame.into_trailers().unwrap_or_default());
                        return Poll::Ready(Ok(()));
                    }
                };
                // Nothing is sent for an empty piece, unless it is the end.
                if self.piece.is_empty() && !self.body.is_end_stream() {
                    continue;
                }
            }
            let ends = self.body.is_end_stream();
            if self.piece.is_empty() {
                let _ = self.stream.send_data(Bytes::new(), true);
                return Poll::Ready(Ok(()));
            }
            self.stream.reserve_capacity(self.piece.len().min(PIECE));
            let room = match ready!(self.stream.poll_capacity(context)) {
                Some(Ok(room)) => room.min(self.piece.len()),
                Some(Err(_)) | None => return Poll::Ready(Ok(())),
            };
            let part = self.piece.split_to(room);
            let last = ends && self.piece.is_empty();
            self.progress.at.set(Instant::now());
            if self.stream.send_data(part, last).is_err() || last {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
