//! Plugins in languages other than Rust: the examples, built with each language's own tool, pass the same cases.
//!
//! The tools are on the path, or where `make setup-authors` puts them. A test that finds its tool nowhere says so, and tries
//! nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::cases::passes;
use crate::harness::{Origin, Proxy, introspect, mask};

/// Where `make setup-authors` puts what it installs: in the target directory.
const TOOLS: [&str; 2] = ["python/bin", "javascript/node_modules/.bin"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// That a component passes the cases of an example, of which there are so many.
fn does_the_same(example: &str, component: &Path, cases: usize) {
    let report = passes(&root().join(format!("examples/{example}/{example}.test.toml")), component);
    assert_eq!(report.outcomes.len(), cases, "{report}");
}

/// A command with the tools on its path.
fn command(tool: &str, folder: &Path) -> Command {
    let mut command = Command::new(tool);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../tools");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = TOOLS.iter().map(|folder| target.join(folder)).chain(std::env::split_paths(&path));
    command.current_dir(folder).env("PATH", std::env::join_paths(folders).expect("no colon in a folder's name"));
    command
}

/// Whether a tool is here.
fn is_here(tool: &str, asked: &[&str]) -> bool {
    let here = command(tool, Path::new(".")).args(asked).output().is_ok_and(|output| output.status.success());
    if !here {
        eprintln!("{tool} is not here, so what it builds is not tried: `make setup-authors` installs it");
    }
    here
}

fn run(tool: &str, folder: &Path, arguments: &[&str]) {
    let output = command(tool, folder).args(arguments).output().unwrap_or_else(|error| panic!("{tool}: {error}"));
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A folder with the contract, the world of an example and a source in it.
fn folder(example: &str, source: &Path) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let contract = folder.path().join("wit/deps/tollgate-plugin");
    std::fs::create_dir_all(&contract).expect("a folder");
    for entry in std::fs::read_dir(root().join("wit")).expect("the contract") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), contract.join(entry.file_name())).expect("a file");
    }
    let world = root().join("examples").join(example).join("world.wit");
    std::fs::copy(world, folder.path().join("wit/world.wit")).expect("a file");
    let name = source.file_name().expect("a name");
    std::fs::copy(source, folder.path().join(name)).expect("a file");
    folder
}

/// Builds `it.wasm`; none where the tool is not here.
fn build_python(example: &str, source: &Path) -> Option<TempDir> {
    is_here("componentize-py", &["--version"]).then(|| {
        let folder = folder(example, source);
        let build = ["-d", "wit", "-w", "local:plugin/plugin", "componentize", "--stub-wasi", "app", "-o", "it.wasm"];
        run("componentize-py", folder.path(), &build);
        folder
    })
}

/// Builds `it.wasm`; none where the tool is not here.
fn build_javascript(example: &str, source: &Path) -> Option<TempDir> {
    is_here("componentize-js", &["--version"]).then(|| {
        let folder = folder(example, source);
        let without = ["-d", "stdio", "-d", "random", "-d", "clocks", "-d", "http", "-d", "fetch-event"];
        let build = ["plugin.js", "--wit", "wit", "--world-name", "plugin", "-o", "it.wasm"];
        run("componentize-js", folder.path(), &[&build[..], &without].concat());
        folder
    })
}

fn in_python(example: &str, cases: usize) {
    if let Some(folder) = build_python(example, &root().join(format!("examples/{example}/python/app.py"))) {
        does_the_same(example, &folder.path().join("it.wasm"), cases);
    }
}

fn in_javascript(example: &str, cases: usize) {
    if let Some(folder) = build_javascript(example, &root().join(format!("examples/{example}/javascript/plugin.js"))) {
        does_the_same(example, &folder.path().join("it.wasm"), cases);
    }
}

/// That what goes wrong in the runtime of a language costs one request, and its instance. What does not depend on the
/// language is tried by `misbehaviour`.
fn misbehaves(folder: &TempDir, ways: &[(&str, &str)]) {
    let component = std::fs::read(folder.path().join("it.wasm")).expect("a component");
    let origin = Origin::fine();
    let mut config = format!("upstream.o.endpoints = [\"{}\"]\n", origin.url());
    for (how, _) in ways {
        config += &format!(
            "[plugin.{how}]\ncomponent = \"it\"\nconfig.how = \"{how}\"\nlimits = {{ time = \"1s\", memory = \"64MiB\" }}\n\
             grant.http = [\"https://idp.test\"]\n\
             [route.{how}]\npath = \"/{how}\"\nchain = [\"{how}\"]\nupstream = \"o\"\n"
        );
    }
    let proxy = Proxy::start(&config, &[("it", component)]);
    for (how, code) in ways {
        let path = format!("/{how}");
        let mut client = proxy.client();
        let answer = client.request("GET", &path, &[], b"");
        assert_eq!((answer.status(), answer.code()), (500, format!("{code}:{how}")), "{how}");
        assert!(!answer.text().contains("secret"), "{how}: {}", answer.text());
        // The same connection is served by the same worker.
        assert_eq!(client.request("GET", &path, &[("x-behave", "1")], b"").text(), "fine", "{how}");
        let seen = origin.seen();
        let said: Vec<_> = seen.iter().filter(|seen| seen.target() == path).collect();
        assert_eq!(said.len(), 1, "{how}");
        assert!(said[0].header("x-misbehaved").is_some_and(|did| did.eq_ignore_ascii_case("false")), "{how}");
    }
}

