//! Heads that HTTP/1.1 could not have, or would have as something else. The numbers of reasons are those of RFC 9113,
//! section 7.

use super::*;

const PROTOCOL_ERROR: u32 = 1;

/// Each with what becomes of it. Nothing of it may reach the origin, and what follows it is served.
fn refused(table: &[(&str, Vec<u8>, Answer)]) {
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, ""), &[]);
    let mut wrong = Vec::new();
    for (what, block, expected) in table {
        let mut raw = Raw::connect(&proxy);
        let stream = raw.begin(block, END_STREAM);
        let answer = raw.answer(stream);
        if answer != *expected {
            wrong.push(format!("{what}: {answer:?}, not {expected:?}"));
        }
        if !matches!(answer, Answer::GoAway(_) | Answer::Closed) {
            assert_eq!(raw.get("api.test", "/next"), 200, "{what}: the next one on this connection");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let paths: Vec<String> = origin.seen().iter().map(|seen| seen.target().to_owned()).collect();
    assert!(paths.iter().all(|path| path == "/next"), "{paths:?}");
}

#[test]
fn a_request_has_its_pseudo_fields_once_and_first() {
    let reset = Answer::Reset(PROTOCOL_ERROR);
    let all = [(":method", "GET"), (":scheme", "http"), (":authority", "api.test"), (":path", "/")];
    let without = |name: &str| block(&all.iter().copied().filter(|(other, _)| *other != name).collect::<Vec<_>>());
    let twice = |name: &'static str, value: &'static str| block(&[&all[..], &[(name, value)]].concat());
    refused(&[
        ("no method", without(":method"), reset),
        ("no scheme", without(":scheme"), reset),
        ("no path", without(":path"), reset),
        ("no authority and no host", without(":authority"), Answer::Status(400)),
        ("two methods", twice(":method", "POST"), reset),
        ("two schemes", twice(":scheme", "https"), reset),
        ("two paths", twice(":path", "/admin"), reset),
        ("two authorities", twice(":authority", "evil.test"), reset),
        ("an unknown one", twice(":evil", "1"), Answer::GoAway(PROTOCOL_ERROR)),
        ("a status", twice(":status", "200"), reset),
        ("a late one", block(&[&all[..3], &[("x-a", "1"), (":path", "/")]].concat()), reset),
        ("a protocol without CONNECT", twice(":protocol", "websocket"), reset),
    ]);
}

#[test]
fn pseudo_fields_have_values_that_are_what_they_say() {
    let reset = Answer::Reset(PROTOCOL_ERROR);
    let bad = Answer::Status(400);
    let with = |name: &str, value: &str| {
        let all = [(":method", "GET"), (":scheme", "http"), (":authority", "api.test"), (":path", "/")];
        block(&all.map(|(own, right)| if own == name { (own, value) } else { (own, right) }))
    };
    refused(&[
        ("a path with a space", with(":path", "/a b"), reset),
        ("a path with a line end", with(":path", "/ HTTP/1.1\r\nx: y"), reset),
        ("a path with NUL", with(":path", "/\0"), reset),
        ("a path without a slash", with(":path", "admin"), reset),
        ("a path that could be an authority", with(":path", "@evil.test/"), reset),
        ("an absolute target", with(":path", "http://evil.test/"), reset),
        ("an empty path", with(":path", ""), reset),
        ("a star", with(":path", "*"), bad),
        ("a method with a space", with(":method", "GE T"), Answer::GoAway(PROTOCOL_ERROR)),
        (
            "a method that is a whole line",
            with(":method", "GET /admin HTTP/1.1\r\nhost: evil\r\n\r\nGET"),
            Answer::GoAway(PROTOCOL_ERROR),
        ),
        ("an empty method", with(":method", ""), Answer::GoAway(PROTOCOL_ERROR)),
        ("a scheme that is a URI", with(":scheme", "http://evil.test/?"), reset),
        ("another scheme", with(":scheme", "ftp"), bad),
        ("an authority with a user", with(":authority", "me@api.test"), bad),
        ("an authority with a path", with(":authority", "api.test/admin"), reset),
        ("an authority with a line end", with(":authority", "api.test\r\nx: y"), reset),
        ("an empty authority", with(":authority", ""), reset),
        ("TRACE", with(":method", "TRACE"), Answer::Status(405)),
    ]);
}

#[test]
fn fields_are_in_small_letters_and_of_no_other_protocol() {
    let reset = Answer::Reset(PROTOCOL_ERROR);
    let ended = Answer::GoAway(PROTOCOL_ERROR);
    let bad = Answer::Status(400);
    let with = |name: &str, value: &str| get("/", &[(name, value)]);
    refused(&[
        ("a capital", with("X-A", "1"), ended),
        ("a colon in a name", with("x:a", "1"), ended),
        ("a space in a name", with("x a", "1"), ended),
        ("a line end in a name", with("x\r\na", "1"), ended),
        ("no name", with("", "1"), ended),
        ("a line end in a value", with("x-a", "1\r\nx-b: 2"), ended),
        ("a line feed in a value", with("x-a", "1\nx-b: 2"), ended),
        ("a carriage return in a value", with("x-a", "1\rx"), ended),
        ("NUL in a value", with("x-a", "1\0"), ended),
        ("connection", with("connection", "x-a"), reset),
        ("transfer-encoding", with("transfer-encoding", "chunked"), reset),
        ("upgrade", with("upgrade", "h2c"), reset),
        ("keep-alive", with("keep-alive", "1"), reset),
        ("proxy-connection", with("proxy-connection", "keep-alive"), reset),
        ("te other than trailers", with("te", "gzip"), reset),
        ("a host that is another one", with("host", "evil.test"), bad),
        ("two hosts", get("/", &[("host", "api.test"), ("host", "api.test")]), bad),
        ("a length with a sign", with("content-length", "+5"), reset),
        ("two lengths", get("/", &[("content-length", "0"), ("content-length", "5")]), reset),
        ("a body that does not come", with("content-length", "5"), reset),
    ]);
}

/// The library takes it away before anybody sees it; what is matched is what is sent.
#[test]
fn a_fragment_is_no_part_of_a_path() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, ""), &[]);
    assert_eq!(Raw::connect(&proxy).get("api.test", "/a#/../admin"), 200);
    assert_eq!(origin.last().target(), "/a");
}

