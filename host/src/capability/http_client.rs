//! Requests of plugins: what stands behind `tollgate:plugin/http-client`.
//!
//! A plugin may reach the origins that its grant names, and of their addresses those that are public, or that the grant
//! names too. A name is resolved once for each request, here, and what is dialled is the address: there is no second
//! resolution that could answer something else. Connections are [`connect`](crate::connect)'s, one pool a worker.

mod address;
mod guest;
mod stream;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderMap};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri};
use tokio::net::lookup_host;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::body::{Body, BodyError};
use crate::config::{Connections, Endpoint, HttpOrigin, UpstreamProtocol, UpstreamTimeouts, UpstreamTls};
use crate::connect::{Connector, Failed, Outbound, Record, Target, Times, Trust, Use};
use crate::deadline::after;
use crate::error::{Error as Failure, Reason};
use crate::headers::{self, Direction};
use crate::pem::PemError;

pub(crate) use address::is_public;
pub(crate) use guest::{Calls, Guest, link};
pub use guest::{Pending, PendingHandle};
pub(crate) use stream::{Patience, begin};

/// The longest body, of a request and of an answer, in bytes.
pub const LONGEST_BODY: usize = 1 << 20;
/// The longest URL, in bytes.
const LONGEST_URL: usize = 8 << 10;
/// The most fields of a request, and their bytes.
const MOST_FIELDS: (usize, usize) = (64, 32 << 10);
/// Requests that one call of a plugin may send.
const PER_CALL: u32 = 16;
/// Requests of one plugin at once, in all workers.
const AT_ONCE: usize = 64;
/// The longest that a request takes, whatever a plugin says.
const LONGEST: Duration = Duration::from_secs(60);
/// Idle connections to one address, of one worker.
const IDLE: usize = 8;

/// Addresses of which a worker keeps connections.
const KEPT: usize = 64;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Error {
    /// The configuration does not grant this origin.
    NotGranted,
    /// What is wrong with the request.
    InvalidRequest(String),
    /// The name resolves to no address that may be dialled.
    AddressNotAllowed,
    /// The name does not resolve.
    Resolve,
    /// No connection, or one that was closed before the answer.
    Connect,
    /// The other side did not prove who it is.
    Tls,
    /// It took longer than it may.
    Timeout,
    /// What came is not HTTP.
    Protocol,
    /// The body of the answer is too long.
    TooLarge,
    /// More requests than a call or a plugin may send.
    TooMany,
    /// Nothing can be sent now.
    Unavailable,
}

/// A request that is fit to be sent.
#[derive(Debug)]
pub struct Ask {
    method: Method,
    target: Uri,
    /// As the plugin wrote it, for those who answer in the place of the network.
    url: String,
    headers: HeaderMap,
    body: Bytes,
    time: Duration,
    /// The longest body of an answer.
    longest: usize,
}

/// Something that the host itself asks for, by GET: with the connections, the verification and the addresses that requests
/// of plugins have.
pub(crate) struct Fetch<'a> {
    pub(crate) origin: &'a HttpOrigin,
    /// In origin form.
    pub(crate) target: Uri,
    pub(crate) headers: HeaderMap,
    /// The longest body of the answer.
    pub(crate) longest: usize,
    pub(crate) time: Duration,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 200 to 599.
    pub status: StatusCode,
    /// Without those of the connection.
    pub headers: HeaderMap,
    /// All of it.
    pub body: Bytes,
}

/// The origins that one plugin may reach, checked at load.
#[derive(Debug, Clone)]
pub struct Granted {
    origins: Arc<[Origin]>,
    room: Arc<Semaphore>,
    instead: Option<Arc<Script>>,
}

#[derive(Debug)]
struct Origin {
    granted: HttpOrigin,
    trust: Option<Trust>,
}

/// Answers in the place of the network, each to one request: the first that fits and was not given yet.
#[derive(Debug, Default)]
pub struct Script(pub std::sync::Mutex<Vec<Scripted>>);

/// An answer in the place of the network's.
#[derive(Debug, Clone)]
pub struct Scripted {
    /// The method that it is for.
    pub method: Method,
    /// The URL that it is for, as the plugin writes it.
    pub url: String,
    /// What a header of the request has to be, for those that are named.
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// What comes.
    pub answer: Result<Answer, Error>,
}

