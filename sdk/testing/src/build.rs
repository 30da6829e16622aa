//! A crate, built to a component.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

const TARGET: &str = "wasm32-wasip2";

/// Builds the crate in a folder, once in this process.
pub(crate) fn component(folder: &Path, profile: &str) -> Result<PathBuf, String> {
    static BUILT: Mutex<BTreeMap<(PathBuf, String), Result<PathBuf, String>>> = Mutex::new(BTreeMap::new());
    // Tests that ask meanwhile wait here, and find it.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (folder.to_owned(), profile.to_owned());
    built.entry(key).or_insert_with(|| build(folder, profile)).clone()
}

fn build(folder: &Path, profile: &str) -> Result<PathBuf, String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--lib", "--target", TARGET, "--profile", profile]);
    cargo.args(["--message-format", "json-render-diagnostics"]).current_dir(folder).stdin(Stdio::null());
    // Flags for this machine, such as those that measure coverage, are none for a component.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(name);
    }
    let output = cargo.output().map_err(|error| format!("cargo cannot be started: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let help = if said.contains("E0463") {
            format!("\nadd the target: rustup target add {TARGET}")
        } else {
            String::new()
        };
        return Err(format!("the plugin in {} does not build:\n{}{help}", folder.display(), said.trim_end()));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(|message| {
        message["reason"] == "compiler-artifact"
            && message["manifest_path"].as_str().is_some_and(|path| Path::new(path) == folder.join("Cargo.toml"))
    });
    let files: Vec<_> = artifacts
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .collect();
    let component = files.into_iter().find(|file| file.extension().is_some_and(|ending| ending == "wasm"));
    component.ok_or_else(|| {
        format!("no component comes of {}: its Cargo.toml needs [lib] crate-type = [\"cdylib\"]", folder.display())
    })
}
