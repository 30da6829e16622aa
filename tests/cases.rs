//! Files of cases: those of the built-in plugins, and that each thing which a file can expect can also fail.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock};

use tempfile::TempDir;
use tollgate::cases::{self, Outcome};
use tollgate::config::cases::parse;
use tollgate::plugin::{Component, Engine, Origin};

use crate::harness::{guest, hello, introspect};

static ENGINE: LazyLock<Arc<Engine>> =
    LazyLock::new(|| Arc::new(Engine::new(50, Some(env!("COMPILED").as_ref())).expect("an engine")));

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

fn component(name: &str) -> Arc<Component> {
    let bytes = if name == "hello" { hello() } else { guest(name) };
    Arc::new(Component::compile(&ENGINE, name, Origin::File(PathBuf::new()), bytes.into()).expect("a component"))
}

/// What comes of the cases of a text.
fn run(name: &str, text: &str) -> Vec<Outcome> {
    let file = parse(text, &format!("{name}.test.toml"), Path::new(""), None);
    let file = file.unwrap_or_else(|problems| panic!("{problems}"));
    block_on(cases::run_on(&ENGINE, &component(name), &file.cases))
}

/// What is not as expected in the one case of a text.
fn differences(name: &str, text: &str) -> Vec<String> {
    let outcomes = run(name, text);
    assert_eq!(outcomes.len(), 1);
    outcomes[0].differences.iter().map(ToString::to_string).collect()
}

#[test]
fn those_of_the_built_in_plugins_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
    for (name, _) in tollgate::plugin::BUILT_IN {
        let path = folder.join(name).join(format!("{name}.test.toml"));
        let report = block_on(cases::run(&ENGINE, &path, None)).unwrap_or_else(|why| panic!("{why}"));
        assert!(report.passed() && report.outcomes.len() >= 3, "{report}");
    }
}

#[test]
fn what_is_as_expected_passes() {
    let text = r#"
        plugin.config.name = "world"
        [case.greets]
        request = { method = "POST", path = "/a%20b", query = "c=d", json = { e = 1 }, headers = { x-many = ["1", "2"] }, attributes.consumer = "alice" }
        response = { status = 404, body = "none", headers.x-from = "upstream" }
        [case.greets.expect]
        flow = "edit"
        request = { path = "/a%20b", query = "c=d", headers = { x-many = ["1", "2"], content-type = "application/json", content-length = "7" }, json = { e = 1 } }
        response = { status = 404, body = { regex = "n.ne" }, headers = { x-hello = "world", x-from = { present = true }, x-other = { present = false } } }
        attributes.consumer = "alice"
        log = []
        time = "5s"
        memory = "16MiB"
    "#;
    assert_eq!(differences("hello", text), [""; 0]);
}

#[test]
fn each_thing_that_is_expected_can_fail() {
    for (expected, found) in [
        ("flow = \"continue\"", "flow: expected continue, found edit"),
        ("code = \"no\"", "code: expected \"no\", found none"),
        ("request.path = \"/b\"", "request.path: expected \"/b\", found \"/\""),
        ("request.query = \"b\"", "request.query: expected \"b\", found nothing"),
        ("request.headers.x-a = \"2\"", "request.headers.x-a: expected \"2\", found \"1\""),
        ("request.headers.x-a = [\"1\", \"1\"]", "request.headers.x-a: expected [\"1\", \"1\"], found \"1\""),
        (
            "request.headers.x-a = { regex = \"[2-9]|1.\" }",
            "request.headers.x-a: expected what `[2-9]|1.` takes, found \"1\"",
        ),
        ("request.headers.x-a = { present = false }", "request.headers.x-a: expected nothing, found \"1\""),
        ("request.headers.x-b = { present = true }", "request.headers.x-b: expected anything, found nothing"),
        ("request.body = \"tea\"", "request.body: expected \"tea\", found nothing"),
        ("request.json = 1", "request.json: expected 1, found no JSON: nothing"),
        ("response.status = 201", "response.status: expected 201, found 200"),
        ("response.json = { a = 2 }", "response.json: expected {\"a\":2}, found {\"a\":1}"),
        ("response.body = { regex = \"a\" }", "response.body: expected what `a` takes, found \"{\\\"a\\\":1}\""),
        ("attributes.consumer = \"alice\"", "attributes.consumer: expected \"alice\", found nothing"),
        ("kv.s.k = \"v\"", "kv.s.k: expected \"v\", found nothing"),
        ("log = [\"warn: \"]", "log: expected a line with \"warn: \", in this order, found nothing"),
        ("complaints = [\"a\"]", "complaints: expected that it refuses its configuration, found it takes it"),
    ] {
        let text = format!(
            "plugin.config.name = \"world\"\n[case.a]\nrequest.headers.x-a = \"1\"\nresponse.json = {{ a = 1 }}\nexpect.{expected}\n"
        );
        assert_eq!(differences("hello", &text), [found], "{expected}");
    }
    let slow =
        differences("hello", "plugin.config.name = \"a\"\n[case.a]\nexpect = { time = \"0s\", memory = \"1KiB\" }\n");
    assert!(slow.len() == 2 && slow[0].starts_with("time: expected at most 0ns, found "), "{slow:?}");
    assert!(slow[1].starts_with("memory: expected at most 1024 bytes, found "), "{slow:?}");
}

