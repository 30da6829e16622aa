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
        assert_eq!(upstream.targets[0].idle(), 0);
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
                (outcome.err().map(|error| error.reason().clone()), upstream.targets[0].idle())
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
            assert_eq!(upstream.targets[0].idle(), 0);
        }
    });
}
