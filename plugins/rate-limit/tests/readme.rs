//! The example of the README is a configuration that works.

use std::collections::BTreeMap;

use tollgate_plugin_rate_limit::{Config, RateLimit};
use tollgate_sdk::Plugin;

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
        assert!(RateLimit::configure(config).is_ok(), "{name}");
    }
}
