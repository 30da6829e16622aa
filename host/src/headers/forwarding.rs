//! What we tell upstreams about the client: `X-Forwarded-*` and `Forwarded` (RFC 7239), which never disagree, and what
//! the request is called.

use std::io::Write as _;
use std::net::IpAddr;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::authority::Scheme;
use crate::client::Client;
use crate::request_id::RequestId;

/// The fields that an upstream gets from us, in the place of any of these names: the client, then the trusted proxies
/// between it and us; how the client connected; the authority that it asked for, in normal form; the identifier.
///
/// They are written behind the others when a request goes out: in its map each would be hashed and looked up first.
#[derive(Debug, Clone, Copy)]
pub struct Forwarded<'a> {
    /// Who asks.
    pub client: &'a Client,
    /// Of the connection that the request came over.
    pub scheme: Scheme,
    /// Host and port in normal form.
    pub authority: &'a str,
    /// What the request is called.
    pub request_id: &'a RequestId,
}

/// The header that carries a request's identifier to the upstream and to the client.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl Forwarded<'_> {
    /// Writes them as lines of a head. Addresses, a parsed authority and an identifier have no line end in them.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Self { client, scheme, authority, request_id } = *self;
        let scheme = client.scheme.unwrap_or(scheme).as_str().as_bytes();
        let authority = client.host.as_deref().unwrap_or(authority).as_bytes();
        out.reserve(160 + 2 * authority.len() + 128 * client.hops.len());
        out.extend_from_slice(b"x-forwarded-for: ");
        let begin = out.len();
        address(out, client.ip);
        let ip = begin..out.len();
        for hop in &client.hops {
            out.extend_from_slice(b", ");
            address(out, *hop);
        }
        out.extend_from_slice(b"\r\nx-forwarded-proto: ");
        out.extend_from_slice(scheme);
        out.extend_from_slice(b"\r\nx-forwarded-host: ");
        out.extend_from_slice(authority);
        out.extend_from_slice(b"\r\nforwarded: ");
        let quotes = quotes(client.ip);
        out.extend_from_slice(quotes.0);
        out.extend_from_within(ip);
        out.extend_from_slice(quotes.1);
        out.extend_from_slice(b";host=\"");
        out.extend_from_slice(authority);
        out.extend_from_slice(b"\";proto=");
        out.extend_from_slice(scheme);
        for hop in &client.hops {
            let (before, after) = self::quotes(*hop);
            out.extend_from_slice(b", ");
            out.extend_from_slice(before);
            address(out, *hop);
            out.extend_from_slice(after);
        }
        out.extend_from_slice(b"\r\nx-request-id: ");
        out.extend_from_slice(request_id.header().as_bytes());
        out.extend_from_slice(b"\r\n");
    }

    /// Sets them in a map, where there is no head of lines to write them to.
    pub fn insert(&self, headers: &mut HeaderMap) {
        let mut lines = Vec::new();
        self.write(&mut lines);
        for line in lines.split(|byte| *byte == b'\n') {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let value = line[colon + 1..].trim_ascii();
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(value)) {
                headers.insert(name, value);
            }
        }
        // As it is, which is more than its digits: HPACK does not remember it.
        headers.insert(REQUEST_ID, self.request_id.header().clone());
    }
}

/// What stands around an address in `Forwarded`. IPv6 needs brackets and, since they are no token, quotes (RFC 7239,
/// section 6).
fn quotes(ip: IpAddr) -> (&'static [u8], &'static [u8]) {
    if ip.is_ipv6() { (b"for=\"[", b"]\"") } else { (b"for=", b"") }
}

/// Formatting an IPv4 address by `Display` takes ten times as long, and each request has one.
fn address(out: &mut Vec<u8>, ip: IpAddr) {
    let IpAddr::V4(ip) = ip else {
        return write!(out, "{ip}").expect("a growing buffer takes everything");
    };
    let mut text = [0; "255.255.255.255".len()];
    let mut length = 0;
    let mut push = |byte: u8| {
        text[length] = byte;
        length += 1;
    };
    for (place, byte) in ip.octets().into_iter().enumerate() {
        if place > 0 {
            push(b'.');
        }
        if byte >= 100 {
            push(b'0' + byte / 100);
        }
        if byte >= 10 {
            push(b'0' + byte / 10 % 10);
        }
        push(b'0' + byte % 10);
    }
    out.extend_from_slice(&text[..length]);
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn an_address_reads_as_it_is_displayed(ip: IpAddr) {
            let mut text = Vec::new();
            address(&mut text, ip);
            proptest::prop_assert_eq!(str::from_utf8(&text).unwrap(), ip.to_string());
        }
    }
}
