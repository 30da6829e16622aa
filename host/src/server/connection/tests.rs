//! Raw clients against real sockets. Everything runs on one thread with the clock stopped: it moves only when nobody can
//! go on, and then straight to the next deadline.

mod ending;
mod http1;
mod secure;
mod whole;

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client as h2_client;
use http::{StatusCode, Version};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::Instant;

use super::http2::RESETS;
use super::*;
use crate::error::Audience;
use crate::server::seats::Seat;
use crate::server::socket::Acceptor;
use crate::server::{accept, socket};

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, test)
}

pub(super) fn limits() -> ListenerLimits {
    ListenerLimits {
        connections: std::num::NonZeroUsize::new(10).unwrap(),
        connections_per_client: None,
        head_size: 16 * 1024,
        head_fields: 100,
        head_time: Duration::from_secs(10),
        handshake_time: Duration::from_secs(5),
        body_idle: Duration::from_secs(30),
        body_rate: std::num::NonZeroU32::new(500),
        keep_alive: Duration::from_secs(60),
    }
}

/// A listener that is served by this thread.
struct Served {
    address: SocketAddr,
    drain: Rc<Drain>,
    room: Arc<Semaphore>,
    stop: Option<oneshot::Sender<()>>,
}

impl Served {
    fn new<C, F>(carry: C, certificates: Option<Certificates>) -> Self
    where
        C: Fn(Request<Body>, Rc<Peer>) -> F + 'static,
        F: Future<Output = Response<Body>> + 'static,
    {
        let bound = socket::bind_tcp(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap().pop().unwrap();
        socket2::SockRef::from(&bound).set_tcp_nodelay(true).unwrap();
        let listener = TcpListener::from_std(bound).unwrap();
        let address = listener.local_addr().unwrap();
        let drain = Drain::new();
        let room = Arc::new(Semaphore::new(limits().connections.get()));
        let carry = Rc::new(carry);
        let carry = move |received, peer| {
            let carry = carry.clone();
            async move {
                match received {
                    Received::Request(request, ..) => carry(*request, peer).await,
                    Received::Refused(error) => error.response(&Audience::default(), "").map(Body::from),
                }
            }
        };
        let connections = Rc::new(Connections::new(carry, limits(), certificates, drain.clone()));
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            stopped.await.ok();
        };
        let seat = Seat::all(1).remove(0);
        spawn_local(accept::run(Acceptor::Tcp(listener), connections, seat, room.clone(), Arc::default(), stopped));
        Self { address, drain, room, stop: Some(stop) }
    }

    async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).await.unwrap();
        // While the kernel holds bytes back, nobody can go on, and our clock would jump.
        stream.set_nodelay(true).unwrap();
        stream
    }

    async fn http2(&self) -> h2_client::SendRequest<Bytes> {
        http2(self.connect().await).await
    }
}

async fn http2<T: AsyncRead + AsyncWrite + Unpin + 'static>(stream: T) -> h2_client::SendRequest<Bytes> {
    let (sender, connection) = h2_client::handshake(stream).await.unwrap();
    spawn_local(connection);
    sender.ready().await.unwrap()
}

/// Answers with the method, the path, the body, and what is known about the client.
async fn echo(request: Request<Body>, peer: Rc<Peer>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = match body.limit(8).map(|body| async { body.collect(1024).await }) {
        Ok(body) => body.await,
        Err(error) => Err(error),
    };
    let text = match &body {
        Ok(body) => format!("{} {} {}", head.method, head.uri.path(), String::from_utf8_lossy(body)),
        Err(error) => error.to_string(),
    };
    let mut response = Response::new(Body::from(text.into_bytes()));
    if let Err(error) = body {
        *response.status_mut() = error.of_request().status();
    }
    response.extensions_mut().insert(peer.address);
    response
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// Everything until the connection ends, and whether it ended in good order.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> (String, bool) {
    let mut read = Vec::new();
    let ended = stream.read_to_end(&mut read).await.is_ok();
    (String::from_utf8(read).unwrap(), ended)
}

