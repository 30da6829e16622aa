//! One connection of a client: from its first byte to its last, request by request.

mod activity;
mod ended;
mod ending;
mod extended;
mod frames;
mod gathered;
mod greeting;
mod http1;
mod http2;
mod interim;
mod switched;
mod wire;

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response};
use tokio::sync::watch;
use tracing::debug;

use super::clients::{Clients, Counted};
use super::drain::{Drain, Open};
use super::tls::{ClientCertificate, Policy, Tls};
use crate::body::Body;
use crate::client::Client;
use crate::config::{ListenerLimits, Network};
use crate::error::Error;
use crate::headers::Kinds;
use crate::http1::incoming::Link;
use crate::http1::wire::Wire;
use crate::metrics::ListenerMetrics;
use crate::proxy_protocol::Source;
use crate::transport::socket::Socket;
use activity::Activity;
use ended::Ended;
use gathered::Gathered;
use greeting::{Greeted, unless_over};
use http1::Http1;
use http2::Http2;
pub use interim::Interim;
use wire::Watched;

/// The client's side of a connection, as requests need to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where it comes from.
    pub address: SocketAddr,
    /// Where it went to.
    pub local: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The name that it asked for in TLS (SNI), in lower case.
    pub server_name: Option<Box<str>>,
    /// What it had to show, where that depends on the name.
    pub policy: Option<Policy>,
    /// What it showed, and was verified.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// What is spoken on it.
    pub protocol: Protocol,
}

impl Peer {
    /// Of whom nothing is known but the addresses.
    #[must_use]
    pub fn new(address: SocketAddr, local: SocketAddr) -> Self {
        Self {
            address,
            local,
            tls: false,
            server_name: None,
            policy: None,
            certificate: None,
            protocol: Protocol::Http1,
        }
    }

    /// What the PROXY protocol says of a client that came this way. Of one behind a trusted proxy, the port is not known.
    pub(crate) fn source(&self, client: &Client) -> Source {
        let port = if client.hops.is_empty() { self.address.port() } else { 0 };
        Source::Client(SocketAddr::new(client.ip, port), self.local)
    }
}

/// The version of HTTP on a connection; requests know the finer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 or HTTP/1.0.
    Http1,
    /// HTTP/2, by ALPN or by its preface.
    Http2,
}

/// What came over a connection, for which there is to be a response.
#[derive(Debug)]
pub enum Received {
    /// A request whose head fits the limits, the kinds of its fields, and where what comes before its response goes. Boxed,
    /// since each function on its way would have room for it twice in the future of the exchange.
    Request(Box<Request<Body>>, Kinds, Interim),
    /// The beginning of something that is no request, or not one in time; the connection ends with the response.
    Refused(Error),
}

/// The certificates of a listener as they are now; a handshake takes those of its moment.
pub type Certificates = watch::Receiver<Arc<Tls>>;

/// Who may come in, and where those are counted who may not.
#[derive(Default)]
pub(crate) struct Entrance {
    /// Peers whose connections begin with a header of the PROXY protocol.
    pub(crate) proxies: Vec<Network>,
    /// How many connections each client has. None: as many as it likes.
    pub(crate) clients: Option<Arc<Clients>>,
    pub(crate) metrics: Arc<ListenerMetrics>,
}

/// How a listener's connections are served by one worker.
pub struct Connections<C> {
    carry: Rc<C>,
    limits: ListenerLimits,
    certificates: Option<Certificates>,
    drain: Rc<Drain>,
    entrance: Entrance,
    http2: h2::server::Builder,
}

impl<C, F> Connections<C>
where
    C: Fn(Received, Rc<Peer>) -> F + 'static,
    F: Future<Output = Response<Body>> + 'static,
{
    /// `carry` gets every request, and what should have been one. Where its response ends early the client sees a
    /// connection (HTTP/1) or a stream (HTTP/2) that breaks.
    #[must_use]
    pub fn new(carry: C, limits: ListenerLimits, certificates: Option<Certificates>, drain: Rc<Drain>) -> Self {
        let http2 = http2::settings(&limits);
        Self { carry: Rc::new(carry), limits, certificates, drain, entrance: Entrance::default(), http2 }
    }

    /// With somebody at the door.
    #[must_use]
    pub(crate) fn behind(self, entrance: Entrance) -> Self {
        Self { entrance, ..self }
    }

    /// Serves one connection until it ends, and has `kept` live as long.
    pub fn serve<K>(
        self: &Rc<Self>,
        socket: Socket,
        address: SocketAddr,
        kept: K,
    ) -> impl Future<Output = ()> + use<C, F, K> {
        let this = self.clone();
        // Most connections are idle most of the time, and cost what this future costs. So what ends long before the
        // connection does is boxed, and what HTTP/1 has no use for; and nothing lies here that was moved elsewhere.
        async move {
            let open = this.drain.enter();
            // On Linux it has that from its listener.
            if !cfg!(target_os = "linux") {
                socket.set_nodelay();
            }
            let greeted = Box::pin(this.greet(socket, address, &open)).await;
            if let Some(greeted) = this.note(address, greeted) {
                let served = match greeted.peer.protocol {
                    Protocol::Http1 => {
                        let (mut http1, _counted) = this.http1(greeted, &open);
                        let served = http1.serve().await;
                        if let Some(wire) = http1.link.close() {
                            unless_over(&open, Box::pin(ending::end(wire, served.as_ref().err()))).await;
                        }
                        served
                    }
                    Protocol::Http2 => Box::pin(this.serve_http2(greeted, &open)).await,
                };
                this.note(address, served);
            }
            drop(kept);
        }
    }

    /// Tells of a connection that ended other than by agreement.
    fn note<T>(&self, address: SocketAddr, outcome: Result<T, Ended>) -> Option<T> {
        outcome
            .inspect_err(|error| {
                if let Some(why) = error.refusal() {
                    self.entrance.metrics.refused(why);
                }
                debug!(client = %address, %error, "a connection ended early");
            })
            .ok()
    }

    fn http1<'a>(&'a self, greeted: Box<Greeted>, open: &'a Open) -> (Http1<'a, C>, Option<Counted>) {
        let Greeted { io, begin, peer, deadline, counted } = *greeted;
        let (carry, limits, link) = (&*self.carry, &self.limits, Link::new(Wire::new(io, begin)));
        (Http1 { carry, peer: Rc::new(peer), limits, open, link, deadline }, counted)
    }

    async fn serve_http2(&self, greeted: Box<Greeted>, open: &Open) -> Result<(), Ended> {
        let Greeted { io, begin, peer, deadline, counted: _counted } = *greeted;
        let activity = Rc::new(Activity::new());
        let gathered = Gathered::new(io, activity.clone());
        let watched = Watched::new(gathered.clone(), begin.freeze(), activity.clone());
        let handshake = self.http2.handshake(watched);
        Http2::new(self.carry.clone(), peer, &self.limits, handshake, gathered, activity).serve(open, deadline).await
    }
}

#[cfg(test)]
mod tests;
