//! A value of its own in each place that holds something secret, every way in which a request can end, and a look at
//! everything that is written: none of them is anywhere, but where it is meant to be.

use std::fs;
use std::net::TcpListener;

use tempfile::TempDir;

use crate::harness::{Diagnostics, Gate, Message, Origin, Proxy, guest};
use crate::main_job::KEY;

/// Secrets that clients bring.
const IN_KEY: &str = "canary-of-a-wrong-key";
const IN_BEARER: &str = "canary-of-a-bearer-token";
const IN_COOKIE: &str = "canary-of-a-cookie";
const IN_QUERY: &str = "canary-of-a-query";
const IN_BODY: &str = "canary-of-a-body";
const IN_MEMBER: &str = "canary-of-a-member";
const IN_HEADER: &str = "canary-of-a-header";

/// What upstreams say: some for clients, some for nobody.
const OF_UPSTREAM: &str = "canary-of-an-upstream";
const IN_ANSWER: &str = "canary-for-the-client";

/// Secrets of the configuration.
const IN_FILE: &str = "canary-of-a-file";
const IN_NEXT_FILE: &str = "canary-of-the-next-file";
const DIGEST: &str = "102505fad4af93f9f14554c6f219ad49b020adfdddd71bb7b2989be7dfcabce2";

/// What a plugin says when it traps: `guests/examples/trap.rs`.
const IN_TRAP: &str = "secret words";

/// Everything that was written while the proxy ran.
struct Written(Vec<(String, String)>);

impl Written {
    /// Fails where this stands somewhere else than in these places.
    fn only_in(&self, secret: &str, meant: &[&str]) {
        for (place, text) in &self.0 {
            if !meant.iter().any(|meant| place.starts_with(meant)) {
                assert!(!text.contains(secret), "{secret} in {place}:\n{text}");
            }
        }
    }
}

/// A route for each way to end. The upstream that answers is `origin`; `gone` is a port where nobody listens.
fn config(origin: &Origin, gone: u16, folder: &TempDir) -> String {
    format!(
        r#"
        log.level = "trace"

        [upstream.o]
        endpoints = ["{url}"]
        timeouts = {{ response-header = "300ms", idle = "300ms" }}

        [upstream.gone]
        endpoints = ["http://127.0.0.1:{gone}"]

        [plugin.keys]
        component = "api-key"
        limits.time = "5s"
        [plugin.keys.config]
        keys = [{{ consumer = "alice", sha256 = "{DIGEST}" }}]
        query = "api_key"
        cookie = "session"

        [plugin.schema]
        component = "validate"
        config.body.schema = {{ type = "object", properties = {{ q = {{ type = "string", maxLength = 3 }} }}, additionalProperties = false }}
        limits.time = "5s"

        [plugin.once]
        component = "rate-limit"
        config = {{ limit = 1, window = "1h", key = "header:x-limited" }}
        limits.time = "5s"

        [plugin.secret]
        component = "headers"
        config.request.set = {{ authorization = "Bearer ${{file:{secret}}}" }}
        limits.time = "5s"

        [plugin.trap]
        component = "trap"
        config.at = "request"
        limits.time = "5s"

        [plugin.late-trap]
        component = "trap"
        config.at = "response-body"
        limits.time = "5s"

        [plugin.spin]
        component = "spin"
        config.at = "request"
        limits.time = "20ms"

        [plugin.stall]
        component = "stall"
        config.at = "request"
        limits.time = "20ms"

        [route.api]
        path-prefix = "/api"
        methods = ["GET", "POST"]
        chain = ["keys", "schema", "secret"]
        upstream = "o"

        [route.limited]
        path = "/limited"
        chain = ["once"]
        upstream = "o"

        [route.trap]
        path = "/trap"
        chain = ["trap"]
        upstream = "o"

        [route.late-trap]
        path = "/late-trap"
        chain = ["late-trap"]
        upstream = "o"

        [route.spin]
        path = "/spin"
        chain = ["spin"]
        upstream = "o"

        [route.stall]
        path = "/stall"
        chain = ["stall"]
        upstream = "o"

        [route.gone]
        path = "/gone"
        upstream = "gone"

        [route.upstream]
        path-prefix = "/upstream"
        upstream = "o"
        body-size = "1KiB"
        "#,
        url = origin.url(),
        secret = folder.path().join("secret").display(),
    )
}

