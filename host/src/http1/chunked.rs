//! The chunked coding (RFC 9112, section 7.1), stricter than it has to be: nothing between a size and what ends it, and
//! extensions are bounded and dropped.

use std::fmt;

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName};

use super::head::{self, BadHead, Scan};

/// Bytes of extensions in one body. Nothing is known that uses them.
const EXTENSIONS: usize = 8 * 1024;
/// Bytes and fields after the last chunk.
const TRAILERS: usize = 8 * 1024;
const TRAILER_FIELDS: usize = 32;

/// Reads a chunked body as its bytes come.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    extensions: usize,
}

/// What comes next.
#[derive(Debug, Clone, Copy)]
enum State {
    /// Digits of a size, of which so many were there.
    Size {
        size: u64,
        digits: u8,
    },
    Extension {
        size: u64,
        quote: Quote,
    },
    /// The line feed behind a size.
    SizeEnd {
        size: u64,
    },
    Data {
        left: u64,
    },
    /// The two bytes behind a chunk, of which so many were there.
    DataEnd {
        seen: u8,
    },
    Trailers(Scan),
    End,
}

/// Where we are in an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quote {
    Outside,
    Inside,
    /// Behind a backslash.
    Escaped,
}

impl Default for State {
    fn default() -> Self {
        Self::Size { size: 0, digits: 0 }
    }
}

/// Why a chunked body is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadChunk {
    /// The size is not hexadecimal digits with CR LF or an extension behind them.
    Size,
    /// The size is larger than can be counted.
    Overflow,
    /// An extension with a control character in it, or a quote that is not closed.
    Extension,
    /// More bytes of extensions than we read.
    Extensions,
    /// The chunk is not as long as its size.
    End,
    /// The trailers.
    Trailers(BadHead),
}

/// A part of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes; never none.
    Data(Bytes),
    /// The fields at the end, those taken out that only a head may have; after them comes nothing.
    Trailers(HeaderMap),
    /// The end without trailers.
    End,
}

impl Decoder {
    /// Whether the end was read.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// How many bytes of the chunk are to come.
    #[must_use]
    pub fn expects(&self) -> u64 {
        if let State::Data { left } = self.state { left } else { 0 }
    }

    /// Takes the next piece out of `input`; none where more bytes are needed.
    ///
    /// # Errors
    /// What is not exactly chunked. Nothing that follows can be trusted then.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Piece>, BadChunk> {
        loop {
            match &mut self.state {
                State::Data { left } if *left == 0 => self.state = State::DataEnd { seen: 0 },
                State::Data { left } => {
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                    if length == 0 {
                        return Ok(None);
                    }
                    *left -= length as u64;
                    return Ok(Some(Piece::Data(input.split_to(length).freeze())));
                }
                State::Trailers(scan) => {
                    let Some(end) = scan.find(input, TRAILERS).map_err(BadChunk::Trailers)? else {
                        return Ok(None);
                    };
                    self.state = State::End;
                    let lines = input.split_to(end).freeze();
                    if end == 2 {
                        return Ok(Some(Piece::End));
                    }
                    let mut trailers = head::trailers(&lines, TRAILER_FIELDS).map_err(BadChunk::Trailers)?;
                    strip(&mut trailers);
                    return Ok(Some(if trailers.is_empty() { Piece::End } else { Piece::Trailers(trailers) }));
                }
                State::End => return Ok(Some(Piece::End)),
                _ => match input.first() {
                    None => return Ok(None),
                    Some(byte) => {
                        self.state = self.step(*byte)?;
                        input.advance(1);
                    }
                },
            }
        }
    }

    /// What is between the data, byte by byte: most chunks have a handful of it.
    fn step(&mut self, byte: u8) -> Result<State, BadChunk> {
        Ok(match (self.state, byte) {
            (State::Size { digits: 1.., size }, b'\r') => State::SizeEnd { size },
            (State::Size { digits: 1.., size }, b';') => State::Extension { size, quote: Quote::Outside },
            (State::Size { size, digits }, _) => {
                let digit = char::from(byte).to_digit(16).ok_or(BadChunk::Size)?;
                // Sixteen digits fit, leading zeros among them.
                if digits == 16 {
                    return Err(BadChunk::Overflow);
                }
                State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (State::Extension { size, quote: Quote::Outside }, b'\r') => State::SizeEnd { size },
            (State::Extension { size, quote }, _) => {
                self.extensions += 1;
                if self.extensions > EXTENSIONS {
                    return Err(BadChunk::Extensions);
                }
                if (byte < b' ' && byte != b'\t') || byte == 0x7f {
                    return Err(BadChunk::Extension);
                }
                let quote = match (quote, byte) {
                    (Quote::Outside, b'"') | (Quote::Escaped, _) => Quote::Inside,
                    (Quote::Inside, b'"') => Quote::Outside,
                    (Quote::Inside, b'\\') => Quote::Escaped,
                    (quote, _) => quote,
                };
                State::Extension { size, quote }
            }
            (State::SizeEnd { size: 0 }, b'\n') => State::Trailers(Scan::default()),
            (State::SizeEnd { size }, b'\n') => State::Data { left: size },
            (State::SizeEnd { .. }, _) => return Err(BadChunk::Size),
            (State::DataEnd { seen: 0 }, b'\r') => State::DataEnd { seen: 1 },
            (State::DataEnd { seen: 1 }, b'\n') => State::default(),
            (State::DataEnd { .. }, _) => return Err(BadChunk::End),
            (state @ (State::Data { .. } | State::Trailers(_) | State::End), _) => state,
        })
    }
}

