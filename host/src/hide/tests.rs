use proptest::prelude::*;

use super::*;
use crate::authority::Scheme;

fn endpoint(host: &str, port: u16) -> Endpoint {
    Endpoint { tls: false, host: host.to_owned(), port, authority: HeaderValue::from_static("unused"), unix: None }
}

fn hidden() -> Hidden {
    let endpoints = [
        endpoint("10.0.1.5", 8080),
        endpoint("10.0.1.55", 8080),
        endpoint("Backend.Internal", 80),
        endpoint("search", 3000),
        endpoint("fd00::5", 8080),
    ];
    Hidden::new(&endpoints)
}

const PUBLIC: Public<'_> = Public { scheme: Scheme::Https, authority: "api.example.com" };

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn apply(name: &str, value: &str, public: Public<'_>) -> Option<String> {
    let mut headers = headers(&[(name, value)]);
    hidden().apply(&mut headers, public);
    assert_eq!(hidden().leaks(&headers, public), 0, "{name}: {value}");
    headers.get(name).map(|value| value.to_str().unwrap().to_owned())
}

#[test]
fn addresses_become_public() {
    let table = [
        ("location", "http://10.0.1.5:8080/a?b#c", "https://api.example.com/a?b#c"),
        ("location", "HTTP://10.0.1.5:8080", "https://api.example.com"),
        ("location", "http://10.0.1.5/a", "https://api.example.com/a"),
        ("location", "https://10.0.1.55:8080/a", "https://api.example.com/a"),
        ("location", "//10.0.1.5:8080/a", "//api.example.com/a"),
        ("location", "http://10.0.1.5@search:30001", "https://api.example.com"),
        ("location", "/10/0/1/5:8080", "/10/0/1/5:8080"),
        ("location", "/relative", "/relative"),
        ("location", "http://BACKEND.internal/a", "https://api.example.com/a"),
        ("location", "http://backend.internal.:80/a", "https://api.example.com/a"),
        ("location", "http://user:secret@backend.internal/a", "https://api.example.com/a"),
        ("location", "http://search:3000/v1/search", "https://api.example.com/v1/search"),
        ("location", "http://search/v1/search", "https://api.example.com/v1/search"),
        ("location", "/v1/search", "/v1/search"),
        ("location", "http://[fd00::5]:8080/a", "https://api.example.com/a"),
        ("location", "http:\\\\10.0.1.5:8080\\a", "http:\\\\api.example.com\\a"),
        ("location", "ws://backend.internal/socket", "wss://api.example.com/socket"),
        (
            "location",
            "https://other.example/?to=http%3A%2F%2F10.0.1.5%3A8080%2Fa",
            "https://other.example/?to=http%3A%2F%2Fapi.example.com%2Fa",
        ),
        (
            "location",
            "https://other.example/?to=http%3A%2F%2Fsearch%2Fa",
            "https://other.example/?to=http%3A%2F%2Fapi.example.com%2Fa",
        ),
        ("location", "https://other.example/a", "https://other.example/a"),
        ("location", "http://110.0.1.5:8080/", "http://110.0.1.5:8080/"),
        ("location", "http://10.0.1.51/", "http://10.0.1.51/"),
        ("location", "http://notbackend.internal/", "http://notbackend.internal/"),
        ("location", "http://backend.internal.example/", "http://backend.internal.example/"),
        ("location", "http://x.backend.internal/", "http://x.backend.internal/"),
        ("content-location", "http://10.0.1.5:8080/doc", "https://api.example.com/doc"),
        ("refresh", "5; url=http://10.0.1.5:8080/", "5; url=https://api.example.com/"),
        ("refresh", "0;URL='http://search:3000/'", "0;URL='https://api.example.com/'"),
        (
            "link",
            "<http://10.0.1.5:8080/a>; rel=next, <//backend.internal/b>; rel=prev, </c>; rel=first",
            "<https://api.example.com/a>; rel=next, <//api.example.com/b>; rel=prev, </c>; rel=first",
        ),
        ("set-cookie", "id=1; Domain=backend.internal; Path=/; Secure", "id=1; Path=/; Secure"),
        ("set-cookie", "id=1; domain=.Internal", "id=1"),
        ("set-cookie", "id=1; Domain=10.0.1.5; HttpOnly", "id=1; HttpOnly"),
        ("set-cookie", "id=1; Domain=example.com", "id=1; Domain=example.com"),
        ("set-cookie", "route=10.0.1.5:8080; Path=/", "route=api.example.com; Path=/"),
        ("access-control-allow-origin", "http://10.0.1.5:8080", "https://api.example.com"),
        ("www-authenticate", "Basic realm=\"10.0.1.5:8080\"", "Basic realm=\"api.example.com\""),
        (
            "content-security-policy",
            "default-src http://backend.internal 'self'",
            "default-src https://api.example.com 'self'",
        ),
        ("x-debug", "answered by 10.0.1.5.", "answered by api.example.com."),
        ("x-debug", "fd00::5 and fd00::55", "api.example.com and fd00::55"),
        ("x-debug", "search results for search:", "search results for search:"),
        ("x-debug", "search:3000", "api.example.com"),
        ("x-debug", "search:3001", "search:3001"),
    ];
    for (name, value, expected) in table {
        assert_eq!(apply(name, value, PUBLIC).as_deref(), Some(expected), "{name}: {value}");
    }
}

