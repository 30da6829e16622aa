//! Chain and Pass: hooks in order, and back in reverse.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, Request, Response, request, response};
use http_body::Body as _;

use crate::authority::Scheme;
use crate::bindings;
use crate::body::{Body, BodyError};
use crate::config::OnFailure;
use crate::error::{Audience, Error, Problem, Reason};
use crate::metrics::{self, PluginError, PluginMetrics};
use crate::plugin::{
    Applied, Attributes, BodyCall, Failure, FailureKind, Head, Hook, Pool, Refused, describe_new_body, edit_request,
    edit_response, refusal, whole,
};

/// The ordered plugins of a route, with this worker's instances.
pub(crate) struct Chain {
    links: Vec<Link>,
    /// Request headers that belong to plugins of the chain.
    owned: Vec<HeaderName>,
    encoded_slash: bool,
}

/// A plugin in a chain.
pub(crate) struct Link {
    pub(crate) pool: Rc<Pool>,
    pub(crate) metrics: Arc<PluginMetrics>,
}

/// One request's trip through a chain.
pub(crate) struct Pass<'a> {
    chain: &'a Chain,
    client: PassClient,
    /// What plugins said to each other.
    pub(crate) attributes: Attributes,
    /// How the request ended, if not with an answer of the upstream.
    pub(crate) ended: Option<Ended>,
    /// Links whose request side was passed: the response goes back through these.
    reached: usize,
    memos: Vec<Option<Bytes>>,
}

/// Who asks, for what, and in which form an error is written.
pub(crate) struct PassClient {
    pub(crate) address: IpAddr,
    pub(crate) scheme: Scheme,
    /// Host and port in normal form.
    pub(crate) authority: String,
    pub(crate) audience: Audience,
    pub(crate) request_id: String,
}

/// How a request ended, if not with an answer of the upstream.
#[derive(Debug, Clone)]
pub(crate) enum Ended {
    /// A plugin answered in the upstream's place.
    Answered(Arc<str>),
    /// A plugin refused, with this word.
    Refused(Arc<str>, String),
    /// Something failed.
    Failed(Error),
}

/// What comes of the request side.
pub(crate) enum Flow {
    Continue(Request<Body>),
    Respond(Response<Body>),
}

impl Chain {
    pub(crate) fn new(links: Vec<Link>, encoded_slash: bool) -> Self {
        let owned = links.iter().flat_map(|link| link.pool.plugin.sight.owned.iter().cloned()).collect();
        Self { links, owned, encoded_slash }
    }

    /// Request headers that only plugins of this chain may set.
    pub(crate) fn owned(&self) -> &[HeaderName] {
        &self.owned
    }

    pub(crate) fn begin(&self, client: PassClient) -> Pass<'_> {
        Pass { chain: self, client, attributes: Attributes::default(), ended: None, reached: 0, memos: Vec::new() }
    }
}

