//! How connections end.

use super::*;

#[test]
fn a_head_that_is_late_gets_408() {
    run(async {
        let served = Served::new(echo, None);
        let begun = Instant::now();
        let mut first = served.connect().await;
        write(&mut first, "GET / HTTP/1.1\r\nHost: x\r\n").await;
        let (answer, ended) = rest(&mut first).await;
        assert!(status_of(&answer) == "408" && answer.contains("\r\nconnection: close\r\n") && ended, "{answer}");
        assert!(body_of(&answer).contains("head-timeout"));
        assert_eq!(begun.elapsed().as_secs(), 10);

        // The second head on a connection has as long from its own first byte.
        let mut second = served.connect().await;
        write(&mut second, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        response(&mut second).await;
        tokio::time::sleep(Duration::from_secs(50)).await;
        let begun = Instant::now();
        for byte in "GET / HTTP/1.1\r\n".bytes() {
            if second.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let (answer, _) = rest(&mut second).await;
        assert_eq!(status_of(&answer), "408");
        assert!(begun.elapsed().as_secs() <= 17);
    });
}

#[test]
fn a_connection_without_requests_is_closed() {
    run(async {
        let served = Served::new(echo, None);
        let begun = Instant::now();
        let mut silent = served.connect().await;
        assert_eq!(rest(&mut silent).await, (String::new(), true));
        assert_eq!(begun.elapsed().as_secs(), 60);

        let mut used = served.connect().await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        write(&mut used, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        response(&mut used).await;
        let begun = Instant::now();
        assert_eq!(rest(&mut used).await, (String::new(), true));
        assert_eq!(begun.elapsed().as_secs(), 60);

        let begun = Instant::now();
        let (sender, connection) = h2_client::handshake(served.connect().await).await.unwrap();
        let connection = spawn_local(connection);
        let mut sender = sender.ready().await.unwrap();
        sender.send_request(Request::get("http://x/").body(()).unwrap(), true).unwrap().0.await.unwrap();
        connection.await.unwrap().unwrap();
        assert_eq!(begun.elapsed().as_secs(), 60);
    });
}

#[test]
fn a_client_that_leaves_ends_its_request() {
    struct Ends(mpsc::UnboundedSender<&'static str>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.send("ended").ok();
        }
    }
    run(async {
        let (events, mut seen) = mpsc::unbounded_channel();
        let served = Served::new(
            move |_, _| {
                events.send("begun").unwrap();
                let ends = Ends(events.clone());
                async move {
                    let _ends = ends;
                    std::future::pending().await
                }
            },
            None,
        );
        let mut client = served.connect().await;
        write(&mut client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(seen.recv().await, Some("begun"));
        drop(client);
        assert_eq!(seen.recv().await, Some("ended"));

        let mut sender = served.http2().await;
        let (answer, mut stream) = sender.send_request(Request::get("http://x/").body(()).unwrap(), true).unwrap();
        assert_eq!(seen.recv().await, Some("begun"));
        stream.send_reset(h2::Reason::CANCEL);
        drop((answer, stream));
        assert_eq!(seen.recv().await, Some("ended"));
    });
}

#[test]
fn a_client_that_resets_all_its_requests_loses_its_connection() {
    run(async {
        let (begin, mut begun) = mpsc::unbounded_channel();
        let served = Served::new(
            move |_, _| {
                begin.send(()).unwrap();
                std::future::pending()
            },
            None,
        );
        let (sender, connection) = h2_client::handshake(served.connect().await).await.unwrap();
        let mut connection = spawn_local(connection);
        let mut started = 0;
        let mut sender = Some(sender);
        while let Ok(mut ready) = sender.take().unwrap().ready().await {
            let request = Request::get("http://x/").body(()).unwrap();
            let Ok((_, mut stream)) = ready.send_request(request, true) else {
                break;
            };
            // Not before we are at it, which is what the limits of `h2` do not see.
            tokio::select! {
                Some(()) = begun.recv() => started += 1,
                _ = &mut connection => break,
            }
            stream.send_reset(h2::Reason::CANCEL);
            sender = Some(ready);
        }
        assert!((RESETS..RESETS + 10).contains(&started), "{started} requests");
        assert_eq!(served.drain.open(), 0);
    });
}

#[test]
fn a_client_that_does_not_read_is_cut() {
    run(async {
        let served =
            Served::new(async |_: Request<Body>, _: Rc<Peer>| Response::new(Body::from(vec![b'x'; 64 << 20])), None);
        let mut client = served.connect().await;
        write(&mut client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        tokio::time::sleep(Duration::from_secs(65)).await;
        assert_eq!(served.drain.open(), 0);
        assert!(!rest(&mut client).await.1);
    });
}

#[test]
fn a_drain_lets_requests_finish_and_cuts_what_does_not() {
    run(async {
        let (feed, fed) = mpsc::unbounded_channel::<oneshot::Sender<()>>();
        let served = Served::new(
            move |request: Request<Body>, _: Rc<Peer>| {
                let feed = feed.clone();
                async move {
                    if request.uri().path() == "/slow" {
                        let (go, gone) = oneshot::channel();
                        feed.send(go).unwrap();
                        gone.await.ok();
                    }
                    Response::new(Body::from("done"))
                }
            },
            None,
        );
        let mut fed = fed;
        let mut idle = served.connect().await;
        write(&mut idle, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        response(&mut idle).await;
        let mut fresh = served.connect().await;
        let mut busy = served.connect().await;
        write(&mut busy, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let go = fed.recv().await.unwrap();
        let mut sender = served.http2().await;
        let (answer, _) = sender.send_request(Request::get("http://x/slow").body(()).unwrap(), true).unwrap();
        let go2 = fed.recv().await.unwrap();
        let mut stuck = served.connect().await;
        write(&mut stuck, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let _never = fed.recv().await.unwrap();
        assert_eq!(served.drain.open(), 5);

        let drain = served.drain.clone();
        let begun = Instant::now();
        let drained = spawn_local(async move { drain.finish(Duration::from_secs(30)).await });
        assert_eq!(rest(&mut idle).await, (String::new(), true));
        assert_eq!(rest(&mut fresh).await, (String::new(), true));
        go.send(()).unwrap();
        let (last, ended) = rest(&mut busy).await;
        assert!(last.contains("\r\nconnection: close\r\n") && last.ends_with("done") && ended, "{last}");
        go2.send(()).unwrap();
        assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
        let refused =
            async { sender.ready().await?.send_request(Request::get("http://x/").body(()).unwrap(), true)?.0.await };
        assert!(refused.await.is_err());
        assert!(!rest(&mut stuck).await.1);
        assert_eq!((drained.await.unwrap(), begun.elapsed().as_secs()), (1, 30));
    });
}

#[test]
fn there_are_never_more_connections_than_room() {
    run(async {
        let mut served = Served::new(echo, None);
        let kept = served.room.clone().acquire_many_owned(9).await.unwrap();
        let mut first = served.connect().await;
        write(&mut first, "GET /first HTTP/1.1\r\nHost: x\r\n\r\n").await;
        response(&mut first).await;
        let mut second = served.connect().await;
        write(&mut second, "GET /second HTTP/1.1\r\nHost: x\r\n\r\n").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!((served.drain.open(), served.room.available_permits()), (1, 0));
        drop(first);
        assert_eq!(body_of(&response(&mut second).await), "GET /second ");
        drop((second, kept));

        served.stop.take().unwrap().send(()).unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(TcpStream::connect(served.address).await.is_err());
    });
}

#[test]
fn a_client_of_http2_that_does_not_answer_a_ping_is_gone() {
    run(async {
        // With a request under way, so that it is not for want of one.
        let served = Served::new(|_, _| std::future::pending(), None);
        let begun = Instant::now();
        let mut silent = served.connect().await;
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        // GET, http, / and the authority x, as HPACK has them.
        let head = [0, 0, 6, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84, 0x41, 1, b'x'];
        silent.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..], &head].concat()).await.unwrap();
        let mut read = Vec::new();
        let _ = silent.read_to_end(&mut read).await;
        assert_eq!(begun.elapsed().as_secs(), 40);
        let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0];
        assert_eq!(read.windows(ping.len()).filter(|bytes| **bytes == ping).count(), 1);

        // One that answers goes on, for as long as it likes.
        let mut client = served.http2().await;
        let (answer, _) = client.send_request(Request::get("http://x/").body(()).unwrap(), true).unwrap();
        assert!(tokio::time::timeout(Duration::from_secs(1000), answer).await.is_err());
        let (answer, _) = client.send_request(Request::get("http://x/").body(()).unwrap(), true).unwrap();
        assert!(tokio::time::timeout(Duration::from_secs(1), answer).await.is_err(), "it takes requests");
    });
}
