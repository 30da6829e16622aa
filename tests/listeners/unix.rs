//! Listeners on Unix sockets.

use std::io::{BufReader, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use tempfile::TempDir;

use super::config;
use crate::harness::{Message, Origin, PATIENCE, Proxy};

fn get(path: &Path, fields: &str) -> Message {
    let mut stream = UnixStream::connect(path).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
    stream.write_all(format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n").as_bytes()).expect("it reads");
    Message::read(&mut BufReader::new(stream)).expect("a response in time").expect("a response")
}

#[test]
fn a_unix_socket_is_a_listener_like_others() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("proxy.sock");
    let origin = Origin::fine();
    let listener = |more: &str| format!("listener.local = {{ address = \"unix:{}\"{more} }}\n", path.display());
    let proxy = Proxy::start(&config(&origin, &listener("")), &[]);
    assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o660);
    for _ in 0..4 {
        assert_eq!(get(&path, "").status(), 200);
    }
    assert_eq!(origin.last().header("x-forwarded-for"), Some("127.0.0.1"), "whoever is on this machine");

    // Who may connect is known, and so its peers may be believed.
    let trusted = listener(", mode = \"0600\", trusted-proxies = [\"127.0.0.1\"], proxy-protocol = [\"127.0.0.1\"]");
    proxy.reload(&config(&origin, &trusted)).expect("a right configuration");
    assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
    let sent = "PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n";
    stream.write_all(sent.as_bytes()).expect("it reads");
    assert_eq!(Message::read(&mut BufReader::new(stream)).expect("in time").expect("a response").status(), 200);
    assert_eq!(origin.last().header("x-forwarded-for"), Some("203.0.113.7"));

    // The file stays behind, and the next one takes its place.
    drop(proxy);
    assert!(path.exists() && UnixStream::connect(&path).is_err());
    let proxy = Proxy::start(&config(&origin, &listener("")), &[]);
    assert_eq!(get(&path, "").status(), 200);
    let why = Proxy::try_start(&config(&origin, &listener("")), &[]).err().expect("somebody is there");
    assert!(why.contains("unix:") && why.contains("in use"), "{why}");
    drop(proxy);
}
