//! A small browser, after the Fetch standard's "HTTP-network-or-cache fetch", "CORS-preflight fetch" and "CORS check",
//! in front of the plugin: what pages can read is what counts, not which fields are sent.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use tollgate_plugin_cors::Cors;
use tollgate_sdk::{Edits, Flow, Plugin, Request, ResponseHead};

/// What a page asks for.
struct Ask {
    origin: &'static str,
    method: &'static str,
    headers: &'static [&'static str],
    credentials: bool,
}

/// What becomes of it.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The page reads the answer. Whether there was a preflight.
    Read { preflight: bool },
    /// The request was made, and the page cannot read the answer.
    Hidden,
    /// The request was never made.
    Stopped,
}

use Outcome::{Hidden, Read, Stopped};

const SIMPLE: Outcome = Read { preflight: false };
const PREFLIGHTED: Outcome = Read { preflight: true };

fn plugin(config: Value) -> Cors {
    Cors::configure(serde_json::from_value(config).expect("a configuration")).expect("a right one")
}

fn edits(flow: Flow) -> Edits {
    match flow {
        Flow::Continue => Edits::new(),
        Flow::Edit(edits) => edits,
        other => panic!("{other:?}"),
    }
}

fn request(method: &str, fields: &[(&str, &str)]) -> Request {
    let request = http::Request::builder().method(method).uri("https://api.example.com/v1");
    let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Request::from(&request.body(()).expect("a valid head"))
}

/// The fields that the browser gets: those of the answer, with the plugin's edits.
fn answer(plugin: &Cors, asked: &Request, status: u16, fields: &[(&str, &str)]) -> HeaderMap {
    let memo = edits(plugin.on_request(asked)).memo_set().map(<[u8]>::to_vec);
    let response = http::Response::builder().status(status);
    let response = fields.iter().fold(response, |response, (name, value)| response.header(*name, *value));
    let mut response = response.body(()).expect("a valid head");
    let edits = edits(plugin.on_response(&ResponseHead::from(&response), memo));
    let headers = response.headers_mut();
    for name in edits.removed() {
        headers.remove(name);
    }
    for name in NAMES {
        let mut values = edits.values(name).peekable();
        if values.peek().is_some() {
            headers.remove(name);
        }
        for value in values {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).expect("a valid value"));
        }
    }
    response.into_parts().0.headers
}

const NAMES: [&str; 8] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-expose-headers",
    "access-control-max-age",
    "access-control-allow-private-network",
    "vary",
];

/// All fields of a name as one, as the standard's "get" does.
fn get(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<&str> = headers.get_all(name).iter().map(|value| value.to_str().expect("ASCII")).collect();
    if values.is_empty() { None } else { Some(values.join(", ")) }
}

fn list(headers: &HeaderMap, name: &str) -> Vec<String> {
    get(headers, name).map(|list| list.split(',').map(|item| item.trim().to_owned()).collect()).unwrap_or_default()
}

fn cors_check(ask: &Ask, headers: &HeaderMap) -> bool {
    let Some(origin) = get(headers, "access-control-allow-origin") else {
        return false;
    };
    if !ask.credentials && origin == "*" {
        return true;
    }
    origin == ask.origin
        && (!ask.credentials || get(headers, "access-control-allow-credentials").as_deref() == Some("true"))
}

fn preflight_check(ask: &Ask, unsafe_headers: &[&str], status: StatusCode, headers: &HeaderMap) -> bool {
    if !cors_check(ask, headers) || !status.is_success() {
        return false;
    }
    let any = |list: &[String]| !ask.credentials && list.iter().any(|item| item == "*");
    let methods = list(headers, "access-control-allow-methods");
    let names = list(headers, "access-control-allow-headers");
    let named = |name: &str| names.iter().any(|item| item.eq_ignore_ascii_case(name));
    (methods.iter().any(|method| method == ask.method) || is_safe_method(ask.method) || any(&methods))
        && unsafe_headers.iter().all(|name| named(name) || (!name.eq_ignore_ascii_case("authorization") && any(&names)))
}

