//! Where such components stand, and what is said where they cannot.

use crate::harness::{Origin, Proxy, guest};

/// Why this does not load.
fn why(routes: &str, plugin: &str, settings: &str) -> String {
    let origin = Origin::fine();
    let config = format!(
        r#"
        upstream.o.endpoints = ["{}"]
        {routes}
        [plugin.one]
        component = "{plugin}"
        {settings}
        "#,
        origin.url()
    );
    let components = if plugin == "headers" { Vec::new() } else { vec![(plugin, guest(plugin))] };
    Proxy::try_start(&config, &components).err().unwrap_or_else(|| panic!("{routes} {plugin} loads"))
}

const AT_THE_END: &str = "route.r = { path = \"/\", service = \"one\" }";
const IN_THE_MIDDLE: &str = "route.r = { path = \"/\", chain = [\"one\"], upstream = \"o\" }";

#[test]
fn a_service_stands_at_the_end() {
    for (component, world) in [("proxy", "wasi:http/proxy 0.2"), ("service", "wasi:http/service 0.3")] {
        let why = why(IN_THE_MIDDLE, component, "");
        assert!(why.contains(&format!("`one` is a {world} component, which answers by itself")), "{why}");
        assert!(why.contains("write service = \"one\" in place of the upstream"), "{why}");
    }
}

#[test]
fn a_middleware_stands_in_the_middle() {
    let why = why(AT_THE_END, "middleware", "");
    assert!(why.contains("`one` is a wasi:http/middleware 0.3 component, which needs something behind it"), "{why}");
    assert!(why.contains("chain = [\"one\"]"), "{why}");
    let upgrades = "route.r = { path = \"/\", chain = [\"one\"], upstream = \"o\", upgrade = [\"websocket\"] }";
    assert!(self::why(upgrades, "middleware", "").contains("goes on with another protocol"));
}

#[test]
fn a_plugin_with_hooks_is_no_service() {
    let why = why(AT_THE_END, "headers", "config.preset = \"api\"");
    assert!(why.contains("`one` is a plugin with hooks, which answers no requests"), "{why}");
}

#[test]
fn what_it_imports_has_to_be_granted() {
    for (component, client) in [("proxy-asks", "wasi:http/outgoing-handler"), ("service-asks", "wasi:http/client")] {
        let why = why(AT_THE_END, component, "");
        assert!(why.contains(&format!("imports `{client}`, which is not granted")), "{why}");
        assert!(why.contains("add: grant = { http = [\"https://HOST\"] }"), "{why}");
    }
}

#[test]
fn settings_of_hooks_mean_nothing() {
    for setting in ["config.a = 1", "record = { share = \"1%\" }"] {
        let why = why(AT_THE_END, "service", setting);
        let name = setting.split(['.', ' ']).next().expect("a name");
        assert!(why.contains(&format!("for which `{name}` means nothing")), "{why}");
    }
    assert!(why(AT_THE_END, "service", "on-failure = \"open\"").contains("remove on-failure"));
    assert!(why(AT_THE_END, "service", "rollout = { canary = \"5%\" }").contains("remove rollout"));
}

#[test]
fn a_route_has_one_end() {
    let both = "route.r = { path = \"/\", upstream = \"o\", service = \"one\" }";
    assert!(why(both, "service", "").contains("a route has upstream or service, not both"));
    let split = "route.r = { path = \"/\", service = \"one\", split = { upstream = \"o\", percent = 5 } }";
    assert!(why(split, "service", "").contains("a route has split or service, not both"));
    let upgrade = "route.r = { path = \"/\", service = \"one\", upgrade = [\"websocket\"] }";
    assert!(why(upgrade, "service", "").contains("a route has upgrade or service, not both"));
    let unknown = "route.r = { path = \"/\", service = \"on\" }";
    assert!(why(unknown, "service", "").contains("unknown plugin \"on\""));
}
