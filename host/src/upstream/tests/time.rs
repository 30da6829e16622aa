//! Time limits, each with its own reason; and connections that nobody uses.

use socket2::{Domain, Socket, Type};

use super::tls::roots;
use super::*;

/// Sends to an upstream and answers why it failed and after how long.
pub(super) async fn fails(config: config::Upstream, request: Request<Body>) -> (Reason, Duration) {
    let begun = Instant::now();
    let error = send(&upstream(config), request).await.0.unwrap_err();
    (error.reason().clone(), begun.elapsed())
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[track_caller]
fn is((reason, took): (Reason, Duration), expected: Reason, after: Duration) {
    // Timers have the resolution of a millisecond.
    assert!(reason == expected && took.abs_diff(after) <= Duration::from_millis(2), "{reason} after {took:?}");
}

#[test]
fn each_time_limit_has_its_own_reason() {
    run(async {
        // A socket whose backlog is full swallows what comes.
        let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        full.listen(0).unwrap();
        let hole = full.local_addr().unwrap().as_socket().unwrap();
        let _filler = std::net::TcpStream::connect(hole).unwrap();
        is(fails(config([endpoint(hole, false)]), get()).await, Reason::UpstreamConnectTimeout, seconds(3));

        // One that accepts and never says anything.
        let (_silent, address) = listen().await;
        let secure = config([endpoint(address, true)]);
        let secure = config::Upstream {
            tls: UpstreamTls { roots: Some(roots().0), name: None, ..UpstreamTls::default() },
            ..secure
        };
        is(fails(secure, get()).await, Reason::UpstreamTlsTimeout, seconds(5));
        is(fails(config([endpoint(address, false)]), get()).await, Reason::UpstreamTimeout, seconds(15));
        let hasty = UpstreamTimeouts { total: seconds(7), ..config([]).timeouts };
        let hasty = config::Upstream { timeouts: hasty, ..config([endpoint(address, false)]) };
        is(fails(hasty, get()).await, Reason::TotalTimeout, seconds(7));

        // It takes no more of the body than fits in between.
        let body = Bytes::from(vec![0; 32 << 20]);
        let large = request(Method::POST, body);
        let (reason, took) = fails(config([endpoint(address, false)]), large).await;
        // The kernel may make room once more while our clock jumps.
        assert!(reason == Reason::UpstreamIdle && (20..60).contains(&took.as_secs()), "{reason} after {took:?}");

        // The client's own silence is none of the upstream's, until all is over.
        let (_feed, body) = fed();
        is(
            fails(config([endpoint(address, false)]), request(Method::POST, body)).await,
            Reason::TotalTimeout,
            seconds(60),
        );
        let (feed, body) = fed();
        spawn_local(async move {
            sleep(seconds(30)).await;
            feed.send(piece("last")).unwrap();
        });
        is(
            fails(config([endpoint(address, false)]), request(Method::POST, body)).await,
            Reason::UpstreamTimeout,
            seconds(45),
        );
    });
}

#[test]
fn a_head_that_drips_is_late_all_the_same() {
    run(async {
        let (listener, address) = listen().await;
        spawn_local(async move {
            let mut stream = accept(&listener).await;
            for byte in HELLO.bytes() {
                stream.write_all(&[byte]).await.unwrap();
                sleep(seconds(1)).await;
            }
        });
        is(fails(config([endpoint(address, false)]), get()).await, Reason::UpstreamTimeout, seconds(15));
    });
}

#[test]
fn a_body_has_limits_between_its_pieces_and_in_all() {
    async fn drip(kind: &'static str, pause: Duration) -> (BodyError, Duration) {
        let (listener, address) = listen().await;
        spawn_local(async move {
            let mut stream = accept(&listener).await;
            head(&mut stream).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            for _ in 0..10 {
                sleep(pause).await;
                let _ = stream.write_all(b"1\r\nx\r\n").await;
            }
        });
        let begun = Instant::now();
        let response = send(&upstream(config([endpoint(address, false)])), get()).await.0.unwrap();
        (response.into_body().collect(99).await.unwrap_err(), begun.elapsed())
    }
    run(async {
        let (error, took) = drip("text/plain", seconds(25)).await;
        assert!(matches!(error, BodyError::Idle) && took.abs_diff(seconds(20)) < seconds(1), "{error} after {took:?}");
        let (error, took) = drip("text/plain", seconds(9)).await;
        assert!(matches!(error, BodyError::Late) && took.abs_diff(seconds(60)) < seconds(1), "{error} after {took:?}");
        // These end when they like; this one by breaking off after ten pieces.
        for kind in ["text/event-stream; charset=utf-8", "application/grpc+proto"] {
            let (error, took) = drip(kind, seconds(9)).await;
            assert!(matches!(error, BodyError::Broken(_)) && took >= seconds(90), "{error} after {took:?}");
        }
    });
}

#[test]
fn idle_connections_are_few_and_do_not_grow_old() {
    run(async {
        let (listener, address) = listen().await;
        let connector = Connector::new();
        let prepared = prepared(config::Upstream {
            connections: Connections { idle: 2, ..Connections::default() },
            ..config([endpoint(address, false)])
        });
        let upstream = Rc::new(with(prepared.clone(), &connector));
        let mut streams = Vec::new();
        let mut tasks = Vec::new();
        for _ in 0..3 {
            let upstream = upstream.clone();
            tasks.push(spawn_local(async move { send(&upstream, get()).await.0.unwrap() }));
            streams.push(accept(&listener).await);
        }
        for (stream, task) in streams.iter_mut().zip(tasks) {
            head(stream).await;
            stream.write_all(HELLO.as_bytes()).await.unwrap();
            task.await.unwrap();
        }
        assert_eq!(upstream.peers[0].target.idle(), 2);
        // A reload finds them.
        let after = with(prepared.clone(), &connector);
        assert!(Rc::ptr_eq(&after.peers[0].target, &upstream.peers[0].target));

        // The sweeper finds the one that the other side closed, and in the end the one that is too old.
        drop(streams.pop());
        sleep(seconds(6)).await;
        assert_eq!(upstream.peers[0].target.idle(), 1);
        sleep(seconds(61)).await;
        assert_eq!(upstream.peers[0].target.idle(), 0);
    });
}
