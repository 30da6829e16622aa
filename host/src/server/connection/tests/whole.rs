//! Bodies are whole or visibly not.

use http::Method;
use http_body::Frame;

use super::*;
use crate::body::BodyError;

/// A response body that a test feeds.
struct Fed(mpsc::UnboundedReceiver<Result<Bytes, BodyError>>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(context).map(|next| next.map(|piece| piece.map(Frame::data)))
    }
}

#[test]
fn a_body_that_is_late_or_too_long_is_refused_and_the_client_can_read_why() {
    run(async {
        let served = Served::new(echo, None);
        let begun = Instant::now();
        let mut client = served.connect().await;
        write(&mut client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab").await;
        let (answer, ended) = rest(&mut client).await;
        assert!(status_of(&answer) == "408" && ended, "{answer}");
        assert!((30..=32).contains(&begun.elapsed().as_secs()));

        let mut client = served.connect().await;
        write(&mut client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123456789").await;
        assert_eq!(status_of(&response(&mut client).await), "413");

        // It is refused at the ninth byte; the client goes on, and reads the answer all the same.
        let mut client = served.connect().await;
        write(&mut client, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n").await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        for _ in 0..10 {
            client.write_all(&[b'x'; 4096]).await.unwrap();
        }
        client.shutdown().await.unwrap();
        let (answer, ended) = rest(&mut client).await;
        assert!(status_of(&answer) == "413" && ended, "{answer}");
    });
}

#[test]
fn a_body_that_drips_is_refused_and_its_connection_ends() {
    run(async {
        let rate = limits().body_rate;
        let served =
            Served::new(move |request: Request<Body>, peer| echo(request.map(|body| body.rate(rate)), peer), None);
        for (fields, piece) in [("Content-Length: 8", "x"), ("Transfer-Encoding: chunked", "1\r\nx\r\n")] {
            let begun = Instant::now();
            let mut client = served.connect().await;
            write(&mut client, &format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n")).await;
            let (mut reading, mut writing) = client.into_split();
            spawn_local(async move {
                while writing.write_all(piece.as_bytes()).await.is_ok() {
                    tokio::time::sleep(Duration::from_secs(3)).await;
                }
            });
            let answer = response(&mut reading).await;
            assert!(status_of(&answer) == "408" && answer.contains("\r\nconnection: close\r\n"), "{answer}");
            assert!((9..=11).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        }
    });
}

#[test]
fn a_broken_response_never_looks_whole() {
    run(async {
        let (feeds, mut feed) = mpsc::unbounded_channel();
        let served = Served::new(
            move |_, _| {
                let (feed, body) = mpsc::unbounded_channel();
                feed.send(Ok(Bytes::from_static(b"half"))).unwrap();
                feeds.send(feed).unwrap();
                std::future::ready(Response::new(Body::stream(Fed(body))))
            },
            None,
        );
        for version in ["1.1", "1.0"] {
            let mut client = served.connect().await;
            write(&mut client, &format!("GET / HTTP/{version}\r\nHost: x\r\n\r\n")).await;
            let mut begin = [0; 15];
            client.read_exact(&mut begin).await.unwrap();
            assert_eq!(begin[8..], *b" 200 OK");
            feed.recv().await.unwrap().send(Err(BodyError::Idle)).unwrap();
            let (answer, ended) = rest(&mut client).await;
            assert!(!answer.contains("\r\n0\r\n"), "{answer}");
            // Where only the end of the connection says that the body is over, that must not come in good order.
            assert_eq!(ended, version == "1.1");
            assert_eq!(answer.contains("transfer-encoding: chunked"), version == "1.1");
        }
        let mut sender = served.http2().await;
        let (answer, _) = sender.send_request(Request::get("http://x/").body(()).unwrap(), true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "half");
        feed.recv().await.unwrap().send(Err(BodyError::Idle)).unwrap();
        let error = body.data().await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
    });
}

#[test]
fn half_a_request_is_never_whole() {
    run(async {
        let (ends, mut ended) = mpsc::unbounded_channel();
        let served = Served::new(
            move |request: Request<Body>, _| {
                let ends = ends.clone();
                // It goes on when the client has gone.
                let reading = spawn_local(async move {
                    ends.send(None).unwrap();
                    ends.send(Some(request.into_body().collect(99).await)).unwrap();
                });
                async move {
                    reading.await.unwrap();
                    Response::new(Body::Empty)
                }
            },
            None,
        );
        for reason in [h2::Reason::NO_ERROR, h2::Reason::CANCEL] {
            let mut sender = served.http2().await;
            let (_answer, mut body) = sender.send_request(Request::post("http://x/").body(()).unwrap(), false).unwrap();
            body.send_data(Bytes::from_static(b"half"), false).unwrap();
            assert!(ended.recv().await.unwrap().is_none());
            body.send_reset(reason);
            let end = ended.recv().await.unwrap().unwrap();
            assert!(matches!(end, Err(BodyError::Broken(_))), "{reason:?}: {end:?}");
        }
        for half in ["Content-Length: 9\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
            let mut client = served.connect().await;
            write(&mut client, &format!("POST / HTTP/1.1\r\nHost: x\r\n{half}")).await;
            assert!(ended.recv().await.unwrap().is_none());
            client.shutdown().await.unwrap();
            let end = ended.recv().await.unwrap().unwrap();
            assert!(matches!(end, Err(BodyError::Broken(_))), "{half:?}: {end:?}");
        }
    });
}

#[test]
fn a_length_is_true_whatever_the_head_said() {
    run(async {
        let served = Served::new(
            async |request: Request<Body>, _: Rc<Peer>| {
                let empty = request.method() == Method::HEAD;
                let body = if empty { Body::Empty } else { Body::from("hello") };
                Response::builder().header("content-length", "3").body(body).unwrap()
            },
            None,
        );
        let mut client = served.connect().await;
        write(&mut client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let answer = response(&mut client).await;
        assert!(answer.contains("\r\ncontent-length: 5\r\n") && body_of(&answer) == "hello", "{answer}");
        write(&mut client, "HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(rest(&mut client).await.0.contains("\r\ncontent-length: 3\r\n"));
    });
}
