//! A body as its bytes come, whatever says where it ends.

use bytes::BytesMut;
use http_body::SizeHint;

use super::chunked::{self, BadChunk, Piece};
use super::framing::Length;

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
