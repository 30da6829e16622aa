//! Heads as we write them: anew, from what was understood, with the framing that is true.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};

use super::body::Part;
use super::chunked;
use super::framing::{Length, is_bodiless};
use super::wire::Wire;
use crate::transport::pipe::Pipe;

/// What a client that waits for it gets before it sends its body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What a response says about its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// Nothing: in HTTP/1.1 it stays.
    Stays,
    /// `keep-alive`, for clients of HTTP/1.0.
    KeepAlive,
    /// `close`.
    Close,
}

/// Writes the head of a request. The target has to be in origin form; what the headers say about framing is left out.
/// `host` takes the place of their `Host`, and `added` writes fields behind theirs.
pub fn request(
    out: &mut Vec<u8>,
    (method, target, headers): (&Method, &Uri, &HeaderMap),
    host: Option<&HeaderValue>,
    added: impl FnOnce(&mut Vec<u8>),
    length: Length,
) {
    out.reserve(128 + 64 * headers.len());
    out.extend_from_slice(method.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(target.path_and_query().map_or("/", |target| target.as_str()).as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(host) = host {
        field(out, &header::HOST, host.as_bytes());
    }
    fields(out, headers, |name| *name == header::CONTENT_LENGTH || host.is_some() && *name == header::HOST);
    added(out);
    match length {
        // A body that is expected and is not there says so (RFC 9110, section 8.6).
        Length::None if matches!(*method, Method::POST | Method::PUT | Method::PATCH) => content_length(out, 0),
        Length::None => {}
        Length::Sized(length) => content_length(out, length),
        Length::Chunked | Length::UntilClose => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of a response to a request with this method. Where there is no body because there never is one, the
/// headers' own `Content-Length` is left: it says what `GET` would have got.
pub fn response(
    out: &mut Vec<u8>,
    method: &Method,
    status: StatusCode,
    headers: &HeaderMap,
    length: Length,
    connection: Connection,
) {
    out.reserve(192 + 64 * headers.len());
    status_line(out, status);
    let described = length == Length::None && (*method == Method::HEAD || status == StatusCode::NOT_MODIFIED);
    let described = described && headers.contains_key(header::CONTENT_LENGTH);
    fields(out, headers, |name| !described && *name == header::CONTENT_LENGTH);
    match length {
        Length::None if *method == Method::HEAD || is_bodiless(status) => {}
        Length::None => content_length(out, 0),
        Length::Sized(length) => content_length(out, length),
        Length::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Length::UntilClose => {}
    }
    match connection {
        Connection::Stays => {}
        Connection::KeepAlive => out.extend_from_slice(b"connection: keep-alive\r\n"),
        Connection::Close => out.extend_from_slice(b"connection: close\r\n"),
    }
    if !headers.contains_key(header::DATE) {
        field(out, &header::DATE, &now());
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes an interim response (RFC 9110, section 15.2), which has no body and says nothing about one.
pub fn interim(out: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap) {
    status_line(out, status);
    fields(out, headers, |name| *name == header::CONTENT_LENGTH);
    out.extend_from_slice(b"\r\n");
}

fn status_line(out: &mut Vec<u8>, status: StatusCode) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A body on its way out, in the framing that its head told.
#[derive(Debug)]
pub struct Encoder {
    length: Length,
    trailers: bool,
}

/// A body that is not as long as its head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLength {
    /// It ended before.
    Shorter,
    /// It goes on behind its end.
    Longer,
}

impl Encoder {
    /// After a head that told this length; `trailers` says whether the reader knows what to do with some.
    #[must_use]
    pub fn new(length: Length, trailers: bool) -> Self {
        Self { length, trailers }
    }

    /// Whether the next bytes may come in a pipe: many are to follow as they are.
    #[must_use]
    pub fn takes_pipes(&self, wire: &Wire) -> bool {
        matches!(self.length, Length::Sized(left) if wire.takes_pipes(left))
    }

    /// Writes the next part, or the end where there is none. Answers whether that was all: `last` says that nothing follows
    /// these bytes.
    ///
    /// # Errors
    /// The body is not as long as the head told.
    pub fn part(&mut self, wire: &mut Wire, part: Option<Part>, last: bool) -> Result<bool, BadLength> {
        match part {
            Some(Part::Data(bytes)) => self.data(wire, bytes)?,
            Some(Part::Piped(pipe)) => self.pipe(wire, pipe)?,
            Some(Part::Trailers(fields)) => return self.end(wire, Some(&fields)).map(|()| true),
            None => return self.end(wire, None).map(|()| true),
        }
        if last {
            self.end(wire, None)?;
        }
        Ok(last)
    }

    /// Writes what is in a pipe, where that may be.
    fn pipe(&mut self, wire: &mut Wire, pipe: Pipe) -> Result<(), BadLength> {
        let Length::Sized(left) = &mut self.length else { return Err(BadLength::Longer) };
        *left = left.checked_sub(pipe.len() as u64).ok_or(BadLength::Longer)?;
        wire.push_pipe(pipe);
        Ok(())
    }

    /// Writes a piece.
    ///
    /// # Errors
    /// It is longer than the head told.
    pub fn data(&mut self, wire: &mut Wire, bytes: Bytes) -> Result<(), BadLength> {
        match &mut self.length {
            // A chunk of no bytes would be the last one.
            _ if bytes.is_empty() => {}
            Length::None => return Err(BadLength::Longer),
            Length::Sized(left) => {
                *left = left.checked_sub(bytes.len() as u64).ok_or(BadLength::Longer)?;
                wire.push(bytes);
            }
            Length::UntilClose => wire.push(bytes),
            Length::Chunked => {
                chunked::write_size(wire.tail(), bytes.len());
                wire.push(bytes);
                wire.tail().extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }

    /// Writes the end.
    ///
    /// # Errors
    /// The body is shorter than the head told.
    pub fn end(&mut self, wire: &mut Wire, trailers: Option<&HeaderMap>) -> Result<(), BadLength> {
        match self.length {
            Length::Sized(1..) => return Err(BadLength::Shorter),
            Length::Chunked => chunked::write_end(wire.tail(), trailers.filter(|_| self.trailers)),
            Length::None | Length::Sized(0) | Length::UntilClose => {}
        }
        Ok(())
    }
}

impl fmt::Display for BadLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shorter => "it was shorter than its length",
            Self::Longer => "it was longer than its length",
        })
    }
}

impl std::error::Error for BadLength {}

/// Writes one field.
pub fn field(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    let name = name.as_str();
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes all fields but those that say where the message ends, and those that `is_left_out` is true of.
fn fields(out: &mut Vec<u8>, headers: &HeaderMap, is_left_out: impl Fn(&HeaderName) -> bool) {
    for (name, value) in headers {
        if !matches!(*name, header::TRANSFER_ENCODING | header::CONNECTION) && !is_left_out(name) {
            field(out, name, value.as_bytes());
        }
        // Heads lose it on their way in: it is there where we go on with another protocol.
        if *name == header::UPGRADE {
            out.extend_from_slice(b"connection: upgrade\r\n");
        }
    }
}

fn content_length(out: &mut Vec<u8>, length: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = length;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    field(out, &header::CONTENT_LENGTH, &digits[at..]);
}

/// How long a date is.
const DATE: usize = "Sun, 06 Nov 1994 08:49:37 GMT".len();

/// What `Date` says now, formatted once a second on each thread.
#[must_use]
pub fn now() -> [u8; DATE] {
    /// The end of the year 9999.
    const LAST: u64 = 253_402_300_799;
    thread_local! {
        static NOW: Cell<(u64, [u8; DATE])> = const { Cell::new((u64::MAX, [0; DATE])) };
    }
    let second = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (known, mut text) = NOW.get();
    if known != second {
        // The form has four digits for the year.
        let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(second.min(LAST));
        if let Ok(formatted) = httpdate::fmt_http_date(moment).as_bytes().try_into() {
            text = formatted;
        }
        NOW.set((second, text));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(method: Method, status: u16, headers: &[(&'static str, &'static str)], length: Length) -> String {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        let headers = HeaderMap::from_iter(headers);
        let status = StatusCode::from_u16(status).unwrap();
        let mut out = Vec::new();
        response(&mut out, &method, status, &headers, length, Connection::Stays);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_framing_is_the_one_that_is_true() {
        const DATE: (&str, &str) = ("date", "then");
        const LIE: (&str, &str) = ("content-length", "3");
        const CHUNKED: (&str, &str) = ("transfer-encoding", "chunked");
        let get = Method::GET;
        for (method, status, headers, length, expected) in [
            (get.clone(), 200, vec![DATE, LIE, CHUNKED], Length::Sized(1234567890), "content-length: 1234567890\r\n"),
            (get.clone(), 200, vec![DATE, LIE], Length::None, "content-length: 0\r\n"),
            (get.clone(), 200, vec![DATE, LIE], Length::Chunked, "transfer-encoding: chunked\r\n"),
            (get.clone(), 200, vec![DATE, LIE], Length::UntilClose, ""),
            (get.clone(), 204, vec![DATE, LIE], Length::None, ""),
            (get.clone(), 304, vec![DATE], Length::None, ""),
        ] {
            let head = written(method, status, &headers, length);
            assert!(head.ends_with(&format!("\r\ndate: then\r\n{expected}\r\n")), "{head}");
        }
        assert!(written(Method::HEAD, 200, &[LIE, DATE], Length::None).contains("\r\ncontent-length: 3\r\n"));
        assert!(written(get, 304, &[LIE, DATE], Length::None).contains("\r\ncontent-length: 3\r\n"));
    }

    #[test]
    fn a_date_is_there_and_right() {
        let head = written(Method::GET, 200, &[], Length::None);
        let date = head.lines().find_map(|line| line.strip_prefix("date: ")).unwrap();
        let age = SystemTime::now().duration_since(httpdate::parse_http_date(date).unwrap()).unwrap();
        assert!(age < Duration::from_secs(5), "{date}");
        assert_eq!(written(Method::GET, 200, &[], Length::None).len(), head.len());
    }
}