/// The next response with a length.
async fn response(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(stream.read_u8().await.expect("a response"));
    }
    let head = String::from_utf8(read).unwrap();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |it| it.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    head + &String::from_utf8(body).unwrap()
}

fn body_of(response: &str) -> &str {
    response.split_once("\r\n\r\n").unwrap().1
}

fn status_of(response: &str) -> &str {
    &response["HTTP/1.1 ".len()..][..3]
}

#[test]
fn requests_are_served_one_after_another_also_when_they_come_at_once() {
    run(async {
        let served = Served::new(echo, None);
        let mut client = served.connect().await;
        for path in ["/a", "/b"] {
            write(&mut client, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            assert_eq!(body_of(&response(&mut client).await), format!("GET {path} "));
        }
        write(
            &mut client,
            "POST /c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcPOST /d HTTP/1.1\r\nHost: x\r\n\
             Transfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\nHEAD /e HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
        .await;
        assert_eq!(body_of(&response(&mut client).await), "POST /c abc");
        assert_eq!(body_of(&response(&mut client).await), "POST /d def");
        let (last, ended) = rest(&mut client).await;
        assert!(last.starts_with("HTTP/1.1 200 OK\r\n") && last.ends_with("\r\n\r\n") && ended, "{last}");
    });
}

#[test]
fn http2_is_taken_without_tls_however_its_preface_comes() {
    run(async {
        let versions = Rc::new(RefCell::new(Vec::new()));
        let noted = versions.clone();
        let served = Served::new(
            move |request: Request<Body>, peer: Rc<Peer>| {
                noted.borrow_mut().push((request.version(), peer.protocol, peer.tls));
                echo(request, peer)
            },
            None,
        );
        let ask = async |sender: h2_client::SendRequest<Bytes>| {
            let request = Request::post("http://x/path").body(()).unwrap();
            let (answer, mut body) = sender.ready().await.unwrap().send_request(request, false).unwrap();
            body.send_data(Bytes::from_static(b"abc"), true).unwrap();
            let mut body = answer.await.unwrap().into_body();
            let data = body.data().await.unwrap().unwrap();
            assert_eq!(data, "POST /path abc");
        };
        ask(served.http2().await).await;

        // Byte by byte, with pauses.
        let (ours, theirs) = tokio::io::duplex(1024);
        let mut client = served.connect().await;
        spawn_local(async move {
            let (mut from, mut to) = tokio::io::split(theirs);
            let (mut read, mut write) = client.split();
            let there = async {
                for _ in 0..30 {
                    let byte = from.read_u8().await.unwrap();
                    write.write_all(&[byte]).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                tokio::io::copy(&mut from, &mut write).await
            };
            tokio::join!(there, tokio::io::copy(&mut read, &mut to)).0.ok();
        });
        ask(http2(ours).await).await;
        assert_eq!(*versions.borrow(), [(Version::HTTP_2, Protocol::Http2, false); 2]);

        // What only begins like it is HTTP/1.1.
        let mut client = served.connect().await;
        write(&mut client, "P").await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        write(&mut client, "RINT / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(body_of(&response(&mut client).await), "PRINT / ");
    });
}

#[test]
fn what_is_not_http_gets_an_answer_and_the_end() {
    run(async {
        let served = Served::new(echo, None);
        for (bad, status) in [
            ("GET  / HTTP/1.1\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nA: \0\r\n\r\n", "400"),
            ("GET / HTTP/9.9\r\n\r\n", "505"),
            ("POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello", "400"),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "400"),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "400"),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
        ] {
            let mut client = served.connect().await;
            write(&mut client, &format!("{bad}GET /second HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            let (answer, ended) = rest(&mut client).await;
            assert_eq!((status_of(&answer), ended), (status, true), "{bad:?}");
            assert!(!answer.contains("second"), "{bad:?}");
        }
        for many in [format!("A: {}\r\n", "b".repeat(20_000)), "A: b\r\n".repeat(101)] {
            let mut client = served.connect().await;
            write(&mut client, &format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n")).await;
            assert_eq!(status_of(&rest(&mut client).await.0), "431");
        }
    });
}
