//! Bytes of a large body that pass without being read: from the socket that they come over into a pipe, and out of it to
//! the socket that they go to. Both moves are `splice(2)`, which hands pages on instead of copying them.
//!
//! Only Linux has it. Elsewhere, and where the system refuses a pipe or the move, bytes take the ordinary way.

use std::cell::RefCell;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::net::TcpStream;

use system::Ends;

/// What one pipe holds at most: as much as stays in the caches between the two moves.
pub const SIZE: usize = 512 * 1024;
/// Pipes that one worker has at once. Each is two descriptors, and what is in it waits in the kernel's memory.
const MOST: usize = 64;
/// Those of them that it keeps for later, until [`reap`] is called.
const KEPT: usize = 16;

thread_local! {
    static PIPES: RefCell<Pipes> = const { RefCell::new(Pipes { empty: Vec::new(), used: 0 }) };
}

static MOVED: AtomicU64 = AtomicU64::new(0);

/// How many bytes went into pipes since the program began.
#[must_use]
pub fn moved() -> u64 {
    MOVED.load(Ordering::Relaxed)
}

/// Closes this worker's pipes that nobody uses: a large body soon opens another one, and idle workers hold nothing.
pub(crate) fn reap() {
    PIPES.with_borrow_mut(|pipes| pipes.empty = Vec::new());
}

/// The pipes of a worker.
struct Pipes {
    empty: Vec<Ends>,
    used: usize,
}

/// A pipe with bytes in it. Dropped while some are left, it is closed: what belongs to one request never meets another.
#[derive(Debug)]
pub struct Pipe {
    ends: Option<Ends>,
    left: usize,
}

impl Pipe {
    /// One that is empty.
    ///
    /// # Errors
    /// The worker has as many as it may, or the system gives none.
    fn empty() -> io::Result<Self> {
        PIPES.with_borrow_mut(|pipes| {
            if pipes.used == MOST {
                return Err(io::ErrorKind::QuotaExceeded.into());
            }
            let ends = pipes.empty.pop().map_or_else(|| Ends::open(SIZE), Ok)?;
            pipes.used += 1;
            Ok(Self { ends: Some(ends), left: 0 })
        })
    }

