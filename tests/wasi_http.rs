//! Components of the standard's HTTP worlds, which know nothing of us: those of WASI 0.2 and of 0.3, at the end of a chain
//! and in the middle of one, and what they cost when they misbehave.

mod middleware;
mod places;

use crate::harness::{Diagnostics, Gate, Origin, Proxy, alone, answer, guest, resident, until};

/// Both do the same, in WASI 0.2 and in 0.3.
const SERVICES: [&str; 2] = ["proxy", "service"];

/// `/…` is answered by a service, `/open` by an upstream.
fn start(component: &str, settings: &str) -> (Origin, Proxy) {
    let (origin, config) = configured(component, settings);
    let proxy = Proxy::start(&config, &[(component, guest(component))]);
    (origin, proxy)
}

fn configured(component: &str, settings: &str) -> (Origin, String) {
    let origin = Origin::fine();
    let config = format!(
        r#"
        upstream.o.endpoints = ["{}"]
        route.open = {{ path = "/open", upstream = "o" }}
        [route.end]
        path-prefix = "/"
        service = "end"
        body-size = "unlimited"
        [plugin.end]
        component = "{component}"
        {settings}
        "#,
        origin.url()
    );
    (origin, config)
}

/// Longer than anything takes that works.
const PATIENT: &str = "limits = { time = \"10s\", answer = \"1m\" }";

fn is_open(proxy: &Proxy) {
    let other = proxy.get("/open");
    assert_eq!((other.status(), other.text().as_str()), (200, "fine"));
}

fn metric(proxy: &Proxy, line: &str) -> bool {
    proxy.admin("/metrics").text().lines().any(|one| one == line)
}

#[test]
fn they_answer_in_the_place_of_an_upstream() {
    for component in SERVICES {
        let (origin, proxy) = start(component, PATIENT);
        for _ in 0..3 {
            let answer = proxy.get("/hello");
            assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"), "{component}: {answer:?}");
            assert_eq!(answer.header("x-guest"), Some(component));
        }
        let mut client = proxy.client();
        for _ in 0..3 {
            // On one connection: the end of each answer is where it is said to be.
            assert_eq!(client.request("GET", "/hello", &[], b"").text(), "hello");
        }
        let status = proxy.get("/status/404");
        assert_eq!((status.status(), status.text().as_str()), (404, ""), "{component}");
        let head = proxy.client().request("HEAD", "/hello", &[], b"");
        assert_eq!((head.status(), head.text().as_str()), (200, ""), "{component}");
        assert_eq!(origin.accepted(), 0);
        assert!(metric(&proxy, "tollgate_plugin_calls_total{plugin=\"end\",route=\"end\",hook=\"handle\"} 8"));
        let state = proxy.admin("/state").json();
        assert_eq!(state["plugins"][0]["name"], "end");
        assert!(state["plugins"][0]["world"].as_str().is_some_and(|world| world.starts_with("wasi:http/")), "{state}");
        assert_eq!(state["routes"][0]["service"], "end");
    }
}

#[test]
fn they_see_what_an_upstream_would() {
    for component in SERVICES {
        let (_origin, proxy) = start(component, PATIENT);
        let fields = [("x-mine", "1"), ("connection", "x-hop"), ("x-hop", "2"), ("x-forwarded-for", "6.6.6.6")];
        let told = proxy.client().request("POST", "/head/a%20b?c=d", &fields, b"body").text();
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines[..4], ["POST", "http", "api.test", "/head/a%20b?c=d"], "{component}: {told}");
        assert!(lines.contains(&"x-mine: 1"), "{told}");
        assert!(lines.contains(&"content-length: 4"), "{told}");
        assert!(lines.contains(&"x-forwarded-for: 127.0.0.1"), "{told}");
        for hidden in ["connection:", "x-hop:", "host:"] {
            let seen = lines.iter().any(|line| line.starts_with(hidden) || line.contains("6.6.6.6"));
            assert!(!seen, "{component} sees {hidden}: {told}");
        }
    }
}

