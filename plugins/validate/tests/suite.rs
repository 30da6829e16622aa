//! The official JSON-Schema-Test-Suite for draft 2020-12, through the plugin itself: what a schema calls valid passes, and
//! what it calls invalid is refused.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tollgate_plugin_validate::{Config, Validate};
use tollgate_sdk::{BodyFlow, Plugin, Request};

#[test]
fn every_required_test_passes() {
    let (count, failed) = run(&folder("tests"), false);
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(count > 1000, "only {count} tests were found");
}

#[test]
fn formats_are_asserted_where_that_is_asked_for() {
    let (count, failed) = run(&folder("tests/format"), true);
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(count > 300, "only {count} tests were found");
}

#[test]
fn optional_tests_pass_too() {
    let (count, failed) = run(&folder("tests/optional"), false);
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(count > 100, "only {count} tests were found");
}

/// Runs every file of a folder, and tells how many tests there were and which of them failed.
fn run(folder: &Path, formats: bool) -> (usize, Vec<String>) {
    let schemas = schemas();
    let mut count = 0;
    let mut failed = Vec::new();
    for path in json_files(folder) {
        let file = path.file_name().expect("a file").to_string_lossy().into_owned();
        for group in read(&path).as_array().expect("a list of groups") {
            let description = group["description"].as_str().expect("a description");
            let config = json!({
                "body": { "schema-json": group["schema"].to_string() },
                "schemas": schemas,
                "formats": formats,
                "nul-characters": "allow",
            });
            let config: Config = serde_json::from_value(config).expect("a configuration");
            let plugin = Validate::configure(config);
            for test in group["tests"].as_array().expect("a list of tests") {
                count += 1;
                let name = format!("{file}: {description}: {}", test["description"].as_str().expect("a description"));
                let expected = test["valid"].as_bool().expect("a verdict");
                match &plugin {
                    Err(complaints) => failed.push(format!("{name}: {:?}", complaints.iter().next())),
                    Ok(plugin) if is_valid(plugin, &test["data"]) != expected => failed.push(name),
                    Ok(_) => {}
                }
            }
        }
    }
    (count, failed)
}

fn is_valid(plugin: &Validate, body: &Value) -> bool {
    let request = http::Request::post("/").header("content-type", "application/json").body(()).expect("a request");
    match plugin.on_request_body(&Request::from(&request), body.to_string().into_bytes(), None) {
        BodyFlow::Continue => true,
        BodyFlow::Refuse(problem) => {
            assert_eq!(problem.code(), "invalid-body");
            assert!(problem.faults().next().is_some(), "a refusal without a fault");
            false
        }
        other => panic!("{other:?}"),
    }
}

/// What the tests refer to: the suite's remote schemas and the meta-schema.
fn schemas() -> Map<String, Value> {
    let mut schemas = Map::new();
    for (at, base) in [("remotes", "http://localhost:1234"), ("metaschema", "https://json-schema.org/draft/2020-12")] {
        let folder = folder(at);
        for path in json_files_below(&folder) {
            let name = path.strip_prefix(&folder).expect("below it").to_string_lossy().replace('\\', "/");
            let name = if at == "metaschema" { name.trim_end_matches(".json").to_owned() } else { name };
            schemas.insert(format!("{base}/{name}"), json!({ "schema-json": read(&path).to_string() }));
        }
    }
    schemas
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite").join(name)
}

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect();
    files.sort();
    files
}

fn json_files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = json_files(folder);
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(json_files_below(&path));
        }
    }
    files
}

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).expect("a file");
    serde_json::from_str(&text).expect("JSON")
}
