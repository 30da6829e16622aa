//! HTTP/2 to an endpoint: many requests on few connections.
//!
//! Unlike those of HTTP/1, these connections are driven by tasks of their own: what comes on one is for many. A worker
//! makes one at a time, so that requests that come together share it; one for each client where they belong to clients.

mod arriving;
mod connection;
mod sending;
mod tunnel;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::Response;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::Record;
use super::outbound::Outbound;
use super::sending::is_idempotent;
use super::target::{Failed, Target, Times};
use crate::body::Body;
use crate::config::{Connections, UpstreamProtocol, UpstreamTimeouts};
use crate::deadline::after;
use crate::error::{Error, Reason};
use crate::http1::upgrade::Allowed;
use crate::proxy_protocol::Source;
use connection::Connection;

/// Connections to one endpoint. Beyond them requests wait for their turn.
const MOST: usize = 8;
/// Times that a request is offered to a connection which certainly did nothing with it.
const OFFERS: u32 = 3;
/// How long an endpoint that chose HTTP/1.1 is not asked again.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The connections of one endpoint that speak HTTP/2.
pub(super) struct Http2 {
    protocol: UpstreamProtocol,
    connections: RefCell<Vec<Rc<Connection>>>,
    opening: Semaphore,
    /// When the endpoint chose HTTP/1.1, where it had the choice.
    older: Cell<Option<Instant>>,
}

impl Http2 {
    pub(super) fn new(protocol: UpstreamProtocol) -> Self {
        Self { protocol, connections: RefCell::default(), opening: Semaphore::new(1), older: Cell::new(None) }
    }

    pub(super) fn protocol(&self) -> UpstreamProtocol {
        self.protocol
    }

    /// Connections, and requests that are under way on them.
    pub(super) fn busy(&self) -> (usize, usize) {
        let connections = self.connections.borrow();
        (connections.len(), connections.iter().map(|connection| connection.busy()).sum())
    }

    /// The first connection of this client that has room for one more request; the one with the fewest where there may
    /// be no other.
    fn find(&self, config: &Connections, source: Source) -> Option<Rc<Connection>> {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| connection.is_young(Instant::now(), config));
        let own = || connections.iter().filter(|connection| connection.source() == source);
        let roomy = own().find(|connection| connection.busy() < connection.room());
        let fullest = own().count() >= config.most.map_or(MOST, |most| most.get().min(MOST));
        let any = || own().filter(|_| fullest).min_by_key(|connection| connection.busy());
        roomy.or_else(any).cloned()
    }

    /// Closes a connection on which nothing is under way, where there are as many as there may be. False where each has
    /// something to do.
    fn make_room(&self, config: &Connections) -> bool {
        let mut connections = self.connections.borrow_mut();
        if config.most.is_none_or(|most| connections.len() < most.get()) {
            return true;
        }
        let idle = connections.iter().position(|connection| connection.busy() == 0);
        idle.map(|place| connections.remove(place)).is_some()
    }

    /// Closes those that nobody has used for long, or whose address the endpoint has no more.
    pub(super) fn sweep(&self, now: Instant, config: &Connections, has: impl Fn(Option<SocketAddr>) -> bool) {
        self.connections.borrow_mut().retain(|connection| connection.is_young(now, config) && has(connection.peer()));
    }

    pub(super) fn close(&self) {
        self.connections.borrow_mut().clear();
    }

    fn speaks_older(&self, now: Instant) -> bool {
        self.older.get().is_some_and(|since| now - since < REMEMBERED)
    }
}

