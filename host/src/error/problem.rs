//! Error responses (RFC 9457), in the form that the client asked for. Refusals of plugins are written here as well.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode, header};

use super::Reason;

/// Who reads the response: kept from the request's head, since the request itself is gone when it fails.
#[derive(Debug, Clone, Default)]
pub struct Audience {
    accept: Option<HeaderValue>,
    head: bool,
    grpc: bool,
}

impl Audience {
    /// What the head of a request says. Nothing is parsed before a failure: a value is cloned by reference.
    #[must_use]
    pub fn of_request<B>(request: &http::Request<B>) -> Self {
        Self {
            accept: accept(request.headers()),
            head: request.method() == Method::HEAD,
            grpc: crate::headers::is_grpc(request.headers()),
        }
    }

    /// Whether it speaks gRPC.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        self.grpc
    }

    /// The same of a head on its own.
    #[must_use]
    pub fn of(parts: &Parts) -> Self {
        Self {
            accept: accept(&parts.headers),
            head: parts.method == Method::HEAD,
            grpc: crate::headers::is_grpc(&parts.headers),
        }
    }
}

/// The value of `Accept`; several lines are one list (RFC 9110, section 5.3).
fn accept(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(header::ACCEPT).iter();
    let first = lines.next()?;
    let Some(second) = lines.next() else {
        return Some(first.clone());
    };
    let mut joined = first.as_bytes().to_vec();
    for line in [second].into_iter().chain(lines) {
        joined.extend_from_slice(b", ");
        joined.extend_from_slice(line.as_bytes());
    }
    HeaderValue::from_maybe_shared(Bytes::from(joined)).ok()
}

/// What an error response says.
#[derive(Debug, Clone, Copy)]
pub struct Problem<'a> {
    /// 400 to 599.
    pub status: StatusCode,
    /// A stable word in kebab-case; what follows a colon in it is a name and does not change the kind of problem.
    pub code: &'a str,
    /// A summary that is the same for every problem of this code.
    pub title: &'a str,
    /// What this client can do about this request.
    pub detail: Option<&'a str>,
    /// Where in the request a fault is, and what it is.
    pub faults: &'a [(String, String)],
}

