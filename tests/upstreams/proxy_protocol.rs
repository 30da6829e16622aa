//! Upstreams that hear of the client by the PROXY protocol, before anything else.

use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rustls::{ServerConnection, StreamOwned};
use tempfile::TempDir;
use tollgate::proxy_protocol::{Source, Step, read};

use super::with;
use crate::harness::{Client, Identity, Message, PATIENCE, Proxy, answer, until};

/// A server that reads a header of the PROXY protocol at the begin of each connection, and tells for each request which
/// connection it came over and what the header of that said. Its threads end with the tests.
struct Server {
    address: SocketAddr,
    seen: Receiver<Seen>,
}

struct Seen {
    connection: usize,
    header: Vec<u8>,
    source: Source,
    request: Message,
}

impl Server {
    fn start(identity: Option<&Identity>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (told, seen) = channel();
        let tls = identity.map(Identity::server);
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let (told, tls) = (told.clone(), tls.clone());
                thread::spawn(move || {
                    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
                    let Some((header, source)) = header(&stream) else { return };
                    let seen = |request| Seen { connection, header: header.clone(), source, request };
                    match tls {
                        Some(tls) => {
                            let connection = ServerConnection::new(tls).expect("a configuration");
                            serve(StreamOwned::new(connection, stream), seen, &told);
                        }
                        None => serve(stream, seen, &told),
                    }
                });
            }
        });
        Self { address, seen }
    }

    /// An upstream that hears of its clients in this version, with these settings, and whatever else there is.
    fn config(&self, version: &str, settings: &str, more: &str) -> String {
        let address = self.address;
        let upstream = format!("endpoints = [\"http://{address}\"]\nproxy-protocol = {version:?}\n{settings}");
        format!("{more}\n{}", with(&upstream))
    }

    fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).expect("a request in time")
    }
}

/// As a server reads it: not one byte more.
fn header(mut stream: &TcpStream) -> Option<(Vec<u8>, Source)> {
    let mut bytes = Vec::new();
    loop {
        match read(&bytes).expect("a header of the PROXY protocol") {
            Step::Whole(_, source) => return Some((bytes, source)),
            Step::More(more) => {
                let begin = bytes.len();
                bytes.resize(begin + more, 0);
                stream.read_exact(&mut bytes[begin..]).ok()?;
            }
        }
    }
}

fn serve(stream: impl Read + Write, seen: impl Fn(Message) -> Seen, told: &Sender<Seen>) {
    let mut stream = BufReader::new(stream);
    while let Ok(Some(request)) = Message::read(&mut stream) {
        if told.send(seen(request)).is_err() || stream.get_mut().write_all(&answer("text/plain", "fine")).is_err() {
            return;
        }
    }
}

fn asks(client: &mut Client) {
    assert_eq!(client.request("GET", "/", &[], b"").text(), "fine");
}

/// A client whom a proxy of bytes speaks for.
fn client_from(proxy: &Proxy, client: &str) -> Client {
    let mut connection = proxy.client();
    connection.send(format!("PROXY {client} 443\r\n"));
    connection
}

const FROM_HERE: &str = "listener.public.proxy-protocol = [\"127.0.0.1\"]";

fn source(from: &str, to: &str) -> Source {
    Source::Client(from.parse().expect("an address"), to.parse().expect("an address"))
}

#[test]
fn the_upstream_hears_of_the_client_in_both_versions() {
    let server = Server::start(None);
    for version in ["v1", "v2"] {
        let proxy = Proxy::start(&server.config(version, "", FROM_HERE), &[]);
        for (client, said) in [
            ("TCP4 203.0.113.7 192.0.2.1 12345", source("203.0.113.7:12345", "192.0.2.1:443")),
            ("TCP6 2001:db8::7 2001:db8::1 54321", source("[2001:db8::7]:54321", "[2001:db8::1]:443")),
        ] {
            asks(&mut client_from(&proxy, client));
            let seen = server.next();
            assert_eq!(seen.source, said, "{version}");
            assert_eq!(seen.header.starts_with(b"PROXY TCP"), version == "v1", "{:?}", seen.header);
            assert_eq!(seen.request.target(), "/");
        }
    }
    // Without a proxy before us it is whoever connected, and where to.
    let proxy = Proxy::start(&server.config("v2", "", ""), &[]);
    asks(&mut proxy.client());
    let Source::Client(from, to) = server.next().source else { panic!("a client") };
    assert_eq!((from.ip(), to), (Ipv4Addr::LOCALHOST.into(), proxy.address("public")));
    assert_ne!(from.port(), 0);
}

#[test]
fn who_a_trusted_proxy_says_is_the_client() {
    let server = Server::start(None);
    let trusted = "listener.public.trusted-proxies = [\"127.0.0.1\"]";
    let proxy = Proxy::start(&server.config("v2", "", trusted), &[]);
    let told = [("X-Forwarded-For", "198.51.100.7")];
    assert_eq!(proxy.client().request("GET", "/", &told, b"").text(), "fine");
    let Source::Client(from, _) = server.next().source else { panic!("a client") };
    assert_eq!(from, "198.51.100.7:0".parse().expect("an address"), "whose port nobody said");
}