fn is_safe_method(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "POST")
}

/// What a page of `ask.origin` gets to see of an answer.
fn browse(plugin: &Cors, ask: &Ask, status: u16, upstream: &[(&str, &str)]) -> Outcome {
    let safe = ["accept", "accept-language", "content-language", "range"];
    let mut unsafe_headers: Vec<&str> = ask.headers.iter().copied().filter(|name| !safe.contains(name)).collect();
    unsafe_headers.sort_unstable();
    let preflight = !is_safe_method(ask.method) || !unsafe_headers.is_empty();
    if preflight {
        let names = unsafe_headers.join(",");
        let mut fields = vec![("origin", ask.origin), ("access-control-request-method", ask.method)];
        if !names.is_empty() {
            fields.push(("access-control-request-headers", &names));
        }
        match plugin.on_request(&request("OPTIONS", &fields)) {
            Flow::Respond(response) => {
                assert!(response.body().is_empty());
                if !preflight_check(ask, &unsafe_headers, response.status(), response.headers()) {
                    return Stopped;
                }
            }
            Flow::Refuse(problem) => {
                assert_eq!((problem.status(), problem.code()), (403, "origin-not-allowed"));
                return Stopped;
            }
            other => panic!("a preflight went on: {other:?}"),
        }
    }
    let headers = answer(plugin, &request(ask.method, &[("origin", ask.origin)]), status, upstream);
    if cors_check(ask, &headers) { Read { preflight } } else { Hidden }
}

fn listed() -> Cors {
    plugin(json!({
        "origins": ["https://app.example.com", "https://*.example.org", "http://localhost:3000", "https://a.test:8443"],
        "methods": ["GET", "HEAD", "POST", "PUT", "DELETE"],
        "headers": ["Content-Type", "authorization", "x-api-key"],
    }))
}

fn with_credentials() -> Cors {
    plugin(json!({
        "origins": ["https://app.example.com"], "methods": ["PUT"], "headers": ["x-api-key"], "credentials": true,
    }))
}

fn any() -> Cors {
    plugin(json!({ "origins": ["*"] }))
}

fn any_of_everything() -> Cors {
    plugin(json!({ "origins": ["*"], "methods": ["*"], "headers": ["*"] }))
}

fn null() -> Cors {
    plugin(json!({ "origins": ["https://*.example.org"], "allow-null": true, "methods": ["PUT"] }))
}

/// Which configuration, whose page, what it asks for (method, headers, credentials), and what becomes of it.
type Row = (fn() -> Cors, &'static str, &'static str, &'static [&'static str], bool, Outcome);

const APP: &str = "https://app.example.com";

