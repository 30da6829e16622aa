//! A corpus of hostile HTTP/1, byte by byte, each with the answer that it gets. The names are those of the classes in
//! which such attacks are collected: framing (F), header syntax (H), request line and host (L), hop-by-hop (C) and bad
//! origins (O).

use crate::harness::{Origin, Proxy, answer};

fn start() -> (Origin, Proxy) {
    guard(Origin::start(|request| answer("text/plain", request.target())))
}

/// `/admin` needs a key that nobody has, everything else is open.
pub(crate) fn guard(origin: Origin) -> (Origin, Proxy) {
    let config = format!(
        r#"
        upstream.o.endpoints = ["{}"]
        plugin.keys = {{ component = "api-key", config.keys = [], limits.time = "5s" }}
        route.admin = {{ path-prefix = "/admin", chain = ["keys"], upstream = "o" }}
        route.open = {{ path-prefix = "/", upstream = "o" }}
        "#,
        origin.url()
    );
    let proxy = Proxy::start(&config, &[]);
    (origin, proxy)
}

/// What could be taken for a request of its own, if we and the origin disagreed about the one before it.
const BEHIND: &str = "GET /behind HTTP/1.1\r\nhost: a\r\n\r\n";

/// Each of these is refused with its status and its code, its connection ends, and the origin hears of nothing.
fn all_refused(table: &[(&str, Vec<u8>, u16, &str)]) {
    let (origin, proxy) = start();
    for (id, bytes, status, code) in table {
        let mut client = proxy.client();
        client.send(bytes);
        client.send(BEHIND);
        let response = client.response();
        assert_eq!((response.status(), response.code().as_str()), (*status, *code), "{id}: {response:?}");
        assert_eq!(response.header("content-type"), Some("application/problem+json"), "{id}");
        assert_eq!(response.header("connection"), Some("close"), "{id}");
        assert!(client.is_closed(), "{id}: what follows is no request");
        assert!(origin.seen().is_empty(), "{id}: {:?}", origin.seen());
    }
    assert_eq!(proxy.get("/after").text(), "/after");
}

