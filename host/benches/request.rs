//! What the steps of one request cost, each by itself: `cargo bench -p tollgate`.
//!
//! The head of the request is what browsers and API clients send: twelve fields.

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Method, Request};

use tollgate::authority::Scheme;
use tollgate::capability::kv;
use tollgate::capability::limiter::{Limiter, Sizes, Window};
use tollgate::client::Client;
use tollgate::config::{self, Config};
use tollgate::headers::{self, Direction, Forwarded, Kinds};
use tollgate::http1;
use tollgate::http1::framing::Length;
use tollgate::http1::head::{Limits, Lines, Scan};
use tollgate::path::canonical;
use tollgate::request_id::RequestIds;
use tollgate::router::{Asked, Router};

fn paths(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("canonical path");
    for (name, path) in [
        ("as it should be", "/v1/search/items/4711"),
        ("with escapes", "/v1/search/%41%2d%7e/caf%c3%a9"),
        ("with dot segments", "/v1/./search/../search//items/4711"),
    ] {
        group.bench_function(name, |bencher| bencher.iter(|| canonical(black_box(path), false).map(drop)));
    }
    group.finish();
}

fn routes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("find a route");
    let headers = head();
    for count in [10, 1_000] {
        let config = with_routes(count);
        let router = Router::new(config.routes.iter().map(|route| (route, ())));
        for (name, path) in [
            ("exact", format!("/v1/exact-{}", count / 4)),
            ("prefix", format!("/v1/prefix-{}/items/4711", count / 4)),
            ("none", "/v2/nothing".to_owned()),
        ] {
            let asked =
                Asked { method: &Method::GET, host: "api.example.com", path: &path, query: None, headers: &headers };
            assert_eq!(router.find(asked).is_ok(), name != "none");
            group.bench_function(format!("{name}, {count} routes"), |bencher| {
                bencher.iter(|| router.find(black_box(asked)).is_ok());
            });
        }
    }
    group.finish();
}

fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head");
    let mut request = Request::get("/v1/search?q=tea").body(()).expect("a request");
    *request.headers_mut() = head();
    let kinds = Kinds::of(request.headers());
    group.bench_function("check", |bencher| {
        bencher.iter(|| headers::check_request(black_box(&request), kinds, Scheme::Http).map(drop));
    });
    let limits = Limits { bytes: 64 << 10, fields: 100 };
    let mut bytes = Vec::from("GET /v1/search?q=tea HTTP/1.1\r\n");
    for (name, value) in &head() {
        bytes.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend_from_slice(b"\r\n");
    let bytes = Bytes::from(bytes);
    group.bench_function("read", |bencher| {
        bencher.iter(|| {
            let mut lines = Lines::new();
            let found = Scan::default().request(black_box(&bytes), limits.bytes, &mut lines).expect("a good head");
            assert_eq!(found, Some((0, bytes.len())));
            http1::head::request(&bytes, &lines, limits).expect("a good head")
        });
    });
    let client = Client::direct(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)));
    let request_id = RequestIds::new().next();
    let (scheme, authority) = (Scheme::Http, "api.example.com");
    let forwarded = Forwarded { client: &client, scheme, authority, request_id: &request_id };
    let mut out = Vec::with_capacity(4 << 10);
    group.bench_function("write, and say who it is from", |bencher| {
        bencher.iter(|| {
            out.clear();
            let line_and_headers = (request.method(), request.uri(), black_box(request.headers()));
            http1::write::request(&mut out, line_and_headers, None, |out| forwarded.write(out), Length::None);
        });
    });
    group.bench_function("strip", |bencher| {
        bencher.iter_batched(
            head,
            |mut headers| {
                headers::strip_hop_by_hop(&mut headers, Direction::Request);
                headers::strip_spoofable(&mut headers, false);
                headers::join_cookies(&mut headers);
                headers
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("a field that a plugin sets", |bencher| {
        bencher.iter(|| headers::plugin_field(black_box("x-consumer-id"), black_box(b"alice")));
    });
    group.finish();
}

fn stores(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stores");
    let limiter = Limiter::new(Sizes::default());
    let buckets = limiter.plugin("per-minute");
    let window = |period_ms| Window { limit: 1_000_000_000, period_ms, burst: 1_000_000_000 };
    for windows in [1, 2] {
        let windows: Vec<Window> = (1..=windows).map(|number| window(number * 60_000)).collect();
        let bucket = buckets.open("bench", &windows).expect("good windows");
        group.bench_function(format!("limiter, windows: {}", windows.len()), |bencher| {
            bencher.iter(|| bucket.take(black_box("alice"), 1, Instant::now()));
        });
    }
    let stores = kv::Stores::new(kv::Quota::default());
    let store: Arc<kv::Store> = stores.open("counts");
    group.bench_function("kv increment", |bencher| {
        bencher.iter(|| store.increment(black_box("tenant-1"), 1, None, Instant::now()));
    });
    group.finish();
}

fn head() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "api.example.com"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, deflate, br"),
        ("accept-language", "en-GB,en;q=0.5"),
        ("content-type", "application/json"),
        ("cookie", "session=0123456789abcdef"),
        ("origin", "https://app.example.com"),
        ("referer", "https://app.example.com/search"),
        ("x-api-key", "tg_EgOGusQG_wpWJhXqJNbv5nx0olkKwtL5aK5hBIHrb_3bVNfs"),
        ("x-tenant", "acme"),
        ("dnt", "1"),
    ] {
        headers.insert(name, value.parse().expect("a value"));
    }
    headers
}

/// So many routes, half of them exact.
fn with_routes(count: usize) -> Config {
    let mut text = String::from(
        "[listener.public]\naddress = \"127.0.0.1:8080\"\n[upstream.search]\nendpoints = [\"http://127.0.0.1:9\"]\n",
    );
    for number in 0..count / 2 {
        for (name, key) in [("exact", "path"), ("prefix", "path-prefix")] {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "[route.{name}-{number}]\n{key} = \"/v1/{name}-{number}\"\nupstream = \"search\"");
        }
    }
    config::parse::parse(&text, "bench.toml", Path::new("."), &|_: &str| None).expect("a good configuration")
}

criterion_group!(benches, paths, routes, heads, stores);
criterion_main!(benches);
