//! Upstreams that speak HTTP/2, and gRPC from its client to its server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Request, Response};
use tokio_rustls::TlsAcceptor;

use crate::harness::backend::{Backend, all, answer, run, send};
use crate::harness::{Gate, Identity, Origin, Proxy, answer as whole, until};

fn call(path: &str, timeout: Option<&str>) -> Request<()> {
    let request = Request::post(format!("http://api.test{path}"));
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    match timeout {
        Some(timeout) => request.header("grpc-timeout", timeout),
        None => request,
    }
    .body(())
    .expect("a request")
}

fn status(fields: &HeaderMap) -> &str {
    fields.get("grpc-status").expect("a status").to_str().expect("digits")
}

#[test]
fn requests_of_many_clients_share_connections() {
    const CLIENTS: usize = 20;
    let gate = Gate::default();
    let held = gate.clone();
    let backend = Backend::start(100, move |mut asked| {
        let gate = held.clone();
        async move {
            tokio::task::spawn_blocking(move || gate.pass()).await.expect("no panic");
            let request = &asked.request;
            let text = format!("{} {} {:?}", request.method(), request.uri(), request.headers().get("connection"));
            answer(&mut asked.respond, text);
        }
    });
    let proxy = Proxy::start(&backend.config(), &[]);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| proxy.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(format!("GET /{number}?q=1 HTTP/1.1\r\nhost: api.test\r\nconnection: keep-alive\r\n\r\n"));
    }
    gate.arrived(CLIENTS);
    gate.open();
    for (number, client) in clients.iter_mut().enumerate() {
        let response = client.response();
        assert_eq!(response.text(), format!("GET http://{}/{number}?q=1 None", backend.address), "{response:?}");
    }
    // One for each worker, and not one for each request.
    assert!((1..=2).contains(&backend.connections.load(SeqCst)));
}

#[test]
fn a_server_gets_no_more_streams_than_it_takes() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let backend = Backend::start(1, move |mut asked| {
        let (now, most) = (now.clone(), seen.clone());
        async move {
            most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            now.fetch_sub(1, SeqCst);
            answer(&mut asked.respond, "fine".into());
        }
    });
    let proxy = Proxy::start(&backend.config(), &[]);
    let mut clients: Vec<_> = (0..40).map(|_| proxy.client()).collect();
    for _ in 0..5 {
        clients.iter_mut().for_each(|client| client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi"));
        for client in &mut clients {
            let response = client.response();
            assert_eq!((response.status(), response.text().as_str()), (200, "fine"), "{response:?}");
        }
    }
    // Eight connections of each worker at most.
    assert!(backend.connections.load(SeqCst) <= 16 && most.load(SeqCst) <= 16);
}

/// RFC 9113, section 8.7: what was certainly not processed is sent again whatever its method; what may have been is not.
#[test]
fn only_what_was_refused_is_sent_again() {
    for (reason, status, asked) in [(Reason::REFUSED_STREAM, 200, 2), (Reason::CANCEL, 502, 1)] {
        let seen = Arc::new(AtomicUsize::new(0));
        let counted = seen.clone();
        let backend = Backend::start(100, move |mut asked| {
            counted.fetch_add(1, SeqCst);
            async move {
                match asked.number {
                    0 => asked.respond.send_reset(reason),
                    _ => answer(&mut asked.respond, "second".into()),
                }
            }
        });
        let proxy = Proxy::start(&backend.config(), &[]);
        assert_eq!(proxy.client().request("POST", "/", &[], b"body").status(), status, "{reason:?}");
        assert_eq!(seen.load(SeqCst), asked, "{reason:?}");
    }
}

/// That a connection comes about is part of what is asked.
#[test]
fn checks_keep_no_connection() {
    let backend = Backend::start(100, |mut asked| async move { answer(&mut asked.respond, "fine".into()) });
    let health = "health = { path = \"/well\", interval = \"50ms\" }\n[route.all]";
    let _proxy = Proxy::start(&backend.config().replace("[route.all]", health), &[]);
    until("each check makes one", || backend.connections.load(SeqCst) >= 3);
}

