//! Raw clients against real sockets. Everything runs on one thread with the clock stopped: it moves only when nobody can
//! go on, and then straight to the next deadline.

use std::cell::RefCell;
use std::fs;

use h2::client as h2_client;
use http::{Method, StatusCode, Version};
use http_body::Frame;
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsConnector;

use super::*;
use crate::body::BodyError;
use crate::config::Certificate;
use crate::server::{accept, tls};

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, test)
}

fn limits() -> ListenerLimits {
    ListenerLimits {
        connections: std::num::NonZeroUsize::new(10).unwrap(),
        head_size: 16 * 1024,
        head_fields: 100,
        head_time: Duration::from_secs(10),
        handshake_time: Duration::from_secs(5),
        body_idle: Duration::from_secs(30),
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
        let bound = accept::bind(SocketAddr::from(([127, 0, 0, 1], 0)), 1)
            .unwrap()
            .pop()
            .unwrap();
        let listener = TcpListener::from_std(bound).unwrap();
        let address = listener.local_addr().unwrap();
        let drain = Drain::new();
        let room = Arc::new(Semaphore::new(limits().connections.get()));
        let connections = Rc::new(Connections::new(carry, limits(), certificates, drain.clone()));
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            stopped.await.ok();
        };
        spawn_local(accept::run(listener, connections, room.clone(), stopped));
        Self {
            address,
            drain,
            room,
            stop: Some(stop),
        }
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
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |it| it.parse().unwrap());
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

