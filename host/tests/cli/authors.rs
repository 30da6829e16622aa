//! What authors of plugins are given: a project to begin from, cases, a look at components, replays.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::{Origin, Running, config, ends, folder, tollgate};

/// A built-in component, as a file.
fn built_in(folder: &TempDir, name: &str) {
    let (_, bytes) = tollgate::plugin::BUILT_IN.iter().find(|(known, _)| *known == name).expect("a built-in");
    fs::write(folder.path().join(format!("{name}.wasm")), bytes).expect("a file");
}

#[test]
fn inspect_shows_what_a_component_is() {
    let folder = folder("");
    built_in(&folder, "rate-limit");
    let told = ends(&folder, &["plugin", "inspect", "rate-limit.wasm"]);
    assert_eq!(told.status, Some(0), "{}", told.err);
    for words in [
        "rate-limit.wasm: a plugin for version 0.1.0 of the contract",
        "on-request, on-request-body, on-response, on-response-body",
        "tollgate:plugin/limiter@0.1.0",
        "no grant",
        "limit",
    ] {
        assert!(told.out.contains(words), "{words} in {}", told.out);
    }

    let told = ends(&folder, &["plugin", "inspect", "--json", "rate-limit.wasm"]);
    let json: Value = serde_json::from_str(&told.out).expect("JSON on standard output");
    assert_eq!((&json["contract"], &json["grant"]), (&"0.1.0".into(), &Value::Null), "{json}");
    assert_eq!(json["size"], fs::metadata(folder.path().join("rate-limit.wasm")).expect("a file").len());
    assert!(json["capabilities"].as_array().is_some_and(|names| names.contains(&"limiter".into())), "{json}");

    let told = ends(&folder, &["plugin", "inspect", "--schema", "rate-limit.wasm"]);
    let schema: Value = serde_json::from_str(&told.out).expect("JSON on standard output");
    assert_eq!(schema, json["schema"]);
    assert!(schema["$schema"].as_str().is_some_and(|draft| draft.contains("2020-12")), "{schema}");
}

/// The same component, made for another version of the contract.
fn other_version(whole: &[u8]) -> Vec<u8> {
    let (from, to) = (b"@0.1.0", b"@9.1.0");
    let mut other = whole.to_vec();
    for at in 0..other.len() - from.len() {
        if other[at..].starts_with(from) {
            other[at..at + to.len()].copy_from_slice(to);
        }
    }
    other
}

#[test]
fn inspect_says_why_a_file_is_no_plugin() {
    let folder = folder("");
    built_in(&folder, "cors");
    let whole = fs::read(folder.path().join("cors.wasm")).expect("a file");
    // A component that exports nothing: the preamble alone.
    let nothing = b"\0asm\x0d\0\x01\0";
    for (what, bytes, words) in [
        ("empty", &b""[..], "not a WebAssembly component"),
        ("text", b"hello", "not a WebAssembly component"),
        ("a core module", b"\0asm\x01\0\0\0", "build it for the target wasm32-wasip2"),
        ("cut off", &whole[..whole.len() / 2], "not a valid component"),
        ("a component", nothing, "it is a component, but not a plugin"),
        ("of another version", &other_version(&whole), "which is newer than 0.1.0, the one that"),
    ] {
        fs::write(folder.path().join("it.wasm"), bytes).expect("a file");
        let told = ends(&folder, &["plugin", "inspect", "it.wasm"]);
        assert_eq!((told.status, told.out.as_str()), (Some(1), ""), "{what}: {}", told.err);
        assert!(told.err.starts_with("it.wasm: ") && told.err.contains(words), "{what}: {}", told.err);
        let told = ends(&folder, &["plugin", "inspect", "--json", "it.wasm"]);
        let json: Value = serde_json::from_str(&told.out).expect("JSON on standard output");
        assert!(json["problem"].as_str().is_some_and(|problem| problem.contains(words)), "{what}: {json}");
        assert_eq!(told.status, Some(1), "{what}");
    }
    for unreadable in ["nothing.wasm", "."] {
        let told = ends(&folder, &["plugin", "inspect", unreadable]);
        assert_eq!(told.status, Some(2));
        assert!(told.err.contains(&format!("cannot read {unreadable}: ")), "{}", told.err);
    }
}

