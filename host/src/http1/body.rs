//! A body as its bytes come, whatever says where it ends.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::chunked::{self, BadChunk, Piece};
use super::framing::Length;
use super::wire::Wire;
use crate::transport::pipe::Pipe;

/// What comes of a body at once.
#[derive(Debug)]
pub enum Part {
    /// Bytes.
    Data(Bytes),
    /// Bytes that were not read, for whoever takes them so.
    Piped(Pipe),
    /// The fields at the end; after them comes nothing.
    Trailers(HeaderMap),
}

/// Why a body ended before it was whole.
#[derive(Debug)]
pub enum Broken {
    /// Its chunks are malformed.
    Chunk(BadChunk),
    /// The connection ended.
    Cut,
    /// The connection failed.
    Io(io::Error),
}

/// Reads one body.
#[derive(Debug)]
pub enum Decoder {
    /// So many bytes are left.
    Sized(u64),
    /// Chunk by chunk.
    Chunked(chunked::Decoder),
    /// Everything until the connection ends.
    UntilClose,
}

impl Decoder {
    /// At the beginning of a body.
    #[must_use]
    pub fn new(length: Length) -> Self {
        match length {
            Length::None => Self::Sized(0),
            Length::Sized(length) => Self::Sized(length),
            Length::Chunked => Self::Chunked(chunked::Decoder::default()),
            Length::UntilClose => Self::UntilClose,
        }
    }

    /// Takes the next piece out of `input`; none where more bytes are needed.
    ///
    /// # Errors
    /// Chunks that are malformed.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Piece>, BadChunk> {
        let length = match self {
            Self::Sized(0) => return Ok(Some(Piece::End)),
            Self::Sized(left) => usize::try_from(*left).unwrap_or(usize::MAX).min(input.len()),
            Self::UntilClose => input.len(),
            Self::Chunked(decoder) => return decoder.next(input),
        };
        if length == 0 {
            return Ok(None);
        }
        if let Self::Sized(left) = self {
            *left -= length as u64;
        }
        Ok(Some(Piece::Data(input.split_to(length).freeze())))
    }

    /// Reads until the next part is there, none at the end. `piped` says that its reader takes what is in a pipe.
    ///
    /// # Errors
    /// It breaks off.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        wire: &mut Wire,
        piped: bool,
    ) -> Poll<Result<Option<Part>, Broken>> {
        loop {
            if let Some(piece) = self.next(&mut wire.input).map_err(Broken::Chunk)? {
                return Poll::Ready(Ok(Part::of(piece)));
            }
            if let Self::Sized(left) = self
                && piped
                && let Some(pipe) = ready!(wire.poll_pipe(context, *left)).map_err(Broken::Io)?
                && !pipe.is_empty()
            {
                *left -= pipe.len() as u64;
                return Poll::Ready(Ok(Some(Part::Piped(pipe))));
            }
            if ready!(wire.poll_read_more(context, self.expects())).map_err(Broken::Io)? == 0 {
                return Poll::Ready(if self.ends_with_connection() { Ok(None) } else { Err(Broken::Cut) });
            }
        }
    }

    /// Whether all of it was read.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self {
            Self::Sized(left) => *left == 0,
            Self::Chunked(decoder) => decoder.is_over(),
            Self::UntilClose => false,
        }
    }

    /// Whether the end of the connection is the end of the body, rather than a break in it.
    #[must_use]
    pub fn ends_with_connection(&self) -> bool {
        matches!(self, Self::UntilClose) || self.is_over()
    }

    /// How many bytes of it the next read may well bring.
    #[must_use]
    pub fn expects(&self) -> u64 {
        match self {
            Self::Sized(left) => *left,
            Self::Chunked(decoder) => decoder.expects(),
            Self::UntilClose => u64::MAX,
        }
    }

    /// How much is still to come, as far as that is known.
    #[must_use]
    pub fn size_hint(&self) -> SizeHint {
        match self {
            Self::Sized(left) => SizeHint::with_exact(*left),
            Self::Chunked(decoder) if decoder.is_over() => SizeHint::with_exact(0),
            Self::Chunked(_) | Self::UntilClose => SizeHint::default(),
        }
    }
}

impl Part {
    /// What was read; none at the end.
    #[must_use]
    pub fn of(piece: Piece) -> Option<Self> {
        match piece {
            Piece::Data(bytes) => Some(Self::Data(bytes)),
            Piece::Trailers(fields) => Some(Self::Trailers(fields)),
            Piece::End => None,
        }
    }

    /// How many bytes these are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Data(bytes) => bytes.len(),
            Self::Piped(pipe) => pipe.len(),
            Self::Trailers(_) => 0,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same for whoever takes nothing in a pipe, and so gets nothing in one.
    #[must_use]
    pub fn into_frame(self) -> Option<Frame<Bytes>> {
        match self {
            Self::Data(bytes) => Some(Frame::data(bytes)),
            Self::Trailers(fields) => Some(Frame::trailers(fields)),
            Self::Piped(_) => None,
        }
    }
}

impl From<Frame<Bytes>> for Part {
    fn from(frame: Frame<Bytes>) -> Self {
        // Frames are one or the other.
        match frame.into_data().map_err(Frame::into_trailers) {
            Ok(bytes) => Self::Data(bytes),
            Err(fields) => Self::Trailers(fields.unwrap_or_default()),
        }
    }
}