impl Problem<'_> {
    /// The response, with exact `Content-Type` and `Content-Length`. A client of gRPC gets headers alone; to `HEAD` the
    /// length is told and no body sent.
    #[must_use]
    pub fn response(&self, audience: &Audience, request_id: &str) -> Response<Bytes> {
        let mut response = if audience.grpc { self.grpc() } else { self.http(audience, request_id) };
        // A cache must never keep a refusal of one client for the others; 404, 405 and 414 are storable by default.
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn http(&self, audience: &Audience, request_id: &str) -> Response<Bytes> {
        let form = audience.accept.as_ref().map_or(Form::Json, |accept| Form::preferred(accept.as_bytes()));
        let body = match form {
            Form::Json => self.json(request_id),
            Form::Xml => self.xml(request_id),
            Form::Text => self.text(request_id),
        };
        let length = HeaderValue::from(body.len());
        let mut response = Response::new(if audience.head { Bytes::new() } else { Bytes::from(body) });
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
        response.headers_mut().insert(header::CONTENT_LENGTH, length);
        response
    }

    /// What gRPC's mapping to HTTP/2 calls `Trailers-Only`.
    fn grpc(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from(grpc_status(self.status)));
        headers.insert("grpc-message", grpc_message(self.detail.unwrap_or(self.title)));
        response
    }

    /// A URI that identifies the kind of problem, whatever plugin it was about.
    fn kind(&self) -> String {
        format!("urn:tollgate:problem:{}", self.code.split(':').next().unwrap_or_default())
    }

    fn json(&self, request_id: &str) -> String {
        let mut out = String::with_capacity(256);
        out.push_str("{\"type\":");
        json_string(&mut out, &self.kind());
        out.push_str(",\"title\":");
        json_string(&mut out, self.title);
        out.extend([",\"status\":", self.status.as_str()]);
        if let Some(detail) = self.detail {
            out.push_str(",\"detail\":");
            json_string(&mut out, detail);
        }
        out.push_str(",\"code\":");
        json_string(&mut out, self.code);
        out.push_str(",\"request_id\":");
        json_string(&mut out, request_id);
        for (at, (pointer, detail)) in self.faults.iter().enumerate() {
            out.push_str(if at == 0 { ",\"errors\":[{\"pointer\":" } else { ",{\"pointer\":" });
            json_string(&mut out, pointer);
            out.push_str(",\"detail\":");
            json_string(&mut out, detail);
            out.push_str(if at + 1 == self.faults.len() { "}]" } else { "}" });
        }
        out.push('}');
        out
    }

    /// The XML of RFC 9457, appendix B; its namespace kept the number of the older document, and lists have items `i`.
    fn xml(&self, request_id: &str) -> String {
        let mut out = String::with_capacity(384);
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<problem xmlns=\"urn:ietf:rfc:7807\">");
        xml_element(&mut out, "type", &self.kind());
        xml_element(&mut out, "title", self.title);
        xml_element(&mut out, "status", self.status.as_str());
        if let Some(detail) = self.detail {
            xml_element(&mut out, "detail", detail);
        }
        xml_element(&mut out, "code", self.code);
        xml_element(&mut out, "request_id", request_id);
        if !self.faults.is_empty() {
            out.push_str("<errors>");
            for (pointer, detail) in self.faults {
                out.push_str("<i>");
                xml_element(&mut out, "pointer", pointer);
                xml_element(&mut out, "detail", detail);
                out.push_str("</i>");
            }
            out.push_str("</errors>");
        }
        out.push_str("</problem>\n");
        out
    }

    fn text(&self, request_id: &str) -> String {
        let mut out = format!("{} {}\n", self.status.as_str(), self.title);
        if let Some(detail) = self.detail {
            out.extend([detail, "\n"]);
        }
        for (pointer, detail) in self.faults {
            out.extend(["- ", pointer, ": ", detail, "\n"]);
        }
        out.extend(["\ncode: ", self.code, "\nrequest: ", request_id, "\n"]);
        out
    }
}

/// How a gRPC call ends whose response broke off: as trailers, since its head is gone.
#[must_use]
pub fn grpc_trailers(reason: &Reason) -> HeaderMap {
    let entry = reason.entry();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(grpc_status(entry.status)));
    trailers.insert("grpc-message", grpc_message(entry.detail));
    trailers
}

