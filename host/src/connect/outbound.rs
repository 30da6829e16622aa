//! A request on its way to upstreams. It stays in its place, whatever becomes of it: it is large, and may be needed again.

use std::fmt;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, StatusCode};

use crate::body::Body;
use crate::headers::Forwarded;
use crate::http1::framing::Length;
use crate::http1::write;
use crate::proxy_protocol::Source;

/// What is done with an interim response other than `100 Continue`.
pub type Hear<'a> = &'a dyn Fn(StatusCode, HeaderMap);

/// What a request says of a body that has to be asked for.
pub(super) const EXPECTED: &[u8] = b"100-continue";

/// A request with what we add to it.
pub struct Outbound<'a> {
    request: Box<Request<Body>>,
    host: Option<HeaderValue>,
    forwarded: Option<Forwarded<'a>>,
    source: Source,
    hear: Option<Hear<'a>>,
    expects: bool,
    whole: bool,
}

impl<'a> Outbound<'a> {
    /// A request that goes out as it is.
    #[must_use]
    pub fn new(request: impl Into<Box<Request<Body>>>) -> Self {
        let request = request.into();
        Self { request, host: None, forwarded: None, source: Source::Unknown, hear: None, expects: false, whole: true }
    }

    /// Tells the upstream whom it is from. None of these fields may be among the request's own.
    #[must_use]
    pub fn forwarded(mut self, forwarded: Forwarded<'a>) -> Self {
        self.forwarded = Some(forwarded);
        self
    }

    /// Interim responses of the upstream go there. Without that they are taken, and forgotten.
    pub fn set_hear(&mut self, hear: Hear<'a>) {
        self.hear = Some(hear);
    }

    /// The client waits to be asked for the body, and the upstream is told so: it may refuse without it (RFC 9110, section
    /// 10.1.1). The body is read when the upstream asks for it, or says nothing for a while.
    pub fn set_expects(&mut self) {
        self.expects = true;
    }

    /// In the place of the request's own `Host`.
    pub fn set_host(&mut self, host: HeaderValue) {
        self.host = Some(host);
    }

    /// Goes out over connections that belong to this client alone, where the PROXY protocol tells the upstream of it.
    pub fn set_source(&mut self, source: Source) {
        self.source = source;
    }

    pub(super) fn source(&self) -> Source {
        self.source
    }

    /// The request, without what is added.
    #[must_use]
    pub fn request(&self) -> &Request<Body> {
        &self.request
    }

    /// The same, for changing it.
    pub fn request_mut(&mut self) -> &mut Request<Body> {
        &mut self.request
    }

    /// Moves what is added to the request's own headers.
    pub fn settle(&mut self) {
        if let Some(forwarded) = self.forwarded.take() {
            forwarded.insert(self.request.headers_mut());
        }
        if let Some(host) = self.host.take() {
            self.request.headers_mut().insert(header::HOST, host);
        }
    }

    /// Whether the upstream has to ask for this body.
    pub(super) fn is_waited_for(&self, body: &Body) -> bool {
        self.expects && matches!(body, Body::Stream(_))
    }

    /// Takes an interim response.
    pub(super) fn hear(&self, status: StatusCode, headers: HeaderMap) {
        if let Some(hear) = self.hear {
            hear(status, headers);
        }
    }

    /// Whether it can be sent, for the first time or once more.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// The body, to be sent now. Without it the request is not whole.
    pub(super) fn take_body(&mut self) -> Body {
        self.whole = false;
        std::mem::take(self.request.body_mut())
    }

    /// The body comes back, as it was.
    pub(super) fn put_back(&mut self, body: Body) {
        self.whole = true;
        *self.request.body_mut() = body;
    }

    /// Writes the head; `waited_for`: its body has to be asked for.
    pub(super) fn write(&self, out: &mut Vec<u8>, length: Length, waited_for: bool) {
        let request = &self.request;
        let added = |out: &mut Vec<u8>| {
            if waited_for {
                write::field(out, &header::EXPECT, EXPECTED);
            }
            if let Some(forwarded) = &self.forwarded {
                forwarded.write(out);
            }
        };
        let line_and_headers = (request.method(), request.uri(), request.headers());
        write::request(out, line_and_headers, self.host.as_ref(), added, length);
    }
}

impl fmt::Debug for Outbound<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("request", &self.request).field("whole", &self.whole).finish_non_exhaustive()
    }
}
