//! WebSocket over HTTP/2 (RFC 8441): an extended CONNECT, taken for the upgrade of HTTP/1.1 that it stands for.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes};
use http::header::{HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use crate::body::{Body, BodyError};
use crate::error::{Audience, Error, Reason};
use crate::http1::upgrade::{Offered, key};

/// What is read at once.
const READ: usize = 16 * 1024;

/// A stream that becomes a tunnel when its request is answered with a 101.
pub(super) struct Extended {
    on: OnUpgrade,
    server: Server,
}

/// Our half of it. When it is dropped without the end of the half, the stream is reset.
struct Server(Rc<RefCell<Channel>>);

enum Channel {
    /// Not yet; whoever wants to read.
    Waiting(Option<Waker>),
    Open(TokioIo<Upgraded>),
    Gone,
}

impl Extended {
    /// The protocol that an extended CONNECT asks for, and a key for its handshake. None of other requests.
    pub(super) fn offered(request: &Request<Incoming>) -> Option<(HeaderValue, HeaderValue)> {
        let protocol = request.extensions().get::<Protocol>().filter(|_| *request.method() == Method::CONNECT)?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).ok()?;
        Some((HeaderValue::from_str(protocol.as_str()).ok()?, key(random)))
    }

    /// Makes of an extended CONNECT the request that HTTP/1.1 has for it.
    pub(super) fn take(
        mut request: Request<Incoming>,
        (protocol, key): (HeaderValue, HeaderValue),
    ) -> (Request<Body>, Self) {
        let on = hyper::upgrade::on(&mut request);
        let channel = Rc::new(RefCell::new(Channel::Waiting(None)));
        *request.method_mut() = Method::GET;
        request.headers_mut().insert(UPGRADE, protocol);
        request.headers_mut().insert(SEC_WEBSOCKET_KEY, key);
        request.extensions_mut().insert(Offered);
        let client = Body::stream(Client(channel.clone()));
        (request.map(|_| client), Self { on, server: Server(channel) })
    }

    /// The response as HTTP/2 has it, and what then passes the upstream's bytes on. A success that is no 101 would be
    /// taken for one.
    pub(super) fn answer(self, response: Response<Body>) -> (Response<Body>, Option<impl Future<Output = ()> + use<>>) {
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            if response.status().is_success() {
                let error = Error::new(Reason::UpstreamProtocol);
                return (error.response(&Audience::default(), "").map(Body::from), None);
            }
            return (response, None);
        }
        let (mut parts, body) = response.into_parts();
        parts.status = StatusCode::OK;
        for name in [UPGRADE, SEC_WEBSOCKET_ACCEPT] {
            parts.headers.remove(name);
        }
        (Response::from_parts(parts, Body::Empty), Some(self.run(body)))
    }

    async fn run(self, mut upstream: Body) {
        let Self { on, server } = self;
        let Ok(upgraded) = on.await else { return };
        let waiting = server.0.replace(Channel::Open(TokioIo::new(upgraded)));
        if let Channel::Waiting(Some(reader)) = waiting {
            reader.wake();
        }
        while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut upstream).poll_frame(context)).await {
            let Ok(mut bytes) = frame.into_data() else { continue };
            if poll_fn(|context| server.poll_send(&mut bytes, context)).await.is_err() {
                break;
            }
        }
    }
}

impl Server {
    /// Sends a piece; nothing is the end of the upstream's half.
    fn poll_send(&self, bytes: &mut Bytes, context: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        let mut channel = self.0.borrow_mut();
        let Channel::Open(io) = &mut *channel else { return Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into())) };
        if bytes.is_empty() {
            return Pin::new(io).poll_shutdown(context);
        }
        while !bytes.is_empty() {
            let wrote = ready!(Pin::new(&mut *io).poll_write(context, bytes))?;
            if wrote == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            bytes.advance(wrote);
        }
        Pin::new(io).poll_flush(context)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let before = self.0.replace(Channel::Gone);
        if let Channel::Waiting(Some(reader)) = before {
            reader.wake();
        }
    }
}

/// What the client sends once it has its answer.
struct Client(Rc<RefCell<Channel>>);

impl HttpBody for Client {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let io = match &mut *self.0.borrow_mut() {
            Channel::Waiting(reader) => {
                *reader = Some(context.waker().clone());
                return Poll::Pending;
            }
            Channel::Open(io) => {
                let mut buffer = [0; READ];
                let mut read = ReadBuf::new(&mut buffer);
                ready!(Pin::new(io).poll_read(context, &mut read)).map(|()| Bytes::copy_from_slice(read.filled()))
            }
            Channel::Gone => return Poll::Ready(Some(Err(BodyError::Left))),
        };
        Poll::Ready(match io {
            Ok(bytes) if bytes.is_empty() => None,
            Ok(bytes) => Some(Ok(Frame::data(bytes))),
            Err(cause) => Some(Err(BodyError::Broken(cause.into()))),
        })
    }
}
