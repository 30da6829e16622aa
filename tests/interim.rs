//! What comes before a response: early hints, and bodies that a client keeps until it is asked for them.

use std::future::poll_fn;

use bytes::Bytes;
use h2::client::ResponseFuture;
use http::{Request, Response, StatusCode};

use crate::harness::backend::{Asked, Backend, all, answer, run};
use crate::harness::{Client, Played, Proxy};

const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

/// A route that takes a prefix away, and a plugin in its chain.
fn config(url: &str) -> String {
    format!(
        "upstream.u.endpoints = [\"{url}\"]\n[route.all]\npath-prefix = \"/app\"\nstrip-prefix = \"/app\"\nupstream = \"u\"\n\
         chain = [\"tidy\"]\n[plugin.tidy]\ncomponent = \"headers\"\nconfig.response.remove = [\"x-secret\"]\n"
    )
}

fn ask(client: &mut Client) {
    client.send("GET /app/page HTTP/1.1\r\nhost: api.test\r\n\r\n");
}

fn request(method: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://api.test{path}")).body(()).expect("a request")
}

/// The next interim response; none where the response comes first.
async fn interim(response: &mut ResponseFuture) -> Option<Response<()>> {
    poll_fn(|context| response.poll_informational(context)).await.map(|head| head.expect("an open stream"))
}

/// A hint that names its server in every way, and tells what a plugin would have taken out.
fn hint(upstream: &Played) -> String {
    let url = upstream.url();
    format!(
        "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload; as=style\r\nlink: <{url}/b.js>; rel=preload\r\n\
         server: nginx\r\nx-secret: yes\r\nset-cookie: a=b\r\ncontent-security-policy: style-src 'self'\r\nx-at: {url}\r\n\r\n"
    )
}

const CSS: &str = "</app/a.css>; rel=preload; as=style";
const JS: &str = "<http://api.test/app/b.js>; rel=preload";

#[test]
fn early_hints_reach_a_client_before_the_response_and_reveal_nothing() {
    let upstream = Played::start();
    let proxy = Proxy::start(&config(&upstream.url()), &[]);
    let mut client = proxy.client();
    ask(&mut client);
    let mut line = upstream.accept();
    // The second time over connections that are there.
    for _ in 0..2 {
        line.head();
        line.send(hint(&upstream));
        let early = client.response();
        assert_eq!(early.start, "HTTP/1.1 103 Early Hints");
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = [field("link", CSS), field("link", JS), field("content-security-policy", "style-src 'self'")];
        assert_eq!(early.headers, expected);
        line.send(FINE);
        let response = client.response();
        assert_eq!((response.status(), response.text().as_str()), (200, "fine"));
        ask(&mut client);
    }
}

#[test]
fn early_hints_reach_clients_of_http2() {
    let upstream = Played::start();
    let proxy = Proxy::start(&config(&upstream.url()), &[]);
    run(&proxy, async |mut client| {
        let (mut response, _) = client.send_request(request("GET", "/app/page"), true).expect("it is sent");
        let playing = tokio::task::spawn_blocking(move || {
            let mut line = upstream.accept();
            line.head();
            line.send(hint(&upstream));
            line
        });
        let mut line = playing.await.expect("no panic");
        let early = interim(&mut response).await.expect("a hint before the response");
        assert_eq!(early.status(), StatusCode::EARLY_HINTS);
        let links: Vec<_> = early.headers().get_all("link").iter().map(|link| link.to_str().expect("text")).collect();
        assert_eq!((links, early.headers().len()), (vec![CSS, JS], 3));
        line.send(FINE);
        assert!(interim(&mut response).await.is_none());
        assert_eq!(response.await.expect("a head").status(), 200);
    });
}

#[test]
fn early_hints_of_a_server_of_http2_are_passed_on_as_well() {
    let backend = Backend::start(100, |mut asked| async move {
        let hint = Response::builder().status(103).header("link", "</a.css>; rel=preload").header("x-secret", "yes");
        asked.respond.send_informational(hint.body(()).expect("a head")).expect("an open stream");
        answer(&mut asked.respond, "fine".into());
    });
    let proxy = Proxy::start(&backend.config(), &[]);
    let mut client = proxy.client();
    ask(&mut client);
    let early = client.response();
    assert_eq!(early.start, "HTTP/1.1 103 Early Hints");
    assert_eq!(early.headers, [("link".to_owned(), "</a.css>; rel=preload".to_owned())]);
    assert_eq!(client.response().text(), "fine");
    run(&proxy, async |mut client| {
        let (mut response, _) = client.send_request(request("GET", "/"), true).expect("it is sent");
        assert_eq!(interim(&mut response).await.expect("a hint").headers()["link"], "</a.css>; rel=preload");
        assert_eq!(response.await.expect("a head").status(), 200);
    });
}

