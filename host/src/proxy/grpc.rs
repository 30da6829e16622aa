//! Responses to gRPC that break off: the client reads a status in the trailers rather than guess from a reset.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::{Body, BodyError};
use crate::error::grpc_trailers;

/// The same body, which ends with a status where it breaks off. Only for HTTP/2: elsewhere trailers may get lost, and
/// then half a body would look whole.
pub(super) fn with_status(body: Body) -> Body {
    match body {
        // With a length that is known, an early end is an error whatever follows.
        Body::Stream(_) if body.size_hint().exact().is_none() => Body::stream(WithStatus(body)),
        body => body,
    }
}

struct WithStatus(Body);

impl HttpBody for WithStatus {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = ready!(Pin::new(&mut self.0).poll_frame(context));
        Poll::Ready(next.map(|frame| {
            frame.or_else(|error| {
                self.0 = Body::Empty;
                Ok(Frame::trailers(grpc_trailers(&error.of_response())))
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
