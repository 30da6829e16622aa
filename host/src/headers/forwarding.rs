//! What we tell upstreams about the client: `X-Forwarded-*` and `Forwarded` (RFC 7239), which never disagree.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::ops::Range;

use bytes::{BufMut as _, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::authority::Scheme;
use crate::client::Client;
use crate::error::{Error, Reason};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Writes the forwarding fields anew, in place of any that are there: the client, then the trusted proxies between it
/// and us; how the client connected; and the authority that it asked for, in normal form.
///
/// # Errors
/// [`Reason::HeadTooLarge`] for a map that is full, which limits on heads do not let happen.
pub fn set_forwarding(headers: &mut HeaderMap, client: &Client, scheme: Scheme, authority: &str) -> Result<(), Error> {
    let scheme = client.scheme.unwrap_or(scheme);
    let authority = client.host.as_deref().unwrap_or(authority);
    headers.try_reserve(4).map_err(|_| full())?;
    // One buffer holds `Forwarded`, and what of it is a value of its own as well: one allocation for all of them.
    let mut buffer = BytesMut::with_capacity(128);
    let ip = node(&mut buffer, client.ip);
    buffer.extend_from_slice(b";host=\"");
    let host = buffer.len()..buffer.len() + authority.len();
    buffer.extend_from_slice(authority.as_bytes());
    buffer.extend_from_slice(b"\";proto=");
    buffer.extend_from_slice(scheme.as_str().as_bytes());
    for hop in &client.hops {
        buffer.extend_from_slice(b", ");
        node(&mut buffer, *hop);
    }
    let elements = 0..buffer.len();
    let addresses = if client.hops.is_empty() {
        ip
    } else {
        address(&mut buffer, client.ip);
        for hop in &client.hops {
            buffer.extend_from_slice(b", ");
            address(&mut buffer, *hop);
        }
        elements.end..buffer.len()
    };
    let buffer = buffer.freeze();
    let value = |range: Range<usize>| HeaderValue::from_maybe_shared(buffer.slice(range));

    set(headers, FOR, value(addresses))?;
    set(headers, PROTO, Ok(HeaderValue::from_static(scheme.as_str())))?;
    set(headers, HOST, value(host))?;
    set(headers, header::FORWARDED, value(elements))
}

/// Writes `for=` an address, and answers where the address is. IPv6 needs brackets and, since they are no token, quotes
/// (RFC 7239, section 6).
fn node(out: &mut BytesMut, ip: IpAddr) -> Range<usize> {
    out.extend_from_slice(if ip.is_ipv6() { b"for=\"[".as_slice() } else { b"for=" });
    let begin = out.len();
    address(out, ip);
    let end = out.len();
    if ip.is_ipv6() {
        out.extend_from_slice(b"]\"");
    }
    begin..end
}

/// Formatting an IPv4 address by `Display` takes ten times as long, and each request has one.
fn address(out: &mut BytesMut, ip: IpAddr) {
    let IpAddr::V4(ip) = ip else {
        return write!(out, "{ip}").expect("a growing buffer takes everything");
    };
    for (place, byte) in ip.octets().into_iter().enumerate() {
        if place > 0 {
            out.put_u8(b'.');
        }
        if byte >= 100 {
            out.put_u8(b'0' + byte / 100);
        }
        if byte >= 10 {
            out.put_u8(b'0' + byte / 10 % 10);
        }
        out.put_u8(b'0' + byte % 10);
    }
}

fn set(
    headers: &mut HeaderMap,
    name: HeaderName,
    value: Result<HeaderValue, header::InvalidHeaderValue>,
) -> Result<(), Error> {
    // Addresses and a parsed authority hold nothing that a value could not.
    let value = value.map_err(|_| full())?;
    headers.try_insert(name, value).map(drop).map_err(|_| full())
}

fn full() -> Error {
    Error::because(Reason::HeadTooLarge, "no room for the forwarding fields")
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn an_address_reads_as_it_is_displayed(ip: IpAddr) {
            let mut text = BytesMut::new();
            address(&mut text, ip);
            proptest::prop_assert_eq!(str::from_utf8(&text).unwrap(), ip.to_string());
        }
    }
}
