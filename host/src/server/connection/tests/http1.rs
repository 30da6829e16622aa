//! What HTTP/1 alone has.

use std::cell::Cell;

use http_body::{Body as _, Frame};

use super::*;
use crate::body::BodyError;

/// Frames by script.
struct Frames(Vec<Frame<Bytes>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready((!self.0.is_empty()).then(|| Ok(self.0.remove(0))))
    }
}

/// Everything that comes, until this is its end.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        match stream.read_u8().await {
            Ok(byte) => read.push(byte),
            Err(_) => panic!("ended after {:?}", String::from_utf8_lossy(&read)),
        }
    }
    String::from_utf8(read).unwrap()
}

#[test]
fn a_client_that_waits_to_be_asked_for_its_body_is_asked_when_it_is_wanted() {
    run(async {
        let served = Served::new(
            async |request: Request<Body>, peer: Rc<Peer>| match request.uri().path() {
                "/wanted" => echo(request, peer).await,
                _ => Response::new(Body::from("no")),
            },
            None,
        );
        let post = |path, length, rest| {
            format!("POST {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n{rest}")
        };
        let mut client = served.connect().await;
        write(&mut client, &post("/wanted", 5, "")).await;
        assert_eq!(until(&mut client, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        write(&mut client, "hello").await;
        assert_eq!(body_of(&response(&mut client).await), "POST /wanted hello");
        // One that did not wait is not asked, and one that has no body neither.
        write(&mut client, &post("/wanted", 5, "hello")).await;
        assert_eq!(body_of(&response(&mut client).await), "POST /wanted hello");
        write(&mut client, &post("/wanted", 0, "")).await;
        assert_eq!(body_of(&response(&mut client).await), "POST /wanted ");
        // Nobody wants this one, and whether the client sends it is its own affair: the connection ends.
        write(&mut client, &post("/", 5, "")).await;
        let (answer, ended) = rest(&mut client).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("\r\nconnection: close\r\n") && ended,
            "{answer}"
        );
    });
}

#[test]
fn what_nobody_read_of_a_body_is_thrown_away_if_it_is_little() {
    run(async {
        let served = Served::new(async |_, _: Rc<Peer>| Response::new(Body::from("no")), None);
        let second = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        for (framing, body, kept) in [
            ("Content-Length: 60000", "x".repeat(60_000), true),
            ("Content-Length: 70000", "x".repeat(70_000), false),
            ("Transfer-Encoding: chunked", format!("{:x}\r\n{}\r\n0\r\n\r\n", 60_000, "x".repeat(60_000)), true),
            ("Transfer-Encoding: chunked", format!("{:x}\r\n{}\r\n0\r\n\r\n", 70_000, "x".repeat(70_000)), false),
            ("Transfer-Encoding: chunked", "5\r\nhello!\r\n0\r\n\r\n".to_owned(), false),
        ] {
            let mut client = served.connect().await;
            write(&mut client, &format!("POST / HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n")).await;
            let first = response(&mut client).await;
            assert_eq!(body_of(&first), "no", "{framing}");
            write(&mut client, &body).await;
            write(&mut client, second).await;
            let (rest, ended) = rest(&mut client).await;
            assert_eq!((rest.ends_with("no"), ended), (kept, true), "{framing} {}", body.len());
        }
    });
}

#[test]
fn clients_of_http_1_0_get_what_they_know() {
    run(async {
        let stream = |_| Response::new(Body::stream(Frames(vec![Frame::data(Bytes::from_static(b"hello"))])));
        let served = Served::new(
            move |request: Request<Body>, peer| async move {
                if request.uri().path() == "/" { echo(request, peer).await } else { stream(()) }
            },
            None,
        );
        let mut client = served.connect().await;
        write(&mut client, "GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n").await;
        let answer = response(&mut client).await;
        assert!(answer.contains("\r\nconnection: keep-alive\r\n") && body_of(&answer) == "GET / ", "{answer}");
        write(&mut client, "GET /stream HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n").await;
        let (answer, ended) = rest(&mut client).await;
        assert!(answer.contains("\r\nconnection: close\r\n") && ended, "{answer}");
        assert!(!answer.contains("transfer-encoding") && !answer.contains("content-length"), "{answer}");
        assert_eq!(body_of(&answer), "hello");

        let mut client = served.connect().await;
        write(&mut client, "GET / HTTP/1.0\r\nHost: x\r\n\r\n").await;
        assert_eq!(body_of(&rest(&mut client).await.0), "GET / ");
    });
}

#[test]
fn trailers_pass_to_clients_that_read_them() {
    run(async {
        let served = Served::new(
            async |request: Request<Body>, _: Rc<Peer>| {
                // Those of the request, as those of the response.
                let mut body = request.into_body();
                let mut frames = Vec::new();
                while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
                    frames.push(frame.unwrap());
                }
                Response::new(Body::stream(Frames(frames)))
            },
            None,
        );
        for (takes, end) in [("TE: trailers\r\n", "0\r\nx-sum: 1\r\n\r\n"), ("", "0\r\n\r\n")] {
            let mut client = served.connect().await;
            let head = format!("POST / HTTP/1.1\r\nHost: x\r\n{takes}Transfer-Encoding: chunked\r\n\r\n");
            write(&mut client, &format!("{head}5\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 7\r\n\r\n")).await;
            let answer = until(&mut client, end).await;
            assert_eq!(body_of(&answer), format!("5\r\nhello\r\n{end}"));
        }
    });
}

