//! Plugins that misbehave: each costs the request it was called for, and nothing else. The component, the engine, the
//! sandbox and its limits are the real ones.

use crate::harness::{Message, Origin, Proxy, guest, until};

const ISOLATIONS: [&str; 2] = ["pooled", "request"];

/// Where a plugin can misbehave while a request runs.
const HOOKS: [&str; 4] = ["request", "request-body", "response", "response-body"];

/// `/guarded` goes through the plugin `bad`, `/open` goes through none.
fn start(component: &str, settings: &str) -> Result<(Origin, Proxy), String> {
    let origin = Origin::fine();
    let config = format!(
        r#"
        [upstream.o]
        endpoints = ["{url}"]

        [route.guarded]
        path-prefix = "/guarded"
        chain = ["bad"]
        upstream = "o"

        [route.open]
        path = "/open"
        upstream = "o"

        [plugin.bad]
        component = "{component}"
        {settings}
        "#,
        url = origin.url(),
    );
    let proxy = Proxy::try_start(&config, &[(component, guest(component))])?;
    Ok((origin, proxy))
}

fn guarded(proxy: &Proxy) -> Message {
    proxy.client().request("POST", "/guarded", &[("content-type", "text/plain")], b"body")
}

/// A closed plugin costs the request, twice in a row and with these words; an open one costs nothing.
fn costs_one_request(component: &str, hooks: &[&str], time: &str, codes: &[&str]) {
    for isolation in ISOLATIONS {
        for hook in hooks {
            let settings = format!("config.at = \"{hook}\"\nisolation = \"{isolation}\"\nlimits.time = \"{time}\"");
            let what = format!("{component} in {hook}, {isolation}");

            let (_origin, proxy) = start(component, &settings).unwrap_or_else(|why| panic!("{what}: {why}"));
            for _ in 0..2 {
                let refused = guarded(&proxy);
                assert_eq!(refused.status(), 500, "{what}: {refused:?}");
                assert!(codes.contains(&refused.code().as_str()), "{what}: {refused:?}");
                for word in ["secret words", "wasm", "unreachable", "fine", "src/"] {
                    assert!(!refused.text().contains(word), "{what}: {}", refused.text());
                }
                let other = proxy.get("/open");
                assert_eq!((other.status(), other.text().as_str()), (200, "fine"), "{what}");
            }

            let (_origin, proxy) = start(component, &format!("{settings}\non-failure = \"open\"")).expect("it loads");
            let passed = guarded(&proxy);
            assert_eq!((passed.status(), passed.text().as_str()), (200, "fine"), "{what}, open");
        }
    }
}

#[test]
fn one_that_spins() {
    costs_one_request("spin", &HOOKS, "30ms", &["plugin-timeout:bad"]);
}

#[test]
fn one_that_traps() {
    costs_one_request("trap", &HOOKS, "5s", &["plugin-failed:bad"]);
}

#[test]
fn one_that_takes_all_memory() {
    costs_one_request("allocate", &["request", "response-body"], "5s", &["plugin-failed:bad"]);
}

#[test]
fn one_that_takes_all_stack() {
    costs_one_request("recurse", &["request", "response"], "5s", &["plugin-failed:bad"]);
}

#[test]
fn one_that_stalls() {
    costs_one_request("stall", &["request", "response"], "30ms", &["plugin-timeout:bad"]);
}

#[test]
fn one_that_misbehaves_while_it_is_configured_is_not_loaded() {
    for component in ["trap", "spin", "allocate", "recurse"] {
        let why = start(component, "config.at = \"configure\"").err().unwrap_or_else(|| panic!("{component} loads"));
        assert!(why.contains("bad"), "{component}: {why}");
    }
}

#[test]
fn an_answer_that_is_not_allowed_changes_nothing() {
    for what in [
        "control-bytes",
        "framing",
        "pseudo",
        "dot-segments",
        "switching",
        "unknown-status",
        "many-headers",
        "undeclared-attribute",
    ] {
        let settings = format!("config.what = \"{what}\"\nlimits = {{ time = \"5s\", memory = \"64MiB\" }}");
        let (origin, proxy) = start("nonsense", &settings).expect("it loads");
        let refused = guarded(&proxy);
        assert_eq!((refused.status(), refused.code().as_str()), (500, "plugin-failed:bad"), "{what}: {refused:?}");
        assert!(origin.seen().is_empty(), "{what}");
        assert_eq!(proxy.get("/open").status(), 200, "{what}");

        let (origin, proxy) = start("nonsense", &format!("{settings}\non-failure = \"open\"")).expect("it loads");
        assert_eq!(guarded(&proxy).status(), 200, "{what}, open");
        let request = format!("{:?}", origin.last());
        assert!(!request.contains("nonsense"), "{what}: none of its edits is applied: {request}");
    }
}

#[test]
fn a_capability_that_is_not_granted_does_not_load() {
    let why = start("forbidden", "config.store = \"sessions\"").err().expect("it does not load");
    assert!(why.contains("bad") && why.contains("kv"), "{why}");
}

