//! The rules of the architecture, read from the sources: what is deliberately absent, and where.
//!
//! A rule that stands in the way is changed here, with its reason, and in the README where it is told.

#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;

use http::StatusCode;
use source::{Breach, Source, files};

/// Fails with every place that breaks the rule.
fn none(rule: &str, breaches: impl IntoIterator<Item = Breach>) {
    let list: Vec<String> = breaches.into_iter().map(|Breach { place, line }| format!("  {place}: {line}\n")).collect();
    assert!(list.is_empty(), "{rule}\n{}", list.concat());
}

/// The lines of the host's shipped code outside of these modules in which one of these names is.
fn outside(modules: &[&str], names: &[&str], sources: &[Source]) -> Vec<Breach> {
    let elsewhere = |source: &&Source| !source.is_test() && !modules.iter().any(|module| source.is_in(module));
    sources.iter().filter(elsewhere).flat_map(|source| source.naming(names)).collect()
}

/// The lines of these modules in which one of these names is.
fn inside(modules: &[&str], names: &[&str], sources: &[Source]) -> Vec<Breach> {
    let there = |source: &&Source| !source.is_test() && modules.iter().any(|module| source.is_in(module));
    sources.iter().filter(there).flat_map(|source| source.naming(names)).collect()
}

fn host() -> Vec<Source> {
    files("host/src", &[".rs"])
}

#[test]
fn the_engine_is_a_detail_of_plugins() {
    let rule = "wasmtime is named only in `bindings`, `capability` and `plugin`";
    none(
        rule,
        outside(&["bindings", "capability", "plugin"], &["wasmtime", "wasmtime_wasi", "wasmtime_wasi_http"], &host()),
    );
}

#[test]
fn the_library_for_http_is_a_detail_of_both_ends() {
    let sources = host();
    let rule = "h2's server side is named only in `server`, and in `http2`, which is one stream of it";
    none(rule, outside(&["server", "http2"], &["h2::server"], &sources));
    let rule = "h2's client side is named only in `connect`";
    none(rule, outside(&["connect"], &["h2::client"], &sources));
    // All between both ends knows only `Body`.
    let rule = "h2 is named only in `server`, `http2` and `connect`";
    none(rule, outside(&["server", "http2", "connect"], &["h2"], &sources));
}

#[test]
fn framing_knows_bytes_and_heads() {
    let rule = "`http1` knows bytes and heads, not routes, plugins, upstreams or the server";
    none(rule, inside(&["http1"], &ABOVE_THE_LEAVES, &host()));
    let above = ["crate::http1", "crate::http2", "crate::body", "crate::headers"];
    none("`transport` knows bytes and no protocol", inside(&["transport"], &above, &host()));
}

#[test]
fn leaves_use_nothing_above_them() {
    const LEAVES: [&str; 7] = ["config", "connect", "http1", "transport", "body", "error", "metrics"];
    none("leaves are used from above and use nothing above them", inside(&LEAVES, &ABOVE_THE_LEAVES, &host()));
}

const ABOVE_THE_LEAVES: [&str; 10] = [
    "crate::admin",
    "crate::bindings",
    "crate::capability",
    "crate::chain",
    "crate::cli",
    "crate::plugin",
    "crate::proxy",
    "crate::router",
    "crate::server",
    "crate::upstream",
];

#[test]
fn types_of_the_contract_stay_near_the_engine() {
    // The chain decides what becomes of each flow that a hook answers. Another enum with the same variants between the
    // two would be a second contract.
    let rule = "types generated from WIT appear only in `bindings`, `capability`, `plugin` and `chain`";
    let rust = ["bindings"];
    none(rule, outside(&["bindings", "capability", "plugin", "chain", "lib"], &rust, &host()));
}

#[test]
fn what_a_failure_costs_is_chosen_in_one_place() {
    let failures: Vec<String> = (400..600)
        .filter_map(|code| StatusCode::from_u16(code).ok()?.canonical_reason())
        .map(|words| words.to_uppercase().replace([' ', '-'], "_").replace('\'', ""))
        .map(|name| format!("StatusCode::{name}"))
        .chain(["status(4", "status(5", "from_u16(4", "from_u16(5"].map(str::to_owned))
        .collect();
    let failures: Vec<&str> = failures.iter().map(String::as_str).collect();
    assert!(failures.contains(&"StatusCode::BAD_GATEWAY"), "{failures:?}");
    // The listener for operators carries no request of anybody else, and has its own few answers.
    let rule = "a failure's status is chosen only in `error`, and in `admin` for operators";
    let sources = host();
    let breaches =
        sources.iter().filter(|source| !source.is_test() && !source.is_in("error") && !source.is_in("admin"));
    none(rule, breaches.flat_map(|source| containing(source, &failures)));
}

