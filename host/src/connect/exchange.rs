//! One request and the head of its response.

use std::cell::Cell;
use std::error::Error as _;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::task::unconstrained;
use tokio::time::Instant;

use super::arriving::Arriving;
use super::live::Live;
use super::target::Target;
use crate::body::{Body, BodyError};
use crate::config::UpstreamTimeouts;
use crate::deadline::after;
use crate::error::{Error, Reason};

/// Bodies that are all there are handed over in pieces, so that a slow upstream is seen to take them.
const PIECE: usize = 64 * 1024;

pub(super) struct Exchange<'a> {
    pub(super) live: Box<Live>,
    pub(super) home: &'a Rc<Target>,
    pub(super) timeouts: &'a UpstreamTimeouts,
    /// When it has to be over.
    pub(super) total: Instant,
    pub(super) reused: bool,
}

/// An exchange that ended without the head of a response.
pub(super) struct Failure {
    pub(super) error: Error,
    /// The request, if nothing of it was sent.
    pub(super) unsent: Option<Box<Request<Body>>>,
    /// The connection ended before a single byte came over it.
    pub(super) silent: bool,
}

/// A copy of a request that may be sent twice: its method is idempotent, and its body is at hand.
pub(super) fn replay(request: &Request<Body>) -> Option<Request<Body>> {
    let body = match request.body() {
        Body::Empty => Body::Empty,
        Body::Full(bytes) => Body::Full(bytes.clone()),
        Body::Stream(_) => return None,
    };
    let idempotent = matches!(*request.method(), Method::GET | Method::HEAD | Method::PUT | Method::DELETE)
        || matches!(*request.method(), Method::OPTIONS | Method::TRACE);
    idempotent.then(|| {
        let mut copy = Request::new(body);
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        copy
    })
}

impl Exchange<'_> {
    pub(super) async fn run(mut self, mut request: Request<Body>) -> Result<Response<Body>, Failure> {
        frame(&mut request);
        // Streams of gRPC end when they want to; their responses are exempt in any case.
        let grpc = matches!(request.body(), Body::Stream(_)) && is_endless(request.headers());
        let total = (!grpc).then_some(self.total);
        let sent = watch(&mut request);

        self.live.begin();
        let begun = Instant::now();
        // It is the connection that makes progress, and that is driven with our waker: the channel between the two
        // needs no waker, and no budget that could leave it waiting for one.
        let mut answer = pin!(unconstrained(self.live.sender.try_send_request(request)));
        let outcome = poll_fn(|context| {
            let ended = self.live.drive(context).is_ready();
            if let Poll::Ready(outcome) = answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return Poll::Ready(Ok(outcome));
            }
            if ended {
                return Poll::Ready(Err(Reason::UpstreamReset));
            }
            self.deadline(context, begun, sent.as_deref(), total).map(Err)
        })
        .await;

        let (error, unsent) = match outcome {
            Ok(Ok(response)) => match self.accept(response, sent.as_deref()) {
                Ok(response) => return Ok(response),
                Err(error) => {
                    return Err(Failure { error, unsent: None, silent: false });
                }
            },
            Ok(Err(mut failed)) => {
                let unsent = failed.take_message().map(Box::new);
                (self.explain(&failed.into_error()), unsent)
            }
            Err(Reason::UpstreamReset) => (self.home.error(Reason::UpstreamReset, "closed the connection"), None),
            Err(reason) => (self.home.error(reason, "took too long"), None),
        };
        let silent = !self.live.heard() && *error.reason() == Reason::UpstreamReset;
        Err(Failure { error, unsent, silent })
    }

    /// Ready with the limit that was passed.
    fn deadline(
        &mut self,
        context: &mut Context<'_>,
        begun: Instant,
        sent: Option<&Sent>,
        total: Option<Instant>,
    ) -> Poll<Reason> {
        let (at, reason) = match sent {
            None => (Some(after(begun, self.timeouts.response_header)), Reason::UpstreamTimeout),
            Some(sent) if sent.all.get() => {
                (Some(after(sent.at.get(), self.timeouts.response_header)), Reason::UpstreamTimeout)
            }
            // While we wait for the client, its own limits count.
            Some(sent) if sent.wanting.get() => (None, Reason::UpstreamIdle),
            Some(sent) => (Some(after(sent.at.get(), self.timeouts.idle)), Reason::UpstreamIdle),
        };
        match (at, total) {
            (Some(at), Some(total)) if total < at => {
                self.live.deadline.poll(context, total).map(|()| Reason::TotalTimeout)
            }
            (Some(at), _) => self.live.deadline.poll(context, at).map(|()| reason),
            (None, Some(total)) => self.live.deadline.poll(context, total).map(|()| Reason::TotalTimeout),
            (None, None) => Poll::Pending,
        }
    }

    /// Makes our response of what came, if it is one.
    fn accept(self, response: Response<Incoming>, sent: Option<&Sent>) -> Result<Response<Body>, Error> {
        let (mut parts, mut incoming) = response.into_parts();
        if let Err(problem) = check(parts.status, &mut parts.headers) {
            return Err(self.home.error(Reason::UpstreamProtocol, problem));
        }
        let keep = parts.version == Version::HTTP_11;
        parts.version = Version::HTTP_11;
        // The reason phrase, which is the upstream's own text.
        parts.extensions.clear();

        let all_sent = sent.is_none_or(|sent| sent.all.get());
        let mut first = None;
        if !incoming.is_end_stream() {
            match Pin::new(&mut incoming).poll_frame(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Some(Ok(frame))) => first = frame.into_data().ok(),
                Poll::Ready(Some(Err(cause))) => return Err(self.home.error(Reason::UpstreamBody, cause)),
                Poll::Ready(None) => return Ok(self.whole(parts, Bytes::new(), keep && all_sent)),
                Poll::Pending => {}
            }
        }
        // Most responses are whole with the packet that brings their head.
        if incoming.is_end_stream() {
            return Ok(self.whole(parts, first.unwrap_or_default(), keep && all_sent));
        }
        let total = (!is_endless(&parts.headers)).then_some(self.total);
        let mut body = Arriving::new(self.live, self.home.clone(), incoming, first)
            .within(self.timeouts.idle, total)
            .reusable(keep);
        if !all_sent {
            body = body.driven_by_itself();
        }
        Ok(Response::from_parts(parts, Body::stream(body)))
    }

    fn whole(self, parts: http::response::Parts, body: Bytes, keep: bool) -> Response<Body> {
        if keep {
            self.home.give_back(self.live);
        }
        Response::from_parts(parts, body.into())
    }

    /// What hyper's error means.
    fn explain(&self, error: &hyper::Error) -> Error {
        if let Some(cause) = error.source().and_then(|cause| cause.downcast_ref::<BodyError>()) {
            return Error::because(cause.of_request(), cause.to_string());
        }
        if error.is_body_write_aborted() {
            return Error::because(Reason::BadBody, "the body was shorter than its length");
        }
        let reason = if error.is_user() {
            Reason::Internal
        } else if error.is_parse() {
            Reason::UpstreamProtocol
        } else {
            Reason::UpstreamReset
        };
        let mut cause = error.to_string();
        if let Some(deeper) = error.source() {
            cause = format!("{cause}: {deeper}");
        }
        let reused = if self.reused { " on a reused connection" } else { "" };
        self.home.error(reason, format_args!("{cause}{reused}"))
    }
}

