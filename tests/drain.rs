//! The end of a server: what runs is finished, and nothing is begun.

use std::net::TcpStream;
use std::thread;

use crate::harness::{Client, Gate, Origin, PATIENCE, Proxy, answer, until};

fn config(origin: &Origin, drain: &str) -> String {
    format!(
        "{drain}\nupstream.o.endpoints = [\"{}\"]\n\
         plugin.tidy = {{ component = \"headers\", config.response.set = {{ x-tidy = \"1\" }}, limits.time = \"5s\" }}\n\
         route.all = {{ path-prefix = \"/\", chain = [\"tidy\"], upstream = \"o\" }}\n",
        origin.url()
    )
}

#[test]
fn what_runs_is_finished_and_nothing_is_begun() {
    const IN_FLIGHT: usize = 8;
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |request| {
            if request.target() == "/held" {
                gate.pass();
            }
            answer("text/plain", &format!("{} {}", request.target(), request.body.len()))
        }
    });
    let proxy = Proxy::start(&config(&origin, ""), &[]);
    let (public, admin) = (proxy.address("public"), proxy.admin_address());
    let mut idle: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    for client in &mut idle {
        assert_eq!(client.request("GET", "/", &[], b"").header("connection"), None);
    }
    let silent = proxy.client();
    let mut in_flight: Vec<Client> = (0..IN_FLIGHT).map(|_| proxy.client()).collect();
    for client in &mut in_flight {
        client.send("POST /held HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody");
    }
    gate.arrived(IN_FLIGHT);
    let ready = || Client::connect(admin).request("GET", "/readyz", &[], b"").status();
    assert_eq!(ready(), 200);

    let stopping = thread::spawn(move || proxy.drain());
    until("not ready", || ready() == 503);
    until("closed for new connections", || TcpStream::connect(public).is_err());
    assert_eq!(ready(), 503);
    assert_eq!(Client::connect(admin).request("GET", "/healthz", &[], b"").status(), 200, "alive all the time");
    let asked = IN_FLIGHT + idle.len();
    for mut client in idle.into_iter().chain([silent]) {
        assert!(client.is_closed(), "nobody waits for those who ask nothing");
    }
    assert!(!stopping.is_finished(), "requests are in flight");

    gate.open();
    for mut client in in_flight {
        let response = client.response();
        assert_eq!((response.status(), response.text().as_str()), (200, "/held 4"), "{response:?}");
        assert_eq!(response.header("connection"), Some("close"), "{response:?}");
        assert_eq!(response.header("x-tidy"), Some("1"), "through the whole chain: {response:?}");
        assert!(client.is_closed());
    }
    let (cut, log) = stopping.join().expect("it ends");
    assert_eq!(cut, 0);
    assert_eq!(log.lines().filter(|line| line.contains("\"ok\"")).count(), asked, "{log}");
}

#[test]
fn what_takes_too_long_is_cut_and_counted() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |_| {
            gate.pass();
            answer("text/plain", "late")
        }
    });
    let proxy = Proxy::start(&config(&origin, "drain.timeout = \"50ms\""), &[]);
    let mut clients = [proxy.client(), proxy.client()];
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    gate.arrived(2);
    assert_eq!(proxy.drain().0, 2);
    for client in &mut clients {
        assert!(client.is_closed(), "no part of an answer passes for a whole one");
    }
    gate.open();
}

/// A balancer needs time to see that we are not ready. Until then it still sends clients here, and they are served.
#[test]
fn in_the_time_of_grace_clients_are_still_served() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, "drain.grace = \"2s\""), &[]);
    let (public, admin) = (proxy.address("public"), proxy.admin_address());
    let mut kept = proxy.client();
    let stopping = thread::spawn(move || proxy.drain());
    until("not ready", || Client::connect(admin).request("GET", "/readyz", &[], b"").status() == 503);
    assert_eq!(Client::connect(public).request("GET", "/", &[], b"").text(), "fine");
    assert_eq!(kept.request("GET", "/", &[], b"").text(), "fine");
    assert!(kept.is_closed());
    until("closed for new connections", || TcpStream::connect(public).is_err());
    drop(kept);
    assert_eq!(stopping.join().expect("it ends").0, 0);
}

/// Clients that never stop asking. Whatever the proxy took, it answered whole: the log and the clients agree on the
/// number. A client whose next request crosses the end of its idle connection on the way gets no byte, and may ask again
/// elsewhere (RFC 9112, section 9.3.1).
#[test]
fn a_load_that_goes_on_loses_no_request_that_was_taken() {
    const CLIENTS: usize = 6;
    let origin = Origin::start(|request| answer("text/plain", request.target()));
    let proxy = Proxy::start(&config(&origin, ""), &[]);
    let clients: Vec<_> = (0..CLIENTS).map(|_| proxy.client()).collect();
    let (answered, begun) = std::sync::mpsc::channel();
    let (answers, told, log) = thread::scope(|scope| {
        let clients: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                let answered = answered.clone();
                scope.spawn(move || {
                    let mut count = 0;
                    loop {
                        let Some(response) = client.try_get(&format!("/{count}")) else {
                            return (count, false);
                        };
                        assert_eq!((response.status(), response.text()), (200, format!("/{count}")), "{response:?}");
                        count += 1;
                        let _ = answered.send(());
                        if response.header("connection") == Some("close") {
                            assert!(client.is_closed());
                            return (count, true);
                        }
                    }
                })
            })
            .collect();
        for _ in 0..CLIENTS * 20 {
            begun.recv_timeout(PATIENCE).expect("answers come");
        }
        let (cut, log) = proxy.drain();
        assert_eq!(cut, 0);
        let ended: Vec<_> = clients.into_iter().map(|client| client.join().expect("only whole answers")).collect();
        (ended.iter().map(|(count, _)| count).sum::<usize>(), ended.iter().filter(|(_, told)| *told).count(), log)
    });
    let taken = log.lines().count();
    assert_eq!(taken, answers, "{told} of {CLIENTS} were told that it was the last one");
    assert_eq!(log.lines().filter(|line| line.contains("\"reason\":\"ok\"")).count(), answers);
}
