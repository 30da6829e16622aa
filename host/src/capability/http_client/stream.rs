//! Requests whose bodies come and go piece by piece: what stands behind the clients of `wasi:http`.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

use super::{Asked, Calls, Error, Granted, LONGEST, Outgoing, check};
use crate::body::{Body, BodyError, Ticket};
use crate::config::UpstreamTimeouts;
use crate::deadline::after;
use crate::headers::may_plugin_set;

/// How long a guest waits. At most [`LONGEST`], whatever it says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Patience {
    /// For the head of the answer.
    pub(crate) head: Option<Duration>,
    /// Between two pieces of its body.
    pub(crate) idle: Option<Duration>,
}

/// An answer that is to come. Dropped before, it ends the request.
pub(crate) struct Coming(oneshot::Receiver<Result<Response<Ticket>, Error>>, AbortHandle);

impl Future for Coming {
    type Output = Result<Response<Ticket>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // A task that is gone without an answer was ended from outside.
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(Error::Unavailable)))
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.1.abort();
    }
}

/// Sends a request to an origin that is granted.
pub(crate) fn begin<B>(
    granted: &Granted,
    calls: &mut Calls,
    request: Request<B>,
    patience: Patience,
) -> Result<Coming, Error>
where
    B: HttpBody<Data = Bytes, Error = Box<dyn StdError + Send + Sync>> + 'static,
{
    let (head, body) = request.into_parts();
    let url = head.uri.to_string();
    // Where the body ends, and what is between two hops, is ours to say.
    let own = head.headers.iter().filter(|(name, _)| may_plugin_set(name));
    let fields = own.map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let timeout_ms = patience.head.map(|time| u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
    let asked = Asked { method: head.method.as_str(), url: &url, fields, body: Bytes::new(), timeout_ms };
    let (place, ask) = check(granted, asked)?;
    calls.another()?;
    let outgoing = Outgoing::here().filter(|_| granted.instead.is_none()).ok_or(Error::Unavailable)?;
    let room = granted.room.clone().try_acquire_owned().map_err(|_| Error::TooMany)?;
    let body = if body.is_end_stream() { Body::Empty } else { Body::stream(body.map_err(BodyError::Broken)) };
    let granted = granted.clone();
    let idle = patience.idle.unwrap_or(LONGEST).min(LONGEST);
    let (answers, answer) = oneshot::channel();
    let task = spawn_local(async move {
        let time = ask.time;
        let timeouts = UpstreamTimeouts {
            connect: time,
            tls: time,
            response_header: time,
            idle,
            total: Duration::MAX,
            once: None,
        };
        // The whole lasts as long as whoever asked.
        let forever = after(Instant::now(), Duration::MAX);
        let sent = outgoing.open(&granted.origins[place], ask, body, &timeouts, forever);
        let outcome = match tokio::time::timeout(time, sent).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Timeout),
        };
        let outcome =
            outcome.map(|response| response.map(|body| Ticket::new(Body::stream(Arriving { body, _room: room }))));
        // Nobody waits any more: then it was for nothing.
        let _ = answers.send(outcome);
    });
    Ok(Coming(answer, task.abort_handle()))
}

/// The body of an answer, which counts among the requests of its plugin until its end.
struct Arriving {
    body: Body,
    _room: OwnedSemaphorePermit,
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
