use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::authority::Scheme;
use crate::client::Client;

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    lines
}

/// What the fields that we add make of a head.
fn forward(headers: &mut HeaderMap, client: &Client, scheme: Scheme, authority: &str) {
    let request_id = &crate::request_id::RequestIds::new().next();
    Forwarded { client, scheme, authority, request_id }.insert(headers);
    assert_eq!(headers.remove(REQUEST_ID).as_ref(), Some(request_id.header()));
}

#[test]
fn hop_by_hop_fields_end_here() {
    let mut request = headers(&[
        ("connection", "X-Secret, close , keep-alive, host, Content-Length,, \u{40}bad"),
        ("connection", "X-Other"),
        ("x-secret", "1"),
        ("x-other", "2"),
        ("x-kept", "3"),
        ("host", "a"),
        ("content-length", "5"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic x"),
        ("te", "gzip"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("http2-settings", "x"),
        ("expect", "100-continue"),
    ]);
    strip_hop_by_hop(&mut request, Direction::Request);
    assert_eq!(lines(&request), ["content-length: 5", "host: a", "x-kept: 3"]);

    let mut response = headers(&[
        ("connection", "X-Internal"),
        ("x-internal", "1"),
        ("proxy-authenticate", "Basic"),
        ("proxy-authentication-info", "x"),
        ("transfer-encoding", "chunked"),
        ("trailer", "x"),
        ("upgrade", "h2"),
        ("etag", "\"1\""),
    ]);
    strip_hop_by_hop(&mut response, Direction::Response);
    assert_eq!(lines(&response), ["etag: \"1\""]);
}

#[test]
fn te_trailers_stays_for_grpc_alone() {
    for (content_type, te, kept) in [
        ("application/grpc", "trailers", true),
        ("application/grpc+proto", "gzip, Trailers", true),
        ("application/grpc", "gzip", false),
        ("application/grpc-web", "trailers", false),
        ("application/json", "trailers", false),
    ] {
        let mut request = headers(&[("content-type", content_type), ("te", te), ("connection", "te")]);
        strip_hop_by_hop(&mut request, Direction::Request);
        assert_eq!(
            request.get("te").map(HeaderValue::as_bytes),
            kept.then_some(b"trailers".as_slice()),
            "{content_type}"
        );
    }
}

/// B4: naming our fields in `Connection` neither removes what we set nor lets the client's own through.
#[test]
fn connection_cannot_remove_what_we_set() {
    let mut request = headers(&[
        ("connection", "authorization, x-forwarded-for, x-consumer-id, forwarded"),
        ("x-forwarded-for", "6.6.6.6"),
        ("forwarded", "for=6.6.6.6"),
        ("x-consumer-id", "mallory"),
        ("x_consumer_id", "mallory"),
        ("x_forwarded_for", "6.6.6.6"),
        ("x-real-ip", "6.6.6.6"),
    ]);
    let client = Client::direct("203.0.113.9".parse().unwrap());
    strip_hop_by_hop(&mut request, Direction::Request);
    strip_spoofable(&mut request, false);
    underscores(&mut request, Underscores::Drop).unwrap();
    remove_owned(&mut request, &[HeaderName::from_static("x-consumer-id")]);
    assert_eq!(lines(&request), [""; 0]);
    request.insert("x-consumer-id", HeaderValue::from_static("alice"));
    forward(&mut request, &client, Scheme::Https, "api.example.com");
    assert_eq!(
        lines(&request),
        [
            "forwarded: for=203.0.113.9;host=\"api.example.com\";proto=https",
            "x-consumer-id: alice",
            "x-forwarded-for: 203.0.113.9",
            "x-forwarded-host: api.example.com",
            "x-forwarded-proto: https",
        ]
    );
}

#[test]
fn what_a_client_cannot_say_of_itself_goes() {
    let spoofed = [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-anything",
        "x-real-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "x-client-ip",
        "x-original-url",
        "x-rewrite-url",
        "x-envoy-original-path",
        "x-remote-user",
        "remote-user",
        "proxy",
        "x-client-cert",
        "x-ssl-client-s-dn",
        "ssl-client-verify",
        "x-accel-redirect",
    ];
    let kept = ["accept", "x-api-key", "x-request-id", "x-originality", "proxy-x", "user-agent", "authorization"];
    for (trusted, removed) in [(false, spoofed.as_slice()), (true, &["forwarded", "x-forwarded-for", "x-real-ip"])] {
        let all: Vec<(&str, &str)> = spoofed.iter().chain(&kept).map(|name| (*name, "1")).collect();
        let mut request = headers(&all);
        strip_spoofable(&mut request, trusted);
        for (name, _) in all {
            assert_eq!(request.contains_key(name), !removed.contains(&name), "{name}, trusted: {trusted}");
        }
    }
}

#[test]
fn underscores_follow_the_policy() {
    let given = headers(&[("x_user", "1"), ("x-user", "2"), ("y_", "3")]);
    let mut dropped = given.clone();
    underscores(&mut dropped, Underscores::Drop).unwrap();
    assert_eq!(lines(&dropped), ["x-user: 2"]);
    let mut kept = given.clone();
    underscores(&mut kept, Underscores::Keep).unwrap();
    assert_eq!(kept, given);
    let mut refused = given;
    let refused = underscores(&mut refused, Underscores::Reject).unwrap_err();
    assert_eq!(*refused.reason(), Reason::BadHeader);
    underscores(&mut dropped, Underscores::Reject).unwrap();
}

#[test]
fn owned_fields_go_with_their_twins() {
    let mut request =
        headers(&[("x-consumer-id", "1"), ("x_consumer-id", "2"), ("x_consumer_id", "3"), ("x-consumer", "4")]);
    remove_owned(&mut request, &[HeaderName::from_static("x-consumer-id")]);
    assert_eq!(lines(&request), ["x-consumer: 4"]);
}

#[test]
fn cookies_become_one_line() {
    let mut request = headers(&[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]);
    join_cookies(&mut request);
    assert_eq!(lines(&request), ["cookie: a=1; b=2; c=3"]);
    let mut one = headers(&[("cookie", "a=1; b=2")]);
    join_cookies(&mut one);
    assert_eq!(lines(&one), ["cookie: a=1; b=2"]);
}

#[test]
fn forwarding_fields_tell_all_hops() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let client = Client {
        ip: ip("2001:db8::5"),
        hops: vec![ip("192.0.2.7"), ip("2001:db8:aa::1")],
        scheme: Some(Scheme::Https),
        host: Some("a.example:8443".to_owned()),
    };
    let mut request = headers(&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "7.7.7.7")]);
    forward(&mut request, &client, Scheme::Http, "inner");
    assert_eq!(
        lines(&request),
        [
            "forwarded: for=\"[2001:db8::5]\";host=\"a.example:8443\";proto=https, for=192.0.2.7, for=\"[2001:db8:aa::1]\"",
            "x-forwarded-for: 2001:db8::5, 192.0.2.7, 2001:db8:aa::1",
            "x-forwarded-host: a.example:8443",
            "x-forwarded-proto: https",
        ]
    );
}

