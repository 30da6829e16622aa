//! Chain and Pass: hooks in order, and back in reverse.

mod again;
mod around;
mod canary;
mod chunks;
mod link;
mod shadow;
mod side;
mod timings;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HeaderName};
use http::{HeaderMap, Request, Response, request};
use http_body::Body as _;
use tracing::Span;

use crate::authority::Scheme;
use crate::bindings;
use crate::body::{Body, BodyError};
use crate::client::Client;
use crate::config::OnFailure;
use crate::error::{Audience, Error, Problem, Reason};
use crate::metrics::{self, PluginError, Spent};
use crate::plugin::{
    Applied, Attributes, Chunks, Failure, FailureKind, Head, Hook, Ledger, Refusal, Refused, describe_new_body,
    outcome, outcome_with_body, refusal, whole,
};
use crate::proxy_protocol::Source;
use crate::recording::Recordings;
use crate::request_id::RequestId;

use around::Around;
pub use canary::Canary;
pub use link::Link;
pub use shadow::Shadow;
pub(crate) use shadow::Watcher;
use shadow::{Given, Watched};
use side::Side;
pub(crate) use timings::Timing;
use timings::Timings;

/// The ordered plugins of a route, with this worker's instances.
pub struct Chain {
    links: Vec<Link>,
    /// Request headers that belong to plugins of the chain.
    owned: Vec<HeaderName>,
    /// Whether some of its plugins have two versions.
    canaries: bool,
    /// Whether some of its plugins have to do with responses.
    answers: bool,
    encoded_slash: bool,
    timed: bool,
}

/// One request's trip through a chain.
pub struct Pass<'a> {
    chain: &'a Chain,
    pub(crate) caller: Caller,
    /// What plugins said to each other.
    pub(crate) attributes: Attributes,
    /// How the request ended, if not with an answer of the upstream.
    pub(crate) ended: Option<Ended>,
    /// Links whose request side was passed: the response goes back through these.
    reached: usize,
    memos: Vec<Option<Bytes>>,
    /// What a plugin says of the request's body while that goes to the upstream.
    refused: Option<chunks::Refused>,
    /// For each link, whether the new version has its place. Empty where no plugin of the chain has two.
    canaries: Vec<bool>,
    recordings: Recordings,
    /// The middlewares that wait for an answer.
    around: Around,
    /// What versions that watch have to be shown.
    watched: Vec<Watched>,
    /// What its hooks cost so far, where somebody asks.
    timings: Option<Timings>,
}

/// Who asks, for what, and in which form an error is written.
pub struct Caller {
    /// Who the client is.
    pub client: Client,
    /// Who the client is and where it connected to, as the PROXY protocol says it.
    pub source: Source,
    /// Of the connection that the request came over.
    pub scheme: Scheme,
    /// Host and port in normal form.
    pub authority: String,
    /// The form in which it reads errors.
    pub audience: Audience,
    /// What the request is called.
    pub request_id: RequestId,
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
pub enum Flow {
    /// The request as it goes on to the upstream.
    Continue(Box<Request<Body>>),
    /// What a plugin answers in its place.
    Respond(Response<Body>),
}

impl Chain {
    /// A chain of these plugins. Paths that they set may have `%2F` in them only where the route lets that through.
    #[must_use]
    pub fn new(links: Vec<Link>, encoded_slash: bool) -> Self {
        let new = links.iter().filter_map(|link| Some(&link.canary.as_ref()?.link));
        let owned = links.iter().chain(new).flat_map(|link| link.pool.plugin.sight.owned.iter().cloned()).collect();
        let canaries = links.iter().any(|link| link.canary.is_some());
        let answers = canaries || links.iter().any(Link::answers);
        Self { links, owned, canaries, answers, encoded_slash, timed: false }
    }

    /// The same, where passes keep what their hooks cost.
    #[must_use]
    pub(crate) fn timed(self, timed: bool) -> Self {
        Self { timed, ..self }
    }

    /// Request headers that only plugins of this chain may set.
    pub(crate) fn owned(&self) -> &[HeaderName] {
        &self.owned
    }

