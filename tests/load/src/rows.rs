//! What is measured, and beside what.

use crate::drive::Request;
use crate::keys::KEY;
use crate::upstream::{ECHO, SIZES};
use crate::websocket;

/// Whose time is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Nginx,
    Tollgate,
}

/// One load on one proxy. Rows name targets, and each is measured once in a round.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) side: Side,
    pub(crate) way: Way,
    pub(crate) request: Request,
}

/// How requests come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// HTTP/1.1 over so many kept connections.
    Kept(usize),
    /// The same within TLS 1.3.
    Tls,
    /// A full TLS 1.3 handshake for each request.
    Handshakes,
    /// HTTP/2 within TLS, 16 streams on each of four connections, by `h2load`.
    Http2,
    /// So many requests each second.
    Rate(u32),
}

/// One line of the table: our target beside another.
pub(crate) struct Row {
    pub(crate) title: &'static str,
    pub(crate) ours: &'static str,
    pub(crate) beside: &'static str,
    pub(crate) goal: Goal,
}

/// What a row compares, and which value it should reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Goal {
    /// Our CPU time for a request as a part of the other's, at most this.
    Cost(f64),
    /// Microseconds of CPU that ours takes more, at most this.
    Over(f64),
    /// The same where ours has so many plugins more: microseconds for each of them, at most this.
    Each(f64, f64),
    /// Our requests a second as a multiple of the other's, at least this.
    Rate(f64),
    /// Our 99th percentile as a multiple of the other's, at most this.
    P99(f64),
}

