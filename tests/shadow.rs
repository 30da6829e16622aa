//! Versions that only watch: they see what the version that serves sees, and nobody sees them.

use serde_json::Value;

use crate::harness::{Diagnostics, Origin, Proxy, guest, hello, until};

fn config(origin: &Origin, component: &str, plugin: &str) -> String {
    format!(
        r#"
        upstream.o.endpoints = ["{}"]
        plugin.it = {{ component = "{component}", limits.time = "5s", rollout.shadow = true, {plugin} }}
        route.all = {{ path-prefix = "/", chain = ["it"], upstream = "o" }}
        "#,
        origin.url()
    )
}

const GREETS: &str = r#"config.name = "world""#;

/// How the version that watches stands.
fn trial(proxy: &Proxy) -> Value {
    let state: Value = serde_json::from_str(&proxy.admin("/state").text()).expect("JSON");
    state["plugins"][0]["trial"].clone()
}

/// Waits until so many decisions were compared, and answers those that were the same, different, failed.
fn compared(proxy: &Proxy, decisions: u64) -> [u64; 3] {
    let counts = || ["same", "different", "failed"].map(|word| trial(proxy)["shadow"][word].as_u64().unwrap_or(0));
    until("all are compared", || counts().iter().sum::<u64>() >= decisions);
    assert_eq!(trial(proxy)["shadow"]["left_out"], 0);
    counts()
}

#[test]
fn a_version_that_decides_otherwise_is_found_out_and_changes_nothing() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, "greeting", GREETS), &[("greeting", hello())]);
    let ask = || {
        let answer = proxy.get("/");
        assert_eq!((answer.header("x-hello"), answer.header("x-goodbye")), (Some("world"), None), "{answer:?}");
    };
    ask();
    assert!(trial(&proxy).is_null(), "there is one version");
    proxy.drop_in("greeting", &guest("goodbye"));
    (0..20).for_each(|_| ask());
    assert_eq!(compared(&proxy, 20), [0, 20, 0]);
    let stands = trial(&proxy);
    let last = stands["last_difference"].as_str().expect("it differs");
    assert!(last.contains("on-response") && last.contains("x-goodbye") && !last.contains("world"), "{last}");
    let metrics = proxy.admin("/metrics").text();
    let line =
        metrics.lines().find(|line| line.starts_with("tollgate_rollout_decisions_total") && line.contains("different"));
    assert!(line.is_some_and(|line| line.contains(r#"plugin="it""#) && line.ends_with(" 20")), "{line:?}");
    // What it costs is known before anybody meets it, and counted apart.
    let state: Value = serde_json::from_str(&proxy.admin("/state").text()).expect("JSON");
    let costs = state["plugins"][0]["costs"].as_array().expect("a list");
    let mut calls: Vec<_> = costs.iter().map(|costs| costs["hooks"]["on-response"]["calls"].as_u64()).collect();
    calls.sort();
    assert_eq!(calls, [Some(20), Some(21)], "{costs:?}");
    // It is never rolled back by itself, and can be promoted.
    proxy.look();
    assert!(trial(&proxy).is_object());
    assert_eq!(proxy.tell("/plugins/it/promote").0, 200);
    assert!(proxy.get("/").header("x-goodbye").is_some());
    assert!(trial(&proxy).is_null());
    assert!(!proxy.admin("/metrics").text().contains("tollgate_rollout_decisions_total{"), "its series are gone");
}

#[test]
fn a_version_that_fails_costs_nobody_anything() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, "greeting", GREETS), &[("greeting", hello())]);
    proxy.drop_in("greeting", &guest("stumble"));
    for _ in 0..30 {
        assert_eq!(proxy.get("/").header("x-hello"), Some("world"));
    }
    assert_eq!(compared(&proxy, 30), [0, 0, 30]);
    assert_eq!(trial(&proxy)["last_difference"], "on-response: it fails: Trap");
    proxy.look();
    let state: Value = serde_json::from_str(&proxy.admin("/state").text()).expect("JSON");
    assert!(state["plugins"][0]["paused"].is_null(), "{state}");
    assert_eq!(proxy.tell("/plugins/it/rollback").0, 200);
    assert!(trial(&proxy).is_null());
}

