//! Plugins that work on bodies piece by piece: what they change, what they refuse, what their failures cost, and that nothing
//! piles up in between.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::harness::{Gate, Message, Origin, Proxy, answer, guest, until};

const ISOLATIONS: [&str; 2] = ["pooled", "request"];

/// `/guarded` goes through a plugin that does `what`, `/open` goes through none.
fn start(origin: &str, what: &str, settings: &str) -> Proxy {
    let config = format!(
        r#"
        upstream.o.endpoints = ["{origin}"]
        route.guarded = {{ path-prefix = "/guarded", chain = ["bad"], upstream = "o", body-size = "unlimited" }}
        route.open = {{ path = "/open", upstream = "o" }}
        [plugin.bad]
        component = "pieces"
        config.what = "{what}"
        {settings}
        "#
    );
    Proxy::start(&config, &[("pieces", guest("pieces"))])
}

fn post(proxy: &Proxy, target: &str, body: &str) -> Message {
    proxy.client().request("POST", target, &[], body.as_bytes())
}

#[test]
fn the_body_of_a_request_is_changed_on_its_way() {
    for isolation in ISOLATIONS {
        let origin = Origin::fine();
        let proxy = start(&origin.url(), "upper", &format!("isolation = \"{isolation}\"\nlimits.time = \"5s\""));
        for _ in 0..2 {
            assert_eq!(post(&proxy, "/guarded", "hello").status(), 200, "{isolation}");
            let seen = origin.last();
            assert_eq!((seen.text().as_str(), seen.header("content-length")), ("HELLO!", None), "{isolation}");
        }
        assert_eq!(post(&proxy, "/guarded/skipped", "hello").status(), 200);
        let seen = origin.last();
        assert_eq!(
            (seen.text().as_str(), seen.header("content-length")),
            ("hello", Some("5")),
            "the head hook said so"
        );
    }
}

#[test]
fn one_piece_becomes_several() {
    let origin = Origin::fine();
    let proxy = start(&origin.url(), "thrice", "limits.time = \"5s\"");
    assert_eq!(post(&proxy, "/guarded", "ab").status(), 200);
    assert_eq!(origin.last().text(), "ababab");
}

/// The memo of the head hook comes with the first piece, and the counts are those of this body alone.
#[test]
fn the_body_of_a_response_is_changed_and_gets_trailers() {
    let origin = Origin::start(|_| {
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nfi\r\n2\r\nne\r\n0\r\nx-own: 1\r\n\r\n".to_vec()
    });
    for isolation in ISOLATIONS {
        let settings = format!("config.responses = true\nisolation = \"{isolation}\"\nlimits.time = \"5s\"");
        let proxy = start(&origin.url(), "upper", &settings);
        for _ in 0..2 {
            let mut client = proxy.client();
            client.send("GET /guarded HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: te, close\r\n\r\n");
            let answer = client.rest();
            for part in ["FI", "NE", "!", "x-bytes: 4\r\n", "x-memo: /guarded\r\n", "x-own: 1\r\n"] {
                assert!(answer.contains(part), "{isolation}: {part} in {answer}");
            }
        }
    }
}

#[test]
fn one_that_looks_leaves_the_length_and_may_refuse() {
    let origin = Origin::fine();
    let proxy = start(&origin.url(), "guard", "limits.time = \"5s\"");
    assert_eq!(post(&proxy, "/guarded", "good").status(), 200);
    assert_eq!((origin.last().text().as_str(), origin.last().header("content-length")), ("good", Some("4")));
    let refused = post(&proxy, "/guarded", "an evil word");
    assert_eq!((refused.status(), refused.code().as_str()), (422, "evil-body"), "{refused:?}");
    // One word in two pieces, and more to come that nobody waits for.
    let mut client = proxy.client();
    client.send("POST /guarded HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nev\r\n2\r\nil\r\n");
    let refused = client.response();
    assert_eq!((refused.status(), refused.code().as_str()), (422, "evil-body"), "{refused:?}");
    drop(client);
    let log = proxy.stop();
    assert_eq!(log.lines().filter(|line| line.contains("plugin-refused:bad:evil-body")).count(), 2, "{log}");
}

/// The head is on its way already: all that is left is that nobody takes the answer for whole.
#[test]
fn a_refused_response_is_cut() {
    for body in ["an evil word", "good"] {
        let origin = Origin::start(move |_| answer("text/plain", body));
        let proxy = start(&origin.url(), "guard", "config.responses = true\nlimits.time = \"5s\"");
        let mut client = proxy.client();
        client.send("GET /guarded HTTP/1.1\r\nhost: a\r\n\r\n");
        let got = client.try_response().map(|answer| answer.text());
        assert_eq!(got.as_deref(), Some(body).filter(|body| *body == "good"));
        drop(client);
        let log = proxy.stop();
        assert_eq!(log.contains("plugin-refused:bad"), body != "good", "{log}");
    }
}

