//! A body in pieces, and what is watched while they pass: the time between them, their sum, their end.

use std::error::Error as StdError;
use std::fmt;
use std::future::poll_fn;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, SizeHint};

use super::pace::Pace;
use super::{BodyError, End, Observe};
use crate::http1::body::Part;
use crate::{http1, http2};

/// A body in pieces, with what is watched while they pass.
pub struct Stream {
    source: Source,
    pace: Option<Pace>,
    /// Bytes that may still come, where the length was not known beforehand.
    left: Option<u64>,
    observer: Option<Rc<dyn Observe>>,
}

enum Source {
    /// There is no more.
    Over,
    Http1(http1::incoming::Receiving),
    Http2(http2::Receiving),
    Parts(Box<dyn Parts>),
    Boxed(Pin<Box<dyn HttpBody<Data = Bytes, Error = BodyError>>>),
}

/// A body of which bytes may come in a pipe, for a reader that takes them so.
pub trait Parts {
    /// The next part, in a pipe only where it is `piped`.
    fn poll_part(&mut self, context: &mut Context<'_>, piped: bool) -> Poll<Option<Result<Part, BodyError>>>;
    /// Whether there is no more.
    fn is_end_stream(&self) -> bool;
    /// How much there is.
    fn size_hint(&self) -> SizeHint;
}

impl Stream {
    pub(super) fn received(body: http2::Receiving) -> Self {
        Self::new(Source::Http2(body))
    }

    pub(super) fn receiving(body: http1::incoming::Receiving) -> Self {
        Self::new(Source::Http1(body))
    }

    pub(super) fn parts(body: Box<dyn Parts>) -> Self {
        Self::new(Source::Parts(body))
    }

    pub(super) fn boxed(body: Pin<Box<dyn HttpBody<Data = Bytes, Error = BodyError>>>) -> Self {
        Self::new(Source::Boxed(body))
    }

    fn new(source: Source) -> Self {
        Self { source, pace: None, left: None, observer: None }
    }

    pub(super) fn watch_idle(&mut self, after: Duration) {
        self.pace = Some(Pace::new(after));
    }

    pub(super) fn watch_rate(&mut self, rate: Option<NonZeroU32>) {
        if let Some(pace) = &mut self.pace {
            pace.at_least(rate);
        }
    }

    pub(super) fn cap(&mut self, bytes: u64) {
        self.left = Some(bytes);
    }

    pub(super) fn observe(&mut self, observer: Rc<dyn Observe>) {
        self.observer = Some(observer);
    }

    pub(super) fn poll_part(
        &mut self,
        context: &mut Context<'_>,
        piped: bool,
    ) -> Poll<Option<Result<Part, BodyError>>> {
        let part = match self.source.poll_part(context, piped) {
            Poll::Ready(Some(Ok(part))) => part,
            Poll::Ready(Some(Err(error))) => return self.fail(error),
            Poll::Ready(None) => {
                self.end(&End::Whole);
                return Poll::Ready(None);
            }
            Poll::Pending => {
                let Some(pace) = &mut self.pace else {
                    return Poll::Pending;
                };
                let error = ready!(pace.poll(context));
                return self.fail(error);
            }
        };
        if let Some(pace) = &mut self.pace {
            pace.came(part.len());
        }
        if let Part::Trailers(_) = &part {
            // They are the last part, and nobody asks for another one.
            self.end(&End::Whole);
            return Poll::Ready(Some(Ok(part)));
        }
        if let Some(left) = &mut self.left {
            match left.checked_sub(part.len() as u64) {
                Some(rest) => *left = rest,
                None => return self.fail(BodyError::TooLarge),
            }
        }
        if let Some(observer) = &self.observer {
            observer.piece(part.len());
            // A reader that knows the length does not ask for the end.
            if self.is_end_stream() {
                self.end(&End::Whole);
            }
        }
        Poll::Ready(Some(Ok(part)))
    }

    pub(super) async fn data(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            match poll_fn(|context| self.poll_part(context, false)).await.transpose()? {
                Some(Part::Data(bytes)) if bytes.is_empty() => {}
                Some(Part::Data(bytes)) => return Ok(Some(bytes)),
                Some(Part::Trailers(_) | Part::Piped(_)) | None => return Ok(None),
            }
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Over => true,
            Source::Http1(body) => body.is_end_stream(),
            Source::Http2(body) => body.is_end_stream(),
            Source::Parts(body) => body.is_end_stream(),
            Source::Boxed(body) => body.is_end_stream(),
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Over => SizeHint::with_exact(0),
            Source::Http1(body) => body.size_hint(),
            Source::Http2(body) => body.size_hint(),
            Source::Parts(body) => body.size_hint(),
            Source::Boxed(body) => body.size_hint(),
        }
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Part, BodyError>>> {
        self.end(&End::Broken(&error));
        // What is left of it is dropped at once, which is what stops its sender.
        self.source = Source::Over;
        Poll::Ready(Some(Err(error)))
    }

    fn end(&mut self, end: &End<'_>) {
        if let Some(observer) = self.observer.take() {
            observer.end(match end {
                End::Whole => End::Whole,
                End::Broken(error) => End::Broken(error),
                End::Dropped => End::Dropped,
            });
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // A body that has its end already was not read because there is nothing in it, or nobody may see it (HEAD).
        if self.observer.is_some() {
            let end = if self.is_end_stream() { End::Whole } else { End::Dropped };
            self.end(&end);
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("size", &self.size_hint()).field("left", &self.left).finish_non_exhaustive()
    }
}

impl Source {
    fn poll_part(&mut self, context: &mut Context<'_>, piped: bool) -> Poll<Option<Result<Part, BodyError>>> {
        match self {
            Self::Over => Poll::Ready(None),
            Self::Http1(body) => body.poll_part(context, piped).map_err(broken),
            Self::Http2(body) => body.poll_frame(context).map_ok(Part::from).map_err(broken),
            Self::Parts(body) => body.poll_part(context, piped),
            Self::Boxed(body) => body.as_mut().poll_frame(context).map_ok(Part::from),
        }
    }
}

fn broken(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> BodyError {
    BodyError::Broken(cause.into())
}
