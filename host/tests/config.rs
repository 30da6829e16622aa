//! The configuration as its user meets it: a good file is taken as it is meant, and each mistake is reported whole.
//!
//! `tests/config/*.toml` are slips that people make, each beside the report it gets, `*.err`. After a change that is
//! meant, `BLESS=1 cargo test --test config` writes the reports again.

use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use tollgate::config::file::keys;
use tollgate::config::parse::{load, parse};
use tollgate::config::{
    AccessLog, Config, HostMatch, LogFormat, OnFailure, PathMatch, Problems, Severity, Underscores, ValueMatch,
};

/// What `${env:…}` finds in these tests.
fn env(name: &str) -> Option<String> {
    match name {
        "ALICE" => Some("canary-of-alice".into()),
        "EMPTY" => Some(String::new()),
        "PORT" => Some("8080".into()),
        "WAIT" => Some("canary-no-duration".into()),
        _ => None,
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config")
}

fn read(text: &str) -> Result<Config, Problems> {
    parse(text, "tollgate.toml", &directory(), &env)
}

/// A listener, an upstream and a route, for tests about something else.
const REST: &str = r#"
[listener.public]
address = "127.0.0.1:8080"
[upstream.search]
endpoints = ["http://10.0.1.5:8080"]
[route.search]
path = "/v1/search"
upstream = "search"
"#;

fn with(more: &str) -> Result<Config, Problems> {
    read(&format!("{REST}{more}"))
}

#[test]
fn mistakes_are_reported() {
    let mut files: Vec<PathBuf> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    assert!(files.len() >= 60, "only {} mistakes", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).unwrap();
        let report = match parse(&text, &name, &directory(), &env) {
            Err(problems) => problems,
            Ok(config) => Problems::from_iter(config.warnings),
        };
        assert!(!report.is_empty(), "{name} has no mistake");
        let report = report.to_string();
        assert!(!report.contains("canary-"), "{name} shows a secret:\n{report}");
        let expected = file.with_extension("err");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&expected, &report).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != report {
            wrong.push(format!("{name} is reported as:\n{report}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_problem_says_where_it_is() {
    for entry in fs::read_dir(directory()).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let Err(problems) = parse(&text, "f.toml", &directory(), &env) else {
            continue;
        };
        for problem in problems.iter() {
            let place = problem.place.as_ref().expect("each mistake in a file has a place");
            let line = text.lines().nth(place.line - 1).unwrap_or_default();
            assert_eq!(line, &*place.text, "{}", file.display());
            assert!(place.column <= line.chars().count() + 1, "{}: {place}", file.display());
        }
    }
}

/// The example of the documentation, with its files beside it.
const EXAMPLE: &str = r#"
workers = 4

[listener.public]
address = "0.0.0.0:8443"
tls = { certificate = "cert.pem", key = "key.pem" }

[admin]
address = "127.0.0.1:9901"

[plugins]
directory = "plugins"

[upstream.search]
endpoints = ["http://10.0.1.5:8080"]

[plugin.keys]
component = "api-key"
config.header = "x-api-key"
config.keys = [{ consumer = "alice", sha256 = "${file:alice.sha256}" }]

[plugin.per-minute]
component = "rate-limit"
config = { limit = 100, window = "1m", key = "consumer" }
on-failure = "open"
isolation  = "request"
limits     = { time = "20ms", memory = "32MiB" }
grant      = { kv = ["sessions"] }

[route.search]
path = "/v1/search"
host = "api.example.com"
chain = ["keys", "per-minute"]
upstream = "search"
"#;

fn example() -> (tempfile::TempDir, Config) {
    let directory = tempfile::tempdir().expect("there is a place for temporary files");
    let file = |name: &str, text: &str| fs::write(directory.path().join(name), text).expect("the directory is ours");
    file("tollgate.toml", EXAMPLE);
    file("cert.pem", "-----BEGIN CERTIFICATE-----\n");
    file("key.pem", "-----BEGIN PRIVATE KEY-----\n");
    file("alice.sha256", "5e884898da28047151d0e56f8dc62927\n");
    let config = load(&directory.path().join("tollgate.toml")).unwrap_or_else(|problems| panic!("{problems}"));
    (directory, config)
}

#[test]
fn the_example_is_taken_as_it_is_meant() {
    let (directory, config) = example();
    assert_eq!(config.workers.get(), 4);
    assert_eq!(config.listeners[0].address.to_string(), "0.0.0.0:8443");
    assert_eq!(config.listeners[0].tls[0].key, directory.path().join("key.pem"));
    assert_eq!(config.listeners[0].underscores, Underscores::Drop);
    assert_eq!(config.admin.unwrap().address.port(), 9901);
    assert_eq!(config.plugins.directory, Some(directory.path().join("plugins")));
    assert_eq!(config.upstreams[0].endpoints[0].endpoint.authority, "10.0.1.5:8080");
    let keys = &config.plugin["keys"];
    assert_eq!(
        keys.config,
        r#"{"header":"x-api-key","keys":[{"consumer":"alice","sha256":"5e884898da28047151d0e56f8dc62927"}]}"#
    );
    assert_eq!(keys.places.of("/keys/0/sha256").unwrap().line, 20);
    let limit = &config.plugin["per-minute"];
    assert_eq!(limit.config, r#"{"key":"consumer","limit":100,"window":"1m"}"#);
    assert_eq!(limit.on_failure, OnFailure::Open);
    assert_eq!((limit.limits.time, limit.limits.memory), (Duration::from_millis(20), 32 << 20));
    assert_eq!(limit.grant.kv, ["sessions"]);
    let route = &config.routes[0];
    assert_eq!(route.chain, ["keys", "per-minute"]);
    assert!(matches!(&route.matches.path, PathMatch::Exact(path) if path == "/v1/search"));
    assert_eq!(route.matches.host, HostMatch::Exact("api.example.com".into()));
    assert_eq!(route.body_size, Some(1 << 20));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert_eq!(config.files.len(), 4);
}

#[test]
fn the_hash_changes_with_all_that_was_read() {
    let (directory, first) = example();
    let load = || load(&directory.path().join("tollgate.toml")).unwrap().hash;
    assert_eq!(first.hash, load());
    assert_eq!(first.hash.len(), 64);
    fs::write(directory.path().join("alice.sha256"), "another").unwrap();
    let second = load();
    assert_ne!(first.hash, second);
    fs::write(directory.path().join("cert.pem"), "-----BEGIN CERTIFICATE-----\nnew").unwrap();
    assert_ne!(second, load());
}

#[test]
fn secrets_are_known_but_not_shown() {
    let (_directory, config) = example();
    assert_eq!(config.secrets.iter().collect::<Vec<_>>(), ["5e884898da28047151d0e56f8dc62927"]);
    assert!(!format!("{config:?}").contains("5e884898"));
    let complaint = config.plugin["keys"].complaint(
        "/keys/0/sha256",
        "\u{1b}not a digest: 5e884898da28047151d0e56f8dc62927",
        &config.secrets,
    );
    assert_eq!(complaint.path, "plugin.keys.config.keys[0].sha256");
    assert!(complaint.message.ends_with("not a digest: [secret]"), "{complaint}");
    assert_eq!(complaint.place.unwrap().column, 47);
}

#[test]
fn a_complaint_about_something_that_is_not_there_is_placed_around_it() {
    let config =
        with("[plugin.a]\ncomponent = \"api-key\"\n[plugin.b]\ncomponent = \"api-key\"\nconfig = { x = [1] }\n")
            .unwrap();
    let line = |name: &str, pointer| config.plugin[name].complaint(pointer, "no", &config.secrets).place.unwrap().text;
    assert_eq!(&*line("a", "/keys"), "[plugin.a]");
    assert_eq!(&*line("b", "/x/7/y"), "config = { x = [1] }");
    let long = config.plugin["b"].complaint("/x", &"long ".repeat(1000), &config.secrets);
    assert!(long.message.len() < 600);
}

/// Nearly every key, each with another value than its default.
const EVERYTHING: &str = r#"
workers = 2
[listener.plain]
address = "127.0.0.1:0"
trusted-proxies = ["10.0.0.0/8", "fd00::/8", "192.0.2.1"]
underscores = "keep"
limits = { connections = 5, head-size = "8KiB", head-fields = 50, head-time = "1s", handshake-time = "2s", body-idle = "3s", body-rate = "1KiB", keep-alive = "4s" }
[admin]
[plugins]
cache = "cache"
instances = 10
[upstream.a]
endpoints = ["https://a.example.com", "https://b.example.com:8443"]
preserve-host = true
hide-errors = false
idle-connections = 0
timeouts = { connect = "1s", tls = "2s", response-header = "3s", idle = "4s", total = "5m" }
tls = { name = "a.internal" }
[plugin.p]
component = "my-filter"
limits = { time = "500us", memory = "1MiB", table = 100, instances = 3, wait = "0s" }
[route.r]
path-prefix = "/v1/"
host = "*.Example.com"
methods = ["GET", "POST"]
headers = { X-Version = "2", x-flag = { present = true }, x-id = { regex = "[0-9]+" } }
query = { q = "a b", page = { regex = "[0-9]*" } }
priority = -5
chain = ["p"]
upstream = "a"
body-size = "unlimited"
encoded-slash = "keep"
[route.regex]
path-regex = '/u/\d+'
upstream = "a"
body-size = "10MiB"
[log]
format = "text"
access = { file = "access.log" }
level = "debug"
[drain]
grace = "5s"
timeout = "1m"
"#;

#[test]
fn everything_can_be_said() {
    let config = read(EVERYTHING).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let listener = &config.listeners[0];
    assert_eq!(listener.trusted_proxies.len(), 3);
    assert_eq!((listener.limits.head_size, listener.limits.keep_alive), (8 << 10, Duration::from_secs(4)));
    assert_eq!(listener.limits.body_rate.map(NonZeroU32::get), Some(1 << 10));
    assert_eq!(config.admin.unwrap().address.to_string(), "127.0.0.1:9901");
    assert_eq!(config.upstreams[0].timeouts.total, Duration::from_secs(300));
    assert_eq!(config.upstreams[0].tls.name.as_deref(), Some("a.internal"));
    let route = &config.routes[0];
    assert!(matches!(&route.matches.path, PathMatch::Prefix(prefix) if prefix == "/v1"));
    assert_eq!(route.matches.host, HostMatch::Suffix(".example.com".into()));
    assert_eq!(route.matches.headers[0].0, "x-version");
    assert!(matches!(&route.matches.query[1], (name, ValueMatch::Exact(value)) if name == "q" && value == "a b"));
    assert_eq!((route.priority, route.body_size, route.matches.encoded_slash), (-5, None, true));
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!(config.log.access, AccessLog::File(directory().join("access.log")));
    assert_eq!(config.drain.grace, Duration::from_secs(5));
}

#[test]
fn references_work_in_every_string() {
    let config = read(
        r#"
[listener.public]
address = "127.0.0.1:${env:PORT}"
[upstream.search]
endpoints = ["http://10.0.1.5:${env:PORT}"]
idle-connections = "${env:PORT}"
[route.search]
path-regex = '/v${env:PORT}/.*$'
headers = { x-key = "${env:ALICE}", x-note = "$${env:ALICE}" }
upstream = "search"
"#,
    )
    .unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:8080");
    assert_eq!(config.upstreams[0].connections.idle, 8080);
    // A port is not a secret, and would be found in every address.
    assert_eq!(config.secrets.iter().collect::<Vec<_>>(), ["canary-of-alice"]);
    let matches = &config.routes[0].matches;
    assert!(matches!(&matches.path, PathMatch::Regex(regex) if regex.is_match("/v8080/x")));
    assert!(matches!(&matches.headers[1].1, ValueMatch::Exact(value) if value == "${env:ALICE}"));
}

#[test]
fn no_report_shows_a_secret() {
    let quotes: Vec<usize> = EVERYTHING.match_indices(['"', '\'']).map(|(at, _)| at).collect();
    let mut refused = 0;
    for quote in quotes.chunks_exact(2) {
        let (before, inside, after) =
            (&EVERYTHING[..=quote[0]], &EVERYTHING[quote[0] + 1..quote[1]], &EVERYTHING[quote[1]..]);
        for with in ["${env:ALICE}".to_owned(), format!("{inside}${{env:ALICE}}"), format!("${{env:ALICE}}{inside}")] {
            let problems = match read(&format!("{before}{with}{after}")) {
                Ok(config) => Problems::from_iter(config.warnings),
                Err(problems) => {
                    refused += 1;
                    problems
                }
            };
            let data: Vec<String> = problems.iter().map(|problem| serde_json::to_string(problem).unwrap()).collect();
            let shown = format!("{problems}{data:?}");
            assert!(!shown.contains("canary-of-alice"), "{shown}");
        }
    }
    assert!(refused > 50, "{refused}");
}

#[test]
fn a_file_that_cannot_be_read_is_not_a_file_with_problems() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path().join("none.toml"), directory.path().to_owned()] {
        assert!(load(&path).unwrap_err().is_unreadable());
    }
    let path = directory.path().join("latin.toml");
    fs::write(&path, b"# caf\xe9\nworkers = 1\n").unwrap();
    let problems = load(&path).unwrap_err();
    assert!(!problems.is_unreadable());
    assert_eq!(problems.iter().next().unwrap().place.as_ref().map(|place| (place.line, place.column)), Some((1, 6)));
    assert!(!read("").unwrap_err().is_unreadable());
}

#[test]
fn problems_are_data_for_programs() {
    let problems = with("[route.other]\npath = \"/x\"\nupsteam = \"search\"\n").unwrap_err();
    let json: serde_json::Value = problems.iter().map(|problem| serde_json::to_value(problem).unwrap()).collect();
    let unknown = json.as_array().unwrap().iter().find(|problem| problem["suggestion"] == "upstream").unwrap();
    assert_eq!(unknown["severity"], "error");
    assert_eq!(unknown["path"], "route.other.upsteam");
    assert_eq!(unknown["place"]["file"], "tollgate.toml");
    assert_eq!((&unknown["place"]["line"], &unknown["place"]["column"]), (&11.into(), &1.into()));
    assert_eq!(unknown["place"]["text"], "upsteam = \"search\"");
}

#[test]
fn the_order_of_the_file_decides_nothing() {
    let text = EXAMPLE.replace("${file:alice.sha256}", "x").replace("tls = ", "# tls = ").replace("workers = 4", "");
    let tables: Vec<String> = text.trim().split("\n\n").map(str::to_owned).collect();
    let of = |tables: &[String]| {
        let config = read(&tables.join("\n\n")).unwrap_or_else(|problems| panic!("{problems}"));
        format!("{:?} {:?} {:?}", config.listeners, config.plugin, config.upstreams)
    };
    let reversed: Vec<String> = tables.iter().rev().cloned().collect();
    assert_eq!(of(&tables), of(&reversed));
}

#[test]
fn warnings_do_not_refuse() {
    let config =
        with("[upstream.spare]\nendpoints = [\"http://10.0.0.1\"]\n[admin]\naddress = \"0.0.0.0:9901\"\n").unwrap();
    assert_eq!(config.warnings.len(), 2);
    assert!(config.warnings.iter().all(|warning| warning.severity == Severity::Warning && warning.place.is_some()));
}

#[test]
fn deep_and_large_files_are_refused_and_not_fatal() {
    let deep = |open: &str, close: &str| format!("a = {}1{}", open.repeat(50_000), close.repeat(50_000));
    for text in [
        deep("[", "]"),
        deep("{a=", "}"),
        format!("{}a = 1", "a.".repeat(100_000)),
        format!("[{}a]", "a.".repeat(100_000)),
        "x = 1\n".repeat(100_000),
        "[".repeat(1 << 20),
        "#".repeat(5 << 20),
        format!("[plugin.a]\nconfig.x = [{}", "{ y = 1 }, ".repeat(50_000)),
        format!("[plugin.a]\nconfig.x = [{}]", "nan, ".repeat(100_000)),
    ] {
        assert!(read(&text).unwrap_err().has_errors());
    }
}

#[test]
fn every_key_can_be_written() {
    // A key that is listed is known to the parser: it may be refused for its value, never for its name.
    for (path, _) in keys() {
        let path = path.replace("[]", "").replace("NAME", "name");
        let Err(problems) = read(&format!("{path} = 1979-05-27")) else {
            continue;
        };
        let unknown = problems.iter().find(|problem| problem.message.starts_with("unknown key"));
        assert!(unknown.is_none(), "{path}: {problems}");
    }
}

/// Pieces of configurations, to be put together in all wrong ways.
fn piece() -> impl Strategy<Value = String> {
    let words: Vec<String> = keys().iter().map(|(_, key)| key.name.to_owned()).collect();
    let examples: Vec<String> = keys().iter().map(|(_, key)| (key.example)()).collect();
    let tables =
        ["[listener.a]\n", "[route.a]\n", "[route.b]\n", "[plugin.a]\n", "[upstream.a]\n", "[log]\n", "[[route]]\n"];
    let signs = [
        " = ", "[", "]", "{", "}", ",", "\n", "\"", "'", "\"\"\"", ".", "${env:", "${file:", "}", "\\", "\u{0}", "é",
        "-1", "1e9", "a",
    ];
    prop_oneof![
        proptest::sample::select(words).prop_map(|word| format!("\n{word} = ")),
        proptest::sample::select(examples),
        proptest::sample::select(tables.map(str::to_owned).to_vec()),
        proptest::sample::select(signs.map(str::to_owned).to_vec()),
        any::<String>(),
    ]
}

fn check(text: &str) {
    match read(text) {
        Ok(config) => config.warnings.iter().for_each(|warning| drop(warning.to_string())),
        Err(problems) => {
            assert!(problems.has_errors());
            drop(problems.to_string());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_make_the_parser_panic(bytes: Vec<u8>) {
        check(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_pieces_make_the_parser_panic(pieces in proptest::collection::vec(piece(), 0..40)) {
        check(&pieces.concat());
    }

    #[test]
    fn no_change_of_the_example_makes_the_parser_panic(at in 0..EXAMPLE.len(), length in 0..40_usize, with in piece()) {
        let from = (0..=at).rev().find(|at| EXAMPLE.is_char_boundary(*at)).unwrap();
        let to = (at + length).min(EXAMPLE.len());
        check(&format!("{}{with}{}", &EXAMPLE[..from], &EXAMPLE[to..]));
    }
}
