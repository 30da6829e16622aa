//! Content codings: what a body is when it is decoded, within bounds.
//!
//! The decoded bytes are only looked at. The body goes on as it came.

use std::io::{self, Read};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::bufread::{GzDecoder, ZlibDecoder};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

/// A coding that can be undone (RFC 9110, section 8.4.1; RFC 7932; RFC 8878).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Coding {
    Gzip,
    Deflate,
    Br,
    Zstd,
}

/// Why a body could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undecodable {
    /// It holds more than may come out of it.
    TooLarge,
    /// It is not what the coding says, ends early, or something follows it.
    Broken,
    /// A window larger than a guest's memory can hold.
    Window,
}

/// Codings on top of each other that are undone.
const MOST: usize = 2;

/// Brotli windows of up to 4 MiB: a decoder takes the window at once.
const BROTLI_WINDOW_BITS: u8 = 22;

impl Coding {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Br => "br",
            Self::Zstd => "zstd",
        }
    }

    fn named(name: &str) -> Option<Self> {
        let known = [
            ("gzip", Self::Gzip),
            ("x-gzip", Self::Gzip),
            ("deflate", Self::Deflate),
            ("br", Self::Br),
            ("zstd", Self::Zstd),
        ];
        known.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, coding)| coding)
    }
}

/// The codings of a body in the order in which they were applied, from its `Content-Encoding` fields. None where one
/// is not among `allowed`, or there are more than two.
pub(crate) fn codings<'a>(fields: impl Iterator<Item = &'a [u8]>, allowed: &[Coding]) -> Option<Vec<Coding>> {
    let mut codings = Vec::new();
    for field in fields {
        for name in std::str::from_utf8(field).ok()?.split(',').map(|name| name.trim_matches([' ', '\t'])) {
            if name.is_empty() || name.eq_ignore_ascii_case("identity") {
                continue;
            }
            let coding = Coding::named(name).filter(|coding| allowed.contains(coding))?;
            if codings.len() == MOST {
                return None;
            }
            codings.push(coding);
        }
    }
    Some(codings)
}

/// Undoes one coding. No more than `most` bytes come out, and no more than `ratio` for each byte that goes in.
pub(crate) fn decode(coding: Coding, body: &[u8], most: u32, ratio: u32) -> Result<Vec<u8>, Undecodable> {
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(body.len().saturating_mul(ratio as usize));
    match coding {
        Coding::Gzip => {
            let mut rest = body;
            let decoded = read(GzDecoder::new(&mut rest), most)?;
            ended(rest).map(|()| decoded)
        }
        Coding::Deflate => {
            let mut rest = body;
            let decoded = read(ZlibDecoder::new(&mut rest), most)?;
            ended(rest).map(|()| decoded)
        }
        Coding::Br => brotli(body, most),
        Coding::Zstd => zstd(body, most),
    }
}

fn ended(rest: &[u8]) -> Result<(), Undecodable> {
    if rest.is_empty() { Ok(()) } else { Err(Undecodable::Broken) }
}

fn read(reader: impl Read, most: usize) -> Result<Vec<u8>, Undecodable> {
    let mut decoded = Vec::new();
    let broken = |_: io::Error| Undecodable::Broken;
    reader.take(most as u64 + 1).read_to_end(&mut decoded).map_err(broken)?;
    if decoded.len() > most { Err(Undecodable::TooLarge) } else { Ok(decoded) }
}

fn brotli(body: &[u8], most: usize) -> Result<Vec<u8>, Undecodable> {
    let first = *body.first().ok_or(Undecodable::Broken)?;
    if brotli_window(first).is_none_or(|bits| bits > BROTLI_WINDOW_BITS) {
        return Err(Undecodable::Window);
    }
    let new = StandardAlloc::default;
    let mut state = BrotliState::new_strict(new(), new(), new());
    let (mut left, mut offset) = (body.len(), 0);
    let mut decoded = Vec::new();
    let mut piece = vec![0; 16 << 10];
    loop {
        let (mut room, mut filled, mut total) = (piece.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut offset,
            body,
            &mut room,
            &mut filled,
            &mut piece,
            &mut total,
            &mut state,
        );
        decoded.extend_from_slice(&piece[..filled]);
        if decoded.len() > most {
            return Err(Undecodable::TooLarge);
        }
        match result {
            BrotliResult::ResultSuccess => return ended(&body[offset..]).map(|()| decoded),
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::NeedsMoreInput | BrotliResult::ResultFailure => return Err(Undecodable::Broken),
        }
    }
}

/// The window that a stream asks for, as a power of two (RFC 7932, section 9.1). None for the extension of large windows.
fn brotli_window(first: u8) -> Option<u8> {
    match (first & 1, first >> 1 & 7, first >> 4 & 7) {
        (0, ..) => Some(16),
        (_, bits @ 1..=7, _) => Some(17 + bits),
        (_, _, 0) => Some(17),
        (_, _, 1) => None,
        (_, _, bits) => Some(8 + bits),
    }
}

fn zstd(body: &[u8], most: usize) -> Result<Vec<u8>, Undecodable> {
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    let header = body.first_chunk::<6>().filter(|header| header.starts_with(&MAGIC)).ok_or(Undecodable::Broken)?;
    let mut header = *header;
    let single_segment = header[4] & 0x20 != 0;
    if !single_segment {
        // A decoder keeps what the window spans before it gives anything out. No more than `most` bytes are wanted, so
        // a window that spans them will do, however large the one is that the frame asks for.
        header[5] = header[5].min(window_for(most));
    }
    let mut rest = (&header[..]).chain(&body[6..]);
    let mut decoder = FrameDecoder::new();
    if single_segment {
        // Its window is all of its content, whose length it tells.
        decoder.set_max_window_size(most as u64);
    }
    let decoder = match StreamingDecoder::new_with_decoder(&mut rest, decoder) {
        Ok(decoder) => decoder,
        Err(ruzstd::decoding::errors::FrameDecoderError::WindowSizeTooBig { .. }) => return Err(Undecodable::TooLarge),
        Err(_) => return Err(Undecodable::Broken),
    };
    let mut decoded = Vec::new();
    let whole = decoder.take(most as u64 + 1).read_to_end(&mut decoded);
    // Before its end, a frame gives out only what the window no longer spans: then there are more than `most` bytes, and
    // what it refers to may be gone.
    if decoded.len() > most || whole.is_err() && !decoded.is_empty() {
        return Err(Undecodable::TooLarge);
    }
    whole.map_err(|_| Undecodable::Broken)?;
    // One frame is the body: what follows would be read by some recipients and not by others.
    let mut after = [0];
    match rest.read(&mut after) {
        Ok(0) => Ok(decoded),
        _ => Err(Undecodable::Broken),
    }
}

/// The smallest window descriptor that spans so many bytes, and a whole block (RFC 8878, sections 3.1.1.1.2 and 3.1.1.2.3).
fn window_for(bytes: usize) -> u8 {
    let exponent = bytes.max(128 << 10).next_power_of_two().trailing_zeros() - 10;
    (exponent as u8) << 3
}

#[cfg(test)]
#[path = "coding_tests.rs"]
mod tests;
