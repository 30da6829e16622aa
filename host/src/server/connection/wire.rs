//! The bytes of an HTTP/2 connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;
use super::frames::Frames;
use super::gathered::Gathered;

/// A connection that notes what happens on it, and that begins with bytes that were read from it before. What is read of it
/// at once holds one large head at most.
pub(super) struct Watched {
    stream: Gathered,
    begin: Bytes,
    /// What was read last ends a large head, which is looked at before more is read: many at once would take far more
    /// memory than they have bytes (CVE-2026-49975).
    pausing: bool,
    activity: Rc<Activity>,
    frames: Frames,
}

impl Watched {
    pub(super) fn new(stream: Gathered, begin: Bytes, activity: Rc<Activity>) -> Self {
        Self { stream, begin, pausing: false, activity, frames: Frames::new() }
    }

    fn note(&self, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &wrote {
            self.activity.account.wrote(*bytes);
        }
        wrote
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // The library would go on with what it has; an end of what it reads ends all of it.
        if self.activity.account.is_spent() {
            return Poll::Ready(Err(io::Error::other("the client's frames cost too much")));
        }
        if std::mem::take(&mut self.pausing) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        if self.begin.is_empty() {
            ready!(self.stream.poll_read(context, buffer))?;
        } else {
            let length = self.begin.len().min(buffer.remaining());
            buffer.put_slice(&self.begin[..length]);
            self.begin.advance(length);
            if self.begin.is_empty() {
                self.begin = Bytes::new();
            }
        }
        let Self { begin, pausing, frames, activity, .. } = &mut *self;
        let read = &buffer.filled()[before..];
        if let Some(whole) = frames.read(read, &activity.account) {
            *pausing = true;
            if whole < read.len() {
                *begin = [&read[whole..], begin].concat().into();
                buffer.set_filled(before + whole);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.note(self.stream.poll_write(context, &[IoSlice::new(bytes)]))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.note(self.stream.poll_write(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The library flushes behind each piece; what it wrote goes out when its turn ends.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_shutdown(context)
    }
}
