//! Upstream addresses in the text of a value: finding them, and writing the public one in their place.

use std::ops::Range;

use super::{Hidden, Kind, Public};
use crate::authority::Scheme;

/// An upstream's address as it stands in a value.
struct Found<'a> {
    /// All that is replaced: the host and, as far as they are there, scheme, user information, brackets and port.
    range: Range<usize>,
    prefix: Prefix<'a>,
    has_port: bool,
}

/// What stands before the host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prefix<'a> {
    None,
    /// `//`
    Slashes,
    /// `http://` or another of those below.
    Scheme(&'a [u8]),
}

/// How often a value is looked through again. Two rounds are enough for every value that anybody would send; what is not
/// clean after eight was made to be so, and nothing of it is kept.
const ROUNDS: usize = 8;

impl Hidden {
    /// The value with the public address in place of upstreams', or nothing where it names none. Empty where none of it
    /// can be kept.
    pub(super) fn rewrite(&self, value: &[u8], public: Public<'_>) -> Option<Vec<u8>> {
        let mut clean = self.rewrite_once(value, public)?;
        // What stood behind an address can make another one with what took its place: `http://10.0.1.5@search:30001`.
        for _ in 0..ROUNDS {
            match self.rewrite_once(&clean, public) {
                Some(again) => clean = again,
                None => return Some(clean),
            }
        }
        Some(Vec::new())
    }

    fn rewrite_once(&self, value: &[u8], public: Public<'_>) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut done = 0;
        while let Some(found) = self.find(value, done, public) {
            out.extend_from_slice(&value[done..found.range.start]);
            match found.prefix {
                Prefix::None if found.has_port => out.extend_from_slice(public.authority.as_bytes()),
                Prefix::None => out.extend_from_slice(public.host().as_bytes()),
                Prefix::Slashes => out.extend([b"//", public.authority.as_bytes()].concat()),
                Prefix::Scheme(scheme) => {
                    let web_socket = scheme.eq_ignore_ascii_case(b"ws") || scheme.eq_ignore_ascii_case(b"wss");
                    out.extend_from_slice(match (web_socket, public.scheme) {
                        (false, scheme) => scheme.as_str().as_bytes(),
                        (true, Scheme::Http) => b"ws",
                        (true, Scheme::Https) => b"wss",
                    });
                    out.extend([b"://", public.authority.as_bytes()].concat());
                }
            }
            done = found.range.end;
        }
        if done == 0 {
            return None;
        }
        out.extend_from_slice(&value[done..]);
        Some(out)
    }

    /// Whether a value, or a whole body, names an upstream.
    pub(super) fn names_upstream(&self, value: &[u8], public: Public<'_>) -> bool {
        self.find(value, 0, public).is_some()
    }

    /// The first address that begins at or after `from`.
    fn find<'a>(&self, value: &'a [u8], from: usize, public: Public<'_>) -> Option<Found<'a>> {
        if value.len() < self.shortest {
            return None;
        }
        let finder = self.finder.as_ref()?;
        let mut at = from;
        while let Some(host) = finder.find_at(value, at) {
            if let Some(found) = self.confirm(value, from, host.range(), public) {
                return Some(found);
            }
            at = host.start() + 1;
        }
        None
    }

    /// Whether the text of a host at this place is an address, and all that belongs to it. `done` is the place that
    /// nothing may reach back over.
    fn confirm<'a>(&self, value: &'a [u8], done: usize, text: Range<usize>, public: Public<'_>) -> Option<Found<'a>> {
        let name = value[text.clone()].to_ascii_lowercase();
        let host = self.hosts.get(name.as_slice())?;
        let mut range = text;
        if !widen(value, done, &mut range, host.kind) {
            return None;
        }
        let port = port(&value[range.end..]);
        range.end += port.map_or(0, |port| port.length);
        let prefix = prefix(value, done, &mut range);
        let number = port.map(|port| port.number);
        let is_address = match host.kind {
            Kind::Label => {
                let escaped = value[..range.start]
                    .last_chunk()
                    .is_some_and(|last: &[u8; 6]| last.eq_ignore_ascii_case(b"%2f%2f"));
                escaped || prefix != Prefix::None || number.is_some_and(|port| host.ports.contains(&port))
            }
            Kind::Ipv4 | Kind::Ipv6 | Kind::Name => true,
        };
        let same_host = public.host().trim_matches(['[', ']']).as_bytes().eq_ignore_ascii_case(&name);
        // Behind our own name, only the port of the upstream tells anything.
        let tells =
            !same_host || (number.is_some_and(|port| host.ports.contains(&port)) && number != public_port(public));
        (is_address && tells).then_some(Found { range, prefix, has_port: port.is_some() })
    }

    /// A `Set-Cookie` without its `Domain` where that is an upstream's host, or one above it which the public host does
    /// not share: without it, the cookie is for the public host.
    pub(super) fn without_foreign_domain(&self, value: &[u8], public: Public<'_>) -> Option<Vec<u8>> {
        let foreign = |attribute: &&[u8]| {
            let Some(equals) = attribute.iter().position(|byte| *byte == b'=') else {
                return false;
            };
            let (name, domain) = (attribute[..equals].trim_ascii(), attribute[equals + 1..].trim_ascii());
            let domain = domain.strip_prefix(b".").unwrap_or(domain).to_ascii_lowercase();
            name.eq_ignore_ascii_case(b"domain")
                && !domain.is_empty()
                && !is_within(public.host().as_bytes(), &domain)
                && self.hosts.keys().any(|host| is_within(host, &domain) || is_within(&domain, host))
        };
        let mut attributes = value.split(|byte| *byte == b';');
        let pair = attributes.next()?;
        if !attributes.clone().any(|attribute| foreign(&attribute)) {
            return None;
        }
        let kept: Vec<&[u8]> = [pair].into_iter().chain(attributes.filter(|attribute| !foreign(attribute))).collect();
        Some(kept.join(&b';'))
    }

