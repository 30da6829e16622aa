//! One connection of a client: from its first byte to its last, request by request.

mod activity;
mod ending;
mod extended;
mod http1;
mod service;
mod switched;
mod wire;

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use http::{Request, Response};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::drain::{Drain, Open, Phase};
use crate::body::Body;
use crate::config::ListenerLimits;
use crate::deadline::{Deadline, after};
use crate::error::Error;
use crate::headers::Kinds;
use crate::http1::head::BadHead;
use crate::http1::incoming::Link;
use crate::http1::wire::{Io, Wire};
use activity::{Activity, Due};
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
    /// Our own address that it connected to.
    pub local: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The name that it asked for in TLS (SNI), in lower case.
    pub server_name: Option<Box<str>>,
    /// What is spoken on it.
    pub protocol: Protocol,
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
pub type Certificates = watch::Receiver<Arc<ServerConfig>>;

/// How a listener's connections are served by one worker.
pub struct Connections<C> {
    carry: Rc<C>,
    limits: ListenerLimits,
    certificates: Option<Certificates>,
    drain: Rc<Drain>,
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
        let mut http2 = http2::Builder::new(LocalExecutor);
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(limits.head_size).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(RESETS)
            .max_local_error_reset_streams(RESETS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .adaptive_window(false)
            .enable_connect_protocol()
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        Self { carry: Rc::new(carry), limits, certificates, drain, http2 }
    }

    /// Serves one connection until it ends.
    pub async fn serve(&self, stream: TcpStream, address: SocketAddr) {
        let open = self.drain.enter();
        // Small responses must not wait for the acknowledgement of earlier ones. A socket that refuses works as well.
        let _ = stream.set_nodelay(true);
        let Ok(local) = stream.local_addr() else { return };
        let peer = Peer { address, local, tls: false, server_name: None, protocol: Protocol::Http1 };
        // Boxed is what ends long before the connection does, and what HTTP/1 has no use for: most connections are idle
        // most of the time, and cost what the rest costs.
        let served = match Box::pin(self.greet(stream, peer, &open)).await {
            Ok(greeted) => match greeted.peer.protocol {
                Protocol::Http1 => self.serve_http1(greeted, &open).await,
                Protocol::Http2 => Box::pin(self.serve_http2(greeted, &open)).await,
            },
            Err(ended) => Err(ended),
        };
        if let Err(error) = served {
            debug!(client = %address, %error, "a connection ended early");
        }
    }

    /// Finds out what is spoken: by TLS, or by the first bytes.
    async fn greet(&self, mut stream: TcpStream, mut peer: Peer, open: &Open) -> Result<Box<Greeted>, Ended> {
        let mut deadline = Deadline::new();
        let Some(certificates) = &self.certificates else {
            let (begin, http2) = self.first_bytes(&mut stream, open, &mut deadline).await?;
            peer.protocol = if http2 { Protocol::Http2 } else { Protocol::Http1 };
            return Ok(Box::new(Greeted { io: Io::Plain(stream), begin, peer, deadline }));
        };
        let config = certificates.borrow().clone();
        let until = after(Instant::now(), self.limits.handshake_time);
        let stream = unless_over(open, timeout_at(until, TlsAcceptor::from(config).accept(stream)))
            .await
            .ok_or(Ended::Cut)?
            .map_err(|_| Ended::Handshake)?
            .map_err(Ended::Tls)?;
        let session = stream.get_ref().1;
        peer.tls = true;
        peer.server_name = session.server_name().map(Box::from);
        if session.alpn_protocol() == Some(b"h2") {
            peer.protocol = Protocol::Http2;
        }
        let io = Io::Tls(Box::new(stream.into()));
        Ok(Box::new(Greeted { io, begin: BytesMut::new(), peer, deadline }))
    }

    async fn serve_http1(&self, greeted: Box<Greeted>, open: &Open) -> Result<(), Ended> {
        let Greeted { io, begin, peer, deadline } = *greeted;
        let link = Link::new(Wire::new(io, begin));
        let (carry, limits, peer) = (&*self.carry, &self.limits, Rc::new(peer));
        let served = Http1 { carry, peer, limits, open, link: link.clone(), deadline }.serve().await;
        if let Some(wire) = link.close() {
            unless_over(open, Box::pin(ending::end(wire, served.as_ref().err()))).await;
        }
        served
    }

