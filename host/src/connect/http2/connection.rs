//! One connection, and the exchanges on it.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, ResponseFuture, SendRequest};
use h2::{Ping, RecvStream, SendStream};
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{Authority, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::arriving::Arriving;
use super::sending::{Progress, Sending};
use crate::body::{Body, BodyError};
use crate::config::{Connections, UpstreamTimeouts};
use crate::connect::Record;
use crate::connect::exchange::{ASKING, Failure, Interims, LIMITS, is_endless, may_pass};
use crate::connect::live::Live;
use crate::connect::outbound::{EXPECTED, Outbound};
use crate::connect::room::Counted;
use crate::connect::target::{Target, Times};
use crate::deadline::{Deadline, after};
use crate::error::{Error, Reason};
use crate::headers::{Direction, strip_hop_by_hop};
use crate::proxy_protocol::Source;
use crate::transport::io::Io;

const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;
/// What waits in memory for an upstream that reads slowly, for each stream.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams on one connection, also where the upstream allows more: what is on one fails with it.
const STREAMS: usize = 100;
/// An upstream that does not answer a ping before the next one is gone, even if its network does not say so.
const PING: Duration = Duration::from_secs(10);

pub(super) struct Connection {
    sender: SendRequest<Bytes>,
    driver: AbortHandle,
    peer: Option<SocketAddr>,
    /// Whom it belongs to, where it began with a header of the PROXY protocol.
    source: Source,
    state: Rc<State>,
}

struct State {
    /// Whether it takes requests.
    open: Cell<bool>,
    busy: Cell<usize>,
    used: Cell<Instant>,
    /// Requests that it was given.
    served: Cell<u32>,
    /// When it is too old for another request.
    until: Option<Instant>,
    _counted: Counted,
}

/// A request that is under way, until its response has been read.
pub(super) struct Busy(Rc<State>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get() - 1);
        self.0.used.set(Instant::now());
    }
}

/// Why no head came.
pub(super) enum Fault {
    Http(h2::Error),
    Interim,
    Switched,
    Body(BodyError),
    Late(Reason),
}

impl Connection {
    /// Begins to speak HTTP/2 on a connection.
    ///
    /// # Errors
    /// Why the other side does not, in words for operators.
    pub(super) async fn open(live: Live) -> Result<Self, String> {
        let (peer, source) = (live.peer, live.source);
        let (io, until, counted) = live.into_parts();
        let (sender, connection) = client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(LIMITS.bytes as u32)
            // None before the settings of the other side are known: they may well allow fewer than anybody would guess.
            .initial_max_send_streams(0)
            .handshake(io)
            .await
            .map_err(|cause| cause.to_string())?;
        let state = Rc::new(State {
            open: Cell::new(true),
            busy: Cell::new(0),
            used: Cell::new(Instant::now()),
            served: Cell::new(0),
            until,
            _counted: counted,
        });
        let shared = state.clone();
        let (settled, settings) = oneshot::channel();
        let driver = spawn_local(async move {
            drive(connection, settled).await;
            shared.open.set(false);
        });
        settings.await.map_err(|_| "ended the connection before it said that it speaks HTTP/2".to_owned())?;
        Ok(Self { sender, driver: driver.abort_handle(), peer, source, state })
    }

    /// Whether it may serve another request.
    pub(super) fn is_young(&self, now: Instant, config: &Connections) -> bool {
        let state = &*self.state;
        state.open.get()
            && (state.busy.get() > 0 || now < after(state.used.get(), config.idle_time))
            && state.until.is_none_or(|until| now < until)
            && config.requests.is_none_or(|most| state.served.get() < most.get())
    }

    pub(super) fn busy(&self) -> usize {
        self.state.busy.get()
    }

    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    pub(super) fn source(&self) -> Source {
        self.source
    }

    /// Requests that it takes at once.
    pub(super) fn room(&self) -> usize {
        self.sender.current_max_send_streams().min(STREAMS)
    }

