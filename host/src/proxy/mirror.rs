//! Copies of requests that go to a second upstream, and whose answers nobody reads.
//!
//! The client's request never waits for its copy: a body is copied as it passes, and the copy goes out, as a task of its
//! own, once all of it has passed. What is too long, or too many at once, is left out and counted.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::header::HOST;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::task::spawn_local;
use tokio::time::Instant;

use super::destination::Destination;
use crate::body::{Body, BodyError};
use crate::config::{self, Part};
use crate::connect::Outbound;
use crate::metrics::RouteMetrics;
use crate::random::Random;
use crate::upstream::{Asking, Record};

/// How much of an answer is read, so that its connection serves again. A longer one closes it.
const ANSWER: usize = 1 << 20;

/// The mirror of a route.
pub(super) struct Mirror {
    to: Rc<Destination>,
    part: Part,
    body: usize,
    most: usize,
    busy: Cell<usize>,
    random: Random,
    metrics: Arc<RouteMetrics>,
}

impl Mirror {
    pub(super) fn new(config: &config::Mirror, to: Rc<Destination>, metrics: Arc<RouteMetrics>) -> Rc<Self> {
        Rc::new(Self {
            to,
            part: config.part,
            body: config.body,
            most: config.most,
            busy: Cell::new(0),
            random: Random::new(),
            metrics,
        })
    }

    /// Looks at a request as it goes out, and copies it where it is one of the sample. `authority` is what the client
    /// asked for.
    pub(super) fn look(self: &Rc<Self>, request: &mut Request<Body>, authority: &str, asking: Asking) {
        if self.random.below(u64::from(Part::ALL.0)).is_none_or(|at| at >= u64::from(self.part.0)) {
            return;
        }
        if request.body().size_hint().lower() > self.body as u64 {
            return self.metrics.mirrored(false);
        }
        let (mut parts, ()) = Request::default().into_parts();
        parts.method = request.method().clone();
        parts.uri = request.uri().clone();
        parts.headers = request.headers().clone();
        if self.to.upstream.config().preserve_host
            && let Ok(host) = HeaderValue::try_from(authority)
        {
            parts.headers.insert(HOST, host);
        }
        let copy = Twin { mirror: self.clone(), parts, asking };
        match std::mem::take(request.body_mut()) {
            Body::Empty => copy.send(Body::Empty),
            Body::Full(bytes) => {
                copy.send(Body::Full(bytes.clone()));
                *request.body_mut() = Body::Full(bytes);
            }
            body => *request.body_mut() = Body::stream(Copied { body, so_far: BytesMut::new(), copy: Some(copy) }),
        }
    }
}

/// A copy of which the body is still to come.
struct Twin {
    mirror: Rc<Mirror>,
    parts: Parts,
    asking: Asking,
}

impl Twin {
    fn send(self, body: Body) {
        let Self { mirror, parts, asking } = self;
        if mirror.busy.get() >= mirror.most {
            return mirror.metrics.mirrored(false);
        }
        mirror.metrics.mirrored(true);
        let busy = Busy::new(mirror);
        spawn_local(async move {
            let Destination { upstream, metrics } = &*busy.0.to;
            let method = parts.method.clone();
            let asking = Asking { begun: Instant::now(), ..asking };
            let mut request = Outbound::new(Request::from_parts(parts, body));
            let answer = upstream.send(&mut request, &asking, &mut Record::default()).await;
            match answer {
                Ok(response) => {
                    metrics.answered(&method, response.status(), asking.begun.elapsed());
                    discard(response).await;
                }
                Err(error) => metrics.failed(error.reason().code(), asking.begun.elapsed()),
            }
        });
    }
}

async fn discard(response: Response<Body>) {
    // What becomes of it is nobody's business.
    let _ = response.into_body().collect(ANSWER).await;
}

/// A copy that is under way.
struct Busy(Rc<Mirror>);

impl Busy {
    fn new(mirror: Rc<Mirror>) -> Self {
        mirror.busy.set(mirror.busy.get() + 1);
        Self(mirror)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get() - 1);
    }
}

/// A body that is copied as it passes, up to the mirror's cap.
struct Copied {
    body: Body,
    so_far: BytesMut,
    /// None once it has gone out, or was left out.
    copy: Option<Twin>,
}

impl Copied {
    fn took(&mut self, piece: &Bytes) {
        let Some(copy) = &self.copy else { return };
        if self.so_far.len() + piece.len() > copy.mirror.body {
            self.leave_out();
        } else {
            self.so_far.extend_from_slice(piece);
        }
    }

    fn end(&mut self) {
        if let Some(copy) = self.copy.take() {
            copy.send(std::mem::take(&mut self.so_far).freeze().into());
        }
    }

    fn leave_out(&mut self) {
        self.so_far = BytesMut::new();
        if let Some(copy) = self.copy.take() {
            copy.mirror.metrics.mirrored(false);
        }
    }
}

impl HttpBody for Copied {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(context);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(piece) = frame.data_ref() {
                    this.took(piece);
                }
                // Trailers are the last frame, and a reader that knows the length does not ask for the end.
                if frame.is_trailers() || this.body.is_end_stream() {
                    this.end();
                }
            }
            Poll::Ready(Some(Err(_))) => this.leave_out(),
            Poll::Ready(None) => this.end(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that its reader leaves is no whole request.
impl Drop for Copied {
    fn drop(&mut self) {
        self.leave_out();
    }
}
