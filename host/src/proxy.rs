//! The straight line: route → chain → upstream → chain.

mod destination;
mod early;
mod grpc;
mod mirror;
mod order;
mod record;
mod service;
mod snapshot;
mod trial;
mod upgrade;

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use http::header::EXPECT;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use tokio::time::Instant;

use crate::authority::Scheme;
use crate::body::{Body, End, Observe};
use crate::chain::{Caller, Canary, Chain, Flow, Link, Pass, Shadow};
use crate::client::{self, Client};
use crate::config::{self, Rollout};
use crate::connect::{Connector, Outbound};
use crate::error::{Audience, Error, Reason};
use crate::headers::{self, Forwarded, Kinds, REQUEST_ID};
use crate::hide::Public;
use crate::metrics::RouteMetrics;
use crate::path;
use crate::plugin::Pool;
use crate::recording::Tap;
use crate::request_id::RequestIds;
use crate::rewrite::Rewrite;
use crate::router::{Asked, NoRoute};
use crate::server::connection::{Interim, Peer, Received};
use crate::telemetry::AccessLines;
use crate::upstream::{Asking, Prepared, Record, Upstream};

use destination::{Destination, Destinations};
use mirror::Mirror;
use record::{Closing, Counted, Entry};
pub(crate) use service::misplaced;
pub use snapshot::{Foundation, Snapshot};
pub(crate) use trial::Verdict;
use upgrade::Upgrade;

/// A worker's side of a snapshot: its own instances and connections around what is shared. A request keeps the one that
/// it began with.
pub(crate) struct Proxy {
    snapshot: Arc<Snapshot>,
    routes: Vec<Rc<Route>>,
    /// Counts requests that no route took.
    nowhere: Arc<RouteMetrics>,
    pools: HashMap<String, Rc<Pool>>,
    lines: Rc<AccessLines>,
    ids: Rc<RequestIds>,
}

struct Route {
    name: String,
    chain: Chain,
    behind: Behind,
    mirror: Option<Rc<Mirror>>,
    metrics: Arc<RouteMetrics>,
    body_size: Option<u64>,
    rewrite: Option<Rewrite>,
    /// Protocols that connections may go on with.
    upgrade: Vec<String>,
}

/// What answers behind the chain of a route.
enum Behind {
    Upstreams(Destinations),
    Service(Link),
}

impl Route {
    /// The upstream that gets what no split does; none where a service answers.
    fn main(&self) -> Option<&Destination> {
        match &self.behind {
            Behind::Upstreams(destinations) => Some(destinations.main()),
            Behind::Service(_) => None,
        }
    }
}

