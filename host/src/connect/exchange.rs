//! One request and the head of its response.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Response, StatusCode, Version};
use tokio::time::Instant;

use super::Record;
use super::arriving::Arriving;
use super::live::Live;
use super::outbound::Outbound;
use super::sending::Sending;
use super::target::{Target, Times};
use super::tunnel::Tunnel;
use crate::body::{Body, BodyError};
use crate::config::UpstreamTimeouts;
use crate::deadline::{Deadline, after};
use crate::error::{Error, Reason};
use crate::headers::{Direction, strip_hop_by_hop};
use crate::http1::body::{Decoder, Part};
use crate::http1::chunked::Piece;
use crate::http1::framing::Length;
use crate::http1::head::{self, BadHead, Limits, Lines, ResponseHead, Scan};
use crate::http1::upgrade::{Allowed, is_agreed};

/// How large the head of a response may be.
pub(super) const LIMITS: Limits = Limits { bytes: 64 * 1024, fields: 256 };
/// Interim responses before the final one. An upstream has no use for more than one or two.
const INTERIM: u32 = 16;
/// How long an upstream may take to ask for a body that its client keeps until then. Some never do, and get it all the
/// same (RFC 9110, section 10.1.1).
pub(super) const ASKING: Duration = Duration::from_secs(1);

pub(super) struct Exchange<'a> {
    pub(super) live: Box<Live>,
    pub(super) home: &'a Rc<Target>,
    pub(super) timeouts: &'a UpstreamTimeouts,
    pub(super) times: &'a Times,
    pub(super) reused: bool,
}

/// An exchange that ended without the head of a response. Whether the request can be sent once more, it says itself.
pub(super) struct Failure {
    pub(super) error: Error,
    /// Nothing of it was sent, so not even this server can have seen it.
    pub(super) unsent: bool,
    /// The connection had served others before, and was closed without a word: in all likelihood before it came.
    pub(super) dead: bool,
}

impl Failure {
    /// One after which there is nothing to try.
    pub(super) fn last(error: Error) -> Self {
        Self { error, unsent: false, dead: false }
    }
}

/// The interim responses that came so far.
#[derive(Default)]
pub(super) struct Interims {
    count: u32,
    bytes: usize,
}

impl Interims {
    /// One more, of so many bytes. Answers whether that is too many. Together they may have as many as one head.
    pub(super) fn are_too_many(&mut self, bytes: usize) -> bool {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.count > INTERIM || self.bytes > LIMITS.bytes
    }
}

/// What was read before the head of the response.
#[derive(Default)]
struct Reading {
    scan: Scan,
    interims: Interims,
    /// Anything came at all.
    heard: bool,
}

/// Why no head came.
enum Fault {
    /// The connection has ended.
    Ended,
    Head(BadHead),
    Interim,
    Switched,
    Body(BodyError),
    Late(Reason),
}

