//! What is wrong with a request's head although it could be parsed.

use http::header::{self, HeaderMap, HeaderName};
use http::{Method, Request, Version};

use super::Kinds;
use crate::authority::{Authority, Scheme};
use crate::error::{Error, Reason};

/// Refuses a head that two programs could read in two ways (RFC 9112, sections 3.2, 6.1 and 6.3), and answers whom the
/// request is for. The kinds of its fields say what there is to look at.
///
/// The HTTP parser has refused much before; what it repairs instead of refusing (`Content-Length` beside
/// `Transfer-Encoding`) cannot be seen here any more.
///
/// # Errors
/// What exactly is wrong, each with the reason that sets its status.
pub fn check_request<B>(request: &Request<B>, kinds: Kinds, scheme: Scheme) -> Result<Authority<'_>, Error> {
    if !matches!(request.version(), Version::HTTP_10 | Version::HTTP_11 | Version::HTTP_2) {
        return Err(Reason::HttpVersion.into());
    }
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Reason::MethodRefused.into());
    }
    target(request)?;
    if kinds.about_the_body() {
        let has_body = framing(request)?;
        expectation(request)?;
        upgrade(request.headers(), has_body)?;
    }
    authority(request, scheme)
}

/// Refuses a head of more than `fields` fields, or more than `bytes` bytes of target, names and values.
///
/// # Errors
/// [`Reason::HeadTooLarge`], or [`Reason::UriTooLong`] where it is the target's alone.
pub fn check_size<B>(request: &Request<B>, fields: usize, bytes: usize) -> Result<(), Error> {
    let headers = request.headers();
    if headers.len() > fields {
        return Err(Error::because(Reason::HeadTooLarge, format!("{} fields, {fields} allowed", headers.len())));
    }
    // What a field costs on an HTTP/1.1 connection beside its name and value: a colon, a space and a line end.
    let lines: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > bytes {
        return Err(Error::because(Reason::UriTooLong, format!("{target} bytes, {bytes} allowed")));
    }
    let size = lines + target;
    if size > bytes {
        return Err(Error::because(Reason::HeadTooLarge, format!("{size} bytes, {bytes} allowed")));
    }
    Ok(())
}

/// The form of the target: a path, an absolute URI of HTTP, or `*` for `OPTIONS` alone.
fn target<B>(request: &Request<B>) -> Result<(), Error> {
    let refuse = |why: &'static str| Err(Error::because(Reason::BadRequest, why));
    match (request.uri().scheme_str(), request.uri().authority()) {
        (None, Some(_)) => return refuse("the target is an authority, which only CONNECT has"),
        (Some("http" | "https"), _) | (None, None) => {}
        (Some(_), _) => return refuse("the target is neither a path nor an HTTP URI"),
    }
    if request.uri().path() == "*" && *request.method() != Method::OPTIONS {
        return refuse("the target * is only for OPTIONS");
    }
    Ok(())
}

/// One way alone to say where the body ends. Answers whether there may be a body.
fn framing<B>(request: &Request<B>) -> Result<bool, Error> {
    let refuse = |why: &'static str| Err(Error::because(Reason::BadFraming, why));
    let headers = request.headers();
    let length = match single(headers, &header::CONTENT_LENGTH) {
        Lines::None => None,
        Lines::One(value) => match content_length(value) {
            Some(length) => Some(length),
            None => return refuse("Content-Length is not a number of bytes"),
        },
        Lines::Several => return refuse("Content-Length is there several times"),
    };
    let coding = match single(headers, &header::TRANSFER_ENCODING) {
        Lines::None => return Ok(length.is_some_and(|length| length > 0)),
        Lines::One(value) => value,
        Lines::Several => return refuse("Transfer-Encoding is there several times"),
    };
    if length.is_some() {
        return refuse("Content-Length and Transfer-Encoding are both there");
    }
    if request.version() != Version::HTTP_11 {
        return refuse("Transfer-Encoding is only for HTTP/1.1");
    }
    if !coding.eq_ignore_ascii_case(b"chunked") {
        return refuse("the only Transfer-Encoding supported is chunked");
    }
    Ok(true)
}

/// `1*DIGIT`: no sign, no list, no white space. `u64::from_str` alone takes a sign.
fn content_length(value: &[u8]) -> Option<u64> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(value).ok()?.parse().ok()
}

/// A client of HTTP/1.0 cannot wait for a 100, and what it expects is ignored (RFC 9110, section 10.1.1).
fn expectation<B>(request: &Request<B>) -> Result<(), Error> {
    if request.version() == Version::HTTP_10 {
        return Ok(());
    }
    match single(request.headers(), &header::EXPECT) {
        Lines::None => Ok(()),
        Lines::One(value) if value.eq_ignore_ascii_case(b"100-continue") => Ok(()),
        Lines::One(_) | Lines::Several => Err(Reason::ExpectationFailed.into()),
    }
}

/// Bytes behind a request that wants an upgrade are read as a body by one program and as the new protocol by another
/// (CVE-2026-58055). Clients that offer `h2c` with a body are common; they are answered in HTTP/1.1.
fn upgrade(headers: &HeaderMap, has_body: bool) -> Result<(), Error> {
    let other = |value: &http::HeaderValue| !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"h2c");
    if has_body && headers.get_all(header::UPGRADE).iter().any(other) {
        return Err(Reason::UpgradeWithBody.into());
    }
    Ok(())
}

/// Whom the request is for. A target that names an authority overrules `Host` in HTTP/1.1 (RFC 9112, section 3.2.2); in
/// HTTP/2 the two must be the same (RFC 9113, section 8.3.1).
fn authority<B>(request: &Request<B>, scheme: Scheme) -> Result<Authority<'_>, Error> {
    let host = match single(request.headers(), &header::HOST) {
        Lines::None => None,
        Lines::One(value) => Some(Authority::parse(value, scheme)?),
        Lines::Several => return Err(Error::because(Reason::BadHost, "Host is there several times")),
    };
    let target = match request.uri().authority() {
        Some(target) => Some(Authority::parse(target.as_str().as_bytes(), scheme)?),
        None => None,
    };
    match (target, host) {
        (Some(target), None) if request.version() == Version::HTTP_2 => Ok(target),
        (Some(target), Some(host)) if request.version() == Version::HTTP_2 && target != host => {
            Err(Error::because(Reason::BadHost, "Host and :authority are not the same"))
        }
        (Some(target), Some(_)) => Ok(target),
        (None, Some(host)) => Ok(host),
        (_, None) => Err(Error::because(Reason::BadHost, "there is no Host")),
    }
}

enum Lines<'a> {
    None,
    One(&'a [u8]),
    Several,
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Lines<'a> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Lines::None,
        (Some(value), None) => Lines::One(value.as_bytes()),
        (Some(_), Some(_)) => Lines::Several,
    }
}

#[cfg(test)]
mod tests;