/// The nearest of gRPC's status codes.
fn grpc_status(status: StatusCode) -> u16 {
    const CANCELLED: u16 = 1;
    const INVALID_ARGUMENT: u16 = 3;
    const DEADLINE_EXCEEDED: u16 = 4;
    const PERMISSION_DENIED: u16 = 7;
    const RESOURCE_EXHAUSTED: u16 = 8;
    const UNIMPLEMENTED: u16 = 12;
    const INTERNAL: u16 = 13;
    const UNAVAILABLE: u16 = 14;
    const UNAUTHENTICATED: u16 = 16;
    match status.as_u16() {
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 | 405 => UNIMPLEMENTED,
        408 | 504 => DEADLINE_EXCEEDED,
        413 | 429 | 431 => RESOURCE_EXHAUSTED,
        499 => CANCELLED,
        502 | 503 => UNAVAILABLE,
        400..=499 => INVALID_ARGUMENT,
        _ => INTERNAL,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Xml,
    Text,
}

impl Form {
    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/problem+json",
            Self::Xml => "application/problem+xml",
            Self::Text => "text/plain; charset=utf-8",
        }
    }

    /// The form with the highest quality in a value of `Accept` (RFC 9110, section 12.5.1); JSON where two are equal,
    /// and where none is acceptable: a failure has to be said in some form.
    pub(super) fn preferred(accept: &[u8]) -> Self {
        let mut best = (Self::Json, 0);
        for form in [Self::Json, Self::Xml, Self::Text] {
            let quality = form.quality(accept);
            if quality > best.1 {
                best = (form, quality);
            }
        }
        best.0
    }

    /// In thousandths: that of the most specific range which takes this form, and the highest of equals.
    fn quality(self, accept: &[u8]) -> u16 {
        let mut best = (Specificity::None, 0);
        for range in accept.split(|byte| *byte == b',') {
            let mut pieces = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let specificity = self.taken_by(pieces.next().unwrap_or_default());
            let Some(quality) = quality(pieces) else { continue };
            if specificity > Specificity::None && (specificity, quality) > best {
                best = (specificity, quality);
            }
        }
        best.1
    }

    /// Whoever reads a kind of JSON or XML can read the problem in it. A browser, which asks for HTML, gets text:
    /// XHTML is therefore not counted as XML.
    fn taken_by(self, range: &[u8]) -> Specificity {
        let is = |name: &str| range.eq_ignore_ascii_case(name.as_bytes());
        let suffix = |name: &str| {
            let (range, name) = (range, name.as_bytes());
            range.len() > name.len() && range[range.len() - name.len()..].eq_ignore_ascii_case(name)
        };
        let exact = match self {
            Self::Json => is("application/json") || suffix("+json"),
            Self::Xml => is("application/xml") || is("text/xml") || (suffix("+xml") && !is("application/xhtml+xml")),
            Self::Text => is("text/plain") || is("text/html"),
        };
        if exact {
            Specificity::Type
        } else if (self == Self::Text && is("text/*")) || (self != Self::Text && is("application/*")) {
            Specificity::Family
        } else if is("*/*") {
            Specificity::Any
        } else {
            Specificity::None
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Specificity {
    None,
    Any,
    Family,
    Type,
}

/// The `q` among a range's parameters, in thousandths: 1000 where there is none, nothing where it is malformed.
fn quality<'a>(parameters: impl Iterator<Item = &'a [u8]>) -> Option<u16> {
    for parameter in parameters {
        let [b'q' | b'Q', b'=', value @ ..] = parameter else {
            continue;
        };
        let (whole, fraction) = match value {
            [whole] => (whole, &[][..]),
            [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
            _ => return None,
        };
        if !matches!(whole, b'0' | b'1') || !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let mut thousandths = u16::from(whole - b'0') * 1000;
        for (digit, unit) in fraction.iter().zip([100, 10, 1]) {
            thousandths += u16::from(digit - b'0') * unit;
        }
        return (thousandths <= 1000).then_some(thousandths);
    }
    Some(1000)
}

/// The status's own phrase, which RFC 9457 wants as the title where there is no better one.
pub(super) fn title(status: StatusCode) -> &'static str {
    match status.as_u16() {
        // The `http` crate has the names of older documents.
        413 => "Content Too Large",
        499 => "Client Closed Request",
        _ => status.canonical_reason().unwrap_or("Error"),
    }
}

fn json_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\0'..='\x1f' => {
                write!(out, "\\u{:04x}", u32::from(character)).expect("writing to a string cannot fail");
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

fn xml_element(out: &mut String, name: &str, content: &str) {
    out.extend(["<", name, ">"]);
    xml_text(out, content);
    out.extend(["</", name, ">"]);
}

/// Text as element content. Control characters, which XML 1.0 cannot say at all, become U+FFFD.
fn xml_text(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(character),
        }
    }
}

/// `grpc-message`: percent-encoded but for printable ASCII (gRPC over HTTP/2, "Responses").
fn grpc_message(text: &str) -> HeaderValue {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => write!(out, "%{byte:02X}").expect("writing to a string cannot fail"),
            _ => out.push(char::from(byte)),
        }
    }
    HeaderValue::try_from(out).expect("printable ASCII is a value")
}
