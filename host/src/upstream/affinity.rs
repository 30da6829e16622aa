//! What leads a request to the endpoint that others like it went to: a key for a consistent hash, or a cookie.

use std::net::IpAddr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Uri;
use http::header::{self, HeaderMap, HeaderValue};
use sha2::Sha256;
use tokio::time::Instant;

use super::balance::hash;
use crate::config::{self, HashKey, Member};
use crate::proxy_protocol::Source;

/// Bytes of the signature that are kept: 128 bits.
const SIGNATURE: usize = 16;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asking {
    /// The client's address.
    pub client: IpAddr,
    /// What the PROXY protocol says of it, and of where it connected to.
    pub source: Source,
    /// Whether the client came over TLS: then its cookies must, too.
    pub secure: bool,
    /// When it was passed on: the limits on the exchange count from here.
    pub begun: Instant,
}

/// What a consistent hash goes by; none where the request has no such thing.
pub(crate) fn key(by: &HashKey, target: &Uri, headers: &HeaderMap, asking: &Asking) -> Option<u64> {
    match by {
        HashKey::Address => Some(match asking.client {
            IpAddr::V4(ip) => hash(&ip.octets()),
            IpAddr::V6(ip) => hash(&ip.octets()),
        }),
        HashKey::Path => Some(hash(target.path().as_bytes())),
        HashKey::Header(name) => headers.get(name).map(|value| hash(value.as_bytes())),
        HashKey::Cookie(name) => cookie(headers, name).map(hash),
    }
}

/// The cookies of an upstream, made at load: one for each endpoint. Each is nothing but a signature of the endpoint's
/// address, so it tells nothing, and nobody can make one.
#[derive(Debug)]
pub(super) struct Sticky {
    name: String,
    endpoints: Vec<Cookie>,
}

#[derive(Debug)]
struct Cookie {
    value: String,
    /// `Set-Cookie`, for clients without TLS and with.
    set: [HeaderValue; 2],
}

impl Sticky {
    pub(super) fn new(config: &config::Sticky, upstream: &str, members: &[Member]) -> Self {
        let cookie = |member: &Member| {
            let endpoint = &member.endpoint;
            let value = sign(&config.key, &format!("{upstream} {}", endpoint.address()));
            let age = config.lifetime.map(|age| format!("; Max-Age={}", age.as_secs())).unwrap_or_default();
            let set = ["", "; Secure"].map(|secure| {
                let text = format!("{}={value}{age}; Path=/; HttpOnly; SameSite=Lax{secure}", config.cookie);
                HeaderValue::try_from(text).expect("tokens, digits and fixed text")
            });
            Cookie { value, set }
        };
        Self { name: config.cookie.clone(), endpoints: members.iter().map(cookie).collect() }
    }

    /// The place of the endpoint that a request has a cookie of.
    pub(super) fn place(&self, headers: &HeaderMap) -> Option<usize> {
        let value = cookie(headers, &self.name)?;
        self.endpoints.iter().position(|endpoint| endpoint.value.as_bytes() == value)
    }

    /// Gives the client the cookie of the endpoint that answered.
    pub(super) fn set(&self, headers: &mut HeaderMap, place: usize, secure: bool) {
        if let Some(cookie) = self.endpoints.get(place) {
            headers.append(header::SET_COOKIE, cookie.set[usize::from(secure)].clone());
        }
    }
}

/// The value of the first cookie of a name (RFC 6265, section 4.2.1).
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let lines = headers.get_all(header::COOKIE).iter();
    let mut pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
    pairs.find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// HMAC-SHA-256, shortened, as hexadecimal digits.
fn sign(key: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("keys of HMAC have any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().iter().take(SIGNATURE).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use http::Request;
    use http::request::Parts;

    use super::*;
    use crate::config::Endpoint;

    fn asking(client: &str) -> Asking {
        Asking { client: client.parse().unwrap(), source: Source::Unknown, secure: false, begun: Instant::now() }
    }

    fn request(uri: &str, fields: &[(&str, &str)]) -> Parts {
        let request = fields.iter().fold(Request::get(uri), |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_key_is_what_it_says() {
        let by = |by: HashKey, uri, fields: &[_], client| {
            let Parts { uri, headers, .. } = request(uri, fields);
            key(&by, &uri, &headers, &asking(client))
        };
        assert_eq!(by(HashKey::Path, "/a?b", &[], "::1"), by(HashKey::Path, "/a?c", &[], "::2"));
        assert_ne!(by(HashKey::Path, "/a", &[], "::1"), by(HashKey::Path, "/b", &[], "::1"));
        assert_ne!(by(HashKey::Address, "/", &[], "10.0.0.1"), by(HashKey::Address, "/", &[], "10.0.0.2"));
        let user = || HashKey::Header(header::USER_AGENT);
        assert_eq!(by(user(), "/", &[], "::1"), None);
        assert_eq!(by(user(), "/", &[("user-agent", "x")], "::1"), Some(hash(b"x")));
        let id = || HashKey::Cookie("id".to_owned());
        for (cookies, expected) in [
            ("id=7", Some("7")),
            ("a=b; id=7; id=8", Some("7")),
            ("xid=1;id=7", Some("7")),
            ("id", None),
            ("idx=1", None),
            ("ID=7", None),
            ("id=", Some("")),
        ] {
            assert_eq!(
                by(id(), "/", &[("cookie", cookies)], "::1"),
                expected.map(|it| hash(it.as_bytes())),
                "{cookies}"
            );
        }
    }

    #[test]
    fn a_cookie_leads_back_and_cannot_be_made() {
        let member = |host: &str| {
            let endpoint = Endpoint {
                tls: false,
                host: host.to_owned(),
                port: 80,
                authority: HeaderValue::from_static("-"),
                unix: None,
            };
            Member { endpoint, weight: NonZeroU32::MIN, priority: 0 }
        };
        let members = [member("10.0.0.1"), member("10.0.0.2")];
        let config = |key: &str| config::Sticky {
            cookie: "e".to_owned(),
            key: key.to_owned(),
            lifetime: Some(Duration::from_secs(60)),
        };
        let sticky = Sticky::new(&config("a key of sixteen"), "search", &members);
        let mut headers = HeaderMap::new();
        sticky.set(&mut headers, 1, true);
        let set = headers[header::SET_COOKIE].to_str().unwrap().to_owned();
        let (pair, attributes) = set.split_once(';').unwrap();
        assert_eq!(attributes, " Max-Age=60; Path=/; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(pair.len(), 2 + 2 * SIGNATURE);
        assert!(!set.contains("10.0.0"), "{set}");
        let place = |sticky: &Sticky, cookie: &str| sticky.place(&request("/", &[("cookie", cookie)]).headers);
        assert_eq!(place(&sticky, pair), Some(1));
        assert_eq!(place(&sticky, "e=1"), None);
        assert_eq!(place(&sticky, &pair[..pair.len() - 1]), None);
        // Neither another key nor another upstream takes it.
        assert_eq!(place(&Sticky::new(&config("another of these"), "search", &members), pair), None);
        assert_eq!(place(&Sticky::new(&config("a key of sixteen"), "other", &members), pair), None);
    }

    #[test]
    fn signatures_are_those_of_rfc_4231() {
        // Test case 2, of which these are the first bytes.
        assert_eq!(sign("Jefe", "what do ya want for nothing?"), "5bdcc146bf60754e6a042426089575c7");
    }
}
