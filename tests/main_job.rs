//! The use that everything is made for: an API that speaks JSON to those who have a key, in front of a server that
//! speaks only XML and knows nothing of keys.

use crate::harness::{Client, Message, Origin, Proxy, answer};

/// Whose digest is in the configuration; an example that the documentation of `api-key` prints, too.
pub(crate) const KEY: &str = "tg_EgOGusQG_wpWJhXqJNbv5nx0olkKwtL5aK5hBIHrb_3bVNfs";

const XML: &str = "<results total=\"1\"><item>tea</item></results>";

/// The chain of the main job, with this many requests a minute.
pub(crate) fn config(origin: &Origin, limit: u32) -> String {
    format!(
        r#"
        [upstream.search]
        endpoints = ["{url}"]

        [plugin.pages]
        component = "cors"
        config.origins = ["https://app.example.com"]
        config.headers = ["x-api-key"]

        [plugin.keys]
        component = "api-key"
        config.keys = [{{ consumer = "alice", sha256 = "102505fad4af93f9f14554c6f219ad49b020adfdddd71bb7b2989be7dfcabce2" }}]

        [plugin.per-minute]
        component = "rate-limit"
        config = {{ limit = {limit}, window = "1m", key = "consumer" }}

        [plugin.schema]
        component = "validate"
        config.body.schema = {{ type = "object", required = ["q"], properties = {{ q = {{ type = "string" }} }} }}
        limits.time = "1s"

        [plugin.as-json]
        component = "convert"
        config.responses = {{ to = "json" }}
        limits.time = "1s"

        [route.search]
        path = "/v1/search"
        methods = ["GET", "POST"]
        chain = ["pages", "keys", "per-minute", "schema", "as-json"]
        upstream = "search"
        "#,
        url = origin.url(),
    )
}

fn start(limit: u32) -> (Origin, Proxy) {
    let origin = Origin::start(|_| answer("application/xml", XML));
    let proxy = Proxy::start(&config(&origin, limit), &[]);
    (origin, proxy)
}

fn search(client: &mut Client) -> Message {
    client.request("GET", "/v1/search?q=tea", &[("x-api-key", KEY)], b"")
}

#[test]
fn a_request_with_a_key_gets_the_xml_of_the_upstream_as_json() {
    let (origin, proxy) = start(100);
    let response = search(&mut proxy.client());
    assert_eq!(response.status(), 200, "{response:?}");
    assert!(response.header("content-type").is_some_and(|kind| kind.starts_with("application/json")), "{response:?}");
    assert_eq!(response.json(), serde_json::json!({ "results": { "@total": "1", "item": "tea" } }));
    assert_eq!(origin.last().target(), "/v1/search?q=tea");
}

#[test]
fn the_upstream_learns_who_it_is_and_not_the_key() {
    let (origin, proxy) = start(100);
    let claims = [("x-api-key", KEY), ("x-consumer-id", "root")];
    assert_eq!(proxy.client().request("GET", "/v1/search", &claims, b"").status(), 200);
    let request = origin.last();
    let consumers: Vec<_> = request.headers.iter().filter(|(name, _)| name == "x-consumer-id").collect();
    assert_eq!(consumers, [&("x-consumer-id".to_owned(), "alice".to_owned())]);
    assert!(!format!("{request:?}").contains(KEY), "{request:?}");
}

#[test]
fn without_a_right_key_nothing_reaches_the_upstream() {
    let (origin, proxy) = start(100);
    let none = proxy.get("/v1/search");
    assert_eq!((none.status(), none.code().as_str()), (401, "missing-credential"));
    assert!(none.header("www-authenticate").is_some(), "{none:?}");
    let last_changed = format!("{}x", &KEY[..KEY.len() - 1]);
    let wrong = ["guess", &last_changed, &KEY.to_uppercase(), &format!("{KEY}, {KEY}")].map(|key| {
        let response = proxy.client().request("GET", "/v1/search", &[("x-api-key", key)], b"");
        let mut body = response.json();
        body["request_id"].take();
        (response.status(), response.code(), body)
    });
    for one in &wrong {
        assert_eq!((one.0, one.1.as_str()), (401, "invalid-credential"));
        assert_eq!(one, &wrong[0], "all wrong keys get the same words");
    }
    assert!(origin.seen().is_empty());
}

#[test]
fn beyond_the_quota_is_429_with_the_time_to_come_back() {
    let (origin, proxy) = start(3);
    let mut client = proxy.client();
    for left in ["2", "1", "0"] {
        let response = search(&mut client);
        assert_eq!(response.status(), 200, "{response:?}");
        let told = response.header("ratelimit").expect("RateLimit").to_owned();
        assert!(told.contains(&format!("r={left};")), "{told}");
    }
    let refused = search(&mut client);
    assert_eq!((refused.status(), refused.code().as_str()), (429, "quota-exceeded"));
    let wait: u64 = refused.header("retry-after").expect("Retry-After").parse().expect("seconds");
    assert!((1..=20).contains(&wait), "a third of a minute gives one back: {wait}");
    assert_eq!(origin.seen().len(), 3);
}

