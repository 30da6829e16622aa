//! A stream that goes on with another protocol (RFC 8441): bytes both ways, until both sides have ended.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::ext::Protocol;
use http::header::{HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Method, Response, StatusCode, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use super::arriving::Arriving;
use super::connection::{Busy, Connection, Upload, answered, head, length};
use super::sending::{Progress, Sending};
use crate::body::{Body, BodyError};
use crate::config::UpstreamTimeouts;
use crate::connect::Record;
use crate::connect::exchange::{Failure, may_pass};
use crate::connect::outbound::Outbound;
use crate::connect::target::{Target, Times};
use crate::deadline::{Deadline, after};
use crate::error::Reason;
use crate::headers::{Direction, strip_hop_by_hop};
use crate::http1::upgrade::{Allowed, accepts};

impl Connection {
    /// Asks to go on with another protocol by an extended CONNECT. An agreement is the 101 that it would be in HTTP/1.1;
    /// before that nothing of what the client sends is read.
    pub(super) async fn tunnel(
        &self,
        request: &mut Outbound<'_>,
        Allowed(protocol): &Allowed,
        home: &Rc<Target>,
        timeouts: &UpstreamTimeouts,
        times: &Times,
        record: &mut Record,
    ) -> Result<Response<Body>, Failure> {
        let (busy, reused) = self.begin();
        request.settle();
        let asked = request.request();
        let key = asked.headers().get(SEC_WEBSOCKET_KEY).cloned();
        let head = head(asked, home.endpoint().tls, false).and_then(|mut head| {
            *head.method_mut() = Method::CONNECT;
            head.headers_mut().remove(SEC_WEBSOCKET_KEY);
            head.extensions_mut().insert(Protocol::from(protocol.to_str().ok()?));
            Some(head)
        });
        let (mut response, stream) = self.send(head, false, home)?;
        let end = match times.head_by {
            Some(head_by) if head_by < times.total => (head_by, Reason::UpstreamTimeout),
            _ => (times.total, Reason::TotalTimeout),
        };
        let progress = Progress::new(false);
        progress.end();
        let response = match answered(&mut response, request, &progress, timeouts, Some(&end)).await {
            Ok(response) => response,
            Err(fault) => return Err(self.failed(home, fault, reused)),
        };
        record.head = Some(times.begun.elapsed());
        let (mut parts, body) = response.into_parts();
        parts.version = Version::HTTP_11;
        strip_hop_by_hop(&mut parts.headers, Direction::Response);
        if !parts.status.is_success() {
            if !may_pass(parts.status) {
                drop(request.take_body());
            }
            let length = length(&parts.headers);
            let body = Arriving::new(body, length, (None, progress), busy).within(timeouts.idle, Some(times.total));
            return Ok(Response::from_parts(parts, Body::stream(body)));
        }
        parts.status = StatusCode::SWITCHING_PROTOCOLS;
        parts.headers.insert(UPGRADE, protocol.clone());
        if let Some(accept) = key.and_then(|key| HeaderValue::try_from(accepts(key.as_bytes())).ok()) {
            parts.headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        let progress = Progress::new(false);
        let (_, upload) = Sending::begin(request.take_body(), stream, &progress);
        let tunnel = Tunnel {
            stream: body,
            progress,
            at: Instant::now(),
            idle: timeouts.idle,
            deadline: Deadline::new(),
            ended: false,
            over: false,
            _upload: upload.map(Upload::begin),
            _busy: busy,
        };
        Ok(Response::from_parts(parts, Body::stream(tunnel)))
    }
}

/// What comes from the upstream. An empty piece says that it has ended its half; the body ends when the client has ended
/// its own as well. Dropped before, it resets the stream.
struct Tunnel {
    stream: RecvStream,
    /// How what the client sends gets on, in a task of its own.
    progress: Rc<Progress>,
    /// When something came last.
    at: Instant,
    /// How long nothing may pass in either direction.
    idle: Duration,
    deadline: Deadline,
    /// The upstream sends no more.
    ended: bool,
    over: bool,
    _upload: Option<Upload>,
    _busy: Busy,
}

impl Tunnel {
    fn end(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.over = true;
        Poll::Ready(Some(Err(error)))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        self.progress.wake(context);
        if self.progress.broken().is_some() {
            return self.end(BodyError::Left);
        }
        while !self.ended {
            match self.stream.poll_data(context) {
                Poll::Ready(Some(Ok(bytes))) => {
                    self.at = Instant::now();
                    // The reader asks for more when it has sent this on, and until then the window is what may come.
                    let _ = self.stream.flow_control().release_capacity(bytes.len());
                    // One that is empty and not the end says nothing.
                    if !bytes.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                }
                Poll::Ready(Some(Err(cause))) => return self.end(BodyError::Broken(cause.into())),
                Poll::Ready(None) => {
                    self.ended = true;
                    return Poll::Ready(Some(Ok(Frame::data(Bytes::new()))));
                }
                Poll::Pending => break,
            }
        }
        if self.ended && self.progress.is_all() {
            self.over = true;
            return Poll::Ready(None);
        }
        // The other direction moves it on without a word; the timer looks again when it goes off.
        let at = self.at.max(self.progress.at());
        ready!(self.deadline.poll(context, after(at, self.idle)));
        self.end(BodyError::Idle)
    }
}

impl HttpBody for Tunnel {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.get_mut().poll(context)
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
