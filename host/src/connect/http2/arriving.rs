//! The body of a response that is still coming, with the stream that it comes over. Dropped before its end, it resets
//! the stream.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::connection::{Busy, Upload};
use super::sending::Progress;
use crate::body::BodyError;
use crate::deadline::{Deadline, after};

pub(super) struct Arriving {
    /// Gone at the end.
    coming: Option<Coming>,
    /// How much is to come, where the head told.
    left: Option<u64>,
    idle: Duration,
    total: Option<Instant>,
    /// Since when the reader waits for the next piece.
    since: Option<Instant>,
    deadline: Deadline,
}

struct Coming {
    stream: RecvStream,
    /// All data is read, and perhaps there are trailers.
    data: bool,
    progress: Rc<Progress>,
    _upload: Option<Upload>,
    _busy: Busy,
}

impl Arriving {
    pub(super) fn new(
        stream: RecvStream,
        left: Option<u64>,
        (upload, progress): (Option<Upload>, Rc<Progress>),
        busy: Busy,
    ) -> Self {
        let coming = Coming { stream, data: true, progress, _upload: upload, _busy: busy };
        Self { coming: Some(coming), left, idle: Duration::MAX, total: None, since: None, deadline: Deadline::new() }
    }

    pub(super) fn within(mut self, idle: Duration, total: Option<Instant>) -> Self {
        (self.idle, self.total) = (idle, total);
        self
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(coming) = &mut self.coming else { return Poll::Ready(None) };
        match coming.poll(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.since = None;
                match frame.data_ref() {
                    // HTTP/2 has counted before.
                    Some(bytes) => self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64)),
                    None => self.coming = None,
                }
                if self.coming.as_ref().is_some_and(|coming| coming.stream.is_end_stream()) {
                    self.coming = None;
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(end) => {
                self.coming = None;
                Poll::Ready(end)
            }
            Poll::Pending => {
                let since = *self.since.get_or_insert_with(Instant::now);
                let idle = after(since, self.idle);
                let (at, error) = match self.total {
                    Some(total) if total < idle => (total, BodyError::Late),
                    _ => (idle, BodyError::Idle),
                };
                ready!(self.deadline.poll(context, at));
                self.coming = None;
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

impl Coming {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.progress.wake(context);
        if self.progress.broken().is_some() {
            return Poll::Ready(Some(Err(BodyError::Broken("the request broke off".into()))));
        }
        let broken = |cause: h2::Error| BodyError::Broken(cause.into());
        if self.data {
            if let Some(bytes) = ready!(self.stream.poll_data(context)).transpose().map_err(broken)? {
                // The reader asks for more when it has sent this on, and until then the window is what may come.
                let _ = self.stream.flow_control().release_capacity(bytes.len());
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            self.data = false;
        }
        let trailers = ready!(self.stream.poll_trailers(context)).map_err(broken)?;
        Poll::Ready(trailers.map(|fields| Ok(Frame::trailers(fields))))
    }
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.get_mut().poll(context)
    }

    fn is_end_stream(&self) -> bool {
        self.coming.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.coming, self.left) {
            (None, _) => SizeHint::with_exact(0),
            (Some(_), Some(left)) => SizeHint::with_exact(left),
            (Some(_), None) => SizeHint::default(),
        }
    }
}
