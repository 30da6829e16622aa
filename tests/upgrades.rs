//! Connections that go on with another protocol: WebSocket above all.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;

use crate::harness::{Client, PATIENCE, Proxy};

/// The example of RFC 6455.
const KEY: &str = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n";
const ACCEPT: &str = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

/// A server of one connection: it tells the head that it got, answers with these bytes, and does then what the test says.
struct Server {
    address: SocketAddr,
    heads: Receiver<String>,
    connections: Receiver<TcpStream>,
}

impl Server {
    fn new(answer: String) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (told, heads) = channel();
        let (given, connections) = channel();
        thread::spawn(move || serve(&listener, &answer, &told, &given));
        Self { address, heads, connections }
    }

    /// One that agrees to WebSocket, and says hello at once.
    fn agreeing() -> Self {
        Self::new(format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: Upgrade\r\n{ACCEPT}\r\nhello"
        ))
    }

    /// One that agrees to whatever key it gets, says everything back, and bye at the end.
    fn echoing() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (told, heads) = channel();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
            let head = head(&mut stream).expect("a head");
            let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).expect("a key");
            let accept = tollgate::http1::upgrade::accepts(key.as_bytes());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).expect("the proxy reads");
            told.send(head).expect("the test goes on");
            let mut buffer = [0; 1024];
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                stream.write_all(&buffer[..read]).expect("the proxy reads");
            }
            stream.write_all(b"bye").expect("the proxy reads");
        });
        Self { address, heads, connections: channel().1 }
    }

    fn config(&self, route: &str) -> String {
        let address = self.address;
        format!(
            "drain.timeout = \"1s\"\n[upstream.u]\nendpoints = [\"http://{address}\"]\n[route.ws]\npath = \"/ws\"\n\
             upstream = \"u\"\n{route}\n"
        )
    }

    fn head(&self) -> String {
        self.heads.recv_timeout(PATIENCE).expect("a request in time")
    }

    fn connection(&self) -> TcpStream {
        self.connections.recv_timeout(PATIENCE).expect("a connection in time")
    }
}

fn serve(listener: &TcpListener, answer: &str, told: &Sender<String>, given: &Sender<TcpStream>) {
    while let Ok((mut stream, _)) = listener.accept() {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
        let Some(head) = head(&mut stream) else { return };
        let sent = told.send(head);
        if sent.is_err() || stream.write_all(answer.as_bytes()).is_err() || given.send(stream).is_err() {
            return;
        }
    }
}

/// A head, and not one byte behind it.
fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    String::from_utf8(head).ok()
}

fn ask(client: &mut Client, more: &str, behind: &str) {
    client.send(format!(
        "GET /ws HTTP/1.1\r\nhost: api.test\r\nconnection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n{KEY}{more}\r\n{behind}"
    ));
}

fn read(stream: &mut TcpStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).expect("bytes in time");
    String::from_utf8(bytes).expect("text")
}

const ALLOWED: &str = "upgrade = [\"websocket\"]";

#[test]
fn bytes_pass_both_ways_and_each_half_ends_by_itself() {
    let server = Server::agreeing();
    let proxy = Proxy::start(&server.config(ALLOWED), &[]);
    let mut client = proxy.client();
    ask(&mut client, "", "early");
    let head = server.head();
    for line in ["upgrade: websocket\r\n", "connection: upgrade\r\n"].into_iter().chain(KEY.split_inclusive('\n')) {
        assert!(head.contains(line), "{head}");
    }
    let answer = client.response();
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.header("upgrade"), Some("WebSocket"));
    assert_eq!(answer.header("connection"), Some("upgrade"));
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    let mut stream = server.connection();
    assert_eq!(client.take(5), "hello");
    assert_eq!(read(&mut stream, 5), "early");
    client.send("ping");
    assert_eq!(read(&mut stream, 4), "ping");
    stream.write_all(b"pong").unwrap();
    assert_eq!(client.take(4), "pong");
    // The client's half ends, and the server's goes on.
    client.send("last");
    client.end();
    assert_eq!(read(&mut stream, 4), "last");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    stream.write_all(b"bye").unwrap();
    drop(stream);
    assert_eq!(client.rest(), "bye");
    let lines = proxy.stop();
    assert_eq!(lines.lines().count(), 1, "{lines}");
    for part in ["\"status\":101", "\"reason\":\"ok\"", "\"bytes_in\":13", "\"bytes_out\":12"] {
        assert!(lines.contains(part), "{part} in {lines}");
    }
}