/// The same plugin as another file: a custom section of core modules and components, which nobody reads.
fn again(component: &[u8]) -> Vec<u8> {
    [component, &[0, 5, 4], b"note"].concat()
}

#[test]
fn what_it_counts_is_not_counted_twice() {
    let origin = Origin::fine();
    let limit = r#"config = { limit = 25, window = "1h", key = "global" }"#;
    let quota = component("rate-limit");
    let proxy = Proxy::start(&config(&origin, "quota", limit), &[("quota", quota.clone())]);
    // What the version that serves has counted before is known to the new one, too: by its answers.
    let ask = || proxy.get("/").status();
    assert!((0..10).all(|_| ask() == 200));
    proxy.drop_in("quota", &again(&quota));
    assert!((0..15).all(|_| ask() == 200), "25 in all: none was counted twice");
    assert!((0..5).all(|_| ask() == 429));
    let counts = compared(&proxy, 20);
    assert_eq!((counts[1], counts[2]), (0, 0), "{}", trial(&proxy));
    // A reload goes on with it.
    proxy.reload(&config(&origin, "quota", limit)).expect("the same again");
    assert_eq!(compared(&proxy, 20), counts);
}

/// A built-in component, as a file.
fn component(name: &str) -> Vec<u8> {
    let (_, bytes) = tollgate::plugin::BUILT_IN.iter().find(|(built_in, _)| *built_in == name).expect("it is built in");
    bytes.to_vec()
}

#[test]
fn it_asks_no_server_and_is_told_what_the_other_was_told() {
    let origin = Origin::fine();
    let server = Origin::fine();
    let asks = format!(
        r#"config.urls = ["{url}/a"], grant.http = [{{ origin = "{url}", addresses = ["127.0.0.1/32"] }}]"#,
        url = server.url()
    );
    let proxy = Proxy::start(&config(&origin, "asks", &asks), &[("asks", guest("ask"))]);
    proxy.drop_in("asks", &again(&guest("ask")));
    for _ in 0..10 {
        assert_eq!(proxy.get("/").status(), 200);
    }
    assert_eq!(compared(&proxy, 10), [10, 0, 0], "{}", trial(&proxy));
    assert_eq!(server.seen().len(), 10, "each question was asked once");
}

#[test]
fn its_lines_and_numbers_are_not_shown() {
    let diagnostics = Diagnostics::listen();
    let origin = Origin::fine();
    let counts = "config.series = 3";
    let proxy = Proxy::start_heard(&config(&origin, "counts", counts), &[("counts", guest("series"))], &diagnostics);
    proxy.drop_in("counts", &again(&guest("series")));
    (0..10).for_each(|_| assert_eq!(proxy.get("/").status(), 200));
    assert_eq!(compared(&proxy, 10), [10, 0, 0]);
    let metrics = proxy.admin("/metrics").text();
    let seen = metrics.lines().find(|line| line.starts_with("tollgate_plugin_counter_seen_total")).expect("a series");
    assert!(seen.ends_with(" 20"), "2 for each of 10 requests: {seen}");
}

#[test]
fn bodies_that_are_whole_are_shown() {
    let origin = Origin::fine();
    let rules = r#"config.at = "request-body""#;
    let proxy = Proxy::start(&config(&origin, "body", rules), &[("body", guest("quiet"))]);
    let post = || proxy.client().request("POST", "/", &[("content-type", "text/plain")], b"body").status();
    proxy.drop_in("body", &guest("trap"));
    assert!((0..5).all(|_| post() == 200));
    let counts = compared(&proxy, 10);
    assert_eq!(counts, [5, 0, 5], "the head is the same, the body makes it fail: {}", trial(&proxy));
    assert_eq!(trial(&proxy)["last_difference"], "on-request-body: it fails: Trap");
}