    /// The response. The request is whole again where another try may be worth it and its body can be sent once more.
    pub(super) async fn exchange(
        &self,
        request: &mut Outbound<'_>,
        home: &Target,
        timeouts: &UpstreamTimeouts,
        times: &Times,
        record: &mut Record,
    ) -> Result<Response<Body>, Failure> {
        let (busy, reused) = self.begin();
        // HTTP/2 has one map of fields, ours among them.
        request.settle();
        let asked = request.request();
        let endless = matches!(asked.body(), Body::Stream(_)) && is_endless(asked.headers());
        let held = request.is_waited_for(asked.body());
        let head = head(asked, home.endpoint().tls, held);
        let (mut response, stream) = self.send(head, asked.body().is_end_stream(), home)?;
        let progress = Progress::new(held);
        let (whole, upload) = Sending::begin(request.take_body(), stream, &progress);
        let upload = upload.map(Upload::begin);

        let end = match times.head_by {
            _ if endless => times.call.map(|call| (call, Reason::TotalTimeout)),
            Some(head_by) if head_by < times.total => Some((head_by, Reason::UpstreamTimeout)),
            _ => Some((times.total, Reason::TotalTimeout)),
        };
        let outcome = answered(&mut response, request, &progress, timeouts, end.as_ref()).await;
        match outcome {
            Ok(response) => {
                record.head = Some(times.begun.elapsed());
                if let Some(body) = whole.filter(|_| may_pass(response.status())) {
                    request.put_back(body);
                }
                let (mut parts, body) = response.into_parts();
                parts.version = Version::HTTP_11;
                strip_hop_by_hop(&mut parts.headers, Direction::Response);
                if body.is_end_stream() {
                    return Ok(Response::from_parts(parts, Body::Empty));
                }
                let total = if is_endless(&parts.headers) { times.call } else { Some(times.total) };
                let length = length(&parts.headers);
                // An answer before it asked for the body says that it does not want it.
                let upload = upload.filter(|_| !progress.is_held());
                let body = Arriving::new(body, length, (upload, progress), busy).within(timeouts.idle, total);
                Ok(Response::from_parts(parts, Body::stream(body)))
            }
            Err(fault) => {
                if let Some(body) = whole {
                    request.put_back(body);
                }
                Err(self.failed(home, fault, reused))
            }
        }
    }

    /// Counts a request that goes over it. Answers whether it is not the first.
    pub(super) fn begin(&self) -> (Busy, bool) {
        let reused = self.state.served.replace(self.state.served.get().saturating_add(1)) > 0;
        self.state.busy.set(self.state.busy.get() + 1);
        (Busy(self.state.clone()), reused)
    }

    /// Sends a head.
    pub(super) fn send(
        &self,
        head: Option<Request<()>>,
        whole: bool,
        home: &Target,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), Failure> {
        let head = head.ok_or_else(|| Failure::last(Error::because(Reason::BadRequest, "no head of HTTP/2")))?;
        self.sender.clone().send_request(head, whole).map_err(|cause| {
            self.state.open.set(false);
            let error = home.error(Reason::UpstreamReset, cause);
            Failure { error, unsent: true, dead: true }
        })
    }

    /// What a request came to that got no answer.
    pub(super) fn failed(&self, home: &Target, fault: Fault, reused: bool) -> Failure {
        if matches!(&fault, Fault::Http(cause) if cause.is_go_away() || cause.is_io()) {
            self.state.open.set(false);
        }
        let unsent = matches!(&fault, Fault::Http(cause) if is_unseen(cause));
        let dead = reused && matches!(&fault, Fault::Http(cause) if cause.is_io());
        Failure { error: explain(home, fault), unsent, dead }
    }

    /// Whether the upstream lets a stream go on with another protocol (RFC 8441, section 3).
    pub(super) fn takes_tunnels(&self) -> bool {
        self.sender.is_extended_connect_protocol_enabled()
    }
}

/// Waits for the head of the response.
pub(super) async fn answered(
    response: &mut ResponseFuture,
    request: &Outbound<'_>,
    progress: &Progress,
    timeouts: &UpstreamTimeouts,
    end: Option<&(Instant, Reason)>,
) -> Result<Response<RecvStream>, Fault> {
    let (mut deadline, mut asking, mut interims) = (Deadline::new(), Deadline::new(), Interims::default());
    let begun = Instant::now();
    poll_fn(|context| {
        progress.wake(context);
        if let Some(error) = progress.broken() {
            return Poll::Ready(Err(Fault::Body(error)));
        }
        if progress.is_held() && asking.poll(context, after(begun, ASKING)).is_ready() {
            progress.release();
        }
        match poll_head(response, &mut interims, request, progress, context) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => {
                late(progress, timeouts, end, &mut deadline, context).map(|reason| Err(Fault::Late(reason)))
            }
        }
    })
    .await
}

impl Drop for Connection {
    fn drop(&mut self) {
        // With requests on it, it ends when they do: without a sender there are no others.
        if self.state.busy.get() == 0 {
            self.driver.abort();
        }
    }
}

/// The task that sends the body of a request.
pub(super) struct Upload(AbortHandle);

