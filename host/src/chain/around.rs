//! Components of the standard's HTTP worlds: a middleware around the rest of its chain, and a service at the end of one.
//!
//! A middleware calls the rest of its chain like a function, while a pass goes through a chain and back. So the call is
//! taken apart: what the middleware calls with goes on as the request, it waits, and the response that comes back is what
//! the call answers.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response, StatusCode, request, response};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{Caller, Ended, Link, Pass};
use crate::body::{Body, BodyError};
use crate::config::OnFailure;
use crate::error::{Error, Reason};
use crate::metrics::{self, Spent};
use crate::plugin::{
    Asked, Checked, Failure, FailureKind, GuestBody, Next, Running, Step, check_request, check_response, guest_body,
};
use crate::request_id::RequestId;

/// The middlewares that a request is in, the innermost last.
#[derive(Default)]
pub(super) struct Around(Vec<Inside>);

/// A request in a middleware that waits for the rest of its chain.
struct Inside {
    /// Its place in the chain.
    index: usize,
    running: Running,
    next: Next,
    method: Method,
    /// How long it took to call that.
    took: Duration,
    spent: Spent,
}

/// What a middleware does with a request.
#[expect(clippy::large_enum_variant, reason = "one for each request, taken apart at once")]
enum Does {
    Continues(Inside),
    Answers(Response<Body>),
}

impl Pass<'_> {
    /// Lets a middleware have the request, until it calls the rest of the chain or answers.
    pub(super) async fn enter(
        &mut self,
        index: usize,
        head: &mut request::Parts,
        body: &mut Body,
    ) -> Result<Option<Response<Body>>, Error> {
        let link = self.link(index);
        let begun = Instant::now();
        let mut spent = Spent::default();
        let outcome = self.ask(index, head, body, &mut spent).await;
        let took = begun.elapsed();
        // One that goes on is counted when it has answered: it is one call.
        if !matches!(outcome, Ok(Does::Continues(_))) {
            let failure = outcome.as_ref().err().map(|end| end.failure.kind);
            link.handled(took, &spent, failure);
        }
        match outcome {
            Ok(Does::Continues(inside)) => {
                self.around.0.push(Inside { took, spent, ..inside });
                Ok(None)
            }
            Ok(Does::Answers(response)) => {
                let status = response.status();
                if status.is_client_error() || status.is_server_error() {
                    link.refused();
                }
                self.ended = Some(Ended::Answered(link.pool.plugin.name.clone()));
                Ok(Some(response))
            }
            Err(end) => self.give_up(link, end, body).map(|()| None),
        }
    }

    async fn ask(
        &self,
        index: usize,
        head: &mut request::Parts,
        body: &mut Body,
        spent: &mut Spent,
    ) -> Result<Does, End> {
        let link = self.link(index);
        let asked = Asked { scheme: self.caller.scheme, authority: &self.caller.authority };
        let mut running = match Running::begin(&link.pool, head, &asked, body, spent).await {
            Ok(running) => running,
            Err(failure) => return Err(End { failure, running: None }),
        };
        let failure = match running.step().await {
            Ok(Step::Asks(request, next)) => {
                let method = head.method.clone();
                let (now, changed) = request.into_parts();
                match check_request(now, head, self.chain.encoded_slash) {
                    Ok(()) => {
                        *body = guest_body(changed);
                        let (took, spent) = (Duration::ZERO, Spent::default());
                        return Ok(Does::Continues(Inside { index, running, next, method, took, spent }));
                    }
                    Err(refused) => refused.into(),
                }
            }
            Ok(Step::Answers(response)) => match check_response(response) {
                Ok(checked) => {
                    return Ok(Does::Answers(reply(link, running, checked, &head.method, &self.caller, false)));
                }
                Err(refused) => refused.into(),
            },
            Ok(Step::Refuses(why)) => refuses(&why),
            Err(failure) => failure,
        };
        Err(End { failure, running: Some(running) })
    }

    /// Gives a middleware the response of the rest of its chain, and takes what it makes of it.
    pub(super) async fn leave(
        &mut self,
        index: usize,
        head: &mut response::Parts,
        body: &mut Body,
    ) -> Result<Option<Response<Body>>, Error> {
        // One that failed, and is open, was never entered.
        let Some(inside) = self.around.0.pop_if(|inside| inside.index == index) else { return Ok(None) };
        let link = self.link(index);
        let begun = Instant::now();
        let Inside { mut running, next, method, took, spent, .. } = inside;
        running.give(next, head, body);
        let answer = match running.step().await {
            Ok(Step::Answers(response)) => check_response(response).map_err(Failure::from),
            Ok(Step::Refuses(why)) => Err(refuses(&why)),
            // The engine lets nobody ask twice.
            Ok(Step::Asks(..)) => Err(refuses("it asks again")),
            Err(failure) => Err(failure),
        };
        link.handled(took + begun.elapsed(), &spent, answer.as_ref().err().map(|failure| failure.kind));
        match answer {
            Ok(checked) => Ok(Some(reply(link, running, checked, &method, &self.caller, false))),
            Err(failure) => self.give_up(link, End { failure, running: Some(running) }, body).map(|()| None),
        }
    }

    /// What the failure of a middleware does: nothing, where its policy is open and the body is as it came.
    fn give_up(&self, link: &Link, end: End, body: &mut Body) -> Result<(), Error> {
        let End { failure, running } = end;
        if let Some(reason) = running.as_ref().and_then(Running::broken_body) {
            return Err(Error::because(reason, failure.detail));
        }
        link.failed(&failure, self.caller.client.ip, &self.caller.request_id);
        if link.pool.plugin.on_failure == OnFailure::Open {
            match running.map(Running::take_back) {
                None => return Ok(()),
                Some(Some(as_it_came)) => {
                    *body = as_it_came;
                    return Ok(());
                }
                Some(None) => {}
            }
        }
        Err(Error::because(link.reason(failure.kind), failure.detail))
    }

    /// Whether the request is in a middleware.
    pub(crate) fn is_around(&self) -> bool {
        !self.around.0.is_empty()
    }

    /// The outcome of what comes behind the chain; none where a middleware answers without waiting for it. Then that is
    /// given up, and the response goes back from there.
    pub(crate) async fn unless_answered<T>(&mut self, behind: impl AsyncFnOnce(&Caller) -> T) -> Option<T> {
        let Self { around, caller, reached, .. } = self;
        // Most requests are in none, and their future does not grow by this.
        let behind = Box::pin(behind(caller));
        tokio::select! {
            outcome = behind => Some(outcome),
            early = around.early() => {
                *reached = early;
                None
            }
        }
    }
}

