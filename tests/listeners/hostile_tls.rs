//! What must not hurt before there is a request: records, greetings and handshakes that nobody means well with. The
//! numbers are those of our corpus of hostile inputs.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Resumption};
use rustls::client::{Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, NamedGroup, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use tempfile::TempDir;

use super::{config, refused};
use crate::harness::{Client, Identity, Origin, PATIENCE, Proxy, handshake, until};

/// A listener whose certificates all ask the same, and one where they do not: each greets clients in a way of its own.
struct Two {
    proxy: Proxy,
    open: Identity,
    shut: Identity,
    _origin: Origin,
    _folder: TempDir,
}

const BOTH: [&str; 2] = ["same", "several"];

impl Two {
    fn start(limits: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let origin = Origin::fine();
        let [open, shut] = [Identity::new(&["open.test"]), Identity::new(&["shut.test"])];
        let (open_pair, shut_pair) = (open.write(folder.path(), "open"), shut.write(folder.path(), "shut"));
        // Who shows the server's own certificate is let in: it is a root, and nobody else is.
        let asking = format!(
            "{}, client-certificates = {{ roots = {:?} }} }}",
            shut_pair.trim_end_matches(" }"),
            folder.path().join("shut.pem")
        );
        let listener = |name: &str, tls: &str| {
            format!("listener.{name} = {{ address = \"127.0.0.1:0\", tls = [{tls}], limits = {{ {limits} }} }}\n")
        };
        let listeners = listener("same", &open_pair) + &listener("several", &format!("{open_pair}, {asking}"));
        let proxy = Proxy::start(&config(&origin, &listeners), &[]);
        Self { proxy, open, shut, _origin: origin, _folder: folder }
    }

    fn connect(&self, listener: &str) -> TcpStream {
        let stream = TcpStream::connect(self.proxy.address(listener)).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
        stream.set_nodelay(true).expect("a socket");
        stream
    }

    /// Whether others are still served.
    fn serves(&self) {
        for listener in BOTH {
            let config = self.open.client(&[]);
            let stream = handshake(self.proxy.address(listener), "open.test", config).expect("a handshake");
            assert_eq!(Client::over(stream).request("GET", "/", &[], b"").status(), 200);
        }
    }
}

/// What comes first: the kind of a record. None where the connection ends without one.
fn first(stream: &mut TcpStream) -> Option<u8> {
    let mut kind = [0];
    match stream.read_exact(&mut kind) {
        Ok(()) => Some(kind[0]),
        Err(error) => {
            assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "nothing comes");
            None
        }
    }
}

fn ends(mut stream: &TcpStream) {
    let end = stream.read_to_end(&mut Vec::new());
    assert!(!end.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)), "it stays");
}

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &(payload.len() as u16).to_be_bytes(), payload].concat()
}

/// A greeting of TLS 1.2 with these suites and this list of names, byte by byte.
fn hello(suites: &[u16], names: Option<&[u8]>) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let extension = |kind: u16, bytes: &[u8]| [&kind.to_be_bytes()[..], &sized(bytes)].concat();
    let mut extensions = [
        extension(10, &sized(&[0, 0x1d, 0, 0x17])),
        extension(11, &[1, 0]),
        extension(13, &sized(&[4, 3, 8, 4, 4, 1, 5, 3])),
    ]
    .concat();
    if let Some(names) = names {
        extensions.extend(extension(0, &sized(names)));
    }
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let body = [&[3, 3][..], &[7; 32], &[0], &sized(&suites), &[1, 0], &sized(&extensions)].concat();
    let length = (body.len() as u32).to_be_bytes();
    record(HANDSHAKE, &[&[1][..], &length[1..], &body].concat())
}

/// Suites that rustls has, for both kinds of keys.
const GOOD: &[u16] = &[0xc02b, 0xc02f, 0xcca9];