impl Upload {
    pub(super) fn begin(sending: impl Future<Output = ()> + 'static) -> Self {
        Self(spawn_local(sending).abort_handle())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads and writes until the connection ends, tells when the other side's settings are there, and asks now and then whether the other side is still there.
async fn drive(mut connection: client::Connection<Io, Bytes>, settled: oneshot::Sender<()>) {
    let mut pings = connection.ping_pong();
    let mut ticks = interval(PING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    let (mut asked, mut settled) = (false, Some(settled));
    let mut connection = pin!(connection);
    poll_fn(|context| {
        loop {
            if connection.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            if connection.max_concurrent_send_streams() > 0
                && let Some(settled) = settled.take()
            {
                // Whoever waited may have gone.
                let _ = settled.send(());
            }
            let Some(pings) = &mut pings else { return Poll::Pending };
            if asked && let Poll::Ready(pong) = pings.poll_pong(context) {
                if pong.is_err() {
                    return Poll::Ready(());
                }
                asked = false;
            }
            if ticks.poll_tick(context).is_pending() {
                return Poll::Pending;
            }
            if asked || pings.send_ping(Ping::opaque()).is_err() {
                return Poll::Ready(());
            }
            asked = true;
        }
    })
    .await;
}

/// The head as HTTP/2 has it: the host is a part of the target, and what speaks of the connection is left out.
pub(super) fn head(asked: &Request<Body>, tls: bool, held: bool) -> Option<Request<()>> {
    let mut headers = asked.headers().clone();
    if held {
        headers.insert(header::EXPECT, HeaderValue::from_bytes(EXPECTED).ok()?);
    }
    let host = headers.remove(header::HOST)?;
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, header::CONTENT_LENGTH] {
        headers.remove(name);
    }
    let told = matches!(*asked.method(), Method::POST | Method::PUT | Method::PATCH);
    match asked.body().size_hint().exact() {
        Some(0) if !told => {}
        Some(length) => _ = headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length)),
        None => {}
    }
    let target = asked.uri().path_and_query().map_or("/", |target| target.as_str());
    let uri = Uri::builder()
        .scheme(if tls { Scheme::HTTPS } else { Scheme::HTTP })
        .authority(Authority::try_from(host.as_bytes()).ok()?)
        .path_and_query(target)
        .build()
        .ok()?;
    let mut request = Request::new(());
    *request.method_mut() = asked.method().clone();
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    Some(request)
}

/// The length of a body, which HTTP/2 checks while it comes.
pub(super) fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn poll_head(
    response: &mut ResponseFuture,
    interims: &mut Interims,
    request: &Outbound<'_>,
    progress: &Progress,
    context: &mut Context<'_>,
) -> Poll<Result<Response<RecvStream>, Fault>> {
    while let Poll::Ready(Some(Ok(head))) = response.poll_informational(context) {
        let bytes = head.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if interims.are_too_many(bytes) {
            return Poll::Ready(Err(Fault::Interim));
        }
        match head.status() {
            StatusCode::SWITCHING_PROTOCOLS => return Poll::Ready(Err(Fault::Switched)),
            StatusCode::CONTINUE => progress.release(),
            status => request.hear(status, head.into_parts().0.headers),
        }
    }
    Pin::new(response).poll(context).map_err(Fault::Http)
}

/// Ready with the limit that was passed.
fn late(
    progress: &Progress,
    timeouts: &UpstreamTimeouts,
    end: Option<&(Instant, Reason)>,
    deadline: &mut Deadline,
    context: &mut Context<'_>,
) -> Poll<Reason> {
    let own = match () {
        () if progress.is_all() => Some((after(progress.at(), timeouts.response_header), Reason::UpstreamTimeout)),
        // While we wait for the client, its own limits count.
        () if progress.waits_for_client() => None,
        () => Some((after(progress.at(), timeouts.idle), Reason::UpstreamIdle)),
    };
    let Some((at, reason)) = own.into_iter().chain(end.cloned()).min_by_key(|(at, _)| *at) else {
        return Poll::Pending;
    };
    deadline.poll(context, at).map(|()| reason)
}

/// Whether the upstream certainly did nothing with a request: it says so itself (RFC 9113, section 8.7).
fn is_unseen(cause: &h2::Error) -> bool {
    let refused = cause.is_reset() && cause.reason() == Some(h2::Reason::REFUSED_STREAM);
    // Only streams above the last one that it names end like that.
    let gone = cause.is_go_away() && cause.reason() == Some(h2::Reason::NO_ERROR);
    cause.is_remote() && (refused || gone)
}

fn explain(home: &Target, fault: Fault) -> Error {
    match fault {
        Fault::Http(cause) if cause.is_io() || cause.is_remote() => home.error(Reason::UpstreamReset, cause),
        Fault::Http(cause) => home.error(Reason::UpstreamProtocol, cause),
        Fault::Interim => home.error(Reason::UpstreamProtocol, "too many interim responses"),
        Fault::Switched => home.error(Reason::UpstreamProtocol, "switched protocols, which HTTP/2 does not have"),
        Fault::Late(reason) => home.error(reason, "took too long"),
        Fault::Body(error) => Error::because(error.of_request(), error.to_string()),
    }
}
