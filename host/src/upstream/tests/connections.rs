//! How many connections there are, and for how long.

use super::*;

/// A server that answers with what the test says, and counts its connections.
async fn serves(answer: &'static str) -> (SocketAddr, Rc<std::cell::Cell<usize>>) {
    let (listener, address) = listen().await;
    let accepted = Rc::new(std::cell::Cell::new(0));
    let count = accepted.clone();
    spawn_local(async move {
        loop {
            let mut stream = accept(&listener).await;
            count.set(count.get() + 1);
            spawn_local(async move {
                while !head(&mut stream).await.contains("<closed>") {
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (address, accepted)
}

fn limited(address: SocketAddr, connections: Connections) -> Upstream {
    upstream(config::Upstream { connections, ..config([endpoint(address, false)]) })
}

async fn ask(upstream: &Upstream, times: usize) {
    for _ in 0..times {
        assert_eq!(text(send(upstream, get()).await.0.unwrap()).await, "hello");
    }
}

#[test]
fn a_connection_serves_so_many_requests_and_no_more() {
    run(async {
        let (address, accepted) = serves(HELLO).await;
        let upstream = limited(address, Connections { requests: NonZeroU32::new(3), ..Connections::default() });
        ask(&upstream, 9).await;
        assert_eq!(accepted.get(), 3);
    });
}

#[test]
fn a_connection_becomes_so_old_and_at_most_a_tenth_less() {
    run(async {
        let (address, accepted) = serves(HELLO).await;
        let age = Some(Duration::from_secs(100));
        let upstream = limited(address, Connections { age, ..Connections::default() });
        for (wait, connections) in [(0, 1), (45, 1), (44, 1), (12, 2), (45, 2), (44, 2), (12, 3)] {
            sleep(Duration::from_secs(wait)).await;
            ask(&upstream, 1).await;
            assert_eq!(accepted.get(), connections, "after {wait} s more");
        }
    });
}

#[test]
fn an_endpoint_that_says_when_it_closes_is_believed_and_the_shorter_time_counts() {
    const SAYS: &str = "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=100\r\nContent-Length: 5\r\n\r\nhello";
    run(async {
        let seconds = Duration::from_secs;
        let short = Connections { idle_time: seconds(2), ..Connections::default() };
        for (answer, connections, kept) in
            [(SAYS, Connections::default(), 4), (HELLO, Connections::default(), 60), (SAYS, short, 2)]
        {
            let (address, accepted) = serves(answer).await;
            let upstream = limited(address, connections);
            ask(&upstream, 1).await;
            sleep(seconds(kept) - Duration::from_millis(100)).await;
            ask(&upstream, 1).await;
            assert_eq!(accepted.get(), 1, "{kept}");
            sleep(seconds(kept) + Duration::from_millis(100)).await;
            ask(&upstream, 1).await;
            assert_eq!(accepted.get(), 2, "{kept}");
        }
    });
}

/// A server that holds each request until the test lets one go.
async fn holds() -> (SocketAddr, Rc<tokio::sync::Semaphore>) {
    let (listener, address) = listen().await;
    let go = Rc::new(tokio::sync::Semaphore::new(0));
    let gate = go.clone();
    spawn_local(async move {
        loop {
            let (mut stream, gate) = (accept(&listener).await, gate.clone());
            spawn_local(async move {
                while !head(&mut stream).await.contains("<closed>") {
                    gate.acquire().await.unwrap().forget();
                    stream.write_all(HELLO.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (address, go)
}

#[test]
fn where_there_are_as_many_as_there_may_be_a_request_waits_and_is_refused_in_the_end() {
    run(async {
        let (address, go) = holds().await;
        let most = NonZeroUsize::new(2);
        let upstream = Rc::new(limited(address, Connections { most, ..Connections::default() }));
        let begin = || {
            let upstream = upstream.clone();
            spawn_local(async move {
                let begun = Instant::now();
                let outcome = send(&upstream, get()).await.0.map(drop).map_err(|error| error.reason().clone());
                (outcome, begun.elapsed())
            })
        };
        let (one, two, three, four) = (begin(), begin(), begin(), begin());
        sleep(Duration::from_millis(500)).await;
        assert_eq!(upstream.peers[0].target.busy(), 2, "two wait");
        // The one that waits longest takes over, on the same connection.
        go.add_permits(1);
        sleep(Duration::from_millis(499)).await;
        assert!(one.is_finished() != two.is_finished());
        assert_eq!(upstream.peers[0].target.busy(), 2);
        sleep(Duration::from_millis(2)).await;
        let waiting = if three.is_finished() { three } else { four };
        let (outcome, took) = waiting.await.unwrap();
        assert_eq!((outcome, took.as_millis() / 10), (Err(Reason::UpstreamUnavailable), 100));
        go.add_permits(9);
    });
}

#[test]
fn a_full_endpoint_gives_its_requests_to_another() {
    run(async {
        let (address, _go) = holds().await;
        let (other, _) = serves(HELLO).await;
        let connections = Connections { most: NonZeroUsize::new(1), wait: Duration::ZERO, ..Connections::default() };
        let config = config::Upstream { connections, ..config([endpoint(address, false), endpoint(other, false)]) };
        let upstream = Rc::new(upstream(config));
        let held = spawn_local({
            let upstream = upstream.clone();
            async move { drop(send(&upstream, get()).await) }
        });
        yield_now().await;
        for _ in 0..5 {
            // Those that were to go to the first one, too; a full endpoint is no broken one, whatever the method.
            let request = request(Method::POST, Body::Empty);
            assert_eq!(text(send(&upstream, request).await.0.unwrap()).await, "hello");
        }
        assert_eq!(upstream.prepared.health[0].state(), State::Up);
        held.abort();
    });
}

#[test]
fn workers_count_connections_together_and_forget_none() {
    run(async {
        let (address, _) = serves(HELLO).await;
        let prepared = prepared(config([endpoint(address, false)]));
        let (one, two) = (Connector::new(), Connector::new());
        let workers = [with(prepared.clone(), &one), with(prepared.clone(), &two)];
        for worker in &workers {
            ask(worker, 3).await;
        }
        let open = || prepared.health[0].connections.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(open(), 2);
        drop(workers);
        assert_eq!(open(), 0);
    });
}
