//! HTTP/2: many requests at once, each in a task of its own, on a connection that this drives.

mod pings;
mod sending;
mod stream;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection, Handshake};
use http::Response;
use tokio::task::spawn_local;
use tokio::time::Instant;

use super::activity::{Activity, Due};
use super::ended::Ended;
use super::gathered::Gathered;
use super::wire::Watched;
use super::{Peer, Received};
use crate::body::Body;
use crate::config::ListenerLimits;
use crate::deadline::{Deadline, after};
use crate::server::drain::{Open, Phase};
use pings::Pings;
use stream::Stream;

/// Streams that a client may have open at once. More than browsers use, and each may cost a whole request.
const STREAMS: u32 = 100;
/// Streams that a client may reset before we got to them (CVE-2023-44487), those that it may make us reset by its mistakes
/// (CVE-2025-8671), and those that it may reset while we are at them beyond the ones it lets us answer, until it loses
/// its connection. Browsers reset what a new page no longer needs, and that is less.
pub(super) const RESETS: usize = 100;
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What waits in memory for a client that reads slowly, for each stream.
const SEND_BUFFER: usize = 64 * 1024;
/// How long a client may take to agree that its idle HTTP/2 connection is over.
const FAREWELL: Duration = Duration::from_secs(5);

/// How connections are spoken on.
pub(super) fn settings(limits: &ListenerLimits) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(head_list(limits))
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(Some(RESETS))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .enable_connect_protocol()
        .max_send_buffer_size(SEND_BUFFER);
    builder
}

/// What the library takes of a head, where each field counts as 32 bytes more than it has (RFC 9113, section 6.5.2). What
/// is over our own limits comes through as long as it is not far over them, and gets our own answer.
fn head_list(limits: &ListenerLimits) -> u32 {
    let size = limits.head_size.saturating_mul(3) / 2;
    u32::try_from(size.saturating_add(limits.head_fields.saturating_mul(64))).unwrap_or(u32::MAX)
}

/// A connection that speaks HTTP/2.
pub(super) struct Http2<'a, C> {
    carry: Rc<C>,
    peer: Rc<Peer>,
    limits: &'a ListenerLimits,
    gathered: Gathered,
    activity: Rc<Activity>,
    state: State,
    /// When we told the client to go.
    told: Option<Instant>,
}

enum State {
    Beginning(Handshake<Watched, Bytes>),
    Serving(Connection<Watched, Bytes>, Pings),
}

impl<'a, C, F> Http2<'a, C>
where
    C: Fn(Received, Rc<Peer>) -> F,
    F: Future<Output = Response<Body>> + 'static,
{
    pub(super) fn new(
        carry: Rc<C>,
        peer: Peer,
        limits: &'a ListenerLimits,
        handshake: Handshake<Watched, Bytes>,
        gathered: Gathered,
        activity: Rc<Activity>,
    ) -> Self {
        Self { carry, peer: Rc::new(peer), limits, gathered, activity, state: State::Beginning(handshake), told: None }
    }

    /// Serves until one side has enough.
    pub(super) async fn serve(mut self, open: &Open, mut deadline: Deadline) -> Result<(), Ended> {
        poll_fn(|context| {
            let phase = open.phase(context);
            if phase > Phase::Serving {
                self.say_goodbye();
            }
            if phase == Phase::Over {
                return Poll::Ready(Err(Ended::Cut));
            }
            loop {
                let end = self.poll(context);
                // Whatever comes of the connection: what was said on it goes out.
                let sent = self.gathered.poll_send(context);
                if let Poll::Ready(end) = end {
                    let flood = self.activity.account.is_spent();
                    return Poll::Ready(end.map_err(|ended| if flood { Ended::Flood } else { ended }));
                }
                if let Poll::Ready(Err(_)) = sent {
                    return Poll::Ready(Err(Ended::Gone));
                }
                if self.activity.is_flood(RESETS as u32) {
                    return Poll::Ready(Err(Ended::Resets));
                }
                let Some((at, due)) = self.activity.due(self.limits) else {
                    return Poll::Pending;
                };
                let at = match self.told {
                    Some(told) if due == Due::Idle => after(told.max(self.activity.since()), FAREWELL),
                    _ => at,
                };
                ready!(deadline.poll(context, at));
                match due {
                    Due::Write => return Poll::Ready(Err(Ended::Write)),
                    Due::Head => return Poll::Ready(Err(Ended::Head)),
                    Due::Idle if self.told.is_some() => return Poll::Ready(Err(Ended::Idle)),
                    Due::Idle => self.say_goodbye(),
                }
            }
        })
        .await
    }

    /// Reads and writes, and begins with the requests that come. Ready when the connection has ended.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        loop {
            match &mut self.state {
                State::Beginning(handshake) => {
                    let mut connection = ready!(Pin::new(handshake).poll(context)).map_err(Ended::Http)?;
                    if self.told.is_some() {
                        connection.graceful_shutdown();
                    }
                    let pings = Pings::new(connection.ping_pong());
                    self.state = State::Serving(connection, pings);
                }
                State::Serving(connection, pings) => {
                    if pings.poll(context).is_ready() {
                        return Poll::Ready(Err(Ended::Ping));
                    }
                    match ready!(connection.poll_accept(context)) {
                        Some(Ok((request, respond))) => {
                            let (carry, peer) = (&*self.carry, self.peer.clone());
                            let stream = Stream::begin(request, respond, carry, peer, self.limits, &self.activity);
                            spawn_local(stream);
                        }
                        Some(Err(cause)) => return Poll::Ready(Err(Ended::Http(cause))),
                        None => return Poll::Ready(Ok(())),
                    }
                }
            }
        }
    }

    /// Tells the client that it should go, and that what it has begun will be served.
    fn say_goodbye(&mut self) {
        if self.told.is_some() {
            return;
        }
        self.told = Some(Instant::now());
        if let State::Serving(connection, _) = &mut self.state {
            connection.graceful_shutdown();
        }
    }
}
