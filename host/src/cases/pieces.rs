//! Bodies of cases: as a client or an upstream sends them, and as they arrive at the other end.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};

use super::LONGEST;
use crate::body::{self, BodyError};
use crate::config::cases::Body;

/// All bytes of a body that the file gives.
pub(super) fn bytes(body: Option<&Body>) -> Bytes {
    match body {
        Some(Body::Text(text) | Body::Json(text)) => Bytes::from(text.clone()),
        Some(Body::Chunks(chunks, _)) => chunks.concat().into(),
        None => Bytes::new(),
    }
}

/// That body on its way.
pub(super) fn coming(body: Option<&Body>) -> body::Body {
    let Some(Body::Chunks(chunks, _)) = body else { return bytes(body).into() };
    let mut frames: VecDeque<_> = chunks.iter().map(|chunk| Frame::data(Bytes::from(chunk.clone()))).collect();
    let trailers = trailers(body);
    if !trailers.is_empty() {
        frames.push_back(Frame::trailers(trailers));
    }
    body::Body::stream(Coming(frames))
}

fn trailers(body: Option<&Body>) -> HeaderMap {
    match body {
        // One name may stand there several times, which collecting does not keep apart.
        Some(Body::Chunks(_, trailers)) => trailers.iter().fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value.clone());
            map
        }),
        _ => HeaderMap::new(),
    }
}

struct Coming(VecDeque<Frame<Bytes>>);

impl HttpBody for Coming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.get_mut().0.pop_front().map(Ok))
    }
}

/// A message that has arrived.
pub(super) struct Arrived<H> {
    pub(super) head: H,
    /// The whole body.
    pub(super) body: Bytes,
    /// As it came.
    pub(super) chunks: Vec<Bytes>,
    pub(super) trailers: HeaderMap,
}

impl<H> Arrived<H> {
    /// Waits for all of it.
    pub(super) async fn all((head, mut coming): (H, body::Body)) -> Result<Self, BodyError> {
        let (mut chunks, mut body, mut trailers) = (Vec::new(), BytesMut::new(), HeaderMap::new());
        while let Some(frame) = poll_fn(|context| Pin::new(&mut coming).poll_frame(context)).await {
            match frame?.into_data() {
                Ok(bytes) if bytes.len() > LONGEST - body.len() => return Err(BodyError::TooLarge),
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => {
                    body.extend_from_slice(&bytes);
                    chunks.push(bytes);
                }
                Err(last) => trailers = last.into_trailers().unwrap_or_default(),
            }
        }
        Ok(Self { head, body: body.freeze(), chunks, trailers })
    }

    /// One whose body is here already.
    pub(super) fn whole(head: H, body: Bytes) -> Self {
        let chunks = if body.is_empty() { Vec::new() } else { vec![body.clone()] };
        Self { head, body, chunks, trailers: HeaderMap::new() }
    }

    /// Whether it came as it was sent, however it was cut.
    pub(super) fn has(&self, sent: Option<&Body>) -> bool {
        self.body == bytes(sent) && self.trailers == trailers(sent)
    }
}