/// A file of cases for `cors`, of which the second fails where `status` is not 204.
fn cors_cases(folder: &TempDir, status: u16) {
    let text = format!(
        r#"component = "cors"
        plugin.config.origins = ["https://a.example"]
        [case.one]
        expect.response.status = 200
        [case.preflight]
        request = {{ method = "OPTIONS", headers = {{ origin = "https://a.example", access-control-request-method = "GET" }} }}
        expect.response.status = {status}
        "#
    );
    fs::write(folder.path().join("it.test.toml"), text).expect("a file");
}

#[test]
fn test_tells_by_its_status_what_failed() {
    let folder = folder("");
    cors_cases(&folder, 204);
    let fine = ends(&folder, &["plugin", "test", "it.test.toml", "--junit", "it.xml"]);
    assert_eq!(fine.status, Some(0), "{}{}", fine.out, fine.err);
    assert!(fine.out.contains("ok    preflight") && fine.out.contains("2 of 2 cases passed"), "{}", fine.out);
    let junit = |folder: &TempDir| fs::read_to_string(folder.path().join("it.xml")).expect("a file");
    assert!(junit(&folder).contains("tests=\"2\" failures=\"0\""), "{}", junit(&folder));

    cors_cases(&folder, 200);
    let failed = ends(&folder, &["plugin", "test", "it.test.toml", "--json", "--junit", "it.xml"]);
    assert_eq!(failed.status, Some(1), "{}", failed.err);
    let json: Value = serde_json::from_str(&failed.out).expect("JSON on standard output");
    let case = &json["files"][0]["cases"][1];
    assert_eq!((&case["name"], &case["passed"]), (&"preflight".into(), &false.into()), "{json}");
    assert_eq!(case["differences"][0]["what"], "response.status", "{json}");
    assert_eq!(case["place"], "it.test.toml:5:9", "{json}");
    assert!(junit(&folder).contains("<failure message=\"response.status: expected 200, found 204\">"));

    built_in(&folder, "rate-limit");
    let other = ends(&folder, &["plugin", "test", "it.test.toml", "--component", "rate-limit.wasm"]);
    assert_eq!(other.status, Some(1), "{}", other.err);
    assert!(other.out.contains("refuses its configuration"), "another component is tried: {}", other.out);
}

#[test]
fn test_says_what_it_cannot_run() {
    let folder = folder("");
    for (text, status, words) in [
        ("[case.a]\nexpct.flow = \"edit\"\n", 1, "did you mean \"expect\"?"),
        ("[case.a]\nexpect.flow = \"edit\"\n", 2, "it.wasm: there is no such file: build it"),
        ("component = \"corse\"\n[case.a]\nexpect.flow = \"edit\"\n", 2, "not built in (api-key, "),
        ("component = \"it.test.toml\"\n[case.a]\nexpect.flow = \"edit\"\n", 2, "a file's name ends in .wasm"),
    ] {
        fs::write(folder.path().join("it.test.toml"), text).expect("a file");
        let ended = ends(&folder, &["plugin", "test", "it.test.toml"]);
        assert_eq!(ended.status, Some(status), "{text}: {}", ended.err);
        assert!(ended.err.contains(words), "{text}: {}", ended.err);
    }
    fs::write(folder.path().join("it.test.toml"), "[case.a]\nexpect.flow = \"edit\"\n").expect("a file");
    fs::write(folder.path().join("it.wasm"), b"\0asm\x01\0\0\0").expect("a file");
    let module = ends(&folder, &["plugin", "test", "it.test.toml"]);
    assert_eq!(module.status, Some(1), "{}", module.err);
    assert!(module.err.contains("it.wasm: a core WebAssembly module"), "{}", module.err);
    for (named, words) in [
        ("nothing.test.toml", "cannot read nothing.test.toml"),
        (".", "is a folder: name a file of cases, such as ./it.test.toml"),
        ("it.wasm", "is a component: name its cases, as in `plugin test CASES --component it.wasm`"),
    ] {
        let ended = ends(&folder, &["plugin", "test", named]);
        assert_eq!((ended.status, ended.out.as_str()), (Some(2), ""), "{named}: {}", ended.err);
        assert!(ended.err.contains(words), "{named}: {}", ended.err);
    }
}