    /// Moves bytes that have come over a connection into a pipe, at most so many. One without bytes is the end of the
    /// connection; none says that this cannot be done, and that nothing was.
    pub fn poll_fill(context: &mut Context<'_>, from: &TcpStream, most: u64) -> Poll<io::Result<Option<Self>>> {
        ready!(from.poll_read_ready(context))?;
        let Ok(mut pipe) = Self::empty() else { return Poll::Ready(Ok(None)) };
        let most = usize::try_from(most).unwrap_or(SIZE).min(SIZE);
        loop {
            match from.try_io(Interest::READABLE, || pipe.ends().fill(from, most)) {
                Ok(moved) => {
                    pipe.left = moved;
                    MOVED.fetch_add(moved as u64, Ordering::Relaxed);
                    return Poll::Ready(Ok(Some(pipe)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(from.poll_read_ready(context))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_refused(&error) => return Poll::Ready(Ok(None)),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Moves bytes on, as many as the other side takes at once. Ready with how many.
    pub fn poll_drain(&mut self, context: &mut Context<'_>, to: &TcpStream) -> Poll<io::Result<usize>> {
        loop {
            ready!(to.poll_write_ready(context))?;
            match to.try_io(Interest::WRITABLE, || self.ends().drain(to, self.left)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(moved) => {
                    self.left -= moved;
                    return Poll::Ready(Ok(moved));
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// How many bytes are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.left
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    fn ends(&self) -> &Ends {
        self.ends.as_ref().expect("they are there until it is dropped")
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // The thread may be ending, and its pipes with it.
        let _ = PIPES.try_with(|pipes| {
            let pipes = &mut *pipes.borrow_mut();
            pipes.used -= 1;
            if self.left == 0 && pipes.empty.len() < KEPT {
                pipes.empty.extend(self.ends.take());
            }
        });
    }
}

/// Whether a system does not do this at all, be it by a filter of system calls.
fn is_refused(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported)
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;
    use std::os::fd::OwnedFd;

    use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
    use tokio::net::TcpStream;

    /// Both ends of a pipe.
    #[derive(Debug)]
    pub(super) struct Ends {
        read: OwnedFd,
        write: OwnedFd,
    }

    impl Ends {
        pub(super) fn open(size: usize) -> io::Result<Self> {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
            // One of the usual size moves too little at once to be worth it.
            fcntl_setpipe_size(&write, size)?;
            Ok(Self { read, write })
        }

        pub(super) fn fill(&self, from: &TcpStream, most: usize) -> io::Result<usize> {
            Ok(splice(from, None, &self.write, None, most, SpliceFlags::NONBLOCK)?)
        }

        pub(super) fn drain(&self, to: &TcpStream, most: usize) -> io::Result<usize> {
            Ok(splice(&self.read, None, to, None, most, SpliceFlags::NONBLOCK)?)
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    use tokio::net::TcpStream;

    /// There are none.
    #[derive(Debug)]
    pub(super) enum Ends {}

    impl Ends {
        pub(super) fn open(_: usize) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn fill(&self, _: &TcpStream, _: usize) -> io::Result<usize> {
            match *self {}
        }

        pub(super) fn drain(&self, _: &TcpStream, _: usize) -> io::Result<usize> {
            match *self {}
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Both ends of a connection.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.expect("it listens"), accepted.expect("somebody came").0)
    }

    async fn fill(from: &TcpStream, most: u64) -> Option<Pipe> {
        poll_fn(|context| Pipe::poll_fill(context, from, most)).await.expect("a connection")
    }

    /// How many pipes this thread has for later, and how many are in use.
    fn pipes() -> (usize, usize) {
        PIPES.with_borrow(|pipes| (pipes.empty.len(), pipes.used))
    }

    #[tokio::test]
    async fn what_goes_in_comes_out_and_the_pipe_serves_again() {
        let ((mut client, ours), (theirs, mut server)) = (pair().await, pair().await);
        for round in [&b"one"[..], b"and another"] {
            client.write_all(round).await.unwrap();
            let mut pipe = fill(&ours, 1000).await.unwrap();
            assert_eq!((pipe.len(), pipes()), (round.len(), (0, 1)));
            while !pipe.is_empty() {
                poll_fn(|context| pipe.poll_drain(context, &theirs)).await.unwrap();
            }
            drop(pipe);
            assert_eq!(pipes(), (1, 0));
            let mut seen = vec![0; round.len()];
            server.read_exact(&mut seen).await.unwrap();
            assert_eq!(seen, round);
        }
        drop(client);
        assert!(fill(&ours, 1000).await.unwrap().is_empty(), "the end");
    }

    #[tokio::test]
    async fn no_more_goes_in_than_is_asked_for() {
        let (mut client, mut ours) = pair().await;
        client.write_all(b"body, and the next head").await.unwrap();
        assert_eq!(fill(&ours, 4).await.unwrap().len(), 4);
        let mut rest = [0; 19];
        ours.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b", and the next head");
    }

    #[tokio::test]
    async fn one_with_bytes_in_it_never_serves_again() {
        let (mut client, ours) = pair().await;
        client.write_all(b"a secret").await.unwrap();
        drop(fill(&ours, 1000).await.unwrap());
        assert_eq!(pipes(), (0, 0));
    }

    #[tokio::test]
    async fn who_finds_none_left_reads_as_ever() {
        let (mut client, mut ours) = pair().await;
        let all: Vec<_> = (0..MOST).map(|_| Pipe::empty().unwrap()).collect();
        client.write_all(b"bytes").await.unwrap();
        assert!(fill(&ours, 1000).await.is_none());
        let mut seen = [0; 5];
        ours.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"bytes");
        drop(all);
        assert_eq!(pipes(), (KEPT, 0));
        reap();
        assert_eq!(pipes(), (0, 0));
        client.write_all(b"more").await.unwrap();
        assert_eq!(fill(&ours, 1000).await.map(|pipe| pipe.len()), Some(4));
    }
}
