//! Against real sockets, with origins by script. Everything runs on one thread with the clock stopped: it moves only
//! when nobody can go on, and then straight to the next deadline.

mod connections;
mod health;
mod http2;
mod names;
mod retries;
mod strict;
mod time;
mod tls;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, StatusCode, Uri, Version};
use http_body::{Body as _, Frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local, yield_now};

use super::*;
use crate::body::BodyError;
use crate::config::{Connections, Ejection, Member, Retries, UpstreamTimeouts, UpstreamTls};
use crate::connect::dns::Resolver;
use crate::proxy_protocol::Source;

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, test)
}

fn endpoint(address: SocketAddr, tls: bool) -> Endpoint {
    let authority = HeaderValue::from_str(&format!("origin.test:{}", address.port())).unwrap();
    Endpoint { tls, host: address.ip().to_string(), port: address.port(), authority, unix: None }
}

fn member(endpoint: Endpoint, weight: u32, priority: i32) -> Member {
    Member { endpoint, weight: NonZeroU32::new(weight).unwrap(), priority }
}

fn config(endpoints: impl IntoIterator<Item = Endpoint>) -> config::Upstream {
    config::Upstream {
        name: "test".to_owned(),
        services: Vec::new(),
        endpoints: endpoints.into_iter().map(|endpoint| member(endpoint, 1, 0)).collect(),
        balance: Balance::RoundRobin,
        sticky: None,
        slow_start: Duration::ZERO,
        protocol: config::UpstreamProtocol::default(),
        preserve_host: false,
        proxy_protocol: None,
        tls: UpstreamTls::default(),
        resolve: None,
        timeouts: UpstreamTimeouts {
            connect: Duration::from_secs(3),
            tls: Duration::from_secs(5),
            response_header: Duration::from_secs(15),
            idle: Duration::from_secs(20),
            once: None,
            total: Duration::from_secs(60),
        },
        retries: Retries {
            attempts: 0,
            statuses: vec![StatusCode::SERVICE_UNAVAILABLE],
            backoff: Duration::from_millis(25),
            longest_backoff: Duration::from_millis(250),
            longest_wait: Duration::from_secs(2),
            budget: 20,
            least: 3,
            body: 64 << 10,
        },
        health: None,
        ejection: Ejection {
            failures: 5,
            ratio: 0,
            volume: 100,
            window: Duration::from_secs(10),
            time: Duration::from_secs(30),
            longest: Duration::from_secs(300),
            most: 50,
        },
        breaker: None,
        try_all_when_down: false,
        hide_errors: true,
        connections: Connections { idle: 4, ..Connections::default() },
    }
}

fn prepared(config: config::Upstream) -> Arc<Prepared> {
    Arc::new(Prepared::load(config, &Known::default(), &Resolver::default(), None).unwrap())
}

fn upstream(config: config::Upstream) -> Upstream {
    // The sweeper ends with its connector, and only one test needs it.
    with(prepared(config), &Connector::new())
}

fn with(prepared: Arc<Prepared>, connector: &Connector) -> Upstream {
    Upstream::new(prepared, connector, NonZeroUsize::MIN)
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().await.unwrap();
    // While the kernel holds bytes back, nobody can go on, and our clock would jump.
    stream.set_nodelay(true).unwrap();
    stream
}