#[test]
fn test_tells_build_servers_of_what_it_cannot_run() {
    let folder = folder("");
    cors_cases(&folder, 204);
    fs::write(folder.path().join("bad.test.toml"), "[case.\"a<b\"]\n").expect("a file");
    let files = ["plugin", "test", "it.test.toml", "bad.test.toml", "--junit", "it.xml"];
    let ended = ends(&folder, &files);
    assert_eq!(ended.status, Some(1), "{}", ended.err);
    let xml = fs::read_to_string(folder.path().join("it.xml")).expect("a file");
    assert!(xml.contains("name=\"it.test.toml\" tests=\"2\" failures=\"0\" errors=\"0\""), "{xml}");
    assert!(xml.contains("name=\"bad.test.toml\" tests=\"1\" failures=\"0\" errors=\"1\""), "{xml}");
    assert!(xml.contains("bad.test.toml:1:"), "{xml}");
}

#[test]
fn who_has_read_enough_is_no_failure() {
    let folder = folder("");
    cors_cases(&folder, 204);
    built_in(&folder, "cors");
    for arguments in [&["plugin", "test", "it.test.toml"][..], &["plugin", "inspect", "cors.wasm"]] {
        let (reads, writes) = std::io::pipe().expect("a pipe");
        drop(reads);
        let ended = tollgate(&folder, arguments).stdout(writes).output().expect("the binary runs");
        assert!(ended.status.success() && ended.stderr.is_empty(), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn test_reads_cases_from_standard_input() {
    let folder = folder("");
    cors_cases(&folder, 204);
    let cases = fs::File::open(folder.path().join("it.test.toml")).expect("a file");
    let ran = tollgate(&folder, &["plugin", "test", "-"]).stdin(cases).output().expect("the binary runs");
    let out = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && out.contains("standard input: 2 of 2 cases passed"), "{ran:?}");
    let watched = ends(&folder, &["plugin", "test", "--watch", "-"]);
    assert_eq!(watched.status, Some(2), "{}", watched.err);
    assert!(watched.err.contains("--watch needs files"), "{}", watched.err);
}

#[test]
fn test_watches() {
    let folder = folder("");
    cors_cases(&folder, 200);
    let mut command = tollgate(&folder, &["plugin", "test", "--watch", "it.test.toml"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let told = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut waits = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let mut verdicts = told.lines().map(|line| line.expect("UTF-8")).filter(|line| line.contains("cases passed"));
    assert_eq!(verdicts.next().as_deref(), Some("it.test.toml: 1 of 2 cases passed"));
    assert!(waits.next().is_some_and(|line| line.expect("UTF-8").contains("waiting for a change")));
    cors_cases(&folder, 204);
    assert_eq!(verdicts.next().as_deref(), Some("it.test.toml: 2 of 2 cases passed"));
    child.kill().expect("it runs");
    child.wait().expect("it ran");
}

/// A recording of two passes through a rate limit of one request an hour, and two builds of it: `same.wasm`, which was
/// recorded, and `other.wasm`, which refuses with another word.
fn recorded() -> TempDir {
    let origin = Origin::start();
    let routed = config(&origin.address, "/a").replace("upstream = \"o\" }", "chain = [\"limit\"], upstream = \"o\" }");
    let plugin = "[plugin.limit]\ncomponent = \"same\"\nlimits.time = \"5s\"\n\
        config = { limit = 1, window = \"1h\", key = \"address\" }\nrecord = { share = \"100%\" }\n";
    let folder = folder(&format!("plugins.directory = \".\"\n{routed}{plugin}"));
    let (_, same) = tollgate::plugin::BUILT_IN.iter().find(|(name, _)| *name == "rate-limit").expect("it is built in");
    let word = b"quota-exceeded";
    let at = same.windows(word.len()).position(|part| part == word).expect("its word");
    let mut other = same.to_vec();
    other[at..at + word.len()].copy_from_slice(b"other-exceeded");
    fs::write(folder.path().join("same.wasm"), same).expect("a file");
    let mut running = Running::spawn(tollgate(&folder, &[]));
    assert_eq!([running.get("/a", "").0, running.get("/a", "").0], [200, 429]);
    running.signal("TERM");
    assert_eq!(running.ends().0, Some(0));
    fs::write(folder.path().join("other.wasm"), other).expect("a file");
    folder
}

#[test]
fn replay_shows_every_decision_that_differs() {
    let folder = recorded();
    let replay = |arguments: &[&str]| {
        let all = [&["plugin", "replay", "recordings/limit.tollrec"], arguments].concat();
        ends(&folder, &all)
    };
    let same = replay(&["same.wasm"]);
    assert_eq!(same.status, Some(0), "{}{}", same.out, same.err);
    assert!(
        same.out.starts_with("0 of ") && same.out.contains(" in 2 passes are answered in another way"),
        "{}",
        same.out
    );

    let other = replay(&["other.wasm"]);
    assert_eq!(other.status, Some(1), "{}{}", other.out, other.err);
    assert_eq!(other.out.matches("DIFFERS").count(), 1, "{}", other.out);
    for words in ["on-request  (route only)", "code: was \"quota-exceeded\", is \"other-exceeded\"", "\n1 of "] {
        assert!(other.out.contains(words), "{words} in {}", other.out);
    }
    let json = replay(&["other.wasm", "--json"]);
    let json: Value = serde_json::from_str(&json.out).expect("JSON on standard output");
    assert_eq!((&json["passes"], &json["differing"][0]["hook"]), (&2.into(), &"on-request".into()), "{json}");
    assert_eq!(json["differing"][0]["differences"][0]["after"], "other-exceeded", "{json}");

    // Both builds beside each other, whatever was recorded.
    assert_eq!(replay(&["other.wasm", "--base", "other.wasm"]).status, Some(0));
    assert_eq!(replay(&["same.wasm", "--base", "other.wasm"]).status, Some(1));
}

#[test]
fn replay_says_what_it_cannot_run() {
    let folder = recorded();
    let recording = folder.path().join("recordings/limit.tollrec");
    let file = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).expect("a file");
    file("module.wasm", b"\0asm\x01\0\0\0");
    file("text.tollrec", b"hello");
    fs::copy(&recording, folder.path().join("limit.tollrec")).expect("a file");
    built_in(&folder, "cors");
    for (recording, component, words) in [
        ("nothing.tollrec", "same.wasm", "nothing.tollrec: cannot be read"),
        (".", "same.wasm", ".: cannot be read"),
        ("text.tollrec", "same.wasm", "text.tollrec: "),
        ("same.wasm", "same.wasm", "same.wasm: "),
        ("limit.tollrec", "nothing.wasm", "nothing.wasm: cannot be read"),
        ("limit.tollrec", "module.wasm", "module.wasm: a core WebAssembly module"),
        ("limit.tollrec", "cors.wasm", "the component refuses its configuration"),
    ] {
        let ended = ends(&folder, &["plugin", "replay", recording, component]);
        assert_eq!((ended.status, ended.out.as_str()), (Some(2), ""), "{recording} {component}: {}", ended.err);
        assert!(ended.err.contains(words), "{recording} {component}: {}", ended.err);
    }
    let whole = fs::read(&recording).expect("a file");
    file("cut.tollrec", &whole[..whole.len() - 1]);
    let cut = ends(&folder, &["plugin", "replay", "cut.tollrec", "same.wasm"]);
    assert_eq!(cut.status, Some(0), "{}", cut.err);
    assert!(cut.out.contains("note: the file is damaged at ") && cut.out.contains(" in 1 passes"), "{}", cut.out);
}

/// A tool in a folder, on the path or where `make setup-authors` puts it.
fn tool(folder: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null());
    // What cargo says about this build must not reach the one that is begun here.
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO") && name != "CARGO_HOME" || name.starts_with("RUST") && name != "RUSTUP_HOME" {
            command.env_remove(&name);
        }
    }
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../tools");
    let ours = ["python/bin", "javascript/node_modules/.bin"].map(|folder| tools.join(folder));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = ours.into_iter().chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(all).expect("no colon in a folder's name"));
    command.env("TOLLGATE", env!("CARGO_BIN_EXE_tollgate"));
    command
}