#[test]
fn one_that_misbehaves_costs_one_request() {
    let table = [
        ("trap", "5s", "plugin-failed:bad"),
        ("spin", "30ms", "plugin-timeout:bad"),
        ("flood", "5s", "plugin-failed:bad"),
        ("endless", "5s", "plugin-failed:bad"),
        ("early", "5s", "plugin-failed:bad"),
        ("framing", "5s", "plugin-failed:bad"),
        ("liar", "5s", "plugin-failed:bad"),
        ("late", "5s", "plugin-failed:bad"),
    ];
    let origin = Origin::fine();
    for (what, time, code) in table {
        for isolation in ISOLATIONS {
            let settings = format!("isolation = \"{isolation}\"\nlimits.time = \"{time}\"");
            let proxy = start(&origin.url(), what, &settings);
            for _ in 0..2 {
                let refused = post(&proxy, "/guarded", "body");
                assert_eq!((refused.status(), refused.code().as_str()), (500, code), "{what}: {refused:?}");
                assert!(!refused.text().contains("secret"), "{what}");
                assert_eq!(post(&proxy, "/open", "body").text(), "fine", "{what}");
            }
        }
        let proxy = start(&origin.url(), what, &format!("limits.time = \"{time}\"\non-failure = \"open\""));
        let passed = post(&proxy, "/guarded", "body");
        if what == "late" {
            assert_eq!(passed.code(), code, "what it changed cannot be taken back");
        } else {
            assert_eq!((passed.status(), origin.last().text().as_str()), (200, "body"), "{what}");
        }
    }
}

/// A body holds its instance for as long as it takes; others wait for it or are refused, and it is free once the client has left.
#[test]
fn instances_of_bodies_are_bounded_and_a_client_that_leaves_frees_its_own() {
    let origin = Origin::fine();
    let limits = "limits = { time = \"5s\", instances = 1, wait = \"0s\" }";
    let proxy = start(&origin.url(), "upper", limits);
    let mut slow = proxy.client();
    slow.send("POST /guarded HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nbody");
    until("its first piece has come", || post(&proxy, "/guarded", "other").status() == 503);
    let refused = post(&proxy, "/guarded", "other");
    assert_eq!((refused.status(), refused.code().as_str()), (503, "plugin-overload:bad"), "{refused:?}");
    drop(slow);
    until("its instance is free", || post(&proxy, "/guarded", "other").status() == 200);
    assert_eq!(origin.last().text(), "OTHER!", "nothing of the body that was left behind");
}

/// 100 MiB through a plugin that changes all of them, to an upstream that does not read at first: the client can send what
/// fits the sockets, and then has to wait.
#[test]
fn a_long_body_takes_little_memory_and_waits_for_its_reader() {
    const LENGTH: usize = 100 << 20;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    let gate = Gate::default();
    let reading = thread::spawn({
        let gate = gate.clone();
        move || {
            let (stream, _) = listener.accept().expect("the proxy connects");
            gate.pass();
            read_slowly(stream)
        }
    });
    let proxy = start(&origin, "upper", "limits.time = \"5s\"");
    let mut client = TcpStream::connect(proxy.address("public")).expect("the proxy accepts");
    client
        .write_all(format!("POST /guarded HTTP/1.1\r\nhost: a\r\ncontent-length: {LENGTH}\r\n\r\n").as_bytes())
        .unwrap();
    client.set_write_timeout(Some(Duration::from_secs(3))).unwrap();
    let piece = vec![b'a'; 64 << 10];
    let mut sent = 0;
    let full = loop {
        match client.write(&piece[..piece.len().min(LENGTH - sent)]) {
            Ok(some) => sent += some,
            Err(error) => break error,
        }
        assert!(sent < LENGTH / 2, "nobody reads, and {sent} bytes are somewhere");
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock, "{full}");
    client.set_write_timeout(None).unwrap();
    gate.open();
    while sent < LENGTH {
        sent += client.write(&piece[..piece.len().min(LENGTH - sent)]).expect("the proxy reads on");
    }
    let (bytes, all_large) = reading.join().expect("a whole request");
    assert_eq!((bytes, all_large), (LENGTH + 1, true), "all bytes, and the one at the end");
}

/// The bytes of a chunked request, and whether all are as the plugin makes them.
fn read_slowly(stream: TcpStream) -> (usize, bool) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).expect("a head");
    }
    let (mut bytes, mut all_large) = (0, true);
    loop {
        line.clear();
        stream.read_line(&mut line).expect("a chunk");
        let size = usize::from_str_radix(line.trim_end(), 16).expect("its size");
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).expect("its bytes");
        bytes += size;
        all_large &= chunk[..size].iter().all(|byte| matches!(byte, b'A' | b'!'));
        if size == 0 {
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("the proxy reads");
            return (bytes, all_large);
        }
    }
}
