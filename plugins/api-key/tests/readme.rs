//! The key that the README shows is the one whose digest stands in its example.

use tollgate_plugin_api_key::{ApiKey, Config};
use tollgate_sdk::{Flow, Plugin, Request};

const README: &str = include_str!("../README.md");

#[test]
fn the_example_key_is_the_one_of_its_digest() {
    let example = README.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let file: toml::Table = example.parse().unwrap();
    let config: Config = file["plugin"]["keys"]["config"].clone().try_into().unwrap();
    let plugin = ApiKey::configure(config).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    let request = |key: &str| Request::from(&http::Request::get("/").header("x-api-key", key).body(()).unwrap());
    let key = README.split("The digest of ").nth(1).unwrap().split(':').next().unwrap();
    assert!(matches!(plugin.on_request(&request(key)), Flow::Edit(_)));
    assert!(matches!(plugin.on_request(&request("another")), Flow::Refuse(_)));
}