/// RFC 9110, section 15.2: whoever does not know one takes it for a 100, but for clients of HTTP/1.0, which know none.
#[test]
fn others_pass_as_they_are_and_some_do_not() {
    let upstream = Played::start();
    let proxy = Proxy::start(&config(&upstream.url()), &[]);
    let serve = |bytes: String| {
        let mut line = upstream.accept();
        line.head();
        line.send(bytes);
        line
    };
    let interims = |statuses: &[u16]| -> String {
        statuses.iter().map(|status| format!("HTTP/1.1 {status} So\r\nx-a: b\r\n\r\n")).collect()
    };
    let mut client = proxy.client();
    ask(&mut client);
    let line = serve(interims(&[102, 100, 199]) + FINE);
    for status in [102, 199, 200] {
        assert_eq!(client.response().status(), status, "a 100 that nobody asked for is dropped");
    }
    // Whichever worker has the next client, there is no connection that it could use again.
    drop(line);
    let mut older = proxy.client();
    older.send("GET /app/page HTTP/1.0\r\nhost: api.test\r\n\r\n");
    let line = serve(interims(&[103, 199]) + FINE);
    let rest = older.rest();
    assert!(rest.starts_with("HTTP/1.1 200 OK\r\n") && rest.ends_with("\r\n\r\nfine"), "{rest}");
    drop(line);
    // A protocol that nobody asked for.
    ask(&mut client);
    let _line = serve(interims(&[103, 101]) + FINE);
    assert_eq!(client.response().status(), 103);
    let response = client.response();
    assert_eq!((response.status(), response.code()), (502, "upstream-protocol".to_owned()));
}

#[test]
fn a_server_that_never_comes_to_its_response_is_an_error() {
    let long = format!("HTTP/1.1 103 Early Hints\r\nlink: <{}>\r\n\r\n", "a".repeat(15_000));
    for (interim, most) in [("HTTP/1.1 103 Early Hints\r\n\r\n", 16), (long.as_str(), 4)] {
        let upstream = Played::start();
        let proxy = Proxy::start(&config(&upstream.url()), &[]);
        let mut client = proxy.client();
        ask(&mut client);
        let mut line = upstream.accept();
        line.head();
        // For as long as the proxy takes them.
        while std::io::Write::write_all(&mut line.0, interim.as_bytes()).is_ok() {}
        let mut early = 0;
        let response = loop {
            let response = client.response();
            if response.status() != 103 {
                break response;
            }
            early += 1;
        };
        assert_eq!((response.status(), response.code(), early), (502, "upstream-protocol".to_owned(), most));
    }
}

/// A request with a body of ten bytes, which is not sent with it.
fn expecting(client: &mut Client) {
    client.send("POST /app/up HTTP/1.1\r\nhost: api.test\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n");
}

#[test]
fn a_body_is_asked_for_when_the_server_asks() {
    let upstream = Played::start();
    let proxy = Proxy::start(&config(&upstream.url()), &[]);
    let mut client = proxy.client();
    expecting(&mut client);
    let mut line = upstream.accept();
    let head = line.head();
    assert!(head.contains("\r\nexpect: 100-continue\r\n") && head.contains("\r\ncontent-length: 10\r\n"), "{head}");
    line.send(CONTINUE);
    assert_eq!(client.response().start, "HTTP/1.1 100 Continue");
    client.send("0123456789");
    assert_eq!(line.take(10), "0123456789");
    line.send(FINE);
    assert_eq!(client.response().text(), "fine");
    // Both connections serve on.
    expecting(&mut client);
    line.head();
    line.send(CONTINUE);
    assert_eq!(client.response().status(), 100);
    client.send("0123456789");
    assert_eq!(line.take(10), "0123456789");
    line.send(FINE);
    assert_eq!(client.response().text(), "fine");
}