/// Says where the body ends by what the body is, whatever the head said about it.
fn frame(request: &mut Request<Body>) {
    *request.version_mut() = Version::HTTP_11;
    request.extensions_mut().clear();
    let length = request.body().size_hint().exact();
    let wants_length = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    let headers = request.headers_mut();
    headers.remove(header::TRANSFER_ENCODING);
    match length {
        Some(0) if !wants_length => _ = headers.remove(header::CONTENT_LENGTH),
        Some(length) => _ = headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length)),
        None => {
            headers.remove(header::CONTENT_LENGTH);
            // hyper would leave out the body of a GET otherwise.
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
}

/// What hyper lets pass and RFC 9112 (section 6) does not, and the framing fields, of which one meaning is left.
fn check(status: StatusCode, headers: &mut HeaderMap) -> Result<(), &'static str> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err("switched protocols unasked");
    }
    // Not classes that HTTP has (RFC 9110, section 15).
    if status.as_u16() > 599 {
        return Err("answered with a status above 599");
    }
    if let Some(coding) = headers.get(header::TRANSFER_ENCODING) {
        if headers.contains_key(header::CONTENT_LENGTH) {
            return Err("answered with both Content-Length and Transfer-Encoding");
        }
        let alone = headers.get_all(header::TRANSFER_ENCODING).iter().nth(1).is_none();
        if !alone || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err("answered with a transfer coding other than chunked");
        }
        headers.remove(header::TRANSFER_ENCODING);
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(()) };
    let digits = length.as_bytes();
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return Err("answered with a Content-Length that is not a number");
    }
    let mut repeated = false;
    for other in lengths {
        repeated = true;
        if other != length {
            return Err("answered with two different Content-Length");
        }
    }
    if status == StatusCode::NO_CONTENT {
        headers.remove(header::CONTENT_LENGTH);
    } else if repeated {
        let length = length.clone();
        headers.insert(header::CONTENT_LENGTH, length);
    }
    Ok(())
}

/// Whether a body by its nature ends when it wants to, and not soon.
fn is_endless(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        return false;
    };
    let begins =
        |with: &str| kind.as_bytes().get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()));
    begins("text/event-stream") || begins("application/grpc")
}

/// How far a request body has got. Shared between the body, which hyper has, and the exchange.
struct Sent {
    /// All of it was handed over.
    all: Cell<bool>,
    /// The upstream takes more than the client sends.
    wanting: Cell<bool>,
    /// When the last piece was handed over.
    at: Cell<Instant>,
}

/// Follows a body that cannot be sent at once.
fn watch(request: &mut Request<Body>) -> Option<Rc<Sent>> {
    match request.body() {
        Body::Empty => return None,
        Body::Full(bytes) if bytes.len() <= PIECE => return None,
        Body::Full(_) | Body::Stream(_) => {}
    }
    let sent = Rc::new(Sent { all: Cell::new(false), wanting: Cell::new(false), at: Cell::new(Instant::now()) });
    let body = std::mem::take(request.body_mut());
    *request.body_mut() = Body::stream(Watched { body, sent: sent.clone() });
    Some(sent)
}

struct Watched {
    body: Body,
    sent: Rc<Sent>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let piece = match &mut self.body {
            Body::Full(bytes) if bytes.len() > PIECE => Poll::Ready(Some(Ok(Frame::data(bytes.split_to(PIECE))))),
            body => Pin::new(body).poll_frame(context),
        };
        self.sent.wanting.set(piece.is_pending());
        if let Poll::Ready(frame) = &piece {
            self.sent.at.set(Instant::now());
            let last = frame.as_ref().is_none_or(|frame| frame.as_ref().is_ok_and(Frame::is_trailers));
            self.sent.all.set(last || self.body.is_end_stream());
        }
        piece
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