/// Whether a tool is here. Where it is not, nothing is tried, and that is said.
fn is_here(program: &str, asked: &[&str]) -> bool {
    let here = tool(Path::new("."), program).args(asked).output().is_ok_and(|output| output.status.success());
    if !here {
        eprintln!("{program} is not here, so what it builds is not tried: `make setup-authors` installs it");
    }
    here
}

/// Runs a tool in a folder, and answers what it said. One that fails is shown.
fn run_there(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = tool(folder, program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// A new project, and its folder.
fn new_plugin(language: &str) -> (TempDir, std::path::PathBuf) {
    let folder = folder("");
    let made = ends(&folder, &["plugin", "new", "my-plugin", "--language", language]);
    assert_eq!((made.status, made.out.as_str()), (Some(0), ""), "{}", made.err);
    let project = folder.path().join("my-plugin");
    let page = fs::read_to_string(project.join("README.md")).expect("a page");
    assert!(page.starts_with("# my-plugin\n") && !page.contains("NAME") && !page.contains("SNAKE"), "{page}");
    // What is printed is what the page says.
    let steps: Vec<_> = made.err.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert!(steps.len() > 2 && steps[0] == "cd my-plugin", "{}", made.err);
    steps[1..].iter().for_each(|step| assert!(page.contains(step), "{step} in {page}"));
    (folder, project)
}

/// That a project's component passes the project's cases.
fn passes(folder: &TempDir) {
    let told = ends(folder, &["plugin", "test", "my-plugin/my-plugin.test.toml"]);
    assert_eq!(told.status, Some(0), "{}{}", told.out, told.err);
    assert!(told.out.contains("4 of 4 cases passed"), "{}", told.out);
    let told = ends(folder, &["plugin", "inspect", "my-plugin/my-plugin.wasm"]);
    assert!(told.status == Some(0) && told.out.contains("no grant"), "{}{}", told.out, told.err);
}

#[test]
fn a_new_plugin_in_rust_builds_and_passes() {
    let (folder, project) = new_plugin("rust");
    // The versions of this workspace, which are here already.
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    fs::copy(lock, project.join("Cargo.lock")).expect("a file");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-plugin");
    let target = target.to_str().expect("UTF-8");
    let test = |arguments: &[&str]| {
        let all = [&["test", "--offline", "--target-dir", target], arguments].concat();
        tool(&project, "cargo").env("CARGO_TARGET_DIR", target).args(all).output().expect("cargo")
    };
    let told = test(&[]);
    let out = String::from_utf8_lossy(&told.stdout);
    assert!(told.status.success(), "{out}{}", String::from_utf8_lossy(&told.stderr));
    for name in ["tests::a_name_is_greeted", "the_cases_of_the_file", "a_name_is_greeted"] {
        assert!(out.contains(&format!("test {name} ... ok")), "{name} in {out}");
    }
    let built = Path::new(target).join("wasm32-wasip2/release/my_plugin.wasm");
    fs::copy(built, project.join("my-plugin.wasm")).expect("a component");
    passes(&folder);

    // What is not as expected fails, and is told.
    let cases = fs::read_to_string(project.join("tests/cases.rs")).expect("a file");
    fs::write(project.join("tests/cases.rs"), cases.replace("\"hello, alice\"", "\"hello, bob\"")).expect("a file");
    let told = test(&["--test", "cases"]);
    let out = String::from_utf8_lossy(&told.stdout);
    assert!(!told.status.success(), "{out}");
    for words in
        ["request.headers.x-greeting:", "expected \"hello, bob\"", "found    \"hello, alice\"", "tests/cases.rs:"]
    {
        assert!(out.contains(words), "{words} in {out}");
    }
}

/// Where `componentize-py` is installed.
#[test]
fn a_new_plugin_in_python_builds_and_passes() {
    let (folder, project) = new_plugin("python");
    let build =
        ["-d", "wit", "-w", "local:plugin/plugin", "componentize", "--stub-wasi", "app", "-o", "my-plugin.wasm"];
    if is_here("componentize-py", &["--version"]) {
        run_there(&project, "componentize-py", &build);
        passes(&folder);
    }
}

/// Where `componentize-js` is installed. Otherwise `npm install` would fetch it.
#[test]
fn a_new_plugin_in_javascript_builds_and_passes() {
    let (folder, project) = new_plugin("javascript");
    if is_here("componentize-js", &["--version"]) {
        run_there(&project, "npm", &["run", "build"]);
        passes(&folder);
    }
}

/// Where a compiler and `wasm-tools` are installed.
#[test]
fn a_new_plugin_in_c_builds_and_passes() {
    let (folder, project) = new_plugin("c");
    let compiler = is_here("zig", &["version"]) || is_here("python3", &["-m", "ziglang", "version"]);
    if compiler && is_here("wasm-tools", &["--version"]) && is_here("make", &["--version"]) {
        run_there(&project, "make", &[]);
        passes(&folder);
        let told = ends(&folder, &["plugin", "inspect", "my-plugin/my-plugin.wasm"]).out;
        assert!(!told.contains("wasi:") && !told.contains("plugin/kv"), "it imports what it calls: {told}");
    }
}

#[test]
fn languages_have_short_names() {
    for (short, file) in [("py", "app.py"), ("js", "plugin.js"), ("rs", "Cargo.toml"), ("c", "Makefile")] {
        let folder = folder("");
        let made = ends(&folder, &["plugin", "new", "x", "--language", short]);
        assert_eq!(made.status, Some(0), "{short}: {}", made.err);
        assert!(folder.path().join("x").join(file).exists(), "{short}");
    }
    let unknown = ends(&folder(""), &["plugin", "new", "x", "--language", "cobol"]);
    assert_eq!(unknown.status, Some(2), "{}", unknown.err);
    assert!(unknown.err.contains("rust, python, javascript, c"), "{}", unknown.err);
}

#[test]
fn a_new_plugin_writes_over_nothing() {
    let (folder, project) = new_plugin("rust");
    fs::write(project.join("README.md"), "mine").expect("a file");
    let again = ends(&folder, &["plugin", "new", "my-plugin"]);
    assert_eq!(again.status, Some(2), "{}", again.err);
    assert!(again.err.contains("my-plugin is there already, and nothing is written over"), "{}", again.err);
    assert_eq!(fs::read_to_string(project.join("README.md")).expect("a file"), "mine");
    for (name, meant) in [
        ("My_Plugin", "did you mean `my-plugin`?"),
        ("a--b", "did you mean `a-b`?"),
        ("-a", "did you mean `a`?"),
        ("../x", "did you mean `x`?"),
        ("", "begins with a letter"),
        ("1a", "begins with a letter"),
        (&"a".repeat(65), "longer than 64"),
    ] {
        let refused = ends(&folder, &["plugin", "new", "--", name]);
        assert_eq!(refused.status, Some(2), "{name}: {}", refused.err);
        assert!(refused.err.contains(meant), "{name}: {}", refused.err);
    }
}

#[test]
fn bench_says_what_one_call_costs() {
    let folder = folder("");
    cors_cases(&folder, 204);
    let limit = ["--config", r#"{"limit": 5, "window": "1h", "key": "global"}"#, "--passes", "20"];
    let all = ends(&folder, &[&["plugin", "bench", "rate-limit"], &limit[..]].concat());
    assert_eq!(all.status, Some(0), "{}", all.err);
    for words in ["instances used again, 20 passes", "a fresh instance each", "median", "p99", "on-request", "KiB"] {
        assert!(all.out.contains(words), "{words} in {}", all.out);
    }
    let json = ends(&folder, &[&["plugin", "bench", "rate-limit", "--json"], &limit[..]].concat());
    let json: Value = serde_json::from_str(&json.out).expect("JSON on standard output");
    let [pooled, fresh] = &json.as_array().expect("a list")[..] else { panic!("{json}") };
    assert_eq!((&pooled["isolation"], &fresh["isolation"]), (&"pooled".into(), &"request".into()));
    for bench in [pooled, fresh] {
        assert_eq!((&bench["passes"], &bench["failed"]), (&20.into(), &0.into()), "{bench}");
        let hook = &bench["hooks"][0];
        assert_eq!((&hook["hook"], &hook["calls"]), (&"on-request".into(), &20.into()), "{bench}");
        let number = |what: &str| hook[what].as_f64().unwrap_or_else(|| panic!("{what} in {bench}"));
        assert!(number("median_us") > 0.0 && number("median_us") <= number("p99_us"), "{bench}");
        assert!(number("host_calls") >= 1.0 && number("memory") >= 65536.0, "{bench}");
        // The first five are let pass, which says something in an edit; the others are refused, which says more.
        assert!(number("bytes_out") > 0.0, "{bench}");
    }
    assert!(pooled["hooks"][0]["start_us"].is_null(), "{pooled}");
    assert!(fresh["hooks"][0]["start_us"].as_f64() > Some(0.0), "{fresh}");
    let cases =
        ends(&folder, &["plugin", "bench", "cors", "--case", "it.test.toml", "--name", "preflight", "--passes", "5"]);
    assert_eq!(cases.status, Some(0), "{}", cases.err);
    assert!(cases.out.contains("preflight, instances") && !cases.out.contains("one, "), "{}", cases.out);
}

#[test]
fn bench_says_what_it_cannot_run() {
    let folder = folder("");
    cors_cases(&folder, 204);
    for (arguments, status, words) in [
        (&["rate-limit"][..], 1, "refuses its configuration"),
        (&["rate-limit", "--config", "{ limit = "], 2, "neither JSON nor TOML"),
        (&["rate-limit", "--config", "nothing.toml"], 2, "cannot read nothing.toml"),
        (&["corse"], 1, "not built in"),
        (&["nothing.wasm"], 1, "there is no such file"),
        (&["cors", "--case", "it.test.toml", "--name", "none"], 2, "there is no case `none`"),
        (&["cors", "--name", "none"], 2, "--case"),
        (&["cors", "--passes", "0"], 2, "--passes"),
    ] {
        let ended = ends(&folder, &[&["plugin", "bench"], arguments].concat());
        assert_eq!(ended.status, Some(status), "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains(words), "{arguments:?}: {}", ended.err);
    }
}
