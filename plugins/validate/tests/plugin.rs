//! The plugin as the host calls it: configuration, heads and bodies.

use std::io::Write;

use serde_json::{Value, json};
use tollgate_plugin_validate::{Config, Validate};
use tollgate_sdk::{BodyFlow, Flow, Plugin, Problem, Request, ResponseHead};

fn plugin(config: Value) -> Validate {
    let config: Config = serde_json::from_value(config).expect("a configuration");
    Validate::configure(config).unwrap_or_else(|complaints| panic!("{complaints:?}"))
}

fn complaints(config: Value) -> Vec<(String, String)> {
    let config: Config = serde_json::from_value(config).expect("a configuration");
    let complaints = Validate::configure(config).expect_err("something is wrong");
    complaints.iter().map(|(pointer, message)| (pointer.to_owned(), message.to_owned())).collect()
}

fn request(method: &str, headers: &[(&str, &str)]) -> Request {
    let mut request = http::Request::builder().method(method).uri("/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Request::from(&request.body(()).expect("a request"))
}

const JSON: (&str, &str) = ("content-type", "application/json");

fn judge(plugin: &Validate, body: impl AsRef<[u8]>) -> Result<(), Box<Problem>> {
    judge_with(plugin, &[JSON], body)
}

fn judge_with(plugin: &Validate, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Result<(), Box<Problem>> {
    match plugin.on_request_body(&request("POST", headers), body.as_ref().to_vec(), None) {
        BodyFlow::Continue => Ok(()),
        BodyFlow::Refuse(problem) => Err(Box::new(problem)),
        other => panic!("{other:?}"),
    }
}

fn refused(plugin: &Validate, body: impl AsRef<[u8]>) -> Box<Problem> {
    judge(plugin, body).expect_err("refused")
}

fn order() -> Value {
    json!({
        "type": "object",
        "required": ["id", "items"],
        "additionalProperties": false,
        "properties": {
            "id": { "type": "integer", "minimum": 1 },
            "kind": { "enum": ["retail", "trade"] },
            "items": { "type": "array", "minItems": 1, "items": { "type": "string", "pattern": "^[A-Z]+$" } },
        },
    })
}

#[test]
fn a_body_that_fits_goes_on_and_one_that_does_not_is_told_where() {
    let plugin = plugin(json!({ "body": { "schema": order() } }));
    judge(&plugin, r#"{"id":9007199254740993,"items":["A"]}"#).unwrap();
    let problem = refused(&plugin, r#"{"id":-4711,"kind":"secret-value","items":["A","lower-secret"],"a/b~c":{}}"#);
    assert_eq!((problem.status(), problem.code()), (400, "invalid-body"));
    let faults: Vec<_> = problem.faults().collect();
    assert_eq!(
        faults,
        [
            ("/id", "must be at least 1 (minimum)"),
            ("/kind", "must be one of \"retail\", \"trade\" (enum)"),
            ("/items/1", "must match ^[A-Z]+$ (pattern)"),
            ("/a~1b~0c", "is not known to the schema (additionalProperties)"),
        ]
    );
    // No value of the body is told to anybody.
    let told = format!("{problem:?}");
    assert!(!told.contains("secret") && !told.contains("4711"), "{told}");
    let problem = refused(&plugin, "{}");
    let faults: Vec<_> = problem.faults().collect();
    assert_eq!(
        faults,
        [("", "must have the member \"id\" (required)"), ("", "must have the member \"items\" (required)")]
    );
}

#[test]
fn what_is_not_json_is_told_so_whatever_else_is_wrong() {
    let plugin = plugin(json!({ "body": { "schema": order() }, "max-string": "8B" }));
    for (body, fault) in [
        (r#"{"id":0,"unknown":1,"items":[}"#, ("", "is not JSON: expected a value at byte 29")),
        (r#"{"id":0,"items":["A"]} x"#, ("", "is not JSON: something follows the value at byte 23")),
        (r#"{"id":0,"items":["A","ABCDEFGHI"]}"#, ("/items/1", "is a string of more than 8 bytes (max-string)")),
        (r#"{"id":0,"items":["A"],"id":1}"#, ("", "has a member twice")),
        (r#"{"id":1,"items":["A"],"id":1}"#, ("", "has a member twice")),
    ] {
        assert_eq!(refused(&plugin, body).faults().collect::<Vec<_>>(), [fault], "{body}");
    }
}

#[test]
fn members_come_in_any_order_and_each_body_in_its_own() {
    let names = ["id", "kind", "items", "a name of more than thirteen bytes"];
    let mut schema = order();
    schema["properties"][names[3]] = json!({ "type": "null" });
    let plugin = plugin(json!({ "body": { "schema": schema } }));
    let member = |name: &str| match name {
        "id" => r#""id": 7"#.to_owned(),
        "kind" => r#""kind" : "trade""#.to_owned(),
        "items" => r#""items":["A"]"#.to_owned(),
        other => format!("\"{other}\":null"),
    };
    for round in 0..24 {
        let mut left = names.to_vec();
        let order: Vec<_> = [4, 3, 2, 1].map(|count| left.remove(round % count)).to_vec();
        let text =
            |order: &[&str]| format!("{{{}}}", order.iter().map(|name| member(name)).collect::<Vec<_>>().join(","));
        judge(&plugin, text(&order)).unwrap();
        let wrong = text(&order).replace(": 7", ": 0");
        assert_eq!(refused(&plugin, wrong).faults().next(), Some(("/id", "must be at least 1 (minimum)")));
        for twice in &order {
            let problem = refused(&plugin, text(&[&order[..], &[twice]].concat()));
            assert_eq!(problem.faults().next(), Some(("", "has a member twice")));
        }
    }
}

#[test]
fn a_name_that_comes_twice_is_found_among_many_that_are_known() {
    let names: Vec<_> = (0..70).map(|number| format!("n{number:02}")).collect();
    let properties: serde_json::Map<_, _> =
        names.iter().map(|name| (name.clone(), json!({ "type": "null" }))).collect();
    let plugin = plugin(json!({ "body": { "schema": { "properties": properties, "required": ["n07", "n69"] } } }));
    let text = |names: &[&str]| {
        format!("{{{}}}", names.iter().map(|name| format!("\"{name}\":null")).collect::<Vec<_>>().join(","))
    };
    let all: Vec<_> = names.iter().map(String::as_str).collect();
    for twice in &all {
        // Once unexpected, then as what followed before.
        for _ in 0..3 {
            judge(&plugin, text(&all)).unwrap();
            let short = refused(&plugin, text(&["n07", "n69", twice, twice]));
            assert_eq!(short.faults().collect::<Vec<_>>(), [("", "has a member twice")], "{twice}");
        }
    }
    let missing = refused(&plugin, text(&all[..69]));
    assert_eq!(missing.faults().collect::<Vec<_>>(), [("", "must have the member \"n69\" (required)")]);
}

#[test]
fn at_most_twenty_faults_are_told() {
    let plugin = plugin(json!({ "body": { "schema": { "items": { "type": "string" } } } }));
    let problem = refused(&plugin, format!("[{}0]", "1,".repeat(9_999)));
    assert_eq!(problem.faults().count(), 20);
    assert_eq!(problem.faults().last(), Some(("/19", "must be a string (type)")));
}

#[test]
fn malformed_bodies_are_refused() {
    let plugin = plugin(json!({}));
    for body in ["{}", "[]", "7", "\"text\"", " null ", "1e400", "9007199254740993", &"7".repeat(1000)] {
        judge(&plugin, body).unwrap_or_else(|problem| panic!("{body}: {problem:?}"));
    }
    for body in [
        b"\xef\xbb\xbf{}".as_slice(),
        b"\xff\xfe{\0}\0",
        b"{\0}\0",
        b"NaN",
        b"Infinity",
        b"{} x",
        b"\"\\ud800\"",
        b"\"\\u0000\"",
        b"\"\xff\"",
        b"{\"a\":1,\"a\":2}",
        b" ",
        b"{\"a\":",
    ] {
        let problem = refused(&plugin, body);
        assert_eq!((problem.status(), problem.code()), (400, "invalid-body"), "{}", String::from_utf8_lossy(body));
        assert_eq!(problem.faults().count(), 1);
    }
    // Both of a name's values must fit where it may come twice.
    let allowing =
        json!({ "duplicate-names": "allow", "body": { "schema": { "properties": { "a": { "const": 1 } } } } });
    let allowing = self::plugin(allowing);
    judge(&allowing, r#"{"a":1,"a":1.0}"#).unwrap();
    refused(&allowing, r#"{"a":1,"a":2}"#);
    refused(&allowing, r#"{"a":2,"a":1}"#);
}

#[test]
fn each_limit_of_the_configuration_is_the_one_that_counts() {
    let plugin = plugin(json!({
        "max-depth": 3, "max-members": 2, "max-items": 3, "max-string": "4B", "max-name": "2B", "max-number-digits": 5,
        "max-values": 12,
    }));
    for (passes, does_not, limit) in [
        ("[[[]]]", "[[[[]]]]", "max-depth"),
        (r#"{"a":1,"b":2}"#, r#"{"a":1,"b":2,"c":3}"#, "max-members"),
        ("[1,2,3]", "[1,2,3,4]", "max-items"),
        (r#""1234""#, r#""12345""#, "max-string"),
        (r#"{"ab":1}"#, r#"{"abc":1}"#, "max-name"),
        ("-12.3e45", "-12.3e456", "max-number-digits"),
        ("[[1,2,3],[1,2,3],[1,2]]", "[[1,2,3],[1,2,3],[1,2,3]]", "max-values"),
    ] {
        judge(&plugin, passes).unwrap_or_else(|problem| panic!("{passes}: {problem:?}"));
        let problem = refused(&plugin, does_not);
        let detail = problem.faults().next().expect("a fault").1.to_owned();
        assert!(detail.ends_with(&format!("({limit})")), "{detail}");
    }
}

#[test]
fn a_hundred_thousand_levels_are_refused_and_dropped_on_a_small_stack() {
    let run = || {
        let plugin = plugin(json!({ "max-depth": 256, "body": { "schema": { "items": { "$ref": "#" } } } }));
        for opening in ["[", "{\"a\":"] {
            assert_eq!(refused(&plugin, opening.repeat(100_000)).status(), 400);
        }
        // The deepest that is parsed and that a schema follows: refused for its depth or not, but never a trap.
        let _ = judge(&plugin, format!("{}{}", "[".repeat(256), "]".repeat(256)));
    };
    // Frames of an unoptimised build are some times larger than those of a guest.
    std::thread::Builder::new().stack_size(4 << 20).spawn(run).expect("a thread").join().expect("no overflow");
}

#[test]
fn the_media_type_cannot_be_talked_away() {
    let plugin = plugin(
        json!({ "pass-unvalidated": ["text/csv"], "content-types": ["application/json", "application/*+json"] }),
    );
    for types in [
        vec![],
        vec!["text/plain"],
        vec!["application/x-www-form-urlencoded"],
        vec!["application/json, text/plain"],
        vec!["application/jsonx"],
        vec!["json"],
        vec![""],
        vec!["text/json+csv"],
    ] {
        let headers: Vec<_> = types.iter().map(|value| ("content-type", *value)).collect();
        let problem = judge_with(&plugin, &headers, "{").expect_err("refused");
        assert_eq!((problem.status(), problem.code()), (415, "unsupported-media-type"), "{types:?}");
        assert_eq!(problem.header_value("accept"), Some(b"application/json, application/*+json, text/csv".as_slice()));
    }
    for charset in ["utf-7", "UTF-16", "iso-8859-1", "\"utf-8 \""] {
        let value = format!("application/json;charset={charset}");
        let problem = judge_with(&plugin, &[("content-type", &value)], "{}").expect_err("refused");
        assert_eq!((problem.status(), problem.code()), (415, "unsupported-media-type"), "{charset}");
    }
    let problem = judge_with(&plugin, &[JSON, JSON], "{}").expect_err("refused");
    assert_eq!((problem.status(), problem.code()), (400, "repeated-content-type"));
    // Every type that is JSON is looked at, however it is written.
    for value in ["application/json", "APPLICATION/JSON ; charset=UTF-8", "application/merge-patch+json;x=y"] {
        judge_with(&plugin, &[("content-type", value)], "{}").unwrap();
        assert_eq!(judge_with(&plugin, &[("content-type", value)], "{").expect_err("refused").status(), 400, "{value}");
    }
    judge_with(&plugin, &[("content-type", "text/csv; header=present")], "{").unwrap();
}

#[test]
fn the_head_decides_before_the_body_is_waited_for() {
    let plugin = plugin(json!({ "pass-unvalidated": ["text/csv"] }));
    let head = |method: &str, headers: &[(&str, &str)]| plugin.on_request(&request(method, headers));
    // A body for certain.
    assert!(matches!(head("POST", &[JSON, ("content-length", "2")]), Flow::Continue));
    match head("POST", &[("content-type", "text/plain"), ("content-length", "2")]) {
        Flow::Refuse(problem) => assert_eq!(problem.status(), 415),
        other => panic!("{other:?}"),
    }
    match head("POST", &[("content-type", "text/csv"), ("content-length", "2")]) {
        Flow::Edit(edits) => assert!(edits.skips_body()),
        other => panic!("{other:?}"),
    }
    // None for certain.
    for method in ["POST", "PUT", "PATCH"] {
        match head(method, &[("content-length", "0")]) {
            Flow::Refuse(problem) => assert_eq!((problem.status(), problem.code()), (400, "body-missing")),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(head("GET", &[]), Flow::Continue));
    assert!(matches!(head("DELETE", &[("content-length", "0")]), Flow::Continue));
    // Perhaps: the body hook is called if there is one.
    assert!(matches!(head("POST", &[]), Flow::Continue));
    assert!(matches!(head("POST", &[("content-type", "text/plain")]), Flow::Continue));
    let empty = |method: &str| plugin.on_request_body(&request(method, &[JSON]), Vec::new(), None);
    assert!(matches!(empty("POST"), BodyFlow::Refuse(problem) if problem.code() == "body-missing"));
    assert!(matches!(empty("GET"), BodyFlow::Continue));
    let not_required = self::plugin(json!({ "required": false }));
    assert!(matches!(not_required.on_request(&request("POST", &[("content-length", "0")])), Flow::Continue));
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).expect("in memory");
    encoder.finish().expect("in memory")
}

#[test]
fn coded_bodies_are_looked_at_decoded() {
    let plugin = plugin(json!({ "body": { "schema": order() } }));
    let coded = |coding: &str, body: &[u8]| judge_with(&plugin, &[JSON, ("content-encoding", coding)], body);
    let good = br#"{"id":1,"items":["A"]}"#;
    coded("gzip", &gzip(good)).unwrap();
    coded("GZIP, identity", &gzip(good)).unwrap();
    coded("gzip, gzip", &gzip(&gzip(good))).unwrap();
    assert_eq!(coded("gzip", &gzip(br#"{"id":0,"items":["A"]}"#)).expect_err("refused").code(), "invalid-body");
    for broken in [good.as_slice(), &gzip(good)[..20], &[gzip(good), vec![0]].concat()] {
        assert_eq!(coded("gzip", broken).expect_err("refused").code(), "undecodable-body");
    }
    for coding in ["compress", "gzip,gzip,gzip", "gzip, unknown", &["gzip"; 100].join(",")] {
        let problem = coded(coding, &gzip(good)).expect_err("refused");
        assert_eq!((problem.status(), problem.code()), (415, "unsupported-content-encoding"));
        assert_eq!(problem.header_value("accept-encoding"), Some(b"gzip, deflate, br, zstd".as_slice()));
    }
    let spaces = gzip(&vec![b' '; 10 << 20]);
    for (coding, bomb) in [("gzip", &spaces), ("gzip, gzip", &gzip(&spaces))] {
        let problem = coded(coding, bomb).expect_err("refused");
        assert_eq!((problem.status(), problem.code()), (413, "body-too-large"));
    }
    let none = self::plugin(json!({ "content-encodings": [] }));
    let problem = judge_with(&none, &[JSON, ("content-encoding", "gzip")], gzip(good)).expect_err("refused");
    assert_eq!((problem.status(), problem.header_value("accept-encoding")), (415, Some(b"identity".as_slice())));
}

#[test]
fn what_is_only_reported_passes() {
    let plugin = plugin(json!({ "mode": "report", "body": { "schema": order() } }));
    match plugin.on_request_body(&request("POST", &[JSON]), b"{}".to_vec(), None) {
        BodyFlow::Edit(edits) => assert_eq!(edits.attribute_set("validate.report"), Some("invalid-body")),
        other => panic!("{other:?}"),
    }
    match plugin.on_request(&request("POST", &[("content-type", "text/plain"), ("content-length", "9")])) {
        Flow::Edit(edits) => {
            assert_eq!(edits.attribute_set("validate.report"), Some("unsupported-media-type"));
            assert!(edits.skips_body());
        }
        other => panic!("{other:?}"),
    }
    judge(&plugin, r#"{"id":1,"items":["A"]}"#).unwrap();
}

#[test]
fn responses_are_checked_where_that_is_asked_for() {
    let plugin = plugin(json!({ "response": { "schema": { "required": ["total"] } } }));
    let head = |status: u16, headers: &[(&str, &str)]| {
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        ResponseHead::from(&response.body(()).expect("a response"))
    };
    let ok = head(200, &[JSON]);
    assert!(matches!(plugin.on_response(&ok, None), Flow::Continue));
    assert!(matches!(plugin.on_response_body(&ok, b"{\"total\":1}".to_vec(), None), BodyFlow::Continue));
    for (head, body) in [
        (&ok, b"{\"inner-name\":1}".to_vec()),
        (&ok, b"<html>".to_vec()),
        (&head(200, &[("content-type", "text/html")]), b"{\"total\":1}".to_vec()),
        (&head(200, &[]), b"{\"total\":1}".to_vec()),
        (&head(200, &[JSON, ("content-encoding", "gzip")]), gzip(&vec![b' '; 10 << 20])),
        (&head(201, &[JSON, ("content-encoding", "unknown")]), b"{\"total\":1}".to_vec()),
    ] {
        match plugin.on_response_body(head, body, None) {
            BodyFlow::Refuse(problem) => {
                assert_eq!((problem.status(), problem.code()), (502, "invalid-response"));
                // What is wrong with an upstream is not for clients.
                assert_eq!(problem.faults().count(), 0);
            }
            other => panic!("{other:?}"),
        }
    }
    for status in [206, 304, 404, 500] {
        match plugin.on_response(&head(status, &[JSON]), None) {
            Flow::Edit(edits) => assert!(edits.skips_body(), "{status}"),
            other => panic!("{other:?}"),
        }
    }
    // Requests are not looked at then, unless `body` says so, too.
    assert!(matches!(plugin.on_request_body(&request("POST", &[]), b"{".to_vec(), None), BodyFlow::Continue));
}

#[test]
fn every_mistake_of_a_configuration_is_told_with_its_place() {
    let found = complaints(json!({
        "body": { "schema": {
            "type": "strin",
            "properties": {
                "a": { "minimum": "1" },
                "b": { "pattern": "(?=x)" },
                "c": { "$ref": "https://example.com/other.json" },
                "d/e": { "$ref": "#/$defs/none" },
                "f": 7,
                "g": { "multipleOf": 0 },
                "h": { "required": "x" },
                "i": { "anyOf": [] },
                "j": { "maxLength": -1 },
            },
        } },
        "response": { "schema": {}, "schema-json": "{}" },
        "content-types": ["json"],
        "max-body": "1MB",
        "max-depth": 257,
        "max-items": 0,
    }));
    let places: Vec<_> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
    for place in [
        "/body/schema/type",
        "/body/schema/properties/a/minimum",
        "/body/schema/properties/b/pattern",
        "/body/schema/properties/c/$ref",
        "/body/schema/properties/d~1e/$ref",
        "/body/schema/properties/f",
        "/body/schema/properties/g/multipleOf",
        "/body/schema/properties/h/required",
        "/body/schema/properties/i/anyOf",
        "/body/schema/properties/j/maxLength",
        "/response/schema-json",
        "/content-types/0",
        "/max-body",
        "/max-depth",
        "/max-items",
    ] {
        assert_eq!(places.iter().filter(|found| **found == place).count(), 1, "{place} of {found:#?}");
    }
    assert_eq!(found.len(), 15, "{found:#?}");
}

#[test]
fn a_schema_as_text_is_complained_of_where_the_text_stands() {
    let found = complaints(json!({ "body": { "schema-json": "{\"properties\":{\"a\":{\"type\":7}}}" } }));
    assert_eq!(found[0].0, "/body/schema-json");
    assert!(found[0].1.starts_with("at \"/properties/a/type\": is neither"), "{found:?}");
    let found = complaints(json!({ "body": { "schema-json": "{\"a\":1,\"a\":2}" } }));
    assert_eq!(found, [("/body/schema-json".to_owned(), "has a member twice".to_owned())]);
    let found =
        complaints(json!({ "body": { "schema-json": "{\"$schema\":\"http://json-schema.org/draft-07/schema#\"}" } }));
    assert!(found[0].1.contains("only draft 2020-12 is known"), "{found:?}");
    let found = complaints(json!({ "formats": true, "body": { "schema": { "format": "idn-email" } } }));
    assert!(found[0].1.contains("those that can are date, date-time"), "{found:?}");
}

#[test]
fn schemas_that_lead_to_themselves_are_refused() {
    for schema in [
        json!({ "$ref": "#" }),
        json!({ "allOf": [{ "$ref": "#" }] }),
        json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "not": { "$ref": "#/$defs/a" } } } }),
        json!({ "dependentSchemas": { "x": { "$ref": "#" } } }),
    ] {
        let found = complaints(json!({ "body": { "schema": schema } }));
        assert!(found[0].1.contains("leads back to itself"), "{found:?}");
    }
    let tree = plugin(json!({ "body": { "schema": { "type": "object", "additionalProperties": { "$ref": "#" } } } }));
    judge(&tree, r#"{"a":{"b":{}}}"#).unwrap();
    assert_eq!(refused(&tree, r#"{"a":{"b":7}}"#).faults().next(), Some(("/a/b", "must be an object (type)")));
}

#[test]
fn no_schema_makes_a_body_take_for_ever() {
    // Twice as many steps for each level: 2^60 for this body.
    let schema = json!({ "anyOf": [
        { "properties": { "a": { "$ref": "#" } }, "required": ["b"] },
        { "properties": { "a": { "$ref": "#" } }, "required": ["c"] },
    ] });
    let plugin = plugin(json!({ "body": { "schema": schema } }));
    let body = format!("{}{{}}{}", "{\"a\":".repeat(60), "}".repeat(60));
    let problem = refused(&plugin, body);
    assert_eq!((problem.status(), problem.code()), (400, "body-too-complex"));
    // The limit itself: a list of ten values takes eleven steps.
    let list = |steps: u32| {
        self::plugin(json!({ "max-steps": steps, "body": { "schema": { "items": { "type": "integer" } } } }))
    };
    judge(&list(11), "[0,1,2,3,4,5,6,7,8,9]").unwrap();
    assert_eq!(refused(&list(10), "[0,1,2,3,4,5,6,7,8,9]").code(), "body-too-complex");
}

#[test]
fn hostile_schemas_and_bodies_take_little_time() {
    let many: Vec<String> = (0..100_000).map(|index| format!("\"{index}\"")).collect();
    let unique = plugin(json!({
        "max-items": 100_000, "max-values": 200_000, "body": { "schema": { "uniqueItems": true, "pattern": "^(a+)+$" } },
    }));
    judge(&unique, format!("[{}]", many.join(","))).unwrap();
    let mut twice = many;
    twice[99_999] = "\"7\"".to_owned();
    assert_eq!(refused(&unique, format!("[{}]", twice.join(","))).faults().count(), 1);
    refused(&unique, format!("\"{}!\"", "a".repeat(50)));
    judge(&unique, format!("\"{}\"", "a".repeat(50))).unwrap();
    let huge =
        plugin(json!({ "body": { "schema-json": r#"{"multipleOf":1e-308,"maximum":1e400,"minimum":-1e400}"# } }));
    for number in ["1e400", "-1e400", "1e-308", "0", "123456789012345678901234567890"] {
        judge(&huge, number).unwrap_or_else(|problem| panic!("{number}: {problem:?}"));
    }
    for number in ["1e401", "-2e400", "1e-309"] {
        refused(&huge, number);
    }
}

#[test]
fn large_integers_are_compared_exactly() {
    let plugin = plugin(json!({ "body": { "schema-json": r#"{"const":9007199254740993,"type":"integer"}"# } }));
    judge(&plugin, "9007199254740993").unwrap();
    judge(&plugin, "9007199254740993.0").unwrap();
    refused(&plugin, "9007199254740992");
}

#[test]
fn the_example_of_the_readme_is_a_configuration_that_works() {
    let readme = include_str!("../README.md");
    let example = readme.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let file: toml::Table = toml::from_str(example).expect("TOML");
    let plugins = file["plugin"].as_table().expect("plugins");
    for (name, plugin) in plugins {
        assert_eq!(plugin["component"].as_str(), Some("validate"), "{name}");
        let config: Value = plugin["config"].clone().try_into().expect("JSON");
        let plugin = self::plugin(config);
        judge(&plugin, r#"{"sku":"ABC-1234","quantity":2}"#).unwrap();
        refused(&plugin, r#"{"sku":"abc","quantity":0}"#);
    }
}

#[test]
fn every_option_is_in_the_readme() {
    let schema = serde_json::to_value(tollgate_sdk::schemars::schema_for!(Config)).expect("JSON");
    let readme = include_str!("../README.md");
    for option in schema["properties"].as_object().expect("options").keys() {
        assert!(readme.contains(&format!("`{option}`")) || readme.contains(&format!("`{option}.")), "{option}");
    }
}
