//! What goes out once more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{config, with};
use crate::harness::{Origin, Proxy, answer};

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

/// An origin of which each odd answer is a 503.
fn flaky() -> Origin {
    let count = Arc::new(AtomicUsize::new(0));
    Origin::start(move |_| match count.fetch_add(1, Ordering::SeqCst) % 2 {
        0 => FULL.to_vec(),
        _ => answer("text/plain", "fine"),
    })
}

/// A counter of the upstream.
fn counted(proxy: &Proxy, name: &str, labels: &str) -> u64 {
    let metrics = proxy.admin("/metrics").text();
    let series = format!("{name}_total{{upstream=\"o\"{labels}}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&series));
    line.unwrap_or_else(|| panic!("no {series} in\n{metrics}")).parse().expect("a number")
}

#[test]
fn a_client_does_not_notice_a_503_that_passes() {
    let origin = flaky();
    let proxy = Proxy::start(&config(std::slice::from_ref(&origin), "retries.least = 10000"), &[]);
    for method in ["GET", "PUT", "DELETE"] {
        let response = proxy.client().request(method, "/", &[], b"");
        assert_eq!(response.status(), 200, "{method}");
    }
    assert_eq!(proxy.client().request("PUT", "/", &[], b"body").status(), 200);
    assert_eq!(origin.last().text(), "body");
    assert_eq!(counted(&proxy, "tollgate_upstream_retries", ",result=\"sent\""), 4);
    // What may have had its effect is never repeated.
    assert_eq!(proxy.client().request("POST", "/", &[], b"body").status(), 503);
}

#[test]
fn retries_can_be_left_out() {
    let origin = flaky();
    let proxy = Proxy::start(&config(std::slice::from_ref(&origin), "retries.attempts = 0"), &[]);
    assert_eq!(proxy.get("/").status(), 503);
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn whoever_fails_whole_gets_a_fifth_more_and_no_client_changes_that() {
    let origin = Origin::start(|_| FULL.to_vec());
    let settings = format!("endpoints = [{:?}]\nretries = {{ attempts = 5, least = 0 }}", origin.url());
    let proxy = Proxy::start(&with(&settings), &[]);
    let mut client = proxy.client();
    let asks = [("x-envoy-max-retries", "10"), ("l5d-retry-limit", "10"), ("retry-after", "0")];
    for _ in 0..500 {
        assert_eq!(client.request("GET", "/", &asks, b"").status(), 503);
    }
    assert!((501..=600).contains(&origin.seen().len()), "{}", origin.seen().len());
    assert!(counted(&proxy, "tollgate_upstream_retries", ",result=\"denied\"") > 0);
}
