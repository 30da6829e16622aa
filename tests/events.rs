//! Server-sent events: each at once, for as long as both sides want.

use bytes::Bytes;
use h2::RecvStream;
use http::Request;

use crate::harness::backend::run;
use crate::harness::{Client, Played, Proxy, guest, hello};

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\ntransfer-encoding: chunked\r\n\r\n";

/// Two events, a comment that keeps the connection, and an end of nothing.
const EVENTS: [&str; 4] = ["data: one\n\n", ": still here\n\n", "id: 2\ndata: two\n\n", "\n"];

/// A route with two plugins that work on heads, and limits of time that events must not mind.
fn config(upstream: &Played, more: &str) -> String {
    format!(
        "[upstream.u]\nendpoints = [\"{}\"]\ntimeouts = {{ total = \"2s\", idle = \"1m\" }}\n\
         [route.events]\npath = \"/events\"\nupstream = \"u\"\nchain = [\"tidy\", \"greeting\"]\n\
         [plugin.tidy]\ncomponent = \"headers\"\nconfig.response.set = {{ x-tidy = \"yes\" }}\n\
         [plugin.greeting]\ncomponent = \"greeting\"\nconfig.name = \"world\"\n{more}",
        upstream.url()
    )
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn ask(client: &mut Client) {
    client.send("GET /events HTTP/1.1\r\nhost: api.test\r\naccept: text/event-stream\r\n\r\n");
}

/// The head of a response whose body goes on.
fn head(client: &mut Client) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head += &client.take(1);
    }
    head
}

fn event(client: &mut Client, text: &str) {
    assert_eq!(client.take(chunk(text).len()), chunk(text));
}

#[test]
fn each_event_passes_at_once() {
    let upstream = Played::start();
    let proxy = Proxy::start(&config(&upstream, ""), &[("greeting", hello())]);
    let mut client = proxy.client();
    ask(&mut client);
    let mut line = upstream.accept();
    line.head();
    line.send(HEAD);
    // The head too: a client shows by it that it is connected.
    let head = head(&mut client);
    assert!(head.contains("\r\nx-tidy: yes\r\n") && head.contains("\r\nx-hello: "), "{head}");
    for text in EVENTS {
        line.send(chunk(text));
        event(&mut client, text);
    }
    line.send("0\r\n\r\n");
    assert_eq!(client.take(5), "0\r\n\r\n");
}

#[test]
fn each_event_passes_at_once_over_http2() {
    let upstream = Played::start();
    let proxy = Proxy::start(&config(&upstream, ""), &[("greeting", hello())]);
    run(&proxy, async |mut client| {
        let asked = Request::get("http://api.test/events").body(()).expect("a request");
        let (response, _) = client.send_request(asked, true).expect("it is sent");
        let mut line = tokio::task::spawn_blocking(move || upstream.accept()).await.expect("a connection");
        line.head();
        line.send(HEAD);
        let response = response.await.expect("a head");
        assert_eq!(response.headers()["x-tidy"], "yes");
        assert_eq!(response.headers()["x-hello"], "world");
        let mut body = response.into_body();
        for text in EVENTS {
            line.send(chunk(text));
            assert_eq!(next(&mut body).await, text);
        }
        line.send("0\r\n\r\n");
        assert!(body.data().await.is_none_or(|end| end.is_ok_and(|end| end.is_empty())));
    });
}

async fn next(body: &mut RecvStream) -> Bytes {
    body.data().await.expect("more").expect("an open stream")
}

/// Nor does a new version of a plugin on its way end it, nor the time that a whole response may take.
#[test]
fn a_stream_lives_through_reloads_that_leave_its_route_alone() {
    let upstream = Played::start();
    let proxy = Proxy::start(&config(&upstream, ""), &[("greeting", hello())]);
    let mut client = proxy.client();
    ask(&mut client);
    let mut line = upstream.accept();
    line.head();
    line.send(HEAD);
    head(&mut client);
    let other = "[route.other]\npath = \"/other\"\nupstream = \"u\"\n";
    for step in 0..3 {
        match step {
            0 => proxy.reload(&config(&upstream, other)).expect("a configuration"),
            1 => proxy.drop_in("greeting", &guest("goodbye")),
            _ => proxy.reload(&config(&upstream, "")).expect("a configuration"),
        }
        let text = format!("data: {step}\n\n");
        line.send(chunk(&text));
        event(&mut client, &text);
    }
    // Longer than `total`, in pieces of silence that are no end.
    for _ in 0..11 {
        assert!(line.is_silent());
    }
    line.send(chunk("data: late\n\n"));
    event(&mut client, "data: late\n\n");
    // The next request has the new plugin.
    let mut second = proxy.client();
    ask(&mut second);
    let mut line = upstream.accept();
    line.head();
    line.send(HEAD);
    let head = head(&mut second);
    assert!(head.contains("\r\nx-goodbye: ") && !head.contains("\r\nx-hello: "), "{head}");
}

#[test]
fn silence_ends_it_and_comments_keep_it() {
    let upstream = Played::start();
    let proxy =
        Proxy::start(&config(&upstream, "").replace("idle = \"1m\"", "idle = \"500ms\""), &[("greeting", hello())]);
    let mut client = proxy.client();
    ask(&mut client);
    let mut line = upstream.accept();
    line.head();
    line.send(HEAD);
    head(&mut client);
    for _ in 0..5 {
        // Each shorter than the limit, all together longer.
        assert!(line.is_silent());
        line.send(chunk(": \n\n"));
        event(&mut client, ": \n\n");
    }
    // It ends in a way that nobody takes for the end of the events.
    assert_eq!(client.rest(), "");
    assert!(line.is_closed());
    assert!(proxy.stop().contains("\"reason\":\"upstream-idle\""));
}

#[test]
fn a_client_that_leaves_ends_it_at_its_server() {
    for http2 in [false, true] {
        let upstream = Played::start();
        let proxy = Proxy::start(&config(&upstream, ""), &[("greeting", hello())]);
        let mut line = if http2 {
            run(&proxy, async |mut client| {
                let asked = Request::get("http://api.test/events").body(()).expect("a request");
                let (response, _) = client.send_request(asked, true).expect("it is sent");
                let mut line = tokio::task::spawn_blocking(move || upstream.accept()).await.expect("a connection");
                line.head();
                line.send(HEAD);
                let mut body = response.await.expect("a head").into_body();
                line.send(chunk(EVENTS[0]));
                assert_eq!(next(&mut body).await, EVENTS[0]);
                // The stream alone: the connection stays.
                drop(body);
                let closed = tokio::task::spawn_blocking(move || (line.is_closed(), line));
                let (closed, line) = closed.await.expect("no panic");
                assert!(closed);
                drop(client);
                line
            })
        } else {
            let mut client = proxy.client();
            ask(&mut client);
            let mut line = upstream.accept();
            line.head();
            line.send(HEAD);
            head(&mut client);
            line
        };
        // It hears of it without saying anything.
        assert!(line.is_closed());
        assert!(proxy.stop().contains("\"reason\":\"client-gone\""));
    }
}