#[test]
fn the_servers_half_ends_by_itself_too() {
    let server = Server::agreeing();
    let proxy = Proxy::start(&server.config(ALLOWED), &[]);
    let mut client = proxy.client();
    ask(&mut client, "", "");
    assert_eq!(client.response().status(), 101);
    let mut stream = server.connection();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest(), "hello");
    client.send("still here");
    assert_eq!(read(&mut stream, 10), "still here");
    client.end();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

/// F38 and F39: what follows a request that was answered otherwise is the next request, and the server never sees it.
#[test]
fn without_a_101_what_follows_is_a_request() {
    let fine = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned();
    let wrong = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nsec-websocket-accept: no\r\n\r\n".to_owned();
    let other = format!("HTTP/1.1 101 Switching Protocols\r\nupgrade: chat\r\n{ACCEPT}\r\n");
    for (answer, status) in [(fine, 200), (wrong, 502), (other, 502)] {
        let server = Server::new(answer);
        let proxy = Proxy::start(&server.config(ALLOWED), &[]);
        let mut client = proxy.client();
        ask(&mut client, "", "GET /admin HTTP/1.1\r\nhost: api.test\r\n\r\n");
        assert!(server.head().contains("connection: upgrade"));
        assert_eq!(client.response().status(), status);
        let second = client.response();
        assert_eq!((second.status(), second.code()), (404, "no-route".to_owned()));
        let mut stream = server.connection();
        drop((client, proxy));
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }
}

/// F40, and routes that allow nothing or something else.
#[test]
fn what_no_route_allows_is_dropped() {
    let fine = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
    for (route, offer) in [
        ("", "upgrade: websocket\r\nconnection: upgrade\r\n"),
        ("upgrade = [\"chat\"]", "upgrade: websocket\r\nconnection: upgrade\r\n"),
        (ALLOWED, "upgrade: websocket\r\n"),
        (ALLOWED, "upgrade: h2c\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"),
    ] {
        let server = Server::new(fine.to_owned());
        let proxy = Proxy::start(&server.config(route), &[]);
        let mut client = proxy.client();
        client.send(format!("GET /ws HTTP/1.1\r\nhost: api.test\r\n{offer}{KEY}\r\n"));
        let head = server.head().to_ascii_lowercase();
        assert!(!head.contains("upgrade") && !head.contains("http2-settings"), "{route} {head}");
        assert_eq!(client.response().text(), "ok");
    }
}

#[test]
fn a_body_before_an_upgrade_is_refused() {
    let server = Server::agreeing();
    let proxy = Proxy::start(&server.config(ALLOWED), &[]);
    let mut client = proxy.client();
    ask(&mut client, "content-length: 5\r\n", "12345");
    let answer = client.response();
    assert_eq!((answer.status(), answer.code()), (400, "upgrade-with-body".to_owned()));
    assert!(server.heads.try_recv().is_err());
}

