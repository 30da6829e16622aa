//! Bodies: streaming by default, bytes when a plugin asked for them.
//!
//! A [`Body`] is pulled by whoever sends it, so a slow reader slows down the writer on the other side and nothing
//! piles up in between. A body that ends early ends with a [`BodyError`], never as if it were whole.

mod pace;
mod stream;
mod ticket;

use std::error::Error as StdError;
use std::fmt;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::error::Reason;
use crate::http1::body::Part;
use crate::http1::incoming::Begun;
use crate::http2;

pub use stream::{Parts, Stream};
pub use ticket::Ticket;

/// The body of a request or a response.
#[derive(Debug, Default)]
pub enum Body {
    /// There is none.
    #[default]
    Empty,
    /// All of it is here.
    Full(Bytes),
    /// All of it is here, and somebody is told when it goes.
    Told(Told),
    /// It comes in pieces, perhaps with trailers at its end. Most requests have none of it, and a request is moved often.
    Stream(Box<Stream>),
}

/// Why a body ended before it was whole.
#[derive(Debug)]
pub enum BodyError {
    /// Nothing more came for too long.
    Idle,
    /// It came, but too slowly.
    Slow,
    /// The time of the whole exchange is over.
    Late,
    /// It is longer than its cap.
    TooLarge,
    /// A plugin on its way refused it, or failed.
    Plugin(Reason),
    /// Whoever it was for left.
    Left,
    /// The sender broke off, or its framing is malformed.
    Broken(Box<dyn StdError + Send + Sync>),
}

/// Told about a body while it passes: for counting, and for the log line at its end.
pub trait Observe {
    /// A piece of so many bytes goes to the reader.
    fn piece(&self, bytes: usize);
    /// There is no more to come. Called exactly once.
    fn end(&self, end: End<'_>);
}

/// How a body ended.
#[derive(Debug)]
pub enum End<'a> {
    /// The reader got all of it.
    Whole,
    /// The sender stopped early.
    Broken(&'a BodyError),
    /// The reader stopped early.
    Dropped,
}

impl Body {
    /// A request's body as it comes from a connection of HTTP/2.
    #[must_use]
    pub fn received(body: http2::Receiving) -> Self {
        if body.is_end_stream() {
            return Self::Empty;
        }
        Self::Stream(Box::new(Stream::received(body)))
    }

    /// A request's body as it comes from a connection of HTTP/1.
    #[must_use]
    pub fn begun(begun: Begun) -> Self {
        match begun {
            Begun::Whole(bytes) => bytes.into(),
            Begun::Coming(receiving) => Self::Stream(Box::new(Stream::receiving(receiving))),
        }
    }

    /// Any other body that comes in pieces.
    #[must_use]
    pub fn stream(body: impl HttpBody<Data = Bytes, Error = BodyError> + 'static) -> Self {
        Self::Stream(Box::new(Stream::boxed(Box::pin(body))))
    }

    /// One that may come in pipes.
    #[must_use]
    pub(crate) fn parts(body: impl Parts + 'static) -> Self {
        Self::Stream(Box::new(Stream::parts(Box::new(body))))
    }

    /// The next part. `piped` says that the reader takes what is in a pipe; otherwise there is none.
    pub fn poll_part(&mut self, context: &mut Context<'_>, piped: bool) -> Poll<Option<Result<Part, BodyError>>> {
        let bytes = match self {
            Self::Stream(stream) => return stream.poll_part(context, piped),
            Self::Empty => Bytes::new(),
            Self::Told(told) => told.take(),
            Self::Full(bytes) => std::mem::take(bytes),
        };
        Poll::Ready((!bytes.is_empty()).then_some(Ok(Part::Data(bytes))))
    }

    /// Ends a body of which no piece came for so long with [`BodyError::Idle`].
    #[must_use]
    pub fn idle(mut self, after: Duration) -> Self {
        if let Self::Stream(stream) = &mut self {
            stream.watch_idle(after);
        }
        self
    }

    /// Ends a body that [`idle`](Self::idle) watches with [`BodyError::Slow`] where less than this comes in a second, after
    /// some time of grace. Only the time that its reader waits for it counts.
    #[must_use]
    pub fn rate(mut self, bytes: Option<NonZeroU32>) -> Self {
        if let Self::Stream(stream) = &mut self {
            stream.watch_rate(bytes);
        }
        self
    }

    /// Refuses a body whose length is known and more than `cap` bytes, and ends one that turns out to be longer with
    /// [`BodyError::TooLarge`].
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] at once.
    pub fn limit(mut self, cap: u64) -> Result<Self, BodyError> {
        let known = self.size_hint();
        if known.lower() > cap {
            return Err(BodyError::TooLarge);
        }
        if let (Self::Stream(stream), None) = (&mut self, known.exact()) {
            stream.cap(cap);
        }
        Ok(self)
    }

