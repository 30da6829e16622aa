//! Which header fields pass, and which never do: hop-by-hop fields, fields that only a proxy or a plugin may set, and
//! names that two programs read as one.
//!
//! The order for a request is: [`check_request`], [`client::address`](crate::client::address), [`clean`],
//! [`remove_owned`], then the chain, then [`Forwarded`]. What we set is set last, so that nothing that a client names
//! in `Connection` can remove it.

mod check;
mod forwarding;
mod kinds;
mod via;

use std::time::Duration;

use bytes::BytesMut;
use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::config::Underscores;
use crate::error::{Error, Reason};

pub use check::{check_request, check_size};
pub use forwarding::{Forwarded, REQUEST_ID};
pub use kinds::Kinds;
pub use via::Via;

/// Which way a head goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    Request,
    /// From the upstream.
    Response,
}

/// What becomes of a client's fields before the chain: [`strip_hop_by_hop`], [`strip_spoofable`], [`underscores`] and
/// [`join_cookies`], as far as there is anything for them by the kinds of the fields.
///
/// # Errors
/// Those of [`underscores`].
pub fn clean(headers: &mut HeaderMap, kinds: Kinds, peer_is_trusted: bool, policy: Underscores) -> Result<(), Error> {
    if kinds.hop_by_hop() {
        strip_hop_by_hop(headers, Direction::Request);
    }
    if kinds.spoofable() {
        strip_spoofable(headers, peer_is_trusted);
    }
    if kinds.underscore() {
        underscores(headers, policy)?;
    }
    if kinds.repeated() {
        join_cookies(headers);
    }
    Ok(())
}

/// Meant for the next hop alone (RFC 9110, section 7.6.1), whether or not `Connection` names them. `Trailer` is among
/// them since trailers end here too, and `HTTP2-Settings` and the fields of proxy authentication since they speak to us.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// Removes what is not meant to be forwarded: first all fields that `Connection` names, then the fixed list. Of a
/// request that also is `Expect`, which we meet ourselves; `TE: trailers` stays for gRPC, which cannot do without.
pub fn strip_hop_by_hop(headers: &mut HeaderMap, direction: Direction) {
    let nominated = nominated(headers);
    let trailers = direction == Direction::Request && is_grpc(headers) && takes_trailers(headers);
    for name in nominated {
        headers.remove(name);
    }
    remove_where(headers, |name| is_hop_by_hop(name) || (direction == Direction::Request && *name == header::EXPECT));
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// The fields that `Connection` names, those aside that go anyway. `Host` and `Content-Length` cannot be named away:
/// they say what the message is and where it ends.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for value in headers.get_all(header::CONNECTION) {
        for token in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let usual: [&[u8]; 4] = [b"close", b"keep-alive", b"upgrade", b"te"];
            if usual.iter().any(|usual| token.eq_ignore_ascii_case(usual)) {
                continue;
            }
            match HeaderName::from_bytes(token) {
                Ok(header::HOST | header::CONTENT_LENGTH) | Err(_) => {}
                Ok(name) => names.push(name),
            }
        }
    }
    names
}

/// Whether the sender of a request reads trailers (RFC 9110, section 10.1.4).
#[must_use]
pub fn takes_trailers(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::TE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// Whether a message is gRPC by its `Content-Type`. gRPC-Web is not: its clients read bodies, and know no trailers.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return false;
    };
    let Some((kind, rest)) = value.as_bytes().split_at_checked("application/grpc".len()) else {
        return false;
    };
    kind.eq_ignore_ascii_case(b"application/grpc") && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// How long the client of a gRPC call waits for its end: up to eight digits and a unit. What is none of that says nothing.
