//! Whoever does not read stops whoever sends, on the other side of the proxy: what waits is in the buffers of two sockets and
//! in windows, never in as much memory as somebody likes to send. Others are served meanwhile, on the same connections too.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::harness::backend::{Asked, Backend, all, answer, run};
use crate::harness::{Gate, Line, PATIENCE, Played, Proxy};

/// A second without progress is more than a busy machine makes.
const STUCK: Duration = Duration::from_secs(1);
/// More than the buffers of the sockets on the way take.
const MOST: usize = 64 << 20;

fn config(url: &str) -> String {
    format!(
        "upstream.u.endpoints = [\"{url}\"]\n[route.all]\npath-prefix = \"/\"\nupstream = \"u\"\nbody-size = \"unlimited\"\n\
         upgrade = [\"websocket\"]\n"
    )
}

/// Writes until nobody takes anything for a while. Answers how much that was.
fn fill(stream: &mut TcpStream) -> usize {
    stream.set_write_timeout(Some(STUCK)).expect("a timeout above zero");
    let piece = vec![b'x'; 64 << 10];
    let mut sent = 0;
    while let Ok(wrote) = stream.write(&piece) {
        sent += wrote;
        assert!(sent < MOST, "{sent} bytes wait somewhere");
    }
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout above zero");
    sent
}

/// The same on a stream of HTTP/2.
async fn fill_stream(stream: &mut SendStream<Bytes>) -> usize {
    let mut sent = 0;
    loop {
        stream.reserve_capacity(64 << 10);
        let Ok(room) = timeout(STUCK, poll_fn(|context| stream.poll_capacity(context))).await else { return sent };
        let room = room.expect("an open stream").expect("room");
        stream.send_data(vec![b'x'; room].into(), false).expect("an open stream");
        sent += room;
        assert!(sent < MOST, "{sent} bytes wait somewhere");
    }
}

/// Reads so many bytes.
fn drain(stream: &mut TcpStream, bytes: usize) {
    let read = std::io::copy(&mut stream.take(bytes as u64), &mut std::io::sink()).expect("bytes in time");
    assert_eq!(read, bytes as u64);
}

async fn drain_stream(body: &mut RecvStream, bytes: usize) {
    let mut read = 0;
    while read < bytes {
        let piece = body.data().await.expect("more").expect("an open stream");
        body.flow_control().release_capacity(piece.len()).expect("a window");
        read += piece.len();
    }
}

fn client(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address("public")).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
    stream
}

