//! What a component is told to be before anybody uses it.

use std::path::PathBuf;
use std::sync::Arc;

use tollgate::plugin::{Engine, Inspection, LoadError, Origin};

use crate::harness::guest;

fn inspect(name: &str) -> Result<Inspection, LoadError> {
    let engine = Arc::new(Engine::new(1, Some(env!("COMPILED").as_ref())).expect("an engine"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(Inspection::of(&engine, name, Origin::File(PathBuf::new()), guest(name).into()))
}

#[test]
fn the_line_that_grants_what_it_imports() {
    let told = inspect("forbidden").expect("it can be inspected without a grant");
    assert!(told.capabilities.iter().any(|name| name == "kv"), "{told:?}");
    assert_eq!(told.grant.as_deref(), Some("grant = { kv = [\"NAME\"] }"));
    assert!(told.to_string().contains("needs    grant = { kv = [\"NAME\"] }"), "{told}");
    assert!(told.to_string().contains("store (required)"), "{told}");
    assert!(!told.waits, "{told:?}");
    assert_eq!(inspect("trap").expect("nothing is called but its schema").grant, None);
    assert!(inspect("stall").expect("it loads").waits);
    let streams = inspect("pieces").expect("it loads").hooks;
    assert!(["on-request-chunk", "on-response-chunk"].iter().all(|hook| streams.contains(hook)), "{streams:?}");
}

#[test]
fn what_knows_nothing_of_us_is_told_by_its_world() {
    for (name, world, place) in [
        ("proxy", "wasi:http/proxy 0.2", "service = \"NAME\""),
        ("service", "wasi:http/service 0.3", "service = \"NAME\""),
        ("middleware", "wasi:http/middleware 0.3", "chain = [\"NAME\"]"),
    ] {
        let told = inspect(name).expect("it can be inspected");
        assert_eq!((told.world, told.contract, told.grant.as_deref()), (Some(world), None, None), "{told:?}");
        assert!(told.to_string().starts_with(&format!("a {world} component")), "{told}");
        assert!(told.to_string().contains(place), "{told}");
    }
    for name in ["proxy-asks", "service-asks"] {
        let told = inspect(name).expect("it can be inspected without a grant");
        assert_eq!(told.grant.as_deref(), Some("grant = { http = [\"https://HOST\"] }"), "{told:?}");
    }
}