#[must_use]
pub fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout").filter(|_| is_grpc(headers))?.as_bytes();
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = str::from_utf8(digits).ok()?.parse().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(number * 3600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// Removes what a client may not say of itself: who it is, how it came, and what other programs believe without asking.
/// A trusted proxy keeps what it says beside the forwarding fields, which we write anew from what was believed of them.
pub fn strip_spoofable(headers: &mut HeaderMap, peer_is_trusted: bool) {
    let spoofable = if peer_is_trusted { is_forwarding } else { is_spoofable };
    remove_where(headers, |name| spoofable(name.as_str()));
}

/// The fields that say who forwarded a request: ours alone to write.
fn is_forwarding(name: &str) -> bool {
    matches!(name, "forwarded" | "x-forwarded-for" | "x-forwarded-host" | "x-forwarded-port" | "x-forwarded-proto")
        || matches!(name, "x-forwarded-scheme" | "x-forwarded-ssl" | "x-real-ip")
}

fn is_spoofable(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("x-") else {
        return matches!(
            name,
            "forwarded"
                | "client-ip"
                | "true-client-ip"
                | "cf-connecting-ip"
                | "cf-connecting-ipv6"
                | "fastly-client-ip"
                | "remote-user"
                | "client-cert"
                | "client-cert-chain"
                // CGI programs see it as HTTP_PROXY, which their HTTP clients believe (CVE-2016-5385 and others).
                | "proxy"
        ) || name.starts_with("ssl-client-");
    };
    matches!(
        rest,
        "real-ip"
            | "client-ip"
            | "cluster-client-ip"
            | "originating-ip"
            | "remote-ip"
            | "remote-addr"
            | "remote-user"
            | "scheme"
            | "url-scheme"
    ) || rest.starts_with("forwarded")
        || rest.starts_with("original-")
        || rest.starts_with("rewrite-")
        || rest.starts_with("envoy-")
        || rest.starts_with("accel-")
        || rest.starts_with("ssl-")
        || rest.starts_with("client-cert")
}

/// Applies the listener's policy to names with an underscore, which CGI-like programs cannot tell from a hyphen: a
/// client that sends `X_User` would speak for `X-User`.
///
/// # Errors
/// [`Reason::BadHeader`] under [`Underscores::Reject`].
pub fn underscores(headers: &mut HeaderMap, policy: Underscores) -> Result<(), Error> {
    let has_underscore = |name: &HeaderName| name.as_str().contains('_');
    match policy {
        Underscores::Keep => {}
        Underscores::Drop => {
            remove_where(headers, has_underscore);
        }
        Underscores::Reject => {
            if let Some(name) = headers.keys().find(|name| has_underscore(name)) {
                return Err(Error::because(
                    Reason::BadHeader,
                    format!("header {name:?} has an underscore in its name"),
                ));
            }
        }
    }
    Ok(())
}

/// A body that is not there says so, to plugins and to the upstream alike (RFC 9110, section 8.6).
pub fn tell_of_no_body(method: &Method, headers: &mut HeaderMap) {
    if !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
}

/// Removes a client's own copies of fields that only plugins of the chain may set, and those that a program could take
/// for them, `x_consumer-id` for `x-consumer-id`.
pub fn remove_owned(headers: &mut HeaderMap, owned: &[HeaderName]) {
    if owned.is_empty() {
        return;
    }
    for name in owned {
        headers.remove(name);
    }
    let same = |a: u8, b: u8| a == b || (matches!(a, b'-' | b'_') && matches!(b, b'-' | b'_'));
    let twin = |name: &HeaderName, other: &HeaderName| {
        let (name, other) = (name.as_str().as_bytes(), other.as_str().as_bytes());
        name.len() == other.len() && name.iter().zip(other).all(|(a, b)| same(*a, *b))
    };
    remove_where(headers, |name| owned.iter().any(|owned| twin(name, owned)));
}

/// Removes all fields of the names that a predicate is true of. Where there are none, nothing is allocated.
pub(crate) fn remove_where(headers: &mut HeaderMap, is_removed: impl Fn(&HeaderName) -> bool) {
    let removed: Vec<HeaderName> = headers.keys().filter(|name| is_removed(name)).cloned().collect();
    for name in removed {
        headers.remove(name);
    }
}

/// Joins the lines of `Cookie` to one, as HTTP/1.1 and every plugin expect it; HTTP/2 may split it anywhere between two
/// cookies (RFC 9113, section 8.2.3).
pub fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else {
        return;
    };
    let mut joined = BytesMut::from(first.as_bytes());
    let mut sensitive = first.is_sensitive();
    for line in [second].into_iter().chain(lines) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(line.as_bytes());
        sensitive |= line.is_sensitive();
    }
    if let Ok(mut joined) = HeaderValue::from_maybe_shared(joined.freeze()) {
        joined.set_sensitive(sensitive);
        headers.insert(header::COOKIE, joined);
    }
}

/// Whether a plugin may set, append or remove a field: not those that say where a message ends, that are between two
/// hops, that name the host, or that we write about the client.
#[must_use]
pub fn may_plugin_set(name: &HeaderName) -> bool {
    let framing = [header::CONTENT_LENGTH, header::HOST, header::EXPECT];
    !framing.contains(name) && !is_hop_by_hop(name) && !is_forwarding(name.as_str())
}

/// Why a field of a plugin was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldError {
    /// The name is not a token, or is a pseudo-header's.
    Name,
    /// The value has control bytes in it, tabs aside.
    Value,
    /// No plugin may set this field.
    Forbidden,
}

/// A field from a plugin. The name may be in any case. Spaces and tabs around the value are no part of it and are cut;
/// tabs inside are (RFC 9110, section 5.5), so that what a plugin was given it can give back.
///
/// # Errors
/// When the name or the value is not allowed in HTTP, or the field is none that a plugin may set.
pub fn plugin_field(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), FieldError> {
    let name = plugin_name(name)?;
    let value = HeaderValue::from_bytes(without_blanks(value)).map_err(|_| FieldError::Value)?;
    Ok((name, value))
}

/// Without the spaces and tabs around it. Line ends are not cut but refused: somebody glued a value together wrongly.
fn without_blanks(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let begin = value.iter().position(|byte| !is_blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_blank(byte)).map_or(begin, |last| last + 1);
    &value[begin..end]
}

/// The name of a field that a plugin wants to set or remove.
///
/// # Errors
/// When it is not a name, or names a field that no plugin may change.
pub fn plugin_name(name: &str) -> Result<HeaderName, FieldError> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| FieldError::Name)?;
    if may_plugin_set(&name) { Ok(name) } else { Err(FieldError::Forbidden) }
}

#[cfg(test)]
mod tests;
