//! HTTP/2, by ALPN and by prior knowledge: many requests on one connection, and bodies that flow both ways.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::pin::pin;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;

use crate::harness::{Gate, Identity, Origin, PATIENCE, Proxy, answer};

/// Runs a client, and gives up when nothing happens.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await }).expect("it ends in time")
}

/// A connection, driven in the background.
async fn http2(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> SendRequest<Bytes> {
    let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    sender.ready().await.expect("a connection that takes requests")
}

async fn socket(proxy: &Proxy, listener: &str) -> TcpStream {
    let socket = TcpStream::connect(proxy.address(listener)).await.expect("it accepts");
    socket.set_nodelay(true).expect("a socket");
    socket
}

async fn plain(proxy: &Proxy) -> SendRequest<Bytes> {
    http2(socket(proxy, "public").await).await
}

fn request(method: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://api.test{path}")).body(()).expect("a request")
}

/// Sends as much as the other side has room for, until all is sent.
async fn send(stream: &mut SendStream<Bytes>, mut body: Bytes, ends: bool) {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
        let room = room.expect("the stream is open").expect("room");
        stream.send_data(body.split_to(room.min(body.len())), false).expect("the stream is open");
    }
    if ends {
        stream.send_data(Bytes::new(), true).expect("the stream is open");
    }
}

/// The next piece of a body.
async fn piece(body: &mut RecvStream) -> Option<Bytes> {
    let piece = body.data().await?.expect("a whole body");
    body.flow_control().release_capacity(piece.len()).expect("what was read");
    Some(piece)
}

async fn whole(response: Response<RecvStream>) -> (u16, Vec<u8>) {
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(piece) = piece(&mut body).await {
        bytes.extend_from_slice(&piece);
    }
    (status, bytes)
}

/// An upstream that sends back what it got.
fn echo() -> Origin {
    Origin::start(|request| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", request.body.len());
        [head.as_bytes(), &request.body].concat()
    })
}

fn config(upstream: &str, more: &str) -> String {
    format!(
        "{more}\nupstream.o.endpoints = [\"{upstream}\"]\n\
         route.all = {{ path-prefix = \"/\", upstream = \"o\", body-size = \"unlimited\" }}\n"
    )
}

#[test]
fn both_sides_agree_on_it_by_alpn() {
    let folder = TempDir::new().expect("a folder");
    let identity = Identity::new(&["api.test"]);
    let listener =
        format!("listener.secure = {{ address = \"127.0.0.1:0\", tls = {} }}", identity.write(folder.path(), "api"));
    let origin = echo();
    let proxy = Proxy::start(&config(&origin.url(), &listener), &[]);
    run(async {
        let connector = TlsConnector::from(identity.client(&["h2", "http/1.1"]));
        let socket = socket(&proxy, "secure").await;
        let name = ServerName::try_from("api.test").expect("a name");
        let stream = connector.connect(name, socket).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut sender = http2(stream).await;
        let request = Request::post("https://api.test/a").body(()).expect("a request");
        let (response, mut body) = sender.send_request(request, false).expect("a stream");
        send(&mut body, Bytes::from_static(b"over TLS"), true).await;
        assert_eq!(whole(response.await.expect("a response")).await, (200, b"over TLS".to_vec()));
    });
    let seen = origin.last();
    assert_eq!((seen.target(), seen.header("x-forwarded-proto")), ("/a", Some("https")));
    assert_eq!(seen.header("x-forwarded-host"), Some("api.test"), "{seen:?}");
}

#[test]
fn many_requests_share_a_connection() {
    let origin = Origin::start(|request| answer("text/plain", request.target()));
    let proxy = Proxy::start(&config(&origin.url(), ""), &[]);
    run(async {
        let sender = plain(&proxy).await;
        let mut asked = Vec::new();
        for n in 0..50 {
            let mut sender = sender.clone().ready().await.expect("room for a stream");
            asked.push((n, sender.send_request(request("GET", &format!("/{n}")), true).expect("a stream").0));
        }
        for (n, response) in asked {
            let response = whole(response.await.expect("a response")).await;
            assert_eq!(response, (200, format!("/{n}").into_bytes()));
        }
    });
    assert_eq!(origin.seen().len(), 50);
}

#[test]
fn large_bodies_come_through_whole() {
    let origin = echo();
    let proxy = Proxy::start(&config(&origin.url(), ""), &[]);
    let sent: Vec<u8> = (0..8_u32 << 20).map(|n| (n % 251) as u8).collect();
    run(async {
        let mut sender = plain(&proxy).await;
        let (response, mut body) = sender.send_request(request("PUT", "/"), false).expect("a stream");
        send(&mut body, Bytes::from(sent.clone()), true).await;
        let (status, got) = whole(response.await.expect("a response")).await;
        assert!(status == 200 && got == sent, "{status}, {} bytes", got.len());
    });
}