/// A middleware that failed, and where its request was then; nowhere, where nothing was taken of it.
struct End {
    failure: Failure,
    running: Option<Running>,
}

impl Around {
    /// Waits until one of them answers without waiting for the rest of its chain. What is in it is given up, and the
    /// response goes on from there: the number of links that it has still to pass.
    pub(super) async fn early(&mut self) -> usize {
        poll_fn(|context| {
            let ready = self.0.iter_mut().position(|inside| inside.running.poll_early(context).is_ready());
            let Some(place) = ready else { return Poll::Pending };
            self.0.truncate(place + 1);
            Poll::Ready(self.0[place].index + 1)
        })
        .await
    }
}

impl Link {
    /// Counts a call that has ended, up to the head of its answer.
    fn handled(&self, took: Duration, spent: &Spent, failure: Option<FailureKind>) {
        self.called(metrics::Hook::Handle, took, spent, failure, &tracing::Span::none());
    }

    /// Lets a service answer a request.
    ///
    /// # Errors
    /// It fails, or the body of the request does.
    pub(crate) async fn serve(&self, caller: &Caller, request: Request<Body>) -> Result<Response<Body>, Error> {
        let (head, mut body) = request.into_parts();
        let asked = Asked { scheme: caller.scheme, authority: &caller.authority };
        let (begun, mut spent) = (Instant::now(), Spent::default());
        let outcome = match Running::begin(&self.pool, &head, &asked, &mut body, &mut spent).await {
            Ok(mut running) => match running.step().await {
                Ok(Step::Answers(response)) => check_response(response)
                    .map(|checked| reply(self, running, checked, &head.method, caller, true))
                    .map_err(Failure::from),
                Ok(Step::Refuses(why)) => Err(refuses(&why)),
                Ok(Step::Asks(..)) => Err(refuses("it calls what comes behind it, and nothing does")),
                Err(failure) => match running.broken_body() {
                    Some(reason) => return Err(Error::because(reason, failure.detail)),
                    None => Err(failure),
                },
            },
            Err(failure) => Err(failure),
        };
        self.handled(begun.elapsed(), &spent, outcome.as_ref().err().map(|failure| failure.kind));
        outcome.map_err(|failure| {
            self.failed(&failure, caller.client.ip, &caller.request_id);
            Error::because(self.reason_of_service(failure.kind), failure.detail)
        })
    }

    /// How a request ends by a failure of a service.
    fn reason_of_service(&self, failure: FailureKind) -> Reason {
        let name = self.pool.plugin.name.clone();
        match failure {
            FailureKind::Timeout => Reason::ServiceTimeout(name),
            FailureKind::Overload => Reason::ServiceOverload(name),
            FailureKind::Paused(seconds) => Reason::PluginPaused(name, seconds),
            FailureKind::Trap | FailureKind::Memory | FailureKind::Output | FailureKind::Configure => {
                Reason::ServiceFailed(name)
            }
        }
    }
}

fn refuses(why: &str) -> Failure {
    Failure { kind: FailureKind::Output, detail: format!("it answered with an error: {why}") }
}

/// What a component answers, as it goes on.
fn reply(
    link: &Link,
    running: Running,
    (mut head, body, length): Checked,
    method: &Method,
    caller: &Caller,
    is_service: bool,
) -> Response<Body> {
    if head.status == StatusCode::NO_CONTENT {
        head.headers.remove(CONTENT_LENGTH);
    }
    // Those have none, whatever is said of its length.
    let has_none = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if has_none || length == Some(0) || *method == Method::HEAD {
        running.ends();
        return Response::from_parts(head, Body::Empty);
    }
    let link = link.alone();
    let body = running.answering(body, length);
    let body =
        Body::stream(Reply { body, link, client: caller.client.ip, request_id: caller.request_id.clone(), is_service });
    Response::from_parts(head, body)
}

/// The body of a component's answer.
struct Reply {
    body: GuestBody,
    link: Link,
    client: IpAddr,
    request_id: RequestId,
    is_service: bool,
}

impl HttpBody for Reply {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        this.body.poll_frame(context).map_err(|failure| {
            this.link.failed(&failure, this.client, &this.request_id);
            let reason = if this.is_service { Link::reason_of_service } else { Link::reason };
            BodyError::Plugin(reason(&this.link, failure.kind))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