#[test]
fn the_public_port_is_kept() {
    let public = Public { scheme: Scheme::Http, authority: "api.example.com:8000" };
    for (value, expected) in [
        ("http://10.0.1.5:8080/a", "http://api.example.com:8000/a"),
        ("https://backend.internal/a", "http://api.example.com:8000/a"),
        ("//search/a", "//api.example.com:8000/a"),
    ] {
        assert_eq!(apply("location", value, public).as_deref(), Some(expected));
    }
    assert_eq!(apply("x-debug", "10.0.1.5", public).as_deref(), Some("api.example.com"));
    assert_eq!(apply("x-debug", "10.0.1.5:8080", public).as_deref(), Some("api.example.com:8000"));
}

#[test]
fn links_to_ourselves_get_scheme_and_port() {
    let ported = Public { scheme: Scheme::Https, authority: "api.example.com:8443" };
    let plain = Public { scheme: Scheme::Http, authority: "api.example.com" };
    let table = [
        (PUBLIC, "http://api.example.com/a", "https://api.example.com/a"),
        (PUBLIC, "https://api.example.com/a", "https://api.example.com/a"),
        (PUBLIC, "http://api.example.com:8080/a", "https://api.example.com/a"),
        (PUBLIC, "http://api.example.com:9999/a", "http://api.example.com:9999/a"),
        (PUBLIC, "http://api.example.com.evil/a", "http://api.example.com.evil/a"),
        (ported, "http://api.example.com:8443/a", "https://api.example.com:8443/a"),
        (ported, "http://api.example.com/a", "http://api.example.com/a"),
        (ported, "https://api.example.com:8080/a", "https://api.example.com:8443/a"),
        (plain, "https://api.example.com/a", "http://api.example.com/a"),
        (plain, "http://api.example.com/a", "http://api.example.com/a"),
    ];
    for (public, value, expected) in table {
        assert_eq!(apply("location", value, public).as_deref(), Some(expected), "{value}");
    }
    assert_eq!(apply("x-other", "http://api.example.com/", PUBLIC).as_deref(), Some("http://api.example.com/"));
}

/// The demo: proxy and upstream on one machine.
#[test]
fn a_host_that_is_also_ours_is_told_by_its_port() {
    let hidden = Hidden::new(&[endpoint("127.0.0.1", 3000)]);
    let public = Public { scheme: Scheme::Http, authority: "127.0.0.1:8080" };
    for (value, expected, leaks) in [
        ("http://127.0.0.1:3000/a", "http://127.0.0.1:8080/a", 1),
        ("http://127.0.0.1:8080/a", "http://127.0.0.1:8080/a", 0),
        ("http://127.0.0.1:9999/a", "http://127.0.0.1:9999/a", 0),
        ("http://127.0.0.1/a", "http://127.0.0.1/a", 0),
    ] {
        let mut headers = headers(&[("location", value)]);
        assert_eq!(hidden.leaks(&headers, public), leaks, "{value}");
        hidden.apply(&mut headers, public);
        assert_eq!(headers["location"], expected);
        assert_eq!(hidden.leaks(&headers, public), 0);
    }
}