#[test]
fn only_the_granted_store_can_be_opened() {
    for (store, answer) in [("sessions", "opened"), ("others", "NotGranted")] {
        let settings = format!("config.store = \"{store}\"\ngrant.kv = [\"sessions\"]\nlimits.time = \"5s\"");
        let (origin, proxy) = start("forbidden", &settings).expect("it loads");
        assert_eq!(guarded(&proxy).status(), 200, "{store}");
        assert_eq!(origin.last().header("x-store"), Some(answer), "{store}");
    }
}

#[test]
fn with_isolation_by_request_nothing_is_left_of_an_earlier_call() {
    let calls = |isolation: &str| {
        let settings = format!("config = {{}}\nisolation = \"{isolation}\"\nlimits.time = \"5s\"");
        let (origin, proxy) = start("echo-state", &settings).expect("it loads");
        // One connection, and so one worker and its one idle instance.
        let mut client = proxy.client();
        for _ in 0..4 {
            assert_eq!(client.request("GET", "/guarded", &[], b"").status(), 200);
        }
        origin.seen().iter().map(|seen| seen.header("x-calls").expect("a count").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(calls("request"), ["1", "1", "1", "1"]);
    assert_eq!(calls("pooled"), ["1", "2", "3", "4"]);
}

#[test]
fn one_plugin_cannot_see_the_memory_of_another() {
    let origin = Origin::fine();
    let config = format!(
        r#"
        upstream.o.endpoints = ["{url}"]
        plugin.a = {{ component = "echo-state", config = {{}}, limits.time = "5s" }}
        plugin.b = {{ component = "echo-state", config = {{}}, limits.time = "5s" }}
        route.a = {{ path = "/a", chain = ["a"], upstream = "o" }}
        route.b = {{ path = "/b", chain = ["b"], upstream = "o" }}
        "#,
        url = origin.url(),
    );
    let proxy = Proxy::start(&config, &[("echo-state", guest("echo-state"))]);
    let mut client = proxy.client();
    for path in ["/a", "/a", "/b"] {
        assert_eq!(client.request("GET", path, &[], b"").status(), 200);
    }
    assert_eq!(origin.last().header("x-calls"), Some("1"));
}

#[test]
fn requests_of_others_are_answered_although_one_spins() {
    let (_origin, proxy) = start("spin", "config.at = \"request\"\nlimits.time = \"200ms\"").expect("it loads");
    let mut spinning: Vec<_> = (0..8).map(|_| proxy.client()).collect();
    for client in &mut spinning {
        client.send("GET /guarded HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    for _ in 0..20 {
        assert_eq!(proxy.get("/open").status(), 200);
    }
    for client in &mut spinning {
        assert_eq!(client.response().status(), 500);
    }
}

/// Clients that leave while a plugin waits for them: its instance is given up with the request. There is one for all of
/// them at a time, and nobody waits for another.
#[test]
fn a_client_that_leaves_a_plugin_that_waits_leaves_nothing_behind() {
    const TIMES: usize = 20;
    for (isolation, hook) in [("pooled", "request"), ("request", "request"), ("pooled", "response")] {
        let what = format!("{isolation}, {hook}");
        let origin = Origin::fine();
        let config = format!(
            r#"
            plugins.instances = 3
            upstream.o.endpoints = ["{}"]
            route.guarded = {{ path-prefix = "/guarded", chain = ["bad"], upstream = "o" }}
            route.other = {{ path-prefix = "/other", chain = ["other"], upstream = "o" }}
            [plugin.bad]
            component = "stall"
            config.at = "{hook}"
            isolation = "{isolation}"
            limits = {{ time = "1m", instances = 1, wait = "0s" }}
            [plugin.other]
            component = "headers"
            config.response.set = {{ x-other = "1" }}
            limits.time = "5s"
            "#,
            origin.url()
        );
        let proxy = Proxy::start(&config, &[("stall", guest("stall"))]);
        let calls = |waiting: usize| {
            let line = format!("http_server_active_requests {waiting}");
            until(&line, || proxy.admin("/metrics").text().lines().any(|found| found == line));
        };
        for _ in 0..TIMES {
            let mut client = proxy.client();
            client.send("POST /guarded HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody");
            calls(1);
            drop(client);
            calls(0);
        }
        let other = proxy.get("/other");
        assert_eq!((other.status(), other.header("x-other")), (200, Some("1")), "{what}: {other:?}");
        // The one instance is free: the next client waits in it, and is not refused.
        let mut client = proxy.client();
        client.send("POST /guarded HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody");
        calls(1);
        let refused = guarded(&proxy);
        assert_eq!((refused.status(), refused.code().as_str()), (503, "plugin-overload:bad"), "{what}: {refused:?}");
        drop(client);
        calls(0);
        let log = proxy.stop();
        let gone = log.lines().filter(|line| line.contains("\"client-gone\"")).count();
        assert_eq!((gone, log.lines().count()), (TIMES + 1, TIMES + 3), "{what}, one line for each: {log}");
    }
}
