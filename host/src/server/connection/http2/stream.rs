//! One request, from its head to the end of its response.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, EXPECT, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body as _;

use super::super::activity::Activity;
use super::super::extended::Extended;
use super::super::interim::Interim;
use super::super::{Peer, Received};
use super::sending::Sending;
use crate::body::Body;
use crate::config::ListenerLimits;
use crate::headers::{self, Kinds};
use crate::http1::framing::is_bodiless;
use crate::http1::write;
use crate::http2::{Answering, Receiving};

/// A request that is being served, until its response is sent.
pub(super) struct Pending {
    activity: Rc<Activity>,
    answered: bool,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.activity.end(self.answered);
    }
}

/// The task of one stream.
pub(super) struct Stream<F> {
    state: State<F>,
    answering: Answering,
    pending: Pending,
    extended: Option<Box<Extended>>,
    /// Its response has no body, whatever there is of it.
    is_head: bool,
    /// How long the client may leave no room for a response that is there.
    stall: Duration,
}

enum State<F> {
    /// Boxed, since a task is moved half a dozen times, from what spawns it to where it ends, and this is most of it.
    Carrying(Pin<Box<F>>),
    Sending(Sending),
}

impl<F: Future<Output = Response<Body>>> Stream<F> {
    /// Hands the request to `carry`.
    pub(super) fn begin<C: Fn(Received, Rc<Peer>) -> F>(
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        carry: &C,
        peer: Rc<Peer>,
        limits: &ListenerLimits,
        activity: &Rc<Activity>,
    ) -> Self {
        activity.begin();
        let pending = Pending { activity: activity.clone(), answered: false };
        let answering = Answering::new(respond);
        let is_head = *request.method() == Method::HEAD;
        let state = |received| State::Carrying(Box::pin(carry(received, peer)));
        // At once, and not when its turn comes: what is too large is gone before the next one is read.
        if let Err(error) = headers::check_size(&request, limits.head_fields, limits.head_size) {
            let state = state(Received::Refused(error));
            return Self { state, answering, pending, extended: None, is_head, stall: limits.body_idle };
        }
        let (request, extended) = match Extended::offered(&request) {
            Some(offered) => {
                let (request, extended) = Extended::take(request, offered);
                (request, Some(Box::new(extended)))
            }
            None => (with_body(request, &answering, limits.body_idle), None),
        };
        let interim = Interim::Http2(answering.clone());
        let kinds = Kinds::of(request.headers());
        let state = state(Received::Request(Box::new(request), kinds, interim));
        Self { state, answering, pending, extended, is_head, stall: limits.body_idle }
    }
}

impl<F: Future<Output = Response<Body>>> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            let carried = match &mut this.state {
                State::Carrying(carried) => carried,
                State::Sending(sending) => return sending.poll(context),
            };
            let Poll::Ready(mut response) = carried.as_mut().poll(context) else {
                return this.answering.poll_reset(context);
            };
            this.pending.answered = true;
            this.pending.activity.answer();
            let mut tunnel = false;
            if let Some(extended) = this.extended.take() {
                (response, tunnel) = extended.answer(response);
            }
            let (mut parts, body) = response.into_parts();
            let bodiless = this.is_head || is_bodiless(parts.status);
            frame(parts.status, &mut parts.headers, (!tunnel).then_some(&body));
            // What we have to do with a request is not told to its client.
            parts.extensions.clear();
            let whole = bodiless || body.is_end_stream();
            match this.answering.respond(Response::from_parts(parts, ()), whole) {
                Ok(stream) if !whole => {
                    this.state = State::Sending(Sending::new(body, stream, tunnel, this.stall));
                }
                // The client has all, or is gone.
                Ok(_) | Err(_) => return Poll::Ready(()),
            }
        }
    }
}

/// The request with the body that comes behind it.
fn with_body(request: Request<RecvStream>, answering: &Answering, idle: Duration) -> Request<Body> {
    let length = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let waits = request.headers().contains_key(EXPECT);
    request.map(|stream| {
        let receiving = Receiving::new(stream, length);
        Body::received(if waits { receiving.waited_for(answering) } else { receiving }).idle(idle)
    })
}

/// Fields that HTTP/2 has other means for.
const CONNECTION_ALONE: [HeaderName; 5] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Takes out what HTTP/2 has other means for, and makes `Content-Length` true: a client would take a part of one response
/// for the next one. Without a body it is left alone: it says what `GET` would have got. A tunnel has no length.
fn frame(status: StatusCode, headers: &mut HeaderMap, body: Option<&Body>) {
    for name in CONNECTION_ALONE {
        headers.remove(name);
    }
    match body.and_then(|body| body.size_hint().exact()) {
        Some(0) if status != StatusCode::NO_CONTENT => {}
        Some(length) if status != StatusCode::NO_CONTENT => {
            let said = headers.get(CONTENT_LENGTH).and_then(|said| said.to_str().ok()?.parse().ok());
            if said != Some(length) {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
        }
        _ => _ = headers.remove(CONTENT_LENGTH),
    }
    if !headers.contains_key(DATE)
        && let Ok(now) = HeaderValue::from_bytes(&write::now())
    {
        headers.insert(DATE, now);
    }
}