#[test]
fn a_plugin_that_misbehaves_fails_and_says_why() {
    let case = "[case.a]\nrequest = { method = \"POST\", body = \"b\" }\n";
    for (name, plugin, code) in [
        ("trap", "config.at = \"request-body\"", "plugin-failed"),
        ("trap", "config.at = \"response\"\nisolation = \"request\"", "plugin-failed"),
        ("spin", "config.at = \"request\"\nlimits.time = \"20ms\"", "plugin-timeout"),
        ("stall", "config.at = \"request\"\nlimits.time = \"20ms\"", "plugin-timeout"),
    ] {
        let text = format!("[plugin]\n{plugin}\n{case}expect = {{ flow = \"fail\", code = \"{code}\" }}\n");
        assert_eq!(differences(name, &text), [""; 0], "{name}");
        let told = differences(name, &format!("[plugin]\n{plugin}\n{case}expect.response.headers.x = \"1\"\n"));
        assert!(told[0].contains(&format!("found fail ({code}, 500): ")), "{told:?}");
        let text = format!("[plugin]\n{plugin}\non-failure = \"open\"\n{case}expect.response.status = 200\n");
        assert_eq!(differences(name, &text), [""; 0], "{name}");
    }
    let refused = differences("spin", "[case.a]\nconfig.at = \"nowhere\"\nexpect.flow = \"continue\"\n");
    assert!(refused[0].starts_with("load: expected that it loads, found the component refuses"), "{refused:?}");
    let complaint = "[case.a]\nconfig.at = \"nowhere\"\nexpect.complaints = [\"/at: unknown variant\"]\n";
    assert_eq!(differences("spin", complaint), [""; 0]);
    let other = differences("spin", &complaint.replace("/at", "/where"));
    assert!(other[0].contains("found \"/at: unknown variant"), "{other:?}");
}

#[test]
fn stores_are_filled_and_have_to_be_granted() {
    let case = "[case.a]\nconfig.store = \"s\"\nkv.s = { \"a key\" = \"v\" }\n";
    let text = format!(
        "plugin.grant.kv = [\"s\"]\n{case}expect = {{ request.headers.x-store = \"opened\", kv.s = {{ \"a key\" = \"v\" }} }}\n"
    );
    assert_eq!(differences("forbidden", &text), [""; 0]);
    let listed = case.replace("{ \"a key\" = \"v\" }", "{ d = \"4\", a = \"1\", c = \"3\", b = \"2\" }");
    let listed = format!("plugin.grant.kv = [\"s\"]\n{listed}expect.request.headers.x-keys = 'Ok([\"b\", \"c\"])'\n");
    assert_eq!(differences("forbidden", &listed), [""; 0]);
    let told = differences("forbidden", &format!("{case}expect.flow = \"edit\"\n"));
    assert!(told[0].contains("to grant it, add: grant = { kv = [\"NAME\"] }"), "{told:?}");
}

#[test]
fn servers_that_a_plugin_asks_say_what_the_case_has_them_say() {
    let plugin = "plugin.grant.http = [\"https://idp.test\"]\n[case.a]\nconfig.urls = [\"https://idp.test/a\", \"https://idp.test/a\", \"https://idp.test/b\"]\n";
    let answers = r#"
        [[case.a.http]]
        method = "POST"
        url = "https://idp.test/a"
        status = 404
        json = { active = false }
        [[case.a.http]]
        method = "POST"
        url = "https://idp.test/b"
        with.x-asks = "somebody"
        [[case.a.http]]
        method = "POST"
        url = "https://idp.test/b"
        with.x-asks = "plugin"
        error = "timeout"
    "#;
    // Each answer is given once, and the second of the same nobody answers.
    let expected =
        "[case.a.expect]\nrequest.headers.x-answers = '404 application/json {\"active\":false}, Connect, Timeout'\n";
    assert_eq!(differences("ask", &format!("{plugin}{answers}{expected}")), [""; 0]);
    let told =
        differences("ask", &format!("{plugin}expect.flow = \"edit\"\n").replace("idp.test\"]\n[", "other.test\"]\n["));
    assert_eq!(told, [""; 0], "it is told that the origin is not granted, and goes on");
}