#[test]
fn pages_read_what_they_may_and_nothing_else() {
    let rows: [Row; 58] = [
        (listed, APP, "GET", &[], false, SIMPLE),
        (listed, APP, "HEAD", &[], false, SIMPLE),
        (listed, APP, "POST", &[], false, SIMPLE),
        (listed, APP, "GET", &["accept", "accept-language"], false, SIMPLE),
        (listed, APP, "POST", &["content-type"], false, PREFLIGHTED),
        (listed, APP, "GET", &["authorization"], false, PREFLIGHTED),
        (listed, APP, "GET", &["x-api-key"], false, PREFLIGHTED),
        (listed, APP, "GET", &["x-api-key", "content-type", "accept"], false, PREFLIGHTED),
        (listed, APP, "PUT", &[], false, PREFLIGHTED),
        (listed, APP, "DELETE", &["x-api-key"], false, PREFLIGHTED),
        (listed, APP, "PATCH", &[], false, Stopped),
        (listed, APP, "put", &[], false, Stopped),
        (listed, APP, "GET", &["x-other"], false, Stopped),
        (listed, APP, "GET", &["x-api-key", "x-other"], false, Stopped),
        (listed, APP, "GET", &[], true, Hidden),
        (listed, APP, "PUT", &[], true, Stopped),
        (listed, "http://localhost:3000", "GET", &[], false, SIMPLE),
        (listed, "http://localhost:3000", "PUT", &[], false, PREFLIGHTED),
        (listed, "http://localhost", "GET", &[], false, Hidden),
        (listed, "http://localhost:3001", "GET", &[], false, Hidden),
        (listed, "https://localhost:3000", "GET", &[], false, Hidden),
        (listed, "http://127.0.0.1:3000", "GET", &[], false, Hidden),
        (listed, "https://a.test:8443", "GET", &[], false, SIMPLE),
        (listed, "https://a.test", "GET", &[], false, Hidden),
        (listed, "http://app.example.com", "GET", &[], false, Hidden),
        (listed, "http://app.example.com", "PUT", &[], false, Stopped),
        (listed, "https://app.example.com:8443", "GET", &[], false, Hidden),
        (listed, "https://example.com", "GET", &[], false, Hidden),
        (listed, "https://evil-app.example.com", "GET", &[], false, Hidden),
        (listed, "https://app.example.com.evil.com", "GET", &[], false, Hidden),
        (listed, "https://app.example.comevil.com", "PUT", &[], false, Stopped),
        (listed, "https://appxexample.com", "GET", &[], false, Hidden),
        (listed, "https://shop.example.org", "GET", &[], false, SIMPLE),
        (listed, "https://shop.example.org", "PUT", &[], false, PREFLIGHTED),
        (listed, "https://example.org", "GET", &[], false, Hidden),
        (listed, "https://evil-example.org", "GET", &[], false, Hidden),
        (listed, "https://a.shop.example.org", "GET", &[], false, Hidden),
        (listed, "https://shop.example.org:8443", "GET", &[], false, Hidden),
        (listed, "https://shop.example.org.evil.com", "GET", &[], false, Hidden),
        (listed, "null", "GET", &[], false, Hidden),
        (listed, "null", "PUT", &[], false, Stopped),
        (with_credentials, APP, "GET", &[], true, SIMPLE),
        (with_credentials, APP, "PUT", &["x-api-key"], true, PREFLIGHTED),
        (with_credentials, APP, "PUT", &["x-api-key"], false, PREFLIGHTED),
        (with_credentials, APP, "DELETE", &[], true, Stopped),
        (with_credentials, "https://evil.com", "GET", &[], true, Hidden),
        (with_credentials, "null", "GET", &[], true, Hidden),
        (any, "https://evil.com", "GET", &[], false, SIMPLE),
        (any, "null", "GET", &[], false, SIMPLE),
        (any, APP, "GET", &[], true, Hidden),
        (any, APP, "PUT", &[], false, Stopped),
        (any, APP, "GET", &["x-api-key"], false, Stopped),
        (any_of_everything, APP, "PURGE", &["x-api-key", "content-type"], false, PREFLIGHTED),
        (any_of_everything, APP, "GET", &["authorization"], false, Stopped),
        (any_of_everything, APP, "PUT", &[], true, Stopped),
        (null, "null", "GET", &[], false, SIMPLE),
        (null, "null", "PUT", &[], false, PREFLIGHTED),
        (null, "https://evil.com", "GET", &[], false, Hidden),
    ];
    // Whoever wrote the answer, and whatever it said: the page's rights are the same.
    let foreign = [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-origin", "https://evil.com"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "*"),
        ("access-control-allow-headers", "*"),
        ("access-control-expose-headers", "*"),
    ];
    for (plugin, origin, method, headers, credentials, outcome) in rows {
        let ask = Ask { origin, method, headers, credentials };
        for status in [200, 304, 401, 429, 502] {
            for upstream in [&[][..], &foreign] {
                let got = browse(&plugin(), &ask, status, upstream);
                assert_eq!(got, outcome, "{origin} {method} {headers:?} {credentials} {status}");
            }
        }
    }
}

