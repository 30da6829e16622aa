//! The body of a response that is still coming, with the connection that it comes over.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http_body::SizeHint;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

use super::live::Live;
use super::sending::Sending;
use super::target::Target;
use crate::body::{BodyError, Parts};
use crate::deadline::{Deadline, after};
use crate::http1::body::{Broken, Decoder, Part};

/// Whoever reads it drives the connection. Read to its end, it gives the connection back; dropped before, it closes it.
pub(super) struct Arriving {
    driver: Driver,
    home: Rc<Target>,
    decoder: Decoder,
    /// What came together with the head.
    first: Option<Part>,
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
    pub(super) fn new(mut live: Box<Live>, home: Rc<Target>, decoder: Decoder, first: Option<Part>) -> Self {
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

    fn poll(&mut self, context: &mut Context<'_>, piped: bool) -> Poll<Option<Result<Part, BodyError>>> {
        let mut read =
            |live: &mut Live, context: &mut _| self.decoder.poll(context, &mut live.wire, piped).map_err(cause);
        let next = match self.first.take() {
            Some(first) => Poll::Ready(Ok(Some(first))),
            None => match &mut self.driver {
                Driver::Reader(live) => read(live, context),
                Driver::Both(both, _) => {
                    let both = &mut *both.borrow_mut();
                    both.reader = Some(context.waker().clone());
                    if both.broken {
                        Poll::Ready(Err(BodyError::Broken("the request broke off".into())))
                    } else {
                        read(&mut both.live, context)
                    }
                }
                Driver::Gone => Poll::Ready(Ok(None)),
            },
        };
        match next {
            Poll::Ready(Ok(part)) => {
                self.since = None;
                let over = self.decoder.is_over() || !matches!(part, Some(Part::Data(_) | Part::Piped(_)));
                if over {
                    self.end();
                }
                Poll::Ready(part.map(Ok))
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

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Part, BodyError>>> {
        self.keep = false;
        self.end();
        Poll::Ready(Some(Err(error)))
    }
}

fn cause(broken: Broken) -> BodyError {
    BodyError::Broken(match broken {
        Broken::Chunk(bad) => bad.into(),
        Broken::Cut => "the connection ended before it".into(),
        Broken::Io(error) => error.into(),
    })
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if let Driver::Both(_, task) = &self.driver {
            task.abort();
        }
    }
}

impl Parts for Arriving {
    fn poll_part(&mut self, context: &mut Context<'_>, piped: bool) -> Poll<Option<Result<Part, BodyError>>> {
        self.poll(context, piped)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && matches!(self.driver, Driver::Gone)
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.decoder.size_hint();
        if let Some(Part::Data(first)) = &self.first {
            match hint.exact() {
                Some(rest) => hint.set_exact(rest + first.len() as u64),
                None => hint.set_lower(first.len() as u64),
            }
        }
        hint
    }
}
