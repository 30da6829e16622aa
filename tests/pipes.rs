//! Large bodies that pass from socket to socket without being read: every byte in its place, whatever happens to them on the
//! way, and nothing of one request in another.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::harness::{Line, PATIENCE, Played, Proxy, hello, until};

/// Many times what one pipe holds.
const LENGTH: usize = 3 << 20;

/// `/plugin` goes through one that sees heads.
fn start(upstream: &Played, settings: &str) -> Proxy {
    let config = format!(
        r#"
        upstream.u.endpoints = ["{}"]
        route.all = {{ path-prefix = "/", upstream = "u", body-size = "unlimited" }}
        route.plugin = {{ path-prefix = "/plugin", chain = ["greeting"], upstream = "u", body-size = "unlimited" }}
        plugin.greeting = {{ component = "greeting", config.name = "world" }}
        {settings}
        "#,
        upstream.url()
    );
    Proxy::start(&config, &[("greeting", hello())])
}

fn client(proxy: &Proxy) -> Line {
    let stream = TcpStream::connect(proxy.address("public")).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
    Line(stream)
}

/// Bytes of which no two pieces are the same, and which differ by `seed`.
fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let words = (0..length.div_ceil(8) as u64).map(|word| (word ^ seed << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    bytes.truncate(length);
    bytes
}

/// Sends from another thread, since nobody may read before all of it is sent.
fn send(line: &Line, bytes: Vec<u8>) -> thread::JoinHandle<()> {
    let mut stream = line.0.try_clone().expect("a socket");
    thread::spawn(move || stream.write_all(&bytes).expect("somebody reads"))
}

/// Reads these bytes.
fn expect(line: &mut Line, expected: &[u8]) {
    let mut seen = vec![0; expected.len()];
    line.0.read_exact(&mut seen).expect("bytes in time");
    let first = seen.iter().zip(expected).position(|(one, other)| one != other);
    assert_eq!(first, None, "the first byte that is another one");
}

/// Writes until nobody takes anything for a second.
fn fill(line: &mut Line, mut bytes: &[u8]) -> usize {
    line.0.set_write_timeout(Some(Duration::from_secs(1))).expect("a timeout above zero");
    let all = bytes.len();
    while !bytes.is_empty() {
        match line.0.write(bytes) {
            Ok(wrote) => bytes = &bytes[wrote..],
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
                return all - bytes.len();
            }
        }
    }
    panic!("{all} bytes wait somewhere");
}