/// T11, CVE-2024-11738: the greeting in records of one byte each. It is a right one, and so it is answered.
#[test]
fn a_greeting_may_come_in_as_many_records_as_it_has_bytes() {
    let two = Two::start("");
    for listener in BOTH {
        let mut socket = two.connect(listener);
        let name = ServerName::try_from("open.test").expect("a name");
        let mut connection = ClientConnection::new(two.open.client(&[]), name).expect("a configuration");
        let mut whole = Vec::new();
        while connection.wants_write() {
            connection.write_tls(&mut whole).expect("memory");
        }
        assert_eq!(whole[0], HANDSHAKE);
        let pieces: Vec<u8> = whole[5..].iter().flat_map(|byte| record(HANDSHAKE, &[*byte])).collect();
        socket.write_all(&pieces).expect("it reads");
        connection.complete_io(&mut socket).unwrap_or_else(|error| panic!("{listener}: {error}"));
        let mut client = Client::over(StreamOwned::new(connection, socket));
        assert_eq!(client.request("GET", "/", &[], b"").status(), 200, "{listener}");
    }
    two.serves();
}

/// T12, CVE-2024-32650: a greeting, and then the end of it.
#[test]
fn who_says_goodbye_in_a_handshake_is_gone() {
    let two = Two::start("");
    let whole = hello(GOOD, None);
    for listener in BOTH {
        for begin in [0, 1, 5, 40, whole.len() - 1, whole.len()] {
            // Cut within a record, it is no goodbye but more of that record: then the end of the connection is.
            for goodbye in [&[ALERT, 3, 3, 0, 2, 1, 0][..], &[]] {
                let mut socket = two.connect(listener);
                socket.write_all(&[&whole[..begin], goodbye].concat()).expect("it reads");
                if goodbye.is_empty() || (1..whole.len()).contains(&begin) {
                    socket.shutdown(std::net::Shutdown::Write).expect("an open connection");
                }
                ends(&socket);
            }
        }
    }
    two.serves();
}

/// T13: handshakes that nobody finishes, or of which each byte comes for itself.
#[test]
fn a_slow_handshake_has_as_much_time_as_another() {
    const SILENT: usize = 200;
    let two = Two::start("handshake-time = \"1s\"");
    for listener in BOTH {
        let silent: Vec<TcpStream> = (0..SILENT)
            .map(|number| {
                let mut socket = two.connect(listener);
                // The begin of a record, and none at all.
                socket.write_all(&[HANDSHAKE, 3, 1][..number % 4]).expect("it reads");
                socket
            })
            .collect();
        let mut slow = two.connect(listener);
        slow.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout above zero");
        let mut sent = 0;
        let endless = record(HANDSHAKE, &[1; 16_000]);
        // The reads are the pauses.
        while slow.write_all(&endless[sent..=sent]).is_ok() {
            sent += 1;
            match slow.read(&mut [0; 64]) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Ok(1..) => {}
                Ok(_) | Err(_) => break,
            }
            assert!(sent < 1000, "it goes on for ever");
        }
        silent.iter().for_each(ends);
        refused(&two.proxy, listener, "handshake-timeout", SILENT + 1);
    }
    two.serves();
}

/// T14: names that are none.
#[test]
fn a_name_is_a_name_or_the_handshake_ends() {
    let two = Two::start("");
    let name = |kind: u8, name: &[u8]| [&[kind][..], &(name.len() as u16).to_be_bytes(), name].concat();
    let long = vec![b'a'; 300];
    for (what, names, answer) in [
        ("none", None, HANDSHAKE),
        ("a right one", Some(name(0, b"open.test")), HANDSHAKE),
        ("in capitals", Some(name(0, b"OPEN.TEST")), HANDSHAKE),
        ("of nobody", Some(name(0, b"nobody.test")), HANDSHAKE),
        ("an address, which is no name", Some(name(0, b"10.0.0.1")), HANDSHAKE),
        ("garbage", Some(name(0, b"\xff\0 /..")), ALERT),
        ("NUL behind a right one", Some(name(0, b"open.test\0.evil")), ALERT),
        ("300 bytes", Some(name(0, &long)), ALERT),
        ("an empty one", Some(name(0, b"")), ALERT),
        ("an empty list", Some(Vec::new()), ALERT),
        ("two", Some([name(0, b"open.test"), name(0, b"shut.test")].concat()), ALERT),
        ("a length that lies", Some([&[0, 0xff, 0xff][..], b"open.test"].concat()), ALERT),
    ] {
        for listener in BOTH {
            let mut socket = two.connect(listener);
            socket.write_all(&hello(GOOD, names.as_deref())).expect("it reads");
            assert_eq!(first(&mut socket), Some(answer), "{what}, {listener}");
        }
    }
    two.serves();
}

/// A store that gives out what one server left to every other one.
#[derive(Debug)]
struct ForAll(ClientSessionMemoryCache);

