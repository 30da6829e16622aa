//! A connection of HTTP/1 that goes on with another protocol.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use http::{HeaderMap, Method, StatusCode};
use http_body::Body as _;

use super::Ended;
use super::http1::Http1;
use crate::body::Body;
use crate::http1::framing::Length;
use crate::http1::wire::Window;
use crate::http1::write::{self, Connection};
use crate::server::drain::Phase;

impl<C> Http1<'_, C> {
    /// Tells the client that the upstream agreed, and passes on what comes from it, until both sides have ended. What the
    /// client sends is read by whoever has the body of its request.
    pub(super) async fn switch(&mut self, headers: &HeaderMap, mut body: Body) -> Result<(), Ended> {
        let status = StatusCode::SWITCHING_PROTOCOLS;
        self.link.with(|wire| {
            write::response(wire.tail(), &Method::GET, status, headers, Length::None, Connection::Stays);
        });
        self.link.switch();
        // Whether the upstream has ended its half, whether the client was told, and whether both have.
        let (mut half, mut told, mut over) = (false, false, false);
        let mut stuck = None;
        let mut window = Window::new();
        poll_fn(|context| {
            if self.open.phase(context) == Phase::Over {
                return Poll::Ready(Err(Ended::Cut));
            }
            loop {
                let mut waiting = false;
                while !over && !waiting && self.link.with(|wire| window.is_open(wire)).unwrap_or(true) {
                    match Pin::new(&mut body).poll_frame(context) {
                        Poll::Pending => waiting = true,
                        Poll::Ready(None) => over = true,
                        Poll::Ready(Some(Err(_))) => {
                            return Poll::Ready(Err(Ended::Broken { ends_with_connection: true }));
                        }
                        Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                            Ok(bytes) if bytes.is_empty() => half = true,
                            Ok(bytes) => _ = self.link.with(|wire| wire.push(bytes)),
                            Err(_) => {}
                        },
                    }
                }
                let mut progress = false;
                match self.link.with(|wire| wire.poll_write(context, &mut progress)) {
                    Some(Poll::Ready(Ok(()))) => {
                        stuck = None;
                        if half && !told {
                            // Where it cannot be told, it shows when the client ends.
                            told =
                                self.link.with(|wire| wire.poll_shutdown(context)).is_none_or(|shut| shut.is_ready());
                        }
                        if over {
                            return Poll::Ready(Ok(()));
                        }
                        if waiting {
                            return Poll::Pending;
                        }
                        window.widen();
                    }
                    Some(Poll::Ready(Err(_))) | None => return Poll::Ready(Err(Ended::Gone)),
                    Some(Poll::Pending) => {
                        window.narrow();
                        return self.stuck(context, progress, &mut stuck).map(Err);
                    }
                }
            }
        })
        .await
    }
}
