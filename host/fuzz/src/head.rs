//! The head of a request, on its way through everything that looks at it before and after the chain.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Version};
use tollgate::authority::{Authority, Scheme};
use tollgate::client::{self, Client};
use tollgate::config::parse::parse;
use tollgate::config::{Config, Network, Underscores};
use tollgate::headers::{self, Direction, Forwarded, Kinds};
use tollgate::path::canonical;
use tollgate::request_id::RequestIds;
use tollgate::router::{Asked, Router};

/// A head as HTTP/1.1 writes it, with any of the versions. Line ends without a carriage return are taken, too.
pub fn check(bytes: &[u8]) {
    let Some(parts) = read(bytes) else { return };
    for (name, value) in &parts.headers {
        plugin_field(name.as_str(), value.as_bytes());
    }
    let request = Request::from_parts(parts.clone(), ());
    for scheme in [Scheme::Http, Scheme::Https] {
        let Ok(authority) = headers::check_request(&request, Kinds::of(request.headers()), scheme) else { continue };
        checked(&parts, scheme, &authority);
        let _ = headers::check_size(&request, 100, 65536);
        for trusted in [&[][..], &TRUSTED] {
            let client = client(&parts.headers, trusted);
            forwarded(&parts, scheme, &authority, &client);
        }
        routed(&parts, &authority);
    }
}

fn read(bytes: &[u8]) -> Option<Parts> {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next()?;
    let (method, rest) = split(first, b' ')?;
    let end = rest.iter().rposition(|byte| *byte == b' ')?;
    let version = match &rest[end + 1..] {
        b"HTTP/0.9" => Version::HTTP_09,
        b"HTTP/1.0" => Version::HTTP_10,
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/2" => Version::HTTP_2,
        b"HTTP/3" => Version::HTTP_3,
        _ => return None,
    };
    let mut request = Request::builder().method(method).uri(&rest[..end]).version(version);
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = split(line, b':')?;
        request = request.header(name, value.trim_ascii());
    }
    Some(request.body(()).ok()?.into_parts().0)
}

fn split(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == at)?;
    Some((&text[..at], &text[at + 1..]))
}

/// What is taken can be read in one way.
fn checked(parts: &Parts, scheme: Scheme, authority: &Authority<'_>) {
    let all = |name: &HeaderName| parts.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
    let (hosts, lengths, codings) = (all(&header::HOST), all(&header::CONTENT_LENGTH), all(&header::TRANSFER_ENCODING));
    assert!(hosts.len() <= 1 && lengths.len() + codings.len() <= 1, "{:?}", parts.headers);
    for length in lengths {
        assert!(!length.is_empty() && length.iter().all(u8::is_ascii_digit), "{length:?}");
    }
    for coding in codings {
        assert!(parts.version == Version::HTTP_11 && coding.eq_ignore_ascii_case(b"chunked"), "{coding:?}");
    }
    let text = authority.as_str();
    assert!(text.bytes().all(|byte| byte.is_ascii_lowercase() || b"0123456789.-_:[]".contains(&byte)), "{text}");
    let again = Authority::parse(text.as_bytes(), scheme).expect("an authority in normal form");
    assert_eq!((again.as_str(), again.host(), again.port()), (text, authority.host(), authority.port()));
}

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

static TRUSTED: [Network; 3] = [
    Network { address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), prefix: 8 },
    Network { address: IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0)), prefix: 48 },
    Network { address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), prefix: 32 },
];

fn client(headers: &HeaderMap, trusted: &[Network]) -> Client {
    let client = client::address(PEER, headers, trusted);
    assert_eq!(client, client::address(PEER, headers, trusted), "the same head, another client");
    let is_trusted = |ip: IpAddr| trusted.iter().any(|network| network.contains(ip));
    if !is_trusted(PEER) {
        assert_eq!(client, Client::direct(PEER));
    }
    assert!(client.hops.iter().all(|hop| is_trusted(*hop)), "{client:?}");
    assert!(client.hops.last().is_none_or(|hop| *hop == PEER), "{client:?}");
    if headers.contains_key("x-forwarded-for") && is_trusted(PEER) {
        assert_eq!(client.ip, walked(headers, &is_trusted), "{headers:?}");
    }
    client
}

/// The client by `X-Forwarded-For`, by the simplest means.
fn walked(headers: &HeaderMap, is_trusted: &dyn Fn(IpAddr) -> bool) -> IpAddr {
    let lines: Vec<_> =
        headers.get_all("x-forwarded-for").iter().map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
    let list = lines.join(",");
    let blank = |character: char| matches!(character, ' ' | '\t' | '\n' | '\x0c' | '\r');
    let entries = list.rsplit(',').map(|entry| entry.trim_matches(blank)).filter(|entry| !entry.is_empty());
    let mut client = PEER;
    for entry in entries.take(64) {
        let digits = |port: &str| (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
        let without_port = match entry.rsplit_once(':') {
            Some((host, port)) if digits(port) && (host.ends_with(']') || !host.contains(':')) => host,
            _ => entry,
        };
        let address = match without_port.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
            Some(inner) => inner.parse().map(IpAddr::V6),
            None => without_port.parse(),
        };
        match address {
            Ok(address) if is_trusted(client) => client = address.to_canonical(),
            _ => break,
        }
    }
    client
}