impl Exchange<'_> {
    /// The response. The request is whole again where another try may be worth it and its body can be sent once more.
    pub(super) async fn run(
        mut self,
        request: &mut Outbound<'_>,
        record: &mut Record,
    ) -> Result<Response<Body>, Failure> {
        // A connection that was closed while nobody used it.
        if self.reused && !self.live.wire.is_idle() {
            let error = self.home.error(Reason::UpstreamReset, "closed the connection while it was idle");
            return Err(Failure { error, unsent: true, dead: true });
        }
        // What the client would say in another protocol is kept until the upstream agrees.
        let upgrade = request.request().extensions().get::<Allowed>().is_some();
        let held = upgrade.then(|| std::mem::take(request.request_mut().body_mut()));
        // Streams of gRPC end when they want to; their responses are exempt in any case.
        let endless = matches!(request.request().body(), Body::Stream(_)) && is_endless(request.request().headers());
        let end = match self.times.head_by {
            _ if endless => self.times.call.map(|call| (call, Reason::TotalTimeout)),
            Some(head_by) if head_by < self.times.total => Some((head_by, Reason::UpstreamTimeout)),
            _ => Some((self.times.total, Reason::TotalTimeout)),
        };
        // To a connection that was at hand it is the same moment.
        let begun = if self.reused { self.times.begun } else { Instant::now() };
        self.live.serves();
        let wire = &mut self.live.wire;
        let mut sending = Sending::new(wire, request, begun);
        let asked = &*request;

        let (mut reading, mut asking) = (Reading::default(), Deadline::new());
        let outcome = poll_fn(|context| {
            loop {
                if let Err(error) = sending.poll(context, &mut self.live.wire) {
                    return Poll::Ready(Err(Fault::Body(error)));
                }
                let held = sending.is_held();
                if let Poll::Ready(outcome) = self.poll_head(context, asked, &mut sending, &mut reading) {
                    return Poll::Ready(outcome);
                }
                if held && asking.poll(context, after(begun, ASKING)).is_ready() {
                    sending.release();
                }
                if held && !sending.is_held() {
                    continue;
                }
                return self.deadline(context, &sending, end.as_ref()).map(|reason| Err(Fault::Late(reason)));
            }
        })
        .await;
        match outcome {
            Ok(head) => {
                if head.response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    return Ok(self.switch(head, held.unwrap_or_default(), record));
                }
                let failed = may_pass(head.response.status()) && sending.all;
                let body = if failed { sending.whole().map(|body| held.unwrap_or(body)) } else { None };
                let response = self.accept(head, sending, record).map_err(Failure::last)?;
                if let Some(body) = body {
                    request.put_back(body);
                }
                Ok(response)
            }
            Err(fault) => {
                let error = self.explain(&fault);
                // Over a reused connection that was closed without a word, it was in all likelihood never seen.
                let silent = !reading.heard && matches!(fault, Fault::Ended);
                let (unsent, dead) = (silent && !sending.begun, silent && self.reused);
                if let Some(body) = sending.into_body() {
                    request.put_back(held.unwrap_or(body));
                }
                Err(Failure { error, unsent, dead })
            }
        }
    }

    /// Reads until a final head is there.
    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        outbound: &Outbound<'_>,
        sending: &mut Sending,
        reading: &mut Reading,
    ) -> Poll<Result<ResponseHead, Fault>> {
        let wire = &mut self.live.wire;
        let asked = outbound.request();
        loop {
            let mut lines = Lines::new();
            match reading.scan.response(&wire.input, LIMITS.bytes, &mut lines) {
                Err(bad) => return Poll::Ready(Err(Fault::Head(bad))),
                Ok(None) => match wire.poll_read(context) {
                    Poll::Ready(Ok(1..)) => reading.heard = true,
                    Poll::Ready(_) => return Poll::Ready(Err(Fault::Ended)),
                    Poll::Pending => return Poll::Pending,
                },
                Ok(Some(length)) => {
                    let bytes = wire.input.split_to(length).freeze();
                    let head = head::response(&bytes, &lines, LIMITS, asked.method()).map_err(Fault::Head)?;
                    let status = head.response.status();
                    if status == StatusCode::SWITCHING_PROTOCOLS {
                        let agreed = asked.extensions().get::<Allowed>().is_some_and(|allowed| {
                            is_agreed(allowed, asked.headers(), status, head.response.headers())
                        });
                        return Poll::Ready(if agreed { Ok(head) } else { Err(Fault::Switched) });
                    }
                    if !status.is_informational() {
                        return Poll::Ready(Ok(head));
                    }
                    if reading.interims.are_too_many(length) {
                        return Poll::Ready(Err(Fault::Interim));
                    }
                    reading.scan = Scan::default();
                    match status {
                        // Asked for or not, it is about this connection alone. Our client is asked when its body is read.
                        StatusCode::CONTINUE => sending.release(),
                        status => outbound.hear(status, head.response.into_parts().0.headers),
                    }
                }
            }
        }
    }

    /// Ready with the limit that was passed.
    fn deadline(
        &mut self,
        context: &mut Context<'_>,
        sending: &Sending,
        end: Option<&(Instant, Reason)>,
    ) -> Poll<Reason> {
        let (at, reason) = match sending {
            // Where it takes no more, its answer is all that we wait for.
            _ if sending.all || sending.refused => {
                (Some(after(sending.at, self.timeouts.response_header)), Reason::UpstreamTimeout)
            }
            // While we wait for the client, its own limits count.
            _ if sending.waits_for_client(&self.live.wire) => (None, Reason::UpstreamIdle),
            _ => (Some(after(sending.at, self.timeouts.idle)), Reason::UpstreamIdle),
        };
        match (at, end) {
            (Some(at), Some((end, reason))) if *end < at => {
                self.live.deadline.poll(context, *end).map(|()| reason.clone())
            }
            (Some(at), _) => self.live.deadline.poll(context, at).map(|()| reason),
            (None, Some((end, reason))) => self.live.deadline.poll(context, *end).map(|()| reason.clone()),
            (None, None) => Poll::Pending,
        }
    }

    /// Makes our response of an agreement to go on with another protocol.
    fn switch(self, head: ResponseHead, client: Body, record: &mut Record) -> Response<Body> {
        record.head = Some(self.times.begun.elapsed());
        let (mut parts, ()) = head.response.into_parts();
        let protocol = parts.headers.get(header::UPGRADE).cloned();
        strip_hop_by_hop(&mut parts.headers, Direction::Response);
        if let Some(protocol) = protocol {
            parts.headers.insert(header::UPGRADE, protocol);
        }
        Response::from_parts(parts, Body::stream(Tunnel::new(self.live, client, self.timeouts.idle)))
    }

    /// Makes our response of what came.
    fn accept(mut self, head: ResponseHead, sending: Sending, record: &mut Record) -> Result<Response<Body>, Error> {
        let now = Instant::now();
        record.head = Some(now - self.times.begun);
        let (mut parts, ()) = head.response.into_parts();
        parts.version = Version::HTTP_11;
        if head.kinds.hop_by_hop() {
            self.live.told(&parts.headers);
            strip_hop_by_hop(&mut parts.headers, Direction::Response);
        }
        let keep = head.keep_alive && sending.all;
        let input = &mut self.live.wire.input;
        // Most responses are whole with the packet that brings their head.
        let whole = match head.length {
            Length::None => Some(Bytes::new()),
            Length::Sized(length) if length <= input.len() as u64 => Some(input.split_to(length as usize).freeze()),
            Length::Sized(_) | Length::Chunked | Length::UntilClose => None,
        };
        if let Some(body) = whole {
            if keep {
                self.home.give_back(self.live, now);
            }
            return Ok(Response::from_parts(parts, body.into()));
        }
        let mut decoder = Decoder::new(head.length);
        // As long as nothing was sent on, a body that begins badly can still become an error.
        let first = decoder.next(input).map_err(|bad| self.home.error(Reason::UpstreamBody, bad))?;
        if first == Some(Piece::End) {
            if keep {
                self.home.give_back(self.live, now);
            }
            return Ok(Response::from_parts(parts, Body::Empty));
        }
        let total = if is_endless(&parts.headers) { self.times.call } else { Some(self.times.total) };
        let body = Arriving::new(self.live, self.home.clone(), decoder, first.and_then(Part::of))
            .within(self.timeouts.idle, total)
            .reusable(keep && head.length != Length::UntilClose);
        // An answer before it asked for the body says that it does not want it.
        let over = sending.all || sending.refused || sending.is_held();
        let body = if over { body } else { body.while_sending(sending) };
        Ok(Response::from_parts(parts, Body::parts(body)))
    }

    fn explain(&self, fault: &Fault) -> Error {
        let reused = if self.reused { " on a reused connection" } else { "" };
        let because = |reason, cause: &dyn std::fmt::Display| self.home.error(reason, format_args!("{cause}{reused}"));
        match fault {
            Fault::Ended => because(Reason::UpstreamReset, &"closed the connection"),
            Fault::Head(bad) => because(Reason::UpstreamProtocol, bad),
            Fault::Interim => because(Reason::UpstreamProtocol, &"too many interim responses"),
            Fault::Switched => because(Reason::UpstreamProtocol, &"switched protocols in a way that was not asked for"),
            Fault::Late(reason) => because(reason.clone(), &"took too long"),
            Fault::Body(error) => Error::because(error.of_request(), error.to_string()),
        }
    }
}

/// Whether the same request may well be answered otherwise a moment later.
pub(super) fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
}

/// Whether a body by its nature ends when it wants to, and not soon.
pub(super) fn is_endless(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        return false;
    };
    let begins =
        |with: &str| kind.as_bytes().get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()));
    begins("text/event-stream") || begins("application/grpc")
}
