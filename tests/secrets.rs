//! What must never be written anywhere: keys and bodies, in the access log, metrics, state, and what clients get.

mod canaries;

use crate::harness::{Origin, Proxy, answer, guest};
use crate::main_job::{self, KEY};

/// In a body, a cookie, a token, a password, and an upstream's own words.
const CANARY: &str = "canary-5f0c1d";

#[test]
fn keys_and_bodies_are_nowhere_to_be_read() {
    let origin = Origin::start(|_| answer("application/xml", "<a>1</a>"));
    let proxy = Proxy::start(&main_job::config(&origin, 3), &[]);
    let mut answers = Vec::new();
    let bearer = format!("Bearer {CANARY}");
    let cookie = format!("session={CANARY}");
    let wrong = format!("{CANARY}{KEY}");
    let requests: [(&str, String, &str, String); 7] = [
        ("GET", "/v1/search?q=tea".into(), KEY, String::new()),
        ("GET", format!("/v1/search?q=tea&api_key={CANARY}&token={CANARY}"), KEY, String::new()),
        ("GET", "/v1/search".into(), &wrong, String::new()),
        ("POST", "/v1/search".into(), KEY, format!("{{\"q\":[\"{CANARY}\"]}}")),
        ("POST", "/v1/search".into(), KEY, format!("{{\"{CANARY}\":1}}")),
        ("GET", "/v1/search".into(), KEY, String::new()),
        ("GET", format!("/nothing?password={CANARY}"), KEY, String::new()),
    ];
    for (method, target, key, body) in &requests {
        let headers = [
            ("x-api-key", *key),
            ("authorization", &bearer),
            ("cookie", &cookie),
            ("content-type", "application/json"),
            ("user-agent", "tests"),
        ];
        answers.push(proxy.client().request(method, target, &headers, body.as_bytes()));
    }
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status()).collect();
    assert_eq!(statuses, [200, 200, 401, 400, 429, 429, 404], "each way out is taken");

    let mut written: Vec<(&str, String)> = Vec::new();
    written.extend(answers.iter().map(|answer| ("answer", format!("{answer:?}"))));
    for page in ["/metrics", "/state"] {
        let answer = proxy.admin(page);
        assert_eq!(answer.status(), 200, "{page}");
        written.push((page, format!("{answer:?}")));
    }
    let log = proxy.stop();
    assert_eq!(log.lines().count(), requests.len(), "one line for each request:\n{log}");
    for word in ["\"alice\"", "\"/v1/search\"", "401", "429"] {
        assert!(log.contains(word), "{word} in the log:\n{log}");
    }
    written.push(("the access log", log));
    for (place, text) in &written {
        for secret in [KEY, CANARY, "102505fad4af93f9f14554c6f219ad49b020adfdddd71bb7b2989be7dfcabce2"] {
            assert!(!text.contains(secret), "{secret} in {place}:\n{text}");
        }
    }
}

#[test]
fn a_line_of_the_log_is_one_line_whatever_a_client_sends() {
    let origin = Origin::fine();
    let config =
        format!("upstream.o.endpoints = [\"{}\"]\nroute.a = {{ path-prefix = \"/\", upstream = \"o\" }}", origin.url());
    let proxy = Proxy::start(&config, &[]);
    let mut client = proxy.client();
    client.send(b"GET /%22%7D?a=%0a HTTP/1.1\r\nhost: a\r\nuser-agent: \"}\xff\t{\r\n\r\n");
    let status = client.response().status();
    let log = proxy.stop();
    assert_eq!(log.lines().count(), 1, "{log}");
    let line: serde_json::Value = serde_json::from_str(&log).unwrap_or_else(|error| panic!("{error}: {log}"));
    assert_eq!(line["status"], status);
    assert!(!log.trim_end().contains(char::is_control), "{log:?}");
}

#[test]
fn what_a_plugin_says_when_it_traps_is_for_the_operator_only() {
    let origin = Origin::fine();
    let config = format!(
        r#"
        upstream.o.endpoints = ["{}"]
        plugin.bad = {{ component = "trap", config.at = "request", limits.time = "5s" }}
        route.a = {{ path = "/", chain = ["bad"], upstream = "o" }}
        "#,
        origin.url()
    );
    let proxy = Proxy::start(&config, &[("trap", guest("trap"))]);
    let refused = proxy.get("/");
    assert_eq!(refused.code(), "plugin-failed:bad");
    assert!(!format!("{refused:?}").contains("secret words"));
    let log = proxy.stop();
    let line: serde_json::Value = serde_json::from_str(&log).expect("one line of JSON");
    assert_eq!(line["reason"], "plugin-failed:bad");
    assert_eq!(line["status"], 500);
}
