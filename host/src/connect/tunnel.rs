//! A connection to an upstream that went on with another protocol: bytes both ways, until both sides have ended.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

use super::live::Live;
use crate::body::{Body, BodyError};
use crate::deadline::{Deadline, after};
use crate::http1::wire::Window;

/// What comes from the upstream, as the body of its 101. An empty piece says that the upstream has ended its half; the
/// body ends when the client has ended its own as well. What the client sends goes the other way in a task of its own:
/// neither direction waits for the other.
pub(super) struct Tunnel {
    both: Rc<RefCell<Both>>,
    task: AbortHandle,
    /// How long nothing may pass in either direction.
    idle: Duration,
    deadline: Deadline,
    /// The upstream sends no more.
    ended: bool,
    over: bool,
}

struct Both {
    live: Box<Live>,
    client: Client,
    /// When something passed last.
    at: Instant,
    reader: Option<Waker>,
}

/// How the client's half is.
#[derive(PartialEq, Eq)]
enum Client {
    Open,
    Ended,
    Broken,
}

impl Tunnel {
    /// Over a connection on which both sides agreed; `client` is what the client sends from now on.
    pub(super) fn new(mut live: Box<Live>, client: Body, idle: Duration) -> Self {
        let deadline = std::mem::take(&mut live.deadline);
        let both = Both { live, client: Client::Open, at: Instant::now(), reader: None };
        let both = Rc::new(RefCell::new(both));
        let (shared, mut client, mut window, mut taken) = (both.clone(), client, Window::new(), false);
        let task = spawn_local(poll_fn(move |context| {
            let both = &mut *shared.borrow_mut();
            let state = ready!(both.poll_send(&mut client, &mut taken, &mut window, context));
            both.client = state;
            if let Some(reader) = both.reader.take() {
                reader.wake();
            }
            Poll::Ready(())
        }));
        Self { both, task: task.abort_handle(), idle, deadline, ended: false, over: false }
    }

    fn end(&mut self, error: Option<BodyError>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.over = true;
        self.task.abort();
        Poll::Ready(error.map(Err))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let both = self.both.clone();
        let both = &mut *both.borrow_mut();
        if !both.reader.as_ref().is_some_and(|reader| reader.will_wake(context.waker())) {
            both.reader = Some(context.waker().clone());
        }
        if !self.ended {
            let wire = &mut both.live.wire;
            let read = if wire.input.is_empty() { wire.poll_read(context) } else { Poll::Ready(Ok(wire.input.len())) };
            match read {
                Poll::Ready(Ok(read)) => {
                    self.ended = read == 0;
                    both.at = Instant::now();
                    return Poll::Ready(Some(Ok(Frame::data(wire.input.split().freeze()))));
                }
                // A reset is an end that leaves no room for the other half.
                Poll::Ready(Err(cause)) => return self.end(Some(BodyError::Broken(cause.into()))),
                Poll::Pending => {}
            }
        }
        match both.client {
            Client::Ended if self.ended => self.end(None),
            Client::Broken => self.end(Some(BodyError::Left)),
            Client::Open | Client::Ended => {
                // The other direction moves it on without a word; the timer looks again when it goes off.
                ready!(self.deadline.poll(context, after(both.at, self.idle)));
                self.end(Some(BodyError::Idle))
            }
        }
    }
}

impl Both {
    /// Ready when there is nothing more to send.
    fn poll_send(
        &mut self,
        client: &mut Body,
        taken: &mut bool,
        window: &mut Window,
        context: &mut Context<'_>,
    ) -> Poll<Client> {
        loop {
            let mut waiting = false;
            while !*taken && !waiting && window.is_open(&self.live.wire) {
                match Pin::new(&mut *client).poll_frame(context) {
                    Poll::Pending => waiting = true,
                    Poll::Ready(Some(Ok(frame))) => {
                        if let Ok(bytes) = frame.into_data() {
                            self.live.wire.push(bytes);
                        }
                    }
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(Client::Broken),
                    Poll::Ready(None) => *taken = true,
                }
            }
            let mut progress = false;
            let wrote = self.live.wire.poll_write(context, &mut progress);
            if progress {
                self.at = Instant::now();
            }
            match wrote {
                Poll::Ready(Ok(())) if *taken => {
                    // Whether it hears that we have ended or is gone already comes to the same.
                    let _ = ready!(self.live.wire.poll_shutdown(context));
                    return Poll::Ready(Client::Ended);
                }
                Poll::Ready(Ok(())) if waiting => return Poll::Pending,
                Poll::Ready(Ok(())) => window.widen(),
                // It takes no more, and may have said why.
                Poll::Ready(Err(_)) => return Poll::Ready(Client::Ended),
                Poll::Pending => {
                    window.narrow();
                    return Poll::Pending;
                }
            }
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl http_body::Body for Tunnel {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.get_mut().poll(context)
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
