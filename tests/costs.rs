//! What plugins cost: in the metrics, for programs, and for clients that may know.

use std::net::TcpListener;

use serde_json::Value;

use crate::harness::{Client, Origin, Proxy, guest, hello, until};

/// Of the plugin by that name.
fn plugin(proxy: &Proxy, name: &str) -> Value {
    let state: Value = serde_json::from_str(&proxy.admin("/state").text()).expect("JSON");
    let plugins = state["plugins"].as_array().expect("a list");
    plugins.iter().find(|plugin| plugin["name"] == name).cloned().unwrap_or_else(|| panic!("{state}"))
}

/// What one version of a plugin cost in one route.
fn costs(proxy: &Proxy, name: &str, route: &str) -> Vec<Value> {
    let plugin = plugin(proxy, name);
    let costs = plugin["costs"].as_array().expect("a list");
    costs.iter().filter(|costs| costs["route"] == route).cloned().collect()
}

/// The lines of the metrics that begin like this.
fn series(proxy: &Proxy, name: &str) -> Vec<String> {
    let text = proxy.admin("/metrics").text();
    text.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
}

#[test]
fn calls_are_counted_by_route_version_and_hook() {
    let origin = Origin::fine();
    let config = format!(
        r#"
        upstream.o.endpoints = ["{}"]
        plugin.greet = {{ component = "greeting", config.name = "world", limits.time = "5s" }}
        plugin.quota = {{ component = "rate-limit", config = {{ limit = 100, window = "1h", key = "global" }}, limits.time = "5s" }}
        route.one = {{ path-prefix = "/one", chain = ["greet", "quota"], upstream = "o" }}
        route.two = {{ path-prefix = "/two", chain = ["greet"], upstream = "o" }}
        "#,
        origin.url()
    );
    let proxy = Proxy::start(&config, &[("greeting", hello())]);
    // One connection is served by one worker, which has one instance.
    let mut client = proxy.client();
    for path in ["/one", "/one", "/one", "/two"] {
        assert_eq!(client.request("GET", path, &[], b"").status(), 200);
    }
    let [one] = &costs(&proxy, "greet", "one")[..] else { panic!("one version") };
    let hook = &one["hooks"]["on-response"];
    assert_eq!(hook["calls"], 3, "{one}");
    assert!(hook["guest_us"].as_u64() > Some(0), "{one}");
    // `x-hello: world`, three times.
    assert_eq!(hook["bytes_out"], 3 * ("x-hello".len() + "world".len()), "{one}");
    assert!(one["hooks"]["on-request"].is_null(), "it has no such hook: {one}");
    assert_eq!(one["failures"], serde_json::json!({}));
    assert_eq!(costs(&proxy, "greet", "two")[0]["hooks"]["on-response"]["calls"], 1);
    let started: u64 = ["one", "two"]
        .iter()
        .filter_map(|route| costs(&proxy, "greet", route)[0]["instances"]["started"].as_u64())
        .sum();
    assert_eq!(started, 1, "the routes share an instance");
    let [quota] = &costs(&proxy, "quota", "one")[..] else { panic!("one version") };
    let (calls, host) = (&quota["hooks"]["on-request"]["calls"], quota["hooks"]["on-request"]["host_calls"].as_u64());
    assert!(*calls == 3 && host >= Some(3), "it asks the limiter in each call: {quota}");
    let instances = plugin(&proxy, "greet")["instances"].clone();
    assert!(instances["most_memory"].as_u64() > Some(64 << 10), "{instances}");
    assert_eq!((&instances["in_use"], &instances["idle"]), (&0.into(), &1.into()));

    let version = one["version"].as_str().expect("text");
    let labels = format!(r#"{{plugin="greet",version="{version}",route="one",hook="on-response""#);
    for (name, line) in [
        ("tollgate_plugin_host_calls_total", format!("{labels}}} ")),
        ("tollgate_plugin_guest_seconds_total", format!("{labels}}} 0.0")),
        ("tollgate_plugin_copied_bytes_total", format!("{labels},direction=\"out\"}} 36")),
    ] {
        let found = series(&proxy, name);
        assert!(found.iter().any(|found| found.contains(&line)), "{line} in {found:?}");
    }
}

#[test]
fn a_version_that_is_replaced_takes_its_series_along() {
    let origin = Origin::fine();
    let config = |name: &str| {
        format!(
            r#"
            upstream.o.endpoints = ["{}"]
            plugin.greet = {{ component = "greeting", config.name = "{name}", limits.time = "5s" }}
            route.all = {{ path-prefix = "/", chain = ["greet"], upstream = "o" }}
            "#,
            origin.url()
        )
    };
    let proxy = Proxy::start(&config("world"), &[("greeting", hello())]);
    let ask = || assert_eq!(proxy.get("/").status(), 200);
    ask();
    let before = costs(&proxy, "greet", "all");
    // A reload that keeps the version keeps the counts, even where the plugin is configured in another way.
    proxy.reload(&config("you")).expect("it loads");
    ask();
    let [both] = &costs(&proxy, "greet", "all")[..] else { panic!("one version") };
    assert_eq!((&both["version"], &both["hooks"]["on-response"]["calls"]), (&before[0]["version"], &2.into()));
    proxy.drop_in("greeting", &guest("goodbye"));
    ask();
    // Connections that are idle hold no old snapshot; one that just ends may.
    until("the old version is gone", || costs(&proxy, "greet", "all").len() == 1);
    let [after] = &costs(&proxy, "greet", "all")[..] else { panic!("one version") };
    assert_ne!(after["version"], before[0]["version"]);
    let old = before[0]["version"].as_str().expect("text").to_owned();
    assert!(!proxy.admin("/metrics").text().contains(&old));
}

#[test]
fn waiting_for_a_server_is_no_time_in_the_guest() {
    // It takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let origin = Origin::fine();
    let config = format!(
        r#"
        upstream.o.endpoints = ["{}"]
        route.all = {{ path-prefix = "/", chain = ["ask"], upstream = "o", server-timing = true }}
        [plugin.ask]
        component = "ask"
        config = {{ urls = ["{silent}/"], timeout-ms = 300 }}
        grant.http = [{{ origin = "{silent}", addresses = ["127.0.0.1/32"] }}]
        limits.time = "10s"
        "#,
        origin.url(),
        silent = format_args!("http://{}", silent.local_addr().expect("bound")),
    );
    let proxy = Proxy::start(&config, &[("ask", guest("ask"))]);
    let answer = proxy.get("/");
    assert_eq!(origin.last().header("x-answers"), Some("Timeout"));
    let hook = costs(&proxy, "ask", "all")[0]["hooks"]["on-request"].clone();
    assert!(hook["guest_us"].as_u64() < Some(250_000), "{hook}");
    assert!(hook["host_calls"].as_u64() >= Some(2), "{hook}");
    assert!(duration(&answer, "ask") >= 300.0, "but the client waited: {answer:?}");
}

/// What `Server-Timing` says of a plugin, in milliseconds.
fn duration(answer: &crate::harness::Message, plugin: &str) -> f64 {
    let header = answer.header("server-timing").unwrap_or_else(|| panic!("{answer:?}"));
    let found = header.split(", ").find_map(|one| one.strip_prefix(plugin)?.strip_prefix(";dur="));
    found.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{header}"))
}

#[test]
fn clients_are_told_only_where_the_route_says_so() {
    let origin = Origin::fine();
    let config = format!(
        r#"
        upstream.o.endpoints = ["{}"]
        plugin.greet = {{ component = "greeting", config.name = "world", limits.time = "5s" }}
        plugin.quota = {{ component = "rate-limit", config = {{ limit = 1, window = "1h", key = "global" }}, limits.time = "5s" }}
        route.quiet = {{ path-prefix = "/quiet", chain = ["greet"], upstream = "o" }}
        route.told = {{ path-prefix = "/told", chain = ["quota", "greet"], upstream = "o", server-timing = true }}
        route.none = {{ path-prefix = "/none", upstream = "o", server-timing = true }}
        "#,
        origin.url()
    );
    let proxy = Proxy::start(&config, &[("greeting", hello())]);
    assert_eq!(proxy.get("/quiet").header("server-timing"), None);
    assert_eq!(proxy.get("/none").header("server-timing"), None, "there is nothing to say");
    let told = proxy.get("/told");
    assert!(told.status() == 200 && duration(&told, "quota") > 0.0 && duration(&told, "greet") > 0.0, "{told:?}");
    let refused = proxy.get("/told");
    assert_eq!((refused.status(), refused.header("x-hello")), (429, None));
    let timing = refused.header("server-timing").expect("what was called");
    assert!(timing.starts_with("quota;dur=") && !timing.contains("greet"), "{timing}");
}

#[test]
fn calls_that_find_no_instance_are_counted_as_waiting() {
    let origin = Origin::fine();
    let config = format!(
        r#"
        upstream.o.endpoints = ["{}"]
        route.all = {{ path-prefix = "/", chain = ["bad"], upstream = "o" }}
        plugin.bad = {{ component = "stall", config.at = "request", limits = {{ time = "2s", instances = 1, wait = "10ms" }} }}
        "#,
        origin.url()
    );
    let proxy = Proxy::start(&config, &[("stall", guest("stall"))]);
    let (first, second) = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..2).map(|_| scope.spawn(|| proxy.get("/").code())).collect();
        let codes: Vec<_> = asking.into_iter().map(|one| one.join().expect("an answer")).collect();
        (codes[0].clone(), codes[1].clone())
    });
    let mut codes = [first, second];
    codes.sort();
    assert_eq!(codes, ["plugin-overload:bad", "plugin-timeout:bad"]);
    let bad = costs(&proxy, "bad", "all")[0].clone();
    assert_eq!(bad["failures"], serde_json::json!({ "timeout": 1, "overload": 1 }));
    assert_eq!(bad["instances"]["waits"], 1, "{bad}");
    assert!(bad["instances"]["wait_us"].as_u64() >= Some(10_000), "{bad}");
    assert!(bad["hooks"]["on-request"]["guest_us"].as_u64() < Some(1_500_000), "it slept: {bad}");
}