#[test]
fn a_connection_belongs_to_one_client_alone() {
    let server = Server::start(None);
    let proxy = Proxy::start(&server.config("v2", "", FROM_HERE), &[]);
    let (mut one, mut other) =
        (client_from(&proxy, "TCP4 203.0.113.7 192.0.2.1 1"), client_from(&proxy, "TCP4 203.0.113.8 192.0.2.1 1"));
    let mut connections: Vec<(usize, Source)> = Vec::new();
    for _ in 0..4 {
        for client in [&mut one, &mut other] {
            asks(client);
            let seen = server.next();
            connections.push((seen.connection, seen.source));
        }
    }
    let (of_one, of_other) = (connections[0], connections[1]);
    assert_ne!(of_one.0, of_other.0);
    assert_eq!(
        (of_one.1, of_other.1),
        (source("203.0.113.7:1", "192.0.2.1:443"), source("203.0.113.8:1", "192.0.2.1:443"))
    );
    assert_eq!(connections, [of_one, of_other].repeat(4), "each goes on over its own");
    // The same address from another port is another connection of a client, and so are its requests.
    asks(&mut client_from(&proxy, "TCP4 203.0.113.7 192.0.2.1 2"));
    assert_eq!(server.next().source, source("203.0.113.7:2", "192.0.2.1:443"));
}

#[test]
fn where_there_may_be_no_more_connections_an_idle_one_makes_room() {
    let server = Server::start(None);
    let settings = "connections = { most = 1, wait = \"5s\" }";
    let proxy = Proxy::start(&server.config("v2", settings, FROM_HERE), &[]);
    for client in 1..=9 {
        asks(&mut client_from(&proxy, &format!("TCP4 203.0.113.{client} 192.0.2.1 1")));
        assert_eq!(server.next().source, source(&format!("203.0.113.{client}:1"), "192.0.2.1:443"));
    }
    // One for each worker.
    let open = proxy.admin("/state").json()["upstreams"][0]["endpoints"][0]["connections"].as_u64();
    assert!(open.is_some_and(|open| open <= 2), "{open:?}");
}

#[test]
fn checks_speak_for_nobody() {
    let server = Server::start(None);
    for (version, header) in [("v1", &b"PROXY UNKNOWN\r\n"[..]), ("v2", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0")] {
        let proxy =
            Proxy::start(&server.config(version, "health = { path = \"/well\", interval = \"100ms\" }", ""), &[]);
        let seen = server.next();
        assert_eq!((seen.request.target(), seen.header.as_slice()), ("/well", header));
        let metrics = || proxy.admin("/metrics").text();
        until("checks succeed", || {
            metrics().contains("tollgate_upstream_checks_total{upstream=\"o\",result=\"success\"}")
        });
        drop(proxy);
        server.seen.try_iter().for_each(drop);
    }
}

#[test]
fn with_tls_the_header_goes_before_the_handshake() {
    let folder = TempDir::new().expect("a folder");
    let identity = Identity::new(&["127.0.0.1"]);
    identity.write(folder.path(), "origin");
    let server = Server::start(Some(&identity));
    let roots = format!("tls = {{ roots = {:?} }}", folder.path().join("origin.pem"));
    let config = server.config("v2", &roots, FROM_HERE).replace("http://", "https://");
    let proxy = Proxy::start(&config, &[]);
    asks(&mut client_from(&proxy, "TCP4 203.0.113.7 192.0.2.1 1"));
    assert_eq!(server.next().source, source("203.0.113.7:1", "192.0.2.1:443"));
}

/// Many requests of one client share a connection of HTTP/2, and none of another one's.
#[test]
fn over_http2_each_client_has_a_connection_of_its_own() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (told, seen) = channel();
    thread::spawn(move || {
        for (connection, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let told = told.clone();
            thread::spawn(move || {
                let Some((_, source)) = header(&stream) else { return };
                serve_http2(stream, || told.send((connection, source)).is_ok());
            });
        }
    });
    let upstream = |more: &str| {
        let upstream =
            format!("endpoints = [\"http://{address}\"]\nproxy-protocol = \"v1\"\nprotocol = \"http2\"\n{more}");
        format!("{FROM_HERE}\n{}", with(&upstream))
    };
    let next = || seen.recv_timeout(PATIENCE).expect("a request in time");
    let proxy = Proxy::start(&upstream(""), &[]);
    let clients = ["203.0.113.7", "203.0.113.8"];
    let mut connections = clients.map(|client| client_from(&proxy, &format!("TCP4 {client} 192.0.2.1 1")));
    let mut own = [None; 2];
    for _ in 0..3 {
        for (place, client) in connections.iter_mut().enumerate() {
            assert_eq!(client.request("GET", "/", &[], b"").status(), 200);
            let (connection, told) = next();
            assert_eq!(told, source(&format!("{}:1", clients[place]), "192.0.2.1:443"));
            assert_eq!(*own[place].get_or_insert(connection), connection);
        }
    }
    assert_ne!(own[0], own[1]);
    drop((connections, proxy));
    // With room for one, it is the client's who asks.
    let proxy = Proxy::start(&upstream("connections.most = 1"), &[]);
    for client in 1..=5 {
        let mut connection = client_from(&proxy, &format!("TCP4 203.0.113.{client} 192.0.2.1 1"));
        assert_eq!(connection.request("GET", "/", &[], b"").status(), 200);
        assert_eq!(next().1, source(&format!("203.0.113.{client}:1"), "192.0.2.1:443"));
    }
}

fn serve_http2(stream: TcpStream, tell: impl Fn() -> bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        stream.set_nonblocking(true).expect("a socket");
        let stream = tokio::net::TcpStream::from_std(stream).expect("a socket");
        let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_response(http::Response::new(()), true).expect("an open stream");
            if !tell() {
                return;
            }
        }
    });
}
