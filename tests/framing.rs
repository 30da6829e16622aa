//! Bytes that could mean one thing to us and another to the server behind us: `/admin` needs a key, everything else is
//! open. Numbers in comments are those of known attacks on other proxies.

use crate::harness::{Origin, Proxy};
use crate::hostile::guard;

fn start() -> (Origin, Proxy) {
    guard(Origin::fine())
}

/// What a server behind us could make of a path: decoded twice, dots resolved, in one case, without parameters.
fn lenient(path: &str) -> String {
    let mut path = path.split(['?', '#']).next().unwrap_or_default().to_owned();
    for _ in 0..2 {
        for (escape, byte) in [("%2e", "."), ("%2f", "/"), ("%5c", "/"), ("%61", "a"), ("%25", "%"), ("\\", "/")] {
            path = path.to_ascii_lowercase().replace(escape, byte);
        }
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    kept.join("/")
}

#[test]
fn no_way_of_writing_a_path_goes_around_the_key() {
    let (origin, proxy) = start();
    for path in [
        "/admin",
        "//admin",
        "/./admin",
        "/x/../admin",
        "/x/%2e%2e/admin",
        "/%61dmin",
        "/admin%2f",
        "/x%2f..%2fadmin",
        "/%2fadmin",
        "/admin;a=b",
        "/x/..;/admin",
        "/admin%00",
        "/admin%0a",
        "\\admin",
        "/x%5c..%5cadmin",
        "/%2561dmin",
        "/%c0%ae%c0%ae/admin",
        "http://api.test/admin",
        "http://api.test//x/../admin",
        "/x/../../admin",
        "/open/../admin/",
        "/admin/../admin",
        "/admin#x",
        "/x?/../admin",
    ] {
        let response = proxy.get(path);
        let seen: Vec<String> = origin.seen().iter().map(|request| request.target().to_owned()).collect();
        if path != "/x?/../admin" {
            assert!([400, 401].contains(&response.status()), "{path}: {response:?}, {seen:?}");
        }
        assert!(seen.iter().all(|target| !lenient(target).starts_with("admin")), "{path}: {seen:?}");
    }
}

#[test]
fn the_path_that_was_matched_is_the_one_that_is_sent() {
    let (origin, proxy) = start();
    for (path, sent) in [
        ("/a/./b/../c", "/a/c"),
        ("/%7euser/%41", "/~user/A"),
        ("/a%20b?q=%2e%2e/admin", "/a%20b?q=%2e%2e/admin"),
        ("http://api.test/x?y", "/x?y"),
    ] {
        assert_eq!(proxy.get(path).status(), 200, "{path}");
        assert_eq!(origin.last().target(), sent, "{path}");
    }
}

#[test]
fn a_request_with_two_ends_is_refused_and_its_connection_closed() {
    let (origin, proxy) = start();
    for (what, head) in [
        ("two lengths", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\n"),
        ("a list of lengths", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4, 5\r\n\r\n"),
        ("a sign", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +4\r\n\r\n"),
        ("another coding", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n"),
        ("chunked, and then more", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, gzip\r\n\r\n"),
        ("chunked, misspelt", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n"),
    ] {
        let mut client = proxy.client();
        client.send(format!("{head}0\r\n\r\nGET /admin HTTP/1.1\r\nhost: a\r\n\r\n"));
        let response = client.response();
        assert!([400, 501].contains(&response.status()), "{what}: {response:?}");
        assert!(client.is_closed(), "{what}: what follows is no request");
        assert!(origin.seen().is_empty(), "{what}");
    }
}

#[test]
fn what_hides_behind_a_length_and_chunks_never_becomes_a_request() {
    let (origin, proxy) = start();
    for fields in ["content-length: 4\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ncontent-length: 4"]
    {
        let mut client = proxy.client();
        client.send(format!(
            "POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nhost: a\r\n\r\n"
        ));
        // RFC 9112, section 6.3: refused, or read by its chunks alone; and then the connection ends.
        assert!([200, 400].contains(&client.response().status()), "{fields:?}");
        assert!(client.is_closed(), "{fields:?}: what follows is no request");
        for request in origin.seen() {
            assert_eq!((request.target(), request.body.len()), ("/", 0), "{fields:?}: {request:?}");
            let ends = ["content-length", "transfer-encoding"].map(|name| request.header(name));
            assert!(ends.contains(&None), "{fields:?}: one end for the server behind: {request:?}");
        }
    }
}

#[test]
fn a_request_names_one_host() {
    let (origin, proxy) = start();
    for (what, head) in [
        ("none", "GET / HTTP/1.1\r\n\r\n"),
        ("two", "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"),
        ("two that are the same", "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n"),
        ("a path", "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n"),
        ("a user", "GET / HTTP/1.1\r\nhost: u@a\r\n\r\n"),
        ("a port that is none", "GET / HTTP/1.1\r\nhost: a:99999\r\n\r\n"),
        ("another one in the target", "GET http://b/ HTTP/1.1\r\nhost: u@a\r\n\r\n"),
    ] {
        let mut client = proxy.client();
        client.send(head);
        let response = client.response();
        assert_eq!(response.status(), 400, "{what}: {response:?}");
        assert!(origin.seen().is_empty(), "{what}");
    }
}

#[test]
fn fields_of_one_connection_stay_on_it() {
    let (origin, proxy) = start();
    let fields = [
        ("connection", "close, x-private"),
        ("x-private", "1"),
        ("te", "gzip"),
        ("proxy-connection", "keep-alive"),
        ("x_forwarded_for", "10.0.0.1"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-public", "1"),
    ];
    assert_eq!(proxy.client().request("GET", "/", &fields, b"").status(), 200);
    let request = origin.last();
    for gone in ["x-private", "te", "proxy-connection", "x_forwarded_for"] {
        assert_eq!(request.header(gone), None, "{gone}: {request:?}");
    }
    assert_eq!(request.header("x-public"), Some("1"));
    assert!(!format!("{request:?}").contains("10.0.0.1"), "nobody is trusted here: {request:?}");
}

#[test]
fn methods_that_open_tunnels_or_echo_are_refused() {
    let (origin, proxy) = start();
    for request in ["CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n", "TRACE / HTTP/1.1\r\nhost: a\r\n\r\n"] {
        let mut client = proxy.client();
        client.send(request);
        assert_eq!(client.response().status(), 405, "{request:?}");
    }
    assert!(origin.seen().is_empty());
}

#[test]
fn a_response_with_two_ends_is_a_502() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nab",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        "not HTTP at all\r\n\r\n",
    ] {
        let origin = Origin::start(|_| answer.into());
        let config =
            format!("upstream.o.endpoints = [\"{}\"]\nroute.a = {{ path = \"/\", upstream = \"o\" }}", origin.url());
        let proxy = Proxy::start(&config, &[]);
        assert_eq!(proxy.get("/").status(), 502, "{answer:?}");
    }
}

#[test]
fn an_upstream_sees_its_own_host_or_the_one_that_was_asked_for() {
    let origin = Origin::fine();
    let url = origin.url();
    let proxy = Proxy::start(
        &format!(
            "[upstream.own]\nendpoints = [\"{url}\"]\n[upstream.kept]\nendpoints = [\"{url}\"]\npreserve-host = true\n\
             [route.own]\npath-prefix = \"/own\"\nupstream = \"own\"\n\
             [route.kept]\npath-prefix = \"/kept\"\nupstream = \"kept\"\n"
        ),
        &[],
    );
    let own = url.trim_start_matches("http://");
    for (target, host) in [("/own", own), ("/kept", "api.test:81"), ("http://API.test:81/kept?x", "api.test:81")] {
        let mut client = proxy.client();
        client.send(format!("GET {target} HTTP/1.1\r\nhost: API.test.:81\r\n\r\n"));
        let response = client.response();
        assert_eq!(response.status(), 200, "{target}: {response:?}");
        let seen = origin.last();
        assert_eq!(seen.header("host"), Some(host), "{target}: {seen:?}");
        assert!(seen.target().starts_with('/'), "{seen:?}");
    }
}
