//! Our reading: what `server/connection` does with the bytes of a client, without the socket.

use bytes::BytesMut;
use tollgate::authority::Scheme;
use tollgate::headers::check_request;
use tollgate::http1::body::Decoder;
use tollgate::http1::chunked::Piece;
use tollgate::http1::head::{self, Limits, Lines, Scan};

use super::{End, Message, Reading, fields, line};

/// hyper's own number of fields.
const LIMITS: Limits = Limits { bytes: 64 * 1024, fields: 100 };

/// Reads requests until there is nothing more to read.
#[must_use]
pub fn read(bytes: &[u8]) -> Reading {
    let (mut input, mut messages) = (BytesMut::from(bytes), Vec::new());
    let end = loop {
        match next(&mut input, &mut messages) {
            Ok(true) => {}
            Ok(false) => break if messages.last().is_some_and(|last| last.whole) { End::Closed } else { End::Open },
            Err(end) => break end,
        }
    };
    Reading { messages, end }
}

/// One request. Answers whether another one may follow.
fn next(input: &mut BytesMut, messages: &mut Vec<Message>) -> Result<bool, End> {
    let refused = |why: &dyn std::fmt::Debug| End::Refused(format!("{why:?}"));
    let mut lines = Lines::new();
    let found = Scan::default().request(input, LIMITS.bytes, &mut lines).map_err(|bad| refused(&bad))?;
    let Some((skip, length)) = found else { return Err(End::Open) };
    let _ = input.split_to(skip);
    let head = head::request(&input.split_to(length).freeze(), &lines, LIMITS).map_err(|bad| refused(&bad))?;
    let request = head.request;
    check_request(&request, head.kinds, Scheme::Http)
        .map_err(|error| End::Refused(error.reason().code().to_owned()))?;
    let mut message = Message {
        line: line(&request),
        fields: fields(request.headers()),
        body: Vec::new(),
        trailers: Vec::new(),
        whole: false,
    };
    let mut decoder = Decoder::new(head.length);
    let end = loop {
        match decoder.next(input) {
            Ok(None) => break Err(End::Open),
            Ok(Some(Piece::Data(bytes))) => message.body.extend_from_slice(&bytes),
            Ok(Some(Piece::Trailers(trailers))) => message.trailers = fields(&trailers),
            Ok(Some(Piece::End)) => break Ok(head.keep_alive),
            Err(bad) => break Err(refused(&bad)),
        }
        if decoder.is_over() {
            break Ok(head.keep_alive);
        }
    };
    message.whole = end.is_ok();
    messages.push(message);
    end
}
