//! The bytes of a connection: TCP, or TLS on top of it, with what was read and not understood yet, and what was written
//! and not sent yet. Both buffers exist only while there is something in them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, ReadBuf};

use crate::transport::io::Io;
use crate::transport::outbox::Outbox;
use crate::transport::pipe::Pipe;

/// What is read at once where it is not known how much comes. Heads and short bodies fit many times.
const READ: usize = 16 * 1024;
/// What is read at once where more is known to come.
const PIECE: usize = 64 * 1024;
/// What is copied behind a head rather than sent from where it is: a copy of it costs less than a second slice.
const COPY: usize = 4 * 1024;
/// Bodies of which less is to come are read: two moves by way of a pipe save nothing then.
const PIPED: u64 = 64 * 1024;
/// The slices of one system call.
const SLICES: usize = 16;

/// How many bytes may wait in memory for the other side. Whoever takes all of them at once gets more the next time: a
/// large body passes with a third less work in eight times the pieces. Whoever reads slowly holds little.
#[derive(Debug)]
pub struct Window(usize);

impl Window {
    const LEAST: usize = 64 * 1024;
    const MOST: usize = 512 * 1024;

    /// For a message that begins.
    #[must_use]
    pub fn new() -> Self {
        Self(Self::LEAST)
    }

    /// Whether there is room behind what waits already.
    #[must_use]
    pub fn is_open(&self, wire: &Wire) -> bool {
        // A pipe is read to again when it is empty.
        wire.output.pipe.is_none() && wire.queued() < self.0
    }

    /// All that waited was taken at once.
    pub fn widen(&mut self) {
        self.0 = (self.0 * 2).min(Self::MOST);
    }

    /// It was not.
    pub fn narrow(&mut self) {
        self.0 = Self::LEAST;
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::new()
    }
}

/// A connection with its buffers.
#[derive(Debug)]
pub struct Wire {
    io: Io,
    /// Read, and not understood yet.
    pub input: BytesMut,
    output: Output,
    /// The last read filled all the room that it had.
    full: bool,
    ended: bool,
}

/// In the order in which it goes out: the queue, the tail, then the pipe.
#[derive(Debug, Default)]
struct Output {
    queue: VecDeque<Bytes>,
    /// The bytes of the queue.
    queued: usize,
    tail: Outbox,
    /// Nothing is written behind it before it is empty.
    pipe: Option<Box<Pipe>>,
}