    /// Tells `observer` about each piece and the end, which comes together with the last piece.
    #[must_use]
    pub fn observe(self, observer: Rc<dyn Observe>) -> Self {
        match self {
            Self::Empty => {
                observer.end(End::Whole);
                Self::Empty
            }
            Self::Full(bytes) => Self::Told(Told { bytes, observer: Some(observer) }),
            Self::Told(told) => {
                let mut stream = Box::new(Stream::boxed(Box::pin(Self::Told(told))));
                stream.observe(observer);
                Self::Stream(stream)
            }
            Self::Stream(mut stream) => {
                stream.observe(observer);
                Self::Stream(stream)
            }
        }
    }

    /// The same body in one piece, where it is known to have at most `cap` bytes; its trailers are lost then.
    ///
    /// # Errors
    /// What ended it early.
    pub async fn gather(self, cap: usize) -> Result<Self, BodyError> {
        match self {
            Self::Told(_) | Self::Stream(_) if self.size_hint().exact().is_some_and(|size| size <= cap as u64) => {
                self.collect(cap).await.map(Self::from)
            }
            body => Ok(body),
        }
    }

    /// All of it at once, without its trailers.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] if it has more than `cap` bytes, else what ended it early.
    pub async fn collect(self, cap: usize) -> Result<Bytes, BodyError> {
        if self.size_hint().lower() > cap as u64 {
            return Err(BodyError::TooLarge);
        }
        let mut stream = match self {
            Self::Empty => return Ok(Bytes::new()),
            Self::Full(bytes) => return Ok(bytes),
            Self::Told(mut told) => return Ok(told.take()),
            Self::Stream(stream) => stream,
        };
        let Some(first) = stream.data().await? else {
            return Ok(Bytes::new());
        };
        if first.len() > cap {
            return Err(BodyError::TooLarge);
        }
        let Some(mut piece) = stream.data().await? else {
            return Ok(first);
        };
        // A length is only what the sender claims, so it reserves little.
        let expected = stream.size_hint().lower().min(64 * 1024) as usize;
        let mut whole = BytesMut::with_capacity(first.len() + piece.len() + expected);
        whole.extend_from_slice(&first);
        loop {
            if piece.len() > cap - whole.len() {
                return Err(BodyError::TooLarge);
            }
            whole.extend_from_slice(&piece);
            match stream.data().await? {
                Some(next) => piece = next,
                None => return Ok(whole.freeze()),
            }
        }
    }
}

/// A whole body of which somebody is told when it goes: most responses are one, and need no box for that.
pub struct Told {
    bytes: Bytes,
    observer: Option<Rc<dyn Observe>>,
}

impl Told {
    fn take(&mut self) -> Bytes {
        let bytes = std::mem::take(&mut self.bytes);
        if let Some(observer) = self.observer.take() {
            observer.piece(bytes.len());
            observer.end(End::Whole);
        }
        bytes
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(observer) = self.observer.take() {
            observer.end(End::Dropped);
        }
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes) }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.get_mut().poll_part(context, false).map(|part| {
            let frame = |part: Part| part.into_frame().ok_or_else(|| BodyError::Broken("nobody can read it".into()));
            part.map(|part| part.and_then(frame))
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Told(told) => told.bytes.is_empty(),
            Self::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Told(told) => SizeHint::with_exact(told.bytes.len() as u64),
            Self::Stream(stream) => stream.size_hint(),
        }
    }
}

impl BodyError {
    /// The reason when it ended the body of a request.
    #[must_use]
    pub fn of_request(&self) -> Reason {
        match self {
            Self::Idle | Self::Slow => Reason::BodyTimeout,
            Self::Late => Reason::TotalTimeout,
            Self::TooLarge => Reason::BodyTooLarge,
            Self::Plugin(reason) => reason.clone(),
            Self::Left | Self::Broken(_) => Reason::BadBody,
        }
    }

    /// The reason when it ended the body of a response.
    #[must_use]
    pub fn of_response(&self) -> Reason {
        match self {
            Self::Idle | Self::Slow => Reason::UpstreamIdle,
            Self::Late => Reason::TotalTimeout,
            Self::Plugin(reason) => reason.clone(),
            Self::Left => Reason::ClientGone,
            Self::TooLarge | Self::Broken(_) => Reason::UpstreamBody,
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("the body stopped coming"),
            Self::Slow => f.write_str("the body came too slowly"),
            Self::Late => f.write_str("the body did not end in the time of the exchange"),
            Self::TooLarge => f.write_str("the body is too large"),
            Self::Plugin(reason) => write!(f, "a plugin ended the body: {reason}"),
            Self::Left => f.write_str("whoever it was for left"),
            Self::Broken(cause) => {
                write!(f, "the body broke off: {cause}")?;
                let mut cause: &dyn StdError = &**cause;
                while let Some(deeper) = cause.source() {
                    write!(f, ": {deeper}")?;
                    cause = deeper;
                }
                Ok(())
            }
        }
    }
}

/// Its cause is told by its text and is no `source`: an HTTP/2 connection takes the code for resetting a client's
/// stream from the sources, and must not find one there that another peer chose.
impl StdError for BodyError {}

#[cfg(test)]
mod tests;