/// B6: an upstream that puts its address everywhere.
#[test]
fn twelve_kinds_of_headers_and_more_tell_nothing() {
    let lines = [
        ("location", "http://10.0.1.5:8080/login"),
        ("content-location", "//10.0.1.5:8080/doc"),
        ("refresh", "1;url=http://10.0.1.5:8080/"),
        ("link", "<http://10.0.1.5:8080/next>; rel=\"next\"; anchor=\"http://10.0.1.5:8080/\""),
        ("set-cookie", "a=10.0.1.5:8080; Domain=10.0.1.5"),
        ("set-cookie", "b=2; Domain=10.0.1.5; Path=/"),
        ("server", "nginx (10.0.1.5:8080)"),
        ("via", "1.1 10.0.1.5:8080"),
        ("x-powered-by", "PHP/5 on 10.0.1.5:8080"),
        ("x-upstream-addr", "10.0.1.5:8080"),
        ("x-backend-server", "10.0.1.5:8080"),
        ("x-envoy-upstream-service-time", "3"),
        ("x-kong-proxy-latency", "1"),
        ("x-aspnet-version", "4"),
        ("x-runtime", "0.1"),
        ("x-accel-redirect", "/srv/private"),
        ("alt-svc", "h3=\"10.0.1.5:8080\""),
        ("www-authenticate", "Basic realm=\"http://10.0.1.5:8080\""),
        ("access-control-allow-origin", "http://10.0.1.5:8080"),
        ("warning", "199 10.0.1.5:8080 \"stale\""),
        ("x-custom", "10.0.1.5:8080,10.0.1.5"),
        ("etag", "\"10.0.1.5\""),
    ];
    let mut headers = headers(&lines);
    assert!(hidden().leaks(&headers, PUBLIC) >= 15);
    let leaks = hidden().apply(&mut headers, PUBLIC);
    assert_eq!(leaks, 5, "www-authenticate, access-control-allow-origin, warning, x-custom and etag");
    assert_eq!(hidden().leaks(&headers, PUBLIC), 0);
    for (name, value) in &headers {
        let value = value.to_str().unwrap();
        assert!(!value.contains("10.0.1.5") && !value.contains("8080"), "{name}: {value}");
    }
    for name in ["server", "via", "x-powered-by", "x-upstream-addr", "x-runtime", "x-accel-redirect", "alt-svc"] {
        assert!(!headers.contains_key(name), "{name}");
    }
    assert_eq!(headers.get_all("set-cookie").iter().count(), 2, "cookies stay apart");
}

#[test]
fn an_ordinary_head_stays_as_it_is() {
    let before = headers(&[
        ("content-type", "application/json"),
        ("content-length", "42"),
        ("date", "Mon, 23 Nov 2026 21:10:00 GMT"),
        ("etag", "\"abc\""),
        ("set-cookie", "id=1; Path=/"),
        ("x-request-id", "0123"),
        ("x-api-version", "2"),
    ]);
    let mut after = before.clone();
    assert_eq!(hidden().apply(&mut after, PUBLIC), 0);
    assert_eq!(after, before);
}

#[test]
fn nothing_to_hide_is_fine() {
    let hidden = Hidden::new(&[]);
    let mut headers = headers(&[("location", "http://10.0.1.5:8080/"), ("server", "x")]);
    assert_eq!(hidden.apply(&mut headers, PUBLIC), 0);
    assert_eq!(headers["location"], "http://10.0.1.5:8080/");
    assert!(!headers.contains_key("server"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    /// Whatever stands around them, addresses go, and a second time changes nothing.
    #[test]
    fn nothing_is_left(pieces in prop::collection::vec(prop::sample::select(vec![
        "10.0.1.5", "10.0.1.5:8080", "backend.internal", "BACKEND.INTERNAL.", "search:3000", "//search", "http://", "//",
        "https://user@", "@", ":", ".", ",", ";", " ", "=", "a", "5", "%2F", "%3A", "8080", "/", "[", "]", "fd00::5", "domain=",
        "api.example.com", "\"", "\\", "-", "\u{e9}",
    ]), 0..10)) {
        let text = pieces.concat();
        for name in ["location", "set-cookie", "x-other"] {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), HeaderValue::from_bytes(text.as_bytes()).unwrap());
            let hidden = hidden();
            hidden.apply(&mut headers, PUBLIC);
            prop_assert_eq!(hidden.leaks(&headers, PUBLIC), 0, "{} {:?}", text, headers);
        }
    }
}