#[test]
fn what_an_upstream_says_of_origins_never_arrives() {
    let upstream = NAMES.map(|name| (name, "theirs"));
    for (plugin, origin) in [
        (listed(), None),
        (listed(), Some("https://evil.com")),
        (listed(), Some(APP)),
        (any(), None),
        (any(), Some(APP)),
        (with_credentials(), Some(APP)),
    ] {
        let fields: Vec<(&str, &str)> = origin.map(|origin| ("origin", origin)).into_iter().collect();
        let headers = answer(&plugin, &request("GET", &fields), 200, &upstream);
        for name in NAMES.into_iter().filter(|name| *name != "vary") {
            assert!(!get(&headers, name).is_some_and(|value| value.contains("theirs")), "{name} {origin:?}");
        }
    }
}

#[test]
fn caches_are_told_where_answers_differ() {
    for origin in [None, Some(APP), Some("https://evil.com"), Some("null")] {
        let fields: Vec<(&str, &str)> = origin.map(|origin| ("origin", origin)).into_iter().collect();
        let vary = |plugin: &Cors, upstream: &[(&str, &str)]| {
            get(&answer(plugin, &request("GET", &fields), 200, upstream), "vary")
        };
        assert_eq!(vary(&listed(), &[]).as_deref(), Some("Origin"));
        assert_eq!(vary(&listed(), &[("vary", "accept")]).as_deref(), Some("accept, Origin"));
        assert_eq!(vary(&listed(), &[("vary", "origin")]).as_deref(), Some("origin"));
        assert_eq!(vary(&listed(), &[("vary", "*")]).as_deref(), Some("*"));
        assert_eq!(vary(&any(), &[]), None);
        assert_eq!(vary(&any(), &[("vary", "accept")]).as_deref(), Some("accept"));
        // The same for everyone, so that a cache may keep one for all.
        let headers = answer(&any(), &request("GET", &fields), 200, &[]);
        assert_eq!(get(&headers, "access-control-allow-origin").as_deref(), Some("*"));
    }
}

