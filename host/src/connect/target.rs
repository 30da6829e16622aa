//! One endpoint: how it is reached, and its idle connections.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use http::Response;
use rustls_pki_types::ServerName;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::dns::Resolver;
use super::exchange::Exchange;
use super::http2::Http2;
use super::live::Live;
use super::names::{self, Lookup, Names};
use super::outbound::Outbound;
use super::room::{Counted, Room};
use super::sending::is_idempotent;
use super::trust::Trust;
use super::{Record, Use};
use crate::body::Body;
use crate::config::{Connections, Endpoint, ProxyVersion, UpstreamProtocol, UpstreamTimeouts};
use crate::deadline::after;
use crate::error::{Error, Reason};
use crate::proxy_protocol::{self, Source};
use crate::random::Random;
use crate::transport::io::Io;
use crate::transport::socket::Socket;

/// An endpoint with its connections.
pub struct Target {
    endpoint: Endpoint,
    place: Place,
    /// How often a name is looked up again, whatever its answer says.
    resolve: Cell<Option<Duration>>,
    tls: Option<Tls>,
    /// What connections begin with.
    proxy_protocol: Option<ProxyVersion>,
    /// Used last at the end. The one that was just used is taken first: it is the least likely to be closed, and what
    /// a quiet hour does not need becomes old at the other end.
    #[expect(clippy::vec_box, reason = "they move between here and exchanges, and are large")]
    idle: RefCell<Vec<Box<Live>>>,
    config: Cell<Connections>,
    /// Connections that are there or being made, idle ones included.
    room: Rc<Room>,
    /// Those of HTTP/2, where that may be spoken.
    pub(super) http2: Option<Box<Http2>>,
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
    /// When the client has no use for an answer any more, where it says so itself. Of an exchange that goes on for as
    /// long as it likes this is the one end.
    pub call: Option<Instant>,
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
    Unix(PathBuf),
    Names(Rc<Names>, Resolver),
}

struct Tls {
    trust: Trust,
    connector: TlsConnector,
    /// The same that offers HTTP/2.
    http2: Option<TlsConnector>,
    name: Option<ServerName<'static>>,
}

impl Target {
    pub(super) fn new(endpoint: Endpoint, used: &Use<'_>, instead: Option<&Lookup>) -> Self {
        let place = match (&endpoint.unix, endpoint.host.parse::<IpAddr>()) {
            (Some(path), _) => Place::Unix(path.clone()),
            (None, Ok(ip)) => Place::Address(SocketAddr::new(ip, endpoint.port)),
            (None, Err(_)) => {
                let resolver = used.resolver.cloned().unwrap_or_default();
                let lookup = instead.cloned().unwrap_or_else(|| names::by(&resolver));
                Place::Names(Rc::new(Names::new(endpoint.host.clone(), endpoint.port, lookup)), resolver)
            }
        };
        let may_be_http2 = used.protocol != UpstreamProtocol::Http1;
        let tls = used.trust.filter(|_| endpoint.tls).map(|trust| Tls {
            connector: TlsConnector::from(trust.config()),
            http2: may_be_http2
                .then(|| trust.config_of_http2(used.protocol == UpstreamProtocol::Auto))
                .map(TlsConnector::from),
            name: trust.name_of(&endpoint),
            trust: trust.clone(),
        });
        Self {
            endpoint,
            place,
            resolve: Cell::new(used.resolve),
            tls,
            proxy_protocol: used.proxy_protocol,
            idle: RefCell::default(),
            config: Cell::new(used.connections),
            room: Room::new(used.counts.clone()),
            http2: may_be_http2.then(|| Box::new(Http2::new(used.protocol))),
        }
    }

    /// Whether its connections can be used like this: found and verified alike, and counted together.
    pub(super) fn is_for(&self, used: &Use<'_>) -> bool {
        let same_trust = !self.endpoint.tls || self.tls.as_ref().map(|tls| &tls.trust) == used.trust;
        let same_names = match &self.place {
            Place::Names(_, resolver) => used.resolver.is_none_or(|used| used == resolver),
            Place::Address(_) | Place::Unix(_) => true,
        };
        let same_begin = self.proxy_protocol == used.proxy_protocol;
        let protocol = self.http2.as_ref().map_or(UpstreamProtocol::Http1, |http2| http2.protocol());
        let same = same_trust && same_names && same_begin;
        same && protocol == used.protocol && self.room.counts() == used.counts.as_ref()
    }