/// That both workers serve others.
fn others_are_served(proxy: &Proxy, upstream: &Played) {
    for _ in 0..4 {
        let mut client = proxy.client();
        client.send("GET /other HTTP/1.1\r\nhost: api.test\r\nconnection: close\r\n\r\n");
        let mut line = upstream.accept();
        line.head();
        line.send("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
        assert_eq!(client.response().status(), 204);
    }
}

#[test]
fn a_server_that_does_not_read_stops_a_client_of_http1() {
    let upstream = Played::start();
    let proxy = Proxy::start(&config(&upstream.url()), &[]);
    let mut client = client(&proxy);
    client.write_all(b"PUT /up HTTP/1.1\r\nhost: api.test\r\ncontent-length: 1000000000\r\n\r\n").expect("it reads");
    let mut line = upstream.accept();
    line.head();
    let sent = fill(&mut client);
    others_are_served(&proxy, &upstream);
    drain(&mut line.0, sent);
    // It goes on from there.
    client.write_all(b"more").expect("it reads");
    assert_eq!(line.take(4), "more");
}

#[test]
fn a_client_of_http1_that_does_not_read_stops_a_server() {
    let upstream = Played::start();
    let proxy = Proxy::start(&config(&upstream.url()), &[]);
    let mut client = client(&proxy);
    client.write_all(b"GET /down HTTP/1.1\r\nhost: api.test\r\n\r\n").expect("it reads");
    let mut line = upstream.accept();
    line.head();
    line.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
    let sent = fill(&mut line.0);
    others_are_served(&proxy, &upstream);
    let mut client = Line(client);
    assert!(client.head().starts_with("http/1.1 200 ok\r\n"));
    drain(&mut client.0, sent);
    line.send("more");
    assert_eq!(client.take(4), "more");
}

fn put(path: &str) -> Request<()> {
    Request::put(format!("http://api.test{path}")).body(()).expect("a request")
}

/// Another stream of the same connection.
async fn another_stream_is_served(client: &SendRequest<Bytes>, upstream: Played) -> Played {
    let other = Request::get("http://api.test/other").body(()).expect("a request");
    let (response, _) = client.clone().send_request(other, true).expect("it is sent");
    let playing = spawn_blocking(move || {
        let mut line = upstream.accept();
        line.head();
        line.send("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
        upstream
    });
    assert_eq!(response.await.expect("a head").status(), 204);
    playing.await.expect("no panic")
}

/// A connection of a server that is played by another thread, and the server.
async fn accepted(upstream: Played) -> (Line, Played) {
    let playing = spawn_blocking(move || {
        let mut line = upstream.accept();
        line.head();
        (line, upstream)
    });
    playing.await.expect("no panic")
}

#[test]
fn a_server_that_does_not_read_stops_a_stream_alone() {
    let upstream = Played::start();
    let proxy = Proxy::start(&config(&upstream.url()), &[]);
    run(&proxy, async |mut client| {
        let (_response, mut stream) = client.send_request(put("/up"), false).expect("it is sent");
        let (mut line, upstream) = accepted(upstream).await;
        let sent = fill_stream(&mut stream).await;
        another_stream_is_served(&client, upstream).await;
        // With the sizes of the chunks it is even more.
        let draining = spawn_blocking(move || {
            drain(&mut line.0, sent);
            line
        });
        let _line = draining.await.expect("no panic");
        assert!(fill_stream(&mut stream).await > 0, "it goes on from there");
    });
}

#[test]
fn a_client_that_does_not_read_a_stream_stops_its_server_alone() {
    let upstream = Played::start();
    let proxy = Proxy::start(&config(&upstream.url()), &[]);
    run(&proxy, async |mut client| {
        let asked = Request::get("http://api.test/down").body(()).expect("a request");
        let (response, _) = client.send_request(asked, true).expect("it is sent");
        let (mut line, upstream) = accepted(upstream).await;
        line.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
        let mut body = response.await.expect("a head").into_body();
        let (sent, _line) = spawn_blocking(move || (fill(&mut line.0), line)).await.expect("no panic");
        another_stream_is_served(&client, upstream).await;
        drain_stream(&mut body, sent).await;
    });
}

#[test]
fn a_server_of_http2_that_does_not_read_stops_a_client() {
    let gate = Gate::default();
    let held = gate.clone();
    let backend = Backend::start(100, move |mut asked| {
        let gate = held.clone();
        async move {
            if asked.request.uri().path() == "/up" {
                spawn_blocking(move || gate.pass()).await.expect("no panic");
            }
            let (bytes, _) = all(asked.request.into_body()).await;
            answer(&mut asked.respond, bytes.len().to_string());
        }
    });
    let proxy = Proxy::start(&backend.config(), &[]);
    let mut client = client(&proxy);
    client.write_all(b"PUT /up HTTP/1.1\r\nhost: a\r\ncontent-length: 67108864\r\n\r\n").expect("it reads");
    let sent = fill(&mut client);
    for _ in 0..4 {
        assert_eq!(proxy.get("/other").text(), "0");
    }
    gate.open();
    client.write_all(&vec![b'x'; MOST - sent]).expect("it reads");
    let mut line = Line(client);
    assert!(line.head().starts_with("http/1.1 200 ok\r\n"));
    assert_eq!(line.take(11), format!("8\r\n{MOST}"));
}

#[test]
fn a_client_that_does_not_read_stops_a_server_of_http2() {
    let (told, sent) = channel();
    let backend = Backend::start(100, move |mut asked| {
        let told = told.clone();
        async move {
            if asked.request.uri().path() != "/down" {
                return answer(&mut asked.respond, "fine".into());
            }
            let mut stream = asked.respond.send_response(Response::new(()), false).expect("an open stream");
            let sent = fill_stream(&mut stream).await;
            told.send(sent).expect("the test waits");
            stream.send_data(Bytes::new(), true).expect("an open stream");
        }
    });
    let proxy = Proxy::start(&backend.config(), &[]);
    let mut client = client(&proxy);
    client.write_all(b"GET /down HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").expect("it reads");
    let sent = sent.recv_timeout(PATIENCE).expect("it is stopped");
    for _ in 0..4 {
        assert_eq!(proxy.get("/other").text(), "fine");
    }
    let mut line = Line(client);
    line.head();
    let mut all = Vec::new();
    line.0.read_to_end(&mut all).expect("an end");
    assert_eq!(all.iter().filter(|byte| **byte == b'x').count(), sent);
}

/// Agrees to go on with WebSocket.
fn agree(line: &mut Line) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        line.0.read_exact(&mut byte).expect("a head in time");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text");
    let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).expect("a key");
    let accept = tollgate::http1::upgrade::accepts(key.as_bytes());
    line.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
    ));
}