#[test]
fn plugins_decide_before_and_see_the_head_of_the_101() {
    let server = Server::agreeing();
    let plugins = "chain = [\"keys\", \"mark\"]\n[plugin.keys]\ncomponent = \"api-key\"\n\
         config.keys = [{ consumer = \"alice\", sha256 = \"9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f\" }]\n\
         [plugin.mark]\ncomponent = \"headers\"\nconfig.response.set = { x-mark = \"yes\" }\n";
    let proxy = Proxy::start(&server.config(&format!("{ALLOWED}\n{plugins}")), &[]);
    let mut client = proxy.client();
    ask(&mut client, "", "");
    assert_eq!(client.response().status(), 401);
    ask(&mut client, "x-api-key: 0123456789abcdef\r\n", "");
    let answer = client.response();
    assert_eq!((answer.status(), answer.header("x-mark")), (101, Some("yes")));
    assert!(!server.head().contains("0123456789abcdef"));
    assert!(server.heads.try_recv().is_err(), "the first one was refused before");
}

#[test]
fn a_plugin_that_asks_for_bodies_is_refused_at_load() {
    let server = Server::agreeing();
    let plugin =
        "chain = [\"as-json\"]\n[plugin.as-json]\ncomponent = \"convert\"\nconfig.responses = { to = \"json\" }\n";
    for (key, why) in [(ALLOWED, "go on with another protocol"), ("streaming = true", "streams")] {
        let config = server.config(&format!("{key}\n{plugin}"));
        let problem = Proxy::try_start(&config, &[]).err().expect("a problem");
        for part in [why, "`as-json` asks for whole bodies", "route.ws.chain", "tollgate.toml:"] {
            assert!(problem.contains(part), "{part} in {problem}");
        }
        // A reload is refused in the same way, and changes nothing.
        let proxy = Proxy::start(&server.config(key), &[]);
        assert!(proxy.reload(&config).expect_err("a problem").contains(why));
    }
}

#[test]
fn a_reload_leaves_it_and_the_end_cuts_it() {
    let server = Server::agreeing();
    let proxy = Proxy::start(&server.config(ALLOWED), &[]);
    let mut client = proxy.client();
    ask(&mut client, "", "");
    assert_eq!(client.response().status(), 101);
    let mut stream = server.connection();
    for path in ["/other", "/ws"] {
        proxy.reload(&server.config(ALLOWED).replace("/ws", path)).expect("a configuration");
        client.send("ping");
        assert_eq!(read(&mut stream, 4), "ping");
    }
    let (cut, lines) = proxy.drain();
    assert_eq!(cut, 1);
    assert_eq!(client.rest(), "hello");
    assert!(lines.contains("\"reason\":\"client-gone\""), "{lines}");
}

#[test]
fn what_says_nothing_for_too_long_ends() {
    let server = Server::agreeing();
    let idle = "timeouts = { idle = \"300ms\", total = \"10ms\" }\n[route.ws]";
    let config = server.config(ALLOWED).replace("[route.ws]", idle);
    let proxy = Proxy::start(&config, &[]);
    let mut client = proxy.client();
    ask(&mut client, "", "");
    assert_eq!(client.response().status(), 101);
    assert_eq!(client.rest(), "hello");
    let lines = proxy.stop();
    assert!(lines.contains("\"reason\":\"upstream-idle\""), "{lines}");
}

/// What one side sends waits for the other, and not in our memory: the sender is stopped long before its end.
#[test]
fn a_side_that_does_not_read_stops_the_other() {
    let server = Server::agreeing();
    let proxy = Proxy::start(&server.config(ALLOWED), &[]);
    let mut client = proxy.client();
    ask(&mut client, "", "");
    assert_eq!(client.response().status(), 101);
    let mut stream = server.connection();
    // A second without progress is more than a busy machine makes.
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let piece = vec![b'x'; 64 << 10];
    let mut sent = 0;
    while let Ok(wrote) = stream.write(&piece) {
        sent += wrote;
        assert!(sent < 64 << 20, "{sent} bytes wait somewhere");
    }
    // The other direction goes on meanwhile.
    client.send("ping");
    assert_eq!(read(&mut stream, 4), "ping");
    drop(stream);
    assert_eq!(client.rest().len(), "hello".len() + sent);
}

