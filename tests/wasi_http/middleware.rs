//! A middleware of WASI 0.3 in the middle of a chain.

use crate::harness::{Gate, Message, Origin, Proxy, answer, guest, until};

/// `/…` goes through a middleware, and a plugin with hooks on either side of it.
fn start(origin: &Origin, settings: &str) -> Proxy {
    let config = format!(
        r#"
        upstream.o.endpoints = ["{}"]
        route.open = {{ path = "/open", upstream = "o" }}
        [route.all]
        path-prefix = "/"
        chain = ["before", "around", "behind"]
        upstream = "o"
        body-size = "unlimited"
        [plugin.before]
        component = "headers"
        config.request.set = {{ x-before = "1" }}
        config.response.set = {{ x-outer = "1" }}
        limits.time = "5s"
        [plugin.behind]
        component = "headers"
        config.request.set = {{ x-behind = "1" }}
        config.response.set = {{ x-inner = "1" }}
        limits.time = "5s"
        [plugin.around]
        component = "middleware"
        {settings}
        "#,
        origin.url()
    );
    Proxy::start(&config, &[("middleware", guest("middleware"))])
}

const PATIENT: &str = "limits = { time = \"10s\", answer = \"1m\" }";
const HASTY: &str = "limits = { time = \"200ms\", answer = \"300ms\" }";

fn post(proxy: &Proxy, does: &str, body: &str) -> Message {
    proxy.client().request("POST", "/a?b=c", &[("x-do", does)], body.as_bytes())
}

fn ends(proxy: &Proxy) {
    until("no instance is in use", || {
        let line = "tollgate_plugin_instances{plugin=\"around\",state=\"in-use\"} 0";
        proxy.admin("/metrics").text().lines().any(|one| one == line)
    });
}

#[test]
fn it_changes_heads_and_bodies_of_both_directions() {
    let origin = Origin::fine();
    let proxy = start(&origin, PATIENT);
    for _ in 0..3 {
        let told = post(&proxy, "", "body");
        assert_eq!((told.status(), told.text().as_str()), (200, "FINE"), "{told:?}");
        assert_eq!((told.header("x-middleware"), told.header("content-type")), (Some("response"), Some("text/plain")));
        assert_eq!((told.header("x-outer"), told.header("x-inner")), (Some("1"), Some("1")));
        let seen = origin.last();
        assert_eq!((seen.start.as_str(), seen.text().as_str()), ("POST /a?b=c HTTP/1.1", "BODY"), "{seen:?}");
        assert_eq!((seen.header("x-middleware"), seen.header("x-before")), (Some("request"), Some("1")), "{seen:?}");
        assert_eq!(seen.header("x-behind"), Some("1"), "what stands behind it is called with what it made");
        assert_eq!(seen.header("host"), Some(origin.address().to_string().as_str()));
        assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    }
    ends(&proxy);
    let calls = "tollgate_plugin_calls_total{plugin=\"around\",route=\"all\",hook=\"handle\"} 3\n";
    assert!(proxy.admin("/metrics").text().contains(calls), "one for each request");
}

#[test]
fn what_it_passes_on_untouched_is_untouched() {
    let origin = Origin::fine();
    let proxy = start(&origin, PATIENT);
    let told = post(&proxy, "pass", "body");
    assert_eq!((told.status(), told.text().as_str(), told.header("content-length")), (200, "fine", Some("4")));
    assert_eq!((origin.last().text().as_str(), origin.last().header("content-length")), ("body", Some("4")));
    let told = proxy.client().request("GET", "/a", &[("x-do", "pass")], b"");
    assert_eq!(told.text(), "fine");
    let mut client = proxy.client();
    client.send("HEAD /a HTTP/1.1\r\nhost: api.test\r\nx-do: pass\r\nconnection: close\r\n\r\n");
    let head = client.rest();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length: 4"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    ends(&proxy);
}

#[test]
fn it_answers_in_the_place_of_what_is_behind_it() {
    let origin = Origin::fine();
    let proxy = start(&origin, PATIENT);
    let told = post(&proxy, "answer", "body");
    assert_eq!((told.status(), told.text().as_str()), (418, "short and stout"));
    assert_eq!((told.header("x-outer"), told.header("x-inner")), (Some("1"), None), "only what is before it");
    assert_eq!(origin.accepted(), 0);
    let refusals = "tollgate_plugin_refusals_total{plugin=\"around\",route=\"all\"} 1";
    assert!(proxy.admin("/metrics").text().contains(refusals));
    assert!(proxy.stop().contains("plugin-answered:around"));
}

