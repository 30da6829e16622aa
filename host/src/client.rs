//! Who the client is: the peer, or what a proxy that we trust says of it.

mod forwarded;

use std::net::{IpAddr, Ipv6Addr};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::authority::{Authority, Scheme};
use crate::config::Network;

/// The most entries of `X-Forwarded-For` or `Forwarded` that are looked at, from the right. Real chains have fewer than
/// ten; a list of thousands is somebody's attempt.
const MOST_ENTRIES: usize = 64;

/// The client of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its address; an IPv4 address is never written as IPv6.
    pub ip: IpAddr,
    /// The trusted proxies that the request came through after the client, nearest to it first; the last one is the
    /// peer. Empty where the peer is the client.
    pub hops: Vec<IpAddr>,
    /// How the client connected to the first trusted proxy, where that proxy says it.
    pub scheme: Option<Scheme>,
    /// Which host and port the client asked for, in normal form, where a trusted proxy says it.
    pub host: Option<String>,
}

impl Client {
    /// A client that is the peer itself.
    #[must_use]
    pub fn direct(peer: IpAddr) -> Self {
        Self { ip: peer.to_canonical(), hops: Vec::new(), scheme: None, host: None }
    }
}

/// Walks from the peer to the left through `X-Forwarded-For` or, only where there is none, `Forwarded`, as long as each
/// address is a trusted proxy's. The first one that is not is the client. An entry that is no address (`unknown`, an
/// obfuscated name, nonsense) ends the walk at the address before it. A peer that is not trusted says nothing at all.
///
/// `X-Forwarded-For` goes first since more proxies write it: one that writes `Forwarded` alone must remove the other.
#[must_use]
pub fn address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> Client {
    let mut client = Client::direct(peer);
    if !is_trusted(client.ip, trusted) {
        return client;
    }
    if headers.contains_key(FOR) {
        let entries = headers.get_all(FOR).iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        let mut walk = entries.map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty()).take(MOST_ENTRIES);
        client.walk(trusted, || walk.next().map(node));
        client.scheme = last(headers, &PROTO).and_then(scheme);
        client.host = last(headers, &HOST).and_then(|host| authority(host, client.scheme));
    } else if headers.contains_key(header::FORWARDED) {
        let mut elements = forwarded::elements(headers).take(MOST_ENTRIES);
        let mut said = None;
        client.walk(trusted, || {
            let element = elements.next()?;
            let ip = element.node.and_then(node);
            if ip.is_some() {
                said = Some(element);
            }
            Some(ip)
        });
        if let Some(said) = said {
            client.scheme = said.proto.and_then(scheme);
            client.host = said.host.and_then(|host| authority(host, client.scheme));
        }
    }
    client
}

impl Client {
    /// `next` answers the entries from right to left: nothing at the end, nothing inside for one that is no address.
    fn walk(&mut self, trusted: &[Network], mut next: impl FnMut() -> Option<Option<IpAddr>>) {
        while is_trusted(self.ip, trusted) {
            let Some(Some(ip)) = next() else { break };
            self.hops.push(self.ip);
            self.ip = ip;
        }
        self.hops.reverse();
    }
}

/// What a client is counted under where it is limited: an IPv4 address, or the /64 of an IPv6 one, which is the least
/// that one customer gets and has 2^64 addresses in it.
#[must_use]
pub fn limit_key(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Network {
    /// Whether the address is in the block. An IPv4 address and the same one mapped into IPv6 (`::ffff:10.0.0.1`) are
    /// one, in the block and in the question.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let (block, prefix) = match (self.address, self.address.to_canonical()) {
            (IpAddr::V6(_), mapped @ IpAddr::V4(_)) if self.prefix >= 96 => (mapped, self.prefix - 96),
            (address, _) => (address, self.prefix),
        };
        match (block, ip.to_canonical()) {
            (IpAddr::V4(block), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
                (block.to_bits() ^ ip.to_bits()) & mask == 0
            }
            (IpAddr::V6(block), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
                (block.to_bits() ^ ip.to_bits()) & mask == 0
            }
            _ => false,
        }
    }
}

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

fn is_trusted(ip: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(ip))
}

/// The entry that the nearest proxy wrote, of a field that may be a list.
fn last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let line = headers.get_all(name).iter().next_back().map(HeaderValue::as_bytes)?;
    line.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii).next()
}

fn scheme(value: &[u8]) -> Option<Scheme> {
    [Scheme::Http, Scheme::Https].into_iter().find(|scheme| value.eq_ignore_ascii_case(scheme.as_str().as_bytes()))
}

fn authority(value: &[u8], scheme: Option<Scheme>) -> Option<String> {
    let authority = Authority::parse(value, scheme.unwrap_or(Scheme::Http)).ok()?;
    Some(authority.as_str().to_owned())
}

/// The address of an entry: IPv4 or IPv6, bare or in brackets, with or without a port.
fn node(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(entry).ok()?;
    let ip = if let Some(literal) = text.strip_prefix('[') {
        let (literal, port) = literal.split_once(']')?;
        if !(port.is_empty() || port.strip_prefix(':').is_some_and(is_port)) {
            return None;
        }
        IpAddr::V6(literal.parse().ok()?)
    } else if let Ok(ip) = text.parse::<IpAddr>() {
        ip
    } else {
        let (ip, port) = text.split_once(':')?;
        if !is_port(port) {
            return None;
        }
        IpAddr::V4(ip.parse().ok()?)
    };
    Some(ip.to_canonical())
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