/// Clients of these addresses ask through somebody who is trusted to say so.
fn as_client(client: &mut Client, number: u32, path: &str) -> u16 {
    client.request("GET", path, &[("x-forwarded-for", &format!("198.51.100.{number}"))], b"").status()
}

fn fragile(origin: &Origin, on_failure: &str) -> String {
    format!(
        r#"
        upstream.o.endpoints = ["{}"]
        listener.public.trusted-proxies = ["127.0.0.1/32"]
        plugin.fragile = {{ component = "fragile", limits.time = "5s", on-failure = "{on_failure}" }}
        route.all = {{ path-prefix = "/", chain = ["fragile"], upstream = "o" }}
        "#,
        origin.url()
    )
}

#[test]
fn what_crashes_over_and_over_is_paused_and_tried_again() {
    let origin = Origin::fine();
    for (policy, while_paused) in [("closed", 503), ("open", 200)] {
        let proxy = Proxy::start(&fragile(&origin, policy), &[("fragile", guest("fragile"))]);
        let mut client = proxy.client();
        assert!(plugin(&proxy, "fragile")["paused"].is_null());
        for number in 0..20 {
            let status = as_client(&mut client, number, "/crash");
            assert_eq!(status, if policy == "closed" { 500 } else { 200 }, "of {number}");
        }
        let seen = origin.seen().len();
        let answer = client.request("GET", "/well", &[], b"");
        assert_eq!(answer.status(), while_paused, "{answer:?}");
        if policy == "closed" {
            assert_eq!(answer.code(), "plugin-paused:fragile");
            let retry: u64 = answer.header("retry-after").and_then(|text| text.parse().ok()).expect("seconds");
            assert!((1..=2).contains(&retry), "{retry}");
            assert_eq!(origin.seen().len(), seen);
        } else {
            assert_eq!(origin.last().header("x-fragile"), None, "it was not called");
        }
        let paused = plugin(&proxy, "fragile")["paused"].clone();
        assert_eq!((&paused["state"], &paused["pauses"]), (&"paused".into(), &1.into()), "{paused}");
        assert_eq!(
            series(&proxy, "tollgate_plugin_paused{plugin=\"fragile\"}"),
            ["tollgate_plugin_paused{plugin=\"fragile\"} 1"]
        );
        // A reload does not forget it.
        proxy.reload(&fragile(&origin, policy)).expect("the same again");
        assert_eq!(plugin(&proxy, "fragile")["paused"]["pauses"], 1);
        // It comes back by itself, and most of the probes decide: not the one bad request among them.
        until("it is tried again", || {
            as_client(&mut proxy.client(), 1, "/well") == 200 && origin.last().header("x-fragile").is_some()
        });
        as_client(&mut client, 1, "/crash");
        for _ in 0..2 {
            assert_eq!(as_client(&mut client, 1, "/well"), 200);
        }
        assert_eq!(plugin(&proxy, "fragile")["paused"]["state"], "well");
        assert_eq!(
            series(&proxy, "tollgate_plugin_pauses_total{plugin=\"fragile\"}"),
            ["tollgate_plugin_pauses_total{plugin=\"fragile\"} 1"]
        );
        assert_eq!(
            series(&proxy, "tollgate_plugin_paused{plugin=\"fragile\"}"),
            ["tollgate_plugin_paused{plugin=\"fragile\"} 0"]
        );
        // Again at once: longer.
        (0..20).for_each(|number| _ = as_client(&mut client, number, "/crash"));
        assert_eq!(plugin(&proxy, "fragile")["paused"]["in_a_row"], 2);
    }
}

#[test]
fn one_client_with_bad_requests_pauses_nothing_for_the_others() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&fragile(&origin, "closed"), &[("fragile", guest("fragile"))]);
    let mut client = proxy.client();
    for _ in 0..200 {
        assert_eq!(as_client(&mut client, 1, "/crash"), 500);
    }
    for number in 2..50 {
        assert_eq!(as_client(&mut client, number, "/well"), 200);
    }
    assert!(plugin(&proxy, "fragile")["paused"].is_null());
}