/// An origin that serves connections one after another, each by a list of answers: it reads a whole head, then writes
/// the answer. When there are no more it closes the connection. Heads go to the channel.
async fn origin<const N: usize>(
    connections: [&'static [&'static str]; N],
) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let (listener, address) = listen().await;
    let (heads, seen) = mpsc::unbounded_channel();
    spawn_local(async move {
        for answers in connections {
            let mut stream = accept(&listener).await;
            for answer in answers {
                heads.send(head(&mut stream).await).ok();
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    (address, seen)
}

async fn head(stream: &mut TcpStream) -> String {
    until(stream, "\r\n\r\n").await
}

async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        match stream.read_u8().await {
            Ok(byte) => read.push(byte),
            Err(_) => return format!("{}<closed>", String::from_utf8(read).unwrap()),
        }
    }
    String::from_utf8(read).unwrap()
}

fn request(method: Method, body: impl Into<Body>) -> Request<Body> {
    Request::builder().method(method).uri("/path?query").body(body.into()).unwrap()
}

fn get() -> Request<Body> {
    request(Method::GET, Body::Empty)
}

async fn send(upstream: &Upstream, request: Request<Body>) -> (Result<Response<Body>, Error>, Record) {
    let mut record = Record::default();
    (upstream.send(&mut Outbound::new(request), &asking(), &mut record).await, record)
}

fn asking() -> Asking {
    Asking { client: IpAddr::V4(Ipv4Addr::LOCALHOST), source: Source::Unknown, secure: false, begun: Instant::now() }
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect(1 << 20).await.unwrap().to_vec()).unwrap()
}

/// A body that a test feeds.
struct Fed(mpsc::UnboundedReceiver<Result<Frame<Bytes>, BodyError>>);

type Feed = mpsc::UnboundedSender<Result<Frame<Bytes>, BodyError>>;

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(context)
    }
}

fn fed() -> (Feed, Body) {
    let (feed, body) = mpsc::unbounded_channel();
    (feed, Body::stream(Fed(body)))
}

fn piece(text: &'static str) -> Result<Frame<Bytes>, BodyError> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn connections_are_reused_and_a_request_goes_out_in_one_form() {
    run(async {
        let (address, mut seen) = origin([&[HELLO, HELLO, HELLO]]).await;
        let upstream = upstream(config([endpoint(address, false)]));
        let (response, record) = send(&upstream, get()).await;
        let response = response.unwrap();
        assert_eq!(
            (response.version(), response.headers()["content-length"].as_bytes()),
            (Version::HTTP_11, &b"5"[..])
        );
        assert!(matches!(response.body(), Body::Full(_)));
        assert_eq!(text(response).await, "hello");
        assert!(!record.reused && record.connect.is_some() && record.head.is_some());
        assert_eq!((record.endpoint, record.asked), (Some(0), 1));
        assert_eq!(
            record.endpoint.and_then(|place| upstream.endpoint(place)),
            Some(&upstream.config().endpoints[0].endpoint)
        );

        let mut other = request(Method::POST, Body::Empty);
        *other.version_mut() = Version::HTTP_2;
        *other.uri_mut() = Uri::from_static("https://user@public.test/a?b");
        other.headers_mut().insert(header::COOKIE, HeaderValue::from_static("a=1; b=2"));
        let (response, record) = send(&upstream, other).await;
        assert_eq!(text(response.unwrap()).await, "hello");
        assert!(record.reused && record.connect.is_none());
        // What a head says of its body counts for nothing.
        let mut lying = request(Method::PUT, "abc");
        lying.headers_mut().insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        lying.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("7"));
        assert_eq!(text(send(&upstream, lying).await.0.unwrap()).await, "hello");

        let port = address.port();
        assert_eq!(seen.recv().await.unwrap(), format!("GET /path?query HTTP/1.1\r\nhost: origin.test:{port}\r\n\r\n"));
        assert_eq!(
            seen.recv().await.unwrap(),
            format!("POST /a?b HTTP/1.1\r\nhost: origin.test:{port}\r\ncookie: a=1; b=2\r\ncontent-length: 0\r\n\r\n")
        );
        let put = seen.recv().await.unwrap();
        assert!(put.contains("\r\ncontent-length: 3\r\n") && !put.contains("transfer-encoding"), "{put}");
    });
}

#[test]
fn the_clients_host_is_kept_on_demand() {
    run(async {
        let (address, mut seen) = origin([&[HELLO]]).await;
        let upstream = upstream(config::Upstream { preserve_host: true, ..config([endpoint(address, false)]) });
        let mut origin = get();
        origin.headers_mut().insert(header::HOST, HeaderValue::from_static("other.test"));
        send(&upstream, origin).await.0.unwrap();
        assert_eq!(seen.recv().await.unwrap(), "GET /path?query HTTP/1.1\r\nhost: other.test\r\n\r\n");
    });
}

