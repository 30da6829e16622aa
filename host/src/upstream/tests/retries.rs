//! What goes out once more, where to, and when.

use super::*;

const FULL: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nfull";
const FULL_FOR_A_SECOND: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nfull";
const FULL_FOR_A_MINUTE: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 60\r\nContent-Length: 4\r\n\r\nfull";

fn retrying(endpoints: impl IntoIterator<Item = Endpoint>, attempts: u32) -> config::Upstream {
    let config = config(endpoints);
    config::Upstream { retries: Retries { attempts, ..config.retries.clone() }, ..config }
}

#[test]
fn a_503_is_asked_again_elsewhere_first() {
    run(async {
        let (one, mut seen_one) = origin([&[FULL, FULL, FULL, FULL]]).await;
        let (two, mut seen_two) = origin([&[HELLO, HELLO, HELLO, HELLO]]).await;
        let upstream = upstream(retrying([endpoint(one, false), endpoint(two, false)], 1));
        for asked in [2, 1] {
            let (response, record) = send(&upstream, get()).await;
            assert_eq!(text(response.unwrap()).await, "hello");
            assert_eq!((record.asked, record.retries, record.endpoint), (asked, asked - 1, Some(1)));
        }
        assert_eq!((seen_one.recv().await.is_some(), seen_one.try_recv().is_err()), (true, true));
        assert_eq!(
            seen_two.recv().await.map(|head| head.contains(&format!("host: origin.test:{}", two.port()))),
            Some(true)
        );
    });
}

#[test]
fn the_only_endpoint_is_asked_again_after_a_while() {
    run(async {
        let (address, mut seen) = origin([&[FULL, FULL, HELLO]]).await;
        let upstream = upstream(retrying([endpoint(address, false)], 2));
        let begun = Instant::now();
        let (response, record) = send(&upstream, request(Method::PUT, "abc")).await;
        assert_eq!(text(response.unwrap()).await, "hello");
        assert_eq!((record.asked, record.retries, record.reused), (3, 2, true));
        assert!(begun.elapsed() <= Duration::from_millis(25 + 50 + 4), "{:?}", begun.elapsed());
        let heads: Vec<_> = [seen.recv().await, seen.recv().await, seen.recv().await].into();
        assert!(heads[0].is_some() && heads[0].as_ref().map(|head| head.contains("abc")) == Some(false));
    });
}

#[test]
fn the_last_answer_is_passed_on_as_it_is() {
    run(async {
        let (address, _seen) = origin([&[FULL, FULL]]).await;
        let upstream = upstream(retrying([endpoint(address, false)], 1));
        let response = send(&upstream, get()).await.0.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(text(response).await, "full");
    });
}

#[test]
fn what_may_have_had_its_effect_is_never_sent_again() {
    run(async {
        for lost in [&[""], &[FULL]] {
            let (address, mut seen) = origin([lost, &[HELLO]]).await;
            let upstream = upstream(retrying([endpoint(address, false)], 5));
            let (outcome, record) = send(&upstream, request(Method::POST, "once")).await;
            assert_ne!(outcome.map(|response| response.status()).ok(), Some(StatusCode::OK));
            assert_eq!((record.asked, record.retries), (1, 0));
            seen.recv().await.unwrap();
            assert!(seen.try_recv().is_err());
        }
    });
}

#[test]
fn a_connection_that_breaks_costs_a_harmless_request_nothing() {
    run(async {
        for method in [Method::GET, Method::DELETE, Method::from_bytes(b"QUERY").unwrap()] {
            let (address, _seen) = origin([&[""], &[HELLO]]).await;
            let upstream = upstream(retrying([endpoint(address, false)], 1));
            let (response, record) = send(&upstream, request(method, Body::Empty)).await;
            assert_eq!(text(response.unwrap()).await, "hello");
            assert_eq!((record.asked, record.retries, record.repeated), (2, 1, false));
        }
    });
}

#[test]
fn a_server_that_goes_while_a_kept_connection_carries_a_request_costs_it_nothing() {
    run(async {
        let (listener, goes) = listen().await;
        let (stays, _seen) = origin([&[HELLO, HELLO]]).await;
        spawn_local(async move {
            let mut stream = accept(&listener).await;
            head(&mut stream).await;
            stream.write_all(HELLO.as_bytes()).await.unwrap();
            head(&mut stream).await;
            // First nobody accepts any more, then the connection ends.
            drop(listener);
            drop(stream);
        });
        let upstream = upstream(retrying([endpoint(goes, false), endpoint(stays, false)], 1));
        for _ in 0..2 {
            assert_eq!(text(send(&upstream, get()).await.0.unwrap()).await, "hello");
        }
        let (response, record) = send(&upstream, get()).await;
        assert_eq!(text(response.unwrap()).await, "hello");
        assert_eq!((record.endpoint, record.retries, record.repeated), (Some(1), 1, true));
    });
}