fn put(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("PUT {path} HTTP/1.1\r\nhost: api.test\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn ok(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

/// One exchange on these two connections, both bodies large.
fn exchange(client: &mut Line, line: &mut Line, path: &str, seed: u64) {
    let (up, down) = (bytes(seed, LENGTH), bytes(!seed, LENGTH));
    let sending = send(client, put(path, &up));
    assert!(line.head().starts_with(&format!("put {path} http/1.1\r\n")));
    expect(line, &up);
    sending.join().expect("all is sent");
    let sending = send(line, ok(&down));
    assert!(client.head().starts_with("http/1.1 200 ok\r\n"));
    expect(client, &down);
    sending.join().expect("all is sent");
}

#[test]
fn every_byte_arrives_both_ways_again_and_again_on_the_same_connections() {
    let upstream = Played::start();
    let proxy = start(&upstream, "");
    let mut client = client(&proxy);
    let before = tollgate::transport::pipe::moved();
    let (up, down) = (bytes(1, LENGTH), bytes(2, LENGTH));
    // Another request follows the body in the same breath, and waits for its turn.
    let sending =
        send(&client, [put("/plugin", &up), b"GET /next HTTP/1.1\r\nhost: api.test\r\n\r\n".to_vec()].concat());
    let mut line = upstream.accept();
    assert!(line.head().starts_with("put /plugin http/1.1\r\n"));
    expect(&mut line, &up);
    sending.join().expect("all is sent");
    let sending = send(&line, ok(&down));
    let head = client.head();
    assert!(head.starts_with("http/1.1 200 ok\r\n") && head.contains("content-length: 3145728\r\n"), "{head}");
    expect(&mut client, &down);
    sending.join().expect("all is sent");
    assert!(line.head().starts_with("get /next http/1.1\r\n"));
    line.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    client.head();
    assert_eq!(client.take(2), "ok");
    for seed in 3..9 {
        exchange(&mut client, &mut line, if seed % 2 == 0 { "/" } else { "/plugin" }, seed);
    }
    if cfg!(target_os = "linux") {
        // What comes slowly is read all the same, so it is never all of it.
        let moved = tollgate::transport::pipe::moved() - before;
        assert!(moved > LENGTH as u64, "only {moved} bytes went through pipes");
    }
}

#[test]
fn a_server_that_does_not_read_stops_its_client_and_gets_every_byte() {
    let upstream = Played::start();
    let proxy = start(&upstream, "");
    let mut client = client(&proxy);
    let all = put("/", &bytes(1, 64 << 20));
    let sent = fill(&mut client, &all);
    let mut line = upstream.accept();
    let sending = send(&client, all[sent..].to_vec());
    line.head();
    let body = all.len() - (64 << 20);
    expect(&mut line, &all[body..]);
    sending.join().expect("all is sent");
    line.send(ok(b""));
    assert!(client.head().starts_with("http/1.1 200 ok\r\n"));
}

#[test]
fn a_client_that_does_not_read_stops_its_server_and_gets_every_byte() {
    let upstream = Played::start();
    let proxy = start(&upstream, "");
    let mut client = client(&proxy);
    client.send("GET / HTTP/1.1\r\nhost: api.test\r\n\r\n");
    let mut line = upstream.accept();
    line.head();
    let body = bytes(1, 64 << 20);
    let all = ok(&body);
    let sent = fill(&mut line, &all);
    let sending = send(&line, all[sent..].to_vec());
    client.head();
    expect(&mut client, &body);
    sending.join().expect("all is sent");
    // Both connections serve on.
    exchange(&mut client, &mut line, "/", 2);
}

/// A body that stops on its way leaves bytes in its pipe. They are gone with it.
#[test]
fn what_a_client_that_left_did_not_read_meets_nobody_else() {
    let upstream = Played::start();
    let proxy = start(&upstream, "");
    for seed in 0..3 {
        let mut leaving = client(&proxy);
        leaving.send("GET / HTTP/1.1\r\nhost: api.test\r\n\r\n");
        let mut line = upstream.accept();
        line.head();
        fill(&mut line, &ok(&bytes(seed, 64 << 20)));
        drop(leaving);
        let left = |error: std::io::Error| !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        until("the proxy leaves, too", || (&line.0).write(&[0]).is_err_and(left));

        let mut leaving = client(&proxy);
        fill(&mut leaving, &put("/", &bytes(seed, 64 << 20)));
        let line = upstream.accept();
        drop(leaving);
        drop(line);

        let mut other = client(&proxy);
        let (up, down) = (bytes(10 + seed, LENGTH), bytes(20 + seed, LENGTH));
        let sending = send(&other, put("/plugin", &up));
        let mut line = upstream.accept();
        line.head();
        expect(&mut line, &up);
        sending.join().expect("all is sent");
        let sending = send(&line, [b"HTTP/1.1 200 OK\r\nconnection: close\r\n".as_slice(), &ok(&down)[17..]].concat());
        other.head();
        expect(&mut other, &down);
        sending.join().expect("all is sent");
    }
}

#[test]
fn a_body_that_is_cut_is_never_whole() {
    let upstream = Played::start();
    let proxy = start(&upstream, "");
    let whole = bytes(1, LENGTH);
    // What came of it is passed on, and then the connection ends.
    let mut reading = client(&proxy);
    reading.send("GET / HTTP/1.1\r\nhost: api.test\r\n\r\n");
    let mut line = upstream.accept();
    line.head();
    let answer = ok(&whole);
    let sending = send(&line, answer[..answer.len() - 1].to_vec());
    let head = reading.head();
    assert!(head.contains("content-length: 3145728\r\n"), "{head}");
    expect(&mut reading, &whole[..LENGTH - 1]);
    sending.join().expect("all is sent");
    drop(line);
    assert!(reading.is_closed());

    let writing = client(&proxy);
    let request = put("/", &whole);
    let sending = send(&writing, request[..request.len() - 1].to_vec());
    let mut line = upstream.accept();
    line.head();
    expect(&mut line, &whole[..LENGTH - 1]);
    sending.join().expect("all is sent");
    writing.0.shutdown(std::net::Shutdown::Write).expect("a socket");
    assert!(line.is_closed());
    drop(writing);

    let mut client = client(&proxy);
    let sending = send(&client, put("/", &whole));
    let mut line = upstream.accept();
    line.head();
    expect(&mut line, &whole);
    sending.join().expect("all is sent");
    line.send(ok(b""));
    assert!(client.head().starts_with("http/1.1 200 ok\r\n"));
}

/// Whoever stops sending in the middle has the time that it always has.
#[test]
fn the_time_between_two_pieces_counts() {
    let upstream = Played::start();
    let proxy = start(&upstream, "listener.public.limits.body-idle = \"2s\"\nupstream.u.timeouts.idle = \"2s\"");
    let whole = bytes(1, LENGTH);
    let mut writing = client(&proxy);
    let request = put("/", &whole);
    let sending = send(&writing, request[..request.len() - 1].to_vec());
    let mut line = upstream.accept();
    line.head();
    expect(&mut line, &whole[..LENGTH - 1]);
    sending.join().expect("all is sent");
    assert!(writing.head().starts_with("http/1.1 408 "));
    assert!(line.is_closed());

    let mut reading = client(&proxy);
    reading.send("GET / HTTP/1.1\r\nhost: api.test\r\n\r\n");
    let mut line = upstream.accept();
    line.head();
    let answer = ok(&whole);
    let sending = send(&line, answer[..answer.len() - 1].to_vec());
    reading.head();
    expect(&mut reading, &whole[..LENGTH - 1]);
    sending.join().expect("all is sent");
    assert!(reading.is_closed());
    assert!(line.is_closed());
}
