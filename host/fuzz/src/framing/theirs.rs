//! hyper's reading: a connection of its server, on bytes that are all there already.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;

use super::{End, Message, Reading, fields, line};

/// Reads requests until there is nothing more to read.
///
/// # Panics
/// If hyper waits for something although all there is to read is there.
#[must_use]
pub fn read(bytes: &[u8]) -> Reading {
    let messages = Rc::new(RefCell::new(Vec::new()));
    let seen = messages.clone();
    let service = service_fn(move |request| receive(request, seen.clone()));
    let mut server = http1::Builder::new();
    // It would look at the end of the input while the last request is served, and give up.
    server.half_close(true).header_read_timeout(None);
    let mut connection = pin!(server.serve_connection(Whole(bytes.to_vec(), 0), service));
    let mut context = Context::from_waker(Waker::noop());
    // It gives way to others now and then. There are none.
    let end = (0..10_000).find_map(|_| match connection.as_mut().poll(&mut context) {
        Poll::Ready(end) => Some(end),
        Poll::Pending => None,
    });
    let end = match end.expect("all input is there") {
        Ok(()) => End::Closed,
        Err(error) => End::Refused(match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        }),
    };
    Reading { messages: messages.take(), end }
}

async fn receive(
    request: Request<Incoming>,
    seen: Rc<RefCell<Vec<Message>>>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let mut message = Message {
        line: line(&request),
        fields: fields(request.headers()),
        body: Vec::new(),
        trailers: Vec::new(),
        whole: true,
    };
    let mut response = Response::new(Empty::new());
    if request.method() == http::Method::CONNECT {
        // A success would make a tunnel of the connection.
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    }
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        match frame.map(|frame| frame.into_data()) {
            Ok(Ok(bytes)) => message.body.extend_from_slice(&bytes),
            Ok(Err(frame)) => message.trailers = frame.into_trailers().map(|all| fields(&all)).unwrap_or_default(),
            Err(_) => {
                message.whole = false;
                break;
            }
        }
    }
    seen.borrow_mut().push(message);
    Ok(response)
}

/// The bytes, of which so many were read. What is written is thrown away.
struct Whole(Vec<u8>, usize);

impl Read for Whole {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let at = self.1;
        let length = buffer.remaining().min(self.0.len() - at);
        buffer.put_slice(&self.0[at..at + length]);
        self.1 += length;
        Poll::Ready(Ok(()))
    }
}

impl Write for Whole {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
