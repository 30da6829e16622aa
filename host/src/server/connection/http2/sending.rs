//! The body of a response on its way to the client, as fast as the client makes room for it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body as _;
use tokio::time::Instant;

use crate::body::Body;
use crate::deadline::{Deadline, after};

/// What is reserved at once of the connection's window, which all streams share.
const PIECE: usize = 64 * 1024;

pub(super) struct Sending {
    body: Body,
    stream: SendStream<Bytes>,
    /// It goes on with another protocol: an empty piece is the end of one half, and the body the end of both.
    tunnel: bool,
    /// The client has been told that there is no more.
    ended: bool,
    /// What was taken from the body and not sent.
    piece: Bytes,
    /// How long the client may leave no room: with what waits for it waits a connection to an upstream.
    stall: Duration,
    /// Since when it has.
    since: Option<Instant>,
    deadline: Deadline,
}

/// How the sending of a body ends.
enum End {
    /// The client has all of it.
    Whole,
    /// The client does not want it any more, or is gone.
    Left,
    /// The body broke off.
    Broken,
    /// The client left no room for too long.
    Stalled,
}

impl Sending {
    pub(super) fn new(body: Body, stream: SendStream<Bytes>, tunnel: bool, stall: Duration) -> Self {
        Self { body, stream, tunnel, ended: false, piece: Bytes::new(), stall, since: None, deadline: Deadline::new() }
    }

    /// Ready when there is nothing more to do.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match ready!(self.poll_send(context)) {
            End::Whole | End::Left => {}
            End::Broken if !self.tunnel => self.stream.send_reset(Reason::INTERNAL_ERROR),
            End::Broken | End::Stalled => self.stream.send_reset(Reason::CANCEL),
        }
        Poll::Ready(())
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<End> {
        loop {
            if self.stream.poll_reset(context).is_ready() {
                return Poll::Ready(End::Left);
            }
            if !self.piece.is_empty() {
                let room = match ready!(self.poll_room(context)) {
                    Ok(room) => room,
                    Err(end) => return Poll::Ready(end),
                };
                let part = self.piece.split_to(room.min(self.piece.len()));
                let last = self.piece.is_empty() && self.body.is_end_stream();
                if self.stream.send_data(part, last).is_err() {
                    return Poll::Ready(End::Left);
                }
                if last {
                    return Poll::Ready(End::Whole);
                }
                continue;
            }
            // Only with a piece at hand is there any room reserved: what nobody uses is missing for other streams.
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) if piece.is_empty() && self.tunnel => self.end(),
                    Ok(piece) => self.piece = piece,
                    Err(frame) => {
                        let _ = self.stream.send_trailers(frame.into_trailers().unwrap_or_default());
                        return Poll::Ready(End::Whole);
                    }
                },
                Some(Err(_)) => return Poll::Ready(End::Broken),
                None => {
                    self.end();
                    return Poll::Ready(End::Whole);
                }
            }
        }
    }

    /// Tells the client that there is no more.
    fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            // Whether it is there to hear it shows when it is asked next.
            let _ = self.stream.send_data(Bytes::new(), true);
        }
    }

    /// How much the client takes now.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<Result<usize, End>> {
        self.stream.reserve_capacity(self.piece.len().min(PIECE));
        let mut room = self.stream.capacity();
        while room == 0 {
            match self.stream.poll_capacity(context) {
                Poll::Ready(Some(Ok(more))) => room = more,
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Err(End::Left)),
                Poll::Pending => {
                    let since = *self.since.get_or_insert_with(Instant::now);
                    ready!(self.deadline.poll(context, after(since, self.stall)));
                    return Poll::Ready(Err(End::Stalled));
                }
            }
        }
        self.since = None;
        Poll::Ready(Ok(room))
    }
}