#[test]
fn bodies_go_both_ways_piece_by_piece() {
    for component in SERVICES {
        let (_origin, proxy) = start(component, PATIENT);
        let mut client = proxy.client();
        client.send("POST /echo HTTP/1.1\r\nhost: api.test\r\ntransfer-encoding: chunked\r\n\r\n");
        client.send("5\r\nfirst\r\n");
        // Before there is more of it, the first piece is back.
        let head = until_body(&mut client);
        assert!(head.starts_with("HTTP/1.1 200"), "{component}: {head}");
        assert_eq!(client.take(10), "5\r\nfirst\r\n", "{component}");
        client.send("6\r\nsecond\r\n0\r\n\r\n");
        assert_eq!(client.take(16), "6\r\nsecond\r\n0\r\n\r\n", "{component}");
        let large = "z".repeat(3 << 20);
        let echoed = proxy.client().request("POST", "/echo", &[], large.as_bytes());
        assert!(echoed.text() == large, "{component}: {} bytes", echoed.body.len());
    }
}

/// The head of a response, with the empty line behind it.
fn until_body(client: &mut crate::harness::Client) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head += &client.take(1);
    }
    head
}

#[test]
fn a_body_waits_for_its_reader_and_takes_no_memory_meanwhile() {
    alone("wasi_http::a_body_waits_for_its_reader_and_takes_no_memory_meanwhile", wait_for_a_reader);
}

fn wait_for_a_reader() {
    const LENGTH: u64 = 1 << 30;
    for component in SERVICES {
        let (_origin, proxy) = start(component, "limits = { time = \"10s\", answer = \"1m\", memory = \"4MiB\" }");
        let mut client = proxy.client();
        client.send(format!("GET /zeros/{LENGTH} HTTP/1.1\r\nhost: api.test\r\n\r\n"));
        until_body(&mut client);
        client.take(1 << 20);
        let before = resident();
        client.take(64 << 20);
        let grown = resident().saturating_sub(before);
        assert!(grown < 32 << 20, "{component}: {grown} bytes more");
        // It leaves, and the guest goes with it.
        drop(client);
        ends(&proxy);
    }
}

/// Waits until no instance is in use.
fn ends(proxy: &Proxy) {
    until("no instance is in use", || metric(proxy, "tollgate_plugin_instances{plugin=\"end\",state=\"in-use\"} 0"));
}

#[test]
fn trailers_pass() {
    for component in SERVICES {
        let (_origin, proxy) = start(component, PATIENT);
        let mut client = proxy.client();
        client.send(
            "POST /echo HTTP/1.1\r\nhost: api.test\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n\
             4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n",
        );
        until_body(&mut client);
        assert_eq!(client.take(9 + 3 + 11 + 2), "4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n", "{component}");
    }
}

#[test]
fn each_request_has_an_instance_of_its_own() {
    for component in SERVICES {
        let (_origin, proxy) = start(component, PATIENT);
        for _ in 0..5 {
            assert_eq!(proxy.get("/count").text(), "1", "{component}");
        }
        ends(&proxy);
    }
}

#[test]
fn what_no_answer_may_say_is_not_said() {
    for component in SERVICES {
        let (_origin, proxy) = start(component, PATIENT);
        let answer = proxy.get("/fields");
        assert_eq!((answer.status(), answer.header("x-kept")), (200, Some("yes")), "{component}: {answer:?}");
        assert_eq!(answer.header("server"), None, "{component}: {answer:?}");
        let failed = proxy.get("/status/503");
        assert_eq!((failed.status(), failed.code().as_str()), (503, "upstream-status"), "{component}");
        let strange = proxy.get("/status/103");
        assert_eq!((strange.status(), strange.code().as_str()), (502, "service-failed:end"), "{component}");
        // The length that it says is not that of what comes.
        let mut client = proxy.client();
        client.send("GET /short HTTP/1.1\r\nhost: api.test\r\n\r\n");
        assert!(client.try_response().is_none(), "{component}");
    }
}

#[test]
fn a_service_that_misbehaves_costs_one_request() {
    for component in SERVICES {
        let settings = "limits = { time = \"200ms\", answer = \"300ms\", memory = \"8MiB\" }";
        let (_origin, proxy) = start(component, settings);
        for (path, status, code) in [
            ("/trap", 502, "service-failed:end"),
            ("/allocate", 502, "service-failed:end"),
            ("/exit", 502, "service-failed:end"),
            ("/refuses", 502, "service-failed:end"),
            ("/spin", 504, "service-timeout:end"),
            ("/sleeps", 504, "service-timeout:end"),
        ] {
            let refused = proxy.get(path);
            assert_eq!((refused.status(), refused.code().as_str()), (status, code), "{component} {path}: {refused:?}");
            for word in ["secret words", "wasm", "unreachable", "LoopDetected"] {
                assert!(!refused.text().contains(word), "{component} {path}: {}", refused.text());
            }
            is_open(&proxy);
        }
        // One that says nothing at all, and one that takes what is the engine's until there is no more.
        let own = if component == "proxy" { "/silent" } else { "/hoard" };
        let refused = proxy.get(own);
        assert_eq!((refused.status(), refused.code().as_str()), (502, "service-failed:end"), "{refused:?}");
        for kind in ["trap", "timeout", "memory", "output"] {
            let line = format!("tollgate_plugin_errors_total{{plugin=\"end\",route=\"end\",kind=\"{kind}\"}} 0");
            assert!(!metric(&proxy, &line), "{component}: no {kind} is counted");
        }
        ends(&proxy);
        assert_eq!(proxy.get("/hello").text(), "hello", "{component}");
    }
}

