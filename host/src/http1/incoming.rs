//! The body of a request: read on demand from the connection that it came over, so that a reader that waits makes the
//! client wait.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::SizeHint;

use super::body::{Broken, Decoder, Part};
use super::framing::Length;
use super::wire::Wire;
use super::write;

/// A client's connection, shared between what serves it and the body of the request that it is at.
#[derive(Debug, Clone)]
pub struct Link(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    /// Gone when the connection has ended.
    wire: Option<Wire>,
    decoder: Decoder,
    /// What follows the request may become another protocol: nobody reads it before that is decided.
    held: bool,
    /// Counts requests, so that the body of an earlier one never reads what belongs to a later one.
    turn: u64,
    /// The client waits for `100 Continue`.
    expects_continue: bool,
    /// Somebody began to read the body.
    wanted: bool,
    /// The body cannot be read to its end any more, so the next request cannot be found.
    broken: bool,
    reader: Option<Waker>,
}

/// The body of one request.
#[derive(Debug)]
pub struct Receiving {
    link: Link,
    turn: u64,
    over: bool,
}

/// What a request's body is at the moment when its head was read.
#[derive(Debug)]
pub enum Begun {
    /// All of it came together with the head; perhaps there is none.
    Whole(Bytes),
    /// It is to be read.
    Coming(Receiving),
}

/// How much of a request's body nobody has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// Nothing: the next request follows.
    Nothing,
    /// At most so many bytes, or unknown.
    Bytes(Option<u64>),
    /// It cannot be read: it is broken, or the client waits to be asked for it.
    Never,
}

/// Why a body ended before it was whole.
#[derive(Debug)]
pub enum BadBody {
    /// It broke off.
    Broken(Broken),
    /// It was read after its request had been answered.
    Late,
}

impl Link {
    /// A connection before its first request.
    #[must_use]
    pub fn new(wire: Wire) -> Self {
        Self(Rc::new(RefCell::new(State {
            wire: Some(wire),
            decoder: Decoder::Sized(0),
            held: false,
            turn: 0,
            expects_continue: false,
            wanted: false,
            broken: false,
            reader: None,
        })))
    }

    /// Does something with the connection, if there is one. A body must not be read meanwhile.
    pub fn with<T>(&self, action: impl FnOnce(&mut Wire) -> T) -> Option<T> {
        self.0.borrow_mut().wire.as_mut().map(action)
    }

    /// Takes the connection away from whoever reads a body of it.
    #[must_use]
    pub fn close(&self) -> Option<Wire> {
        let wire = self.0.borrow_mut().wire.take();
        self.finish();
        wire
    }

    /// The body of a request whose head was just read.
    #[must_use]
    pub fn begin(&self, length: Length, expects_continue: bool) -> Begun {
        let state = &mut *self.0.borrow_mut();
        state.turn += 1;
        state.decoder = Decoder::new(length);
        if let (Length::None | Length::Sized(_), Some(wire)) = (length, &mut state.wire) {
            let length = if let Length::Sized(length) = length { length } else { 0 };
            if length <= wire.input.len() as u64 {
                state.decoder = Decoder::Sized(0);
                return Begun::Whole(wire.input.split_to(length as usize).freeze());
            }
        }
        (state.expects_continue, state.wanted) = (expects_continue, false);
        Begun::Coming(Receiving { link: self.clone(), turn: state.turn, over: false })
    }

    /// What follows a request without a body, should the connection go on with another protocol: everything until its
    /// end. Nothing of it comes before [`Link::switch`], and without that it is what it would be anyway, the next request.
    #[must_use]
    pub fn offer(&self) -> Receiving {
        let state = &mut *self.0.borrow_mut();
        state.held = true;
        Receiving { link: self.clone(), turn: state.turn, over: false }
    }

