//! The body of a request, as it comes.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::{Response, StatusCode};
use http_body::{Frame, SizeHint};

use super::Answering;

/// The body of one request. Whoever does not read it makes its client wait.
#[derive(Debug)]
pub struct Receiving {
    stream: RecvStream,
    /// How much is to come, where the head told.
    left: Option<u64>,
    /// All data is read, and perhaps there are trailers.
    read: bool,
    /// Whom to ask for it, where the client waits for that.
    waiting: Option<Answering>,
}

impl Receiving {
    /// Of a request whose head tells this length.
    #[must_use]
    pub fn new(stream: RecvStream, length: Option<u64>) -> Self {
        Self { stream, left: length, read: false, waiting: None }
    }

    /// The client waits for a `100 Continue` before it sends anything.
    #[must_use]
    pub fn waited_for(mut self, answering: &Answering) -> Self {
        self.waiting = Some(answering.clone());
        self
    }

    /// The next piece. The client is asked for the body when it waits for that.
    pub fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if let Some(answering) = self.waiting.take()
            && !self.is_end_stream()
        {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::CONTINUE;
            answering.interim(response);
        }
        if !self.read {
            if let Some(bytes) = ready!(self.stream.poll_data(context)).transpose()? {
                // The reader asks for more when it has sent this on, and until then the window is what may come.
                let _ = self.stream.flow_control().release_capacity(bytes.len());
                // HTTP/2 has counted before.
                self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            self.read = true;
        }
        let trailers = ready!(self.stream.poll_trailers(context))?;
        Poll::Ready(trailers.map(|fields| Ok(Frame::trailers(fields))))
    }

    /// Whether there is no more.
    #[must_use]
    pub fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    /// How much there is.
    #[must_use]
    pub fn size_hint(&self) -> SizeHint {
        match self.left {
            _ if self.is_end_stream() => SizeHint::with_exact(0),
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}
