//! What upstreams may answer, and what never gets past us.

use super::*;

#[test]
fn bytes_after_a_response_never_become_the_next_one() {
    run(async {
        const POISONED: &str =
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
        let (address, _seen) = origin([&[POISONED], &[HELLO]]).await;
        let upstream = upstream(config([endpoint(address, false)]));
        assert_eq!(text(send(&upstream, get()).await.0.unwrap()).await, "hello");
        assert_eq!(upstream.peers[0].target.idle(), 0);
        assert_eq!(text(send(&upstream, get()).await.0.unwrap()).await, "hello");
    });
}

#[test]
fn what_is_not_http_is_refused_and_its_connection_closed() {
    const BAD: &[&str] = &[
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nhello",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 99 No\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 1000 No\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 600 No\r\nContent-Length: 0\r\n\r\n",
        "HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX y: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: a\r\n b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nno colon\r\n\r\n",
        "\x16\x03\x01\x02\x00hello hello",
        "hello hello hello\r\n\r\n",
    ];
    run(async {
        for bad in BAD {
            let (listener, address) = listen().await;
            let upstream = upstream(config([endpoint(address, false)]));
            let task = spawn_local(async move {
                let outcome = send(&upstream, get()).await.0;
                (outcome.err().map(|error| error.reason().clone()), upstream.peers[0].target.idle())
            });
            let mut stream = accept(&listener).await;
            head(&mut stream).await;
            stream.write_all(bad.as_bytes()).await.unwrap();
            let (reason, idle) = task.await.unwrap();
            assert_eq!((reason, idle), (Some(Reason::UpstreamProtocol), 0), "{bad:?}");
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0, "{bad:?}");
        }
    });
}

#[test]
fn heads_that_never_end_are_refused() {
    run(async {
        for fields in [5_000, 40_000] {
            let (listener, address) = listen().await;
            let task = spawn_local(async move { send(&upstream(config([endpoint(address, false)])), get()).await.0 });
            let mut stream = accept(&listener).await;
            head(&mut stream).await;
            let bad = format!("HTTP/1.1 200 OK\r\n{}", "x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(fields));
            // It is not read to its end.
            let _ = stream.write_all(bad.as_bytes()).await;
            assert_eq!(*task.await.unwrap().unwrap_err().reason(), Reason::UpstreamProtocol);
        }
    });
}

#[test]
fn harmless_answers_pass() {
    run(async {
        for (answer, status, body) in [
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                200,
                "ok",
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
            ("HTTP/1.1 200 Very Secret Reason\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, "ok"),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204, ""),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, ""),
            ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
            ("HTTP/1.0 200 OK\r\n\r\nok", 200, "ok"),
            ("HTTP/1.1 200 OK\r\n\r\nok", 200, "ok"),
        ] {
            let (listener, address) = listen().await;
            let upstream = upstream(config([endpoint(address, false)]));
            let task = spawn_local(async move { send(&upstream, get()).await.0 });
            let mut stream = accept(&listener).await;
            head(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
            drop(stream);
            let response = task.await.unwrap().unwrap();
            assert_eq!(response.status().as_u16(), status, "{answer:?}");
            assert!(response.headers().get_all("content-length").iter().count() <= 1);
            assert!(!response.headers().contains_key("transfer-encoding"));
            assert!(response.extensions().is_empty(), "the reason phrase is the upstream's");
            assert_eq!(text(response).await, body, "{answer:?}");
        }
    });
}

#[test]
fn a_body_that_breaks_off_is_never_whole() {
    run(async {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n+3\r\nabc\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloabc\r\n0\r\n\r\n",
        ] {
            let (address, _seen) = origin([Box::leak(Box::new([answer]))]).await;
            let upstream = upstream(config([endpoint(address, false)]));
            let response = send(&upstream, get()).await.0.unwrap();
            let error = response.into_body().collect(99).await.unwrap_err();
            assert!(matches!(error, BodyError::Broken(_)), "{answer:?}: {error}");
            assert_eq!(upstream.peers[0].target.idle(), 0);
        }
    });
}

/// What a GET gets from an origin that answers like that and then ends its side, and whether the connection was kept.
async fn get_from(answer: &[u8]) -> (Result<Response<Body>, Error>, usize) {
    let (listener, address) = listen().await;
    let upstream = upstream(config([endpoint(address, false)]));
    let task = spawn_local(async move {
        let response = send(&upstream, get()).await.0;
        (response, upstream.peers[0].target.idle())
    });
    let mut stream = accept(&listener).await;
    head(&mut stream).await;
    // It may not be read to its end.
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
    task.await.unwrap()
}

#[test]
fn what_hyper_takes_and_we_do_not() {
    run(async {
        for bad in [
            &b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nok",
            b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok",
            b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            b"x HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\n: 2\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 204 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 304 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        ] {
            let (response, idle) = get_from(bad).await;
            assert_eq!((response.unwrap_err().reason(), idle), (&Reason::UpstreamProtocol, 0), "{bad:?}");
        }
        // A body whose very beginning is bad is an answer that nobody has seen yet.
        for bad in ["5x\r\nhello\r\n", "0x5\r\nhello\r\n", "\n5\r\nhello\r\n", "5\nhello\n", "fffffffffffffffff\r\n"] {
            let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{bad}0\r\n\r\n");
            let (response, idle) = get_from(answer.as_bytes()).await;
            assert_eq!((response.unwrap_err().reason(), idle), (&Reason::UpstreamBody, 0), "{bad:?}");
        }
    });
}

#[test]
fn interim_responses_are_few() {
    run(async {
        let hints = |count| "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".repeat(count) + HELLO;
        assert_eq!(text(get_from(hints(16).as_bytes()).await.0.unwrap()).await, "hello");
        let (response, idle) = get_from(hints(5000).as_bytes()).await;
        assert_eq!((response.unwrap_err().reason(), idle), (&Reason::UpstreamProtocol, 0));
    });
}

#[test]
fn a_body_that_ends_with_its_connection_is_whole_and_the_connection_is_not_kept() {
    run(async {
        let long = "x".repeat(300_000);
        let (response, idle) = get_from(format!("HTTP/1.1 200 OK\r\n\r\n{long}").as_bytes()).await;
        assert_eq!((text(response.unwrap()).await, idle), (long, 0));
    });
}

#[test]
fn a_connection_on_which_an_answer_has_no_body_goes_on() {
    run(async {
        const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        const SAME: &str = "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n";
        const NONE: &str = "HTTP/1.1 204 No Content\r\n\r\n";
        const LAST: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
        let (address, _seen) = origin([&[HEAD, SAME, NONE, LAST], &[HELLO]]).await;
        let upstream = upstream(config([endpoint(address, false)]));
        for (method, reused) in [(Method::HEAD, false), (Method::GET, true), (Method::GET, true), (Method::GET, true)] {
            let (response, record) = send(&upstream, request(method, Body::Empty)).await;
            assert_eq!((response.is_ok(), record.reused), (true, reused));
        }
        assert!(!send(&upstream, get()).await.1.reused);
    });
}

#[test]
fn a_head_that_begins_like_garbage_is_refused_before_it_ends() {
    run(async {
        let (listener, address) = listen().await;
        let task = spawn_local(async move { send(&upstream(config([endpoint(address, false)])), get()).await.0 });
        let mut stream = accept(&listener).await;
        head(&mut stream).await;
        stream.write_all(b"220 mail.test ESMTP\r\n").await.unwrap();
        assert_eq!(*task.await.unwrap().unwrap_err().reason(), Reason::UpstreamProtocol);
    });
}