    /// A pass of one request.
    #[must_use]
    pub fn begin(&self, caller: Caller) -> Pass<'_> {
        Pass {
            chain: self,
            caller,
            attributes: Attributes::default(),
            ended: None,
            reached: 0,
            memos: Vec::new(),
            refused: None,
            canaries: Vec::new(),
            recordings: Recordings::default(),
            around: Around::default(),
            watched: Vec::new(),
            timings: self.timed.then(Timings::default),
        }
    }
}

impl<'a> Pass<'a> {
    /// Takes a request through the chain.
    ///
    /// # Errors
    ///
    /// Where a plugin fails and its policy is closed, or the body that one wants cannot be had.
    pub async fn on_request(&mut self, mut request: Box<Request<Body>>) -> Result<Flow, Error> {
        if self.chain.links.is_empty() {
            return Ok(Flow::Continue(request));
        }
        let (mut parts, mut body) = (*request).into_parts();
        if self.chain.canaries {
            // Once for the whole pass: what one version remembers is never given to the other.
            let takes = |link: &Link| link.canary.iter().any(|it| it.takes(&parts.headers, self.caller.client.ip));
            self.canaries = self.chain.links.iter().map(takes).collect();
        }
        let mut watch = Watch::start();
        for index in 0..self.chain.links.len() {
            if let Some(response) = self.hooks(index, &mut parts, &mut body, &mut watch).await? {
                return Ok(Flow::Respond(response));
            }
            self.reached = index + 1;
        }
        *request = Request::from_parts(parts, body);
        Ok(Flow::Continue(request))
    }