#[test]
fn a_body_of_unknown_length_is_chunked_whatever_the_method() {
    run(async {
        let (listener, address) = listen().await;
        let upstream = upstream(config([endpoint(address, false)]));
        let (feed, body) = fed();
        let answer = spawn_local(async move { send(&upstream, request(Method::GET, body)).await.0.map(drop) });
        let mut stream = accept(&listener).await;
        feed.send(piece("he")).unwrap();
        assert!(head(&mut stream).await.contains("transfer-encoding: chunked\r\n"));
        assert_eq!(until(&mut stream, "he\r\n").await, "2\r\nhe\r\n");
        feed.send(piece("llo")).unwrap();
        drop(feed);
        assert_eq!(until(&mut stream, "0\r\n\r\n").await, "3\r\nllo\r\n0\r\n\r\n");
        stream.write_all(HELLO.as_bytes()).await.unwrap();
        answer.await.unwrap().unwrap();
    });
}

#[test]
fn a_reused_connection_that_dies_costs_an_idempotent_request_nothing() {
    run(async {
        // The first connection is closed when the second request is there.
        let script: [&[&str]; 3] = [&[HELLO, ""], &[HELLO, ""], &[HELLO]];
        let (address, mut seen) = origin(script).await;
        let upstream = upstream(config([endpoint(address, false)]));
        send(&upstream, get()).await.0.unwrap();
        let (response, record) = send(&upstream, request(Method::PUT, "abc")).await;
        assert_eq!(text(response.unwrap()).await, "hello");
        assert!(record.repeated && !record.reused && record.asked == 1);
        let seen: Vec<_> = [seen.recv().await, seen.recv().await, seen.recv().await].into();
        assert_eq!(seen[1], seen[2]);

        // What is not idempotent may have had its effect.
        let (response, record) = send(&upstream, request(Method::POST, "abc")).await;
        assert_eq!(*response.unwrap_err().reason(), Reason::UpstreamReset);
        assert!(!record.repeated);
    });
}

#[test]
fn a_new_connection_that_dies_is_not_tried_again() {
    run(async {
        let (address, _seen) = origin([&[""], &[HELLO]]).await;
        let (response, record) = send(&upstream(config([endpoint(address, false)])), get()).await;
        assert_eq!(*response.unwrap_err().reason(), Reason::UpstreamReset);
        assert!(!record.repeated);
    });
}

#[test]
fn a_connection_closed_while_idle_is_not_used() {
    run(async {
        let (listener, address) = listen().await;
        let upstream = Rc::new(upstream(config([endpoint(address, false)])));
        for method in [Method::GET, Method::POST] {
            let task = spawn_local({
                let upstream = upstream.clone();
                async move { send(&upstream, request(method, Body::Empty)).await }
            });
            let mut stream = accept(&listener).await;
            head(&mut stream).await;
            stream.write_all(HELLO.as_bytes()).await.unwrap();
            let (response, record) = task.await.unwrap();
            assert_eq!(text(response.unwrap()).await, "hello");
            assert!(!record.reused && !record.repeated);
            assert_eq!(upstream.peers[0].target.idle(), 1);
            drop(stream);
            // Lets the runtime look at its sockets.
            sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn trailers_pass_and_the_connection_is_given_back_at_the_end() {
    run(async {
        let (listener, address) = listen().await;
        let upstream = Rc::new(upstream(config([endpoint(address, false)])));
        let task = spawn_local({
            let upstream = upstream.clone();
            async move { send(&upstream, get()).await.0.unwrap() }
        });
        let mut stream = accept(&listener).await;
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        let mut body = task.await.unwrap().into_body();
        assert_eq!(upstream.peers[0].target.idle(), 0);
        stream.write_all(b"5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n").await.unwrap();
        let mut frame = async || std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        assert_eq!(frame().await.unwrap().unwrap().into_data().unwrap(), "hello");
        let trailers = frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers, HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("1"))]));
        assert_eq!(upstream.peers[0].target.idle(), 1);
    });
}

