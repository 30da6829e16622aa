//! HTTP/1: requests one after another, each with its response, in one task.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::header::CONNECTION;
use http::{HeaderMap, Method, Response, StatusCode, Version};
use http_body::Body as _;
use tokio::time::Instant;

use super::ended::Ended;
use super::{Interim, Peer, Received};
use crate::body::Body;
use crate::config::ListenerLimits;
use crate::deadline::{Deadline, after};
use crate::error::{Error, Reason};
use crate::http1::framing::{Length, has_token, is_bodiless};
use crate::http1::head::{self, Limits, Lines, RequestHead, Scan};
use crate::http1::incoming::{Begun, Link, Unread};
use crate::http1::upgrade::{Offered, is_offer};
use crate::http1::wire::Window;
use crate::http1::write::{self, Connection, Encoder};
use crate::server::drain::{Open, Phase, QUIET};

/// What we read of a body that nobody wanted, rather than end the connection.
const DISCARD: u64 = 64 * 1024;

/// A connection that speaks HTTP/1.
pub(super) struct Http1<'a, C> {
    pub(super) carry: &'a C,
    pub(super) peer: Rc<Peer>,
    pub(super) limits: &'a ListenerLimits,
    pub(super) open: &'a Open,
    pub(super) link: Link,
    pub(super) deadline: Deadline,
}

/// What a response has to know of its request.
struct Asked {
    method: Method,
    version: Version,
    keep_alive: bool,
    takes_trailers: bool,
    /// Whether it offered to go on with another protocol.
    offers: bool,
}

impl<C> Http1<'_, C> {
    /// The client does not take all that waits for it: ready when it has taken nothing for too long. `since` is when it
    /// took something last, and `progress` whether it did just now.
    pub(super) fn stuck(
        &mut self,
        context: &mut Context<'_>,
        progress: bool,
        since: &mut Option<Instant>,
    ) -> Poll<Ended> {
        if progress {
            *since = None;
        }
        let at = after(*since.get_or_insert_with(Instant::now), self.limits.body_idle);
        self.deadline.poll(context, at).map(|()| Ended::Write)
    }
}

