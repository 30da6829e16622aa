//! One open connection.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use http::header::HeaderMap;
use tokio::time::Instant;

use super::room::Counted;
use crate::config::Connections;
use crate::deadline::{Deadline, after};
use crate::http1::wire::Wire;
use crate::proxy_protocol::Source;
use crate::transport::io::Io;

/// What an endpoint's word for how long it keeps a connection is taken less: the time in which our next request may be
/// on its way while it closes.
const MARGIN: Duration = Duration::from_secs(1);

/// An open connection. Whoever waits for an answer drives it.
pub(super) struct Live {
    pub(super) wire: Wire,
    pub(super) deadline: Deadline,
    pub(super) used: Instant,
    /// Which address of its name this is; none where the host is an address.
    pub(super) peer: Option<SocketAddr>,
    /// Whom it belongs to, where it began with a header of the PROXY protocol.
    pub(super) source: Source,
    /// When it is too old for another request.
    until: Option<Instant>,
    /// Requests that it has served.
    served: u32,
    /// How long the endpoint keeps it, where it says so.
    kept: Duration,
    counted: Counted,
}

impl Live {
    /// `until`: when it is too old for another request.
    pub(super) fn new(io: Io, peer: Option<SocketAddr>, until: Option<Instant>, counted: Counted) -> Self {
        Self {
            wire: Wire::new(io, BytesMut::new()),
            deadline: Deadline::new(),
            used: Instant::now(),
            peer,
            source: Source::Unknown,
            until,
            served: 0,
            kept: Duration::MAX,
            counted,
        }
    }

    /// The connection, when it is too old for another request, and what counts it.
    pub(super) fn into_parts(self) -> (Io, Option<Instant>, Counted) {
        (self.wire.into_io(), self.until, self.counted)
    }

    /// Whether the endpoint chose this protocol in TLS (ALPN).
    pub(super) fn chose(&self, protocol: &[u8]) -> bool {
        matches!(self.wire.io(), Io::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(protocol))
    }

    /// Counts a request that it serves.
    pub(super) fn serves(&mut self) {
        self.served = self.served.saturating_add(1);
    }

    /// Takes from a response how long the endpoint keeps the connection: `Keep-Alive: timeout=…`, as servers write it
    /// since RFC 2068 (section 19.7.1).
    pub(super) fn told(&mut self, headers: &HeaderMap) {
        let Some(value) = headers.get("keep-alive").and_then(|value| value.to_str().ok()) else { return };
        let timeout = value.split(',').find_map(|part| part.trim().strip_prefix("timeout="));
        if let Some(seconds) = timeout.and_then(|seconds| seconds.trim().parse().ok()) {
            self.kept = Duration::from_secs(seconds).saturating_sub(MARGIN);
        }
    }

    /// Whether it may serve another request, apart from whether it is open.
    pub(super) fn is_young(&self, now: Instant, config: &Connections) -> bool {
        now < after(self.used, config.idle_time.min(self.kept))
            && self.until.is_none_or(|until| now < until)
            && config.requests.is_none_or(|most| self.served < most.get())
    }

    /// Whether nothing is left to read or write of what was said. It has no buffers from now on.
    pub(super) fn is_done(&mut self) -> bool {
        let done = self.wire.is_empty();
        self.wire.rest();
        done
    }

    /// Whether the connection is open and has nothing to do. Nobody is woken by it from now on.
    pub(super) fn rest(&mut self) -> bool {
        let idle = self.wire.is_idle();
        self.wire.rest();
        idle
    }
}
