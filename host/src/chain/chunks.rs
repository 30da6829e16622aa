//! A body on its way through a plugin, piece by piece: the next piece is asked for when the reader takes it, and what is
//! kept in between is one piece and one answer.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::Link;
use super::timings::{Timing, Timings};
use crate::bindings::{ChunkFlow, ChunkIn};
use crate::body::{Body, BodyError};
use crate::config::OnFailure;
use crate::error::Reason;
use crate::metrics::Spent;
use crate::plugin::{Failure, FailureKind, Held, Hook, Refusal, fields, fields_in, refusal};
use crate::request_id::RequestId;

/// The longest piece that a guest gets, in bytes.
const MAX_PIECE: usize = 64 << 10;
/// The longest piece that one gives, in bytes.
const MAX_ANSWER: usize = 1 << 20;

type Piece = Option<Result<Frame<Bytes>, BodyError>>;

/// The refusal of a plugin that saw something in the body of a request, until the request fails by it.
#[derive(Clone, Default)]
pub(super) struct Refused(Rc<RefCell<Option<Refusal>>>);

impl Refused {
    pub(super) fn take(&self) -> Option<Refusal> {
        self.0.borrow_mut().take()
    }
}

/// Which plugin a body passes, and what for.
pub(super) struct Way {
    pub(super) link: Link,
    pub(super) hook: Hook,
    pub(super) changes: bool,
    pub(super) memo: Option<Bytes>,
    pub(super) client: IpAddr,
    pub(super) request_id: RequestId,
    /// Where its place in the chain and what its calls cost is kept, if it is.
    pub(super) timings: Option<(usize, Timings)>,
    pub(super) refused: Refused,
}

impl Way {
    /// The body as it comes out behind the plugin.
    pub(super) fn lead(self, body: Body) -> Body {
        let left = if self.changes { None } else { body.size_hint().exact() };
        let passage = Passage {
            way: self,
            source: body,
            held: None,
            rest: Bytes::new(),
            trailers: None,
            ended: false,
            begun: false,
            again: false,
            touched: false,
            free: false,
            over: false,
            left,
        };
        Body::stream(Passing { work: Work::Idle(Box::new(passage)), left })
    }
}

/// What comes out behind the plugin.
struct Passing {
    work: Work,
    /// Bytes that are still to come, where that is known.
    left: Option<u64>,
}

enum Work {
    Idle(Box<Passage>),
    Busy(Pin<Box<dyn Future<Output = (Box<Passage>, Piece)>>>),
    Over,
}

impl HttpBody for Passing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Piece> {
        let this = self.get_mut();
        loop {
            match &mut this.work {
                Work::Over => return Poll::Ready(None),
                Work::Busy(future) => {
                    let (passage, piece) = ready!(future.as_mut().poll(context));
                    let goes_on = matches!(piece, Some(Ok(_))) && !passage.is_through();
                    this.work = if goes_on { Work::Idle(passage) } else { Work::Over };
                    if let (Some(left), Some(Ok(frame))) = (&mut this.left, &piece) {
                        *left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
                    }
                    return Poll::Ready(piece);
                }
                idle @ Work::Idle(_) => {
                    let Work::Idle(mut passage) = std::mem::replace(idle, Work::Over) else { continue };
                    *idle = Work::Busy(Box::pin(async move {
                        let piece = passage.next().await;
                        (passage, piece)
                    }));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.work, Work::Over)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A body, and where it is between its sender and its reader.
struct Passage {
    way: Way,
    source: Body,
    held: Option<Held>,
    /// Of the sender's latest piece, what the plugin has not seen yet.
    rest: Bytes,
    /// Those that the sender sent, or that the plugin put in their place.
    trailers: Option<HeaderMap>,
    /// The sender has no more.
    ended: bool,
    /// The plugin was called.
    begun: bool,
    /// The plugin has more to give for the latest piece.
    again: bool,
    /// Something went on, or was kept back, that is not as it came.
    touched: bool,
    /// The plugin failed, and is open: the rest goes past it.
    free: bool,
    /// The plugin has seen the end.
    over: bool,
    /// Bytes that the sender still owes, where that is known.
    left: Option<u64>,
}

impl Passage {
    /// Whether nothing comes any more.
    fn is_through(&self) -> bool {
        self.over && self.trailers.is_none()
    }

    async fn next(&mut self) -> Piece {
        loop {
            if self.over {
                return self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)));
            }
            if !self.again
                && !self.ended
                && self.rest.is_empty()
                && let Err(error) = self.pull().await
            {
                return Some(Err(error));
            }
            let piece = if self.again { Bytes::new() } else { self.rest.split_to(self.rest.len().min(MAX_PIECE)) };
            match self.lead(piece).await {
                // What keeps much back must not keep the worker.
                Ok(bytes) if bytes.is_empty() => tokio::task::yield_now().await,
                Ok(bytes) => return Some(Ok(Frame::data(bytes))),
                Err(reason) => return Some(Err(BodyError::Plugin(reason))),
            }
        }
    }

