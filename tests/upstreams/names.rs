//! Endpoints that are names and services, looked up at a server by script.

use std::cell::RefCell;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::with;
use crate::harness::{NameServer, Origin, Proxy, answer, until};

fn settings(names: &NameServer, upstream: &str) -> String {
    format!(
        "resolver = {{ servers = [\"{}\"], shortest = \"1s\", longest = \"2s\" }}\n{}",
        names.address(),
        with(upstream)
    )
}

/// Origins on one port of two addresses, which say which one they are.
fn pair() -> ([Origin; 2], u16) {
    loop {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr()).expect("a port").port();
        let origin = |last: u8| {
            let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), port)).ok()?;
            Some(Origin::start_on(listener, move |_| answer("text/plain", &last.to_string())))
        };
        // Somebody else may have taken it meanwhile.
        if let (Some(one), Some(two)) = (origin(71), origin(72)) {
            return ([one, two], port);
        }
    }
}

#[test]
fn a_name_that_moves_loses_no_request_and_a_silent_server_changes_nothing() {
    let names = NameServer::start();
    let ([one, two], port) = pair();
    names.host("origin.test", 1, &[[127, 0, 0, 71]]);
    let proxy = Proxy::start(&settings(&names, &format!("endpoints = [\"http://origin.test:{port}\"]")), &[]);
    let (moved, after) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = proxy.client();
                    while !moved.load(Ordering::SeqCst) || after.fetch_add(1, Ordering::SeqCst) < 20 {
                        assert_eq!(client.request("GET", "/", &[], b"").status(), 200);
                    }
                })
            })
            .collect();
        until("the first address is asked", || !one.seen().is_empty());
        names.host("origin.test", 1, &[[127, 0, 0, 72]]);
        until("the second address is asked", || !two.seen().is_empty());
        moved.store(true, Ordering::SeqCst);
        clients.into_iter().for_each(|client| client.join().expect("no request is lost"));
    });
    // Each worker looks names up for itself, so this is about one of them.
    let client = RefCell::new(proxy.client());
    let ask = || client.borrow_mut().request("GET", "/", &[], b"").text();
    until("the first one is asked no more", || ask() == "72");
    names.silence();
    let asked = std::time::Instant::now();
    until("its answer has been over for long", || {
        assert_eq!(ask(), "72");
        asked.elapsed().as_secs() >= 4
    });
}

#[test]
fn a_service_stands_for_its_endpoints_by_priority_and_weight_and_follows_them() {
    let names = NameServer::start();
    let origins: [Origin; 3] = super::origins();
    let ports = origins.each_ref().map(|origin| origin.address().port());
    names.host("host.test", 60, &[[127, 0, 0, 1]]);
    let service = "_http._tcp.origin.test";
    let (one, two, three) =
        ((10, 1, ports[0], "host.test"), (10, 3, ports[1], "host.test"), (20, 1, ports[2], "host.test"));
    names.service(service, 1, &[one, two, three]);
    let upstream = format!("endpoints = [\"http+srv://{service}\"]\nbalance = \"round-robin\"");
    let proxy = Proxy::start(&settings(&names, &upstream), &[]);
    let ask = |count: usize| {
        let mut client = proxy.client();
        let mut counts = [0; 3];
        for _ in 0..count {
            let text = client.request("GET", "/", &[], b"").text();
            counts[text.parse::<usize>().expect("a name")] += 1;
        }
        counts
    };
    assert_eq!(ask(40), [10, 30, 0], "the third one is a spare");
    let endpoint = &proxy.admin("/state").json()["upstreams"][0]["endpoints"][1];
    assert_eq!([&endpoint["weight"], &endpoint["priority"]], [3, -10]);
    names.service(service, 1, &[three]);
    until("the service has moved", || ask(8) == [0, 0, 8]);
    // What is hidden follows too.
    let leaked = format!("host.test:{}", ports[2]);
    let origin = Origin::start(move |_| {
        format!("HTTP/1.1 302 Found\r\nlocation: http://{leaked}/x\r\ncontent-length: 0\r\n\r\n").into_bytes()
    });
    names.service(service, 1, &[three, (5, 1, origin.address().port(), "host.test")]);
    let endpoints = || proxy.admin("/state").json()["upstreams"][0]["endpoints"].as_array().map_or(0, Vec::len);
    until("there are two again", || endpoints() == 2);
    let client = RefCell::new(proxy.client());
    let ask = || client.borrow_mut().request("GET", "/", &[], b"");
    until("the first place is taken", || ask().status() == 302);
    assert_eq!(ask().header("location"), Some("http://api.test/x"));
    names.silence();
    let asked = std::time::Instant::now();
    until("its answer has been over for long", || {
        assert_eq!(ask().status(), 302);
        asked.elapsed().as_secs() >= 3
    });
    assert_eq!(endpoints(), 2);
}

#[test]
fn a_service_that_is_nowhere_is_503_until_it_is_somewhere() {
    let names = NameServer::start();
    let origin = Origin::fine();
    let proxy = Proxy::start(&settings(&names, "endpoints = [\"http+srv://_http._tcp.origin.test\"]"), &[]);
    let refused = proxy.get("/");
    assert_eq!((refused.status(), refused.code().as_str()), (503, "upstream-unavailable"));
    names.host("host.test", 60, &[[127, 0, 0, 1]]);
    names.service("_http._tcp.origin.test", 60, &[(0, 0, origin.address().port(), "host.test")]);
    until("it is somewhere", || proxy.get("/").text() == "fine");
}
