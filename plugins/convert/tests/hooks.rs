//! What of a pass is converted: requests, responses, negotiation.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use http::{Method, Request, Response};
use tollgate_plugin_convert::{Config, Convert};
use tollgate_sdk::{BodyFlow, Edits, Flow, Plugin, Problem, ResponseHead};

fn plugin(config: serde_json::Value) -> Convert {
    Convert::configure(serde_json::from_value::<Config>(config).unwrap()).unwrap()
}

fn request(method: Method, fields: &[(&str, &str)]) -> tollgate_sdk::Request {
    let mut request = Request::builder().method(method).uri("http://a/");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    (&request.body(()).unwrap()).into()
}

fn response(status: u16, fields: &[(&str, &str)]) -> ResponseHead {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    (&response.body(()).unwrap()).into()
}

/// How a request ends up: the edits of its head, and its new body with the edits that go with it, or a refusal.
enum Sent {
    As(Option<Edits>, Option<Box<(Edits, String)>>),
    Refused(Problem),
}

fn send(plugin: &Convert, request: &tollgate_sdk::Request, body: &str) -> Sent {
    let head = match plugin.on_request(request) {
        Flow::Continue => None,
        Flow::Edit(edits) => Some(edits),
        Flow::Refuse(problem) => return Sent::Refused(problem),
        Flow::Respond(_) => panic!("the host writes refusals"),
    };
    if head.as_ref().is_some_and(Edits::skips_body) {
        return Sent::As(head, None);
    }
    match plugin.on_request_body(request, body.as_bytes().to_vec(), None) {
        BodyFlow::Continue => Sent::As(head, None),
        BodyFlow::Replace(edits, body) => Sent::As(head, Some(Box::new((edits, String::from_utf8(body).unwrap())))),
        BodyFlow::Refuse(problem) => Sent::Refused(problem),
        _ => panic!("a body is replaced or left alone"),
    }
}

fn converted(sent: Sent) -> (Edits, String) {
    match sent {
        Sent::As(_, Some(body)) => *body,
        Sent::As(_, None) => panic!("the body was left alone"),
        Sent::Refused(problem) => panic!("{}", problem.detail_text().unwrap_or_default()),
    }
}

fn left_alone(sent: Sent) -> bool {
    matches!(sent, Sent::As(_, None))
}

fn refusal(sent: Sent) -> (u16, String, String) {
    match sent {
        Sent::Refused(problem) => {
            (problem.status(), problem.code().to_owned(), problem.detail_text().unwrap_or_default().to_owned())
        }
        Sent::As(..) => panic!("it was not refused"),
    }
}

const XML: (&str, &str) = ("content-type", "application/xml");
const JSON: (&str, &str) = ("content-type", "application/json");

/// The media type and the body, `None` where it is left alone, or the status of a refusal; and the `Vary` that is set.
type Received = (Result<Option<(String, String)>, u16>, Option<String>);

