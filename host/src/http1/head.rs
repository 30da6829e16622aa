//! Heads: where one ends, and what it says.

use std::fmt;
use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use httparse::Header;

use super::framing::Length;
use super::shape::Fields;
pub use super::shape::Lines;
use crate::error::Reason;
use crate::headers::Kinds;

/// How large heads may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes, line ends included.
    pub bytes: usize,
    /// Fields; more than [`MOST_FIELDS`] are never taken.
    pub fields: usize,
}

/// The most fields that any limit can allow.
pub const MOST_FIELDS: usize = 1000;

/// A request without its body.
#[derive(Debug)]
pub struct RequestHead {
    /// Method, target, version and fields as they came.
    pub request: Request<()>,
    /// Where the body ends.
    pub length: Length,
    /// Whether the client may send another request on the connection.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether the client reads trailers (RFC 9110, section 10.1.4).
    pub takes_trailers: bool,
    /// Which kinds of fields there are.
    pub kinds: Kinds,
}

/// A response without its body.
#[derive(Debug)]
pub struct ResponseHead {
    /// Status, version and fields as they came, without `Transfer-Encoding` and with one `Content-Length` at most.
    pub response: Response<()>,
    /// Where the body ends.
    pub length: Length,
    /// Whether the upstream takes another request on the connection.
    pub keep_alive: bool,
    /// Which kinds of fields there are.
    pub kinds: Kinds,
}

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadHead {
    /// The first bytes are not of HTTP/1.
    NotHttp,
    /// A line that does not end in CR LF.
    LineEnd,
    /// The request line is not a method, a target and a version with one space between them.
    RequestLine,
    /// The method is not a token.
    Method,
    /// The target has bytes in it that no target has, or a fragment, or is of no known form.
    Target,
    /// The head did not end in the bytes that it may have, and they are all of the target.
    TargetTooLong,
    /// HTTP, but neither 1.0 nor 1.1.
    Version,
    /// The status line is not one, or its status is none that HTTP has.
    Status,
    /// The name of a field is empty, not a token, or followed by white space; or the line has no colon, or is folded.
    Name,
    /// A control character in the value of a field.
    Value,
    /// More fields than allowed.
    TooManyFields,
    /// More bytes than allowed.
    TooLarge,
    /// `Content-Length` that is not a number of bytes.
    Length,
    /// `Content-Length` more than once, or with different values.
    Lengths,
    /// Any transfer coding but one `chunked`.
    Coding,
    /// `Transfer-Encoding` in a version that does not have it.
    CodingVersion,
    /// `Content-Length` and `Transfer-Encoding` together.
    LengthAndCoding,
}

/// Looks for the end of a head, and sees each byte once however they come.
#[derive(Debug, Default, Clone, Copy)]
pub struct Scan {
    /// Empty lines before the head (RFC 9112, section 2.2).
    begin: usize,
    /// Where the line begins that is being looked at.
    line: usize,
    /// All before it has been looked at.
    at: usize,
}

impl Scan {
    /// The bytes before a request, and its length, once it is whole; then `lines` are the head's.
    ///
    /// # Errors
    /// Bare line feeds, what does not begin as a request does, and heads above `most` bytes.
    pub fn request(&mut self, bytes: &[u8], most: usize, lines: &mut Lines) -> Result<Option<(usize, usize)>, BadHead> {
        while self.line == self.begin && bytes[self.begin..].starts_with(b"\r\n") {
            self.begin += 2;
            (self.line, self.at) = (self.begin, self.begin);
        }
        let first = bytes.get(self.begin).copied().unwrap_or(b'A');
        if !(is_token(first) || first == b'\r' && bytes.len() == self.begin + 1) {
            return Err(if first == b'\n' { BadHead::LineEnd } else { BadHead::NotHttp });
        }
        match self.find_lines(bytes, most, lines) {
            Err(BadHead::TooLarge) if self.line == self.begin => Err(BadHead::TargetTooLong),
            found => Ok(found?.map(|end| (self.begin, end - self.begin))),
        }
    }

    /// The length of a response's head, once it is whole; then `lines` are its lines.
    ///
    /// # Errors
    /// As for requests.
    pub fn response(&mut self, bytes: &[u8], most: usize, lines: &mut Lines) -> Result<Option<usize>, BadHead> {
        const BEGIN: &[u8] = b"HTTP/1.";
        let length = bytes.len().min(BEGIN.len());
        if bytes[..length] != BEGIN[..length] {
            return Err(BadHead::NotHttp);
        }
        self.find_lines(bytes, most, lines)
    }