    /// Reads until it is clear whether the client begins with the preface of HTTP/2 (RFC 9113, section 3.4).
    async fn first_bytes(
        &self,
        stream: &mut TcpStream,
        open: &Open,
        deadline: &mut Deadline,
    ) -> Result<(BytesMut, bool), Ended> {
        const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        /// Most heads fit, and it does not matter when one does not.
        const FIRST: usize = 2048;
        let mut until = after(Instant::now(), self.limits.keep_alive);
        let mut begin = BytesMut::new();
        loop {
            poll_fn(|context| {
                if stream.poll_read_ready(context).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                if open.phase(context) > Phase::Serving {
                    return Poll::Ready(Err(Ended::Cut));
                }
                deadline.poll(context, until).map(|()| Err(Ended::Idle))
            })
            .await?;
            begin.reserve(FIRST);
            match stream.try_read_buf(&mut begin) {
                Ok(0) => return Err(Ended::Gone),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(Ended::Tls(error)),
            }
            let length = begin.len().min(PREFACE.len());
            if begin[..length] != PREFACE[..length] {
                return Ok((begin, false));
            }
            if length == PREFACE.len() {
                return Ok((begin, true));
            }
            until = after(Instant::now(), self.limits.head_time);
        }
    }

    async fn serve_http2(&self, greeted: Box<Greeted>, open: &Open) -> Result<(), Ended> {
        let Greeted { io, begin, peer, mut deadline } = *greeted;
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
                    return Poll::Ready(end.map_err(Ended::Http));
                }
                if activity.is_flood(RESETS as u32) {
                    return Poll::Ready(Err(Ended::Flood));
                }
                let Some((at, due)) = activity.due(&self.limits) else {
                    return Poll::Pending;
                };
                let at = match told {
                    Some(told) if due != Due::Write => after(told.max(activity.since()), FAREWELL),
                    _ => at,
                };
                if deadline.poll(context, at).is_pending() {
                    return Poll::Pending;
                }
                match due {
                    Due::Write => return Poll::Ready(Err(Ended::Write)),
                    _ if told.is_some() => return Poll::Ready(Err(Ended::Idle)),
                    _ => tell(connection.as_mut(), &mut told),
                }
            }
        })
        .await
    }
}

/// A connection of which it is clear what is spoken on it.
struct Greeted {
    io: Io,
    /// What was read to find that out.
    begin: BytesMut,
    peer: Peer,
    deadline: Deadline,
}

/// How a connection ends other than by agreement.
#[derive(Debug)]
enum Ended {
    /// No request for too long.
    Idle,
    /// A head that did not come in time.
    Head,
    /// The client stopped reading.
    Write,
    /// The client resets its requests.
    Flood,
    /// The drain is over, or came before anything else.
    Cut,
    /// The client left.
    Gone,
    /// What came is not a request.
    Refused(BadHead),
    /// The body of a response ended early.
    Broken {
        /// Where an orderly end of the connection would say that it was whole.
        ends_with_connection: bool,
    },
    Handshake,
    Tls(std::io::Error),
    Http(hyper::Error),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Idle => f.write_str("no request for too long"),
            Self::Head => f.write_str("the head of a request did not come in time"),
            Self::Write => f.write_str("the client stopped reading"),
            Self::Flood => f.write_str("the client reset too many of its requests"),
            Self::Cut => f.write_str("the server is going down"),
            Self::Gone => f.write_str("the client left"),
            Self::Refused(bad) => write!(f, "what came is not a request: {bad}"),
            Self::Broken { .. } => f.write_str("the body of a response ended early"),
            Self::Handshake => f.write_str("the TLS handshake took too long"),
            Self::Tls(error) => error.fmt(f),
            Self::Http(error) => match std::error::Error::source(error) {
                Some(cause) => write!(f, "{error}: {cause}"),
                None => error.fmt(f),
            },
        }
    }
}

/// Waits for a future as long as connections may live.
async fn unless_over<F: Future>(open: &Open, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context: &mut Context<'_>| match future.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if open.phase(context) == Phase::Over => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

#[cfg(test)]
mod tests;