/// RFC 8441: the same from a client of HTTP/2.
#[test]
fn a_client_of_http2_upgrades_by_an_extended_connect() {
    let echo = Server::echoing();
    let proxy = Proxy::start(&echo.config(ALLOWED), &[]);
    http2(&proxy, async |mut client| {
        let (response, mut stream) = client.send_request(extended("/ws"), false).expect("it is sent");
        let response = response.await.expect("a head");
        assert_eq!(response.status(), 200);
        for gone in ["upgrade", "connection", "sec-websocket-accept"] {
            assert!(!response.headers().contains_key(gone), "{response:?}");
        }
        let mut body = response.into_body();
        for text in ["ping", "pong"] {
            stream.send_data(Bytes::from_static(text.as_bytes()), false).expect("an open stream");
            assert_eq!(body.data().await.expect("bytes").expect("bytes"), text);
        }
        // The client's half ends, then the server's.
        stream.send_data(Bytes::new(), true).expect("an open stream");
        assert_eq!(body.data().await.expect("bytes").expect("bytes"), "bye");
        while let Some(rest) = body.data().await {
            assert_eq!(rest.expect("an end, and no reset"), "");
        }
    });
    let head = echo.head();
    assert!(head.starts_with("GET /ws HTTP/1.1\r\n") && head.contains("upgrade: websocket\r\n"), "{head}");
    let lines = proxy.stop();
    let line = lines.lines().find(|line| line.contains("\"status\":101")).unwrap_or_else(|| panic!("{lines}"));
    for part in ["HTTP/2.0", "\"reason\":\"ok\"", "\"bytes_in\":8", "\"bytes_out\":11"] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[test]
fn what_is_no_agreement_is_none_over_http2_either() {
    let fine = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned();
    let refused = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno".to_owned();
    for (answer, status) in [(fine, 502), (refused, 403)] {
        let server = Server::new(answer);
        let proxy = Proxy::start(&server.config(ALLOWED), &[]);
        http2(&proxy, async |mut client| {
            let (response, mut stream) = client.send_request(extended("/ws"), false).expect("it is sent");
            // What was sent on before the answer reaches nobody.
            stream.send_data(Bytes::from_static(b"early"), false).expect("an open stream");
            assert_eq!(response.await.expect("a head").status(), status);
        });
        server.head();
        let mut stream = server.connection();
        drop(proxy);
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }
    // No route that allows it, and a CONNECT that is nothing else.
    let server = Server::agreeing();
    let proxy = Proxy::start(&server.config(""), &[]);
    http2(&proxy, async |mut client| {
        let plain = Request::connect("127.0.0.1:22").body(()).expect("a request");
        for request in [extended("/ws"), plain] {
            let (response, _stream) = client.send_request(request, false).expect("it is sent");
            assert_eq!(response.await.expect("a head").status(), 405);
        }
    });
    assert!(server.heads.try_recv().is_err());
}

fn extended(path: &str) -> Request<()> {
    let request = Request::connect(format!("http://api.test{path}"));
    let protocol = h2::ext::Protocol::from_static("websocket");
    request.header("sec-websocket-version", "13").extension(protocol).body(()).expect("a request")
}

/// Runs a client of HTTP/2 that knows the proxy's settings, and gives up when nothing happens.
fn http2(proxy: &Proxy, test: impl AsyncFnOnce(SendRequest<Bytes>)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let address = proxy.address("public");
    let client = async {
        let socket = tokio::net::TcpStream::connect(address).await.expect("it accepts");
        let (sender, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
        tokio::spawn(connection);
        let mut sender = sender.ready().await.expect("a connection");
        let nothing = Request::get("http://api.test/nothing").body(()).expect("a request");
        let (response, _) = sender.send_request(nothing, true).expect("it is sent");
        assert_eq!(response.await.expect("a head").status(), 404);
        assert!(sender.is_extended_connect_protocol_enabled());
        test(sender).await;
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, client).await }).expect("it ends in time");
}
