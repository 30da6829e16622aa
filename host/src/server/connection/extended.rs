//! WebSocket over HTTP/2 (RFC 8441): an extended CONNECT, taken for the upgrade of HTTP/1.1 that it stands for.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::RecvStream;
use h2::ext::Protocol;
use http::header::{HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};

use crate::body::{Body, BodyError};
use crate::error::{Audience, Error, Reason};
use crate::http1::upgrade::{Offered, key};

/// A stream that becomes a tunnel when its request is answered with a 101.
pub(super) struct Extended(Rc<RefCell<Channel>>);

/// Whether what the client sends may be read.
enum Channel {
    /// Not yet; whoever wants to read.
    Waiting(Option<Waker>),
    Open,
    /// It will never be.
    Gone,
}

impl Extended {
    /// The protocol that an extended CONNECT asks for, and a key for its handshake. None of other requests.
    pub(super) fn offered(request: &Request<RecvStream>) -> Option<(HeaderValue, HeaderValue)> {
        let protocol = request.extensions().get::<Protocol>().filter(|_| *request.method() == Method::CONNECT)?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).ok()?;
        Some((HeaderValue::from_str(protocol.as_str()).ok()?, key(random)))
    }

    /// Makes of an extended CONNECT the request that HTTP/1.1 has for it.
    pub(super) fn take(
        mut request: Request<RecvStream>,
        (protocol, key): (HeaderValue, HeaderValue),
    ) -> (Request<Body>, Self) {
        *request.method_mut() = Method::GET;
        request.headers_mut().insert(UPGRADE, protocol);
        request.headers_mut().insert(SEC_WEBSOCKET_KEY, key);
        request.extensions_mut().insert(Offered);
        let channel = Rc::new(RefCell::new(Channel::Waiting(None)));
        let client = |stream| Body::stream(Client { stream, channel: channel.clone() });
        (request.map(client), Self(channel))
    }

    /// The response as HTTP/2 has it, and whether the stream is a tunnel from now on. A success that is no 101 would be
    /// taken for one.
    pub(super) fn answer(&self, mut response: Response<Body>) -> (Response<Body>, bool) {
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => {
                *response.status_mut() = StatusCode::OK;
                for name in [UPGRADE, SEC_WEBSOCKET_ACCEPT] {
                    response.headers_mut().remove(name);
                }
                self.set(Channel::Open);
                (response, true)
            }
            status if status.is_success() => {
                let error = Error::new(Reason::UpstreamProtocol);
                (error.response(&Audience::default(), "").map(Body::from), false)
            }
            _ => (response, false),
        }
    }

    fn set(&self, to: Channel) {
        if let Channel::Waiting(Some(reader)) = self.0.replace(to) {
            reader.wake();
        }
    }
}

impl Drop for Extended {
    fn drop(&mut self) {
        if matches!(*self.0.borrow(), Channel::Waiting(_)) {
            self.set(Channel::Gone);
        }
    }
}

/// What the client sends once it has its answer.
struct Client {
    stream: RecvStream,
    channel: Rc<RefCell<Channel>>,
}

impl HttpBody for Client {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self.channel.borrow_mut() {
            Channel::Waiting(reader) => {
                *reader = Some(context.waker().clone());
                return Poll::Pending;
            }
            Channel::Gone => return Poll::Ready(Some(Err(BodyError::Left))),
            Channel::Open => {}
        }
        Poll::Ready(ready!(self.stream.poll_data(context)).map(|data| match data {
            Ok(bytes) => {
                // It makes room for as much when it asks for more.
                let _ = self.stream.flow_control().release_capacity(bytes.len());
                Ok(Frame::data(bytes))
            }
            Err(cause) => Err(BodyError::Broken(cause.into())),
        }))
    }
}