#[test]
fn a_connection_that_its_server_ends_is_replaced() {
    let backend = Backend::start(100, |mut asked| async move { answer(&mut asked.respond, "fine".into()) });
    let proxy = Proxy::start(&backend.config(), &[]);
    let mut client = proxy.client();
    for _ in 0..10 {
        assert_eq!(client.request("POST", "/last", &[], b"body").status(), 200);
    }
    assert!(backend.connections.load(SeqCst) >= 5);
}

#[test]
fn long_bodies_flow_both_ways() {
    let backend = Backend::start(100, |mut asked| async move {
        let (bytes, _) = all(asked.request.into_body()).await;
        let mut stream = asked.respond.send_response(Response::new(()), false).expect("an open stream");
        send(&mut stream, bytes.into(), true).await;
    });
    let proxy = Proxy::start(&backend.config(), &[]);
    let body: Vec<u8> = (0..3 << 20).map(|at: u32| (at >> 8) as u8).collect();
    let response = proxy.client().request("POST", "/", &[], &body);
    assert!(response.body == body, "{} bytes", response.body.len());
}

/// All four kinds of calls are this one: messages both ways, each at once, and a status at the end.
#[test]
fn a_call_of_grpc_goes_both_ways_at_once() {
    let backend = Backend::start(100, |mut asked| async move {
        assert_eq!(asked.request.headers()["te"], "trailers");
        assert_eq!(asked.request.headers()["grpc-timeout"], "30S");
        let response = Response::builder().header("content-type", "application/grpc").body(()).expect("a head");
        let mut stream = asked.respond.send_response(response, false).expect("an open stream");
        let mut body = asked.request.into_body();
        while let Some(message) = body.data().await {
            let message = message.expect("a message");
            body.flow_control().release_capacity(message.len()).expect("a window");
            stream.send_data(message, false).expect("an open stream");
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().expect("a value"));
        trailers.insert("x-detail", "done".parse().expect("a value"));
        stream.send_trailers(trailers).expect("an open stream");
    });
    let proxy = Proxy::start(&backend.config(), &[]);
    run(&proxy, async |mut client| {
        let (response, mut stream) = client.send_request(call("/s/Chat", Some("30S")), false).expect("it is sent");
        let mut body = response.await.expect("a head before the first message").into_body();
        for number in 0..5_u8 {
            stream.send_data(Bytes::from(vec![number; 10]), false).expect("an open stream");
            // Each comes back before the next one is sent.
            assert_eq!(body.data().await.expect("a message").expect("a message"), vec![number; 10]);
        }
        stream.send_data(Bytes::new(), true).expect("an open stream");
        let (rest, trailers) = all(body).await;
        let trailers = trailers.expect("trailers");
        assert_eq!((rest.len(), status(&trailers), &trailers["x-detail"]), (0, "0", &"done".parse().expect("a value")));
    });
    assert!(proxy.stop().contains("\"reason\":\"ok\""));
}

