//! hyper's view of what we do with a request of HTTP/2.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::task::spawn_local;

use super::activity::Activity;
use super::extended::Extended;
use super::patience::{self, Patient};
use super::{Peer, Received};
use crate::body::{Body, BodyError};
use crate::headers::Kinds;

/// Hands the requests of one connection to `carry`.
pub(super) struct Service<C> {
    carry: Rc<C>,
    peer: Rc<Peer>,
    activity: Rc<Activity>,
    body_idle: Duration,
}

impl<C> Service<C> {
    pub(super) fn new(carry: Rc<C>, peer: Peer, activity: Rc<Activity>, body_idle: Duration) -> Self {
        Self { carry, peer: Rc::new(peer), activity, body_idle }
    }
}

impl<C, F> hyper::service::Service<Request<Incoming>> for Service<C>
where
    C: Fn(Received, Rc<Peer>) -> F,
    F: Future<Output = Response<Body>>,
{
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Carrying<F>;

    fn call(&self, request: Request<Incoming>) -> Carrying<F> {
        self.activity.begin();
        let (request, extended) = match Extended::offered(&request) {
            Some(offered) => {
                let (request, extended) = Extended::take(request, offered);
                (request, Some(Box::new(extended)))
            }
            None => (request.map(|incoming| Body::received(incoming).idle(self.body_idle)), None),
        };
        let pending = Pending { activity: self.activity.clone(), answered: false };
        Carrying {
            carried: (self.carry)(Received::Request(request, Kinds::UNKNOWN), self.peer.clone()),
            pending: Some(pending),
            extended,
        }
    }
}

/// A request that is being served, until its response is sent.
struct Pending {
    activity: Rc<Activity>,
    answered: bool,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.activity.end(self.answered);
    }
}

pin_project! {
    /// A request without its response.
    pub(super) struct Carrying<F> {
        #[pin]
        carried: F,
        pending: Option<Pending>,
        extended: Option<Box<Extended>>,
    }
}

impl<F: Future<Output = Response<Body>>> Future for Carrying<F> {
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Poll::Ready(mut response) = this.carried.poll(context) else {
            patience::waits();
            return Poll::Pending;
        };
        let mut pending = this.pending.take();
        if let Some(pending) = &mut pending {
            pending.answered = true;
            pending.activity.answer();
        }
        if let Some(extended) = this.extended.take() {
            let (instead, tunnel) = extended.answer(response);
            response = instead;
            if let Some(tunnel) = tunnel {
                let pending = pending.take();
                spawn_local(async move {
                    tunnel.await;
                    drop(pending);
                });
            }
        }
        frame(&mut response);
        Poll::Ready(Ok(response.map(|body| Answer { body, pending })))
    }
}

/// Takes out what HTTP/2 has other means for, and makes `Content-Length` true. hyper believes it even when the body says
/// otherwise, and then a client would take a part of one response for the next one. Without a body it is left alone: it
/// says what `GET` would have got.
fn frame(response: &mut Response<Body>) {
    response.headers_mut().remove(CONNECTION);
    let Some(said) = response.headers().get(CONTENT_LENGTH) else {
        return;
    };
    match response.body().size_hint().exact() {
        Some(0) => {}
        Some(length) => {
            let said = said.to_str().ok().and_then(|digits| digits.parse().ok());
            if said != Some(length) {
                response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
        }
        None => _ = response.headers_mut().remove(CONTENT_LENGTH),
    }
}

/// The body of a response on its way to the client.
pub(super) struct Answer {
    body: Body,
    /// Until it is sent.
    #[expect(dead_code, reason = "dropped with the body")]
    pending: Option<Pending>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        match frame {
            Poll::Ready(_) => patience::took(),
            Poll::Pending => patience::waits(),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Runs the streams of an HTTP/2 connection on the worker that has the connection.
#[derive(Clone, Copy)]
pub(super) struct LocalExecutor {
    /// How long a client may leave no room for a response that is there.
    pub(super) stall: Duration,
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, stream: F) {
        spawn_local(Patient::new(stream, self.stall));
    }
}
