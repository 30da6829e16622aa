//! Endpoints that fail and get well again.

use std::cell::Cell;

use super::*;
use crate::config::{Breaker, HealthCheck};

const FAILED: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";

/// A server that fails or not as the test says, and counts what it is asked.
struct Server {
    address: SocketAddr,
    well: Rc<Cell<bool>>,
    asked: Rc<Cell<u32>>,
}

impl Server {
    async fn start(well: bool) -> Self {
        let (listener, address) = listen().await;
        let server = Self { address, well: Rc::new(Cell::new(well)), asked: Rc::default() };
        let (well, asked) = (server.well.clone(), server.asked.clone());
        spawn_local(async move {
            loop {
                let mut stream = accept(&listener).await;
                let (well, asked) = (well.clone(), asked.clone());
                spawn_local(async move {
                    while !head(&mut stream).await.contains("<closed>") {
                        asked.set(asked.get() + 1);
                        let answer = if well.get() { HELLO } else { FAILED };
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        server
    }

    fn endpoint(&self) -> Endpoint {
        endpoint(self.address, false)
    }
}

async fn statuses(upstream: &Upstream, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(send(upstream, get()).await.0.map_or(0, |response| response.status().as_u16()));
    }
    statuses
}

fn states(upstream: &Upstream) -> Vec<State> {
    upstream.prepared.health.iter().map(|health| health.state()).collect()
}

#[test]
fn one_that_fails_gets_nothing_until_one_request_succeeds() {
    run(async {
        let (bad, good) = (Server::start(false).await, Server::start(true).await);
        let upstream = upstream(config([bad.endpoint(), good.endpoint()]));
        let failures = statuses(&upstream, 40).await.iter().filter(|status| **status == 500).count();
        assert_eq!((failures, bad.asked.get(), states(&upstream)), (5, 5, vec![State::Ejected, State::Up]));

        // One request for each ejection, each time later than before.
        for seconds in [30, 60] {
            sleep(Duration::from_secs(seconds - 1)).await;
            assert!(!statuses(&upstream, 20).await.contains(&500));
            sleep(Duration::from_secs(1)).await;
            assert_eq!(statuses(&upstream, 20).await.iter().filter(|status| **status == 500).count(), 1);
        }
        bad.well.set(true);
        sleep(Duration::from_secs(120)).await;
        assert_eq!(statuses(&upstream, 20).await, [200; 20]);
        assert_eq!(states(&upstream), [State::Up, State::Up]);
        assert!(bad.asked.get() >= 5 + 2 + 10, "{}", bad.asked.get());
    });
}

#[test]
fn a_client_that_leaves_does_not_leave_the_endpoint_out_for_good() {
    run(async {
        let (bad, good) = (Server::start(false).await, Server::start(true).await);
        let upstream = upstream(config([bad.endpoint(), good.endpoint()]));
        statuses(&upstream, 40).await;
        bad.well.set(true);
        sleep(Duration::from_secs(30)).await;
        let mut record = Record::default();
        let mut request = Outbound::new(get());
        let asking = asking();
        let mut decides = Box::pin(upstream.send(&mut request, &asking, &mut record));
        // It begins, and is given up at once.
        let first = std::future::poll_fn(|context| Poll::Ready(decides.as_mut().poll(context).is_pending())).await;
        assert!(first);
        assert_eq!(states(&upstream)[0], State::Probed);
        drop(decides);
        assert_eq!((states(&upstream)[0], record.endpoint), (State::Ejected, Some(0)));
        statuses(&upstream, 2).await;
        assert_eq!(states(&upstream)[0], State::Up);
    });
}

#[test]
fn what_may_have_an_effect_decides_only_where_nothing_else_comes() {
    run(async {
        let (bad, good) = (Server::start(false).await, Server::start(true).await);
        let upstream = upstream(config([bad.endpoint(), good.endpoint()]));
        statuses(&upstream, 40).await;
        bad.well.set(true);
        let post = async || send(&upstream, request(Method::POST, Body::Empty)).await.1.endpoint;
        sleep(Duration::from_secs(31)).await;
        assert_eq!([post().await, post().await], [Some(1), Some(1)]);
        sleep(Duration::from_secs(30)).await;
        assert_eq!(post().await, Some(0));
        assert_eq!(states(&upstream)[0], State::Up);
    });
}

#[test]
fn the_last_one_is_never_ejected_and_half_of_them_at_most() {
    run(async {
        for (count, ejected) in [(1, 0), (2, 1), (3, 1), (4, 2)] {
            let mut servers = Vec::new();
            for _ in 0..count {
                servers.push(Server::start(false).await);
            }
            let upstream = upstream(config(servers.iter().map(Server::endpoint)));
            assert_eq!(statuses(&upstream, 100).await, [500; 100]);
            let out = states(&upstream).iter().filter(|state| **state == State::Ejected).count();
            assert_eq!(out, ejected, "of {count}");
        }
    });
}

#[test]
fn what_clients_do_wrong_is_nobodys_failure() {
    run(async {
        let (one, other) = (Server::start(true).await, Server::start(true).await);
        let upstream = upstream(config([one.endpoint(), other.endpoint()]));
        for _ in 0..20 {
            let (feed, body) = fed();
            feed.send(Err(BodyError::TooLarge)).unwrap();
            let error = send(&upstream, request(Method::POST, body)).await.0.unwrap_err();
            assert_eq!(*error.reason(), Reason::BodyTooLarge);
        }
        assert_eq!(states(&upstream), [State::Up, State::Up]);
    });
}

fn breaker(probes: u32) -> Option<Breaker> {
    let second = Duration::from_secs(1);
    Some(Breaker { ratio: 50, volume: 20, window: 10 * second, time: 5 * second, longest: 60 * second, probes })
}

#[test]
fn an_open_breaker_spares_the_upstream_and_lets_a_few_try() {
    run(async {
        let server = Server::start(false).await;
        let upstream = Rc::new(upstream(config::Upstream { breaker: breaker(2), ..config([server.endpoint()]) }));
        assert_eq!(statuses(&upstream, 20).await, [500; 20]);
        let refused = send(&upstream, get()).await.0.unwrap_err();
        assert_eq!((refused.reason(), server.asked.get()), (&Reason::UpstreamUnavailable, 20));
        sleep(Duration::from_secs(5)).await;
        server.well.set(true);
        let all = futures(500, &upstream).await;
        assert_eq!((all.iter().filter(|status| **status == 200).count(), server.asked.get()), (2, 22));
        assert_eq!(statuses(&upstream, 10).await, [200; 10]);
    });
}

/// So many requests at once.
async fn futures(count: usize, upstream: &Rc<Upstream>) -> Vec<u16> {
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let upstream = upstream.clone();
            spawn_local(async move { statuses(&upstream, 1).await[0] })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.unwrap());
    }
    all
}

#[test]
fn what_is_known_outlives_a_reload_that_keeps_the_endpoint() {
    run(async {
        let (bad, good) = (Server::start(false).await, Server::start(true).await);
        let known = Known::default();
        let connector = Connector::new();
        let load = |weight| {
            let mut config = config([bad.endpoint(), good.endpoint()]);
            config.endpoints[0] = member(bad.endpoint(), weight, 0);
            with(Arc::new(Prepared::load(config, &known, &Resolver::default(), None).unwrap()), &connector)
        };
        let before = load(1);
        statuses(&before, 40).await;
        let after = load(5);
        drop(before);
        assert_eq!(states(&after), [State::Ejected, State::Up]);
        drop(after);
        // With the last of its configurations it is forgotten.
        assert_eq!(states(&load(1)), [State::Up, State::Up]);
    });
}

#[test]
fn checks_take_an_endpoint_out_and_in_again() {
    run(async {
        let (one, other) = (Server::start(true).await, Server::start(true).await);
        let check = HealthCheck {
            path: Some("/healthz".parse().unwrap()),
            statuses: Vec::new(),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            healthy: 2,
            unhealthy: 3,
        };
        let checked = config::Upstream { health: Some(check.clone()), ..config([one.endpoint(), other.endpoint()]) };
        let prepared = prepared(checked);
        let upstream = with(prepared.clone(), &Connector::new());
        let task = spawn_local(check::run(Arc::downgrade(&prepared), 0, check)());
        sleep(Duration::from_secs(60)).await;
        assert_eq!(states(&upstream), [State::Up, State::Up]);
        assert!((5..=7).contains(&one.asked.get()) && other.asked.get() == 0, "{}", one.asked.get());

        one.well.set(false);
        sleep(Duration::from_secs(34)).await;
        assert_eq!(states(&upstream), [State::Down, State::Up]);
        let asked = one.asked.get();
        assert_eq!(statuses(&upstream, 50).await, [200; 50]);
        assert_eq!(one.asked.get(), asked);

        // Healthy again after two checks and at most as long as three.
        one.well.set(true);
        sleep(Duration::from_secs(23)).await;
        assert_eq!(states(&upstream), [State::Up, State::Up]);

        // It ends with the upstream.
        drop((upstream, prepared));
        task.await.unwrap();
    });
}

#[test]
fn where_all_are_down_nobody_is_asked_or_everybody() {
    run(async {
        let server = Server::start(true).await;
        for (try_all_when_down, expected) in [(false, 0), (true, 200)] {
            let upstream = upstream(config::Upstream { try_all_when_down, ..config([server.endpoint()]) });
            upstream.prepared.checked(0, true, "a test says so", Instant::now());
            assert_eq!(statuses(&upstream, 3).await, [expected; 3]);
        }
        assert_eq!(server.asked.get(), 3);
    });
}
