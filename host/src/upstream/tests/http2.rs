//! Upstreams that speak HTTP/2.

use std::cell::Cell;

use super::*;

fn over_http2(address: SocketAddr) -> config::Upstream {
    let mut config = config([endpoint(address, false)]);
    config.protocol = config::UpstreamProtocol::Http2;
    config.timeouts.response_header = Duration::from_secs(50);
    config
}

#[test]
fn one_that_does_not_answer_a_ping_is_gone() {
    run(async {
        let (listener, address) = listen().await;
        spawn_local(async move {
            let mut stream = accept(&listener).await;
            // Settings, and not a word more.
            stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
            let mut read = Vec::new();
            let _ = stream.read_to_end(&mut read).await;
            let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0];
            assert!(read.windows(ping.len()).any(|bytes| bytes == ping));
        });
        let upstream = upstream(over_http2(address));
        let begun = Instant::now();
        let (answer, _) = send(&upstream, get()).await;
        assert_eq!(answer.unwrap_err().reason().code(), "upstream-reset");
        // Asked after ten seconds, and given another ten.
        assert_eq!(begun.elapsed().as_secs(), 20);
    });
}

#[test]
fn one_that_answers_pings_may_take_its_time() {
    run(async {
        let (listener, address) = listen().await;
        spawn_local(async move {
            let mut connection = h2::server::handshake(accept(&listener).await).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                spawn_local(async move {
                    sleep(Duration::from_secs(45)).await;
                    let mut body = respond.send_response(Response::new(()), false).unwrap();
                    body.send_data(Bytes::from_static(b"at last"), true).unwrap();
                });
            }
        });
        let upstream = upstream(over_http2(address));
        let begun = Instant::now();
        assert_eq!(text(send(&upstream, get()).await.0.unwrap()).await, "at last");
        assert_eq!(begun.elapsed().as_secs(), 45);
    });
}

#[test]
fn it_gets_no_more_connections_than_it_may() {
    run(async {
        const MOST: usize = 2;
        let (listener, address) = listen().await;
        let accepted = Rc::new(Cell::new(0));
        let counted = accepted.clone();
        spawn_local(async move {
            loop {
                let stream = accept(&listener).await;
                counted.set(counted.get() + 1);
                spawn_local(async move {
                    // One at a time, each for a second.
                    let mut settings = h2::server::Builder::new();
                    let mut connection =
                        settings.max_concurrent_streams(1).handshake::<_, Bytes>(stream).await.unwrap();
                    while let Some(Ok((_, mut respond))) = connection.accept().await {
                        spawn_local(async move {
                            sleep(Duration::from_secs(1)).await;
                            respond.send_response(Response::new(()), true).unwrap();
                        });
                    }
                });
            }
        });
        for (most, expected) in [(NonZeroUsize::new(MOST), MOST), (None, 8)] {
            accepted.set(0);
            let mut config = over_http2(address);
            config.connections.most = most;
            let upstream = Rc::new(upstream(config));
            let begun = Instant::now();
            let asking = (0..16).map(|_| {
                let upstream = upstream.clone();
                spawn_local(async move { send(&upstream, get()).await.0.unwrap().status() })
            });
            for answer in asking.collect::<Vec<_>>() {
                assert_eq!(answer.await.unwrap(), StatusCode::OK);
            }
            assert_eq!(accepted.get(), expected);
            // The others had their turn.
            assert_eq!(begun.elapsed().as_secs() as usize, 16 / expected);
        }
    });
}
