//! `tollgate plugin new`: a project to begin a plugin from, which builds and passes its own cases as it is.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::ValueEnum;

use super::failed;

/// The languages that there are projects for.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Language {
    /// With `cargo`
    Rust,
    /// With `componentize-py`
    Python,
    /// With `npm` and `componentize-js`
    Javascript,
}

/// The contract and the SDK as they were when this was built: each path from the root of the repository, and the text.
const SOURCES: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/sources.rs"));

/// The files of a language: the path in the project, and the text. `NAME` and `SNAKE` stand for the plugin's name.
type Files = &'static [(&'static str, &'static str)];

const RUST: Files = &[
    ("Cargo.toml", include_str!("../../new/rust/Cargo.toml")),
    (".cargo/config.toml", include_str!("../../new/rust/config.toml")),
    (".gitignore", "/target\n/NAME.wasm\n"),
    ("README.md", include_str!("../../new/rust/README.md")),
    ("src/lib.rs", include_str!("../../new/rust/lib.rs")),
    ("tollgate-sdk/Cargo.toml", include_str!("../../new/rust/sdk.toml")),
];

const PYTHON: Files = &[
    (".gitignore", "/NAME.wasm\n__pycache__\n"),
    ("README.md", include_str!("../../new/python/README.md")),
    ("app.py", include_str!("../../new/python/app.py")),
];

const JAVASCRIPT: Files = &[
    (".gitignore", "/node_modules\n/NAME.wasm\n"),
    ("README.md", include_str!("../../new/javascript/README.md")),
    ("package.json", include_str!("../../new/javascript/package.json")),
    ("plugin.js", include_str!("../../new/javascript/plugin.js")),
];

pub(super) fn new(name: &str, language: Language) -> ExitCode {
    if let Err(why) = check_name(name) {
        return failed(&format!("`{name}` cannot be the name of a plugin: {why}"));
    }
    let folder = Path::new(name);
    // Nothing that is there is written over.
    if let Err(error) = fs::create_dir(folder) {
        return failed(&format!("cannot make the folder {name}: {error}"));
    }
    if let Err(error) = write(folder, name, language) {
        return failed(&format!("cannot write into {name}: {error}"));
    }
    eprintln!("{name}/ is a plugin that builds; how, and with what, is in {name}/README.md");
    ExitCode::SUCCESS
}

fn write(folder: &Path, name: &str, language: Language) -> io::Result<()> {
    let (files, limits) = match language {
        Language::Rust => (RUST, ""),
        Language::Python => (PYTHON, "[plugin]\nlimits.memory = \"128MiB\"         # all of Python is in it\n"),
        Language::Javascript => (JAVASCRIPT, "[plugin]\nlimits.memory = \"64MiB\"          # an engine is in it\n"),
    };
    for (path, text) in files {
        put(folder, path, &text.replace("NAME", name).replace("SNAKE", &name.replace('-', "_")))?;
    }
    let cases = include_str!("../../new/cases.test.toml").replace("NAME", name).replace("LIMITS\n", limits);
    put(folder, &format!("{name}.test.toml"), &cases)?;
    for (path, text) in SOURCES {
        match (language, path.strip_prefix("wit/"), path.strip_prefix("sdk/")) {
            (Language::Rust, Some(_), _) => put(folder, path, text)?,
            (Language::Rust, _, Some(rest)) => put(folder, &format!("tollgate-sdk/{rest}"), text)?,
            (_, Some(file), _) => put(folder, &format!("wit/deps/tollgate-plugin/{file}"), text)?,
            _ => {}
        }
    }
    if language != Language::Rust {
        put(folder, "wit/world.wit", include_str!("../../new/world.wit"))?;
    }
    Ok(())
}

fn put(folder: &Path, path: &str, text: &str) -> io::Result<()> {
    let path = folder.join(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text)
}

/// As for components in a configuration, so that the file can be dropped in under its name.
fn check_name(name: &str) -> Result<(), &'static str> {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if name.len() > 64 {
        Err("it is longer than 64 characters")
    } else if !name.split('-').all(word) || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        Err("it is made of lower-case letters, digits and single hyphens, and begins with a letter")
    } else {
        Ok(())
    }
}