/// The fields go on without what ends here, and the next proxy reads the same client from them.
fn forwarded(parts: &Parts, scheme: Scheme, authority: &Authority<'_>, client: &Client) {
    let owned = [HeaderName::from_static("x-consumer-id")];
    let mut headers = parts.headers.clone();
    headers::strip_hop_by_hop(&mut headers, Direction::Request);
    headers::strip_spoofable(&mut headers, !client.hops.is_empty());
    headers::underscores(&mut headers, Underscores::Drop).expect("dropped, not refused");
    headers::remove_owned(&mut headers, &owned);
    headers::join_cookies(&mut headers);
    for name in headers.keys() {
        let name = name.as_str();
        assert!(!name.contains('_') && name != "x-consumer-id", "{name} is left");
        assert!(
            !["connection", "keep-alive", "transfer-encoding", "upgrade", "expect"].contains(&name),
            "{name} is left"
        );
        assert!(!["forwarded", "x-forwarded-for", "x-real-ip"].contains(&name), "{name} is left");
    }
    assert_eq!(headers.get(header::HOST), parts.headers.get(header::HOST));
    assert_eq!(headers.get(header::CONTENT_LENGTH), parts.headers.get(header::CONTENT_LENGTH));
    assert!(headers.get_all(header::COOKIE).iter().count() <= 1);
    let te: Vec<_> = headers.get_all(header::TE).iter().collect();
    assert!(te.is_empty() || te == ["trailers"], "{te:?}");

    let request_id = &RequestIds::new().next();
    Forwarded { client, scheme, authority: authority.as_str(), request_id }.insert(&mut headers);
    // As many as are read are compared: the one behind us sees one more.
    if client.hops.len() >= 60 {
        return;
    }
    let us = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let hops: Vec<IpAddr> = client.hops.iter().copied().chain([us]).collect();
    let trusted: Vec<Network> = hops.iter().map(|hop| Network { address: *hop, prefix: 128 }).collect();
    let mut forwarded_alone = headers.clone();
    for name in ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"] {
        assert_eq!(headers.get_all(name).iter().count(), 1);
        forwarded_alone.remove(name);
    }
    for headers in [&headers, &forwarded_alone] {
        let next = client::address(us, headers, &trusted);
        // A client that is itself one of the trusted proxies is found as well: it stands at the left end.
        assert_eq!((next.ip, &next.hops), (client.ip, &hops), "{headers:?}");
        let scheme = client.scheme.unwrap_or(scheme);
        let host = client.host.as_deref().unwrap_or(authority.as_str());
        let host = Authority::parse(host.as_bytes(), scheme).expect("an authority in normal form");
        assert_eq!((next.scheme, next.host.as_deref()), (Some(scheme), Some(host.as_str())), "{headers:?}");
    }
}

/// Routes of every kind, for a router that a head goes through.
const ROUTES: &str = r#"
[listener.public]
address = "127.0.0.1:8080"
[upstream.a]
endpoints = ["http://10.0.1.5:8080"]
[plugin.keys]
component = "api-key"
[route.admin]
path-prefix = "/admin"
chain = ["keys"]
upstream = "a"
[route.exact]
path = "/v1/search"
host = "api.example.com"
methods = ["GET"]
upstream = "a"
[route.wild]
path-prefix = "/"
host = "*.example.com"
upstream = "a"
[route.pattern]
path-regex = "/users/[0-9]+(/.*)?"
headers = { x-version = "2" }
query = { q = "1" }
upstream = "a"
[route.slash]
path-prefix = "/projects/"
encoded-slash = "keep"
upstream = "a"
"#;

static ROUTER: LazyLock<Router<String>> = LazyLock::new(|| {
    let config: Config =
        parse(ROUTES, "routes", "".as_ref(), &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
    Router::new(config.routes.iter().map(|route| (route, route.name.clone())))
});

fn routed(parts: &Parts, authority: &Authority<'_>) {
    let Ok(path) = canonical(parts.uri.path(), ROUTER.keeps_encoded_slash()) else { return };
    let asked = Asked {
        method: &parts.method,
        host: authority.host(),
        path: &path,
        query: parts.uri.query(),
        headers: &parts.headers,
    };
    let found = ROUTER.find(asked);
    assert_eq!(found, ROUTER.find(asked));
    if let Ok(name) = found {
        let careless = path.to_ascii_lowercase().replace("%2f", "/");
        let guarded = careless == "/admin" || careless.starts_with("/admin/");
        // Routes with a host are looked at before those without.
        let elsewhere = authority.host().ends_with(".example.com");
        assert!(!guarded || elsewhere || name == "admin", "{path} goes to {name}");
    }
}

/// What a plugin may set is a field that cannot be taken for another one.
fn plugin_field(name: &str, value: &[u8]) {
    if let Ok((name, value)) = headers::plugin_field(name, value) {
        assert!(headers::may_plugin_set(&name));
        assert!(!name.as_str().bytes().any(|byte| byte.is_ascii_uppercase() || b": \r\n\0".contains(&byte)));
        assert!(!value.as_bytes().iter().any(|byte| matches!(byte, 0..=8 | 0xa..=0x1f | 0x7f)), "{value:?}");
        assert_eq!(value.as_bytes().trim_ascii(), value.as_bytes());
    }
}