    /// The value with the public scheme and port on URLs of the public host: upstreams that know our name, but neither
    /// that we speak TLS nor our port, make them wrong.
    pub(super) fn with_own_links(&self, value: &[u8], public: Public<'_>) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut done = 0;
        let mut at = 0;
        while let Some(slashes) = value[at..].windows(2).position(|window| window == b"//") {
            let begin = at + slashes + 2;
            at = begin;
            let end = begin + value[begin..].iter().take_while(|byte| !b"/?#\\ \"'<>,;".contains(byte)).count();
            let mut range = begin..end;
            let Prefix::Scheme(scheme) = prefix(value, done, &mut range) else {
                continue;
            };
            let host = public.host().as_bytes();
            let Some((name, rest)) = value[begin..end].split_at_checked(host.len()) else {
                continue;
            };
            if !name.eq_ignore_ascii_case(host) {
                continue;
            }
            let same_scheme = scheme.eq_ignore_ascii_case(public.scheme.as_str().as_bytes());
            let wrong = match port(rest) {
                None if rest.is_empty() => !same_scheme && public_port(public).is_none(),
                Some(port) if port.length == rest.len() => {
                    let upstream = self.hosts.values().any(|host| host.ports.contains(&port.number));
                    let own = Some(port.number) == public_port(public);
                    (own && !same_scheme) || (!own && upstream)
                }
                _ => false,
            };
            if wrong && !is_web_socket(scheme) {
                out.extend_from_slice(&value[done..range.start]);
                out.extend([public.scheme.as_str().as_bytes(), b"://", public.authority.as_bytes()].concat());
                done = end;
            }
        }
        if done == 0 {
            return None;
        }
        out.extend_from_slice(&value[done..]);
        Some(out)
    }
}

/// Grows the range over what belongs to the host, and says whether it is the whole of a host. `done` is the place that
/// nothing may reach back over.
fn widen(value: &[u8], done: usize, range: &mut Range<usize>, kind: Kind) -> bool {
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let before = &value[done..range.start];
    let after = &value[range.end..];
    if kind == Kind::Ipv6 {
        let in_address = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b':';
        if before.last().is_some_and(in_address) || after.first().is_some_and(in_address) {
            return false;
        }
        if before.ends_with(b"[") && after.starts_with(b"]") {
            *range = range.start - 1..range.end + 1;
        }
        return true;
    }
    match after {
        [b'.', next, ..] if in_name(*next) => return false,
        [next, ..] if in_name(*next) => return false,
        // The final dot of a full name.
        [b'.', b':' | b'/', ..] => range.end += 1,
        _ => {}
    }
    match before {
        // `%2F` before it, in a URL that is a parameter of another one.
        [.., b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => true,
        // A name below the upstream's is another host's.
        [.., label, b'.'] if in_name(*label) => false,
        [.., last] => !in_name(*last),
        [] => true,
    }
}

#[derive(Clone, Copy)]
struct Port {
    number: u16,
    /// Of all of it, the colon included.
    length: usize,
}

/// The port at the beginning of a text, after a colon or an escaped one.
fn port(text: &[u8]) -> Option<Port> {
    let colon = match text {
        [b':', ..] => 1,
        [b'%', b'3', b'A' | b'a', ..] => 3,
        _ => return None,
    };
    let digits = text[colon..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = str::from_utf8(&text[colon..colon + digits]).ok()?.parse().ok()?;
    Some(Port { number, length: colon + digits })
}

/// What stands before the host, which the range then begins with: user information, slashes, a scheme.
fn prefix<'a>(value: &'a [u8], done: usize, range: &mut Range<usize>) -> Prefix<'a> {
    let mut before = &value[done..range.start];
    if let [rest @ .., b'@'] = before {
        let information = rest.iter().rev().take_while(|byte| !b"/ \"'<>,;".contains(byte)).count();
        let outside = &rest[..rest.len() - information];
        if outside.ends_with(b"//") {
            before = outside;
        }
    }
    let Some(outside) = before.strip_suffix(b"//") else {
        return Prefix::None;
    };
    range.start = done + outside.len();
    let Some(outside) = outside.strip_suffix(b":") else {
        return Prefix::Slashes;
    };
    let letters = outside.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let scheme = &outside[outside.len() - letters..];
    let known: [&[u8]; 4] = [b"http", b"https", b"ws", b"wss"];
    if !known.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Prefix::Slashes;
    }
    range.start = done + outside.len() - letters;
    Prefix::Scheme(scheme)
}

fn is_web_socket(scheme: &[u8]) -> bool {
    scheme.eq_ignore_ascii_case(b"ws") || scheme.eq_ignore_ascii_case(b"wss")
}

/// The port of the public authority, where it is not the scheme's own.
fn public_port(public: Public<'_>) -> Option<u16> {
    public.authority[public.host().len()..].strip_prefix(':')?.parse().ok()
}

/// Whether a host is the domain, or below it.
fn is_within(host: &[u8], domain: &[u8]) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with(b"."))
}
