//! Heads and bodies that are too large or too slow, and responses that nobody reads: the same answers as HTTP/1.1 gives.

use super::*;
use crate::harness::{Client, answer, until};

fn start(origin: &Origin, limits: &str) -> Proxy {
    Proxy::start(&config(origin, &format!("listener.public.limits = {{ {limits} }}")), &[])
}

fn post(more: &[(&str, &str)]) -> Vec<u8> {
    let all = [(":method", "POST"), (":scheme", "http"), (":authority", "api.test"), (":path", "/")];
    block(&[&all[..], more].concat())
}

#[test]
fn what_is_too_large_has_the_same_answer_in_both_protocols() {
    let origin = Origin::fine();
    let config = format!(
        "listener.public.limits = {{ head-size = \"4KiB\", head-fields = 10 }}\nupstream.o.endpoints = [\"{}\"]\n\
         route.all = {{ path-prefix = \"/\", upstream = \"o\", body-size = \"100B\" }}\n",
        origin.url()
    );
    let proxy = Proxy::start(&config, &[]);
    let names: Vec<String> = (0..11).map(|n| format!("x-{n}")).collect();
    let fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let long = "a".repeat(4096);
    let path = format!("/{long}");
    type Case<'a> = (&'a str, &'a str, Vec<(&'a str, &'a str)>, u16);
    let cases: [Case<'_>; 4] = [
        ("many fields", "/", fields, 431),
        ("a long value", "/", vec![("x-a", &long)], 431),
        ("a long target", &path, vec![], 414),
        ("a long body", "/", vec![("content-length", "101")], 413),
    ];
    for (what, path, fields, status) in cases {
        let mut client = Client::connect(proxy.address("public"));
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        client.send(format!("POST {path} HTTP/1.1\r\nhost: api.test\r\n{lines}\r\n"));
        assert_eq!(client.response().status(), status, "{what} over HTTP/1.1");

        let mut raw = Raw::connect(&proxy);
        let all = [(":method", "POST"), (":scheme", "http"), (":authority", "api.test"), (":path", path)];
        let ends = if status == 413 { 0 } else { END_STREAM };
        let stream = raw.begin(&block(&[&all[..], &fields].concat()), ends);
        assert_eq!(raw.answer(stream), Answer::Status(status), "{what} over HTTP/2");
    }
    assert!(origin.seen().is_empty());
}

#[test]
fn a_head_that_does_not_come_is_not_waited_for() {
    let origin = Origin::fine();
    let proxy = start(&origin, "head-time = \"100ms\"");
    let head = get("/", &[]);
    for (what, bytes) in [
        ("no end", frame(HEADERS, END_STREAM, 3, &head)),
        ("half a frame", frame(HEADERS, END_HEADERS | END_STREAM, 3, &head)[..20].to_vec()),
        ("half a frame's head", frame(SETTINGS, 0, 0, &[0; 6])[..5].to_vec()),
    ] {
        let mut raw = Raw::connect(&proxy);
        // A request that is served keeps nothing of it alive.
        assert_eq!(raw.get("api.test", "/"), 200);
        raw.send(&bytes).expect("it reads");
        // The body of the response, and the end.
        while let Some(frame) = raw.read() {
            assert_eq!(frame.kind, DATA, "{what}: {frame:?}");
        }
    }
    assert_eq!(origin.seen().len(), 3, "nothing of it came through");
}

#[test]
fn a_body_that_does_not_come_is_answered_408() {
    let origin = Origin::fine();
    let proxy = start(&origin, "body-idle = \"100ms\"");
    let mut raw = Raw::connect(&proxy);
    for begin in [&b""[..], b"half"] {
        let stream = raw.begin(&post(&[("content-length", "100")]), 0);
        raw.send(frame(DATA, 0, stream, begin)).expect("it reads");
        assert_eq!(raw.answer(stream), Answer::Status(408));
    }
    assert_eq!(raw.get("api.test", "/"), 200, "others on the connection are served");
}

/// A window of nothing, for ever (CVE-2019-9517 and others).
#[test]
fn a_response_that_nobody_makes_room_for_is_given_up() {
    let origin = Origin::start(|request| answer("text/plain", &request.target()[1..].repeat(1000)));
    let proxy = start(&origin, "body-idle = \"200ms\"");
    let mut raw = Raw::with(socket(proxy.address("public")), &[(4, 0)]);
    let open = || {
        let metrics = proxy.admin("/metrics").text();
        let line =
            metrics.lines().find(|line| line.starts_with("http_server_active_requests ")).expect("a gauge").to_owned();
        line.ends_with(" 0")
    };
    let streams: Vec<u32> = (0..3).map(|_| raw.begin(&get("/abc", &[]), END_STREAM)).collect();
    let mut reset = 0;
    let mut heads = 0;
    while reset < streams.len() {
        let frame = raw.read().expect("the connection stays");
        match frame.kind {
            HEADERS => heads += 1,
            RST_STREAM => {
                assert_eq!(u32::from_be_bytes(frame.payload.try_into().expect("four bytes")), 8, "CANCEL");
                reset += 1;
            }
            DATA => panic!("there is no room for it"),
            _ => {}
        }
    }
    assert_eq!(heads, 3);
    until("nothing of them is left", open);
    // Who makes room, however little, gets all of it.
    let stream = raw.begin(&get("/ab", &[]), END_STREAM);
    assert_eq!(raw.answer(stream), Answer::Status(200));
    let mut body = Vec::new();
    while body.len() < 2000 {
        raw.send(frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 100])).expect("it reads");
        let frame = raw.read().expect("the connection stays");
        assert_eq!((frame.kind, frame.stream), (DATA, stream), "{frame:?}");
        assert!(frame.flags & END_STREAM == 0 || body.len() + frame.payload.len() == 2000);
        body.extend_from_slice(&frame.payload);
    }
    assert_eq!(body, b"ab".repeat(1000));
}

#[test]
fn a_connection_without_requests_ends_in_good_order() {
    let origin = Origin::fine();
    let proxy = start(&origin, "keep-alive = \"100ms\"");
    for asks in [false, true] {
        let mut raw = Raw::connect(&proxy);
        if asks {
            assert_eq!(raw.get("api.test", "/"), 200);
        }
        let mut told = false;
        while let Some(frame) = raw.read() {
            told |= frame.kind == GOAWAY && frame.payload[4..8] == [0; 4];
        }
        assert!(told, "GOAWAY comes first");
    }
}