impl<C, F> Http1<'_, C>
where
    C: Fn(Received, Rc<Peer>) -> F,
    F: Future<Output = Response<Body>>,
{
    /// Serves until one side has enough.
    pub(super) async fn serve(&mut self) -> Result<(), Ended> {
        let ended = loop {
            match self.next().await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(ended) => break ended,
            }
        };
        let refusal = match &ended {
            Ended::Refused(bad) => Error::because(bad.reason(), bad.to_string()),
            Ended::Head => Reason::HeadTimeout.into(),
            _ => return Err(ended),
        };
        Box::pin(self.refuse(refusal)).await?;
        Err(ended)
    }

    /// Serves one request. Answers whether another one may follow.
    async fn next(&mut self) -> Result<bool, Ended> {
        let exchange = match self.head().await? {
            Some(head) => self.begin(head),
            None => return Ok(false),
        };
        exchange.await
    }

    /// Answers what is no request, and ends its side.
    async fn refuse(&mut self, error: Error) -> Result<(), Ended> {
        let asked = Asked {
            method: Method::GET,
            version: Version::HTTP_11,
            keep_alive: false,
            takes_trailers: false,
            offers: false,
        };
        let response = self.carry(Received::Refused(error)).await?;
        self.answer(&asked, response).await.map(drop)
    }

    /// What a head begins. On its own, so that a connection without a request has no room for one.
    fn begin(&mut self, mut head: RequestHead) -> Pin<Box<impl Future<Output = Result<bool, Ended>>>> {
        let asked = Asked {
            method: head.request.method().clone(),
            version: head.request.version(),
            keep_alive: head.keep_alive,
            takes_trailers: head.takes_trailers,
            offers: head.kinds.upgrade() && head.length == Length::None && is_offer(&head.request),
        };
        let mut body = Body::begun(self.link.begin(head.length, head.expects_continue)).idle(self.limits.body_idle);
        if asked.offers {
            head.request.extensions_mut().insert(Offered);
            body = Body::begun(Begun::Coming(self.link.offer()));
        }
        let interim = match asked.version {
            Version::HTTP_11 => Interim::Http1(self.link.clone()),
            _ => Interim::Nowhere,
        };
        let request = Box::new(head.request.map(|()| body));
        Box::pin(self.exchange(asked, Received::Request(request, head.kinds, interim)))
    }

    /// One request and its response. Answers whether the next one follows.
    async fn exchange(&mut self, asked: Asked, received: Received) -> Result<bool, Ended> {
        let response = self.carry(received).await?;
        let keep = self.answer(&asked, response).await?;
        self.link.finish();
        Ok(keep && self.discard().await?)
    }

    /// Waits for the next head. None where there is to be none.
    fn head(&mut self) -> impl Future<Output = Result<Option<RequestHead>, Ended>> {
        let mut scan = Scan::default();
        let mut since = None;
        let mut begun = false;
        // What it needs is in this and nowhere beside it: that is most of an idle connection.
        poll_fn(move |context| {
            let phase = self.open.phase(context);
            if phase == Phase::Over {
                return Poll::Ready(Err(Ended::Cut));
            }
            let limits = Limits { bytes: self.limits.head_size, fields: self.limits.head_fields };
            let read = self.link.with(|wire| {
                loop {
                    let mut lines = Lines::new();
                    let found = scan.request(&wire.input, limits.bytes, &mut lines).map_err(Ended::Refused)?;
                    if let Some((skip, length)) = found {
                        let _ = wire.input.split_to(skip);
                        let bytes = wire.input.split_to(length).freeze();
                        return Poll::Ready(head::request(&bytes, &lines, limits).map(Some).map_err(Ended::Refused));
                    }
                    let empty = wire.input.is_empty();
                    let quiet = since.is_some_and(|since: Instant| since.elapsed() >= QUIET);
                    if empty && quiet && phase > Phase::Serving {
                        return Poll::Ready(Ok(None));
                    }
                    match wire.poll_read(context) {
                        Poll::Ready(Ok(1..)) => {}
                        Poll::Ready(Ok(_)) if empty => return Poll::Ready(Ok(None)),
                        Poll::Ready(_) => return Poll::Ready(Err(Ended::Gone)),
                        Poll::Pending => {
                            // What waits costs little: it has no buffers.
                            wire.rest();
                            if !begun && !empty {
                                begun = true;
                                since = None;
                            }
                            return Poll::Pending;
                        }
                    }
                }
            });
            match read.unwrap_or(Poll::Ready(Ok(None))) {
                Poll::Ready(head) => Poll::Ready(head),
                Poll::Pending => {
                    let since = *since.get_or_insert_with(Instant::now);
                    if phase > Phase::Serving && !begun {
                        return self.deadline.poll(context, after(since, QUIET)).map(|()| Ok(None));
                    }
                    let (time, ended) = if begun {
                        (self.limits.head_time, Ended::Head)
                    } else {
                        (self.limits.keep_alive, Ended::Idle)
                    };
                    self.deadline.poll(context, after(since, time)).map(|()| Err(ended))
                }
            }
        })
    }

    /// Has a request served, unless its client leaves before. Its own limits count meanwhile.
    async fn carry(&mut self, received: Received) -> Result<Response<Body>, Ended> {
        let mut carried = pin!((self.carry)(received, self.peer.clone()));
        poll_fn(|context| {
            if self.open.phase(context) == Phase::Over {
                return Poll::Ready(Err(Ended::Cut));
            }
            match carried.as_mut().poll(context) {
                Poll::Ready(response) => Poll::Ready(Ok(response)),
                Poll::Pending => self.watch(context).map(Err),
            }
        })
        .await
    }

    /// Ready when the client has left. It is seen only while nothing of it waits to be read, be it a body or the next
    /// request.
    fn watch(&self, context: &mut Context<'_>) -> Poll<Ended> {
        let idle = self.link.unread() == Unread::Nothing;
        let left = self.link.with(|wire| {
            // An interim response that the client did not take at once.
            let _ = wire.poll_write(context, &mut false);
            if !idle || !wire.input.is_empty() {
                return Poll::Pending;
            }
            match ready!(wire.poll_read(context)) {
                Ok(1..) => Poll::Pending,
                Ok(_) | Err(_) => Poll::Ready(Ended::Gone),
            }
        });
        left.unwrap_or(Poll::Ready(Ended::Gone))
    }

    /// Sends a response. Answers whether another request may follow.
    async fn answer(&mut self, asked: &Asked, response: Response<Body>) -> Result<bool, Ended> {
        let (parts, mut body) = response.into_parts();
        if asked.offers && parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return Box::pin(self.switch(&parts.headers, body)).await.map(|()| false);
        }
        let bodiless = asked.method == Method::HEAD || is_bodiless(parts.status);
        let length = match body.size_hint().exact() {
            _ if bodiless && asked.method != Method::HEAD => Length::None,
            Some(0) => Length::None,
            Some(length) => Length::Sized(length),
            None if asked.version == Version::HTTP_10 => Length::UntilClose,
            None => Length::Chunked,
        };
        let keep = asked.keep_alive
            && length != Length::UntilClose
            && self.open.now() == Phase::Serving
            && !closes(&parts.headers)
            && match self.link.unread() {
                Unread::Nothing | Unread::Bytes(None) => true,
                Unread::Bytes(Some(left)) => left <= DISCARD,
                Unread::Never => false,
            };
        let connection = match (keep, asked.version) {
            (false, _) => Connection::Close,
            (true, Version::HTTP_10) => Connection::KeepAlive,
            (true, _) => Connection::Stays,
        };
        self.link.with(|wire| {
            write::response(wire.tail(), &asked.method, parts.status, &parts.headers, length, connection);
        });
        // A long body must not keep them.
        drop(parts);
        let mut encoder = Encoder::new(length, asked.takes_trailers);
        let mut done = bodiless;
        // Since when the client has taken nothing.
        let mut stuck = None;
        let mut window = Window::new();
        poll_fn(|context| {
            if self.open.phase(context) == Phase::Over {
                return Poll::Ready(Err(Ended::Cut));
            }
            loop {
                // The head and what is there of the body leave together.
                let mut waiting = false;
                while !done && !waiting && self.link.with(|wire| window.is_open(wire)).unwrap_or(true) {
                    let piped = self.link.with(|wire| encoder.takes_pipes(wire)).unwrap_or(false);
                    match body.poll_part(context, piped) {
                        Poll::Pending => waiting = true,
                        Poll::Ready(part) => {
                            let part = part.transpose().map_err(|_| broken(length))?;
                            let ends = body.is_end_stream();
                            let encoded = self.link.with(|wire| encoder.part(wire, part, ends)).unwrap_or(Ok(true));
                            done = encoded.map_err(|_| broken(length))?;
                        }
                    }
                }
                let mut progress = false;
                match self.link.with(|wire| wire.poll_write(context, &mut progress)) {
                    Some(Poll::Ready(Ok(()))) if done => return Poll::Ready(Ok(())),
                    Some(Poll::Ready(Ok(()))) => {
                        stuck = None;
                        if !waiting {
                            window.widen();
                        }
                        if waiting {
                            return self.watch(context).map(Err);
                        }
                    }
                    Some(Poll::Ready(Err(_))) | None => return Poll::Ready(Err(Ended::Gone)),
                    Some(Poll::Pending) => {
                        window.narrow();
                        return self.stuck(context, progress, &mut stuck).map(Err);
                    }
                }
            }
        })
        .await
        .map(|()| keep)
    }

    /// Reads what nobody read of a request's body, if it is not much. Answers whether the next request follows.
    async fn discard(&mut self) -> Result<bool, Ended> {
        if self.link.unread() == Unread::Nothing {
            return Ok(true);
        }
        let mut left = DISCARD;
        let mut since = None;
        poll_fn(|context| {
            if self.open.phase(context) > Phase::Serving || self.link.unread() == Unread::Never {
                return Poll::Ready(Ok(false));
            }
            loop {
                match self.link.poll_discard(context) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Ok(true)),
                    Poll::Ready(Ok(read)) => match left.checked_sub(read as u64) {
                        Some(rest) => left = rest,
                        None => return Poll::Ready(Ok(false)),
                    },
                    Poll::Ready(Err(_)) => return Poll::Ready(Ok(false)),
                    Poll::Pending => {
                        let since = *since.get_or_insert_with(Instant::now);
                        let at = after(since, self.limits.body_idle);
                        return self.deadline.poll(context, at).map(|()| Ok(false));
                    }
                }
            }
        })
        .await
    }
}

/// A body that ended early, after its head.
fn broken(length: Length) -> Ended {
    Ended::Broken { ends_with_connection: length == Length::UntilClose }
}

/// Whether a response wants the connection to end with it.
fn closes(headers: &HeaderMap) -> bool {
    headers.get_all(CONNECTION).iter().any(|value| has_token(value.as_bytes(), b"close"))
}
