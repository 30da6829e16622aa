//! How a connection ends other than by agreement.

use crate::http1::head::BadHead;
use crate::server::tls;

/// How a connection ends other than by agreement.
#[derive(Debug)]
pub(super) enum Ended {
    /// No request for too long.
    Idle,
    /// A head that did not come in time.
    Head,
    /// The client stopped reading.
    Write,
    /// The client resets its requests.
    Resets,
    /// The client's frames make work and carry nothing.
    Flood,
    /// The client has as many connections as it may have.
    Crowded,
    /// What came is no header of the PROXY protocol.
    Header(&'static str),
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
    /// A handshake, or what comes before it, that was not over in time.
    Handshake,
    /// A handshake that failed, or a socket before it.
    Tls(std::io::Error),
    /// What the library for HTTP/2 says.
    Http(h2::Error),
    /// The client does not answer a ping.
    Ping,
}

impl Ended {
    /// The word for metrics, where the client was refused as a whole rather than a request of it.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        match self {
            Self::Resets => Some("http2-resets"),
            Self::Flood => Some("http2-flood"),
            Self::Crowded => Some("client-connections"),
            Self::Header(_) => Some("proxy-protocol"),
            Self::Handshake => Some("handshake-timeout"),
            Self::Tls(error) => error.get_ref()?.downcast_ref().map(tls::refusal),
            _ => None,
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Idle => f.write_str("no request for too long"),
            Self::Head => f.write_str("the head of a request did not come in time"),
            Self::Write => f.write_str("the client stopped reading"),
            Self::Resets => f.write_str("the client reset too many of its requests"),
            Self::Flood => f.write_str("the client's frames made too much work"),
            Self::Crowded => f.write_str("the client has as many connections as it may have"),
            Self::Header(why) => write!(f, "what came is no header of the PROXY protocol: {why}"),
            Self::Cut => f.write_str("the server is going down"),
            Self::Gone => f.write_str("the client left"),
            Self::Refused(bad) => write!(f, "what came is not a request: {bad}"),
            Self::Broken { .. } => f.write_str("the body of a response ended early"),
            Self::Handshake => f.write_str("the TLS handshake took too long"),
            Self::Tls(error) => error.fmt(f),
            Self::Http(error) => error.fmt(f),
            Self::Ping => f.write_str("the client did not answer a ping"),
        }
    }
}
