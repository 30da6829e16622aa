//! Builds the plugins that the tests use to components: those that misbehave, and the example.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

const TARGET: &str = "wasm32-wasip2";

fn main() {
    let workspace = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("..");
    let out = PathBuf::from(variable("OUT_DIR"));
    for watched in ["tests/guests", "examples", "sdk", "wit", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(watched).display());
    }
    let target = out.join("guests");
    build(&workspace, &target, &["-p", "guests", "--examples"]);
    build(&workspace, &target, &["-p", "http-guests", "--examples"]);
    build(&workspace, &target, &["-p", "hello-plugin", "-p", "introspect", "-p", "mask"]);
    println!("cargo::rustc-env=GUESTS={}", target.join(TARGET).join("plugin").display());
    // Where `make setup-test` puts what Python's peers need: beside what cargo builds.
    let peers = out.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "build"));
    let peers = peers.and_then(|build| build.parent()?.parent()).unwrap_or(&out).join("peers");
    println!("cargo::rustc-env=PEERS={}", peers.display());
    println!("cargo::rustc-env=COMPILED={}", out.join("compiled").display());
}

fn build(workspace: &Path, target: &Path, packages: &[&str]) {
    let mut cargo = Command::new(variable("CARGO"));
    cargo.current_dir(workspace).args(["build", "--profile", "plugin", "--target", TARGET, "--target-dir"]).arg(target);
    cargo.args(packages);
    // What cargo says about the host must not reach the guests: flags for another target, wrappers that lint.
    for (name, _) in env::vars() {
        let of_the_host = ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"];
        let clippy = name.starts_with("CLIPPY_");
        if clippy || of_the_host.contains(&name.as_str()) || name.starts_with("CARGO_CFG_") || name == "TARGET" {
            cargo.env_remove(&name);
        }
    }
    cargo.env("RUSTFLAGS", STACK);
    match cargo.status() {
        Ok(status) if status.success() => {}
        Ok(_) => fail("the plugins of the tests do not build; their own messages are above"),
        Err(error) => fail(&format!("cargo cannot be started for the plugins of the tests: {error}")),
    }
}

/// As for the built-in plugins.
const STACK: &str = "-Clink-arg=-zstack-size=262144";

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| fail(&format!("cargo did not set {name}")))
}

fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    exit(1);
}