/// As [`Source::naming`], where what follows does not matter: the `4` of `status(404)`.
fn containing(source: &Source, parts: &[&str]) -> Vec<Breach> {
    let code = source.code();
    let lines = code.lines().zip(source.text.lines()).enumerate();
    lines
        .filter(|(_, (line, _))| parts.iter().any(|part| line.contains(part)))
        .map(|(number, (_, shown))| source.breach(number + 1, shown))
        .collect()
}

#[test]
fn capabilities_know_nothing_of_requests() {
    let rule = "`capability` knows no router, chain, upstream, proxy or server";
    let names = ["crate::router", "crate::chain", "crate::upstream", "crate::proxy", "crate::server", "crate::admin"];
    none(rule, inside(&["capability"], &names, &host()));
}

#[test]
fn nothing_is_unsafe() {
    let rule = "`unsafe` is forbidden in the workspace; an exception is one small file with its proof above each block";
    let sources = files("", &[".rs"]);
    // Both run in a guest, whose sandbox holds whatever they do: its allocator, with a proof above each block, and a plugin of
    // the tests that looks in its memory for what must not be there.
    let proven = ["sdk/src/allocator.rs", "tests/guests/examples/remember.rs"];
    let others: Vec<_> = sources.iter().filter(|source| !proven.contains(&source.path.as_str())).collect();
    none(rule, others.iter().flat_map(|source| source.naming(&["unsafe"])));
    // These hold what is generated from the contract, or from the standard's, and nothing else.
    let generated = [
        "host/src/bindings.rs",
        "sdk/src/bindings.rs",
        "tests/guests/http/examples/bindings/service.rs",
        "tests/guests/http/examples/bindings/middleware.rs",
    ];
    let others = others.iter().filter(|source| !generated.contains(&source.path.as_str()));
    none(rule, others.flat_map(|source| source.naming(&["unsafe_code"])));

    let manifests = files("", &["Cargo.toml"]);
    let root = manifests.iter().find(|manifest| manifest.path == "Cargo.toml").expect("the root");
    assert!(
        root.text.contains("\nunsafe_code = \"deny\"") || root.text.contains("\nunsafe_code = \"forbid\""),
        "{rule}"
    );
    for manifest in manifests.iter().filter(|one| one.text.contains("[package]") && !one.text.contains("[workspace]")) {
        let inherits = manifest.text.contains("[lints]\nworkspace = true");
        assert!(inherits, "{rule}\n  {}: it does not take the workspace's lints", manifest.path);
    }
}

#[test]
fn a_capability_has_one_name() {
    // The nouns and the hooks are no capability; nor are these parts of the SDK.
    let nouns = ["http", "hooks", "chunks", "world"];
    let of_the_sdk =
        ["allocator", "bindings", "edits", "export", "interest", "lib", "message", "no_allocator", "stream", "units"];
    let names = |folder: &str, ending: &str, others: &[&str]| -> BTreeSet<String> {
        let of = |source: &Source| {
            let name = source.path.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(ending)?.replace('-', "_");
            (!name.contains('/') && !others.contains(&name.as_str())).then_some(name)
        };
        files(folder, &[ending]).iter().filter_map(of).collect()
    };
    let wit = names("wit", ".wit", &nouns);
    let rule = "a capability has the same name in `wit/`, `host/src/capability/` and `sdk/src/`";
    assert!(wit.contains("limiter"), "{wit:?}");
    assert_eq!(names("host/src/capability", ".rs", &[]), wit, "{rule}: host, wit");
    assert_eq!(names("sdk/src", ".rs", &of_the_sdk), wit, "{rule}: sdk, wit");
    let world = files("wit", &["world.wit"]).remove(0).text;
    let imports: BTreeSet<String> = world
        .lines()
        .filter_map(|line| Some(line.trim().strip_prefix("import ")?.strip_suffix(';')?.replace('-', "_")))
        .collect();
    assert_eq!(imports, wit, "{rule}: the world imports each of them");
}