/// A body of 1 KiB for the schema that Tollgate has.
fn order() -> String {
    let item =
        |number: u32| format!(r#"{{"sku":"TEA-{number:04}","quantity":{},"price":{}.5}}"#, number % 9 + 1, number);
    let items: Vec<String> = (1..=16).map(item).collect();
    let before = format!(
        r#"{{"id":"ORD-0001","customer":{{"name":"Alice Example","mail":"alice@example.com"}},"items":[{}],"note":""#,
        items.join(",")
    );
    let note = "n".repeat((1 << 10) - before.len() - 2);
    format!("{before}{note}\"}}")
}

fn get(path: &str) -> Request {
    let mut headers: Vec<(String, String)> = [
        ("host", "api.example.com"),
        ("user-agent", "tollgate-load/1"),
        ("accept", "application/json"),
        ("accept-encoding", "identity"),
        ("accept-language", "en"),
        ("x-api-key", KEY),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    headers.extend((1..=5).map(|number| (format!("x-tenant-{number}"), format!("tenant-{number}"))));
    let last = path.rsplit('/').next().unwrap_or_default();
    let length = SIZES.iter().find(|(name, _)| *name == last).map(|(_, size)| *size as u64);
    Request {
        method: "GET".into(),
        path: path.into(),
        headers,
        body: String::new(),
        size: 0,
        status: 200,
        length,
        message: 0,
    }
}

fn post(path: &str, body: String) -> Request {
    let mut request = get(path);
    request.method = "POST".into();
    request.headers.push(("content-type".into(), "application/json".into()));
    request.body = body;
    request
}

fn upload(path: &str, size: usize) -> Request {
    let mut request = get(path);
    request.method = "POST".into();
    request.headers.push(("content-type".into(), "application/octet-stream".into()));
    request.size = size;
    request
}

/// A connection that goes on with WebSocket, and messages of so many bytes that come back.
fn echo(message: u16) -> Request {
    let mut request = get(&format!("/socket/{ECHO}"));
    let handshake = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", websocket::KEY),
    ];
    request.headers.extend(handshake.map(|(name, value)| (name.to_owned(), value.to_owned())));
    (request.status, request.message) = (101, message);
    request
}

/// The same request without a header.
fn without(mut request: Request, header: &str, status: u16) -> Request {
    request.headers.retain(|(name, _)| name != header);
    (request.status, request.length) = (status, None);
    request
}

/// Requests that must be answered as they say before anything is measured: what is compared really does its work.
pub(crate) fn probes() -> Vec<(Side, Request)> {
    let mut probes = Vec::new();
    let refused = post("/json/1k", order().replace("\"id\"", "id"));
    let refused = Request { status: 400, length: None, ..refused };
    for side in [Side::Nginx, Side::Tollgate] {
        probes.push((side, without(get("/key/1k"), "x-api-key", 401)));
        probes.push((side, without(get("/one/1k"), "x-tenant-1", 400)));
        for number in 1..=5 {
            probes.push((side, without(get("/five/1k"), &format!("x-tenant-{number}"), 400)));
        }
        probes.push((side, refused.clone()));
    }
    probes.push((Side::Nginx, without(get("/word/1k"), "x-api-key", 401)));
    probes.push((Side::Tollgate, without(get("/fresh/1k"), "x-api-key", 401)));
    probes.push((Side::Tollgate, without(get("/large-chain/1k"), "x-api-key", 401)));
    let unknown = post("/json/1k", order().replace("\"mail\"", "\"male\""));
    probes.push((Side::Tollgate, Request { status: 400, length: None, ..unknown }));
    probes
}

/// The request of the plain pass.
pub(crate) fn plain() -> Request {
    get("/plain/1k")
}

/// The request that passes one plugin.
pub(crate) fn key() -> Request {
    get("/key/1k")
}

/// The request that passes five.
pub(crate) fn five() -> Request {
    get("/five/1k")
}

/// The request that passes the plugin that does nothing.
pub(crate) fn nothing() -> Request {
    get("/nothing/1k")
}

/// A large body down and one up, past a chain.
pub(crate) fn large(size: usize) -> [Request; 2] {
    let down = SIZES.iter().find(|(_, bytes)| *bytes == size).map_or("1m", |(name, _)| *name);
    [get(&format!("/large-chain/{down}")), upload("/large-chain/1k", size)]
}

/// Everything that is measured. Those that are compared stand beside each other, since the machine's pace wanders.
pub(crate) fn targets() -> Vec<Target> {
    use Side::{Nginx, Tollgate};
    use Way::{Handshakes, Http2, Kept, Rate, Tls};
    let target = |name, side, way, request| Target { name, side, way, request };
    let many = Kept(64);
    // Large bodies: enough connections to keep a core busy, few enough for the caches.
    let few = Kept(8);
    let (mib, ten) = (1 << 20, 10 << 20);
    vec![
        target("nginx plain", Nginx, many, get("/plain/1k")),
        target("plain", Tollgate, many, get("/plain/1k")),
        target("nothing", Tollgate, many, get("/nothing/1k")),
        target("nginx word", Nginx, many, get("/word/1k")),
        target("nginx key", Nginx, many, get("/key/1k")),
        target("key", Tollgate, many, get("/key/1k")),
        target("fresh", Tollgate, many, get("/fresh/1k")),
        target("nginx one", Nginx, many, get("/one/1k")),
        target("one", Tollgate, many, get("/one/1k")),
        target("nginx five", Nginx, many, get("/five/1k")),
        target("five", Tollgate, many, get("/five/1k")),
        target("nginx json", Nginx, many, post("/json/1k", order())),
        target("json", Tollgate, many, post("/json/1k", order())),
        target("nginx tls", Nginx, Tls, get("/plain/1k")),
        target("tls", Tollgate, Tls, get("/plain/1k")),
        target("nginx handshakes", Nginx, Handshakes, get("/plain/1k")),
        target("handshakes", Tollgate, Handshakes, get("/plain/1k")),
        target("nginx http2", Nginx, Http2, get("/plain/1k")),
        target("http2", Tollgate, Http2, get("/plain/1k")),
        target("nginx 1m down", Nginx, few, get("/large/1m")),
        target("1m down", Tollgate, few, get("/large/1m")),
        target("1m down chain", Tollgate, few, get("/large-chain/1m")),
        target("nginx 10m down", Nginx, few, get("/large/10m")),
        target("10m down", Tollgate, few, get("/large/10m")),
        target("10m down chain", Tollgate, few, get("/large-chain/10m")),
        target("nginx 1m up", Nginx, few, upload("/large/1k", mib)),
        target("1m up", Tollgate, few, upload("/large/1k", mib)),
        target("1m up chain", Tollgate, few, upload("/large-chain/1k", mib)),
        target("nginx 10m up", Nginx, few, upload("/large/1k", ten)),
        target("10m up", Tollgate, few, upload("/large/1k", ten)),
        target("10m up chain", Tollgate, few, upload("/large-chain/1k", ten)),
        target("nginx echo", Nginx, many, echo(128)),
        target("echo", Tollgate, many, echo(128)),
        target("nginx steady", Nginx, Rate(2000), get("/five/1k")),
        target("steady", Tollgate, Rate(2000), get("/five/1k")),
    ]
}

/// The table.
pub(crate) fn rows() -> Vec<Row> {
    let row = |title, ours, beside, goal| Row { title, ours, beside, goal };
    vec![
        row("plain pass, 1 KiB", "plain", "nginx plain", Goal::Cost(0.9)),
        row("one plugin: api-key, beside one Lua filter that does the same", "key", "nginx key", Goal::Cost(0.8)),
        row("… beside one that only compares words", "key", "nginx word", Goal::Cost(0.8)),
        row("five plugins, each counting a header, beside five Lua filters", "five", "nginx five", Goal::Cost(0.8)),
        row("a fresh instance for each request, over pooled", "fresh", "key", Goal::Over(8.0)),
        row("… its rate", "fresh", "key", Goal::Rate(0.5)),
        row("… its 99th percentile", "fresh", "key", Goal::P99(2.0)),
        row("JSON of 1 KiB validated, beside Lua that only parses it", "json", "nginx json", Goal::Cost(0.6)),
        row("a plugin that does nothing, over the plain pass", "nothing", "plain", Goal::Over(0.5)),
        row("each further plugin, of five", "five", "one", Goal::Each(4.0, 0.8)),
        row("TLS 1.3, kept", "tls", "nginx tls", Goal::Cost(1.0)),
        row("TLS 1.3, full handshakes", "handshakes", "nginx handshakes", Goal::Cost(0.5)),
        row("HTTP/2, 16 streams", "http2", "nginx http2", Goal::Cost(1.0)),
        row("1 MiB down", "1m down chain", "nginx 1m down", Goal::Rate(1.2)),
        row("… with a chain, to none", "1m down chain", "1m down", Goal::Rate(0.97)),
        row("10 MiB down", "10m down chain", "nginx 10m down", Goal::Rate(1.2)),
        row("1 MiB up", "1m up chain", "nginx 1m up", Goal::Rate(1.2)),
        row("10 MiB up", "10m up chain", "nginx 10m up", Goal::Rate(1.2)),
        row("… with a chain, to none", "10m up chain", "10m up", Goal::Rate(0.97)),
        row("WebSocket echo: a message of 128 bytes, over 64 tunnels", "echo", "nginx echo", Goal::Cost(1.0)),
        row("2,000 requests a second, five plugins: 99th percentile", "steady", "nginx steady", Goal::P99(1.0)),
    ]
}
