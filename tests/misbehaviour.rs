//! Everything that a plugin can do wrong, in every hook and with every capability: the request is answered by the
//! failure policy, others are unharmed, and the instance is never used again.

use std::fmt::Write as _;
use std::net::TcpListener;

use crate::harness::{Client, Origin, Proxy, guest};

/// The way, and how it is told where the plugin is closed. None where it is no failure.
const WAYS: [(&str, Option<&str>); 15] = [
    ("trap", Some("plugin-failed")),
    ("exit", Some("plugin-failed")),
    ("spin", Some("plugin-timeout")),
    ("sleep", Some("plugin-timeout")),
    ("allocate", Some("plugin-failed")),
    ("recurse", Some("plugin-failed")),
    ("huge", Some("plugin-failed")),
    ("invalid", Some("plugin-failed")),
    ("flood-log", Some("plugin-timeout")),
    ("flood-kv", Some("plugin-timeout")),
    ("flood-limiter", Some("plugin-timeout")),
    ("flood-crypto", Some("plugin-timeout")),
    ("flood-metrics", Some("plugin-timeout")),
    ("flood-http-client", Some("plugin-timeout")),
    ("wrong-values", None),
];

const HOOKS: [&str; 6] = ["request", "request-body", "request-chunk", "response", "response-body", "response-chunk"];

/// A plugin and a route for each way, hook and policy.
fn config(origin: &Origin, server: &str, at: &[&str], time: &str) -> String {
    let mut config = format!(
        "upstream.o.endpoints = [\"{}\"]\nroute.open = {{ path = \"/open\", upstream = \"o\" }}\n",
        origin.url()
    );
    for (way, _) in WAYS {
        for at in at {
            for policy in ["closed", "open"] {
                let name = format!("{way}-{at}-{policy}");
                let _ = write!(
                    config,
                    r#"
                    [plugin.{name}]
                    component = "misbehave"
                    config = {{ at = "{at}", how = "{way}", server = "{server}/" }}
                    on-failure = "{policy}"
                    limits.time = "{time}"
                    grant = {{ kv = ["flood"], http = [{{ origin = "{server}", addresses = ["127.0.0.1/32"] }}] }}
                    [route.{name}]
                    path = "/{name}"
                    chain = ["{name}"]
                    upstream = "o"
                    "#
                );
            }
        }
    }
    config
}

/// A server that takes connections and says nothing.
fn silent() -> (TcpListener, String) {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", server.local_addr().expect("bound"));
    (server, url)
}

fn post(client: &mut Client, path: &str, headers: &[(&str, &str)]) -> (u16, String, String) {
    let answer = client.request("POST", path, headers, b"body");
    let code = if answer.status() == 200 { String::new() } else { answer.code() };
    (answer.status(), code, answer.text())
}

#[test]
fn whatever_a_plugin_does_wrong_costs_one_request() {
    let (_server, server) = silent();
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, &server, &HOOKS, "150ms"), &[("misbehave", guest("misbehave"))]);
    for (way, code) in WAYS {
        for at in HOOKS {
            for policy in ["closed", "open"] {
                let name = format!("{way}-{at}-{policy}");
                let path = format!("/{name}");
                let mut client = proxy.client();
                let fails = code.is_some() && policy == "closed";
                // The head of a response may be on its way when its pieces come: it can only be cut.
                if fails && at == "response-chunk" {
                    client.send(format!("POST {path} HTTP/1.1\r\nhost: a.example\r\ncontent-length: 4\r\n\r\nbody"));
                    let all = client.rest();
                    client = proxy.client();
                    assert!(all.is_empty() || all.starts_with("HTTP/1.1 200"), "{name}: {all}");
                    assert!(!all.contains("fine") && !all.ends_with("0\r\n\r\n"), "{name}: {all}");
                } else {
                    let (status, word, text) = post(&mut client, &path, &[]);
                    if fails {
                        let expected = code.map(|code| format!("{code}:{name}")).unwrap_or_default();
                        assert_eq!((status, word), (500, expected), "{name}: {text}");
                        assert!(!text.contains("secret") && !text.contains("fine"), "{name}: {text}");
                    } else {
                        assert_eq!((status, text.as_str()), (200, "fine"), "{name}");
                    }
                }
                assert_eq!(proxy.get("/open").text(), "fine", "{name}");
                // What comes next on the same worker meets an instance that did nothing wrong. It may take its time on a
                // busy machine, and then another one is tried.
                let well = (0..20).any(|_| post(&mut client, &path, &[("x-behave", "1")]).0 == 200);
                assert!(well, "{name}: the plugin does its work again");
                let seen = origin.seen();
                let behaved = seen.iter().filter(|seen| seen.target() == path && seen.header("x-behave").is_some());
                let said: Vec<_> = behaved.filter_map(|seen| seen.header("x-misbehaved")).collect();
                assert!(!said.is_empty(), "{name}");
                if code.is_some() {
                    assert!(!said.contains(&"true"), "{name}: the instance is used again");
                }
            }
        }
    }
}

#[test]
fn what_goes_wrong_while_it_is_configured_keeps_it_from_being_loaded() {
    let (_server, server) = silent();
    let origin = Origin::fine();
    let config = config(&origin, &server, &["configure"], "10ms");
    let why = Proxy::try_start(&config, &[("misbehave", guest("misbehave"))]).err().expect("it does not start");
    for (way, code) in WAYS {
        let named = why.contains(&format!("plugin.{way}-configure-closed"));
        // It has answered nothing yet, and what capabilities refuse is no mistake.
        let loads = matches!(way, "huge" | "invalid" | "wrong-values");
        assert_eq!(named, code.is_some() && !loads, "{way} in {why}");
    }
}
