//! Servers behind Unix sockets.

use std::io::{BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use tempfile::TempDir;

use super::with;
use crate::harness::{Message, Origin, Proxy, answer, until};

/// A server on a Unix socket, which says its name and tells what it was asked. Its threads end with the tests, and it
/// ends for its clients when the file is gone.
struct Server {
    path: PathBuf,
    seen: Receiver<Message>,
}

impl Server {
    fn start(path: &Path, name: &'static str) -> Self {
        let listener = UnixListener::bind(path).expect("a free path");
        let (told, seen) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let told = told.clone();
                thread::spawn(move || serve(&stream, name, |request| told.send(request).is_ok()));
            }
        });
        Self { path: path.to_owned(), seen }
    }

    fn url(&self) -> String {
        format!("\"unix:{}\"", self.path.display())
    }
}

fn serve(mut stream: &UnixStream, name: &str, tell: impl Fn(Message) -> bool) {
    let mut reader = BufReader::new(stream);
    while let Ok(Some(request)) = Message::read(&mut reader) {
        // It speaks of itself as it was asked.
        let moved =
            format!("HTTP/1.1 302 Found\r\nlocation: http://{}/there\r\ncontent-length: 0\r\n\r\n", host(&request));
        let response = if request.target() == "/moved" { moved.into_bytes() } else { answer("text/plain", name) };
        if !tell(request) || stream.write_all(&response).is_err() {
            return;
        }
    }
}

fn host(request: &Message) -> &str {
    request.header("host").unwrap_or_default()
}

#[test]
fn a_unix_socket_is_an_endpoint_like_others() {
    let folder = TempDir::new().expect("a folder");
    let server = Server::start(&folder.path().join("app.sock"), "app");
    let proxy = Proxy::start(&with(&format!("endpoints = [{}]", server.url())), &[]);
    for _ in 0..3 {
        assert_eq!(proxy.get("/a?b").text(), "app");
        let seen = server.seen.recv().expect("a request");
        assert_eq!((seen.target(), host(&seen)), ("/a?b", "localhost"), "as nginx asks such servers");
    }
    let body = proxy.client().request("POST", "/", &[], &vec![b'x'; 300_000]);
    assert_eq!((body.status(), server.seen.recv().expect("a request").body.len()), (200, 300_000));
    let moved = proxy.get("/moved");
    assert_eq!(moved.header("location"), Some("http://api.test/there"), "its address is the public one: {moved:?}");
    let state = proxy.admin("/state").json();
    let address = state["upstreams"][0]["endpoints"][0]["address"].as_str().expect("an address").to_owned();
    assert_eq!(format!("{address:?}"), server.url());

    proxy.reload(&with(&format!("preserve-host = true\nendpoints = [{}]", server.url()))).expect("a configuration");
    server.seen.try_iter().for_each(drop);
    assert_eq!(proxy.get("/").status(), 200);
    assert_eq!(host(&server.seen.recv().expect("a request")), "api.test");
}

#[test]
fn paths_begin_at_the_configuration_file_and_one_that_is_gone_is_a_502() {
    // Somewhere, and not where the configuration is.
    let proxy = Proxy::start(&with("endpoints = [\"unix:app.sock\"]"), &[]);
    let refused = proxy.get("/");
    assert_eq!((refused.status(), refused.code().as_str()), (502, "upstream-connect"), "{refused:?}");
    let state = proxy.admin("/state").json();
    let address = state["upstreams"][0]["endpoints"][0]["address"].as_str().expect("an address").to_owned();
    let path = Path::new(address.strip_prefix("unix:").expect("a path"));
    assert!(path.is_absolute(), "{address}");
    let server = Server::start(path, "late");
    assert_eq!(proxy.get("/").text(), "late");
    assert!(!proxy.stop().contains(&server.path.display().to_string()), "the log for everyone names no path");
}

#[test]
fn they_are_balanced_and_checked_beside_others() {
    let folder = TempDir::new().expect("a folder");
    let tcp = Origin::start(|_| answer("text/plain", "tcp"));
    let socket = folder.path().join("app.sock");
    let unix = Server::start(&socket, "unix");
    let settings = format!(
        "balance = \"round-robin\"\nhealth = {{ path = \"/well\", interval = \"100ms\", healthy = 1, unhealthy = 1 }}\n\
         endpoints = [{:?}, {{ url = {}, weight = 3 }}]",
        tcp.url(),
        unix.url()
    );
    let proxy = Proxy::start(&with(&settings), &[]);
    let asked = |count: usize| {
        let mut client = proxy.client();
        (0..count).filter(|_| client.request("GET", "/", &[], b"").text() == "unix").count()
    };
    assert_eq!(asked(8), 6, "by weight");
    until("it is checked", || unix.seen.try_iter().any(|seen| seen.target() == "/well" && host(&seen) == "localhost"));
    // The server goes on behind its socket, but nobody gets there.
    std::fs::remove_file(&socket).expect("a socket");
    let state = |name: &str| {
        let state = proxy.admin("/state").json();
        state["upstreams"][0]["endpoints"][1]["state"] == name
    };
    until("it is down", || state("down"));
    assert_eq!(asked(4), 0);
    let _again = Server::start(&socket, "unix");
    until("it is up", || state("up"));
    assert_eq!(asked(8), 6);
}