#[test]
fn connect_opens_no_tunnel() {
    let inside = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    inside.set_nonblocking(true).expect("a socket");
    let place = inside.local_addr().expect("an address").to_string();
    refused(&[
        ("CONNECT", block(&[(":method", "CONNECT"), (":authority", &place)]), Answer::Status(405)),
        (
            "CONNECT with a path",
            block(&[(":method", "CONNECT"), (":scheme", "http"), (":authority", &place), (":path", "/")]),
            Answer::Reset(PROTOCOL_ERROR),
        ),
    ]);
    assert_eq!(inside.accept().expect_err("nobody came").kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_body_is_as_long_as_its_head_says() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, ""), &[]);
    let post = |length: &str| {
        let all = [(":method", "POST"), (":scheme", "http"), (":authority", "api.test"), (":path", "/")];
        block(&[&all[..], &[("content-length", length)]].concat())
    };
    for (what, length, body) in [("less", "5", &b"123"[..]), ("more", "2", b"123")] {
        let mut raw = Raw::connect(&proxy);
        let stream = raw.begin(&post(length), 0);
        raw.send(frame(DATA, END_STREAM, stream, body)).expect("it reads");
        assert_eq!(raw.answer(stream), Answer::Reset(PROTOCOL_ERROR), "{what}");
        assert_eq!(raw.get("api.test", "/next"), 200, "{what}");
    }
    assert!(origin.seen().iter().all(|seen| seen.target() == "/next"), "no half of a body passes for a whole one");
}

#[test]
fn crumbs_of_a_cookie_are_joined_and_pieces_of_a_head_are_one() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, ""), &[]);
    let mut raw = Raw::connect(&proxy);
    let head = get("/", &[("cookie", "a=1"), ("x-a", "b"), ("cookie", "c=2"), ("te", "trailers")]);
    let (first, rest) = head.split_at(7);
    let (second, third) = rest.split_at(20);
    for (kind, flags, piece) in
        [(HEADERS, END_STREAM, first), (CONTINUATION, 0, second), (CONTINUATION, END_HEADERS, third)]
    {
        raw.send(frame(kind, flags, 1, piece)).expect("it reads");
    }
    assert_eq!(raw.answer(1), Answer::Status(200));
    assert_eq!(origin.last().header("cookie"), Some("a=1; c=2"));
    assert_eq!(origin.last().header("te"), None);
}

#[test]
fn frames_that_break_the_protocol_end_the_connection() {
    const FLOW_CONTROL_ERROR: u32 = 3;
    const FRAME_SIZE_ERROR: u32 = 6;
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, ""), &[]);
    let head = get("/", &[]);
    let mut wrong = Vec::new();
    for (what, bytes, expected) in [
        ("DATA on no stream", frame(DATA, 0, 0, b"x"), PROTOCOL_ERROR),
        ("DATA on an idle stream", frame(DATA, 0, 1, b"x"), PROTOCOL_ERROR),
        ("HEADERS on an even stream", frame(HEADERS, END_HEADERS, 2, &head), PROTOCOL_ERROR),
        ("a PING in a head", [frame(HEADERS, 0, 1, &head), frame(PING, 0, 0, &[0; 8])].concat(), PROTOCOL_ERROR),
        ("CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, &head), PROTOCOL_ERROR),
        ("a short PING", frame(PING, 0, 0, &[0; 7]), PROTOCOL_ERROR),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, &[]), PROTOCOL_ERROR),
        ("half a setting", frame(SETTINGS, 0, 0, &[0; 5]), PROTOCOL_ERROR),
        ("a window that is too large", frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]), PROTOCOL_ERROR),
        ("a frame that is too long", frame(DATA, 0, 1, &[0; 16 * 1024 + 1]), FRAME_SIZE_ERROR),
        ("PUSH_PROMISE", frame(5, END_HEADERS, 1, &[0, 0, 0, 2]), PROTOCOL_ERROR),
        ("WINDOW_UPDATE of nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), PROTOCOL_ERROR),
        ("WINDOW_UPDATE above all", frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]), FLOW_CONTROL_ERROR),
        ("RST_STREAM of an idle stream", frame(RST_STREAM, 0, 1, &[0; 4]), PROTOCOL_ERROR),
        ("a head that is no HPACK", frame(HEADERS, END_HEADERS, 1, &[0xff, 0xff, 0xff, 0xff]), PROTOCOL_ERROR),
    ] {
        let mut raw = Raw::connect(&proxy);
        let _ = raw.send(&bytes);
        let answer = raw.answer(1);
        if answer != Answer::GoAway(expected) {
            wrong.push(format!("{what}: {answer:?}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(origin.seen().is_empty());
    assert_eq!(Raw::connect(&proxy).get("api.test", "/"), 200);
}