    /// Takes a response back through the plugins that the request passed.
    pub async fn on_response(&mut self, response: Response<Body>) -> Response<Body> {
        if self.reached == 0 || !self.chain.answers {
            return response;
        }
        let (mut parts, mut body) = response.into_parts();
        let mut watch = Watch::start();
        while let Some(index) = self.reached.checked_sub(1) {
            self.reached = index;
            let instead = match self.hooks(index, &mut parts, &mut body, &mut watch).await {
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
        if let (Reason::PluginRefused(plugin), Some(refused)) = (error.reason(), &self.refused)
            && let Some(refusal) = refused.take()
        {
            return self.refusal(plugin.clone(), refusal);
        }
        let response = error.response(&self.caller.audience, self.caller.request_id.as_str());
        self.ended = Some(Ended::Failed(error));
        response.map(Body::from)
    }

    /// Calls the hooks that a plugin has in one direction, and does what they answer. A response is one that takes the
    /// place of everything behind the plugin.
    async fn hooks<S: Side>(
        &mut self,
        index: usize,
        head: &mut S,
        body: &mut Body,
        watch: &mut Watch,
    ) -> Result<Option<Response<Body>>, Error> {
        let link = self.link(index);
        if link.pool.plugin.component.world().is_some() {
            let outcome = Box::pin(head.pass_around(self, index, body)).await;
            *watch = Watch::start();
            return outcome;
        }
        let sight = &link.pool.plugin.sight;
        let (calls, mut cap, mut chunks) = S::wanted(sight);
        let given = self.shows(index, (S::HOOK, calls), head, None);
        if calls {
            let (mut call, mut spent) = (self.listen(index, S::HOOK), Spent::default());
            let span = link.span(S::HOOK, &self.caller.request_id);
            let heard = call.as_mut().map(|heard| &mut heard.call);
            let flow = head.call(self, index, Ledger { began: watch.0, call: heard, spent: &mut spent }).await;
            self.heard(index, (S::HOOK, given), call, watch, &flow, outcome);
            let done = flow.and_then(|flow| self.obey(link, flow, None, head, body));
            self.called(index, S::HOOK, watch.lap(), spent, &done, &span);
            match done {
                Ok(Outcome::Go(applied)) => {
                    if applied.skip_body {
                        cap = None;
                        chunks = Chunks::Unseen;
                    }
                    self.remember(index, applied);
                }
                Ok(Outcome::Stop(response)) => return Ok(Some(response)),
                Err(failure) => return self.forgive(index, failure).map(|()| None),
            }
        } else {
            self.decided(index, S::HOOK, given, None);
        }
        if chunks != Chunks::Unseen {
            self.stream::<S>(index, chunks, head.headers(), body);
        }
        let Some(cap) = cap.filter(|_| !body.is_end_stream()) else { return Ok(None) };
        let collected = Box::pin(std::mem::take(body).collect(usize::try_from(cap).unwrap_or(usize::MAX)));
        let bytes = match collected.await {
            Ok(bytes) => bytes,
            Err(BodyError::TooLarge) => return Err(Error::new(S::too_large(link.pool.plugin.name.clone()))),
            Err(error) => return Err(Error::because(S::broken(&error), error.to_string())),
        };
        // Chunked before, known now.
        *body = Body::from(bytes.clone());
        // The body may have been waited for.
        *watch = Watch::start();
        let given = self.shows(index, (S::BODY_HOOK, true), head, Some(&bytes));
        let (mut call, mut spent) = (self.listen(index, S::BODY_HOOK), Spent::default());
        let span = link.span(S::BODY_HOOK, &self.caller.request_id);
        let heard = call.as_mut().map(|heard| &mut heard.call);
        let ledger = Ledger { began: watch.0, call: heard, spent: &mut spent };
        let flow = Box::pin(head.call_with_body(self, index, bytes, ledger)).await;
        self.heard(index, (S::BODY_HOOK, given), call, watch, &flow, outcome_with_body);
        let done = flow.map(split).and_then(|(flow, bytes)| self.obey(link, flow, bytes, head, body));
        self.called(index, S::BODY_HOOK, watch.lap(), spent, &done, &span);
        match done {
            Ok(Outcome::Go(applied)) => {
                self.remember(index, applied);
                Ok(None)
            }
            Ok(Outcome::Stop(response)) => Ok(Some(response)),
            Err(failure) => self.forgive(index, failure).map(|()| None),
        }
    }

    /// Counts a call that has ended.
    fn called(
        &mut self,
        index: usize,
        hook: Hook,
        took: Duration,
        spent: Spent,
        done: &Result<Outcome, Failure>,
        span: &Span,
    ) {
        self.link(index).called(hook, took, &spent, done.as_ref().err().map(|failure| failure.kind), span);
        if let Some(timings) = &self.timings {
            timings.borrow_mut().push(Timing { index, hook, took, spent });
        }
    }

    /// Puts a plugin into the way of a body that comes piece by piece.
    fn stream<S: Side>(&mut self, index: usize, chunks: Chunks, headers: &mut HeaderMap, body: &mut Body) {
        let changes = chunks == Chunks::Changes;
        if changes {
            // Which coding the new bytes have, only the plugin knows; its head hook says it.
            let coding = headers.remove(CONTENT_ENCODING);
            describe_new_body(headers);
            headers.extend(coding.map(|coding| (CONTENT_ENCODING, coding)));
        }
        if body.is_end_stream() {
            return;
        }
        let refused = self.refused.get_or_insert_default().clone();
        let link = self.link(index);
        let way = chunks::Way {
            // It outlives the pass.
            link: link.alone(),
            hook: S::CHUNK_HOOK,
            changes,
            memo: self.memo(index),
            client: self.caller.client.ip,
            request_id: self.caller.request_id.clone(),
            timings: self.timings.clone().map(|timings| (index, timings)),
            refused,
        };
        *body = way.lead(std::mem::take(body));
    }

    /// Does what a hook answered: all of it, or nothing and a failure.
    fn obey<S: Side>(
        &mut self,
        link: &Link,
        flow: bindings::Flow,
        new_body: Option<Vec<u8>>,
        head: &mut S,
        body: &mut Body,
    ) -> Result<Outcome, Failure> {
        match flow {
            bindings::Flow::Continue => Ok(Outcome::Go(Applied::default())),
            bindings::Flow::Edit(edits) => {
                let applied = head.edit(edits, link, self)?;
                if let Some(bytes) = new_body {
                    describe_new_body(head.headers());
                    *body = Body::from(bytes);
                }
                Ok(Outcome::Go(applied))
            }
            bindings::Flow::Respond(answer) => self.answer(link, answer),
            bindings::Flow::Refuse(problem) => self.refuse(link, problem),
        }
    }

    /// A plugin answers in the place of everything behind it.
    fn answer(&mut self, link: &Link, answer: bindings::Response) -> Result<Outcome, Failure> {
        let response = whole(answer)?;
        let name = link.pool.plugin.name.clone();
        if response.status().is_client_error() || response.status().is_server_error() {
            link.refused();
        }
        self.ended = Some(Ended::Answered(name));
        Ok(Outcome::Stop(response.map(Body::from)))
    }

    /// A plugin refuses, and the host writes it.
    fn refuse(&mut self, link: &Link, problem: bindings::Problem) -> Result<Outcome, Failure> {
        let refusal = refusal(problem)?;
        link.refused();
        Ok(Outcome::Stop(self.refusal(link.pool.plugin.name.clone(), refusal)))
    }

    fn refusal(&mut self, plugin: Arc<str>, refusal: Refusal) -> Response<Body> {
        let problem = Problem {
            status: refusal.status,
            code: &refusal.code,
            title: &refusal.title,
            detail: refusal.detail.as_deref(),
            faults: &refusal.faults,
        };
        let mut response = problem.response(&self.caller.audience, self.caller.request_id.as_str());
        for (name, value) in &refusal.headers {
            response.headers_mut().append(name, value.clone());
        }
        self.ended = Some(Ended::Refused(plugin, refusal.code));
        response.map(Body::from)
    }

    /// What a plugin's failure does to the request: nothing, or an error, as its policy says.
    fn forgive(&mut self, index: usize, failure: Failure) -> Result<(), Error> {
        self.decided_nothing(index, &failure);
        let link = self.link(index);
        if failure.kind == FailureKind::Output {
            link.pool.discard();
        }
        if link.tap.is_some() && !matches!(failure.kind, FailureKind::Paused(_)) {
            self.recordings.failed(index, PluginError::from(failure.kind).as_str(), &failure.detail);
        }
        link.failed(&failure, self.caller.client.ip, &self.caller.request_id);
        match link.pool.plugin.on_failure {
            OnFailure::Open => Ok(()),
            OnFailure::Closed => Err(Error::because(link.reason(failure.kind), failure.detail)),
        }
    }

    fn head<'b>(&'b self, parts: &'b request::Parts) -> Head<'b> {
        Head {
            parts,
            scheme: self.caller.scheme,
            authority: &self.caller.authority,
            client: self.caller.client.ip,
            attributes: &self.attributes,
        }
    }

    /// A plugin of the chain, in the version that this pass meets.
    fn link(&self, index: usize) -> &'a Link {
        let link = &self.chain.links[index];
        match &link.canary {
            Some(canary) if self.canaries.get(index) == Some(&true) => &canary.link,
            _ => link,
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

/// Times one hook after the other: one reading of the clock ends a call, with what was done of its answer, and begins
/// the next.
struct Watch(Instant);

impl Watch {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn lap(&mut self) -> Duration {
        let began = std::mem::replace(&mut self.0, Instant::now());
        self.0.duration_since(began)
    }
}

/// What one hook comes to.
enum Outcome {
    Go(Applied),
    Stop(Response<Body>),
}

/// A flow of a body hook as one of a head hook, and the new body.
fn split(flow: bindings::BodyFlow) -> (bindings::Flow, Option<Vec<u8>>) {
    match flow {
        bindings::BodyFlow::Continue => (bindings::Flow::Continue, None),
        bindings::BodyFlow::Edit(edits) => (bindings::Flow::Edit(edits), None),
        bindings::BodyFlow::Replace((edits, bytes)) => (bindings::Flow::Edit(edits), Some(bytes)),
        bindings::BodyFlow::Respond(answer) => (bindings::Flow::Respond(answer), None),
        bindings::BodyFlow::Refuse(problem) => (bindings::Flow::Refuse(problem), None),
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self { kind: FailureKind::Output, detail: refused.0 }
    }
}

impl From<Hook> for metrics::Hook {
    fn from(hook: Hook) -> Self {
        match hook {
            Hook::Request => Self::Request,
            Hook::RequestBody => Self::RequestBody,
            Hook::Response => Self::Response,
            Hook::ResponseBody => Self::ResponseBody,
            Hook::RequestChunk => Self::RequestChunk,
            Hook::ResponseChunk => Self::ResponseChunk,
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
            FailureKind::Paused(_) => Self::Paused,
        }
    }
}
