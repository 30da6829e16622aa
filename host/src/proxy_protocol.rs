//! The PROXY protocol, versions 1 and 2: what a proxy of bytes says of the client before the first byte of the client's
//! own.
//!
//! The reader is strict: whoever sends it is a proxy of the operator's, and what it gets wrong it does not mean.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::ProxyVersion;

/// What version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The longest header of version 1, with its line end.
const LONGEST_LINE: usize = 107;

/// The longest header of version 2. The specification wants 536 bytes to be taken; what is longer is no address.
const LONGEST: usize = 4096;

/// The bytes behind the first sixteen of version 2 for each family of addresses.
const IPV4: usize = 12;
const IPV6: usize = 36;
const UNIX: usize = 216;

/// What a header says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Source {
    /// The client that the proxy speaks for, and where it connected to.
    Client(SocketAddr, SocketAddr),
    /// The proxy speaks for itself, or cannot say for whom.
    #[default]
    Unknown,
}

/// How far a header has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is whole only with so many more bytes, or with more than that.
    More(usize),
    /// It is these bytes from the beginning.
    Whole(usize, Source),
}

/// Reads a header from the first bytes of a connection. Who reads no more than each [`Step::More`] asks for never reads
/// a byte of what follows the header.
///
/// # Errors
/// What is wrong with it.
pub fn read(bytes: &[u8]) -> Result<Step, &'static str> {
    if bytes.first() == Some(&b'P') {
        return line(bytes);
    }
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] != SIGNATURE[..known] {
        return Err("it does not begin as the PROXY protocol does");
    }
    let Some((head, rest)) = bytes.split_at_checked(16) else {
        // Either version is as long as this.
        return Ok(Step::More(if known == 0 { 15 } else { 16 - bytes.len() }));
    };
    let local = match head[12] {
        0x20 => true,
        0x21 => false,
        _ => return Err("its version is not 2, or its command neither LOCAL nor PROXY"),
    };
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if length > LONGEST - 16 {
        return Err("it is longer than 4096 bytes");
    }
    let Some((body, _)) = rest.split_at_checked(length) else {
        return Ok(Step::More(length - rest.len()));
    };
    let addresses = match head[13] {
        0x00 => 0,
        0x11 | 0x12 => IPV4,
        0x21 | 0x22 => IPV6,
        0x31 | 0x32 => UNIX,
        _ => return Err("its family or its transport is none that there is"),
    };
    // What LOCAL says of addresses has to be thrown away.
    let Some((addresses, more)) = body.split_at_checked(addresses).or(local.then_some((&[], &[]))) else {
        return Err("it is too short for its addresses");
    };
    if !local && head[13] != 0 {
        additions(&bytes[..16 + length], more)?;
    }
    let source = match (local, head[13]) {
        (false, 0x11) => Source::Client(
            SocketAddr::new(IpAddr::V4(ipv4(&addresses[..4])), port(&addresses[8..])),
            SocketAddr::new(IpAddr::V4(ipv4(&addresses[4..8])), port(&addresses[10..])),
        ),
        (false, 0x21) => Source::Client(
            SocketAddr::new(IpAddr::V6(ipv6(&addresses[..16])), port(&addresses[32..])),
            SocketAddr::new(IpAddr::V6(ipv6(&addresses[16..32])), port(&addresses[34..])),
        ),
        (false, 0x12 | 0x22) => return Err("it speaks of datagrams"),
        _ => Source::Unknown,
    };
    Ok(Step::Whole(16 + length, source))
}

/// A header that says this. Two addresses of one family are written in it, others as IPv6.
#[must_use]
pub fn write(version: ProxyVersion, source: Source) -> Vec<u8> {
    let (from, to) = match (version, source) {
        (_, Source::Client(from, to)) => (from, to),
        (ProxyVersion::V1, Source::Unknown) => return b"PROXY UNKNOWN\r\n".to_vec(),
        // LOCAL, without an address.
        (ProxyVersion::V2, Source::Unknown) => return [&SIGNATURE[..], &[0x20, 0, 0, 0]].concat(),
    };
    let (from_ip, to_ip) = match (from.ip().to_canonical(), to.ip().to_canonical()) {
        same @ ((IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_))) => same,
        (from, to) => (IpAddr::V6(wide(from)), IpAddr::V6(wide(to))),
    };
    let mut out = Vec::with_capacity(LONGEST_LINE);
    if version == ProxyVersion::V1 {
        let family = if from_ip.is_ipv4() { "TCP4" } else { "TCP6" };
        write!(out, "PROXY {family} {from_ip} {to_ip} {} {}\r\n", from.port(), to.port())
            .expect("a growing buffer takes everything");
        return out;
    }
    let (family, length) = if from_ip.is_ipv4() { (0x11, IPV4) } else { (0x21, IPV6) };
    out.extend_from_slice(&SIGNATURE);
    out.extend_from_slice(&[0x21, family, 0, length as u8]);
    for ip in [from_ip, to_ip] {
        match ip {
            IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
        }
    }
    out.extend_from_slice(&from.port().to_be_bytes());
    out.extend_from_slice(&to.port().to_be_bytes());
    out
}