/// What we write is what we would read, from either family.
#[test]
fn both_families_say_the_same() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let trusted = [crate::config::Network { address: ip("10.0.0.0"), prefix: 8 }];
    let client = Client {
        ip: ip("2001:db8::5"),
        hops: vec![ip("10.0.0.2"), ip("10.0.0.1")],
        scheme: Some(Scheme::Https),
        host: Some("a.example:8443".to_owned()),
    };
    let mut written = HeaderMap::new();
    forward(&mut written, &client, Scheme::Http, "inner");
    let mut hops = client.hops.clone();
    hops.push(ip("10.0.0.9"));
    let expected = Client { hops, ..client };
    assert_eq!(crate::client::address(ip("10.0.0.9"), &written, &trusted), expected);
    written.remove("x-forwarded-for");
    assert_eq!(crate::client::address(ip("10.0.0.9"), &written, &trusted), expected);
}

#[test]
fn plugins_set_what_they_may() {
    for name in ["x-user", "Content-Type", "location", "set-cookie", "date", "x_y", "authorization"] {
        assert!(plugin_field(name, b"v").is_ok(), "{name}");
    }
    for name in [
        "content-length",
        "Transfer-Encoding",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "proxy-connection",
        "host",
        "expect",
        "http2-settings",
        "x-forwarded-for",
        "forwarded",
        "x-real-ip",
        "proxy-authorization",
    ] {
        assert_eq!(plugin_field(name, b"v"), Err(FieldError::Forbidden), "{name}");
    }
    for name in ["", ":path", "a b", "a\r\nb", "a:", "a\0", "\u{e9}", "a,b"] {
        assert_eq!(plugin_field(name, b"v"), Err(FieldError::Name), "{name:?}");
    }
    for value in [b"a\r\nb".as_slice(), b"a\0", b"\x01", b"a\x7f", b"a\nb", b"a\r\n", b"\x0ca"] {
        assert_eq!(plugin_field("x", value), Err(FieldError::Value), "{value:?}");
    }
    for (value, kept) in [
        (b" \xe9 b ".as_slice(), b"\xe9 b".as_slice()),
        (b"a\tb", b"a\tb"),
        (b"\t a \t b \t", b"a \t b"),
        (b" \t ", b""),
        (b"", b""),
    ] {
        assert_eq!(plugin_field("x", value).unwrap().1.as_bytes(), kept, "{value:?}");
    }
    assert_eq!(plugin_name(&"x".repeat(1 << 17)), Err(FieldError::Name));
}

proptest! {
    #[test]
    fn a_plugins_field_is_safe_to_send(name in "\\PC{0,12}|[a-zA-Z-]{1,12}", value in prop::collection::vec(any::<u8>(), 0..24)) {
        if let Ok((name, value)) = plugin_field(&name, &value) {
            prop_assert!(may_plugin_set(&name));
            prop_assert!(!value.as_bytes().iter().any(|byte| *byte != b'\t' && byte.is_ascii_control()));
            prop_assert_eq!(value.as_bytes().trim_ascii(), value.as_bytes());
        }
    }

    #[test]
    fn whatever_connection_says_hop_by_hop_fields_go(connection in "[ -~]{0,60}") {
        let mut request = headers(&[("connection", &connection), ("te", "trailers"), ("upgrade", "x"), ("host", "a")]);
        strip_hop_by_hop(&mut request, Direction::Request);
        prop_assert_eq!(lines(&request), ["host: a"]);
    }
}

#[test]
fn the_time_of_a_call_is_digits_and_a_unit() {
    let time = |value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-timeout", HeaderValue::from_str(value).unwrap());
        grpc_timeout(&headers)
    };
    for (value, nanos) in [
        ("1H", 3_600_000_000_000),
        ("2M", 120_000_000_000),
        ("3S", 3_000_000_000),
        ("4m", 4_000_000),
        ("5u", 5_000),
        ("6n", 6),
    ] {
        assert_eq!(time(value), Some(Duration::from_nanos(nanos)), "{value}");
    }
    assert!(time("99999999H").is_some());
    for bad in ["", "S", "5", "5s", "-5S", "+5S", "5 S", "123456789S", "5.5S", "\u{665}S"] {
        assert_eq!(time(bad), None, "{bad:?}");
    }
}
