//! One open connection and what drives it.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use crate::body::Body;
use crate::deadline::Deadline;

/// The longest response head, the most that is read at once, and the most that waits to be written.
const BUFFER: usize = 64 * 1024;

/// An open connection. hyper's two halves of it stay together: whoever waits for an answer drives the connection.
pub(super) struct Live {
    pub(super) sender: SendRequest<Body>,
    /// Gone once the connection has ended.
    connection: Option<http1::Connection<TokioIo<Wire>, Body>>,
    /// Whether the other side has sent anything since [`Live::begin`].
    heard: Rc<Cell<bool>>,
    pub(super) deadline: Deadline,
    pub(super) used: Instant,
}

impl Live {
    pub(super) async fn open(stream: Io) -> hyper::Result<Self> {
        let heard = Rc::new(Cell::new(false));
        let wire = TokioIo::new(Wire { stream, heard: heard.clone() });
        let (sender, connection) = http1::Builder::new().max_buf_size(BUFFER).handshake(wire).await?;
        Ok(Self { sender, connection: Some(connection), heard, deadline: Deadline::new(), used: Instant::now() })
    }

    /// Goes on with reading and writing. Ready when the connection has ended, for whatever reason; hyper has then told
    /// its cause to the exchange that was on it.
    pub(super) fn drive(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(());
        };
        // What is lost here with an error of an idle connection is only why it is closed.
        let _end = ready!(Pin::new(connection).poll(context));
        // Dropped, it gives back a request that it had not begun to send.
        self.connection = None;
        Poll::Ready(())
    }

    /// Whether the connection is open and has nothing to do. Nobody is woken by it from now on.
    pub(super) fn rest(&mut self) -> bool {
        // Without a waker of its own an idle connection never wakes the task that used it before.
        self.drive(&mut Context::from_waker(Waker::noop())).is_pending() && self.sender.is_ready()
    }

    pub(super) fn begin(&self) {
        self.heard.set(false);
    }

    pub(super) fn heard(&self) -> bool {
        self.heard.get()
    }
}

impl Future for Live {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.get_mut().drive(context)
    }
}

/// TCP, or TLS on top of it.
pub(super) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The bytes of a connection.
struct Wire {
    stream: Io,
    heard: Rc<Cell<bool>>,
}

macro_rules! stream {
    ($wire:expr, $stream:ident => $call:expr) => {
        match &mut $wire.get_mut().stream {
            Io::Plain($stream) => $call,
            Io::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let wire = self.as_mut();
        ready!(stream!(wire, stream => Pin::new(stream).poll_read(context, buffer)))?;
        if buffer.filled().len() > before {
            self.heard.set(true);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        stream!(self, stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        stream!(self, stream => Pin::new(stream).poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Io::Plain(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        stream!(self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        stream!(self, stream => Pin::new(stream).poll_shutdown(context))
    }
}
