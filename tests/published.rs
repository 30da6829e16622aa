//! What was published stays as it was: the contract itself, and the components that were made for it.
//!
//! `guests/published/VERSION/` has the contract of each version without its comments, `contract.wit`, and
//! `everything.wasm`, which has every hook and calls every function of every capability; its source is
//! `guests/examples/everything.rs`, and it is built without the paths of a machine in it by
//! `RUSTFLAGS="-Clink-arg=-zstack-size=262144 --remap-path-prefix=$HOME=" cargo build --profile plugin --target
//! wasm32-wasip2 -p guests --example everything`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Origin, Proxy, answer};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn published() -> PathBuf {
    root().join("tests/guests/published")
}

/// The contract of `wit/`, without comments and blank lines, and its version.
fn contract() -> (String, String) {
    let mut files: Vec<_> =
        fs::read_dir(root().join("wit")).expect("the contract").map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "wit"));
    files.sort();
    let mut contract = String::new();
    let mut versions = Vec::new();
    for file in files {
        let name = file.file_name().expect("a file").to_string_lossy().into_owned();
        contract += &format!("// {name}\n");
        for line in fs::read_to_string(&file).expect("text").lines() {
            let line = line.split("//").next().unwrap_or_default().trim();
            if let Some(version) = line.strip_prefix("package tollgate:plugin@") {
                versions.push(version.trim_end_matches(';').to_owned());
            }
            if !line.is_empty() {
                contract += &format!("{line}\n");
            }
        }
    }
    versions.dedup();
    assert_eq!(versions.len(), 1, "one version in all files of wit/: {versions:?}");
    (contract, versions.remove(0))
}

#[test]
fn the_contract_is_what_was_published() {
    let (contract, version) = contract();
    let record = published().join(&version).join("contract.wit");
    if !record.exists() && std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(record.parent().expect("a folder")).expect("a folder");
        fs::write(&record, &contract).expect("a file");
    }
    let known = fs::read_to_string(&record).unwrap_or_else(|error| {
        panic!(
            "version {version} of the contract is not published yet ({error}). To publish it: run this test with BLESS=1, put \
             the component of tests/guests/examples/everything.rs, built as tests/published.rs says, beside \
             {record:?} as everything.wasm, and let `VERSION` in host/src/plugin/version.rs say {version}"
        )
    });
    let different = known.lines().zip(contract.lines()).find(|(known, now)| known != now);
    let different = different.map(|(known, now)| format!("\n  published: {known}\n  now:       {now}"));
    assert!(
        known == contract,
        "wit/ is not what was published as {version}, and components that were made for that are in use.{}\n\
         Where something was added, give it the next third number ({version} becomes the next patch), in the `package` line of \
         each file of wit/. Where something was changed or taken away, give it the next second number, keep wit/ as it was in a \
         folder of its own, and write what adapts the one to the other. Then publish the new version: this test says how",
        different.unwrap_or_else(|| "\n  one of them has more lines".to_owned())
    );
}

/// A proxy with a component of this version under this configuration, in front of an origin that says what it got.
fn start(component: &[u8], whole: bool) -> (Origin, Origin, Result<Proxy, String>) {
    let origin = Origin::start(|request| answer("text/plain", &format!("{} got", request.text())));
    let asked = Origin::fine();
    let config = format!(
        r#"
        upstream.o.endpoints = ["{}"]
        route.all = {{ path-prefix = "/", chain = ["all"], upstream = "o" }}
        [plugin.all]
        component = "everything"
        config = {{ whole = {whole}, url = "{}/a" }}
        limits.time = "5s"
        grant = {{ kv = ["sessions"], http = ["{}"] }}
        "#,
        origin.url(),
        asked.url(),
        asked.url(),
    );
    let proxy = Proxy::try_start(&config, &[("everything", component.to_vec())]);
    (origin, asked, proxy)
}

