//! Files of cases: those of the built-in plugins, and that each thing which a file can expect can also fail.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::json;
use tollgate::cases::{self, Outcome, Report};
use tollgate::config::cases::parse;
use tollgate::plugin::{Component, Engine, Origin};
use tollgate_testing::{Answer, Case, Flow, Want};

use crate::harness::{guest, hello, mask};

static ENGINE: LazyLock<Arc<Engine>> =
    LazyLock::new(|| Arc::new(Engine::new(50, Some(env!("COMPILED").as_ref())).expect("an engine")));

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

fn component(name: &str) -> Arc<Component> {
    let bytes = match name {
        "hello" => hello(),
        "mask" => std::fs::read(mask()).expect("a component"),
        guest_name => guest(guest_name),
    };
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
        ("response.json = { a = 2 }", "response.json/a: expected 2, found 1"),
        ("response.json = [{ a = 1 }]", "response.json: expected [{\"a\":1}], found {\"a\":1}"),
        ("response.chunks = [\"{\", \"}\"]", "response.chunks: expected [\"{\", \"}\"], found [\"{\\\"a\\\":1}\"]"),
        ("request.chunks = [\"a\"]", "request.chunks: expected [\"a\"], found []"),
        ("response.trailers.x-sum = \"1\"", "response.trailers.x-sum: expected \"1\", found nothing"),
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
fn bodies_come_and_go_in_pieces() {
    let text = r#"
        [case.request]
        config.what = "upper"
        request = { method = "POST", path = "/a", chunks = ["he", "llo"], trailers = { x-sum = "1" } }
        [case.request.expect]
        flow = "edit"
        request = { chunks = ["HE", "LLO", "!"], trailers = { x-bytes = "5", x-memo = "/a", x-sum = "1", x-other = { present = false } } }
        [case.response]
        config = { what = "thrice", responses = true }
        response = { status = 201, chunks = ["a", "bc"] }
        expect = { request.chunks = [], response = { status = 201, chunks = ["a", "a", "a", "bc", "bc", "bc"] } }
        [case.words-across-pieces]
        config.what = "guard"
        request = { method = "POST", chunks = ["e", "vi", "l"] }
        expect = { flow = "refuse", code = "evil-body", response.status = 422 }
        [case.looked-at]
        config = { what = "guard", responses = true }
        response = { chunks = ["ev", "en"], trailers.x-sum = "1" }
        expect = { response.trailers.x-sum = "1", response.headers.content-length = { present = false } }
        [case.in-an-instance-of-its-own]
        config = { what = "upper", responses = true }
        times = 2
        response.chunks = ["ab"]
        expect.response.trailers.x-bytes = "2"
        [case.too-much]
        config = { what = "flood", responses = true }
        response.chunks = ["a", "b"]
        expect = { flow = "fail", code = "plugin-failed" }
    "#;
    for outcome in run("pieces", text) {
        assert!(outcome.passed, "{outcome}");
    }
}

#[test]
fn a_hook_that_wants_the_whole_gets_pieces_in_one() {
    let case = "plugin.config = {}\n[case.a]\nrequest = { method = \"POST\", chunks = [\"a\", \"b\"] }\n";
    let told = differences("echo-state", &format!("{case}expect.request.chunks = [\"a\", \"b\"]\n"));
    assert_eq!(told, [""; 0], "nobody looks at them");
}

#[test]
fn long_values_are_shown_where_they_part() {
    let long = "a".repeat(200);
    let case = |from: &str, to: &str| {
        let config = "plugin.config.name = \"a\"\n[case.a]\n";
        differences("hello", &format!("{config}response.body = \"{from}\"\nexpect.response.body = \"{to}\"\n"))
    };
    let shown = |word: &str| format!("line 1, column 201: …\"{}{word}\"", "a".repeat(20));
    let (expected, found) = (shown("c"), shown("b"));
    let told = format!("response.body: expected {expected}, found {found}");
    assert_eq!(case(&format!("{long}b"), &format!("{long}c")), [told]);
    let (expected, found) = (shown("c and so on"), shown("b and so on, but not for long"));
    let told = format!("response.body:\n          expected {expected}\n          found    {found}");
    assert_eq!(case(&format!("{long}b and so on, but not for long"), &format!("{long}c and so on")), [told]);
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
        assert!(told[0].contains(&format!("fail ({code}, 500): ")), "{told:?}");
        let text = format!("[plugin]\n{plugin}\non-failure = \"open\"\n{case}expect.response.status = 200\n");
        assert_eq!(differences(name, &text), [""; 0], "{name}");
    }
    let refused = differences("spin", "[case.a]\nconfig.at = \"nowhere\"\nexpect.flow = \"continue\"\n");
    assert!(refused[0].starts_with("load:") && refused[0].contains("the component refuses its conf"), "{refused:?}");
    let complaint = "[case.a]\nconfig.at = \"nowhere\"\nexpect.complaints = [\"/at: unknown variant\"]\n";
    assert_eq!(differences("spin", complaint), [""; 0]);
    let other = differences("spin", &complaint.replace("/at", "/where"));
    assert!(other[0].contains(" \"/at: unknown variant"), "{other:?}");
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
        (
            "[case.a]\nresponse = { json = 1, chunks = [\"1\"] }\nexpect.flow = \"edit\"\n",
            "`json` and `chunks` are both",
        ),
        ("[case.a]\nresponse.chunks = [\"a\", \"\"]\nexpect.flow = \"edit\"\n", "a piece of a body is not empty"),
        ("[case.a]\nresponse.trailers.x = \"1\"\nexpect.flow = \"edit\"\n", "say the body as chunks = "),
        ("[case.a]\nexpect.request = { body = \"a\", chunks = [\"a\"] }\n", "`body` and `chunks` are both"),
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
    // What is wrong is told once.
    for once in ["flow = \"edti\"", "response = 200", "log = \"a\"", "time = 5", "memory = \"a\""] {
        let text = format!("[case.a]\nexpect.{once}\n");
        let problems = parse(&text, "a.test.toml", Path::new(""), None).expect_err(once).to_string();
        assert!(problems.contains("\n1 error\n") && problems.contains("a.test.toml:2:"), "{once}: {problems}");
    }
}