/// Takes out what says how a message is framed, routed, authorised or read: a program that merges trailers with the
/// head must not learn it from there (RFC 9110, section 6.5.1).
fn strip(trailers: &mut HeaderMap) {
    const HEAD_ONLY: [HeaderName; 22] = [
        header::AUTHORIZATION,
        header::CACHE_CONTROL,
        header::CONNECTION,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::COOKIE,
        header::EXPECT,
        header::FORWARDED,
        header::HOST,
        header::LOCATION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::RANGE,
        header::SET_COOKIE,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::VARY,
        header::WWW_AUTHENTICATE,
    ];
    for name in HEAD_ONLY {
        trailers.remove(name);
    }
}

/// Writes the line before a chunk of so many bytes; behind the chunk belongs a CR LF.
pub fn write_size(out: &mut Vec<u8>, size: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        out.extend_from_slice(&[DIGITS[size >> (4 * place) & 15]]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the end of a chunked body.
pub fn write_end(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        super::write::field(out, name, value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

impl fmt::Display for BadChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size => f.write_str("the size of a chunk is not a hexadecimal number with CR LF behind it"),
            Self::Overflow => f.write_str("the size of a chunk has more than 16 digits"),
            Self::Extension => f.write_str("a chunk extension is malformed"),
            Self::Extensions => f.write_str("the chunk extensions are too long"),
            Self::End => f.write_str("a chunk is not as long as its size"),
            Self::Trailers(why) => write!(f, "in the trailers, {why}"),
        }
    }
}

impl std::error::Error for BadChunk {}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// What comes out when the input comes in these parts: the data, the trailers, and the bytes behind the end.
    fn decode(parts: &[&[u8]]) -> Result<(Vec<u8>, HeaderMap, Vec<u8>), Option<BadChunk>> {
        let (mut decoder, mut input) = (Decoder::default(), BytesMut::new());
        let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
        let mut parts = parts.iter();
        loop {
            match decoder.next(&mut input).map_err(Some)? {
                Some(Piece::Data(bytes)) => data.extend_from_slice(&bytes),
                Some(end) => {
                    if let Piece::Trailers(fields) = end {
                        trailers = fields;
                    }
                    assert!(decoder.is_over());
                    for part in parts {
                        input.extend_from_slice(part);
                    }
                    return Ok((data, trailers, input.to_vec()));
                }
                None => input.extend_from_slice(parts.next().ok_or(None)?),
            }
        }
    }

    /// As it is at once, at every split point, and byte by byte: always the same.
    fn everywhere(bytes: &[u8]) -> Result<(Vec<u8>, HeaderMap, Vec<u8>), Option<BadChunk>> {
        let whole = decode(&[bytes]);
        for at in 0..=bytes.len() {
            assert_eq!(decode(&[&bytes[..at], &bytes[at..]]), whole, "split at {at} of {bytes:?}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decode(&single), whole, "byte by byte: {bytes:?}");
        whole
    }

    #[test]
    fn reads_chunks_and_stops_at_their_end() {
        for (bytes, data, rest) in [
            ("0\r\n\r\nGET", "", "GET"),
            ("5\r\nhello\r\n0\r\n\r\n", "hello", ""),
            ("5\r\nhello\r\n0006\r\n world\r\n0\r\n\r\nx", "hello world", "x"),
            ("A\r\n0123456789\r\na\r\n0123456789\r\n000\r\n\r\n", "01234567890123456789", ""),
            ("2;a;b=c;d=\"\\\"\t;e\"\r\nok\r\n0;last\r\n\r\n", "ok", ""),
        ] {
            assert_eq!(
                everywhere(bytes.as_bytes()),
                Ok((data.into(), HeaderMap::new(), rest.as_bytes().into())),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn trailers_are_read_and_those_of_heads_dropped() {
        let bytes = b"0\r\nX-Sum: 1 \r\nContent-Length: 7\r\nAuthorization: x\r\nhost: a\r\n\r\nrest";
        let (_, trailers, rest) = everywhere(bytes).unwrap();
        assert_eq!(trailers, HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("1"))]));
        assert_eq!(rest, b"rest");
        assert!(everywhere(b"0\r\nhost: a\r\n\r\n").unwrap().1.is_empty());
        for (bad, why) in [
            ("0\r\nX : 1\r\n\r\n", BadHead::Name),
            ("0\r\nX: 1\r\n folded\r\n\r\n", BadHead::Name),
            ("0\r\nX: 1\n\r\n", BadHead::LineEnd),
            ("0\r\nX: \0\r\n\r\n", BadHead::Value),
            ("0\r\n\n", BadHead::LineEnd),
        ] {
            assert_eq!(everywhere(bad.as_bytes()), Err(Some(BadChunk::Trailers(why))), "{bad:?}");
        }
        let long = format!("0\r\nX: {}\r\n\r\n", "y".repeat(TRAILERS));
        assert_eq!(decode(&[long.as_bytes()]), Err(Some(BadChunk::Trailers(BadHead::TooLarge))));
        let many = format!("0\r\n{}\r\n", "X: y\r\n".repeat(TRAILER_FIELDS + 1));
        assert_eq!(decode(&[many.as_bytes()]), Err(Some(BadChunk::Trailers(BadHead::TooManyFields))));
    }

    #[test]
    fn what_is_not_exactly_a_chunk_is_refused() {
        use BadChunk as B;
        for (bad, why) in [
            ("0x5\r\nhello\r\n", B::Size),
            ("+5\r\nhello\r\n", B::Size),
            ("-5\r\nhello\r\n", B::Size),
            ("0_5\r\nhello\r\n", B::Size),
            (" 5\r\nhello\r\n", B::Size),
            ("5 \r\nhello\r\n", B::Size),
            ("5 ;a\r\nhello\r\n", B::Size),
            ("\r\n", B::Size),
            (";a\r\n", B::Size),
            ("5these\r\nhello\r\n", B::Size),
            ("5\nhello\r\n", B::Size),
            ("5\r\rhello\r\n", B::Size),
            ("2\r\r;a\nok\r\n", B::Size),
            ("10000000000000005\r\nhello\r\n", B::Overflow),
            ("00000000000000005\r\nhello\r\n", B::Overflow),
            ("5;\nhello\r\n", B::Extension),
            ("5;a=\"b\r\nhello\r\n", B::Extension),
            ("5;a\0\r\nhello\r\n", B::Extension),
            ("5\r\nhello!!\r\n0\r\n\r\n", B::End),
            ("5\r\nhello\n0\r\n\r\n", B::End),
            ("5\r\nhello\r0\r\n\r\n", B::End),
            ("5\r\nhell\r\n0\r\n\r\n", B::End),
        ] {
            assert_eq!(everywhere(bad.as_bytes()), Err(Some(why)), "{bad:?}");
        }
        // The largest size there is can be counted, and is not there.
        assert_eq!(everywhere(b"ffffffffffffffff\r\nhello"), Err(None));
        let extended = format!("1;{}\r\nx\r\n", "a".repeat(1000)).repeat(40);
        assert_eq!(decode(&[extended.as_bytes()]), Err(Some(B::Extensions)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6), rest in "[a-z]{0,4}") {
            let mut bytes = Vec::new();
            for chunk in &chunks {
                write_size(&mut bytes, chunk.len());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("1"))]);
            let trailers = (chunks.len() % 2 == 0).then_some(&trailers);
            write_end(&mut bytes, trailers);
            bytes.extend_from_slice(rest.as_bytes());
            let (data, found, behind) = everywhere(&bytes).unwrap();
            prop_assert_eq!(data, chunks.concat());
            prop_assert_eq!(found, trailers.cloned().unwrap_or_default());
            prop_assert_eq!(behind, rest.as_bytes());
        }

        #[test]
        fn any_bytes_are_read_the_same_however_they_come(bytes in "[0-9a-f\r\n;\" x:]{0,60}") {
            let _ = everywhere(bytes.as_bytes());
        }

        #[test]
        fn sizes_are_written_in_hexadecimal(size: usize) {
            let mut out = Vec::new();
            write_size(&mut out, size);
            prop_assert_eq!(out, format!("{size:x}\r\n").into_bytes());
        }
    }
}
