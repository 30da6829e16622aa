//! What is written to a client in one turn of its connection, and goes out together.
//!
//! The library for HTTP/2 sends each piece of a body by itself, and flushes behind it. Sixteen responses that are there at
//! the same time were sixteen system calls that way, and sixteen records of TLS.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::activity::Activity;
use crate::transport::io::Io;
use crate::transport::outbox::Outbox;

/// The most that waits for the end of the turn.
const MOST: usize = 32 * 1024;
/// The slices of one system call: what waits, and what comes behind it.
const SLICES: usize = 4;

/// A connection, shared by the library that reads and writes it and by what ends its turns.
#[derive(Clone)]
pub(super) struct Gathered(Rc<RefCell<State>>);

struct State {
    io: Io,
    /// Taken from the library.
    outbox: Outbox,
    activity: Rc<Activity>,
}

impl Gathered {
    pub(super) fn new(io: Io, activity: Rc<Activity>) -> Self {
        Self(Rc::new(RefCell::new(State { io, outbox: Outbox::default(), activity })))
    }

    pub(super) fn poll_read(&self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().io).poll_read(context, buffer)
    }

    /// Takes bytes that go out by [`poll_send`](Self::poll_send). Only where there is no room for them all, what waits is
    /// sent before that, and they are sent with it.
    pub(super) fn poll_write(&self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let state = &mut *self.0.borrow_mut();
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        loop {
            let waiting = state.outbox.waiting().len();
            if waiting + length <= MOST {
                let tail = state.outbox.tail();
                slices.iter().for_each(|slice| tail.extend_from_slice(slice));
                return Poll::Ready(Ok(length));
            }
            let wrote = ready!(state.poll_io(context, slices))?;
            if wrote > waiting {
                return Poll::Ready(Ok(wrote - waiting));
            }
        }
    }

    /// Ends a turn: sends what waits. Ready when all of it is on its way.
    pub(super) fn poll_send(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.0.borrow_mut();
        while !state.outbox.waiting().is_empty() {
            ready!(state.poll_io(context, &[]))?;
        }
        // TLS may have taken bytes that it has not sent, and has words of its own.
        let flushed = Pin::new(&mut state.io).poll_flush(context);
        state.activity.wrote(flushed.is_ready());
        flushed
    }

    /// Sends what waits, and then ends our side.
    pub(super) fn poll_shutdown(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        let state = &mut *self.0.borrow_mut();
        let shut = Pin::new(&mut state.io).poll_shutdown(context);
        state.activity.wrote(shut.is_ready());
        shut
    }
}

impl State {
    /// Writes once, what waits and then these. Answers how many bytes of all that were written, at least one.
    fn poll_io(&mut self, context: &mut Context<'_>, behind: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        slices[0] = IoSlice::new(self.outbox.waiting());
        let waiting = slices[0].len();
        let mut count = 1;
        for (slice, bytes) in slices[1..].iter_mut().zip(behind) {
            *slice = *bytes;
            count += 1;
        }
        let wrote = Pin::new(&mut self.io).poll_write_vectored(context, &slices[..count]);
        self.activity.wrote(wrote.is_ready());
        let wrote = ready!(wrote)?;
        if wrote == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.outbox.advance(wrote.min(waiting));
        Poll::Ready(Ok(wrote))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use tokio::io::AsyncReadExt as _;
    use tokio::net::UnixStream;

    use super::*;
    use crate::transport::socket::Socket;

    fn pair() -> (Gathered, Rc<Activity>, UnixStream) {
        let (ours, client) = UnixStream::pair().unwrap();
        let activity = Rc::new(Activity::new());
        (Gathered::new(Io::Plain(Socket::Unix(ours)), activity.clone()), activity, client)
    }

    fn numbers(count: usize) -> Vec<u8> {
        (0..count).map(|number| (number % 251) as u8).collect()
    }

    #[tokio::test]
    async fn what_is_written_in_a_turn_goes_out_at_its_end() {
        let (gathered, _, mut client) = pair();
        let wrote = poll_fn(|context| {
            let slices = [IoSlice::new(b"one "), IoSlice::new(b"and ")];
            assert!(matches!(gathered.poll_write(context, &slices), Poll::Ready(Ok(8))));
            gathered.poll_write(context, &[IoSlice::new(b"two")])
        });
        assert_eq!(wrote.await.unwrap(), 3);
        let mut buffer = [0; 16];
        assert_eq!(client.try_read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        poll_fn(|context| gathered.poll_send(context)).await.unwrap();
        let read = client.read(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..read], b"one and two");
    }

    #[tokio::test]
    async fn what_finds_no_room_goes_out_in_its_order() {
        let (gathered, _, mut client) = pair();
        let all = numbers(20 * MOST);
        let write = async {
            let mut rest = &all[..];
            // Pieces that fit and pieces that do not, in slices that are more than one system call takes.
            for length in [1, MOST - 1, MOST + 1, 100, 3 * MOST, 7].into_iter().cycle() {
                let mut piece = &rest[..length.min(rest.len())];
                while !piece.is_empty() {
                    let slices: Vec<_> = piece.chunks(piece.len().div_ceil(7)).map(IoSlice::new).collect();
                    let wrote = poll_fn(|context| gathered.poll_write(context, &slices)).await.unwrap();
                    (piece, rest) = (&piece[wrote..], &rest[wrote..]);
                }
                if rest.is_empty() {
                    break;
                }
            }
            poll_fn(|context| gathered.poll_shutdown(context)).await.unwrap();
        };
        let mut got = Vec::new();
        let (read, ()) = tokio::join!(client.read_to_end(&mut got), write);
        read.unwrap();
        assert!(got == all, "{} of {} bytes", got.len(), all.len());
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_noted_until_it_reads() {
        let (gathered, activity, mut client) = pair();
        let limits = super::super::tests::limits();
        let due = || activity.due(&limits).map(|(_, due)| due);
        let mut quiet = Context::from_waker(Waker::noop());
        let piece = numbers(MOST);
        while gathered.poll_write(&mut quiet, &[IoSlice::new(&piece)]).is_ready() {}
        let stuck = activity.due(&limits);
        assert_eq!(due(), Some(super::super::activity::Due::Write));
        assert!(gathered.poll_send(&mut quiet).is_pending());
        assert_eq!(activity.due(&limits), stuck, "since the same moment");
        let mut buffer = vec![0; 20 * MOST];
        let read = async { while client.read(&mut buffer).await.is_ok_and(|read| read > 0) {} };
        tokio::select! {
            () = read => unreachable!("nobody ended it"),
            sent = poll_fn(|context| gathered.poll_send(context)) => sent.unwrap(),
        }
        assert_eq!(due(), Some(super::super::activity::Due::Idle));
    }
}