    /// The same as [`Self::find`] for a head, with its lines. Most heads come at once; those of which an earlier look has
    /// passed a part are gone through once more, rather than keep room for lines in each connection that waits.
    fn find_lines(&mut self, bytes: &[u8], most: usize, lines: &mut Lines) -> Result<Option<usize>, BadHead> {
        let (begin, at_once) = (self.begin, self.at == self.begin);
        let found = self.find_each(bytes, most, |line, end| lines.note(&bytes[line..end], end - begin))?;
        if let (Some(end), false) = (found, at_once) {
            *lines = Lines::of(&bytes[begin..end]);
        }
        Ok(found)
    }

    /// The length of lines that end with an empty one.
    ///
    /// # Errors
    /// Bare line feeds, and more than `most` bytes.
    pub fn find(&mut self, bytes: &[u8], most: usize) -> Result<Option<usize>, BadHead> {
        self.find_each(bytes, most, |_, _| {})
    }

    /// The same, telling where each line begins and ends.
    fn find_each(
        &mut self,
        bytes: &[u8],
        most: usize,
        mut each: impl FnMut(usize, usize),
    ) -> Result<Option<usize>, BadHead> {
        let from = self.at;
        for feed in memchr::memchr_iter(b'\n', &bytes[from..]).map(|found| from + found) {
            if feed == self.line || bytes[feed - 1] != b'\r' {
                return Err(BadHead::LineEnd);
            }
            let empty = feed - 1 == self.line;
            if feed >= most {
                return Err(BadHead::TooLarge);
            }
            each(self.line, feed + 1);
            (self.line, self.at) = (feed + 1, feed + 1);
            if empty {
                return Ok(Some(feed + 1));
            }
        }
        self.at = bytes.len();
        if bytes.len() >= most { Err(BadHead::TooLarge) } else { Ok(None) }
    }
}

/// Reads a whole head of a request, as [`Scan::request`] found it.
///
/// # Errors
/// Everything that is not exactly as RFC 9112 has it.
pub fn request(head: &Bytes, lines: &Lines, limits: Limits) -> Result<RequestHead, BadHead> {
    if let Some(fields) = lines.known(head, limits.fields) {
        let mut parsed = httparse::Request::new(&mut []);
        if is_only_too_long(parsed.parse(head)) {
            return request_of(head, &parsed, fields);
        }
    }
    any_request(head, limits, lines)
}

/// The same of a head whose fields are not known; on its own, since it takes much of the stack.
#[inline(never)]
fn any_request(head: &Bytes, limits: Limits, lines: &Lines) -> Result<RequestHead, BadHead> {
    let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; MOST_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    let status = parsed.parse_with_uninit_headers(head, &mut fields[..limits.fields.min(MOST_FIELDS)]);
    // What is partial ends in the middle of a line, and the scan does not let it.
    if !status.map_err(|error| explain(error, head))?.is_complete() {
        return Err(BadHead::RequestLine);
    }
    let fields = lines.learn(head, parsed.headers)?;
    request_of(head, &parsed, fields)
}

fn request_of(head: &Bytes, parsed: &httparse::Request<'_, '_>, fields: Fields) -> Result<RequestHead, BadHead> {
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(BadHead::RequestLine);
    };
    let version = if version == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    let Fields { headers, said, kinds } = fields;
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).map_err(|_| BadHead::Method)?;
    *request.uri_mut() = uri(head.slice_ref(target.as_bytes()))?;
    *request.version_mut() = version;
    *request.headers_mut() = headers;
    Ok(RequestHead {
        request,
        length: said.length_of_request(version)?,
        keep_alive: said.keeps_alive(version),
        expects_continue: said.expects_continue && version == Version::HTTP_11,
        takes_trailers: said.takes_trailers,
        kinds,
    })
}

/// Reads a whole head of a response to a request with this method, as [`Scan::response`] found it.
///
/// # Errors
/// Everything that is not exactly as RFC 9112 has it, and a status that is of no class of RFC 9110.
pub fn response(head: &Bytes, lines: &Lines, limits: Limits, method: &Method) -> Result<ResponseHead, BadHead> {
    if let Some(fields) = lines.known(head, limits.fields) {
        let mut parsed = httparse::Response::new(&mut []);
        if is_only_too_long(parsed.parse(head)) {
            return response_of(&parsed, fields, method);
        }
    }
    any_response(head, limits, method, lines)
}

#[inline(never)]
fn any_response(head: &Bytes, limits: Limits, method: &Method, lines: &Lines) -> Result<ResponseHead, BadHead> {
    let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; MOST_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let fields = &mut fields[..limits.fields.min(MOST_FIELDS)];
    let status = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, head, fields);
    if !status.map_err(|error| explain(error, head))?.is_complete() {
        return Err(BadHead::Status);
    }
    let fields = lines.learn(head, parsed.headers)?;
    response_of(&parsed, fields, method)
}