fn wide(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// Version 1: one line of text.
fn line(bytes: &[u8]) -> Result<Step, &'static str> {
    let known = bytes.len().min(6);
    if bytes[..known] != b"PROXY "[..known] {
        return Err("it does not begin as the PROXY protocol does");
    }
    let most = &bytes[..bytes.len().min(LONGEST_LINE)];
    let Some(end) = most.iter().position(|byte| *byte == b'\n') else {
        return match most.len() {
            LONGEST_LINE => Err("its line is longer than 107 bytes"),
            // The shortest line is `PROXY UNKNOWN`.
            length => Ok(Step::More(15_usize.saturating_sub(length).max(1))),
        };
    };
    let text = most[..end].strip_suffix(b"\r").ok_or("its line does not end in CR LF")?;
    let text = str::from_utf8(text).map_err(|_| "its line is not ASCII")?;
    let mut words = text.split(' ').skip(1);
    let mut next = || words.next().ok_or("its line is too short");
    let family = next()?;
    let source = match family {
        // What follows is to be ignored.
        "UNKNOWN" => return Ok(Step::Whole(end + 1, Source::Unknown)),
        "TCP4" | "TCP6" => {
            let (from, to) = (ip(family, next()?)?, ip(family, next()?)?);
            let (from_port, to_port) = (decimal(next()?)?, decimal(next()?)?);
            Source::Client(SocketAddr::new(from, from_port), SocketAddr::new(to, to_port))
        }
        _ => return Err("its family is neither TCP4, TCP6 nor UNKNOWN"),
    };
    if words.next().is_some() {
        return Err("its line is too long");
    }
    Ok(Step::Whole(end + 1, source))
}

fn ip(family: &str, text: &str) -> Result<IpAddr, &'static str> {
    let ip = match family {
        "TCP4" => text.parse().map(IpAddr::V4).ok(),
        _ => text.parse().map(IpAddr::V6).ok(),
    };
    ip.ok_or("an address is not one of its family")
}

/// Without a sign and without zeros before it.
fn decimal(text: &str) -> Result<u16, &'static str> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or("a port is not a number up to 65535")
}

fn ipv4(bytes: &[u8]) -> Ipv4Addr {
    bytes.try_into().map_or(Ipv4Addr::UNSPECIFIED, |octets: [u8; 4]| octets.into())
}

fn ipv6(bytes: &[u8]) -> Ipv6Addr {
    bytes.try_into().map_or(Ipv6Addr::UNSPECIFIED, |octets: [u8; 16]| octets.into())
}

fn port(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

/// What follows the addresses: fields with a type and a length. None of them is needed here, but each has to be whole,
/// and a checksum has to be right.
fn additions(header: &[u8], mut rest: &[u8]) -> Result<(), &'static str> {
    const CHECKSUM: u8 = 0x03;
    while !rest.is_empty() {
        let broken = "a field behind its addresses is not whole";
        let (head, after) = rest.split_at_checked(3).ok_or(broken)?;
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        let (value, after) = after.split_at_checked(length).ok_or(broken)?;
        if head[0] == CHECKSUM {
            let said = <[u8; 4]>::try_from(value).map_err(|_| "its checksum is not 32 bits")?;
            let place = header.len() - after.len() - 4;
            // It counts as zeros where it stands.
            let sum = crc32c([&header[..place], &[0; 4], after].into_iter().flatten());
            if sum != u32::from_be_bytes(said) {
                return Err("its checksum is wrong");
            }
        }
        rest = after;
    }
    Ok(())
}

/// The checksum of RFC 4960, appendix B.
fn crc32c<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    !bytes.fold(u32::MAX, |mut sum, byte| {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ POLYNOMIAL } else { sum >> 1 };
        }
        sum
    })
}

#[cfg(test)]
mod tests;
