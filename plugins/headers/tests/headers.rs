//! What becomes of whole messages, with the host's order of edits played by hand: remove, set, append.

use serde_json::{Value, json};
use tollgate_plugin_headers::{Config, Headers};
use tollgate_sdk::{Edits, Flow, Plugin, Request, ResponseHead};

fn plugin(config: Value) -> Headers {
    Headers::configure(serde_json::from_value(config).expect("a configuration")).expect("a right one")
}

fn complaints(config: Value) -> Vec<(String, String)> {
    let config: Config = serde_json::from_value(config).expect("a configuration");
    let complaints = Headers::configure(config).expect_err("a wrong one");
    complaints.iter().map(|(pointer, message)| (pointer.to_owned(), message.to_owned())).collect()
}

fn edits(flow: Flow) -> Edits {
    match flow {
        Flow::Continue => Edits::new(),
        Flow::Edit(edits) => edits,
        other => panic!("{other:?}"),
    }
}

/// The values of one name after the edits.
fn after(edits: &Edits, received: &[(&str, &str)], name: &str) -> Vec<String> {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).expect("text");
    let mut values: Vec<String> = edits.values(name).map(text).collect();
    if values.is_empty() && !edits.removed().any(|removed| removed == name) {
        values = received.iter().filter(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned()).collect();
    }
    values.extend(edits.appended(name).map(text));
    values
}

fn request(uri: &str, headers: &[(&str, &str)]) -> Request {
    let request = headers.iter().fold(http::Request::get(uri), |request, (name, value)| request.header(*name, *value));
    Request::from(&request.body(()).expect("a valid head"))
}

fn response(headers: &[(&str, &str)]) -> ResponseHead {
    let response =
        headers.iter().fold(http::Response::builder(), |response, (name, value)| response.header(*name, *value));
    ResponseHead::from(&response.body(()).expect("a valid head"))
}

/// The edits of a response, whose request was this one.
fn answered(plugin: &Headers, request: &Request, response: &ResponseHead) -> Edits {
    let memo = edits(plugin.on_request(request)).memo_set().map(<[u8]>::to_vec);
    edits(plugin.on_response(response, memo))
}

#[test]
fn each_change_does_what_it_says_and_in_this_order() {
    let plugin = plugin(json!({ "request": {
        "remove": ["X-Gone", "x-internal-*"],
        "rename": { "X-Old": "x-new", "x-internal-id": "x-id" },
        "set": { "X-Set": "mine", "x-two": ["1", "2"] },
        "set-if-absent": { "x-there": "default", "x-absent": "default", "x-gone": "default", "x-new": "default" },
        "append": { "x-more": ["b", "c"], "x-gone": "appended" },
    }}));
    let received = [
        ("x-gone", "theirs"),
        ("x-internal-id", "7"),
        ("x-internal-", "x"),
        ("x-internals", "stays"),
        ("x-old", "1"),
        ("x-old", "2"),
        ("x-new", "theirs"),
        ("x-set", "theirs"),
        ("x-set", "theirs too"),
        ("x-there", "theirs"),
        ("x-more", "a"),
    ];
    let edits = edits(plugin.on_request(&request("http://h/", &received)));
    let after = |name| after(&edits, &received, name);
    assert_eq!(after("x-gone"), ["default", "appended"]);
    assert_eq!(after("x-id"), ["7"]);
    assert_eq!(after("x-internal-id"), [""; 0]);
    assert_eq!(after("x-internal-"), [""; 0]);
    assert_eq!(after("x-internals"), ["stays"]);
    assert_eq!(after("x-old"), [""; 0]);
    assert_eq!(after("x-new"), ["1", "2"]);
    assert_eq!(after("x-set"), ["mine"]);
    assert_eq!(after("x-two"), ["1", "2"]);
    assert_eq!(after("x-there"), ["theirs"]);
    assert_eq!(after("x-absent"), ["default"]);
    assert_eq!(after("x-more"), ["a", "b", "c"]);
}

#[test]
fn a_prefix_passes_over_what_belongs_to_the_proxy() {
    let plugin = plugin(json!({ "request": { "remove": ["CON*"] } }));
    let received = [("content-length", "3"), ("connection", "close"), ("content-type", "text/plain"), ("cookie", "a")];
    let edits = edits(plugin.on_request(&request("http://h/", &received)));
    assert_eq!(edits.removed().collect::<Vec<_>>(), ["content-type"]);
}

#[test]
fn two_names_can_be_swapped_and_an_absent_one_changes_nothing() {
    let plugin = plugin(json!({ "request": { "rename": { "a": "b", "b": "a", "x": "y" } } }));
    let received = [("a", "1"), ("b", "2"), ("b", "3"), ("y", "stays")];
    let edits = edits(plugin.on_request(&request("http://h/", &received)));
    assert_eq!(after(&edits, &received, "a"), ["2", "3"]);
    assert_eq!(after(&edits, &received, "b"), ["1"]);
    assert_eq!(after(&edits, &received, "y"), ["stays"]);
    assert!(matches!(plugin.on_request(&request("http://h/", &[])), Flow::Continue));
}

