//! The straight line: route → chain → upstream → chain.

mod record;
mod snapshot;

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, Uri};

use crate::authority::Scheme;
use crate::body::{Body, End, Observe};
use crate::chain::{Chain, Flow, Link, PassClient};
use crate::client::{self, Client};
use crate::config;
use crate::connect::Connector;
use crate::error::{Audience, Error, Reason};
use crate::headers::{self, Direction};
use crate::hide::Public;
use crate::metrics::{RouteMetrics, UpstreamMetrics};
use crate::path;
use crate::plugin::Pool;
use crate::router::Asked;
use crate::server::connection::Peer;
use crate::telemetry::AccessLines;
use crate::upstream::{Record, Upstream};

use record::{Counted, Entry};
pub use snapshot::{Foundation, Snapshot};

/// The header that carries a request's identifier to the upstream and to the client.
const REQUEST_ID: &str = "x-request-id";

/// A worker's side of a snapshot: its own instances and connections around what is shared. A request keeps the one that
/// it began with.
pub(crate) struct Proxy {
    snapshot: Arc<Snapshot>,
    routes: Vec<Rc<Route>>,
    /// Counts requests that no route took.
    nowhere: Arc<RouteMetrics>,
    pools: HashMap<String, Rc<Pool>>,
    lines: Rc<AccessLines>,
    ids: Rc<Ids>,
}

struct Route {
    name: String,
    chain: Chain,
    upstream: Rc<Upstream>,
    upstream_metrics: Arc<UpstreamMetrics>,
    metrics: Arc<RouteMetrics>,
    body_size: Option<u64>,
}

/// Identifiers of one worker's requests: unique, and not to be guessed from each other's beginnings.
pub(crate) struct Ids {
    prefix: u64,
    next: Cell<u64>,
}

impl Ids {
    pub(crate) fn new() -> Self {
        let mut seed = [0; 16];
        // Without a random source identifiers are still unique in the worker, by their counter.
        let _ = getrandom::fill(&mut seed);
        let half = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        Self { prefix: half(&seed[..8]), next: Cell::new(half(&seed[8..])) }
    }

    fn next(&self) -> String {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        format!("{:016x}{number:016x}", self.prefix)
    }
}