impl Proxy {
    /// Takes over what `before` has of the same plugins and endpoints.
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        connector: &Connector,
        lines: Rc<AccessLines>,
        ids: Rc<RequestIds>,
        before: Option<&Self>,
    ) -> Self {
        let mut pools = HashMap::new();
        let trials = snapshot.trials.values().filter(|trial| trial.watcher.is_none());
        let trials = trials.map(|trial| (&trial.label, &trial.plugin));
        for (name, plugin) in snapshot.plugins.iter().chain(trials) {
            let kept =
                before.and_then(|before| before.pools.get(name)).filter(|pool| Arc::ptr_eq(&pool.plugin, plugin));
            let pool =
                kept.cloned().unwrap_or_else(|| Rc::new(Pool::new(plugin.clone(), snapshot.metrics.plugin(name))));
            pools.insert(name.clone(), pool);
        }
        let destination = |prepared: &Arc<Prepared>| {
            let upstream = Rc::new(Upstream::new(prepared.clone(), connector, snapshot.config.workers));
            Rc::new(Destination { upstream, metrics: snapshot.metrics.upstream(&prepared.config().name) })
        };
        let upstreams: HashMap<&str, Rc<Destination>> =
            snapshot.upstreams.iter().map(|it| (it.config().name.as_str(), destination(it))).collect();
        let to = |name: &String| upstreams[name.as_str()].clone();
        let route = |route: &config::Route| {
            let metrics = snapshot.metrics.route(&route.name);
            let tap = |name: &String| {
                let recorder = snapshot.recorders.get(name)?.clone();
                Some(Tap { recorder, route: route.name.as_str().into() })
            };
            let one = |name: &String| Link::new(pools[name].clone(), &metrics, name);
            let link = |name: &String| {
                let trial = snapshot.trials.get(name);
                let canary = trial.and_then(|trial| {
                    let Rollout::Canary(part) = &trial.rollout else { return None };
                    let version = trial.plugin.component().version();
                    Some(Box::new(Canary::new(one(&trial.label), part.clone(), version)))
                });
                let watcher = trial.and_then(|trial| trial.watcher.clone());
                let shadow = watcher.map(|watcher| Box::new(Shadow::new(watcher, &metrics)));
                one(name).with(canary, shadow, tap(name))
            };
            Rc::new(Route {
                name: route.name.clone(),
                chain: Chain::new(route.chain.iter().map(link).collect(), route.matches.encoded_slash)
                    .timed(route.server_timing),
                behind: match &route.end {
                    config::End::Service(name) => Behind::Service(one(name)),
                    config::End::Upstream(name) => Behind::Upstreams(Destinations::new(
                        to(name),
                        route.split.iter().map(|split| (split.part, to(&split.upstream))).collect(),
                        route.split_by.clone(),
                    )),
                },
                mirror: route.mirror.as_ref().map(|it| Mirror::new(it, to(&it.upstream), metrics.clone())),
                metrics,
                body_size: route.body_size,
                rewrite: Rewrite::new(route),
                upgrade: route.upgrade.clone(),
            })
        };
        let routes = snapshot.config.routes.iter().map(route).collect();
        let nowhere = snapshot.metrics.route("_none");
        Self { routes, nowhere, pools, lines, ids, snapshot }
    }

    /// Drops instances that nobody has needed since this was called before.
    pub(crate) fn reap(&self) {
        for pool in self.pools.values() {
            pool.reap();
        }
    }

    /// Carries one request to its answer. Never fails: what goes wrong becomes a response.
    pub(crate) async fn carry(self: Rc<Self>, received: Received, peer: &Peer, listener: &str) -> Response<Body> {
        let request_id = self.ids.next();
        let entry = Entry::new(&received, peer, request_id.clone(), self.snapshot.metrics.request_began(), &self.lines);
        let mut unanswered = Unanswered::new(entry, self);
        let (proxy, entry) = unanswered.parts();
        let (mut request, kinds, interim) = match received {
            Received::Request(request, kinds, interim) => (request, kinds, interim),
            Received::Refused(error) => {
                entry.fail(&error);
                return unanswered.finish(error.response(&Audience::default(), request_id.as_str()).map(Body::from));
            }
        };
        let audience = Audience::of_request(&request);
        let grpc = audience.is_grpc() && request.version() == Version::HTTP_2;
        let response = match proxy.admit(&mut request, kinds, peer, listener, entry) {
            Ok(Admitted { route, client, authority, only_chain, upgrade, expects }) => {
                let source = peer.source(&client);
                let caller = Caller { client, source, scheme: Scheme::of(peer.tls), authority, audience, request_id };
                let mut pass = route.chain.begin(caller);
                if let Some(certificate) = &peer.certificate {
                    pass.attributes.extend(certificate.attributes());
                }
                let onward = Onward { upgrade, interim, expects };
                proxy.pass(&route, &mut pass, request, (only_chain, onward), entry).await
            }
            Err(error) => {
                entry.fail(&error);
                error.response(&audience, request_id.as_str()).map(Body::from)
            }
        };
        let response = unanswered.finish(response);
        if grpc { response.map(grpc::with_status) } else { response }
    }

    /// What comes before the chain: the head is checked, the client found, the path made canonical, the route chosen.
    fn admit(
        &self,
        request: &mut Request<Body>,
        kinds: Kinds,
        peer: &Peer,
        listener: &str,
        entry: &mut Entry,
    ) -> Result<Admitted, Error> {
        let listener = self.snapshot.listener(listener).ok_or(Reason::Draining)?;
        let authority = headers::check_request(request, kinds, Scheme::of(peer.tls))?.into_owned();
        // What a client showed for one name is nothing to another one (CVE-2025-23419, in another way).
        if peer.policy.as_ref().is_some_and(|policy| !policy.covers(authority.host())) {
            return Err(Reason::Misdirected.into());
        }
        let client = client::address(peer.address.ip(), request.headers(), &listener.trusted_proxies);
        entry.client = Some(client.ip);

        let router = &self.snapshot.router;
        let canonical = path::canonical(request.uri().path(), router.keeps_encoded_slash())?;
        let asked = Asked {
            method: request.method(),
            host: authority.host(),
            path: &canonical,
            query: request.uri().query(),
            headers: request.headers(),
        };
        let (found, only_chain) = match router.find(asked) {
            Ok(found) => (found, None),
            Err(refusal @ NoRoute::MethodNotAllowed(_)) => match router.preflight(asked) {
                Some(found) => (found, Some(Box::new(refusal.into()))),
                None => return Err(refusal.into()),
            },
            Err(refusal) => return Err(refusal.into()),
        };
        let route = self.routes[*found].clone();
        entry.route = Some(route.clone());
        let rewritten = match canonical {
            Cow::Borrowed(_) => None,
            Cow::Owned(path) => Some(target(path, request.uri().query())?),
        };
        origin_form(request.uri_mut(), rewritten);

        let upgrade = if kinds.upgrade() { Upgrade::take(request, &route, entry)?.map(Box::new) } else { None };
        let expects = kinds.hop_by_hop() && request.headers().contains_key(EXPECT);
        headers::clean(request.headers_mut(), kinds, !client.hops.is_empty(), listener.underscores)?;
        headers::remove_owned(request.headers_mut(), route.chain.owned());
        if let Some(via) = &self.snapshot.via {
            let version = request.version();
            via.request(request.headers_mut(), version)?;
        }

        if request.body().is_end_stream() {
            let method = request.method().clone();
            headers::tell_of_no_body(&method, request.headers_mut());
        } else {
            // Streams of gRPC speak when they have something to say.
            let rate = listener.limits.body_rate.filter(|_| !headers::is_grpc(request.headers()));
            let body = std::mem::take(request.body_mut()).idle(listener.limits.body_idle).rate(rate);
            let body = match route.body_size {
                Some(cap) => body.limit(cap).map_err(|error| Error::from(error.of_request()))?,
                None => body,
            };
            let bytes_in = entry.bytes_in.insert(Rc::default());
            *request.body_mut() = match body {
                // What came with its head has come.
                Body::Full(bytes) => {
                    bytes_in.set(bytes.len() as u64);
                    Body::Full(bytes)
                }
                body => body.observe(Rc::new(Counted(bytes_in.clone()))),
            };
        }
        Ok(Admitted { route, client, authority: authority.into_string(), only_chain, upgrade, expects })
    }

    /// The straight line.
    async fn pass(
        &self,
        route: &Route,
        pass: &mut Pass<'_>,
        request: Box<Request<Body>>,
        (only_chain, onward): (Option<Box<Error>>, Onward),
        entry: &mut Entry,
    ) -> Response<Body> {
        let answer = match (pass.on_request(request).await, only_chain) {
            (Ok(Flow::Continue(_)), Some(refusal)) => Err(*refusal),
            (Ok(Flow::Continue(request)), None) if pass.is_around() => {
                let sent = pass.unless_answered(async |caller| self.send(route, caller, request, onward, entry).await);
                // In the place of what a middleware has answered already.
                sent.await.unwrap_or_else(|| Ok(Response::new(Body::Empty)))
            }
            (Ok(Flow::Continue(request)), None) => self.send(route, &pass.caller, request, onward, entry).await,
            (Ok(Flow::Respond(response)), _) => Ok(response),
            (Err(error), _) => Err(error),
        };
        let response = match answer {
            Ok(response) => response,
            Err(error) => pass.fail(error),
        };
        let mut response = match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => Box::pin(upgrade::on_response(pass, response)).await,
            _ => pass.on_response(response).await,
        };
        let leaks = self.snapshot.hidden.apply(response.headers_mut(), public(&pass.caller));
        if leaks > 0
            && let Some(destination) = entry.destination.as_deref().or_else(|| route.main())
        {
            destination.metrics.leaks.inc_by(leaks as u64);
        }
        // What we answered ourselves came no way.
        if let (Some(via), Some(_)) = (&self.snapshot.via, &entry.destination) {
            via.response(response.headers_mut(), Version::HTTP_11);
        }
        if let Some(timing) = pass.server_timing() {
            response.headers_mut().append(HeaderName::from_static("server-timing"), timing);
        }
        entry.end(pass);
        response
    }

    async fn send(
        &self,
        route: &Route,
        caller: &Caller,
        mut request: Box<Request<Body>>,
        Onward { upgrade, interim, expects }: Onward,
        entry: &mut Entry,
    ) -> Result<Response<Body>, Error> {
        // Ours takes the place of a client's or a plugin's.
        request.headers_mut().remove(REQUEST_ID);
        let Caller { client, source, scheme, authority, request_id, .. } = caller;
        let forwarded = Forwarded { client, scheme: *scheme, authority, request_id };
        let mut request = Outbound::new(request).forwarded(forwarded);
        let secure = client.scheme.unwrap_or(*scheme) == Scheme::Https;
        let begun = Instant::now();
        let asking = Asking { client: client.ip, source: *source, secure, begun };
        let destinations = match &route.behind {
            Behind::Upstreams(destinations) => destinations,
            Behind::Service(service) => {
                return Box::pin(service::answer(service, route, caller, request, asking, entry)).await;
            }
        };
        if route.mirror.is_some() || destinations.are_several() {
            // Those look at all of its headers.
            request.settle();
        }
        let destination = destinations.of(request.request(), &asking);
        let upstream = &destination.upstream;
        entry.destination = Some(destination.clone());
        // In place of the client's, which says the same in another form, or of none where the target had it.
        if upstream.config().preserve_host {
            request.set_host(HeaderValue::try_from(&**authority).map_err(|_| Error::new(Reason::BadHost))?);
        }
        if let Some(rewrite) = &route.rewrite {
            let request = request.request_mut();
            let mut target = std::mem::take(request.uri_mut());
            rewrite.request(&mut target, request.headers_mut())?;
            *request.uri_mut() = target;
        }
        let method = request.request().method().clone();
        let mut record = Record::default();
        if let Some(mirror) = &route.mirror {
            mirror.look(request.request_mut(), authority, asking);
        }
        let hear = |status, headers: HeaderMap| {
            let mut headers = early::fields(&headers);
            if let Some(rewrite) = &route.rewrite {
                rewrite.response(&mut headers, &upstream.config().endpoints);
            }
            let leaks = self.snapshot.hidden.apply(&mut headers, public(caller));
            destination.metrics.leaks.inc_by(leaks as u64);
            interim.send(status, headers);
        };
        if interim.is_taken() {
            request.set_hear(&hear);
        }
        if expects {
            request.set_expects();
        }
        let extended = upgrade.is_some() && request.request().version() == Version::HTTP_2;
        if let Some(upgrade) = upgrade {
            upgrade.put_into(request.request_mut());
        }
        let answer = upstream.send(&mut request, &asking, &mut record).await;
        let took = record.head.filter(|_| record.asked == 1).unwrap_or_else(|| begun.elapsed());
        entry.upstream_duration = Some(took);
        entry.endpoint = record.endpoint;
        match answer {
            // A client of HTTP/2 would take any success for an agreement.
            Ok(response) if extended && response.status().is_success() => {
                destination.metrics.answered(&method, response.status(), took);
                Err(Error::because(Reason::UpstreamProtocol, "did not agree to go on with another protocol"))
            }
            Ok(mut response) => {
                if let Some(rewrite) = &route.rewrite {
                    rewrite.response(response.headers_mut(), &upstream.config().endpoints);
                }
                destination.metrics.answered(&method, response.status(), took);
                if response.status().is_server_error() && upstream.config().hide_errors {
                    return Err(Error::new(Reason::UpstreamStatus(response.status())));
                }
                Ok(response)
            }
            Err(error) => {
                destination.metrics.failed(error.reason().code(), took);
                Err(error)
            }
        }
    }
}