/// The examples of the page about it, with the plugins that they are about.
#[test]
fn the_examples_of_the_documentation() {
    let page = include_str!("../docs/plugins.md");
    let examples: Vec<_> = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let of = |words: &str| *examples.iter().find(|example| example.contains(words)).expect("an example");
    for (plugin, example, cases) in
        [("hello", of("[case.wants-a-name]"), 3), ("mask", of("[case.a-word-that-is-cut-in-two]"), 2)]
    {
        let outcomes = run(plugin, example);
        assert_eq!(outcomes.len(), cases);
        outcomes.iter().for_each(|outcome| assert!(outcome.passed, "{outcome}"));
    }
}

/// That a component passes the cases of a file.
pub(crate) fn passes(file: &Path, component: &Path) -> Report {
    let report = block_on(cases::run(&ENGINE, file, Some(component))).unwrap_or_else(|why| panic!("{why}"));
    assert!(report.passed(), "{report}");
    report
}

/// What a test in Rust says of a case is what a file says: every word of `tollgate-testing` is known here.
#[test]
fn the_library_for_authors_says_what_a_file_says() {
    let second = Duration::from_secs(1);
    let given = Case::request("POST", "/a?b=c")
        .header("x-a", "1")
        .attribute("consumer", "alice")
        .config(json!({ "a": 1 }))
        .entry("store", "a key", "value")
        .now("2026-01-31T12:00:00Z")
        .times(2, second)
        .answers(Answer::get("https://idp.test/a").status(404).header("x-b", "2").with("accept", "*/*").body("none"))
        .answers(Answer::post("https://idp.test/b").json(json!({ "active": null })))
        .answers(Answer::to("PUT", "https://idp.test/c").error("timeout"))
        .upstream_header("x-c", "3")
        .given("request.client", "192.0.2.7");
    let whole = given.clone().json(json!([null])).upstream(201, "body");
    let pieces = given.chunks(["a", "b"]).given("request.trailers.x-sum", "1").upstream_chunks(["c"]);
    let expected = |case: Case| {
        case.expect_flow(Flow::Edit)
            .expect_code("no")
            .expect_upstream_header("x-d", ["4", "5"])
            .expect_upstream_body(Want::absent())
            .expect_status(200)
            .expect_header("x-e", Want::regex("[0-9]+"))
            .expect_attribute("consumer", Want::present())
            .expect_entry("store", "a key", "value")
            .expect_log(["warn: a"])
            .expect_time(second)
            .expect_memory("2MiB")
            .expect("request.path", "/b")
    };
    let refused = Case::get("/").expect_complaints(["/a: b"]);
    let cases = [
        expected(whole).expect_json(json!({ "a": [1] })),
        expected(pieces.clone()).expect_chunks(["c"]),
        expected(pieces).expect_body("c"),
        refused,
    ];
    for case in cases {
        let text = format!("case.it = {case}");
        let file = parse(&text, "it.test.toml", Path::new(""), None).unwrap_or_else(|why| panic!("{why} in {text}"));
        assert_eq!(file.cases.len(), 1);
    }
}
