//! The host and port that a request is for, in one normal form: lower case, without a final dot, without the scheme's
//! own port.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use crate::error::{Error, Reason};

/// How a client reached us, or how we reach an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// The scheme of a connection with or without TLS.
    #[must_use]
    pub fn of(tls: bool) -> Self {
        if tls { Self::Https } else { Self::Http }
    }

    /// `http` or `https`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// 80 or 443.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A host and perhaps a port, in normal form. Borrowed where the text was in normal form already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority<'a> {
    text: Cow<'a, str>,
    host: usize,
}

impl<'a> Authority<'a> {
    /// Reads the value of `Host`, of `:authority`, or the authority of an absolute target: `host`, `host:port`,
    /// `[IPv6]` or `[IPv6]:port`. Names are ASCII letters, digits, `-` and `_` in labels; an internationalised name is
    /// its A-label. User information, lists, white space, empty labels and ports that are no port are refused.
    ///
    /// # Errors
    /// [`Reason::BadHost`].
    pub fn parse(raw: &'a [u8], scheme: Scheme) -> Result<Self, Error> {
        let refuse = |why: &'static str| Error::because(Reason::BadHost, why);
        let text = str::from_utf8(raw).map_err(|_| refuse("the host is not ASCII"))?;
        let (host, port) = split(text).ok_or_else(|| refuse("the host is not of the form host or host:port"))?;
        let port = port_number(port).ok_or_else(|| refuse("the port is not a number from 1 to 65535"))?;
        let port = port.filter(|port| *port != scheme.default_port());
        let host = match host.strip_prefix('[') {
            Some(literal) => {
                let address: Ipv6Addr = literal
                    .strip_suffix(']')
                    .and_then(|literal| literal.parse().ok())
                    .ok_or_else(|| refuse("the host in brackets is not an IPv6 address"))?;
                Cow::Owned(format!("[{address}]"))
            }
            None => name(host).ok_or_else(|| refuse("the host is not a name or an address"))?,
        };
        let end = host.len();
        let text = match (host, port) {
            // The text as it came is right where the name is, and where what follows it is the port without zeros.
            (Cow::Borrowed(host), None) => Cow::Borrowed(host),
            (Cow::Borrowed(_), Some(port)) if canonical_port(&text[end..], port) => Cow::Borrowed(text),
            (host, None) => host,
            (host, Some(port)) => Cow::Owned(format!("{host}:{port}")),
        };
        Ok(Self { text, host: end })
    }

    /// The host alone, which routes are matched with; an IPv6 address stays in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.text[..self.host]
    }

    /// The host and, where it is not the scheme's own, the port: what plugins see.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The port, where it is not the scheme's own.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.text[self.host..].strip_prefix(':').and_then(|port| port.parse().ok())
    }

    /// The same, independent of what it was read from.
    #[must_use]
    pub fn into_owned(self) -> Authority<'static> {
        Authority { text: Cow::Owned(self.text.into_owned()), host: self.host }
    }

    /// [`Authority::as_str`], independent of what it was read from.
    #[must_use]
    pub fn into_string(self) -> String {
        self.text.into_owned()
    }
}

/// The host, with brackets, and what follows the colon after it.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    let colon = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
    let (host, rest) = text.split_at(colon);
    match rest.strip_prefix(':') {
        Some(port) => Some((host, Some(port))),
        None => rest.is_empty().then_some((host, None)),
    }
}

/// `Some(None)` where there is none: RFC 3986 allows an empty port after the colon.
fn port_number(port: Option<&str>) -> Option<Option<u16>> {
    let digits = match port {
        None | Some("") => return Some(None),
        Some(digits) => digits,
    };
    // `u16::from_str` takes a sign.
    if digits.len() > 5 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|port| *port != 0).map(Some)
}

fn canonical_port(colon_and_digits: &str, port: u16) -> bool {
    let digits = match port {
        10_000.. => 5,
        1_000.. => 4,
        100.. => 3,
        10.. => 2,
        _ => 1,
    };
    colon_and_digits.starts_with(':') && colon_and_digits.len() == digits + 1
}