#[test]
fn cases_know_nothing_of_each_other() {
    let text = "plugin.config = {}\n[case.a]\nexpect.request.headers.x-calls = \"1\"\n[case.b]\ntimes = 3\nexpect.request.headers.x-calls = \"3\"\n";
    assert!(run("echo-state", text).iter().all(|outcome| outcome.passed));
}

#[test]
fn mistakes_of_a_file_are_told_at_their_place() {
    for (text, words) in [
        ("", "there is no case"),
        ("[case.a]\n", "the case expects nothing, and so cannot fail"),
        ("[case.a]\nexpect = {}\n", "the case expects nothing, and so cannot fail"),
        ("[case.a]\nexpct.flow = \"edit\"\n", "did you mean \"expect\"?"),
        ("[case.a]\nexpect.flow = \"refused\"\n", "did you mean \"refuse\"?"),
        ("[case.a]\nexpect = { complaints = [], flow = \"edit\" }\n", "gets no request"),
        ("[case.a]\nrequest = { body = \"a\", json = 1 }\nexpect.flow = \"edit\"\n", "are both here"),
        ("[case.a]\nrequest.path = \"/a/../b\"\nexpect.flow = \"edit\"\n", "write \"/b\""),
        ("[case.a]\nrequest.headers.X-A = \"1\"\nexpect.flow = \"edit\"\n", "in lower case"),
        ("[case.a]\nrequest.client = \"localhost\"\nexpect.flow = \"edit\"\n", "an IP address"),
        ("[case.a]\nnow = 2026-01-01\nexpect.flow = \"edit\"\n", "a date with a time and an offset"),
        ("[plugin.limits]\ntime = \"1h\"\n[case.a]\nexpect.flow = \"edit\"\n", "is not between"),
        ("[case.a]\nexpect.response.status = 99\n", "is not between 200 and 599"),
    ] {
        let problems = parse(text, "a.test.toml", Path::new(""), None).expect_err(text).to_string();
        assert!(problems.contains(words) && problems.contains("a.test.toml:"), "{text}:\n{problems}");
    }
}

/// The example of the page about it, with the plugin that it is about.
#[test]
fn the_example_of_the_documentation() {
    let page = include_str!("../docs/plugins.md");
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let outcomes = run("hello", example);
    assert_eq!(outcomes.len(), 3);
    for outcome in outcomes {
        assert!(outcome.passed, "{outcome}");
    }
}

/// Where the plugin is that `examples/introspect` has in several languages.
fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/introspect")
}

/// That a component passes the cases that are the same for all languages.
fn introspects(component: &Path) {
    let report = block_on(cases::run(&ENGINE, &example().join("introspect.test.toml"), Some(component)));
    let report = report.unwrap_or_else(|why| panic!("{why}"));
    assert!(report.passed() && report.outcomes.len() == 7, "{report}");
}

/// Builds that plugin with another language's tool, in a folder with the contract in it. There is none where the tool is
/// not on the path.
fn built_with(tool: &str, arguments: &[&str]) -> Option<TempDir> {
    let folder = TempDir::new().expect("a folder");
    let contract = folder.path().join("wit/deps/tollgate-plugin");
    std::fs::create_dir_all(&contract).expect("a folder");
    for entry in std::fs::read_dir(example().join("../../wit")).expect("the contract") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), contract.join(entry.file_name())).expect("a file");
    }
    std::fs::copy(example().join("world.wit"), folder.path().join("wit/world.wit")).expect("a file");
    for source in ["python/app.py", "javascript/plugin.js"] {
        let name = Path::new(source).file_name().expect("a name");
        std::fs::copy(example().join(source), folder.path().join(name)).expect("a file");
    }
    match Command::new(tool).args(arguments).current_dir(folder.path()).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{tool}: {said}");
            Some(folder)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("{tool}: {error}"),
    }
}

#[test]
fn the_example_in_rust_passes_its_cases() {
    introspects(&introspect());
}

#[test]
fn the_example_in_python_passes_the_same_cases() {
    let build = ["-d", "wit", "-w", "local:plugin/plugin", "componentize", "--stub-wasi", "app", "-o", "it.wasm"];
    if let Some(folder) = built_with("componentize-py", &build) {
        introspects(&folder.path().join("it.wasm"));
    }
}

#[test]
fn the_example_in_javascript_passes_the_same_cases() {
    let without = ["-d", "stdio", "-d", "random", "-d", "clocks", "-d", "http", "-d", "fetch-event"];
    let build = ["plugin.js", "--wit", "wit", "--world-name", "plugin", "-o", "it.wasm"];
    if let Some(folder) = built_with("componentize-js", &[&build[..], &without].concat()) {
        introspects(&folder.path().join("it.wasm"));
    }
}
