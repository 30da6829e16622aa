//! Frames that make work and carry nothing.

use std::io::Read as _;
use std::thread;

use super::*;
use crate::harness::{Gate, answer, until};

const ENHANCE_YOUR_CALM: u32 = 11;
const REFUSED_STREAM: u32 = 7;

/// Far more of anything than a connection may send.
const MANY: usize = 500_000;

/// The bytes that are sent the n-th time.
type Nth<'a> = &'a dyn Fn(u32) -> Vec<u8>;

/// What a client got that sends the same bytes again and again until its connection ends, and how often it could.
fn flood(proxy: &Proxy, begin: &[u8], unit: impl Fn(u32) -> Vec<u8>) -> (usize, Vec<u8>) {
    let mut stream = socket(proxy.address("public"));
    let mut reading = stream.try_clone().expect("a socket");
    // The proxy must not wait for us while we wait for it.
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        let end = reading.read_to_end(&mut all);
        let stuck = end.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        assert!(!stuck, "it goes on for ever");
        all
    });
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), begin].concat()).expect("it reads");
    let sent = (0..MANY).take_while(|n| stream.write_all(&unit(*n as u32)).is_ok()).count();
    (sent, reader.join().expect("an end"))
}

#[test]
fn each_kind_of_empty_work_ends_its_connection_and_nobody_elses() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, ""), &[]);
    let mut other = Raw::connect(&proxy);
    let open = frame(
        HEADERS,
        END_HEADERS,
        1,
        &block(&[(":method", "POST"), (":scheme", "http"), (":authority", "api.test"), (":path", "/")]),
    );
    let mut counted = 0;
    let cases: [(&str, &[u8], Nth<'_>); 8] = [
        ("PING", &[], &|_| frame(PING, 0, 0, &[0; 8])),
        ("SETTINGS", &[], &|_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])),
        ("empty DATA", &open, &|_| frame(DATA, 0, 1, &[])),
        ("padding", &open, &|_| frame(DATA, 8, 1, &[0])),
        ("PRIORITY", &[], &|n| frame(PRIORITY, 0, n * 2 + 1, &[0, 0, 0, 0, 16])),
        ("WINDOW_UPDATE", &open, &|_| frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
        ("unknown frames", &[], &|_| frame(0xbe, 0, 0, b"grease")),
        ("acknowledgements", &[], &|_| frame(PING, ACK, 0, &[0; 8])),
    ];
    for (what, begin, unit) in cases {
        let (sent, _) = flood(&proxy, begin, unit);
        assert!(sent < MANY, "{what}: all of them went through");
        assert_eq!(other.get("api.test", "/"), 200, "{what}: others are served");
        // Of some the library has a limit of its own, and whichever is reached first counts.
        if matches!(what, "PING" | "SETTINGS") {
            counted += 1;
            let line =
                format!("tollgate_connections_refused_total{{listener=\"public\",reason=\"http2-flood\"}} {counted}");
            until(&format!("{what}: {line}"), || proxy.admin("/metrics").text().contains(&line));
        }
    }
}

#[test]
fn a_head_without_end_ends_the_connection() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, ""), &[]);
    let begin = frame(HEADERS, END_STREAM, 1, &get("/", &[]));
    for (what, piece) in [("empty", Vec::new()), ("full", block(&[("x-a", &"a".repeat(16_000))]))] {
        let (sent, _) = flood(&proxy, &begin, |_| frame(CONTINUATION, 0, 1, &piece));
        assert!(sent < MANY, "{what}: all of them went through");
    }
    assert!(origin.seen().is_empty());
    assert_eq!(Raw::connect(&proxy).get("api.test", "/"), 200);
}

/// An origin that answers once the gate is open.
fn held(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |_| {
        gate.pass();
        answer("text/plain", "fine")
    })
}

