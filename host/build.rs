//! Builds the built-in plugins to components, with optimisation whatever the host's profile, and embeds them.

use std::env;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

/// The built-in plugins: a crate each, under `plugins/`.
const BUILT_IN: [&str; 6] = ["api-key", "convert", "cors", "headers", "rate-limit", "validate"];

const TARGET: &str = "wasm32-wasip2";

fn main() {
    let workspace = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("..");
    let out = PathBuf::from(variable("OUT_DIR"));
    for watched in ["plugins", "sdk", "wit", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(watched).display());
    }
    require_target();
    let target = out.join("plugins");
    build(&workspace, &target);
    embed(&out, &target.join(TARGET).join("plugin"));
    sources(&workspace, &out);
}

fn build(workspace: &Path, target: &Path) {
    let mut cargo = Command::new(variable("CARGO"));
    cargo.current_dir(workspace).args(["build", "--profile", "plugin", "--target", TARGET, "--target-dir"]).arg(target);
    for name in BUILT_IN {
        cargo.args(["-p", &format!("tollgate-plugin-{name}")]);
    }
    // What cargo says about the host must not reach the guests: flags for another target, wrappers that lint.
    for (name, _) in env::vars() {
        let of_the_host = ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"];
        let clippy = name.starts_with("CLIPPY_") || name == "RUSTC_WORKSPACE_WRAPPER";
        if clippy || of_the_host.contains(&name.as_str()) || name.starts_with("CARGO_CFG_") || name == "TARGET" {
            cargo.env_remove(&name);
        }
    }
    cargo.env("RUSTFLAGS", STACK);
    match cargo.status() {
        Ok(status) if status.success() => {}
        Ok(_) => fail("the built-in plugins do not build; their own messages are above"),
        Err(error) => fail(&format!("cargo cannot be started for the built-in plugins: {error}")),
    }
}

/// A guest's stack is part of its memory image: 1 MiB by default, which a fresh instance would map.
const STACK: &str = "-Clink-arg=-zstack-size=262144";

/// Writes the table of built-ins that `plugin/library.rs` includes.
fn embed(out: &Path, components: &Path) {
    let mut table = String::from("[\n");
    for name in BUILT_IN {
        let file = components.join(format!("tollgate_plugin_{}.wasm", name.replace('-', "_")));
        // Writing to a String cannot fail.
        let _ = writeln!(table, "    ({name:?}, include_bytes!({:?})),", file.display().to_string());
    }
    table.push_str("]\n");
    if let Err(error) = std::fs::write(out.join("built_in.rs"), table) {
        fail(&format!("the table of built-in plugins cannot be written: {error}"));
    }
}

/// Writes the table of sources that `cli/new.rs` includes: what a new plugin's project is made of.
fn sources(workspace: &Path, out: &Path) {
    let mut table = String::from("[\n");
    for folder in ["wit", "sdk/src", "sdk/testing/src", "sdk/c"] {
        let entries =
            std::fs::read_dir(workspace.join(folder)).unwrap_or_else(|error| fail(&format!("{folder}: {error}")));
        let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        files.sort();
        for file in files {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            // Writing to a String cannot fail.
            let _ = writeln!(
                table,
                "    ({:?}, include_str!({:?})),",
                format!("{folder}/{name}"),
                file.display().to_string()
            );
        }
    }
    table.push_str("]\n");
    if let Err(error) = std::fs::write(out.join("sources.rs"), table) {
        fail(&format!("the table of sources cannot be written: {error}"));
    }
}

/// The one thing that a fresh machine lacks, with the command that adds it.
fn require_target() {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let libdir = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    let present = libdir.is_ok_and(|output| {
        let directory = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success() && Path::new(&directory).is_dir()
    });
    if !present {
        fail(&format!("the built-in plugins need the target {TARGET}: run `rustup target add {TARGET}`"));
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| fail(&format!("cargo did not set {name}")))
}

fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    exit(1);
}