fn anybody() -> ServerName<'static> {
    ServerName::try_from("anybody.test").expect("a name")
}

impl ClientSessionStore for ForAll {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(anybody(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&anybody())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(anybody(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&anybody())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&anybody());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(anybody(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&anybody())
    }
}

/// A client that believes both servers, speaks this version alone, and resumes wherever it can.
fn resuming(two: &Two, version: &'static SupportedProtocolVersion) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    [&two.open, &two.shut].into_iter().for_each(|one| roots.add(one.der()).expect("a root"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]);
    let mut config = config.expect("a version").with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::store(Arc::new(ForAll(ClientSessionMemoryCache::new(64))));
    config
}

/// Whether it is answered there, and how the handshake went.
fn asks(address: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> Option<HandshakeKind> {
    let mut stream = handshake(address, name, config.clone()).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: open.test\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    // A client that is refused in TLS 1.3 hears of it when it reads.
    let read = stream.read_to_end(&mut answer);
    (read.is_ok() && !answer.is_empty()).then(|| stream.conn.handshake_kind()).flatten()
}

/// T16, CVE-2025-23419: a session of a name that asks for nothing opens none that asks for a certificate.
#[test]
fn a_session_is_resumed_only_where_the_same_is_asked_for() {
    let two = Two::start("");
    let address = two.proxy.address("several");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = Arc::new(resuming(&two, version));
        assert_eq!(asks(address, "open.test", &config), Some(HandshakeKind::Full));
        assert_eq!(asks(address, "open.test", &config), Some(HandshakeKind::Resumed), "{version:?}: it can be");
        for _ in 0..3 {
            assert_eq!(asks(address, "shut.test", &config), None, "{version:?}: nobody was shown a certificate");
        }
    }
}

/// T17: what is spoken above, and by which ciphers.
#[test]
fn protocols_and_ciphers_are_agreed_on_or_there_is_no_connection() {
    let two = Two::start("");
    for listener in BOTH {
        let address = two.proxy.address(listener);
        for protocols in [&[][..], &["http/1.1"], &["spdy/3", "http/1.1"]] {
            let stream = handshake(address, "open.test", two.open.client(protocols)).expect("a handshake");
            assert_eq!(Client::over(stream).request("GET", "/", &[], b"").status(), 200, "{protocols:?}");
        }
        let unknown = handshake(address, "open.test", two.open.client(&["spdy/3"]));
        assert!(unknown.is_err_and(|error| error.to_string().contains("NoApplicationProtocol")));
        // RFC 9113, appendix A, lists suites that no HTTP/2 may use. None of them is spoken at all.
        let mut socket = two.connect(listener);
        socket.write_all(&hello(&[0x002f, 0x0035, 0x009c, 0xc013, 0xc014, 0x0005], None)).expect("it reads");
        let mut alert = [0; 7];
        socket.read_exact(&mut alert).expect("an alert");
        assert_eq!(alert, [ALERT, 3, 3, 0, 2, 2, 40], "no common suite");
        let mut older = resuming(&two, &rustls::version::TLS12);
        older.alpn_protocols = vec![b"h2".to_vec()];
        let stream = handshake(address, "open.test", Arc::new(older)).expect("a handshake");
        assert_eq!(crate::frames::Raw::over(stream).get("open.test", "/"), 200, "HTTP/2 over TLS 1.2");
    }
}

/// T18: each spoken where the other one is.
#[test]
fn plain_http_and_tls_are_not_mistaken_for_each_other() {
    let two = Two::start("");
    for listener in BOTH {
        let mut socket = two.connect(listener);
        socket.write_all(b"GET / HTTP/1.1\r\nhost: open.test\r\n\r\n").expect("it reads");
        let mut answer = Vec::new();
        // A reset is an end, too.
        let _ = socket.read_to_end(&mut answer);
        assert!(!answer.windows(5).any(|part| part == b"HTTP/"), "{answer:?}");
    }
    let mut client = two.proxy.client();
    client.send(hello(GOOD, None));
    assert_eq!(client.response().status(), 400);
    assert!(client.is_closed());
    until("it is counted", || {
        let metrics = two.proxy.admin("/metrics").text();
        BOTH.iter().all(|listener| {
            metrics.contains(&format!("tollgate_connections_refused_total{{listener=\"{listener}\",reason=\"tls\"}} 1"))
        })
    });
    two.serves();
}