#[test]
fn the_path_that_it_asks_for_is_asked_for() {
    let origin = Origin::fine();
    let proxy = start(&origin, PATIENT);
    assert_eq!(post(&proxy, "path", "body").status(), 200);
    assert_eq!(origin.last().target(), "/elsewhere?by=middleware");
}

#[test]
fn the_rest_of_the_chain_is_called_once() {
    let origin = Origin::fine();
    let proxy = start(&origin, PATIENT);
    let told = post(&proxy, "twice", "body").text();
    assert!(told.contains("can be called once"), "{told}");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn the_failure_of_an_upstream_is_a_response_to_it() {
    let origin = Origin::start(|_| b"nonsense\r\n\r\n".to_vec());
    let proxy = start(&origin, PATIENT);
    let told = post(&proxy, "", "body");
    assert_eq!((told.status(), told.header("x-middleware")), (502, Some("response")), "{told:?}");
}

#[test]
fn bodies_stream_through_it() {
    let large = "z".repeat(3 << 20);
    let said = large.clone();
    let origin = Origin::start(move |_| answer("text/plain", &said));
    let proxy = start(&origin, "limits = { time = \"10s\", answer = \"1m\", memory = \"2MiB\" }");
    let told = post(&proxy, "", &large);
    assert!(told.text() == large.to_uppercase(), "{} bytes", told.body.len());
    assert!(origin.last().text() == large.to_uppercase());
}

#[test]
fn one_that_misbehaves_costs_one_request() {
    for (does, code) in [
        ("trap", "plugin-failed:around"),
        ("spin", "plugin-timeout:around"),
        ("sleep", "plugin-timeout:around"),
        ("refuse", "plugin-failed:around"),
        ("strange", "plugin-failed:around"),
        ("strange-after", "plugin-failed:around"),
        ("trap-after", "plugin-failed:around"),
        ("spin-after", "plugin-timeout:around"),
        ("sleep-after", "plugin-timeout:around"),
    ] {
        let origin = Origin::fine();
        let proxy = start(&origin, HASTY);
        for _ in 0..2 {
            let refused = post(&proxy, does, "body");
            assert_eq!((refused.status(), refused.code().as_str()), (500, code), "{does}: {refused:?}");
            assert_eq!(refused.header("x-outer"), Some("1"), "it goes back through what is before it");
        }
        assert_eq!(proxy.get("/open").text(), "fine", "{does}");
        ends(&proxy);
        let proxy = start(&origin, &format!("{HASTY}\non-failure = \"open\""));
        let passed = post(&proxy, does, "body");
        assert_eq!((passed.status(), passed.text().as_str()), (200, "fine"), "{does}, open: {passed:?}");
        let body = if does.ends_with("after") { "BODY" } else { "body" };
        assert_eq!(origin.last().text(), body, "{does}, open");
        ends(&proxy);
    }
}

#[test]
fn a_client_that_leaves_ends_it() {
    let gate = Gate::default();
    let inside = gate.clone();
    let origin = Origin::start(move |_| {
        inside.pass();
        answer("text/plain", "late")
    });
    let proxy = start(&origin, PATIENT);
    let mut client = proxy.client();
    client.send("GET /a HTTP/1.1\r\nhost: api.test\r\n\r\n");
    gate.arrived(1);
    drop(client);
    ends(&proxy);
    gate.open();
}

#[test]
fn it_stands_before_a_service_and_a_file_that_is_dropped_in_takes_its_place() {
    let config = format!(
        r#"
        [route.all]
        path-prefix = "/"
        chain = ["around"]
        service = "end"
        [plugin.around]
        component = "middleware"
        {PATIENT}
        [plugin.end]
        component = "service"
        {PATIENT}
        "#
    );
    let components = [("middleware", guest("middleware")), ("service", guest("service"))];
    let proxy = Proxy::start(&config, &components);
    let told = proxy.get("/hello");
    assert_eq!((told.status(), told.text().as_str()), (200, "HELLO"), "{told:?}");
    assert_eq!((told.header("x-guest"), told.header("x-middleware")), (Some("service"), Some("response")));
    // A plugin with hooks may stand there as well.
    proxy.drop_in("middleware", &guest("echo-state"));
    assert_eq!(proxy.get("/hello").text(), "hello");
    proxy.drop_in("middleware", &guest("service"));
    assert_eq!(proxy.get("/hello").text(), "hello", "a service cannot, and the last one goes on");
    proxy.drop_in("middleware", &guest("middleware"));
    assert_eq!(proxy.get("/hello").text(), "HELLO");
}