#[test]
fn the_quota_survives_a_reload() {
    let (origin, proxy) = start(1);
    assert_eq!(search(&mut proxy.client()).status(), 200);
    let reloaded = config(&origin, 1).replace("[\"https://app.example.com\"]", "[\"https://other.example.com\"]");
    proxy.reload(&reloaded).expect("a right configuration");
    assert_eq!(search(&mut proxy.client()).status(), 429);
}

#[test]
fn a_body_against_the_schema_is_refused_with_its_place_and_without_its_values() {
    let (origin, proxy) = start(100);
    let json = [("x-api-key", KEY), ("content-type", "application/json")];
    let right = proxy.client().request("POST", "/v1/search", &json, br#"{"q":"tea"}"#);
    assert_eq!(right.status(), 200, "{right:?}");
    assert_eq!(origin.last().body, br#"{"q":"tea"}"#);

    for body in [&br#"{"q":["CANARY"]}"#[..], br#"{"q":7}"#, br#"{"#, br#"{"CANARY":"tea"}"#, b"\xff"] {
        let refused = proxy.client().request("POST", "/v1/search", &json, body);
        assert_eq!((refused.status(), refused.code().as_str()), (400, "invalid-body"), "{refused:?}");
        assert!(!refused.text().contains("CANARY"), "{}", refused.text());
    }
    let text = [("x-api-key", KEY), ("content-type", "text/plain")];
    assert_eq!(proxy.client().request("POST", "/v1/search", &text, b"{}").status(), 415);
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn what_no_route_takes_is_404_and_another_method_405() {
    let (origin, proxy) = start(100);
    let nothing = proxy.get("/v1/searching");
    assert_eq!((nothing.status(), nothing.code().as_str()), (404, "no-route"));
    let method = proxy.client().request("DELETE", "/v1/search", &[("x-api-key", KEY)], b"");
    assert_eq!((method.status(), method.code().as_str()), (405, "method-not-allowed"));
    let allowed = method.header("allow").expect("Allow").to_owned();
    assert!(allowed.contains("POST") && !allowed.contains("DELETE"), "{allowed}");
    assert!(origin.seen().is_empty());
}

#[test]
fn pages_of_the_chosen_origin_may_ask_and_read_refusals() {
    let (origin, proxy) = start(100);
    let asks = [
        ("origin", "https://app.example.com"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "x-api-key"),
    ];
    let preflight = proxy.client().request("OPTIONS", "/v1/search", &asks, b"");
    assert_eq!(preflight.status(), 204, "{preflight:?}");
    assert_eq!(preflight.header("access-control-allow-headers"), Some("x-api-key"));
    let refused = proxy.client().request("GET", "/v1/search", &asks[..1], b"");
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.header("access-control-allow-origin"), Some("https://app.example.com"));
    assert!(origin.seen().is_empty());
}

#[test]
fn the_server_behind_stays_hidden() {
    let origin = Origin::start(|request| {
        let host = request.header("host").unwrap_or_default().to_owned();
        if request.target().contains("broken") {
            let body = "panic at /srv/backend/main.c:12";
            let length = body.len();
            return format!("HTTP/1.1 500 Oops\r\nserver: backend/1.0\r\ncontent-length: {length}\r\n\r\n{body}")
                .into();
        }
        format!(
            "HTTP/1.1 302 Found\r\nserver: backend/1.0\r\nx-powered-by: backend\r\nlocation: http://{host}/v1/next\r\n\
             content-length: 0\r\n\r\n"
        )
        .into()
    });
    let proxy = Proxy::start(&config(&origin, 100), &[]);
    let response = search(&mut proxy.client());
    assert_eq!(response.status(), 302, "{response:?}");
    let location = response.header("location").expect("Location").to_owned();
    assert!(location.ends_with("/v1/next"), "{location}");
    let address = origin.url().replace("http://", "");
    let broken = proxy.client().request("GET", "/v1/search?broken", &[("x-api-key", KEY)], b"");
    assert_eq!(broken.status(), 500, "{broken:?}");
    assert_eq!(broken.code(), "upstream-status");
    for response in [response, broken] {
        let all = format!("{response:?}");
        assert!(!all.contains(&address) && !all.contains("backend"), "{all}");
    }
}

#[test]
fn one_connection_carries_many_requests_in_order() {
    let origin = Origin::start(|request| answer("text/plain", request.target()));
    let proxy = Proxy::start(
        &format!(
            "upstream.o.endpoints = [\"{}\"]\nroute.all = {{ path-prefix = \"/\", upstream = \"o\" }}",
            origin.url()
        ),
        &[],
    );
    let mut client = proxy.client();
    let all: String = (0..20).map(|n| format!("GET /{n} HTTP/1.1\r\nhost: a\r\n\r\n")).collect();
    client.send(all);
    for n in 0..20 {
        assert_eq!(client.response().text(), format!("/{n}"));
    }
}