thread_local! {
    /// Where everything is read to first.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

impl Wire {
    /// A connection of which these bytes were read before.
    #[must_use]
    pub fn new(io: Io, input: BytesMut) -> Self {
        Self { io, input, output: Output::default(), full: false, ended: false }
    }

    /// The connection without its buffers.
    #[must_use]
    pub fn into_io(self) -> Io {
        self.io
    }

    /// The connection itself.
    #[must_use]
    pub fn io(&self) -> &Io {
        &self.io
    }

    /// Whether the other side sends no more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Reads once what has come, and answers how much; nothing is the end. Memory is taken only for what is there.
    pub fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        SCRATCH.with_borrow_mut(|buffer| {
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.io).poll_read(context, &mut read))?;
            self.ended = read.filled().is_empty();
            self.full = read.remaining() == 0;
            self.input.extend_from_slice(read.filled());
            Poll::Ready(Ok(read.filled().len()))
        })
    }

    /// The same where so many bytes are known to come. While they come fast, they are read to the place where they stay.
    pub fn poll_read_more(&mut self, context: &mut Context<'_>, expected: u64) -> Poll<io::Result<usize>> {
        if !self.full || expected <= READ as u64 || self.ended {
            return self.poll_read(context);
        }
        self.input.reserve(usize::try_from(expected).unwrap_or(PIECE).min(PIECE));
        let read = pin!(self.io.read_buf(&mut self.input)).poll(context);
        if read.is_pending() && self.input.is_empty() {
            self.input = BytesMut::new();
        }
        let read = ready!(read)?;
        self.full = read >= READ;
        self.ended = read == 0;
        Poll::Ready(Ok(read))
    }

    /// Moves what has come into a pipe instead, where so many bytes are known to come, and come fast. A pipe without bytes is
    /// the end; without a pipe nothing was done, and they are to be read.
    pub fn poll_pipe(&mut self, context: &mut Context<'_>, expected: u64) -> Poll<io::Result<Option<Pipe>>> {
        let Some(stream) = self.io.tcp().filter(|_| self.full && expected >= PIPED && self.input.is_empty()) else {
            return Poll::Ready(Ok(None));
        };
        let pipe = ready!(Pipe::poll_fill(context, stream, expected))?;
        if let Some(pipe) = &pipe {
            self.full = pipe.len() >= READ;
            self.ended = pipe.is_empty();
        }
        Poll::Ready(Ok(pipe))
    }

    /// Whether bytes may come in a pipe where so many are to be sent as they are.
    #[must_use]
    pub fn takes_pipes(&self, expected: u64) -> bool {
        expected >= PIPED && self.io.tcp().is_some()
    }

    /// Where small things are written to, in the order in which they go out.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        self.output.tail.tail()
    }

    /// Writes bytes behind everything else, without a copy if they are many.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.len() <= COPY {
            self.tail().extend_from_slice(&bytes);
            return;
        }
        if !self.output.tail.waiting().is_empty() {
            let before = std::mem::take(&mut self.output.tail).into_bytes();
            self.output.enqueue(before);
        }
        self.output.enqueue(bytes);
    }

    /// Writes what is in a pipe behind everything else.
    pub fn push_pipe(&mut self, pipe: Pipe) {
        self.output.pipe = Some(Box::new(pipe));
    }

    /// Bytes that wait to be sent.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.output.in_memory() + self.output.pipe.as_ref().map_or(0, |pipe| pipe.len())
    }

    /// Sends what waits, as far as the other side takes it. Ready when all of it is sent; `progress` tells whether any
    /// of it was.
    pub fn poll_write(&mut self, context: &mut Context<'_>, progress: &mut bool) -> Poll<io::Result<()>> {
        let sent = self.queued() > 0;
        while self.queued() > 0 {
            if self.output.in_memory() == 0
                && let (Some(pipe), Some(stream)) = (&mut self.output.pipe, self.io.tcp())
            {
                *progress |= ready!(pipe.poll_drain(context, stream))? > 0;
                if pipe.is_empty() {
                    self.output.pipe = None;
                }
                continue;
            }
            let wrote = match self.output.queue.is_empty() {
                true => ready!(Pin::new(&mut self.io).poll_write(context, self.output.tail.waiting()))?,
                false => {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let parts = self.output.queue.iter().map(|bytes| &bytes[..]).chain([self.output.tail.waiting()]);
                    let mut count = 0;
                    for (slice, part) in slices.iter_mut().zip(parts) {
                        *slice = IoSlice::new(part);
                        count += 1;
                    }
                    ready!(Pin::new(&mut self.io).poll_write_vectored(context, &slices[..count]))?
                }
            };
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *progress = true;
            self.output.advance(wrote);
        }
        // TLS may have taken bytes that it has not sent.
        if sent || matches!(self.io, Io::Tls(_)) {
            Pin::new(&mut self.io).poll_flush(context)
        } else {
            Poll::Ready(Ok(()))
        }
    }

    /// Ends our side in good order.
    pub fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    /// Gives back the memory of buffers that are empty.
    pub fn rest(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        if self.queued() == 0 {
            self.output = Output::default();
        }
    }

    /// Whether nothing was read that is not understood yet, and nothing waits to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.input.is_empty() && self.queued() == 0
    }

    /// Whether the connection is open and silent. Nobody is woken by it from now on.
    pub fn is_idle(&mut self) -> bool {
        // Without a waker of its own an idle connection never wakes the task that used it before.
        let mut quiet = Context::from_waker(std::task::Waker::noop());
        let silent = match &self.io {
            Io::Plain(stream) => stream.poll_read_ready(&mut quiet).is_pending(),
            Io::Tls(_) => false,
        };
        self.is_empty() && !self.ended && (silent || self.poll_read(&mut quiet).is_pending())
    }
}

impl Output {
    fn enqueue(&mut self, bytes: Bytes) {
        self.queued += bytes.len();
        self.queue.push_back(bytes);
    }

    /// Bytes that wait in our own memory.
    fn in_memory(&self) -> usize {
        self.queued + self.tail.waiting().len()
    }

    fn advance(&mut self, mut sent: usize) {
        while let Some(first) = self.queue.front_mut() {
            if sent < first.len() {
                first.advance(sent);
                self.queued -= sent;
                return;
            }
            sent -= first.len();
            self.queued -= first.len();
            self.queue.pop_front();
        }
        self.tail.advance(sent);
    }
}