#[test]
fn half_an_answer_is_never_taken_for_a_whole_one() {
    for component in SERVICES {
        let (_origin, proxy) = start(component, "limits = { time = \"200ms\", answer = \"300ms\" }");
        for how in ["trap", "spin", "sleeps", "exit"] {
            let mut client = proxy.client();
            client.send(format!("GET /half/{how} HTTP/1.1\r\nhost: api.test\r\n\r\n"));
            let rest = client.rest();
            // One that ends at once may take what it has given with it, and the connection is cut all the same.
            assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 200"), "{component} {how}: {rest:?}");
            assert!(rest.contains("4\r\nhalf\r\n") || how != "sleeps", "{component} {how}: {rest:?}");
            assert!(!rest.contains("0\r\n\r\n"), "{component} {how}: {rest:?}");
        }
        ends(&proxy);
    }
}

#[test]
fn one_that_computes_for_long_lets_others_go_on() {
    for component in SERVICES {
        let (_origin, proxy) = start(component, "limits = { time = \"2s\", answer = \"1m\" }\n");
        let mut clients = [proxy.client(), proxy.client(), proxy.client(), proxy.client()];
        for client in &mut clients {
            client.send("GET /spin HTTP/1.1\r\nhost: api.test\r\n\r\n");
        }
        // Both workers have one of them, and answer all the same.
        for _ in 0..20 {
            is_open(&proxy);
        }
        for client in &mut clients {
            assert_eq!(client.response().code(), "service-timeout:end", "{component}");
        }
    }
}

#[test]
fn a_client_that_leaves_ends_its_instance() {
    for component in SERVICES {
        let (_origin, proxy) = start(component, "limits = { time = \"10s\", answer = \"1h\" }");
        let mut client = proxy.client();
        client.send("GET /sleeps HTTP/1.1\r\nhost: api.test\r\n\r\n");
        until("it is in use", || metric(&proxy, "tollgate_plugin_instances{plugin=\"end\",state=\"in-use\"} 1"));
        drop(client);
        ends(&proxy);
        let mut client = proxy.client();
        client.send("GET /half/sleeps HTTP/1.1\r\nhost: api.test\r\n\r\n");
        until_body(&mut client);
        drop(client);
        ends(&proxy);
    }
}

