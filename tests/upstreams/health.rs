//! Endpoints that fail and get well again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{config, with};
use crate::harness::{Origin, Proxy, answer, until};

/// An origin that fails or not as the test says.
struct Switched {
    origin: Origin,
    well: Arc<AtomicBool>,
    checks: Arc<AtomicUsize>,
}

impl Switched {
    fn start() -> Self {
        let (well, checks) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let origin = Origin::start({
            let (well, checks) = (well.clone(), checks.clone());
            move |request| {
                checks.fetch_add(usize::from(request.target() == "/healthz"), Ordering::SeqCst);
                if well.load(Ordering::SeqCst) {
                    return answer("text/plain", "fine");
                }
                b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n".to_vec()
            }
        });
        Self { origin, well, checks }
    }

    fn set(&self, well: bool) {
        self.well.store(well, Ordering::SeqCst);
    }

    /// Requests of clients.
    fn asked(&self) -> usize {
        self.origin.seen().len() - self.checks.load(Ordering::SeqCst)
    }
}

fn states(proxy: &Proxy) -> Vec<String> {
    let endpoints = proxy.admin("/state").json()["upstreams"][0]["endpoints"].clone();
    let endpoints = endpoints.as_array().expect("a list").clone();
    endpoints.iter().map(|endpoint| endpoint["state"].as_str().expect("a word").to_owned()).collect()
}

fn has(proxy: &Proxy, line: &str) {
    let metrics = proxy.admin("/metrics").text();
    assert!(metrics.lines().any(|found| found == line), "no {line} in\n{metrics}");
}

#[test]
fn an_endpoint_whose_checks_fail_is_left_out_and_comes_back() {
    let [one, two] = [Switched::start(), Switched::start()];
    let settings = format!(
        "endpoints = [{:?}, {:?}]\nbalance = \"round-robin\"\nejection.failures = 0\nretries.attempts = 0\n\
         health = {{ path = \"/healthz\", interval = \"50ms\", timeout = \"50ms\", healthy = 2, unhealthy = 2 }}",
        one.origin.url(),
        two.origin.url()
    );
    let proxy = Proxy::start(&with(&settings), &[]);
    assert_eq!(states(&proxy), ["up", "up"]);
    one.set(false);
    until("its checks fail", || states(&proxy) == ["down", "up"]);
    let asked = one.asked();
    let mut client = proxy.client();
    assert!((0..20).all(|_| client.request("GET", "/", &[], b"").status() == 200));
    assert_eq!(one.asked(), asked);
    has(&proxy, "tollgate_upstream_endpoints{upstream=\"o\",state=\"down\"} 1");
    // A reload keeps what is known.
    proxy.reload(&with(&format!("{settings}\npreserve-host = true"))).expect("a right configuration");
    assert_eq!(states(&proxy)[0], "down");
    one.set(true);
    until("its checks succeed", || states(&proxy) == ["up", "up"]);
    // All of them: nobody is asked any more.
    one.set(false);
    two.set(false);
    until("all checks fail", || states(&proxy) == ["down", "down"]);
    let refused = proxy.get("/");
    assert_eq!((refused.status(), refused.code().as_str()), (503, "upstream-unavailable"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    // Without checks, nothing says that they are down.
    proxy.reload(&with(settings.split("\nhealth").next().expect("text"))).expect("a right configuration");
    assert_eq!(states(&proxy), ["up", "up"]);
}

#[test]
fn an_endpoint_that_fails_requests_is_ejected_and_a_reload_keeps_that() {
    let [one, two] = [Switched::start(), Switched::start()];
    let text = |more: &str| {
        let urls = [one.origin.url(), two.origin.url()];
        with(&format!("endpoints = {urls:?}\nretries.attempts = 0\nejection.time = \"1h\"\n{more}"))
    };
    let proxy = Proxy::start(&text(""), &[]);
    one.set(false);
    let mut client = proxy.client();
    let failed = (0..200).filter(|_| client.request("GET", "/", &[], b"").status() == 500).count();
    assert_eq!((failed, one.asked()), (5, 5));
    assert_eq!(states(&proxy), ["ejected", "up"]);
    has(&proxy, "tollgate_upstream_ejections_total{upstream=\"o\"} 1");
    proxy.reload(&text("preserve-host = true")).expect("a right configuration");
    assert_eq!(states(&proxy), ["ejected", "up"]);
    assert!((0..20).all(|_| client.request("GET", "/", &[], b"").status() == 200));
}

#[test]
fn a_breaker_refuses_for_all_workers_and_over_a_reload() {
    let switched = Switched::start();
    let origins = std::slice::from_ref(&switched.origin);
    let proxy = Proxy::start(&config(origins, "breaker = { volume = 10, time = \"1h\" }\nretries.attempts = 0"), &[]);
    switched.set(false);
    for _ in 0..10 {
        assert_eq!(proxy.get("/").status(), 500);
    }
    let breaker = || proxy.admin("/state").json()["upstreams"][0]["breaker"].clone();
    assert_eq!(breaker(), "open");
    for _ in 0..20 {
        let refused = proxy.get("/");
        assert_eq!((refused.status(), refused.code().as_str()), (503, "upstream-unavailable"));
    }
    assert_eq!(switched.asked(), 10);
    has(&proxy, "tollgate_upstream_breaker_refusals_total{upstream=\"o\"} 20");
    has(&proxy, "tollgate_upstream_breaker_openings_total{upstream=\"o\"} 1");
    proxy.reload(&config(origins, "breaker = { volume = 10, time = \"1h\" }")).expect("a right configuration");
    assert_eq!((breaker(), proxy.get("/").status()), ("open".into(), 503));
    // Without one, there is nothing to be open.
    proxy.reload(&config(origins, "retries.attempts = 0")).expect("a right configuration");
    assert_eq!((breaker(), proxy.get("/").status()), (serde_json::Value::Null, 500));
}
