//! One endpoint: how it is reached, and its idle connections.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::exchange::Exchange;
use super::live::{Counted, Live};
use super::names::{self, Lookup, Names};
use super::sending::is_idempotent;
use super::trust::Trust;
use super::{Record, oldest};
use crate::body::Body;
use crate::config::{Endpoint, UpstreamTimeouts};
use crate::deadline::after;
use crate::error::{Error, Reason};
use crate::http1::socket::Socket;
use crate::http1::wire::Io;

/// An endpoint with its connections.
pub struct Target {
    endpoint: Endpoint,
    place: Place,
    /// How often a name is looked up again.
    resolve: Cell<Duration>,
    tls: Option<Tls>,
    /// Used last at the end. The one that was just used is taken first: it is the least likely to be closed, and what
    /// a quiet hour does not need becomes old at the other end.
    #[expect(clippy::vec_box, reason = "they move between here and exchanges, and are large")]
    idle: RefCell<Vec<Box<Live>>>,
    keep: Cell<usize>,
    /// Connections that are there or being made, idle ones included.
    open: Rc<Cell<usize>>,
}

/// When one try began, and when it ends.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// When it began: now.
    pub begun: Instant,
    /// When the whole exchange has to be over, in which there may have been tries before this one.
    pub total: Instant,
    /// When the head of the response has to be there, apart from that.
    pub head_by: Option<Instant>,
}

/// Why there is no response.
#[derive(Debug)]
pub struct Failed {
    /// What happened.
    pub error: Error,
    /// Nothing of the request was sent: not even this endpoint can have seen it.
    pub unsent: bool,
}

enum Place {
    /// The host is an address.
    Address(SocketAddr),
    Names(Rc<Names>),
}

struct Tls {
    trust: Trust,
    connector: TlsConnector,
    name: Option<ServerName<'static>>,
}

impl Target {
    pub(super) fn new(endpoint: Endpoint, trust: Option<Trust>, lookup: &Lookup) -> Self {
        let place = match endpoint.host.parse::<IpAddr>() {
            Ok(ip) => Place::Address(SocketAddr::new(ip, endpoint.port)),
            Err(_) => Place::Names(Rc::new(Names::new(endpoint.host.clone(), endpoint.port, lookup.clone()))),
        };
        let resolve = Cell::new(Duration::MAX);
        let tls = trust.filter(|_| endpoint.tls).map(|trust| Tls {
            connector: TlsConnector::from(trust.config()),
            name: trust.name_of(&endpoint),
            trust,
        });
        Self { endpoint, place, resolve, tls, idle: RefCell::default(), keep: Cell::new(0), open: Rc::default() }
    }

    pub(super) fn is_trusted_by(&self, trust: Option<&Trust>) -> bool {
        !self.endpoint.tls || self.tls.as_ref().map(|tls| &tls.trust) == trust
    }

    pub(super) fn keep(&self, idle: usize, resolve: Duration) {
        self.keep.set(idle);
        self.resolve.set(resolve);
    }

