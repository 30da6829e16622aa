//! One connection of a client: from its first byte to its last, request by request.

mod activity;
mod ended;
mod ending;
mod extended;
mod frames;
mod greeting;
mod http1;
mod patience;
mod service;
mod switched;
mod wire;

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::debug;

use super::clients::Clients;
use super::drain::{Drain, Open, Phase};
use super::tls::{ClientCertificate, Policy, Tls};
use crate::body::Body;
use crate::client::Client;
use crate::config::{ListenerLimits, Network};
use crate::deadline::after;
use crate::error::Error;
use crate::headers::Kinds;
use crate::http1::incoming::Link;
use crate::http1::socket::Socket;
use crate::http1::wire::Wire;
use crate::metrics::ListenerMetrics;
use crate::proxy_protocol::Source;
use activity::{Activity, Due};
use ended::Ended;
use greeting::{Greeted, unless_over};
use http1::Http1;
use service::{LocalExecutor, Service};

/// Streams that a client may have open at once. More than browsers use, and each may cost a whole request.
const STREAMS: u32 = 100;
/// Streams that a client may reset before we got to them (CVE-2023-44487), those that it may make us reset by its mistakes
/// (CVE-2025-8671), and those that it may reset while we are at them beyond the ones it lets us answer, until it loses
/// its connection. Browsers reset what a new page no longer needs, and that is less.
const RESETS: usize = 100;
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What waits in memory for a client that reads slowly, for each stream.
const SEND_BUFFER: usize = 64 * 1024;
/// A client that does not answer a ping is gone, even if its network does not say so.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a client may take to agree that its idle HTTP/2 connection is over.
const FAREWELL: Duration = Duration::from_secs(5);

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
#[expect(
    clippy::large_enum_variant,
    reason = "one for each request, taken apart at once: a box would be an allocation for nothing"
)]
pub enum Received {
    /// A request whose head fits the limits, and the kinds of its fields.
    Request(Request<Body>, Kinds),
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

/// What the library for HTTP/2 takes of a head, where each field counts as 32 bytes more than it has (RFC 9113, section
/// 6.5.2). What is over our own limits comes through as long as it is not far over them, and gets our own answer.
fn head_list(limits: &ListenerLimits) -> u32 {
    let size = limits.head_size.saturating_mul(3) / 2;
    u32::try_from(size.saturating_add(limits.head_fields.saturating_mul(64))).unwrap_or(u32::MAX)
}

/// How a listener's connections are served by one worker.
pub struct Connections<C> {
    carry: Rc<C>,
    limits: ListenerLimits,
    certificates: Option<Certificates>,
    drain: Rc<Drain>,
    entrance: Entrance,
    http2: http2::Builder<LocalExecutor>,
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
        let mut http2 = http2::Builder::new(LocalExecutor { stall: limits.body_idle });
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(head_list(&limits))
            .max_pending_accept_reset_streams(RESETS)
            .max_local_error_reset_streams(RESETS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .adaptive_window(false)
            .enable_connect_protocol()
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        Self { carry: Rc::new(carry), limits, certificates, drain, entrance: Entrance::default(), http2 }
    }

    /// With somebody at the door.
    #[must_use]
    pub(crate) fn behind(self, entrance: Entrance) -> Self {
        Self { entrance, ..self }
    }

    /// Serves one connection until it ends.
    pub async fn serve(&self, socket: Socket, address: SocketAddr) {
        let open = self.drain.enter();
        // Small responses must not wait for the acknowledgement of earlier ones.
        socket.set_nodelay();
        // Boxed is what ends long before the connection does, and what HTTP/1 has no use for: most connections are idle
        // most of the time, and cost what the rest costs.
        let served = match Box::pin(self.greet(socket, address, &open)).await {
            Ok(greeted) => match greeted.peer.protocol {
                Protocol::Http1 => self.serve_http1(greeted, &open).await,
                Protocol::Http2 => Box::pin(self.serve_http2(greeted, &open)).await,
            },
            Err(ended) => Err(ended),
        };
        if let Err(error) = served {
            if let Some(why) = error.refusal() {
                self.entrance.metrics.refused(why);
            }
            debug!(client = %address, %error, "a connection ended early");
        }
    }

    async fn serve_http1(&self, greeted: Box<Greeted>, open: &Open) -> Result<(), Ended> {
        let Greeted { io, begin, peer, deadline, counted: _counted } = *greeted;
        let link = Link::new(Wire::new(io, begin));
        let (carry, limits, peer) = (&*self.carry, &self.limits, Rc::new(peer));
        let served = Http1 { carry, peer, limits, open, link: link.clone(), deadline }.serve().await;
        if let Some(wire) = link.close() {
            unless_over(open, Box::pin(ending::end(wire, served.as_ref().err()))).await;
        }
        served
    }

    async fn serve_http2(&self, greeted: Box<Greeted>, open: &Open) -> Result<(), Ended> {
        let Greeted { io, begin, peer, mut deadline, counted: _counted } = *greeted;
        let activity = Rc::new(Activity::new());
        let service = Service::new(self.carry.clone(), peer, activity.clone(), self.limits.body_idle);
        let wire = TokioIo::new(wire::Watched::new(io, begin.freeze(), activity.clone()));
        let mut connection = pin!(self.http2.serve_connection(wire, service));
        // When we told the client to go.
        let mut told = None;
        let tell = |connection: Pin<&mut http2::Connection<_, _, _>>, told: &mut Option<Instant>| {
            if told.is_none() {
                *told = Some(Instant::now());
                connection.graceful_shutdown();
            }
        };
        poll_fn(|context| {
            let phase = open.phase(context);
            if phase > Phase::Serving {
                tell(connection.as_mut(), &mut told);
            }
            if phase == Phase::Over {
                return Poll::Ready(Err(Ended::Cut));
            }
            loop {
                if let Poll::Ready(end) = connection.as_mut().poll(context) {
                    let flood = activity.account.is_spent();
                    return Poll::Ready(end.map_err(|error| if flood { Ended::Flood } else { Ended::Http(error) }));
                }
                if activity.is_flood(RESETS as u32) {
                    return Poll::Ready(Err(Ended::Resets));
                }
                let Some((at, due)) = activity.due(&self.limits) else {
                    return Poll::Pending;
                };
                let at = match told {
                    Some(told) if due == Due::Idle => after(told.max(activity.since()), FAREWELL),
                    _ => at,
                };
                if deadline.poll(context, at).is_pending() {
                    return Poll::Pending;
                }
                match due {
                    Due::Write => return Poll::Ready(Err(Ended::Write)),
                    Due::Head => return Poll::Ready(Err(Ended::Head)),
                    _ if told.is_some() => return Poll::Ready(Err(Ended::Idle)),
                    _ => tell(connection.as_mut(), &mut told),
                }
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests;