impl Proxy {
    /// Takes over what `before` has of the same plugins and endpoints.
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        connector: &Connector,
        lines: Rc<AccessLines>,
        ids: Rc<Ids>,
        before: Option<&Self>,
    ) -> Self {
        let mut pools = HashMap::new();
        for (name, plugin) in &snapshot.plugins {
            let kept =
                before.and_then(|before| before.pools.get(name)).filter(|pool| Arc::ptr_eq(&pool.plugin, plugin));
            let pool = kept.cloned().unwrap_or_else(|| Rc::new(Pool::new(plugin.clone())));
            pools.insert(name.clone(), pool);
        }
        let upstreams: HashMap<&str, Rc<Upstream>> = snapshot
            .upstreams
            .iter()
            .map(|prepared| (prepared.config().name.as_str(), Rc::new(Upstream::new(prepared.clone(), connector))))
            .collect();
        let route = |route: &config::Route| {
            let metrics = snapshot.metrics.route(&route.name);
            let link = |name: &String| Link { pool: pools[name].clone(), metrics: metrics.plugin(name) };
            Rc::new(Route {
                name: route.name.clone(),
                chain: Chain::new(route.chain.iter().map(link).collect(), route.matches.encoded_slash),
                upstream: upstreams[route.upstream.as_str()].clone(),
                upstream_metrics: snapshot.metrics.upstream(&route.upstream),
                metrics,
                body_size: route.body_size,
            })
        };
        let routes = snapshot.config.routes.iter().map(route).collect();
        let nowhere = snapshot.metrics.route("_none");
        Self { routes, nowhere, pools, lines, ids, snapshot }
    }

    /// Drops instances that nobody has needed for `age`.
    pub(crate) fn reap(&self, age: Duration) {
        for pool in self.pools.values() {
            pool.reap(age);
        }
    }

    /// Carries one request to its answer. Never fails: what goes wrong becomes a response.
    pub(crate) async fn carry(self: Rc<Self>, request: Request<Body>, peer: &Peer, listener: &str) -> Response<Body> {
        let _active = self.snapshot.metrics.request_began();
        let request_id = self.ids.next();
        let mut unanswered = Unanswered { proxy: &self, entry: Some(Entry::new(&request, peer, request_id.clone())) };
        let entry = unanswered.entry();
        let audience = Audience::of_request(&request);
        let response = match self.admit(request, peer, listener, entry) {
            Ok((route, admitted)) => {
                let client = PassClient {
                    address: admitted.client.ip,
                    scheme: admitted.scheme,
                    authority: admitted.authority,
                    audience,
                    request_id: request_id.clone(),
                };
                entry.route = Some(route.clone());
                self.pass(&route, client, admitted.client, admitted.request, entry).await
            }
            Err(error) => {
                entry.fail(&error);
                error.response(&audience, &request_id).map(Body::from)
            }
        };
        unanswered.finish(response)
    }

    /// What comes before the chain: the head is checked, the client found, the path made canonical, the route chosen.
    fn admit(
        &self,
        request: Request<Body>,
        peer: &Peer,
        listener: &str,
        entry: &mut Entry,
    ) -> Result<(Rc<Route>, Admitted), Error> {
        let (mut parts, body) = request.into_parts();
        let listener = self.snapshot.listener(listener).ok_or(Reason::Draining)?;
        let scheme = Scheme::of(peer.tls);
        let authority = headers::check_request(&parts, scheme)?.into_owned();
        headers::check_size(&parts, listener.limits.head_fields, listener.limits.head_size)?;
        let client = client::address(peer.address.ip(), &parts.headers, &listener.trusted_proxies);
        entry.client = Some(client.ip);

        let router = &self.snapshot.router;
        let canonical = path::canonical(parts.uri.path(), router.keeps_encoded_slash())?.into_owned();
        let query = parts.uri.query().map(str::to_owned);
        let found = router.find(Asked {
            method: &parts.method,
            host: authority.host(),
            path: &canonical,
            query: query.as_deref(),
            headers: &parts.headers,
        })?;
        let route = self.routes[*found].clone();
        entry.route = Some(route.clone());
        parts.uri = origin_form(canonical, query.as_deref())?;

        headers::strip_hop_by_hop(&mut parts.headers, Direction::Request);
        headers::strip_spoofable(&mut parts.headers, !client.hops.is_empty());
        headers::underscores(&mut parts.headers, listener.underscores)?;
        headers::remove_owned(&mut parts.headers, route.chain.owned());
        headers::join_cookies(&mut parts.headers);

        let body = body.idle(listener.limits.body_idle);
        let body = match route.body_size {
            Some(cap) => body.limit(cap).map_err(|error| Error::from(error.of_request()))?,
            None => body,
        };
        use http_body::Body as _;
        if body.is_end_stream()
            && !matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE)
        {
            // A body that is not there says so, to plugins and to the upstream alike (RFC 9110, section 8.6).
            parts.headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let body = if body.is_end_stream() { body } else { body.observe(Rc::new(Counted(entry.bytes_in.clone()))) };
        let request = Request::from_parts(parts, body);
        Ok((route, Admitted { request, client, scheme, authority: authority.as_str().to_owned() }))
    }

    /// The straight line.
    async fn pass(
        &self,
        route: &Route,
        client: PassClient,
        address: Client,
        request: Request<Body>,
        entry: &mut Entry,
    ) -> Response<Body> {
        let scheme = client.scheme;
        let authority = client.authority.clone();
        let mut pass = route.chain.begin(client);
        let answer = match pass.on_request(request).await {
            Ok(Flow::Continue(request)) => self.send(route, &address, scheme, &authority, request, entry).await,
            Ok(Flow::Respond(response)) => Ok(response),
            Err(error) => Err(error),
        };
        let response = match answer {
            Ok(response) => response,
            Err(error) => pass.fail(error),
        };
        let mut response = pass.on_response(response).await;
        let public = Public { scheme: address.scheme.unwrap_or(scheme), authority: &authority };
        let leaks = self.snapshot.hidden.apply(response.headers_mut(), public);
        if leaks > 0 {
            route.upstream_metrics.leaks.inc_by(leaks as u64);
        }
        entry.end(pass);
        response
    }

    async fn send(
        &self,
        route: &Route,
        client: &Client,
        scheme: Scheme,
        authority: &str,
        mut request: Request<Body>,
        entry: &mut Entry,
    ) -> Result<Response<Body>, Error> {
        headers::set_forwarding(request.headers_mut(), client, scheme, authority)?;
        if let Ok(id) = HeaderValue::try_from(&*entry.request_id) {
            request.headers_mut().insert(REQUEST_ID, id);
        }
        if route.upstream.config().preserve_host
            && let Ok(host) = HeaderValue::try_from(authority)
        {
            request.headers_mut().insert(http::header::HOST, host);
        }
        let method = request.method().clone();
        let mut record = Record::default();
        let begun = Instant::now();
        let answer = route.upstream.send(request, &mut record).await;
        let took = begun.elapsed();
        entry.upstream_duration = Some(took);
        entry.endpoint = route.upstream.endpoint(&record).cloned();
        match answer {
            Ok(mut response) => {
                route.upstream_metrics.answered(&method, response.status(), took);
                headers::strip_hop_by_hop(response.headers_mut(), Direction::Response);
                if response.status().is_server_error() && route.upstream.config().hide_errors {
                    return Err(Error::new(Reason::UpstreamStatus(response.status())));
                }
                Ok(response)
            }
            Err(error) => {
                route.upstream_metrics.failed(error.reason().code(), took);
                Err(error)
            }
        }
    }

    fn observer(&self, entry: Entry) -> Rc<dyn Observe> {
        let metrics = entry.route.as_ref().map_or_else(|| self.nowhere.clone(), |route| route.metrics.clone());
        entry.observer(metrics, self.lines.clone())
    }
}

/// A request without a response so far. Dropped, as it is when its client leaves, it has ended like that.
struct Unanswered<'p> {
    proxy: &'p Proxy,
    entry: Option<Entry>,
}

impl Unanswered<'_> {
    fn entry(&mut self) -> &mut Entry {
        self.entry.as_mut().expect("only `finish` and the end take it")
    }

    /// The line in the log and the counts come when the body has gone out.
    fn finish(mut self, mut response: Response<Body>) -> Response<Body> {
        let Some(mut entry) = self.entry.take() else { return response };
        if let Ok(id) = HeaderValue::try_from(&*entry.request_id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        entry.status = Some(response.status());
        let observer = self.proxy.observer(entry);
        response.map(|body| body.observe(observer))
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            self.proxy.observer(entry).end(End::Dropped);
        }
    }
}

/// A request that has a route.
struct Admitted {
    request: Request<Body>,
    client: Client,
    scheme: Scheme,
    /// In normal form.
    authority: String,
}

fn origin_form(path: String, query: Option<&str>) -> Result<Uri, Error> {
    let target = match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let target = PathAndQuery::try_from(target).map_err(|_| Error::new(Reason::BadPath))?;
    Ok(Uri::from(target))
}