#[test]
fn what_goes_wrong_in_python_costs_one_request() {
    let source = root().join("tests/guests/languages/python/app.py");
    if let Some(folder) = build_python("introspect", &source) {
        let failed = ["raise", "exit", "recurse", "allocate", "wrong-type"].map(|how| (how, "plugin-failed"));
        misbehaves(&folder, &[&failed[..], &[("spin", "plugin-timeout")]].concat());
    }
}

#[test]
fn what_goes_wrong_in_javascript_costs_one_request() {
    let source = root().join("tests/guests/languages/javascript/plugin.js");
    if let Some(folder) = build_javascript("introspect", &source) {
        let failed = ["raise", "reject", "recurse", "allocate", "wrong-type"].map(|how| (how, "plugin-failed"));
        misbehaves(&folder, &[&failed[..], &[("spin", "plugin-timeout")]].concat());
    }
}

#[test]
fn the_example_in_rust_passes_its_cases() {
    does_the_same("introspect", &introspect(), 7);
}

#[test]
fn the_example_in_python_passes_the_same_cases() {
    in_python("introspect", 7);
}

#[test]
fn the_example_in_javascript_passes_the_same_cases() {
    in_javascript("introspect", 7);
}

/// With the Makefile that a new project begins with.
#[test]
fn the_example_in_c_passes_the_same_cases() {
    let compiler = is_here("zig", &["version"]) || is_here("python3", &["-m", "ziglang", "version"]);
    if compiler && is_here("wasm-tools", &["--version"]) && is_here("make", &["--version"]) {
        let folder = TempDir::new().expect("a folder");
        let at = |path: &str| root().canonicalize().expect("a folder").join(path).display().to_string();
        let settings = [
            "plugin=it".to_owned(),
            format!("sources={}", at("examples/introspect/c/plugin.c")),
            format!("sdk={}", at("sdk/c")),
            format!("wit={}", at("wit")),
            // A warning is one in every plugin that anybody writes.
            "CFLAGS=-Os -Wall -Wextra -Werror".to_owned(),
        ];
        let makefile = at("host/new/c/Makefile");
        let arguments: Vec<_> = ["-f", &makefile].into_iter().chain(settings.iter().map(String::as_str)).collect();
        run("make", folder.path(), &arguments);
        does_the_same("introspect", &folder.path().join("it.wasm"), 7);
    }
}

/// `plugin.h` and `plugin.c` are generated, and kept here so that authors need no generator. Nothing else tells where the
/// contract has changed since.
#[test]
fn the_contract_in_c_is_of_this_contract() {
    let mut files: Vec<_> = std::fs::read_dir(root().join("wit")).expect("the contract").flatten().collect();
    files.sort_by_key(std::fs::DirEntry::file_name);
    let texts = files.iter().map(|file| std::fs::read(file.path()).expect("a file"));
    let digest = Sha256::digest(texts.collect::<Vec<_>>().concat());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let made_of = std::fs::read_to_string(root().join("sdk/c/contract.sha256")).expect("a file");
    assert_eq!(
        made_of.trim(),
        digest,
        "the contract has changed: make it in C anew, and write its digest into sdk/c/contract.sha256\n\
         wit-bindgen c wit --world plugin --no-object-file --out-dir sdk/c"
    );
}

/// With sanitizers where the compiler has them.
#[test]
fn the_reader_for_json_in_c() {
    let folder = TempDir::new().expect("a folder");
    let source = root().canonicalize().expect("a folder").join("sdk/c/tests/json.c").display().to_string();
    let build = ["-Wall", "-Wextra", "-Werror", "-o", "it", &source];
    let sanitized = [&build[..], &["-fsanitize=address,undefined"]].concat();
    if !command("cc", folder.path()).args(sanitized).output().expect("a C compiler").status.success() {
        run("cc", folder.path(), &build);
    }
    let ran = command("./it", folder.path()).output().expect("it was built");
    assert!(ran.status.success(), "{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn bodies_piece_by_piece_in_rust() {
    does_the_same("mask", &mask(), 8);
}

#[test]
fn bodies_piece_by_piece_in_python() {
    in_python("mask", 8);
}

#[test]
fn bodies_piece_by_piece_in_javascript() {
    in_javascript("mask", 8);
}
