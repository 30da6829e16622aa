//! Endpoints with names, whose addresses change.

use std::cell::{Cell, RefCell};
use std::io;

use super::*;

fn named() -> Endpoint {
    Endpoint { host: "origin.test".to_owned(), ..endpoint(SocketAddr::from(([0, 0, 0, 0], 80)), false) }
}

/// A resolver that answers what the test says, and counts.
#[derive(Clone, Default)]
struct Names {
    answer: Rc<RefCell<Vec<SocketAddr>>>,
    fails: Rc<Cell<bool>>,
    asked: Rc<Cell<u32>>,
}

impl Names {
    fn connector(&self) -> Connector {
        let resolver = self.clone();
        Connector::resolving(move |host, port| {
            assert_eq!((host.as_str(), port), ("origin.test", 80));
            resolver.asked.set(resolver.asked.get() + 1);
            if resolver.fails.get() {
                Err(io::ErrorKind::TimedOut.into())
            } else {
                Ok(resolver.answer.borrow().clone())
            }
        })
    }
}

/// A server that says who it is.
async fn says(name: &'static str) -> SocketAddr {
    let (listener, address) = listen().await;
    spawn_local(async move {
        loop {
            let mut stream = accept(&listener).await;
            spawn_local(async move {
                while !head(&mut stream).await.contains("<closed>") {
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    address
}

async fn who(upstream: &Upstream) -> String {
    text(send(upstream, get()).await.0.unwrap()).await
}

#[test]
fn a_name_that_moves_takes_its_connections_with_it() {
    run(async {
        let (one, two) = (says("one").await, says("two").await);
        let resolver = Names::default();
        *resolver.answer.borrow_mut() = vec![one];
        let connector = resolver.connector();
        let upstream = with(prepared(config([named()])), &connector);
        assert_eq!([who(&upstream).await, who(&upstream).await], ["one", "one"]);
        assert_eq!(resolver.asked.get(), 1);
        *resolver.answer.borrow_mut() = vec![two];
        // Not before the time, and at most a second after it.
        sleep(Duration::from_secs(29)).await;
        assert_eq!((who(&upstream).await.as_str(), resolver.asked.get()), ("one", 1));
        sleep(Duration::from_millis(2001)).await;
        assert_eq!((who(&upstream).await.as_str(), resolver.asked.get()), ("two", 2));
    });
}

#[test]
fn the_last_good_answer_stays() {
    run(async {
        let resolver = Names::default();
        *resolver.answer.borrow_mut() = vec![says("one").await];
        let connector = resolver.connector();
        let upstream = with(
            prepared(config::Upstream {
                connections: Connections { idle: 0, ..Connections::default() },
                ..config([named()])
            }),
            &connector,
        );
        assert_eq!(who(&upstream).await, "one");
        for fails in [true, false] {
            resolver.fails.set(fails);
            resolver.answer.borrow_mut().clear();
            sleep(Duration::from_secs(100)).await;
            assert_eq!(who(&upstream).await, "one");
        }
        assert!(resolver.asked.get() >= 4, "{}", resolver.asked.get());
    });
}

#[test]
fn a_resolver_that_never_answered_is_asked_again_a_second_later() {
    run(async {
        let resolver = Names::default();
        let connector = resolver.connector();
        let upstream = with(prepared(config([named()])), &connector);
        assert_eq!(*send(&upstream, get()).await.0.unwrap_err().reason(), Reason::UpstreamResolve);
        *resolver.answer.borrow_mut() = vec![says("one").await];
        // Not at once: who does not answer one request is not asked by all that come behind it.
        assert_eq!(*send(&upstream, get()).await.0.unwrap_err().reason(), Reason::UpstreamResolve);
        assert_eq!(resolver.asked.get(), 1);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(who(&upstream).await, "one");
    });
}

#[test]
fn connections_go_round_the_addresses_and_past_one_that_is_gone() {
    run(async {
        let (gone, address) = listen().await;
        drop(gone);
        let resolver = Names::default();
        *resolver.answer.borrow_mut() = vec![says("one").await, address, says("two").await];
        let connector = resolver.connector();
        let upstream = with(
            prepared(config::Upstream {
                connections: Connections { idle: 0, ..Connections::default() },
                ..config([named()])
            }),
            &connector,
        );
        let mut all = Vec::new();
        for _ in 0..6 {
            all.push(who(&upstream).await);
        }
        assert_eq!(all, ["one", "two", "two", "one", "two", "two"]);
    });
}

#[test]
fn an_address_that_is_silent_costs_a_quarter_of_a_second() {
    run(async {
        // A socket whose backlog is full swallows what comes.
        let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        full.listen(0).unwrap();
        let hole = full.local_addr().unwrap().as_socket().unwrap();
        let _filler = std::net::TcpStream::connect(hole).unwrap();
        let resolver = Names::default();
        *resolver.answer.borrow_mut() = vec![hole, says("one").await];
        let connector = resolver.connector();
        let upstream = with(prepared(config([named()])), &connector);
        let begun = Instant::now();
        assert_eq!(who(&upstream).await, "one");
        assert!(begun.elapsed().as_millis().abs_diff(250) < 5, "{:?}", begun.elapsed());
    });
}