    /// Waits for the sender's next piece.
    async fn pull(&mut self) -> Result<(), BodyError> {
        match poll_fn(|context| Pin::new(&mut self.source).poll_frame(context)).await {
            None => self.ended = true,
            Some(frame) => match frame?.into_data() {
                Ok(data) => {
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    self.rest = data;
                    // An empty piece tells nothing.
                    if self.rest.is_empty() && self.source.is_end_stream() {
                        self.ended = true;
                    }
                }
                Err(frame) => {
                    self.trailers = frame.into_trailers().ok();
                    self.ended = true;
                }
            },
        }
        Ok(())
    }

    /// What becomes of a piece.
    async fn lead(&mut self, piece: Bytes) -> Result<Bytes, Reason> {
        if piece.is_empty() && !self.ended && !self.again {
            return Ok(piece);
        }
        let out = self.ask(piece).await?;
        // Whoever reads a body of a known length does not ask for its end, and what the plugin says at the end must count.
        let last = self.rest.is_empty() && (self.left == Some(0) || self.source.is_end_stream());
        if !self.way.changes && !self.ended && last {
            self.ended = true;
            self.ask(Bytes::new()).await?;
        }
        Ok(out)
    }

    /// Calls the plugin, and does what its policy says where it fails.
    async fn ask(&mut self, piece: Bytes) -> Result<Bytes, Reason> {
        if self.free {
            self.over = self.ended;
            return Ok(piece);
        }
        let (called, mut spent) = (Instant::now(), Spent::default());
        let span = self.way.link.span(self.way.hook, &self.way.request_id);
        let answer = self.call(piece.clone(), called, &mut spent).await;
        let answer = answer.and_then(|flow| self.obey(flow, piece.clone()));
        let failure = answer.as_ref().err().map(|failure| failure.kind);
        let took = called.elapsed();
        self.way.link.called(self.way.hook, took, &spent, failure, &span);
        if let Some((index, timings)) = &self.way.timings {
            timings.borrow_mut().push(Timing { index: *index, hook: self.way.hook, took, spent });
        }
        match answer {
            Ok(Ok(bytes)) => {
                if self.over
                    && let Some(held) = self.held.take()
                {
                    held.give_back();
                }
                Ok(bytes)
            }
            Ok(Err(refusal)) => {
                // It has not come to the end of the body, so its instance goes.
                self.held = None;
                self.way.link.refused();
                *self.way.refused.0.borrow_mut() = Some(refusal);
                Err(Reason::PluginRefused(self.way.link.pool.plugin.name.clone()))
            }
            Err(failure) => {
                self.held = None;
                self.way.link.failed(&failure, self.way.client, &self.way.request_id);
                if self.way.link.pool.plugin.on_failure == OnFailure::Closed || self.touched {
                    return Err(self.way.link.reason(failure.kind));
                }
                self.free = true;
                self.again = false;
                self.over = self.ended;
                Ok(piece)
            }
        }
    }

    async fn call(&mut self, piece: Bytes, began: Instant, spent: &mut Spent) -> Result<ChunkFlow, Failure> {
        let held = match &mut self.held {
            Some(held) => held,
            none => none.insert(Held::take(&self.way.link.pool, spent).await?),
        };
        let first = !std::mem::replace(&mut self.begun, true);
        let trailers = self.trailers.as_ref().filter(|_| self.ended).map(fields_in).unwrap_or_default();
        let memo = if first { self.way.memo.take() } else { None };
        let chunk = ChunkIn { bytes: piece, first, last: self.ended, memo, trailers };
        held.on_chunk(self.way.hook, chunk, began, spent).await
    }

    /// Checks what the plugin answered. Nothing has changed where that is not allowed.
    fn obey(&mut self, flow: ChunkFlow, piece: Bytes) -> Result<Result<Bytes, Refusal>, Failure> {
        let bytes = match flow {
            ChunkFlow::Refuse(problem) => return Ok(Err(refusal(problem)?)),
            ChunkFlow::Continue => {
                self.again = false;
                self.over = self.ended;
                return Ok(Ok(piece));
            }
            _ if !self.way.changes => return wrong("it changed a body that it only wanted to look at"),
            ChunkFlow::More(bytes) if bytes.is_empty() => return wrong("it answered `more` without bytes"),
            ChunkFlow::End(_) if !self.ended => return wrong("it answered `end` before the last piece"),
            ChunkFlow::More(bytes) => {
                let bytes = fits(bytes)?;
                self.again = true;
                bytes
            }
            ChunkFlow::Replace(bytes) => {
                let bytes = fits(bytes)?;
                self.again = false;
                self.over = self.ended;
                bytes
            }
            ChunkFlow::End(end) => {
                let (bytes, trailers) = (fits(end.bytes)?, fields(&end.trailers)?);
                self.trailers = Some(trailers).filter(|trailers| !trailers.is_empty());
                self.again = false;
                self.over = true;
                bytes
            }
        };
        self.touched = true;
        Ok(Ok(bytes))
    }
}

fn fits(bytes: Vec<u8>) -> Result<Bytes, Failure> {
    if bytes.len() > MAX_ANSWER {
        return wrong(format!("it answered with {} bytes, more than {MAX_ANSWER} in one piece", bytes.len()));
    }
    Ok(bytes.into())
}

fn wrong<T>(detail: impl Into<String>) -> Result<T, Failure> {
    Err(Failure { kind: FailureKind::Output, detail: detail.into() })
}