/// CVE-2023-44487.
#[test]
fn requests_that_are_taken_back_at_once_reach_the_origin_hardly_ever() {
    let gate = Gate::default();
    let origin = held(&gate);
    let proxy = Proxy::start(&config(&origin, ""), &[]);
    let head = get("/", &[]);
    let (sent, _) = flood(&proxy, &[], |n| {
        let stream = n * 2 + 1;
        [frame(HEADERS, END_HEADERS | END_STREAM, stream, &head), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    });
    assert!(sent < MANY, "all of them went through");
    gate.open();
    assert!(origin.accepted() <= 300, "{} connections to the origin", origin.accepted());
    assert_eq!(Raw::connect(&proxy).get("api.test", "/"), 200);
}

/// CVE-2025-8671: mistakes that make us reset the stream.
#[test]
fn resets_that_we_are_made_to_send_end_the_connection() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, ""), &[]);
    let head = get("/", &[]);
    let begun = |n: u32| frame(HEADERS, END_HEADERS, n * 2 + 1, &head);
    let mistakes: [(&str, Nth<'_>); 4] = [
        ("DATA behind the end of a body", &|n| {
            [frame(HEADERS, END_HEADERS | END_STREAM, n * 2 + 1, &head), frame(DATA, 0, n * 2 + 1, b"late")].concat()
        }),
        ("WINDOW_UPDATE of nothing", &|n| [begun(n), frame(WINDOW_UPDATE, 0, n * 2 + 1, &[0; 4])].concat()),
        ("a window above all", &|n| [begun(n), frame(WINDOW_UPDATE, 0, n * 2 + 1, &[0x7f, 0xff, 0xff, 0xff])].concat()),
        ("a stream that depends on itself", &|n| {
            let stream = n * 2 + 1;
            [begun(n), frame(PRIORITY, 0, stream, &[&stream.to_be_bytes()[..], &[1]].concat())].concat()
        }),
    ];
    for (what, unit) in mistakes {
        let (sent, _) = flood(&proxy, &[], unit);
        assert!(sent < MANY, "{what}: all of them went through");
        assert!(origin.accepted() <= 1000, "{what}: {} connections to the origin", origin.accepted());
    }
    assert_eq!(Raw::connect(&proxy).get("api.test", "/"), 200);
}

#[test]
fn a_client_has_as_many_streams_as_it_may_have() {
    let gate = Gate::default();
    let origin = held(&gate);
    let proxy = Proxy::start(&config(&origin, ""), &[]);
    let mut raw = Raw::connect(&proxy);
    let streams: Vec<u32> = (0..101).map(|_| raw.begin(&get("/", &[]), END_STREAM)).collect();
    assert_eq!(raw.answer(streams[100]), Answer::Reset(REFUSED_STREAM));
    gate.open();
    assert_eq!(raw.answer(streams[0]), Answer::Status(200));
}

/// A table entry, and then thousands of references to it, of one byte each (CVE-2016-6581, CVE-2026-49975).
#[test]
fn a_head_counts_as_what_it_becomes() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, ""), &[]);
    for (what, name, value) in
        [("long", "x-a", "a".repeat(4000)), ("tiny", "a", String::new()), ("crumbs", "cookie", String::new())]
    {
        let mut raw = Raw::connect(&proxy);
        let mut bomb = get("/", &[]);
        // With incremental indexing: it is the newest entry of the table, 62, from now on.
        bomb.push(0x40);
        bomb.extend_from_slice(&block(&[(name, &value)])[1..]);
        bomb.extend_from_slice(&[0xbe; 10_000]);
        let stream = raw.begin(&bomb, END_STREAM);
        let answer = raw.answer(stream);
        assert!(matches!(answer, Answer::Status(431) | Answer::GoAway(ENHANCE_YOUR_CALM)), "{what}: {answer:?}");
    }
    assert!(origin.seen().is_empty());

    // One after another they end the connection.
    let head = get("/", &[("x-a", &"a".repeat(100))]);
    let refused = [&head[..], &block(&[("x", "y")]).repeat(3000)].concat();
    let (sent, got) = flood(&proxy, &[], |n| {
        let (first, rest) = refused.split_at(9000);
        let stream = n * 2 + 1;
        [frame(HEADERS, END_STREAM, stream, first), frame(CONTINUATION, END_HEADERS, stream, rest)].concat()
    });
    assert!(sent < MANY, "all went through, and {} bytes of answers came", got.len());
}
