//! What a client hears before its response.

use http::{HeaderMap, Response, StatusCode};

use crate::http1::incoming::Link;
use crate::http1::write;
use crate::http2::Answering;

/// Where interim responses to a request go (RFC 9110, section 15.2). Behind the response they go nowhere.
#[derive(Debug, Clone, Default)]
pub enum Interim {
    /// The client takes none: it is of HTTP/1.0, or none at all.
    #[default]
    Nowhere,
    /// Over a connection of HTTP/1.1.
    Http1(Link),
    /// On a stream of HTTP/2.
    Http2(Answering),
}

impl Interim {
    /// Whether anybody takes one.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        !matches!(self, Self::Nowhere)
    }

    /// Sends one. It leaves when the client's connection is driven next.
    pub fn send(&self, status: StatusCode, headers: HeaderMap) {
        match self {
            Self::Nowhere => {}
            Self::Http1(link) => _ = link.with(|wire| write::interim(wire.tail(), status, &headers)),
            Self::Http2(answering) => {
                let mut response = Response::new(());
                *response.status_mut() = status;
                *response.headers_mut() = headers;
                answering.interim(response);
            }
        }
    }
}