impl Granted {
    /// Reads what TLS is verified by, for those origins that have it.
    ///
    /// # Errors
    /// Roots that cannot be read, or a name that no certificate can be for.
    pub fn load(origins: &[HttpOrigin], instead: Option<Arc<Script>>) -> Result<Self, PemError> {
        let origin = |granted: &HttpOrigin| {
            // Nobody needs roots to read a script.
            let needed = granted.endpoint.tls && instead.is_none();
            let trust = if needed { Some(Trust::load(&tls(granted))?) } else { None };
            Ok(Origin { granted: granted.clone(), trust })
        };
        let origins = origins.iter().map(origin).collect::<Result<_, _>>()?;
        Ok(Self { origins, room: Arc::new(Semaphore::new(AT_ONCE)), instead })
    }

    /// Whether the files of roots hold what they held.
    pub(crate) fn is_current(&self) -> bool {
        let same = |origin: &Origin| match (&origin.trust, &origin.granted.roots) {
            (Some(trust), Some(_)) => Trust::load(&tls(&origin.granted)).is_ok_and(|now| now == *trust),
            _ => true,
        };
        self.origins.iter().all(same)
    }

    fn find(&self, tls: bool, host: &str, port: u16) -> Option<&Origin> {
        let same = |endpoint: &Endpoint| (endpoint.tls, &*endpoint.host, endpoint.port) == (tls, host, port);
        self.origins.iter().find(|origin| same(&origin.granted.endpoint))
    }
}

/// How an origin is verified.
fn tls(granted: &HttpOrigin) -> UpstreamTls {
    let name = Some(granted.endpoint.host.clone());
    UpstreamTls { roots: granted.roots.clone(), name, ..UpstreamTls::default() }
}

impl Script {
    fn answer(&self, ask: &Ask) -> Result<Answer, Error> {
        let mut list = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let fits = |one: &Scripted| {
            let has = |(name, value): &(http::HeaderName, http::HeaderValue)| ask.headers.get(name) == Some(value);
            one.method == ask.method && one.url == ask.url && one.headers.iter().all(has)
        };
        match list.iter().position(fits) {
            Some(at) => list.remove(at).answer,
            None => Err(Error::Connect),
        }
    }
}

/// A worker's side: its connections to origins of plugins.
pub struct Outgoing {
    connector: Connector,
    /// Used last at the end. Who drops a target closes its connections.
    kept: RefCell<VecDeque<Rc<Target>>>,
}

thread_local! {
    static OUTGOING: RefCell<Option<Rc<Outgoing>>> = const { RefCell::new(None) };
}

/// That plugins may send requests from this thread, until it is dropped.
#[must_use]
pub struct Open(());

/// Lets plugins send requests from this thread. It needs a runtime of one thread around it that takes local tasks.
pub fn open() -> Open {
    OUTGOING.with_borrow_mut(|here| *here = Some(Rc::new(Outgoing::new())));
    Open(())
}

impl Drop for Open {
    fn drop(&mut self) {
        OUTGOING.with_borrow_mut(|here| *here = None);
    }
}

impl Outgoing {
    /// It needs a runtime of one thread around it that takes local tasks.
    pub(crate) fn new() -> Self {
        Self { connector: Connector::new(), kept: RefCell::default() }
    }

    /// Asks for something on behalf of the host.
    pub(crate) async fn fetch(&self, fetch: Fetch<'_>) -> Result<Answer, Error> {
        let Fetch { origin, target, headers, longest, time } = fetch;
        let trust = if origin.endpoint.tls { Some(Trust::load(&tls(origin)).map_err(|_| Error::Tls)?) } else { None };
        let origin = Origin { granted: origin.clone(), trust };
        let ask = Ask { method: Method::GET, target, url: String::new(), headers, body: Bytes::new(), time, longest };
        tokio::time::timeout(time, self.exchange(&origin, ask)).await.unwrap_or(Err(Error::Timeout))
    }

    fn here() -> Option<Rc<Self>> {
        OUTGOING.with_borrow(Clone::clone)
    }

