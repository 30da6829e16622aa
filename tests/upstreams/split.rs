//! Routes whose requests go to several upstreams, or are copied to another.

use std::sync::mpsc;
use std::time::Duration;

use crate::harness::{Origin, PATIENCE, Proxy, answer, until};

/// Two upstreams, `a` and `b`, and a route with these settings.
fn start(a: &Origin, b: &Origin, route: &str) -> Proxy {
    Proxy::start(
        &format!(
            "upstream.a.endpoints = [{:?}]\nupstream.b.endpoints = [{:?}]\n\
             [route.all]\npath-prefix = \"/\"\nupstream = \"a\"\n{route}",
            a.url(),
            b.url()
        ),
        &[],
    )
}

fn counted(proxy: &Proxy, series: &str) -> Option<u64> {
    let metrics = proxy.admin("/metrics").text();
    metrics.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[test]
fn a_split_gives_each_its_part_and_a_client_its_side() {
    let (a, b) = (Origin::start(|_| answer("text/plain", "a")), Origin::start(|_| answer("text/plain", "b")));
    let split = "split = { upstream = \"b\", percent = 25 }";
    let proxy = start(&a, &b, split);
    let mut client = proxy.client();
    let others = (0..400).filter(|_| client.request("GET", "/", &[], b"").text() == "b").count();
    // Five standard deviations around a quarter.
    assert!((57..=143).contains(&others), "{others} of 400");
    assert_eq!((a.seen().len(), b.seen().len()), (400 - others, others));

    let proxy = start(&a, &b, &format!("{split}\nsplit-by = \"header:x-user\""));
    let mut sides = [0, 0];
    for user in 0..200 {
        let user = format!("user-{user}");
        let ask = || proxy.client().request("GET", "/", &[("x-user", &user)], b"").text();
        let side = ask();
        assert_eq!([ask(), ask()], [side.clone(), side.clone()], "{user}");
        sides[usize::from(side == "b")] += 1;
    }
    assert!((20..=80).contains(&sides[1]), "{sides:?}");
    assert_eq!(proxy.get("/").text(), "a", "who has no key is no guinea pig");
    let state = proxy.admin("/state").json();
    assert_eq!(state["routes"][0]["split"][0]["percent"], 25.0);
}

#[test]
fn the_log_and_the_leaks_are_those_of_the_upstream_that_was_asked() {
    let a = Origin::fine();
    let b = Origin::start(|request| {
        let host = request.header("host").expect("a host");
        format!("HTTP/1.1 200 OK\r\nx-me: {host}\r\ncontent-length: 0\r\n\r\n").into_bytes()
    });
    let proxy = start(&a, &b, "split = { upstream = \"b\", percent = 100 }");
    assert_eq!(proxy.get("/").status(), 200);
    assert_eq!(counted(&proxy, "tollgate_upstream_leaks_total{upstream=\"b\"}"), Some(1));
    let line: serde_json::Value = serde_json::from_str(&proxy.stop()).expect("a line of JSON");
    assert_eq!((&line["upstream"], &line["endpoint"]), (&"b".into(), &b.address().to_string().into()));
}

#[test]
fn a_mirror_gets_whole_copies_and_its_answers_go_nowhere() {
    let a = Origin::start(|request| answer("text/plain", &format!("a {}", request.body.len())));
    let b = Origin::start(|_| b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\nno".to_vec());
    let proxy = start(&a, &b, "mirror = { upstream = \"b\", body = \"1KiB\" }");
    let mut client = proxy.client();
    assert_eq!(client.request("GET", "/x?y=1", &[("x-a", "b")], b"").text(), "a 0");
    assert_eq!(client.request("POST", "/p", &[], &[b'x'; 1000]).text(), "a 1000");
    client.send("PUT /c HTTP/1.1\r\nhost: api.test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
    client.send("2\r\nde\r\n0\r\n\r\n");
    assert_eq!(client.response().text(), "a 5");
    until("three copies", || b.seen().len() == 3);
    let mut copies: Vec<_> = b.seen().iter().map(|copy| (copy.target().to_owned(), copy.text().len())).collect();
    copies.sort();
    assert_eq!(copies, [("/c".to_owned(), 5), ("/p".to_owned(), 1000), ("/x?y=1".to_owned(), 0)]);
    let copy = b.seen().into_iter().find(|copy| copy.target() == "/x?y=1").expect("seen");
    assert_eq!((copy.header("x-a"), copy.header("x-forwarded-for")), (Some("b"), Some("127.0.0.1")));
    // Too long for a copy, whether its length is known or not.
    assert_eq!(client.request("POST", "/long", &[], &[b'x'; 1025]).text(), "a 1025");
    client.send(format!(
        "PUT /long HTTP/1.1\r\nhost: api.test\r\ntransfer-encoding: chunked\r\n\r\n401\r\n{}\r\n",
        "y".repeat(1025)
    ));
    client.send("0\r\n\r\n");
    assert_eq!(client.response().text(), "a 1025");
    assert_eq!(counted(&proxy, "tollgate_route_mirrored_total{route=\"all\",result=\"sent\"}"), Some(3));
    assert_eq!(counted(&proxy, "tollgate_route_mirrored_total{route=\"all\",result=\"left-out\"}"), Some(2));
    assert_eq!(b.seen().len(), 3);
}

#[test]
fn a_mirror_that_hangs_or_is_gone_slows_nobody() {
    let a = Origin::fine();
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let b = Origin::start(move |_| {
        // Until the test is over.
        let _ = held.lock().expect("no thread panicked").recv_timeout(PATIENCE);
        answer("text/plain", "late")
    });
    let proxy = start(&a, &b, "mirror = { upstream = \"b\", most = 2 }");
    let mut client = proxy.client();
    let begun = std::time::Instant::now();
    for _ in 0..50 {
        assert_eq!(client.request("POST", "/", &[], b"body").text(), "fine");
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(counted(&proxy, "tollgate_route_mirrored_total{route=\"all\",result=\"sent\"}"), Some(2));
    assert_eq!(counted(&proxy, "tollgate_route_mirrored_total{route=\"all\",result=\"left-out\"}"), Some(48));
    drop(release);
}

#[test]
fn a_method_that_a_route_does_not_take_is_405_with_those_that_it_does() {
    let a = Origin::fine();
    let proxy = start(&a, &a, "split = { upstream = \"b\", percent = 50 }\nmethods = [\"GET\", \"POST\"]");
    let refused = proxy.client().request("DELETE", "/", &[], b"");
    assert_eq!((refused.status(), refused.header("allow")), (405, Some("GET, HEAD, POST")));
    assert!(a.seen().is_empty());
}