#[test]
fn the_answer_to_a_preflight_is_exactly_this() {
    let asked = [("origin", APP), ("access-control-request-method", "PUT"), ("access-control-request-headers", "x")];
    let private = [asked[0], asked[1], ("access-control-request-private-network", "true")];
    let preflight = |plugin: &Cors, fields: &[(&str, &str)]| match plugin.on_request(&request("OPTIONS", fields)) {
        Flow::Respond(response) => {
            assert_eq!(response.status(), StatusCode::NO_CONTENT);
            let mut lines: Vec<String> = response
                .headers()
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().expect("ASCII")))
                .collect();
            lines.sort_unstable();
            lines
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(
        preflight(&listed(), &asked),
        [
            "access-control-allow-headers: Content-Type, authorization, x-api-key",
            "access-control-allow-methods: GET, HEAD, POST, PUT, DELETE",
            "access-control-allow-origin: https://app.example.com",
            "access-control-max-age: 600",
            "vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        ]
    );
    assert_eq!(
        preflight(&with_credentials(), &private),
        [
            "access-control-allow-credentials: true",
            "access-control-allow-headers: x-api-key",
            "access-control-allow-methods: PUT",
            "access-control-allow-origin: https://app.example.com",
            "access-control-max-age: 600",
            "vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        ]
    );
    let open = plugin(json!({ "origins": ["*"], "max-age": "0s", "private-network": true, "expose": ["x-total"] }));
    let vary = "vary: Access-Control-Request-Method, Access-Control-Request-Headers, \
                Access-Control-Request-Private-Network";
    let common = ["access-control-allow-methods: GET, HEAD, POST", "access-control-allow-origin: *"];
    assert_eq!(preflight(&open, &asked), [common[0], common[1], "access-control-max-age: 0", vary]);
    assert_eq!(
        preflight(&open, &private),
        [common[0], common[1], "access-control-allow-private-network: true", "access-control-max-age: 0", vary]
    );
}

#[test]
fn only_a_preflight_is_answered_here() {
    let plugin = listed();
    let method = ("access-control-request-method", "PUT");
    for (verb, fields) in [
        ("OPTIONS", &[][..]),
        ("OPTIONS", &[("origin", APP)]),
        ("OPTIONS", &[method]),
        ("GET", &[("origin", APP), method]),
        ("POST", &[("origin", "https://evil.com")]),
        ("GET", &[("origin", "null")]),
        ("GET", &[("origin", "")]),
    ] {
        let flow = plugin.on_request(&request(verb, fields));
        assert!(matches!(flow, Flow::Continue | Flow::Edit(_)), "{verb} {fields:?}: {flow:?}");
    }
}

#[test]
fn several_origins_are_none() {
    for plugin in [listed(), with_credentials()] {
        let twice = [("origin", APP), ("origin", APP)];
        let headers = answer(&plugin, &request("GET", &twice), 200, &[]);
        assert_eq!(get(&headers, "access-control-allow-origin"), None);
        let method = ("access-control-request-method", "PUT");
        for fields in [[twice[0], twice[1], method], [twice[0], ("origin", "https://evil.com"), method]] {
            let Flow::Refuse(problem) = plugin.on_request(&request(Method::OPTIONS.as_str(), &fields)) else {
                panic!("{fields:?}")
            };
            let vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
            assert_eq!(problem.header_value("vary"), Some(vary.as_bytes()));
        }
    }
}

#[test]
fn pages_see_the_headers_that_are_exposed() {
    let plugin = plugin(json!({ "origins": [APP], "expose": ["X-Total", "retry-after"] }));
    let exposed = |origin| {
        let headers = answer(&plugin, &request("GET", &[("origin", origin)]), 200, &[]);
        get(&headers, "access-control-expose-headers")
    };
    assert_eq!(exposed(APP).as_deref(), Some("X-Total, retry-after"));
    assert_eq!(exposed("https://evil.com"), None);
}

#[test]
fn every_mistake_is_reported_at_its_place() {
    let complaints = |config: Value| -> Vec<(String, String)> {
        let config = serde_json::from_value(config).expect("a configuration");
        let complaints = Cors::configure(config).expect_err("a wrong one");
        complaints.iter().map(|(pointer, message)| (pointer.to_owned(), message.to_owned())).collect()
    };
    for (config, expected) in [
        (json!({ "origins": [] }), &["/origins"][..]),
        (json!({ "origins": ["*"], "credentials": true }), &["/credentials"]),
        (json!({ "origins": ["*", APP] }), &["/origins/0"]),
        (json!({ "origins": [APP], "credentials": true, "allow-null": true }), &["/allow-null"]),
        (json!({ "origins": ["null", "app.example.com", "https://*"] }), &["/origins/0", "/origins/1", "/origins/2"]),
        (
            json!({ "origins": [APP], "credentials": true, "methods": ["*"], "headers": ["*"], "expose": ["*"] }),
            &["/methods/0", "/headers/0", "/expose/0"],
        ),
        (
            json!({ "origins": [APP], "methods": ["patch", "CONNECT", "GE T", "*", ""] }),
            &["/methods/0", "/methods/1", "/methods/2", "/methods/3", "/methods/4"],
        ),
        (json!({ "origins": [APP], "headers": ["x y", "x-ok", "a\r\nb"] }), &["/headers/0", "/headers/2"]),
        (json!({ "origins": [APP], "max-age": "10" }), &["/max-age"]),
        (json!({ "origins": [APP], "max-age": "25h" }), &["/max-age"]),
    ] {
        let found = complaints(config);
        let pointers: Vec<&str> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(pointers, expected, "{found:?}");
        for (pointer, message) in found {
            assert!(!message.ends_with('.') && !message.starts_with(char::is_uppercase), "{pointer}: {message}");
        }
    }
}

#[test]
fn every_option_is_documented_in_the_schema() {
    let schema = tollgate_sdk::schemars::schema_for!(tollgate_plugin_cors::Config);
    let options = schema.as_value()["properties"].as_object().unwrap();
    assert_eq!(options.len(), 8);
    for (name, option) in options {
        assert!(option["description"].is_string(), "{name}: {option}");
    }
    assert_eq!(schema.as_value()["required"], json!(["origins"]));
}