#[test]
fn a_tab_inside_a_value_stays_what_it_is() {
    let config = json!({ "rename": { "a": "b" }, "set": { "c": "{header:a}", "d": "x\ty" } });
    let plugin = plugin(json!({ "request": config }));
    let edits = edits(plugin.on_request(&request("http://h/", &[("a", "1\t2")])));
    assert_eq!(after(&edits, &[], "b"), ["1\t2"]);
    assert_eq!(after(&edits, &[], "c"), ["1\t2"]);
    assert_eq!(after(&edits, &[], "d"), ["x\ty"]);
}

#[test]
fn values_are_made_of_the_request() {
    let config = json!({
        "set": { "x-who": "{attribute:consumer}", "x-plan": ["first", "{header:x-plan?free}"] },
        "append": { "x-seen": "{method} {host}{path}" },
    });
    let plugin = plugin(json!({ "request": config, "response": config }));
    let request = request("http://h/a", &[]).with_attribute("consumer", "alice");
    let answer = response(&[]).with_attribute("consumer", "alice");
    for edits in [edits(plugin.on_request(&request)), answered(&plugin, &request, &answer)] {
        assert_eq!(after(&edits, &[], "x-who"), ["alice"]);
        assert_eq!(after(&edits, &[], "x-plan"), ["first", "free"]);
        assert_eq!(after(&edits, &[], "x-seen"), ["GET h/a"]);
    }
}

#[test]
fn what_a_client_sent_never_passes_for_a_value_that_is_missing() {
    let received = [("x-who", "admin")];
    for (missing, left) in [("skip", &[][..]), ("empty", &[""])] {
        let plugin = plugin(json!({
            "missing": missing,
            "request": { "set": { "x-who": "{attribute:consumer}" }, "append": { "x-more": "{attribute:consumer}" } },
        }));
        let edits = edits(plugin.on_request(&request("http://h/", &received)));
        assert_eq!(after(&edits, &received, "x-who"), left, "{missing}");
        assert_eq!(after(&edits, &received, "x-more"), left, "{missing}");
    }
    let plugin = plugin(json!({ "request": { "set": { "x-who": "{attribute:consumer}" } } }));
    let injecting = request("http://h/", &received).with_attribute("consumer", "a\r\nx-admin: 1");
    assert_eq!(after(&edits(plugin.on_request(&injecting)), &received, "x-who"), [""; 0]);
}

#[test]
fn nothing_configured_asks_for_nothing() {
    let interest = format!("{:?}", plugin(json!({})).interest());
    assert!(interest.contains("request: None") && interest.contains("response: None"), "{interest}");
}