/// A name or IPv4 address in lower case, without a final dot. The lengths are DNS's (RFC 1035, section 2.3.4).
fn name(raw: &str) -> Option<Cow<'_, str>> {
    let name = raw.strip_suffix('.').unwrap_or(raw);
    if name.is_empty() || name.len() > 253 {
        return None;
    }
    let (mut upper, mut label) = (false, 0);
    for byte in name.bytes() {
        label = match byte {
            b'.' if label == 0 => return None,
            b'.' => 0,
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => label + 1,
            b'A'..=b'Z' => {
                upper = true;
                label + 1
            }
            _ => return None,
        };
        if label > 63 {
            return None;
        }
    }
    if label == 0 {
        return None;
    }
    // A final dot in front of a port cannot be cut out of borrowed text.
    let whole = name.len() == raw.len();
    Some(if upper || !whole { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(raw: &str, scheme: Scheme) -> Option<(String, String)> {
        let authority = Authority::parse(raw.as_bytes(), scheme).ok()?;
        Some((authority.host().to_owned(), authority.as_str().to_owned()))
    }

    #[test]
    fn brings_hosts_into_one_form() {
        let table = [
            ("example.com", "example.com", "example.com"),
            ("EXAMPLE.com", "example.com", "example.com"),
            ("example.com.", "example.com", "example.com"),
            ("LOCALHOST.", "localhost", "localhost"),
            ("localhost:80", "localhost", "localhost"),
            ("localhost.:80", "localhost", "localhost"),
            ("localhost:0080", "localhost", "localhost"),
            ("localhost:", "localhost", "localhost"),
            ("localhost:443", "localhost", "localhost:443"),
            ("localhost:8080", "localhost", "localhost:8080"),
            ("localhost:08080", "localhost", "localhost:8080"),
            ("Localhost.:8080", "localhost", "localhost:8080"),
            ("localhost:7", "localhost", "localhost:7"),
            ("10.0.1.5:65535", "10.0.1.5", "10.0.1.5:65535"),
            ("my_service-1", "my_service-1", "my_service-1"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("[::1]", "[::1]", "[::1]"),
            ("[0:0::0:1]:80", "[::1]", "[::1]"),
            ("[2001:DB8::A]:8080", "[2001:db8::a]", "[2001:db8::a]:8080"),
        ];
        for (raw, host, whole) in table {
            assert_eq!(read(raw, Scheme::Http), Some((host.to_owned(), whole.to_owned())), "{raw}");
        }
        assert_eq!(read("a:443", Scheme::Https), Some(("a".to_owned(), "a".to_owned())));
        assert_eq!(read("a:80", Scheme::Https), Some(("a".to_owned(), "a:80".to_owned())));
    }

    #[test]
    fn refuses_what_is_no_host() {
        let long_label = "a".repeat(64);
        let long_name = "a.".repeat(127) + "a";
        for raw in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a@b",
            "user:pass@host",
            "a/b",
            "a, b",
            "a,b",
            "a b",
            " a",
            "a ",
            "a\tb",
            "a?b",
            "a#b",
            "a\\b",
            "a%20b",
            "a%2eb",
            "a:99999999",
            "a:65536",
            "a:0",
            "a:+80",
            "a:-1",
            "a:8 0",
            "a:80:80",
            "::1",
            ":80",
            "[",
            "[]",
            "[::1",
            "::1]",
            "[::1]80",
            "[::1%25eth0]",
            "[1.2.3.4]",
            "[v1.x]",
            "b\u{fc}cher",
            "a\0",
            "a\r\nb",
            "*",
            "$a",
            "a!",
            &long_label,
            &long_name,
        ] {
            let refused = Authority::parse(raw.as_bytes(), Scheme::Http);
            assert_eq!(refused.map_err(|error| error.reason().clone()), Err(Reason::BadHost), "{raw:?}");
        }
        assert!(Authority::parse(b"a\xff", Scheme::Http).is_err());
    }

    #[test]
    fn borrows_what_is_in_normal_form() {
        for raw in ["example.com", "example.com:8080", "10.0.0.1:1"] {
            let authority = Authority::parse(raw.as_bytes(), Scheme::Http).unwrap();
            assert!(matches!(authority.text, Cow::Borrowed(_)), "{raw}");
        }
        let dropped = Authority::parse(b"example.com:80", Scheme::Http).unwrap();
        assert!(matches!(dropped.text, Cow::Borrowed("example.com")));
    }

    proptest! {
        #[test]
        fn never_panics_and_is_idempotent(raw in prop::collection::vec(any::<u8>(), 0..40), tls: bool) {
            if let Ok(once) = Authority::parse(&raw, Scheme::of(tls)) {
                let text = once.as_str().to_owned();
                let twice = Authority::parse(text.as_bytes(), Scheme::of(tls)).unwrap();
                prop_assert_eq!(twice.as_str(), &text);
            }
        }

        #[test]
        fn likely_hosts_are_idempotent(raw in "[A-Ca-c0-9.:\\[\\]-]{0,12}", tls: bool) {
            if let Ok(once) = Authority::parse(raw.as_bytes(), Scheme::of(tls)) {
                let text = once.as_str().to_owned();
                let twice = Authority::parse(text.as_bytes(), Scheme::of(tls)).unwrap();
                prop_assert_eq!(twice.as_str(), &text);
                prop_assert_eq!(twice.host(), once.host());
                prop_assert_eq!(twice.port(), once.port());
                prop_assert!(!text.bytes().any(|byte| byte.is_ascii_uppercase()));
            }
        }
    }
}