#[test]
fn components_of_every_published_version_run() {
    let mut folders: Vec<_> =
        fs::read_dir(published()).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    folders.sort();
    assert!(!folders.is_empty());
    for folder in folders {
        let what = folder.display();
        let component = fs::read(folder.join("everything.wasm")).unwrap_or_else(|error| panic!("{what}: {error}"));
        for whole in [true, false] {
            let (origin, asked, proxy) = start(&component, whole);
            let proxy = proxy.unwrap_or_else(|why| panic!("{what}: {why}"));
            let response = proxy.client().request("POST", "/a?b=c", &[("x-key", "k"), ("x-owned", "forged")], b"body");
            let request = origin.last();
            for (name, said) in [
                ("x-head", "POST http://api.test/a?b=c"),
                ("x-owned", "mine"),
                ("x-kv", "Ok((Some([49]), true, [\"a\", \"count\"], true))"),
                ("x-limiter", "Ok(true)"),
                ("x-crypto", "Ok(202) Ok(true) true false false"),
                ("x-metrics", "true true true"),
                ("x-http", "Ok(200) Ok(200)"),
            ] {
                assert_eq!(request.header(name), Some(said), "{what}: {name}");
            }
            assert_eq!(asked.seen().len(), 2, "{what}");
            assert_eq!((request.header("x-key"), request.target()), (None, "/a?changed=yes"), "{what}");
            let many: Vec<_> = request.headers.iter().filter(|(name, _)| name == "x-many").collect();
            assert_eq!(many.len(), 2, "{what}");
            assert_eq!(request.text(), "BODY with a memo", "{what}");
            assert_eq!(response.status(), 202, "{what}");
            assert_eq!(response.text(), "BODY WITH A MEMO GOT with a memo", "{what}");
            assert_eq!(response.header("x-told"), Some("by the request"), "{what}");
            assert_eq!(response.header("x-memo"), Some("a memo"), "{what}");
            assert_eq!(response.header("x-body"), whole.then_some("whole"), "{what}");
            let metrics = proxy.admin("/metrics").text();
            let counted = "tollgate_plugin_counter_all_total{plugin=\"all\",kind=\"a\"} 1\n";
            assert!(metrics.contains(counted), "{what}: {metrics}");
            let refused = proxy.client().request("GET", "/a", &[("x-refuse", "1")], b"");
            assert_eq!((refused.status(), refused.code().as_str()), (403, "as-it-was-asked"), "{what}: {refused:?}");
            assert_eq!(refused.header("x-why"), Some("asked"), "{what}");
        }
    }
}

#[test]
fn a_component_of_a_version_that_is_not_known_is_refused_by_both_names() {
    let (_, version) = contract();
    let component = fs::read(published().join(&version).join("everything.wasm")).expect("it is published");
    for (other, words) in [("0.9.0", "newer"), ("9.0.0", "newer"), ("0.0.1", "older"), ("0.1.9", "newer")] {
        let why = start(&renamed(&component, &version, other), true).2.map(drop).expect_err("it does not start");
        for words in [words, &version, other, "of the plugin contract"] {
            assert!(why.contains(words), "{other}: {why}");
        }
    }
}

/// A component as if it had been made for another version, whose number is as long.
fn renamed(component: &[u8], version: &str, other: &str) -> Vec<u8> {
    assert_eq!(version.len(), other.len());
    let mut out = component.to_vec();
    let name = b"tollgate:plugin/";
    let places: Vec<_> = (0..out.len()).filter(|at| out[*at..].starts_with(name)).collect();
    assert!(!places.is_empty());
    for place in places {
        let end = out.len().min(place + 60);
        let version_at =
            out[place..end].windows(version.len() + 1).position(|it| it[0] == b'@' && it[1..] == *version.as_bytes());
        if let Some(at) = version_at {
            out[place + at + 1..place + at + 1 + other.len()].copy_from_slice(other.as_bytes());
        }
    }
    out
}