    /// Takes what may have changed with a reload.
    pub(super) fn adopt(&self, used: &Use<'_>) {
        self.config.set(used.connections);
        self.resolve.set(used.resolve);
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

    /// Requests that are under way, those whose response is still coming included. In HTTP/1 each has a connection of its
    /// own.
    #[must_use]
    pub fn busy(&self) -> usize {
        let (connections, requests) = self.http2.as_ref().map_or((0, 0), |http2| http2.busy());
        self.room.open().saturating_sub(self.idle() + connections) + requests
    }

    /// Sends a request whose head is as it goes out, framing aside, and waits for the response's head.
    ///
    /// Afterwards the request is whole where it can be sent once more and the outcome may be worth that. A reused connection that turns out to be closed costs a request that may be repeated (RFC
    /// 9110, section 9.2.2) nothing: it goes out once more, on a new connection.
    ///
    /// # Errors
    /// Every way of [`Reason`] that speaks of an upstream, and those of request bodies.
    pub async fn send(
        self: &Rc<Self>,
        request: &mut Outbound<'_>,
        timeouts: &UpstreamTimeouts,
        times: &Times,
        record: &mut Record,
    ) -> Result<Response<Body>, Failed> {
        if self.http2.is_some()
            && let Some(outcome) = Box::pin(self.send_multiplexed(request, timeouts, times, record)).await
        {
            return outcome;
        }
        let mut repeated = false;
        record.reused = false;
        let until = times.head_by.map_or(times.total, |head_by| head_by.min(times.total));
        if !self.has_room() {
            Box::pin(self.wait(until)).await.map_err(|error| Failed { error, unsent: true })?;
        }
        while let Some(live) = self.take(times.begun, request.source()) {
            let harmless = is_idempotent(request.request().method());
            let exchange = Exchange { live, home: self, timeouts, times, reused: true };
            let failure = match exchange.run(request, record).await {
                Ok(response) => {
                    record.reused = true;
                    return Ok(response);
                }
                Err(failure) => failure,
            };
            if !request.is_whole() || !(failure.unsent || (failure.dead && harmless)) {
                return Err(Failed { error: failure.error, unsent: failure.unsent });
            }
            // This one had been closed already: the next.
            if !failure.unsent {
                repeated = true;
                record.repeated = true;
                break;
            }
        }
        self.make_room();
        let connecting = Instant::now();
        // On its own: most requests find a connection, and are spared the room for making one.
        let live = match Box::pin(self.open(timeouts, until, false, request.source())).await {
            Ok(live) => live,
            Err(error) => return Err(Failed { error, unsent: !repeated }),
        };
        record.connect = Some(connecting.elapsed());
        let exchange = Exchange { live, home: self, timeouts, times, reused: false };
        let outcome = exchange.run(request, record).await;
        outcome.map_err(|failure| Failed { error: failure.error, unsent: failure.unsent && !repeated })
    }

    /// How its connections are used.
    pub(super) fn config(&self) -> Connections {
        self.config.get()
    }

    /// Makes a connection, with TLS where the endpoint has it, and closes it.
    ///
    /// # Errors
    /// Why there is none by then.
    pub async fn reachable(&self, timeouts: &UpstreamTimeouts, until: Instant) -> Result<(), Error> {
        self.open(timeouts, until, false, Source::Unknown).await.map(drop)
    }

    /// Closes what is open, so that the next request makes a connection anew.
    pub fn close(&self) {
        self.idle.borrow_mut().clear();
        if let Some(http2) = &self.http2 {
            http2.close();
        }
    }

    /// Whether there is a connection for one more request, or may be.
    fn has_room(&self) -> bool {
        self.config.get().most.is_none_or(|most| self.room.open() < most.get()) || self.idle() > 0
    }

    /// Waits until there is room.
    async fn wait(&self, until: Instant) -> Result<(), Error> {
        let until = after(Instant::now(), self.config.get().wait).min(until);
        let room = async {
            while !self.has_room() {
                self.room.freed().await;
            }
        };
        let waited = timeout_at(until, room).await;
        if let Some(counts) = self.room.counts() {
            counts.upstream.waited_for_connection(waited.is_ok());
        }
        waited.map_err(|_| self.error(Reason::UpstreamUnavailable, "has as many connections as it may"))
    }

    /// Closes a connection that has nothing to do and belongs to another client, where there may be no more of them.
    fn make_room(&self) {
        let full = |most: NonZeroUsize| self.room.open() >= most.get();
        if self.proxy_protocol.is_some() && self.config.get().most.is_some_and(full) {
            let mut idle = self.idle.borrow_mut();
            let oldest = idle.len().min(1);
            idle.drain(..oldest);
        }
    }

    /// Whether connections belong to one client each.
    pub(super) fn tells_of_clients(&self) -> bool {
        self.proxy_protocol.is_some()
    }

    /// The connection that was used last of those that are young enough, and belong to this client where they belong to
    /// somebody.
    fn take(&self, now: Instant, source: Source) -> Option<Box<Live>> {
        let config = self.config.get();
        loop {
            let mut idle = self.idle.borrow_mut();
            let live = match self.proxy_protocol {
                None => idle.pop()?,
                Some(_) => {
                    let place = idle.iter().rposition(|live| live.source == source)?;
                    idle.remove(place)
                }
            };
            if live.is_young(now, &config) && self.has(live.peer) {
                return Some(live);
            }
        }
    }

    /// Takes back a connection on which everything was said by `now`; one that is not wanted is dropped. Whether it was
    /// closed meanwhile shows when it is taken, or to the sweeper.
    pub(super) fn give_back(&self, mut live: Box<Live>, now: Instant) {
        let config = self.config.get();
        live.used = now;
        if config.idle == 0 || !live.is_done() || !live.is_young(now, &config) || !self.has(live.peer) {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= config.idle {
            idle.remove(0);
        }
        idle.push(live);
        if config.most.is_some() {
            self.room.is_free();
        }
    }

    /// Whether the connection is to an address that the endpoint still has. Others end with what they carry.
    pub(super) fn has(&self, peer: Option<SocketAddr>) -> bool {
        match (&self.place, peer) {
            (Place::Names(names, _), Some(peer)) => names.has(peer),
            _ => true,
        }
    }

    /// Looks the name up again when it is time to.
    pub(super) fn renew(&self, now: Instant) {
        if let Place::Names(names, _) = &self.place {
            names.renew(now, self.resolve.get());
        }
    }

    pub(super) fn sweep(&self, now: Instant) {
        let config = self.config.get();
        let mut idle = self.idle.borrow_mut();
        idle.retain_mut(|live| live.is_young(now, &config) && live.rest() && self.has(live.peer));
        let many = idle.len().saturating_sub(config.idle);
        idle.drain(..many);
        if let Some(http2) = &self.http2 {
            http2.sweep(now, &config, |peer| self.has(peer));
        }
    }

    /// Makes a connection. `http2`: one on which that may be spoken. `source` is told by the PROXY protocol, where that is
    /// spoken, before anything else.
    pub(super) async fn open(
        &self,
        timeouts: &UpstreamTimeouts,
        total: Instant,
        http2: bool,
        source: Source,
    ) -> Result<Box<Live>, Error> {
        let counted = Counted::new(&self.room);
        let until = after(Instant::now(), timeouts.connect).min(total);
        let reached = async {
            let (mut socket, peer) = self.reach().await?;
            // Small requests must not wait for the answer to earlier bytes.
            socket.set_nodelay();
            if let Some(version) = self.proxy_protocol {
                let header = proxy_protocol::write(version, source);
                socket.write_all(&header).await.map_err(|cause| self.error(Reason::UpstreamConnect, cause))?;
            }
            Ok::<_, Error>((socket, peer))
        };
        let (socket, peer) = match timeout_at(until, reached).await {
            Ok(reached) => reached?,
            Err(_) => return Err(self.error(Reason::UpstreamConnectTimeout, "did not accept a connection in time")),
        };
        let stream = match &self.tls {
            None if self.endpoint.tls => return Err(self.error(Reason::UpstreamTls, "has no roots to be verified by")),
            None => Io::Plain(socket),
            Some(tls) => {
                let Some(name) = tls.name.clone() else {
                    return Err(self.error(Reason::UpstreamTls, "has a name that no certificate can be for"));
                };
                let until = after(Instant::now(), timeouts.tls).min(total);
                let connector = tls.http2.as_ref().filter(|_| http2).unwrap_or(&tls.connector);
                match timeout_at(until, connector.connect(name, socket)).await {
                    Ok(Ok(stream)) => Io::Tls(Box::new(stream.into())),
                    Ok(Err(cause)) => return Err(self.error(Reason::UpstreamTls, cause)),
                    Err(_) => return Err(self.error(Reason::UpstreamTlsTimeout, "did not finish TLS in time")),
                }
            }
        };
        // A tenth less at random: connections that were made together are not all made anew together.
        let age = self.config.get().age.map(|age| after(Instant::now(), age - Random::new().part(age / 10)));
        let mut live = Box::new(Live::new(stream, peer, age, counted));
        live.source = source;
        Ok(live)
    }

    /// Connects to the address, or to one of those that the name has.
    async fn reach(&self) -> Result<(Socket, Option<SocketAddr>), Error> {
        let refused = |cause| self.error(Reason::UpstreamConnect, cause);
        let names = match &self.place {
            Place::Address(address) => {
                let stream = TcpStream::connect(address).await;
                return stream.map(|stream| (Socket::Tcp(stream), None)).map_err(refused);
            }
            Place::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                return stream.map(|stream| (Socket::Unix(stream), None)).map_err(refused);
            }
            Place::Names(names, _) => names,
        };
        let addresses = names.addresses().await.map_err(|cause| self.error(Reason::UpstreamResolve, cause))?;
        match names::race(addresses).await {
            Ok((stream, peer)) => Ok((Socket::Tcp(stream), Some(peer))),
            Err(cause) if cause.kind() == io::ErrorKind::TimedOut => {
                Err(self.error(Reason::UpstreamConnectTimeout, cause))
            }
            Err(cause) => Err(refused(cause)),
        }
    }

    /// An error with the endpoint in the part that only operators read.
    pub(super) fn error(&self, reason: Reason, cause: impl fmt::Display) -> Error {
        Error::because(reason, format!("{}: {cause}", self.endpoint.address()))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("endpoint", &self.endpoint).field("idle", &self.idle()).finish_non_exhaustive()
    }
}