impl Pass<'_> {
    /// Takes a request through the chain.
    ///
    /// # Errors
    ///
    /// Where a plugin fails and its policy is closed, or the body that one wants cannot be had.
    pub(crate) async fn on_request(&mut self, request: Request<Body>) -> Result<Flow, Error> {
        let (mut parts, mut body) = request.into_parts();
        let chain = self.chain;
        for (index, link) in chain.links.iter().enumerate() {
            if let Some(response) = self.request_hooks(index, link, &mut parts, &mut body).await? {
                return Ok(Flow::Respond(response));
            }
            self.reached = index + 1;
        }
        Ok(Flow::Continue(Request::from_parts(parts, body)))
    }

    /// Takes a response back through the plugins that the request passed.
    pub(crate) async fn on_response(&mut self, response: Response<Body>) -> Response<Body> {
        let (mut parts, mut body) = response.into_parts();
        let chain = self.chain;
        while let Some(index) = self.reached.checked_sub(1) {
            self.reached = index;
            let instead = match self.response_hooks(index, &chain.links[index], &mut parts, &mut body).await {
                Ok(None) => continue,
                Ok(Some(response)) => response,
                Err(error) => self.fail(error),
            };
            (parts, body) = instead.into_parts();
        }
        Response::from_parts(parts, body)
    }

    /// The response of a failure. It goes back through the chain like any other.
    pub(crate) fn fail(&mut self, error: Error) -> Response<Body> {
        let response = error.response(&self.client.audience, &self.client.request_id);
        self.ended = Some(Ended::Failed(error));
        response.map(Body::from)
    }

    async fn request_hooks(
        &mut self,
        index: usize,
        link: &Link,
        parts: &mut request::Parts,
        body: &mut Body,
    ) -> Result<Option<Response<Body>>, Error> {
        let sight = &link.pool.plugin.sight;
        let Some(see) = &sight.request else { return Ok(None) };
        let mut wants_body = sight.request_body;
        if sight.on_request {
            let input = see.request(&self.head(parts));
            let called = Instant::now();
            let flow = link.pool.on_request((input,)).await;
            link.metrics.called(Hook::Request, called.elapsed());
            let outcome = match flow {
                Ok(flow) => self.request_flow(link, flow, parts),
                Err(failure) => Err(failure),
            };
            match outcome {
                Ok(Outcome::Go(applied)) => {
                    if applied.skip_body {
                        wants_body = None;
                    }
                    self.remember(index, applied);
                }
                Ok(Outcome::Stop(response)) => return Ok(Some(response)),
                Err(failure) => return self.forgive(link, failure).map(|()| None),
            }
        }
        let Some(cap) = wants_body.filter(|_| !body.is_end_stream()) else { return Ok(None) };
        let name = &link.pool.plugin.name;
        let bytes = match std::mem::take(body).collect(usize::try_from(cap).unwrap_or(usize::MAX)).await {
            Ok(bytes) => bytes,
            Err(BodyError::TooLarge) => return Err(Error::new(Reason::PluginBodyTooLarge(name.clone()))),
            Err(error) => return Err(Error::because(error.of_request(), error.to_string())),
        };
        // Chunked before, known now.
        *body = Body::from(bytes.clone());
        let input = (see.request(&self.head(parts)), bytes, self.memo(index));
        let called = Instant::now();
        let flow = link.pool.on_body(BodyCall::Request(input)).await;
        link.metrics.called(Hook::RequestBody, called.elapsed());
        let outcome = match flow {
            Ok(flow) => self.request_body_flow(link, flow, parts, body),
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(Outcome::Go(applied)) => {
                self.remember(index, applied);
                Ok(None)
            }
            Ok(Outcome::Stop(response)) => Ok(Some(response)),
            Err(failure) => self.forgive(link, failure).map(|()| None),
        }
    }

    async fn response_hooks(
        &mut self,
        index: usize,
        link: &Link,
        parts: &mut response::Parts,
        body: &mut Body,
    ) -> Result<Option<Response<Body>>, Error> {
        let sight = &link.pool.plugin.sight;
        let Some(see) = &sight.response else { return Ok(None) };
        let mut wants_body = sight.response_body;
        if sight.on_response {
            let input = (see.response(parts, &self.attributes), self.memo(index));
            let called = Instant::now();
            let flow = link.pool.on_response(input).await;
            link.metrics.called(Hook::Response, called.elapsed());
            let outcome = match flow {
                Ok(flow) => self.response_flow(link, flow, parts),
                Err(failure) => Err(failure),
            };
            match outcome {
                Ok(Outcome::Go(applied)) => {
                    if applied.skip_body {
                        wants_body = None;
                    }
                    self.remember(index, applied);
                }
                Ok(Outcome::Stop(response)) => return Ok(Some(response)),
                Err(failure) => return self.forgive(link, failure).map(|()| None),
            }
        }
        let Some(cap) = wants_body.filter(|_| !body.is_end_stream()) else { return Ok(None) };
        let name = &link.pool.plugin.name;
        let bytes = match std::mem::take(body).collect(usize::try_from(cap).unwrap_or(usize::MAX)).await {
            Ok(bytes) => bytes,
            Err(BodyError::TooLarge) => return Err(Error::new(Reason::PluginResponseTooLarge(name.clone()))),
            Err(error) => return Err(Error::because(error.of_response(), error.to_string())),
        };
        *body = Body::from(bytes.clone());
        let input = (see.response(parts, &self.attributes), bytes, self.memo(index));
        let called = Instant::now();
        let flow = link.pool.on_body(BodyCall::Response(input)).await;
        link.metrics.called(Hook::ResponseBody, called.elapsed());
        let outcome = match flow {
            Ok(flow) => self.response_body_flow(link, flow, parts, body),
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(Outcome::Go(applied)) => {
                self.remember(index, applied);
                Ok(None)
            }
            Ok(Outcome::Stop(response)) => Ok(Some(response)),
            Err(failure) => self.forgive(link, failure).map(|()| None),
        }
    }

    fn request_flow(
        &mut self,
        link: &Link,
        flow: bindings::Flow,
        parts: &mut request::Parts,
    ) -> Result<Outcome, Failure> {
        match flow {
            bindings::Flow::Continue => Ok(Outcome::Go(Applied::default())),
            bindings::Flow::Edit(edits) => self.edit_request(link, edits, parts),
            bindings::Flow::Respond(answer) => self.answer(link, answer),
            bindings::Flow::Refuse(problem) => self.refuse(link, problem),
        }
    }

    fn request_body_flow(
        &mut self,
        link: &Link,
        flow: bindings::BodyFlow,
        parts: &mut request::Parts,
        body: &mut Body,
    ) -> Result<Outcome, Failure> {
        match flow {
            bindings::BodyFlow::Continue => Ok(Outcome::Go(Applied::default())),
            bindings::BodyFlow::Edit(edits) => self.edit_request(link, edits, parts),
            bindings::BodyFlow::Replace((edits, bytes)) => {
                let outcome = self.edit_request(link, edits, parts)?;
                replace(&mut parts.headers, body, bytes);
                Ok(outcome)
            }
            bindings::BodyFlow::Respond(answer) => self.answer(link, answer),
            bindings::BodyFlow::Refuse(problem) => self.refuse(link, problem),
        }
    }

    fn response_flow(
        &mut self,
        link: &Link,
        flow: bindings::Flow,
        parts: &mut response::Parts,
    ) -> Result<Outcome, Failure> {
        match flow {
            bindings::Flow::Continue => Ok(Outcome::Go(Applied::default())),
            bindings::Flow::Edit(edits) => self.edit_response(link, edits, parts),
            bindings::Flow::Respond(answer) => self.answer(link, answer),
            bindings::Flow::Refuse(problem) => self.refuse(link, problem),
        }
    }

    fn response_body_flow(
        &mut self,
        link: &Link,
        flow: bindings::BodyFlow,
        parts: &mut response::Parts,
        body: &mut Body,
    ) -> Result<Outcome, Failure> {
        match flow {
            bindings::BodyFlow::Continue => Ok(Outcome::Go(Applied::default())),
            bindings::BodyFlow::Edit(edits) => self.edit_response(link, edits, parts),
            bindings::BodyFlow::Replace((edits, bytes)) => {
                let outcome = self.edit_response(link, edits, parts)?;
                replace(&mut parts.headers, body, bytes);
                Ok(outcome)
            }
            bindings::BodyFlow::Respond(answer) => self.answer(link, answer),
            bindings::BodyFlow::Refuse(problem) => self.refuse(link, problem),
        }
    }

    fn edit_request(
        &mut self,
        link: &Link,
        edits: bindings::Edits,
        parts: &mut request::Parts,
    ) -> Result<Outcome, Failure> {
        let sight = &link.pool.plugin.sight;
        let applied = edit_request(edits, sight, parts, &mut self.attributes, self.chain.encoded_slash)?;
        Ok(Outcome::Go(applied))
    }

    fn edit_response(
        &mut self,
        link: &Link,
        edits: bindings::Edits,
        parts: &mut response::Parts,
    ) -> Result<Outcome, Failure> {
        Ok(Outcome::Go(edit_response(edits, &link.pool.plugin.sight, parts, &mut self.attributes)?))
    }

    /// A plugin answers in the place of everything behind it.
    fn answer(&mut self, link: &Link, answer: bindings::Response) -> Result<Outcome, Failure> {
        let response = whole(answer)?;
        let name = link.pool.plugin.name.clone();
        if response.status().is_client_error() || response.status().is_server_error() {
            link.metrics.refused();
        }
        self.ended = Some(Ended::Answered(name));
        Ok(Outcome::Stop(response.map(Body::from)))
    }

    /// A plugin refuses, and the host writes it.
    fn refuse(&mut self, link: &Link, problem: bindings::Problem) -> Result<Outcome, Failure> {
        let refusal = refusal(problem)?;
        link.metrics.refused();
        let problem = Problem {
            status: refusal.status,
            code: &refusal.code,
            title: &refusal.title,
            detail: refusal.detail.as_deref(),
            faults: &refusal.faults,
        };
        let mut response = problem.response(&self.client.audience, &self.client.request_id);
        for (name, value) in &refusal.headers {
            response.headers_mut().append(name, value.clone());
        }
        self.ended = Some(Ended::Refused(link.pool.plugin.name.clone(), refusal.code));
        Ok(Outcome::Stop(response.map(Body::from)))
    }

    /// What a plugin's failure does to the request: nothing, or an error, as its policy says.
    fn forgive(&self, link: &Link, failure: Failure) -> Result<(), Error> {
        let plugin = &link.pool.plugin;
        link.metrics.failed(failure.kind);
        tracing::warn!(
            plugin = &*plugin.name,
            kind = ?failure.kind,
            request = self.client.request_id,
            on_failure = if plugin.on_failure == OnFailure::Open { "open" } else { "closed" },
            "{}",
            failure.detail
        );
        if plugin.on_failure == OnFailure::Open {
            return Ok(());
        }
        let name = plugin.name.clone();
        let reason = match failure.kind {
            FailureKind::Timeout => Reason::PluginTimeout(name),
            FailureKind::Overload => Reason::PluginOverload(name),
            FailureKind::Trap | FailureKind::Memory | FailureKind::Output | FailureKind::Configure => {
                Reason::PluginFailed(name)
            }
        };
        Err(Error::because(reason, failure.detail))
    }

    fn head<'a>(&'a self, parts: &'a request::Parts) -> Head<'a> {
        Head {
            parts,
            scheme: self.client.scheme,
            authority: &self.client.authority,
            client: self.client.address,
            attributes: &self.attributes,
        }
    }

    fn memo(&self, index: usize) -> Option<Bytes> {
        self.memos.get(index).cloned().flatten()
    }

    fn remember(&mut self, index: usize, applied: Applied) {
        if applied.memo.is_some() {
            // Most passes have no memo, and then no list of them.
            if self.memos.len() <= index {
                self.memos.resize(self.chain.links.len(), None);
            }
            self.memos[index] = applied.memo;
        }
    }
}

/// What one hook comes to.
enum Outcome {
    Go(Applied),
    Stop(Response<Body>),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self { kind: FailureKind::Output, detail: refused.0 }
    }
}

fn replace(headers: &mut HeaderMap, body: &mut Body, bytes: Vec<u8>) {
    describe_new_body(headers);
    *body = Body::from(Bytes::from(bytes));
}

impl From<Hook> for metrics::Hook {
    fn from(hook: Hook) -> Self {
        match hook {
            Hook::Request => Self::Request,
            Hook::RequestBody => Self::RequestBody,
            Hook::Response => Self::Response,
            Hook::ResponseBody => Self::ResponseBody,
        }
    }
}

impl From<FailureKind> for PluginError {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Trap => Self::Trap,
            FailureKind::Timeout => Self::Timeout,
            FailureKind::Memory => Self::Memory,
            FailureKind::Output => Self::Output,
            FailureKind::Overload => Self::Overload,
            FailureKind::Configure => Self::Configure,
        }
    }
}