/// An upstream that tells about itself whatever it can, and breaks as the path asks it to.
fn telling(hold: &Gate) -> Origin {
    let hold = hold.clone();
    Origin::start(move |request| {
        let host = request.header("host").unwrap_or_default();
        let fields = format!(
            "server: {OF_UPSTREAM}\r\nx-powered-by: {OF_UPSTREAM}\r\nvia: 1.1 {OF_UPSTREAM}\r\nx-backend-server: {OF_UPSTREAM}\r\n\
             x-served-by: {OF_UPSTREAM}\r\nlocation: http://{host}/next\r\nset-cookie: session={IN_ANSWER}; Domain=127.0.0.1\r\n"
        );
        let path = request.target().split('?').next().unwrap_or_default();
        let (status, body) = match path {
            "/upstream/error" => ("500 Oops".to_owned(), OF_UPSTREAM),
            "/upstream/reason" => (format!("503 {OF_UPSTREAM}"), OF_UPSTREAM),
            "/upstream/two-lengths" => (format!("200 OK\r\ncontent-length: 1\r\nx-a: {OF_UPSTREAM}"), OF_UPSTREAM),
            "/upstream/no-http" => return format!("{OF_UPSTREAM}\r\n\r\n").into_bytes(),
            "/upstream/bad-field" => return format!("HTTP/1.1 200 OK\r\n{OF_UPSTREAM}\r\n\r\n").into_bytes(),
            "/upstream/cut" => {
                return format!("HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{IN_ANSWER}").into_bytes();
            }
            "/upstream/silent" => {
                hold.pass();
                return Vec::new();
            }
            _ => ("200 OK".to_owned(), IN_ANSWER),
        };
        format!("HTTP/1.1 {status}\r\n{fields}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    })
}

#[test]
fn no_way_out_tells_a_secret() {
    let diagnostics = Diagnostics::listen();
    let folder = TempDir::new().expect("a folder");
    let secret = folder.path().join("secret");
    fs::write(&secret, IN_FILE).expect("a file");
    let hold = Gate::default();
    let origin = telling(&hold);
    // Bound for as long as the test runs, and nobody listens there.
    let gone = socket_of_nobody();
    let config = config(&origin, gone.1, &folder);
    let components = ["trap", "spin", "stall"].map(|name| (name, guest(name)));
    let proxy = Proxy::start_heard(&config, &components, &diagnostics);
    let mut written = Written(Vec::new());

    let bearer = format!("Bearer {IN_BEARER}");
    let cookies = format!("other={IN_COOKIE}; another={IN_COOKIE}");
    let session = format!("session={IN_COOKIE}");
    let fields = [("authorization", bearer.as_str()), ("x-custom", IN_HEADER), ("x-limited", IN_HEADER)];
    let body = format!("{{\"q\":\"{IN_BODY}\"}}");
    let unknown = format!("{{\"{IN_MEMBER}\":1}}");
    let json = ("content-type", "application/json");
    let large = IN_BODY.repeat(100);
    let query = format!("?token={IN_QUERY}&password={IN_QUERY}&code={IN_QUERY}");
    let by_query = format!("?api_key={IN_KEY}");
    let key = ("x-api-key", KEY);
    let wrong = ("x-api-key", IN_KEY);
    let cookie = ("cookie", cookies.as_str());
    for (what, method, target, more, body, status) in [
        ("success", "GET", format!("/api{query}"), vec![key, cookie], "", 200),
        ("success with a body", "POST", "/api".into(), vec![key, json], r#"{"q":"tea"}"#, 200),
        ("no key", "GET", format!("/api{query}"), vec![], "", 401),
        ("a wrong key", "GET", "/api".into(), vec![wrong], "", 401),
        ("a wrong key in the query", "GET", format!("/api{by_query}"), vec![], "", 401),
        ("a wrong key in a cookie", "GET", "/api".into(), vec![("cookie", session.as_str())], "", 401),
        ("two keys", "GET", "/api".into(), vec![key, ("cookie", session.as_str())], "", 400),
        ("a body against the schema", "POST", "/api".into(), vec![key, json], &body, 400),
        ("an unknown member", "POST", "/api".into(), vec![key, json], &unknown, 400),
        ("no JSON", "POST", "/api".into(), vec![key, json], IN_BODY, 400),
        ("another type", "POST", "/api".into(), vec![key, ("content-type", "text/plain")], &body, 415),
        ("the last of its quota", "GET", "/limited".into(), vec![cookie], "", 200),
        ("beyond its quota", "GET", "/limited".into(), vec![cookie], "", 429),
        ("a trap", "GET", format!("/trap{query}"), vec![key, cookie], "", 500),
        ("a trap with a body", "POST", "/late-trap".into(), vec![key, cookie], IN_BODY, 500),
        ("a plugin that spins", "GET", format!("/spin{query}"), vec![key, cookie], "", 500),
        ("a plugin that stalls", "GET", format!("/stall{query}"), vec![key, cookie], "", 500),
        ("nobody listens", "GET", format!("/gone{query}"), vec![key, cookie], "", 502),
        ("an error behind", "POST", "/upstream/error".into(), vec![key, cookie], IN_BODY, 500),
        ("its own words for it", "GET", "/upstream/reason".into(), vec![key, cookie], "", 503),
        ("two ends", "GET", "/upstream/two-lengths".into(), vec![key, cookie], "", 502),
        ("no HTTP", "GET", "/upstream/no-http".into(), vec![key, cookie], "", 502),
        ("no field", "GET", "/upstream/bad-field".into(), vec![key, cookie], "", 502),
        ("silence", "POST", format!("/upstream/silent{query}"), vec![key, cookie], IN_BODY, 504),
        ("a body that is too long", "POST", "/upstream".into(), vec![key, cookie], &large, 413),
        ("no route", "GET", format!("/nowhere{query}"), vec![key, cookie], "", 404),
        ("another method", "DELETE", format!("/api{query}"), vec![key, cookie], "", 405),
        (
            "the secret in the path",
            "GET",
            format!("/upstream/{IN_FILE}/x?q={IN_FILE}"),
            vec![("user-agent", IN_FILE)],
            "",
            200,
        ),
    ] {
        let fields: Vec<_> = fields.iter().copied().chain(more).collect();
        let response = proxy.client().request(method, &target, &fields, body.as_bytes());
        assert_eq!(response.status(), status, "{what}: {response:?}");
        let place = if status == 200 { "an answer" } else { "a refusal" };
        written.0.push((format!("{place} to {what}"), shown(&response)));
    }
    let sent: Vec<_> =
        origin.seen().iter().filter_map(|seen| seen.header("authorization").map(str::to_owned)).collect();
    assert!(sent.contains(&format!("Bearer {IN_FILE}")), "the upstream gets the secret: {sent:?}");
    for (what, bytes) in bad_requests() {
        let mut client = proxy.client();
        client.send(bytes);
        let response = client.response();
        assert!([400, 405, 417, 431, 501, 505].contains(&response.status()), "{what}: {response:?}");
        written.0.push((format!("a refusal of {what}"), shown(&response)));
    }
    // Half of an answer, and a client that leaves in the middle of its body.
    let mut cut = proxy.client();
    cut.send(format!("GET /upstream/cut HTTP/1.1\r\nhost: a\r\nx-api-key: {IN_KEY}\r\n\r\n"));
    assert!(cut.try_response().is_none(), "half of a body");
    let mut leaving = proxy.client();
    leaving.send(format!(
        "POST /upstream HTTP/1.1\r\nhost: a\r\ncontent-length: 999\r\ncookie: a={IN_COOKIE}\r\n\r\n{IN_BODY}"
    ));
    drop(leaving);
    hold.open();

    // Another secret, in the place of the first one, in a configuration that is refused, and then in one that is not.
    fs::write(&secret, IN_NEXT_FILE).expect("a file");
    let limit = config.replace("limit = 1, window", &format!("limit = \"${{file:{}}}\", window", secret.display()));
    let why = proxy.reload(&limit).expect_err("a limit is a number");
    written.0.push(("a refused configuration".into(), why));
    proxy.reload(&config).expect("a right configuration");
    let path = format!("/upstream/{IN_NEXT_FILE}?q={IN_NEXT_FILE}");
    written.0.push(("an answer after the reload".into(), shown(&proxy.get(&path))));

    for page in ["/metrics", "/state", "/readyz", &format!("/{IN_FILE}")] {
        written.0.push((page.to_owned(), shown(&proxy.admin(page))));
    }
    let (_, log) = proxy.drain();
    let reasons: std::collections::BTreeSet<String> = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["reason"].to_string())
        .collect();
    assert!(reasons.len() >= 20, "most ways to end are taken: {reasons:?}");
    assert!(log.contains("REDACTED"), "{log}");
    let said = diagnostics.text();
    for words in ["trap", "the configuration is refused", "the configuration was reloaded"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    written.0.push(("the access log".into(), log));
    written.0.push(("the other log".into(), said));

    for secret in [IN_KEY, IN_BEARER, IN_COOKIE, IN_QUERY, IN_BODY, IN_HEADER, KEY, DIGEST, OF_UPSTREAM] {
        written.only_in(secret, &[]);
    }
    for secret in [IN_FILE, IN_NEXT_FILE] {
        written.only_in(secret, &[]);
    }
    written.only_in(IN_ANSWER, &["an answer"]);
    // Whoever sent a member that nobody knows is told which one.
    written.only_in(IN_MEMBER, &["a refusal to an unknown member"]);
    // Operators may read what a plugin said, where a file is, and which server was asked.
    written.only_in(IN_TRAP, &["the other log"]);
    written.only_in(&folder.path().display().to_string(), &["the other log", "a refused configuration"]);
    for address in [origin.address().to_string(), format!("127.0.0.1:{}", gone.1)] {
        written.only_in(&address, &["the access log", "the other log", "/state"]);
    }
}

/// Requests that are none, each with secrets in it.
fn bad_requests() -> Vec<(&'static str, String)> {
    let head = format!(
        "GET /api?token={IN_QUERY} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {IN_BEARER}\r\nx-api-key: {IN_KEY}\r\n"
    );
    let body = format!("POST /upstream HTTP/1.1\r\nhost: a\r\ncookie: a={IN_COOKIE}\r\n");
    vec![
        ("a field without a colon", format!("{head}{IN_COOKIE}\r\n\r\n")),
        ("two hosts", format!("{head}host: {IN_HEADER}\r\n\r\n")),
        ("a control byte", format!("{head}cookie: {IN_COOKIE}\u{1}\r\n\r\n")),
        ("two lengths", format!("{body}content-length: 4\r\ncontent-length: 5\r\n\r\n{IN_BODY}")),
        ("another coding", format!("{body}transfer-encoding: {IN_HEADER}\r\n\r\n{IN_BODY}")),
        ("chunks that are none", format!("{body}transfer-encoding: chunked\r\n\r\n{IN_BODY}\r\n")),
        ("a path", format!("GET /api/%00?token={IN_QUERY} HTTP/1.1\r\nhost: a\r\ncookie: {IN_COOKIE}\r\n\r\n")),
        ("an expectation", format!("{body}expect: {IN_HEADER}\r\ncontent-length: 4\r\n\r\nbody")),
        ("a method", format!("TRACE /api?token={IN_QUERY} HTTP/1.1\r\nhost: a\r\ncookie: {IN_COOKIE}\r\n\r\n")),
        ("a version", format!("GET / HTTP/3.7\r\nhost: a\r\ncookie: {IN_COOKIE}\r\n\r\n")),
        ("a head", format!("{head}x-long: {}\r\n\r\n", IN_HEADER.repeat(6000))),
    ]
}

fn shown(message: &Message) -> String {
    format!("{message:?}")
}

/// A port that is taken, and on which nobody accepts: connections are refused.
fn socket_of_nobody() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    // Bound again, to the address beside it, so that nobody else is given the port as a free one.
    (TcpListener::bind(("127.0.0.2", port)).expect("the same port"), port)
}