const UPGRADE: &[u8] = b"GET /ws HTTP/1.1\r\nhost: api.test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";

fn extended() -> Request<()> {
    let request = Request::connect("http://api.test/ws").header("sec-websocket-version", "13");
    request.extension(Protocol::from_static("websocket")).body(()).expect("a request")
}

#[test]
fn a_tunnel_stops_who_sends_in_either_direction() {
    let upstream = Played::start();
    let proxy = Proxy::start(&config(&upstream.url()), &[]);
    let mut client = client(&proxy);
    client.write_all(UPGRADE).expect("it reads");
    let mut line = upstream.accept();
    agree(&mut line);
    let mut client = Line(client);
    assert!(client.head().starts_with("http/1.1 101 "));
    // Both at once, so that neither waits for the other.
    let (up, down) = (fill(&mut client.0), fill(&mut line.0));
    drain(&mut line.0, up);
    drain(&mut client.0, down);
    client.send("more");
    assert_eq!(line.take(4), "more");
}

#[test]
fn a_tunnel_over_http2_stops_who_sends_in_either_direction() {
    let upstream = Played::start();
    let proxy = Proxy::start(&config(&upstream.url()), &[]);
    run(&proxy, async |mut client| {
        let (response, mut stream) = client.send_request(extended(), false).expect("it is sent");
        let agreeing = spawn_blocking(move || {
            let mut line = upstream.accept();
            agree(&mut line);
            (line, upstream)
        });
        let response = response.await.expect("a head");
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        let (mut line, upstream) = agreeing.await.expect("no panic");
        let up = fill_stream(&mut stream).await;
        let (down, mut line) = spawn_blocking(move || (fill(&mut line.0), line)).await.expect("no panic");
        another_stream_is_served(&client, upstream).await;
        drain_stream(&mut body, down).await;
        spawn_blocking(move || drain(&mut line.0, up)).await.expect("no panic");
    });
}

#[test]
fn a_tunnel_to_a_server_of_http2_stops_who_sends_in_either_direction() {
    let (told, sent) = channel();
    let gate = Gate::default();
    let held = gate.clone();
    let backend = Backend::tunnels(move |asked| {
        let (told, gate) = (told.clone(), held.clone());
        async move {
            let Asked { request, mut respond, .. } = asked;
            let mut stream = respond.send_response(Response::new(()), false).expect("an open stream");
            told.send(fill_stream(&mut stream).await).expect("the test waits");
            spawn_blocking(move || gate.pass()).await.expect("no panic");
            let (bytes, _) = all(request.into_body()).await;
            stream.send_data(Bytes::from(format!("{:8}", bytes.len())), true).expect("an open stream");
        }
    });
    let proxy = Proxy::start(&(backend.config() + "upgrade = [\"websocket\"]\n"), &[]);
    let mut client = client(&proxy);
    client.write_all(UPGRADE).expect("it reads");
    let down = sent.recv_timeout(PATIENCE).expect("it is stopped");
    let up = fill(&mut client);
    gate.open();
    let mut client = Line(client);
    assert!(client.head().starts_with("http/1.1 101 "));
    client.0.shutdown(std::net::Shutdown::Write).expect("an open connection");
    drain(&mut client.0, down);
    assert_eq!(client.take(8).trim(), up.to_string());
}