#[test]
fn a_call_ends_at_its_deadline() {
    let backend = Backend::start(100, |mut asked| async move {
        let path = asked.request.uri().path().to_owned();
        let mut stream = None;
        if path == "/s/Begun" {
            let response = Response::builder().header("content-type", "application/grpc").body(()).expect("a head");
            let begun = stream.insert(asked.respond.send_response(response, false).expect("an open stream"));
            begun.send_data(Bytes::from_static(b"first"), false).expect("an open stream");
        }
        // For ever, or until the proxy has enough.
        let reset = std::future::poll_fn(|context| match &mut stream {
            Some(stream) => stream.poll_reset(context),
            None => asked.respond.poll_reset(context),
        });
        assert_eq!(reset.await.expect("a reset"), Reason::CANCEL);
    });
    let proxy = Proxy::start(&backend.config(), &[]);
    run(&proxy, async |mut client| {
        let (response, _stream) = client.send_request(call("/s/Silent", Some("50m")), false).expect("it is sent");
        let response = response.await.expect("a head");
        assert_eq!((response.status().as_u16(), status(response.headers())), (200, "4"));
        assert!(response.body().is_end_stream(), "a status without a body");

        let (response, _stream) = client.send_request(call("/s/Begun", Some("200m")), false).expect("it is sent");
        let (body, trailers) = all(response.await.expect("a head").into_body()).await;
        assert_eq!((body.as_slice(), status(&trailers.expect("trailers"))), (b"first".as_slice(), "4"));
    });
    assert_eq!(proxy.stop().matches("\"reason\":\"total-timeout\"").count(), 2);
}

#[test]
fn a_call_that_breaks_off_ends_with_a_status() {
    let backend = Backend::start(100, |mut asked| async move {
        let response = Response::builder().header("content-type", "application/grpc").body(()).expect("a head");
        let mut stream = asked.respond.send_response(response, false).expect("an open stream");
        send(&mut stream, Bytes::from_static(b"first"), false).await;
        // Only once the client has the first message is it broken off.
        let (_, _) = all(asked.request.into_body()).await;
        stream.send_reset(Reason::INTERNAL_ERROR);
    });
    let proxy = Proxy::start(&backend.config(), &[]);
    run(&proxy, async |mut client| {
        let (response, mut stream) = client.send_request(call("/s/Breaks", None), false).expect("it is sent");
        let mut body = response.await.expect("a head").into_body();
        assert_eq!(body.data().await.expect("a message").expect("a message"), "first");
        stream.send_data(Bytes::new(), true).expect("an open stream");
        let (rest, trailers) = all(body).await;
        assert_eq!((rest.len(), status(&trailers.expect("trailers"))), (0, "14"));
    });
    assert!(proxy.stop().contains("\"reason\":\"upstream-body\""));
}

#[test]
fn with_tls_the_endpoint_chooses() {
    let identity = Identity::new(&["127.0.0.1"]);
    let folder = tempfile::tempdir().expect("a folder");
    identity.write(folder.path(), "root");
    let mut config = rustls::ServerConfig::clone(&identity.server());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let newer = Backend::start_with(100, Some(TlsAcceptor::from(Arc::new(config))), |mut asked| async move {
        answer(&mut asked.respond, asked.request.uri().to_string());
    });
    let older = Origin::start_tls(&identity, |_| whole("text/plain", "older"));
    let proxy = |address: SocketAddr, protocol: &str| {
        let roots = folder.path().join("root.pem");
        let config = format!(
            "[upstream.u]\nendpoints = [\"https://{address}\"]\nprotocol = \"{protocol}\"\ntls = {{ roots = {roots:?} }}\n\
             [route.all]\npath-prefix = \"/\"\nupstream = \"u\"\n"
        );
        Proxy::start(&config, &[])
    };
    for protocol in ["http2", "auto"] {
        let proxy = proxy(newer.address, protocol);
        let mut client = proxy.client();
        for _ in 0..3 {
            let response = client.request("GET", "/a", &[], b"");
            assert_eq!(response.text(), format!("https://{}/a", newer.address), "{protocol} {response:?}");
        }
    }
    assert_eq!(newer.connections.load(SeqCst), 2, "one for each proxy");
    let auto = proxy(older.address(), "auto");
    let mut client = auto.client();
    for _ in 0..3 {
        assert_eq!(client.request("POST", "/a", &[], b"body").text(), "older");
    }
    assert_eq!(older.accepted(), 1, "the connection that showed it serves");
    let strict = proxy(older.address(), "http2");
    let response = strict.client().request("GET", "/a", &[], b"");
    assert_eq!((response.status(), response.code()), (502, "upstream-tls".to_owned()));
}