#[test]
fn a_body_that_streams_is_not_sent_again_unless_it_is_short_and_its_length_known() {
    /// A body of a known length that comes in two pieces.
    struct Sized(Vec<&'static str>);

    impl http_body::Body for Sized {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Ready(self.0.pop().map(piece))
        }

        fn size_hint(&self) -> http_body::SizeHint {
            http_body::SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
        }
    }
    run(async {
        let (address, _seen) = origin([&[FULL, HELLO]]).await;
        let short = request(Method::PUT, Body::stream(Sized(vec!["def", "abc"])));
        let (response, record) = send(&upstream(retrying([endpoint(address, false)], 1)), short).await;
        assert_eq!((response.unwrap().status(), record.retries), (StatusCode::OK, 1));

        let (address, _seen) = origin([&[FULL, HELLO]]).await;
        let (feed, body) = fed();
        feed.send(piece("abc")).unwrap();
        drop(feed);
        let (response, record) =
            send(&upstream(retrying([endpoint(address, false)], 1)), request(Method::PUT, body)).await;
        assert_eq!((response.unwrap().status(), record.retries), (StatusCode::SERVICE_UNAVAILABLE, 0));
    });
}

#[test]
fn retry_after_is_waited_for_where_there_is_nobody_else() {
    run(async {
        let (address, _seen) = origin([&[FULL_FOR_A_SECOND, HELLO]]).await;
        let begun = Instant::now();
        let (response, _) = send(&upstream(retrying([endpoint(address, false)], 1)), get()).await;
        assert_eq!(response.unwrap().status(), StatusCode::OK);
        assert!(begun.elapsed() >= Duration::from_secs(1) && begun.elapsed() < Duration::from_secs(2));

        let (address, _seen) = origin([&[FULL_FOR_A_MINUTE, HELLO]]).await;
        let (response, record) = send(&upstream(retrying([endpoint(address, false)], 1)), get()).await;
        let response = response.unwrap();
        assert_eq!((response.status(), record.retries), (StatusCode::SERVICE_UNAVAILABLE, 0));
        assert_eq!(response.headers()["retry-after"], "60");
    });
}

#[test]
fn one_try_ends_before_all_do() {
    run(async {
        let (silent, address) = listen().await;
        let (other, _seen) = origin([&[HELLO]]).await;
        let config = retrying([endpoint(address, false), endpoint(other, false)], 1);
        let timeouts = UpstreamTimeouts { once: Some(Duration::from_secs(2)), ..config.timeouts.clone() };
        let begun = Instant::now();
        let (response, record) = send(&upstream(config::Upstream { timeouts, ..config }), get()).await;
        assert_eq!(text(response.unwrap()).await, "hello");
        assert_eq!((record.asked, record.retries), (2, 1));
        assert!((2000..2100).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
        drop(silent);

        // And all of them within the total time.
        let (_silent, address) = listen().await;
        let config = retrying([endpoint(address, false)], 10);
        let timeouts = UpstreamTimeouts {
            once: Some(Duration::from_secs(2)),
            total: Duration::from_secs(5),
            ..config.timeouts.clone()
        };
        let begun = Instant::now();
        let (outcome, record) = send(&upstream(config::Upstream { timeouts, ..config }), get()).await;
        assert_eq!((outcome.unwrap_err().reason(), record.asked), (&Reason::TotalTimeout, 3));
        assert!(begun.elapsed().as_millis().abs_diff(5000) < 10, "{:?}", begun.elapsed());
    });
}

#[test]
fn an_upstream_that_fails_whole_gets_a_fifth_more_at_most() {
    run(async {
        let (listener, address) = listen().await;
        let asked = Rc::new(std::cell::Cell::new(0_u32));
        let count = asked.clone();
        spawn_local(async move {
            loop {
                let (mut stream, count) = (accept(&listener).await, count.clone());
                spawn_local(async move {
                    while !head(&mut stream).await.contains("<closed>") {
                        count.set(count.get() + 1);
                        stream.write_all(FULL.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        let upstream = upstream(retrying([endpoint(address, false)], 3));
        for _ in 0..1000 {
            let response = send(&upstream, get()).await.0.unwrap();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
        assert!((1100..=1206).contains(&asked.get()), "{}", asked.get());
    });
}