#[test]
fn a_server_that_refuses_gets_no_body_and_the_client_is_asked_for_none() {
    for (status, code) in [("417 Expectation Failed", 417), ("413 Content Too Large", 413), ("200 OK", 200)] {
        let upstream = Played::start();
        let proxy = Proxy::start(&config(&upstream.url()), &[]);
        let mut client = proxy.client();
        expecting(&mut client);
        let mut line = upstream.accept();
        line.head();
        line.send(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nno"));
        let response = client.response();
        assert_eq!((response.status(), response.text().as_str()), (code, "no"), "{response:?}");
        // What would follow may be the body or the next request, so nothing does.
        assert_eq!(response.header("connection"), Some("close"));
        assert!(client.is_closed() && line.is_closed());
    }
}

#[test]
fn a_plugin_refuses_before_the_body_is_asked_for() {
    let upstream = Played::start();
    let keys = "chain = [\"keys\"]\n[plugin.keys]\ncomponent = \"api-key\"\n\
         config.keys = [{ consumer = \"alice\", sha256 = \"9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f\" }]\n";
    let config = config(&upstream.url()).replace("chain = [\"tidy\"]\n", keys);
    let proxy = Proxy::start(&config, &[]);
    let mut client = proxy.client();
    expecting(&mut client);
    let response = client.response();
    assert_eq!((response.status(), response.header("connection")), (401, Some("close")));
    run(&proxy, async |mut client| {
        let mut refused = request("POST", "/app/up");
        refused.headers_mut().insert("expect", "100-continue".parse().expect("a value"));
        let (mut response, _body) = client.send_request(refused, false).expect("it is sent");
        assert!(interim(&mut response).await.is_none());
        assert_eq!(response.await.expect("a head").status(), 401);
    });
}

#[test]
fn a_server_that_does_not_ask_gets_the_body_all_the_same() {
    let upstream = Played::start();
    let proxy = Proxy::start(&config(&upstream.url()), &[]);
    let mut client = proxy.client();
    expecting(&mut client);
    let mut line = upstream.accept();
    line.head();
    // It reads before it answers, and the client would wait for ever.
    assert_eq!(client.response().status(), 100);
    client.send("0123456789");
    assert_eq!(line.take(10), "0123456789");
    line.send(FINE);
    assert_eq!(client.response().text(), "fine");
}

#[test]
fn a_client_that_does_not_wait_is_not_asked() {
    let upstream = Played::start();
    let proxy = Proxy::start(&config(&upstream.url()), &[]);
    let mut client = proxy.client();
    client.send(
        "POST /app/up HTTP/1.1\r\nhost: api.test\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n0123456789",
    );
    let mut line = upstream.accept();
    // Its body came with its head, and goes on with it.
    assert!(!line.head().contains("expect"));
    assert_eq!(line.take(10), "0123456789");
    line.send(FINE);
    assert_eq!(client.response().text(), "fine");
    // Later than that, it comes before anybody asked.
    expecting(&mut client);
    line.head();
    client.send("0123456789");
    line.send(CONTINUE);
    assert_eq!(line.take(10), "0123456789");
    line.send(FINE);
    assert_eq!(client.response().status(), 100);
    assert_eq!(client.response().text(), "fine");
}

#[test]
fn a_client_of_http2_is_asked_as_well() {
    let upstream = Played::start();
    let proxy = Proxy::start(&config(&upstream.url()), &[]);
    run(&proxy, async |mut client| {
        let mut expecting = request("POST", "/app/up");
        expecting.headers_mut().insert("expect", "100-continue".parse().expect("a value"));
        let (mut response, mut body) = client.send_request(expecting, false).expect("it is sent");
        let playing = tokio::task::spawn_blocking(move || {
            let mut line = upstream.accept();
            assert!(line.head().contains("\r\nexpect: 100-continue\r\n"));
            line.send(CONTINUE);
            line
        });
        assert_eq!(interim(&mut response).await.expect("it is asked").status(), 100);
        body.send_data(Bytes::from_static(b"0123456789"), true).expect("an open stream");
        let mut line = playing.await.expect("no panic");
        let line = tokio::task::spawn_blocking(move || {
            assert_eq!(line.take(20), "a\r\n0123456789\r\n0\r\n\r\n");
            line.send(FINE);
            line
        });
        assert_eq!(response.await.expect("a head").status(), 200);
        drop(line.await);
    });
}

#[test]
fn a_server_of_http2_asks_or_refuses() {
    let backend = Backend::start(100, |asked| async move {
        let Asked { request, mut respond, .. } = asked;
        assert_eq!(request.headers()["expect"], "100-continue");
        if request.uri().path() == "/app/no" {
            let refusal = Response::builder().status(417).body(()).expect("a head");
            respond.send_response(refusal, true).expect("an open stream");
            return;
        }
        if request.uri().path() == "/app/up" {
            let go_on = Response::builder().status(100).body(()).expect("a head");
            respond.send_informational(go_on).expect("an open stream");
        }
        let (bytes, _) = all(request.into_body()).await;
        answer(&mut respond, String::from_utf8(bytes).expect("text"));
    });
    let proxy = Proxy::start(&backend.config(), &[]);
    for path in ["/app/up", "/app/silent"] {
        let mut client = proxy.client();
        client.send(format!("POST {path} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n"));
        assert_eq!(client.response().status(), 100);
        client.send("0123456789");
        assert_eq!(client.response().text(), "0123456789");
    }
    let mut client = proxy.client();
    client.send("POST /app/no HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n");
    assert_eq!(client.response().status(), 417);
    run(&proxy, async |mut client| {
        let mut expecting = request("POST", "/app/up");
        expecting.headers_mut().insert("expect", "100-continue".parse().expect("a value"));
        let (mut response, mut body) = client.send_request(expecting, false).expect("it is sent");
        assert_eq!(interim(&mut response).await.expect("it is asked").status(), 100);
        body.send_data(Bytes::from_static(b"0123456789"), true).expect("an open stream");
        assert_eq!(all(response.await.expect("a head").into_body()).await.0, b"0123456789");
    });
}