#[test]
fn no_file_is_a_drawer() {
    let rule = "a file is named after its one idea: no mod.rs, and no drawer for the rest";
    none(rule, drawers(&files("", &[".rs", ".wit"])));
    let made_up = |path: &str| drawers(&[Source { path: path.into(), text: String::new() }]).len();
    for path in ["host/src/a/mod.rs", "host/src/utils.rs", "sdk/src/a/helpers/b.rs", "tests/common.rs", "wit/types.wit"]
    {
        assert_eq!(made_up(path), 1, "{path}");
    }
    assert_eq!(made_up("host/src/database.rs"), 0);
}

fn drawers(sources: &[Source]) -> Vec<Breach> {
    let drawers =
        ["mod", "util", "utils", "common", "helper", "helpers", "manager", "handler", "base", "core", "types", "misc"];
    let is_one = |path: &str| {
        let (path, _) = path.rsplit_once('.').unwrap_or((path, ""));
        path.split('/').any(|part| drawers.contains(&part))
    };
    sources.iter().filter(|source| is_one(&source.path)).map(|source| source.breach(1, "its name")).collect()
}

#[test]
fn nothing_names_a_folder_of_one_machine() {
    let rule = "no file holds a path of the machine that it was written on";
    let all = files("", &[".rs", ".toml", ".md", ".wit", ".txt", ".yml", "Makefile", "/run", ".py", ".sh", ".conf"]);
    none(rule, all.iter().flat_map(machine_paths));
    let made_up = |text: String| machine_paths(&Source { path: "a".into(), text }).len();
    for place in PLACES {
        assert_eq!(made_up(format!("cd {place}x")), 1, "{place}");
        assert_eq!(made_up(format!("a\nlet a = \"{place}x/y\";")), 1, "{place}");
        assert_eq!(made_up(format!("{place} alone, <b>{place}x")), 0, "{place}: no path of a machine");
    }
}

/// In two parts, so that this file does not break the rule.
const PLACES: [&str; 3] = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/")];

fn machine_paths(source: &Source) -> Vec<Breach> {
    let is_one = |line: &str| {
        PLACES.iter().flat_map(|place| line.match_indices(place)).any(|(at, place)| {
            let absolute = at == 0 || line[..at].ends_with([' ', '"', '\'', '`', '(', '=', ':', '<', '\t']);
            absolute
                && line[at + place.len()..].starts_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '.')
        })
    };
    let lines = source.text.lines().enumerate().filter(|(_, line)| is_one(line));
    lines.map(|(number, line)| source.breach(number + 1, line)).collect()
}

/// That each rule about names can fail: the host as it is, with one line more in a module where it must not be.
#[test]
fn one_wrong_line_is_found() {
    for (path, line, modules, names) in [
        ("chain", "use wasmtime::Store;", &["bindings", "capability", "plugin"][..], &["wasmtime"][..]),
        ("proxy/record", "type R = h2::RecvStream;", &["server", "connect"], &["h2"]),
        ("connect/live", "use h2::server::Builder;", &["server"], &["h2::server"]),
        ("proxy", "use crate::bindings::Flow;", &["bindings", "capability", "plugin", "chain", "lib"], &["bindings"]),
    ] {
        let wrong = Source { path: format!("host/src/{path}.rs"), text: format!("//! Doc.\n{line}\n") };
        let found = outside(modules, names, &[wrong]);
        assert_eq!(found, [Breach { place: format!("host/src/{path}.rs:2"), line: line.into() }], "{path}");
    }
    for (path, line) in [
        ("http1/head", "use crate::router::Router;"),
        ("config/route", "fn f(a: &crate::plugin::Plugin) {}"),
        ("capability/kv/store", "use crate::server::View;"),
    ] {
        let wrong = Source { path: format!("host/src/{path}.rs"), text: format!("{line}\n") };
        assert_eq!(inside(&["http1", "config", "capability"], &ABOVE_THE_LEAVES, &[wrong]).len(), 1, "{path}");
    }
    let wrong = Source { path: "host/src/proxy.rs".into(), text: "Response::builder().status(404)".into() };
    assert_eq!(containing(&wrong, &["status(4"]).len(), 1);
}