    /// Sends a request to an origin that is granted, and waits for all of the answer.
    async fn send(&self, granted: &Granted, place: usize, ask: Ask) -> Result<Answer, Error> {
        let time = ask.time;
        match tokio::time::timeout(time, self.exchange(&granted.origins[place], ask)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Timeout),
        }
    }

    async fn exchange(&self, origin: &Origin, ask: Ask) -> Result<Answer, Error> {
        let (time, longest) = (ask.time, ask.longest);
        let timeouts =
            UpstreamTimeouts { connect: time, tls: time, response_header: time, idle: time, total: time, once: None };
        let body = Body::from(ask.body.clone());
        let total = after(Instant::now(), time);
        let (mut head, body) = self.open(origin, ask, body, &timeouts, total).await?.into_parts();
        head.headers.remove(CONTENT_LENGTH);
        let body = body.collect(longest).await.map_err(|error| match error {
            BodyError::TooLarge => Error::TooLarge,
            error => error_of(&Failure::new(error.of_response())),
        })?;
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// Sends a request with this body, and waits for the head of the answer; its body comes as it is read.
    async fn open(
        &self,
        origin: &Origin,
        ask: Ask,
        body: Body,
        timeouts: &UpstreamTimeouts,
        total: Instant,
    ) -> Result<Response<Body>, Error> {
        let Ask { method, target, headers, .. } = ask;
        let mut request = Request::new(body);
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, target, headers);
        request.headers_mut().insert(HOST, origin.granted.endpoint.authority.clone());
        let times = Times { begun: Instant::now(), total, head_by: None, call: None };
        let mut request = Outbound::new(request);
        let mut outcome = Err(Failed { error: Failure::new(Reason::UpstreamResolve), unsent: true });
        for address in self.resolve(&origin.granted).await? {
            let target = self.target(origin, address);
            outcome = target.send(&mut request, timeouts, &times, &mut Record::default()).await;
            // What may have been seen by one server is not told to another.
            if outcome.as_ref().map_or_else(|failed| !failed.unsent, |_| true) || !request.is_whole() {
                break;
            }
        }
        let mut response = outcome.map_err(|failed| error_of(&failed.error))?;
        headers::strip_hop_by_hop(response.headers_mut(), Direction::Response);
        Ok(response)
    }

    /// The addresses of an origin that may be dialled. Once: what is here is what is dialled.
    async fn resolve(&self, granted: &HttpOrigin) -> Result<Vec<IpAddr>, Error> {
        let endpoint = &granted.endpoint;
        // Who grants an address by its number means that one.
        if let Ok(address) = endpoint.host.parse() {
            return Ok(vec![address]);
        }
        let found = lookup_host((endpoint.host.as_str(), endpoint.port)).await.map_err(|_| Error::Resolve)?;
        let found: Vec<_> = found.map(|address| address.ip()).collect();
        if found.is_empty() {
            return Err(Error::Resolve);
        }
        let may = |ip: &IpAddr| is_public(*ip) || granted.addresses.iter().any(|block| block.contains(*ip));
        let allowed: Vec<_> = found.into_iter().filter(may).collect();
        if allowed.is_empty() { Err(Error::AddressNotAllowed) } else { Ok(allowed) }
    }

    fn target(&self, origin: &Origin, address: IpAddr) -> Rc<Target> {
        let endpoint = Endpoint { host: address.to_string(), ..origin.granted.endpoint.clone() };
        let connections = Connections { idle: IDLE, ..Connections::default() };
        let protocol = UpstreamProtocol::Http1;
        let trust = origin.trust.as_ref();
        let used =
            Use { trust, connections, resolver: None, resolve: None, counts: None, protocol, proxy_protocol: None };
        let target = self.connector.target(&endpoint, &used);
        let mut kept = self.kept.borrow_mut();
        kept.retain(|other| !Rc::ptr_eq(other, &target));
        kept.push_back(target.clone());
        if kept.len() > KEPT {
            kept.pop_front();
        }
        target
    }
}