/// Each piece is at the other end before the next one is made: nobody on the way waits for the whole.
#[test]
fn bodies_flow_both_ways_piece_by_piece() {
    const PIECES: usize = 10;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (came, mut comes) = mpsc::unbounded_channel();
    let (next, mut told) = mpsc::unbounded_channel::<()>();
    let upstream = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
        let (mut input, mut output) = (BufReader::new(&stream), &stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            input.read_line(&mut line).expect("a head");
        }
        for _ in 0..PIECES {
            came.send(chunk(&mut input)).expect("the test waits");
        }
        assert!(chunk(&mut input).is_empty(), "the end of the body");
        output.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").expect("it reads");
        for n in 0..PIECES {
            output.write_all(format!("7\r\npiece {n}\r\n").as_bytes()).expect("it reads");
            told.blocking_recv().expect("the test goes on");
        }
        output.write_all(b"0\r\n\r\n").expect("it reads");
    });
    let proxy = Proxy::start(&config(&url, ""), &[]);
    run(async {
        let mut sender = plain(&proxy).await;
        let (response, mut body) = sender.send_request(request("POST", "/"), false).expect("a stream");
        let mut response = pin!(response);
        for n in 0..PIECES {
            let sent = format!("part {n}");
            send(&mut body, Bytes::from(sent.clone()), n + 1 == PIECES).await;
            assert_eq!(comes.recv().await.expect("it comes"), sent.into_bytes());
        }
        let mut body = response.as_mut().await.expect("a response").into_body();
        for n in 0..PIECES {
            assert_eq!(piece(&mut body).await.expect("it comes"), format!("piece {n}"));
            next.send(()).expect("the upstream waits");
        }
        assert!(piece(&mut body).await.is_none_or(|last| last.is_empty()));
    });
    upstream.join().expect("the upstream saw what it should");
}

/// One chunk of a body; an empty one is the last.
fn chunk(input: &mut impl BufRead) -> Vec<u8> {
    let mut line = String::new();
    input.read_line(&mut line).expect("a size");
    let size = usize::from_str_radix(line.trim_end(), 16).unwrap_or_else(|_| panic!("{line:?}"));
    let mut chunk = vec![0; size + 2];
    input.read_exact(&mut chunk).expect("a chunk");
    chunk.truncate(size);
    chunk
}

#[test]
fn a_stream_that_is_given_up_costs_the_others_nothing() {
    let origin = echo();
    let proxy = Proxy::start(&config(&origin.url(), ""), &[]);
    run(async {
        let mut sender = plain(&proxy).await;
        for _ in 0..20 {
            let (response, mut body) = sender.send_request(request("POST", "/gone"), false).expect("a stream");
            send(&mut body, Bytes::from_static(b"half"), false).await;
            body.send_reset(h2::Reason::CANCEL);
            drop(response);
            sender = sender.ready().await.expect("the connection stays");
            let (response, mut body) = sender.send_request(request("POST", "/"), false).expect("a stream");
            send(&mut body, Bytes::from_static(b"whole"), true).await;
            assert_eq!(whole(response.await.expect("a response")).await, (200, b"whole".to_vec()));
            sender = sender.ready().await.expect("the connection stays");
        }
    });
    assert!(origin.seen().iter().all(|request| request.body == b"whole"), "no half of a body passes for a whole one");
}

/// `GOAWAY` tells the client that there is no room for more, and what runs is finished.
#[test]
fn streams_in_flight_outlive_the_beginning_of_a_drain() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |request| {
            gate.pass();
            answer("text/plain", request.target())
        }
    });
    let proxy = Proxy::start(&config(&origin.url(), ""), &[]);
    run(async {
        let (sender, connection) = h2::client::handshake(socket(&proxy, "public").await).await.expect("HTTP/2");
        let connection = tokio::spawn(connection);
        let mut asked = Vec::new();
        let mut sender: SendRequest<Bytes> = sender;
        for n in 0..4 {
            sender = sender.ready().await.expect("room for a stream");
            asked.push((n, sender.send_request(request("GET", &format!("/{n}")), true).expect("a stream").0));
        }
        let stopping = tokio::task::spawn_blocking(move || {
            gate.arrived(4);
            // Until the client has been told, the gate stays closed: the connection has to take the news by itself.
            (gate, std::thread::spawn(move || proxy.drain()))
        });
        let (gate, stopping) = stopping.await.expect("four requests came");
        let refused = loop {
            match sender.ready().await {
                Ok(ready) => sender = ready,
                Err(error) => break error,
            }
            tokio::task::yield_now().await;
        };
        assert!(refused.is_go_away() && refused.reason() == Some(h2::Reason::NO_ERROR), "{refused}");
        gate.open();
        for (n, response) in asked {
            let response = whole(response.await.expect("a response")).await;
            assert_eq!(response, (200, format!("/{n}").into_bytes()));
        }
        connection.await.expect("the connection's task").expect("an orderly end");
        let (cut, log) = tokio::task::spawn_blocking(|| stopping.join().expect("it ends")).await.expect("a thread");
        assert_eq!((cut, log.lines().count()), (0, 4), "{log}");
    });
}
