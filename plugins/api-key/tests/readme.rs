//! The example of the README is a configuration that works.

use std::collections::BTreeMap;

use tollgate_plugin_api_key::{ApiKey, Config};
use tollgate_sdk::{Flow, Plugin, Request};

const README: &str = include_str!("../README.md");

/// The configurations of the example, by the plugin's name.
#[expect(clippy::unwrap_used, reason = "a panic is this test's failure")]
fn configs() -> BTreeMap<String, Config> {
    let example = README.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let file: toml::Table = example.parse().unwrap();
    let plugins = file["plugin"].as_table().unwrap().clone();
    plugins.into_iter().map(|(name, plugin)| (name, plugin["config"].clone().try_into().unwrap())).collect()
}

#[test]
fn every_example_is_taken() {
    let configs = configs();
    assert!(configs.len() > 1);
    for (name, config) in configs {
        assert!(ApiKey::configure(config).is_ok(), "{name}");
    }
}

/// The first example's key passes, and no other does.
#[test]
fn the_example_key_is_the_one_of_its_digest() {
    let plugin = ApiKey::configure(configs().remove("keys").unwrap()).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    let request = |key: &str| Request::from(&http::Request::get("/").header("x-api-key", key).body(()).unwrap());
    let key = README.split("The digest of ").nth(1).unwrap().split(':').next().unwrap();
    assert!(matches!(plugin.on_request(&request(key)), Flow::Edit(_)));
    assert!(matches!(plugin.on_request(&request("another")), Flow::Refuse(_)));
}