/// The request that is sent for what a plugin asks, in origin form, if it may be.
///
/// # Errors
/// What is wrong with it, or that its origin is not granted.
pub fn would_send(
    granted: &Granted,
    method: &str,
    url: &str,
    fields: &[(String, Vec<u8>)],
    body: Bytes,
) -> Result<Request<Bytes>, Error> {
    let fields = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    let (place, ask) = check(granted, Asked { method, url, fields, body, timeout_ms: None })?;
    let mut request = Request::new(ask.body);
    (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (ask.method, ask.target, ask.headers);
    request.headers_mut().insert(HOST, granted.origins[place].granted.endpoint.authority.clone());
    Ok(request)
}

/// What a plugin asks, if it can be sent: and the place of its origin.
fn check(granted: &Granted, asked: Asked<'_>) -> Result<(usize, Ask), Error> {
    let wrong = |why: &str| Error::InvalidRequest(why.to_owned());
    let Asked { method, url, fields, body, timeout_ms } = asked;
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| wrong("the method is no token"))?;
    if method == Method::CONNECT {
        return Err(wrong("CONNECT opens tunnels"));
    }
    if url.len() > LONGEST_URL {
        return Err(wrong("the URL is longer than 8 KiB"));
    }
    // `Uri` takes bytes outside ASCII, which no target of a request may have (RFC 3986, section 2).
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("the URL has characters that have to be escaped"));
    }
    if url.contains('#') {
        return Err(wrong("the URL has a fragment, which is never sent"));
    }
    let uri: Uri = url.parse().map_err(|_| wrong("the URL is none"))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(wrong("the URL is not absolute"));
    };
    let tls = match scheme {
        "https" => true,
        "http" => false,
        _ => return Err(wrong("the URL begins with neither https:// nor http://")),
    };
    if authority.as_str().contains('@') {
        return Err(wrong("the URL has a user or a password: set a header in their place"));
    }
    // `Uri` reads a port that is none as no port at all.
    let port = match authority.as_str()[authority.host().len()..].strip_prefix(':') {
        None => Some(if tls { 443 } else { 80 }),
        Some(digits) => digits.parse().ok().filter(|port: &u16| *port > 0),
    };
    let port = port.ok_or_else(|| wrong("the port of the URL is none"))?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let Some(origin) = granted.find(tls, &host, port) else { return Err(Error::NotGranted) };
    let place = granted.origins.iter().position(|one| std::ptr::eq(one, origin)).unwrap_or_default();
    if fields.len() > MOST_FIELDS.0 {
        return Err(wrong("more than 64 fields"));
    }
    if fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MOST_FIELDS.1 {
        return Err(wrong("more than 32 KiB of fields"));
    }
    let mut headers = HeaderMap::with_capacity(fields.len() + 1);
    for (name, value) in fields {
        let field = headers::plugin_field(name, value);
        let (name, value) = field.map_err(|_| wrong("a field that is none, or that no plugin may set"))?;
        headers.append(name, value);
    }
    if body.len() > LONGEST_BODY {
        return Err(wrong("the body is longer than 1 MiB"));
    }
    let target = origin_form(&uri);
    let time = timeout_ms.map_or(LONGEST, |ms| Duration::from_millis(ms.into()).min(LONGEST));
    let longest = LONGEST_BODY;
    Ok((place, Ask { method, target, url: url.to_owned(), headers, body, time, longest }))
}

/// Path and query as they go into a request: with a slash before a query that has no path (RFC 9112, section 3.2.1).
pub(crate) fn origin_form(uri: &Uri) -> Uri {
    let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    target.parse().unwrap_or_default()
}

/// A request as a plugin wrote it.
struct Asked<'a> {
    method: &'a str,
    url: &'a str,
    fields: Vec<(&'a str, &'a [u8])>,
    body: Bytes,
    timeout_ms: Option<u32>,
}

fn error_of(failure: &Failure) -> Error {
    tracing::debug!(reason = failure.reason().code(), "a request of a plugin: {}", failure.detail());
    match failure.reason() {
        Reason::UpstreamResolve => Error::Resolve,
        Reason::UpstreamTls | Reason::UpstreamTlsTimeout => Error::Tls,
        Reason::UpstreamConnectTimeout | Reason::UpstreamTimeout | Reason::UpstreamIdle | Reason::TotalTimeout => {
            Error::Timeout
        }
        Reason::UpstreamProtocol | Reason::UpstreamBody => Error::Protocol,
        _ => Error::Connect,
    }
}

#[cfg(test)]
mod tests;