impl Target {
    /// Sends a request over HTTP/2. None where that is not what is spoken; a connection that showed it is then among the
    /// idle ones. Where it may be spoken and need not, an upgrade goes over HTTP/1.1 if the endpoint does not have it here.
    pub(super) async fn send_multiplexed(
        self: &Rc<Self>,
        request: &mut Outbound<'_>,
        timeouts: &UpstreamTimeouts,
        times: &Times,
        record: &mut Record,
    ) -> Option<Result<Response<Body>, Failed>> {
        let upgrade = request.request().extensions().get::<Allowed>().cloned();
        let until = times.head_by.map_or(times.total, |head_by| head_by.min(times.total));
        let harmless = is_idempotent(request.request().method());
        let (mut offers, mut repeated) = (0, false);
        loop {
            let source = if self.tells_of_clients() { request.source() } else { Source::Unknown };
            let connection = match self.connection(source, timeouts, until, record).await {
                Ok(Some(connection)) => connection,
                Ok(None) => return None,
                Err(error) => return Some(Err(Failed { error, unsent: !repeated })),
            };
            let answer = match &upgrade {
                None => connection.exchange(request, self, timeouts, times, record).await,
                Some(upgrade) if connection.takes_tunnels() => {
                    Box::pin(connection.tunnel(request, upgrade, self, timeouts, times, record)).await
                }
                Some(_) if self.may_be_older() => return None,
                Some(_) => {
                    let error = self.error(Reason::UpstreamProtocol, "takes no upgrades over HTTP/2 (RFC 8441)");
                    return Some(Err(Failed { error, unsent: !repeated }));
                }
            };
            let failure = match answer {
                Ok(response) => return Some(Ok(response)),
                Err(failure) => failure,
            };
            offers += 1;
            let once_more = failure.unsent || (failure.dead && harmless && !repeated);
            if !request.is_whole() || !once_more || offers >= OFFERS {
                return Some(Err(Failed { error: failure.error, unsent: failure.unsent && !repeated }));
            }
            if !failure.unsent {
                repeated = true;
                record.repeated = true;
            }
        }
    }

    /// Whether HTTP/1.1 may be spoken as well.
    fn may_be_older(&self) -> bool {
        self.http2.as_ref().is_some_and(|http2| http2.protocol == UpstreamProtocol::Auto)
    }

    /// A connection with room for a request: one that is there, or a new one.
    async fn connection(
        &self,
        source: Source,
        timeouts: &UpstreamTimeouts,
        until: Instant,
        record: &mut Record,
    ) -> Result<Option<Rc<Connection>>, Error> {
        let Some(http2) = &self.http2 else { return Ok(None) };
        let config = self.config();
        let optional = http2.protocol == UpstreamProtocol::Auto;
        if optional && (!self.endpoint().tls || http2.speaks_older(Instant::now())) {
            return Ok(None);
        }
        record.reused = true;
        if let Some(connection) = http2.find(&config, source) {
            return Ok(Some(connection));
        }
        let late = || self.error(Reason::UpstreamConnectTimeout, "no connection had room in time");
        // Clients that share no connection do not wait for each other's either.
        let opening = if self.tells_of_clients() { None } else { Some(&http2.opening) };
        let _turn = match opening {
            Some(opening) => match timeout_at(until, opening.acquire()).await.map_err(|_| late())? {
                Ok(turn) => Some(turn),
                Err(_) => return Err(Reason::Internal.into()),
            },
            None if !http2.make_room(&config) => {
                return Err(self.error(Reason::UpstreamUnavailable, "has as many connections as it may"));
            }
            None => None,
        };
        // Whoever had the turn before may have made it, or found out that there is none to make.
        if let Some(connection) = http2.find(&config, source) {
            return Ok(Some(connection));
        }
        if http2.speaks_older(Instant::now()) {
            return Ok(None);
        }
        record.reused = false;
        let begun = Instant::now();
        let live = self.open(timeouts, until, true, source).await?;
        record.connect = Some(begun.elapsed());
        if self.endpoint().tls && !live.chose(b"h2") {
            if !optional {
                return Err(self.error(Reason::UpstreamTls, "does not speak HTTP/2"));
            }
            let now = Instant::now();
            http2.older.set(Some(now));
            self.give_back(live, now);
            return Ok(None);
        }
        // One that accepts and says nothing must not keep those who wait for their turn.
        let until = after(Instant::now(), timeouts.connect).min(until);
        let late = |_| self.error(Reason::UpstreamConnectTimeout, "did not begin to speak HTTP/2 in time");
        let connection = timeout_at(until, Connection::open(*live)).await.map_err(late)?;
        let connection = Rc::new(connection.map_err(|cause| self.error(Reason::UpstreamProtocol, cause))?);
        http2.connections.borrow_mut().push(connection.clone());
        Ok(Some(connection))
    }
}