#[test]
fn a_dropped_body_closes_its_connection() {
    run(async {
        let (listener, address) = listen().await;
        let upstream = upstream(config([endpoint(address, false)]));
        let task = spawn_local(async move { send(&upstream, get()).await.0.unwrap() });
        let mut stream = accept(&listener).await;
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhello").await.unwrap();
        drop(task.await.unwrap());
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
    });
}

#[test]
fn a_response_that_begins_early_and_its_request_do_not_wait_for_each_other() {
    run(async {
        let (listener, address) = listen().await;
        let (feed, body) = fed();
        let task = spawn_local(async move {
            let upstream = upstream(config([endpoint(address, false)]));
            send(&upstream, request(Method::POST, body)).await.0.unwrap()
        });
        let mut stream = accept(&listener).await;
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await.unwrap();
        let response = task.await.unwrap();
        // Nobody reads the response, and the request goes on.
        feed.send(piece("abc")).unwrap();
        assert_eq!(until(&mut stream, "abc\r\n").await, "3\r\nabc\r\n");
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        assert_eq!(text(response).await, "hello");
        // The response is over, so nobody wants the rest of the request.
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
        while feed.send(piece("abc")).is_ok() {
            yield_now().await;
        }
    });
}

#[test]
fn a_request_body_that_fails_is_the_clients_fault() {
    run(async {
        for (error, reason) in [
            (BodyError::TooLarge, Reason::BodyTooLarge),
            (BodyError::Idle, Reason::BodyTimeout),
            (BodyError::Slow, Reason::BodyTimeout),
            (BodyError::Broken("cut".into()), Reason::BadBody),
        ] {
            let (listener, address) = listen().await;
            let (feed, body) = fed();
            feed.send(piece("abc")).unwrap();
            feed.send(Err(error)).unwrap();
            let origin = spawn_local(async move { until(&mut accept(&listener).await, "never").await });
            let outcome = send(&upstream(config([endpoint(address, false)])), request(Method::POST, body)).await.0;
            assert_eq!(*outcome.unwrap_err().reason(), reason);
            let seen = origin.await.unwrap();
            assert!(seen.ends_with("<closed>") && !seen.contains("\r\n0\r\n"), "{seen}");
        }
    });
}

#[test]
fn an_endpoint_that_refuses_gives_the_request_to_the_next() {
    run(async {
        let (gone, nobody) = listen().await;
        drop(gone);
        let (address, _seen) = origin([&[HELLO, HELLO, HELLO]]).await;
        let both = upstream(config([endpoint(nobody, false), endpoint(address, false)]));
        for asked in [2, 1, 2] {
            let (response, record) = send(&both, request(Method::POST, "abc")).await;
            assert_eq!(text(response.unwrap()).await, "hello");
            assert_eq!((record.endpoint, record.asked), (Some(1), asked));
        }
        let (response, record) =
            send(&upstream(config([endpoint(nobody, false), endpoint(nobody, false)])), get()).await;
        let error = response.unwrap_err();
        assert_eq!((error.reason(), record.asked), (&Reason::UpstreamConnect, 2));
        assert!(error.detail().contains(&nobody.to_string()), "{error}");
    });
}

#[test]
fn names_are_resolved_and_those_that_do_not_exist_are_said() {
    run(async {
        let (address, _seen) = origin([&[HELLO]]).await;
        let named = Endpoint { host: "localhost".to_owned(), ..endpoint(address, false) };
        assert_eq!(text(send(&upstream(config([named])), get()).await.0.unwrap()).await, "hello");
        let unknown = Endpoint { host: "no-such-host.invalid".to_owned(), ..endpoint(address, false) };
        let slow = UpstreamTimeouts {
            connect: Duration::from_secs(9999),
            total: Duration::from_secs(9999),
            ..config([]).timeouts
        };
        let unknown = config::Upstream { timeouts: slow, ..config([unknown]) };
        assert_eq!(*send(&upstream(unknown), get()).await.0.unwrap_err().reason(), Reason::UpstreamResolve);
    });
}