fn post(id: &'static str, fields: &str, body: &str, code: &'static str) -> (&'static str, Vec<u8>, u16, &'static str) {
    (id, format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n{body}").into_bytes(), 400, code)
}

#[test]
fn where_a_request_ends_is_said_once_and_exactly() {
    let framing = "bad-framing";
    let mut table = vec![
        post("F01", "content-length: 6\r\ntransfer-encoding: chunked", "0\r\n\r\nG", framing),
        post("F02", "transfer-encoding: chunked\r\ncontent-length: 4", "5c\r\nGPOST / HTTP/1.1\r\n", framing),
        post("F03", "transfer-encoding: xchunked\r\ncontent-length: 4", "abcd", framing),
        post("F04", "transfer-encoding: chunked, identity", "0\r\n\r\n", framing),
        post("F05", "transfer-encoding: chunked\r\ntransfer-encoding: cow", "0\r\n\r\n", framing),
        post("F06", "transfer-encoding : chunked", "0\r\n\r\n", "bad-request"),
        post("F07", "transfer-encoding:\u{b}chunked", "0\r\n\r\n", "bad-request"),
        post("F08", "transfer-encoding:\r\n chunked", "0\r\n\r\n", "bad-request"),
        post("F08b", "transfer-encoding: chunked\r\n , identity", "0\r\n\r\n", "bad-request"),
        post("F10", "transfer-encoding: chunked\r\ntransfer-encoding: chunked", "0\r\n\r\n", framing),
        post("F11", "content-length: 5\r\ncontent-length: 6", "hello", framing),
        post("F12", "content-length: 5, 5", "hello", framing),
        post("F13", "content-length: +5", "hello", framing),
        post("F14", "content-length: 0x5", "hello", framing),
        post("F15", "content-length:", "hello", framing),
        post("F16", "content-length: -1", "hello", framing),
        post("F17", "content-length: 18446744073709551621", "hello", framing),
        post("F18", "content-length: 5\u{b}", "hello", "bad-request"),
        post("F41", "expect:\r\n 100-continue\r\ncontent-length: 5", "hello", "bad-request"),
    ];
    let old = "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    table.push(("F09", old.into(), 400, framing));
    table.push(("F18b", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: \xa05\r\n\r\nhello".into(), 400, framing));
    let odd = post("F42", "expect: y 100-continue\r\ncontent-length: 5", "hello", "expectation-failed");
    table.push((odd.0, odd.1, 417, odd.3));
    all_refused(&table);
}

#[test]
fn a_chunk_is_exactly_a_chunk() {
    let chunked = |id, body: &str| post(id, "transfer-encoding: chunked", body, "bad-body");
    all_refused(&[
        chunked("F20", "0x5\r\nhello\r\n0\r\n\r\n"),
        chunked("F21", "+5\r\nhello\r\n0\r\n\r\n"),
        chunked("F22", "0_5\r\nhello\r\n0\r\n\r\n"),
        chunked("F23", " 5\r\nhello\r\n0\r\n\r\n"),
        chunked("F24", "5 \r\nhello\r\n0\r\n\r\n"),
        chunked("F25", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        chunked("F26", "\r\nhello\r\n0\r\n\r\n"),
        chunked("F27", "5these\r\nhello\r\n0\r\n\r\n"),
        chunked("F28", "-5\r\nhello\r\n0\r\n\r\n"),
        chunked("F30", "5;\nhello\r\n0\r\n\r\n"),
        chunked("F31", "2\r\r;a\r\n02\r\n41\r\n0\r\n\r\n"),
        chunked("F32", "5\nhello\n0\n\n"),
        chunked("F33", "5\r\nhello!!\r\n0\r\n\r\n"),
        chunked("F34", &format!("1;{}\r\nx\r\n", "a".repeat(60_000)).repeat(4)),
        chunked("F35", "5;a=\"b\r\nhello\r\n0\r\n\r\n"),
        chunked("F35b", "5\r\nhello\r\n0\r\nx : y\r\n\r\n"),
        chunked("F35c", "5\r\nhello\r\n0\r\nx: y\n\n"),
    ]);
}

#[test]
fn a_field_is_a_name_a_colon_and_printable_bytes() {
    let mut table = Vec::new();
    for (id, field) in [
        ("H01 NUL in a value", &b"x: a\0b"[..]),
        ("H02 CR in a value", b"x: a\rb"),
        ("H03 DEL in a value", b"x: a\x7fb"),
        ("H04 another control byte in a value", b"x: a\x01b"),
        ("H05 empty name", b": a"),
        ("H06 space in a name", b"x y: a"),
        ("H07 no colon", b"x y"),
        ("H08 UTF-8 in a name", b"\xc3\xbc: a"),
        ("H09 folded", b"x: a\r\n b"),
        ("H10 folded with a tab", b"x: a\r\n\tb"),
        ("H11 space before the colon", b"x : a"),
        ("H12 tab before the colon", b"x\t: a"),
        ("H13 a name that begins with CR", b"x: a\r\n\ry: b"),
        ("H14 bare LF", b"x: a\ny: b"),
        ("H15 NUL in a name", b"x\0: a"),
        ("H16 quoted name", b"\"x\": a"),
        ("H17 parentheses in a name", b"x(y): a"),
    ] {
        let bytes = [b"GET / HTTP/1.1\r\nhost: a\r\n", field, b"\r\n\r\n"].concat();
        table.push((id, bytes, 400, "bad-request"));
    }
    for (id, bytes) in [
        ("H18 space before the first line", " GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("H19 space before the first field", "GET / HTTP/1.1\r\n host: a\r\n\r\n"),
        ("H20 only bare LF", "GET / HTTP/1.1\nhost: a\n\n"),
        ("H21 bare LF at the end", "GET / HTTP/1.1\r\nhost: a\r\n\n"),
        ("H22 bare CR at the end of the first line", "GET / HTTP/1.1\rhost: a\r\n\r\n"),
        ("H23 bytes of TLS", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\r\n\r\n"),
    ] {
        table.push((id, bytes.into(), 400, "bad-request"));
    }
    all_refused(&table);
}

#[test]
fn a_request_line_is_three_words_and_a_request_has_one_host() {
    let long = "a".repeat(200_000);
    let mut table = Vec::new();
    for (id, line, status, code) in [
        ("L01 no version", "GET /", 400, "bad-request"),
        ("L02 no target", "GET HTTP/1.1", 400, "bad-request"),
        ("L03 two spaces", "GET  / HTTP/1.1", 400, "bad-request"),
        ("L04 space in the target", "GET /a b HTTP/1.1", 400, "bad-request"),
        ("L05 tab in the target", "GET /a\tb HTTP/1.1", 400, "bad-path"),
        ("L06 NUL in the target", "GET /a\0b HTTP/1.1", 400, "bad-path"),
        ("L07 a control byte in the target", "GET /a\u{1}b HTTP/1.1", 400, "bad-path"),
        ("L08 a fragment", "GET /a#b HTTP/1.1", 400, "bad-path"),
        ("L09 UTF-8 in the target", "GET /\u{fc} HTTP/1.1", 400, "bad-path"),
        ("L10 a method that is no token", "G@T / HTTP/1.1", 400, "bad-request"),
        ("L11 lower case version", "GET / http/1.1", 400, "bad-request"),
        ("L12 HTTP/2.0", "GET / HTTP/2.0", 505, "http-version"),
        ("L13 HTTP/9.9", "GET / HTTP/9.9", 505, "http-version"),
        ("L14 HTTP/1.10", "GET / HTTP/1.10", 400, "bad-request"),
        ("L15 space behind the version", "GET / HTTP/1.1 ", 400, "bad-request"),
        ("L16 a tunnel", "CONNECT 127.0.0.1:22 HTTP/1.1", 405, "method-refused"),
        ("L17 *", "GET * HTTP/1.1", 400, "bad-request"),
        ("L18 an authority", "GET a:80 HTTP/1.1", 400, "bad-request"),
        ("L19 another scheme", "GET ftp://a/ HTTP/1.1", 400, "bad-request"),
        ("L20 neither path nor URI", "GET a/b HTTP/1.1", 400, "bad-path"),
        ("L21 a user", "GET http://u@a/ HTTP/1.1", 400, "bad-host"),
        ("L22 a long target", &format!("GET /{long} HTTP/1.1"), 414, "uri-too-long"),
        ("L23 TRACE", "TRACE / HTTP/1.1", 405, "method-refused"),
    ] {
        table.push((id, format!("{line}\r\nhost: a\r\n\r\n").into_bytes(), status, code));
    }
    for (id, fields, status, code) in [
        ("L30 none", "x: y", 400, "bad-host"),
        ("L31 two", "host: a\r\nhost: b", 400, "bad-host"),
        ("L32 the same twice", "host: a\r\nhost: a", 400, "bad-host"),
        ("L33 empty", "host:", 400, "bad-host"),
        ("L34 a user", "host: u@a", 400, "bad-host"),
        ("L35 a path", "host: a/b", 400, "bad-host"),
        ("L36 a list", "host: a, b", 400, "bad-host"),
        ("L37 a port that is none", "host: a:99999999", 400, "bad-host"),
        ("L38 folded", "host: a\r\n b", 400, "bad-request"),
        ("H30 a long value", &format!("host: a\r\nx: {long}{long}"), 431, "head-too-large"),
        ("H31 many fields", &format!("host: a\r\n{}x: y", "x: y\r\n".repeat(12_000)), 431, "head-too-large"),
        (
            "H32 more fields than the limit",
            &format!("host: a\r\n{}x: y", "x: y\r\n".repeat(100)),
            431,
            "head-too-large",
        ),
    ] {
        table.push((id, format!("GET / HTTP/1.1\r\n{fields}\r\n\r\n").into_bytes(), status, code));
    }
    all_refused(&table);
}

#[test]
fn a_target_never_chooses_whom_we_connect_to() {
    let (origin, proxy) = start();
    // The first names another machine, and the second another host than the field does: both are for us.
    for (target, host) in [("http://169.254.169.254/latest", "169.254.169.254"), ("http://b.test/latest", "b.test")] {
        assert_eq!(proxy.get(target).text(), "/latest");
        let forwarded = origin.last();
        assert_eq!(forwarded.target(), "/latest");
        assert_eq!(forwarded.header("x-forwarded-host"), Some(host), "{forwarded:?}");
    }
}

#[test]
fn requests_in_one_packet_are_answered_in_order_and_each_is_policed() {
    let (origin, proxy) = start();
    // F44, and F37: a whole request as a body is a body.
    let inner = "GET /admin HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut client = proxy.client();
    client.send(format!(
        "GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{inner}\
         POST /3 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{inner}\r\n0\r\n\r\n\r\n\
         GET /admin HTTP/1.1\r\nhost: a\r\n\r\nGET /5 HTTP/1.1\r\nhost: a\r\n\r\n",
        inner.len(),
        inner.len(),
    ));
    for (status, text) in [(200, "/1"), (200, "/2"), (200, "/3"), (401, ""), (200, "/5")] {
        let response = client.response();
        assert_eq!(response.status(), status, "{response:?}");
        assert!(status != 200 || response.text() == text, "{response:?}");
    }
    let seen: Vec<String> = origin.seen().iter().map(|request| request.start.clone()).collect();
    assert_eq!(seen, ["GET /1 HTTP/1.1", "GET /2 HTTP/1.1", "POST /3 HTTP/1.1", "GET /5 HTTP/1.1"]);
    assert_eq!(origin.seen()[1].text(), inner);

    // F45: an answer to HEAD has no body that the next one could hide in.
    let mut client = proxy.client();
    client.send("HEAD /x HTTP/1.1\r\nhost: a\r\n\r\nGET /y HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let both = client.rest();
    let (head, get) = both.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && get.starts_with("HTTP/1.1 200") && get.ends_with("/y"), "{both}");

    // F43: an expectation on a request that has no body.
    let mut client = proxy.client();
    client.send("GET /x HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n\r\nGET /admin HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!((client.response().text().as_str(), client.response().status()), ("/x", 401));
}

#[test]
fn half_a_request_is_none() {
    // F46
    let (origin, proxy) = start();
    for half in [
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhello",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhello",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n",
    ] {
        let mut client = proxy.client();
        client.send(half);
        client.end();
        let rest = client.rest();
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 400 "), "{half:?}: {rest}");
        assert!(origin.seen().is_empty(), "{half:?}: {:?}", origin.seen());
    }
}

#[test]
fn an_upgrade_that_nobody_agreed_to_opens_no_tunnel() {
    let (origin, proxy) = start();
    for (id, fields) in [
        ("F38", "upgrade: foo\r\nconnection: upgrade"),
        ("F39", "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: short"),
        ("F40", "upgrade: h2c\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABkAAQAAP__"),
    ] {
        let mut client = proxy.client();
        client.send(format!("GET /x HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\nGET /admin HTTP/1.1\r\nhost: a\r\n\r\n"));
        assert_eq!((client.response().text().as_str(), client.response().status()), ("/x", 401), "{id}");
        let forwarded = origin.last();
        for gone in ["upgrade", "connection", "http2-settings"] {
            assert_eq!(forwarded.header(gone), None, "{id}: {forwarded:?}");
        }
    }
}

#[test]
fn trailers_never_become_headers() {
    // F36
    let (origin, proxy) = start();
    let mut client = proxy.client();
    client.send(
        "POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x-user\r\n\r\n5\r\nhello\r\n0\r\n\
         content-length: 9\r\nauthorization: x\r\nx-user: admin\r\n\r\nGET /y HTTP/1.1\r\nhost: a\r\n\r\n",
    );
    assert_eq!((client.response().text().as_str(), client.response().text().as_str()), ("/x", "/y"));
    let first = origin.seen().remove(0);
    assert_eq!(first.text(), "hello");
    for name in ["content-length", "authorization", "x-user", "trailer"] {
        assert_eq!(first.header(name), None, "{first:?}");
    }
}

#[test]
fn what_a_client_names_in_connection_is_its_own() {
    let (origin, proxy) = start();
    let fields = [
        ("connection", "x-secret, x-forwarded-for, host, content-length"),
        ("x-secret", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("proxy-authorization", "x"),
        ("proxy-connection", "close"),
        ("x_user", "admin"),
    ];
    assert_eq!(proxy.client().request("POST", "/x", &fields, b"hello").status(), 200);
    let forwarded = origin.last();
    for gone in
        ["connection", "x-secret", "keep-alive", "te", "proxy-authorization", "proxy-connection", "x_user", "x-user"]
    {
        assert_eq!(forwarded.header(gone), None, "{gone}: {forwarded:?}");
    }
    assert_eq!(forwarded.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(forwarded.text(), "hello");
}

#[test]
fn what_is_not_exactly_a_response_is_a_502_and_its_connection_is_not_used_again() {
    let head = |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}").into_bytes();
    let status = |line: &str| format!("{line}\r\ncontent-length: 0\r\n\r\n").into_bytes();
    let chunked = |body: &str| head("transfer-encoding: chunked", body);
    let table = [
        ("O01 two lengths", head("content-length: 4\r\ncontent-length: 5", "hello")),
        ("O02 a length and chunks", head("content-length: 5\r\ntransfer-encoding: chunked", "0\r\n\r\n")),
        ("O03 chunks and a length", head("transfer-encoding: chunked\r\ncontent-length: 5", "0\r\n\r\n")),
        ("O04 a signed length", head("content-length: +2", "ok")),
        ("O05 a negative length", head("content-length: -2", "ok")),
        ("O06 a list of lengths", head("content-length: 2, 2", "ok")),
        ("O07 an unknown coding", head("transfer-encoding: xchunked", "0\r\n\r\n")),
        ("O08 two codings", head("transfer-encoding: gzip, chunked", "0\r\n\r\n")),
        ("O09 a bad size", chunked("5x\r\nhello\r\n0\r\n\r\n")),
        ("O10 a size that overflows", chunked("10000000000000005\r\nhello\r\n0\r\n\r\n")),
        ("O11 bare LF behind a size", chunked("5\nhello\n0\n\n")),
        ("O12 NUL in a value", head("x: a\0\r\ncontent-length: 2", "ok")),
        ("O13 CR in a value", head("x: a\rb\r\ncontent-length: 2", "ok")),
        ("O14 bare LF", head("x: a\ncontent-length: 2", "ok")),
        ("O15 folded", head("x: a\r\n b\r\ncontent-length: 2", "ok")),
        ("O16 space in a name", head("x y: a\r\ncontent-length: 2", "ok")),
        ("O17 no colon", head("x\r\ncontent-length: 2", "ok")),
        ("O18 status 99", status("HTTP/1.1 99 No")),
        ("O19 status 1000", status("HTTP/1.1 1000 No")),
        ("O20 status 600", status("HTTP/1.1 600 No")),
        ("O21 HTTP/9.9", status("HTTP/9.9 200 OK")),
        ("O22 HTTP/1.0 with chunks", b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".into()),
        ("O23 TLS", b"\x15\x03\x03\x00\x02\x02\x50".into()),
        (
            "O24 an unasked 101",
            b"HTTP/1.1 101 Go\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nHTTP/1.1 200 OK\r\n\r\n".into(),
        ),
        ("O25 5,000 times 103", b"HTTP/1.1 103 Hints\r\nlink: x\r\n\r\n".repeat(5000)),
        ("O26 a field of 1 MB", head(&format!("x: {}", "a".repeat(1 << 20)), "")),
        ("O27 40,000 fields", head(&format!("{}x: y", "x: y\r\n".repeat(40_000)), "")),
        ("O28 garbage before it", b"x\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".into()),
    ];
    for (id, bad) in table {
        let origin = Origin::start(move |request| match request.target() {
            "/bad" => bad.clone(),
            target => answer("text/plain", target),
        });
        let config = format!(
            "upstream.o.endpoints = [\"{}\"]\nroute.a = {{ path-prefix = \"/\", upstream = \"o\" }}",
            origin.url()
        );
        let proxy = Proxy::start(&config, &[]);
        let mut client = proxy.client();
        let mut response = client.request("GET", "/bad", &[], b"");
        // Hints pass until they are too many.
        for _ in 0..16 {
            if response.status() == 103 {
                response = client.response();
            }
        }
        assert_eq!(response.status(), 502, "{id}: {response:?}");
        assert!(["upstream-protocol", "upstream-body"].contains(&response.code().as_str()), "{id}: {response:?}");
        // The client's connection goes on, the upstream's does not.
        assert_eq!(client.request("GET", "/good", &[], b"").text(), "/good", "{id}");
    }
}

#[test]
fn what_a_server_names_in_connection_is_its_own() {
    const FIELDS: [(&str, &str); 7] = [
        ("connection", "x-secret, keep-alive"),
        ("keep-alive", "timeout=60"),
        ("proxy-authenticate", "Basic realm=\"inside\""),
        ("proxy-connection", "keep-alive"),
        ("upgrade", "h2c"),
        ("x-secret", "inside"),
        ("te", "trailers"),
    ];
    let fields: String = FIELDS.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let origin = Origin::start(move |_| {
        format!("HTTP/1.1 200 OK\r\n{fields}x-other: stays\r\ncontent-length: 2\r\n\r\nok").into_bytes()
    });
    let config =
        format!("upstream.o.endpoints = [\"{}\"]\nroute.a = {{ path-prefix = \"/\", upstream = \"o\" }}", origin.url());
    let proxy = Proxy::start(&config, &[]);
    let response = proxy.get("/");
    assert_eq!((response.status(), response.text().as_str()), (200, "ok"), "O29");
    for (name, _) in FIELDS {
        assert_eq!(response.header(name), None, "O29, {name}: {response:?}");
    }
    assert_eq!(response.header("x-other"), Some("stays"), "O29");
}

#[test]
fn a_server_that_leaves_before_it_has_answered_is_a_502() {
    for (id, part) in [
        ("O44 at once", &b""[..]),
        ("O45 in its status line", b"HTTP/1.1 2"),
        ("O46 behind it", b"HTTP/1.1 200 OK\r\n"),
        ("O47 in a field", b"HTTP/1.1 200 OK\r\ncontent-len"),
        ("O48 before the empty line", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"),
        ("O49 behind an interim response", b"HTTP/1.1 103 Hints\r\nlink: x\r\n\r\n"),
    ] {
        let origin = Origin::once(part);
        let config = format!(
            "upstream.o.endpoints = [\"{}\"]\nroute.a = {{ path-prefix = \"/\", upstream = \"o\" }}",
            origin.url()
        );
        let proxy = Proxy::start(&config, &[]);
        let mut client = proxy.client();
        let mut response = client.request("POST", "/", &[], b"once");
        if response.status() == 103 {
            response = client.response();
        }
        assert_eq!((response.status(), response.code().as_str()), (502, "upstream-reset"), "{id}: {response:?}");
        assert_eq!(origin.seen().len(), 1, "{id}: it is not sent again");
        assert_ne!(client.request("POST", "/", &[], b"again").status(), 200, "{id}: the client's connection goes on");
    }
}

#[test]
fn what_follows_a_response_is_never_the_next_one() {
    const EVIL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    for (id, first, body) in [
        ("O30 two at once", format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok{EVIL}"), "ok"),
        (
            "O31 behind chunks",
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{EVIL}"),
            "ok",
        ),
        ("O32 a body on 204", format!("HTTP/1.1 204 No\r\ncontent-length: 75\r\n\r\n{EVIL}"), ""),
        ("O33 a body on 304", format!("HTTP/1.1 304 No\r\ncontent-length: 75\r\n\r\n{EVIL}"), ""),
    ] {
        let origin = Origin::start(move |request| match request.target() {
            "/first" => first.clone().into_bytes(),
            target => answer("text/plain", target),
        });
        let config = format!(
            "upstream.o.endpoints = [\"{}\"]\nroute.a = {{ path-prefix = \"/\", upstream = \"o\" }}",
            origin.url()
        );
        let proxy = Proxy::start(&config, &[]);
        let mut client = proxy.client();
        client.send("GET /first HTTP/1.1\r\nhost: a\r\n\r\nGET /next HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let both = client.rest();
        let (first, next) = both.split_at(both.rfind("HTTP/1.1 ").unwrap());
        assert!(first.contains(&format!("\r\n\r\n{body}")) || first.contains("\r\nok\r\n0\r\n\r\n"), "{id}: {both}");
        assert!(next.starts_with("HTTP/1.1 200") && next.ends_with("/next") && !both.contains("evil"), "{id}: {both}");
    }
}

#[test]
fn a_response_that_breaks_off_is_seen_to_break_off() {
    for (id, broken, half) in [
        ("O40", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", "hello"),
        ("O41", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", "hello\r\n"),
        (
            "O42",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n5x\r\nworld\r\n0\r\n\r\n",
            "hello\r\n",
        ),
        ("O43", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", "hello\r\n"),
    ] {
        let origin = Origin::once(broken.as_bytes());
        let config = format!(
            "upstream.o.endpoints = [\"{}\"]\nroute.a = {{ path-prefix = \"/\", upstream = \"o\" }}",
            origin.url()
        );
        let proxy = Proxy::start(&config, &[]);
        let mut client = proxy.client();
        client.send(format!("GET / HTTP/1.1\r\nhost: a\r\n\r\n{BEHIND}"));
        let rest = client.rest();
        // Cut before its head was sent, or after what was good of it: never with an end.
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 502") || rest.ends_with(half), "{id}: {rest:?}");
        assert!(!rest.contains("0\r\n\r\n") || rest.starts_with("HTTP/1.1 502"), "{id}: {rest:?}");
    }
}

#[test]
fn what_is_no_request_is_logged_and_counted_like_one() {
    let (_origin, proxy) = start();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nhost: a\n\r\n");
    let response = client.response();
    assert_eq!(response.status(), 400);
    let id = response.header("x-request-id").expect("an identifier").to_owned();
    assert!(response.text().contains(&id), "{response:?}");
    let counted = r#"tollgate_requests_total{route="_none",reason="bad-request"} 1"#;
    let metrics = proxy.admin("/metrics").text();
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    let log = proxy.stop();
    let line = log.lines().find(|line| line.contains(&id)).expect("a line of it");
    assert!(line.contains("bad-request") && line.contains("127.0.0.1") && line.contains("400"), "{line}");
}
