//! What subscribers of spans are told of a call, by a built-in plugin on the real engine.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Mutex;

use http::Request;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

use super::*;
use crate::authority::Scheme;
use crate::body::Body;
use crate::chain::{Caller, Chain};
use crate::client::Client;
use crate::error::Audience;
use crate::metrics::Metrics;
use crate::plugin::{Engine, Library, Plugin, Stores};
use crate::proxy_protocol::Source;
use crate::request_id::RequestIds;

const CONFIG: &str = r#"
listener.public.address = "127.0.0.1:8080"
upstream.backend.endpoints = ["http://127.0.0.1:8081"]
route.all = { path-prefix = "/", upstream = "backend" }
[plugin.one]
component = "headers"
config.request.set = { x-one = "1" }
"#;

/// The fields of all spans of hooks, together.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<BTreeMap<String, String>>>);

impl Subscriber for Told {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "tollgate::hook"
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        attributes.record(&mut self.clone());
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.lock().unwrap().insert(field.name().to_owned(), format!("{value:?}"));
    }
}

#[tokio::test]
async fn a_call_is_a_span_with_what_it_cost() {
    let config = crate::config::parse::parse(CONFIG, "a.toml", Path::new("."), &|_: &str| None).unwrap();
    let engine = Arc::new(Engine::new(10, None).unwrap());
    let component = Library::new(engine.clone(), None).find("headers").unwrap().unwrap();
    let plugin = Plugin::load(&engine, &component, &config.plugin["one"], &Stores::default()).await.unwrap();
    let metrics = Metrics::default();
    let pool = Rc::new(Pool::new(Arc::new(plugin), metrics.plugin("one")));
    let chain = Chain::new(vec![Link::new(pool, &metrics.route("all"), "one")], false);
    let caller = || Caller {
        client: Client::direct(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        source: Source::Unknown,
        scheme: Scheme::Https,
        authority: "api.example.com".to_owned(),
        audience: Audience::default(),
        request_id: RequestIds::new().next(),
    };
    let told = Told::default();
    let subscribed = tracing::subscriber::set_default(told.clone());
    assert!(chain.begin(caller()).on_request(Box::new(Request::new(Body::Empty))).await.is_ok());
    drop(subscribed);

    let told = told.0.lock().unwrap();
    assert_eq!((told["plugin"].as_str(), told["hook"].as_str()), ("\"one\"", "\"on-request\""), "{told:?}");
    for number in ["guest_ns", "bytes_out", "memory", "started_ns"] {
        assert!(told[number].parse::<u64>().is_ok_and(|value| value > 0), "{number}: {told:?}");
    }
    // It waited for nothing, and nothing failed.
    assert_eq!(told["idle_ns"], "0");
    assert!(!told.contains_key("failure") && told.contains_key("request") && told.contains_key("version"), "{told:?}");
}