#[test]
fn no_more_instances_than_allowed() {
    for component in SERVICES {
        let limits = "limits = { time = \"10s\", answer = \"1h\", instances = 1, wait = \"10ms\" }";
        let (_origin, proxy) = start(component, limits);
        let mut client = proxy.client();
        client.send("GET /sleeps HTTP/1.1\r\nhost: api.test\r\n\r\n");
        until("it is in use", || metric(&proxy, "tollgate_plugin_instances{plugin=\"end\",state=\"in-use\"} 1"));
        let refused = proxy.get("/hello");
        assert_eq!((refused.status(), refused.code().as_str()), (503, "service-overload:end"), "{component}");
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
}

#[test]
fn a_slow_client_is_not_the_service_s_fault() {
    for component in SERVICES {
        let config = format!(
            "{}\n[listener.public.limits]\nbody-idle = \"1m\"\n",
            configured(component, "limits = { time = \"10s\", answer = \"100ms\" }").1
        );
        let proxy = Proxy::start(&config, &[(component, guest(component))]);
        let mut client = proxy.client();
        client.send("POST /echo HTTP/1.1\r\nhost: api.test\r\ncontent-length: 10\r\n\r\n");
        let head = until_body(&mut client);
        assert!(head.starts_with("HTTP/1.1 200"), "{component}: {head}");
        // It waits for the client's body, for longer than it may take by itself: as long as these take.
        for _ in 0..3 {
            assert_eq!(proxy.get("/sleeps").code(), "service-timeout:end");
        }
        client.send("0123456789");
        assert_eq!(client.take(15), "a\r\n0123456789\r\n", "{component}");
    }
}

#[test]
fn a_file_that_is_dropped_in_takes_its_place() {
    for (component, other) in [("proxy", "service"), ("service", "proxy")] {
        let (_origin, proxy) = start(component, PATIENT);
        assert_eq!(proxy.get("/hello").header("x-guest"), Some(component));
        proxy.drop_in(component, &guest(other));
        assert_eq!(proxy.get("/hello").header("x-guest"), Some(other), "the other world in the same file");
        // What cannot stand there does not.
        for misplaced in ["echo-state", "middleware"] {
            proxy.drop_in(component, &guest(misplaced));
            assert_eq!(proxy.get("/hello").header("x-guest"), Some(other));
            let problem = proxy.admin("/state").text();
            assert!(problem.contains("put it into the chain of a route"), "{problem}");
        }
        proxy.drop_in(component, b"broken");
        assert_eq!(proxy.get("/hello").header("x-guest"), Some(other));
        proxy.drop_in(component, &guest(component));
        assert_eq!(proxy.get("/hello").header("x-guest"), Some(component));
    }
}

#[test]
fn they_ask_only_origins_that_are_granted() {
    for component in ["proxy-asks", "service-asks"] {
        let asked = Origin::start(|_| answer("text/plain", "it is me"));
        let other = Origin::fine();
        let (url, name) = (asked.url(), format!("http://localhost:{}", asked.address().port()));
        let settings = format!("{PATIENT}\ngrant.http = [{url:?}, {name:?}]");
        let (_origin, proxy) = start(component, &settings);
        let told = proxy.get(&format!("/?{url}/who?a=b"));
        assert_eq!((told.status(), told.text().as_str()), (200, "it is me"), "{component}: {told:?}");
        let seen = asked.last();
        assert_eq!(seen.start, "GET /who?a=b HTTP/1.1");
        assert_eq!(seen.header("host"), Some(asked.address().to_string().as_str()));
        let refused = proxy.get(&format!("/?{}/", other.url())).text();
        assert!(refused.contains("HttpRequestDenied"), "{component}: {refused}");
        assert_eq!(other.accepted(), 0);
        let private = proxy.get(&format!("/?{name}/")).text();
        assert!(private.contains("DestinationIpProhibited"), "{component}: {private}");
    }
}

#[test]
fn what_a_server_says_passes_piece_by_piece() {
    for component in ["proxy-asks", "service-asks"] {
        let gate = Gate::default();
        let large = "x".repeat(2 << 20);
        let said = large.clone();
        let inside = gate.clone();
        let asked = Origin::start(move |_| {
            inside.pass();
            answer("text/plain", &said)
        });
        let (_origin, proxy) = start(component, &format!("{PATIENT}\ngrant.http = [{:?}]", asked.url()));
        let mut client = proxy.client();
        client.send(format!("GET /?{}/ HTTP/1.1\r\nhost: api.test\r\n\r\n", asked.url()));
        gate.arrived(1);
        is_open(&proxy);
        gate.open();
        // More than a plugin of ours may be told in one piece.
        assert!(client.response().text() == large, "{component}");
    }
}

#[test]
fn what_it_prints_is_in_the_log() {
    let diagnostics = Diagnostics::listen();
    for component in SERVICES {
        let (_origin, config) = configured(component, PATIENT);
        let proxy = Proxy::start_heard(&config, &[(component, guest(component))], &diagnostics);
        assert_eq!(proxy.get("/trap").code(), "service-failed:end");
        ends(&proxy);
        drop(proxy);
        assert!(diagnostics.text().contains("secret words"), "{component}");
    }
}

#[test]
fn a_connection_that_a_guest_waits_for_closes_with_its_client() {
    for component in ["proxy-asks", "service-asks"] {
        let gate = Gate::default();
        let inside = gate.clone();
        let asked = Origin::start(move |_| {
            inside.pass();
            answer("text/plain", "late")
        });
        let (_origin, proxy) = start(component, &format!("{PATIENT}\ngrant.http = [{:?}]", asked.url()));
        let mut client = proxy.client();
        client.send(format!("GET /?{}/ HTTP/1.1\r\nhost: api.test\r\n\r\n", asked.url()));
        gate.arrived(1);
        drop(client);
        ends(&proxy);
        gate.open();
    }
}