#[test]
fn the_plugin_sees_only_what_it_uses() {
    let plugin = plugin(json!({
        "request": { "set": { "x-a": "1", "x-b": "{client}" }, "rename": { "x-old": "x-new" }, "remove": ["x-c"] },
        "response": { "set-if-absent": { "x-d": "{header:x-e}" }, "append": { "x-f": "{attribute:consumer}" } },
    }));
    let interest = format!("{:?}", plugin.interest());
    let (request, response) = interest.split_once("response: Some").unwrap();
    assert!(request.contains(r#"headers: Names::Only(["x-old", "x-e"])"#), "{request}");
    assert!(request.contains("attributes: Names::None"), "{request}");
    assert!(request.contains("Parts { bits: 32 }"), "{request}");
    assert!(response.contains(r#"headers: Names::Only(["x-d"])"#), "{response}");
    assert!(response.contains(r#"attributes: Names::Only(["consumer"])"#), "{response}");
}

#[test]
fn the_preset_for_apis_is_what_was_promised() {
    let plugin = plugin(json!({ "preset": "api" }));
    let received = [("server", "Apache"), ("x-powered-by", "PHP/8"), ("x-xss-protection", "1"), ("x-other", "stays")];
    let edits = answered(&plugin, &request("http://h/", &[]), &response(&received));
    let after = |name| after(&edits, &received, name);
    assert_eq!(after("x-content-type-options"), ["nosniff"]);
    assert_eq!(after("content-security-policy"), ["default-src 'none'; frame-ancestors 'none'"]);
    assert_eq!(after("referrer-policy"), ["no-referrer"]);
    assert_eq!(after("cross-origin-resource-policy"), ["same-origin"]);
    assert_eq!(after("x-other"), ["stays"]);
    for removed in ["server", "x-powered-by", "x-xss-protection", "strict-transport-security", "cache-control"] {
        assert_eq!(after(removed), [""; 0], "{removed}");
    }
}

#[test]
fn hsts_is_said_over_tls_only() {
    for preset in ["api", "browser"] {
        let plugin = plugin(json!({ "preset": preset }));
        let hsts =
            |uri| after(&answered(&plugin, &request(uri, &[]), &response(&[])), &[], "strict-transport-security");
        assert_eq!(hsts("https://h/"), ["max-age=31536000"]);
        assert_eq!(hsts("http://h/"), [""; 0]);
        assert_eq!(after(&edits(plugin.on_response(&response(&[]), None)), &[], "strict-transport-security"), [""; 0]);
    }
}

#[test]
fn answers_for_one_client_are_not_stored_unless_the_upstream_says_so() {
    let plugin = plugin(json!({ "preset": "api" }));
    for (consumer, received, left) in [
        (true, &[][..], &["no-store"][..]),
        (true, &[("cache-control", "private, max-age=60")], &["private, max-age=60"]),
        (false, &[], &[]),
        (false, &[("cache-control", "max-age=60")], &["max-age=60"]),
    ] {
        let mut answer = response(received);
        if consumer {
            answer = answer.with_attribute("consumer", "alice");
        }
        let edits = edits(plugin.on_response(&answer, None));
        assert_eq!(after(&edits, received, "cache-control"), left, "{consumer} {received:?}");
    }
}

#[test]
fn a_preset_leaves_what_upstream_and_operator_chose_and_changes_nothing_the_second_time() {
    let csp = ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; sandbox");
    for preset in ["api", "browser"] {
        let plugin = plugin(json!({ "preset": preset, "response": {
            "set": { "Referrer-Policy": "origin", "server": "tollgate" }, "remove": ["cross-origin-resource-policy"],
        }}));
        let request = request("https://h/", &[]);
        let edits = answered(&plugin, &request, &response(&[csp]).with_attribute("consumer", "alice"));
        let names = [
            "content-security-policy",
            "referrer-policy",
            "server",
            "cross-origin-resource-policy",
            "cross-origin-opener-policy",
            "x-content-type-options",
            "x-frame-options",
            "strict-transport-security",
            "cache-control",
        ];
        let first: Vec<(&str, String)> = names
            .iter()
            .flat_map(|name| after(&edits, &[csp], name).into_iter().map(move |value| (*name, value)))
            .collect();
        let first: Vec<(&str, &str)> = first.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert!(first.contains(&csp));
        assert!(first.contains(&("referrer-policy", "origin")));
        assert!(first.contains(&("server", "tollgate")));
        assert!(!first.iter().any(|(name, _)| *name == "cross-origin-resource-policy"));
        let edits = answered(&plugin, &request, &response(&first).with_attribute("consumer", "alice"));
        let second: Vec<(&str, String)> = names
            .iter()
            .flat_map(|name| after(&edits, &first, name).into_iter().map(move |value| (*name, value)))
            .collect();
        let second: Vec<(&str, &str)> = second.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(first, second, "{preset}");
    }
}

#[test]
fn every_mistake_is_reported_at_its_place() {
    let found = complaints(json!({
        "request": {
            "remove": ["x ok", "*", "host", "x-a", "X-A"],
            "rename": { "x-b": "content-length", "te": "x-c", "x-d": "X-D", "x-e": "x-f", "x-g": "x-f", "x-a": "x-h" },
            "set": { "x-f": "1", "x/~y": "1", "X-I": ["ok", "a\nb", "{nope}"], "x-i": "1", "x-j": [] },
            "set-if-absent": { "x-f": "1", ":path": "/" },
            "append": { "transfer-encoding": "chunked", "x-forwarded-for": "{client}" },
        },
        "response": { "set": { "set-cookie": "{client" } },
    }));
    let pointers: Vec<&str> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
    assert_eq!(
        pointers,
        [
            "/request/remove/0",
            "/request/remove/1",
            "/request/remove/2",
            "/request/remove/4",
            "/request/rename/te",
            "/request/rename/x-a",
            "/request/rename/x-b",
            "/request/rename/x-d",
            "/request/rename/x-g",
            "/request/set/X-I/1",
            "/request/set/X-I/2",
            "/request/set/x-i",
            "/request/set/x-j",
            "/request/set/x~1~0y",
            "/request/set-if-absent/:path",
            "/request/append/transfer-encoding",
            "/request/append/x-forwarded-for",
            "/request/set/x-f",
            "/request/set-if-absent/x-f",
            "/response/set/set-cookie",
        ],
        "{found:#?}"
    );
    for (pointer, message) in found {
        assert!(!message.ends_with('.') && !message.starts_with(char::is_uppercase), "{pointer}: {message}");
    }
}

#[test]
fn unknown_members_and_words_are_refused() {
    for (config, expected) in [
        (json!({ "requests": {} }), "unknown field `requests`"),
        (json!({ "request": { "add": {} } }), "unknown field `add`"),
        (json!({ "preset": "strict" }), "unknown variant `strict`, expected one of `none`, `api`, `browser`"),
        (json!({ "missing": "error" }), "unknown variant `error`, expected `skip` or `empty`"),
    ] {
        let error = serde_json::from_value::<Config>(config).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn every_option_is_documented_in_the_schema() {
    let schema = tollgate_sdk::schemars::schema_for!(Config);
    let schema = schema.as_value();
    for options in [&schema["properties"], &schema["$defs"]["Changes"]["properties"]] {
        let options = options.as_object().unwrap();
        assert!(options.len() >= 4);
        for (name, option) in options {
            assert!(option["description"].is_string(), "{name}: {option}");
        }
    }
    assert_eq!(schema["$defs"]["Values"]["anyOf"].as_array().unwrap().len(), 2);
}
