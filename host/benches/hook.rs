//! What one hook call costs, from the request in the host's types to the request as edited: `cargo bench -p tollgate --bench hook`.
//!
//! The plugins are the built-in ones, each called as a chain calls it: leased from the pool, called under its limits,
//! its answer checked and applied, counted. The request has twelve fields.

use std::future::Future;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use criterion::{Criterion, criterion_group, criterion_main};
use http::Request;

use tollgate::authority::Scheme;
use tollgate::body::Body;
use tollgate::chain::{Caller, Chain, Flow, Link};
use tollgate::client::Client;
use tollgate::config;
use tollgate::error::Audience;
use tollgate::metrics::Metrics;
use tollgate::plugin::{Engine, Library, Plugin, Pool, Stores};
use tollgate::proxy_protocol::Source;
use tollgate::request_id::RequestIds;

/// The key of which the configuration below has the digest.
const KEY: &str = "tg_EgOGusQG_wpWJhXqJNbv5nx0olkKwtL5aK5hBIHrb_3bVNfs";

const CONFIG: &str = r#"
listener.public.address = "127.0.0.1:8080"
upstream.backend.endpoints = ["http://127.0.0.1:8081"]
route.all = { path-prefix = "/", upstream = "backend" }

[plugin.continues]
component = "cors"
config.origins = ["https://app.example.com"]

[plugin.edits]
component = "headers"
config.request.set = { x-one = "1" }

[plugin.checks-key]
component = "api-key"
config.keys = [{ consumer = "alice", sha256 = "102505fad4af93f9f14554c6f219ad49b020adfdddd71bb7b2989be7dfcabce2" }]

[plugin.counts]
component = "rate-limit"
config = { limit = 1_000_000_000, window = "1m", key = "global" }

[plugin.checks-key-afresh]
component = "api-key"
isolation = "request"
config.keys = [{ consumer = "alice", sha256 = "102505fad4af93f9f14554c6f219ad49b020adfdddd71bb7b2989be7dfcabce2" }]
"#;

fn hooks(criterion: &mut Criterion) {
    let config = match config::parse::parse(CONFIG, "bench.toml", Path::new("."), &|_: &str| None) {
        Ok(config) => config,
        Err(problems) => panic!("{problems}"),
    };
    let engine = Arc::new(Engine::new(100, None).expect("an engine"));
    let mut library = Library::new(engine.clone(), None);
    let stores = Stores::default();
    let metrics = Metrics::default();
    let ids = RequestIds::new();
    let mut group = criterion.benchmark_group("one hook call");
    for (name, what) in [
        ("continues", "looks at one field and continues"),
        ("edits", "sets one field"),
        ("checks-key", "api-key: a digest, a look-up, an edit, an attribute"),
        ("counts", "rate-limit: a call of the limiter, and a memo"),
        ("checks-key-afresh", "api-key in a fresh instance"),
    ] {
        let spec = &config.plugin[name];
        let component = library.find(&spec.component).expect("it compiles").expect("a built-in");
        let plugin = now(Plugin::load(&engine, &component, spec, &stores)).expect("it takes its configuration");
        let pool = Rc::new(Pool::new(Arc::new(plugin), metrics.plugin(name)));
        let chain = Chain::new(vec![Link::new(pool, &metrics.route("all"), name)], false);
        group.bench_function(what, |bencher| {
            bencher.iter_batched(
                || (request(), caller(&ids)),
                |(request, caller)| {
                    let flow = now(chain.begin(caller).on_request(black_box(Box::new(request))));
                    assert!(matches!(flow, Ok(Flow::Continue(_))), "the request goes on");
                    flow
                },
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn request() -> Request<Body> {
    let mut request = Request::get("/v1/search?q=tea").header("x-api-key", KEY).header("host", "api.example.com");
    for number in 0..10 {
        request = request.header(format!("x-field-{number}"), "some value of an ordinary length");
    }
    request.body(Body::Empty).expect("a request")
}

fn caller(ids: &RequestIds) -> Caller {
    Caller {
        client: Client::direct(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        source: Source::Unknown,
        scheme: Scheme::Https,
        authority: "api.example.com".to_owned(),
        audience: Audience::default(),
        request_id: ids.next(),
    }
}

/// The outcome of a future that does not wait, as those of built-in plugins never do.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("it waits"),
    }
}

criterion_group!(benches, hooks);
criterion_main!(benches);