/// A request without a response so far. Dropped, as it is when its client leaves, it has ended like that.
struct Unanswered(Option<Rc<Closing>>);

impl Unanswered {
    fn new(entry: Entry, proxy: Rc<Proxy>) -> Self {
        Self(Some(Rc::new(Closing { entry, proxy })))
    }

    fn parts(&mut self) -> (&Proxy, &mut Entry) {
        let closing = self.0.as_mut().and_then(Rc::get_mut).expect("only `finish` and the end share it");
        (&closing.proxy, &mut closing.entry)
    }

    /// The line in the log and the counts come when the body has gone out.
    fn finish(mut self, mut response: Response<Body>) -> Response<Body> {
        let (_, entry) = self.parts();
        response.headers_mut().insert(REQUEST_ID, entry.request_id.header().clone());
        entry.status = Some(response.status());
        let is_head = entry.is_head();
        let Some(closing) = self.0.take() else { return response };
        if is_head {
            // Whatever body there is only tells its length.
            closing.end(End::Whole);
            return response;
        }
        response.map(|body| body.observe(closing))
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(closing) = self.0.take() {
            closing.end(End::Dropped);
        }
    }
}

/// A request that has a route.
struct Admitted {
    route: Rc<Route>,
    client: Client,
    /// In normal form.
    authority: String,
    /// What a preflight gets where the chain lets it pass: the route takes the method that it asks about, not its own.
    only_chain: Option<Box<Error>>,
    /// What the client offers and the route allows.
    upgrade: Option<Box<Upgrade>>,
    /// The client waits to be asked for the body.
    expects: bool,
}

/// What the chain has no part in.
struct Onward {
    upgrade: Option<Box<Upgrade>>,
    interim: Interim,
    expects: bool,
}

/// What the client calls us.
fn public(caller: &Caller) -> Public<'_> {
    Public { scheme: caller.client.scheme.unwrap_or(caller.scheme), authority: &caller.authority }
}

fn target(path: String, query: Option<&str>) -> Result<PathAndQuery, Error> {
    let target = match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    PathAndQuery::try_from(target).map_err(|_| Error::new(Reason::BadPath))
}

/// The target without scheme and authority, and with another path where there is one.
fn origin_form(uri: &mut Uri, rewritten: Option<PathAndQuery>) {
    if rewritten.is_none() && uri.scheme().is_none() && uri.authority().is_none() {
        return;
    }
    *uri = match rewritten.or_else(|| std::mem::take(uri).into_parts().path_and_query) {
        Some(target) => Uri::from(target),
        None => Uri::default(),
    };
}