fn response_of(parsed: &httparse::Response<'_, '_>, fields: Fields, method: &Method) -> Result<ResponseHead, BadHead> {
    let (Some(code), Some(version)) = (parsed.code, parsed.version) else {
        return Err(BadHead::Status);
    };
    let status = StatusCode::from_u16(code).ok().filter(|status| status.as_u16() < 600).ok_or(BadHead::Status)?;
    let version = if version == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    let Fields { mut headers, said, kinds } = fields;
    let length = said.length_of_response(version, method, status)?;
    said.normalise(status, &mut headers);
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = version;
    *response.headers_mut() = headers;
    Ok(ResponseHead { response, length, keep_alive: said.keeps_alive(version), kinds })
}

/// Whether a parser that has no room for fields has found nothing wrong with the line before them.
fn is_only_too_long(parsed: httparse::Result<usize>) -> bool {
    matches!(parsed, Ok(httparse::Status::Complete(_)) | Err(httparse::Error::TooManyHeaders))
}

/// Fields after a chunked body, as [`Scan::find`] found them.
///
/// # Errors
/// As for heads.
pub fn trailers(lines: &Bytes, fields: usize) -> Result<HeaderMap, BadHead> {
    let mut parsed = [httparse::EMPTY_HEADER; 64];
    let most = fields.min(parsed.len());
    let status = httparse::parse_headers(lines, &mut parsed[..most]).map_err(|error| explain(error, b""))?;
    let httparse::Status::Complete((_, fields)) = status else {
        return Err(BadHead::LineEnd);
    };
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| BadHead::Name)?;
        let value = HeaderValue::from_maybe_shared(lines.slice_ref(field.value)).map_err(|_| BadHead::Value)?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// `Uri` would drop a fragment and take bytes outside ASCII.
fn uri(target: Bytes) -> Result<Uri, BadHead> {
    if target.iter().any(|byte| *byte == b'#' || !byte.is_ascii_graphic()) {
        return Err(BadHead::Target);
    }
    Uri::from_maybe_shared(target).map_err(|_| BadHead::Target)
}

/// A byte of a method or of a field's name (RFC 9110, section 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What exactly was wrong; looked for again, since it is needed seldom.
fn explain(error: httparse::Error, head: &[u8]) -> BadHead {
    match error {
        httparse::Error::HeaderName => BadHead::Name,
        httparse::Error::HeaderValue => BadHead::Value,
        httparse::Error::Status => BadHead::Status,
        httparse::Error::TooManyHeaders => BadHead::TooManyFields,
        httparse::Error::NewLine | httparse::Error::Token | httparse::Error::Version => {
            let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
            let parts: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
            match parts[..] {
                [method, ..] if !method.iter().copied().all(is_token) => BadHead::Method,
                [_, target, b"HTTP/1.1" | b"HTTP/1.0"] if !target.iter().all(u8::is_ascii_graphic) => BadHead::Target,
                [_, _, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]]
                    if major.is_ascii_digit() && minor.is_ascii_digit() && error == httparse::Error::Version =>
                {
                    BadHead::Version
                }
                _ if error == httparse::Error::NewLine => BadHead::LineEnd,
                _ => BadHead::RequestLine,
            }
        }
    }
}

impl BadHead {
    /// The reason where it was the head of a request.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            Self::NotHttp | Self::LineEnd | Self::RequestLine | Self::Method | Self::Status => Reason::BadRequest,
            Self::Name | Self::Value => Reason::BadRequest,
            Self::Target => Reason::BadPath,
            Self::TargetTooLong => Reason::UriTooLong,
            Self::Version => Reason::HttpVersion,
            Self::TooManyFields | Self::TooLarge => Reason::HeadTooLarge,
            Self::Length | Self::Lengths | Self::Coding | Self::CodingVersion | Self::LengthAndCoding => {
                Reason::BadFraming
            }
        }
    }
}

impl fmt::Display for BadHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHttp => "it does not begin as HTTP/1 does",
            Self::LineEnd => "a line does not end in CR LF",
            Self::RequestLine => "the request line is not a method, a target and a version",
            Self::Method => "the method is not a token",
            Self::Target => "the target has bytes in it that no target has",
            Self::TargetTooLong => "the target is too long",
            Self::Version => "the version is neither HTTP/1.0 nor HTTP/1.1",
            Self::Status => "the status line or its status is none of HTTP",
            Self::Name => "the name of a field is not a token with a colon behind it",
            Self::Value => "the value of a field has a control character in it",
            Self::TooManyFields => "there are too many fields",
            Self::TooLarge => "the head is too large",
            Self::Length => "Content-Length is not a number of bytes",
            Self::Lengths => "Content-Length is there several times",
            Self::Coding => "the only transfer coding supported is chunked",
            Self::CodingVersion => "Transfer-Encoding is only for HTTP/1.1",
            Self::LengthAndCoding => "Content-Length and Transfer-Encoding are both there",
        })
    }
}

impl std::error::Error for BadHead {}

#[cfg(test)]
mod tests;
