//! Upgrades to servers that speak HTTP/2: an extended CONNECT on one stream of a connection (RFC 8441).

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use bytes::Bytes;
use h2::Reason;
use h2::ext::Protocol;
use http::{Method, Request, Response, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::harness::backend::{Asked, Backend, run, send};
use crate::harness::{Client, Identity, PATIENCE, Proxy};

/// The example of RFC 6455.
const KEY: &str = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn config(backend: &Backend) -> String {
    backend.config() + "upgrade = [\"websocket\"]\n"
}

fn ask(client: &mut Client, behind: &str) {
    client.send(format!(
        "GET /ws?a=b HTTP/1.1\r\nhost: api.test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-protocol: chat\r\n{KEY}\r\n{behind}"
    ));
}

fn extended() -> Request<()> {
    let request = Request::connect("http://api.test/ws?a=b").header("sec-websocket-version", "13");
    request
        .header("sec-websocket-protocol", "chat")
        .extension(Protocol::from_static("websocket"))
        .body(())
        .expect("a request")
}

/// Agrees, says everything back, and bye at the end. Tells how each tunnel ended.
async fn echo(asked: Asked, told: Sender<Result<(), h2::Error>>) {
    let Asked { request, mut respond, .. } = asked;
    assert_eq!(
        (request.method(), request.uri().path_and_query().expect("a path").as_str()),
        (&Method::CONNECT, "/ws?a=b")
    );
    assert_eq!(request.extensions().get::<Protocol>().expect("a protocol").as_str(), "websocket");
    let headers = request.headers();
    assert_eq!(headers["sec-websocket-version"], "13");
    assert_eq!(headers["sec-websocket-protocol"], "chat");
    for gone in ["upgrade", "connection", "sec-websocket-key"] {
        assert!(!headers.contains_key(gone), "{headers:?}");
    }
    let response = Response::builder().header("sec-websocket-protocol", "chat").body(()).expect("a head");
    let mut stream = respond.send_response(response, false).expect("an open stream");
    let mut body = request.into_body();
    let mut end = Ok(());
    while let Some(bytes) = body.data().await {
        match bytes {
            Ok(bytes) => {
                body.flow_control().release_capacity(bytes.len()).expect("a window");
                send(&mut stream, bytes, false).await;
            }
            Err(error) => {
                end = Err(error);
                break;
            }
        }
    }
    if end.is_ok() {
        stream.send_data(Bytes::from_static(b"bye"), true).expect("an open stream");
    }
    let _ = told.send(end);
}

fn echoing() -> (Backend, Receiver<Result<(), h2::Error>>) {
    let (told, ends) = channel();
    (Backend::tunnels(move |asked| echo(asked, told.clone())), ends)
}

fn ended(ends: &Receiver<Result<(), h2::Error>>) -> Result<(), h2::Error> {
    ends.recv_timeout(PATIENCE).expect("an end in time")
}

#[test]
fn a_client_of_http1_gets_a_whole_handshake() {
    let (backend, ends) = echoing();
    let proxy = Proxy::start(&config(&backend), &[]);
    for _ in 0..3 {
        let mut client = proxy.client();
        ask(&mut client, "early ");
        let answer = client.response();
        let field = |name: &str| answer.header(name);
        assert_eq!((answer.status(), field("upgrade"), field("connection")), (101, Some("websocket"), Some("upgrade")));
        assert_eq!((field("sec-websocket-accept"), field("sec-websocket-protocol")), (Some(ACCEPT), Some("chat")));
        assert_eq!(client.take(6), "early ");
        for text in ["ping", "pong"] {
            client.send(text);
            assert_eq!(client.take(4), text);
        }
        client.end();
        assert_eq!(client.rest(), "bye");
        ended(&ends).expect("an orderly end");
    }
    assert!(backend.connections.load(SeqCst) <= 2, "tunnels share connections");
    let lines = proxy.stop();
    let whole = lines.lines().filter(|line| line.contains("\"status\":101") && line.contains("\"reason\":\"ok\""));
    assert_eq!(whole.count(), 3, "{lines}");
    assert!(lines.contains("\"bytes_in\":14") && lines.contains("\"bytes_out\":17"), "{lines}");
}

#[test]
fn a_client_of_http2_has_http2_on_the_whole_way() {
    let (backend, ends) = echoing();
    let proxy = Proxy::start(&config(&backend), &[]);
    run(&proxy, async |mut client| {
        let (response, mut stream) = client.send_request(extended(), false).expect("it is sent");
        let response = response.await.expect("a head");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
        assert!(
            !response.headers().contains_key("sec-websocket-accept") && !response.headers().contains_key("upgrade")
        );
        let mut body = response.into_body();
        for text in ["ping", "pong"] {
            stream.send_data(Bytes::from_static(text.as_bytes()), false).expect("an open stream");
            assert_eq!(body.data().await.expect("bytes").expect("bytes"), text);
        }
        stream.send_data(Bytes::new(), true).expect("an open stream");
        assert_eq!(body.data().await.expect("bytes").expect("bytes"), "bye");
        while let Some(rest) = body.data().await {
            assert_eq!(rest.expect("an end, and no reset"), "");
        }
    });
    ended(&ends).expect("an orderly end");
}

#[test]
fn a_client_that_breaks_off_breaks_off_there() {
    let (backend, ends) = echoing();
    let proxy = Proxy::start(&config(&backend), &[]);
    run(&proxy, async |mut client| {
        let (response, mut stream) = client.send_request(extended(), false).expect("it is sent");
        let mut body = response.await.expect("a head").into_body();
        stream.send_data(Bytes::from_static(b"ping"), false).expect("an open stream");
        assert_eq!(body.data().await.expect("bytes").expect("bytes"), "ping");
        stream.send_reset(Reason::CANCEL);
        // While this connection is open, so that it is the stream alone.
        let end = tokio::task::spawn_blocking(move || ended(&ends)).await.expect("no panic");
        assert_eq!(end.expect_err("no orderly end").reason(), Some(Reason::CANCEL));
    });
}

/// The upstream hears nothing of what a client says before it agreed.
#[test]
fn nothing_goes_on_without_an_agreement() {
    for (status, seen) in [(403, 403), (301, 301), (500, 500)] {
        let (told, heard) = channel();
        let backend = Backend::tunnels(move |mut asked| {
            let told = told.clone();
            async move {
                let response = Response::builder().status(status).body(()).expect("a head");
                let mut stream = asked.respond.send_response(response, false).expect("an open stream");
                send(&mut stream, Bytes::from_static(b"no"), true).await;
                let first = asked.request.into_body().data().await;
                let _ = told.send(first.and_then(Result::ok).map(|bytes| bytes.len()));
            }
        });
        let proxy = Proxy::start(&config(&backend), &[]);
        let mut client = proxy.client();
        ask(&mut client, "GET /ws HTTP/1.0\r\nhost: api.test\r\nx-second: yes\r\nbad header\r\n\r\n");
        assert_eq!(client.response().status(), seen);
        // It was the next request.
        assert_eq!(client.response().status(), 400);
        assert_eq!(heard.recv_timeout(PATIENCE).expect("an end in time"), None, "{status}");
    }
}

#[test]
fn silence_ends_it_and_a_reload_does_not() {
    let (backend, ends) = echoing();
    let config = config(&backend);
    let proxy = Proxy::start(&config, &[]);
    let mut client = proxy.client();
    ask(&mut client, "");
    assert_eq!(client.response().status(), 101);
    let short = config.replace("[route.all]", "timeouts = { idle = \"300ms\", total = \"10ms\" }\n[route.all]");
    proxy.reload(&short).expect("a configuration");
    client.send("ping");
    assert_eq!(client.take(4), "ping");
    let mut second = proxy.client();
    ask(&mut second, "");
    assert_eq!(second.response().status(), 101);
    second.send("ping");
    assert_eq!(second.rest(), "ping", "it has the limits of its time");
    ended(&ends).expect_err("no orderly end");
    // The first one still goes on.
    client.send("pong");
    assert_eq!(client.take(4), "pong");
    client.end();
    assert_eq!(client.rest(), "bye");
    assert!(proxy.stop().contains("\"reason\":\"upstream-idle\""));
}

#[test]
fn a_server_that_takes_none_gets_none() {
    let backend = Backend::start(100, |_| async { panic!("it is asked for nothing") });
    let proxy = Proxy::start(&config(&backend), &[]);
    let mut client = proxy.client();
    ask(&mut client, "");
    let answer = client.response();
    assert_eq!((answer.status(), answer.code()), (502, "upstream-protocol".to_owned()));
}

/// Where HTTP/1.1 may be spoken as well, it is, for upgrades alone.
#[test]
fn one_that_takes_none_over_http2_gets_it_over_http1() {
    let identity = Identity::new(&["127.0.0.1"]);
    let folder = tempfile::tempdir().expect("a folder");
    identity.write(folder.path(), "root");
    let mut tls = rustls::ServerConfig::clone(&identity.server());
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let (bound, address) = channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            bound.send(listener.local_addr().expect("an address")).expect("the test waits");
            let acceptor = TlsAcceptor::from(Arc::new(tls));
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = acceptor.accept(stream).await.expect("a client of TLS");
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    tokio::spawn(async move {
                        let mut connection = h2::server::handshake(stream).await.expect("a client of HTTP/2");
                        while let Some(Ok((_, mut respond))) = connection.accept().await {
                            respond.send_response(Response::new(()), true).expect("an open stream");
                        }
                    });
                    continue;
                }
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.expect("a head"));
                }
                assert!(String::from_utf8_lossy(&head).contains("upgrade: websocket\r\n"));
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nsec-websocket-accept: {ACCEPT}\r\n\r\nhello"
                );
                stream.write_all(answer.as_bytes()).await.expect("the proxy reads");
                stream.shutdown().await.expect("the proxy reads");
            }
        });
    });
    let address = address.recv().expect("it listens");
    let roots = folder.path().join("root.pem");
    let config = format!(
        "[upstream.u]\nendpoints = [\"https://{address}\"]\nprotocol = \"auto\"\ntls = {{ roots = {roots:?} }}\n\
         [route.all]\npath-prefix = \"/\"\nupstream = \"u\"\nupgrade = [\"websocket\"]\n"
    );
    let proxy = Proxy::start(&config, &[]);
    let mut client = proxy.client();
    assert_eq!(client.request("GET", "/", &[], b"").status(), 200);
    ask(&mut client, "");
    assert_eq!(client.response().status(), 101);
    assert_eq!(client.take(5), "hello");
}
