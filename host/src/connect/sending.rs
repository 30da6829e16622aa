//! A request on its way to the upstream, as fast as both sides let it.

use std::task::{Context, Poll};

use http::Method;
use http_body::Body as _;
use tokio::time::Instant;

use super::outbound::Outbound;
use crate::body::{Body, BodyError};
use crate::http1::framing::Length;
use crate::http1::wire::{Window, Wire};
use crate::http1::write::{BadLength, Encoder};

/// A request of which the head is written, and the body is not, or not all.
pub(super) struct Sending {
    body: Body,
    encoder: Encoder,
    /// The body has no more.
    taken: bool,
    /// All of it was sent.
    pub(super) all: bool,
    /// The upstream takes no more. It may have answered all the same.
    pub(super) refused: bool,
    /// Something of it was sent, or taken from a body that cannot be read twice.
    pub(super) begun: bool,
    /// The upstream has to ask for the body first.
    held: bool,
    /// The upstream takes more than the client sends.
    wanting: bool,
    /// It was not all sent at once.
    waited: bool,
    window: Window,
    /// When the upstream took something last.
    pub(super) at: Instant,
}

impl Sending {
    /// Writes the head. It says where the body ends by what the body is, whatever the headers say about it.
    pub(super) fn new(wire: &mut Wire, request: &mut Outbound<'_>, at: Instant) -> Self {
        let body = request.take_body();
        let length = match body.size_hint().exact() {
            Some(0) => Length::None,
            Some(length) => Length::Sized(length),
            None => Length::Chunked,
        };
        let held = length != Length::None && request.is_waited_for(&body);
        request.write(wire.tail(), length, held);
        let trailers = matches!(body, Body::Stream(_)) && crate::headers::takes_trailers(request.request().headers());
        let encoder = Encoder::new(length, trailers);
        Self {
            body,
            encoder,
            taken: false,
            all: false,
            refused: false,
            begun: false,
            held,
            wanting: false,
            waited: false,
            window: Window::new(),
            at,
        }
    }

    /// Sends what can be sent now.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, wire: &mut Wire) -> Result<(), BodyError> {
        while !self.all && !self.refused {
            self.wanting = self.held;
            while !self.taken && !self.wanting && self.window.is_open(wire) {
                self.take(context, wire)?;
            }
            let mut progress = false;
            let wrote = wire.poll_write(context, &mut progress);
            if progress {
                // What is sent at once is sent when it began.
                if self.waited {
                    self.at = Instant::now();
                }
                self.begun = true;
            }
            match wrote {
                Poll::Ready(Ok(())) => {
                    self.all = self.taken;
                    if !self.wanting {
                        self.window.widen();
                    }
                }
                Poll::Ready(Err(_)) => self.refused = true,
                Poll::Pending => {
                    self.window.narrow();
                    self.waited = true;
                    return Ok(());
                }
            }
            if self.wanting {
                self.waited = true;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes the next piece of the body.
    fn take(&mut self, context: &mut Context<'_>, wire: &mut Wire) -> Result<(), BodyError> {
        let part = match &mut self.body {
            Body::Empty => None,
            // It stays, for the case that nothing of it is sent.
            Body::Full(bytes) => {
                self.taken = true;
                wire.push(bytes.clone());
                return Ok(());
            }
            Body::Stream(_) | Body::Told(_) => match self.body.poll_part(context, self.encoder.takes_pipes(wire)) {
                Poll::Pending => {
                    self.wanting = true;
                    return Ok(());
                }
                Poll::Ready(part) => part.transpose()?,
            },
        };
        self.begun |= part.is_some();
        let ends = self.body.is_end_stream();
        self.taken = self.encoder.part(wire, part, ends).map_err(broken)?;
        Ok(())
    }

    /// Whether the upstream has yet to ask for the body.
    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// The upstream asked for the body, or did not in time.
    pub(super) fn release(&mut self) {
        self.held = false;
    }

    /// Whether it is the client that is waited for, be it because the upstream did not ask for its body.
    pub(super) fn waits_for_client(&self, wire: &Wire) -> bool {
        self.wanting && wire.queued() == 0
    }

    /// The body of a request that was sent, if it can be sent once more.
    pub(super) fn whole(&mut self) -> Option<Body> {
        matches!(self.body, Body::Empty | Body::Full(_)).then(|| std::mem::take(&mut self.body))
    }

    /// The body, as long as it can be sent from its beginning.
    pub(super) fn into_body(self) -> Option<Body> {
        (!self.begun || matches!(self.body, Body::Empty | Body::Full(_))).then_some(self.body)
    }
}

fn broken(cause: BadLength) -> BodyError {
    BodyError::Broken(cause.into())
}

/// Whether a request that may have had its effect can be sent once more (RFC 9110, section 9.2.2).
#[must_use]
pub fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE)
        || method.as_str() == "QUERY"
}