#[test]
fn an_answer_to_half_a_request_is_an_answer() {
    run(async {
        let (listener, address) = listen().await;
        let task = spawn_local(async move {
            let large = request(Method::POST, Bytes::from(vec![0; 32 << 20]));
            send(&upstream(config([endpoint(address, false)])), large).await.0
        });
        let mut stream = accept(&listener).await;
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
        // Closed with the rest of the request unread, which resets the connection.
        let response = task.await.unwrap().unwrap();
        drop(stream);
        assert_eq!((response.status().as_u16(), text(response).await), (413, "no".to_owned()));
    });
}

#[test]
fn a_long_body_passes_both_ways() {
    run(async {
        let long = Bytes::from((0..1_000_000u32).flat_map(u32::to_be_bytes).collect::<Vec<u8>>());
        let (listener, address) = listen().await;
        let sent = long.clone();
        let task = spawn_local(async move {
            let upstream = upstream(config([endpoint(address, false)]));
            let mut bodies = Vec::new();
            for _ in 0..2 {
                let response = send(&upstream, request(Method::POST, sent.clone())).await.0.unwrap();
                bodies.push(response.into_body().collect(usize::MAX).await.unwrap());
            }
            bodies
        });
        let mut stream = accept(&listener).await;
        for chunked in [false, true] {
            head(&mut stream).await;
            let mut body = vec![0; long.len()];
            stream.read_exact(&mut body).await.unwrap();
            assert!(body == long);
            if chunked {
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
                for chunk in body.chunks(70_001) {
                    stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await.unwrap();
                    stream.write_all(chunk).await.unwrap();
                    stream.write_all(b"\r\n").await.unwrap();
                }
                stream.write_all(b"0\r\n\r\n").await.unwrap();
            } else {
                stream
                    .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes())
                    .await
                    .unwrap();
                stream.write_all(&body).await.unwrap();
            }
        }
        assert!(task.await.unwrap().iter().all(|body| *body == long));
    });
}

#[test]
fn a_request_that_breaks_off_takes_the_answer_that_has_begun_with_it() {
    run(async {
        let (listener, address) = listen().await;
        let (feed, body) = fed();
        let task = spawn_local(async move {
            let upstream = upstream(config([endpoint(address, false)]));
            send(&upstream, request(Method::POST, body)).await.0.unwrap()
        });
        let mut stream = accept(&listener).await;
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello").await.unwrap();
        let reading = spawn_local(task.await.unwrap().into_body().collect(99));
        feed.send(piece("abc")).unwrap();
        until(&mut stream, "abc\r\n").await;
        feed.send(Err(BodyError::Idle)).unwrap();
        assert!(matches!(reading.await.unwrap(), Err(BodyError::Broken(_))));
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
    });
}

#[test]
fn trailers_of_a_request_go_to_those_who_read_them() {
    run(async {
        for takes in [true, false] {
            let (listener, address) = listen().await;
            let (feed, body) = fed();
            let mut post = request(Method::POST, body);
            if takes {
                post.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
            }
            spawn_local(async move { send(&upstream(config([endpoint(address, false)])), post).await.0.map(drop) });
            let mut stream = accept(&listener).await;
            feed.send(piece("abc")).unwrap();
            let fields = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("1"))]);
            feed.send(Ok(Frame::trailers(fields))).unwrap();
            head(&mut stream).await;
            let rest = if takes { "0\r\nx-sum: 1\r\n\r\n" } else { "0\r\n\r\n" };
            assert_eq!(until(&mut stream, rest).await, format!("3\r\nabc\r\n{rest}"));
        }
    });
}