    /// The endpoint behind it.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Idle connections.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.idle.borrow().len()
    }

    /// Requests that are under way, those whose response is still coming included: each has a connection of its own.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.open.get().saturating_sub(self.idle())
    }

    /// Sends a request whose head is as it goes out, framing aside, and waits for the response's head.
    ///
    /// The request is taken from its place when it is sent, and put back where it is still whole and the outcome may be
    /// worth another try. A reused connection that turns out to be closed costs a request that may be repeated (RFC
    /// 9110, section 9.2.2) nothing: it goes out once more, on a new connection.
    ///
    /// # Errors
    /// Every way of [`Reason`] that speaks of an upstream, and those of request bodies.
    pub async fn send(
        self: &Rc<Self>,
        place: &mut Option<Request<Body>>,
        timeouts: &UpstreamTimeouts,
        times: Times,
        record: &mut Record,
    ) -> Result<Response<Body>, Failed> {
        let mut repeated = false;
        record.reused = false;
        while let Some(live) = self.take(times.begun) {
            let Some(request) = place.take() else {
                return Err(Failed { error: Reason::Internal.into(), unsent: false });
            };
            let harmless = is_idempotent(request.method());
            let exchange = Exchange { live, home: self, timeouts, times, reused: true };
            let failure = match exchange.run(request, record).await {
                Ok((response, again)) => {
                    *place = again.map(|request| *request);
                    record.reused = true;
                    return Ok(response);
                }
                Err(failure) => failure,
            };
            *place = failure.again.map(|request| *request);
            if place.is_none() || !(failure.unsent || (failure.dead && harmless)) {
                return Err(Failed { error: failure.error, unsent: failure.unsent });
            }
            // This one had been closed already: the next.
            if !failure.unsent {
                repeated = true;
                record.repeated = true;
                break;
            }
        }
        let connecting = Instant::now();
        // On its own: most requests find a connection, and are spared the room for making one.
        let until = times.head_by.map_or(times.total, |head_by| head_by.min(times.total));
        let live = match Box::pin(self.open(timeouts, until)).await {
            Ok(live) => live,
            Err(error) => return Err(Failed { error, unsent: !repeated }),
        };
        record.connect = Some(connecting.elapsed());
        let Some(request) = place.take() else {
            return Err(Failed { error: Reason::Internal.into(), unsent: false });
        };
        let exchange = Exchange { live, home: self, timeouts, times, reused: false };
        match exchange.run(request, record).await {
            Ok((response, again)) => {
                *place = again.map(|request| *request);
                Ok(response)
            }
            Err(failure) => {
                *place = failure.again.map(|request| *request);
                Err(Failed { error: failure.error, unsent: failure.unsent && !repeated })
            }
        }
    }

    /// Makes a connection, with TLS where the endpoint has it, and closes it.
    ///
    /// # Errors
    /// Why there is none by then.
    pub async fn reachable(&self, timeouts: &UpstreamTimeouts, until: Instant) -> Result<(), Error> {
        self.open(timeouts, until).await.map(drop)
    }

    /// The connection that was used last, unless it is too old.
    fn take(&self, now: Instant) -> Option<Box<Live>> {
        loop {
            let live = self.idle.borrow_mut().pop()?;
            if oldest(now).is_some_and(|oldest| live.used < oldest) {
                // The others are older still.
                self.idle.borrow_mut().clear();
                return None;
            }
            if self.has(&live) {
                return Some(live);
            }
        }
    }

    /// Takes back a connection on which everything was said by `now`; one that is not wanted is dropped. Whether it was
    /// closed meanwhile shows when it is taken, or to the sweeper.
    pub(super) fn give_back(&self, mut live: Box<Live>, now: Instant) {
        if self.keep.get() == 0 || !live.is_done() || !self.has(&live) {
            return;
        }
        live.used = now;
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= self.keep.get() {
            idle.remove(0);
        }
        idle.push(live);
    }

    /// Whether the connection is to an address that the endpoint still has. Others end with what they carry.
    fn has(&self, live: &Live) -> bool {
        match (&self.place, live.peer) {
            (Place::Names(names), Some(peer)) => names.has(peer),
            _ => true,
        }
    }

    /// Looks the name up again when it is time to.
    pub(super) fn renew(&self, now: Instant) {
        if let Place::Names(names) = &self.place
            && names.is_due(now, self.resolve.get())
        {
            let names = names.clone();
            spawn_local(async move { names.renew().await });
        }
    }

    pub(super) fn sweep(&self, oldest: Option<Instant>) {
        let mut idle = self.idle.borrow_mut();
        idle.retain_mut(|live| oldest.is_none_or(|oldest| live.used >= oldest) && live.rest() && self.has(live));
        let many = idle.len().saturating_sub(self.keep.get());
        idle.drain(..many);
    }

    async fn open(&self, timeouts: &UpstreamTimeouts, total: Instant) -> Result<Box<Live>, Error> {
        let counted = Counted::new(&self.open);
        let until = after(Instant::now(), timeouts.connect).min(total);
        let (stream, peer) = match timeout_at(until, self.reach()).await {
            Ok(reached) => reached?,
            Err(_) => return Err(self.error(Reason::UpstreamConnectTimeout, "did not accept a connection in time")),
        };
        // Small requests must not wait for the answer to earlier bytes. A socket that refuses this works all the same.
        let _ = stream.set_nodelay(true);
        let stream = match &self.tls {
            None if self.endpoint.tls => return Err(self.error(Reason::UpstreamTls, "has no roots to be verified by")),
            None => Io::Plain(stream.into()),
            Some(tls) => {
                let Some(name) = tls.name.clone() else {
                    return Err(self.error(Reason::UpstreamTls, "has a name that no certificate can be for"));
                };
                let until = after(Instant::now(), timeouts.tls).min(total);
                match timeout_at(until, tls.connector.connect(name, Socket::Tcp(stream))).await {
                    Ok(Ok(stream)) => Io::Tls(Box::new(stream.into())),
                    Ok(Err(cause)) => return Err(self.error(Reason::UpstreamTls, cause)),
                    Err(_) => return Err(self.error(Reason::UpstreamTlsTimeout, "did not finish TLS in time")),
                }
            }
        };
        Ok(Box::new(Live::new(stream, peer, counted)))
    }

    /// Connects to the address, or to one of those that the name has.
    async fn reach(&self) -> Result<(TcpStream, Option<SocketAddr>), Error> {
        let names = match &self.place {
            Place::Address(address) => {
                let stream = TcpStream::connect(address).await;
                return stream.map(|stream| (stream, None)).map_err(|cause| self.error(Reason::UpstreamConnect, cause));
            }
            Place::Names(names) => names,
        };
        let addresses = names.addresses().await.map_err(|cause| self.error(Reason::UpstreamResolve, cause))?;
        match names::race(addresses).await {
            Ok((stream, peer)) => Ok((stream, Some(peer))),
            Err(cause) if cause.kind() == io::ErrorKind::TimedOut => {
                Err(self.error(Reason::UpstreamConnectTimeout, cause))
            }
            Err(cause) => Err(self.error(Reason::UpstreamConnect, cause)),
        }
    }

    /// An error with the endpoint in the part that only operators read.
    pub(super) fn error(&self, reason: Reason, cause: impl fmt::Display) -> Error {
        Error::because(reason, format!("{}:{}: {cause}", self.endpoint.host, self.endpoint.port))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("endpoint", &self.endpoint).field("idle", &self.idle()).finish_non_exhaustive()
    }
}