/// What the client of a request gets of a response.
fn receive(plugin: &Convert, asked: &tollgate_sdk::Request, head: &ResponseHead, body: &str) -> Received {
    let memo = match plugin.on_request(asked) {
        Flow::Edit(edits) => edits.memo_set().map(<[u8]>::to_vec),
        _ => None,
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let vary = |edits: &Edits| edits.header("vary").map(text);
    match plugin.on_response(head, memo.clone()) {
        Flow::Continue => {}
        Flow::Edit(edits) => {
            assert!(edits.skips_body());
            return (Ok(None), vary(&edits));
        }
        Flow::Refuse(problem) => return (Err(problem.status()), problem.header_value("vary").map(text)),
        Flow::Respond(_) => panic!("the host writes refusals"),
    }
    match plugin.on_response_body(head, body.as_bytes().to_vec(), memo) {
        BodyFlow::Continue => (Ok(None), None),
        BodyFlow::Replace(edits, body) => {
            let media = text(edits.header("content-type").unwrap());
            (Ok(Some((media, String::from_utf8(body).unwrap()))), vary(&edits))
        }
        BodyFlow::Refuse(problem) => {
            assert_eq!(problem.detail_text(), None, "nothing of the upstream reaches the client");
            (Err(problem.status()), None)
        }
        _ => panic!("a body is replaced or left alone"),
    }
}

#[test]
fn a_request_is_converted_and_described() {
    let to_xml = plugin(serde_json::json!({ "requests": { "to": "xml" } }));
    let (edits, body) = converted(send(&to_xml, &request(Method::POST, &[JSON]), r#"{"a":{"@b":1}}"#));
    assert_eq!(body, r#"<?xml version="1.0" encoding="UTF-8"?><a b="1"/>"#);
    assert_eq!(edits.header("content-type"), Some(&b"application/xml; charset=utf-8"[..]));
    assert_eq!(edits.removed().collect::<Vec<_>>(), ["repr-digest", "digest"]);

    let to_json = plugin(serde_json::json!({ "requests": { "to": "json" } }));
    let latin1 = request(Method::PUT, &[("content-type", "text/xml; charset=us-ascii")]);
    let (edits, body) = converted(send(&to_json, &latin1, "<a b='1'/>"));
    assert_eq!(body, r#"{"a":{"@b":"1"}}"#);
    assert_eq!(edits.header("content-type"), Some(&b"application/json; charset=utf-8"[..]));
}

#[test]
fn other_requests_pass_or_are_refused() {
    let cases: [(Method, &[(&str, &str)]); 7] = [
        (Method::POST, &[("content-type", "text/plain")]),
        (Method::POST, &[("content-type", "application/xml"), ("content-type", "application/json")]),
        (Method::POST, &[XML, ("content-encoding", "gzip")]),
        (Method::PUT, &[XML, ("content-range", "bytes 0-3/10")]),
        (Method::POST, &[XML, ("cache-control", "max-age=0, no-transform")]),
        (Method::POST, &[]),
        (Method::DELETE, &[("content-type", "text/plain")]),
    ];
    let lenient = plugin(serde_json::json!({ "requests": { "to": "json" } }));
    let only = plugin(serde_json::json!({ "requests": { "to": "json", "only": true } }));
    for (method, fields) in cases {
        let request = request(method, fields);
        assert!(left_alone(send(&lenient, &request, "<a/>")), "{fields:?}");
        let Sent::Refused(problem) = send(&only, &request, "<a/>") else { panic!("{fields:?}") };
        assert_eq!((problem.status(), problem.code()), (415, "unsupported-media-type"));
        assert_eq!(problem.header_value("accept"), Some(&b"application/xml, application/json"[..]));
    }
    for (method, fields) in
        [(Method::POST, &[JSON]), (Method::GET, &[XML]), (Method::GET, &[("content-type", "text/plain")])]
    {
        let body = if fields == &[JSON] { "{}" } else { "" };
        assert!(left_alone(send(&only, &request(method, fields), body)), "{fields:?}");
    }
}

#[test]
fn a_wrong_request_is_told_where_it_is_wrong() {
    let to_json = plugin(serde_json::json!({ "requests": { "to": "json" }, "namespaces": "strip" }));
    let to_xml = plugin(serde_json::json!({ "requests": { "to": "xml" }, "max-output": "1KiB" }));
    let xml = |body: &str| refusal(send(&to_json, &request(Method::POST, &[XML]), body));
    let json = |body: &str| refusal(send(&to_xml, &request(Method::POST, &[JSON]), body));
    let (status, code, detail) = xml("<a>\n <b></a>");
    assert_eq!((status, code.as_str()), (400, "malformed-xml"));
    assert_eq!(detail, "line 2, column 5: an end tag ends another element than began");
    assert_eq!(xml("<!DOCTYPE a><a/>").0, 400);
    assert_eq!(xml("<a p:x='1' q:x='2'/>").0, 422);
    let (status, code, detail) = json("{\"a\":\n tru}");
    assert_eq!((status, code.as_str()), (400, "malformed-json"));
    assert_eq!(detail, "line 2, column 2: a value is missing here");
    let (status, code, _) = json(r#"{"a":1,"b":2}"#);
    assert_eq!((status, code.as_str()), (422, "not-convertible"));
    let (status, code, _) = json(&format!(r#"{{"a":"{}"}}"#, "&".repeat(1000)));
    assert_eq!((status, code.as_str()), (413, "converted-body-too-long"));
}

#[test]
fn the_upstream_is_asked_for_what_can_be_converted() {
    let both = plugin(serde_json::json!({
        "requests": { "to": "xml", "rewrite-accept": true },
        "responses": { "to": "negotiate" },
    }));
    let Sent::As(Some(edits), None) = send(&both, &request(Method::GET, &[("accept", "application/json")]), "") else {
        panic!("the head is edited")
    };
    assert_eq!(edits.header("accept"), Some(&b"application/xml"[..]));
    assert_eq!(edits.header("accept-encoding"), Some(&b"identity"[..]));
    assert_eq!(edits.memo_set(), Some(&b"\0application/json"[..]));
}

#[test]
fn a_fixed_target_converts_whatever_the_client_accepts() {
    let to_json = plugin(serde_json::json!({ "responses": { "to": "json" }, "root": "r" }));
    let get = request(Method::GET, &[("accept", "application/xml")]);
    let (body, vary) = receive(&to_json, &get, &response(200, &[XML]), "<a/>");
    assert_eq!(body, Ok(Some(("application/json; charset=utf-8".to_owned(), r#"{"a":null}"#.to_owned()))));
    assert_eq!(vary, None);
    assert_eq!(receive(&to_json, &get, &response(200, &[JSON]), "{}"), (Ok(None), None));
    assert_eq!(receive(&to_json, &get, &response(500, &[XML]), "<a/>").0.unwrap().unwrap().1, r#"{"a":null}"#);
}

#[test]
fn the_client_gets_what_it_prefers() {
    // The upstream sends XML, and could be made to send JSON.
    for (accept, prefer, expected) in [
        ("application/json", None, "json"),
        ("application/xml", None, "xml"),
        ("*/*", None, "xml"),
        ("", None, "xml"),
        ("application/json, application/xml", None, "xml"),
        ("application/json, application/xml;q=0.9", None, "json"),
        ("application/json;q=0.9, application/xml", None, "xml"),
        ("application/json;q=0.1, application/xml;q=0", None, "json"),
        ("application/*, application/json;q=0.5", None, "xml"),
        ("*/*;q=0.8, application/xml;q=0.1", None, "json"),
        ("*/*", Some("json"), "json"),
        ("", Some("json"), "json"),
        ("application/xml", Some("json"), "xml"),
        ("application/xml;q=0.5, application/json;q=0.4", Some("json"), "xml"),
        ("text/html", None, "xml"),
        ("text/html", Some("json"), "xml"),
        ("application/json;q=0, text/html", None, "xml"),
    ] {
        let plugin = plugin(serde_json::json!({ "responses": { "to": "negotiate", "prefer": prefer } }));
        let fields: &[(&str, &str)] = if accept.is_empty() { &[] } else { &[("accept", accept)] };
        let (body, vary) = receive(&plugin, &request(Method::GET, fields), &response(200, &[XML]), "<a/>");
        assert_eq!(body.unwrap().is_some(), expected == "json", "{accept} {prefer:?}");
        assert_eq!(vary.as_deref(), Some("Accept"), "{accept}");
    }
    // The upstream sends JSON; the client says which XML it knows.
    let plugin = plugin(serde_json::json!({ "responses": { "to": "negotiate" } }));
    for (accept, media) in [
        ("text/xml", "text/xml; charset=utf-8"),
        ("application/xml, text/xml;q=0.9", "application/xml; charset=utf-8"),
        ("application/xml, text/xml", "application/xml; charset=utf-8"),
        ("text/*", "text/xml; charset=utf-8"),
    ] {
        let get = request(Method::GET, &[("accept", accept)]);
        let (body, _) = receive(&plugin, &get, &response(200, &[JSON]), r#"{"a":1}"#);
        assert_eq!(body.unwrap().unwrap().0, media, "{accept}");
    }
}

#[test]
fn several_accept_fields_are_one() {
    let plugin = plugin(serde_json::json!({ "responses": { "to": "negotiate" } }));
    let get = request(Method::GET, &[("accept", "application/xml;q=0.5"), ("accept", "application/json")]);
    assert!(receive(&plugin, &get, &response(200, &[XML]), "<a/>").0.unwrap().is_some());
    let long = format!("application/json, {}", "a/b, ".repeat(2000));
    let get = request(Method::GET, &[("accept", &long)]);
    assert!(receive(&plugin, &get, &response(200, &[XML]), "<a/>").0.unwrap().is_none(), "read as no preference");
}

#[test]
fn a_strict_client_gets_406() {
    let strict = |to: &str| plugin(serde_json::json!({ "responses": { "to": to, "strict-accept": true } }));
    for (to, accept, status) in [
        ("negotiate", "text/html", Some(406)),
        ("negotiate", "text/html, */*;q=0.1", None),
        ("negotiate", "application/json;q=0, application/xml;q=0", Some(406)),
        ("json", "application/xml", Some(406)),
        ("json", "application/json", None),
        ("xml", "application/json", Some(406)),
        ("xml", "text/xml", None),
    ] {
        let get = request(Method::GET, &[("accept", accept)]);
        let (body, vary) = receive(&strict(to), &get, &response(200, &[JSON]), r#"{"a":1}"#);
        assert_eq!(body.as_ref().err().copied(), status, "{to} {accept}");
        assert_eq!(vary.as_deref(), Some("Accept"), "{to} {accept}");
    }
    let html = request(Method::GET, &[("accept", "text/html")]);
    assert_eq!(receive(&strict("negotiate"), &html, &response(404, &[JSON]), "{}").0, Ok(None), "errors are shown");
    assert_eq!(receive(&strict("negotiate"), &html, &response(200, &[("content-type", "text/html")]), "").0, Ok(None));
}

#[test]
fn vary_is_added_to_and_not_doubled() {
    let plugin = plugin(serde_json::json!({ "responses": { "to": "negotiate" } }));
    for (accept, xml) in [("application/json", "<a/>"), ("application/xml", "<a/>")] {
        let get = request(Method::GET, &[("accept", accept)]);
        let vary = |fields: &[(&str, &str)]| receive(&plugin, &get, &response(200, fields), xml).1;
        assert_eq!(vary(&[XML]).as_deref(), Some("Accept"));
        assert_eq!(vary(&[XML, ("vary", "Origin")]).as_deref(), Some("Origin, Accept"));
        assert_eq!(vary(&[XML, ("vary", "Origin"), ("vary", "Cookie")]).as_deref(), Some("Origin, Cookie, Accept"));
        assert_eq!(vary(&[XML, ("vary", "Origin, accept")]), None);
        assert_eq!(vary(&[XML, ("vary", "Accept-Encoding")]).as_deref(), Some("Accept-Encoding, Accept"));
        assert_eq!(vary(&[XML, ("vary", "*")]), None);
    }
}

#[test]
fn what_is_not_a_whole_body_is_left_alone() {
    for to in ["json", "negotiate"] {
        let plugin = plugin(serde_json::json!({ "responses": { "to": to } }));
        let get = request(Method::GET, &[("accept", "application/json")]);
        for status in [204, 205, 206, 304] {
            assert_eq!(receive(&plugin, &get, &response(status, &[XML]), ""), (Ok(None), None), "{status}");
        }
        for field in
            [("content-encoding", "gzip"), ("content-range", "bytes 0-1/2"), ("cache-control", "public, No-Transform")]
        {
            assert_eq!(receive(&plugin, &get, &response(200, &[XML, field]), "<a/>"), (Ok(None), None), "{field:?}");
        }
        for media in ["text/html", "image/svg+xml", "application/xhtml+xml", "application/octet-stream"] {
            let head = response(200, &[("content-type", media)]);
            assert_eq!(receive(&plugin, &get, &head, "<a/>"), (Ok(None), None), "{media}");
        }
        assert_eq!(receive(&plugin, &get, &response(200, &[]), "<a/>"), (Ok(None), None));
        assert_eq!(receive(&plugin, &get, &response(200, &[XML]), ""), (Ok(None), None), "an empty body");
        let identity = response(200, &[XML, ("content-encoding", "identity")]);
        assert!(receive(&plugin, &get, &identity, "<a/>").0.unwrap().is_some());
    }
    let negotiate = plugin(serde_json::json!({ "responses": { "to": "negotiate" } }));
    let head = request(Method::HEAD, &[("accept", "application/json")]);
    assert_eq!(receive(&negotiate, &head, &response(200, &[XML]), ""), (Ok(None), None));
}

#[test]
fn problems_keep_the_two_forms_of_their_own() {
    let json = r#"{"type":"https://example.com/probs/out-of-credit","title":"You & me","status":403,"balance":"30","accounts":["a","b"],"more":{"x":"1"}}"#;
    let xml = concat!(
        r#"<?xml version="1.0" encoding="UTF-8"?><problem xmlns="urn:ietf:rfc:7807">"#,
        "<type>https://example.com/probs/out-of-credit</type><title>You &amp; me</title><status>403</status>",
        "<balance>30</balance><accounts><i>a</i><i>b</i></accounts><more><x>1</x></more></problem>",
    );
    let media = |format: &str| ("content-type", format!("application/problem+{format}"));
    let get = |plugin: &Convert, accept: &str, format: &str, body: &str| {
        let (name, value) = media(format);
        let asked = request(Method::GET, &[("accept", accept)]);
        receive(plugin, &asked, &response(403, &[(name, &value)]), body).0.unwrap()
    };
    for convention in ["parker", "jsonml"] {
        let negotiate = plugin(serde_json::json!({ "responses": { "to": "negotiate" }, "convention": convention }));
        for accept in ["application/xml", "application/problem+xml", "text/xml, */*;q=0.1"] {
            let expected = ("application/problem+xml; charset=utf-8".to_owned(), xml.to_owned());
            assert_eq!(get(&negotiate, accept, "json", json), Some(expected), "{accept}");
            assert_eq!(get(&negotiate, accept, "xml", xml), None, "{accept}");
        }
        let expected = ("application/problem+json; charset=utf-8".to_owned(), json.to_owned());
        assert_eq!(get(&negotiate, "application/json", "xml", xml), Some(expected));
        assert_eq!(get(&negotiate, "application/json", "json", json), None);
    }
    let to_json = plugin(serde_json::json!({ "responses": { "to": "json" } }));
    assert_eq!(get(&to_json, "*/*", "xml", xml).unwrap().1, json);
    let prefixed = xml.replace("<problem xmlns=", "<p:problem xmlns:p=").replace("</problem", "</p:problem");
    assert_eq!(get(&to_json, "*/*", "xml", &prefixed).unwrap().1, json);
}

#[test]
fn a_broken_response_is_a_bad_gateway() {
    let to_json = plugin(serde_json::json!({ "responses": { "to": "json" } }));
    let to_xml = plugin(serde_json::json!({ "responses": { "to": "xml" } }));
    let get = request(Method::GET, &[]);
    for body in ["<a>secret</b>", "<!DOCTYPE a><a/>", "not XML", "<a>&x;</a>"] {
        assert_eq!(receive(&to_json, &get, &response(200, &[XML]), body).0, Err(502), "{body}");
    }
    for body in ["{", "[1]", r#"{"a":"\u0000"}"#, r#"{"a":1,"a":2}"#] {
        assert_eq!(receive(&to_xml, &get, &response(200, &[JSON]), body).0, Err(502), "{body}");
    }
}