    /// The connection goes on with another protocol.
    pub fn switch(&self) {
        let reader = {
            let state = &mut *self.0.borrow_mut();
            state.held = false;
            state.decoder = Decoder::UntilClose;
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// What is unread of the body of the request that is being served.
    #[must_use]
    pub fn unread(&self) -> Unread {
        let state = self.0.borrow();
        match &state.decoder {
            _ if state.broken || state.wire.is_none() => Unread::Never,
            decoder if decoder.is_over() => Unread::Nothing,
            _ if state.expects_continue => Unread::Never,
            decoder => Unread::Bytes(decoder.size_hint().exact()),
        }
    }

    /// From now on the body of the request cannot be read any more.
    pub fn finish(&self) {
        let reader = {
            let state = &mut *self.0.borrow_mut();
            state.turn += 1;
            state.held = false;
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Reads on and throws it away. Ready with how much that was; nothing is its end.
    ///
    /// # Errors
    /// It broke off.
    pub fn poll_discard(&self, context: &mut Context<'_>) -> Poll<Result<usize, BadBody>> {
        let part = ready!(self.0.borrow_mut().poll(context, false))?;
        Poll::Ready(Ok(part.map_or(0, |part| part.len())))
    }
}

impl State {
    fn poll(&mut self, context: &mut Context<'_>, piped: bool) -> Poll<Result<Option<Part>, BadBody>> {
        self.wanted = true;
        let next = self.poll_next(context, piped);
        self.broken |= matches!(next, Poll::Ready(Err(_)));
        next
    }

    fn poll_next(&mut self, context: &mut Context<'_>, piped: bool) -> Poll<Result<Option<Part>, BadBody>> {
        let Some(wire) = &mut self.wire else { return Poll::Ready(Err(BadBody::Late)) };
        if std::mem::take(&mut self.expects_continue) {
            wire.tail().extend_from_slice(write::CONTINUE);
            // What cannot be sent now goes out with the next write, and a connection that fails does so for its reader.
            let _ = wire.poll_write(context, &mut false);
        }
        self.decoder.poll(context, wire, piped).map_err(BadBody::Broken)
    }
}

impl Receiving {
    /// The next part, in a pipe only where it is `piped`. The client is asked for the body when it waits for that.
    pub fn poll_part(&mut self, context: &mut Context<'_>, piped: bool) -> Poll<Option<Result<Part, BadBody>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let state = &mut *self.link.0.borrow_mut();
        let next = match self.turn == state.turn {
            true if state.held => Poll::Pending,
            true => state.poll(context, piped),
            false => Poll::Ready(Err(BadBody::Late)),
        };
        let Poll::Ready(next) = next else {
            if !state.reader.as_ref().is_some_and(|reader| reader.will_wake(context.waker())) {
                state.reader = Some(context.waker().clone());
            }
            return Poll::Pending;
        };
        self.over = !matches!(next, Ok(Some(Part::Data(_) | Part::Piped(_)))) || state.decoder.is_over();
        Poll::Ready(next.transpose())
    }

    /// Whether there is no more.
    #[must_use]
    pub fn is_end_stream(&self) -> bool {
        self.over
    }

    /// How much there is.
    #[must_use]
    pub fn size_hint(&self) -> SizeHint {
        let state = self.link.0.borrow();
        match self.turn == state.turn && !self.over {
            // Nobody knows, and nobody may wait for it.
            true if state.held => SizeHint::default(),
            true => state.decoder.size_hint(),
            false => SizeHint::with_exact(0),
        }
    }
}

impl Drop for Receiving {
    /// Who stops in the middle of it, for its length or its slowness, does not want the client to go on.
    fn drop(&mut self) {
        let state = &mut *self.link.0.borrow_mut();
        state.broken |= !self.over && self.turn == state.turn && state.wanted;
    }
}

impl fmt::Display for BadBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(Broken::Chunk(bad)) => bad.fmt(f),
            Self::Broken(Broken::Cut) => f.write_str("the client ended it before its end"),
            Self::Broken(Broken::Io(error)) => error.fmt(f),
            Self::Late => f.write_str("its request was answered before"),
        }
    }
}

impl std::error::Error for BadBody {}
