//! Chains whose order does not do what it was probably meant to do.
//!
//! `chains/*.toml` are configurations, each beside the report that it gets, `*.err`. After a change that is meant,
//! `BLESS=1 cargo test -p tollgate-tests chains` writes the reports again.

use std::fs;
use std::path::{Path, PathBuf};

use tollgate::config::Problems;
use tollgate::config::parse::parse;
use tollgate::server::{StartError, build};

use crate::harness::{Diagnostics, Origin, Proxy};

/// What `tollgate check` says of a file.
fn report(file: &Path) -> String {
    let name = file.file_name().expect("a file").to_string_lossy().into_owned();
    let text = fs::read_to_string(file).expect("a configuration");
    let mut config = parse(&text, &name, file, &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    config.plugins.cache = Some(PathBuf::from(env!("COMPILED")));
    match build(config) {
        Ok(warnings) => warnings.to_string(),
        Err(StartError::Problems(problems)) => problems.to_string(),
        Err(StartError::Machine(error)) => panic!("{error:#}"),
    }
}

#[test]
fn orders_that_make_no_sense_are_reported() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("chains");
    let mut files: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    assert!(files.len() >= 7, "only {}", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let (found, expected) = (report(&file), file.with_extension("err"));
        if std::env::var_os("BLESS").is_some() {
            fs::write(&expected, &found).expect("a report");
        } else if fs::read_to_string(&expected).unwrap_or_default() != found {
            wrong.push(format!("{} is reported as:\n{found}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        report(&Path::new(env!("CARGO_MANIFEST_DIR")).join("chains/fine.toml")),
        Problems::default().to_string()
    );
}

#[test]
fn they_stand_in_the_log_and_in_the_state() {
    let origin = Origin::fine();
    let config = format!(
        r#"
        upstream.o.endpoints = ["{}"]
        plugin.limit = {{ component = "rate-limit", config = {{ limit = 9, window = "1m" }}, limits.time = "5s" }}
        plugin.keys = {{ component = "api-key", config.keys = [], limits.time = "5s" }}
        route.a = {{ path-prefix = "/", chain = ["limit", "keys"], upstream = "o" }}
        "#,
        origin.url()
    );
    let diagnostics = Diagnostics::listen();
    let proxy = Proxy::start_heard(&config, &[], &diagnostics);
    let state: serde_json::Value = serde_json::from_str(&proxy.admin("/state").text()).expect("JSON");
    let warning = &state["config"]["warnings"][0];
    let message = "the plugin `limit` looks at the attribute `consumer`, which no plugin before it in the chain of route \
                   `a` sets";
    assert_eq!(warning["message"], message, "{state}");
    assert_eq!(warning["key"], "route.a.chain[0]");
    assert!(warning["at"].as_str().is_some_and(|at| at.contains("tollgate.toml:")), "{warning}");
    assert_eq!(warning["help"], "`keys` sets it: put it before `limit`");
    let log = diagnostics.text();
    let line = log.lines().find(|line| line.contains(message)).unwrap_or_else(|| panic!("{log}"));
    for words in ["put it before `limit`", "tollgate.toml:"] {
        assert!(line.contains(words), "{line}");
    }
    // In its right order, nothing is left of it.
    proxy.reload(&config.replace(r#""limit", "keys""#, r#""keys", "limit""#)).expect("it loads");
    let state: serde_json::Value = serde_json::from_str(&proxy.admin("/state").text()).expect("JSON");
    assert_eq!(state["config"]["warnings"], serde_json::json!([]));
}