#[test]
fn an_answer_to_head_has_no_body_and_says_what_get_would_get() {
    run(async {
        let served = Served::new(
            async |request: Request<Body>, _: Rc<Peer>| {
                let body = match request.uri().path() {
                    "/full" => Body::from("hello"),
                    "/none" => Body::Empty,
                    _ => Body::stream(Frames(vec![Frame::data(Bytes::from_static(b"hello"))])),
                };
                let status = if request.uri().path() == "/204" { 204 } else { 200 };
                Response::builder().status(status).body(body).unwrap()
            },
            None,
        );
        let mut client = served.connect().await;
        for (path, says) in [
            ("HEAD /full", "content-length: 5\r\n"),
            ("HEAD /none", ""),
            ("HEAD /stream", "transfer-encoding: chunked\r\n"),
            ("GET /204", ""),
        ] {
            write(&mut client, &format!("{path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            let head = until(&mut client, "\r\n\r\n").await;
            let (start, date) = head.split_once("date: ").unwrap();
            assert!(start.starts_with("HTTP/1.1 20") && start.ends_with(&format!("\r\n{says}")), "{path}: {head}");
            assert_eq!(date.len(), "Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n".len());
        }
        // Nothing of a body is left on the connection.
        write(&mut client, "GET /full HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(body_of(&response(&mut client).await), "hello");
    });
}

#[test]
fn a_response_that_asks_for_the_end_gets_it() {
    run(async {
        let served = Served::new(
            async |_, _: Rc<Peer>| {
                Response::builder().header("connection", "x, close").header("x", "y").body(Body::from("bye")).unwrap()
            },
            None,
        );
        let mut client = served.connect().await;
        write(&mut client, &"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2)).await;
        let (answer, ended) = rest(&mut client).await;
        assert!(answer.matches("connection: close\r\n").count() == 1 && ended, "{answer}");
        assert_eq!(answer.matches("connection").count(), 1, "{answer}");
        assert!(answer.ends_with("bye"));
    });
}

#[test]
fn a_body_is_read_no_faster_than_it_is_wanted() {
    run(async {
        let (go, gone) = oneshot::channel::<()>();
        let gone = Cell::new(Some(gone));
        let served = Served::new(
            move |request: Request<Body>, _| {
                let gone = gone.take().unwrap();
                async move {
                    gone.await.unwrap();
                    let body = request.into_body().collect(usize::MAX).await.unwrap();
                    Response::new(Body::from(body.len().to_string().into_bytes()))
                }
            },
            None,
        );
        const LENGTH: usize = 32 << 20;
        let mut client = served.connect().await;
        write(&mut client, &format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {LENGTH}\r\n\r\n")).await;
        let (mut reading, mut writing) = client.into_split();
        let sent = Rc::new(Cell::new(0));
        let counted = sent.clone();
        spawn_local(async move {
            let piece = vec![0; 64 << 10];
            while counted.get() < LENGTH {
                writing.write_all(&piece).await.unwrap();
                counted.set(counted.get() + piece.len());
            }
            // Dropped, it would end our side.
            std::future::pending::<()>().await;
        });
        // Nobody reads, so what fits into the kernel's buffers is all that goes.
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(sent.get() < LENGTH, "{} bytes", sent.get());
        go.send(()).unwrap();
        assert_eq!(body_of(&response(&mut reading).await), LENGTH.to_string());
    });
}

#[test]
fn a_body_that_outlives_its_request_reads_nothing_of_the_next() {
    run(async {
        let (bodies, mut kept) = mpsc::unbounded_channel();
        let served = Served::new(
            move |request: Request<Body>, _| {
                bodies.send(request.into_body()).unwrap();
                std::future::ready(Response::new(Body::from("early")))
            },
            None,
        );
        let mut client = served.connect().await;
        write(&mut client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n").await;
        assert_eq!(body_of(&response(&mut client).await), "early");
        let first = kept.recv().await.unwrap();
        write(&mut client, "hello").await;
        write(&mut client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n").await;
        assert_eq!(body_of(&response(&mut client).await), "early");
        let second = kept.recv().await.unwrap();
        write(&mut client, "second").await;
        assert!(matches!(first.collect(99).await, Err(BodyError::Broken(_))));
        drop(client);
        assert!(matches!(second.collect(99).await, Err(BodyError::Broken(_))));
    });
}

/// Ten thousand of them are open, and most say nothing.
#[test]
fn a_connection_that_waits_is_small() {
    run(async {
        let carry = |_: Received, _: Rc<Peer>| async { Response::new(Body::Empty) };
        let connections = Rc::new(Connections::new(carry, limits(), None, Drain::new()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let socket = || async { Socket::Tcp(TcpStream::connect(address).await.unwrap()) };
        let serving = size_of_val(&connections.serve(socket().await, address, [0_u64; 5]));
        let open = connections.drain.enter();
        let greeting = size_of_val(&connections.greet(socket().await, address, &open));
        assert!(serving <= 528, "{serving} bytes while it is served");
        assert!(greeting <= 512, "{greeting} bytes until it has said something");
    });
}
