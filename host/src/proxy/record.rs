//! What is known of one request, for the log line and the counts at its end.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::header::{HOST, USER_AGENT};
use http::{HeaderValue, Method, StatusCode, Uri, Version};

use super::destination::Destination;
use super::{Proxy, Route};
use crate::body::{End, Observe};
use crate::chain::{Ended, Pass};
use crate::error::{Error, Reason};
use crate::metrics::ActiveRequest;
use crate::request_id::RequestId;
use crate::server::connection::{Peer, Received};
use crate::telemetry::{AccessEntry, AccessLines};
use crate::upstream::Upstream;

/// Everything that the line will say. Values are kept as they are shared; nothing is formatted before the end.
pub(super) struct Entry {
    pub(super) request_id: RequestId,
    pub(super) client: Option<IpAddr>,
    pub(super) route: Option<Rc<Route>>,
    /// None where no upstream was asked.
    pub(super) destination: Option<Rc<Destination>>,
    /// By its place in the upstream.
    pub(super) endpoint: Option<usize>,
    pub(super) upstream_duration: Option<std::time::Duration>,
    pub(super) status: Option<StatusCode>,
    /// None where there is no body to count.
    pub(super) bytes_in: Option<Rc<Cell<u64>>>,
    bytes_out: Cell<u64>,
    begun: Instant,
    /// None where what came is no request.
    method: Option<Method>,
    /// None where no lines are written.
    line: Option<Line>,
    reason: RefCell<Cow<'static, str>>,
    consumer: Option<Arc<str>>,
    active: Cell<Option<ActiveRequest>>,
}

/// What is kept for the line alone.
struct Line {
    time: SystemTime,
    tls: bool,
    /// None where what came is no request.
    asked: Option<Asked>,
}

/// What the head of a request says.
struct Asked {
    version: Version,
    host: Option<HeaderValue>,
    uri: Uri,
    user_agent: Option<HeaderValue>,
}

impl Asked {
    fn host(&self) -> &[u8] {
        match (&self.host, self.uri.authority()) {
            (Some(host), _) => host.as_bytes(),
            (None, Some(authority)) => authority.as_str().as_bytes(),
            (None, None) => b"",
        }
    }
}

impl Entry {
    pub(super) fn new(
        received: &Received,
        peer: &Peer,
        request_id: RequestId,
        active: ActiveRequest,
        lines: &AccessLines,
    ) -> Self {
        let request = match received {
            Received::Request(request, ..) => Some(request),
            Received::Refused(_) => None,
        };
        let line = lines.is_on().then(|| Line {
            time: SystemTime::now(),
            tls: peer.tls,
            asked: request.map(|request| Asked {
                version: request.version(),
                host: request.headers().get(HOST).cloned(),
                uri: request.uri().clone(),
                user_agent: request.headers().get(USER_AGENT).cloned(),
            }),
        });
        Self {
            request_id,
            client: Some(peer.address.ip()),
            route: None,
            destination: None,
            endpoint: None,
            upstream_duration: None,
            status: None,
            bytes_in: None,
            bytes_out: Cell::default(),
            begun: Instant::now(),
            method: request.map(|request| request.method().clone()),
            line,
            reason: RefCell::new(Cow::Borrowed("ok")),
            consumer: None,
            active: Cell::new(Some(active)),
        }
    }

    /// The upstream that was asked, or the route's own where none was.
    pub(super) fn upstream(&self) -> Option<&Upstream> {
        let own = || self.route.as_ref().and_then(|route| route.main());
        self.destination.as_deref().or_else(own).map(|destination| &*destination.upstream)
    }

    pub(super) fn is_head(&self) -> bool {
        self.method.as_ref() == Some(&Method::HEAD)
    }

    pub(super) fn fail(&mut self, error: &Error) {
        *self.reason.get_mut() = error.reason().to_string().into();
        if !error.detail().is_empty() {
            tracing::debug!(request = self.request_id.as_str(), "{error}");
        }
    }

    /// Takes from a pass how it ended.
    pub(super) fn end(&mut self, pass: &mut Pass<'_>) {
        self.consumer = pass.attributes.get("consumer").cloned();
        match pass.ended.take() {
            None => {}
            Some(Ended::Answered(plugin)) => *self.reason.get_mut() = format!("plugin-answered:{plugin}").into(),
            Some(Ended::Refused(plugin, code)) => {
                *self.reason.get_mut() = format!("plugin-refused:{plugin}:{code}").into();
            }
            Some(Ended::Failed(error)) => self.fail(&error),
        }
    }
}

/// Writes the line when the response's body has ended.
pub(super) struct Closing {
    pub(super) entry: Entry,
    pub(super) proxy: Rc<Proxy>,
}

impl Observe for Closing {
    fn piece(&self, bytes: usize) {
        self.entry.bytes_out.set(self.entry.bytes_out.get() + bytes as u64);
    }

    fn end(&self, end: End<'_>) {
        let entry = &self.entry;
        entry.active.take();
        match end {
            End::Whole => {}
            End::Broken(error) => *entry.reason.borrow_mut() = error.of_response().to_string().into(),
            End::Dropped => *entry.reason.borrow_mut() = Cow::Borrowed("client-gone"),
        }
        let reason = entry.reason.borrow();
        let status = entry.status.unwrap_or_else(|| Reason::ClientGone.status());
        let took = entry.begun.elapsed();
        // The metric counts the word without the plugin's name and its code: those have series of their own.
        let word = reason.split(':').next().unwrap_or_default();
        let metrics = entry.route.as_ref().map_or(&self.proxy.nowhere, |route| &route.metrics);
        metrics.request_ended(entry.method.as_ref(), status, word, took);
        let Some(line) = &entry.line else { return };
        let asked = line.asked.as_ref();
        let route = entry.route.as_ref();
        let upstream = entry.upstream();
        let endpoint = upstream.zip(entry.endpoint).and_then(|(upstream, place)| upstream.endpoint(place));
        self.proxy.lines.write(&AccessEntry {
            time: line.time,
            request_id: entry.request_id.as_str(),
            client: entry.client,
            protocol: asked.map_or("-", |asked| version(asked.version)),
            method: entry.method.as_ref().map_or("-", Method::as_str),
            scheme: if line.tls { "https" } else { "http" },
            host: asked.map(Asked::host).unwrap_or_default(),
            path: asked.map_or(b"", |asked| asked.uri.path().as_bytes()),
            query: asked.and_then(|asked| asked.uri.query()).map(str::as_bytes),
            status: entry.status.map(|status| status.as_u16()),
            reason: &reason,
            route: route.map(|route| route.name.as_str()),
            upstream: upstream.map(|upstream| upstream.config().name.as_str()),
            endpoint: endpoint.and_then(|endpoint| endpoint.authority.to_str().ok()),
            duration: took,
            upstream_duration: entry.upstream_duration,
            bytes_in: entry.bytes_in.as_ref().map_or(0, |bytes| bytes.get()),
            bytes_out: entry.bytes_out.get(),
            consumer: entry.consumer.as_deref(),
            user_agent: asked.and_then(|asked| asked.user_agent.as_ref()).map(HeaderValue::as_bytes),
        });
    }
}

/// Counts the bytes of a request's body.
pub(super) struct Counted(pub(super) Rc<Cell<u64>>);

impl Observe for Counted {
    fn piece(&self, bytes: usize) {
        self.0.set(self.0.get() + bytes as u64);
    }

    fn end(&self, _: End<'_>) {}
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}