/// A response body that a test feeds.
struct Fed(mpsc::UnboundedReceiver<Result<Bytes, BodyError>>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0
            .poll_recv(context)
            .map(|next| next.map(|piece| piece.map(Frame::data)))
    }
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
        assert!(
            last.starts_with("HTTP/1.1 200 OK\r\n") && last.ends_with("\r\n\r\n") && ended,
            "{last}"
        );
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
fn a_head_that_is_late_gets_408() {
    run(async {
        let served = Served::new(echo, None);
        let begun = Instant::now();
        let mut first = served.connect().await;
        write(&mut first, "GET / HTTP/1.1\r\nHost: x\r\n").await;
        let (answer, ended) = rest(&mut first).await;
        assert!(
            status_of(&answer) == "408" && answer.contains("\r\nconnection: close\r\n") && ended,
            "{answer}"
        );
        assert!(body_of(&answer).contains("head-timeout"));
        assert_eq!(begun.elapsed().as_secs(), 10);

        // The second head on a connection has as long from its own first byte.
        let mut second = served.connect().await;
        write(&mut second, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        response(&mut second).await;
        tokio::time::sleep(Duration::from_secs(50)).await;
        let begun = Instant::now();
        for byte in "GET / HTTP/1.1\r\n".bytes() {
            if second.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let (answer, _) = rest(&mut second).await;
        assert_eq!(status_of(&answer), "408");
        assert!(begun.elapsed().as_secs() <= 17);
    });
}

#[test]
fn a_connection_without_requests_is_closed() {
    run(async {
        let served = Served::new(echo, None);
        let begun = Instant::now();
        let mut silent = served.connect().await;
        assert_eq!(rest(&mut silent).await, (String::new(), true));
        assert_eq!(begun.elapsed().as_secs(), 60);

        let mut used = served.connect().await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        write(&mut used, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        response(&mut used).await;
        let begun = Instant::now();
        assert_eq!(rest(&mut used).await, (String::new(), true));
        assert_eq!(begun.elapsed().as_secs(), 60);

        let begun = Instant::now();
        let (sender, connection) = h2_client::handshake(served.connect().await).await.unwrap();
        let connection = spawn_local(connection);
        let mut sender = sender.ready().await.unwrap();
        sender
            .send_request(Request::get("http://x/").body(()).unwrap(), true)
            .unwrap()
            .0
            .await
            .unwrap();
        connection.await.unwrap().unwrap();
        assert_eq!(begun.elapsed().as_secs(), 60);
    });
}

#[test]
fn a_body_that_is_late_or_too_long_is_refused_and_the_client_can_read_why() {
    run(async {
        let served = Served::new(echo, None);
        let begun = Instant::now();
        let mut client = served.connect().await;
        write(&mut client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab").await;
        let (answer, ended) = rest(&mut client).await;
        assert!(status_of(&answer) == "408" && ended, "{answer}");
        assert!((30..=32).contains(&begun.elapsed().as_secs()));

        let mut client = served.connect().await;
        write(
            &mut client,
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123456789",
        )
        .await;
        assert_eq!(status_of(&response(&mut client).await), "413");

        // It is refused at the ninth byte; the client goes on, and reads the answer all the same.
        let mut client = served.connect().await;
        write(
            &mut client,
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n",
        )
        .await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        for _ in 0..10 {
            client.write_all(&[b'x'; 4096]).await.unwrap();
        }
        client.shutdown().await.unwrap();
        let (answer, ended) = rest(&mut client).await;
        assert!(status_of(&answer) == "413" && ended, "{answer}");
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
            ("GET / HTTP/9.9\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello", "400"),
            (
                "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
                "400",
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
                "400",
            ),
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

#[test]
fn a_broken_response_never_looks_whole() {
    run(async {
        let (feeds, mut feed) = mpsc::unbounded_channel();
        let served = Served::new(
            move |_, _| {
                let (feed, body) = mpsc::unbounded_channel();
                feed.send(Ok(Bytes::from_static(b"half"))).unwrap();
                feeds.send(feed).unwrap();
                std::future::ready(Response::new(Body::stream(Fed(body))))
            },
            None,
        );
        for version in ["1.1", "1.0"] {
            let mut client = served.connect().await;
            write(&mut client, &format!("GET / HTTP/{version}\r\nHost: x\r\n\r\n")).await;
            let mut begin = [0; 15];
            client.read_exact(&mut begin).await.unwrap();
            assert_eq!(begin[8..], *b" 200 OK");
            feed.recv().await.unwrap().send(Err(BodyError::Idle)).unwrap();
            let (answer, ended) = rest(&mut client).await;
            assert!(!answer.contains("\r\n0\r\n"), "{answer}");
            // Where only the end of the connection says that the body is over, that must not come in good order.
            assert_eq!(ended, version == "1.1");
            assert_eq!(answer.contains("transfer-encoding: chunked"), version == "1.1");
        }
        let mut sender = served.http2().await;
        let (answer, _) = sender
            .send_request(Request::get("http://x/").body(()).unwrap(), true)
            .unwrap();
        let mut body = answer.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "half");
        feed.recv().await.unwrap().send(Err(BodyError::Idle)).unwrap();
        let error = body.data().await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
    });
}

#[test]
fn half_a_request_is_never_whole() {
    run(async {
        let (ends, mut ended) = mpsc::unbounded_channel();
        let served = Served::new(
            move |request: Request<Body>, _| {
                let ends = ends.clone();
                // It goes on when the client has gone.
                let reading = spawn_local(async move {
                    ends.send(None).unwrap();
                    ends.send(Some(request.into_body().collect(99).await)).unwrap();
                });
                async move {
                    reading.await.unwrap();
                    Response::new(Body::Empty)
                }
            },
            None,
        );
        for reason in [h2::Reason::NO_ERROR, h2::Reason::CANCEL] {
            let mut sender = served.http2().await;
            let (_answer, mut body) = sender
                .send_request(Request::post("http://x/").body(()).unwrap(), false)
                .unwrap();
            body.send_data(Bytes::from_static(b"half"), false).unwrap();
            assert!(ended.recv().await.unwrap().is_none());
            body.send_reset(reason);
            let end = ended.recv().await.unwrap().unwrap();
            assert!(matches!(end, Err(BodyError::Broken(_))), "{reason:?}: {end:?}");
        }
        for half in [
            "Content-Length: 9\r\n\r\nhalf",
            "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        ] {
            let mut client = served.connect().await;
            write(&mut client, &format!("POST / HTTP/1.1\r\nHost: x\r\n{half}")).await;
            assert!(ended.recv().await.unwrap().is_none());
            client.shutdown().await.unwrap();
            let end = ended.recv().await.unwrap().unwrap();
            assert!(matches!(end, Err(BodyError::Broken(_))), "{half:?}: {end:?}");
        }
    });
}

#[test]
fn a_client_that_leaves_ends_its_request() {
    struct Ends(mpsc::UnboundedSender<&'static str>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.send("ended").ok();
        }
    }
    run(async {
        let (events, mut seen) = mpsc::unbounded_channel();
        let served = Served::new(
            move |_, _| {
                events.send("begun").unwrap();
                let ends = Ends(events.clone());
                async move {
                    let _ends = ends;
                    std::future::pending().await
                }
            },
            None,
        );
        let mut client = served.connect().await;
        write(&mut client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(seen.recv().await, Some("begun"));
        drop(client);
        assert_eq!(seen.recv().await, Some("ended"));

        let mut sender = served.http2().await;
        let (answer, mut stream) = sender
            .send_request(Request::get("http://x/").body(()).unwrap(), true)
            .unwrap();
        assert_eq!(seen.recv().await, Some("begun"));
        stream.send_reset(h2::Reason::CANCEL);
        drop((answer, stream));
        assert_eq!(seen.recv().await, Some("ended"));
    });
}

#[test]
fn a_client_that_resets_all_its_requests_loses_its_connection() {
    run(async {
        let (begin, mut begun) = mpsc::unbounded_channel();
        let served = Served::new(
            move |_, _| {
                begin.send(()).unwrap();
                std::future::pending()
            },
            None,
        );
        let (sender, connection) = h2_client::handshake(served.connect().await).await.unwrap();
        let mut connection = spawn_local(connection);
        let mut started = 0;
        let mut sender = Some(sender);
        while let Ok(mut ready) = sender.take().unwrap().ready().await {
            let request = Request::get("http://x/").body(()).unwrap();
            let Ok((_, mut stream)) = ready.send_request(request, true) else {
                break;
            };
            // Not before we are at it, which is what the limits of `h2` do not see.
            tokio::select! {
                Some(()) = begun.recv() => started += 1,
                _ = &mut connection => break,
            }
            stream.send_reset(h2::Reason::CANCEL);
            sender = Some(ready);
        }
        assert!((RESETS..RESETS + 10).contains(&started), "{started} requests");
        assert_eq!(served.drain.open(), 0);
    });
}

#[test]
fn a_client_that_does_not_read_is_cut() {
    run(async {
        let served = Served::new(
            async |_: Request<Body>, _: Rc<Peer>| Response::new(Body::from(vec![b'x'; 64 << 20])),
            None,
        );
        let mut client = served.connect().await;
        write(&mut client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        tokio::time::sleep(Duration::from_secs(65)).await;
        assert_eq!(served.drain.open(), 0);
        assert!(!rest(&mut client).await.1);
    });
}

#[test]
fn a_length_is_true_whatever_the_head_said() {
    run(async {
        let served = Served::new(
            async |request: Request<Body>, _: Rc<Peer>| {
                let empty = request.method() == Method::HEAD;
                let body = if empty { Body::Empty } else { Body::from("hello") };
                Response::builder().header("content-length", "3").body(body).unwrap()
            },
            None,
        );
        let mut client = served.connect().await;
        write(&mut client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let answer = response(&mut client).await;
        assert!(
            answer.contains("\r\ncontent-length: 5\r\n") && body_of(&answer) == "hello",
            "{answer}"
        );
        write(&mut client, "HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(rest(&mut client).await.0.contains("\r\ncontent-length: 3\r\n"));
    });
}

#[test]
fn a_drain_lets_requests_finish_and_cuts_what_does_not() {
    run(async {
        let (feed, fed) = mpsc::unbounded_channel::<oneshot::Sender<()>>();
        let served = Served::new(
            move |request: Request<Body>, _: Rc<Peer>| {
                let feed = feed.clone();
                async move {
                    if request.uri().path() == "/slow" {
                        let (go, gone) = oneshot::channel();
                        feed.send(go).unwrap();
                        gone.await.ok();
                    }
                    Response::new(Body::from("done"))
                }
            },
            None,
        );
        let mut fed = fed;
        let mut idle = served.connect().await;
        write(&mut idle, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        response(&mut idle).await;
        let mut fresh = served.connect().await;
        let mut busy = served.connect().await;
        write(&mut busy, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let go = fed.recv().await.unwrap();
        let mut sender = served.http2().await;
        let (answer, _) = sender
            .send_request(Request::get("http://x/slow").body(()).unwrap(), true)
            .unwrap();
        let go2 = fed.recv().await.unwrap();
        let mut stuck = served.connect().await;
        write(&mut stuck, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let _never = fed.recv().await.unwrap();
        assert_eq!(served.drain.open(), 5);

        let drain = served.drain.clone();
        let begun = Instant::now();
        let drained = spawn_local(async move { drain.finish(Duration::from_secs(30)).await });
        assert_eq!(rest(&mut idle).await, (String::new(), true));
        assert_eq!(rest(&mut fresh).await, (String::new(), true));
        go.send(()).unwrap();
        let (last, ended) = rest(&mut busy).await;
        assert!(
            last.contains("\r\nconnection: close\r\n") && last.ends_with("done") && ended,
            "{last}"
        );
        go2.send(()).unwrap();
        assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
        let refused = async {
            sender
                .ready()
                .await?
                .send_request(Request::get("http://x/").body(()).unwrap(), true)?
                .0
                .await
        };
        assert!(refused.await.is_err());
        assert!(!rest(&mut stuck).await.1);
        assert_eq!((drained.await.unwrap(), begun.elapsed().as_secs()), (1, 30));
    });
}

#[test]
fn there_are_never_more_connections_than_room() {
    run(async {
        let mut served = Served::new(echo, None);
        let kept = served.room.clone().acquire_many_owned(9).await.unwrap();
        let mut first = served.connect().await;
        write(&mut first, "GET /first HTTP/1.1\r\nHost: x\r\n\r\n").await;
        response(&mut first).await;
        let mut second = served.connect().await;
        write(&mut second, "GET /second HTTP/1.1\r\nHost: x\r\n\r\n").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!((served.drain.open(), served.room.available_permits()), (1, 0));
        drop(first);
        assert_eq!(body_of(&response(&mut second).await), "GET /second ");
        drop((second, kept));

        served.stop.take().unwrap().send(()).unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(TcpStream::connect(served.address).await.is_err());
    });
}

struct Tls {
    certificates: watch::Sender<Arc<ServerConfig>>,
    roots: RootCertStore,
    directory: tempfile::TempDir,
}

impl Tls {
    fn new(names: &[&str]) -> Self {
        let directory = tempfile::TempDir::new().unwrap();
        let (config, roots) = made(&directory, names);
        Self {
            certificates: watch::Sender::new(config),
            roots,
            directory,
        }
    }

    /// A handshake, and the certificate that the listener showed.
    async fn connect(
        &self,
        served: &Served,
        name: &str,
        protocols: &[&[u8]],
    ) -> std::io::Result<(tokio_rustls::client::TlsStream<TcpStream>, CertificateDer<'static>)> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, served.connect().await)
            .await?;
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        Ok((stream, shown))
    }
}

fn made(directory: &tempfile::TempDir, names: &[&str]) -> (Arc<ServerConfig>, RootCertStore) {
    let mut roots = RootCertStore::empty();
    let mut files = Vec::new();
    for name in names {
        let made = rcgen::generate_simple_self_signed([(*name).to_owned()]).unwrap();
        let file = |kind: &str, text: String| {
            let path = directory.path().join(format!("{name}-{kind}.pem"));
            fs::write(&path, text).unwrap();
            path
        };
        files.push(Certificate {
            certificate: file("certificate", made.cert.pem()),
            key: file("key", made.signing_key.serialize_pem()),
        });
        roots.add(made.cert.der().clone()).unwrap();
    }
    (tls::load(&files).unwrap(), roots)
}

#[test]
fn tls_chooses_certificates_by_name_and_protocols_by_offer() {
    run(async {
        let mut tls = Tls::new(&["a.test", "b.test"]);
        let peers = Rc::new(RefCell::new(Vec::new()));
        let noted = peers.clone();
        let served = Served::new(
            move |request: Request<Body>, peer: Rc<Peer>| {
                noted.borrow_mut().push((peer.protocol, peer.server_name.clone()));
                assert!(peer.tls);
                echo(request, peer)
            },
            Some(tls.certificates.subscribe()),
        );
        let (mut client, _) = tls.connect(&served, "b.test", &[b"http/1.1"]).await.unwrap();
        write(&mut client, "GET /tls HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        let (answer, ended) = rest(&mut client).await;
        assert!(
            body_of(&answer) == "GET /tls " && ended,
            "close_notify is missing after {answer}"
        );

        let (client, shown) = tls.connect(&served, "a.test", &[b"h2", b"http/1.1"]).await.unwrap();
        let mut sender = http2(client).await;
        let (answer, _) = sender
            .send_request(Request::get("https://x/").body(()).unwrap(), true)
            .unwrap();
        assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
        let names = [
            (Protocol::Http1, Some("b.test".into())),
            (Protocol::Http2, Some("a.test".into())),
        ];
        assert_eq!(*peers.borrow(), names);

        // A client that offers neither is refused, and one for a name that nobody has sees the first certificate.
        assert!(tls.connect(&served, "a.test", &[b"spdy"]).await.is_err());
        assert!(tls.connect(&served, "c.test", &[b"http/1.1"]).await.is_err());

        // The next handshake has what was swapped in, and open connections go on.
        let (config, roots) = made(&tls.directory, &["a.test"]);
        tls.certificates.send_replace(config);
        tls.roots = roots;
        let (_, after) = tls.connect(&served, "a.test", &[b"http/1.1"]).await.unwrap();
        assert_ne!(after, shown);
        let again = sender
            .ready()
            .await
            .unwrap()
            .send_request(Request::get("https://x/").body(()).unwrap(), true);
        assert_eq!(again.unwrap().0.await.unwrap().status(), StatusCode::OK);
    });
}

#[test]
fn a_handshake_has_its_time_and_its_kind() {
    run(async {
        let tls = Tls::new(&["a.test"]);
        let served = Served::new(echo, Some(tls.certificates.subscribe()));
        let begun = Instant::now();
        let mut silent = served.connect().await;
        rest(&mut silent).await;
        assert_eq!(begun.elapsed().as_secs(), 5);
        let mut plain = served.connect().await;
        write(&mut plain, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"));
        assert_eq!(served.drain.open(), 0);

        let plain = Served::new(echo, None);
        let mut secure = plain.connect().await;
        secure
            .write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello hello\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(status_of(&rest(&mut secure).await.0), "400");
    });
}
